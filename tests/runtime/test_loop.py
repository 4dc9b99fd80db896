"""What an error means, and that one object's trouble stays its own. Under virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from fairlead.core.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    MissingExtra,
    NotFound,
    ProtocolError,
    ProviderError,
    SpecError,
    TooManyRequests,
    Unavailable,
)
from fairlead.runtime.loop import Controller, delay_after
from fairlead.runtime.workqueue import Lane, WorkQueue
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual

Reconcile = Callable[[str], Awaitable[datetime | None]]


@pytest.mark.parametrize(
    ("error", "first", "fifth", "hundredth"),
    [
        pytest.param(SpecError("bad", path="spec"), None, None, None, id="spec"),
        pytest.param(NotFound("gone"), None, None, None, id="not-found"),
        pytest.param(Conflict("c"), 0.001, 0.016, 10, id="conflict"),
        pytest.param(AlreadyExists("e"), 0.001, 0.016, 10, id="already-exists"),
        pytest.param(Expired("e"), 0.001, 0.016, 10, id="expired"),
        pytest.param(Unavailable("down"), 0.1, 1.6, 10, id="unavailable"),
        pytest.param(Unavailable("down", retry_after=7), 7, 7, 10, id="unavailable-until"),
        pytest.param(TooManyRequests("slow"), 0.1, 1.6, 10, id="too-many-requests"),
        pytest.param(TooManyRequests("slow", retry_after=3), 3, 3, 10, id="too-many-requests-until"),
        pytest.param(TooManyRequests("slow", retry_after=1e9), 60, 60, 60, id="absurd-retry-after"),
        pytest.param(Invalid("i"), 1, 16, 60, id="invalid"),
        pytest.param(Forbidden("f"), 5, 80, 300, id="forbidden"),
        pytest.param(ProviderError("p", provider="prometheus"), 1, 16, 60, id="provider"),
        pytest.param(ProtocolError("p"), 1, 16, 60, id="protocol"),
        pytest.param(MissingExtra("cryptography", extra="crypto"), 1, 16, 60, id="missing-extra"),
        pytest.param(TimeoutError(), 1, 16, 60, id="time-out"),
        pytest.param(KeyError("x"), 1, 16, 60, id="bug"),
    ],
)
def test_the_policy(error: Exception, first: float | None, fifth: float | None, hundredth: float | None) -> None:
    assert (delay_after(error, 0), delay_after(error, 4), delay_after(error, 99)) == (first, fifth, hundredth)


def test_jitter_takes_away_up_to_half_but_never_from_what_the_server_asked_for() -> None:
    assert delay_after(Invalid("i"), 0, jitter=1.0) == 0.5
    assert delay_after(TooManyRequests("slow", retry_after=3), 0, jitter=1.0) == 3


class Counts:
    def __init__(self) -> None:
        self.seen: list[tuple[str, float, str]] = []

    def on_reconcile(self, name: str, seconds: float, error: str) -> None:
        self.seen.append((name, seconds, error))


def work(
    reconcile: Reconcile,
    add: Callable[[WorkQueue[str]], None],
    seconds: float,
    *,
    workers: int = 2,
    hook: Counts | None = None,
    time_limit: float = 300.0,
    later: Callable[[Controller[str]], Awaitable[None]] | None = None,
) -> None:
    """Run a controller for that long, then stop it and wait for its end."""

    async def story() -> None:
        clock = LoopClock()
        queue: WorkQueue[str] = WorkQueue(clock)
        controller = Controller(
            "Rollout",
            queue,
            reconcile,
            clock=clock,
            workers=workers,
            hook=hook,
            rng=random.Random(1),
            time_limit_seconds=time_limit,
        )
        running = asyncio.create_task(controller.run())
        add(queue)
        if later is not None:
            await later(controller)
        await asyncio.sleep(seconds)
        controller.stop()
        await running

    run_virtual(story())


def now() -> float:
    return asyncio.get_running_loop().time()


def instant(seconds: float) -> datetime:
    """Return the instant that is so many seconds ahead."""
    return EPOCH + timedelta(seconds=now() + seconds)


def test_a_reconciliation_says_when_to_look_again() -> None:
    seen: list[float] = []

    async def reconcile(key: str) -> datetime | None:
        seen.append(round(now(), 3))
        return instant(30) if len(seen) < 3 else None

    work(reconcile, lambda queue: queue.add("a"), 1000)
    assert seen == [0, 30, 60]


def test_looking_again_at_once_does_not_spin() -> None:
    seen: list[float] = []

    async def reconcile(key: str) -> datetime | None:
        seen.append(now())
        return instant(-5)

    work(reconcile, lambda queue: queue.add("a"), 1)
    assert 90 <= len(seen) <= 101


def test_success_resets_the_back_off() -> None:
    seen: list[float] = []

    async def reconcile(key: str) -> datetime | None:
        seen.append(now())
        if len(seen) == 6:
            return instant(100)
        if len(seen) < 12:
            raise Unavailable("down")
        return None

    work(reconcile, lambda queue: queue.add("a"), 1000)
    assert len(seen) == 12
    assert 0.05 <= seen[7] - seen[6] <= 0.1


def test_an_error_that_only_a_change_can_mend_is_not_retried() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> datetime | None:
        seen.append(key)
        raise SpecError("120 is above 100", path="spec.strategy.canary.steps[2].setWeight")

    async def change_it(controller: Controller[str]) -> None:
        await asyncio.sleep(500)
        controller.queue.add("a")

    work(reconcile, lambda queue: queue.add("a"), 1000, later=change_it)
    assert seen == ["a", "a"]


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        pytest.param(Conflict("somebody wrote first"), "reconcile_failed", "debug", id="conflict"),
        pytest.param(Forbidden("no"), "reconcile_failed", "warning", id="forbidden"),
        pytest.param(ZeroDivisionError("a bug"), "reconcile_broken", "error", id="bug"),
    ],
)
def test_failures_are_logged_with_what_was_being_done(error: Exception, event: str, level: str) -> None:
    contexts: list[dict[str, object]] = []

    async def reconcile(key: str) -> datetime | None:
        contexts.append(dict(structlog.contextvars.get_contextvars()))
        raise error

    with capture_logs() as logs:
        work(reconcile, lambda queue: queue.add("shop/cart"), 0.0004)
    assert [(line["event"], line["log_level"], line["error"]) for line in logs] == [
        (event, level, type(error).__name__)
    ]
    assert logs[0]["attempt"] == 1
    assert ("exc_info" in logs[0]) is (event == "reconcile_broken")
    assert contexts[0]["kind"] == "Rollout"
    assert contexts[0]["object"] == "shop/cart"
    assert contexts[0]["reconcile_id"]


def test_a_bug_kills_no_worker() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> datetime | None:
        if key.startswith("poison"):
            raise RecursionError("too deep")
        seen.append(key)
        return None

    def add(queue: WorkQueue[str]) -> None:
        for number in range(20):
            queue.add(f"poison-{number}")
        queue.add("good")

    work(reconcile, add, 5, workers=1)
    assert seen == ["good"]


def test_a_stray_cancellation_kills_no_worker() -> None:
    """Awaiting what somebody else has cancelled raises CancelledError in a worker that nobody has cancelled."""
    seen: list[str] = []

    async def reconcile(key: str) -> datetime | None:
        if key == "poison":
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        seen.append(key)
        return None

    def add(queue: WorkQueue[str]) -> None:
        for _ in range(3):
            queue.add("poison")
        queue.add("good")

    with capture_logs() as logs:
        work(reconcile, add, 0.1, workers=1)
    assert seen == ["good"]
    assert [line["event"] for line in logs] == ["reconcile_broken"]


def test_a_poison_object_does_not_delay_others() -> None:
    """One object of 1,000 fails all the time; the rest end in the time that they need."""
    finished: dict[str, float] = {}
    attempts = 0

    async def reconcile(key: str) -> datetime | None:
        nonlocal attempts
        await asyncio.sleep(0.01)
        if key == "poison":
            attempts += 1
            raise Unavailable("always")
        finished.setdefault(key, now())
        return None

    def add(queue: WorkQueue[str]) -> None:
        queue.add("poison")
        for number in range(999):
            queue.add(f"n{number}")

    work(reconcile, add, 60, workers=10)
    assert len(finished) == 999
    assert max(finished.values()) < 1.2 * 999 * 0.01 / 10
    assert attempts <= 20


def test_a_reconciliation_that_never_ends_is_broken_off() -> None:
    seen: list[float] = []

    async def reconcile(key: str) -> datetime | None:
        seen.append(now())
        if len(seen) == 1:
            await asyncio.sleep(10**6)
        return None

    with capture_logs() as logs:
        work(reconcile, lambda queue: queue.add("a"), 100, time_limit=30)
    assert [line["event"] for line in logs] == ["reconcile_timed_out"]
    assert 30.5 <= seen[1] <= 31


def test_an_urgent_key_does_not_wait_for_slow_workers() -> None:
    seen: dict[str, float] = {}

    async def reconcile(key: str) -> datetime | None:
        seen[key] = now()
        if key.startswith("slow"):
            await asyncio.sleep(200)
        return None

    def add(queue: WorkQueue[str]) -> None:
        for number in range(50):
            queue.add(f"slow-{number}")

    async def abort(controller: Controller[str]) -> None:
        await asyncio.sleep(1)
        controller.queue.add("abort", Lane.URGENT)

    work(reconcile, add, 10, workers=3, later=abort)
    assert seen["abort"] == 1


def test_many_urgent_keys_do_not_wait_for_each_other() -> None:
    seen: dict[str, float] = {}

    async def reconcile(key: str) -> datetime | None:
        seen.setdefault(key, now())
        await asyncio.sleep(5)
        return None

    def add(queue: WorkQueue[str]) -> None:
        for number in range(50):
            queue.add(f"abort-{number}", Lane.URGENT)

    work(reconcile, add, 10, workers=2)
    assert set(seen.values()) == {0.0}


def test_keys_are_reconciled_in_parallel_but_each_by_one_worker() -> None:
    running: set[str] = set()
    most = 0

    async def reconcile(key: str) -> datetime | None:
        nonlocal most
        assert key not in running
        running.add(key)
        most = max(most, len(running))
        await asyncio.sleep(1)
        running.discard(key)
        return None

    async def again(controller: Controller[str]) -> None:
        for _ in range(10):
            await asyncio.sleep(0.3)
            for key in "abcdef":
                controller.queue.add(key)

    work(reconcile, lambda queue: queue.add("a"), 10, workers=4, later=again)
    assert most == 4


def test_stopping_lets_the_running_reconciliation_end() -> None:
    ended: list[float] = []

    async def reconcile(key: str) -> datetime | None:
        await asyncio.sleep(5)
        ended.append(now())
        return None

    def add(queue: WorkQueue[str]) -> None:
        queue.add("a")
        queue.add("b")

    work(reconcile, add, 1, workers=1)
    assert ended == [5]


def test_cancelling_ends_at_once() -> None:
    async def story() -> float:
        clock = LoopClock()
        queue: WorkQueue[str] = WorkQueue(clock)

        async def reconcile(key: str) -> datetime | None:
            await asyncio.sleep(100)
            return None

        running = asyncio.create_task(Controller("Rollout", queue, reconcile, clock=clock).run())
        queue.add("a")
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        return now()

    assert run_virtual(story()) == 1


def test_the_hook_is_told_of_each_reconciliation() -> None:
    counts = Counts()

    async def reconcile(key: str) -> datetime | None:
        await asyncio.sleep(2)
        if key == "bad":
            raise SpecError("bad")
        return None

    def add(queue: WorkQueue[str]) -> None:
        queue.add("good")
        queue.add("bad")

    work(reconcile, add, 10, workers=1, hook=counts)
    assert counts.seen == [("Rollout", 2, ""), ("Rollout", 2, "SpecError")]


def test_nothing_of_a_cancelled_controller_is_left() -> None:
    async def story() -> None:
        async def reconcile(key: str) -> datetime | None:
            return instant(3600)

        clock = LoopClock()
        queue: WorkQueue[str] = WorkQueue(clock)
        running = asyncio.create_task(Controller("Rollout", queue, reconcile, clock=clock).run())
        queue.add("a")
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(0)  # what was cancelled notices
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(story())
