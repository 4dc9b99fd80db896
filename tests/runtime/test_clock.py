"""The clock of a real process."""

from __future__ import annotations

from datetime import UTC

from fairlead.core.clock import Clock
from fairlead.runtime.clock import SystemClock


async def test_it_is_a_clock_that_never_goes_back() -> None:
    clock: Clock = SystemClock()
    before, started = clock.now(), clock.monotonic()
    await clock.sleep(0)
    assert before.tzinfo is UTC
    assert clock.now() >= before
    assert clock.monotonic() >= started


async def test_a_jump_of_the_wall_clock_moves_nothing() -> None:
    clock = SystemClock()
    clock._origin -= 3600  # an hour of monotonic time has passed since the start, whatever the wall says
    assert (clock.now() - clock._start).total_seconds() >= 3600
