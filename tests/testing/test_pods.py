"""Pods that answer, on a real loop and real loopback sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from fairlead.core.kinds import PODS as SLIM_PODS
from fairlead.core.objects import ObjectKey
from fairlead.testing._podlife import PODS, SeenPod
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.pods import PodCounts, PodIdentity, PodServers, identity
from fairlead.testing.workloads import Workloads
from tests.testing.worlds import ENDPOINT_SLICES, NAMESPACE, REPLICA_SETS, SERVICES, replica_set, service


def pod(
    name: str = "web-a",
    *,
    image: str = "shop/web:2",
    ports: tuple[int, ...] = (18080,),
    labels: dict[str, str] | None = None,
    **annotations: str,
) -> SeenPod:
    container = {"name": "web", "image": image, "ports": [{"containerPort": port} for port in ports]}
    notes = {f"testing.fairlead.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": labels or {}, "annotations": notes}
    return PODS.decode(msgspec.json.encode({"metadata": metadata, "spec": {"containers": [container]}}))


@asynccontextmanager
async def serving(servers: PodServers) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        try:
            yield session
        finally:
            await servers.close()


def url(servers: PodServers, found: SeenPod, path: str = "/") -> str:
    address = servers.address(found.metadata.key)
    assert address is not None
    return f"http://{address[0]}:{address[1]}{path}"


async def holds(condition: Callable[[], bool]) -> None:
    """Wait until something holds; bounded by the time limit of the test."""
    while not condition():  # noqa: ASYNC110  # nothing outside of the servers could set an Event
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("found", "revision", "version"),
    [
        pytest.param(pod(), "", "2", id="image-tag"),
        pytest.param(pod(image="host:5000/web"), "", "", id="no-tag"),
        pytest.param(pod(labels={"app.kubernetes.io/version": "3"}), "", "3", id="label"),
        pytest.param(pod(version="4", labels={"app.kubernetes.io/version": "3"}), "", "4", id="annotation"),
        pytest.param(pod(labels={"pod-template-hash": "abc"}), "abc", "2", id="deployment"),
        pytest.param(pod(labels={"rollouts-pod-template-hash": "xyz"}), "xyz", "2", id="rollout"),
    ],
)
def test_identity(found: SeenPod, revision: str, version: str) -> None:
    assert identity(found) == PodIdentity("shop", "web-a", revision, version)


async def test_each_pod_answers_with_its_name_on_an_address_of_its_own() -> None:
    servers = PodServers()
    pods = [pod("web-a"), pod("web-b", image="web:3")]
    async with serving(servers) as session:
        addresses = [(await servers.start(found, "")).ip for found in pods]
        assert len(set(addresses)) == 2
        assert all(address.startswith("127.") for address in addresses)
        for found, version in zip(pods, "23", strict=True):
            async with session.post(url(servers, found, "/any/path"), data=b"x" * 100_000) as answer:
                assert answer.status == 200
                assert answer.headers["x-pod"] == found.metadata.name
                assert await answer.json() == {"pod": found.metadata.name, "revision": "", "version": version}
        assert {who.name: counts.requests for who, counts in servers.pods().items()} == {"web-a": 1, "web-b": 1}
        async with session.get(url(servers, pods[0], "/__stats")) as answer:
            assert (await answer.json())["requests"] == 1


async def test_share_of_failures_follows_the_seed() -> None:
    async def outcomes(seed: int) -> list[int]:
        servers, found = PodServers(seed), pod(fail_ratio="0.3")
        async with serving(servers) as session:
            await servers.start(found, "")
            statuses = []
            for _ in range(200):
                async with session.get(url(servers, found)) as answer:
                    statuses.append(answer.status)
            (counts,) = servers.pods().values()
            assert (counts.requests, counts.failures) == (200, statuses.count(500))
        return statuses

    first, again, other = await outcomes(1), await outcomes(1), await outcomes(2)
    assert first == again != other
    assert Counter(first).keys() == {200, 500}
    assert 30 <= first.count(500) <= 90  # 60 expected, sigma 6.5


async def test_low_ports_are_served_higher_and_all_ports_answer() -> None:
    servers, found = PodServers(), pod(ports=(80, 18081))
    async with serving(servers) as session:
        ip = (await servers.start(found, "")).ip
        for port in (10080, 18081):
            async with session.get(f"http://{ip}:{port}/") as answer:
                assert answer.status == 200


async def test_pod_that_starts_again_keeps_its_address() -> None:
    servers, found = PodServers(), pod()
    async with serving(servers):
        first = await servers.start(found, "")
        await servers.stop(found)
        assert servers.address(found.metadata.key) is None
        assert await servers.start(found, first.ip) == first
        assert await servers.start(found, first.ip) == first  # also when nobody told us that it had ended


async def test_address_that_is_taken_is_passed_over() -> None:
    mine, theirs = PodServers(network=201), PodServers(network=201)
    async with serving(mine), serving(theirs):
        first = await theirs.start(pod("other"), "")
        second = await mine.start(pod(), "")
        assert first.ip != second.ip


async def test_on_a_real_api_the_address_goes_into_an_annotation() -> None:
    servers, found = PodServers(embedded=False), pod()
    async with serving(servers) as session:
        address = await servers.start(found, "")
        assert address.ip.startswith("10.")
        assert address.served_at == f"127.{address.ip.partition('.')[2]}:18080"
        async with session.get(f"http://{address.served_at}/") as answer:
            assert answer.status == 200


async def test_draining_pod_answers_and_asks_its_clients_to_leave() -> None:
    servers, found = PodServers(), pod(latency="100ms")
    async with serving(servers) as session:
        await servers.start(found, "")
        where = url(servers, found)
        async with session.get(where) as answer:
            assert answer.headers.get("Connection") != "close"
        await servers.drain(found)
        async with session.get(where) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        # What is under way when it stops is answered; later ones are refused.
        (counts,) = servers.pods().values()
        under_way = asyncio.create_task(session.get(where))
        await holds(lambda: counts.requests == 3)
        await servers.stop(found)
        assert (await under_way).status == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(where)


async def test_counts_outlive_the_pods() -> None:
    servers = PodServers()
    async with serving(servers) as session:
        for name in ("web-a", "web-b"):
            found = pod(name, labels={"pod-template-hash": "abc"})
            await servers.start(found, "")
            async with session.get(url(servers, found)):
                pass
            if name == "web-a":
                await servers.stop(found)
        assert servers.by_revision("shop") == {"abc": PodCounts(requests=2)}
        assert servers.by_version("shop") == {"2": PodCounts(requests=2)}
        assert servers.by_version("elsewhere") == {}


async def test_pods_of_a_cluster_answer_where_its_endpoint_slices_say() -> None:
    """The embedded world as the demo runs it: on an ordinary loop, with real sockets."""
    clock = LoopClock()
    cluster, servers = SimulatedCluster(clock), PodServers()
    quick = KubeletSettings(
        start_seconds=(0, 0), ready_seconds_min=0.05, ready_jitter_seconds=(0, 0), stop_seconds=(0, 0)
    )
    async with aiohttp.ClientSession() as session:
        tasks = [
            asyncio.create_task(Workloads(cluster, clock).run()),
            asyncio.create_task(Kubelet(cluster, clock, hook=servers, settings=quick).run()),
        ]

        def ready() -> list[dict[str, Any]]:
            slices = cluster.read_all(ENDPOINT_SLICES, NAMESPACE)
            endpoints = [endpoint for slice_ in slices for endpoint in slice_.get("endpoints") or []]
            return [endpoint for endpoint in endpoints if endpoint["conditions"]["ready"]]

        async with asyncio.timeout(20):
            await cluster.create(SERVICES, service(), namespace=NAMESPACE)
            await cluster.create(REPLICA_SETS, replica_set(2), namespace=NAMESPACE)
            await holds(lambda: len(ready()) == 2)
            (slice_,) = cluster.read_all(ENDPOINT_SLICES, NAMESPACE)
            for endpoint in ready():
                where = f"http://{endpoint['addresses'][0]}:{slice_['ports'][0]['port']}/"
                async with session.get(where) as answer:
                    assert answer.headers["x-pod"] == endpoint["targetRef"]["name"]
            gone = ready()[0]["targetRef"]["name"]
            await cluster.delete(SLIM_PODS, ObjectKey(NAMESPACE, gone))
            await holds(lambda: cluster.read(SLIM_PODS, ObjectKey(NAMESPACE, gone)) is None)
            assert servers.address(ObjectKey(NAMESPACE, gone)) is None
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert servers.pods() == {}
