"""Which fields a manager owns, and an object without them."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._fieldsets import item_fields, keys_of, owned, released, union, without
from tests.agentsync.builders_diff import deployment, manager, read

WEB = 'k:{"name":"web"}'


@pytest.mark.parametrize(
    ("found", "fields", "left"),
    [
        pytest.param({"a": 1, "b": 2}, {"f:a": {}}, {"b": 2}, id="leaf"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"f:a": {"f:b": {}}}, {"a": {"c": 2}}, id="deep"),
        pytest.param({"a": {"b": 1}}, {"f:a": {"f:b": {}}}, {"a": {}}, id="a-map-that-is-not-ours-stays"),
        pytest.param({"a": {"b": 1}}, {"f:a": {".": {}, "f:b": {}}}, {}, id="a-map-that-is-ours-goes"),
        pytest.param(
            {"a": {"b": 1, "c": 1}}, {"f:a": {".": {}, "f:b": {}}}, {"a": {"c": 1}}, id="unless-others-filled-it"
        ),
        pytest.param({"a": 1}, {"f:b": {}, "f:c": {"f:d": {}}}, {"a": 1}, id="what-is-not-there"),
        pytest.param(
            {"c": [{"name": "web", "image": "1", "tty": True}, {"name": "b", "image": "1"}]},
            {"f:c": {WEB: {".": {}, "f:name": {}, "f:image": {}}}},
            {"c": [{"name": "web", "tty": True}, {"name": "b", "image": "1"}]},
            id="fields-of-an-item-but-never-its-key",
        ),
        pytest.param(
            {"c": [{"name": "web", "image": "1"}, {"name": "b"}]},
            {"f:c": {WEB: {".": {}, "f:name": {}, "f:image": {}}}},
            {"c": [{"name": "b"}]},
            id="an-item-that-is-all-ours",
        ),
        pytest.param({"c": ["a", "b"]}, {"f:c": {'v:"a"': {}}}, {"c": ["b"]}, id="an-item-by-value"),
        pytest.param({"c": [1, True]}, {"f:c": {"v:1": {}}}, {"c": [True]}, id="true-is-not-1"),
        pytest.param({"c": ["a", "b"]}, {"f:c": {"i:1": {}}}, {"c": ["a"]}, id="an-item-by-place"),
        pytest.param(
            {"p": [{"port": 80}]},
            {"f:p": {'k:{"port":80,"protocol":"TCP"}': {}}},
            {"p": []},
            id="a-key-that-defaults",
        ),
        pytest.param(
            {"c": [{"name": "web"}]}, {"f:c": {"k:nonsense": {}, "x:": {}}}, {"c": [{"name": "web"}]}, id="nonsense"
        ),
    ],
)
def test_without(found: Any, fields: Any, left: Any) -> None:
    result = without(found, fields)
    assert result == left
    if left == found:
        assert result is found


def test_what_others_own_or_the_target_has_is_not_released() -> None:
    fields: dict[str, Any] = {"f:a": {}, "f:b": {}, "f:c": {}}
    assert released({"a": 1, "b": 2, "c": 3}, fields, {"f:a": {}}, {"b": 9}) == {"a": 1, "b": 2}
    found = {"a": 1}
    assert released(found, fields, {"f:a": {}}, {}) is found


def test_what_is_released_takes_the_defaults_in_it_along() -> None:
    ours: dict[str, Any] = {"f:probe": {"f:port": {}}, "f:items": {WEB: {".": {}, "f:name": {}, "f:image": {}}}}
    found = {
        "probe": {"port": 1, "timeout": 1},
        "items": [{"name": "web", "image": "1", "policy": "Always"}, {"name": "b"}],
    }
    assert released(found, ours, {}, {}) == {}
    assert released(found, ours, {}, {"items": []}) == {"items": [{"name": "b"}]}
    others: dict[str, Any] = {"f:probe": {"f:timeout": {}}, "f:items": {WEB: {"f:policy": {}}}}
    assert released(found, ours, others, {}) == {
        "probe": {"timeout": 1},
        "items": [{"name": "web", "policy": "Always"}, {"name": "b"}],
    }


def test_the_sets_of_the_chosen_managers_are_joined() -> None:
    live = read(
        deployment(),
        managers=[
            manager("hpa", {"f:spec": {"f:replicas": {}}}, "Update", subresource="scale"),
            manager("we", {"f:spec": {"f:template": {"f:spec": {}}}}),
            manager("hpa", {"f:metadata": {"f:labels": {}}}, "Update"),
        ],
    )
    found = owned(live, lambda entry: entry["manager"] == "hpa")
    assert found == {"f:spec": {"f:replicas": {}}, "f:metadata": {"f:labels": {}}}


def test_managed_fields_that_are_none_own_nothing() -> None:
    for managers in ("odd", [1, {"manager": "a"}, {"manager": "a", "fieldsV1": "odd"}, {"fieldsV1": {"f:a": 1}}]):
        live = {"metadata": {"managedFields": managers}}
        assert owned(live, lambda _: True) == {}


def test_union_and_items() -> None:
    assert union(({"f:a": {"f:b": {}}}, {"f:a": {"f:c": {}}})) == {"f:a": {"f:b": {}, "f:c": {}}}
    assert keys_of('k:{"port":80}') == {"port": 80}
    assert keys_of("k:[") == {}
    assert item_fields({WEB: {"f:image": {}}}, {"name": "web"}) == {"f:image": {}}
    assert item_fields({WEB: {"f:image": {}}}, {"name": "other"}) == {}
