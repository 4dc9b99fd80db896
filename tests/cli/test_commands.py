"""Every command against the embedded API, with the reference controller at work: what a person sees and gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fairlead.cli.main import main
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.kinds import DEPLOYMENTS, ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import cluster_at
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.workloads import Workloads

KEY = ObjectKey("default", "web")


def rollout(image: str = "web:1") -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
        },
    }


@dataclass(frozen=True)
class Stage:
    cluster: SimulatedCluster
    kubeconfig: Path
    changed: asyncio.Event  # set by every write

    async def run(self, *words: str) -> Result:
        """Run a command as a person would; in a thread, since each has a loop of its own."""
        options = () if words[0] in ("crds", "version") else ("--kubeconfig", str(self.kubeconfig))
        return await asyncio.to_thread(CliRunner().invoke, main, [*words, *options])

    async def until(self, phase: str, message: str = "") -> None:
        async def reached() -> bool:
            status = json.loads(bytes((await self.cluster.get(ROLLOUTS, KEY)).status))
            return status.get("phase") == phase and message in status.get("message", "")

        await self.eventually(reached)

    async def eventually(self, question: Callable[[], Awaitable[bool]]) -> None:
        """Ask again after every write until the answer is yes."""
        async with asyncio.timeout(30):
            while not await question():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """The embedded API with workloads, a quick kubelet and the controller, on a real loop."""
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=1)
    quick = KubeletSettings(ready_seconds_min=0.05, ready_jitter_seconds=(0.0, 0.0), lease_seconds=None)
    changed = asyncio.Event()
    cluster.on_commit(lambda *_write: changed.set())
    async with serve(cluster) as api:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        async with cluster_at(api.url) as remote:
            controller = ReferenceController(remote, clock, Settings(stop_grace=timedelta(seconds=1)))
            background = [
                asyncio.create_task(work)
                for work in (
                    Workloads(cluster.as_manager("kube-controller-manager"), clock, seed=1).run(),
                    Kubelet(cluster.as_manager("kubelet"), clock, seed=1, settings=quick).run(),
                    controller.run(),
                )
            ]
            try:
                yield Stage(cluster, kubeconfig, changed)
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as found:
        found.cluster.apply([rollout()])
        await found.until("Healthy")
        yield found


async def test_a_canary_by_hand(stage: Stage) -> None:
    assert (await stage.run("set", "image", "web", "web=web:2")).output == 'rollout "web" image updated\n'
    await stage.until("Paused", "CanaryPauseStep")

    shown = (await stage.run("get", "rollout", "web")).output
    assert "Status:          ॥ Paused\nMessage:         CanaryPauseStep\n" in shown
    assert "  Step:          1/2\n  SetWeight:     50\n  ActualWeight:  50\n" in shown
    assert "Images:          web:2 (canary)\n                 web:1 (stable)\n" in shown

    summary = json.loads((await stage.run("get", "rollout", "web", "-o", "json")).output)
    assert (summary["status"], summary["step"], summary["steps"]) == ("Paused", 1, 2)
    assert [one["tags"] for one in summary["replicaSets"]] == [["canary"], ["stable"]]

    explained = (await stage.run("explain", "rollout/web")).output
    assert explained.startswith("rollout/web: Paused - CanaryPauseStep\n  waits for   somebody promotes the rollout")

    waiting = await stage.run("status", "web", "-W")
    assert (waiting.exit_code, waiting.output) == (0, "Paused - CanaryPauseStep\n")
    late = await stage.run("status", "web", "-t", "100ms")
    assert (late.exit_code, late.output.splitlines()[-1]) == (1, "Error: Rollout status watch exceeded timeout")

    assert (await stage.run("promote", "web")).output == "rollout 'web' promoted\n"
    done = await stage.run("status", "web", "-t", "20s")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "Healthy")
    listed = (await stage.run("get", "rollouts")).output.splitlines()
    assert [line.split()[:6] for line in listed] == [
        ["NAME", "STRATEGY", "STATUS", "STEP", "SET-WEIGHT", "READY"],
        ["web", "Canary", "Healthy", "2/2", "100", "2/2"],
    ]


async def test_abort_and_retry(stage: Stage) -> None:
    await stage.run("set", "image", "web", "web=web:2")
    await stage.until("Paused")
    assert (await stage.run("abort", "web")).output == "rollout 'web' aborted\n"
    ended = await stage.run("status", "web", "-t", "20s")
    assert ended.exit_code == 1
    assert (
        "The rollout is in a degraded state with message: RolloutAborted: Rollout aborted update to revision 2"
        in ended.output
    )
    assert (await stage.run("retry", "rollout", "web")).output == "rollout 'web' retried\n"
    await stage.until("Paused", "CanaryPauseStep")
    assert (await stage.run("promote", "web", "--full")).output == "rollout 'web' fully promoted\n"
    assert (await stage.run("status", "web", "-t", "20s")).exit_code == 0


async def test_undo_pause_and_restart(stage: Stage) -> None:
    await stage.run("set", "image", "web", "web=web:2")
    await stage.until("Paused")
    assert (await stage.run("undo", "web", "--to-revision", "1")).output == "rollout 'web' undo\n"
    await stage.until("Healthy")
    assert (await stage.run("pause", "web")).output == "rollout 'web' paused\n"
    await stage.until("Paused", "manually paused")
    await stage.run("promote", "web")
    await stage.until("Healthy")
    before = {pod.metadata.uid for pod in await _pods(stage)}
    await asyncio.sleep(1.1)  # restartAt has whole seconds, and only older pods are restarted
    assert (await stage.run("restart", "web")).output == "rollout 'web' restarts in 0s\n"

    async def renewed() -> bool:
        pods = [pod for pod in await _pods(stage) if not pod.metadata.is_deleting]
        return len(pods) == 2 and not before & {pod.metadata.uid for pod in pods} and all(pod.is_ready for pod in pods)

    await stage.eventually(renewed)


async def test_undo_and_images_of_the_workload_that_a_rollout_refers_to(stage: Stage) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "old", "namespace": "default"},
        "spec": {key: rollout()["spec"][key] for key in ("selector", "template")} | {"replicas": 0},
    }
    document = rollout()
    del document["spec"]["template"]
    document["metadata"]["name"] = "ref"
    document["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "old"}
    stage.cluster.apply([deployment, document])
    key = ObjectKey("default", "ref")

    async def is_at(phase: str, version: int) -> bool:
        status = json.loads(bytes((await stage.cluster.get(ROLLOUTS, key)).status))
        live = await stage.cluster.get(DEPLOYMENTS, ObjectKey("default", "old"))
        seen = status.get("workloadObservedGeneration") == str(live.metadata.generation)
        return seen and status.get("phase") == phase and f"web:{version}" in bytes(live.spec.template).decode()

    await stage.eventually(lambda: is_at("Healthy", 1))
    assert (await stage.run("set", "image", "ref", "web=web:2")).output == 'rollout "ref" image updated\n'
    await stage.eventually(lambda: is_at("Paused", 2))
    assert (await stage.run("undo", "ref", "--to-revision", "1")).output == "rollout 'ref' undo\n"
    await stage.eventually(lambda: is_at("Healthy", 1))


async def _pods(stage: Stage) -> Any:
    from fairlead.core.kinds import PODS

    return (await stage.cluster.list(PODS, namespace="default")).items


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param(("get", "rollout", "nope"), 1, '"nope" not found', id="get"),
        pytest.param(("promote", "nope"), 1, '"nope" not found', id="promote"),
        pytest.param(("abort", "nope"), 1, '"nope" not found', id="abort"),
        pytest.param(("explain", "rollout/nope"), 1, '"nope" not found', id="explain"),
        pytest.param(
            ("explain", "web"), 2, "expected rollout/NAME, analysisrun/NAME, externalsecret/NAME,", id="explain-what"
        ),
        pytest.param(("explain", "externalsecret/nope"), 1, "nope", id="explain-secret"),
        pytest.param(("explain", "clustersecretstore/nope"), 1, "nope", id="explain-store"),
        pytest.param(("set", "image", "web", "junk"), 1, "expected CONTAINER=IMAGE, found 'junk'", id="image-syntax"),
        pytest.param(("set", "image", "web", "x=y"), 1, 'unable to find container named "x"', id="container"),
        pytest.param(("undo", "web"), 1, 'no revision found for rollout "web"', id="undo"),
        pytest.param(
            ("promote", "web", "-c", "-a"), 1, "Cannot use skip-current-step and skip-all-steps flags", id="skip-both"
        ),
        pytest.param(("retry", "experiment", "nope"), 1, '"nope" not found', id="retry-experiment"),
        pytest.param(("terminate", "experiment", "nope"), 1, '"nope" not found', id="terminate-experiment"),
        pytest.param(("restart", "web", "--in", "5"), 2, 'missing unit in duration "5"', id="duration"),
        pytest.param(("get", "rollout", "web", "--context", "no"), 1, "has no context 'no'", id="context"),
    ],
)
async def test_what_goes_wrong_is_one_clear_line(stage: Stage, words: tuple[str, ...], code: int, message: str) -> None:
    result = await stage.run(*words)
    assert result.exit_code == code, result.output
    assert message in result.output.splitlines()[-1]
    assert "Traceback" not in result.output


async def test_without_a_cluster_it_is_said_what_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    result = await asyncio.to_thread(CliRunner().invoke, main, ["get", "rollouts"])
    assert result.exit_code == 1
    assert "no cluster is configured: no --kubeconfig was given; KUBECONFIG is not set" in result.output


async def test_crds_print_every_definition() -> None:
    result = await asyncio.to_thread(CliRunner().invoke, main, ["crds"])
    folder = files("fairlead") / "crds"
    expected = [one.name for one in folder.iterdir() if one.name.endswith(".yaml")]
    assert result.output.count("\nkind: CustomResourceDefinition\n") == len(expected) >= 5
