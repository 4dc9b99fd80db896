"""Merge patches: apply (RFC 7386, appendix A) and diff."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.patches import diff, merge


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=range(1, 16),
)
def test_the_examples_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert merge(target, patch) == result
    assert (target, patch) == before, "neither argument is changed"


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        pytest.param({"a": 1}, {"a": 1}, {}, id="equal"),
        pytest.param({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}}, {"a": None, "b": {"c": 3}}, id="nested"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}, id="emptied"),
        pytest.param({}, {"a": {}}, {"a": {}}, id="empty-mapping-added"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, {"a": [1]}, id="lists-are-values"),
        pytest.param({"a": 1}, {"a": True}, {"a": True}, id="true-is-not-one"),
        pytest.param({"a": 1}, {"a": 1.0}, {"a": 1.0}, id="a-float-is-not-an-integer"),
        pytest.param({"a": "x"}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="value-to-mapping"),
        pytest.param({"a": {"b": 1}}, {"a": "x"}, {"a": "x"}, id="mapping-to-value"),
    ],
)
def test_the_smallest_patch(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]) -> None:
    found = diff(old, new)
    assert found == patch
    assert [type(value) for value in found.values()] == [type(value) for value in patch.values()]


JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENT = st.dictionaries(st.text("abc", max_size=1), JSON, max_size=4)


@given(DOCUMENT, DOCUMENT)
def test_the_diff_leads_from_the_old_to_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, diff(old, new)) == new
    assert diff(new, new) == {}
