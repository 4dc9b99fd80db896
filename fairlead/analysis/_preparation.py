"""A run's spec made ready to be decided on: placeholders resolved, rules checked and applied.

Source: `argo-rollouts: analysis/analysis.go: reconcileAnalysisRun`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.analysis._arguments import plain_values, resolve_metrics
from fairlead.analysis._validation import dry_run_metrics, retention_limits, validate_metrics
from fairlead.analysis.spec import Metric, RunSpec
from fairlead.core.errors import SpecError

ARGUMENTS_ERROR = "Unable to resolve metric arguments: "
SPEC_ERROR = "Analysis spec invalid: "


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run's spec with its placeholders resolved (secrets by a stand-in) and its rules applied.

    Attributes:
        spec: as it is stored.
        metrics: resolved; as they are stored if they cannot be resolved.
        dry_run: names of the metrics that do not count.
        retention: measurements to keep, by name of metric.
        error: why the run cannot begin; it becomes the run's message.
        by_name: the metrics by name; of two with one name (which is an error) the first.
    """

    spec: RunSpec
    metrics: tuple[Metric, ...]
    dry_run: frozenset[str] = frozenset()
    retention: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    by_name: Mapping[str, Metric] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {metric.name: metric for metric in reversed(self.metrics)})


def prepare(spec: RunSpec) -> PreparedRun:
    """Return the run ready to be decided on. It depends on the spec only, so it can be kept."""
    try:
        metrics = resolve_metrics(spec.metrics, plain_values(spec.args))
    except SpecError as error:
        return PreparedRun(spec=spec, metrics=spec.metrics, error=f"{ARGUMENTS_ERROR}{error}")
    try:
        validate_metrics(metrics)
        dry_run = dry_run_metrics(spec.dry_run, metrics)
        retention = retention_limits(spec.measurement_retention, metrics)
    except SpecError as error:
        return PreparedRun(spec=spec, metrics=metrics, error=f"{SPEC_ERROR}{error}")
    return PreparedRun(spec=spec, metrics=metrics, dry_run=dry_run, retention=retention)


def unreadable(error: SpecError) -> PreparedRun:
    """Return a run whose spec does not fit its schema: it ends in Error, and says which field is wrong."""
    return PreparedRun(spec=RunSpec(), metrics=(), error=f"{SPEC_ERROR}{error}")
