"""Carries out measurements as tasks beside each other, bounded in number and in time.

A task ends in an Outcome, whatever happens: an outage, a time limit and even a bug in a provider are an Error
measurement of that metric. What a decision has not taken in yet is kept here. Secrets live in the task only, and are
taken out of every text that leaves it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
import structlog

from fairlead.analysis._arguments import NO_SECRETS, SecretValues, resolve_metrics, revealed_values
from fairlead.analysis._preparation import PreparedRun
from fairlead.analysis._secrets import SecretReader
from fairlead.analysis.actions import GarbageCollect, Measure, Resume, Terminate
from fairlead.analysis.observation import Outcome
from fairlead.analysis.ports import MetricProvider, Providers, Question
from fairlead.analysis.spec import Metric
from fairlead.analysis.status import AnalysisRunStatus, Measurement, Phase
from fairlead.core.backoff import Backoff
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.errors import ClusterError, FairleadError, SpecError
from fairlead.core.objects import ObjectKey

log = structlog.get_logger(__name__)

TEXT_CHARACTERS_MAX = 4096  # of one value, message or piece of metadata: a person reads the beginning and the end
_TAIL_CHARACTERS = 1024  # of these: the end
TERMINATE_ATTEMPTS = 3
_TERMINATE_RETRY = Backoff(first=0.5, most=5.0)
# Derived from the run's UID and the metric's name, so no secret can be in them; with a hole they would be lost.
_NEVER_REDACTED = frozenset({"job-name", "job-namespace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringSettings:
    """How much is measured at a time, and for how long.

    Attributes:
        at_a_time: measurements of all runs; more of them wait.
        at_a_time_per_run: measurements of one run, so that a run with many slow metrics leaves room for others.
        time_limit_seconds: after this a measurement is an Error. Providers have shorter limits of their own, which
            users set (30 s for a query); this one is for a provider that does not keep its own.
        secret_seconds: how long a Secret that was read is used.
    """

    at_a_time: int = 200
    at_a_time_per_run: int = 20
    time_limit_seconds: float = 600.0
    secret_seconds: float = 5.0


DEFAULTS = MeasuringSettings()


@dataclass(slots=True)
class _Bench:
    """What is being measured for one run, and the answers that no decision has taken in yet."""

    key: ObjectKey
    slots: asyncio.Semaphore
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    arguments_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The run for which something is measured: its name, its prepared spec and its latest status."""

    key: ObjectKey
    uid: str
    run: PreparedRun
    status: AnalysisRunStatus


