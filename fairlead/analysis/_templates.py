"""Several templates become one: references followed, duplicates dropped, parts put together.

Source: `argo-rollouts: utils/analysis/helpers.go`, `rollout/analysis.go`. Where upstream recurses for ever, a cycle
of references is an error here that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fairlead.analysis.spec import Argument, DryRun, MeasurementRetention, Metric, TemplateSpec
from fairlead.core.errors import SpecError
from fairlead.core.plans import TemplateRef

_DEPTH_MAX = 64  # levels of templates inside templates; nobody nests by hand so deep

Lookup = Callable[[TemplateRef], TemplateSpec | None]
"""Finds a template; None: there is none. SpecError: it cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTemplate:
    """A template beside the reference that found it."""

    ref: TemplateRef
    spec: TemplateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedTemplate:
    """What several templates amount to."""

    metrics: tuple[Metric, ...]
    args: tuple[Argument, ...]
    dry_run: tuple[DryRun, ...]
    measurement_retention: tuple[MeasurementRetention, ...]


class TemplateError(SpecError):
    """A template is missing, is no template, or includes itself; `ref` is the one at fault."""

    def __init__(self, message: str, *, ref: TemplateRef) -> None:
        super().__init__(message)
        self.ref = ref


def kind_of(ref: TemplateRef) -> str:
    """Return the kind that a reference means."""
    return "ClusterAnalysisTemplate" if ref.cluster_scope else "AnalysisTemplate"


def collect(refs: Iterable[TemplateRef], lookup: Lookup) -> tuple[NamedTemplate, ...]:
    """Return the templates that are reachable, namespaced ones first, each once, in the order of first mention.

    Raises:
        TemplateError: a template is missing, cannot be decoded, or includes itself.
    """
    found: dict[TemplateRef, NamedTemplate] = {}
    for ref in refs:
        _visit(ref, lookup, found, ())
    in_order = tuple(found.values())
    return tuple(template for scope in (False, True) for template in in_order if template.ref.cluster_scope is scope)


def _visit(
    ref: TemplateRef, lookup: Lookup, found: dict[TemplateRef, NamedTemplate], path: tuple[TemplateRef, ...]
) -> None:
    if ref in path:
        circle = " -> ".join(step.name for step in (*path[path.index(ref) :], ref))
        raise TemplateError(f"{kind_of(ref)} '{ref.name}' includes itself: {circle}", ref=ref)
    if ref in found:
        return
    if len(path) >= _DEPTH_MAX:
        raise TemplateError(f"{kind_of(ref)} '{ref.name}' is nested more than {_DEPTH_MAX} levels deep", ref=ref)
    try:
        spec = lookup(ref)
    except SpecError as error:
        raise TemplateError(f"{kind_of(ref)} {ref.name}: {error}", ref=ref) from error
    if spec is None:
        raise TemplateError(f"{kind_of(ref)} '{ref.name}' not found", ref=ref)
    found[ref] = NamedTemplate(ref=ref, spec=spec)
    for inner in spec.templates:
        _visit(TemplateRef(inner.template_name, inner.cluster_scope), lookup, found, (*path, ref))


def merge(
    templates: Sequence[NamedTemplate],
    *,
    dry_run: Sequence[DryRun] = (),
    measurement_retention: Sequence[MeasurementRetention] = (),
) -> MergedTemplate:
    """Return the templates put together, in order; the rules of the stanza that uses them come first.

    Raises:
        SpecError: two metrics or two rules of one name, or an argument with two different values.
    """
    specs = [template.spec for template in templates]
    metrics = tuple(metric for spec in specs for metric in spec.metrics)
    _require_unique("two metrics have the same name '{}'", (metric.name for metric in metrics))
    args = merge_declared(argument for spec in specs for argument in spec.args)
    rules = (*dry_run, *(rule for spec in specs for rule in spec.dry_run))
    _require_unique("two Dry-Run metric rules have the same name '{}'", (rule.metric_name for rule in rules))
    retention = (*measurement_retention, *(rule for spec in specs for rule in spec.measurement_retention))
    _require_unique(
        "two Measurement Retention metric rules have the same name '{}'", (rule.metric_name for rule in retention)
    )
    return MergedTemplate(metrics=metrics, args=args, dry_run=rules, measurement_retention=retention)


def merge_declared(args: Iterable[Argument]) -> tuple[Argument, ...]:
    """Return the declared arguments, each once. A later one replaces an earlier one that has no value.

    Raises:
        SpecError: two different values, even if whoever uses the templates supplies a third.
    """
    merged: dict[str, Argument] = {}
    for argument in args:
        earlier = merged.get(argument.name)
        if earlier is None or earlier.value is None:
            merged[argument.name] = argument
        elif argument.value is not None and argument.value != earlier.value:
            raise SpecError(
                f"Argument `{argument.name}` specified multiple times with different values: "
                f"'{earlier.value}', '{argument.value}'"
            )
    return tuple(merged.values())


def _require_unique(text: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SpecError(text.format(name))
        seen.add(name)
