"""What goes wrong between a controller and its API server, decided by a seed; and deaths at exactly one write.

`FaultyCluster` wraps any Cluster with trouble that a seed decides: first nothing may be wrong under it, then `stop()`
ends the trouble and the wish must be met. `KillingCluster` lets its user die before or after one particular write,
which finds the crash windows that chance would not.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairlead.core.cluster import Cluster, Page, WatchEvent
from fairlead.core.errors import ClusterError, Conflict, Expired, TooManyRequests, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing.cluster import SimulatedCluster

__all__ = [
    "NONE",
    "ROUGH",
    "Faults",
    "FaultyCluster",
    "KillPoint",
    "Killed",
    "KillingCluster",
    "When",
    "Write",
    "kill_points",
]

_HANG_MARGIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often which trouble comes: probabilities from 0 to 1 per call (or per event, for watches).

    Attributes:
        latency: seconds that every call takes, between these two.
        refused: the connection breaks before the server hears of the request.
        lost_answer: a write is committed and its answer lost.
        conflict: a patch is answered by 409 though nobody wrote.
        throttled: 429, with Retry-After of one second.
        server_error: 500, before the request is carried out.
        unavailable: 503, likewise.
        stale_read: a get or list shows a past of up to `stale_revisions` commits (simulated clusters only).
        compacted: a watch is told that its version is too old.
        watch_cut: a stream breaks off after an event.
        watch_end: a stream ends cleanly after an event.
        watch_duplicate: an event comes twice.
        watch_stall: an event, and all after it, comes up to `stall_seconds` late.
        watch_hang: a new watch says nothing until it is given up (half-open connection).
    """

    latency: tuple[float, float] = (0.0, 0.0)
    refused: float = 0.0
    lost_answer: float = 0.0
    conflict: float = 0.0
    throttled: float = 0.0
    server_error: float = 0.0
    unavailable: float = 0.0
    stale_read: float = 0.0
    stale_revisions: int = 20
    compacted: float = 0.0
    watch_cut: float = 0.0
    watch_end: float = 0.0
    watch_duplicate: float = 0.0
    watch_stall: float = 0.0
    stall_seconds: float = 5.0
    watch_hang: float = 0.0


NONE = Faults()
ROUGH = Faults(
    latency=(0.001, 0.2),
    refused=0.03,
    lost_answer=0.03,
    conflict=0.03,
    throttled=0.02,
    server_error=0.02,
    unavailable=0.02,
    compacted=0.02,
    watch_cut=0.01,
    watch_end=0.01,
    watch_duplicate=0.03,
    watch_stall=0.03,
    watch_hang=0.01,
)


