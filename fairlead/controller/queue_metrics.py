"""What the queues of the controllers do, under the names that Kubernetes' own controllers use (`workqueue_*`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairlead.runtime.workqueue import WorkQueue

_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 2))  # seconds, as client-go's


class QueueMetrics(Collector):
    """Counts what queues hand out and how long that takes. `watch` gives a queue its name and its hook."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ("name",)
        self._adds = Counter("workqueue_adds", "Keys added.", label, registry=registry)
        self._retries = Counter("workqueue_retries", "Keys put off after a failure.", label, registry=registry)
        self._waited = Histogram(
            "workqueue_queue_duration_seconds",
            "How long keys wait for a worker.",
            label,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._worked = Histogram(
            "workqueue_work_duration_seconds",
            "How long workers have a key.",
            label,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._queues: dict[str, WorkQueue[Any]] = {}
        registry.register(self)

    def watch(self, name: str, queue: WorkQueue[Any]) -> None:
        """Show a queue under a name from now on; another one of that name (of an earlier term) no more."""
        self._queues[name] = queue
        queue.hook = _Named(self, name)

    def on_add(self, name: str) -> None:
        self._adds.labels(name).inc()

    def on_take(self, name: str, seconds: float) -> None:
        self._waited.labels(name).observe(seconds)

    def on_done(self, name: str, seconds: float) -> None:
        self._worked.labels(name).observe(seconds)

    def on_retry(self, name: str) -> None:
        self._retries.labels(name).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield how the queues stand at this moment."""
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait for a worker.", labels=("name",))
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Seconds that workers have spent on what they have.", labels=("name",)
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "Seconds of the longest of them.", labels=("name",)
        )
        for name, queue in self._queues.items():
            working = queue.working_seconds()
            depth.add_metric((name,), len(queue))
            unfinished.add_metric((name,), sum(working))
            longest.add_metric((name,), max(working, default=0.0))
        yield from (depth, unfinished, longest)


class _Named:
    """Tells what one queue does. Implements `runtime.workqueue.QueueHook`."""

    def __init__(self, metrics: QueueMetrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def on_add(self) -> None:
        self._metrics.on_add(self._name)

    def on_take(self, waited_seconds: float) -> None:
        self._metrics.on_take(self._name, waited_seconds)

    def on_done(self, worked_seconds: float) -> None:
        self._metrics.on_done(self._name, worked_seconds)

    def on_retry(self) -> None:
        self._metrics.on_retry(self._name)
