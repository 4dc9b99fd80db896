"""What has been seen of one kind, with indexes. Implements `core.cluster.View`.

Three sources feed a store: lists and watch events (through the reflector), replies to our own writes (`put`), and
verdicts that are decided but not answered yet (`anticipate`). The rules that keep them consistent:

- Of two states of one object (same UID) the one with the higher resourceVersion wins, whatever the order of arrival.
  Versions that are no numbers cannot be compared: then the later arrival wins.
- Another UID under the same key is another object; the higher version is the one that lives.
- What is gone stays gone: a late event or reply cannot bring back a state from before a deletion. Tombstones know
  UID and version, and expire.
- A list replaces everything but what is younger than itself: states that a watch or a reply has brought in the
  meantime. A stale list cannot take us back in time. (An etcd restored from a backup does go back: after that every
  client of the API server has to be restarted, this one too.)
- An anticipated object hides the stored one until a newer version of it arrives from anywhere, or it is forgotten.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

import msgspec
import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import EventType, Undecodable, WatchEvent
from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.objects import ObjectKey, ObjectMeta, T
from fairlead.core.selectors import Selector, matches

log = structlog.get_logger(__name__)

TOMBSTONE_SECONDS = 300.0  # longer than any watch event or reply can be late: calls end after 30 s

Index = Callable[[T], Iterable[str]]
_Keys = tuple[ObjectKey, ...] | set[ObjectKey]
_TUPLE_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """What readers of a store see differently from now on.

    Attributes:
        old: what was shown before; None: nothing.
        new: what is shown now; None: it is gone, or cannot be decoded any more (`problem`).
        is_initial: it comes from the first list, not from something that happened.
    """

    key: ObjectKey
    old: T | None
    new: T | None
    problem: Undecodable | None = None
    is_initial: bool = False


Subscriber = Callable[[Change[T]], None]


@dataclass(frozen=True, slots=True)
class _Tombstone:
    version: int  # states up to this version are from before the deletion; 0: unknown
    by_us: bool  # the server has acknowledged our deletion: states without a deletionTimestamp are from before it
    expires_at: float


class Store(Generic[T]):
    """The last known state of one kind. Sorted by key; no request is ever made.

    Args:
        name: of the kind, for logs.
        clock: tells when tombstones expire.
        indexes: by name, the functions whose values `by_index` looks up. One that raises a decoding error or
            SpecError for an object leaves that object out of its index.
        namespace: replies to own writes outside of it are not kept; empty: all namespaces.
        selector: replies to own writes that it does not match are not kept.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        indexes: Mapping[str, Index[T]] | None = None,
        namespace: str = "",
        selector: Selector = (),
    ) -> None:
        self._name = name
        self._clock = clock
        self._namespace = namespace
        self._selector = selector
        self._index_functions: dict[str, Index[T]] = dict(indexes or {})
        self._indexed: dict[tuple[str, str], _Keys] = {}  # by index and value
        self._index_entries: dict[ObjectKey, tuple[tuple[str, str], ...]] = {}
        self._stored: dict[ObjectKey, T] = {}  # what the server said last
        self._anticipated: dict[ObjectKey, T] = {}
        self._shown: dict[ObjectKey, T] = {}  # what readers get: anticipated, else stored
        self._keys: list[ObjectKey] = []  # of what is shown, sorted
        self._problems: dict[ObjectKey, Undecodable] = {}
        self._tombstones: OrderedDict[str, _Tombstone] = OrderedDict()  # by UID, in order of expiry
        self._subscribers: list[Subscriber[T]] = []
        self._synced = asyncio.Event()
        self._served = True

    # --- reading -----------------------------------------------------------------------------------------------

    def get(self, key: ObjectKey) -> T | None:
        return self._shown.get(key)

    def list(self, namespace: str = "") -> Sequence[T]:
        if not namespace:
            return [self._shown[key] for key in self._keys]
        first = bisect_left(self._keys, ObjectKey(namespace, ""))
        after = bisect_left(self._keys, ObjectKey(namespace + "\0", ""), first)
        return [self._shown[key] for key in self._keys[first:after]]

    def by_index(self, index: str, value: str) -> Sequence[T]:
        if index not in self._index_functions:
            raise KeyError(index)
        return [self._shown[key] for key in sorted(self._indexed.get((index, value), ()))]

    def problems(self) -> Mapping[ObjectKey, Undecodable]:
        """Return the objects that exist but could not be decoded; they are not shown."""
        return self._problems

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def name(self) -> str:
        return self._name

    @property
    def has_synced(self) -> bool:
        """Whether a whole list has been seen, or the kind turned out not to be served."""
        return self._synced.is_set()

    @property
    def served(self) -> bool:
        """False while the API server does not know the kind."""
        return self._served

    async def wait_synced(self) -> None:
        """Return once `has_synced`."""
        await self._synced.wait()

    def subscribe(self, callback: Subscriber[T]) -> Callable[[], None]:
        """Call back after each change, the store being up to date by then; return the way to stop that.

        What is in the store already is reported at once, as initial changes.
        """
        self._subscribers.append(callback)
        for key in tuple(self._keys):
            self._call(callback, Change(key=key, old=None, new=self._shown[key], is_initial=True))
        return lambda: self._subscribers.remove(callback)

    # --- lists and watch events ----------------------------------------------------------------------------------

    def replace(
        self, items: Iterable[T], undecodable: Iterable[Undecodable] = (), *, resource_version: str = ""
    ) -> tuple[T, ...]:
        """Take a whole list, at once; return what is shown no more."""
        listed_at = int(resource_version) if resource_version.isdecimal() else 0
        problems = {problem.metadata.key: problem for problem in undecodable}
        fresh: dict[ObjectKey, T] = {}
        for item in items:
            if not self._is_buried(item.metadata):
                fresh[item.metadata.key] = item
        for key, before in self._stored.items():
            listed = fresh.get(key) or problems.get(key)
            if before.metadata.version > (listed.metadata.version if listed else listed_at) > 0:
                fresh[key] = before
                problems.pop(key, None)
            elif listed is None or listed.metadata.uid != before.metadata.uid:
                self._bury(before.metadata.uid, version=listed_at, by_us=False)
        self._problems = problems
        self._stored = fresh
        for key, overlay in tuple(self._anticipated.items()):
            if key not in self._stored or _is_newer(self._stored[key].metadata, overlay.metadata):
                del self._anticipated[key]
        shown = {**self._stored, **self._anticipated}
        is_initial = not self.has_synced
        changes = [
            Change(key=key, old=old, new=new, problem=self._problems.get(key), is_initial=is_initial)
            for key in sorted(shown.keys() | self._shown.keys())
            if (old := self._shown.get(key)) is not (new := shown.get(key)) and (new is None or not _same(old, new))
        ]
        changes += [
            Change(key=key, old=None, new=None, problem=problem, is_initial=is_initial)
            for key, problem in self._problems.items()
            if key not in self._shown
        ]
        for key in sorted(shown.keys() | self._shown.keys()):
            self._show(key, shown.get(key))
        self._served = True
        for change in changes:
            self._notify(change)
        self._synced.set()
        self._expire()
        return tuple(change.old for change in changes if change.new is None and change.old is not None)

    def absent(self) -> None:
        """Take note that the kind is not served: nothing of it can exist, and nobody has to wait for it."""
        self.replace(())
        self._served = False

    def apply(self, event: WatchEvent[T]) -> None:
        """Take one watch event. Late and repeated ones change nothing."""
        self._expire()
        found = event.object
        if found is None or event.type is EventType.BOOKMARK:
            return
        if event.type is EventType.DELETED:
            self._remove(found.metadata)
        elif isinstance(found, Undecodable):
            self._cannot_decode(found)
        else:
            self._enter(found)

    # --- own writes ----------------------------------------------------------------------------------------------

    def put(self, found: T) -> None:
        """Take the reply to a write of our own (or to a live read): readers see it from now on, if it is the newest."""
        meta = found.metadata
        if self._namespace and meta.namespace != self._namespace:
            return
        if matches(self._selector, meta.labels):
            self._enter(found)

    def anticipate(self, wished: T) -> None:
        """Show an object whose write is decided but not answered, in place of the stored one.

        It carries the resourceVersion that the decision was based on, and is dropped as soon as a newer one arrives.
        When the write fails, say `forget`. An object that the store does not hold is not shown.
        """
        key = wished.metadata.key
        stored = self._stored.get(key)
        if stored is None or stored.metadata.uid != wished.metadata.uid or _is_newer(stored.metadata, wished.metadata):
            return
        self._anticipated[key] = wished
        self._refresh(key)

    def forget(self, key: ObjectKey) -> None:
        """Show the stored object again: what was anticipated will not happen."""
        if self._anticipated.pop(key, None) is not None:
            self._refresh(key)

    def deleted(self, key: ObjectKey, uid: str, *, at: datetime, is_gone: bool) -> None:
        """Take note that the server has acknowledged our deletion of that object.

        Args:
            uid: of the object that was deleted; states of it without a deletionTimestamp are late from now on.
            at: shown as the deletionTimestamp of an object that lives on.
            is_gone: nothing holds it (no finalizer, no grace period): it is shown no more. Else it is shown as
                being deleted until a watch event says more.
        """
        self._expire()
        if not uid:
            return
        self._bury(uid, version=0, by_us=True)
        stored = self._stored.get(key)
        if stored is None or stored.metadata.uid != uid:
            return
        if is_gone:
            self._drop(key)
            self._refresh(key)
        elif not stored.metadata.is_deleting:
            self.anticipate(_terminating(stored, at))

    # --- the rules -----------------------------------------------------------------------------------------------

    def _enter(self, found: T) -> None:
        meta = found.metadata
        key = meta.key
        if self._is_buried(meta):
            return
        current = self._stored.get(key)
        if current is not None and not _is_newer(meta, current.metadata):
            return
        problem = self._problems.get(key)
        if problem is not None and not _is_newer(meta, problem.metadata):
            return
        self._problems.pop(key, None)
        if current is not None and current.metadata.uid != meta.uid:
            self._bury(current.metadata.uid, version=meta.version, by_us=False)
        self._stored[key] = found
        overlay = self._anticipated.get(key)
        if overlay is not None and _is_newer(meta, overlay.metadata):
            del self._anticipated[key]
        self._refresh(key)

    def _remove(self, meta: ObjectMeta) -> None:
        key = meta.key
        self._bury(meta.uid, version=meta.version, by_us=False)
        current = self._stored.get(key) or self._problems.get(key)
        if current is None or current.metadata.version > meta.version > 0:
            return  # an earlier bearer of the name has gone, or the object left our selector and has come back since
        was_shown = key in self._shown
        self._drop(key)
        if was_shown:
            self._refresh(key)
        else:
            self._notify(Change(key=key, old=None, new=None))

    def _cannot_decode(self, problem: Undecodable) -> None:
        key = problem.metadata.key
        current = self._stored.get(key) or self._problems.get(key)
        if self._is_buried(problem.metadata):
            return
        if current is not None and not _is_newer(problem.metadata, current.metadata):
            return
        self._drop(key)
        self._problems[key] = problem
        if key in self._shown:
            self._refresh(key)
        else:
            self._notify(Change(key=key, old=None, new=None, problem=problem))

    def _drop(self, key: ObjectKey) -> None:
        for holder in (self._stored, self._anticipated, self._problems):
            holder.pop(key, None)

    def _bury(self, uid: str, *, version: int, by_us: bool) -> None:
        if not uid:
            return
        before = self._tombstones.pop(uid, None)
        if before is not None:
            version, by_us = max(version, before.version), by_us or before.by_us
        self._tombstones[uid] = _Tombstone(version, by_us, self._clock.monotonic() + TOMBSTONE_SECONDS)

    def _is_buried(self, meta: ObjectMeta) -> bool:
        stone = self._tombstones.get(meta.uid)
        if stone is None:
            return False
        return (stone.by_us and not meta.is_deleting) or 0 < meta.version <= stone.version

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._tombstones:
            uid = next(iter(self._tombstones))
            if self._tombstones[uid].expires_at > now:
                return
            del self._tombstones[uid]

    # --- showing -------------------------------------------------------------------------------------------------

    def _refresh(self, key: ObjectKey) -> None:
        """Show what is to be shown of a key now, and say so if that is something else than before."""
        old = self._shown.get(key)
        new = self._anticipated.get(key) or self._stored.get(key)
        if new is old:
            return
        self._show(key, new)
        self._notify(Change(key=key, old=old, new=new, problem=self._problems.get(key)))

    def _show(self, key: ObjectKey, new: T | None) -> None:
        for entry in self._index_entries.pop(key, ()):
            rest = _without(self._indexed[entry], key)
            if rest:
                self._indexed[entry] = rest
            else:
                del self._indexed[entry]
        if new is None:
            if self._shown.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._shown:
            insort(self._keys, key)
        self._shown[key] = new
        entries = tuple((index, value) for index in self._index_functions for value in self._values(index, new))
        for entry in entries:
            self._indexed[entry] = _with(self._indexed.get(entry, ()), key)
        if entries:
            self._index_entries[key] = entries

    def _values(self, index: str, found: T) -> Collection[str]:
        try:
            return set(self._index_functions[index](found))
        except DECODE_ERRORS as error:
            log.debug(
                "object_not_indexed", kind=self._name, object=str(found.metadata.key), index=index, error=str(error)
            )
            return ()

    def _notify(self, change: Change[T]) -> None:
        for callback in tuple(self._subscribers):
            self._call(callback, change)

    def _call(self, callback: Subscriber[T], change: Change[T]) -> None:
        # A subscriber that fails has a bug; the other subscribers and objects must not suffer for it.
        try:
            callback(change)
        except Exception:
            log.exception("subscriber_failed", kind=self._name, object=str(change.key))