class Measuring:
    """Performs the actions of analysis runs that ask metric sources.

    Args:
        cluster: Secrets are read from it.
        providers: find the source of a metric.
        clock: dates measurements.
        wake: is told which run has an answer.
    """

    def __init__(
        self,
        cluster: Cluster,
        providers: Providers,
        clock: Clock,
        *,
        wake: Callable[[ObjectKey], None],
        settings: MeasuringSettings = DEFAULTS,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._wake = wake
        self._settings = settings
        self._secrets = SecretReader(cluster, clock, seconds=settings.secret_seconds)
        self._slots = asyncio.Semaphore(settings.at_a_time)
        self._benches: dict[str, _Bench] = {}  # by UID of the run
        self._cleaning: set[asyncio.Task[None]] = set()

    # --- what a decision sees --------------------------------------------------------------------------------------

    def in_flight(self, uid: str) -> frozenset[str]:
        """Return the metrics of a run for which a task is at work."""
        bench = self._benches.get(uid)
        return frozenset(bench.tasks) if bench is not None else frozenset()

    def outcomes(self, uid: str) -> tuple[Outcome, ...]:
        """Return the answers that no decision has taken in, oldest first; they stay until `taken`."""
        bench = self._benches.get(uid)
        return tuple(bench.outcomes) if bench is not None else ()

    def arguments_error(self, uid: str) -> str:
        """Return why the arguments of a run cannot be resolved, as a measurement found out."""
        bench = self._benches.get(uid)
        return bench.arguments_error if bench is not None else ""

    def taken(self, uid: str, outcomes: Iterable[Outcome]) -> None:
        """Forget answers that a decision has taken in."""
        bench = self._benches.get(uid)
        if bench is not None:
            gone = {id(outcome) for outcome in outcomes}
            bench.outcomes = [outcome for outcome in bench.outcomes if id(outcome) not in gone]

    # --- actions ---------------------------------------------------------------------------------------------------

    def start(self, subject: Subject, action: Measure | Resume | Terminate) -> None:
        """Begin to ask; at most one task per metric is at work."""
        bench = self._benches.setdefault(
            subject.uid, _Bench(subject.key, asyncio.Semaphore(self._settings.at_a_time_per_run))
        )
        if action.metric not in bench.tasks:
            coroutine = self._work(bench, subject, action)
            name = f"analysis-{subject.key}-{action.metric}"
            bench.tasks[action.metric] = asyncio.create_task(coroutine, name=name)

    def cancel(self, uid: str, metric: str) -> None:
        """Stop asking for one metric; its answer, should it come, is not kept."""
        bench = self._benches.get(uid)
        task = bench.tasks.pop(metric, None) if bench is not None else None
        if task is not None:
            task.cancel()

    def drop(self, uid: str) -> None:
        """Stop everything for a run and forget it."""
        bench = self._benches.pop(uid, None)
        for task in bench.tasks.values() if bench is not None else ():
            task.cancel()

    def clean(self, subject: Subject, action: GarbageCollect) -> None:
        """Begin to remove leftovers. If that fails they stay until the run itself is deleted."""
        task = asyncio.create_task(self._clean(subject, action), name=f"analysis-clean-{subject.key}-{action.metric}")
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    async def close(self) -> None:
        """Stop everything, and return when it has stopped. Answers that have arrived stay."""
        tasks = [task for bench in self._benches.values() for task in bench.tasks.values()]
        tasks += self._cleaning
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one task --------------------------------------------------------------------------------------------------

    async def _work(self, bench: _Bench, subject: Subject, action: Measure | Resume | Terminate) -> None:
        outcome = None
        try:
            if isinstance(action, Terminate):  # never waits behind slow measurements
                outcome = await self._answer(bench, subject, action)
            else:
                async with bench.slots, self._slots:
                    outcome = await self._answer(bench, subject, action)
        finally:
            # A cancelled task has been replaced, or its run dropped: what it leaves is nobody's.
            if bench.tasks.get(action.metric) is asyncio.current_task():
                del bench.tasks[action.metric]
        if outcome is not None:
            bench.outcomes.append(outcome)
            phase = outcome.measurement.phase
            log.info("measurement_taken", object=str(subject.key), metric=action.metric, phase=str(phase))
        self._wake(subject.key)

    async def _answer(self, bench: _Bench, subject: Subject, action: Measure | Resume | Terminate) -> Outcome | None:
        started_at = self._clock.now()
        secrets = NO_SECRETS
        metadata: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._settings.time_limit_seconds):
                try:
                    secrets = await self._reveal(subject, action)
                    metric = _resolved(subject.run, action, secrets)
                except SpecError as error:
                    bench.arguments_error = secrets.redact(str(error))
                    return None
                provider = self._providers.provider(metric)
                question = _question(subject, metric)
                if isinstance(action, Measure):
                    metadata = dict(provider.metadata(metric))
                measurement = await self._ask(provider, question, subject, action)
        except TimeoutError:
            measurement = _error(f"no answer within {self._settings.time_limit_seconds:g} s")
        except FairleadError as error:
            measurement = _error(str(error))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not we were cancelled, but what the source waited for. Without an answer nobody would wake the run.
            measurement = _error(f"the source gave up: {error!r}")
        except Exception as error:  # noqa: BLE001  # a bug of a provider is an Error, not a metric that never answers
            measurement = _error(f"{type(error).__name__}: {error}")
            _log_broken(subject, action.metric, error)
        if measurement.started_at is None:
            measurement = msgspec.structs.replace(measurement, started_at=started_at)
        if measurement.phase.is_completed and measurement.finished_at is None:
            measurement = msgspec.structs.replace(measurement, finished_at=self._clock.now())
        return Outcome(
            metric=action.metric,
            measurement=_redacted(measurement, secrets),
            metadata={name: _shown(text, secrets) for name, text in metadata.items()},
            is_termination=isinstance(action, Terminate),
        )

    async def _reveal(self, subject: Subject, action: Measure | Resume | Terminate) -> SecretValues:
        """Return the secrets of the run's arguments. What is to be ended is ended without them, if need be."""
        try:
            return await self._secrets.values(subject.key.namespace, subject.run.spec.args)
        except (SpecError, ClusterError):
            if isinstance(action, Terminate):
                return NO_SECRETS
            raise

    async def _ask(
        self, provider: MetricProvider, question: Question, subject: Subject, action: Measure | Resume | Terminate
    ) -> Measurement:
        if isinstance(action, Measure):
            return await provider.measure(question)
        result = subject.status.result(action.metric)
        assert result is not None and result.last is not None, "only what is in flight is resumed or terminated"
        if isinstance(action, Resume):
            return await provider.resume(question, result.last)
        for attempt in range(TERMINATE_ATTEMPTS - 1):
            measurement = await provider.terminate(question, result.last)
            if measurement.phase is not Phase.ERROR:
                return measurement
            await self._clock.sleep(_TERMINATE_RETRY.delay(attempt))
        return await provider.terminate(question, result.last)

    async def _clean(self, subject: Subject, action: GarbageCollect) -> None:
        metric = subject.run.by_name[action.metric]  # unresolved secrets do no harm: nothing is asked
        try:
            async with asyncio.timeout(self._settings.time_limit_seconds):
                provider = self._providers.provider(metric)
                await provider.garbage_collect(_question(subject, metric), action.measurements)
        except (FairleadError, TimeoutError) as error:
            log.warning("measurements_not_cleaned", object=str(subject.key), metric=action.metric, error=str(error))
        except Exception as error:  # noqa: BLE001  # nobody waits for this task: a bug must not vanish with it
            _log_broken(subject, action.metric, error)


