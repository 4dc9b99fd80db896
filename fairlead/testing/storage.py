"""What the API server remembers: objects by kind and key, one global revision, a bounded log of changes.

Everything here is synchronous and knows no loop: a commit is atomic because nothing awaits.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fairlead.core.cluster import EventType
from fairlead.core.errors import Expired
from fairlead.core.objects import ObjectKey
from fairlead.testing.managed import Manager

Json = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def copy_json(value: Any) -> Any:
    """Return an independent copy of JSON data (several times faster than `copy.deepcopy`)."""
    return _decode(_encode(value))


class Stored:
    """One revision of an object. Never changed; `raw` is encoded once and shared by everybody who reads it.

    Attributes:
        data: the object as JSON data without managedFields; treat it as read-only.
        managers: the owners of its fields.
        revision: of the commit that made it.
    """

    __slots__ = ("_raw", "_versions", "data", "managers", "revision")

    def __init__(self, data: Json, managers: tuple[Manager, ...], revision: int) -> None:
        self.data = data
        self.managers = managers
        self.revision = revision
        self._raw: bytes | None = None
        self._versions: dict[str, bytes] = {}

    @property
    def metadata(self) -> Json:
        metadata: Json = self.data["metadata"]
        return metadata

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.metadata.get("namespace", ""), self.metadata["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.metadata.get("labels") or {}
        return labels

    @property
    def raw(self) -> bytes:
        """The object's JSON as stored, with managedFields."""
        if self._raw is None:
            self._raw = _encode(self.full())
        return self._raw

    def full(self) -> Json:
        """Return the object with managedFields (entries as raw JSON)."""
        if not self.managers:
            return self.data
        entries = [manager.rendered for manager in self.managers]
        return {**self.data, "metadata": {**self.metadata, "managedFields": entries}}

    def raw_as(self, api_version: str) -> bytes:
        """Return the JSON in another served version: only the apiVersion differs."""
        if self.data.get("apiVersion") == api_version:
            return self.raw
        if api_version not in self._versions:
            self._versions[api_version] = _encode({**self.full(), "apiVersion": api_version})
        return self._versions[api_version]


@dataclass(frozen=True, slots=True)
class Change:
    """One commit.

    Attributes:
        collection: which kind, as `plural.group`.
        stored: the object after the change; for a deletion its last state at the deletion's revision.
        previous: the object before; None for a creation.
    """

    type: EventType
    collection: str
    key: ObjectKey
    stored: Stored
    previous: Stored | None
    revision: int


class Storage:
    """Objects, revision and log."""

    def __init__(self, *, history: int = 10_000) -> None:
        """Remember the newest `history` changes for watches and continued lists; older ones are compacted away."""
        self.revision = 1
        self.compacted = 0  # changes up to here are forgotten
        self._history = history
        self._collections: defaultdict[str, dict[ObjectKey, Stored]] = defaultdict(dict)
        self._log: deque[Change] = deque()
        self._listeners: defaultdict[str, dict[object, Callable[[Change], None]]] = defaultdict(dict)
        self.uids: dict[str, tuple[str, ObjectKey]] = {}

    def get(self, collection: str, key: ObjectKey) -> Stored | None:
        return self._collections[collection].get(key)

    def all(self, collection: str) -> Mapping[ObjectKey, Stored]:
        return self._collections[collection]

    def put(self, collection: str, data: Json, managers: tuple[Manager, ...]) -> Stored:
        """Commit the object as its next revision (which is written into it) and tell the listeners."""
        self.revision += 1
        data["metadata"]["resourceVersion"] = str(self.revision)
        stored = Stored(data, managers, self.revision)
        key = stored.key
        objects = self._collections[collection]
        previous = objects.get(key)
        objects[key] = stored
        self.uids[data["metadata"]["uid"]] = (collection, key)
        type_ = EventType.ADDED if previous is None else EventType.MODIFIED
        self._append(Change(type_, collection, key, stored, previous, self.revision))
        return stored

    def drop(self, collection: str, key: ObjectKey) -> Stored:
        """Commit the removal of the object; return its last state at the new revision."""
        previous = self._collections[collection].pop(key)
        self.uids.pop(previous.metadata["uid"], None)
        self.revision += 1
        last = at_revision(previous, self.revision)
        self._append(Change(EventType.DELETED, collection, key, last, previous, self.revision))
        return last

    def _append(self, change: Change) -> None:
        self._log.append(change)
        while len(self._log) > self._history:
            self.compacted = self._log.popleft().revision
        for listener in tuple(self._listeners[change.collection].values()):
            listener(change)

    def compact(self, revision: int | None = None) -> None:
        """Forget the changes up to a revision, all of them by default."""
        upto = self.revision if revision is None else revision
        while self._log and self._log[0].revision <= upto:
            self._log.popleft()
        self.compacted = max(self.compacted, min(upto, self.revision))

    def since(self, collection: str, revision: int) -> Sequence[Change]:
        """Return the changes of a kind after a revision, oldest first.

        Raises:
            Expired: some of them are compacted away.
        """
        if revision < self.compacted:
            raise Expired(f"too old resource version: {revision} ({self.compacted + 1})", status=410, reason="Expired")
        found: list[Change] = []
        for change in reversed(self._log):  # from the new end: what a watch has missed is short
            if change.revision <= revision:
                break
            if change.collection == collection:
                found.append(change)
        found.reverse()
        return found

    def at(self, collection: str, revision: int) -> Mapping[ObjectKey, Stored]:
        """Return the objects of a kind as they were at a revision.

        Raises:
            Expired: what happened since is no longer known.
        """
        objects = self._collections[collection]
        if revision >= self.revision:
            return objects
        past = dict(objects)
        for change in reversed(self.since(collection, revision)):
            if change.previous is None:
                past.pop(change.key, None)
            else:
                past[change.key] = change.previous
        return past

    def listen(self, collection: str, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call the listener with every later change of a kind; return how to stop that."""
        token = object()
        self._listeners[collection][token] = listener

        def stop() -> None:
            self._listeners[collection].pop(token, None)

        return stop


def at_revision(stored: Stored, revision: int) -> Stored:
    """Return the object with another resourceVersion: how watches show what is gone."""
    metadata = {**stored.metadata, "resourceVersion": str(revision)}
    return Stored({**stored.data, "metadata": metadata}, stored.managers, revision)
