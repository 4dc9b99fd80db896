"""What should happen next to an AnalysisRun.

A run has three states. It has *not begun* (no phase): the first decision stamps its start. While it is *Running*,
metrics are measured side by side, each on a schedule of its own; every decision takes in the answers that arrived,
judges metrics and run anew, and says which metrics to measure now. Once it is *completed* its verdict is final: only
leftovers are cleared away, and the run itself when its time has come.

    not begun ──▶ Running ──▶ Successful | Failed | Error | Inconclusive
        └──────── cannot be resolved, is invalid ────────▶ Error

What ends a run before its metrics are done: `spec.terminate`, or a metric that counts and ended badly. Upstream
publishes the verdict one reconcile after the metric's, when all queries that happened to run beside it have answered.
Here it is published at once; questions that are still being asked are cancelled, and Jobs that still run are ended
afterwards. Two exceptions keep upstream's verdicts: a run that somebody terminates waits until its Jobs are ended (an
ended Job is an Inconclusive measurement and counts), and an Inconclusive verdict waits a moment for answers on their
way, because a Failed one would weigh more.

Times are compared with `now`; nothing is remembered outside the status. A crash between an answer and its being
stored asks again and counts once.

Source: `argo-rollouts: analysis/analysis.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from fairlead.analysis import _verdicts as verdicts
from fairlead.analysis._preparation import ARGUMENTS_ERROR, PreparedRun, prepare, unreadable
from fairlead.analysis.actions import Action, Cancel, DeleteRun, GarbageCollect, Measure, Resume, Terminate
from fairlead.analysis.observation import Observation, Outcome
from fairlead.analysis.spec import Metric, TtlStrategy
from fairlead.analysis.status import AnalysisRunStatus, Measurement, MetricResult, Phase, bounded, second
from fairlead.core.decision import Blocker, Decision, Event, EventType, earliest

__all__ = ["PreparedRun", "Reason", "RunDecision", "decide", "prepare", "store_by", "unreadable"]

RunDecision = Decision[AnalysisRunStatus, Action]

# How long an Inconclusive verdict waits for answers on their way, which could be worse: about a slow query.
INCONCLUSIVE_GRACE = timedelta(seconds=5)
STORE_DELAY = timedelta(seconds=30)  # how long a good answer may stay unstored; all others are stored at once


class Reason(StrEnum):
    """Why a run is not completed."""

    MEASURING = "Measuring"
    JOB_RUNNING = "MeasurementInFlight"
    WAITING = "WaitingForNextMeasurement"
    TERMINATING = "Terminating"


def decide(run: PreparedRun, status: AnalysisRunStatus, seen: Observation, now: datetime) -> RunDecision:
    """Return the run's next status, what to measure, and when to look again."""
    if status.is_completed:
        return _clear_away(run, status, seen, now)
    error = run.error or (f"{ARGUMENTS_ERROR}{seen.arguments_error}" if seen.arguments_error else "")
    if error:
        return _refuse(run, status, seen, error, now)
    before = {result.name: result for result in status.metric_results}
    started_at = status.started_at or second(now)
    judged = _conclude(run, _take_in(run, before, seen.outcomes, now), is_terminating=False)
    must_stop = verdicts.stops_run(judged.values())
    if must_stop or run.spec.terminate:
        held = _held_until(run, judged, seen, now)
        if held is None:
            return _complete(run, status, before, judged, seen, started_at, now)
        actions: tuple[Action, ...] = () if must_stop else _terminate(run, judged, seen)
        return _keep_running(run, status, before, judged, started_at, actions, held.at, held)
    if all(metric.name in judged and judged[metric.name].phase.is_completed for metric in run.metrics):
        return _complete(run, status, before, judged, seen, started_at, now)
    actions, wake_at, blocker = _schedule(run, judged, seen, started_at, now)
    return _keep_running(run, status, before, judged, started_at, actions, wake_at, blocker)


# -- taking in answers -----------------------------------------------------------------------------------------------


