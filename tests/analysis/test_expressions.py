"""The condition language: upstream's answers and texts, typed results, and inputs that mean harm."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.analysis import _expressions
from fairlead.analysis._expressions import ErrorKind, ExpressionError, Value, check, evaluate, evaluate_time, mentions
from fairlead.analysis._expressions._values import Budget, format_decimal, format_float, format_value, go_type
from tests.properties import examples

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
DATA = {
    "a": 1,
    "b": True,
    "c": [1, 2, 3, 4],
    "d": None,
    "s": "12",
    "n": {"k": {"x": 0.5}},
    "l": ["x", "y"],
    "m": [],
}
# [expression, outcome, type and value or error text], as expr-lang 1.17.8 answers for DATA.
CASES = json.loads(Path(__file__).with_name("expression_cases.json").read_text())


def outcome(text: str, result: Value) -> tuple[str, str]:
    """Return what became of an expression, in the form of the table."""
    try:
        answer = _expressions._run(text, result, NOW)
    except ExpressionError as error:
        return str(error.kind), error.text
    return "ok", f"{go_type(answer)} {format_value(answer, Budget())}"


@pytest.mark.parametrize(("text", "kind", "expected"), CASES, ids=[case[0] for case in CASES])
def test_answers_as_upstream(text: str, kind: str, expected: str) -> None:
    assert outcome(text, Value.json(DATA)) == (kind, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("now()", NOW, id="now"),
        pytest.param('now() - duration("1h")', datetime(2026, 8, 1, 11, 0, tzinfo=UTC), id="an-hour-ago"),
        pytest.param('date("2024-01-02")', datetime(2024, 1, 2, tzinfo=UTC), id="date"),
        pytest.param('date("2024-01-02T03:04:05+01:00")', datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC), id="rfc3339"),
        pytest.param(
            'date("02.01.2024 15:04", "02.01.2006 15:04", "Europe/Berlin")',
            datetime(2024, 1, 2, 14, 4, tzinfo=UTC),
            id="layout-and-zone",
        ),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert evaluate_time(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1", "expected time.Time, but got int"),
        ("", "unexpected token EOF"),
        ("result", "unknown name result"),
        ('duration("1d")', 'time: unknown unit "d" in duration "1d"'),
        ("now()" + ' - duration("2540400h")' * 9, "time out of range"),
        ('timezone("../../etc/passwd")', "unknown time zone ../../etc/passwd"),
    ],
)
def test_texts_that_are_no_time(text: str, error: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate_time(text, NOW)
    assert caught.value.text == error


def test_an_error_names_its_kind_and_column() -> None:
    with pytest.raises(ExpressionError) as caught:
        check("result > 3 AND result < 10", Value.number(1).type)
    assert (caught.value.kind, caught.value.column) == (ErrorKind.STATIC, 12)


def test_static_types() -> None:
    assert check("result[0]", Value.floats([]).type).go == "float64"
    assert check("result.x", Value.json({}).type).is_unknown
    assert check("all(result, # > 0.5)", Value.floats([]).type).go == "bool"


def test_a_condition_without_now_has_no_clock() -> None:
    with pytest.raises(ExpressionError, match="now\\(\\) is not available here"):
        evaluate("now() == now()", Value.nil())


def test_mentions() -> None:
    assert mentions("len(result) == 0 || (result[0] ?? 1) > asFloat('2') || result == nil") == {
        "len",
        "??",
        "asFloat",
        "nil",
    }
    assert mentions("this is no condition") == frozenset()


@pytest.mark.parametrize(
    ("value", "decimal", "general"),
    [
        (0.97, "0.97", "0.97"),
        (1.0, "1", "1"),
        (-0.0, "-0", "-0"),
        (1e21, "1000000000000000000000", "1e+21"),
        (1.5e-7, "0.00000015", "1.5e-07"),
        (123456789.5, "123456789.5", "1.234567895e+08"),
        (math.nan, "NaN", "NaN"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (5e-324, "0." + "0" * 323 + "5", "5e-324"),
    ],
)
def test_numbers_as_go_prints_them(value: float, decimal: str, general: str) -> None:
    assert format_decimal(value) == decimal
    assert format_float(value) == general


# Inputs that mean harm: each is answered soon, with an error of our own.
HOSTILE = {
    "parentheses-a-million-deep": "(" * 1_000_000 + "1" + ")" * 1_000_000,
    "brackets": "[" * 60_000,
    "unary": "-" * 60_000 + "1",
    "ternaries": "true ? " * 9_000,
    "long-chain": " || ".join(["true"] * 5_000),
    "long-text": "'" + "x" * 2**20 + "'",
    "closures": "map(result.c, " * 300 + "#" + ")" * 300,
    "lets": "".join(f"let v{number} = 1; " for number in range(4_000)) + "true",
    "members": "result" + ".a" * 30_000,
    "attributes": "result.__class__.__mro__",
    "dunder-import": "__import__('os').system('true')",
    "attribute-of-a-list": "result.c.__class__",
    "attribute-of-a-text": '"x".__class__',
    "format": '"{0.__class__}".format(1)',
    "assignment": "result.a = 5",
    "comprehension": "[x for x in result.c]",
    "while": "while true { 1 }",
    "range": "len(1..9223372036854775807) > 0",
    "nested-loops": "len(map(1..1000, map(1..1000, map(1..1000, #)))) > 0",
    "doubling-text": 'len(reduce(1..60, #acc + #acc, "x")) > 0',
    "doubling-list": "len(reduce(1..60, concat(#acc, #acc), [1])) > 0",
    "doubling-tree-as-text": "len(string(reduce(1..60, [#acc, #acc], [1]))) > 0",
    "doubling-tree-compared": "let t = reduce(1..60, [#acc, #acc], [1]); t == map(1..2, t[0])",
    "doubling-tree-flattened": "len(flatten(reduce(1..60, [#acc, #acc], [1]))) > 0",
    "deep-tree": "len(string(reduce(1..5000, [#acc], [1]))) > 0",
    "deep-tree-as-json": "len(toJSON(reduce(1..5000, [#acc], [1]))) > 0",
    "deep-json": 'len(fromJSON(repeat("[", 100000))) > 0',
    "repeat": 'len(repeat("x", 1000000000)) > 0',
    "replace": 'len(replace(repeat("a", 100000), "a", repeat("b", 100000))) > 0',
    "join": 'len(join(map(1..10000, "x"), repeat("y", 100000))) > 0',
    "regex-in-a-loop": 'len(map(1..100000, repeat("ab", 5000) matches "(?:[ab]?){200}c")) > 0',
    "regexes-in-a-loop": 'len(map(1..100000, "a" matches "(a{500}){10}" + string(#))) > 0',
    "long-texts-compared": 'let s = repeat("a", 1000000); let t = s + ""; len(filter(1..400000, s == t)) > 0',
    "long-texts-ordered": 'let s = repeat("a", 1000000); let t = s + ""; len(filter(1..400000, s < t)) > 0',
    "searched-backwards": 'let s = repeat("a", 1000000); len(map(1..9, lastIndexOf(s, "b" + s[:500000]))) > 0',
    "trimmed": 'let s = repeat("a", 1000000); len(map(1..100000, trim(s, "b"))) > 0',
    "regex-with-lookahead": '"a" matches "(?=a)"',
    "regex-with-backreference": '"a" matches "(a)\\\\1"',
    "regex-too-large": '"a" matches "((a{1000}){1000}){1000}"',
    "surrogate": '"\\ud800" == ""',
    "null-byte": "result.a\x00 == 1",
    "right-to-left": "result.a \u202e== 1",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_expressions_end_in_an_error_of_our_own(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, Value.json(DATA))
    assert 0 < len(caught.value.text) < 20_000


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("10**10**8 > 1", True, id="a-huge-power-is-infinite"),
        pytest.param("isInf(2 ** 99999)", True, id="power"),
        pytest.param("bitshl(1, 9223372036854775807) == 0", True, id="shift"),
        pytest.param('repeat("a", 100000) + "!" matches "^(a+)+$"', False, id="regex-that-backtracks"),
        pytest.param(" || ".join(["result.a == 2"] * 100) + " || true", True, id="a-hundred-terms"),
        pytest.param("(" * 60 + "true" + ")" * 60, True, id="sixty-parentheses"),
    ],
)
def test_costly_looks_that_are_cheap(text: str, answer: bool) -> None:
    assert evaluate(text, Value.json(DATA)) is answer


def test_a_hundred_thousand_samples_are_affordable() -> None:
    assert evaluate("all(result, # < 2)", Value.floats([1.0] * 100_000))


def test_data_that_nests_too_deeply_is_refused() -> None:
    data: Any = 1
    for _ in range(1_000):
        data = [data]
    with pytest.raises(ExpressionError, match="recursion depth exceeded"):
        Value.json(data)


def test_it_works_on_a_stack_that_is_nearly_full() -> None:
    def dive(depth: int) -> bool:
        if depth:
            return dive(depth - 1)
        try:
            return evaluate("(" * 60 + "result == 7.125" + ")" * 60, Value.number(1))
        except ExpressionError as error:
            return "too deeply" in error.text or "depth exceeded" in error.text

    assert dive(sys.getrecursionlimit() - 300) in (True, False)


_atoms = st.sampled_from(
    [
        "result",
        "result.a",
        "result.c",
        "result.s",
        "result.zz",
        "#",
        "1",
        "2.5",
        "0",
        "'x'",
        "true",
        "false",
        "nil",
        "[1,2]",
        "[]",
        "{a:1}",
        "result[0]",
        "asInt('5')",
        "1..3",
        "result?.a",
        "len('abc')",
        "9223372036854775807",
        "1e308",
        "`^(a+)+$`",
        "now()",
        "duration('1h')",
    ]
)
_operators = st.sampled_from(
    [
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "and",
        "or",
        "&&",
        "||",
        "+",
        "-",
        "*",
        "/",
        "%",
        "**",
        "in",
        "matches",
        "contains",
        "startsWith",
        "??",
        "..",
        "|",
        "?",
        ":",
        ";",
        ",",
        ".",
        "not in",
    ]
)
_functions = st.sampled_from(
    [
        "len",
        "isNaN",
        "asInt",
        "asFloat",
        "default",
        "all",
        "any",
        "filter",
        "map",
        "count",
        "sum",
        "sortBy",
        "groupBy",
        "reduce",
        "find",
        "max",
        "min",
        "mean",
        "string",
        "type",
        "first",
        "get",
        "keys",
        "toJSON",
        "fromJSON",
        "split",
        "repeat",
        "sort",
        "flatten",
        "concat",
        "uniq",
        "take",
        "toPairs",
        "fromPairs",
        "int",
        "date",
        "bitshl",
    ]
)
_expressions_strategy = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, _operators, inner).map(" ".join),
        st.tuples(_functions, inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(_functions, inner, inner).map(lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"not {text}"),
        st.tuples(inner, inner).map(lambda parts: f"{parts[0]}[{parts[1]}]"),
    ),
    max_leaves=12,
)
_results = st.one_of(
    st.floats().map(Value.number),
    st.lists(st.floats(), max_size=5).map(Value.floats),
    st.just(Value.nil()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcs"), inner, max_size=3),
        max_leaves=8,
    ).map(Value.json),
)


@examples(400)
@given(_expressions_strategy, _results)
def test_built_expressions_answer_or_fail_with_our_error(text: str, result: Value) -> None:
    try:
        answer = evaluate(text, result, now=NOW)
    except ExpressionError as error:
        assert "\n" not in error.text
        return
    assert answer is True or answer is False
    assert evaluate(text, result, now=NOW) is answer


@examples(300)
@given(st.text(max_size=60) | st.text(alphabet="result.[]()#{}|?:&<>=!+-*/%'\"`\\ 01ea_,;$\n", max_size=60), _results)
def test_any_text_answers_or_fails_with_our_error(text: str, result: Value) -> None:
    try:
        assert evaluate(text, result, now=NOW) in (True, False)
    except ExpressionError as error:
        assert isinstance(error.kind, ErrorKind)
