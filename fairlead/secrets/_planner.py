"""Who asks a store what, and when: one call per distinct key and refresh window, whoever asks.

For each store there is one queue of questions:

- **Single flight.** A question that is waiting or on its way is asked once for all who want it; its answer serves
  those who come within the next seconds as well, unless they need a younger one (`not_before`).
- **Batches.** Questions of one identity that wait together are handed to the store together.
- **Budget.** So many reads per second and store, from the first second on: a restart earns no extra burst. A store
  that says 429 is left alone for as long as it asks, and is asked at half the rate afterwards, rising slowly.
- **Lanes.** What somebody waits for (new, changed, drifted) goes before what is merely refreshed.
- **Circuit.** A store that fails several times in a row is asked by one probe at a time, at growing intervals; others
  hear at once why they have no answer. When it is back, those who failed are told, and the budget keeps them in line.
- **Connections.** One per store and identity, closed (which logs out) when it is idle, outdated, or at the end.

Values are held while somebody waits for them and for `share_seconds` afterwards, and nowhere else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from fairlead.core.clock import Clock
from fairlead.core.errors import FairleadError
from fairlead.secrets._patience import Allowance, Patience
from fairlead.secrets._questions import Search, Validation
from fairlead.secrets.actions import Urgency
from fairlead.secrets.stores.port import Denied, Document, RemoteRef, Store, StoreUnavailable, Throttled
from fairlead.secrets.values import SecretBytes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    """How stores are asked.

    Attributes:
        reads_per_second: budget of one store. Vault and Secrets Manager take far more; a store that says 429 gets less.
        burst: reads that may come without a pause after a quiet time.
        batch_max: keys handed to a store at a time; Secrets Manager takes 20.
        batches_in_flight_max: so many at a time, per store.
        gather_seconds: how long the first question waits for others to join its batch.
        share_seconds: how long an answer serves those who come later. Values are held for so long, and no longer; a
            thousand new objects come within it.
        call_seconds: a call that takes longer has failed.
        wait_seconds: who has no answer by then is told why.
        idle_seconds: a connection that nobody used for so long is closed.
        pause_seconds_max: the longest time that a store may tell us to stay away.
        failures_max: so many failed calls in a row open the circuit.
        reopen_seconds: a connection that is refused everything is opened anew, with the credentials of the moment, if
            it is older than this.
    """

    reads_per_second: float = 100.0
    burst: int = 20
    batch_max: int = 20
    batches_in_flight_max: int = 4
    gather_seconds: float = 0.02
    share_seconds: float = 15.0
    call_seconds: float = 60.0
    wait_seconds: float = 120.0
    idle_seconds: float = 900.0
    pause_seconds_max: float = 300.0
    failures_max: int = 3
    reopen_seconds: float = 60.0


DEFAULTS = PlannerSettings()
THROTTLED_TRIES_MAX = 3
EARLY_SECONDS = 1e-6  # a timer may ring that much too early: clocks round


Question = RemoteRef | Search | Validation
Answer = Document | dict[str, SecretBytes] | None | FairleadError
"""What `read`, `find` or `validate` said; an error in the place of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHandle:
    """How to reach a store.

    Attributes:
        uid: whose budget it is.
        revision: changes with its spec: connections of another one are outdated.
        namespace: whose identity is used; empty: that of the store itself.
        open: makes a connection.
    """

    uid: str
    revision: str
    namespace: str = ""
    open: Callable[[], Awaitable[Store]] = field(compare=False, repr=False)


_Identity = tuple[str, str]  # revision, namespace
_Flights = dict[tuple[_Identity, Question], "_Flight"]


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
    def key(self) -> tuple[_Identity, Question]:
        return (self.handle.revision, self.handle.namespace), self.question


@dataclass(slots=True)
class _Kept:
    """An answer for those who come a little later."""

    answer: Answer
    started_at: datetime
    expires_at: float


