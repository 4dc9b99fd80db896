"""The loop of a controller: take a key, reconcile it, decide by one policy what an error means.

A reconcile function is told *which* object, never *what happened*. It answers when it wants to look again at the
latest, or None: when something changes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog

from fairlead.core.backoff import RECONCILE, Backoff
from fairlead.core.clock import Clock
from fairlead.core.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    FairleadError,
    Forbidden,
    Invalid,
    NotFound,
    ProviderError,
    SpecError,
    TooManyRequests,
    Unavailable,
)
from fairlead.runtime.workqueue import Lane, QueueClosed, WorkQueue

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

REFUSED = Backoff(first=1.0, most=60.0)  # the same request fails again, until somebody changes something elsewhere
DENIED = Backoff(first=5.0, most=300.0)  # a person has to grant a right or raise a quota: minutes at best
OUTAGE = Backoff(first=0.1, most=10.0)  # the server is down or busy: be back soon, and do not add to its load
BUG = Backoff(first=1.0, most=60.0)
RETRY_AFTER_MAX_SECONDS = 60.0  # the longest time that a server may tell us to stay away
SOON_SECONDS = 0.01  # "look again at once" is this late, so that two machines cannot spin


class ReconcileHook(Protocol):
    """Is told of each reconciliation; for metrics. Must not raise."""

    def on_reconcile(self, name: str, seconds: float, error: str) -> None:
        """Take note that one ended.

        Args:
            name: of the controller.
            seconds: that it took.
            error: class name of what it raised; empty if nothing.
        """
        ...


def delay_after(error: Exception, attempt: int, *, jitter: float = 0.0) -> float | None:
    """Return seconds until the next attempt, or None: nothing helps until the object changes.

    Args:
        error: what the reconciliation raised.
        attempt: how many attempts failed in a row before this one.
        jitter: a number in 0..1, takes away up to half of the delay.
    """
    match error:
        case SpecError():
            return None  # retrying is useless until the spec changes, and then a change arrives
        case NotFound():
            return None  # it is gone, and the watch says so; or it will come, and the watch says that
        case Conflict() | AlreadyExists() | Expired():
            return RECONCILE.delay(attempt, jitter=jitter)  # read again, decide again, at once
        case TooManyRequests(retry_after=asked) | Unavailable(retry_after=asked):
            return max(OUTAGE.delay(attempt, jitter=jitter), min(asked or 0.0, RETRY_AFTER_MAX_SECONDS))
        case Forbidden():
            return DENIED.delay(attempt, jitter=jitter)
        case Invalid() | ProviderError():
            return REFUSED.delay(attempt, jitter=jitter)
        case FairleadError():
            return REFUSED.delay(attempt, jitter=jitter)
        case TimeoutError():
            return REFUSED.delay(attempt, jitter=jitter)
        case _:
            return BUG.delay(attempt, jitter=jitter)


class Controller(Generic[K]):
    """Runs a reconcile function over a queue, with so many workers, until it is stopped.

    More workers than asked for serve the urgent lane alone: an abort waits neither for slow reconciliations of other
    objects nor, when many are aborted at once, for what others still have to tidy up after their first write. An error
    of one object delays that object and no other.

    Args:
        name: of the controller: in logs, metrics and task names; usually the kind.
        queue: hands out the keys.
        reconcile: takes one object one decision further; the instant at which to look again, or None.
        clock: dates and measures.
        workers: how many reconciliations may run at a time, urgent ones aside.
        urgent_workers: how many urgent ones may run besides.
        hook: is told of each reconciliation.
        rng: draws jitter and reconcile ids.
        time_limit_seconds: a reconciliation that takes longer is broken off, which must be as harmless as a crash.
    """

    def __init__(
        self,
        name: str,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[datetime | None]],
        *,
        clock: Clock,
        workers: int = 10,
        urgent_workers: int = 64,
        hook: ReconcileHook | None = None,
        rng: random.Random | None = None,
        time_limit_seconds: float = 300.0,
    ) -> None:
        self.name = name
        self.queue = queue
        self._reconcile = reconcile
        self._clock = clock
        self._workers = workers
        self._urgent_workers = urgent_workers
        self._hook = hook
        self._rng = rng or random.Random()
        self._time_limit_seconds = time_limit_seconds

    async def run(self) -> None:
        """Work until `stop` is called (then return when the last reconciliation has ended) or cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._urgent_workers):
                    group.create_task(self._work(Lane.URGENT), name=f"{self.name}-urgent-{number}")
                for number in range(self._workers):
                    group.create_task(self._work(Lane.NORMAL), name=f"{self.name}-{number}")
        finally:
            self.queue.close()  # after a cancellation too: its timer must not outlive the workers

    def stop(self) -> None:
        """Begin nothing new. What runs ends in its own time; cancel `run` to cut that short."""
        self.queue.close()

    async def _work(self, lowest: Lane) -> None:
        while True:
            try:
                key = await self.queue.take(lowest)
            except QueueClosed:
                return
            try:
                await self._once(key)
            finally:
                self.queue.done(key)

    async def _once(self, key: K) -> None:
        started = self._clock.monotonic()
        failure: Exception | None = None
        reconcile_id = f"{self._rng.getrandbits(32):08x}"
        with structlog.contextvars.bound_contextvars(kind=self.name, object=str(key), reconcile_id=reconcile_id):
            try:
                async with asyncio.timeout(self._time_limit_seconds):
                    wake_at = await self._reconcile(key)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                assert task is not None, "a worker is a task"
                if task.cancelling():
                    raise
                # Nobody cancelled us: something that was awaited had been cancelled by somebody else. A worker that
                # died of it would be missed by nobody.
                failure = RuntimeError(f"a reconciliation was left with a stray cancellation: {error!r}")
            except Exception as error:  # noqa: BLE001  # the one place where every error is answered by the policy
                failure = error
            if failure is None:
                self._succeeded(key, wake_at)
            else:
                self._failed(key, failure)
        if self._hook is not None:
            name = type(failure).__name__ if failure is not None else ""
            self._hook.on_reconcile(self.name, self._clock.monotonic() - started, name)

    def _succeeded(self, key: K, wake_at: datetime | None) -> None:
        self.queue.forget(key)
        if wake_at is not None:
            self.queue.add_after(key, max(SOON_SECONDS, (wake_at - self._clock.now()).total_seconds()))

    def _failed(self, key: K, error: Exception) -> None:
        attempt = self.queue.failures(key)
        seconds = delay_after(error, attempt, jitter=self._rng.random())
        if seconds is None:
            self.queue.forget(key)
        else:
            self.queue.retry(key, seconds)
        facts = {
            "error": type(error).__name__,
            "message": str(error),
            "attempt": attempt + 1,
            "retry_seconds": None if seconds is None else round(seconds, 3),
        }
        if isinstance(error, TimeoutError):
            log.error("reconcile_timed_out", limit_seconds=self._time_limit_seconds, **facts)
        elif not isinstance(error, FairleadError):
            log.error("reconcile_broken", exc_info=error, **facts)
        elif isinstance(error, Conflict) and attempt < 3:
            log.debug("reconcile_failed", **facts)  # somebody wrote first: everyday life
        else:
            log.warning("reconcile_failed", **facts)
