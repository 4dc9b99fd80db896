"""The eyes on a destination cluster: watches of exactly the kinds that Applications use, started and stopped by need.

A kind is watched everywhere if that is allowed. Where it is forbidden (an agent with rights in a few namespaces), each
namespace that an Application looks at is watched by itself; one that may not be read is reported to the Applications
that need it, and to no other.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import structlog

from fairlead.agentsync._live import LiveObject, Sight, Wanted, live_kind, wakes_nobody
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.errors import Forbidden
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.reflector import DEFAULTS, Reflector, ReflectorSettings
from fairlead.runtime.store import Change, Store

log = structlog.get_logger(__name__)

BEHIND_SECONDS = 120.0  # what was seen that long ago, and cannot be looked at since, says nothing about now
_QUIET_SECONDS = 60.0  # a watch that has not failed for that long has recovered: an outage fails twice a minute
IDLE_SECONDS = 60.0  # how long a watch that nobody needs any more goes on: Applications are deleted and made again
_BROKEN_PAUSE_SECONDS = 5.0
_BY_APPLICATION = "application"

Owner = Callable[[Object], str]
Wake = Callable[[ObjectKey, bool], None]


@dataclass(slots=True)
class _Watch:
    """One list and watch: of a kind, in one namespace or in all."""

    kind: Kind[LiveObject]
    store: Store[LiveObject]
    reflector: Reflector[LiveObject]
    task: asyncio.Task[None]
    unwanted_at: float | None = None
    failing_since: float | None = None
    failed_at: float = 0.0
    is_told_behind: bool = False

    def failed(self, now: float) -> None:
        """Take note of a failure."""
        if self.failing_since is None or now - self.failed_at >= _QUIET_SECONDS:
            self.failing_since = now
        self.failed_at = now

    def is_behind(self, now: float) -> bool:
        """Return whether it has been failing for so long that what it shows may be far from the truth."""
        if self.failing_since is None or now - self.failed_at >= _QUIET_SECONDS:
            return False
        return now - self.failing_since >= BEHIND_SECONDS


@dataclass(slots=True)
class _Followed:
    """A kind that somebody follows."""

    served: ResourceKind
    with_managers: bool = False
    is_wide: bool = True  # False: everywhere is forbidden
    watches: dict[str, _Watch] = field(default_factory=dict)  # by namespace; empty: all


class LiveWatches:
    """Implements `agentsync._live.LiveView` with reflectors. Start it by `run`.

    Args:
        cluster: the destination; `cached` of it enters what is written into the caches.
        clock: measures and waits.
        owner: which Application (its name, as tracking says it) an object belongs to; empty: none. Of the object it
            is given kind, name, labels and tracking annotations only.
        name: an Application's name as tracking says it.
        wake: is called with an Application that sees something else, and whether it comes from a first list.
        namespaces: the only ones to look at; empty: all that is allowed.
        rng: draws jitter.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        owner: Owner,
        name: Callable[[ObjectKey], str],
        wake: Wake,
        namespaces: Iterable[str] = (),
        rng: random.Random | None = None,
        settings: ReflectorSettings = DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._owner = owner
        self._name = name
        self._wake = wake
        self._only = frozenset(namespaces)
        self._rng = rng or random.Random()
        self._settings = settings
        self._kinds: dict[ResourceKind, _Followed] = {}
        self._wanted: dict[ObjectKey, Wanted] = {}
        self._named: dict[str, ObjectKey] = {}
        self._targets: defaultdict[ResourceKey, set[ObjectKey]] = defaultdict(set)
        self._stores: dict[Kind[Any], Store[Any]] = {}
        self._on_change: list[Callable[[ResourceKind], None]] = []

    def cached(self, cluster: Cluster) -> Cluster:
        """Return the cluster, or the same as another manager sees it, with answers to writes entering the caches."""
        return CachedCluster(cluster, self._stores, self._clock)

    def on_change(self, callback: Callable[[ResourceKind], None]) -> None:
        """Call back with the kind of each object that changes."""
        self._on_change.append(callback)

    async def run(self) -> None:
        """Stop watches that nobody needs any more, until cancelled; then stop all."""
        try:
            while True:
                await self._clock.sleep(IDLE_SECONDS / 2)
                self._drop_idle()
                self._tell_recovered()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop all watches."""
        tasks = [watch.task for followed in self._kinds.values() for watch in followed.watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kinds.clear()
        self._stores.clear()

    # --- the port ----------------------------------------------------------------------------------------------------

    def follow(self, application: ObjectKey, wanted: Wanted) -> None:
        before = self._wanted.get(application, Wanted())
        for key in before.keys - wanted.keys:
            self._targets[key].discard(application)
            if not self._targets[key]:
                del self._targets[key]
        for key in wanted.keys:
            self._targets[key].add(application)
        self._wanted[application] = wanted
        self._named[self._name(application)] = application
        for kind in wanted.kinds:
            self._follow_kind(kind, wanted)
        if before.kinds - wanted.kinds or before.namespaces - wanted.namespaces:
            self._mark_idle()

    def look(self, application: ObjectKey) -> Sight:
        wanted = self._wanted.get(application, Wanted())
        now = self._clock.monotonic()
        unread: dict[str, str] = {}
        waiting: set[str] = set()
        stores: list[tuple[ResourceKind, Store[LiveObject]]] = []
        for kind in sorted(wanted.kinds, key=_order):
            followed = self._kinds[kind]
            label = f"{kind.group}/{kind.kind}"
            for watch in self._watches_for(followed, wanted):
                stores.append((kind, watch.store))
                if watch.store.has_synced and not watch.is_behind(now):
                    continue
                if (failure := watch.reflector.failure) is not None:
                    unread[label] = str(failure)
                else:
                    waiting.add(label)
        seen = _Seen(self._name(application), stores, lambda key: self._target(wanted, key))
        return Sight(live=seen, unread=unread, waiting=frozenset(waiting))

    def strays(self, namespace: str) -> Iterable[ResourceKey]:
        for kind, followed in self._kinds.items():
            for watch in followed.watches.values():
                for found in watch.store.list(namespace) if kind.namespaced else ():
                    key = _key(kind, found)
                    is_somebodys = bool(found.metadata.owner_references) or key in self._targets
                    if not is_somebodys and not self._owner(_marks(kind, found.metadata)):
                        yield key

    def forget(self, application: ObjectKey) -> None:
        self.follow(application, Wanted())
        self._wanted.pop(application, None)
        self._named.pop(self._name(application), None)
        self._mark_idle()

    def kind(self, kind: ResourceKind, namespace: str) -> Kind[LiveObject]:
        followed = self._kinds.get(kind)
        if followed is not None:
            for watch in (followed.watches.get(""), followed.watches.get(namespace)):
                if watch is not None:
                    return watch.kind
        return live_kind(kind)

    # --- people and probes -------------------------------------------------------------------------------------------

    def troubles(self) -> list[str]:
        """Return why watches may be behind, one sentence each."""
        return [
            watch.reflector.trouble
            for followed in self._kinds.values()
            for watch in followed.watches.values()
            if watch.reflector.trouble
        ]

    @property
    def watched(self) -> tuple[str, ...]:
        """What is watched now, as `plural.group` or `plural.group in namespace`, sorted."""
        return tuple(
            sorted(
                f"{watch.kind} in {namespace}" if namespace else str(watch.kind)
                for followed in self._kinds.values()
                for namespace, watch in followed.watches.items()
            )
        )

    @property
    def count(self) -> int:
        """How many objects are kept."""
        return sum(len(watch.store) for followed in self._kinds.values() for watch in followed.watches.values())

    # --- inside ------------------------------------------------------------------------------------------------------

    def _follow_kind(self, kind: ResourceKind, wanted: Wanted) -> None:
        followed = self._kinds.get(kind)
        if followed is not None and wanted.with_managers and not followed.with_managers:
            self._stop(followed)  # more is needed of each object: read anew
            followed = None
        if followed is None:
            keep = wanted.with_managers or any(
                other.with_managers for other in self._wanted.values() if kind in other.kinds
            )
            followed = self._kinds[kind] = _Followed(
                served=kind, with_managers=keep, is_wide=not (self._only and kind.namespaced)
            )
        for namespace in self._namespaces(followed, wanted):
            watch = followed.watches.get(namespace)
            if watch is None:
                self._start(followed, namespace)
            else:
                watch.unwanted_at = None

    def _namespaces(self, followed: _Followed, wanted: Wanted) -> Iterable[str]:
        """Return where an Application looks for a kind."""
        if followed.is_wide or not followed.served.namespaced:
            return ("",)
        return sorted(wanted.namespaces & self._only) if self._only else sorted(wanted.namespaces)

    def _watches_for(self, followed: _Followed, wanted: Wanted) -> list[_Watch]:
        return [followed.watches[name] for name in self._namespaces(followed, wanted) if name in followed.watches]

    def _target(self, wanted: Wanted, key: ResourceKey) -> LiveObject | None:
        version = wanted.versions.get(key, "")
        kinds = [kind for kind in wanted.kinds if (kind.group, kind.kind) == (key.group, key.kind)]
        for kind in sorted(kinds, key=lambda kind: (kind.version != version, _order(kind))):
            followed = self._kinds[kind]
            for namespace in ("", key.namespace):
                if (watch := followed.watches.get(namespace)) is not None:
                    found = watch.store.get(ObjectKey(key.namespace, key.name))
                    if found is not None:
                        return found
        return None

    def _start(self, followed: _Followed, namespace: str) -> None:
        served = followed.served
        kind = live_kind(served, namespace=namespace, with_managers=followed.with_managers)
        store: Store[LiveObject] = Store(
            str(kind),
            self._clock,
            indexes={_BY_APPLICATION: lambda found: self._owners(served, found)},
            namespace=namespace,
        )
        reflector = Reflector(
            self._cluster, kind, store, self._clock, namespace=namespace, rng=self._rng, settings=self._settings
        )
        # In a context of its own: what the logs of the one who asked are bound to is not what this is about.
        task = asyncio.create_task(
            self._reflect(followed, namespace, reflector), name=f"live-{kind}-{namespace}", context=Context()
        )
        followed.watches[namespace] = _Watch(kind=kind, store=store, reflector=reflector, task=task)
        self._stores[kind] = store
        store.subscribe(lambda change: self._changed(served, change))
        log.debug("live_kind_followed", resource=str(kind), namespace=namespace or "(all)")

    def _owners(self, kind: ResourceKind, found: LiveObject) -> tuple[str, ...]:
        owner = self._owner(_marks(kind, found.metadata))
        return (owner,) if owner else ()

    async def _reflect(self, followed: _Followed, namespace: str, reflector: Reflector[LiveObject]) -> None:
        """Keep one watch going; where all namespaces are forbidden, change over to single ones."""
        was_synced = False
        told = ""
        while True:
            try:
                await reflector.step()
            except Exception as error:  # an odd object of one kind must not end the sight of it
                log.error("live_watch_broken", resource=str(followed.served.plural), exc_info=error)
                await self._clock.sleep(_BROKEN_PAUSE_SECONDS)
                continue
            watch = followed.watches.get(namespace)
            if watch is None or watch.reflector is not reflector:
                return
            failure = reflector.failure
            if isinstance(failure, Forbidden) and not namespace and followed.served.namespaced and not self._only:
                self._narrow(followed)
                return
            if failure is not None:
                now = self._clock.monotonic()
                watch.failed(now)
                if watch.is_behind(now) and not watch.is_told_behind:
                    watch.is_told_behind = True
                    self._wake_followers(followed)
            else:
                watch.failing_since = None
            if watch.store.has_synced != was_synced or (reflector.trouble and not was_synced and not told):
                was_synced, told = watch.store.has_synced, reflector.trouble
                self._wake_followers(followed)

    def _tell_recovered(self) -> None:
        """Wake those who were told that something is behind, and is no more."""
        now = self._clock.monotonic()
        for followed in tuple(self._kinds.values()):
            for watch in followed.watches.values():
                if watch.is_told_behind and not watch.is_behind(now):
                    watch.is_told_behind = False
                    self._wake_followers(followed)

    def _narrow(self, followed: _Followed) -> None:
        """Look at single namespaces from now on."""
        log.info("live_kind_narrowed", resource=followed.served.plural, group=followed.served.group)
        watch = followed.watches.pop("", None)
        if watch is not None:
            self._stores.pop(watch.kind, None)
        followed.is_wide = False
        for wanted in self._wanted.values():
            if followed.served in wanted.kinds:
                self._follow_kind(followed.served, wanted)
        self._wake_followers(followed)

    def _wake_followers(self, followed: _Followed) -> None:
        for application, wanted in self._wanted.items():
            if followed.served in wanted.kinds:
                self._wake(application, True)

    def _changed(self, kind: ResourceKind, change: Change[LiveObject]) -> None:
        if change.is_initial:
            return  # whoever follows the kind is woken once, when the whole list is there
        if wakes_nobody(change.old, change.new):
            return
        woken: set[ObjectKey] = set()
        for found in (change.old, change.new):
            if found is None:
                continue
            if (application := self._named.get(self._owner(_marks(kind, found.metadata)))) is not None:
                woken.add(application)
            woken |= self._targets.get(_key(kind, found), set())
        for application in sorted(woken):
            self._wake(application, False)
        for callback in self._on_change:
            callback(kind)

    def _stop(self, followed: _Followed) -> None:
        for namespace in tuple(followed.watches):
            self._stop_watch(followed, namespace)
        self._kinds.pop(followed.served, None)

    def _stop_watch(self, followed: _Followed, namespace: str) -> None:
        watch = followed.watches.pop(namespace)
        self._stores.pop(watch.kind, None)
        watch.task.cancel()
        log.debug("live_kind_left", resource=str(watch.kind), namespace=namespace or "(all)")

    def _mark_idle(self) -> None:
        """Date the watches that nobody needs."""
        now = self._clock.monotonic()
        needed: set[tuple[ResourceKind, str]] = set()
        for wanted in self._wanted.values():
            for kind in wanted.kinds:
                if (followed := self._kinds.get(kind)) is not None:
                    needed |= {(kind, namespace) for namespace in self._namespaces(followed, wanted)}
        for kind, followed in self._kinds.items():
            for namespace, watch in followed.watches.items():
                if (kind, namespace) in needed:
                    watch.unwanted_at = None
                elif watch.unwanted_at is None:
                    watch.unwanted_at = now

    def _drop_idle(self) -> None:
        now = self._clock.monotonic()
        for followed in tuple(self._kinds.values()):
            for namespace, watch in tuple(followed.watches.items()):
                if watch.unwanted_at is not None and now - watch.unwanted_at >= IDLE_SECONDS:
                    self._stop_watch(followed, namespace)
            if not followed.watches:
                self._kinds.pop(followed.served, None)


class _Seen:
    """Implements `observation.LiveObjects` for one Application."""

    def __init__(
        self,
        name: str,
        stores: list[tuple[ResourceKind, Store[LiveObject]]],
        target: Callable[[ResourceKey], LiveObject | None],
    ) -> None:
        self._name = name
        self._stores = stores
        self._target = target
        self._read: dict[ResourceKey, tuple[LiveObject, Object]] = {}  # decoded once per look

    def find(self, key: ResourceKey) -> Object | None:
        found = self._target(key)
        return self._content(key, found) if found is not None else None

    def tracked(self) -> Iterable[Object]:
        seen: set[ResourceKey] = set()  # a kind may be watched in two versions
        for kind, store in self._stores:
            for found in store.by_index(_BY_APPLICATION, self._name):
                if (key := _key(kind, found)) not in seen:
                    seen.add(key)
                    yield self._content(key, found)

    def _content(self, key: ResourceKey, found: LiveObject) -> Object:
        before = self._read.get(key)
        if before is not None and before[0] is found:
            return before[1]
        content = found.content
        self._read[key] = (found, content)
        return content


def _marks(kind: ResourceKind, metadata: ObjectMeta) -> Object:
    """Return as much of an object as tells whose it is."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
        },
    }


def _order(kind: ResourceKind) -> tuple[str, str, str]:
    return (kind.group, kind.kind, kind.version)


def _key(kind: ResourceKind, found: LiveObject) -> ResourceKey:
    return ResourceKey(kind.group, kind.kind, found.metadata.namespace, found.metadata.name)
