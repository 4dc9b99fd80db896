"""What is wrong with a template, told before it is used."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.analysis.lint import lint
from fairlead.analysis.spec import TemplateSpec

PROMETHEUS = {"prometheus": {"query": "up"}}
GOOD = {"name": "rate", "successCondition": "result[0] > 0.95", "provider": PROMETHEUS}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        pytest.param({}, [], id="good"),
        pytest.param({"successCondition": "result > 0.95"}, [], id="good-on-a-scalar"),
        pytest.param(
            {"successCondition": "result[0] >"},
            ["spec.metrics[0].successCondition: unexpected token EOF"],
            id="syntax",
        ),
        pytest.param(
            {"failureCondition": "value > 1"},
            ["spec.metrics[0].failureCondition: unknown name value"],
            id="unknown-name",
        ),
        pytest.param(
            {"successCondition": "result[0]"},
            ["spec.metrics[0].successCondition: expected bool, but got float64"],
            id="no-bool",
        ),
        pytest.param(
            {"successCondition": ""},
            ["spec.metrics[0]: without a condition every answer with data is a success"],
            id="no-condition",
        ),
        pytest.param(
            {"count": 1, "failureLimit": 1},
            [
                "spec.metrics[0].failureLimit: 1 failures are tolerated and 1 measurements are taken: "
                "the metric can never fail"
            ],
            id="cannot-fail",
        ),
        pytest.param(
            {"provider": {"job": {}}},
            ["spec.metrics[0].successCondition: provider job ignores conditions"],
            id="ignored",
        ),
        pytest.param({"count": 2}, ["spec.metrics[0]: interval must be specified when count > 1"], id="rule-of-a-run"),
        pytest.param(
            {"interval": "1m"},
            [
                "spec.metrics[0].count: without a count the metric goes on until it fails: in a step of a canary "
                "it is refused"
            ],
            id="endless",
        ),
        pytest.param({"successCondition": "result[0] > {{args.known}}"}, [], id="a-known-argument"),
        pytest.param(
            {"successCondition": "result[0] {{args.known}} 1"},
            ['spec.metrics[0].successCondition: unexpected token Number("1")'],
            id="a-known-argument-that-does-not-fit",
        ),
        pytest.param(
            {"successCondition": "result[0] {{args.later}} 1", "count": "{{args.later}}"}, [], id="not-yet-known"
        ),
        pytest.param(
            {"successCondition": "result[0] > {{args.nobody}}"},
            ["spec.metrics[0]: failed to resolve {{args.nobody}}"],
            id="undeclared-argument",
        ),
    ],
)
def test_a_metric(metric: dict[str, Any], expected: list[str]) -> None:
    content = {"metrics": [{**GOOD, **metric}], "args": [{"name": "known", "value": "1"}, {"name": "later"}]}
    findings = lint(msgspec.convert(content, TemplateSpec))
    assert [str(finding).partition(" (1:")[0] for finding in findings] == expected


def test_rules_that_match_nothing() -> None:
    content = {
        "metrics": [GOOD],
        "dryRun": [{"metricName": "*"}],
        "measurementRetention": [{"metricName": "other", "limit": 1}],
    }
    assert [str(finding) for finding in lint(msgspec.convert(content, TemplateSpec))] == [
        "spec.dryRun: dryRun[0]: Rule didn't match any metric name(s)",
        "spec.measurementRetention: measurementRetention[0]: Rule didn't match any metric name(s)",
    ]


def test_what_works_but_is_not_meant_is_no_error() -> None:
    content = {"metrics": [{**GOOD, "count": 1, "failureLimit": 1}, {"name": "b"}]}
    findings = lint(msgspec.convert(content, TemplateSpec))
    assert [(finding.path, finding.is_error) for finding in findings] == [
        ("spec.metrics[0].failureLimit", False),
        ("spec.metrics[1]", True),
    ]
