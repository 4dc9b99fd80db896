"""JSON as Go's encoding/json reads and writes it: all numbers are floats, and HTML characters are escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NoReturn

from fairlead.analysis._expressions._errors import runtime_error
from fairlead.analysis._expressions._values import (
    DEPTH_MAX,
    Budget,
    Function,
    Record,
    TypedMap,
    Zone,
    check_depth,
    format_decimal,
    format_float,
    go_type,
)

_NESTING_MAX: Final = DEPTH_MAX


def load(text: str) -> Any:
    """Return the data of a JSON text, numbers as floats.

    Raises:
        ExpressionError: it is no JSON, or nests too deeply.
    """
    try:
        data = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_no_constant)
    except RecursionError:
        raise runtime_error("exceeded max depth") from None
    except ValueError as error:
        position = getattr(error, "pos", None)
        if isinstance(position, int) and position < len(text):
            raise runtime_error(f"invalid character '{text[position]}' in JSON text") from None
        raise runtime_error("unexpected end of JSON input") from None
    check_nesting(data)
    return data


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"cannot unmarshal number {digits[:40]} into Go value of type float64")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def check_nesting(data: Any) -> None:
    """Return if no part of the data nests deeper than we walk; raise otherwise."""
    level, depth = [data], 0
    while level:
        check_depth(depth)
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner


def dump(value: Any, budget: Budget, indent: int = 0) -> str:
    """Return a value as JSON, indented by two spaces, keys sorted."""
    check_depth(indent)
    budget.spend()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(budget.text(value))
    if isinstance(value, float):
        return dump_float(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, datetime):
        return _text(value.isoformat().replace("+00:00", "Z"))
    inner, outer = "\n" + "  " * (indent + 1), "\n" + "  " * indent
    if isinstance(value, list):
        items = [dump(item, budget, indent + 1) for item in value]
        return budget.text("[" + inner + ("," + inner).join(items) + outer + "]") if items else "[]"
    if isinstance(value, Record):
        value = dict(value.fields)
    if isinstance(value, TypedMap | Function | Zone):
        raise runtime_error(f"json: unsupported type: {go_type(value)}")
    if isinstance(value, dict):
        members = [f"{_text(key)}: {dump(value[key], budget, indent + 1)}" for key in sorted(value)]
        return budget.text("{" + inner + ("," + inner).join(members) + outer + "}") if members else "{}"
    raise AssertionError(f"not a value of an expression: {type(value)}")


def compact(value: Any) -> str:
    """Return data as compact JSON, keys sorted, as Go's `json.Marshal` writes it; infinities and NaN as words."""
    match value:
        case bool() | None:
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return _text(value)
        case float():
            return dump_float(value) if math.isfinite(value) else format_float(value)
        case int():
            return str(value)
        case Mapping():
            return "{" + ",".join(f"{_text(key)}:{compact(value[key])}" for key in sorted(value)) + "}"
        case _:
            return "[" + ",".join(map(compact, value)) + "]"


def dump_float(value: float) -> str:
    """Return a float as Go writes it in JSON: `1`, `0.5`, `1e+21`, `1e-7`.

    Raises:
        ExpressionError: it is not finite.
    """
    if not math.isfinite(value):
        raise runtime_error(f"json: unsupported value: {format_float(value)}")
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = format_float(value, exponent_from=-400).partition("e")
        # Go drops the zero of e-07 but keeps that of none other.
        sign, digits = exponent[:1], exponent[1:]
        return f"{mantissa}e{sign}{digits.lstrip('0') if sign == '-' and len(digits) == 2 else digits}"
    return format_decimal(value)


def _text(value: str) -> str:
    escaped = json.dumps(value, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        if character in escaped:
            escaped = escaped.replace(character, f"\\u{ord(character):04x}")
    return escaped
