"""The linear-time engine: RE2's syntax and answers, Go's error texts, and no pattern that stalls."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core import regex

Spans = tuple[tuple[int, int] | None, ...]


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        pytest.param("success", "no-success-rate", ((3, 10),), id="unanchored"),
        pytest.param("^success$", "no-success", None, id="anchors"),
        pytest.param(".*", "error-rate", ((0, 10),), id="everything"),
        pytest.param("a|ab", "ab", ((0, 1),), id="first-alternative-wins"),
        pytest.param("(a|ab)(c|bcd)", "abcd", ((0, 4), (0, 1), (1, 4)), id="leftmost-first"),
        pytest.param("a*?b", "aab", ((0, 3),), id="lazy"),
        pytest.param("(?U)a*", "aa", ((0, 0),), id="ungreedy-flag"),
        pytest.param("(a*)*", "b", ((0, 0), (0, 0)), id="empty-round-of-a-star"),
        pytest.param("(a+)(b)?", "aac", ((0, 2), (0, 2), None), id="group-without-part"),
        pytest.param("(?P<name>\\w+)@(?<host>\\w+)", "x bob@host", ((2, 10), (2, 5), (6, 10)), id="named-groups"),
        pytest.param("(?i)straße", "STRAßE", ((0, 6),), id="fold"),
        pytest.param("(?i)k", "\u212a", ((0, 1),), id="fold-kelvin"),
        pytest.param("(?i:A)b", "aB", None, id="flag-of-a-group-ends-with-it"),
        pytest.param("a.c", "a\nc", None, id="dot-is-no-newline"),
        pytest.param("(?s)a.c", "a\nc", ((0, 3),), id="dot-all"),
        pytest.param("(?m)^b$", "a\nb\nc", ((2, 3),), id="multiline"),
        pytest.param("\\bcat\\b", "a cat.", ((2, 5),), id="word-boundary"),
        pytest.param("\\Bat", "cat", ((1, 3),), id="no-word-boundary"),
        pytest.param("[[:digit:]]{2,3}", "a12345", ((1, 4),), id="posix-class-counted"),
        pytest.param("[^[:^digit:]]", "a1", ((1, 2),), id="negated-posix-class"),
        pytest.param("[\\d-]+", "x1-2", ((1, 4),), id="dash-in-class"),
        pytest.param("[]a]+", "]a", ((0, 2),), id="bracket-first-in-class"),
        pytest.param("\\pL\\p{Nd}\\PL", "é5!", ((0, 3),), id="general-categories"),
        pytest.param("\\x41\\x{1F600}\\101", "A\U0001f600A", ((0, 3),), id="code-points"),
        pytest.param("\\Qa.b\\E+", "a.bbb", ((0, 5),), id="quoted"),
        pytest.param("x{,2}", "x{,2}", ((0, 5),), id="brace-that-is-no-count"),
        pytest.param("a(?i)*", "aaA", ((0, 2),), id="repetition-behind-flags"),
        pytest.param("\\A\\z", "", ((0, 0),), id="empty-text"),
        pytest.param("\\s", "\v", None, id="vertical-tab-is-no-space"),
    ],
)
def test_search(pattern: str, text: str, spans: Spans | None) -> None:
    compiled = regex.compile(pattern)
    found = compiled.search(text)
    assert (None if found is None else found.spans) == spans
    assert compiled.test(text) is (spans is not None)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|*?b", "missing argument to repetition operator: `*?`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("[a", "missing closing ]: `[a`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("\\p{Greek}", "invalid character class range: `\\p{Greek}`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?<=a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(a)\\1", "invalid escape sequence: `\\1`"),
        ("\\k", "invalid escape sequence: `\\k`"),
        ("\\C", "invalid escape sequence: `\\C`"),
        ("\\x{110000}", "invalid escape sequence: `\\x{110000`"),
        ("(?P<a", "invalid named capture: `(?P<a`"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
        ("(" * 2000 + ")" * 2000, "expression nests too deeply: "),
        ("((a{100}){100}){100}", "expression too large: "),
        ("a" * 70_000, "expression too large"),
    ],
    ids=lambda value: value[:20],
)
def test_patterns_that_are_none(pattern: str, error: str) -> None:
    with pytest.raises(regex.RegexError) as caught:
        regex.compile(pattern)
    assert str(caught.value).startswith("error parsing regexp: " + error)


def test_names_and_groups_of_a_match() -> None:
    found = regex.compile("(?P<user>\\w+)@(\\w+)(!)?").search("to bob@host")
    assert found is not None
    assert (found.group(), found.group("user"), found.group(2), found.group(3)) == ("bob@host", "bob", "host", None)


@pytest.mark.parametrize(
    ("pattern", "text", "by", "result"),
    [
        pytest.param("a+", "baac", "x", "bxc", id="plain"),
        pytest.param("a*", "baac", "X", "XbXcX", id="empty-matches"),
        pytest.param("(\\w)(\\w*)", "ab cd", "$1x$2", "b d", id="name-takes-all-word-characters"),
        pytest.param("(\\w)(\\w*)", "ab cd", "${2}-${1}", "b-a d-c", id="braced"),
        pytest.param("(?P<n>b)", "abc", "<$n$$>", "a<b$>c", id="named-and-dollar"),
        pytest.param("^", "ab", "x", "xab", id="anchor-matches-once"),
        pytest.param("b", "abc", "${oops", "a${oopsc", id="malformed"),
    ],
)
def test_replace(pattern: str, text: str, by: str, result: str) -> None:
    assert regex.compile(pattern).replace(text, by) == result


def test_replace_by_a_function() -> None:
    assert regex.compile("\\d+").replace("a1b22", lambda match: f"<{match.group()}>") == "a<1>b<22>"


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)(.*)(.*)(.*)[!]", "(?:a?){50}a{50}b", "^(([a-z])+.)+[A-Z]([a-z])+$"],
)
def test_patterns_that_backtracking_engines_choke_on_are_answered(pattern: str) -> None:
    assert regex.compile(pattern).test("a" * 50_000 + "\n") is False


def test_work_is_bounded_with_an_error_of_its_own() -> None:
    costly = regex.Pattern("(?:[a-c]?){300}(?:[b-d]?){300}x")
    with pytest.raises(regex.RegexLimit):
        costly.search("abcd" * 5_000)


def test_the_cache_of_automaton_states_is_bounded() -> None:
    compiled = regex.Pattern("[^x]y[a-z]{8}z")
    text = "".join(chr(0x4E00 + number) + "y" for number in range(6_000))
    assert compiled.test(text) is False
    assert 0 < sum(len(moves) for moves in compiled._moves.values()) <= 5_000


_pieces = st.sampled_from(
    [
        "a",
        "b",
        "c",
        ".",
        "\\d",
        "[ab]",
        "[^a]",
        "(a)",
        "(?:b|c)",
        "^",
        "$",
        "\\b",
        "|",
        "a*",
        "b+?",
        "c{1,2}",
        "(?:ab)*",
    ]
)


@given(st.lists(_pieces, max_size=6).map("".join), st.text(alphabet="abc1 \n", max_size=10))
def test_agrees_with_the_standard_library_where_both_mean_the_same(pattern: str, text: str) -> None:
    # Python's $ also matches in front of a last newline; \Z is RE2's $.
    theirs = re.compile(pattern.replace("$", "\\Z"), re.ASCII)
    expected, found = theirs.search(text), regex.Pattern(pattern).search(text)
    assert (found.spans[0] if found else None) == (expected.span() if expected else None)
    whole = regex.Pattern(pattern).fullmatch(text)
    assert (whole is not None) == (theirs.fullmatch(text) is not None)


@given(st.text(alphabet="ab(|)[]{}*+?\\^$.-1,iPp<>:=!_QE", max_size=24), st.text(alphabet="abA1 \n", max_size=12))
def test_any_text_is_a_pattern_or_a_clear_error(pattern: str, text: str) -> None:
    try:
        compiled = regex.Pattern(pattern)
    except regex.RegexError as error:
        assert str(error).startswith("error parsing regexp: ")
        return
    assert (compiled.search(text) is not None) is compiled.test(text)
