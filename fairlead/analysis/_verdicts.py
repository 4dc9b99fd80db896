"""Measurements to a verdict: counters, limits, one metric, the whole run, and when to measure next.

Three judgements lie above each other. A measurement is judged by its provider. A metric is judged by its counters
(`assess_metric`): limits first, then enough successes in a row, then enough measurements. A run is judged by its
metrics (`assess_run`): the worst one counts, and a bad one ends the run without waiting for the others.

Within one metric Error beats Inconclusive beats Failed; between metrics it is the other way round. That is upstream's
order, and clients show its texts.

Source: `argo-rollouts: analysis/analysis.go`, `utils/analysis/helpers.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from fairlead.analysis.spec import IntOrString, Metric
from fairlead.analysis.status import Measurement, MetricResult, Phase, RunSummary, second
from fairlead.core.durations import parse_go_duration

CONSECUTIVE_ERROR_LIMIT = 4  # the default that users know: the fifth error in a row ends the metric
RETRY_AFTER_ERROR = timedelta(seconds=10)  # whatever the interval is
# Instants are stored in whole seconds, so a shorter interval would measure without a pause.
INTERVAL_MIN = timedelta(seconds=1)

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_INT64_MAX = 2**63 - 1
_BEST_TO_WORST = (Phase.SUCCESSFUL, Phase.RUNNING, Phase.PENDING, Phase.INCONCLUSIVE, Phase.ERROR, Phase.FAILED)


def is_number(text: str) -> bool:
    """Return whether text is a whole number, as Kubernetes reads it."""
    return _INTEGER.fullmatch(text) is not None


def number(value: IntOrString | None, default: int = 0) -> int:
    """Return an int-or-string as a number; text that is none is 0, as Kubernetes reads it.

    >>> number("3"), number("three"), number(None, 4)
    (3, 0, 4)
    """
    if value is None:
        return default
    if isinstance(value, int):
        return value
    if not _INTEGER.fullmatch(value):
        return 0
    if len(value) > 20:  # beyond 64 bits Go keeps the nearest bound
        return -_INT64_MAX - 1 if value[0] == "-" else _INT64_MAX
    return max(-_INT64_MAX - 1, min(_INT64_MAX, int(value)))


def effective_count(metric: Metric) -> int | None:
    """Return how many measurements the metric wants, errors not counted; None: it goes on without end.

    A negative count is 1. Upstream takes it as reached at once, so that a lone error would count as success.
    """
    count = number(metric.count)
    if count:
        return max(count, 1)
    return None if metric.interval else 1


# -- one measurement more --------------------------------------------------------------------------------------------


def record(result: MetricResult, measurement: Measurement, now: datetime) -> MetricResult:
    """Return the result with the measurement: in place of the one in flight, or behind the others.

    A completed measurement counts, and one without a time of completion gets `now`.
    """
    if measurement.phase.is_completed and measurement.finished_at is None:
        measurement = msgspec.structs.replace(measurement, finished_at=second(now))
    earlier = result.measurements
    if earlier and earlier[-1].is_in_flight:
        earlier = earlier[:-1]
    counted = msgspec.structs.replace(result, measurements=(*earlier, measurement))
    match measurement.phase:
        case Phase.SUCCESSFUL:
            return msgspec.structs.replace(
                counted,
                successful=result.successful + 1,
                count=result.count + 1,
                consecutive_error=0,
                consecutive_success=result.consecutive_success + 1,
            )
        case Phase.FAILED:
            return msgspec.structs.replace(
                counted, failed=result.failed + 1, count=result.count + 1, consecutive_error=0, consecutive_success=0
            )
        case Phase.INCONCLUSIVE:
            return msgspec.structs.replace(
                counted,
                inconclusive=result.inconclusive + 1,
                count=result.count + 1,
                consecutive_error=0,
                consecutive_success=0,
            )
        case Phase.ERROR:
            return msgspec.structs.replace(
                counted,
                error=result.error + 1,
                consecutive_error=result.consecutive_error + 1,
                consecutive_success=0,
            )
        case _:
            return counted


def trim(result: MetricResult, limit: int) -> MetricResult:
    """Return the result with only its newest measurements; the counters keep what they counted."""
    if len(result.measurements) <= limit:
        return result
    return msgspec.structs.replace(result, measurements=result.measurements[-limit:])


# -- one metric ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was exceeded: the verdict it means, and the words for it."""

    phase: Phase
    text: str


def breach(metric: Metric, result: MetricResult) -> Breach | None:
    """Return the limit that decides about the metric, or None."""
    failure_limit = number(metric.failure_limit)
    inconclusive_limit = number(metric.inconclusive_limit)
    error_limit = number(metric.consecutive_error_limit, CONSECUTIVE_ERROR_LIMIT)
    if result.consecutive_error > error_limit:
        text = f"consecutiveErrors ({result.consecutive_error}) > consecutiveErrorLimit ({error_limit})"
        return Breach(Phase.ERROR, text)
    if result.inconclusive > inconclusive_limit:
        return Breach(
            Phase.INCONCLUSIVE, f"inconclusive ({result.inconclusive}) > inconclusiveLimit ({inconclusive_limit})"
        )
    if failure_limit >= 0 and result.failed > failure_limit:
        return Breach(Phase.FAILED, f"failed ({result.failed}) > failureLimit ({failure_limit})")
    return None


