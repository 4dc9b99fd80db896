"""The whole controller in a small world in memory: cluster, built-in controllers, kubelet; no router, no traffic.

The schemas of its custom kinds keep everything, so that what a real API server would refuse reaches the controller.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from structlog.testing import LogCapture

from fairlead.analysis.ports import Question
from fairlead.analysis.providers import OneCallProvider, Value
from fairlead.analysis.status import Measurement
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.kinds import ANALYSIS_RUNS, EVENTS, ROLLOUTS
from fairlead.core.objects import Kind, ObjectKey
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.custom import fairlead_crds
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.workloads import Workloads

Json = dict[str, Any]
NAMESPACE = "default"
KUBELET = KubeletSettings(nodes=("node-1",), lease_seconds=None, node_status_seconds=1e9)
# Nobody but a bug of ours writes these.
BUGS = ("reconcile_broken", "reconcile_timed_out", "background_task_broken", "subscriber_failed", "provider_broken")


def lax_crds() -> list[Json]:
    """Return our definitions with schemas that accept and keep everything."""
    found: list[Json] = copy.deepcopy([dict(one) for one in fairlead_crds()])
    for definition in found:
        for version in definition["spec"]["versions"]:
            version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return found


def rollout(name: str, *, image: str = "web:1", replicas: Any = 1, steps: Any = None, **canary: Any) -> Json:
    """Return a good Rollout, whose pods carry its own name as label."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image}], "terminationGracePeriodSeconds": 1},
            },
            "strategy": {"canary": {"steps": [{"setWeight": 50}] if steps is None else steps, **canary}},
        },
    }


class MemoryProvider(OneCallProvider):
    """A metric source without a source: the value is always 1."""

    async def measure(self, question: Question) -> Measurement:
        return self.judged(question.metric, Value.json(1), "1", self.tools.clock.now(), {})


class Stage:
    """What is on it, and what is said."""

    def __init__(self, cluster: SimulatedCluster, logs: LogCapture) -> None:
        self.cluster = cluster
        self.logs = logs
        self.user = cluster.as_manager("kubectl")
        self.writes: list[str] = []  # committed, Events and what pods do aside
        self._changed = asyncio.Event()
        cluster.on_commit(self._committed)

    def _committed(self, verb: str, resource: Any, old: Json | None, new: Json | None) -> None:
        self._changed.set()
        found = new or old or {}
        if resource.kind not in ("Event", "Pod", "Node", "Lease"):
            self.writes.append(f"{verb} {resource.kind} {found['metadata']['name']}")

    async def until(self, holds: Callable[[], bool], *, seconds: float = 300.0) -> None:
        """Return once something holds; asked after every write and once a second."""
        deadline = self.cluster.clock.monotonic() + seconds
        while not holds():
            assert self.cluster.clock.monotonic() < deadline, f"does not hold within {seconds:g} s"
            self._changed.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def quiet(self, seconds: float = 100.0) -> list[str]:
        """Return what is written within so long."""
        self.writes.clear()
        await asyncio.sleep(seconds)
        return list(self.writes)

    async def set_image(self, name: str, image: str) -> None:
        container = {"name": "web", "image": image}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await self.user.patch(ROLLOUTS, ObjectKey(NAMESPACE, name), MergePatch(body))

    # --- looking ----------------------------------------------------------------------------------------------------

    def status(self, name: str, kind: Kind[Any] = ROLLOUTS) -> Json:
        found = (self.cluster.read(kind, ObjectKey(NAMESPACE, name)) or {}).get("status")
        return found if isinstance(found, dict) else {}

    def is_healthy(self, name: str, image: str = "") -> bool:
        """Whether the latest spec is what runs, and with this image."""
        found = self.cluster.read(ROLLOUTS, ObjectKey(NAMESPACE, name))
        status = self.status(name)
        return (
            found is not None
            and status.get("observedGeneration") == str(found["metadata"]["generation"])
            and status.get("phase") == "Healthy"
            and status.get("stableRS") == status.get("currentPodHash")
            and (not image or json.dumps(found).count(f'"{image}"') > 0)
        )

    def events(self, name: str) -> list[str]:
        """Return the Events about an object, as `Reason: message`."""
        return [
            f"{one['reason']}: {one['message']}"
            for one in self.cluster.read_all(EVENTS, NAMESPACE)
            if one["involvedObject"]["name"] == name
        ]

    def runs(self) -> list[Json]:
        return self.cluster.read_all(ANALYSIS_RUNS, NAMESPACE)

    def bugs(self) -> list[Mapping[str, Any]]:
        """Return what was logged that only a bug of ours would log."""
        return [entry for entry in self.logs.entries if entry["event"] in BUGS]


@asynccontextmanager
async def staged(
    documents: Iterable[Mapping[str, Any]] = (),
    *,
    crds: Sequence[Mapping[str, Any]] | None = None,
    settings: Sequence[Settings] = (Settings(),),
    wrap: Callable[[SimulatedCluster], Cluster] | None = None,
    seed: int = 0,
) -> AsyncIterator[Stage]:
    """Run a controller per settings, and everything around; for virtual time.

    Args:
        documents: what is there before the controllers start.
        crds: the definitions that are served; None: lax ones.
        wrap: what the controllers see of the cluster.
    """
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=seed, crds=lax_crds() if crds is None else crds)
    logs = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, logs], cache_logger_on_first_use=False)
    stage = Stage(cluster, logs)
    if documents:
        cluster.apply(documents)
    seen = wrap(cluster) if wrap is not None else cluster
    controllers = [
        ReferenceController(
            seen, clock, one, providers={"memory": MemoryProvider}, rng=random.Random(f"controller/{seed}/{number}")
        )
        for number, one in enumerate(settings)
    ]
    parts = [
        Workloads(cluster.as_manager("kube-controller-manager"), clock, seed).run(),
        Kubelet(cluster.as_manager("kubelet"), clock, seed, settings=KUBELET).run(),
        *(one.run() for one in controllers),
    ]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield stage
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        structlog.configure(**before)
