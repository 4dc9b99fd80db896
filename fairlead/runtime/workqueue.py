"""Which object is looked at next. One at a time per key, as often as needed and no oftener.

A key is in at most one place: waiting in a lane, waiting for a time, or nowhere; and besides it may be in the hands
of a worker. The rules:

- **Coalescing.** A key that is added again while it waits is one entry; it keeps its place.
- **Serial per key.** A key that is added while a worker has it is handed out again only after `done`.
- **Lanes.** Entries of a higher lane go first; a higher lane promotes a waiting entry. So that nothing starves, every
  eighth entry handed out is the oldest one of the lanes that would have had to wait.
- **Delays.** Of several requests for one key the earliest counts, and `add` is the earliest of all.
- **Back-off.** `retry` doubles the delay of a key that keeps failing, until `forget`.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from fairlead.core.backoff import RECONCILE
from fairlead.core.clock import Clock

K = TypeVar("K", bound=Hashable)

EARLY_SECONDS = 1e-6  # a timer may ring that much too early: clocks round
FAIR_SHARE = 8  # of so many entries handed out, one comes from a lane that would have had to wait


class Lane(IntEnum):
    """What goes first."""

    URGENT = 0  # abort and other commands
    FIRST = 1  # what has not been looked at since the start
    NORMAL = 2


class QueueHook(Protocol):
    """Is told what a queue does; for metrics. Must not raise, and returns at once."""

    def on_add(self) -> None:
        """Take note that a key was added that was not there."""
        ...

    def on_take(self, waited_seconds: float) -> None:
        """Take note that a worker has got a key, which has waited so long."""
        ...

    def on_done(self, worked_seconds: float) -> None:
        """Take note that a worker has given a key back, which it has had so long."""
        ...

    def on_retry(self) -> None:
        """Take note that a key was put off because it failed."""
        ...


class QueueClosed(Exception):
    """The queue hands out nothing any more."""


@dataclass(slots=True)
class _Waiting:
    lane: Lane
    number: int  # counts up: the lower, the older
    since: float


class WorkQueue(Generic[K]):
    """Hands keys to workers. All methods but `take` and `drained` return at once.

    Args:
        clock: measures delays and waits for them.
        rng: draws the jitter of the back-off; None: no jitter.

    Attributes:
        hook: is told what happens; None: nobody is.
    """

    def __init__(self, clock: Clock, *, rng: random.Random | None = None) -> None:
        self._clock = clock
        self._rng = rng
        self.hook: QueueHook | None = None
        self._taken_at: dict[K, float] = {}
        self._waiting: dict[K, _Waiting] = {}
        # First in, first out; a plain dict looks at all that has ever gone before it finds its first entry.
        self._lanes: dict[Lane, OrderedDict[K, None]] = {lane: OrderedDict() for lane in Lane}
        self._taken: dict[K, Lane | None] = {}  # in a worker's hands; the lane in which it is wanted again
        self._delayed: dict[K, tuple[float, Lane]] = {}  # when it is due
        self._due: list[tuple[float, int, K]] = []  # heap over _delayed; may hold entries that are no longer true
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self._failures: dict[K, int] = {}
        self._takers: deque[tuple[Lane, asyncio.Future[None]]] = deque()
        self._number = 0
        self._handed_out = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    # --- wanting -------------------------------------------------------------------------------------------------

    def add(self, key: K, lane: Lane = Lane.NORMAL) -> None:
        """Have the key looked at as soon as possible, and again if a worker is at it now."""
        if self._closed:
            return
        self._delayed.pop(key, None)
        if key in self._taken:
            wanted = self._taken[key]
            self._taken[key] = lane if wanted is None else min(wanted, lane)
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            self._number += 1
            self._waiting[key] = _Waiting(lane, self._number, self._clock.monotonic())
            if self.hook is not None:
                self.hook.on_add()
        elif lane < waiting.lane:
            del self._lanes[waiting.lane][key]
            waiting.lane = lane
        else:
            return
        self._lanes[lane][key] = None
        self._wake(lane)

    def add_after(self, key: K, seconds: float, lane: Lane = Lane.NORMAL) -> None:
        """Have the key looked at after that time, unless it is looked at earlier anyway."""
        if seconds <= 0:
            self.add(key, lane)
            return
        if self._closed or key in self._waiting or self._taken.get(key) is not None:
            return
        due = self._clock.monotonic() + seconds
        earlier = self._delayed.get(key)
        if earlier is not None and earlier[0] <= due:
            return
        self._delayed[key] = (due, lane)
        self._number += 1
        heapq.heappush(self._due, (due, self._number, key))
        if len(self._due) > 2 * len(self._delayed) + 64:  # mostly entries that have been overtaken
            self._due = [entry for entry in self._due if self._is_true(entry)]
            heapq.heapify(self._due)
        self._arm()

    def retry(self, key: K, seconds: float | None = None) -> float:
        """Have a key that failed looked at after its back-off; return the seconds until then.

        Args:
            seconds: use this delay, and count the failure all the same.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if seconds is None:
            seconds = RECONCILE.delay(failures, jitter=self._rng.random() if self._rng else 0.0)
        if self.hook is not None:
            self.hook.on_retry()
        self.add_after(key, seconds)
        return seconds

    def failures(self, key: K) -> int:
        """Return how often the key has failed in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Let the next failure of the key be its first."""
        self._failures.pop(key, None)

    # --- working -------------------------------------------------------------------------------------------------

    async def take(self, lowest: Lane = Lane.NORMAL) -> K:
        """Return the next key; the caller says `done` when it is finished with it.

        Args:
            lowest: take nothing from lanes below this one.

        Raises:
            QueueClosed: there will be no more.
        """
        while True:
            if self._closed:
                raise QueueClosed
            key = self._next(lowest)
            if key is not None:
                # It may not be the one that this taker was woken for: what is left must not wait while others idle.
                self._wake_for_all()
                return key
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry = (lowest, taker)
            self._takers.append(entry)
            try:
                await taker
            except asyncio.CancelledError:
                if entry in self._takers:
                    self._takers.remove(entry)
                elif not self._closed:  # woken and cancelled in one go: the wake-up belongs to somebody else
                    self._wake_for_all()
                raise

    def done(self, key: K) -> None:
        """Give a taken key back."""
        wanted = self._taken.pop(key)
        taken_at = self._taken_at.pop(key)
        if self.hook is not None:
            self.hook.on_done(self._clock.monotonic() - taken_at)
        if not self._taken:
            self._idle.set()
        if wanted is not None:
            self.add(key, wanted)

    # --- looking -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many keys wait in the lanes."""
        return len(self._waiting)

    def depths(self) -> Mapping[Lane, int]:
        """Return how many keys wait, by lane."""
        return {lane: len(keys) for lane, keys in self._lanes.items()}

    @property
    def delayed(self) -> int:
        """How many keys wait for a time."""
        return len(self._delayed)

    @property
    def in_work(self) -> int:
        """How many keys workers have in their hands."""
        return len(self._taken)

    def working_seconds(self) -> tuple[float, ...]:
        """Return of each key in the hands of a worker how long it has been there."""
        now = self._clock.monotonic()
        return tuple(now - taken_at for taken_at in self._taken_at.values())

    def oldest_seconds(self) -> float:
        """Return how long the oldest entry of the lanes has been waiting; 0 if none waits."""
        since = min((waiting.since for waiting in self._waiting.values()), default=None)
        return 0.0 if since is None else self._clock.monotonic() - since

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hand out nothing any more: what waits is dropped, for whoever starts next looks at everything anyway."""
        self._closed = True
        self._waiting.clear()
        self._delayed.clear()
        self._due.clear()
        for keys in self._lanes.values():
            keys.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._takers:
            taker = self._takers.popleft()[1]
            if not taker.done():
                taker.set_result(None)

    async def drained(self) -> None:
        """Return once no worker has a key in its hands."""
        await self._idle.wait()

    # --- inside --------------------------------------------------------------------------------------------------

    def _next(self, lowest: Lane) -> K | None:
        offered = [lane for lane in Lane if lane <= lowest and self._lanes[lane]]
        if not offered:
            return None
        chosen = offered[0]
        if lowest is Lane.NORMAL:
            self._handed_out += 1
            if self._handed_out % FAIR_SHARE == 0 and len(offered) > 1:
                chosen = min(offered[1:], key=self._oldest_number)
        key = next(iter(self._lanes[chosen]))
        del self._lanes[chosen][key]
        now, waiting = self._clock.monotonic(), self._waiting.pop(key)
        self._taken[key] = None
        self._taken_at[key] = now
        if self.hook is not None:
            self.hook.on_take(now - waiting.since)
        self._idle.clear()
        return key

    def _oldest_number(self, lane: Lane) -> int:
        return self._waiting[next(iter(self._lanes[lane]))].number

    def _wake(self, lane: Lane) -> None:
        for index, (lowest, taker) in enumerate(self._takers):
            if lane <= lowest:
                del self._takers[index]
                if not taker.done():
                    taker.set_result(None)
                    return
                self._wake(lane)
                return

    def _wake_for_all(self) -> None:
        for lane in Lane:
            if self._lanes[lane]:
                self._wake(lane)

    def _is_true(self, entry: tuple[float, int, K]) -> bool:
        due, _, key = entry
        return key in self._delayed and self._delayed[key][0] == due

    def _arm(self) -> None:
        """Keep exactly one timer, on the earliest delay."""
        while self._due and not self._is_true(self._due[0]):
            heapq.heappop(self._due)
        if not self._due:
            return
        due = self._due[0][0]
        if self._timer is not None and not self._timer.done():
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().create_task(self._ring(due), name="workqueue-timer")

    async def _ring(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        now = self._clock.monotonic() + EARLY_SECONDS
        while self._due and (self._due[0][0] <= now or not self._is_true(self._due[0])):
            entry = heapq.heappop(self._due)
            if self._is_true(entry):
                _, lane = self._delayed[entry[2]]
                self.add(entry[2], lane)
        self._timer = None
        self._arm()
