"""A fake kubelet: pods become ready, fail, crash, finish and go as their spec says; no container runs.

It drives the simulated cluster and a real kube-apiserver alike, through the Cluster port alone. What a container
does is read from its image and command (the table in `_programs.py`), what a pod goes through is a pure machine
(`_podlife.py`, `_podstatus.py`). Durations are drawn from the seed and the pod's name, so a run can be repeated.

A pod template may steer its pods by annotations `testing.fairlead.dev/…` (all optional; durations as Go writes them):

| Annotation | Value | Effect |
|---|---|---|
| `start-after` | `"2s"` | until its containers run |
| `ready-after` | `"5s"` | from running to ready, in place of `readinessProbe.initialDelaySeconds`; 1 s at least |
| `never-ready` | `"true"` | runs, is never ready |
| `unready` | `"true"` | is not ready as long as this stands there; may be set on a living pod (the monkey does) |
| `crash-after` | `"30s"` | its first container exits with 1, so long after each start |
| `stop-after` | `"3s"` | from SIGTERM to the end of its processes, within the grace period |
| `fail-ratio`, `latency`, `version` | see `pods.py` | what its HTTP server answers |
| `address` | written, never read here | where its server answers, when that is not the podIP |

A value that cannot be understood shows as `CreateContainerConfigError` with the annotation's name, what was found and
what was expected.

Its lies: nothing is pulled again once it failed; probes are never asked, only waited for; liveness and start-up
probes, volumes, quality of service and resource limits do not exist; ephemeral containers never start; a container's
log does not exist; one process is the kubelet of all nodes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import AlreadyExists, ClusterError, NotFound
from fairlead.core.kinds import LEASES, NAMESPACES
from fairlead.core.objects import ObjectKey, rfc3339, rfc3339_micro
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.workqueue import WorkQueue
from fairlead.testing._podlife import PODS, PodLife, SeenPod, Timing, advance, begin, wake_at
from fairlead.testing._podstatus import status
from fairlead.testing.workloads._names import share
from fairlead.testing.workloads._objects import ADDRESS, NODES

__all__ = ["ClusterAddresses", "Kubelet", "KubeletSettings", "PodAddress", "PodHook", "SeenPod"]

log = structlog.get_logger(__name__)

LEASE_NAMESPACE = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class PodAddress:
    """Where a pod is.

    Attributes:
        ip: what `status.podIP` shows.
        served_at: `host:port` of a server that answers for it, when that is somewhere else.
    """

    ip: str
    served_at: str = ""


class PodHook(Protocol):
    """What happens outside of the API while a pod lives. Calls for one pod never overlap."""

    async def start(self, pod: SeenPod, ip: str) -> PodAddress:
        """Take note that its processes run; `ip` is the one that it had before, if it had one."""
        ...

    async def drain(self, pod: SeenPod) -> None:
        """Take note that they got SIGTERM."""
        ...

    async def stop(self, pod: SeenPod) -> None:
        """Take note that they have ended. Also called for a pod that was not started, or twice."""
        ...


class ClusterAddresses:
    """Gives each pod an address of 10.0.0.0/8 that nobody answers on."""

    def __init__(self) -> None:
        self._given = 0

    async def start(self, pod: SeenPod, ip: str) -> PodAddress:
        if ip:
            return PodAddress(ip)
        self._given = self._given % 0x3F_FFFF + 1  # 4 million addresses before the first is given again
        high, low = divmod(self._given, 254)
        return PodAddress(f"10.{64 + (high >> 8) % 64}.{high & 0xFF}.{low + 1}")

    async def drain(self, pod: SeenPod) -> None:
        return

    async def stop(self, pod: SeenPod) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSettings:
    """How the nodes look and how long things take on them. Ranges are drawn from per pod.

    Attributes:
        nodes: names of the nodes that are registered; pods elsewhere are none of our business.
        pods_max: `allocatable` pods of each node.
        start_seconds: from being bound until containers run.
        ready_seconds_min: from running to ready at the least. Never 0, or clients that poll miss the state before.
        ready_jitter_seconds: is added to every readiness.
        stop_seconds: from SIGTERM to the end of a pod's processes.
        lease_seconds: between two renewals of a node's lease; a real cluster takes a node for dead after 40 s
            without. None: never renewed, for simulations of days in which nobody looks at leases.
        node_status_seconds: between two reports of an unchanged node.
        workers: pods looked at in parallel.
    """

    nodes: tuple[str, ...] = ("node-1", "node-2", "node-3")
    pods_max: int = 500
    start_seconds: tuple[float, float] = (0.1, 0.5)
    ready_seconds_min: float = 1.0
    ready_jitter_seconds: tuple[float, float] = (0.0, 0.5)
    stop_seconds: tuple[float, float] = (0.2, 1.0)
    lease_seconds: float | None = 10.0
    node_status_seconds: float = 300.0
    workers: int = 8


@dataclass(slots=True, kw_only=True)
class _Held:
    """What the kubelet remembers of a pod. Everything but `is_served` is found again after a restart."""

    pod: SeenPod
    life: PodLife
    address: PodAddress | None = None
    is_served: bool = False
    is_draining: bool = False


class Kubelet:
    """The kubelets of a few nodes in one.

    Args:
        cluster: simulated or real.
        clock: of the world that the pods live in.
        seed: every pod's durations follow from it and from the pod's name.
        hook: what happens outside of the API; `fairlead.testing.pods.PodServers` runs a real server per pod.
        settings: how the nodes look and how long things take.
        namespace: only pods of this one; empty: all.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        seed: int = 0,
        *,
        hook: PodHook | None = None,
        settings: KubeletSettings = KubeletSettings(),
        namespace: str = "",
    ) -> None:
        rng = random.Random(f"kubelet/{seed}")
        self._clock = clock
        self._seed = seed
        self._hook: PodHook = hook or ClusterAddresses()
        self._settings = settings
        self._informers = Informers(cluster, clock, namespace=namespace, rng=rng)
        self._cluster = self._informers.cluster
        self._pods = self._informers.add(PODS)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(clock)
        feed(self._pods, self._queue, own_key)
        self._controller = Controller(
            "kubelet", self._queue, self._reconcile, clock=clock, workers=settings.workers, rng=rng
        )
        self._held: dict[ObjectKey, _Held] = {}

    async def run(self) -> None:
        """Register the nodes, then keep their pods alive until cancelled; then stop what the hook serves."""
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._settings.nodes:
                    group.create_task(self._keep_node(node), name=f"kubelet-{node}")
                group.create_task(self._informers.run(), name="kubelet-informers")
                await self._informers.wait_synced()
                group.create_task(self._controller.run(), name="kubelet")
        finally:
            for held in self._held.values():
                if held.is_served:
                    await self._hook.stop(held.pod)
            self._held.clear()

    # --- pods ----------------------------------------------------------------------------------------------------

    async def _reconcile(self, key: ObjectKey) -> datetime | None:
        pod = self._pods.get(key)
        held = self._held.get(key)
        if held is not None and (pod is None or pod.metadata.uid != held.pod.metadata.uid):
            await self._let_go(key, held)
            held = None
        if pod is None or pod.spec.node_name not in self._settings.nodes:
            return None
        if pod.is_finished:
            if held is not None:
                await self._let_go(key, held)
            if pod.metadata.is_deleting:
                await self._remove(pod)
            return None
        now = self._clock.now()
        if held is None:
            held = self._held[key] = _Held(pod=pod, life=begin(pod, self._timing(pod), now))
        held.pod = pod
        held.life = advance(held.life, pod, now)
        await self._serve(held)
        if held.life.stopping_at is not None:
            return await self._stop(key, held, now)
        await self._report(held, now)
        return wake_at(held.life, pod, now)

    def _timing(self, pod: SeenPod) -> Timing:
        """Return this pod's durations: the same for the same seed and name, whatever else happens."""

        def drawn(what: str, between: tuple[float, float]) -> float:
            low, high = between
            return low + (high - low) * share(self._seed, pod.metadata.namespace, pod.metadata.name, what)

        settings = self._settings
        return Timing(
            start=drawn("start", settings.start_seconds),
            ready=settings.ready_seconds_min,
            jitter=drawn("ready", settings.ready_jitter_seconds),
            stop=drawn("stop", settings.stop_seconds),
        )

    async def _serve(self, held: _Held) -> None:
        """Have the hook follow the processes: up before the status says so, down when they end."""
        if held.life.is_serving and not held.is_served:
            held.address = await self._hook.start(held.pod, held.life.address)
            held.is_served = True
            held.life = replace(held.life, address=held.address.ip)
        elif held.is_served and not held.life.is_serving:
            held.is_served = False
            await self._hook.stop(held.pod)

    async def _stop(self, key: ObjectKey, held: _Held, now: datetime) -> datetime | None:
        """Take a pod that is being deleted through its end."""
        life = held.life
        assert life.term_at is not None and life.gone_at is not None, "a stopping pod has its instants"
        if life.gone_at <= now:
            await self._let_go(key, held)
            await self._remove(held.pod)
            return None
        if life.term_at <= now and held.is_served and not held.is_draining:
            held.is_draining = True
            await self._hook.drain(held.pod)
        return wake_at(life, held.pod, now)

    async def _let_go(self, key: ObjectKey, held: _Held) -> None:
        del self._held[key]
        if held.is_served:
            await self._hook.stop(held.pod)

    async def _remove(self, pod: SeenPod) -> None:
        """Tell the API that nothing is left of the pod on its node."""
        try:
            await self._cluster.delete(
                PODS, pod.metadata.key, preconditions=Preconditions(uid=pod.metadata.uid), grace_period_seconds=0
            )
        except NotFound:
            return  # somebody forced it

    async def _report(self, held: _Held, now: datetime) -> None:
        """Write the status, if the API shows another one; and the served address, if there is one."""
        pod = held.pod
        served_at = held.address.served_at if held.address is not None else ""
        if served_at and pod.metadata.annotations.get(ADDRESS) != served_at:
            meta = {"uid": pod.metadata.uid, "annotations": {ADDRESS: served_at}}
            pod = await self._cluster.patch(PODS, pod.metadata.key, MergePatch({"metadata": meta}))
        changes = _differences(pod.status, status(held.life, pod, now))
        if changes:
            # Conditions are replaced as a whole list: the version keeps us from dropping one that others add meanwhile.
            meta = {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version}
            body = {"metadata": meta, "status": changes}
            await self._cluster.patch(PODS, pod.metadata.key, MergePatch(body), subresource="status")

    # --- nodes ---------------------------------------------------------------------------------------------------

    async def _keep_node(self, name: str) -> None:
        await self._persist(self._register, name)
        if self._settings.lease_seconds is None:
            return
        await self._persist(self._create_lease, name)
        reported_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._settings.lease_seconds)
            await self._persist(self._renew_lease, name)
            if self._clock.monotonic() - reported_at >= self._settings.node_status_seconds:
                reported_at = self._clock.monotonic()
                await self._persist(self._report_node, name)

    async def _persist(self, write: Callable[[str], Awaitable[None]], name: str) -> None:
        """Repeat a write about a node until it succeeds: a node is never given up."""
        delay = 0.1
        while True:
            try:
                await write(name)
            except ClusterError as error:
                log.warning("node_write_failed", node=name, error=type(error).__name__, message=str(error))
                await self._clock.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                return

    async def _register(self, name: str) -> None:
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        with suppress(AlreadyExists):  # registered by an earlier run
            await self._cluster.create(NODES, body)
        await self._report_node(name)

    async def _report_node(self, name: str) -> None:
        body = {"status": _node_status(self._settings, self._clock.now())}
        await self._cluster.patch(NODES, ObjectKey("", name), MergePatch(body), subresource="status")

    async def _create_lease(self, name: str) -> None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
            "spec": self._lease_spec(name),
        }
        try:
            await self._cluster.create(LEASES, body, namespace=LEASE_NAMESPACE)
        except AlreadyExists:
            await self._renew_lease(name)
        except NotFound:
            # A real cluster has this namespace, the simulated one perhaps not yet.
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}}
            await self._cluster.create(NAMESPACES, namespace)
            raise

    async def _renew_lease(self, name: str) -> None:
        body = {"spec": self._lease_spec(name)}
        await self._cluster.patch(LEASES, ObjectKey(LEASE_NAMESPACE, name), MergePatch(body))

    def _lease_spec(self, name: str) -> dict[str, Any]:
        renewed = rfc3339_micro(self._clock.now())
        return {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}


