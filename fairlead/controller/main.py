"""The process around the reference controller: connection, signals, health, metrics."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from fairlead import __version__
from fairlead.controller.health import Health, serve
from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import EvidenceSource
from fairlead.runtime.clock import SystemClock
from fairlead.runtime.leases import LeaderElection, LeaseSettings
from fairlead.runtime.limits import Bucket, LimitedCluster

if TYPE_CHECKING:
    from fairlead.controller.gitops_main import GitOpsProcess
    from fairlead.kube.client import KubeCluster

log = structlog.get_logger(__name__)

# Decoding many small objects makes the collector run all the time; the library leaves this to the process.
COLLECTOR_THRESHOLDS = (10_000, 20, 50)


def identity() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def _election(cluster: Cluster, clock: Clock, settings: Settings) -> LeaderElection | None:
    election = settings.election
    if election is None:
        return None
    suffix = f"-{settings.instance_id}" if settings.instance_id else ""
    lease = LeaseSettings(
        key=ObjectKey(election.namespace, f"{election.name}{suffix}"),
        identity=identity(),
        duration=election.duration.total_seconds(),
        renew_deadline=election.renew_deadline.total_seconds(),
        retry=election.retry.total_seconds(),
    )
    return LeaderElection(cluster, clock, lease)


def _evidence(settings: Settings) -> EvidenceSource | None:
    if not settings.traffic.evidence:
        return None
    from fairlead.mesh_routing.evidence import EnvoyEvidence

    return EnvoyEvidence(settings.traffic.evidence)


async def run(settings: Settings, *, kubeconfig: str | None = None, context: str | None = None) -> None:
    """Run the controller until SIGTERM or SIGINT, then finish what runs, store it and give up the lease.

    Raises:
        KubeConfigError: no cluster is configured.
    """
    from fairlead.kube.config import connect

    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    metrics = ControllerMetrics()
    clock = SystemClock()
    async with (
        AsyncExitStack() as stack,
        await connect(kubeconfig=kubeconfig, context=context, hook=metrics) as cluster,
    ):
        election = _election(cluster, clock, settings)
        limited, as_manager = _limited(cluster, clock, settings)
        gitops = await stack.enter_async_context(_gitops(settings, cluster, clock, metrics))
        controller = ReferenceController(
            limited,
            clock,
            settings,
            metrics=metrics,
            evidence=_evidence(settings),
            election=election,
            as_manager=as_manager if settings.with_secrets else None,
            gitops=gitops.part if gitops is not None else None,
        )
        _stop_on_signals(controller)

        def look() -> None:
            controller.look()
            if gitops is not None:
                gitops.look()

        health = Health(live=list, ready=controller.not_ready, look=look)
        async with serve(settings.serving, health, metrics.registry) as served:
            log.info(
                "controller_started",
                version=__version__,
                server=cluster.host,
                namespace=settings.namespace or "(all)",
                instance_id=settings.instance_id,
                health_port=served.health_port,
                metrics_port=served.metrics_port,
            )
            await controller.run()
    log.info("controller_stopped")


async def run_agent(settings: Settings, *, kubeconfig: str | None = None, context: str | None = None) -> None:
    """Run the GitOps agent alone until SIGTERM or SIGINT: `settings.gitops` says how.

    Raises:
        KubeConfigError: no cluster is configured.
    """
    from fairlead.controller.gitops_main import prepared
    from fairlead.controller.gitops_process import GitOpsController
    from fairlead.kube.config import connect

    assert settings.gitops is not None, "an agent without Applications has nothing to do"
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    metrics = ControllerMetrics()
    clock = SystemClock()
    async with (
        await connect(kubeconfig=kubeconfig, context=context, hook=metrics) as cluster,
        prepared(settings.gitops, cluster, clock, metrics.registry, hook=metrics) as process,
    ):
        controller = GitOpsController(process, clock, election=_election(cluster, clock, settings))
        _stop_on_signals(controller)
        health = Health(live=list, ready=controller.not_ready, look=controller.look)
        async with serve(settings.serving, health, metrics.registry) as served:
            log.info(
                "agent_started",
                version=__version__,
                server=cluster.host,
                namespace=settings.gitops.namespace,
                health_port=served.health_port,
                metrics_port=served.metrics_port,
            )
            await controller.run()
    log.info("agent_stopped")


@asynccontextmanager
async def _gitops(
    settings: Settings, cluster: KubeCluster, clock: Clock, metrics: ControllerMetrics
) -> AsyncIterator[GitOpsProcess | None]:
    if settings.gitops is None:
        yield None
        return
    from fairlead.controller.gitops_main import prepared

    async with prepared(settings.gitops, cluster, clock, metrics.registry, hook=metrics) as process:
        yield process


class _Stoppable(Protocol):
    def stop(self) -> None: ...


def _limited(cluster: KubeCluster, clock: Clock, settings: Settings) -> tuple[Cluster, Callable[[str], Cluster]]:
    """Return the cluster, and the same as other field managers, asked no oftener than is allowed in all."""
    if not settings.requests.per_second:
        return cluster, cluster.as_manager
    bucket = Bucket(clock, per_second=settings.requests.per_second, burst=settings.requests.burst)
    return LimitedCluster(cluster, bucket), lambda name: LimitedCluster(cluster.as_manager(name), bucket)


def _stop_on_signals(controller: _Stoppable) -> None:
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("controller_stopping", signal=name)
        controller.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # loops without signals: Ctrl-C cancels
            loop.add_signal_handler(number, stop, number.name)