def _take_in(
    run: PreparedRun, before: Mapping[str, MetricResult], outcomes: Iterable[Outcome], now: datetime
) -> dict[str, MetricResult]:
    """Return the results with the new answers recorded, in the order in which metrics first answered."""
    results = dict(before)
    for outcome in outcomes:
        result = results.get(outcome.metric)
        if result is None:
            result = MetricResult(
                name=outcome.metric,
                phase=Phase.RUNNING,
                dry_run=outcome.metric in run.dry_run,
                metadata=dict(outcome.metadata),
            )
        if outcome.metric in run.by_name and not result.phase.is_completed:
            results[outcome.metric] = verdicts.record(result, _fit(outcome, now), now)
    return results


def _conclude(
    run: PreparedRun, results: Mapping[str, MetricResult], *, is_terminating: bool
) -> dict[str, MetricResult]:
    return {
        name: verdicts.conclude(metric, result, is_terminating=is_terminating) if metric is not None else result
        for name, result in results.items()
        for metric in (run.by_name.get(name),)
    }


def _fit(outcome: Outcome, now: datetime) -> Measurement:
    """Return the measurement as it is stored: whole seconds, and no way to wait for ever."""
    measurement = outcome.measurement
    if outcome.is_termination and not measurement.phase.is_completed:
        measurement = msgspec.structs.replace(
            measurement, phase=Phase.ERROR, message="the measurement could not be terminated"
        )
    if outcome.is_termination and measurement.phase in (Phase.SUCCESSFUL, Phase.INCONCLUSIVE):
        measurement = msgspec.structs.replace(measurement, message="Metric Terminated")
    resume_at = measurement.resume_at
    if not measurement.phase.is_completed:
        # Never in this very second: a source that keeps saying "now" would be asked without a pause.
        resume_at = max(resume_at or now + verdicts.RETRY_AFTER_ERROR, now + verdicts.INTERVAL_MIN)
    return msgspec.structs.replace(
        measurement,
        started_at=second(measurement.started_at or now),
        # A completed measurement has an end, one in flight has none, whatever its provider says.
        finished_at=second(measurement.finished_at or now) if measurement.phase.is_completed else None,
        resume_at=second(resume_at) if resume_at is not None else None,
    )


# -- the four ways on ------------------------------------------------------------------------------------------------


def _keep_running(
    run: PreparedRun,
    status: AnalysisRunStatus,
    before: Mapping[str, MetricResult],
    judged: Mapping[str, MetricResult],
    started_at: datetime,
    actions: tuple[Action, ...],
    wake_at: datetime | None,
    blocker: Blocker | None,
) -> RunDecision:
    kept, collect = _trim(run, judged)
    summary, dry_run_summary = verdicts.summarize(run.metrics, judged, run.dry_run)
    running = msgspec.structs.replace(
        status,
        phase=Phase.RUNNING,
        started_at=started_at,
        metric_results=kept,
        run_summary=summary,
        dry_run_summary=dry_run_summary,
    )
    return Decision(
        status=running,
        actions=(*actions, *collect),
        events=_metric_events(before, judged),
        wake_at=wake_at,
        blocked_on=blocker,
    )


def _complete(
    run: PreparedRun,
    status: AnalysisRunStatus,
    before: Mapping[str, MetricResult],
    judged: Mapping[str, MetricResult],
    seen: Observation,
    started_at: datetime,
    now: datetime,
) -> RunDecision:
    is_terminating = run.spec.terminate or verdicts.stops_run(judged.values())
    final = _conclude(run, judged, is_terminating=is_terminating)
    phase, message = verdicts.assess_run(
        run.metrics, final, is_terminating=is_terminating, is_terminated_by_spec=run.spec.terminate
    )
    kept, collect = _trim(run, final)
    summary, dry_run_summary = verdicts.summarize(run.metrics, final, run.dry_run)
    completed = msgspec.structs.replace(
        status,
        phase=phase,
        message=message,
        started_at=started_at,
        completed_at=second(now),
        metric_results=kept,
        run_summary=summary,
        dry_run_summary=dry_run_summary,
    )
    return Decision(
        status=completed,
        actions=(*_cancel(run, seen), *_clear(run, final, seen), *collect),
        events=(*_metric_events(before, final), _completion(phase)),
        wake_at=_ttl_at(run.spec.ttl_strategy, completed),
    )


