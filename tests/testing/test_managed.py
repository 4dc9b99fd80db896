"""Field ownership as pure functions: sets, differences, merging, pruning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.testing import managed
from fairlead.testing.managed import Fields, Manager
from fairlead.testing.shapes import ATOMIC, PLAIN, SET, Shape, keyed, of

SHAPE = of(
    spec=of(
        parts=keyed("name", item=of(env=keyed("name"))),
        ports=keyed("port", "protocol", protocol="TCP"),
        tags=SET,
        selector=ATOMIC,
    )
)


def manager(name: str, *paths: tuple[str, ...], operation: str = "Apply") -> Manager:
    return Manager(name=name, operation=operation, api_version="v1", time="now", fields=frozenset(paths))


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        pytest.param({"spec": {"a": 1, "b": {"c": 2}}}, [("f:spec", "f:a"), ("f:spec", "f:b", "f:c")], id="leaves"),
        pytest.param({"spec": {"b": {}}}, [("f:spec", "f:b")], id="an-empty-map-is-a-leaf"),
        pytest.param({"spec": {"list": [{"a": 1}]}}, [("f:spec", "f:list")], id="a-plain-list-is-one-value"),
        pytest.param({"spec": {"selector": {"a": "b"}}}, [("f:spec", "f:selector")], id="an-atomic-map-is-one-value"),
        pytest.param(
            {"spec": {"parts": [{"name": "x", "size": 1}]}},
            [
                ("f:spec", "f:parts", 'k:{"name":"x"}'),
                ("f:spec", "f:parts", 'k:{"name":"x"}', "f:name"),
                ("f:spec", "f:parts", 'k:{"name":"x"}', "f:size"),
            ],
            id="an-item-is-owned-too",
        ),
        pytest.param(
            {"spec": {"ports": [{"port": 80}]}},
            [
                ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}'),
                ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:port"),
            ],
            id="a-key-left-out-has-its-default",
        ),
        pytest.param({"spec": {"tags": ["x"]}}, [("f:spec", "f:tags", 'v:"x"')], id="members-of-a-set"),
        pytest.param(
            {"kind": "Box", "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}}},
            [("f:metadata", "f:labels", "f:a")],
            id="nobody-owns-what-the-server-sets",
        ),
    ],
)
def test_field_sets(value: Any, fields: list[tuple[str, ...]]) -> None:
    assert managed.field_set(value, SHAPE) == frozenset(fields)


def test_fields_v1_marks_what_is_also_a_prefix() -> None:
    fields = managed.field_set({"spec": {"parts": [{"name": "x"}], "a": 1}}, SHAPE)
    rendered = managed.fields_v1(fields)
    assert rendered == {"f:spec": {"f:a": {}, "f:parts": {'k:{"name":"x"}': {".": {}, "f:name": {}}}}}
    entry = {"manager": "m", "operation": "Apply", "apiVersion": "v1", "time": "t", "fieldsV1": rendered}
    (parsed,) = managed.parse([entry])
    assert parsed.fields == fields


@pytest.mark.parametrize(
    ("old", "new", "changed", "removed"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], [], id="equal"),
        pytest.param({"a": 1}, {"a": 2}, [("f:a",)], [], id="changed"),
        pytest.param({"a": 1}, {"a": True}, [("f:a",)], [], id="true-is-not-one"),
        pytest.param({"a": 1, "b": 2}, {"a": 1, "c": 3}, [("f:c",)], [("f:b",)], id="added-and-removed"),
        pytest.param({"a": {"x": 1}}, {"a": "text"}, [("f:a",)], [("f:a", "f:x")], id="another-type"),
        pytest.param({"list": [1, 2]}, {"list": [1]}, [("f:list",)], [], id="a-plain-list-changes-as-one"),
    ],
)
def test_compare(old: Any, new: Any, changed: list[tuple[str, ...]], removed: list[tuple[str, ...]]) -> None:
    assert managed.compare(old, new, PLAIN) == (frozenset(changed), frozenset(removed))


def test_compare_finds_items_by_key_wherever_they_stand() -> None:
    old = {"spec": {"parts": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]}}
    new = {"spec": {"parts": [{"name": "b", "n": 3}, {"name": "a", "n": 1}]}}
    assert managed.compare(old, new, SHAPE) == (
        frozenset({("f:spec", "f:parts", 'k:{"name":"b"}', "f:n")}),
        frozenset(),
    )


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        # As a real API server answered.
        pytest.param("abc", "cxa", "bcxa", id="shared-ones-swap"),
        pytest.param("abc", "xa", "xabc", id="new-before-shared"),
        pytest.param("abc", "cb", "acb", id="reversed"),
        pytest.param("abc", "bx", "abcx", id="new-at-the-end"),
        pytest.param("abc", "xc", "abxc", id="new-before-the-last"),
        pytest.param("abc", "xca", "bxca", id="new-and-swapped"),
        pytest.param("abc", "ca", "bca", id="swapped"),
    ],
)
def test_merge_keeps_the_applied_order_and_lets_others_stay(live: str, applied: str, merged: str) -> None:
    shape = keyed("name")
    ours = [{"name": name, "live": True} for name in live]
    result = managed.merge(ours, [{"name": name, "applied": True} for name in applied], shape)
    assert "".join(item["name"] for item in result) == merged
    assert all(item.get("live", False) == (item["name"] in live) for item in result)
    assert all(item.get("applied", False) == (item["name"] in applied) for item in result)


def test_an_update_moves_ownership_of_exactly_what_changed() -> None:
    old = {"spec": {"a": 1, "b": 2}}
    new = {"spec": {"a": 5, "b": 2}}
    before = (manager("x", ("f:spec", "f:a"), ("f:spec", "f:b")),)
    after = managed.update(old, new, before, manager("y", operation="Update"), SHAPE)
    owned = {one.name: one.fields for one in after}
    assert owned == {"x": frozenset({("f:spec", "f:b")}), "y": frozenset({("f:spec", "f:a")})}


def test_a_manager_without_fields_is_forgotten() -> None:
    old, new = {"spec": {"a": 1}}, {"spec": {"a": 2}}
    after = managed.update(old, new, (manager("x", ("f:spec", "f:a")),), manager("y", operation="Update"), SHAPE)
    assert [one.name for one in after] == ["y"]
    gone = managed.update(new, {"spec": {}}, after, manager("z", operation="Update"), SHAPE)
    assert "y" not in [one.name for one in gone]


def test_applying_less_removes_the_item_but_not_what_others_added_to_it() -> None:
    live = {"spec": {"parts": [{"name": "a", "mine": 1, "theirs": 2}, {"name": "b", "mine": 1}]}}
    item = ("f:spec", "f:parts", 'k:{"name":"a"}')
    mine = manager(
        "me", *managed.field_set({"spec": {"parts": [{"name": "a", "mine": 1}, {"name": "b", "mine": 1}]}}, SHAPE)
    )
    theirs = manager("they", item, (*item, "f:name"), (*item, "f:theirs"))
    merged, managers, conflicts = managed.apply(
        live, {"spec": {}}, (mine, theirs), manager("me", ("f:spec",)), SHAPE, force=False
    )
    assert conflicts == ()
    assert merged == {"spec": {"parts": [{"name": "a", "theirs": 2}]}}
    assert {one.name for one in managers} == {"me", "they"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "y"]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


@given(documents, documents)
def test_what_is_applied_is_there_and_owned(live: dict[str, Any], config: dict[str, Any]) -> None:
    applier = Manager("m", "Apply", "v1", "now", managed.field_set(config, PLAIN))
    merged, managers, conflicts = managed.apply(live, config, (), applier, PLAIN, force=False)
    assert conflicts == ()
    assert managed.merge(merged, config, PLAIN) == merged
    again, _, _ = managed.apply(merged, config, managers, applier, PLAIN, force=False)
    assert again == merged


@given(documents, documents)
def test_whatever_one_applied_alone_goes_with_an_empty_apply(live: dict[str, Any], config: dict[str, Any]) -> None:
    owned: Fields = managed.field_set(config, PLAIN)
    applier = Manager("m", "Apply", "v1", "now", owned)
    merged, managers, _ = managed.apply(live, config, (), applier, PLAIN, force=False)
    nothing = Manager("m", "Apply", "v1", "now", frozenset())
    emptied, _, _ = managed.apply(merged, {}, managers, nothing, PLAIN, force=False)
    assert not managed.field_set(emptied, PLAIN) & owned


@given(documents, documents)
def test_paths_that_compare_names_are_where_the_documents_differ(old: dict[str, Any], new: dict[str, Any]) -> None:
    changed, removed = managed.compare(old, new, PLAIN)
    same = managed.field_set(new, PLAIN) - changed
    assert changed <= managed.field_set(new, PLAIN)
    assert removed <= managed.field_set(old, PLAIN)
    assert same <= managed.field_set(old, PLAIN)


def test_shapes_follow_the_schema() -> None:
    from fairlead.testing import shapes

    schema = {
        "type": "object",
        "properties": {
            "list": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"default": "B"}}},
            },
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
        },
    }
    shape: Shape = shapes.of_custom(schema)
    assert shape.member("list").keys == ("a", "b")
    assert shape.member("list").key_defaults == {"b": "B"}
    assert shape.member("whole").atomic
    assert shape.member("metadata").member("finalizers") == SET
