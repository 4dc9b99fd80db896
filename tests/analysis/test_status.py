"""The status of a run: as it is stored, and as strangers may leave it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from fairlead.analysis.status import (
    AnalysisRunStatus,
    Measurement,
    MetricResult,
    Phase,
    RunSummary,
    bounded,
    decode_status,
    second,
    status_to_json,
)

T0 = datetime(2026, 3, 1, 12, 0, 7, 123456, tzinfo=UTC)

FULL: dict[str, Any] = {
    "phase": "Failed",
    "message": "why",
    "startedAt": "2026-03-01T12:00:00Z",
    "completedAt": "2026-03-01T12:05:00Z",
    "metricResults": [
        {
            "name": "rate",
            "phase": "Failed",
            "message": "m",
            "count": 3,
            "successful": 1,
            "failed": 1,
            "inconclusive": 1,
            "error": 2,
            "consecutiveError": 1,
            "consecutiveSuccess": 4,
            "dryRun": True,
            "metadata": {"ResolvedPrometheusQuery": "up"},
            "measurements": [
                {
                    "phase": "Successful",
                    "message": "x",
                    "value": "[1]",
                    "startedAt": "2026-03-01T12:00:00Z",
                    "finishedAt": "2026-03-01T12:00:01Z",
                    "resumeAt": "2026-03-01T12:00:02Z",
                    "metadata": {"job-name": "j"},
                }
            ],
        }
    ],
    "runSummary": {"count": 4, "successful": 1, "failed": 1, "inconclusive": 1, "error": 1},
    "dryRunSummary": {},
}


def test_a_status_that_uses_every_field_reads_back_equal() -> None:
    assert status_to_json(decode_status(msgspec.json.encode(FULL))) == FULL


def test_instants_are_stored_in_whole_seconds_of_utc() -> None:
    elsewhere = T0.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert second(elsewhere) == T0.replace(microsecond=0)
    stored = status_to_json(AnalysisRunStatus(phase=Phase.RUNNING, started_at=elsewhere))
    assert stored == {"phase": "Running", "startedAt": "2026-03-01T12:00:07Z"}


def test_fractions_that_others_wrote_are_cut_off() -> None:
    # A status must read back as what we store, or our own writes would look like those of others.
    status = decode_status(b'{"startedAt": "2026-03-01T12:00:07.123456Z", "completedAt": "2026-03-01T17:30:07+05:30"}')
    assert status.started_at == T0.replace(microsecond=0)
    assert status.completed_at == T0.replace(microsecond=0)


def test_empty_summaries_are_stored_once_they_exist() -> None:
    status = AnalysisRunStatus(phase=Phase.RUNNING, run_summary=RunSummary(), dry_run_summary=RunSummary())
    assert status_to_json(status) == {"phase": "Running", "runSummary": {}, "dryRunSummary": {}}
    assert status_to_json(AnalysisRunStatus()) == {}


GOOD = MetricResult(name="a", phase=Phase.RUNNING)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({}, AnalysisRunStatus(), id="empty"),
        pytest.param([], AnalysisRunStatus(), id="no-object"),
        pytest.param({"phase": "Bogus", "message": "m"}, AnalysisRunStatus(message="m"), id="unknown-phase"),
        pytest.param({"phase": ""}, AnalysisRunStatus(), id="empty-phase"),
        pytest.param({"phase": "Running", "message": None}, AnalysisRunStatus(phase=Phase.RUNNING), id="null"),
        pytest.param({"startedAt": "yesterday"}, AnalysisRunStatus(), id="no-instant"),
        pytest.param({"startedAt": "2026-03-01T12:00:00"}, AnalysisRunStatus(), id="instant-without-zone"),
        pytest.param(
            {"metricResults": [5, {"phase": "Failed"}, {"name": "a", "phase": "Running", "failed": "many"}]},
            AnalysisRunStatus(metric_results=(GOOD,)),
            id="odd-results-are-dropped-one-by-one",
        ),
        pytest.param(
            {"metricResults": [{"name": "a", "phase": "Running", "failed": -3}, {"name": "a", "phase": "Failed"}]},
            AnalysisRunStatus(metric_results=(GOOD,)),
            id="negative-counters-and-a-name-twice",
        ),
        pytest.param(
            {
                "metricResults": [
                    {"name": "a", "measurements": [7, {"value": "v"}, {"phase": "Failed", "startedAt": 5}]}
                ]
            },
            AnalysisRunStatus(
                metric_results=(
                    MetricResult(name="a", phase=Phase.RUNNING, measurements=(Measurement(phase=Phase.FAILED),)),
                )
            ),
            id="odd-measurements",
        ),
        pytest.param({"runSummary": 5, "metricResults": {}}, AnalysisRunStatus(), id="wrong-types"),
    ],
)
def test_a_strangers_status_is_read_as_far_as_it_makes_sense(content: Any, expected: AnalysisRunStatus) -> None:
    assert decode_status(msgspec.json.encode(content)) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"message": "\xff"}', b"[" * 100_000])
def test_bytes_that_are_no_status_are_none(raw: bytes) -> None:
    assert decode_status(raw) == AnalysisRunStatus()


def test_a_status_with_too_much_text_keeps_only_the_newest_answers() -> None:
    long = Measurement(phase=Phase.SUCCESSFUL, value="x" * 100_000)
    results = tuple(MetricResult(name=name, phase=Phase.RUNNING, count=3, measurements=(long,) * 2) for name in "abc")
    first, second_ = bounded(results)[0].measurements
    assert bounded(results[:2]) == results[:2]
    assert [len(measurement.value) for measurement in (first, second_)] == [0, 100_000]
    assert bounded(results)[0].count == 3


def test_phases_know_what_they_mean() -> None:
    assert [phase for phase in Phase if phase.is_completed] == ["Successful", "Failed", "Error", "Inconclusive"]
    assert [phase for phase in Phase if phase.is_bad] == ["Failed", "Error", "Inconclusive"]
