"""JSON patches by RFC 6902, strategic merge patches by their directives."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.testing.patching import PatchError, json_patch, strategic_merge
from fairlead.testing.shapes import PLAIN, SET, keyed, of

Operations = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        # The examples of RFC 6902, appendix A.
        pytest.param(
            {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "q"}], {"foo": "bar", "baz": "q"}, id="A1"
        ),
        pytest.param(
            {"foo": ["bar", "baz"]},
            [{"op": "add", "path": "/foo/1", "value": "qux"}],
            {"foo": ["bar", "qux", "baz"]},
            id="A2",
        ),
        pytest.param({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}, id="A3"),
        pytest.param({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}, id="A4"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}, id="A5"),
        pytest.param(
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
            id="A6",
        ),
        pytest.param(
            {"foo": ["all", "grass", "cows", "eat"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["all", "cows", "eat", "grass"]},
            id="A7",
        ),
        pytest.param(
            {"baz": "qux", "foo": ["a", 2, "c"]},
            [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
            {"baz": "qux", "foo": ["a", 2, "c"]},
            id="A8",
        ),
        pytest.param(
            {"foo": "bar"}, [{"op": "add", "path": "/child", "value": {}}], {"foo": "bar", "child": {}}, id="A10"
        ),
        pytest.param({}, [{"op": "add", "path": "/a", "value": 1, "xyz": 123}], {"a": 1}, id="A11-unknown-members"),
        pytest.param({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}, id="A14"),
        pytest.param({"a": ["b"]}, [{"op": "add", "path": "/a/-", "value": ["c"]}], {"a": ["b", ["c"]]}, id="A16"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1], id="the-whole"),
        pytest.param({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}, id="copy"),
        pytest.param({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}, id="null-is-a-value"),
    ],
)
def test_json_patch(document: Any, operations: Operations, result: Any) -> None:
    assert json_patch(document, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param({"op": "test", "path": "/a", "value": 2}, id="test-fails"),
        pytest.param({"op": "test", "path": "/a", "value": True}, id="true-is-not-one"),
        pytest.param({"op": "test", "path": "/none", "value": None}, id="absent-is-not-null"),
        pytest.param({"op": "remove", "path": "/none"}, id="nothing-to-remove"),
        pytest.param({"op": "replace", "path": "/none", "value": 1}, id="nothing-to-replace"),
        pytest.param({"op": "add", "path": "/none/below", "value": 1}, id="A12-no-parent"),
        pytest.param({"op": "add", "path": "/list/5", "value": 1}, id="beyond-the-end"),
        pytest.param({"op": "add", "path": "/list/01", "value": 1}, id="leading-zero"),
        pytest.param({"op": "remove", "path": "/list/-"}, id="no-element-there"),
        pytest.param({"op": "add", "path": "/a/b", "value": 1}, id="into-a-scalar"),
        pytest.param({"op": "add", "path": "a", "value": 1}, id="no-pointer"),
        pytest.param({"op": "add", "path": "/a"}, id="no-value"),
        pytest.param({"op": "move", "from": "/map", "path": "/map/in"}, id="into-itself"),
        pytest.param({"op": "swap", "path": "/a"}, id="unknown-operation"),
        pytest.param({"path": "/a"}, id="no-operation"),
    ],
)
def test_json_patch_refuses(operation: dict[str, Any]) -> None:
    document = {"a": 1, "list": [1, 2], "map": {"in": 1}}
    with pytest.raises(PatchError):
        json_patch(document, [{"op": "add", "path": "/b", "value": 1}, operation])
    assert document == {"a": 1, "list": [1, 2], "map": {"in": 1}}


SHAPE = of(
    containers=keyed("name", item=of(ports=keyed("containerPort", "protocol"))),
    finalizers=SET,
)


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": None, "c": 3}, {"b": 2, "c": 3}, id="null-removes"),
        pytest.param({"plain": [1, 2]}, {"plain": [3]}, {"plain": [3]}, id="a-plain-list-is-replaced"),
        pytest.param(
            {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]},
            {"containers": [{"name": "a", "image": "2"}, {"name": "c"}]},
            {"containers": [{"name": "a", "image": "2"}, {"name": "b"}, {"name": "c"}]},
            id="by-merge-key",
        ),
        pytest.param(
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"containers": [{"name": "a", "$patch": "delete"}]},
            {"containers": [{"name": "b"}]},
            id="delete-an-item",
        ),
        pytest.param(
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"containers": [{"name": "c"}, {"$patch": "replace"}]},
            {"containers": [{"name": "c"}]},
            id="replace-the-list",
        ),
        pytest.param({"m": {"a": 1}}, {"m": {"b": 2, "$patch": "replace"}}, {"m": {"b": 2}}, id="replace-a-map"),
        pytest.param({"m": {"a": 1}}, {"m": {"$patch": "delete"}}, {"m": {}}, id="delete-a-map"),
        pytest.param(
            {"strategy": {"type": "Rolling", "rolling": {"x": 1}}},
            {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}},
            {"strategy": {"type": "Recreate"}},
            id="retain-keys",
        ),
        pytest.param({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["a", "b"]}, id="a-set-merges"),
        pytest.param(
            {"finalizers": ["a", "b"]},
            {"$deleteFromPrimitiveList/finalizers": ["a"]},
            {"finalizers": ["b"]},
            id="delete-from-a-set",
        ),
        pytest.param(
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]},
            {"containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]},
            id="order",
        ),
        pytest.param(
            {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}]},
            {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "y"}]}]},
            {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "y"}]}]},
            id="nested-keys",
        ),
    ],
)
def test_strategic_merge(live: Any, patch: dict[str, Any], result: Any) -> None:
    assert strategic_merge(live, patch, SHAPE) == result


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"containers": [{"image": "x"}]}, id="no-merge-key"),
        pytest.param({"a": {"$patch": "explode"}}, id="unknown-directive"),
    ],
)
def test_strategic_merge_refuses(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        strategic_merge({"containers": []}, patch, SHAPE)


def test_strategic_merge_without_a_shape_is_a_merge() -> None:
    assert strategic_merge({"a": {"b": 1}}, {"a": {"c": 2}}, PLAIN) == {"a": {"b": 1, "c": 2}}