class FaultyCluster(Forwarding):
    """A Cluster that fails now and then, the same way for the same seed and order of calls.

    Attributes:
        injected: how often each fault struck; a test can insist that it saw what it is for.
    """

    def __init__(self, inner: Cluster, *, seed: int, faults: Faults = ROUGH) -> None:
        super().__init__(inner)
        self._random = random.Random(seed)
        self.seed = seed
        self.faults = faults
        self.injected: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"FaultyCluster(seed={self.seed}, injected={dict(self.injected)})"

    def stop(self) -> None:
        """End the trouble: from now on every call does what it should."""
        self.faults = NONE

    def _strikes(self, name: str) -> bool:
        probability: float = getattr(self.faults, name)
        if probability <= 0 or self._random.random() >= probability:
            return False
        self.injected[name] += 1
        return True

    async def _before(self) -> None:
        """Fail before the server has heard anything."""
        low, high = self.faults.latency
        if high > 0:
            await asyncio.sleep(self._random.uniform(low, high))
        if self._strikes("refused"):
            raise Unavailable("connection refused (injected)")
        if self._strikes("throttled"):
            raise TooManyRequests("too many requests (injected)", retry_after=1.0)
        if self._strikes("server_error"):
            raise Unavailable("internal error (injected)", status=500, reason="InternalError")
        if self._strikes("unavailable"):
            raise Unavailable("service unavailable (injected)", status=503, reason="ServiceUnavailable")

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        await self._before()
        if write.verb == "patch" and self._strikes("conflict"):
            raise Conflict("the object has been modified (injected)", status=409, reason="Conflict")
        answer = await call()
        if self._strikes("lost_answer"):
            raise Unavailable("connection lost before the answer (injected)")
        return answer

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        await self._before()
        if isinstance(self.inner, SimulatedCluster) and self._strikes("stale_read"):
            return await self.inner.get(kind, key, revision=self._past(self.inner))
        return await self.inner.get(kind, key)

    def _past(self, inner: SimulatedCluster) -> int:
        storage = inner.api.storage
        lag = self._random.randint(1, max(1, self.faults.stale_revisions))
        return max(storage.compacted, storage.revision - lag, 1)

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
        await self._before()
        if continue_token and self._strikes("compacted"):
            raise Expired("the continue token is too old (injected)", status=410, reason="Expired")
        more: dict[str, Any] = {}
        if not continue_token and isinstance(self.inner, SimulatedCluster) and self._strikes("stale_read"):
            more["revision"] = self._past(self.inner)
        return await self.inner.list(
            kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
            **more,
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
        await self._before()
        if self._strikes("compacted"):
            raise Expired("too old resource version (injected)", status=410, reason="Expired")
        if self._strikes("watch_hang"):
            await asyncio.sleep(timeout_seconds + _HANG_MARGIN_SECONDS)
            raise Unavailable("the watch went silent (injected)")
        events = self.inner.watch(
            kind,
            resource_version=resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )
        # The inner stream is closed with ours, also when we break it off ourselves.
        async with aclosing(events) as stream:  # type: ignore[type-var]
            async for event in stream:
                if self._strikes("watch_stall"):
                    await asyncio.sleep(self._random.uniform(0, self.faults.stall_seconds))
                yield event
                if self._strikes("watch_duplicate"):
                    yield event
                if self._strikes("watch_cut"):
                    raise Unavailable("the watch broke off (injected)")
                if self._strikes("watch_end"):
                    return


class When(StrEnum):
    """On which side of a write its user dies."""

    BEFORE = "before"  # the server never hears of it
    AFTER = "after"  # it is committed, and nobody hears the answer


class Killed(BaseException):  # not an Exception: no error policy may survive its own death
    """The process ended here. Raised by `KillingCluster`, caught only by the test that planned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPoint:
    """Die at the `at`-th write (from 1); with `verb` or `kind` only such writes count.

    Attributes:
        verb: `create`, `patch`, `delete` or `evict`; empty: any.
        kind: the plural with its group, such as `replicasets.apps`; empty: any.
    """

    at: int
    when: When = When.BEFORE
    verb: str = ""
    kind: str = ""


def kill_points(writes: int) -> Iterator[KillPoint]:
    """Yield the 2 * `writes` deaths of a run that makes so many writes when nothing goes wrong."""
    for at in range(1, writes + 1):
        for when in When:
            yield KillPoint(at=at, when=when)


class KillingCluster(Forwarding):
    """A Cluster whose user dies at one write, and is dead from then on.

    Attributes:
        writes: what was asked for so far, the fatal write included.
        counts: the same, counted by (verb, kind).
        is_dead: whether the death has come.
    """

    def __init__(
        self,
        inner: Cluster,
        *,
        at: int = 0,
        when: When | str = When.BEFORE,
        point: KillPoint | None = None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        """Kill at the given point, or at write number `at`; 0 kills never and only counts. `died` is told of it."""
        super().__init__(inner)
        self._point = point or KillPoint(at=at, when=When(when))
        self._died = died
        self._matching = 0
        self.writes: list[Write] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.is_dead = False

    def _die(self) -> Killed:
        self.is_dead = True
        self._died()
        last = self.writes[-1]
        return Killed(f"killed {self._point.when} write {self._point.at}: {last.verb} {last.kind} {last.key}")

    def _check_alive(self) -> None:
        if self.is_dead:
            raise Killed("a dead process makes no calls")

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        self._check_alive()
        self.writes.append(write)
        self.counts[(write.verb, write.kind)] += 1
        counts = self._point.verb in ("", write.verb) and self._point.kind in ("", write.kind)
        self._matching += counts
        strikes = counts and self._matching == self._point.at
        if strikes and self._point.when is When.BEFORE:
            raise self._die()
        try:
            answer = await call()
        except ClusterError:
            if strikes:  # a refusal is an answer too, and nobody hears it
                raise self._die() from None
            raise
        if strikes:
            raise self._die()
        self._check_alive()  # another task of the same process may have died meanwhile
        return answer

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        self._check_alive()
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
        self._check_alive()
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
        self._check_alive()
        events = self.inner.watch(
            kind,
            resource_version=resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )
        async with aclosing(events) as stream:  # type: ignore[type-var]
            async for event in stream:
                self._check_alive()
                yield event
