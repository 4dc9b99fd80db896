"""Label selectors: read, written and matched as the API server does."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.selectors import Requirement, format_selector, from_label_selector, matches, parse


@pytest.mark.parametrize(
    ("text", "terms", "written"),
    [
        pytest.param("", (), "", id="everything"),
        pytest.param("  ", (), "", id="blank"),
        pytest.param("a", (Requirement("a", "Exists"),), "a", id="exists"),
        pytest.param("!a", (Requirement("a", "DoesNotExist"),), "!a", id="does-not-exist"),
        pytest.param("a=b", (Requirement("a", "In", ("b",)),), "a=b", id="equal"),
        pytest.param("a==b", (Requirement("a", "In", ("b",)),), "a=b", id="double-equal"),
        pytest.param("a != b", (Requirement("a", "NotIn", ("b",)),), "a!=b", id="not-equal"),
        pytest.param("a=", (Requirement("a", "In", ("",)),), "a=", id="empty-value"),
        pytest.param("a in (c, b)", (Requirement("a", "In", ("c", "b")),), "a in (b,c)", id="in"),
        pytest.param("a notin (b,c)", (Requirement("a", "NotIn", ("b", "c")),), "a notin (b,c)", id="not-in"),
        pytest.param("in in (in)", (Requirement("in", "In", ("in",)),), "in=in", id="words-as-names"),
        pytest.param(
            "app.kubernetes.io/name=web,tier in (a,b),!legacy",
            (
                Requirement("app.kubernetes.io/name", "In", ("web",)),
                Requirement("tier", "In", ("a", "b")),
                Requirement("legacy", "DoesNotExist"),
            ),
            "app.kubernetes.io/name=web,tier in (a,b),!legacy",
            id="several",
        ),
    ],
)
def test_what_is_read(text: str, terms: tuple[Requirement, ...], written: str) -> None:
    assert parse(text) == terms
    assert format_selector(terms) == written
    assert {frozenset(term.values) for term in parse(written)} == {frozenset(term.values) for term in terms}


@pytest.mark.parametrize(
    ("text", "term"),
    [
        pytest.param("a b", "a b", id="two-words"),
        pytest.param("=b", "=b", id="no-key"),
        pytest.param("a=b=c", "a=b=c", id="two-equal-signs"),
        pytest.param("a>5", "a>5", id="greater-is-not-understood"),
        pytest.param("a<5", "a<5", id="less-is-not-understood"),
        pytest.param("ok,a in (b", "a in (b", id="open-parenthesis"),
        pytest.param("a=(b)", "a=(b)", id="parenthesis-as-value"),
        pytest.param("a,,b", "", id="empty-term"),
        pytest.param("a,", "", id="comma-at-the-end"),
    ],
)
def test_what_is_refused_is_named(text: str, term: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement") as caught:
        parse(text)
    assert str(caught.value) == f"unable to parse requirement: {term!r}"


@pytest.mark.parametrize(
    ("text", "absent", "same", "other"),
    [
        pytest.param("app=web", False, True, False, id="equal"),
        pytest.param("app!=web", True, False, True, id="not-equal-holds-without-the-label"),
        pytest.param("app in (web,db)", False, True, False, id="in"),
        pytest.param("app notin (web,db)", True, False, True, id="not-in-holds-without-the-label"),
        pytest.param("app", False, True, True, id="exists"),
        pytest.param("!app", True, False, False, id="does-not-exist"),
        pytest.param("", True, True, True, id="everything"),
        pytest.param("app=web,!app", False, False, False, id="all-terms-must-hold"),
    ],
)
def test_what_matches(text: str, absent: bool, same: bool, other: bool) -> None:
    selector = parse(text)
    found: list[Mapping[str, str]] = [{"x": "y"}, {"x": "y", "app": "web"}, {"app": "cache"}]
    assert [matches(selector, labels) for labels in found] == [absent, same, other]


def test_a_label_selector_of_an_object() -> None:
    selector = from_label_selector(
        {"tier": "front", "app": "web"},
        [
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "legacy", "operator": "DoesNotExist"},
            {"key": "owner", "operator": "Exists", "values": []},
            {"key": "rack", "operator": "NotIn", "values": ["r1"]},
        ],
    )
    assert format_selector(selector) == "app=web,!legacy,owner,rack!=r1,tier=front,zone in (a,b)"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        pytest.param({"key": "a", "operator": "Gt"}, '"Gt" is not a valid label selector operator', id="unknown"),
        pytest.param({"key": "a"}, '"" is not a valid label selector operator', id="no-operator"),
        pytest.param(
            {"key": "a", "operator": "In"}, "a: for 'in', 'notin' operators, values set can't be empty", id="in-nothing"
        ),
        pytest.param(
            {"key": "a", "operator": "Exists", "values": ["x"]},
            "a: values set must be empty for exists and does not exist",
            id="exists-with-values",
        ),
    ],
)
def test_an_expression_that_cannot_be_is_named(expression: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        from_label_selector({}, [expression])


@given(st.text(alphabet="ab=!,() in\t", max_size=20))
def test_what_is_written_is_read_back(text: str) -> None:
    try:
        selector = parse(text)
    except ValueError:
        return
    again = parse(format_selector(selector))
    for labels in ({}, {"a": "a"}, {"a": "b", "b": ""}, {"in": "n"}):
        assert matches(again, labels) == matches(selector, labels)
