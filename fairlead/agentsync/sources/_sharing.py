"""Answers that many ask for at once: asked for once, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

KEPT_MAX: Final = 4096


@dataclass(slots=True, eq=False)
class _Question(Generic[Answer]):
    """One question under way, or about to be.

    Attributes:
        task: asks it.
        waiting: how many want the answer.
        has_begun: whether it was sent.
        is_stale: whether somebody said since that the answer changes.
    """

    task: asyncio.Task[Answer] | None = None
    waiting: int = 0
    has_begun: bool = False
    is_stale: bool = False


class Shared(Generic[Key, Answer]):
    """At most one question under way per key and one behind it, whose answer everybody gets.

    A failure goes to those who waited and is not kept.

    Args:
        window: seconds for which an answer is good; 0: it is for those who wait, and not kept.
        clock: seconds that only rise.
    """

    def __init__(self, *, window: float, clock: Callable[[], float]) -> None:
        self._window = window
        self._clock = clock
        self._kept: dict[Key, tuple[float, Answer]] = {}
        self._asked: dict[Key, list[_Question[Answer]]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[Answer]], *, is_fresh: bool = False) -> Answer:
        """Return an answer no older than the window.

        Args:
            key: what is asked.
            ask: asks it.
            is_fresh: whether it must be asked after this call began.
        """
        kept = self._kept.get(key)
        if kept is not None and not is_fresh and self._clock() - kept[0] < self._window:
            return kept[1]
        question = self._joined(key, ask, is_fresh)
        assert question.task is not None, "it was started"
        question.waiting += 1
        try:
            # Who is cancelled must not take the answer from the others; the last one to go takes the question along.
            return await asyncio.shield(question.task)
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                question.is_stale = True  # nobody may join it any more
                question.task.cancel()

    def known(self) -> tuple[Key, ...]:
        """Return what is kept or asked."""
        return tuple({**self._kept, **self._asked})

    def forget(self, key: Key) -> None:
        """Drop what is kept: the next one asks, and what is under way is not kept."""
        self._kept.pop(key, None)
        for question in self._asked.get(key, ()):
            question.is_stale = question.has_begun

    def _joined(self, key: Key, ask: Callable[[], Awaitable[Answer]], is_fresh: bool) -> _Question[Answer]:
        asked = self._asked.setdefault(key, [])
        for question in asked:
            if not (is_fresh and question.has_begun) and not question.is_stale:
                return question
        question = _Question[Answer]()
        before = asked[-1].task if asked else None
        asked.append(question)
        question.task = asyncio.ensure_future(self._ask(key, ask, question, before))
        question.task.add_done_callback(lambda done: self._finished(key, question, done))
        return question

    async def _ask(
        self,
        key: Key,
        ask: Callable[[], Awaitable[Answer]],
        question: _Question[Answer],
        before: asyncio.Task[Answer] | None,
    ) -> Answer:
        if before is not None:
            await asyncio.wait({before})
        question.has_begun = True
        began_at = self._clock()
        answer = await ask()
        if not question.is_stale and self._window > 0:
            self._kept.pop(key, None)
            self._kept[key] = (began_at, answer)
            while len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        return answer

    def _finished(self, key: Key, question: _Question[Answer], done: asyncio.Task[Answer]) -> None:
        self._asked[key].remove(question)
        if not self._asked[key]:
            del self._asked[key]
        if not done.cancelled():
            done.exception()  # those who waited have it; that nobody may be left is no fault
