"""What the process adds to the part that looks after Applications: connections, sources, stores, webhooks."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from fairlead.agentsync._auto import Timing
from fairlead.agentsync._offline_file import FileStore
from fairlead.agentsync._offline_secrets import SecretStore
from fairlead.agentsync._writing import DryRuns
from fairlead.agentsync.kinds import MANIFEST_GENERATE_PATHS
from fairlead.agentsync.machine import Settings
from fairlead.agentsync.offline import NoStore, OfflineError, OfflineStore
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources import GitSettings, Sources, SourcesSettings
from fairlead.agentsync.sources.fetching import WINDOW_SECONDS
from fairlead.agentsync.sources.webhooks import Watched, WebhookError, affected, receive
from fairlead.agentsync.spec import decode_spec
from fairlead.controller.gitops_config import ControlConfig
from fairlead.controller.gitops_metrics import GitOpsMetrics
from fairlead.controller.gitops_settings import GitOps, OfflineKind
from fairlead.controller.gitops_webhook import Answer, WebhookServer
from fairlead.controller.gitops_wiring import Destination, GitOpsPart
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.errors import ClusterError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from fairlead.kube._transport import RequestHook
    from fairlead.kube.client import KubeCluster

log = structlog.get_logger(__name__)

Fence = Callable[[Cluster], Cluster]
_CONFIG_SECONDS = 5.0  # how long settings may take to be read; then the defaults hold until they are


class GitOpsProcess:
    """Makes the part of each term of leadership, and lets webhooks and settings reach the present one.

    Args:
        settings: of the operator.
        local: the cluster that is applied to.
        control: the cluster that holds the Applications.
        sources: renders.
        config: what is set beside the Applications.
        kube_version: of the local cluster.
    """

    def __init__(
        self,
        settings: GitOps,
        local: KubeCluster,
        control: Cluster,
        sources: Sources,
        config: ControlConfig,
        clock: Clock,
        metrics: GitOpsMetrics,
        *,
        kube_version: str = "",
    ) -> None:
        self._settings = settings
        self._local = local
        self._control = control
        self._sources = sources
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._kube_version = kube_version
        self._part: GitOpsPart | None = None
        config.on_change(self._configure)

    def part(self, fence: Fence) -> GitOpsPart:
        """Return the part for one term of leadership.

        Args:
            fence: stands around what is written, so that nobody writes who leads no more.
        """
        settings, local = self._settings, self._local

        def managers(field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
            return fence(local.as_manager(field_manager, dry_run=dry_run, strict=strict))

        self._part = GitOpsPart(
            fence(self._control),
            Destination(cluster=local, managers=managers, discovery=local, namespaces=settings.watched),
            self._sources,
            self._clock,
            namespace=settings.namespace,
            settings=self._gitops_settings(),
            offline=_store(settings, local),
            keeps_applications=settings.hub is not None,
            metrics=self._metrics,
            workers=settings.workers,
        )
        return self._part

    def ended(self) -> None:
        """The part that was made last has come to its end."""
        self._part = None

    def troubles(self) -> list[str]:
        """Return why something may be behind, one sentence each."""
        return self._part.troubles() if self._part is not None else []

    def look(self) -> None:
        """Take a look at the objects for the metrics."""
        if self._part is not None:
            self._part.look()

    def _gitops_settings(self) -> GitOpsSettings:
        settings, found = self._settings, self._config.configuration()
        return GitOpsSettings(
            machine=Settings(
                timing=replace(found.timing, sync_timeout=settings.sync_timeout, wave_delay=settings.wave_delay),
                control_namespace=settings.namespace,
                is_excluded=found.is_excluded,
            ),
            system=found.system,
            server=settings.cluster_server,
            name=settings.cluster_name,
            is_agent=settings.hub is not None,
            dry_runs=DryRuns.SERVER if settings.server_dry_runs else DryRuns.CLIENT,
            server_side_diff=settings.server_side_diff,
            kube_version=self._kube_version,
        )

    def _configure(self) -> None:
        self._sources.trust(self._config.repositories(), self._config.keys())
        if self._part is not None:
            self._part.reconciler.settings = self._gitops_settings()

    # --- webhooks ----------------------------------------------------------------------------------------------------

    def understand(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer to a payload, and the pushes that it tells of."""
        secrets = replace(self._config.webhook_secrets(), is_required=self._settings.webhooks.is_secret_required)
        try:
            pushes = receive("POST", headers, body, secrets)
        except WebhookError as error:
            log.warning("webhook_refused", status=error.status, message=str(error))
            return Answer(status=error.status, text=str(error))
        return Answer(push=pushes or None)

    async def follow(self, pushes: Any) -> None:
        """Have the Applications refreshed that these pushes concern."""
        for push in pushes:
            for url in push.urls:
                self._sources.moved(url)
        part = self._part
        if part is None:
            return  # another replica leads, and polls
        watched = []
        for application in part.applications.list():
            try:
                sources = decode_spec(application.spec).all_sources
            except SpecError:
                continue
            paths = application.metadata.annotations.get(MANIFEST_GENERATE_PATHS, "")
            watched.append((application.metadata.key, Watched(sources=sources, generate_paths=paths)))
        concerned = affected(pushes, watched)
        log.info("webhook_followed", pushes=len(pushes), applications=len(concerned))
        await part.refresh(concerned)


