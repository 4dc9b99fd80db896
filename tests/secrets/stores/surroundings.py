"""What the tests hand to providers: a clock that can be moved, credentials at hand, a count of calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fairlead.secrets.stores import StaticCredentials, open_store
from fairlead.secrets.stores.port import (
    ClusterConnector,
    Credentials,
    RetrySettings,
    Store,
    StoreContext,
    StoreKind,
    StoreSpec,
)
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters

NAMESPACE = "team"


class HandClock:
    """Time moves when a test moves it, and by every sleep."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


@dataclass(kw_only=True)
class Surroundings:
    """Hands out a context and remembers what went through it.

    Attributes:
        calls: by (call, succeeded).
    """

    credentials: Credentials = field(default_factory=StaticCredentials)
    clusters: ClusterConnector = field(default_factory=NoClusters)
    clock: HandClock = field(default_factory=HandClock)
    environment: Mapping[str, str] = field(default_factory=dict)
    calls: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _called: asyncio.Event = field(default_factory=asyncio.Event)

    def context(self, namespace: str = NAMESPACE) -> StoreContext:
        return StoreContext(
            clock=self.clock,
            credentials=self.credentials,
            clusters=self.clusters,
            namespace=namespace,
            environment=self.environment,
            observe_call=self._observe,
        )

    def _observe(self, provider: str, call: str, succeeded: bool) -> None:
        self.calls[call, succeeded] += 1
        self._called.set()

    async def until(self, call: str, count: int) -> None:
        """Return when a call has been made so often; what runs in the background is waited for so."""
        async with asyncio.timeout(20):
            while self.count(call) < count:
                self._called.clear()
                await self._called.wait()

    def count(self, call: str) -> int:
        """Return how often a call was made, whatever came of it."""
        return self.calls[call, True] + self.calls[call, False]


def spec_of(
    provider: str,
    block: Mapping[str, Any],
    *,
    kind: StoreKind = StoreKind.NAMESPACED,
    namespace: str = NAMESPACE,
    retry: RetrySettings | None = None,
) -> StoreSpec:
    """Return a spec from JSON data."""
    return StoreSpec(
        provider=provider,
        block=msgspec.Raw(msgspec.json.encode(block)),
        kind=kind,
        name="store",
        namespace="" if kind is StoreKind.CLUSTER else namespace,
        retry=retry,
    )


@asynccontextmanager
async def opened(
    spec: StoreSpec, around: Surroundings | None = None, providers: StoreProviders | None = None
) -> AsyncIterator[Store]:
    """Yield a live store."""
    async with open_store(spec, (around or Surroundings()).context(), providers=providers or StoreProviders()) as store:
        yield store
