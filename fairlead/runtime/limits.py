"""A Cluster that asks the API server no oftener than it is allowed to: a bucket of tokens, filled at a steady rate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, Page, WatchEvent
from fairlead.core.forwarding import Forwarding, Write
from fairlead.core.objects import Kind, ObjectKey, T

R = TypeVar("R")


class Bucket:
    """Lets `burst` requests through at once, and then `per_second` of them.

    Who comes too early waits for a token of its own, in the order of coming.
    """

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"expected a rate above 0 and a burst of 1 or more, found {per_second} and {burst}")
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = clock.monotonic()

    async def take(self) -> None:
        """Return when it is this request's turn."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        self._tokens -= 1  # below 0: of those who wait, each has taken one that is not there yet
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self._per_second)


class LimitedCluster(Forwarding):
    """Waits for a token before each request; a watch takes one when it is opened."""

    def __init__(self, inner: Cluster, bucket: Bucket) -> None:
        super().__init__(inner)
        self._bucket = bucket

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        await self._bucket.take()
        return await call()

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        await self._bucket.take()
        return await super().get(kind, key)

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
        await self._bucket.take()
        return await super().list(
            kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
        )

    async def watch(
        self,
        kind: Kind[T],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncIterator[WatchEvent[T]]:
        await self._bucket.take()
        events = super().watch(
            kind,
            resource_version=resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )
        try:
            async for event in events:
                yield event
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
