"""The values that an expression computes with, and how Go's formatting shows them.

Plain Python values stand for Go's common types: None, bool, int (Go's int), float, str, list (`[]interface {}`), dict
(`map[string]interface {}`), datetime (`time.Time`). The classes below are the types that Python does not tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from fairlead.analysis._expressions._errors import runtime_error
from fairlead.core.durations import format_go_duration

DEPTH_MAX: Final = 200  # of nested data
STEPS_MAX: Final = 500_000
_CHARACTERS_PER_STEP: Final = 16


class Int64(int):
    """Go's int64: what `asInt` returns."""

    __slots__ = ()


class Uint64(int):
    """Go's uint64."""

    __slots__ = ()


class Uint8(int):
    """Go's byte: what indexing a string gives."""

    __slots__ = ()


class Duration(int):
    """Go's time.Duration: nanoseconds."""

    __slots__ = ()


class TypedList(list[Any]):
    """A list whose Go type is not `[]interface {}`."""

    __slots__ = ("go",)

    def __init__(self, go: str, items: Any = ()) -> None:
        super().__init__(items)
        self.go = go


class TypedMap(dict[Any, Any]):
    """A map whose Go type is not `map[string]interface {}`."""

    __slots__ = ("go",)

    def __init__(self, go: str, items: Any = ()) -> None:
        super().__init__(items)
        self.go = go


@dataclass(frozen=True, slots=True)
class Record:
    """A Go struct: its fields by their Go names."""

    go: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone by its IANA name."""

    name: str
    zone: Any = field(compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    """A function that was named without being called."""

    name: str
    go: str


class Budget:
    """Counts the steps of one evaluation, so that no condition can stall the loop or eat the memory."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise runtime_error("memory budget exceeded")

    def text(self, value: str) -> str:
        """Charge for a new string and return it."""
        self.spend(1 + len(value) // _CHARACTERS_PER_STEP)
        return value


def check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise runtime_error("recursion depth exceeded")


def go_type(value: object) -> str:
    """Return what Go's `%T` prints."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case Int64():
            return "int64"
        case Uint64():
            return "uint64"
        case Uint8():
            return "uint8"
        case Duration():
            return "time.Duration"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case TypedList() | TypedMap() | Record() | Function():
            return value.go
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case datetime():
            return "time.Time"
        case Zone():
            return "*time.Location"
        case _:
            raise AssertionError(f"not a value of an expression: {type(value)}")


def is_number(value: object) -> bool:
    """Return whether Go would take it for an integer or a float."""
    return isinstance(value, int | float) and not isinstance(value, bool | Duration)


def wrap64(value: int) -> int:
    """Return the integer that 64 bits hold of it.

    >>> wrap64(2**63)
    -9223372036854775808
    """
    return (value + 2**63) % 2**64 - 2**63


def truncate(value: float) -> int:
    """Return the int64 that Go (on amd64) makes of a float: toward zero; the lowest one when it does not fit."""
    if math.isnan(value) or not -(2.0**63) <= value < 2.0**63:
        return -(2**63)
    return int(value)


def format_float(value: float, *, exponent_from: int = 6) -> str:
    """Return the shortest decimal as Go's `%v` prints it: `0.97`, `1e+06`, `NaN`, `+Inf`.

    Exponents below -4, and from `exponent_from` on, are shown as such.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = _digits(value)
    if digits == "0":
        return sign + "0"
    if exponent < -4 or exponent >= exponent_from:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return sign + _positional(digits, exponent)


def format_decimal(value: float) -> str:
    """Return the shortest decimal without an exponent, as Go's `strconv.FormatFloat(v, 'f', -1, 64)`."""
    if math.isnan(value) or math.isinf(value):
        return format_float(value)
    sign, digits, exponent = _digits(value)
    return sign + ("0" if digits == "0" else _positional(digits, exponent))


def _digits(value: float) -> tuple[str, str, int]:
    """Return sign, significant digits and the decimal exponent of the first of them."""
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    power = int(exponent or "0") + len(whole) - 1
    digits = (whole + fraction).rstrip("0")
    while digits.startswith("0"):
        digits, power = digits[1:], power - 1
    return sign, digits or "0", power if digits else 0


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return digits[: exponent + 1] + "." + digits[exponent + 1 :]


def format_value(value: object, budget: Budget, depth: int = 0) -> str:
    """Return what Go's `%v` prints: `[1 2]`, `map[a:1 b:<nil>]`, `<nil>`."""
    check_depth(depth)
    budget.spend()
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case Duration():
            return format_duration(value)
        case int():
            return str(int(value))
        case float():
            return format_float(value)
        case str():
            return budget.text(value)
        case list():
            return budget.text("[" + " ".join(format_value(item, budget, depth + 1) for item in value) + "]")
        case dict():
            pairs = _by_text(value, budget)
            shown = (f"{key}:{format_value(item, budget, depth + 1)}" for key, item in pairs)
            return budget.text("map[" + " ".join(shown) + "]")
        case Record():
            return "{" + " ".join(format_value(item, budget, depth + 1) for item in value.fields.values()) + "}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S %z ") + (value.tzname() or "")
        case Zone() | Function():
            return value.name
        case _:
            raise AssertionError(f"not a value of an expression: {type(value)}")


def _by_text(value: Mapping[Any, Any], budget: Budget) -> list[tuple[str, Any]]:
    """Return the pairs of a map with keys as text, sorted by it: values are never compared with each other."""
    pairs = ((format_value(plain_key(key), budget), item) for key, item in value.items())
    return sorted(pairs, key=lambda pair: pair[0])


def plain_key(key: Any) -> Any:
    """Return the value that a map's key stands for: in Go 1, 1.0 and true are three keys, so we keep their types."""
    return key[1] if isinstance(key, tuple) else key


def format_duration(value: Duration) -> str:
    """Return Go's text of a duration, such as `1h1m0s`."""
    return format_go_duration(timedelta(microseconds=int(value) / 1000))
