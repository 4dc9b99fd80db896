"""A simulated cluster with its built-in controllers and kubelet, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import NotFound
from fairlead.core.kinds import JOBS, PODS, REPLICA_SETS, SERVICES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.kubelet import Kubelet, KubeletSettings, PodHook
from fairlead.testing.workloads import Workloads

T = TypeVar("T")

DEPLOYMENTS = carried("apps", "v1", "Deployment", "deployments")
ENDPOINT_SLICES = carried("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
NODES = carried("", "v1", "Node", "nodes", namespaced=False)
NAMESPACE = "default"


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


class SimWorld:
    """The cluster, its clock, and short ways to look at it."""

    def __init__(self, cluster: SimulatedCluster, clock: LoopClock) -> None:
        self.cluster = cluster
        self.clock = clock
        self.history: list[tuple[float, str, str, dict[str, Any] | None, dict[str, Any] | None]] = []
        cluster.on_commit(self._note)

    def _note(self, verb: Any, resource: Any, old: Any, new: Any) -> None:
        self.history.append((self.clock.monotonic(), str(verb), str(resource.kind), old, new))

    def read(self, kind: Kind[Any], name: str) -> dict[str, Any]:
        found = self.cluster.read(kind, key(name))
        assert found is not None, f"{kind} {name} does not exist"
        return found

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.cluster.read_all(PODS, NAMESPACE)
            if labels.items() <= pod["metadata"].get("labels", {}).items()
        ]

    async def scale(self, kind: Kind[Any], name: str, replicas: int) -> None:
        await self.cluster.patch(kind, key(name), MergePatch({"spec": {"replicas": replicas}}))

    async def until(self, holds: Callable[[], bool], *, seconds: float = 120.0) -> float:
        """Wait in virtual time until something holds; return when. Fails after so many seconds."""
        deadline = self.clock.monotonic() + seconds
        while not holds():
            assert self.clock.monotonic() < deadline, f"does not hold after {seconds} s"
            await asyncio.sleep(0.05)
        return self.clock.monotonic()

    async def create(self, kind: Kind[Any], body: dict[str, Any]) -> None:
        await self.cluster.create(kind, body, namespace=NAMESPACE)

    async def remove(self, kind: Kind[Any], name: str) -> None:
        try:
            await self.cluster.delete(kind, key(name))
        except NotFound:
            return


@asynccontextmanager
async def world(
    *, seed: int = 0, settings: KubeletSettings | None = None, hook: PodHook | None = None
) -> AsyncIterator[SimWorld]:
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=seed)
    settings = settings or KubeletSettings(lease_seconds=None)
    tasks = [
        asyncio.create_task(Workloads(cluster, clock, seed).run()),
        asyncio.create_task(Kubelet(cluster, clock, seed, settings=settings, hook=hook).run()),
    ]
    try:
        yield SimWorld(cluster, clock)
        for task in tasks:
            assert not task.done(), f"ended before its time: {task}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def play(
    story: Callable[[SimWorld], Awaitable[T]],
    *,
    seed: int = 0,
    settings: KubeletSettings | None = None,
    hook: PodHook | None = None,
) -> T:
    """Return what a story returns that is played in a world of its own, in virtual time."""

    async def run() -> T:
        async with world(seed=seed, settings=settings, hook=hook) as found:
            return await story(found)

    return run_virtual(run(), seed)


def template(image: str = "web:1", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    prefixed = {f"testing.fairlead.dev/{name}": value for name, value in (annotations or {}).items()}
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": prefixed},
        "spec": {"containers": [container], **spec},
    }


def replica_set(replicas: int, *, name: str = "web", **more: Any) -> dict[str, Any]:
    shape = more.pop("template", None) or template(**more)
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": shape}
    return {"metadata": {"name": name}, "spec": spec}


def deployment(
    replicas: int, *, name: str = "web", strategy: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    body = replica_set(replicas, name=name, **more)
    if strategy:
        body["spec"]["strategy"] = strategy
    return body


def job(*command: str, restart: str = "Never", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "tool:1", "command": list(command)}
    shape = {"spec": {"restartPolicy": restart, "containers": [container]}}
    return {"metadata": {"name": "task"}, "spec": {"template": shape, **spec}}


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


__all__ = [
    "DEPLOYMENTS",
    "ENDPOINT_SLICES",
    "JOBS",
    "NODES",
    "PODS",
    "REPLICA_SETS",
    "SERVICES",
    "Manifest",
    "SimWorld",
    "deployment",
    "job",
    "key",
    "play",
    "replica_set",
    "service",
    "template",
    "world",
]
