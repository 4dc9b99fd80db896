"""The fake kubelet over HTTP, as it drives a real API server: through `fairlead.kube`, with 10.x pod addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from fairlead.core.kinds import PODS
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import cluster_at
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.pods import PodServers
from fairlead.testing.workloads import Workloads
from tests.testing.worlds import NAMESPACE, REPLICA_SETS, SimWorld, replica_set

QUICK = KubeletSettings(
    start_seconds=(0, 0), ready_seconds_min=0.05, ready_jitter_seconds=(0, 0), stop_seconds=(0, 0), lease_seconds=0.2
)


async def holds(condition: Callable[[], bool]) -> None:
    """Wait until something holds; bounded by the time limit of the test."""
    while not condition():  # noqa: ASYNC110  # nothing outside of the server could set an Event
        await asyncio.sleep(0.01)


async def test_kubelet_speaks_to_an_api_server_over_http() -> None:
    clock = LoopClock()
    world = SimWorld(SimulatedCluster(clock), clock)
    servers = PodServers(embedded=False)
    async with serve(world.cluster) as api, cluster_at(api.url) as cluster, aiohttp.ClientSession() as session:
        tasks = [
            asyncio.create_task(Workloads(world.cluster, clock).run()),
            asyncio.create_task(Kubelet(cluster, clock, hook=servers, settings=QUICK).run()),
        ]
        async with asyncio.timeout(30):
            await world.create(REPLICA_SETS, replica_set(2))
            await holds(lambda: world.read(REPLICA_SETS, "web").get("status", {}).get("readyReplicas") == 2)
            for pod in world.pods():
                address = pod["metadata"]["annotations"]["testing.fairlead.dev/address"]
                assert pod["status"]["podIP"] == "10." + address.partition(":")[0].partition(".")[2]
                async with session.get(f"http://{address}/") as answer:
                    assert answer.headers["x-pod"] == pod["metadata"]["name"]
            gone = world.pods()[0]["metadata"]["name"]
            await world.remove(PODS, gone)
            await holds(lambda: world.cluster.read(PODS, ObjectKey(NAMESPACE, gone)) is None)
            assert servers.address(ObjectKey(NAMESPACE, gone)) is None
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
