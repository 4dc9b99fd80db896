"""The built-in controllers and the kubelet behind an API that fails: nothing wrong meanwhile, all right afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import FaultyCluster
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.workloads import Workloads
from tests.testing.worlds import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    NAMESPACE,
    REPLICA_SETS,
    SERVICES,
    SimWorld,
    deployment,
    job,
    key,
    replica_set,
    service,
    template,
)

SEEDS = (*range(6), 110, 127)


def is_settled(world: SimWorld) -> bool:
    """Whether everything is as wished: 3 + 4 pods, all ready, all endpoints, the Job at its end."""
    single = world.read(REPLICA_SETS, "single").get("status", {})
    wished = world.read(DEPLOYMENTS, "web")
    rolled = wished.get("status", {})
    finished = world.read(JOBS, "task").get("status", {})
    pods = [pod for pod in world.pods(app="web") if pod["status"].get("phase") == "Running"]
    endpoints = [
        endpoint
        for slice_ in world.cluster.read_all(ENDPOINT_SLICES, NAMESPACE)
        for endpoint in slice_.get("endpoints") or []
    ]
    return (
        single.get("readyReplicas") == single.get("replicas") == 3
        and rolled.get("observedGeneration") == wished["metadata"]["generation"]
        and [rolled.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")] == [4, 4, 4]
        and finished.get("succeeded") == 3
        and "completionTime" in finished
        and len(pods) == len(endpoints) == 7
        and all(endpoint["conditions"]["ready"] for endpoint in endpoints)
    )


def check(world: SimWorld) -> None:
    """What must hold after every commit: nobody starts more than was asked for."""
    owned: dict[str, int] = {}
    for pod in world.pods():
        if "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") != "Succeeded":
            owner = pod["metadata"]["ownerReferences"][0]["name"]
            owned[owner] = owned.get(owner, 0) + 1
    assert owned.get("single", 0) <= 3
    assert owned.get("task", 0) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_wish_is_met_after_trouble_and_stays_met(seed: int) -> None:
    async def story() -> dict[str, int]:
        clock = LoopClock()
        cluster = SimulatedCluster(clock, seed=seed)
        world = SimWorld(cluster, clock)
        faulty = [FaultyCluster(cluster, seed=seed), FaultyCluster(cluster, seed=seed + 1000)]

        def committed(*_: Any) -> None:
            check(world)

        cluster.on_commit(committed)
        tasks = [
            asyncio.create_task(Workloads(faulty[0], clock, seed).run()),
            asyncio.create_task(Kubelet(faulty[1], clock, seed, settings=KubeletSettings(lease_seconds=None)).run()),
        ]
        await world.create(SERVICES, service())
        await world.create(REPLICA_SETS, replica_set(3, name="single"))
        await world.create(DEPLOYMENTS, deployment(4))
        await world.create(JOBS, job("sleep", "5", completions=3, parallelism=2))
        await clock.sleep(60)
        await world.cluster.patch(DEPLOYMENTS, key("web"), MergePatch({"spec": {"template": template("web:2")}}))
        await clock.sleep(60)
        for one in faulty:
            one.stop()
        await world.until(lambda: is_settled(world), seconds=600)
        world.history.clear()
        await clock.sleep(1200)
        assert is_settled(world)
        # Late wake-ups may find an equal status; they must not write it.
        assert world.history == []
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return dict(faulty[0].injected)

    injected = run_virtual(story(), seed)
    assert sum(injected.values()) > 5
