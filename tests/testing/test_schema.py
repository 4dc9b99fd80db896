"""Structural schemas: what is dropped, filled in and refused, and where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.testing import schema

S: dict[str, Any] = {"type": "string"}
KEEP: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("value", "shape", "left", "dropped"),
    [
        pytest.param({"a": "x", "b": 1}, obj(a=S), {"a": "x"}, ["b"], id="unknown"),
        pytest.param({"a": {"b": 1}}, obj(a=KEEP), {"a": {"b": 1}}, [], id="preserved"),
        pytest.param(
            {"a": {"b": {"x": 1}}},
            obj(a={**KEEP, "properties": {"b": obj()}}),
            {"a": {"b": {}}},
            ["a.b.x"],
            id="named-below-preserved",
        ),
        pytest.param(
            {"a": {"k": {"x": 1}}}, obj(a={"additionalProperties": obj(y=S)}), {"a": {"k": {}}}, ["a.k.x"], id="map"
        ),
        pytest.param({"a": [{"x": 1}, {}]}, obj(a={"items": obj()}), {"a": [{}, {}]}, ["a[0].x"], id="list"),
        pytest.param(
            {"metadata": {"name": "n"}, "kind": "K", "apiVersion": "v"},
            obj(),
            {"metadata": {"name": "n"}, "kind": "K", "apiVersion": "v"},
            [],
            id="type-meta",
        ),
        pytest.param({"a": {"metadata": {"x": 1}}}, obj(a=obj()), {"a": {}}, ["a.metadata"], id="no-type-meta-below"),
        pytest.param(
            {"a": {"kind": "Pod", "x": 1}},
            obj(a={**obj(), "x-kubernetes-embedded-resource": True}),
            {"a": {"kind": "Pod"}},
            ["a.x"],
            id="embedded",
        ),
        pytest.param({"a": {"any": 1}}, obj(a={"additionalProperties": True}), {"a": {"any": 1}}, [], id="any-values"),
    ],
)
def test_prune(value: Any, shape: dict[str, Any], left: Any, dropped: list[str]) -> None:
    assert schema.prune(value, shape) == dropped
    assert value == left


@pytest.mark.parametrize(
    ("value", "shape", "filled"),
    [
        pytest.param({}, obj(a={**S, "default": "x"}), {"a": "x"}, id="absent"),
        pytest.param({"a": None}, obj(a={**S, "default": "x"}), {"a": "x"}, id="null"),
        pytest.param({"a": None}, obj(a={**S, "default": "x", "nullable": True}), {"a": None}, id="nullable"),
        pytest.param({"a": None}, obj(a=S), {"a": None}, id="null-without-default"),
        pytest.param({}, obj(a={**obj(b={"default": 1}), "default": {}}), {"a": {"b": 1}}, id="inside-a-default"),
        pytest.param({}, obj(a=obj(b={"default": 1})), {}, id="nothing-inside-what-is-absent"),
        pytest.param({"a": [{}]}, obj(a={"items": obj(b={"default": 1})}), {"a": [{"b": 1}]}, id="in-a-list"),
        pytest.param(
            {"a": {"k": {}}},
            obj(a={"additionalProperties": obj(b={"default": 1})}),
            {"a": {"k": {"b": 1}}},
            id="in-a-map",
        ),
    ],
)
def test_default(value: Any, shape: dict[str, Any], filled: Any) -> None:
    schema.default(value, shape)
    assert value == filled


def test_defaults_are_not_shared_between_objects() -> None:
    shape = obj(a={"type": "array", "default": [1]})
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    schema.default(first, shape)
    schema.default(second, shape)
    first["a"].append(2)
    assert second == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "shape", "found"),
    [
        pytest.param({"a": "x"}, obj(a=S), [], id="good"),
        pytest.param({"a": 1.0}, obj(a={"type": "integer"}), [], id="a-whole-float-is-an-integer"),
        pytest.param({"a": True}, obj(a={"type": "integer"}), ["a"], id="true-is-no-integer"),
        pytest.param({"a": 1}, obj(a={"type": "number"}), [], id="an-integer-is-a-number"),
        pytest.param({"a": None}, obj(a=S), ["a"], id="null"),
        pytest.param({"a": None}, obj(a={**S, "nullable": True}), [], id="nullable"),
        pytest.param({}, {**obj(a=S), "required": ["a"]}, ["a"], id="required"),
        pytest.param({"a": "x"}, obj(a={**S, "minLength": 2}), ["a"], id="too-short"),
        pytest.param({"a": "xyz"}, obj(a={**S, "maxLength": 2}), ["a"], id="too-long"),
        pytest.param(
            {"a": 2}, obj(a={"type": "integer", "minimum": 2, "exclusiveMinimum": True}), ["a"], id="exclusive"
        ),
        pytest.param({"a": 3}, obj(a={"type": "integer", "multipleOf": 2}), ["a"], id="multiple"),
        pytest.param({"a": []}, obj(a={"type": "array", "minItems": 1}), ["a"], id="too-few"),
        pytest.param({"a": {}}, obj(a={"type": "object", "minProperties": 1}), ["a"], id="too-few-members"),
        pytest.param({"a": "no date"}, obj(a={**S, "format": "date-time"}), ["a"], id="date"),
        pytest.param({"a": "2026-01-01T00:00:00Z"}, obj(a={**S, "format": "date-time"}), [], id="good-date"),
        pytest.param({"a": 1}, obj(a={"allOf": [{"minimum": 2}, {"maximum": 0}]}), ["a", "a"], id="all-of"),
        pytest.param({"a": 5}, obj(a={"anyOf": [{"maximum": 1}, {"maximum": 2}]}), ["a"], id="any-of"),
        pytest.param({"a": 1}, obj(a={"anyOf": [{"type": "string"}, {"type": "integer"}]}), [], id="one-of-the-types"),
        pytest.param({"a": 1}, obj(a={"oneOf": [{"minimum": 0}, {"minimum": 1}]}), ["a"], id="both-of-one"),
        pytest.param({"a": 1}, obj(a={"not": {"minimum": 0}}), ["a"], id="not"),
        pytest.param({"metadata": {"name": 1}}, obj(), [], id="metadata-is-not-the-schemas-business"),
    ],
)
def test_validate(value: Any, shape: dict[str, Any], found: list[str]) -> None:
    assert [cause.field for cause in schema.validate(value, shape)] == found


FROZEN = {**S, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}]}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        pytest.param({"a": "x"}, {"a": "x"}, [], id="same"),
        pytest.param({"a": "x"}, {"a": "y"}, ["a"], id="changed"),
        pytest.param({}, {"a": "y"}, [], id="set-for-the-first-time"),
        pytest.param(None, {"a": "y"}, [], id="created"),
    ],
)
def test_immutability(old: Any, new: Any, found: list[str]) -> None:
    causes = schema.validate(new, obj(a=FROZEN), old=old)
    assert [cause.field for cause in causes] == found
    assert all("stays" in cause.message for cause in causes)


def test_immutability_inside_keyed_lists_follows_the_key() -> None:
    items = obj(name=S, value=FROZEN)
    shape = obj(
        a={"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    )
    old = {"a": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}]}
    moved = {"a": [{"name": "y", "value": "2"}, {"name": "x", "value": "1"}]}
    changed = {"a": [{"name": "y", "value": "1"}, {"name": "x", "value": "1"}]}
    assert schema.validate(moved, shape, old=old) == []
    assert [cause.field for cause in schema.validate(changed, shape, old=old)] == ["a[0].value"]


def test_rules_of_cel_that_we_do_not_know_pass() -> None:
    shape = obj(a={**S, "x-kubernetes-validations": [{"rule": "self.startsWith('x')"}]})
    assert schema.validate({"a": "y"}, shape) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_any_value_is_judged_without_failing(value: Any) -> None:
    shape = obj(a={"type": "array", "items": obj(b={"type": "integer", "default": 1})}, c={"additionalProperties": S})
    document = {"a": value, "c": value, "b": value}
    schema.prune(document, shape)
    schema.default(document, shape)
    for cause in schema.validate(document, shape):
        assert cause.field.startswith(("a", "c"))
        assert cause.message
