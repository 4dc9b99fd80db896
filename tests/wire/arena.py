"""Everything between an HTTPRoute and its requests: a cluster in memory, a real server per pod, a real Envoy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.errors import MissingExtra
from fairlead.core.kinds import ENDPOINT_SLICES, GATEWAYS, HTTP_ROUTES, NAMESPACES, ROLLOUTS, SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import EvidenceSource, RouterTools, TrafficRouter, TrafficSeen, TrafficTarget, Weights
from fairlead.mesh_routing.evidence import EnvoyEvidence
from fairlead.mesh_routing.routers.waypoint import WaypointRouting
from fairlead.runtime.informers import Informers
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.envoy import EnvoyProcess, EnvoyWire, draining, find_envoy, free_port
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.load import LoadCounts, LoadGenerator
from fairlead.testing.pods import PodServers
from fairlead.testing.waypoint import WaypointTranslator
from fairlead.testing.workloads import Workloads

HASH = "rollouts-pod-template-hash"
WEB = ObjectKey("shop", "web")
_QUICK = KubeletSettings(start_seconds=(0.0, 0.1), ready_seconds_min=0.1, ready_jitter_seconds=(0.0, 0.0))


def need_envoy() -> None:
    """Skip the test where Envoy is absent; fail it in CI."""
    try:
        find_envoy()
    except MissingExtra as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def manifests(replicas: int) -> list[dict[str, Any]]:
    """A Service behind a waypoint, with pods of two revisions: a (version 1) and b (version 2)."""

    def replica_set(revision: str, version: str) -> dict[str, Any]:
        labels = {"app": "web", HASH: revision}
        container = {"name": "web", "image": f"web:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": f"web-{revision}", "namespace": "shop"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }

    def service(name: str, revision: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {HASH: revision}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }

    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"istio.io/use-waypoint": "waypoint"}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": "shop"},
            "spec": {
                "gatewayClassName": "istio-waypoint",
                "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
            },
        },
        service("web", "a"),
        service("web-stable", "a"),
        service("web-canary", "b"),
        replica_set("a", "1"),
        replica_set("b", "2"),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {}, "spec": {"containers": []}},
            },
        },
    ]


class Arena:
    """The running world. `port` is where clients of Service web:80 dial."""

    def __init__(self, cluster: SimulatedCluster, plane: WaypointTranslator, envoy: EnvoyProcess, port: int) -> None:
        self.cluster = cluster
        self.plane = plane
        self.envoy = envoy
        self.port = port
        self.factory: WaypointRouting | None = None
        self.target: TrafficTarget | None = None

    @property
    def router(self) -> TrafficRouter:
        assert self.factory is not None and self.target is not None, "the arena is complete"
        return self.factory.router(self.target)

    def see(self) -> TrafficSeen:
        return self.router.observe(self.cluster.clock.now())

    async def set(self, canary: int) -> None:
        await self.router.set_weights(Weights.of_canary(canary), in_progress=canary > 0)

    async def until(self, holds: Callable[[], bool], *, tries: int = 600) -> None:
        """Look again and again until something holds; fail after so many looks."""
        for _ in range(tries):
            if holds():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"does not come true: {self.see()}")

    async def until_held(self) -> None:
        await self.until(lambda: self.see().holds)

    async def until_drained(self) -> None:
        """Return once no old connection is let finish any more."""
        for _ in range(200):
            if not await draining(self.envoy.admin):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the drain window does not end")

    async def load(self, total: int, **options: Any) -> LoadCounts:
        """Send so many requests as fast as is reasonable, and count what comes back."""
        return await LoadGenerator("127.0.0.1", self.port, rate=2000, total_max=total, **options).run()


@asynccontextmanager
async def arena(directory: Path, *, replicas: int = 2, drain_time_s: int = 2) -> AsyncIterator[Arena]:
    """Open the world; everything in it ends with the context."""
    clock = LoopClock()
    cluster = SimulatedCluster(clock)
    cluster.apply(manifests(replicas))
    port = free_port()
    pods = PodServers()
    async with EnvoyProcess(directory, drain_time_s=drain_time_s) as envoy:
        plane = WaypointTranslator(cluster.as_manager("istiod"), clock, EnvoyWire(directory, {(WEB, 80): port}))
        found = Arena(cluster, plane, envoy, port)
        informers = Informers(cluster, clock)
        background = [
            asyncio.create_task(Workloads(cluster, clock).run()),
            asyncio.create_task(Kubelet(cluster, clock, hook=pods, settings=_QUICK).run()),
            asyncio.create_task(plane.run()),
        ]
        tools = _tools(informers, clock, EnvoyEvidence([envoy.admin]), background)
        background.append(asyncio.create_task(informers.run()))
        found.factory = WaypointRouting(tools)
        rollout = cluster.read(ROLLOUTS, WEB)
        assert rollout is not None, "it has been applied"
        found.target = TrafficTarget(
            rollout=WEB,
            uid=rollout["metadata"]["uid"],
            stable_service="web-stable",
            canary_service="web-canary",
            config={"service": "web"},
        )
        try:
            await informers.wait_synced()
            await found.until(lambda: _ready(tools) == 2 * replicas)
            await found.set(0)
            await found.until_held()
            yield found
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await pods.close()


def _tools(
    informers: Informers, clock: LoopClock, evidence: EvidenceSource, background: list[asyncio.Task[None]]
) -> RouterTools:
    return RouterTools(
        cluster=informers.cluster,
        clock=clock,
        routes={"httproutes": informers.add(HTTP_ROUTES)},
        services=informers.add(SERVICES),
        endpoint_slices=informers.add(ENDPOINT_SLICES),
        namespaces=informers.add(NAMESPACES),
        gateways=informers.add(GATEWAYS),
        evidence=evidence,
        spawn=lambda coro: background.append(asyncio.ensure_future(coro)),
    )


def _ready(tools: RouterTools) -> int:
    """Return the ready endpoints of the two backends."""
    return sum(
        bool(endpoint.conditions.ready)
        for one in tools.endpoint_slices.list("shop")
        if one.metadata.labels.get("kubernetes.io/service-name") in ("web-stable", "web-canary")
        for endpoint in one.endpoints
    )