def _with(keys: _Keys, key: ObjectKey) -> _Keys:
    """Return the keys and one more; most values of most indexes have one key or two, and a set takes much room."""
    if isinstance(keys, set):
        keys.add(key)
        return keys
    return (*keys, key) if len(keys) < _TUPLE_MAX else {*keys, key}


def _without(keys: _Keys, key: ObjectKey) -> _Keys:
    if isinstance(keys, set):
        keys.discard(key)
        return keys
    return tuple(one for one in keys if one != key)


def _is_newer(meta: ObjectMeta, than: ObjectMeta) -> bool:
    """Whether a state replaces another under the same key; versions that are no numbers always do."""
    if not meta.version or not than.version:
        return True
    return meta.version > than.version


def _same(old: Any, new: Any) -> bool:
    """Whether a list brought again what is shown: same object, same version."""
    if old is None:
        return False
    return bool(
        old.metadata.uid == new.metadata.uid and old.metadata.version and old.metadata.version == new.metadata.version
    )


def _terminating(found: Any, at: datetime) -> Any:
    """Return the object as it looks from its deletion on; one that is no struct stays as it is."""
    if not isinstance(found, msgspec.Struct):
        return found
    meta: Any = found.metadata  # type: ignore[attr-defined]  # every cached object has metadata
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(meta, deletion_timestamp=at))
