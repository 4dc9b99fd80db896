"""Where a story about Rollouts is played: the real control plane, or the simulated one under virtual time.

Both have nodes with the fake kubelet and a waypoint's control plane that accepts routes; the stories use the Cluster
port alone and cannot tell the two apart, except by how long they take.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import yaml

from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.cluster import ApplyPatch, Cluster, EventType, MergePatch
from fairlead.core.errors import Conflict, Expired, NotFound, TooManyRequests, Unavailable
from fairlead.core.kinds import CRDS, GATEWAYS, HTTP_ROUTES, NAMESPACES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey, rfc3339
from fairlead.kube.config import connect
from fairlead.runtime.clock import SystemClock
from fairlead.testing import custom
from fairlead.testing._waypoint_status import ROUTE_CONTROLLER
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.waypoint import MemoryWire, WaypointTranslator
from fairlead.testing.workloads import Workloads
from tests.controlplane import build
from tests.controlplane.plane import ControlPlane

T = TypeVar("T")

ROLLOUTS = carried("argoproj.io", "v1alpha1", "Rollout", "rollouts")
TEMPLATES = carried("argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates")
RUNS = carried("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns")
SETS = carried("apps", "v1", "ReplicaSet", "replicasets")
SERVICES = carried("", "v1", "Service", "services")
JOBS = carried("batch", "v1", "Job", "jobs")
PODS = carried("", "v1", "Pod", "pods")
NODES = carried("", "v1", "Node", "nodes", namespaced=False)
BY_KIND = {kind.kind: kind for kind in (ROLLOUTS, TEMPLATES, RUNS, SETS, SERVICES, JOBS, HTTP_ROUTES)}

# Quick pods, but never ready at once: what lasts no time is not seen.
QUICK = KubeletSettings(start_seconds=(0.05, 0.1), ready_seconds_min=0.3, ready_jitter_seconds=(0.0, 0.05))

WAYPOINT_ADDRESS = "10.9.9.9"  # nobody answers there, but an API server accepts it

_names = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One namespace of a cluster, as its user sees it."""

    cluster: Cluster
    namespace: str
    poll_seconds: float = 0.05

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.namespace, name)

    async def create(self, documents: Iterable[Mapping[str, Any]]) -> None:
        for document in documents:
            await self.cluster.create(BY_KIND[str(document["kind"])], document, namespace=self.namespace)

    async def read(self, kind: Kind[Manifest], name: str) -> Mapping[str, Any]:
        """Return the object as JSON data; {} when there is none."""
        try:
            return (await self._patiently(lambda: self.cluster.get(kind, self.key(name)))).content
        except NotFound:
            return {}

    async def list(self, kind: Kind[Manifest]) -> list[Mapping[str, Any]]:
        page = await self._patiently(lambda: self.cluster.list(kind, namespace=self.namespace, limit=0))
        return [manifest.content for manifest in page.items]

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the API server answers; it may be away for a while."""
        for _ in range(300):
            try:
                return await call()
            except (Unavailable, TooManyRequests):
                await asyncio.sleep(0.1)
        return await call()

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], *, seconds: float = 60.0) -> None:
        """Wait until something holds; fail after so many seconds of the stage's time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await holds():
            assert loop.time() < deadline, f"{self.namespace}: not so after {seconds} s: {what}"
            await asyncio.sleep(self.poll_seconds)


async def furnished(stage: Stage) -> Stage:
    """Create the stage's namespace, with a waypoint in it that its Services are bound to."""
    labels = {"istio.io/use-waypoint": "waypoint"}
    await stage.cluster.create(NAMESPACES, {"metadata": {"name": stage.namespace, "labels": labels}})
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE"}
    spec = {"gatewayClassName": "istio-waypoint", "listeners": [listener]}
    gateway = {
        "apiVersion": GATEWAYS.api_version,
        "kind": GATEWAYS.kind,
        "metadata": {"name": "waypoint"},
        "spec": spec,
    }
    await stage.cluster.create(GATEWAYS, gateway, namespace=stage.namespace)
    return stage


# --- the real one -----------------------------------------------------------------------------------------------------


