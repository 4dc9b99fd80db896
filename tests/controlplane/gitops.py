"""Applications on a real control plane: a Git repository, the agent, and a look at what comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from fairlead.agentsync._auto import Timing
from fairlead.agentsync._judgement import SystemOptions
from fairlead.agentsync._offline_file import FileStore
from fairlead.agentsync.machine import Settings
from fairlead.agentsync.resources import Object
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources import GitSettings, Sources, SourcesSettings
from fairlead.controller.crds import definitions
from fairlead.controller.gitops_wiring import Destination, GitOpsPart
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import AlreadyExists, ClusterError, NotFound, Unavailable
from fairlead.core.kinds import CRDS, NAMESPACES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.kube.client import KubeCluster
from fairlead.kube.config import connect
from fairlead.runtime.clock import SystemClock
from fairlead.testing.kubelet import Kubelet
from tests.agentsync.sources.repository import Repository
from tests.controlplane.stage import NODES, QUICK

APPLICATIONS = carried("argoproj.io", "v1alpha1", "Application", "applications")
PROJECTS = carried("argoproj.io", "v1alpha1", "AppProject", "appprojects")
CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
DEPLOYMENTS = carried("apps", "v1", "Deployment", "deployments")
SERVICES = carried("", "v1", "Service", "services")
JOBS = carried("batch", "v1", "Job", "jobs")
ACCOUNTS = carried("", "v1", "ServiceAccount", "serviceaccounts")
WAIT_SECONDS = 90.0


@dataclass
class Requests:
    """What an agent asked of an API server, watches aside."""

    made: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        if status == 403:
            self.refused.append((verb, resource))
        if verb != "watch":
            self.made.append((verb, resource))

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Those that change what is applied: neither reports, Events nor leases."""
        beside = ("applications.argoproj.io", "events", "leases.coordination.k8s.io", "secrets")
        return [one for one in self.made if one[0] in ("create", "patch", "delete") and one[1] not in beside]


def manifests(*objects: Mapping[str, Any]) -> str:
    """Return objects as a file of a repository."""
    return yaml.safe_dump_all(objects, sort_keys=False)


