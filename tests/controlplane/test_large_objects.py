"""An object that no etcd takes once it has a status: what becomes of it on a real API server, and of others."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.errors import ClusterError
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.scenarios import is_in_phase, rollout, update
from tests.controlplane.stage import ROLLOUTS, Stage, theatre

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(300)]

ETCD_BYTES = 1_572_864  # of a request, 1.5 MiB
STATUS_BYTES = 1_000  # less than any status of ours


async def test_it_is_told_and_the_others_go_on(control_plane: ControlPlane, tmp_path: Path) -> None:
    """28."""
    async with theatre(control_plane) as place:
        stage = await place.stage("large")
        await _create_largest(stage)
        await stage.create([rollout({"setWeight": 50}, {"pause": {"duration": "1s"}}, routed=False)])
        config = place.plane.kubeconfig_for("fairlead")
        process = ControllerProcess(
            config,
            "--namespaced",
            f"--namespace={stage.namespace}",
            "--no-leader-elect",
            "--loglevel=info",
            log=tmp_path / "log",
        )
        process.start()
        try:
            await stage.until("the good one is healthy", lambda: is_in_phase(stage, "Healthy"))
            await update(stage, 2)
            await stage.until("it is updated", lambda: _is_at(stage, 2))
            await asyncio.sleep(5)
            assert await process.terminate() == 0
        finally:
            await process.kill()
        refused = [one for one in _entries(tmp_path / "log") if "too large" in json.dumps(one)]
        assert refused
        assert {one["object"] for one in refused} == {f"{stage.namespace}/large"}
        assert len(refused) < 40
        assert "status" not in await stage.read(ROLLOUTS, "large")


async def _create_largest(stage: Stage) -> None:
    """Create a Rollout that fits into etcd by less than a status."""
    document = rollout({"setWeight": 50}, routed=False, name="large")
    low, high = 0, ETCD_BYTES
    while high - low > STATUS_BYTES // 4:
        middle = (low + high) // 2
        low, high = (middle, high) if await _is_taken(stage, document, middle) else (low, middle)
    assert ETCD_BYTES - low < 20_000, "the limit is another one"
    await stage.cluster.create(ROLLOUTS, _filled(document, low), namespace=stage.namespace)


def _filled(document: dict[str, Any], size: int) -> dict[str, Any]:
    found = copy.deepcopy(document)
    found["spec"]["filler"] = "x" * size
    return found


async def _is_taken(stage: Stage, document: dict[str, Any], size: int) -> bool:
    """Return whether the API server stores it; it is deleted again."""
    try:
        await stage.cluster.create(ROLLOUTS, _filled(document, size), namespace=stage.namespace)
    except ClusterError as error:
        assert "too large" in str(error), error
        return False
    await stage.cluster.delete(ROLLOUTS, stage.key("large"))
    return True


async def _is_at(stage: Stage, version: int) -> bool:
    found = await stage.read(ROLLOUTS, "web")
    status, image = found.get("status") or {}, found["spec"]["template"]["spec"]["containers"][0]["image"]
    is_stable = status.get("stableRS") == status.get("currentPodHash")
    return image.endswith(f":{version}") and is_stable and await is_in_phase(stage, "Healthy")


def _entries(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
    return found