def _refuse(run: PreparedRun, status: AnalysisRunStatus, seen: Observation, message: str, now: datetime) -> RunDecision:
    """End a run that cannot be measured. Unlike upstream we stamp the end, so that such a run expires as well."""
    before = {result.name: result for result in status.metric_results}
    results = _take_in(run, before, seen.outcomes, now)  # a Job that was started must be known, to be ended
    refused = msgspec.structs.replace(
        status, phase=Phase.ERROR, message=message, completed_at=second(now), metric_results=tuple(results.values())
    )
    return Decision(
        status=refused,
        actions=(*_cancel(run, seen), *_clear(run, results, seen)),
        events=(_completion(Phase.ERROR),),
        wake_at=_ttl_at(run.spec.ttl_strategy, refused),
    )


def _clear_away(run: PreparedRun, status: AnalysisRunStatus, seen: Observation, now: datetime) -> RunDecision:
    """Record how leftovers ended; the verdict stays. Delete the run when its time has come."""
    before = {result.name: result for result in status.metric_results}
    results = before
    for outcome in seen.outcomes:
        has_begun = not outcome.measurement.phase.is_completed and _leaves_something(run, outcome.metric)
        if _is_in_flight(results, outcome.metric) or has_begun:  # other answers are not waited for any more
            results = _take_in(run, results, (outcome,), now)
    cleared, events = status, tuple[Event, ...]()
    if results != before:
        results = _conclude(run, results, is_terminating=True)
        summary, dry_run_summary = verdicts.summarize(run.metrics, results, run.dry_run)
        cleared = msgspec.structs.replace(
            status, metric_results=tuple(results.values()), run_summary=summary, dry_run_summary=dry_run_summary
        )
        events = _metric_events(before, results)
    leftovers = _clear(run, results, seen)
    expires_at = _ttl_at(run.spec.ttl_strategy, status)
    if expires_at is not None and expires_at <= now and not leftovers and not seen.in_flight:
        return Decision(status=cleared, actions=(DeleteRun(),), events=events)
    return Decision(status=cleared, actions=(*_cancel(run, seen), *leftovers), events=events, wake_at=expires_at)


# -- termination -----------------------------------------------------------------------------------------------------


def _held_until(
    run: PreparedRun, judged: Mapping[str, MetricResult], seen: Observation, now: datetime
) -> Blocker | None:
    """Return what keeps a terminating run from being completed at once, or None."""
    bad = [result for result in judged.values() if result.phase.is_bad and not result.dry_run]
    if any(result.phase is not Phase.INCONCLUSIVE for result in bad):
        return None
    if bad:
        until = min(_last_finished_at(result, now) for result in bad) + INCONCLUSIVE_GRACE
        if seen.in_flight and now < until:
            names = ", ".join(sorted(seen.in_flight))
            return Blocker(
                reason=Reason.TERMINATING,
                what=f'metric "{bad[0].name}" is inconclusive, answers of {names} are on their way',
                next="the run is completed",
                at=until,
            )
        return None
    leftovers = sorted(
        metric.name
        for metric in run.metrics
        if _is_in_flight(judged, metric.name) or (metric.name in seen.in_flight and _leaves_something(run, metric.name))
    )
    if not leftovers:
        return None
    what = f"measurements in flight are ended: {', '.join(leftovers)}"
    return Blocker(reason=Reason.TERMINATING, what=what, next="the run is completed")


def _terminate(run: PreparedRun, results: Mapping[str, MetricResult], seen: Observation) -> tuple[Terminate, ...]:
    return tuple(
        Terminate(metric.name)
        for metric in run.metrics
        if _is_in_flight(results, metric.name) and metric.name not in seen.in_flight
    )


