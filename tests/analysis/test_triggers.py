"""Whose business a change is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.analysis.triggers import owners_of_run, runs_of_job
from fairlead.core.kinds import AnalysisRun, Job
from fairlead.core.objects import ObjectKey

LABEL = {"analysisrun.argoproj.io/uid": "u"}
NAMES = {"analysisrun.argoproj.io/name": "run", "analysisrun.argoproj.io/namespace": "shop"}
DONE = [{"type": "Complete", "status": "True"}]


@pytest.mark.parametrize(
    ("labels", "annotations", "conditions", "expected"),
    [
        pytest.param(LABEL, NAMES, DONE, (ObjectKey("shop", "run"),), id="complete"),
        pytest.param(LABEL, NAMES, [{"type": "Failed", "status": "True"}], (ObjectKey("shop", "run"),), id="failed"),
        pytest.param(LABEL, NAMES, [], (), id="still-running"),
        pytest.param(LABEL, NAMES, [{"type": "Complete", "status": "False"}], (), id="not-complete"),
        pytest.param({}, NAMES, DONE, (), id="of-nobody"),
        pytest.param(LABEL, {}, DONE, (), id="without-names"),
        pytest.param(
            LABEL, {"analysisrun.argoproj.io/name": "run"}, DONE, (ObjectKey("jobs", "run"),), id="without-namespace"
        ),
    ],
)
def test_the_end_of_a_job_concerns_its_run(
    labels: dict[str, str], annotations: dict[str, str], conditions: list[Any], expected: tuple[ObjectKey, ...]
) -> None:
    content = {
        "metadata": {"name": "j", "namespace": "jobs", "labels": labels, "annotations": annotations},
        "status": {"conditions": conditions},
    }
    assert runs_of_job(msgspec.convert(content, Job)) == expected


def test_runs_are_found_by_who_controls_them() -> None:
    owners = [
        {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"},
        {"apiVersion": "v1", "kind": "Y", "name": "y", "uid": "2", "controller": True},
    ]
    run = msgspec.json.decode(msgspec.json.encode({"metadata": {"ownerReferences": owners}}), type=AnalysisRun)
    assert owners_of_run(run) == ("2",)
    assert owners_of_run(AnalysisRun()) == ()
