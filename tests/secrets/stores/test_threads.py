"""Synchronous calls from the loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fairlead.secrets.stores import _threads
from fairlead.secrets.stores._threads import Threads
from fairlead.secrets.stores.port import StoreUnavailable

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


@pytest_asyncio.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads("vault", workers=2)
    yield made
    made.close()


async def test_a_call_sees_the_context_of_its_task_and_changes_none(threads: Threads) -> None:
    WHO.set("somebody")

    def call() -> str:
        seen = WHO.get()
        WHO.set("the thread")
        return seen

    assert await threads.run(call, seconds=5) == "somebody"
    assert WHO.get() == "somebody"


async def test_errors_come_through(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, seconds=5)


async def test_never_more_than_so_many_at_a_time(threads: Threads) -> None:
    lock, now, most = threading.Lock(), 0, 0
    barrier = threading.Barrier(2)

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(10)  # two are always there together, so two must have been let in
        with lock:
            now -= 1

    await asyncio.gather(*(threads.run(call, seconds=20) for _ in range(10)))
    assert most == 2


async def test_a_call_that_is_too_late_is_ended_and_gives_its_thread_back(threads: Threads) -> None:
    for _ in range(6):
        ended = threading.Event()
        with pytest.raises(StoreUnavailable, match="no answer within"):
            await threads.run(ended.wait, seconds=0.01, give_up=ended.set)
    assert await threads.run(lambda: "free", seconds=5) == "free"


async def test_a_cancelled_call_is_ended(threads: Threads) -> None:
    started, ended = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        ended.wait(10)

    task = asyncio.create_task(threads.run(call, seconds=20, give_up=ended.set))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_who_finds_no_thread_is_told_so(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "QUEUE_SECONDS", 0.01)
    ended = threading.Event()
    busy = [asyncio.create_task(threads.run(lambda: ended.wait(10), seconds=20)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="no free connection"):
        await threads.run(lambda: None, seconds=5)
    ended.set()
    assert await asyncio.gather(*busy) == [True, True]


async def test_nothing_runs_after_the_end(threads: Threads) -> None:
    threads.close()
    threads.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await threads.run(lambda: None, seconds=5)
