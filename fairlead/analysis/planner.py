"""Answers what an analysis stanza of a Rollout amounts to, from the templates in the caches.

Source: `argo-rollouts: pkg/apis/rollouts/validation/validation_references.go`, `utils/analysis/helpers.go`. We
differ in one point on purpose: a template in a step is checked with the arguments that the Rollout supplies, and not
with the template's own defaults, so that a `count` that the Rollout passes is seen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from fairlead.analysis._arguments import merge_args, resolve_metrics
from fairlead.analysis._templates import MergedTemplate, NamedTemplate, TemplateError, collect, merge
from fairlead.analysis._verdicts import effective_count
from fairlead.analysis.spec import Argument, DryRun, MeasurementRetention, TemplateSpec, decode_template_spec
from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisTemplate
from fairlead.core.objects import ObjectKey
from fairlead.core.plans import Plan, PlanRequest, TemplateRef

_STAND_IN = "dummy-value"  # for arguments whose value is known only when a measurement is taken
_CACHED_TEMPLATES_MAX = 512


class TemplatePlanner:
    """The AnalysisPlanner of the controller: from views, without a request.

    Args:
        templates: the AnalysisTemplates.
        cluster_templates: the ClusterAnalysisTemplates; None where the kind is not watched (one-namespace mode).
    """

    def __init__(
        self, templates: View[AnalysisTemplate], cluster_templates: View[AnalysisTemplate] | None = None
    ) -> None:
        self._templates = templates
        self._cluster_templates = cluster_templates

    def plan(self, request: PlanRequest) -> Plan:
        """Return the spec of the AnalysisRun to create, or why there can be none."""
        raw: dict[TemplateRef, bytes] = {}

        def lookup(ref: TemplateRef) -> TemplateSpec | None:
            stored = self._find(request.namespace, ref)
            if stored is None:
                return None
            raw[ref] = bytes(stored.spec)
            return _decode(raw[ref])

        try:
            templates = collect(request.templates, lookup)
        except TemplateError as error:
            return Plan(error=str(error), field="templates", value=error.ref.name)
        try:
            merged = merge(
                templates,
                dry_run=[DryRun(metric_name=name) for name in request.dry_run],
                measurement_retention=[
                    MeasurementRetention(metric_name=name, limit=limit) for name, limit in request.measurement_retention
                ],
            )
            args = merge_args(merged.args, request.args)
        except SpecError as error:
            names = " ".join(template.ref.name for template in templates)
            return Plan(error=str(error), field="templates", value=f"templateNames: [{names}]")
        for template in templates:
            problem = _missing(template, request) if request.is_background else _endless(template, args)
            if problem:
                return Plan(error=problem, field="templates", value=template.ref.name)
        # Plain, as they are stored: fields that we do not know reach the run as well.
        metrics = [metric for template in templates for metric in _plain.decode(raw[template.ref]).metrics or ()]
        return Plan(spec=_run_spec(metrics, args, merged))

    def _find(self, namespace: str, ref: TemplateRef) -> AnalysisTemplate | None:
        if not ref.cluster_scope:
            return self._templates.get(ObjectKey(namespace, ref.name))
        return self._cluster_templates.get(ObjectKey("", ref.name)) if self._cluster_templates is not None else None


class _Plain(msgspec.Struct):
    metrics: list[Any] | None = None


_plain = msgspec.json.Decoder(_Plain)


@lru_cache(maxsize=_CACHED_TEMPLATES_MAX)
def _decode(raw: bytes) -> TemplateSpec:
    return decode_template_spec(raw)


def _run_spec(metrics: list[Any], args: tuple[Argument, ...], merged: MergedTemplate) -> dict[str, Any]:
    """Return the run's spec, always with the same keys in the same order; empty parts are left out."""
    parts: dict[str, Any] = {
        "metrics": metrics,
        "args": msgspec.to_builtins(args),
        "dryRun": msgspec.to_builtins(merged.dry_run),
        "measurementRetention": msgspec.to_builtins(merged.measurement_retention),
    }
    return {name: list(part) for name, part in parts.items() if part or name == "metrics"}


def _missing(template: NamedTemplate, request: PlanRequest) -> str:
    """Return what is wrong with a template in the background: an input that the Rollout does not name."""
    supplied = {argument.name for argument in request.args}
    for argument in template.spec.args:
        if argument.value is None and argument.value_from is None and argument.name not in supplied:
            return argument.name if supplied else "missing analysis arguments in rollout spec"
    return ""


def _endless(template: NamedTemplate, args: tuple[Argument, ...]) -> str:
    """Return what is wrong with a template that a step waits for: a metric that never ends, or cannot be resolved."""
    for argument in template.spec.args:
        if argument.value is not None and argument.value_from is not None:
            return f"AnalysisTemplate {template.ref.name}: arg '{argument.name}' has both Value and ValueFrom fields"
    values: dict[str, str | None] = {
        argument.name: _STAND_IN if argument.value is None or argument.value_from is not None else argument.value
        for argument in args
    }
    try:
        metrics = resolve_metrics(template.spec.metrics, values)
    except SpecError as error:
        return f"AnalysisTemplate {template.ref.name}: {error}"
    for metric in metrics:
        if effective_count(metric) is None:
            count = "<nil>" if metric.count is None else metric.count
            return (
                f"AnalysisTemplate {template.ref.name} has metric {metric.name} which runs indefinitely. "
                f"Invalid value for count: {count}"
            )
    return ""
