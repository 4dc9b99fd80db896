"""Several templates become one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.analysis import _templates as templates
from fairlead.analysis.spec import DryRun, TemplateSpec
from fairlead.core.errors import SpecError
from fairlead.core.plans import TemplateRef


def spec(**fields: Any) -> TemplateSpec:
    return msgspec.convert(fields, TemplateSpec)


def includes(*names: str) -> list[dict[str, Any]]:
    return [{"templateName": name.lstrip("@"), "clusterScope": name.startswith("@")} for name in names]


def library(**found: list[str]) -> templates.Lookup:
    """Templates by name with what they include; `@name` is one of the cluster."""
    stored = {
        TemplateRef(name.removeprefix("cluster_"), name.startswith("cluster_")): spec(templates=includes(*inner))
        for name, inner in found.items()
    }
    return stored.get


def ref(name: str) -> TemplateRef:
    return TemplateRef(name.lstrip("@"), name.startswith("@"))


@pytest.mark.parametrize(
    ("found", "asked", "expected"),
    [
        pytest.param({"a": [], "b": []}, ["b", "a"], "b a", id="as-mentioned"),
        pytest.param({"a": ["c"], "b": [], "c": []}, ["a", "b"], "a c b", id="depth-first"),
        pytest.param({"a": ["c"], "b": ["c"], "c": []}, ["a", "b"], "a c b", id="each-once"),
        pytest.param({"a": [], "b": ["a"]}, ["a", "b", "a"], "a b", id="mentioned-twice"),
        pytest.param({"cluster_a": [], "b": []}, ["@a", "b"], "b @a", id="namespaced-ones-first"),
        pytest.param({"a": [], "cluster_a": []}, ["@a", "a"], "a @a", id="one-name-two-scopes"),
        pytest.param(
            {"cluster_a": ["b"], "b": []}, ["@a"], "b @a", id="a-cluster-template-includes-from-the-namespace"
        ),
    ],
)
def test_references_are_followed(found: dict[str, list[str]], asked: list[str], expected: str) -> None:
    collected = templates.collect([ref(name) for name in asked], library(**found))
    shown = [f"@{one.ref.name}" if one.ref.cluster_scope else one.ref.name for one in collected]
    assert " ".join(shown) == expected


@pytest.mark.parametrize(
    ("found", "asked", "text", "culprit"),
    [
        ({}, "a", "AnalysisTemplate 'a' not found", "a"),
        ({}, "@a", "ClusterAnalysisTemplate 'a' not found", "@a"),
        ({"a": ["b"]}, "a", "AnalysisTemplate 'b' not found", "b"),
        ({"a": ["a"]}, "a", "AnalysisTemplate 'a' includes itself: a -> a", "a"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "a", "AnalysisTemplate 'b' includes itself: b -> c -> b", "b"),
        ({"cluster_a": ["@a"]}, "@a", "ClusterAnalysisTemplate 'a' includes itself: a -> a", "@a"),
    ],
)
def test_a_reference_that_cannot_be_followed(found: dict[str, list[str]], asked: str, text: str, culprit: str) -> None:
    with pytest.raises(templates.TemplateError) as caught:
        templates.collect([ref(asked)], library(**found))
    assert str(caught.value) == text
    assert caught.value.ref == ref(culprit)


def test_a_tower_of_templates_is_refused_before_the_stack_is_full() -> None:
    tower = {f"t{level}": [f"t{level + 1}"] for level in range(5000)}
    with pytest.raises(templates.TemplateError, match="nested more than 64 levels deep"):
        templates.collect([ref("t0")], library(**tower))


def named(*specs: TemplateSpec) -> list[templates.NamedTemplate]:
    return [templates.NamedTemplate(ref=TemplateRef(f"t{index}"), spec=one) for index, one in enumerate(specs)]


def test_the_parts_are_put_one_behind_the_other_and_own_rules_first() -> None:
    merged = templates.merge(
        named(
            spec(metrics=[{"name": "a"}], dryRun=[{"metricName": "a"}], measurementRetention=[{"metricName": "a"}]),
            spec(metrics=[{"name": "b"}], dryRun=[{"metricName": "b"}]),
        ),
        dry_run=[DryRun(metric_name="c")],
    )
    assert [metric.name for metric in merged.metrics] == ["a", "b"]
    assert [rule.metric_name for rule in merged.dry_run] == ["c", "a", "b"]
    assert [rule.metric_name for rule in merged.measurement_retention] == ["a"]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("metrics", "two metrics have the same name 'a'"),
        ("dryRun", "two Dry-Run metric rules have the same name 'a'"),
        ("measurementRetention", "two Measurement Retention metric rules have the same name 'a'"),
    ],
)
def test_a_name_twice(part: str, text: str) -> None:
    field = "name" if part == "metrics" else "metricName"
    one = spec(**{part: [{field: "a"}]})
    with pytest.raises(SpecError) as caught:
        templates.merge(named(one, one))
    assert str(caught.value) == text


def test_a_rule_of_the_stanza_collides_with_one_of_a_template() -> None:
    with pytest.raises(SpecError, match=r"^two Dry-Run metric rules have the same name 'a'$"):
        templates.merge(named(spec(dryRun=[{"metricName": "a"}])), dry_run=[DryRun(metric_name="a")])


SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param({}, {"value": "1"}, {"value": "1"}, id="a-value-fills-a-gap"),
        pytest.param({"value": "1"}, {}, {"value": "1"}, id="a-gap-does-not-empty-a-value"),
        pytest.param({"value": "1"}, {"value": "1"}, {"value": "1"}, id="equal-values"),
        pytest.param({"valueFrom": SECRET}, {"value": "1"}, {"value": "1"}, id="a-value-replaces-a-secret"),
        pytest.param({"value": "1"}, {"valueFrom": SECRET}, {"value": "1"}, id="a-secret-does-not-replace-a-value"),
        pytest.param({"valueFrom": SECRET}, {}, {}, id="a-later-one-replaces-a-secret"),
    ],
)
def test_one_argument_declared_twice(first: dict[str, Any], second: dict[str, Any], expected: dict[str, Any]) -> None:
    merged = templates.merge(named(spec(args=[{"name": "x", **first}]), spec(args=[{"name": "x", **second}])))
    assert merged.args == spec(args=[{"name": "x", **expected}]).args


def test_two_different_values_conflict() -> None:
    with pytest.raises(SpecError) as caught:
        templates.merge(named(spec(args=[{"name": "x", "value": "1"}]), spec(args=[{"name": "x", "value": "2"}])))
    assert str(caught.value) == "Argument `x` specified multiple times with different values: '1', '2'"
