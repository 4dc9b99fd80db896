"""Applications under virtual time: simulated clusters, a Git host in memory, and processes that live and die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.machine import Settings
from fairlead.agentsync.offline import OfflineStore, Shelf
from fairlead.agentsync.resources import Object
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.controller.gitops_wiring import Destination, GitOpsPart
from fairlead.core.cluster import Cluster, MergePatch, Page
from fairlead.core.errors import NotFound, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, ObjectKey, T, rfc3339
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import When
from fairlead.testing.workloads import Workloads
from tests.agentsync.forge import PATH, URL, Forge

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
DEPLOYMENTS = carried("apps", "v1", "Deployment", "deployments")
JOBS = carried("batch", "v1", "Job", "jobs")
RAW = carried("argoproj.io", "v1alpha1", "Application", "applications")
PROJECTS = carried("argoproj.io", "v1alpha1", "AppProject", "appprojects")
WEB = ObjectKey("argocd", "web")


class MemoryStore:
    """An offline store that outlives processes of a test; implements `offline.OfflineStore`."""

    def __init__(self) -> None:
        self.entries: dict[Shelf, dict[str, bytes]] = {shelf: {} for shelf in Shelf}
        self.writes: list[tuple[Shelf, str]] = []

    async def read(self, shelf: Shelf) -> Mapping[str, bytes]:
        return dict(self.entries[shelf])

    async def keep(self, shelf: Shelf, name: str, content: bytes) -> None:
        self.writes.append((shelf, name))
        self.entries[shelf][name] = content

    async def drop(self, shelf: Shelf, name: str) -> None:
        self.entries[shelf].pop(name, None)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Fate:
    """When a process dies: at one write, after which it makes no call any more."""

    at: int = 0
    when: When = When.BEFORE
    count: int = 0
    is_dead: bool = False

    def check(self) -> None:
        if self.is_dead:
            raise Unavailable("a dead process makes no calls")

    async def write(self, call: Callable[[], Awaitable[R]]) -> R:
        self.check()
        self.count += 1
        strikes = self.count == self.at
        if strikes and self.when is When.BEFORE:
            self.is_dead = True
            self.check()
        answer = await call()
        if strikes:
            self.is_dead = True
            self.check()
        return answer


class Link(Forwarding):
    """The way of one process to a cluster: counted, and cut when the test wants that."""

    def __init__(self, inner: Cluster, log: list[str], fate: Fate) -> None:
        super().__init__(inner)
        self.log = log
        self.fate = fate
        self.is_cut = False
        self.refused: list[float] = []

    def _check(self) -> None:
        self.fate.check()
        if self.is_cut:
            self.refused.append(asyncio.get_running_loop().time())
            raise Unavailable("the link is cut")

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        self._check()
        self.log.append(f"{write.verb} {write.kind} {write.key.name}")
        return await self.fate.write(call)

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        self._check()
        return await super().get(kind, key)

    async def list(self, kind: Kind[T], **how: Any) -> Page[T]:
        self._check()
        return await super().list(kind, **how)

    async def watch(self, kind: Kind[T], **how: Any) -> AsyncIterator[Any]:
        self._check()
        async with aclosing(super().watch(kind, **how)) as stream:  # type: ignore[type-var]
            async for event in stream:
                self._check()
                yield event


@dataclass
class Play:
    """What a story works with.

    Attributes:
        hub: where the Applications are; the same as `cluster` unless there are two.
        around: wraps what processes get, to make trouble.
        writes: what processes wrote to the destination.
        reports: what they wrote to the hub.
    """

    clock: LoopClock
    cluster: SimulatedCluster
    hub: SimulatedCluster
    forge: Forge = field(default_factory=Forge)
    store: OfflineStore = field(default_factory=MemoryStore)
    timing: Timing = field(default_factory=Timing)
    writes: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    fate: Fate = field(default_factory=Fate)
    around: Callable[[Cluster], Cluster] = lambda cluster: cluster

    @property
    def has_hub(self) -> bool:
        return self.hub is not self.cluster

    @property
    def seconds(self) -> float:
        return round((self.clock.now() - EPOCH).total_seconds(), 3)

    # --- processes ---------------------------------------------------------------------------------------------------

    def part(self, **settings: Any) -> GitOpsPart:
        """Return a process that has not been started."""
        control = Link(self.around(self.hub.as_manager("fairlead")), self.reports, self.fate)
        self.links.append(control)
        fate = self.fate

        def managers(field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
            inner = self.cluster.as_manager(field_manager, dry_run=dry_run, strict=strict)
            return Link(self.around(inner), self.writes, fate)

        return GitOpsPart(
            control,
            Destination(
                cluster=self.around(self.cluster.as_manager("fairlead")), managers=managers, discovery=self.cluster
            ),
            self.forge,
            self.clock,
            settings=GitOpsSettings(
                machine=Settings(timing=self.timing),
                is_agent=self.has_hub,
                name="spoke" if self.has_hub else "",
                **settings,
            ),
            offline=self.store,
            keeps_applications=self.has_hub,
        )

    @asynccontextmanager
    async def process(self, **settings: Any) -> AsyncIterator[GitOpsPart]:
        """Run a process until the block ends; then it dies at once."""
        part = self.part(**settings)
        running = asyncio.create_task(part.run())
        try:
            yield part
            assert not running.done(), "the process ended before its time"
        finally:
            running.cancel()
            results = await asyncio.gather(running, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]

    async def until_death(self, at: int, when: When) -> int:
        """Run a process that dies at its write of that number, whichever cluster it is to; return the deaths (0 or 1).

        It is given time enough to come to its end otherwise.
        """
        self.fate = Fate(at=at, when=when)
        running = asyncio.create_task(self.part().run())
        try:
            await self.refresh()
            for _ in range(600):
                if self.fate.is_dead:
                    break
                await asyncio.sleep(0.1)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            deaths, self.fate = int(self.fate.is_dead), Fate()
        return deaths

    # --- users -------------------------------------------------------------------------------------------------------

    async def application(self, name: str = "web", **spec: Any) -> None:
        """Create an Application of the folder of the forge; fields of the spec replace those given here."""
        metadata = {"name": name, **spec.pop("metadata", {})}
        whole = {
            "project": "default",
            "source": {"repoURL": URL, "path": PATH},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            **spec,
        }
        body = {"apiVersion": RAW.api_version, "kind": "Application", "metadata": metadata, "spec": whole}
        await self.hub.as_manager("kubectl").create(RAW, body, namespace="argocd")

    async def patch(self, body: Mapping[str, Any], name: str = "web") -> None:
        """Merge-patch an Application as kubectl does."""
        await self.hub.as_manager("kubectl").patch(RAW, ObjectKey("argocd", name), MergePatch(body))

    async def sync(self, name: str = "web", **sync: Any) -> None:
        """Ask for a sync as `argocd app sync` does."""
        await self.patch({"operation": {"initiatedBy": {"username": "admin"}, "sync": sync}}, name)

    async def refresh(self, how: str = "normal", name: str = "web") -> None:
        await self.patch({"metadata": {"annotations": {"argocd.argoproj.io/refresh": how}}}, name)

    async def delete(self, name: str = "web") -> None:
        await self.hub.as_manager("kubectl").delete(RAW, ObjectKey("argocd", name))

    async def edit(self, kind: Kind[Any], name: str, body: Mapping[str, Any]) -> None:
        """Merge-patch a live object by hand."""
        await self.cluster.as_manager("kubectl").patch(kind, ObjectKey("shop", name), MergePatch(body))

    async def remove(self, kind: Kind[Any], name: str) -> None:
        await self.cluster.as_manager("kubectl").delete(kind, ObjectKey("shop", name))

    async def finish(self, name: str) -> None:
        """Let a Job complete."""
        condition = {"type": "Complete", "status": "True", "lastTransitionTime": rfc3339(self.clock.now())}
        body = {"status": {"succeeded": 1, "conditions": [condition]}}
        manager = self.cluster.as_manager("kube-controller-manager")
        await manager.patch(JOBS, ObjectKey("shop", name), MergePatch(body), subresource="status")

    async def project(self, name: str, **spec: Any) -> None:
        """Create an AppProject, or change fields of its spec."""
        kubectl = self.hub.as_manager("kubectl")
        key = ObjectKey("argocd", name)
        if self.hub.read(PROJECTS, key) is None:
            body = {"apiVersion": PROJECTS.api_version, "kind": "AppProject", "metadata": {"name": name}, "spec": spec}
            await kubectl.create(PROJECTS, body, namespace="argocd")
        else:
            await kubectl.patch(PROJECTS, key, MergePatch({"spec": spec}))

    # --- looking -----------------------------------------------------------------------------------------------------

    def read(self, kind: Kind[Any], name: str, namespace: str = "shop") -> Object:
        """Return a live object; {} when there is none."""
        return dict(self.cluster.read(kind, ObjectKey(namespace if kind.namespaced else "", name)) or {})

    def names(self, kind: Kind[Any] = CONFIG_MAPS, namespace: str = "shop") -> list[str]:
        return [found["metadata"]["name"] for found in self.cluster.read_all(kind, namespace)]

    def applications(self) -> list[str]:
        return [found["metadata"]["name"] for found in self.hub.read_all(RAW)]

    def status(self, name: str = "web") -> Object:
        """Return the status of an Application as the hub has it."""
        found = self.hub.read(RAW, ObjectKey("argocd", name))
        if found is None:
            raise NotFound(f"there is no Application {name}")
        return dict(found.get("status") or {})

    def annotations(self, name: str = "web") -> Mapping[str, str]:
        found = self.hub.read(RAW, ObjectKey("argocd", name)) or {}
        return dict(found.get("metadata", {}).get("annotations") or {})

    def state(self, name: str = "web") -> tuple[str, str, str]:
        """Return sync status, health and the phase of the last operation."""
        status = self.status(name)
        return (
            status.get("sync", {}).get("status", ""),
            status.get("health", {}).get("status", ""),
            status.get("operationState", {}).get("phase", ""),
        )

    def conditions(self, name: str = "web") -> dict[str, str]:
        return {one["type"]: one["message"] for one in self.status(name).get("conditions", ())}

    def results(self, name: str = "web") -> dict[str, str]:
        """Return the messages of the last sync by `Kind/name`."""
        result = self.status(name)["operationState"]["syncResult"]
        return {f"{one['kind']}/{one['name']}": one["message"] for one in result.get("resources", ())}

    async def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Wait until something holds; fail after so many seconds."""
        ends_at = self.clock.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (KeyError, NotFound):
                pass
            if self.clock.monotonic() >= ends_at:
                status = msgspec.json.encode(self.hub.read_all(RAW)).decode() if self.hub.read_all(RAW) else "none"
                raise AssertionError(f"it did not happen within {seconds} s: Applications: {status[:3000]}")
            await asyncio.sleep(0.1)

    async def synced(self, name: str = "web", *, commit: str = "", seconds: float = 60.0) -> None:
        """Wait until an Application is Synced, to that commit if one is given, and its operation is over."""

        def is_so() -> bool:
            status = self.status(name)
            at = status["sync"].get("revision", "")
            phase = status.get("operationState", {}).get("phase", "Succeeded")
            return status["sync"]["status"] == "Synced" and phase == "Succeeded" and commit in ("", at)

        await self.until(is_so, seconds=seconds)


AUTOMATED: Mapping[str, Any] = {"automated": {"prune": True, "selfHeal": True}}


@asynccontextmanager
async def staged(*, hub: bool = False, workloads: bool = False, timing: Timing | None = None) -> AsyncIterator[Play]:
    clock = LoopClock()
    cluster = SimulatedCluster(clock, field_manager="user")
    control = SimulatedCluster(clock, seed=7, field_manager="user") if hub else cluster
    cluster.apply([_namespace("shop")])
    control.apply([_namespace("argocd")])
    play = Play(clock=clock, cluster=cluster, hub=control, timing=timing or Timing())
    tasks = []
    if workloads:
        manager = cluster.as_manager("kube-controller-manager")
        tasks.append(asyncio.create_task(Workloads(manager, clock, 1).run()))
    try:
        yield play
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def played(story: Callable[[Play], Awaitable[None]], *, seed: int = 1, **how: Any) -> None:
    """Play a story under virtual time."""

    async def play() -> None:
        async with staged(**how) as made:
            await story(made)

    run_virtual(play(), seed)