def _log_broken(subject: Subject, metric: str, error: Exception) -> None:
    frames = "".join(traceback.format_tb(error.__traceback__))  # without values and texts, which may hold secrets
    log.error("provider_broken", object=str(subject.key), metric=metric, error=type(error).__name__, frames=frames)


def _resolved(run: PreparedRun, action: Measure | Resume | Terminate, secrets: SecretValues) -> Metric:
    """Return the metric with its secrets in place, under the name by which the status knows it."""
    prepared = run.by_name[action.metric]
    if isinstance(action, Terminate) and (run.error or secrets == NO_SECRETS):
        return prepared  # the end of a measurement must not fail because spec or Secrets are broken by now
    stored = run.spec.metrics[run.metrics.index(prepared)]
    (metric,) = resolve_metrics((stored,), revealed_values(run.spec.args, secrets))
    return msgspec.structs.replace(metric, name=prepared.name)


def _question(subject: Subject, metric: Metric) -> Question:
    result = subject.status.result(metric.name)
    number = result.count + result.error + 1 if result is not None else 1
    return Question(run=subject.key, run_uid=subject.uid, metric=metric, number=number)


def _error(message: str) -> Measurement:
    return Measurement(phase=Phase.ERROR, message=message)


def _redacted(measurement: Measurement, secrets: SecretValues) -> Measurement:
    return msgspec.structs.replace(
        measurement,
        message=_shown(measurement.message, secrets),
        value=_shown(measurement.value, secrets),
        metadata={
            name: text if name in _NEVER_REDACTED else _shown(text, secrets)
            for name, text in measurement.metadata.items()
        },
    )


def _shown(text: str, secrets: SecretValues) -> str:
    """Return a text as it may be stored: without secrets, not too long, without halves of surrogate pairs.

    What is too long loses its middle: a message quotes first and ends with the cause.
    """
    redacted = secrets.redact(text).encode("utf-8", "replace").decode()
    if len(redacted) <= TEXT_CHARACTERS_MAX:
        return redacted
    return f"{redacted[: TEXT_CHARACTERS_MAX - _TAIL_CHARACTERS - 1]}…{redacted[-_TAIL_CHARACTERS:]}"
