"""Runs of analysis decided by values: schedule, verdict, termination, dry run, retention, expiry, and when to store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.analysis import machine
from fairlead.analysis.actions import Action, Cancel, DeleteRun, GarbageCollect, Measure, Resume, Terminate
from fairlead.analysis.machine import RunDecision, decide, prepare, store_by
from fairlead.analysis.observation import NOTHING_SEEN, Observation, Outcome
from fairlead.analysis.spec import RunSpec, TtlStrategy, decode_run_spec
from fairlead.analysis.status import AnalysisRunStatus, Measurement, MetricResult, Phase, RunSummary
from fairlead.core.decision import Event, EventType
from fairlead.core.errors import SpecError

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEB = {"web": {"url": "http://shop"}}
JOB: dict[str, Any] = {"job": {"spec": {}}}
LETTERS = {"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR, "R": Phase.RUNNING}


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def spec(*metrics: dict[str, Any], **fields: Any) -> RunSpec:
    named = [{"name": chr(ord("a") + index), "provider": WEB, **metric} for index, metric in enumerate(metrics)]
    return msgspec.convert({"metrics": named, **fields}, RunSpec)


class Story:
    """Takes a run through several decisions: what was seen and when, and what was decided."""

    def __init__(self, run: RunSpec) -> None:
        self.run = prepare(run)
        self.status = AnalysisRunStatus()
        self.in_flight: set[str] = set()
        self.decision: RunDecision | None = None

    def look(self, seconds: float, *answers: tuple[str, str] | Outcome, **seen: Any) -> Sequence[Action]:
        """Decide with the given answers (metric and letter); return the actions."""
        now = at(seconds)
        outcomes = tuple(
            one
            if isinstance(one, Outcome)
            else Outcome(
                metric=one[0],
                measurement=Measurement(phase=LETTERS[one[1][0]], started_at=now, message=one[1][2:]),
            )
            for one in answers
        )
        self.in_flight -= {outcome.metric for outcome in outcomes}
        observation = Observation(outcomes=outcomes, in_flight=frozenset(self.in_flight), **seen)
        self.decision = decide(self.run, self.status, observation, now)
        again = decide(self.run, self.status, observation, now)
        assert again == self.decision  # same arguments, same answer
        self.status = self.decision.status
        for action in self.decision.actions:
            if isinstance(action, Measure | Resume | Terminate):
                self.in_flight.add(action.metric)
            elif isinstance(action, Cancel):
                self.in_flight.discard(action.metric)
        assert (self.decision.blocked_on is None) == self.status.is_completed  # what is unfinished names its blocker
        return self.decision.actions

    @property
    def wakes(self) -> float | None:
        assert self.decision is not None
        return (self.decision.wake_at - T0).total_seconds() if self.decision.wake_at else None

    @property
    def events(self) -> list[str]:
        assert self.decision is not None
        return [event.reason for event in self.decision.events]

    @property
    def reached(self) -> tuple[str, str]:
        return (str(self.status.phase), self.status.message)


# -- schedule --------------------------------------------------------------------------------------------------------


def test_a_run_begins_and_measures_side_by_side() -> None:
    story = Story(spec({"count": 2, "interval": "1m"}, {}))
    assert story.look(0.7) == (Measure("a"), Measure("b"))
    assert story.reached == ("Running", "")
    assert story.status.started_at == T0  # whole seconds
    assert story.status.run_summary == RunSummary(count=2)
    assert story.status.dry_run_summary == RunSummary()
    assert story.wakes is None  # the answers will wake it


def test_the_interval_runs_from_the_end_of_one_measurement_to_the_start_of_the_next() -> None:
    story = Story(spec({"count": 2, "interval": "1m"}))
    story.look(0)
    assert story.look(7.9, ("a", "S")) == ()
    assert story.wakes == 67  # the end is stored as second 7
    assert story.look(66) == ()
    assert story.look(67) == (Measure("a"),)
    assert story.look(67.5, ("a", "S")) == ()
    assert story.reached == ("Successful", "")
    assert story.status.completed_at == at(67)


def test_a_slow_metric_does_not_delay_another_one() -> None:
    story = Story(spec({"count": 3, "interval": "10s"}, {"count": 3, "interval": "10s"}))
    story.look(0)
    story.look(1, ("a", "S"))
    assert story.wakes == 11
    assert story.look(11) == (Measure("a"),)  # b is still being asked


def test_an_error_is_asked_again_after_ten_seconds_whatever_the_interval() -> None:
    story = Story(spec({"count": 2, "interval": "10m"}))
    story.look(0)
    story.look(1, ("a", "E:connection refused"))
    assert story.wakes == 11
    assert story.look(11) == (Measure("a"),)


def test_the_initial_delay_counts_from_the_start_of_the_run() -> None:
    story = Story(spec({"initialDelay": "30s"}, {}))
    assert story.look(0) == (Measure("b"),)
    assert story.wakes == 30
    assert story.look(29, ("b", "S")) == ()
    assert story.look(30) == (Measure("a"),)


def test_a_metric_without_count_goes_on_until_it_is_stopped() -> None:
    story = Story(spec({"interval": "1s"}))
    for second in range(0, 100, 2):
        assert story.look(second) == (Measure("a"),)
        story.look(second, ("a", "S"))
    assert story.reached == ("Running", "")
    assert story.status.metric_results[0].count == 50
    assert len(story.status.metric_results[0].measurements) == 10


# -- verdicts --------------------------------------------------------------------------------------------------------

FAILED_A = 'Metric "a" assessed Failed due to failed (1) > failureLimit (0)'


def test_a_failed_metric_ends_the_run_in_the_same_decision_and_its_slow_sibling_is_cancelled() -> None:
    story = Story(spec({}, {"interval": "1m", "count": 5}))
    story.look(0)
    assert story.look(3, ("a", "F")) == (Cancel("b"),)
    assert story.reached == ("Failed", FAILED_A)
    assert story.events == ["MetricFailed", "AnalysisRunFailed"]
    assert story.look(9, ("b", "S")) == ()  # an answer that nobody waits for changes nothing
    assert story.reached == ("Failed", FAILED_A)
    assert [result.name for result in story.status.metric_results] == ["a"]


def test_the_limit_is_exact() -> None:
    story = Story(spec({"interval": "10s", "count": 9, "failureLimit": 2}))
    for turn in range(3):
        story.look(turn * 20)
        assert story.status.phase is Phase.RUNNING
        story.look(turn * 20 + 1, ("a", "F"))
    assert story.reached == ("Failed", 'Metric "a" assessed Failed due to failed (3) > failureLimit (2)')


def test_the_message_quotes_the_answer() -> None:
    story = Story(spec({"consecutiveErrorLimit": 0}))
    story.look(0)
    story.look(1, ("a", "E:503"))
    text = 'Metric "a" assessed Error due to consecutiveErrors (1) > consecutiveErrorLimit (0): "Error Message: 503"'
    assert story.reached == ("Error", text)


def test_results_stand_in_the_order_of_the_answers_and_the_message_comes_from_the_first_worst_of_the_spec() -> None:
    story = Story(spec({}, {}))
    story.look(0)
    story.look(1, ("b", "F:two"), ("a", "F:one"))
    assert [result.name for result in story.status.metric_results] == ["b", "a"]
    assert story.status.message == FAILED_A + ': "Error Message: one"'


def test_a_metric_that_ended_well_does_not_end_the_run() -> None:
    story = Story(spec({}, {"count": 2, "interval": "1m"}))
    story.look(0)
    story.look(1, ("a", "S"), ("b", "S"))
    assert story.reached == ("Running", "")
    assert story.events == ["MetricSuccessful"]


def test_an_inconclusive_verdict_waits_a_moment_for_a_worse_answer_on_its_way() -> None:
    story = Story(spec({}, {}))
    story.look(0)
    assert story.look(3, ("a", "I")) == ()
    assert story.reached == ("Running", "")
    assert story.wakes == 8
    story.look(4, ("b", "F"))
    assert story.reached[0] == "Failed"


def test_an_inconclusive_verdict_does_not_wait_longer_than_its_grace() -> None:
    story = Story(spec({}, {}))
    story.look(0)
    story.look(3, ("a", "I"))
    assert story.look(8) == (Cancel("b"),)
    assert story.reached[0] == "Inconclusive"


def test_nothing_new_is_measured_while_an_inconclusive_verdict_waits() -> None:
    story = Story(spec({}, {}, {"initialDelay": "4s"}))
    story.look(0)
    story.look(3, ("a", "I"))
    assert story.look(5) == ()


def test_a_verdict_is_final() -> None:
    story = Story(spec({"failureLimit": 0}))
    story.look(0)
    story.look(1, ("a", "F"))
    for seconds in (2, 100, 10_000):
        assert story.look(seconds, ("a", "S")) == ()
        assert story.reached == ("Failed", FAILED_A)
        assert story.status.metric_results[0].successful == 0


def test_nothing_but_answers_makes_a_run_successful() -> None:
    """A missing metric is never a pass: however late it gets, no answer means no verdict; errors end in Error."""
    story = Story(spec({}))
    story.look(0)
    assert story.look(100_000) == ()
    assert story.reached == ("Running", "")
    for turn in range(5):
        story.look(200_000 + 20 * turn, ("a", "E:down"))
        story.look(200_010 + 20 * turn)
    assert story.reached[0] == "Error"


# -- dry run ---------------------------------------------------------------------------------------------------------


def test_a_metric_in_dry_run_neither_stops_nor_spoils_the_run_but_is_waited_for() -> None:
    story = Story(spec({}, {"count": 2, "interval": "1m"}, dryRun=[{"metricName": "a|b"}, {"metricName": "b"}]))
    story.look(0)
    story.look(1, ("a", "F:boom"))
    assert story.reached == ("Running", "")
    assert story.events == ["MetricFailed"]
    assert story.status.metric_results[0].message == "Metric assessed Failed due to failed (1) > failureLimit (0)"
    story.look(2, ("b", "S"))
    story.look(62)
    story.look(63, ("b", "S"))
    assert story.reached == ("Successful", "")
    assert story.status.run_summary == RunSummary()
    assert story.status.dry_run_summary == RunSummary(count=2, successful=1, failed=1)


def test_whether_a_metric_counts_is_fixed_with_its_first_answer() -> None:
    story = Story(spec({"interval": "1m"}, dryRun=[{"metricName": "a"}]))
    story.look(0)
    story.look(1, ("a", "S"))
    story.run = prepare(spec({"interval": "1m"}))
    story.look(61)
    story.look(62, ("a", "F"))
    assert story.status.phase is not Phase.FAILED
    assert story.status.metric_results[0].dry_run


# -- errors before anything is measured ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "message"),
    [
        pytest.param(spec(), "Analysis spec invalid: no metrics specified", id="no-metrics"),
        pytest.param(
            spec({"interval": "1d"}),
            'Analysis spec invalid: metrics[0]: invalid interval string: time: unknown unit "d" in duration "1d"',
            id="bad-interval",
        ),
        pytest.param(
            spec({}, dryRun=[{"metricName": "*"}]),
            "Analysis spec invalid: dryRun[0]: Rule didn't match any metric name(s)",
            id="dry-run-star",
        ),
        pytest.param(
            spec({}, measurementRetention=[{"metricName": "x", "limit": 1}]),
            "Analysis spec invalid: measurementRetention[0]: Rule didn't match any metric name(s)",
            id="retention",
        ),
        pytest.param(
            spec({"successCondition": "{{args.x}}"}),
            "Unable to resolve metric arguments: failed to resolve {{args.x}}",
            id="unknown-argument",
        ),
        pytest.param(
            spec({}, args=[{"name": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            'Unable to resolve metric arguments: argument "x" was not supplied',
            id="field-reference",
        ),
    ],
)
def test_a_run_that_cannot_begin_ends_in_error_and_expires(run: RunSpec, message: str) -> None:
    story = Story(msgspec.structs.replace(run, ttl_strategy=TtlStrategy(seconds_after_completion=60)))
    assert story.look(0) == ()
    assert story.wakes == 61
    assert story.reached == ("Error", message)
    assert story.status.completed_at == T0
    assert story.events == ["AnalysisRunError"]


def test_a_missing_secret_ends_the_run_and_what_is_in_flight() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    story.look(1, running("a"))
    assert story.look(5, arguments_error='secrets "token" not found') == (Terminate("a"),)
    assert story.reached == ("Error", 'Unable to resolve metric arguments: secrets "token" not found')


def test_a_spec_that_does_not_fit_its_schema_names_the_field() -> None:
    with pytest.raises(SpecError) as caught:
        decode_run_spec(b'{"metrics": [{"name": "a", "count": [1]}]}')
    decision = decide(machine.unreadable(caught.value), AnalysisRunStatus(), NOTHING_SEEN, T0)
    assert decision.status.phase is Phase.ERROR
    assert decision.status.message == (
        "Analysis spec invalid: spec.metrics[0].count: Invalid value: [1]: expected int | str, found array"
    )


def test_rules_are_matched_after_substitution() -> None:
    run = spec(
        {"name": "{{args.kind}}-rate"},
        args=[{"name": "kind", "value": "error"}],
        dryRun=[{"metricName": "^error-rate$"}],
    )
    assert prepare(run).dry_run == {"error-rate"}


# -- jobs and termination --------------------------------------------------------------------------------------------


def running(name: str, resume_after: float | None = 30, **fields: Any) -> Outcome:
    resume_at = None if resume_after is None else at(resume_after)
    measurement = Measurement(phase=Phase.RUNNING, started_at=T0, metadata={"job-name": "j"}, resume_at=resume_at)
    return Outcome(metric=name, measurement=measurement, **fields)


def ended(name: str, phase: Phase = Phase.INCONCLUSIVE) -> Outcome:
    return Outcome(metric=name, measurement=Measurement(phase=phase, message="deleted"), is_termination=True)


def test_a_job_is_looked_at_when_its_time_has_come_or_when_there_is_news() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    assert story.look(1, running("a", 30)) == ()
    assert story.wakes == 30
    assert story.look(10) == ()
    assert story.look(12, news=frozenset({"a"})) == (Resume("a"),)
    assert story.look(13, running("a", 40)) == ()
    assert story.look(40) == (Resume("a"),)
    story.look(41, ("a", "S"))
    assert story.reached == ("Successful", "")
    assert len(story.status.metric_results[0].measurements) == 1


def test_a_measurement_that_does_not_say_when_is_looked_at_again_soon() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    story.look(1, running("a", None))
    assert story.wakes == 11


def test_a_source_that_says_now_is_not_asked_without_a_pause() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    assert story.look(1.9, running("a", 0)) == ()
    assert story.wakes == 2
    assert story.look(2) == (Resume("a"),)
    assert story.look(2, running("a", 2)) == ()
    assert story.wakes == 3


def test_terminating_a_run_with_a_job_in_flight_waits_for_its_end_and_is_inconclusive() -> None:
    story = Story(spec({"provider": JOB}, {"interval": "1m"}))
    story.look(0)
    story.look(1, running("a"), ("b", "S"))
    story.run = prepare(msgspec.structs.replace(story.run.spec, terminate=True))
    assert story.look(2) == (Terminate("a"),)
    assert story.status.phase is Phase.RUNNING
    assert story.look(3) == ()  # is being ended
    story.look(4, ended("a"))
    assert story.reached == (
        "Inconclusive",
        'Metric "a" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): '
        '"Error Message: Metric Terminated"',
    )
    assert story.status.result("b") is not None
    assert str(story.status.metric_results[1].phase) == "Successful"


def test_a_job_that_was_just_being_started_is_ended_as_well() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    story.run = prepare(msgspec.structs.replace(story.run.spec, terminate=True))
    assert story.look(1) == ()
    assert story.look(2, running("a")) == (Terminate("a"),)
    story.look(3, ended("a"))
    assert story.reached[0] == "Inconclusive"


def test_terminating_cancels_a_query() -> None:
    story = Story(spec({"count": 5, "interval": "1m"}))
    story.look(0)
    story.look(1, ("a", "S"))
    story.look(61)
    story.run = prepare(msgspec.structs.replace(story.run.spec, terminate=True))
    assert story.look(62) == (Cancel("a"),)
    assert story.reached == ("Successful", "Run Terminated")
    assert story.events == ["MetricSuccessful", "AnalysisRunSuccessful"]


def test_a_run_terminated_before_it_began() -> None:
    story = Story(spec({}, terminate=True))
    assert story.look(0) == ()
    assert story.reached == ("Successful", "Run Terminated")
    assert story.status.metric_results == ()


def test_a_verdict_does_not_wait_for_the_end_of_jobs_but_they_are_ended_and_recorded() -> None:
    story = Story(spec({}, {"provider": JOB}))
    story.look(0)
    story.look(1, running("b"))
    assert story.look(2, ("a", "F")) == (Terminate("b"),)
    assert story.reached == ("Failed", FAILED_A)
    assert story.look(3, ended("b")) == ()
    assert story.reached == ("Failed", FAILED_A)
    assert story.events == ["MetricInconclusive"]
    assert story.status.metric_results[0].measurements[0].message == "Metric Terminated"
    assert story.status.run_summary == RunSummary(count=2, failed=1, inconclusive=1)


def test_a_job_that_was_just_being_started_when_the_verdict_fell_is_ended_too() -> None:
    story = Story(spec({}, {"provider": JOB}))
    story.look(0)
    assert story.look(2, ("a", "F")) == ()
    assert story.look(3, running("b")) == (Terminate("b"),)
    assert story.look(4, ended("b")) == ()
    assert story.look(5) == ()


def test_a_job_that_cannot_be_ended_does_not_hold_the_run_for_ever() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    story.look(1, running("a"))
    story.run = prepare(msgspec.structs.replace(story.run.spec, terminate=True))
    story.look(2)
    story.look(3, running("a", is_termination=True))
    assert story.reached == ("Successful", "Run Terminated")
    assert story.status.metric_results[0].error == 1
    assert story.status.metric_results[0].measurements[0].finished_at == at(3)


def test_what_upstream_dropped_in_a_completed_run_stays_as_it_is() -> None:
    story = Story(spec({"provider": {"kayenta": {}}}))
    in_flight = Measurement(phase=Phase.RUNNING, started_at=T0)
    story.status = AnalysisRunStatus(
        phase=Phase.SUCCESSFUL,
        metric_results=(MetricResult(name="a", phase=Phase.RUNNING, measurements=(in_flight,)),),
    )
    before = story.status
    assert story.look(100) == ()
    assert story.status == before


# -- retention and expiry --------------------------------------------------------------------------------------------


def test_old_measurements_go_and_their_jobs_with_them() -> None:
    run = spec(
        {"provider": JOB, "interval": "1s"},
        {"interval": "1s"},
        measurementRetention=[{"metricName": "a", "limit": 2}, {"metricName": "b", "limit": 1}],
    )
    story = Story(run)
    for turn in range(2):
        story.look(turn * 10)
        assert story.look(turn * 10 + 1, ("a", "S")) == ()
        story.look(turn * 10 + 1, ("b", "S"))
    story.look(20)
    oldest = story.status.metric_results[0].measurements[0]
    assert story.look(21, ("a", "S")) == (GarbageCollect("a", (oldest,)),)
    counts = {result.name: (len(result.measurements), result.count) for result in story.status.metric_results}
    assert counts == {"a": (2, 3), "b": (1, 2)}


@pytest.mark.parametrize(
    ("strategy", "phase", "seconds"),
    [
        ({"secondsAfterCompletion": 60}, Phase.SUCCESSFUL, 61),
        ({"secondsAfterCompletion": 60, "secondsAfterSuccess": 5}, Phase.SUCCESSFUL, 6),
        ({"secondsAfterCompletion": 60, "secondsAfterSuccess": 5}, Phase.FAILED, 61),
        ({"secondsAfterFailure": 0}, Phase.FAILED, 1),
        ({"secondsAfterFailure": 5}, Phase.ERROR, None),
        ({"secondsAfterCompletion": 7, "secondsAfterFailure": 5}, Phase.ERROR, 8),
        ({"secondsAfterCompletion": 7, "secondsAfterFailure": 5}, Phase.INCONCLUSIVE, 8),
        ({}, Phase.SUCCESSFUL, None),
        (None, Phase.SUCCESSFUL, None),
    ],
)
def test_a_completed_run_is_deleted_in_time(strategy: dict[str, int] | None, phase: Phase, seconds: int | None) -> None:
    run = prepare(spec({}, ttlStrategy=strategy) if strategy is not None else spec({}))
    status = AnalysisRunStatus(phase=phase, completed_at=T0)
    decision = decide(run, status, NOTHING_SEEN, T0)
    assert decision.actions == ()
    assert decision.wake_at == (None if seconds is None else at(seconds))
    if seconds is not None:
        assert decide(run, status, NOTHING_SEEN, at(seconds - 0.001)).actions == ()
        assert decide(run, status, NOTHING_SEEN, at(seconds)).actions == (DeleteRun(),)


def test_a_completed_run_without_a_time_of_completion_never_expires() -> None:
    run = prepare(spec({}, ttlStrategy={"secondsAfterCompletion": 0}))
    decision = decide(run, AnalysisRunStatus(phase=Phase.ERROR), NOTHING_SEEN, at(10**6))
    assert (decision.actions, decision.wake_at) == ((), None)


# -- events and words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "phase", "type_"),
    [
        ("S", "Successful", EventType.NORMAL),
        ("F", "Failed", EventType.WARNING),
        ("I", "Inconclusive", EventType.NORMAL),
        ("E", "Error", EventType.WARNING),
    ],
)
def test_completion_is_told_by_events(letter: str, phase: str, type_: EventType) -> None:
    story = Story(spec({"consecutiveErrorLimit": 0}))
    story.look(0)
    story.look(1, ("a", letter))
    assert story.decision is not None
    assert story.decision.events == (
        Event(f"Metric{phase}", f"Metric 'a' Completed. Result: {phase}", type_),
        Event(f"AnalysisRun{phase}", f"Analysis Completed. Result: {phase}", type_),
    )


def test_a_running_run_says_what_it_waits_for() -> None:
    story = Story(spec({"count": 5, "interval": "1m"}))
    story.look(0)
    assert story.decision is not None
    assert story.decision.blocked_on is not None
    assert story.decision.blocked_on.what == 'metric "a" is being measured (0 of 5 measurements so far)'
    story.look(2, ("a", "S"))
    blocker = story.decision.blocked_on
    assert blocker is not None
    assert blocker.what == 'metric "a" waits for its next measurement (1 of 5 measurements so far)'
    assert (blocker.reason, blocker.since, blocker.next, blocker.at) == (
        "WaitingForNextMeasurement",
        at(2),
        "it is measured",
        at(62),
    )


# -- when to store ---------------------------------------------------------------------------------------------------


def test_the_beginning_and_the_verdict_are_stored_at_once_and_good_answers_within_half_a_minute() -> None:
    story = Story(spec({"count": 3, "interval": "10s"}))
    story.look(0)
    assert store_by(AnalysisRunStatus(), story.status, at(0)) == at(0)
    stored = story.status
    assert store_by(stored, stored, at(0)) is None
    story.look(1, ("a", "S"))
    assert store_by(stored, story.status, at(1)) == at(31)
    story.look(11)
    story.look(12, ("a", "S"))
    assert store_by(stored, story.status, at(12)) == at(31)  # counted from the oldest unstored answer
    story.look(22)
    story.look(23, ("a", "S"))
    assert store_by(stored, story.status, at(23)) == at(23)


@pytest.mark.parametrize("letter", ["F", "I", "E"])
def test_any_other_answer_is_stored_at_once(letter: str) -> None:
    story = Story(spec({"count": 9, "interval": "10s", "failureLimit": 5, "inconclusiveLimit": 5}))
    story.look(0)
    stored = story.status
    story.look(1, ("a", letter))
    assert store_by(stored, story.status, at(1)) == at(1)


def test_a_good_answer_that_ends_a_row_of_errors_is_stored_at_once() -> None:
    story = Story(spec({"count": 9, "interval": "10s"}))
    story.look(0)
    story.look(1, ("a", "E"))
    stored = story.status
    story.look(11)
    story.look(12, ("a", "S"))
    assert store_by(stored, story.status, at(12)) == at(12)


def test_a_job_in_flight_is_stored_at_once() -> None:
    story = Story(spec({"provider": JOB}))
    story.look(0)
    stored = story.status
    story.look(1, running("a"))
    assert store_by(stored, story.status, at(1)) == at(1)


def test_looking_at_a_job_again_is_not_worth_a_write() -> None:
    story = Story(spec({"provider": JOB}, {"interval": "10s"}))
    story.look(0)
    story.look(1, running("a", 5))
    stored = story.status
    story.look(5)
    story.look(6, running("a", 9))
    assert stored != story.status
    assert store_by(stored, story.status, at(6)) is None
    story.look(7, ("b", "S"))
    assert store_by(stored, story.status, at(7)) == at(37)


# -- a stranger's status ---------------------------------------------------------------------------------------------


def test_results_of_metrics_that_the_spec_does_not_have_stay_and_do_nothing() -> None:
    story = Story(spec({}))
    foreign = MetricResult(name="z", phase=Phase.RUNNING, failed=99)
    story.status = AnalysisRunStatus(phase=Phase.RUNNING, started_at=T0, metric_results=(foreign,))
    assert story.look(5) == (Measure("a"),)
    story.look(6, ("a", "S"))
    assert story.reached == ("Successful", "")
    assert story.status.metric_results[0] == foreign


# -- whatever is asked and answered ----------------------------------------------------------------------------------

limits = st.one_of(st.none(), st.integers(0, 4), st.sampled_from(["2", "x"]))
metric_fields = st.fixed_dictionaries(
    {"provider": st.sampled_from([WEB, JOB])},
    optional={
        "count": st.integers(-1, 5),
        "interval": st.sampled_from(["0", "1ms", "5s", "1m"]),
        "initialDelay": st.sampled_from(["10s", "-1s"]),
        "failureLimit": st.one_of(limits, st.just(-1)),
        "inconclusiveLimit": limits,
        "consecutiveErrorLimit": limits,
        "consecutiveSuccessLimit": limits,
    },
)
valid_fields = metric_fields.filter(lambda fields: not prepare(spec(fields)).error)
moves = st.lists(
    st.tuples(st.floats(0, 90), st.integers(0, 2), st.sampled_from("SFIER"), st.sampled_from([False] * 9 + [True])),
    max_size=40,
)


@given(st.lists(valid_fields, min_size=1, max_size=3), st.booleans(), moves)
def test_whatever_happens(
    fields: list[dict[str, Any]], is_dry: bool, steps: list[tuple[float, int, str, bool]]
) -> None:
    run = spec(*fields, dryRun=[{"metricName": "a"}] if is_dry else [])
    story = Story(run)
    seconds = 0.0
    verdict: tuple[str, str] | None = None
    final: dict[str, Phase] = {}
    for waited, which, letter, is_terminated in steps:
        seconds += waited
        if is_terminated:
            story.run = prepare(msgspec.structs.replace(run, terminate=True))
        busy = sorted(story.in_flight)
        answers = []
        if busy:
            name = busy[which % len(busy)]
            was_ending = story.decision is not None and Terminate(name) in story.decision.actions
            measurement = Measurement(phase=LETTERS[letter], resume_at=at(seconds))
            answers.append(Outcome(metric=name, measurement=measurement, is_termination=was_ending))
        story.look(seconds, *answers)
        assert story.decision is not None
        # It asks to be woken later, never at once: whatever is due has been asked for.
        assert story.wakes is None or story.wakes > seconds
        assert story.look(seconds) == () or story.status.is_completed
        for result in story.status.metric_results:
            assert result.count == result.successful + result.failed + result.inconclusive
            assert len(result.measurements) <= 10
            if result.name in final:  # verdicts are monotone
                assert result.phase is final[result.name]
            elif result.phase.is_completed:
                final[result.name] = result.phase
                # Nothing but answers is a pass, unless somebody stopped the run.
                assert result.phase is not Phase.SUCCESSFUL or result.count or story.status.is_completed
        if verdict is not None:
            assert story.reached == verdict
        elif story.status.is_completed:
            verdict = story.reached