@dataclass
class Site:
    """A cluster as its administrator sees it, with one namespace for Applications and one for what they apply."""

    admin: KubeCluster
    control_namespace: str
    namespace: str

    async def furnish(self) -> None:
        """Make the namespaces, and define the kinds."""
        for definition in definitions().values():
            if str(definition["spec"]["names"]["kind"]) in ("Application", "AppProject", "Rollout"):
                await self.ensure(CRDS, definition)
        for name in dict.fromkeys((self.control_namespace, self.namespace)):
            await self.ensure(NAMESPACES, {"metadata": {"name": name}})

        async def served() -> bool:
            await self.admin.list(APPLICATIONS, namespace=self.control_namespace)
            await self.admin.list(PROJECTS, namespace=self.control_namespace)
            return True

        await self.until("the kinds are served", served)

    async def ensure(self, kind: Kind[Manifest], body: Mapping[str, Any], *, namespace: str = "") -> None:
        try:
            await self.admin.create(kind, body, namespace=namespace)
        except AlreadyExists:
            return

    async def application(self, url: str, name: str = "web", **spec: Any) -> None:
        metadata = {"name": name, **spec.pop("metadata", {})}
        whole = {
            "project": "default",
            "source": {"repoURL": url, "path": "deploy"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
            **spec,
        }
        body = {"apiVersion": APPLICATIONS.api_version, "kind": "Application", "metadata": metadata, "spec": whole}
        await self.admin.create(APPLICATIONS, body, namespace=self.control_namespace)

    async def change(self, kind: Kind[Manifest], name: str, body: Mapping[str, Any], namespace: str = "") -> None:
        key = ObjectKey(namespace or self.namespace, name)
        await self.admin.as_manager("kubectl").patch(kind, key, MergePatch(body))

    async def change_application(self, body: Mapping[str, Any], name: str = "web") -> None:
        await self.change(APPLICATIONS, name, body, self.control_namespace)

    async def refresh(self, name: str = "web") -> None:
        await self.change_application({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}, name)

    async def read(self, kind: Kind[Manifest], name: str, namespace: str = "") -> Object:
        """Return an object; {} when there is none."""
        key = ObjectKey(namespace or self.namespace if kind.namespaced else "", name)
        try:
            return dict((await self.admin.get(kind, key)).content)
        except NotFound:
            return {}

    async def names(self, kind: Kind[Manifest]) -> list[str]:
        page = await self.admin.list(kind, namespace=self.namespace)
        return sorted(found.metadata.name for found in page.items if found.metadata.name != "kube-root-ca.crt")

    async def status(self, name: str = "web") -> Object:
        found = await self.read(APPLICATIONS, name, self.control_namespace)
        return dict(found.get("status") or {})

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until something holds; errors of the API server count as not yet."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while True:
            try:
                if await holds():
                    return
            except (ClusterError, KeyError):
                pass
            if loop.time() >= ends_at:
                shown = {}
                with suppress(Unavailable):
                    page = await self.admin.list(APPLICATIONS, namespace=self.control_namespace)
                    shown = {found.metadata.name: found.content.get("status") for found in page.items}
                raise AssertionError(f"not so after {seconds} s: {what}; {json.dumps(shown)[:4000]}")
            await asyncio.sleep(0.1)

    async def synced(self, commit: str = "", name: str = "web", *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until an Application is Synced, to that commit, and its operation has succeeded."""

        async def is_so() -> bool:
            status = await self.status(name)
            phase = status.get("operationState", {}).get("phase", "Succeeded")
            at = status["sync"].get("revision", "")
            return status["sync"]["status"] == "Synced" and phase == "Succeeded" and commit in ("", at)

        await self.until(f"{name} is Synced to {commit or 'anything'}", is_so, seconds=seconds)

    async def account_kubeconfig(self, name: str, namespace: str, server: str, authority: bytes, folder: Path) -> Path:
        """Return a kubeconfig of a ServiceAccount, which is made if it is not there: it has the rights it was given."""
        await self.ensure(ACCOUNTS, {"metadata": {"name": name}}, namespace=namespace)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = json.loads(await self.admin.raw("POST", path, body=json.dumps(body).encode()))
        data = base64.b64encode(authority).decode()
        cluster: dict[str, Any] = {"server": server}
        if server.startswith("https"):
            cluster["certificate-authority-data"] = data
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "agent", "namespace": namespace}}],
            "users": [{"name": "agent", "user": {"token": answer["status"]["token"]}}],
        }
        target = folder / f"{name}-{namespace}.kubeconfig"
        target.write_text(json.dumps(config))
        return target


@dataclass
class Agent:
    """An agent that can be started, killed and started again; what it keeps on disk stays.

    Attributes:
        kubeconfig: of the cluster that it applies to.
        hub: of the cluster of the Applications; None: the same.
    """

    kubeconfig: Path
    folder: Path
    control_namespace: str
    hub: Path | None = None
    name: str = ""
    timing: Timing = field(default_factory=Timing)
    requests: Requests = field(default_factory=Requests)
    reports: Requests = field(default_factory=Requests)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GitOpsPart]:
        """Run it until the block ends; then it is gone at once."""
        async with await connect(str(self.kubeconfig), hook=self.requests) as local:
            if self.hub is None:
                async with self._running(local, local) as part:
                    yield part
            else:
                async with (
                    await connect(str(self.hub), hook=self.reports) as control,
                    self._running(local, control) as part,
                ):
                    yield part

    @asynccontextmanager
    async def _running(self, local: KubeCluster, control: KubeCluster) -> AsyncIterator[GitOpsPart]:
        def managers(field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
            return local.as_manager(field_manager, dry_run=dry_run, strict=strict)

        git = GitSettings(protocols=frozenset({"file", "http", "https", "ssh"}))
        part = GitOpsPart(
            control,
            Destination(cluster=local, managers=managers, discovery=local),
            Sources(
                self.folder / "sources", SourcesSettings(git=git, window=self.timing.reconciliation.total_seconds())
            ),
            SystemClock(),
            namespace=self.control_namespace,
            settings=GitOpsSettings(
                machine=Settings(timing=self.timing),
                # Other tests have Applications of that name in this cluster, and none of their objects is ours.
                system=SystemOptions(installation_id=self.control_namespace),
                is_agent=self.hub is not None,
                name=self.name,
            ),
            offline=FileStore(self.folder / "offline.db"),
            keeps_applications=self.hub is not None,
        )
        running = asyncio.create_task(part.run())
        try:
            yield part
            assert not running.done(), f"the agent ended before its time: {running}"
        finally:
            running.cancel()
            results = await asyncio.gather(running, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]


async def pushed(site: Site, repository: Repository, files: Mapping[str, str | bytes | None], name: str = "web") -> str:
    """Commit files, and have the Application look; return the commit."""
    commit = await asyncio.to_thread(repository.commit, files)
    await site.refresh(name)
    return commit


@asynccontextmanager
async def kubelet(kubeconfig: Path, namespace: str) -> AsyncIterator[None]:
    """Run one node for the pods of a namespace until the block ends."""
    node = f"node-{namespace}"
    async with await connect(str(kubeconfig)) as cluster:
        settings = replace(QUICK, nodes=(node,))
        running = asyncio.create_task(Kubelet(cluster, SystemClock(), 1, settings=settings, namespace=namespace).run())
        try:
            for _ in range(400):
                page = await cluster.list(NODES)
                if any(
                    one.metadata.name == node and not (one.content.get("spec") or {}).get("taints")
                    for one in page.items
                ):
                    break
                await asyncio.sleep(0.05)
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            with suppress(ClusterError):
                await cluster.delete(NODES, ObjectKey("", node))


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text()[-2000:]


@asynccontextmanager
async def program(*arguments: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `fairlead` with these arguments until the block ends; then it is asked to stop, and does."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fairlead.cli.main", *arguments, stdout=file, stderr=file
        )
    try:
        yield process
        assert process.returncode is None, f"it ended by itself: {tail(log)}"
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0, tail(log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
