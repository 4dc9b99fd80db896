"""What is wrong, or probably not meant, in templates and runs: told offline, before anything is measured.

A run is never refused for what is found here: what upstream accepts runs, and shows its mistakes when it measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.analysis._arguments import SECRET_PLACEHOLDER, is_secret, resolve_metrics
from fairlead.analysis._expressions import ExpressionError, Type, Value, check
from fairlead.analysis._expressions._types import BOOL, FLOAT, FLOATS, LIST, MAP, NIL, UNKNOWN
from fairlead.analysis._validation import dry_run_metrics, misread, problem_of, retention_limits
from fairlead.analysis._verdicts import effective_count, number
from fairlead.analysis.spec import Argument, DryRun, MeasurementRetention, Metric, RunSpec, TemplateSpec
from fairlead.core.errors import SpecError

# What a condition may be evaluated on; it is wrong if it cannot work on any of these.
_RESULTS: dict[str, tuple[Type, ...]] = {
    "prometheus": (FLOATS, FLOAT),
    "web": (UNKNOWN,),
    "datadog": (FLOAT, FLOATS, NIL),
    "wavefront": (FLOAT, FLOATS),
    "newRelic": (MAP, LIST),
    "cloudWatch": (Value.cloudwatch(()).type,),
    "graphite": (FLOATS,),
    "influxdb": (LIST,),
    "skywalking": (MAP,),
}
_STAND_IN = "1"  # for arguments that are supplied later; most of them are numbers where a type matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at.

    Attributes:
        path: the field, such as `spec.metrics[0].successCondition`.
        text: what is wrong with it.
        is_error: it cannot work; otherwise it works, and is probably not meant.
    """

    path: str
    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def lint(spec: TemplateSpec | RunSpec) -> tuple[Finding, ...]:
    """Return everything that is wrong with a template or a run, in the order of its fields.

    Arguments without a value are taken as supplied. Templates that it includes are not looked at.
    """
    values = {argument.name: _stand_in(argument) for argument in spec.args}
    metrics: list[Metric] = []
    findings: list[Finding] = []
    for index, metric in enumerate(spec.metrics):
        path = f"spec.metrics[{index}]"
        try:
            (resolved,) = resolve_metrics((metric,), values)
        except SpecError as error:
            findings.append(Finding(path=path, text=str(error)))
            continue
        metrics.append(resolved)
        is_certain = not any(_uses(metric, argument) for argument in spec.args if argument.value is None)
        findings += _of_metric(path, resolved, is_certain=is_certain)
    findings += _of_rules(spec.dry_run, spec.measurement_retention, metrics)
    return tuple(findings)


def _stand_in(argument: Argument) -> str:
    if is_secret(argument):
        return SECRET_PLACEHOLDER
    return _STAND_IN if argument.value is None else argument.value


def _uses(metric: Metric, argument: Argument) -> bool:
    """Whether a metric's verdict depends on an argument whose value is not known yet."""
    limits = (metric.count, metric.failure_limit, metric.inconclusive_limit, metric.consecutive_error_limit)
    texts = (metric.interval, metric.initial_delay, metric.success_condition, metric.failure_condition, *limits)
    return any(f"args.{argument.name}" in text for text in texts if isinstance(text, str))


def _of_metric(path: str, metric: Metric, *, is_certain: bool) -> Iterator[Finding]:
    # What depends on a value that is supplied later cannot be judged by a stand-in.
    if is_certain and (wrong := misread(metric)) is not None:
        yield Finding(path=f"{path}.{wrong[0]}", text=wrong[1])
    elif is_certain and (problem := problem_of(metric)):
        yield Finding(path=path, text=problem)
    yield from _of_conditions(path, metric, is_certain=is_certain)
    count, failures = number(metric.count), number(metric.failure_limit)
    if is_certain and 0 < count <= failures:
        text = f"{failures} failures are tolerated and {count} measurements are taken: the metric can never fail"
        yield Finding(path=f"{path}.failureLimit", text=text, is_error=False)
    if is_certain and effective_count(metric) is None and number(metric.consecutive_success_limit) <= 0:
        text = "without a count the metric goes on until it fails: in a step of a canary it is refused"
        yield Finding(path=f"{path}.count", text=text, is_error=False)


def _of_conditions(path: str, metric: Metric, *, is_certain: bool) -> Iterator[Finding]:
    name = next(iter(metric.provider.names), "")
    conditions = {
        f"{path}.successCondition": metric.success_condition,
        f"{path}.failureCondition": metric.failure_condition,
    }
    if name and name not in _RESULTS:
        for where, condition in conditions.items():
            if condition:
                yield Finding(path=where, text=f"provider {name} ignores conditions", is_error=False)
        return
    if name and not any(conditions.values()):
        yield Finding(path=path, text="without a condition every answer with data is a success", is_error=False)
    for where, condition in conditions.items():
        if condition and is_certain and (problem := _problem(condition, _RESULTS.get(name, (UNKNOWN,)))):
            yield Finding(path=where, text=problem)


def _problem(condition: str, types: Sequence[Type]) -> str:
    problems: list[str] = []
    for type_ in types:
        try:
            found = check(condition, type_)
        except ExpressionError as error:
            problems.append(error.text)
            continue
        if found.kind in (BOOL.kind, UNKNOWN.kind):
            return ""
        problems.append(f"expected bool, but got {found.go}")
    return problems[0]


def _of_rules(
    dry_run: Sequence[DryRun], retention: Sequence[MeasurementRetention], metrics: Sequence[Metric]
) -> Iterator[Finding]:
    try:
        dry_run_metrics(dry_run, metrics)
    except SpecError as error:
        yield Finding(path="spec.dryRun", text=str(error))
    try:
        retention_limits(retention, metrics)
    except SpecError as error:
        yield Finding(path="spec.measurementRetention", text=str(error))
