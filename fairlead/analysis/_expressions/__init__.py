"""Success and failure conditions: the language of expr-lang, parsed, typed and evaluated without eval.

Every condition is checked statically against the type of the result first, and then run: an error in a branch that
would never run is still an error, as upstream. Length, depth, nodes, steps and memory are bounded; a condition can read
the result and nothing else.

    >>> evaluate("len(result) > 0 && result[0] >= 0.95", Value.floats([0.97]))
    True

Source: `expr-lang/expr` v1.17.8, `argo-rollouts: utils/evaluate/evaluate.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from fairlead.analysis._expressions import _json, _nodes, _types
from fairlead.analysis._expressions._checker import Checker
from fairlead.analysis._expressions._errors import ErrorKind, ExpressionError, runtime_error, static_error
from fairlead.analysis._expressions._evaluator import Evaluator
from fairlead.analysis._expressions._folding import fold
from fairlead.analysis._expressions._json import compact as compact_json
from fairlead.analysis._expressions._json import load as parse_json
from fairlead.analysis._expressions._numbers import parse_float
from fairlead.analysis._expressions._parser import parse
from fairlead.analysis._expressions._types import K, Type
from fairlead.analysis._expressions._values import (
    Budget,
    Int64,
    Record,
    TypedList,
    Uint64,
    format_decimal,
    go_type,
)

__all__ = [
    "ErrorKind",
    "ExpressionError",
    "Type",
    "Value",
    "check",
    "compact_json",
    "evaluate",
    "evaluate_time",
    "format_decimal",
    "mentions",
    "parse_float",
    "parse_json",
]

_STATUS_CODE = Type(K.STRING, "types.StatusCode")
_METRIC_DATA = Type(
    K.STRUCT,
    "types.MetricDataResult",
    fields=(
        ("Id", _types.STRING),
        ("Label", _types.STRING),
        ("Messages", _types.LIST),
        ("StatusCode", _STATUS_CODE),
        ("Timestamps", Type(K.LIST, "[]time.Time", _types.TIME)),
        ("Values", _types.FLOATS),
    ),
)
_METRIC_DATA_LIST = Type(K.LIST, "[]types.MetricDataResult", _METRIC_DATA)


@dataclass(frozen=True, slots=True)
class Value:
    """The result of a measurement with its static type, which differs by provider."""

    type: Type
    data: Any

    @staticmethod
    def number(value: float) -> Value:
        """Return a float: a Prometheus scalar, for instance."""
        return Value(_types.FLOAT, float(value))

    @staticmethod
    def floats(values: Sequence[float]) -> Value:
        """Return a list of floats: a Prometheus vector or matrix."""
        return Value(_types.FLOATS, TypedList("[]float64", map(float, values)))

    @staticmethod
    def nil() -> Value:
        """Return the absence of a result."""
        return Value(_types.NIL, None)

    @staticmethod
    def json(data: object) -> Value:
        """Return decoded JSON; every number becomes a float.

        Raises:
            ExpressionError: the data nests too deeply.
        """
        _json.check_nesting(data)
        value = _with_floats(data)
        match value:
            case None:
                return Value.nil()
            case bool():
                return Value(_types.BOOL, value)
            case float():
                return Value(_types.FLOAT, value)
            case str():
                return Value(_types.STRING, value)
            case list():
                return Value(_types.LIST, value)
            case dict():
                return Value(_types.MAP, value)
            case _:
                raise AssertionError(f"not JSON: {type(value)}")

    @staticmethod
    def text(value: str) -> Value:
        """Return a string: a web answer that is no JSON."""
        return Value(_types.STRING, value)

    @staticmethod
    def records(values: Sequence[int | float | str | bool | datetime | None], *, unsigned: bool = False) -> Value:
        """Return a list whose elements keep their types; integers have 64 bits (InfluxDB)."""
        integer = Uint64 if unsigned else Int64
        items = [
            integer(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in values
        ]
        return Value(_types.LIST, items)

    @staticmethod
    def cloudwatch(results: Sequence[Mapping[str, Any]]) -> Value:
        """Return a list of CloudWatch metric results: records with `Id`, `Label`, `StatusCode`, `Values` ..."""
        records = [
            Record(
                _METRIC_DATA.go,
                {
                    "Id": str(result.get("Id", "")),
                    "Label": str(result.get("Label", "")),
                    "Messages": list(result.get("Messages", ())),
                    "StatusCode": str(result.get("StatusCode", "")),
                    "Timestamps": TypedList("[]time.Time", result.get("Timestamps", ())),
                    "Values": TypedList("[]float64", map(float, result.get("Values", ()))),
                },
            )
            for result in results
        ]
        return Value(_METRIC_DATA_LIST, TypedList(_METRIC_DATA_LIST.go, records))

    @property
    def is_missing(self) -> bool:
        """Whether it is nil or an empty list: the source had no data."""
        return self.data is None or (isinstance(self.data, list) and not self.data)


def _with_floats(data: object) -> Any:
    if isinstance(data, bool) or data is None or isinstance(data, str | float):
        return data
    if isinstance(data, int):
        try:
            return float(data)
        except OverflowError:
            return float("inf") if data > 0 else float("-inf")
    if isinstance(data, Mapping):
        return {str(key): _with_floats(value) for key, value in data.items()}
    if isinstance(data, Sequence):
        return [_with_floats(value) for value in data]
    raise AssertionError(f"not JSON: {type(data)}")


@lru_cache(maxsize=512)
def _compiled(text: str, type_: Type | None) -> tuple[_nodes.Node, Type]:
    try:
        tree = parse(text)
        found = Checker(type_).check(tree)
        return fold(tree), found
    except RecursionError:  # our limits of depth assume a stack that is mostly free
        raise static_error("compilation failed: expression nests too deeply") from None


def _run(text: str, result: Value | None, now: datetime | None) -> Any:
    tree, _ = _compiled(text, result.type if result is not None else None)
    evaluator = Evaluator(result=result.data if result is not None else None, now=now, budget=Budget())
    try:
        return evaluator.run(tree)
    except RecursionError:
        raise runtime_error("recursion depth exceeded") from None


def evaluate(text: str, result: Value, *, now: datetime | None = None) -> bool:
    """Return what a condition says of a result.

    Args:
        text: the condition.
        result: what the provider measured.
        now: what `now()` is; without it that function is an error.

    Raises:
        ExpressionError: the condition has no answer of true or false.
    """
    answer = _run(text, result, now)
    if not isinstance(answer, bool):
        raise ExpressionError(f"expected bool, but got {go_type(answer)}", ErrorKind.NOT_BOOL)
    return answer


def evaluate_time(text: str, now: datetime) -> datetime:
    """Return the instant of an expression such as `now() - duration("1h")`; there is no `result` in it.

    Raises:
        ExpressionError: it gives no time.
    """
    answer = _run(text, None, now)
    if not isinstance(answer, datetime):
        raise ExpressionError(f"expected time.Time, but got {go_type(answer)}", ErrorKind.RUNTIME)
    return answer


def check(text: str, type_: Type) -> Type:
    """Return the static type of a condition, for results of the given type.

    Raises:
        ExpressionError: it can never work on these.
    """
    return _compiled(text, type_)[1]


def mentions(text: str) -> frozenset[str]:
    """Return the functions that a condition calls, with `nil` and `??` where they occur; empty if it is none."""
    try:
        tree = parse(text)
    except (ExpressionError, RecursionError):
        return frozenset()
    found: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        match node:
            case _nodes.Builtin():
                found.add(node.name)
            case _nodes.Call() if isinstance(node.callee, _nodes.Name):
                found.add(node.callee.name)
            case _nodes.Constant() if node.value is None:
                found.add("nil")
            case _nodes.Binary() if node.operator == "??":
                found.add("??")
            case _:
                pass
        stack.extend(_nodes.children(node))
    return frozenset(found)
