"""Prometheus metrics under the names that Argo Rollouts' dashboards and alerts use.

Gauges about objects are computed from the caches when they are scraped: nothing is kept per object, so nothing of a
deleted object can stay. Source: argo-rollouts: controller/metrics/.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairlead.controller import object_metrics
from fairlead.controller.queue_metrics import QueueMetrics
from fairlead.controller.secret_metrics import SecretMetrics
from fairlead.core.cluster import View
from fairlead.core.kinds import AnalysisRun, AnalysisTemplate, KindCondition, Rollout

_CONTROLLERS = ("rollout", "analysis_run", "externalsecret", "secretstore", "clustersecretstore")
_BUCKETS = (0.01, 0.15, 0.25, 0.5, 1.0)  # upstream's


class _Block(msgspec.Struct, frozen=True):
    """A block of which only its presence counts."""


class _Strategy(msgspec.Struct, frozen=True, rename="camel"):
    canary: _Block | None = None
    blue_green: _Block | None = None

    @property
    def name(self) -> str:
        """The `strategy` label of `rollout_info`."""
        return "blueGreen" if self.blue_green is not None else "canary" if self.canary is not None else "none"


class _Spec(msgspec.Struct, frozen=True):
    replicas: int | None = None
    strategy: _Strategy | None = None


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[KindCondition, ...] = ()


_spec = msgspec.json.Decoder(_Spec)
_status = msgspec.json.Decoder(_Status)
_PHASE_BY_REASON = {
    "NewReplicaSetAvailable": "Completed",
    "RolloutPaused": "Paused",
    "ReplicaSetCreateError": "Error",
    "ProgressDeadlineExceeded": "Timeout",
    "RolloutAborted": "Abort",
}


def phase_of(conditions: Sequence[KindCondition]) -> str:
    """Return the `phase` label of `rollout_info`, which upstream derives from the conditions."""
    by_type = {condition.type: condition for condition in conditions}
    if "InvalidSpec" in by_type:
        return "InvalidSpec"
    progressing = by_type.get("Progressing")
    return _PHASE_BY_REASON.get(progressing.reason if progressing else "", "Progressing")


@dataclass(frozen=True, slots=True)
class _Objects:
    rollouts: Sequence[Rollout] = ()
    runs: Sequence[AnalysisRun] = ()
    templates: Sequence[AnalysisTemplate] = ()


class _ObjectGauges(Collector):
    """Gauges over the objects in the caches, as of the last `look`."""

    def __init__(self) -> None:
        self.objects = _Objects()

    def collect(self) -> Iterator[Metric]:
        labels = ("namespace", "name")
        info = GaugeMetricFamily(
            "rollout_info", "Information about a rollout.", labels=(*labels, "strategy", "traffic_router", "phase")
        )
        replicas = {
            suffix: GaugeMetricFamily(
                f"rollout_info_replicas_{suffix}", f"Number of {suffix} replicas of a rollout.", labels=labels
            )
            for suffix in ("desired", "available", "unavailable", "updated")
        }
        phases: dict[tuple[str, str], tuple[str, str]] = {}
        for rollout in self.objects.rollouts:
            key = (rollout.metadata.namespace, rollout.metadata.name)
            try:
                spec = _spec.decode(rollout.spec)
            except msgspec.MsgspecError:
                # An object that cannot be understood is still counted; its condition says what is wrong.
                info.add_metric((*key, "none", "", "InvalidSpec"), 1)
                phases[key] = ("none", "InvalidSpec")
                continue
            try:
                status = _status.decode(rollout.status)
            except msgspec.MsgspecError:
                status = _Status()  # a stranger wrote it: the next decision puts it right
            strategy = spec.strategy.name if spec.strategy is not None else "none"
            phases[key] = (strategy, phase_of(status.conditions))
            # The routers that have a label are refused; plug-ins have none.
            info.add_metric((*key, strategy, "", phase_of(status.conditions)), 1)
            replicas["desired"].add_metric(key, 1 if spec.replicas is None else spec.replicas)
            replicas["available"].add_metric(key, status.available_replicas)
            replicas["unavailable"].add_metric(key, status.replicas - status.available_replicas)
            replicas["updated"].add_metric(key, status.updated_replicas)
        yield from (info, *replicas.values())
        yield from object_metrics.of_rollout_phases(phases)
        yield from object_metrics.of_runs(self.objects.runs)
        yield from object_metrics.of_templates(self.objects.templates)
        yield from object_metrics.of_build()


class _PlainCounter(Collector):
    """A counter whose name does not end in `_total`, as the dashboards that are there already ask for it.

    The client library puts that suffix on every counter; so it is exposed as untyped, which Prometheus stores alike.
    """

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help_text
        self._labels = tuple(labels)
        self._counts: Tally[tuple[str, ...]] = Tally()
        if not labels:
            self._counts[()] = 0
        registry.register(self)

    def inc(self, *values: str) -> None:
        """Count one, of these values of the labels."""
        self._counts[values] += 1

    def forget(self, *values: str) -> None:
        """Expose these values of the labels no more."""
        self._counts.pop(values, None)

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._help, "unknown")
        for values, count in self._counts.items():
            metric.add_sample(self._name, dict(zip(self._labels, values, strict=True)), count)
        yield metric


class ControllerMetrics:
    """What the controller counts; implements the hooks of the runtime.

    Attributes:
        registry: what `/metrics` prints; one per controller, never the process-wide default.
        requests: API requests by verb and resource since the start, for benchmarks and tests.
        secrets: what is counted about external secrets.
        queues: what is counted about the queues.

    Args:
        secrets: makes what is counted about external secrets.
    """

    def __init__(self, *, secrets: Callable[[CollectorRegistry], SecretMetrics] = SecretMetrics) -> None:
        self.registry = CollectorRegistry()
        self.requests: Tally[tuple[str, str]] = Tally()
        self._gauges = _ObjectGauges()
        self.registry.register(self._gauges)
        self._seconds: Mapping[str, Histogram] = {
            name: Histogram(
                f"{name}_reconcile", "Seconds per reconciliation.", buckets=_BUCKETS, registry=self.registry
            )
            for name in _CONTROLLERS
        }
        self._errors: Mapping[str, _PlainCounter] = {
            name: _PlainCounter(f"{name}_reconcile_error", "Reconciliations that failed.", registry=self.registry)
            for name in _CONTROLLERS
        }
        self._events = Counter(
            "rollout_events", "Events that were recorded.", ("type", "reason"), registry=self.registry
        )
        self.secrets = secrets(self.registry)
        self.queues = QueueMetrics(self.registry)
        self._requests = Counter(
            "controller_clientset_k8s_request",
            "Requests to the API server.",
            ("verb", "kind", "status_code"),
            registry=self.registry,
        )

    def look(self, rollouts: View[Rollout], runs: View[AnalysisRun], *templates: View[AnalysisTemplate] | None) -> None:
        """Take the objects that the next exposition describes; called on the loop, before it is printed."""
        found = tuple(one for view in templates if view is not None for one in view.list())
        self._gauges.objects = _Objects(rollouts.list(), runs.list(), found)

    def on_reconcile(self, name: str, seconds: float, error: str) -> None:
        """Count one reconciliation of the controller `name`; `error` is empty if it succeeded."""
        self._seconds[name].observe(seconds)
        if error:
            self._errors[name].inc()
        self.secrets.on_reconcile(name, failed=bool(error))

    def on_event(self, type_: str, reason: str) -> None:
        """Count one recorded Event."""
        self._events.labels(type_, reason).inc()

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count one request to the API server; status 0: there was no answer."""
        self.requests[verb, resource] += 1
        self._requests.labels(verb, resource, str(status)).inc()
