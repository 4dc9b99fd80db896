"""One question for many: who joins which, and what is kept."""

from __future__ import annotations

import asyncio

import pytest

from fairlead.agentsync.sources._sharing import Shared


class Question:
    """A question that the test answers."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        mine = self.asked
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return mine


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_get_one_answer_and_it_is_good_for_the_window() -> None:
    now, question = Now(), Question()
    shared: Shared[str, int] = Shared(window=10, clock=now)
    waiting = [asyncio.ensure_future(shared.get("a", question)) for _ in range(100)]
    await settle()
    question.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 100
    now.seconds = 9.9
    assert await shared.get("a", question) == 1
    now.seconds = 10
    assert await shared.get("a", question) == 2


async def test_who_wants_a_fresh_answer_does_not_join_a_question_under_way() -> None:
    question = Question()
    shared: Shared[str, int] = Shared(window=10, clock=Now())
    first = asyncio.ensure_future(shared.get("a", question))
    await settle()
    fresh = [asyncio.ensure_future(shared.get("a", question, is_fresh=True)) for _ in range(50)]
    await settle()
    assert question.asked == 1  # one at a time, and one more for all fifty
    question.gate.set()
    assert await first == 1
    assert await asyncio.gather(*fresh) == [2] * 50
    assert await shared.get("a", question) == 2


async def test_a_failure_is_not_kept() -> None:
    async def fail() -> int:
        raise OSError("no")

    async def work() -> int:
        return 7

    shared: Shared[str, int] = Shared(window=10, clock=Now())
    found = await asyncio.gather(*(shared.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [OSError] * 3
    assert await shared.get("a", work) == 7


async def test_one_who_leaves_does_not_hurt_the_others() -> None:
    question = Question()
    shared: Shared[str, int] = Shared(window=10, clock=Now())
    leaving, staying = (asyncio.ensure_future(shared.get("a", question)) for _ in range(2))
    await settle()
    leaving.cancel()
    await settle()
    question.gate.set()
    assert await staying == 1 and leaving.cancelled() and not question.cancelled


async def test_the_last_one_to_leave_takes_the_question_along() -> None:
    question = Question()
    shared: Shared[str, int] = Shared(window=10, clock=Now())
    leaving = asyncio.ensure_future(shared.get("a", question))
    await settle()
    leaving.cancel()
    # Who comes in the same moment asks anew and is not cancelled with it.
    coming = asyncio.ensure_future(shared.get("a", question))
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await settle()
    question.gate.set()
    assert await coming in (1, 2)


async def test_what_was_forgotten_is_asked_again_even_if_it_is_under_way() -> None:
    question = Question()
    shared: Shared[str, int] = Shared(window=10, clock=Now())
    first = asyncio.ensure_future(shared.get("a", question))
    await settle()
    shared.forget("a")
    second = asyncio.ensure_future(shared.get("a", question))
    await settle()
    question.gate.set()
    assert (await first, await second) == (1, 2)
    assert await shared.get("a", question) == 2


async def test_without_a_window_nothing_is_kept() -> None:
    question = Question()
    question.gate.set()
    shared: Shared[str, int] = Shared(window=0, clock=Now())
    assert await shared.get("a", question) == 1
    assert await shared.get("a", question) == 2
    assert shared.known() == ()
