"""The questions to one store, from those who ask to their answers. The rules stand in `_planner`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from fairlead.core.clock import Clock
from fairlead.core.errors import FairleadError
from fairlead.secrets._connections import Connections
from fairlead.secrets._kept import EARLY_SECONDS, KeptAnswers
from fairlead.secrets._patience import Allowance, Patience
from fairlead.secrets._questions import Answer, Asked, Question, Search, StoreHandle, Validation
from fairlead.secrets.actions import Urgency
from fairlead.secrets.settings import PlannerSettings
from fairlead.secrets.stores.port import Denied, RemoteRef, Store, StoreUnavailable, Throttled

log = structlog.get_logger(__name__)

THROTTLED_TRIES_MAX = 3


@dataclass(slots=True, eq=False)
class _Flight:
    """One question on its way, and those who wait for it."""

    question: Question
    handle: StoreHandle
    urgency: Urgency
    number: int
    answer: asyncio.Future[Answer]
    started_at: datetime | None = None
    tries: int = 0

    @property
    def asked(self) -> Asked:
        return self.handle.identity, self.question


class StoreQueue:
    """The questions to one store.

    Args:
        uid: of the store.
        recovered: is called when the store answers again after its circuit was open.
    """

    def __init__(
        self,
        uid: str,
        clock: Clock,
        settings: PlannerSettings,
        rng: random.Random,
        *,
        recovered: Callable[[], None],
    ) -> None:
        self._uid = uid
        self._clock = clock
        self._settings = settings
        self._rng = rng
        self._recovered = recovered
        self._waiting: dict[Asked, _Flight] = {}
        self._flying: dict[Asked, _Flight] = {}
        self._number = 0
        self._pump: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._kept = KeptAnswers(seconds=settings.share_seconds, seconds_max=settings.share_seconds_max)
        self._sweeper: asyncio.Task[None] | None = None
        self._connections = Connections(uid, clock, settings, calls=self._calls)
        self._revision = ""
        allowance = Allowance(
            reads_per_second=settings.reads_per_second,
            burst=settings.burst,
            pause_seconds_max=settings.pause_seconds_max,
            failures_max=settings.failures_max,
        )
        self._patience = Patience(allowance, clock.monotonic())
        self._pause_reason: Throttled | None = None
        self._last_error: FairleadError = unavailable("the store has not answered yet")

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._connections.open_count

    @property
    def kept(self) -> int:
        """How many answers are held for those who come later."""
        return len(self._kept)

    async def close(self, why: str) -> None:
        """Tell those who wait, end what runs, log out."""
        running = [task for task in (self._pump, self._sweeper, *self._calls) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for flight in self._waiting.values():
            _settle(flight, unavailable(why))
        self._waiting.clear()
        self._kept.clear()
        await self._connections.close()

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(
        self, handle: StoreHandle, questions: Sequence[Question], urgency: Urgency, not_before: datetime
    ) -> list[Answer]:
        """Return the answers in order, errors among them."""
        if handle.revision != self._revision:
            self._renew(handle.revision)
        wanted = [self._join(handle, question, urgency, not_before) for question in questions]
        pending = [future for future in wanted if not future.done()]
        if pending:
            await asyncio.wait(pending, timeout=self._settings.wait_seconds)
        return [future.result() if future.done() else self._too_late() for future in wanted]

    def _join(
        self, handle: StoreHandle, question: Question, urgency: Urgency, not_before: datetime
    ) -> asyncio.Future[Answer]:
        asked: Asked = (handle.identity, question)
        now = self._clock.monotonic()
        if not isinstance(question, Validation):
            kept = self._kept.find(asked, urgency=urgency, not_before=not_before, now=now)
            if kept is not None:
                return _done(kept)
        flying = self._flying.get(asked)
        if flying is not None and flying.started_at is not None and flying.started_at >= not_before:
            return flying.answer
        waiting = self._waiting.get(asked)
        if waiting is not None:
            waiting.urgency = min(waiting.urgency, urgency)
            return waiting.answer
        if self._patience.is_closed(now) and not isinstance(question, Validation):
            return _done(self._last_error)
        self._number += 1
        flight = _Flight(question, handle, urgency, self._number, asyncio.get_running_loop().create_future())
        self._wait(flight)
        return flight.answer

    def _wait(self, flight: _Flight) -> None:
        self._waiting[flight.asked] = flight
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name=f"store-{self._uid}")

    def _too_late(self) -> Answer:
        if self._pause_reason is not None and self._clock.monotonic() < self._patience.paused_until:
            return self._pause_reason
        return unavailable(f"the store did not answer within {self._settings.wait_seconds:g} s")

    # --- whose turn it is --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Hand out what waits, in order of urgency, within the budget; end when nothing waits."""
        try:
            await self._clock.sleep(self._settings.gather_seconds)
            while self._waiting:
                if await self._turn():
                    batch = self._take()
                    task = asyncio.create_task(self._carry_out(batch), name=f"store-{self._uid}-read")
                    self._calls.add(task)
                    task.add_done_callback(self._calls.discard)
        finally:
            self._pump = None

    async def _turn(self) -> bool:
        """Wait for what is in the way; return whether the way was free."""
        limit = 1 if self._patience.is_broken else self._settings.batches_in_flight_max
        if len(self._calls) >= limit:
            await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
            return False
        chosen = self._choose()
        is_validation = isinstance(chosen[0].question, Validation)
        seconds = self._patience.seconds_until(len(chosen), self._clock.monotonic(), is_validation=is_validation)
        if seconds <= EARLY_SECONDS:
            return True
        await self._clock.sleep(seconds)
        return False

    def _choose(self) -> list[_Flight]:
        """Return the most urgent questions that go together: of one identity and one lane."""
        first = min(self._waiting.values(), key=_order)
        if self._patience.is_broken:
            validations = [flight for flight in self._waiting.values() if isinstance(flight.question, Validation)]
            return [min(validations, key=_order, default=first)]
        if not isinstance(first.question, RemoteRef):
            return [first]
        identity = first.handle.identity
        together = [
            flight
            for flight in self._waiting.values()
            if flight.handle.identity == identity
            and flight.urgency == first.urgency
            and isinstance(flight.question, RemoteRef)
        ]
        return sorted(together, key=_order)[: self._settings.batch_max]

    def _take(self) -> list[_Flight]:
        """Take the chosen questions out of the queue, no more than there are tokens for."""
        chosen = self._choose()
        batch = chosen[: self._patience.spend(len(chosen))]
        now = self._clock.now()
        for flight in batch:
            del self._waiting[flight.asked]
            flight.started_at = now
            self._flying[flight.asked] = flight
        return batch

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, batch: list[_Flight]) -> None:
        try:
            answers, is_of_store = await self._answers(batch)
        except asyncio.CancelledError:
            for flight in batch:
                _settle(flight, unavailable("the call was broken off"))
            raise
        finally:
            for flight in batch:
                if self._flying.get(flight.asked) is flight:
                    del self._flying[flight.asked]
        self._learn(batch, answers, is_of_store)
        self._hand_over(batch, answers, is_of_store)

    async def _answers(self, batch: list[_Flight]) -> tuple[list[Answer], bool]:
        """Return the answers, and whether it is the store as a whole that failed."""
        seconds = self._settings.call_seconds
        error: FairleadError
        try:
            async with asyncio.timeout(seconds):
                store = await self._connections.store(batch[0].handle)
                answers = await _asked(store, [flight.question for flight in batch])
                return answers, all(isinstance(answer, StoreUnavailable) for answer in answers)
        except TimeoutError:
            error = unavailable(f"no answer within {seconds:g} s")
        except FairleadError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  # a plug-in's bug must not leave those who asked without an answer
            log.error("secret_store_broken", store=self._uid, error=type(raised).__name__)  # its text may hold a value
            error = unavailable(f"the provider failed with {type(raised).__name__}")
        # `read` answers errors in their places: what it raises, and what opening raises, is about all of them. `find`
        # and `validate` raise for themselves.
        is_of_store = isinstance(error, StoreUnavailable) or isinstance(batch[0].question, RemoteRef)
        return [error] * len(batch), is_of_store

    def _hand_over(self, batch: list[_Flight], answers: list[Answer], is_of_store: bool) -> None:
        """Give the answers to those who wait, and hold the good ones; what was throttled is asked again."""
        now = self._clock.monotonic()
        for flight, answer in zip(batch, answers, strict=True):
            if (
                isinstance(answer, Throttled)
                and flight.tries < THROTTLED_TRIES_MAX
                and flight.asked not in self._waiting
            ):
                flight.tries += 1
                self._wait(flight)
                continue
            _settle(flight, answer)
            if answer is not None and not isinstance(answer, Throttled | StoreUnavailable) and not is_of_store:
                assert flight.started_at is not None, "a question that is answered has been asked"
                self._kept.keep(flight.asked, answer, started_at=flight.started_at, now=now)
        if self._sweeper is None and len(self._kept):
            self._sweeper = asyncio.create_task(self._sweep(), name=f"store-{self._uid}-sweeper")

    async def _sweep(self) -> None:
        while len(self._kept):
            await self._clock.sleep(self._kept.due_at - self._clock.monotonic())
            self._kept.forget(self._clock.monotonic())
        self._sweeper = None

    # --- how it has been doing ---------------------------------------------------------------------------------------

    def _learn(self, batch: list[_Flight], answers: list[Answer], is_of_store: bool) -> None:
        throttled = [answer for answer in answers if isinstance(answer, Throttled)]
        if throttled:
            self._pause(max(throttled, key=lambda error: error.retry_after or 0.0))
        elif is_of_store:
            self._fail(answers[0])
        else:
            self._succeed()
            if all(isinstance(answer, Denied) for answer in answers):
                self._connections.refused(batch[0].handle.identity)

    def _pause(self, error: Throttled) -> None:
        self._pause_reason = error
        seconds = self._patience.throttled(error.retry_after, self._clock.monotonic(), jitter=self._rng.random())
        rate = round(self._patience.rate, 1)
        log.warning("secret_store_throttled", store=self._uid, seconds=round(seconds, 3), rate=rate)

    def _fail(self, answer: Answer) -> None:
        if isinstance(answer, FairleadError):
            self._last_error = answer
        now = self._clock.monotonic()
        self._patience.failed(now, jitter=self._rng.random())
        if not self._patience.is_broken:
            return
        log.warning("secret_store_unavailable", store=self._uid, probe_seconds=round(self._patience.probe_at - now, 3))
        for asked, flight in tuple(self._waiting.items()):
            if not isinstance(flight.question, Validation):
                del self._waiting[asked]
                _settle(flight, self._last_error)
        self._connections.drop_all()  # the next probe logs in anew

    def _succeed(self) -> None:
        self._pause_reason = None
        if self._patience.succeeded():
            log.info("secret_store_recovered", store=self._uid)
            self._recovered()

    def _renew(self, revision: str) -> None:
        """The store's spec is another: what was learnt of the old one's health says nothing."""
        self._revision = revision
        self._patience.renewed()
        self._connections.renew(revision)


async def _asked(store: Store, questions: Sequence[Question]) -> list[Answer]:
    """Put questions of one kind: keys together, anything else alone."""
    first = questions[0]
    if isinstance(first, Validation):
        await store.validate()
        return [None]
    if isinstance(first, Search):
        return [await store.find(first.query())]
    found = await store.read([question for question in questions if isinstance(question, RemoteRef)])
    if len(found) != len(questions):
        raise unavailable(f"{len(questions)} keys were asked for, and {len(found)} answers came")
    return list(found)


def unavailable(text: str) -> StoreUnavailable:
    """Return the answer of a store that gives none."""
    return StoreUnavailable(text, provider="store")


def _settle(flight: _Flight, answer: Answer) -> None:
    if not flight.answer.done():
        flight.answer.set_result(answer)


def _order(flight: _Flight) -> tuple[int, int]:
    return flight.urgency, flight.number


def _done(answer: Answer) -> asyncio.Future[Answer]:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    future.set_result(answer)
    return future