class Planner:
    """Asks stores on behalf of everybody. Close it at the end: that logs out everywhere.

    Args:
        clock: tells the time.
        rng: draws jitter.
        recovered: is called with the UID of a store that answers again after its circuit was open.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        settings: PlannerSettings = DEFAULTS,
        rng: random.Random | None = None,
        recovered: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._rng = rng or random.Random()
        self._sources: dict[str, _Source] = {}
        self._recovered = recovered
        self._is_closed = False

    async def ask(
        self, handle: StoreHandle, questions: Sequence[Question], *, urgency: Urgency, not_before: datetime
    ) -> list[Answer]:
        """Return the answers in order, errors among them; never raises for a store.

        Args:
            not_before: an answer to a question that was put earlier will not do.
        """
        if self._is_closed:
            return [_unavailable("fairlead is shutting down")] * len(questions)
        return await self._source(handle.uid).ask(handle, questions, urgency, not_before)

    async def validate(self, handle: StoreHandle) -> FairleadError | None:
        """Return why the store cannot be used; None: it can."""
        now = self._clock.now()
        (answer,) = await self.ask(handle, (Validation(),), urgency=Urgency.FIRST, not_before=now)
        return answer if isinstance(answer, FairleadError) else None

    def on_recovery(self, told: Callable[[str], None]) -> None:
        """Have somebody else told when a store is back."""
        self._recovered = told

    async def forget(self, uid: str) -> None:
        """Close the connections of a store that is gone."""
        source = self._sources.pop(uid, None)
        if source is not None:
            await source.close("the store is gone")

    async def close(self) -> None:
        """Log out everywhere; those who wait are told. The object cannot be used any more."""
        self._is_closed = True
        await asyncio.gather(*(source.close("fairlead is shutting down") for source in self._sources.values()))
        self._sources.clear()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(source.connections for source in self._sources.values())

    def _source(self, uid: str) -> _Source:
        if uid not in self._sources:
            self._sources[uid] = _Source(uid, self._clock, self._settings, self._rng, recovered=lambda: self._tell(uid))
        return self._sources[uid]

    def _tell(self, uid: str) -> None:
        if self._recovered is not None:
            self._recovered(uid)


class _Source:
    """The questions to one store."""

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
        self._waiting: _Flights = {}
        self._flying: _Flights = {}
        self._kept: dict[tuple[_Identity, Question], _Kept] = {}
        self._number = 0
        self._pump: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stores: dict[_Identity, asyncio.Task[Store]] = {}
        self._used_at: dict[_Identity, float] = {}
        self._opened_at: dict[_Identity, float] = {}
        self._revision = ""
        allowance = Allowance(
            reads_per_second=settings.reads_per_second,
            burst=settings.burst,
            pause_seconds_max=settings.pause_seconds_max,
            failures_max=settings.failures_max,
        )
        self._patience = Patience(allowance, clock.monotonic())
        self._pause_reason: Throttled | None = None
        self._last_error: FairleadError = _unavailable("the store has not answered yet")
        self._closing: set[asyncio.Task[None]] = set()
        self._house: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return sum(_is_open(task) for task in self._stores.values())

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(
        self, handle: StoreHandle, questions: Sequence[Question], urgency: Urgency, not_before: datetime
    ) -> list[Answer]:
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
        key = (handle.revision, handle.namespace), question
        loop = asyncio.get_running_loop()
        kept = self._kept.get(key)
        if kept is not None and kept.started_at >= not_before and kept.expires_at > self._clock.monotonic():
            return _done(loop, kept.answer)
        flying = self._flying.get(key)
        if flying is not None and flying.started_at is not None and flying.started_at >= not_before:
            return flying.answer
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.urgency = min(waiting.urgency, urgency)
            return waiting.answer
        if self._patience.is_closed(self._clock.monotonic()) and not isinstance(question, Validation):
            return _done(loop, self._last_error)
        self._number += 1
        flight = _Flight(question, handle, urgency, self._number, loop.create_future())
        self._wait(flight)
        return flight.answer

    def _too_late(self) -> Answer:
        if self._pause_reason is not None and self._clock.monotonic() < self._patience.paused_until:
            return self._pause_reason
        return _unavailable(f"the store did not answer within {self._settings.wait_seconds:g} s")

    # --- the queue ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Hand out what waits, in order of urgency, within the budget; end when nothing waits."""
        try:
            await self._clock.sleep(self._settings.gather_seconds)
            while self._waiting:
                if await self._turn():
                    batch = self._take()
                    task = asyncio.create_task(self._carry_out(batch), name=f"store-{self._uid}-read")
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        finally:
            self._pump = None

    async def _turn(self) -> bool:
        """Wait for what is in the way; return whether the way was free."""
        limit = 1 if self._patience.is_broken else self._settings.batches_in_flight_max
        if len(self._tasks) >= limit:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
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
        identity = first.key[0]
        together = [
            flight
            for flight in self._waiting.values()
            if flight.key[0] == identity and flight.urgency == first.urgency and isinstance(flight.question, RemoteRef)
        ]
        return sorted(together, key=_order)[: self._settings.batch_max]

    def _take(self) -> list[_Flight]:
        """Take the chosen questions out of the queue, no more than there are tokens for."""
        chosen = self._choose()
        batch = chosen[: self._patience.spend(len(chosen))]
        now = self._clock.now()
        for flight in batch:
            del self._waiting[flight.key]
            flight.started_at = now
            self._flying[flight.key] = flight
        return batch

    async def _carry_out(self, batch: list[_Flight]) -> None:
        try:
            answers, is_of_store = await self._answers(batch)
        except asyncio.CancelledError:
            for flight in batch:
                _settle(flight, _unavailable("the call was broken off"))
            raise
        finally:
            for flight in batch:
                if self._flying.get(flight.key) is flight:
                    del self._flying[flight.key]
        self._take_in(batch, answers, is_of_store)

    async def _answers(self, batch: list[_Flight]) -> tuple[list[Answer], bool]:
        """Return the answers, and whether it is the store as a whole that failed."""
        seconds = self._settings.call_seconds
        error: FairleadError
        try:
            async with asyncio.timeout(seconds):
                store = await self._store(batch[0].handle)
                answers = await _asked(store, [flight.question for flight in batch])
                return answers, all(isinstance(answer, StoreUnavailable) for answer in answers)
        except TimeoutError:
            error = _unavailable(f"no answer within {seconds:g} s")
        except FairleadError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  # a plug-in's bug must not leave those who asked without an answer
            log.error("secret_store_broken", store=self._uid, error=type(raised).__name__)  # its text may hold a value
            error = _unavailable(f"the provider failed with {type(raised).__name__}")
        # `read` answers errors in their places: what it raises, and what opening raises, is about all of them. `find`
        # and `validate` raise for themselves.
        is_of_store = isinstance(error, StoreUnavailable) or isinstance(batch[0].question, RemoteRef)
        return [error] * len(batch), is_of_store

    def _take_in(self, batch: list[_Flight], answers: list[Answer], is_of_store: bool) -> None:
        throttled = [answer for answer in answers if isinstance(answer, Throttled)]
        if throttled:
            self._pause(max(throttled, key=lambda error: error.retry_after or 0.0))
        elif is_of_store:
            self._fail(answers[0])
        else:
            self._succeed()
            self._open_anew(batch, answers)
        expires_at = self._clock.monotonic() + self._settings.share_seconds
        for flight, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Throttled) and flight.tries < THROTTLED_TRIES_MAX and flight.key not in self._waiting:
                flight.tries += 1
                self._wait(flight)
                continue
            _settle(flight, answer)
            if answer is not None and not isinstance(answer, Throttled | StoreUnavailable) and not is_of_store:
                assert flight.started_at is not None, "a question that is answered has been asked"
                self._kept[flight.key] = _Kept(answer, flight.started_at, expires_at)
        self._keep_house()

    def _wait(self, flight: _Flight) -> None:
        self._waiting[flight.key] = flight
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name=f"store-{self._uid}")

    # --- how it has been doing ----------------------------------------------------------------------------------------

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
        for key, flight in tuple(self._waiting.items()):
            if not isinstance(flight.question, Validation):
                del self._waiting[key]
                _settle(flight, self._last_error)
        for identity in tuple(self._stores):  # the next probe logs in anew
            self._drop(identity)

    def _succeed(self) -> None:
        self._pause_reason = None
        if self._patience.succeeded():
            log.info("secret_store_recovered", store=self._uid)
            self._recovered()

    def _open_anew(self, batch: list[_Flight], answers: list[Answer]) -> None:
        """Let go of a connection that is refused everything: its credentials may have been rotated since."""
        identity = batch[0].key[0]
        if identity not in self._stores or not all(isinstance(answer, Denied) for answer in answers):
            return
        if self._clock.monotonic() - self._opened_at[identity] >= self._settings.reopen_seconds:
            self._drop(identity)

    # --- connections -------------------------------------------------------------------------------------------------

    async def _store(self, handle: StoreHandle) -> Store:
        """Return the connection of an identity, opened by whoever comes first."""
        identity = (handle.revision, handle.namespace)
        task = self._stores.get(identity)
        if task is None:
            task = asyncio.create_task(_opened(handle), name=f"store-{self._uid}-open")
            self._stores[identity] = task
            self._opened_at[identity] = self._clock.monotonic()
        self._used_at[identity] = self._clock.monotonic()
        try:
            return await asyncio.shield(task)
        finally:
            if task.done() and not _is_open(task) and self._stores.get(identity) is task:
                del self._stores[identity]

    def _renew(self, revision: str) -> None:
        """The store's spec is another: what was learnt of the old one's health says nothing."""
        self._revision = revision
        self._patience.renewed()
        for identity in tuple(self._stores):
            if identity[0] != revision:
                self._drop(identity)

    def _drop(self, identity: _Identity) -> None:
        """Let go of a connection, and log out once nobody uses it any more."""
        opened = self._stores.pop(identity)
        self._used_at.pop(identity, None)
        self._opened_at.pop(identity, None)
        task = asyncio.create_task(self._log_out(opened), name=f"store-{self._uid}-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _log_out(self, opened: asyncio.Task[Store]) -> None:
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=self._settings.call_seconds)
        await asyncio.wait((opened,))
        if _is_open(opened):
            await opened.result().close()

    # --- housekeeping ------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        """Have answers forgotten and idle connections closed in time, as long as there are any."""
        if self._sweeper is None and self._kept:
            self._sweeper = asyncio.create_task(self._sweep(), name=f"store-{self._uid}-sweeper")
        if self._house is None and self._stores:
            self._house = asyncio.create_task(self._close_idle(), name=f"store-{self._uid}-house")

    async def _sweep(self) -> None:
        while self._kept:
            due = min(kept.expires_at for kept in self._kept.values())
            await self._clock.sleep(due - self._clock.monotonic())
            self._forget_kept()
        self._sweeper = None

    async def _close_idle(self) -> None:
        while self._stores:
            due = min(self._used_at[identity] for identity in self._stores) + self._settings.idle_seconds
            await self._clock.sleep(due - self._clock.monotonic())
            for identity in tuple(self._stores):
                idle_at = self._used_at[identity] + self._settings.idle_seconds
                if idle_at <= self._clock.monotonic() + EARLY_SECONDS:
                    self._drop(identity)
        self._house = None

    def _forget_kept(self) -> None:
        now = self._clock.monotonic()
        for key in [key for key, kept in self._kept.items() if kept.expires_at <= now + EARLY_SECONDS]:
            del self._kept[key]

    async def close(self, why: str) -> None:
        """Tell those who wait, end what runs, log out."""
        running = [task for task in (self._pump, self._house, self._sweeper, *self._tasks) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for flight in self._waiting.values():
            _settle(flight, _unavailable(why))
        self._waiting.clear()
        self._kept.clear()
        for identity in tuple(self._stores):
            self._drop(identity)
        if self._closing:
            await asyncio.wait(tuple(self._closing))


async def _opened(handle: StoreHandle) -> Store:
    return await handle.open()


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
        raise _unavailable(f"{len(questions)} keys were asked for, and {len(found)} answers came")
    return list(found)


def _is_open(task: asyncio.Task[Store]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _settle(flight: _Flight, answer: Answer) -> None:
    if not flight.answer.done():
        flight.answer.set_result(answer)


def _order(flight: _Flight) -> tuple[int, int]:
    return flight.urgency, flight.number


def _unavailable(text: str) -> StoreUnavailable:
    return StoreUnavailable(text, provider="store")


def _done(loop: asyncio.AbstractEventLoop, answer: Answer) -> asyncio.Future[Answer]:
    future: asyncio.Future[Answer] = loop.create_future()
    future.set_result(answer)
    return future
