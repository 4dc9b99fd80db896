"""A Cluster whose answers are written down beforehand, and objects for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead.core.cluster import (
    ANY,
    EventType,
    Page,
    Patch,
    Preconditions,
    Propagation,
    Undecodable,
    WatchEvent,
)
from fairlead.core.kinds import ReplicaSet, ReplicaSetSpec
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta


def replica_set(
    name: str,
    version: int | str = 1,
    *,
    uid: str = "",
    namespace: str = "shop",
    replicas: int = 1,
    labels: dict[str, str] | None = None,
    **meta: Any,
) -> ReplicaSet:
    """Return a ReplicaSet; its UID is its name unless told otherwise."""
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or name,
            resource_version=str(version),
            labels=labels or {},
            **meta,
        ),
        spec=ReplicaSetSpec(replicas=replicas),
    )


def undecodable(name: str, version: int = 1) -> Undecodable:
    meta = ObjectMeta(name=name, namespace="shop", uid=name, resource_version=str(version))
    return Undecodable(metadata=meta, error="spec.replicas: expected int, got str")


def event(type_: EventType, item: ReplicaSet | Undecodable) -> WatchEvent[ReplicaSet]:
    return WatchEvent(type=type_, object=item, resource_version=item.metadata.resource_version)


def added(item: ReplicaSet | Undecodable) -> WatchEvent[ReplicaSet]:
    return event(EventType.ADDED, item)


def modified(item: ReplicaSet | Undecodable) -> WatchEvent[ReplicaSet]:
    return event(EventType.MODIFIED, item)


def deleted(item: ReplicaSet | Undecodable) -> WatchEvent[ReplicaSet]:
    return event(EventType.DELETED, item)


def bookmark(version: int | str) -> WatchEvent[ReplicaSet]:
    return WatchEvent(type=EventType.BOOKMARK, object=None, resource_version=str(version))


def page(*items: ReplicaSet | Undecodable, version: int | str = 10, token: str = "") -> Page[ReplicaSet]:
    return Page(
        items=tuple(item for item in items if isinstance(item, ReplicaSet)),
        undecodable=tuple(item for item in items if isinstance(item, Undecodable)),
        resource_version=str(version),
        continue_token=token,
    )


# What a watch does, in turn: yield an event, wait so many seconds, or raise. Then it ends.
WatchScript = list[WatchEvent[ReplicaSet] | float | Exception]


@dataclass
class ScriptedCluster:
    """Answers lists and watches from scripts, notes every request; writes go to `write`.

    When a script is at its end, a list fails the test and a watch stays silent for ever.
    """

    lists: list[Page[ReplicaSet] | Exception] = field(default_factory=list)
    watches: list[WatchScript] = field(default_factory=list)
    write: Callable[..., Awaitable[Any]] | None = None
    requests: list[tuple[Any, ...]] = field(default_factory=list)
    open_watches: int = 0

    async def get(self, kind: Kind[Any], key: ObjectKey) -> Any:
        assert self.write is not None
        return await self.write("get", kind, key)

    async def list(
        self,
        kind: Kind[Any],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[Any]:
        self.requests.append(("list", asyncio.get_running_loop().time(), continue_token))
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(
        self,
        kind: Kind[Any],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncIterator[WatchEvent[Any]]:
        self.requests.append(("watch", asyncio.get_running_loop().time(), resource_version))
        script = self.watches.pop(0) if self.watches else [10.0**9]
        self.open_watches += 1
        try:
            for line in script:
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, float):
                    await asyncio.sleep(line)
                else:
                    yield line
        finally:
            self.open_watches -= 1

    async def create(self, kind: Kind[Any], body: Mapping[str, Any], *, namespace: str = "") -> Any:
        assert self.write is not None
        return await self.write("create", kind, namespace, body)

    async def patch(self, kind: Kind[Any], key: ObjectKey, patch: Patch, *, subresource: str = "") -> Any:
        assert self.write is not None
        return await self.write("patch", kind, key, patch, subresource)

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        assert self.write is not None
        await self.write("delete", kind, key, preconditions)

    async def evict(self, key: ObjectKey) -> None:
        assert self.write is not None
        await self.write("evict", key)