def _clear(run: PreparedRun, results: Mapping[str, MetricResult], seen: Observation) -> tuple[Action, ...]:
    """End what a completed run left behind. Runs that upstream completed hold measurements in flight that it dropped
    (kayenta's): they are history and stay as they are."""
    return tuple(action for action in _terminate(run, results, seen) if _leaves_something(run, action.metric))


def _cancel(run: PreparedRun, seen: Observation) -> tuple[Action, ...]:
    """Give up questions that are being asked; what starts a Job is waited for, to end the Job."""
    return tuple(Cancel(name) for name in sorted(seen.in_flight) if not _leaves_something(run, name))


def _leaves_something(run: PreparedRun, name: str) -> bool:
    """Whether a measurement of the metric goes on outside of this process, and must be ended there."""
    metric = run.by_name.get(name)
    return metric is not None and (metric.provider.job is not None or metric.provider.plugin is not None)


def _is_in_flight(results: Mapping[str, MetricResult], name: str) -> bool:
    result = results.get(name)
    return result is not None and result.last is not None and result.last.is_in_flight


def _last_finished_at(result: MetricResult, now: datetime) -> datetime:
    return (result.last.finished_at if result.last else None) or now


# -- schedule --------------------------------------------------------------------------------------------------------


def _schedule(
    run: PreparedRun, judged: Mapping[str, MetricResult], seen: Observation, started_at: datetime, now: datetime
) -> tuple[tuple[Action, ...], datetime | None, Blocker]:
    """Return what to measure now, when to look again, and the one thing that is waited for."""
    actions: list[Action] = []
    waits: list[Blocker] = []
    for metric in run.metrics:
        result = judged.get(metric.name)
        if result is not None and result.phase.is_completed:
            continue
        in_flight = _is_in_flight(judged, metric.name)
        at = verdicts.next_measurement_at(metric, result, started_at)
        is_due = (in_flight and metric.name in seen.news) or (at is not None and at <= now)
        if metric.name in seen.in_flight or is_due:
            if metric.name not in seen.in_flight:
                actions.append(Resume(metric.name) if in_flight else Measure(metric.name))
            waits.append(_blocker(Reason.MEASURING, metric, result, "its answer is judged", None))
        elif in_flight:
            waits.append(_blocker(Reason.JOB_RUNNING, metric, result, "it is looked at again", at))
        else:
            waits.append(_blocker(Reason.WAITING, metric, result, "it is measured", at))
    assert waits, "an unfinished run has an unfinished metric"
    wake_at = earliest(*(wait.at for wait in waits))
    busy = [wait for wait in waits if wait.at is None]
    first = busy[0] if busy else min(waits, key=lambda wait: wait.at or now)
    return tuple(actions), wake_at, first


def _blocker(reason: Reason, metric: Metric, result: MetricResult | None, then: str, at: datetime | None) -> Blocker:
    count = verdicts.effective_count(metric)
    done = result.count if result is not None else 0
    progress = f"{done} of {count} measurements" if count is not None else f"{done} measurements"
    last = result.last if result is not None else None
    words = {
        Reason.MEASURING: f'metric "{metric.name}" is being measured ({progress} so far)',
        Reason.JOB_RUNNING: f'a measurement of metric "{metric.name}" is in flight ({progress} so far)',
        Reason.WAITING: f'metric "{metric.name}" waits for its next measurement ({progress} so far)',
    }
    since = (last.finished_at or last.started_at) if last is not None else None
    return Blocker(reason=reason, what=words[reason], since=since, next=then, at=at)


# -- small answers ---------------------------------------------------------------------------------------------------