def _node_status(settings: KubeletSettings, now: datetime) -> dict[str, Any]:
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": str(settings.pods_max)}
    healthy = {
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    }
    return {
        "capacity": room,
        "allocatable": room,
        "conditions": [
            {"type": type_, "status": value, "reason": reason, "message": message, "lastHeartbeatTime": rfc3339(now)}
            for type_, (value, reason, message) in healthy.items()
        ],
        "nodeInfo": {
            "kubeletVersion": "v1.36.0-fairlead",
            "containerRuntimeVersion": "simulated://1",
            "operatingSystem": "linux",
            "architecture": "amd64",
            **dict.fromkeys(("bootID", "kernelVersion", "kubeProxyVersion", "machineID", "osImage", "systemUUID"), "-"),
        },
    }


def _differences(stored: Mapping[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a status that are not as they should be; a field that is no longer wished for goes."""
    changes = {name: value for name, value in wished.items() if _plain(stored.get(name)) != _plain(value)}
    for name in ("reason", "message"):
        if stored.get(name) and name not in wished:
            changes[name] = None
    return changes


def _plain(value: Any) -> Any:
    """Return JSON data without what servers add or leave out at will: nulls, empties, probe times, generations."""
    if isinstance(value, Mapping):
        kept = {name: _plain(member) for name, member in value.items() if name not in _UNSTEADY}
        return {name: member for name, member in kept.items() if member not in (None, "", {}, [])}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


_UNSTEADY = frozenset(
    {"lastProbeTime", "observedGeneration", "allocatedResources", "resources", "volumeMounts", "user"}
)