def definitions() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions that stories need: ours, and the Gateway API's.

    Raises:
        build.Absent: the Gateway API's are not to be had.
    """
    found = list(custom.fairlead_crds())
    for path in build.gateway_crds():
        found += [one for one in yaml.safe_load_all(path.read_text()) if one and one["kind"] == CRDS.kind]
    return [dict(one) for one in found]


async def install(cluster: Cluster) -> None:
    """Make a control plane serve the kinds of `definitions`."""
    for document in definitions():
        await cluster.patch(CRDS, ObjectKey("", document["metadata"]["name"]), ApplyPatch(document, force=True))
    for kind in (ROLLOUTS, RUNS, TEMPLATES, HTTP_ROUTES):
        for _ in range(200):
            try:
                await cluster.list(kind, limit=1)
                break
            except NotFound:
                await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"{kind} is not served")


@dataclass(kw_only=True)
class Theatre:
    """A control plane with everything on it that stories need."""

    plane: ControlPlane
    cluster: Cluster
    wire: MemoryWire
    made: list[str] = field(default_factory=list)

    async def stage(self, name: str = "story", *, poll_seconds: float = 0.05) -> Stage:
        """Return a namespace of its own; it is deleted when the theatre closes."""
        namespace = f"{name}-{os.getpid()}-{next(_names)}"
        self.made.append(namespace)
        return await furnished(Stage(cluster=self.cluster, namespace=namespace, poll_seconds=poll_seconds))


async def accept_routes(cluster: Cluster) -> None:
    """Say of every generation of every route that it is accepted, soon after it was written; until cancelled."""

    async def accept(route: Manifest) -> None:
        content, generation = route.content, route.metadata.generation
        parents = (content.get("status") or {}).get("parents") or []
        seen = [one["observedGeneration"] for parent in parents for one in parent["conditions"]]
        if seen and min(seen) >= generation:
            return
        common = {"status": "True", "lastTransitionTime": rfc3339(datetime.now(UTC)), "observedGeneration": generation}
        conditions = [{"type": name, "reason": name, "message": "", **common} for name in ("Accepted", "ResolvedRefs")]
        entries = [
            {"parentRef": ref, "controllerName": ROUTE_CONTROLLER, "conditions": conditions}
            for ref in content["spec"]["parentRefs"]
        ]
        with suppress(NotFound, Unavailable):
            await cluster.patch(
                HTTP_ROUTES, route.metadata.key, MergePatch({"status": {"parents": entries}}), subresource="status"
            )

    async with asyncio.TaskGroup() as tasks:
        while True:
            page = await cluster.list(HTTP_ROUTES, limit=0)
            for route in page.items:
                tasks.create_task(accept(route))
            with suppress(Expired, Unavailable, TooManyRequests):
                async for event in cluster.watch(HTTP_ROUTES, resource_version=page.resource_version):
                    if isinstance(event.object, Manifest) and event.type is not EventType.DELETED:
                        tasks.create_task(accept(event.object))
            await asyncio.sleep(0.1)


@asynccontextmanager
async def theatre(
    plane: ControlPlane, *, kubelet: KubeletSettings = QUICK, seed: int = 1, is_light: bool = False
) -> AsyncIterator[Theatre]:
    """Give the control plane nodes, a kubelet and a waypoint's control plane, while the context lasts.

    Args:
        is_light: routes are accepted and nothing more: for thousands of them, where the processor is to be left to
            what is measured.
    """
    own = str(plane.kubeconfig_for("kubelet") if plane.folder is not None else plane.kubeconfig)
    admin = str(plane.kubeconfig)
    async with (
        await connect(admin, field_manager="user") as cluster,
        await connect(own, field_manager="kubelet") as nodes,
        await connect(own, field_manager="istiod") as istiod,
    ):
        await install(cluster)
        clock, wire = SystemClock(), MemoryWire()
        running = Kubelet(nodes, clock, seed, settings=kubelet)
        translator = WaypointTranslator(istiod, clock, wire, seed=seed, waypoint_address=WAYPOINT_ADDRESS)
        routing = accept_routes(istiod) if is_light else translator.run()
        tasks = [asyncio.create_task(running.run()), asyncio.create_task(routing)]
        place = Theatre(plane=plane, cluster=cluster, wire=wire)
        try:
            await _until_scheduled(cluster, kubelet.nodes)
            yield place
            for task in tasks:
                assert not task.done(), f"ended before its time: {task}"
        finally:
            for namespace in place.made:
                await _gone(cluster, NAMESPACES, namespace)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for node in kubelet.nodes:  # without them nobody binds pods that nobody would run
                await _gone(cluster, NODES, node)


async def _gone(cluster: Cluster, kind: Kind[Manifest], name: str) -> None:
    try:
        await cluster.delete(kind, ObjectKey("", name))
    except (NotFound, Conflict, Unavailable):
        return


async def _until_scheduled(cluster: Cluster, nodes: Iterable[str]) -> None:
    """Wait until every node is ready and free of the taints that new nodes carry."""
    for _ in range(400):
        page = await cluster.list(NODES)
        fit = {one.metadata.name for one in page.items if not (one.content.get("spec") or {}).get("taints")}
        if set(nodes) <= fit:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the nodes are not ready for pods")


# --- the simulated one ------------------------------------------------------------------------------------------------


def play_simulated(
    story: Callable[[Stage], Coroutine[Any, Any, T]],
    *,
    settings: Settings,
    seed: int = 1,
    kubelet: KubeletSettings = QUICK,
    around: Callable[[Cluster], Cluster] = lambda cluster: cluster,
) -> T:
    """Return what a story returns that is played on a simulated cluster under virtual time, with the controller.

    Args:
        around: wraps the cluster that the controller gets, to count its requests for instance.
    """

    async def play() -> T:
        clock = LoopClock()
        backend = SimulatedCluster(clock, seed=seed, field_manager="user")
        controller = ReferenceController(around(backend.as_manager("fairlead")), clock, settings)
        translator = WaypointTranslator(
            backend.as_manager("istiod"), clock, MemoryWire(), seed=seed, waypoint_address=WAYPOINT_ADDRESS
        )
        tasks = [
            asyncio.create_task(Workloads(backend.as_manager("kube-controller-manager"), clock, seed).run()),
            asyncio.create_task(Kubelet(backend.as_manager("kubelet"), clock, seed, settings=kubelet).run()),
            asyncio.create_task(translator.run()),
            asyncio.create_task(controller.run()),
        ]
        try:
            told = await story(await furnished(Stage(cluster=backend, namespace="scene-0")))
            for task in tasks:
                assert not task.done(), f"ended before its time: {task}"
            return told
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run_virtual(play(), seed)
