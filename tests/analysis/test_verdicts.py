"""The judgement on measurements, metrics and runs; the tables are those that clients of upstream rely on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from fairlead.analysis import _verdicts as verdicts
from fairlead.analysis.spec import Metric
from fairlead.analysis.status import Measurement, MetricResult, Phase, RunSummary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LETTERS = {"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR, "R": Phase.RUNNING}


def metric(**fields: Any) -> Metric:
    return msgspec.convert({"name": "m", **fields}, Metric)


def measured(phase: Phase, **fields: Any) -> Measurement:
    return Measurement(phase=phase, started_at=NOW, finished_at=NOW, **fields)


def result(name: str, phase: Phase, **fields: Any) -> MetricResult:
    return MetricResult(name=name, phase=phase, **fields)


# fields of the metric, measurements in order, phase of the metric after each of them, the limit's text
TABLE: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "S", "S", ""),
    ({}, "F", "F", "failed (1) > failureLimit (0)"),
    ({}, "I", "I", "inconclusive (1) > inconclusiveLimit (0)"),
    ({}, "EEEEE", "RRRRE", "consecutiveErrors (5) > consecutiveErrorLimit (4)"),
    ({}, "EEEES", "RRRRS", ""),
    ({"count": 0}, "S", "S", ""),
    ({"interval": "1m", "count": 0}, "SS", "RR", ""),
    ({"interval": "1m", "count": 3}, "SSS", "RRS", ""),
    ({"interval": "1m", "count": 3}, "SF", "RF", "failed (1) > failureLimit (0)"),
    ({"interval": "1m", "count": 3, "failureLimit": 1}, "FSS", "RRS", ""),
    ({"interval": "1m", "count": 3, "failureLimit": 1}, "FSF", "RRF", "failed (2) > failureLimit (1)"),
    ({"count": 1, "failureLimit": 1}, "F", "S", ""),
    ({"interval": "1m", "count": 2, "failureLimit": 2}, "FF", "RS", ""),
    ({"interval": "5m", "failureLimit": 3}, "FFFF", "RRRF", "failed (4) > failureLimit (3)"),
    ({"interval": "1m", "count": 3, "inconclusiveLimit": 1}, "IIS", "RI", "inconclusive (2) > inconclusiveLimit (1)"),
    ({"interval": "1m", "count": 3, "failureLimit": 1, "inconclusiveLimit": 1}, "FIS", "RRS", ""),
    ({"interval": "1m", "count": 2}, "SES", "RRS", ""),
    ({"consecutiveErrorLimit": 0}, "E", "E", "consecutiveErrors (1) > consecutiveErrorLimit (0)"),
    (
        {"interval": "1m", "count": 9, "consecutiveErrorLimit": 1},
        "ESEE",
        "RRRE",
        "consecutiveErrors (2) > consecutiveErrorLimit (1)",
    ),
    ({"interval": "1m", "consecutiveSuccessLimit": 2}, "SF", "RF", "failed (1) > failureLimit (0)"),
    ({"interval": "1m", "consecutiveSuccessLimit": 2, "failureLimit": -1}, "SFSS", "RRRS", ""),
    ({"interval": "1m", "consecutiveSuccessLimit": 3, "failureLimit": 1, "count": 4}, "SFSS", "RRRI", ""),
    ({"interval": "1m", "consecutiveSuccessLimit": 2, "failureLimit": -1, "count": 3}, "SFS", "RRF", ""),
    ({"interval": "1m", "consecutiveSuccessLimit": 2}, "SESS", "RRRS", ""),
    ({"interval": "1m", "consecutiveSuccessLimit": 2, "inconclusiveLimit": 1}, "SISS", "RRRS", ""),
    ({"interval": "1m", "consecutiveSuccessLimit": 2, "failureLimit": 1, "count": 4}, "FSS", "RRS", ""),
    # a lone error is no success, also where a negative count upstream counts as reached
    ({"count": -1}, "ES", "RS", ""),
]


@pytest.mark.parametrize(("fields", "measurements", "phases", "text"), TABLE)
def test_a_metric_is_judged_after_each_measurement(
    fields: dict[str, Any], measurements: str, phases: str, text: str
) -> None:
    asked = metric(**fields)
    judged = MetricResult(name="m", phase=Phase.RUNNING)
    reached = ""
    for letter in measurements:
        judged = verdicts.conclude(asked, verdicts.record(judged, measured(LETTERS[letter]), NOW))
        reached += next(name for name, phase in LETTERS.items() if phase is judged.phase)
        if judged.phase.is_completed:
            break
    exceeded = verdicts.breach(asked, judged)
    assert reached == phases
    assert (exceeded.text if exceeded else "") == text


def test_a_completed_metric_never_changes_any_more() -> None:
    failed = result("m", Phase.FAILED, failed=1, count=1, measurements=(measured(Phase.FAILED),))
    later = verdicts.record(failed, measured(Phase.SUCCESSFUL), NOW)
    assert verdicts.conclude(metric(interval="1m"), later).phase is Phase.FAILED


def test_error_beats_inconclusive_beats_failed_within_one_metric() -> None:
    all_exceeded = result(
        "m", Phase.RUNNING, failed=1, inconclusive=1, consecutive_error=5, measurements=(measured(Phase.ERROR),)
    )
    assert verdicts.assess_metric(metric(interval="1m"), all_exceeded) is Phase.ERROR
    two = msgspec.structs.replace(all_exceeded, consecutive_error=0)
    assert verdicts.assess_metric(metric(interval="1m"), two) is Phase.INCONCLUSIVE


@pytest.mark.parametrize(
    ("is_terminating", "measurements", "phase"),
    [
        pytest.param(False, (), Phase.PENDING, id="nothing-measured"),
        pytest.param(True, (), Phase.SUCCESSFUL, id="nothing-measured-terminating"),
        pytest.param(True, (Measurement(phase=Phase.RUNNING),), Phase.RUNNING, id="in-flight-terminating"),
        pytest.param(True, (measured(Phase.SUCCESSFUL),), Phase.SUCCESSFUL, id="unfinished-terminating"),
    ],
)
def test_a_metric_of_a_terminating_run(
    is_terminating: bool, measurements: tuple[Measurement, ...], phase: Phase
) -> None:
    judged = result("m", Phase.RUNNING, measurements=measurements, count=len(measurements))
    assert verdicts.assess_metric(metric(interval="1m"), judged, is_terminating=is_terminating) is phase


def test_the_message_of_a_metric_is_that_of_the_measurement_which_decided() -> None:
    judged = verdicts.record(result("m", Phase.RUNNING), measured(Phase.FAILED, message="boom"), NOW)
    assert verdicts.conclude(metric(), judged).message == "boom"


def test_a_metric_in_dry_run_says_what_it_would_have_meant() -> None:
    judged = verdicts.record(result("m", Phase.RUNNING, dry_run=True), measured(Phase.FAILED, message="boom"), NOW)
    assert verdicts.conclude(metric(), judged).message == "Metric assessed Failed due to failed (1) > failureLimit (0)"


# -- the run: the rows of upstream's cases ----------------------------------------------------------------------------

FAILED = {"failed": 1, "count": 1}
INCONCLUSIVE = {"inconclusive": 1, "count": 1}
ERROR = {"error": 5, "consecutive_error": 5}
FAILED_TEXT = 'Metric "{}" assessed Failed due to failed (1) > failureLimit (0)'


@pytest.mark.parametrize(
    ("results", "is_terminating", "by_spec", "phase", "message"),
    [
        pytest.param([("a", "S", {}), ("b", "R", {})], False, False, "R", "", id="one-still-runs"),
        pytest.param([("a", "S", {}), ("b", "S", {})], False, False, "S", "", id="all-good"),
        pytest.param([("a", "F", FAILED), ("b", "R", {})], False, False, "R", "", id="failed-not-yet-terminating"),
        pytest.param([("a", "F", FAILED), ("b", "R", {})], True, False, "F", FAILED_TEXT.format("a"), id="fail-fast"),
        pytest.param(
            [("a", "I", INCONCLUSIVE), ("b", "F", FAILED)],
            True,
            False,
            "F",
            FAILED_TEXT.format("b"),
            id="worst-is-last",
        ),
        pytest.param(
            [("a", "E", ERROR), ("b", "F", FAILED), ("c", "I", INCONCLUSIVE)],
            True,
            False,
            "F",
            FAILED_TEXT.format("b"),
            id="failed-is-worst-of-three",
        ),
        pytest.param(
            [("a", "F", FAILED), ("b", "F", FAILED)],
            True,
            False,
            "F",
            FAILED_TEXT.format("a"),
            id="a-tie-keeps-the-first",
        ),
        pytest.param(
            [("a", "F", {**FAILED, "dry_run": True}), ("b", "S", {})],
            False,
            False,
            "S",
            "",
            id="dry-run-does-not-count",
        ),
        pytest.param([("a", "F", {**FAILED, "dry_run": True})], False, False, "S", "", id="only-dry-run"),
        pytest.param(
            [("a", "F", {**FAILED, "dry_run": True}), ("b", "R", {})], False, False, "R", "", id="dry-run-stops-nothing"
        ),
        pytest.param(
            [("a", "R", {"count": 1}), ("b", "", {})], True, True, "S", "Run Terminated", id="terminated-early"
        ),
        pytest.param(
            [("a", "F", FAILED), ("b", "R", {})], True, True, "F", FAILED_TEXT.format("a"), id="terminated-and-failed"
        ),
        pytest.param([("a", "", {}), ("b", "", {})], True, True, "S", "Run Terminated", id="nothing-measured"),
        pytest.param(
            [("a", "I", {**INCONCLUSIVE, "message": "Metric Terminated"})],
            True,
            True,
            "I",
            'Metric "a" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): '
            '"Error Message: Metric Terminated"',
            id="terminated-with-a-job-in-flight",
        ),
        pytest.param(
            [("a", "E", {**ERROR, "message": "received non 2xx response code: 503"})],
            True,
            False,
            "E",
            'Metric "a" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): '
            '"Error Message: received non 2xx response code: 503"',
            id="the-last-answer-is-quoted",
        ),
        pytest.param(
            [("a", "F", {"failed": 0, "count": 3})], False, False, "F", "", id="too-few-in-a-row-has-no-words"
        ),
    ],
)
def test_the_run_is_judged_by_its_metrics(
    results: list[tuple[str, str, dict[str, Any]]], is_terminating: bool, by_spec: bool, phase: str, message: str
) -> None:
    metrics = [metric(name=name) for name, _, _ in results]
    stored = {name: result(name, LETTERS[letter], **fields) for name, letter, fields in results if letter}
    judged = verdicts.assess_run(metrics, stored, is_terminating=is_terminating, is_terminated_by_spec=by_spec)
    assert judged == (LETTERS[phase], message)


def test_summaries_count_metrics_by_the_limit_they_exceeded() -> None:
    metrics = [metric(name=name) for name in "abcde"]
    results = {
        "a": result("a", Phase.FAILED, failed=1),
        "b": result("b", Phase.RUNNING),
        # failed for want of successes in a row: no limit was exceeded, so upstream counts it as successful
        "c": result("c", Phase.FAILED, count=3),
        "d": result("d", Phase.ERROR, consecutive_error=5, dry_run=True),
    }
    counted, dry = verdicts.summarize(metrics, results, frozenset({"d", "e"}))
    assert counted == RunSummary(count=3, failed=1, successful=1)
    assert dry == RunSummary(count=2, error=1)


# -- recording -------------------------------------------------------------------------------------------------------

COUNTERS = ("successful", "failed", "inconclusive", "error", "count", "consecutive_error", "consecutive_success")


@pytest.mark.parametrize(
    ("phase", "after"),
    [
        ("S", (2, 1, 1, 1, 4, 0, 3)),
        ("F", (1, 2, 1, 1, 4, 0, 0)),
        ("I", (1, 1, 2, 1, 4, 0, 0)),
        ("E", (1, 1, 1, 2, 3, 2, 0)),
        ("R", (1, 1, 1, 1, 3, 1, 2)),
    ],
)
def test_a_measurement_moves_the_counters(phase: str, after: tuple[int, ...]) -> None:
    before = result(
        "m", Phase.RUNNING, successful=1, failed=1, inconclusive=1, error=1, count=3, consecutive_error=1,
        consecutive_success=2,
    )  # fmt: skip
    recorded = verdicts.record(before, Measurement(phase=LETTERS[phase]), NOW)
    assert tuple(getattr(recorded, name) for name in COUNTERS) == after


def test_a_completed_measurement_takes_the_place_of_the_one_in_flight() -> None:
    started = verdicts.record(result("m", Phase.RUNNING), Measurement(phase=Phase.RUNNING), NOW)
    done = verdicts.record(started, Measurement(phase=Phase.SUCCESSFUL), NOW + timedelta(seconds=5, microseconds=9))
    assert len(done.measurements) == 1
    assert done.measurements[0].finished_at == NOW + timedelta(seconds=5)
    again = verdicts.record(done, Measurement(phase=Phase.FAILED), NOW)
    assert [measurement.phase for measurement in again.measurements] == [Phase.SUCCESSFUL, Phase.FAILED]


def test_trimming_keeps_the_newest_and_the_counters() -> None:
    many = result(
        "m", Phase.RUNNING, count=12, measurements=tuple(measured(Phase.SUCCESSFUL, value=str(n)) for n in range(12))
    )
    kept = verdicts.trim(many, 10)
    assert [measurement.value for measurement in kept.measurements] == [str(n) for n in range(2, 12)]
    assert kept.count == 12


# -- numbers and times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), ("3", 3), ("-1", -1), ("+2", 2), ("three", 0), ("", 0), ("3.0", 0), (" 3", 0), ("1_0", 0), ("٣", 0),
        (None, 0), ("9" * 5000, 2**63 - 1), ("-" + "9" * 5000, -(2**63)), ("9223372036854775808", 2**63 - 1),
    ],
)  # fmt: skip
def test_int_or_string(value: int | str | None, expected: int) -> None:
    assert verdicts.number(value) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 1),
        ({"count": 0}, 1),
        ({"count": "x"}, 1),
        ({"interval": "1m"}, None),
        ({"interval": "1m", "count": 0}, None),
        ({"count": 3, "interval": "1m"}, 3),
        ({"count": "3", "interval": "1m"}, 3),
        ({"count": -4, "interval": "1m"}, 1),
    ],
)
def test_effective_count(fields: dict[str, Any], expected: int | None) -> None:
    assert verdicts.effective_count(metric(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "judged", "seconds"),
    [
        pytest.param({}, None, 0, id="at-once"),
        pytest.param({"initialDelay": "30s"}, None, 30, id="after-the-initial-delay"),
        pytest.param({"initialDelay": "-30s"}, None, 0, id="negative-delay"),
        pytest.param({"interval": "1m"}, ("R", "S", 1), 60, id="an-interval-after-the-end"),
        pytest.param({"interval": "5m"}, ("R", "E", 0), 10, id="an-error-is-retried-after-10-s"),
        pytest.param({}, ("R", "E", 0), 10, id="an-error-without-interval"),
        pytest.param({"interval": "1ms"}, ("R", "S", 1), 1, id="not-without-a-pause"),
        pytest.param({"interval": "-1h"}, ("R", "S", 1), 1, id="negative-interval"),
        pytest.param({"interval": "1m", "count": 1}, ("R", "S", 1), None, id="count-reached"),
        pytest.param({"interval": "1m"}, ("F", "F", 1), None, id="completed"),
    ],
)
def test_when_a_metric_is_measured_next(
    fields: dict[str, Any], judged: tuple[str, str, int] | None, seconds: int | None
) -> None:
    stored = None
    if judged is not None:
        phase, last, count = judged
        stored = result("m", LETTERS[phase], count=count, measurements=(measured(LETTERS[last]),))
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert verdicts.next_measurement_at(metric(**fields), stored, NOW) == expected


def test_a_measurement_in_flight_is_looked_at_when_it_says() -> None:
    resume_at = NOW + timedelta(seconds=7)
    stored = result("m", Phase.RUNNING, measurements=(Measurement(phase=Phase.RUNNING, resume_at=resume_at),))
    assert verdicts.next_measurement_at(metric(), stored, NOW) == resume_at
