"""Metrics of Applications, under the names that Argo CD's dashboards and alerts use.

Gauges about Applications are computed from the cache when they are scraped: nothing is kept per Application, so nothing
of a deleted one can stay but its counters. Source: argo-cd: controller/metrics/metrics.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairlead.agentsync.kinds import Application
from fairlead.agentsync.spec import ApplicationSpec, decode_spec
from fairlead.agentsync.status import OperationState, Phase, decode_status
from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey

_BUCKETS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # upstream's
_INFO = (
    "namespace",
    "name",
    "project",
    "autosync_enabled",
    "repo",
    "dest_server",
    "dest_namespace",
    "sync_status",
    "health_status",
    "operation",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How much is watched in the destination."""

    kinds: int = 0
    objects: int = 0


class _ApplicationGauges(Collector):
    """Gauges over the Applications in the cache, as of the last `look`."""

    def __init__(self) -> None:
        self.applications: Sequence[Application] = ()
        self.watching = Watching()

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("argocd_app_info", "Information about an Application.", labels=_INFO)
        for application in self.applications:
            info.add_metric(_info(application), 1)
        kinds = GaugeMetricFamily("argocd_cluster_api_resources", "Kinds that are watched.", labels=("server",))
        objects = GaugeMetricFamily("argocd_cluster_api_objects", "Objects that are cached.", labels=("server",))
        kinds.add_metric(("https://kubernetes.default.svc",), self.watching.kinds)
        objects.add_metric(("https://kubernetes.default.svc",), self.watching.objects)
        yield from (info, kinds, objects)


def _info(application: Application) -> tuple[str, ...]:
    try:
        spec = decode_spec(application.spec)
    except SpecError:
        spec = ApplicationSpec()  # what cannot be understood is still counted
    status = decode_status(application.status)
    source = spec.all_sources[0] if spec.all_sources else None
    return (
        application.metadata.namespace,
        application.metadata.name,
        spec.project_name,
        "true" if spec.automated is not None else "false",
        source.repo_url.strip().lower().removesuffix(".git") if source is not None else "",
        spec.destination.server,
        spec.destination.namespace,
        status.sync.status or "Unknown",
        status.health.status or "Unknown",
        _operation(application, status.operation_state),
    )


def _operation(application: Application, state: OperationState | None) -> str:
    if application.metadata.is_deleting:
        return "delete"
    running = state is not None and state.phase in (Phase.RUNNING, Phase.TERMINATING)
    return "sync" if running or application.has_operation else ""


class GitOpsMetrics:
    """What is counted about Applications; implements the hooks of the runtime and of the reconciler.

    Args:
        registry: what `/metrics` prints.
        namespace: where the Applications are.
    """

    def __init__(self, registry: CollectorRegistry, *, namespace: str = "") -> None:
        self._namespace = namespace
        self._gauges = _ApplicationGauges()
        registry.register(self._gauges)
        self._reconciled = Histogram(
            "argocd_app_reconcile", "Seconds per reconciliation.", ("namespace",), buckets=_BUCKETS, registry=registry
        )
        self._errors = Counter(
            "argocd_app_reconcile_error", "Reconciliations that failed.", ("error",), registry=registry
        )
        self._syncs = Counter(
            "argocd_app_sync",
            "Syncs that have ended.",
            ("namespace", "name", "project", "phase", "dry_run"),
            registry=registry,
        )
        self._renders = Histogram(
            "argocd_git_request_duration_seconds",
            "Seconds until the desired state was there.",
            ("outcome",),
            buckets=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0),
            registry=registry,
        )
        self._applied = Counter(
            "fairlead_gitops_objects", "Objects that were tried to be written.", ("outcome",), registry=registry
        )
        self._postponed = Counter(
            "fairlead_gitops_reports_postponed", "Statuses that could not be written at once.", registry=registry
        )

    def on_reconcile(self, name: str, seconds: float, error: str) -> None:
        """Count one reconciliation of the controller `name`; `error` is empty if it succeeded."""
        self._reconciled.labels(self._namespace).observe(seconds)
        if error:
            self._errors.labels(error).inc()

    def on_sync(self, key: ObjectKey, *, project: str, phase: str, dry_run: bool) -> None:
        """Count one operation that has ended."""
        self._syncs.labels(key.namespace, key.name, project, phase, "true" if dry_run else "false").inc()

    def on_render(self, seconds: float, *, failed: bool) -> None:
        """Count one render."""
        self._renders.labels("failed" if failed else "succeeded").observe(seconds)

    def on_results(self, *, succeeded: int, failed: int) -> None:
        """Count what became of objects."""
        for outcome, count in (("succeeded", succeeded), ("failed", failed)):
            if count:
                self._applied.labels(outcome).inc(count)

    def on_postponed(self) -> None:
        """Count a status that could not be written."""
        self._postponed.inc()

    def look(self, applications: View[Application], watching: Callable[[], Watching]) -> None:
        """Take a look at the objects; the metrics are computed from it when they are printed."""
        self._gauges.applications = applications.list()
        self._gauges.watching = watching()