def _trim(
    run: PreparedRun, results: Mapping[str, MetricResult]
) -> tuple[tuple[MetricResult, ...], tuple[GarbageCollect, ...]]:
    """Return the results with only the measurements that are kept, and what to remove for the others."""
    kept: list[MetricResult] = []
    collect: list[GarbageCollect] = []
    for name, result in results.items():
        limit = run.retention.get(name)
        if limit is None or len(result.measurements) <= limit:
            kept.append(result)
            continue
        kept.append(verdicts.trim(result, limit))
        if _leaves_something(run, name):
            collect.append(GarbageCollect(name, result.measurements[:-limit]))
    return bounded(tuple(kept)), tuple(collect)


def _metric_events(before: Mapping[str, MetricResult], after: Mapping[str, MetricResult]) -> tuple[Event, ...]:
    return tuple(
        Event(f"Metric{result.phase}", f"Metric '{name}' Completed. Result: {result.phase}", _event_type(result.phase))
        for name, result in after.items()
        if result.phase.is_completed and (name not in before or not before[name].phase.is_completed)
    )


def _completion(phase: Phase) -> Event:
    return Event(f"AnalysisRun{phase}", f"Analysis Completed. Result: {phase}", _event_type(phase))


def _event_type(phase: Phase) -> EventType:
    return EventType.WARNING if phase in (Phase.FAILED, Phase.ERROR) else EventType.NORMAL


def _ttl_at(strategy: TtlStrategy | None, status: AnalysisRunStatus) -> datetime | None:
    """Return when a completed run is deleted: once more whole seconds have passed than its strategy says."""
    if strategy is None or status.completed_at is None:
        return None
    seconds = strategy.seconds_after_completion
    if status.phase is Phase.SUCCESSFUL and strategy.seconds_after_success is not None:
        seconds = strategy.seconds_after_success
    elif status.phase is Phase.FAILED and strategy.seconds_after_failure is not None:
        seconds = strategy.seconds_after_failure
    return None if seconds is None else status.completed_at + timedelta(seconds=max(0, seconds) + 1)


# -- when to store ---------------------------------------------------------------------------------------------------


def store_by(stored: AnalysisRunStatus, decided: AnalysisRunStatus, now: datetime) -> datetime | None:
    """Return by when the decided status must be written; None: it is stored already.

    Good answers may wait for the next write, up to `STORE_DELAY`: a crash asks for them again. Everything else is
    written at once, for a crash must not forget a failure, nor an answer that ended a row of errors.
    """
    stored, decided = _without_next_looks(stored), _without_next_looks(decided)
    if stored == decided:
        return None
    first_unstored = now + STORE_DELAY
    for result in decided.metric_results:
        old = stored.result(result.name) or MetricResult(name=result.name, phase=Phase.RUNNING, dry_run=result.dry_run)
        if not _only_good_news(old, result):
            return now
        more = result.successful - old.successful
        for measurement in result.measurements[max(0, len(result.measurements) - more) :]:
            first_unstored = min(first_unstored, (measurement.finished_at or now) + STORE_DELAY)
    was_begun = stored.phase is decided.phase and stored.message == decided.message
    is_grown = len(decided.metric_results) >= len(stored.metric_results)
    return first_unstored if was_begun and is_grown and stored.completed_at == decided.completed_at else now


def _without_next_looks(status: AnalysisRunStatus) -> AnalysisRunStatus:
    """Return the status without the times at which measurements in flight are looked at again.

    A time alone is not worth a write: whoever reads an old one looks again at once.
    """
    results = tuple(
        msgspec.structs.replace(
            result, measurements=(*result.measurements[:-1], msgspec.structs.replace(result.last, resume_at=None))
        )
        if result.last is not None and result.last.is_in_flight
        else result
        for result in status.metric_results
    )
    return msgspec.structs.replace(status, metric_results=results)


def _only_good_news(old: MetricResult, new: MetricResult) -> bool:
    is_in_flight = any(result.last is not None and result.last.is_in_flight for result in (old, new))
    return (
        (old == new or not is_in_flight)
        and (old.failed, old.inconclusive, old.error) == (new.failed, new.inconclusive, new.error)
        and old.consecutive_error == new.consecutive_error
        and not new.phase.is_bad
    )
