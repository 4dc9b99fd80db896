"""The rules of a run, checked on metrics whose placeholders are resolved; the first one broken is reported.

Upstream reads a count that is no number as 0, and takes a negative one, or a negative interval, for one that is over
at once: the run then measures once, whatever was meant. Here they are errors before anything is measured.

Source: `argo-rollouts: utils/analysis/factory.go`, `utils/analysis/helpers.go`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from fairlead.analysis._verdicts import CONSECUTIVE_ERROR_LIMIT, is_number, number
from fairlead.analysis.spec import DryRun, MeasurementRetention, Metric
from fairlead.core import regex
from fairlead.core.durations import parse_go_seconds
from fairlead.core.errors import SpecError

RETENTION = 10  # measurements that are kept of a metric when no rule says otherwise
_LONGEST = timedelta(days=36500)  # what a datetime can be moved by without leaving the calendar


def validate_metrics(metrics: Sequence[Metric]) -> None:
    """Return if a run can be made of these metrics.

    Raises:
        SpecError: with upstream's text; of what upstream misreads, with the field, what was found and expected.
    """
    if not metrics:
        raise SpecError("no metrics specified")
    seen: set[str] = set()
    for index, metric in enumerate(metrics):
        if (wrong := misread(metric)) is not None:
            field, text = wrong
            raise SpecError(text, path=f"metrics[{index}].{field}")
        problem = f"duplicate name '{metric.name}'" if metric.name in seen else problem_of(metric)
        if problem:
            raise SpecError(f"metrics[{index}]: {problem}")
        seen.add(metric.name)


def misread(metric: Metric) -> tuple[str, str] | None:
    """Return the first field that cannot mean what upstream would take it for, and what is wrong; None: there is none.

    >>> misread(Metric(count="x"))
    ('count', 'expected a whole number, found "x"')
    """
    numbers = {
        "count": metric.count,
        "failureLimit": metric.failure_limit,
        "inconclusiveLimit": metric.inconclusive_limit,
        "consecutiveErrorLimit": metric.consecutive_error_limit,
        "consecutiveSuccessLimit": metric.consecutive_success_limit,
    }
    for field, value in numbers.items():
        if isinstance(value, str) and not is_number(value):
            return field, f"expected a whole number, found {json.dumps(value, ensure_ascii=False)}"
    if number(metric.count) < 0:
        return "count", f"expected a whole number of 0 or more, found {metric.count}"
    for field, text in (("interval", metric.interval), ("initialDelay", metric.initial_delay)):
        with suppress(ValueError):  # what is no duration has upstream's text
            if text and parse_go_seconds(text) < 0:
                return field, f'expected a duration of 0 or more, found "{text}"'
    return None


def problem_of(metric: Metric) -> str:
    """Return the first thing that is wrong with a metric, empty if nothing is."""
    providers = len(metric.provider.names)
    if problem := _limits(metric) or _schedule(metric):
        return problem
    if providers == 0:
        return "no provider specified"
    return "multiple providers specified" if providers > 1 else ""


def _limits(metric: Metric) -> str:
    count = number(metric.count)
    failure = number(metric.failure_limit)
    inconclusive = number(metric.inconclusive_limit)
    in_a_row = number(metric.consecutive_success_limit)
    if in_a_row < 0:
        return "consecutiveSuccessLimit must be >= 0"
    if failure < -1:
        return "failureLimit must be >= 0, or -1 to be disabled"
    if failure == -1 and in_a_row == 0:
        return "failureLimit and consecutiveSuccessLimit cannot both be disabled"
    if inconclusive < 0:
        return "inconclusiveLimit must be >= 0"
    if number(metric.consecutive_error_limit, CONSECUTIVE_ERROR_LIMIT) < 0:
        return "consecutiveErrorLimit must be >= 0"
    if count <= 0:
        return ""
    if failure >= 0 and count < failure + in_a_row:
        return (
            f"count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failure} + {in_a_row}) if both >= 0"
        )
    if failure == -1 and count < in_a_row:
        return "count must be >= consecutiveSuccessLimit"
    if count < inconclusive:
        return "count must be >= inconclusiveLimit"
    return ""


def _schedule(metric: Metric) -> str:
    if number(metric.count) > 1 and not metric.interval:
        return "interval must be specified when count > 1"
    for text, name in ((metric.interval, "interval"), (metric.initial_delay, "startDelay")):
        if not text:
            continue
        try:
            seconds = parse_go_seconds(text)
        except ValueError as error:
            return f"invalid {name} string: {error}"
        if abs(seconds) > int(_LONGEST.total_seconds()):
            return f"invalid {name} string: {text} is longer than a century"
    return ""


def dry_run_metrics(rules: Sequence[DryRun], metrics: Sequence[Metric]) -> frozenset[str]:
    """Return the names of the metrics that are measured without counting.

    Raises:
        SpecError: a rule that matches none (a pattern that is no regular expression matches none).
    """
    found: set[str] = set()
    for index, rule in enumerate(rules):
        matched = _matching(rule.metric_name, metrics)
        if not matched:
            raise SpecError(f"dryRun[{index}]: Rule didn't match any metric name(s)")
        found |= matched
    return frozenset(found)


def retention_limits(rules: Sequence[MeasurementRetention], metrics: Sequence[Metric]) -> dict[str, int]:
    """Return how many measurements to keep, by name of metric; of several rules the last one counts.

    Raises:
        SpecError: a rule that matches no metric.
    """
    limits = {metric.name: RETENTION for metric in metrics}
    for index, rule in enumerate(rules):
        matched = _matching(rule.metric_name, metrics)
        if not matched:
            raise SpecError(f"measurementRetention[{index}]: Rule didn't match any metric name(s)")
        limits.update(dict.fromkeys(matched, rule.limit if rule.limit > 0 else RETENTION))
    return limits


def _matching(pattern: str, metrics: Sequence[Metric]) -> set[str]:
    try:
        compiled = regex.compile(pattern)
        return {metric.name for metric in metrics if compiled.test(metric.name)}
    except (regex.RegexError, regex.RegexLimit):
        return set()
