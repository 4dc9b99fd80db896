"""Operators on values, as Go and expr-lang carry them out.

Source: `expr-lang/expr: vm/runtime`. Integers have 64 bits and wrap; `/` and `**` give floats and never fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fairlead.analysis._expressions._errors import ExpressionError, runtime_error
from fairlead.analysis._expressions._values import (
    Budget,
    Duration,
    Record,
    TypedList,
    Uint8,
    check_depth,
    format_value,
    go_type,
    is_number,
    truncate,
    wrap64,
)
from fairlead.core import regex

_COMPARED: Final = 1024  # characters that are compared in the time of a step


def to_int(value: Any) -> int:
    """Return the integer that an index or a bound stands for."""
    if not is_number(value):
        raise runtime_error(f"invalid operation: int({go_type(value)})")
    return truncate(value) if isinstance(value, float) else int(value)


def to_float(value: Any) -> float:
    """Return a number as a float."""
    if not is_number(value):
        raise runtime_error(f"invalid operation: float({go_type(value)})")
    return float(value)


def wrong_type(value: Any, wanted: str) -> ExpressionError:
    """Return the error of a Go type assertion that failed."""
    found = "nil" if value is None else go_type(value)
    return runtime_error(f"interface conversion: interface {{}} is {found}, not {wanted}")


def as_bool(value: Any) -> bool:
    """Return the value if it is a bool."""
    if not isinstance(value, bool):
        raise wrong_type(value, "bool")
    return value


def as_float(value: Any) -> float:
    """Return the value if it is a float."""
    if not isinstance(value, float):
        raise wrong_type(value, "float64")
    return value


def as_text(value: Any) -> str:
    """Return the value if it is a string."""
    if not isinstance(value, str):
        raise wrong_type(value, "string")
    return value


def equal(left: Any, right: Any, budget: Budget, depth: int = 0) -> bool:
    """Return whether two values are the same: numbers by value, lists element by element, other kinds never."""
    check_depth(depth)
    budget.spend(3)
    if is_number(left) and is_number(right):
        if isinstance(left, float) or isinstance(right, float):
            return float(left) == float(right)
        return wrap64(left) == wrap64(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            equal(ours, theirs, budget, depth + 1) for ours, theirs in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return _identical(left, right, budget, depth)
    return _identical(left, right, budget, depth)


def _identical(left: Any, right: Any, budget: Budget, depth: int) -> bool:
    """Return whether two values are deeply the same, types included (inside maps Go looks at those too)."""
    check_depth(depth)
    budget.spend()
    if go_type(left) != go_type(right):
        return False
    if isinstance(left, str):
        budget.spend(len(left) // _COMPARED)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_identical(left[key], right[key], budget, depth + 1) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _identical(ours, theirs, budget, depth + 1) for ours, theirs in zip(left, right, strict=True)
        )
    if isinstance(left, Record) and isinstance(right, Record):
        return _identical(dict(left.fields), dict(right.fields), budget, depth + 1)
    return bool(left == right)


def compare(operator: str, left: Any, right: Any, budget: Budget) -> bool:
    """Return `left operator right` for `<`, `<=`, `>`, `>=`."""
    both = is_number(left) and is_number(right)
    if both and (isinstance(left, float) or isinstance(right, float)):
        left, right = float(left), float(right)
    elif not both:
        same = any(isinstance(left, kind) and isinstance(right, kind) for kind in (str, datetime, Duration))
        if not same:
            raise _undefined(operator, left, right)
        if isinstance(left, str):  # by code points, which is the order of their bytes
            budget.spend(min(len(left), len(right)) // _COMPARED)
    match operator:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)


def arithmetic(operator: str, left: Any, right: Any, budget: Budget) -> Any:
    """Return `left operator right` for `+ - * / % ** ^`."""
    if is_number(left) and is_number(right):
        return _numeric(operator, left, right)
    match operator:
        case "+" if isinstance(left, str) and isinstance(right, str):
            return budget.text(left + right)
        case "+" if isinstance(left, datetime) and isinstance(right, Duration):
            return _shifted(left, right)
        case "+" if isinstance(left, Duration) and isinstance(right, datetime):
            return _shifted(right, left)
        case "+" | "-" if isinstance(left, Duration) and isinstance(right, Duration):
            return Duration(wrap64(int(left) + int(right) if operator == "+" else int(left) - int(right)))
        case "-" if isinstance(left, datetime) and isinstance(right, datetime):
            return Duration(wrap64((left - right) // timedelta(microseconds=1) * 1000))
        case "-" if isinstance(left, datetime) and isinstance(right, Duration):
            return _shifted(left, Duration(-right))
        case "*" if isinstance(left, Duration) or isinstance(right, Duration):
            factors = (left, right)
            if all(isinstance(factor, int | float) and not isinstance(factor, bool) for factor in factors):
                product = left * right
                return Duration(truncate(product) if isinstance(product, float) else wrap64(int(product)))
        case "/" | "**" | "^":
            # Go turns each side into a float first, and complains of the one that is none.
            if operator == "/":
                raise _undefined(operator, left, right)
            return power(to_float(left), to_float(right))
        case _:
            pass
    raise _undefined(operator, left, right)


def _numeric(operator: str, left: Any, right: Any) -> Any:
    if operator == "%":
        if isinstance(left, float) or isinstance(right, float):
            raise _undefined(operator, left, right)
        if right == 0:
            raise runtime_error("runtime error: integer divide by zero")
        rest = abs(int(left)) % abs(int(right))
        return -rest if left < 0 else rest
    if operator in ("**", "^"):
        return power(float(left), float(right))
    if operator == "/":
        return divide(float(left), float(right))
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
        return left + right if operator == "+" else left - right if operator == "-" else left * right
    left, right = int(left), int(right)
    return wrap64(left + right if operator == "+" else left - right if operator == "-" else left * right)


def _undefined(operator: str, left: Any, right: Any) -> Exception:
    return runtime_error(f"invalid operation: {go_type(left)} {operator} {go_type(right)}")


def _shifted(instant: datetime, by: Duration) -> datetime:
    try:
        return instant + timedelta(microseconds=int(by) / 1000)
    except OverflowError:
        raise runtime_error("time out of range") from None


def divide(left: float, right: float) -> float:
    """Return the quotient; by zero it is an infinity or NaN."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def power(base: float, exponent: float) -> float:
    """Return the power; what Python calls an error is an infinity or NaN."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        is_odd = exponent == int(exponent) and int(exponent) % 2 == 1
        return -math.inf if base < 0 and is_odd else math.inf
    except ValueError:
        if base == 0:  # a negative exponent
            is_odd = exponent == int(exponent) and int(exponent) % 2 == 1 if math.isfinite(exponent) else False
            return math.copysign(math.inf, base) if is_odd else math.inf
        return math.nan


def negate(value: Any) -> Any:
    """Return the value with its sign changed."""
    if not is_number(value):
        raise runtime_error(f"invalid operation: - {go_type(value)}")
    return -value if isinstance(value, float) else type(value)(wrap64(-int(value)))


def contains(needle: Any, container: Any, budget: Budget) -> bool:
    """Return `needle in container`; a nil container holds nothing."""
    match container:
        case None:
            return False
        case list():
            return any(equal(item, needle, budget) for item in container)
        case dict():
            return has_key(container, needle)
        case Record():
            if not isinstance(needle, str):
                raise runtime_error(f"cannot use {go_type(needle)} as field name of {container.go}")
            return needle in container.fields
        case _:
            raise runtime_error(f'operator "in" not defined on {go_type(container)}')


def has_key(mapping: Mapping[Any, Any], key: Any) -> bool:
    """Return whether a map has the key; one of another type it cannot have."""
    return find_key(mapping, key) is not None


def find_key(mapping: Mapping[Any, Any], key: Any) -> tuple[Any, ...] | None:
    """Return the key as the map holds it, in a tuple, or None. In Go 1, 1.0 and true are three keys."""
    if isinstance(key, list | dict) or (isinstance(key, float) and math.isnan(key)):
        return None
    if isinstance(key, Record):
        return None
    wrapped = map_key(key)
    return (wrapped,) if wrapped in mapping else None


def map_key(key: Any) -> Any:
    """Return the Python key under which a map holds a value: only strings stand for themselves."""
    return key if isinstance(key, str) else (go_type(key), key)


def fetch(base: Any, key: Any, budget: Budget) -> Any:
    """Return `base[key]` or `base.key`."""
    match base:
        case str():
            data = base.encode("utf-8", "surrogatepass")
            budget.spend(len(data) // 64)
            return Uint8(data[_position(key, len(data))])
        case list():
            return base[_position(key, len(base))]
        case dict():
            found = find_key(base, key)
            return base[found[0]] if found is not None else None
        case Record() if isinstance(key, str) and key in base.fields:
            return base.fields[key]
        case _:
            raise runtime_error(f"cannot fetch {format_value(key, budget)} from {go_type(base)}")


def _position(key: Any, length: int) -> int:
    index = to_int(key)
    if index < 0:
        index += length
    if not 0 <= index < length:
        raise runtime_error(f"index out of range: {index} (array length is {length})")
    return index


def slice_of(base: Any, low: Any, high: Any, budget: Budget) -> Any:
    """Return `base[low:high]`, cut to what there is."""
    if not isinstance(base, str | list):
        raise runtime_error(f"cannot slice {format_value(low, budget)}")
    data: Any = base.encode("utf-8", "surrogatepass") if isinstance(base, str) else base
    length = len(data)
    start, end = to_int(low), to_int(high)
    start = max(0, start + length) if start < 0 else start
    end = max(0, end + length) if end < 0 else min(end, length)
    start = min(start, end)
    budget.spend((end - start) // 16)
    if isinstance(base, str):
        return data[start:end].decode("utf-8", "replace")
    return TypedList(base.go, base[start:end]) if isinstance(base, TypedList) else base[start:end]


def matches(text: Any, pattern: Any, budget: Budget) -> bool:
    """Return whether a pattern is found in the text; nil on either side never matches."""
    if text is None or pattern is None:
        return False
    pattern = as_text(pattern)
    if isinstance(text, TypedList) and text.go == "[]uint8":
        text = bytes(text).decode("utf-8", "replace")
    elif not isinstance(text, str):
        raise wrong_type(text, "[]uint8")
    budget.spend(1 + (len(pattern) + len(text)) // 8)
    work = regex.Work(min(regex.WORK_MAX, budget.left))
    limit = work.left
    try:
        compiled = regex.compile(pattern)
        budget.spend(compiled.size)
        return compiled.test(text, work=work)
    except (regex.RegexError, regex.RegexLimit) as error:
        raise runtime_error(str(error)) from error
    finally:
        budget.left -= limit - max(0, work.left)


def text_test(operator: str, left: Any, right: Any, budget: Budget) -> bool:
    """Return `left operator right` for `contains`, `startsWith` and `endsWith`; nil holds nothing."""
    if left is None or right is None:
        return False
    text, part = as_text(left), as_text(right)
    budget.spend((len(text) + len(part)) // 64)
    if operator == "contains":
        return part in text
    return text.startswith(part) if operator == "startsWith" else text.endswith(part)


def span(low: Any, high: Any, budget: Budget) -> list[Any]:
    """Return the integers from low to high, both included."""
    start, end = to_int(low), to_int(high)
    budget.spend(max(0, end - start + 1))
    return TypedList("[]int", range(start, end + 1))
