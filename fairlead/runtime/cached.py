"""A Cluster whose own writes are seen at once: each reply enters the stores before the caller goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.core.clock import Clock
from fairlead.core.cluster import ANY, Cluster, Patch, Preconditions, Propagation
from fairlead.core.forwarding import Forwarding
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.runtime.store import Store

# A reply to these subresources is the object itself; `scale`, for one, answers with another kind.
_WHOLE = ("", "status")


class CachedCluster(Forwarding):
    """Delegates everything to a Cluster and tells the stores what its replies say.

    So a cache is never stale against our own writes: what has been created is not created twice, and the decision
    after a write is based on its result.

    Args:
        cluster: does the work.
        stores: by kind, the stores to be told; read at each call, so entries may be added later. A store that
            holds only what a field selector matches does not belong here.
        clock: dates deletions.
    """

    def __init__(self, cluster: Cluster, stores: Mapping[Kind[Any], Store[Any]], clock: Clock) -> None:
        super().__init__(cluster)
        self._stores = stores
        self._clock = clock

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        return self._told(kind, await super().get(kind, key))

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        return self._told(kind, await super().create(kind, body, namespace=namespace))

    async def patch(self, kind: Kind[T], key: ObjectKey, patch: Patch, *, subresource: str = "") -> T:
        reply = await super().patch(kind, key, patch, subresource=subresource)
        return self._told(kind, reply) if subresource in _WHOLE else reply

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        store = self._stores.get(kind)
        seen = store.get(key) if store is not None else None
        await super().delete(
            kind,
            key,
            preconditions=preconditions,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
        )
        if store is None:
            return
        # Finalizers hold an object back, and so do the propagations that work by one; pods are given time to end.
        is_gone = (
            seen is not None
            and not seen.metadata.finalizers
            and propagation is Propagation.BACKGROUND
            and (kind.plural != "pods" or grace_period_seconds == 0)
        )
        uid = preconditions.uid or (seen.metadata.uid if seen is not None else "")
        store.deleted(key, uid, at=self._clock.now(), is_gone=is_gone)

    def _told(self, kind: Kind[T], reply: T) -> T:
        store = self._stores.get(kind)
        if store is not None:
            store.put(reply)
        return reply
