"""Globs: what a pattern stands for, in both dialects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync._globs import file_glob, glob, is_pattern, name_matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("", "", True, id="empty"),
        pytest.param("web", "web", True, id="literal"),
        pytest.param("web", "web2", False, id="the-whole-text"),
        pytest.param("w.b", "wxb", False, id="a-dot-is-a-dot"),
        pytest.param("team-*", "team-a/b", True, id="star-without-separators"),
        pytest.param("?eb", "web", True, id="one-character"),
        pytest.param("[a-c]x", "bx", True, id="range"),
        pytest.param("[!a-c]x", "bx", False, id="negated-range"),
        pytest.param("[!a-c]x", "dx", True, id="negated-range-other"),
        pytest.param("{dev,prod}-*", "prod-eu", True, id="alternatives"),
        pytest.param("{dev,prod}-*", "test-eu", False, id="no-alternative"),
        pytest.param("{a,{b,c}}", "c", True, id="nested-alternatives"),
        pytest.param(r"\*", "*", True, id="escaped"),
        pytest.param(r"\*", "x", False, id="escaped-is-no-star"),
        pytest.param("a,b", "a,b", True, id="comma-outside"),
        pytest.param("{a", "{a", False, id="open-brace-matches-nothing"),
        pytest.param("[a", "[a", False, id="open-bracket-matches-nothing"),
        pytest.param("a\\", "a\\", False, id="open-escape-matches-nothing"),
        pytest.param("[]", "", False, id="empty-set-matches-nothing"),
        pytest.param("*", "a\nb", True, id="newline"),
    ],
)
def test_glob(pattern: str, text: str, expected: bool) -> None:
    assert glob(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("https://host/*", "https://host/a", True, id="one-part"),
        pytest.param("https://host/*", "https://host/a/b", False, id="star-stops"),
        pytest.param("https://host/**", "https://host/a/b", True, id="two-stars-do-not"),
        pytest.param("a?b", "a/b", False, id="question-mark-stops"),
    ],
)
def test_glob_with_separators(pattern: str, text: str, expected: bool) -> None:
    assert glob(pattern, text, separators="/") is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("*", "Deployment", True, id="star"),
        pytest.param("*.example.com", "a.example.com", True, id="group"),
        pytest.param("", "", True, id="core-group"),
        pytest.param("*", "", True, id="star-and-core-group"),
        pytest.param("{Job,Pod}", "Job", False, id="braces-mean-nothing"),
        pytest.param("[^J]ob", "Job", False, id="negation-is-a-caret"),
        pytest.param("[!J]ob", "!ob", True, id="an-exclamation-mark-is-itself"),
        pytest.param("**", "a/b", False, id="two-stars-are-one"),
    ],
)
def test_file_glob(pattern: str, text: str, expected: bool) -> None:
    assert file_glob(pattern, text) is expected


def test_names_by_regular_expression_or_glob() -> None:
    assert name_matches("/^team-[0-9]+$/", "team-12")
    assert not name_matches("/^team-[0-9]+$/", "team-x")
    assert not name_matches("/(/", "(")
    assert name_matches("team-*", "team-x")


def test_patterns_are_told_from_names() -> None:
    assert not is_pattern("team-a")
    assert all(map(is_pattern, ("team-*", "team-?", "[ab]", "{a,b}")))


@given(st.text(max_size=12), st.text(alphabet="ab*?[]{},\\!^-/", max_size=12))
def test_any_text_is_a_pattern_or_matches_nothing(text: str, pattern: str) -> None:
    assert glob(pattern, text) in (True, False)
    assert file_glob(pattern, text) in (True, False)


@given(st.text(max_size=20))
def test_a_star_stands_for_everything(text: str) -> None:
    assert glob("*", text)
    assert glob("**", text, separators="/")


def test_patterns_of_many_stars_take_no_long_time() -> None:
    assert not glob("*a" * 200 + "b", "a" * 2000)
