"""Virtual time is exact, costs no real time, and never hides a deadlock."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from fairlead.core.clock import Clock
from fairlead.testing.clock import EPOCH, LoopClock, ManualClock, SimLoop, Stuck, run_virtual


def test_the_private_names_of_cpython_are_there() -> None:
    """SimLoop hangs on them: a Python without them must fail here, and not in a simulation that waits for real."""
    loop = asyncio.SelectorEventLoop()
    try:
        timer = loop.call_later(10, lambda: None)
        assert timer in loop._scheduled  # type: ignore[attr-defined]
        assert timer._when == timer.when()  # type: ignore[attr-defined]
        assert not timer._cancelled
        assert loop._timer_cancelled_count == 0  # type: ignore[attr-defined]
        timer.cancel()
        assert loop._timer_cancelled_count == 1  # type: ignore[attr-defined]
        assert not loop._ready  # type: ignore[attr-defined]
        assert loop._default_executor is None  # type: ignore[attr-defined]
        assert loop._stopping is False  # type: ignore[attr-defined]
        assert callable(loop._run_once)  # type: ignore[attr-defined]
    finally:
        loop.close()


def test_sleeps_end_exactly_when_they_should() -> None:
    async def story() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []

        async def sleeper(seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(loop.time())

        await asyncio.gather(*(sleeper(seconds) for seconds in (3600, 0.25, 86400, 60)))
        return seen

    assert run_virtual(story()) == [0.25, 60, 3600, 86400]


def test_a_cancelled_timer_does_not_move_time() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            await asyncio.sleep(1)
        waiter = asyncio.create_task(asyncio.sleep(100))
        late = loop.call_later(50, lambda: None)
        late.cancel()
        waiter.cancel()
        await asyncio.sleep(400)
        return loop.time()

    assert run_virtual(story()) == 401


def test_a_deadlock_is_an_error() -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="1 tasks wait"):
        run_virtual(story())


def test_a_failure_names_its_seed_and_randomness_is_seeded() -> None:
    async def draw() -> float:
        return random.random()

    async def fail() -> None:
        raise ValueError("boom")

    assert run_virtual(draw(), seed=7) == run_virtual(draw(), seed=7)
    assert run_virtual(draw(), seed=7) != run_virtual(draw(), seed=8)
    with pytest.raises(ValueError, match="boom") as caught:
        run_virtual(fail(), seed=41)
    assert caught.value.__notes__ == ["simulation seed: 41"]


def test_loop_clock_shows_the_start_plus_the_loops_time() -> None:
    async def story() -> tuple[datetime, datetime]:
        clock: Clock = LoopClock(datetime(2030, 5, 1, tzinfo=UTC))
        before = clock.now()
        await clock.sleep(90)
        return before, clock.now()

    before, after = run_virtual(story())
    assert before == datetime(2030, 5, 1, tzinfo=UTC)
    assert after - before == timedelta(seconds=90)


async def test_loop_clock_on_an_ordinary_loop_starts_at_wall_time() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        before = datetime.now(UTC)
        assert LoopClock(loop=loop).now() >= before
    finally:
        loop.close()


async def test_manual_clock_wakes_sleepers_in_order() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("late", 20))
        tasks.create_task(sleeper("early", 10))
        await asyncio.sleep(0)
        clock.advance(9)
        await asyncio.sleep(0)
        assert woken == []
        clock.advance(timedelta(seconds=11))
    assert woken == ["early", "late"]
    assert clock.now() == EPOCH + timedelta(seconds=20)
    assert clock.monotonic() == 20


def test_sim_loop_is_a_loop_factory() -> None:
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        assert runner.get_loop().time() == 0