def assess_metric(metric: Metric, result: MetricResult, *, is_terminating: bool = False) -> Phase:
    """Return what the metric amounts to. A completed one never changes any more."""
    if result.phase.is_completed:
        return result.phase
    if result.last is None:
        return Phase.SUCCESSFUL if is_terminating else Phase.PENDING
    if result.last.is_in_flight:
        return Phase.RUNNING
    exceeded = breach(metric, result)
    if exceeded is not None:
        return exceeded.phase
    wanted_in_a_row = number(metric.consecutive_success_limit)
    if wanted_in_a_row > 0 and result.consecutive_success >= wanted_in_a_row:
        return Phase.SUCCESSFUL
    count = effective_count(metric)
    if count is not None and result.count >= count:
        if wanted_in_a_row <= 0:
            return Phase.SUCCESSFUL
        return Phase.INCONCLUSIVE if number(metric.failure_limit) >= 0 else Phase.FAILED
    return Phase.SUCCESSFUL if is_terminating else Phase.RUNNING


def conclude(metric: Metric, result: MetricResult, *, is_terminating: bool = False) -> MetricResult:
    """Return the result with its verdict; the message changes with the phase only."""
    phase = assess_metric(metric, result, is_terminating=is_terminating)
    if phase is result.phase:
        return result
    message = result.last.message if result.last else ""
    exceeded = breach(metric, result)
    if result.dry_run and phase.is_completed and exceeded is not None:
        message = f"Metric assessed {phase} due to {exceeded.text}"
    return msgspec.structs.replace(result, phase=phase, message=message)


# -- the run ---------------------------------------------------------------------------------------------------------


def is_worse(phase: Phase, than: Phase) -> bool:
    """Whether a phase stands behind another one in the order from best to worst of runs."""
    return _BEST_TO_WORST.index(phase) > _BEST_TO_WORST.index(than)


def stops_run(results: Iterable[MetricResult]) -> bool:
    """Whether a metric that counts has ended badly, so that no other one is measured any more."""
    return any(result.phase.is_bad and not result.dry_run for result in results)


def assess_run(
    metrics: Sequence[Metric],
    results: Mapping[str, MetricResult],
    *,
    is_terminating: bool,
    is_terminated_by_spec: bool = False,
) -> tuple[Phase, str]:
    """Return the run's phase and the message that goes with it.

    Args:
        metrics: in the order of the spec; the first of the worst gives the message.
        results: by name of metric.
        is_terminating: unfinished metrics no longer count.
        is_terminated_by_spec: somebody asked for the end.
    """
    worst: Phase | None = None
    all_completed = True
    message = "Run Terminated" if is_terminated_by_spec else ""
    for metric in metrics:
        result = results.get(metric.name)
        if result is None or not result.phase.is_completed:
            all_completed = False
        elif result.dry_run:
            worst = worst or Phase.SUCCESSFUL
        elif worst is None or is_worse(result.phase, worst):
            worst = result.phase
            message = _words(metric, result) or message
    if not is_terminating and not all_completed:
        return Phase.RUNNING, ""
    return worst or Phase.SUCCESSFUL, message.strip()


def _words(metric: Metric, result: MetricResult) -> str:
    exceeded = breach(metric, result)
    if exceeded is None:
        return ""
    detail = f': "Error Message: {result.message}"' if result.message else ""
    return f'Metric "{metric.name}" assessed {exceeded.phase} due to {exceeded.text}{detail}'


def summarize(
    metrics: Sequence[Metric], results: Mapping[str, MetricResult], dry_run: frozenset[str]
) -> tuple[RunSummary, RunSummary]:
    """Return how many metrics ended how: those that count, then those in dry run.

    A metric that ended badly without exceeding a limit (too few successes in a row) is under `successful`, where
    clients of upstream find it.
    """
    tallies = {False: dict.fromkeys(msgspec.structs.asdict(RunSummary()), 0)}
    tallies[True] = dict(tallies[False])
    for metric in metrics:
        result = results.get(metric.name)
        tally = tallies[result.dry_run if result is not None else metric.name in dry_run]
        tally["count"] += 1
        if result is not None and result.phase.is_completed:
            exceeded = breach(metric, result)
            tally[exceeded.phase.lower() if exceeded is not None else "successful"] += 1
    return RunSummary(**tallies[False]), RunSummary(**tallies[True])


# -- when ------------------------------------------------------------------------------------------------------------


def next_measurement_at(metric: Metric, result: MetricResult | None, started_at: datetime) -> datetime | None:
    """Return when the metric wants to be measured, or its measurement in flight looked at; None: not any more.

    Upstream measures strictly after this instant. We are woken exactly at it, and so measure at it.

    Args:
        metric: a valid one.
        result: what is known of it; None: it has not begun.
        started_at: when the run started.
    """
    if result is None or result.last is None:
        return started_at + span(metric.initial_delay)
    last = result.last
    if result.phase.is_completed:
        return None
    if last.finished_at is None:
        return last.resume_at or last.started_at or started_at
    count = effective_count(metric)
    if count is not None and result.count >= count:
        return None
    if last.phase is Phase.ERROR or not metric.interval:
        return last.finished_at + RETRY_AFTER_ERROR
    return last.finished_at + max(INTERVAL_MIN, span(metric.interval))


def span(text: str) -> timedelta:
    """Return a valid duration; an empty one, and a negative one, is no time at all."""
    return max(timedelta(0), parse_go_duration(text)) if text else timedelta(0)
