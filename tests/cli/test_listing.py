"""`list` and `create` against the embedded API."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fairlead.cli._family import ANALYSIS_RUNS, EXPERIMENTS, ROLLOUTS
from fairlead.cli._listing import experiment_row, rollout_row
from fairlead.cli.main import main
from fairlead.core.objects import Manifest, ObjectKey, decode_manifest
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CREATED = "2026-01-01T11:00:00Z"
CANARY: dict[str, Any] = {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}, "replicas": 3}


def manifest(spec: dict[str, Any], status: dict[str, Any], name: str = "web") -> Manifest:
    metadata = {"name": name, "namespace": "shop", "generation": 1, "creationTimestamp": CREATED}
    return decode_manifest(json.dumps({"metadata": metadata, "spec": spec, "status": status}).encode())


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        pytest.param(
            CANARY,
            {
                "phase": "Paused",
                "currentStepIndex": 1,
                "replicas": 4,
                "readyReplicas": 3,
                "updatedReplicas": 1,
                "availableReplicas": 3,
            },
            ("Canary", "Paused", "1/2", "20", "3/4", "3", "1", "3"),
            id="canary",
        ),
        pytest.param(
            {"strategy": {"blueGreen": {"activeService": "a"}}},
            {"phase": "Healthy", "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
            ("BlueGreen", "Healthy", "-", "-", "1/1", "1", "1", "1"),
            id="blue-green",
        ),
        pytest.param({}, {}, ("-", "Progressing", "-", "-", "0/0", "1", "0", "0"), id="nothing"),
        pytest.param(
            {"strategy": {"canary": {"steps": 7}}},
            {"phase": 3, "currentStepIndex": "x", "replicas": "y"},
            ("Canary", "3", "-", "100", "0/0", "1", "0", "0"),
            id="a-status-of-a-stranger",
        ),
    ],
)
def test_the_row_of_a_rollout(spec: dict[str, Any], status: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert rollout_row(manifest(spec, status)) == ("shop", "web", *cells)


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        pytest.param({}, {}, ("Pending", "-", "-", "60m"), id="new"),
        pytest.param({"duration": "5m"}, {}, ("Pending", "5m", "5m", "60m"), id="not-available-yet"),
        pytest.param(
            {"duration": "300"},
            {"phase": "Running", "availableAt": "2026-01-01T11:58:00Z"},
            ("Running", "5m", "3m", "60m"),
            id="running",
        ),
        pytest.param(
            {"duration": "5m"},
            {"phase": "Running", "availableAt": "2026-01-01T11:00:00Z"},
            ("Running", "5m", "0s", "60m"),
            id="late",
        ),
        pytest.param(
            {"duration": "5m"},
            {"phase": "Failed", "availableAt": "2026-01-01T11:58:00Z"},
            ("Failed", "5m", "-", "60m"),
            id="ended",
        ),
        pytest.param({"duration": "soon"}, {"availableAt": 7}, ("Pending", "-", "-", "60m"), id="odd"),
    ],
)
def test_the_row_of_an_experiment(spec: dict[str, Any], status: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert experiment_row(manifest(spec, status, "trial"), NOW) == ("shop", "trial", *cells)


class Stage:
    """An embedded API, and our command line at it."""

    def __init__(self, cluster: SimulatedCluster, kubeconfig: Path) -> None:
        self.cluster = cluster
        self.kubeconfig = kubeconfig

    async def run(self, *words: str, stdin: str = "") -> Result:
        given = [*words, "--kubeconfig", str(self.kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, main, given, input=stdin)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    cluster = SimulatedCluster(LoopClock(), seed=1)
    async with serve(cluster) as api:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        yield Stage(cluster, kubeconfig)


TEXT = """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
  strategy: {canary: {steps: [{setWeight: 20}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {name: trial, namespace: default}
spec:
  duration: 5m
  templates:
  - name: one
    selector: {matchLabels: {app: trial}}
    template: {metadata: {labels: {app: trial}}, spec: {containers: [{name: a, image: "a:1"}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: ClusterAnalysisTemplate
metadata: {name: errors}
spec:
  metrics:
  - {name: ratio, provider: {web: {url: "http://127.0.0.1"}}}
"""
CREATED_ALL = """\
rollout.argoproj.io/web created
experiment.argoproj.io/trial created
clusteranalysistemplate.argoproj.io/errors created
"""


async def test_what_is_created_is_listed(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(TEXT)
    created = await stage.run("create", "-f", str(file))
    assert (created.exit_code, created.output) == (0, CREATED_ALL)
    listed = (await stage.run("list", "rollouts")).output.splitlines()
    assert [line.split()[:4] for line in listed] == [
        ["NAME", "STRATEGY", "STATUS", "STEP"],
        ["web", "Canary", "Progressing", "0/1"],
    ]
    everywhere = (await stage.run("list", "rollouts", "-A", "--timestamps")).output.splitlines()
    assert everywhere[0].split()[:3] == ["NAMESPACE", "TIMESTAMP", "NAME"]
    assert everywhere[1].split()[::2][:2] == ["default", "web"]
    trials = (await stage.run("list", "experiments")).output.splitlines()
    assert [line.split()[:4] for line in trials] == [
        ["NAME", "STATUS", "DURATION", "REMAINING"],
        ["trial", "Pending", "5m", "5m"],
    ]
    assert (
        await stage.run("list", "rollouts", "--name", "other")
    ).output == "No resources found in default namespace.\n"


async def test_standard_input_is_a_file_too(stage: Stage) -> None:
    created = await stage.run("create", "-f", "-", stdin=TEXT)
    assert (created.exit_code, created.output) == (0, CREATED_ALL)
    again = await stage.run("create", "-f", "-", stdin=TEXT)
    assert again.exit_code == 1
    assert 'rollouts.argoproj.io "web" already exists' in again.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "-: ", id="no-yaml"),
        pytest.param(
            f"{TEXT}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n",
            "-: creates of v1/Pod unsupported; expected one of Rollout,",
            id="another-kind",
        ),
    ],
)
async def test_nothing_is_created_when_something_is_no_good(stage: Stage, text: str, message: str) -> None:
    result = await stage.run("create", "-f", "-", stdin=text)
    assert result.exit_code == 1
    assert message in result.output
    assert stage.cluster.read_all(ROLLOUTS) == []
    assert stage.cluster.read_all(EXPERIMENTS) == []


async def test_nothing_to_list_is_said(stage: Stage) -> None:
    for what in ("rollouts", "experiments"):
        assert (await stage.run("list", what)).output == "No resources found in default namespace.\n"
        assert (await stage.run("list", what, "-A")).output == "No resources found.\n"


async def test_a_watched_list_shows_each_change(stage: Stage) -> None:
    stage.cluster.apply([{**json.loads(json.dumps(_web())), "metadata": {"name": "web", "namespace": "default"}}])
    command = (sys.executable, "-m", "fairlead.cli.main", "list", "rollouts", "-w", "--kubeconfig", stage.kubeconfig)
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None, "it is a pipe"
    try:
        async with asyncio.timeout(30):
            shown = [(await process.stdout.readline()).decode().split()[:3] for _ in range(2)]
            assert shown == [["NAME", "STRATEGY", "STATUS"], ["web", "Canary", "Progressing"]]
            from fairlead.core.cluster import MergePatch

            change = MergePatch({"status": {"phase": "Paused", "observedGeneration": "1"}})
            await stage.cluster.patch(ROLLOUTS, ObjectKey("default", "web"), change, subresource="status")
            assert (await process.stdout.readline()).decode().split()[:3] == ["web", "Canary", "Paused"]
    finally:
        process.terminate()
        await process.wait()


def _web() -> dict[str, Any]:
    from fairlead.cli.yaml import load_all

    return load_all(TEXT)[0]


JUDGE: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisTemplate",
    "metadata": {"name": "judge", "namespace": "default"},
    "spec": {
        "args": [{"name": "service"}, {"name": "share", "value": "0.95"}],
        "metrics": [{"name": "ratio", "provider": {"web": {"url": "http://127.0.0.1/{{args.service}}"}}}],
        "dryRun": [{"metricName": "ratio"}],
    },
}


async def test_a_run_is_started_from_a_template(stage: Stage, tmp_path: Path) -> None:
    stage.cluster.apply([JUDGE])
    made = await stage.run("create", "analysisrun", "--from", "judge", "-a", "service=web", "--name", "now")
    assert (made.exit_code, made.output) == (0, "analysisrun.argoproj.io/now created\n")
    (found,) = stage.cluster.read_all(ANALYSIS_RUNS)
    assert found["spec"] == {
        "args": [{"name": "service", "value": "web"}, {"name": "share", "value": "0.95"}],
        "metrics": JUDGE["spec"]["metrics"],
        "dryRun": JUDGE["spec"]["dryRun"],
    }
    file = tmp_path / "judge.yaml"
    file.write_text(json.dumps(JUDGE))
    words = ("create", "analysisrun", "--from-file", str(file), "-a", "service=a=b", "--instance-id", "blue")
    made = await stage.run(*words)
    assert made.output.startswith("analysisrun.argoproj.io/judge-")
    labels = [one["metadata"].get("labels") for one in stage.cluster.read_all(ANALYSIS_RUNS)]
    assert {"argo-rollouts.argoproj.io/controller-instance-id": "blue"} in labels


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("--from", "judge"), "spec.args: args.service was not resolved", id="missing"),
        pytest.param(("--from", "judge", "-a", "nope=1"), "the template has no argument 'nope'", id="unknown"),
        pytest.param(("--from", "judge", "-a", "service"), "arguments must be in the form NAME=VALUE", id="no-value"),
        pytest.param(("--from", "nobody"), '"nobody" not found', id="no-template"),
        pytest.param(("--from", "judge", "--global"), '"judge" not found', id="of-the-cluster"),
        pytest.param((), "expected one of --from and --from-file", id="nothing"),
    ],
)
async def test_no_run_is_started_from_what_does_not_fit(stage: Stage, words: tuple[str, ...], message: str) -> None:
    stage.cluster.apply([JUDGE])
    result = await stage.run("create", "analysisrun", *words)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert stage.cluster.read_all(ANALYSIS_RUNS) == []


async def test_create_without_anything_says_what_it_wants(stage: Stage) -> None:
    result = await stage.run("create")
    assert result.exit_code == 2
    assert "name a file with -f, or a kind to create" in result.output
