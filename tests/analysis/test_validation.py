"""The rules of a run, with the texts that clients show."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.analysis._validation import dry_run_metrics, retention_limits, validate_metrics
from fairlead.analysis.spec import DryRun, MeasurementRetention, Metric
from fairlead.core.errors import SpecError

WEB = {"provider": {"web": {"url": "http://shop"}}}


def metrics(*fields: dict[str, Any]) -> list[Metric]:
    return [msgspec.convert({"name": f"m{index}", **WEB, **one}, Metric) for index, one in enumerate(fields)]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"consecutiveSuccessLimit": -1}, "consecutiveSuccessLimit must be >= 0"),
        ({"failureLimit": -2}, "failureLimit must be >= 0, or -1 to be disabled"),
        ({"failureLimit": -1}, "failureLimit and consecutiveSuccessLimit cannot both be disabled"),
        ({"inconclusiveLimit": -1}, "inconclusiveLimit must be >= 0"),
        ({"consecutiveErrorLimit": -1}, "consecutiveErrorLimit must be >= 0"),
        (
            {"count": 3, "interval": "1m", "failureLimit": 4},
            "count (3) must be >= failureLimit + consecutiveSuccessLimit (4 + 0) if both >= 0",
        ),
        (
            {"count": "3", "interval": "1m", "failureLimit": 2, "consecutiveSuccessLimit": 2},
            "count (3) must be >= failureLimit + consecutiveSuccessLimit (2 + 2) if both >= 0",
        ),
        (
            {"count": 2, "interval": "1m", "failureLimit": -1, "consecutiveSuccessLimit": 3},
            "count must be >= consecutiveSuccessLimit",
        ),
        ({"count": 1, "inconclusiveLimit": 2}, "count must be >= inconclusiveLimit"),
        ({"count": 2}, "interval must be specified when count > 1"),
        ({"interval": "5"}, 'invalid interval string: time: missing unit in duration "5"'),
        ({"interval": "1d"}, 'invalid interval string: time: unknown unit "d" in duration "1d"'),
        ({"interval": " 5m"}, 'invalid interval string: time: invalid duration " 5m"'),
        ({"interval": "5M"}, 'invalid interval string: time: unknown unit "M" in duration "5M"'),
        ({"initialDelay": "1w"}, 'invalid startDelay string: time: unknown unit "w" in duration "1w"'),
        ({"interval": "2000000h"}, "invalid interval string: 2000000h is longer than a century"),
        ({"provider": {}}, "no provider specified"),
        ({"provider": {"web": {}, "prometheus": {}}}, "multiple providers specified"),
        ({"provider": {"plugin": {"a": {}, "b": {}}}}, "multiple providers specified"),
        ({"provider": {"plugin": {}}}, "no provider specified"),
    ],
)
def test_a_broken_rule_is_named_with_its_metric(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_metrics(metrics({}, fields))
    assert str(caught.value) == f"metrics[1]: {text}"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"count": 1, "failureLimit": 1},
        {"count": "3", "interval": "1m"},
        {"count": "+1"},
        {"count": 0, "interval": "1m"},
        {"interval": "0"},
        {"interval": "1h30m", "count": 3, "failureLimit": 1, "consecutiveSuccessLimit": 2},
        {"failureLimit": -1, "consecutiveSuccessLimit": 2, "interval": "10s"},
        {"successCondition": "((("},
        {"provider": {"plugin": {"ours": {}}}},
    ],
)
def test_what_upstream_accepts_is_accepted(fields: dict[str, Any]) -> None:
    validate_metrics(metrics(fields))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"count": "x"}, 'count: expected a whole number, found "x"'),
        ({"count": ""}, 'count: expected a whole number, found ""'),
        ({"count": "3 "}, 'count: expected a whole number, found "3 "'),
        ({"count": "2.0"}, 'count: expected a whole number, found "2.0"'),
        ({"count": -1}, "count: expected a whole number of 0 or more, found -1"),
        ({"count": "-1"}, "count: expected a whole number of 0 or more, found -1"),
        ({"failureLimit": "none"}, 'failureLimit: expected a whole number, found "none"'),
        ({"inconclusiveLimit": "1e3"}, 'inconclusiveLimit: expected a whole number, found "1e3"'),
        ({"consecutiveErrorLimit": "4x"}, 'consecutiveErrorLimit: expected a whole number, found "4x"'),
        ({"consecutiveSuccessLimit": "two"}, 'consecutiveSuccessLimit: expected a whole number, found "two"'),
        ({"interval": "-1s"}, 'interval: expected a duration of 0 or more, found "-1s"'),
        ({"interval": "-1ns", "count": 3}, 'interval: expected a duration of 0 or more, found "-1ns"'),
        ({"initialDelay": "-1h"}, 'initialDelay: expected a duration of 0 or more, found "-1h"'),
    ],
)
def test_what_upstream_misreads_is_named_with_field_found_and_expected(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_metrics(metrics({}, fields))
    assert str(caught.value) == f"metrics[1].{text}"


def test_no_metrics() -> None:
    with pytest.raises(SpecError, match=r"^no metrics specified$"):
        validate_metrics([])


def test_two_metrics_of_one_name() -> None:
    with pytest.raises(SpecError, match=r"^metrics\[1\]: duplicate name 'a'$"):
        validate_metrics(metrics({"name": "a"}, {"name": "a"}))


def test_the_first_broken_rule_wins() -> None:
    with pytest.raises(SpecError, match=r"^metrics\[0\]: failureLimit must be"):
        validate_metrics(metrics({"failureLimit": -2, "interval": "5", "provider": {}}, {"count": 2}))


def named(*names: str) -> list[Metric]:
    return metrics(*({"name": name} for name in names))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], set()),
        (["success"], {"success-rate", "no-success"}),
        (["^success"], {"success-rate"}),
        ([".*"], {"success-rate", "no-success", "latency"}),
        (["latency", "rate$"], {"latency", "success-rate"}),
    ],
)
def test_dry_run_rules_are_unanchored_expressions(patterns: list[str], expected: set[str]) -> None:
    rules = [DryRun(metric_name=pattern) for pattern in patterns]
    assert dry_run_metrics(rules, named("success-rate", "no-success", "latency")) == expected


@pytest.mark.parametrize("pattern", ["*", "nothing", "(a"])
def test_a_rule_without_a_metric_is_an_error(pattern: str) -> None:
    with pytest.raises(SpecError, match=r"^dryRun\[1\]: Rule didn't match any metric name\(s\)$"):
        dry_run_metrics([DryRun(metric_name="a"), DryRun(metric_name=pattern)], named("a"))
    with pytest.raises(SpecError, match=r"^measurementRetention\[0\]: Rule didn't match any metric name\(s\)$"):
        retention_limits([MeasurementRetention(metric_name=pattern, limit=3)], named("a"))


def test_of_several_retention_rules_the_last_one_counts() -> None:
    rules = [
        MeasurementRetention(metric_name="a", limit=3),
        MeasurementRetention(metric_name="ab", limit=20),
        MeasurementRetention(metric_name="c", limit=0),
    ]
    assert retention_limits(rules, named("a", "ab", "c", "d")) == {"a": 3, "ab": 20, "c": 10, "d": 10}


def test_a_pattern_that_would_stall_a_backtracking_engine_does_not() -> None:
    rules = [DryRun(metric_name="(a*)*b|a")]
    assert dry_run_metrics(rules, named("a" * 200)) == {"a" * 200}
