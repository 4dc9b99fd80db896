"""A Cluster that hands everything on: the base of those that only add something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fairlead.core.cluster import ANY, Cluster, Page, Patch, Preconditions, Propagation, WatchEvent
from fairlead.core.objects import Kind, ObjectKey, T

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was asked for: `create`, `patch`, `delete` or `evict`."""

    verb: str
    kind: str  # the plural with its group, such as `replicasets.apps`
    key: ObjectKey
    subresource: str = ""


class Forwarding:
    """Hands every call to another Cluster. Override `write` to stand around all writes, or single calls."""

    def __init__(self, inner: Cluster) -> None:
        self.inner = inner

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        """Make a write; `call` is the request, to be awaited once, or never."""
        return await call()

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        return await self.inner.get(kind, key)

    async def list(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[T]:
        return await self.inner.list(
            kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
        )

    def watch(
        self,
        kind: Kind[T],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncIterator[WatchEvent[T]]:
        return self.inner.watch(
            kind,
            resource_version=resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        metadata = body.get("metadata") or {}
        key = ObjectKey(namespace or metadata.get("namespace", ""), metadata.get("name", ""))
        write = Write("create", str(kind), key)
        return await self.write(write, lambda: self.inner.create(kind, body, namespace=namespace))

    async def patch(self, kind: Kind[T], key: ObjectKey, patch: Patch, *, subresource: str = "") -> T:
        write = Write("patch", str(kind), key, subresource)
        return await self.write(write, lambda: self.inner.patch(kind, key, patch, subresource=subresource))

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        await self.write(
            Write("delete", str(kind), key),
            lambda: self.inner.delete(
                kind,
                key,
                preconditions=preconditions,
                propagation=propagation,
                grace_period_seconds=grace_period_seconds,
            ),
        )

    async def evict(self, key: ObjectKey) -> None:
        await self.write(Write("evict", "pods", key), lambda: self.inner.evict(key))
