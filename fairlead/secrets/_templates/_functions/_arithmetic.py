"""Functions on numbers. Whole numbers have 64 bits and wrap around.

Source: `Masterminds/sprig` v3, `spf13/cast`, `shopspring/decimal`; by comparison with their answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from decimal import Context as DecimalContext
from typing import Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._formatting import sprint
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._numbers import INT64_MAX, INT64_MIN, parse_float, parse_int64, wrap64
from fairlead.secrets._templates._values import Int64, Ints, Value

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING, _INT = Type.ANY, Type.STRING, Type.INT
_DECIMAL: Final = re.compile(r"([-+]?\d*)\.\d*", re.ASCII)
_DIVISION_PLACES: Final = Decimal(1).scaleb(-16)
_EXACT: Final = DecimalContext(prec=800, Emax=9999, Emin=-9999)


def to_int64(value: Value) -> int:
    """Return a value as a whole number: texts as Go literals, floats without their fraction, all else as 0."""
    match value:
        case bool():
            return int(value)
        case int():
            return wrap64(value)
        case float():
            return _cut(value)
        case bytes():
            return _int64_of_text(value.decode("utf-8", "replace"))
        case _:
            return 0


def _cut(value: float) -> int:
    # What does not fit becomes the smallest number, as x86 converts.
    if not math.isfinite(value) or not INT64_MIN <= value <= INT64_MAX:
        return INT64_MIN
    return int(value) if int(value) <= INT64_MAX else INT64_MIN


def _int64_of_text(text: str) -> int:
    whole = parse_int64(text)
    if whole is not None:
        return whole
    decimal = _DECIMAL.fullmatch(text)  # the fraction is cut off
    return (parse_int64(decimal[1]) or 0) if decimal else 0


def to_float(value: Value) -> float:
    """Return a value as a float; what is no number is 0."""
    match value:
        case bool() | int() | float():
            return float(value)
        case bytes():
            return parse_float(value.decode("utf-8", "replace")) or 0.0
        case _:
            return 0.0


@_add("atoi", takes=(_STRING,))
def _atoi(_: Context, text: bytes) -> int:
    return parse_int64(text.decode("utf-8", "replace"), 10) or 0


@_add("int", takes=(_ANY,))
def _int(_: Context, value: Value) -> int:
    return to_int64(value)


@_add("int64", takes=(_ANY,))
def _int64(_: Context, value: Value) -> Int64:
    return Int64(to_int64(value))


@_add("float64", takes=(_ANY,))
def _float64(_: Context, value: Value) -> float:
    return to_float(value)


@_add("toDecimal", takes=(_ANY,))
def _to_decimal(c: Context, value: Value) -> Int64:
    text = sprint([value], c.budget).decode("utf-8", "replace")
    return Int64(parse_int64(text, 8) or 0)


@_add("add", rest=_ANY)
def _sum(_: Context, *values: Value) -> Int64:
    return Int64(wrap64(sum(map(to_int64, values))))


@_add("add1", takes=(_ANY,))
def _add1(_: Context, value: Value) -> Int64:
    return Int64(wrap64(to_int64(value) + 1))


@_add("sub", takes=(_ANY, _ANY))
def _sub(_: Context, one: Value, other: Value) -> Int64:
    return Int64(wrap64(to_int64(one) - to_int64(other)))


@_add("mul", takes=(_ANY,), rest=_ANY)
def _mul(_: Context, first: Value, *others: Value) -> Int64:
    product = to_int64(first)
    for other in others:
        product = wrap64(product * to_int64(other))
    return Int64(product)


def _quotient(one: int, other: int) -> int:
    """Return the quotient towards zero."""
    if other == 0:
        raise FunctionError("runtime error: integer divide by zero")
    quotient = abs(one) // abs(other)
    return wrap64(quotient if (one < 0) == (other < 0) else -quotient)


@_add("div", takes=(_ANY, _ANY))
def _div(_: Context, one: Value, other: Value) -> Int64:
    return Int64(_quotient(to_int64(one), to_int64(other)))


@_add("mod", takes=(_ANY, _ANY))
def _mod(_: Context, one: Value, other: Value) -> Int64:
    left, right = to_int64(one), to_int64(other)
    return Int64(left - right * _quotient(left, right) if right != -1 else 0)


@_add("max", "biggest", takes=(_ANY,), rest=_ANY)
def _max(_: Context, *values: Value) -> Int64:
    return Int64(max(map(to_int64, values)))


@_add("min", takes=(_ANY,), rest=_ANY)
def _min(_: Context, *values: Value) -> Int64:
    return Int64(min(map(to_int64, values)))


@_add("maxf", takes=(_ANY,), rest=_ANY)
def _maxf(_: Context, *values: Value) -> float:
    numbers = list(map(to_float, values))
    return math.nan if any(map(math.isnan, numbers)) and math.inf not in numbers else max(numbers)


@_add("minf", takes=(_ANY,), rest=_ANY)
def _minf(_: Context, *values: Value) -> float:
    numbers = list(map(to_float, values))
    return math.nan if any(map(math.isnan, numbers)) and -math.inf not in numbers else min(numbers)


@_add("floor", takes=(_ANY,))
def _floor(_: Context, value: Value) -> float:
    number = to_float(value)
    return math.copysign(float(math.floor(number)), number) if math.isfinite(number) else number


@_add("ceil", takes=(_ANY,))
def _ceil(_: Context, value: Value) -> float:
    number = to_float(value)
    return math.copysign(float(math.ceil(number)), number) if math.isfinite(number) else number


@_add("round", takes=(_ANY, _INT), rest=Type.FLOAT)
def _round(_: Context, value: Value, places: int, *on: float) -> float:
    """Return a float rounded up from the fraction `on`, by default a half."""
    if not -300 <= places <= 300:
        return math.nan if places > 0 else 0.0
    power = float(f"1e{places}")
    digit = power * to_float(value)
    if not math.isfinite(digit):
        return digit / power
    fraction = math.modf(digit)[0]
    whole = math.ceil(digit) if fraction >= (on[0] if on else 0.5) else math.floor(digit)
    return whole / power


# exact decimals


def _decimal(value: Value) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        raise FunctionError("Cannot create a Decimal from a number that is not finite")
    return Decimal(repr(number))


def _folded(c: Context, first: Value, others: tuple[Value, ...], by: Callable[[Decimal, Decimal], Decimal]) -> float:
    total = _decimal(first)
    for other in others:
        c.budget.step()
        try:
            total = by(total, _decimal(other))
        except InvalidOperation as error:
            raise FunctionError("a decimal with too many digits") from error
    return float(total) + 0.0  # decimals have no negative zero


@_add("addf", rest=_ANY)
def _addf(c: Context, *values: Value) -> float:
    return _folded(c, 0.0, values, _EXACT.add)


@_add("add1f", takes=(_ANY,))
def _add1f(c: Context, value: Value) -> float:
    return _folded(c, value, (1,), _EXACT.add)


@_add("subf", takes=(_ANY,), rest=_ANY)
def _subf(c: Context, first: Value, *others: Value) -> float:
    return _folded(c, first, others, _EXACT.subtract)


@_add("mulf", takes=(_ANY,), rest=_ANY)
def _mulf(c: Context, first: Value, *others: Value) -> float:
    return _folded(c, first, others, _EXACT.multiply)


def _divided(one: Decimal, other: Decimal) -> Decimal:
    """Return the quotient to 16 places, halves away from zero."""
    if other == 0:
        raise FunctionError("decimal division by 0")
    return _EXACT.divide(one, other).quantize(_DIVISION_PLACES, ROUND_HALF_UP, _EXACT)


@_add("divf", takes=(_ANY,), rest=_ANY)
def _divf(c: Context, first: Value, *others: Value) -> float:
    return _folded(c, first, others, _divided)


# ranges


def _counted(c: Context, start: int, stop: int, step: int) -> Ints:
    if (stop < start and step >= 0) or (stop >= start and step <= 0):
        return Ints()
    numbers = range(start, stop, step)
    c.budget.step(len(numbers) // 4)
    return Ints(numbers)


@_add("until", takes=(_INT,))
def _until(c: Context, count: int) -> Ints:
    return _counted(c, 0, count, -1 if count < 0 else 1)


@_add("untilStep", takes=(_INT, _INT, _INT))
def _until_step(c: Context, start: int, stop: int, step: int) -> Ints:
    return _counted(c, start, stop, step)


@_add("seq", rest=_INT)
def _seq(c: Context, *bounds: int) -> bytes:
    """Return the numbers between two bounds, both included, as text."""
    match bounds:
        case (last,):
            numbers = _between(c, 1, last, 1 if last >= 1 else -1)
        case (first, last):
            numbers = _between(c, first, last, 1 if last >= first else -1)
        case (first, step, last):
            if last < first:
                numbers = Ints() if step > 0 else _counted(c, first, last - 1, step)
            else:
                numbers = _counted(c, first, last + 1, step)
        case _:
            numbers = Ints()
    return " ".join(map(str, numbers)).encode()


def _between(c: Context, first: int, last: int, step: int) -> Ints:
    return _counted(c, first, last + step, step)


@_add("randInt", takes=(_INT, _INT))
def _rand_int(c: Context, low: int, high: int) -> int:
    if high <= low:
        raise FunctionError("invalid argument to Intn")
    return low + draw(c, high - low)


def draw(c: Context, below: int) -> int:
    """Return a random number from 0 to `below`, itself not included, each with equal chance."""
    size = (below.bit_length() + 7) // 8 + 8  # eight bytes more than needed: the bias is below 2**-64
    return int.from_bytes(c.entropy(size), "big") % below
