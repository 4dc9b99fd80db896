"""The wiring of a controller's eyes: kinds to stores, changes to keys.

informers = Informers(cluster, clock, namespace="shop")
rollouts = informers.add(ROLLOUTS)
replica_sets = informers.add(REPLICA_SETS, indexes={"owner": owner_uids})
feed(rollouts, queue, own_key)
feed(replica_sets, queue, controller_key("Rollout"))
informers.cluster     # a Cluster whose own writes enter the stores
await informers.run() # for ever
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.objects import HasMetadata, Kind, ObjectKey, T
from fairlead.core.selectors import parse
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.reflector import DEFAULTS, Reflector, ReflectorSettings
from fairlead.runtime.store import Change, Index, Store
from fairlead.runtime.workqueue import Lane, WorkQueue

K = TypeVar("K", bound=Hashable)


class Informers:
    """The stores of a controller, each fed by a reflector of its own.

    Args:
        cluster: is listed and watched.
        clock: for everything.
        namespace: look at this one only (cluster-scoped kinds aside); empty: at all.
        rng: draws jitter.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        namespace: str = "",
        rng: random.Random | None = None,
        settings: ReflectorSettings = DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._rng = rng or random.Random()
        self._settings = settings
        self._stores: dict[Kind[Any], Store[Any]] = {}
        self._cached: dict[Kind[Any], Store[Any]] = {}
        self._reflectors: dict[Kind[Any], Reflector[Any]] = {}
        self._wanted: dict[Kind[Any], asyncio.Event] = {}  # of kinds that are not looked at before somebody asks
        self.cluster: Cluster = CachedCluster(cluster, self._cached, clock)

    def add(
        self,
        kind: Kind[T],
        *,
        indexes: Mapping[str, Index[T]] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        on_demand: bool = False,
    ) -> Store[T]:
        """Return the store of a kind, which `run` will feed. To be called once per kind, before `run`.

        Args:
            on_demand: not before somebody calls `want`; until then nobody waits for it.
        """
        assert kind not in self._stores, f"{kind} has been added already"
        namespace = self._namespace if kind.namespaced else ""
        store: Store[T] = Store(
            str(kind), self._clock, indexes=indexes, namespace=namespace, selector=parse(label_selector)
        )
        self._stores[kind] = store
        if not field_selector:  # else we cannot tell which replies belong into the store
            self._cached[kind] = store
        self._reflectors[kind] = Reflector(
            self._cluster,
            kind,
            store,
            self._clock,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            rng=self._rng,
            settings=self._settings,
        )
        if on_demand:
            self._wanted[kind] = asyncio.Event()
        return store

    def want(self, kind: Kind[Any]) -> bool:
        """Have the store of a kind fed from now on; return whether it has been filled."""
        if kind in self._wanted:
            self._wanted[kind].set()
        return self._stores[kind].has_synced

    def _needed(self) -> dict[Kind[Any], Store[Any]]:
        return {
            kind: store
            for kind, store in self._stores.items()
            if kind not in self._wanted or self._wanted[kind].is_set()
        }

    def store(self, kind: Kind[T]) -> Store[T]:
        """Return the store of a kind that has been added. KeyError: it has not."""
        return self._stores[kind]

    async def run(self) -> None:
        """Keep all stores up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind, reflector in self._reflectors.items():
                group.create_task(self._reflect(kind, reflector), name=f"reflector-{kind}")

    async def _reflect(self, kind: Kind[Any], reflector: Reflector[Any]) -> None:
        if kind in self._wanted:
            await self._wanted[kind].wait()
        await reflector.run()

    async def wait_synced(self) -> None:
        """Return once each store has seen a whole list, or learnt that its kind is not served."""
        for store in self._needed().values():
            await store.wait_synced()

    @property
    def has_synced(self) -> bool:
        return all(store.has_synced for store in self._needed().values())

    def troubles(self) -> Mapping[str, str]:
        """Return, by kind, why a store may be behind; for readiness and for people."""
        return {str(kind): reflector.trouble for kind, reflector in self._reflectors.items() if reflector.trouble}

    def unserved(self) -> tuple[str, ...]:
        """Return the kinds that the API server does not know."""
        return tuple(str(kind) for kind, store in self._stores.items() if not store.served)


def feed(
    store: Store[T],
    queue: WorkQueue[K],
    keys: Callable[[T], Iterable[K]],
    *,
    lane: Callable[[Change[T]], Lane] | None = None,
) -> None:
    """Have every change of a store looked at.

    Args:
        keys: which keys an object concerns; asked for the old and for the new one, so that an object that changes
            hands wakes both.
        lane: how urgent a change is; default: FIRST for what the first list brings, else NORMAL.
    """

    def enqueue(change: Change[T]) -> None:
        chosen = lane(change) if lane is not None else first_or_normal(change)
        for found in (change.old, change.new):
            if found is not None:
                for key in keys(found):
                    queue.add(key, chosen)

    store.subscribe(enqueue)


def first_or_normal(change: Change[Any]) -> Lane:
    """Return the lane of a change that is not urgent."""
    return Lane.FIRST if change.is_initial else Lane.NORMAL


def own_key(found: HasMetadata) -> tuple[ObjectKey]:
    """Return the key of the object itself."""
    return (found.metadata.key,)


def controller_key(kind: str, group: str = "") -> Callable[[HasMetadata], tuple[ObjectKey, ...]]:
    """Return a function from an object to the key of the `kind` that controls it, if one does.

    Args:
        group: API group that the owner must be of, any version; empty: any group.
    """

    def key_of(found: HasMetadata) -> tuple[ObjectKey, ...]:
        owner = found.metadata.controller
        if owner is None or owner.kind != kind or (group and owner.api_version.rpartition("/")[0] != group):
            return ()
        return (ObjectKey(found.metadata.namespace, owner.name),)

    return key_of