def _store(settings: GitOps, local: Cluster) -> OfflineStore:
    match settings.offline:
        case OfflineKind.FILE:
            path = Path(settings.offline_path) if settings.offline_path else settings.folder / "offline.db"
            return FileStore(path)
        case OfflineKind.SECRET:
            # A label value: two agents may share a namespace, and names of clusters may be anything.
            owner = sha256(f"{settings.cluster_name}\n{settings.cluster_server}".encode()).hexdigest()[:20]
            return SecretStore(local, namespace=settings.offline_namespace, owner=owner)
        case OfflineKind.NONE:
            return NoStore()


@asynccontextmanager
async def prepared(
    settings: GitOps,
    local: KubeCluster,
    clock: Clock,
    registry: CollectorRegistry,
    *,
    hook: RequestHook | None = None,
) -> AsyncIterator[GitOpsProcess]:
    """Give what makes the parts; connect to the hub, watch settings and listen for webhooks until the context ends."""
    from fairlead.kube.config import connect

    async with AsyncExitStack() as stack:
        control: KubeCluster = local
        if settings.hub is not None:
            hub = await connect(kubeconfig=settings.hub.kubeconfig, context=settings.hub.context or None, hook=hook)
            control = await stack.enter_async_context(hub)
        _private(settings.folder)
        polling = settings.polling
        # What one Application has asked a repository answers the others of the same poll, and no later one.
        window = min(WINDOW_SECONDS, polling.interval.total_seconds() or WINDOW_SECONDS)
        git = GitSettings(protocols=settings.protocols)
        sources = Sources(settings.folder / "sources", SourcesSettings(git=git, window=window))
        timing = Timing(reconciliation=polling.interval, jitter=polling.jitter, hard_reconciliation=polling.hard)
        config = ControlConfig(control, clock, namespace=settings.namespace, timing=timing)
        watching = asyncio.create_task(config.run(), name="gitops-config")
        stack.push_async_callback(_ended, watching)
        try:
            async with asyncio.timeout(_CONFIG_SECONDS):
                await config.wait_synced()
        except TimeoutError:
            log.warning("settings_not_read", troubles=list(config.troubles().values()))
        process = GitOpsProcess(
            settings,
            local,
            control,
            sources,
            config,
            clock,
            GitOpsMetrics(registry, namespace=settings.namespace),
            kube_version=await _version(local),
        )
        if settings.webhooks.port is not None:
            server = WebhookServer(process.understand, process.follow)
            port = await stack.enter_async_context(server.serve(settings.webhooks.host, settings.webhooks.port))
            log.info("webhooks_served", port=port)
        yield process


def _private(folder: Path) -> None:
    """Make the folder, or see that nobody else can write to it: what is rendered and kept lies there.

    Raises:
        OfflineError: somebody else can.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OfflineError(f"{folder}: expected a folder of our own that nobody else can write to")


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _version(cluster: KubeCluster) -> str:
    """Return the version of a cluster as charts compare it; empty: it does not say."""
    try:
        found = json.loads(await cluster.raw("GET", "/version"))
    except (ClusterError, ValueError) as error:
        log.warning("version_unknown", error=str(error))
        return ""
    text = str(found.get("gitVersion") or "") if isinstance(found, dict) else ""
    return text.removeprefix("v").split("+")[0].split("-")[0]
