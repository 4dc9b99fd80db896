"""Gauges about analysis and about phases, under upstream's names: computed from the caches when they are scraped.

Nothing is kept per object, so nothing of a deleted object can stay. What an object says that cannot be read is left
out; the object is counted all the same. Source: argo-rollouts: controller/metrics/{analysis,rollouts}.go.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from fairlead import __version__
from fairlead.core.kinds import AnalysisRun, AnalysisTemplate

ROLLOUT_PHASES = ("InvalidSpec", "Completed", "Progressing", "Paused", "Timeout", "Error", "Abort")
RUN_PHASES = ("Pending", "Running", "Successful", "Failed", "Error", "Inconclusive")
_OBJECT = ("namespace", "name")
# Upstream's name of a provider where it is not the key in capitals.
_TYPES = {
    "cloudWatch": "CloudWatch",
    "datadog": "Datadog",
    "influxdb": "Influxdb",
    "newRelic": "NewRelic",
    "skywalking": "SkyWalking",
    "web": "WebMetric",
}

T = TypeVar("T")


class _Metric(msgspec.Struct, frozen=True):
    name: str = ""
    provider: dict[str, msgspec.Raw] = {}

    @property
    def type(self) -> str:
        """The `type` label: which provider measures; of a plug-in, its own name."""
        key = next((name for name in self.provider if name != "plugin"), "")
        if key:
            return _TYPES.get(key, key[:1].upper() + key[1:])
        plugins: dict[str, msgspec.Raw] = _decoded(_plugins, self.provider.get("plugin"), {})
        return next(iter(plugins), "")


class _Spec(msgspec.Struct, frozen=True):
    metrics: tuple[_Metric, ...] = ()


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    phase: str = ""
    dry_run: bool = False


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    metric_results: tuple[_Result, ...] = ()


_plugins = msgspec.json.Decoder(dict[str, msgspec.Raw])
_spec = msgspec.json.Decoder(_Spec)
_status = msgspec.json.Decoder(_Status)


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw | None, otherwise: T) -> T:
    try:
        return decoder.decode(raw) if raw is not None else otherwise
    except (msgspec.MsgspecError, RecursionError):
        return otherwise  # a stranger wrote it


def of_runs(runs: Sequence[AnalysisRun]) -> Iterator[Metric]:
    """Yield what is said of AnalysisRuns: their phase, and of each metric who measures it and how it stands."""
    info = _gauge("analysis_run_info", "Information about an analysis run.", "phase")
    phases = _gauge("analysis_run_phase", "The phase of an analysis run (deprecated: see analysis_run_info).", "phase")
    types = _gauge("analysis_run_metric_type", "Who measures a metric of an analysis run.", "metric", "type")
    metrics = _gauge(
        "analysis_run_metric_phase",
        "The phase of a metric of an analysis run.",
        *("metric", "type", "dry_run", "phase"),
    )
    for run in runs:
        key = (run.metadata.namespace, run.metadata.name)
        info.add_metric((*key, run.phase or "Pending"), 1)
        _one_of(phases, key, RUN_PHASES, run.phase or "Pending")
        results = {one.name: one for one in _decoded(_status, run.status, _Status()).metric_results}
        for metric in _decoded(_spec, run.spec, _Spec()).metrics:
            result = results.get(metric.name, _Result())
            types.add_metric((*key, metric.name, metric.type), 1)
            labels = (*key, metric.name, metric.type, "true" if result.dry_run else "false")
            _one_of(metrics, labels, RUN_PHASES, result.phase or "Pending")
    yield from (info, phases, types, metrics)


def of_templates(templates: Sequence[AnalysisTemplate]) -> Iterator[Metric]:
    """Yield what is said of analysis templates; the namespace of one for the whole cluster is empty."""
    info = _gauge("analysis_template_info", "Information about an analysis template.")
    metrics = _gauge("analysis_template_metric_info", "A metric of an analysis template.", "type", "metric")
    for template in templates:
        key = (template.metadata.namespace, template.metadata.name)
        info.add_metric(key, 1)
        for metric in _decoded(_spec, template.spec, _Spec()).metrics:
            metrics.add_metric((*key, metric.type, metric.name), 1)
    yield from (info, metrics)


def of_rollout_phases(found: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[Metric]:
    """Yield the deprecated gauges of phases: by namespace and name, strategy and phase of each Rollout."""
    phases = _gauge("rollout_phase", "The phase of a rollout (deprecated: see rollout_info).", "strategy", "phase")
    for key, (strategy, phase) in found.items():
        _one_of(phases, (*key, strategy), ROLLOUT_PHASES, phase)
    yield phases


def of_build() -> Iterator[Metric]:
    """Yield what this process is."""
    version = GaugeMetricFamily("argo_rollouts_controller_info", "The running controller.", labels=("version",))
    version.add_metric((__version__,), 1)
    # Go's words: what runs it, on what. No build of ours knows its commit.
    build = GaugeMetricFamily(
        "build_info", "What this process was built from.", labels=("version", "goversion", "goarch", "commit")
    )
    build.add_metric((__version__, f"python{platform.python_version()}", platform.machine(), ""), 1)
    yield from (version, build)


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=(*_OBJECT, *labels))


def _one_of(family: GaugeMetricFamily, labels: tuple[str, ...], values: Sequence[str], found: str) -> None:
    """Add one sample per value of the last label: 1 for what was found, 0 for the others."""
    for value in values:
        family.add_metric((*labels, value), 1 if value == found else 0)
