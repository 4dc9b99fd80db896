"""Virtual time: a loop that jumps to its next timer, and clocks for it.

With real sockets or threads use an ordinary loop: a `LoopClock` works on either.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # where simulated time starts unless told otherwise


class Stuck(RuntimeError):
    """Every task of a simulation waits for something that nobody will ever bring about."""


class SimLoop(asyncio.SelectorEventLoop):
    """An asyncio loop under virtual time: when nothing is ready it jumps to the next timer.

    Relies on private names of CPython 3.11 to 3.14 (`_ready`, `_scheduled`, `_run_once`, `_when`,
    `_timer_cancelled_count`); a test guards them.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]
    _timer_cancelled_count: int
    _stopping: bool
    _default_executor: Any

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        # Cancelled timers must neither move time nor make the selector wait for real.
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and not self._stopping:
            if self._scheduled:
                self._virtual = max(self._virtual, self._scheduled[0]._when)
            elif self._default_executor is None:
                # A real loop would wait for ever. With a thread pool somebody outside may still wake us.
                raise Stuck(f"nothing will ever happen again: {_waiting(self)}")
        super()._run_once()  # type: ignore[misc]


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    names = sorted(task.get_name() for task in asyncio.all_tasks(loop))
    return f"{len(names)} tasks wait ({', '.join(names[:20])})" if names else "there is no task"


def run_virtual(coro: Coroutine[Any, Any, T], seed: int = 0) -> T:
    """Return what the coroutine returns when run under virtual time from 0.

    The module `random` is seeded for the run and put back afterwards; a failure carries a note with the seed.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        with asyncio.Runner(loop_factory=SimLoop) as runner:
            return runner.run(coro)
    except BaseException as error:
        error.add_note(f"simulation seed: {seed}")
        raise
    finally:
        random.setstate(before)


class LoopClock:
    """The Clock of a running loop: `start` plus the loop's time since the clock was made.

    Made without a start on an ordinary loop it shows the wall time at its making plus monotonic time since.
    """

    def __init__(self, start: datetime | None = None, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._origin = self._loop.time()
        if start is None:
            start = EPOCH if isinstance(self._loop, SimLoop) else datetime.now(UTC)
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time() - self._origin)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A Clock that stands still until somebody advances it; sleepers wake in the order of their deadlines."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, future))
        await future

    def advance(self, span: float | timedelta) -> None:
        """Move time on and wake those whose time has come (they run when the loop comes to them).

        Args:
            span: seconds, or a timedelta; not negative.
        """
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        assert seconds >= 0, "time does not run backwards"
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
