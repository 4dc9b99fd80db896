"""The rules of the queue, one test each, under virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.runtime.workqueue import Lane, QueueClosed, WorkQueue
from fairlead.testing.clock import LoopClock, run_virtual
from tests.properties import examples

Story = Callable[[WorkQueue[str]], Awaitable[None]]


def play(story: Story, *, rng: random.Random | None = None) -> None:
    async def scene() -> None:
        queue: WorkQueue[str] = WorkQueue(LoopClock(), rng=rng)
        await story(queue)
        queue.close()

    run_virtual(scene())


def now() -> float:
    return asyncio.get_running_loop().time()


async def drain(queue: WorkQueue[str]) -> list[str]:
    """Take and finish all that waits now."""
    seen = []
    while len(queue):
        key = await queue.take()
        seen.append(key)
        queue.done(key)
    return seen


def test_first_in_first_out_and_equal_keys_are_one() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for key in "abcab":
            queue.add(key)
        assert await drain(queue) == ["a", "b", "c"]

    play(story)


def test_a_key_is_in_one_pair_of_hands_at_a_time() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("a")
        assert await queue.take() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.add("b")
        assert await queue.take() == "b"
        queue.done("a")
        assert await queue.take() == "a"  # once more, and only once
        queue.done("a")
        queue.done("b")
        assert len(queue) == 0

    play(story)


def test_higher_lanes_go_first() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("normal")
        queue.add("first", Lane.FIRST)
        queue.add("abort", Lane.URGENT)
        assert queue.depths() == {Lane.URGENT: 1, Lane.FIRST: 1, Lane.NORMAL: 1}
        assert await drain(queue) == ["abort", "first", "normal"]

    play(story)


@pytest.mark.parametrize(
    ("lanes", "order"),
    [
        pytest.param((Lane.NORMAL, Lane.URGENT), ["a", "x", "y"], id="promoted"),
        pytest.param((Lane.URGENT, Lane.NORMAL), ["a", "x", "y"], id="never-degraded"),
        pytest.param((Lane.NORMAL, Lane.NORMAL), ["x", "a", "y"], id="keeps-its-place"),
    ],
)
def test_a_waiting_key_takes_the_highest_lane_it_was_asked_for(lanes: tuple[Lane, ...], order: list[str]) -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("x")
        for lane in lanes:
            queue.add("a", lane)
        queue.add("y")
        assert await drain(queue) == order

    play(story)


def test_a_command_for_a_key_in_work_comes_right_after() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await queue.take()
        queue.add("b")
        queue.add("a")
        queue.add("a", Lane.URGENT)
        queue.done("a")
        assert await drain(queue) == ["a", "b"]

    play(story)


def test_lower_lanes_do_not_starve() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for number in range(4):
            queue.add(f"normal-{number}")
        for number in range(100):
            queue.add(f"abort-{number}", Lane.URGENT)
        order = await drain(queue)
        assert [index for index, key in enumerate(order) if key.startswith("normal")] == [7, 15, 23, 31]
        assert [key for key in order if key.startswith("normal")] == [f"normal-{number}" for number in range(4)]

    play(story)


def test_the_fair_share_goes_to_the_oldest_of_the_lower_lanes() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("normal")
        queue.add("first", Lane.FIRST)
        for number in range(20):
            queue.add(f"abort-{number}", Lane.URGENT)
        order = await drain(queue)
        assert (order[7], order[15]) == ("normal", "first")

    play(story)


def test_a_hot_key_does_not_starve_others() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for key in ("hot", "b", "c"):
            queue.add(key)
        order = []
        for _ in range(4):
            key = await queue.take()
            order.append(key)
            queue.add("hot")
            queue.done(key)
        assert order == ["hot", "b", "c", "hot"]

    play(story)


@pytest.mark.parametrize(
    ("requests", "at"),
    [
        pytest.param([(0.0, 10.0)], 10.0, id="one"),
        pytest.param([(0.0, 10.0), (0.0, 5.0)], 5.0, id="earlier-request-wins"),
        pytest.param([(0.0, 5.0), (0.0, 10.0)], 5.0, id="later-request-is-covered"),
        pytest.param([(0.0, 5.0), (2.0, 3.0)], 5.0, id="equal-requests-merge"),
        pytest.param([(0.0, 5.0), (2.0, 0.0)], 2.0, id="at-once"),
        pytest.param([(0.0, 0.0), (0.0, 5.0)], 0.0, id="at-once-covers-later-ones"),
        pytest.param([(0.0, -3.0)], 0.0, id="overdue"),
    ],
)
def test_of_several_delays_the_earliest_counts(requests: list[tuple[float, float]], at: float) -> None:
    async def story(queue: WorkQueue[str]) -> None:
        async def ask() -> None:
            for when, seconds in requests:
                if when > now():
                    await asyncio.sleep(when - now())
                queue.add_after("a", seconds)

        asking = asyncio.create_task(ask())
        assert await queue.take() == "a"
        assert now() == pytest.approx(at)
        await asking
        queue.done("a")
        await asyncio.sleep(100)
        assert (len(queue), queue.delayed) == (0, 0), "one request, one look"

    play(story)


def test_delayed_keys_come_in_the_order_of_their_times() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for key, seconds in (("c", 30), ("a", 10), ("b", 20), ("a2", 10)):
            queue.add_after(key, seconds)
        seen = []
        for _ in range(4):
            key = await queue.take()
            seen.append((key, round(now(), 6)))
            queue.done(key)
        assert seen == [("a", 10), ("a2", 10), ("b", 20), ("c", 30)]

    play(story)


def test_a_key_that_falls_due_while_in_work_is_looked_at_afterwards() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await queue.take()
        queue.add_after("a", 5)
        await asyncio.sleep(10)
        assert len(queue) == 0
        queue.done("a")
        assert await queue.take() == "a"
        queue.done("a")

    play(story)


def test_failures_double_the_delay_until_forgotten() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("a")
        delays = []
        for _ in range(16):
            started = now()
            await queue.take()
            delays.append(round(now() - started, 6))
            queue.retry("a")
            queue.done("a")
        assert delays[:5] == [0, 0.001, 0.002, 0.004, 0.008]
        assert delays[14:] == [8.192, 10]
        assert queue.failures("a") == 16
        await queue.take()
        queue.forget("a")
        assert queue.retry("a") == 0.001
        queue.done("a")

    play(story)


def test_back_off_is_jittered_and_per_key() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for _ in range(5):
            queue.retry("a")
        assert 0.016 <= queue.retry("a") <= 0.032
        assert 0.0005 <= queue.retry("b") <= 0.001

    play(story, rng=random.Random(3))


def test_a_delay_can_be_given_and_the_failure_counts_all_the_same() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        assert queue.retry("a", 42) == 42
        assert await queue.take() == "a"
        assert now() == pytest.approx(42)
        assert queue.failures("a") == 1
        queue.done("a")

    play(story)


def test_takers_are_served_in_turn_and_a_cancelled_one_loses_nothing() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
        await asyncio.sleep(1)
        queue.add("a")
        first.cancel()  # it has been woken already, but will not come to take
        await asyncio.sleep(1)
        assert first.cancelled()
        assert second.done()
        assert second.result() == "a"
        queue.done("a")

    play(story)


def test_a_taker_for_urgent_keys_takes_no_others() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        urgent = asyncio.create_task(queue.take(Lane.URGENT))
        await asyncio.sleep(1)
        queue.add("a")
        queue.add("b", Lane.FIRST)
        await asyncio.sleep(1)
        assert not urgent.done()
        queue.add("c", Lane.URGENT)
        assert await urgent == "c"
        assert await drain(queue) == ["b", "a"]
        queue.done("c")

    play(story)


def test_a_key_does_not_wait_because_its_taker_took_another() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        first = asyncio.create_task(queue.take())
        urgent = asyncio.create_task(queue.take(Lane.URGENT))
        second = asyncio.create_task(queue.take())
        await asyncio.sleep(1)
        queue.add("a")  # wakes the first,
        queue.add("abort", Lane.URGENT)  # which takes this one: the taker for urgent keys finds nothing
        await asyncio.sleep(1)
        assert (first.result(), second.result(), urgent.done()) == ("abort", "a", False)
        queue.close()
        with pytest.raises(QueueClosed):
            await urgent
        queue.done("a")
        queue.done("abort")

    play(story)


def test_a_promotion_wakes_the_taker_for_urgent_keys() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        urgent = asyncio.create_task(queue.take(Lane.URGENT))
        await asyncio.sleep(1)
        queue.add("a")
        await asyncio.sleep(1)
        queue.add("a", Lane.URGENT)
        assert await urgent == "a"
        queue.done("a")

    play(story)


def test_closing_drops_what_waits_and_lets_work_end() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        queue.add("working")
        await queue.take()
        queue.add("waiting")
        queue.add_after("later", 5)
        idle = asyncio.create_task(queue.take(Lane.URGENT))
        drained = asyncio.create_task(queue.drained())
        await asyncio.sleep(1)
        queue.close()
        with pytest.raises(QueueClosed):
            await idle
        with pytest.raises(QueueClosed):
            await queue.take()
        queue.add("too late")
        queue.add_after("too late", 1)
        await asyncio.sleep(10)
        assert (len(queue), queue.delayed, drained.done()) == (0, 0, False)
        queue.add("working")
        queue.done("working")
        await drained
        assert queue.in_work == 0

    play(story)


def test_the_age_of_the_oldest_entry_is_known() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        assert queue.oldest_seconds() == 0
        queue.add("a")
        await asyncio.sleep(3)
        queue.add("b", Lane.URGENT)
        assert queue.oldest_seconds() == 3
        await drain(queue)

    play(story)


def test_nothing_is_held_but_live_keys() -> None:
    async def story(queue: WorkQueue[str]) -> None:
        for round_ in range(2000):
            queue.add_after("a", 3000 - round_)  # each one overtakes the last
        assert len(queue._due) < 200
        for number in range(500):
            queue.retry(f"n{number}")
            queue.forget(f"n{number}")
        await asyncio.sleep(4000)
        await drain(queue)
        held = {name for name in ("_waiting", "_taken", "_delayed", "_due", "_failures") if getattr(queue, name)}
        assert held == set()
        assert not any(queue._lanes.values())

    play(story)


KEYS = st.sampled_from("abcde")
OPERATIONS = st.one_of(
    st.tuples(st.just("add"), KEYS, st.sampled_from(list(Lane))),
    st.tuples(st.just("after"), KEYS, st.floats(0, 20)),
    st.tuples(st.just("take"), KEYS, st.just(0)),
    st.tuples(st.just("done"), KEYS, st.just(0)),
    st.tuples(st.just("sleep"), KEYS, st.floats(0, 10)),
)


@examples(150)
@given(st.lists(OPERATIONS, max_size=60))
def test_no_request_is_lost_and_no_key_is_taken_twice(operations: list[tuple[str, str, float]]) -> None:
    async def story(queue: WorkQueue[str]) -> None:
        in_work: set[str] = set()
        wanted: dict[str, float] = {}  # when the latest request for a look wants it
        looked: dict[str, float] = {}  # when the key was last taken

        def took(key: str) -> None:
            assert key not in in_work
            in_work.add(key)
            looked[key] = now()

        for verb, key, value in operations:
            if verb == "add":
                queue.add(key, Lane(int(value)))
                wanted[key] = max(wanted.get(key, 0.0), now())
            elif verb == "after":
                queue.add_after(key, value)
            elif verb == "take" and len(queue):
                took(await queue.take())
            elif verb == "done" and key in in_work:
                in_work.discard(key)
                queue.done(key)
            elif verb == "sleep":
                await asyncio.sleep(value)
        for key in sorted(in_work):
            queue.done(key)
        in_work.clear()
        await asyncio.sleep(100)
        while len(queue):
            took(await queue.take())
        for key, at in wanted.items():
            assert looked[key] >= at, "a key is looked at after each request"
        for key in sorted(in_work):
            queue.done(key)

    play(story)
