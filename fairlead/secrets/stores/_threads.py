"""Synchronous clients, called from the loop: a bounded number of threads, each call bounded in time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from fairlead.secrets.stores.port import StoreUnavailable

T = TypeVar("T")

WORKERS: Final = 8  # calls under way at one store; a planner that admits more only makes them wait here
QUEUE_SECONDS: Final = 60.0  # a call that finds no thread for so long is not going to


class Threads:
    """The threads of one store. Threads start when they are needed, and end with `close`.

    Args:
        provider: named in errors.
        workers: at most so many threads.
    """

    def __init__(self, provider: str, *, workers: int = WORKERS) -> None:
        self._provider = provider
        self._free = asyncio.Semaphore(workers)
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fairlead-store")
        self._is_closed = False

    async def run(self, call: Callable[[], T], *, seconds: float, give_up: Callable[[], None] | None = None) -> T:
        """Return what the call returns, made in a thread with a copy of this task's context.

        Args:
            call: what to do.
            seconds: how long it may take once it has a thread.
            give_up: is called, in the loop's thread, when nobody waits for the call any more: it should make it end.

        Raises:
            StoreUnavailable: too late, or closed.
        """
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise self._unavailable(f"no free connection within {QUEUE_SECONDS:g} s") from None
        if self._is_closed:
            self._free.release()
            raise self._unavailable("the store has been closed")
        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, call)
        # The thread is busy until the call itself ends, whoever still waits for it.
        future.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            if give_up is not None:
                give_up()
            raise self._unavailable(f"no answer within {seconds:g} s") from None
        except asyncio.CancelledError:
            if give_up is not None:
                give_up()
            raise

    def _ended(self, future: asyncio.Future[T]) -> None:
        self._free.release()
        if not future.cancelled():
            future.exception()  # an error that comes after the time is up has nobody to go to

    def _unavailable(self, text: str) -> StoreUnavailable:
        return StoreUnavailable(text, provider=self._provider)

    def close(self) -> None:
        """Let no new call in and drop those that wait for a thread; those under way end by themselves."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
