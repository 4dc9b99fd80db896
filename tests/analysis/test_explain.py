"""What a run waits for, told from the object alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fairlead.analysis.explain import explain
from fairlead.core.kinds import AnalysisRun

NOW = datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
METRIC = {"name": "rate", "interval": "5m", "count": 3, "provider": {"web": {"url": "u"}}}
MEASURED = {
    "name": "rate",
    "phase": "Running",
    "count": 1,
    "successful": 1,
    "measurements": [{"phase": "Successful", "finishedAt": "2026-03-01T12:00:00Z"}],
}


def run(spec: Any, status: Any) -> AnalysisRun:
    return msgspec.json.decode(msgspec.json.encode({"spec": spec, "status": status}), type=AnalysisRun)


@pytest.mark.parametrize(
    ("status", "what", "at"),
    [
        ({}, 'metric "rate" is being measured (0 of 3 measurements so far)', None),
        (
            {"phase": "Running", "startedAt": "2026-03-01T12:00:00Z", "metricResults": [MEASURED]},
            'metric "rate" waits for its next measurement (1 of 3 measurements so far)',
            datetime(2026, 3, 1, 12, 5, tzinfo=UTC),
        ),
    ],
)
def test_an_unfinished_run_names_its_blocker(status: Any, what: str, at: datetime | None) -> None:
    blocker = explain(run({"metrics": [METRIC]}, status), NOW)
    assert blocker is not None
    assert (blocker.what, blocker.at) == (what, at)


@pytest.mark.parametrize(
    ("spec", "status"),
    [({"metrics": [METRIC]}, {"phase": "Failed"}), ({"metrics": 5}, {}), ({"metrics": []}, "nonsense")],
)
def test_a_completed_or_broken_run_waits_for_nothing(spec: Any, status: Any) -> None:
    assert explain(run(spec, status), NOW) is None
