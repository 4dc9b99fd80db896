"""The thin loop of the fake kubelet on the simulated cluster, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import LEASES
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.kubelet import ClusterAddresses, Kubelet, KubeletSettings, PodAddress, SeenPod
from tests.testing.worlds import NAMESPACE, NODES, PODS, SimWorld, key, play, template

QUIET = KubeletSettings(lease_seconds=None)


def pod(name: str = "a", **more: Any) -> dict[str, Any]:
    shape = template(**more)
    return {"metadata": {"name": name, **shape["metadata"]}, "spec": shape["spec"]}


def is_ready(world: SimWorld, name: str = "a") -> bool:
    conditions = world.read(PODS, name).get("status", {}).get("conditions", [])
    return any((found["type"], found["status"]) == ("Ready", "True") for found in conditions)


class Recorder:
    """A hook that writes down what it is told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.inner = ClusterAddresses()

    async def start(self, pod: SeenPod, ip: str) -> PodAddress:
        self.told.append(("start", pod.metadata.name))
        found = await self.inner.start(pod, ip)
        return PodAddress(found.ip, served_at=f"127.0.0.9:{8000 + len(self.told)}")

    async def drain(self, pod: SeenPod) -> None:
        self.told.append(("drain", pod.metadata.name))

    async def stop(self, pod: SeenPod) -> None:
        self.told.append(("stop", pod.metadata.name))


def test_status_is_written_step_by_step_and_not_oftener() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(PODS, pod())
        await world.until(lambda: is_ready(world))
        phases = [new["status"].get("phase") for _, _, kind, _, new in world.history if kind == "Pod" and new]
        # Created, bound, seen by the kubelet, running, ready.
        assert phases == ["Pending", "Pending", "Pending", "Running", "Running"]
        found = world.read(PODS, "a")["status"]
        assert found["podIP"] == found["podIPs"][0]["ip"]
        assert found["podIP"].startswith("10.")

    play(story)


def test_hook_follows_the_processes() -> None:
    hook = Recorder()

    async def story(world: SimWorld) -> None:
        body = pod(terminationGracePeriodSeconds=20)
        body["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
        await world.create(PODS, body)
        await world.until(lambda: is_ready(world))
        assert hook.told == [("start", "a")]
        assert world.read(PODS, "a")["metadata"]["annotations"]["testing.fairlead.dev/address"] == "127.0.0.9:8001"
        await world.remove(PODS, "a")
        drained_at = await world.until(lambda: ("drain", "a") in hook.told)
        gone_at = await world.until(lambda: world.cluster.read(PODS, key("a")) is None)
        assert 0.1 <= gone_at - drained_at <= 1.1
        assert hook.told == [("start", "a"), ("drain", "a"), ("stop", "a")]

    play(story, hook=hook)


def test_hook_restarts_with_the_container_at_the_same_address() -> None:
    hook = Recorder()

    async def story(world: SimWorld) -> None:
        await world.create(PODS, pod(annotations={"crash-after": "5s"}))
        await world.until(lambda: is_ready(world))
        address = world.read(PODS, "a")["status"]["podIP"]
        await world.until(lambda: hook.told.count(("start", "a")) == 3)
        assert hook.told == [("start", "a"), ("stop", "a"), ("start", "a"), ("stop", "a"), ("start", "a")]
        assert world.read(PODS, "a")["status"]["podIP"] == address

    play(story, hook=hook)


@pytest.mark.parametrize(
    "command",
    [pytest.param(["sleep", "3"], id="finished"), pytest.param(["sh", "-c", "sleep 3; exit 1"], id="failed")],
)
def test_finished_pod_is_let_go_and_can_be_deleted(command: list[str]) -> None:
    hook = Recorder()

    async def story(world: SimWorld) -> None:
        body = pod(restartPolicy="Never")
        body["spec"]["containers"][0]["command"] = command
        await world.create(PODS, body)
        await world.until(lambda: world.read(PODS, "a").get("status", {}).get("phase") in ("Succeeded", "Failed"))
        assert hook.told == [("start", "a"), ("stop", "a")]
        await world.remove(PODS, "a")
        assert world.cluster.read(PODS, key("a")) is None

    play(story, hook=hook)


def test_readiness_gate_of_somebody_else_is_waited_for_and_kept() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(PODS, pod(readinessGates=[{"conditionType": "example.com/lb"}]))
        await world.clock.sleep(30)
        assert not is_ready(world)
        conditions = world.read(PODS, "a")["status"]["conditions"]
        gate = {"type": "example.com/lb", "status": "True"}
        patch = MergePatch({"status": {"conditions": [*conditions, gate]}})
        await world.cluster.patch(PODS, key("a"), patch, subresource="status")
        await world.until(lambda: is_ready(world), seconds=5)
        assert gate in world.read(PODS, "a")["status"]["conditions"]

    play(story)


def test_pod_of_the_same_name_is_another_pod() -> None:
    hook = Recorder()

    async def story(world: SimWorld) -> None:
        await world.create(PODS, pod())
        await world.until(lambda: is_ready(world))
        await world.cluster.delete(PODS, key("a"), grace_period_seconds=0)
        await world.create(PODS, pod())
        await world.until(lambda: is_ready(world))
        assert hook.told == [("start", "a"), ("stop", "a"), ("start", "a")]

    play(story, hook=hook)


def test_pods_on_other_nodes_are_left_alone() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(PODS, pod(nodeName="somewhere-else"))
        await world.clock.sleep(30)
        assert world.read(PODS, "a").get("status", {}).get("containerStatuses") is None

    play(story)


def test_nodes_are_ready_have_room_and_renew_their_leases() -> None:
    async def story() -> None:
        clock = LoopClock()
        cluster = SimulatedCluster(clock)
        task = asyncio.create_task(Kubelet(cluster, clock).run())
        await clock.sleep(1)
        nodes = cluster.read_all(NODES)
        assert [node["metadata"]["name"] for node in nodes] == ["node-1", "node-2", "node-3"]
        for node in nodes:
            assert node["status"]["allocatable"]["pods"] == "500"
            ready = [found["status"] for found in node["status"]["conditions"] if found["type"] == "Ready"]
            assert ready == ["True"]
        renewed = []
        for _ in range(3):
            lease = cluster.read(LEASES, ObjectKey("kube-node-lease", "node-2"))
            assert lease is not None
            renewed.append(lease["spec"]["renewTime"])
            await clock.sleep(10)
        assert renewed == sorted(set(renewed))
        versions = {node["metadata"]["resourceVersion"] for node in cluster.read_all(NODES)}
        await clock.sleep(400)
        assert versions != {node["metadata"]["resourceVersion"] for node in cluster.read_all(NODES)}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(story())


def test_restarted_kubelet_goes_on_without_a_write() -> None:
    async def story() -> None:
        clock = LoopClock()
        cluster = SimulatedCluster(clock)
        hook = Recorder()
        first = asyncio.create_task(Kubelet(cluster, clock, settings=QUIET, hook=hook).run())
        await clock.sleep(1)
        await cluster.create(PODS, pod(nodeName="node-1"), namespace=NAMESPACE)
        await clock.sleep(10)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert hook.told == [("start", "a"), ("stop", "a")]  # a stopped kubelet leaves no server behind
        before = cluster.read(PODS, key("a"))
        second = asyncio.create_task(Kubelet(cluster, clock, settings=QUIET).run())
        await clock.sleep(600)
        assert cluster.read(PODS, key("a")) == before
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    run_virtual(story())
