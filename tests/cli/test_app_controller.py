"""`fairlead app` with the reference controller at work: what a person asks for happens, and is reported truly."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from fairlead.cli.main import main
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.agentsync.forge import Forge
from tests.agentsync.stage import CONFIG_MAPS, Play


def config_map(name: str, value: str, **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {f"argocd.argoproj.io/{key}": text for key, text in annotations.items()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "migrate", "annotations": {"argocd.argoproj.io/hook": "PreSync"}},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "migrate", "image": "migrate:1"}]},
        }
    },
}


@dataclass
class Desk:
    """A person at a terminal, the controller at work behind it."""

    play: Play
    kubeconfig: Path

    async def run(self, *words: str) -> Result:
        options = ("-n", "argocd", "--kubeconfig", str(self.kubeconfig))
        return await asyncio.to_thread(CliRunner().invoke, main, ["app", *words, *options])

    async def beside(self, *words: str) -> tuple[int, str]:
        """Run a command in a process of its own, beside others; return exit code and output."""
        options = ("-n", "argocd", "--kubeconfig", str(self.kubeconfig))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fairlead.cli.main", "app", *words, *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def well(self, *words: str) -> str:
        result = await self.run(*words)
        assert result.exit_code == 0, result.output
        return result.output

    def value(self, name: str = "web") -> str:
        return str(self.play.read(CONFIG_MAPS, name).get("data", {}).get("value", ""))


@asynccontextmanager
async def working(folder: Path) -> AsyncIterator[Desk]:
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=1)
    for name in ("argocd", "shop"):
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    play = Play(clock=clock, cluster=cluster, hub=cluster, forge=Forge(seconds=0.01))
    anything = [{"group": "*", "kind": "*"}]
    await play.project(
        "default",
        sourceRepos=["*"],
        destinations=[{"server": "*", "namespace": "*"}],
        clusterResourceWhitelist=anything,
    )
    async with serve(cluster) as api, play.process():
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        yield Desk(play, kubeconfig)


@pytest.fixture(autouse=True)
def _quiet_controller() -> None:
    """A command's output is what this process prints meanwhile: the controller must say nothing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with working(tmp_path) as found:
        yield found


async def test_a_release_and_the_way_back(desk: Desk, tmp_path: Path) -> None:
    first = desk.play.forge.push(config_map("web", "1"), config_map("old", "1"))
    await desk.play.application()
    assert await desk.well("refresh", "web", "--timeout", "20") == "application 'web' refreshed: OutOfSync, Missing\n"

    assert "Phase:              Succeeded" in await desk.well("sync", "web", "--dry-run", "--timeout", "20")
    assert desk.value() == ""

    told = await desk.well("sync", "web", "--timeout", "20")
    assert "configmap/web created" in told
    assert desk.value() == "1"
    assert "Sync Status:        Synced to HEAD" in await desk.well("get", "web", "--refresh")

    (tmp_path / "new.yaml").write_text(yaml.safe_dump(config_map("web", "2")))
    different = await desk.run("diff", "web", "--local", str(tmp_path), "-o", "name")
    assert (different.exit_code, different.output) == (1, "extra /ConfigMap/shop/old\nchanged /ConfigMap/shop/web\n")

    desk.play.forge.push(config_map("web", "2"))
    kept = await desk.run("sync", "web", "--timeout", "20")
    assert (kept.exit_code, kept.output.splitlines()[-1]) == (1, "Error: 1 resources require pruning")
    assert (desk.value(), desk.value("old")) == ("2", "1")
    assert "pruned" in await desk.well("sync", "web", "--prune", "--timeout", "20")
    assert (desk.value(), desk.value("old")) == ("2", "")
    assert (await desk.run("diff", "web", "--local", str(tmp_path), "-o", "name")).exit_code == 0

    history = (await desk.well("history", "web")).splitlines()
    assert [line.split()[0] for line in history] == ["ID", "0", "1", "2"]
    await desk.well("rollback", "web", "0", "--timeout", "20")
    assert (desk.value(), desk.value("old")) == ("1", "1")
    await desk.well("refresh", "web", "--timeout", "20")
    assert f"Sync Revision:      {first}" in await desk.well("get", "web", "--show-operation")


async def test_automatic_sync_is_waited_for(desk: Desk) -> None:
    desk.play.forge.push(config_map("web", "1"))
    await desk.play.application(syncPolicy={"automated": {}})
    assert (await desk.well("wait", "web", "--timeout", "30")).splitlines()[-1] == "argocd/web: Synced, Healthy"
    assert desk.value() == "1"
    refused = await desk.run("rollback", "web")
    assert refused.output == "Error: rollback cannot be initiated when auto-sync is enabled\n"


async def test_a_hook_that_never_ends_is_terminated(desk: Desk) -> None:
    desk.play.forge.push(config_map("web", "1"), JOB)
    await desk.play.application()
    waiting = asyncio.create_task(desk.beside("sync", "web", "--timeout", "30"))
    await desk.play.until(lambda: desk.play.state()[2] == "Running", seconds=20)
    busy = await desk.run("sync", "web")
    assert busy.output == "Error: another operation is already in progress\n"
    assert await desk.well("terminate", "web") == "application 'web' operation terminating\n"
    code, output = await waiting
    assert (code, output.splitlines()[-1]) == (1, "Error: Operation has completed with phase: Failed")
    assert "Message:            Operation terminated" in output
    assert desk.value() == ""


async def test_a_partial_sync_applies_what_was_named(desk: Desk) -> None:
    desk.play.forge.push(config_map("web", "1"), config_map("other", "1"))
    await desk.play.application()
    await desk.well("refresh", "web", "--timeout", "20")
    await desk.well("sync", "web", "--resource", "!:ConfigMap:other", "--timeout", "20")
    assert (desk.value("web"), desk.value("other")) == ("1", "")
