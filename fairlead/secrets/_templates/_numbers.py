"""Numbers as Go reads and writes them.

Source: Go's `strconv`.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Final

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_DIGITS: Final = {2: "01", 8: "01234567", 10: "0123456789", 16: "0123456789abcdef"}
_PREFIXES: Final = {"0b": 2, "0o": 8, "0x": 16}
_DECIMAL: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"[-+]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][-+]?\d+", re.ASCII)
_NAMED: Final = re.compile(r"[-+]?(?:inf(?:inity)?)|nan", re.IGNORECASE)
_NUMBER_LENGTH_MAX: Final = 1000


def wrap64(number: int) -> int:
    """Return the number as 64 bits hold it.

    >>> wrap64(2**63) == -(2**63)
    True
    """
    return (number + 2**63) % 2**64 - 2**63


def parse_int(text: str, base: int = 0) -> int | None:
    """Return a whole number of any size, or None; base 0 reads prefixes and underscores."""
    if len(text) > _NUMBER_LENGTH_MAX:
        return None
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    digits = digits.lower()
    if base == 0:
        base = 10
        if digits[:2] in _PREFIXES:
            base = _PREFIXES[digits[:2]]
            digits = digits[2:].removeprefix("_")
        elif digits[:1] == "0" and len(digits) > 1:
            base = 8
            digits = digits[1:].removeprefix("_")
        if "__" in digits or digits[:1] == "_" or digits[-1:] == "_":
            return None
        digits = digits.replace("_", "")
    if not digits or any(one not in _DIGITS[base] for one in digits):
        return None
    return sign * int(digits, base)


def parse_int64(text: str, base: int = 0) -> int | None:
    """Return a whole number of 64 bits, or None."""
    number = parse_int(text, base)
    return number if number is not None and INT64_MIN <= number <= INT64_MAX else None


def parse_float(text: str) -> float | None:
    """Return a float, or None; what is too large is None too."""
    if len(text) > _NUMBER_LENGTH_MAX:
        return None
    if _NAMED.fullmatch(text):
        return float(text)
    if "_" in text:
        # Between digits, or behind a prefix.
        if re.search(r"(?<![0-9a-fA-FxX])_|_(?![0-9a-fA-F])", text):
            return None
        text = text.replace("_", "")
    try:
        if _DECIMAL.fullmatch(text):
            number = float(text)
        elif _HEXADECIMAL.fullmatch(text):
            number = float.fromhex(text)
        else:
            return None
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _shortest(number: float) -> tuple[str, int]:
    """Return the digits that tell a positive number from all others, and where the point is."""
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    return (stripped, point) if stripped else ("0", 1)


def _rounded(number: float, count: int) -> tuple[str, int]:
    """Return at most `count` digits of a positive number without zeros at the end, and where the point is."""
    mantissa, _, exponent = f"{number:.{max(count, 1) - 1}e}".partition("e")
    digits = mantissa.replace(".", "").rstrip("0")
    return (digits, int(exponent) + 1) if digits else ("0", 1)


def _with_exponent(digits: str, point: int, precision: int, letter: str) -> str:
    digits = digits.ljust(precision + 1, "0")
    exponent = point - 1 if digits.strip("0") else 0
    fraction = f".{digits[1 : precision + 1]}" if precision > 0 else ""
    return f"{digits[0]}{fraction}{letter}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits.ljust(point, "0")
    return f"{digits[:point]}.{digits[point:]}"


def format_float(number: float, verb: str = "g", precision: int = -1) -> str:
    """Return a float in one of the forms e, E, f, F, g, G; precision -1 means as many digits as it takes.

    >>> [format_float(one) for one in (100000.0, 1000000.0, 12345678.0, 0.00001, -0.0)]
    ['100000', '1e+06', '1.2345678e+07', '1e-05', '-0']
    """
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    sign, number = ("-", -number) if math.copysign(1, number) < 0 else ("", number)
    kind = verb.lower()
    if kind == "f" and precision >= 0:
        return f"{sign}{number:.{precision}f}"
    if kind == "e" and precision >= 0:
        return sign + f"{number:.{precision}{verb}}"
    if kind == "g" and precision >= 0:
        digits, point = _rounded(number, precision)
    else:
        digits, point = _shortest(number)
    if number == 0:
        digits, point = "0", 1
    letter = "E" if verb.isupper() else "e"
    if kind == "e":
        return sign + _with_exponent(digits, point, len(digits) - 1, letter)
    if kind == "g":
        threshold = 6 if precision < 0 else max(precision, 1)
        if precision >= 0 and threshold > len(digits) >= point:
            threshold = len(digits)
        if point - 1 < -4 or point - 1 >= threshold:
            return sign + _with_exponent(digits, point, len(digits) - 1, letter)
    return sign + _plain(digits, point)


def format_float32(number: float) -> str:
    """Return a float with as few digits as tell it from all others of 32 bits.

    >>> [format_float32(one) for one in (0.1, 3.14159265, 1e300)]
    ['0.1', '3.1415927', '+Inf']
    """
    try:
        single = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        single = math.copysign(math.inf, number)
    if not math.isfinite(single):
        return format_float(single)
    digits = next(count for count in range(1, 10) if _as_single(f"{single:.{count - 1}e}") == single)
    return format_float(float(f"{single:.{digits - 1}e}"))


def _as_single(text: str) -> float:
    try:
        found: float = struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:
        return math.inf
    return found


def binary_float(number: float) -> str:
    """Return a float as its whole mantissa and a power of two.

    >>> binary_float(1.0)
    '4503599627370496p-52'
    """
    if not math.isfinite(number):
        return format_float(number)
    mantissa, exponent = math.frexp(abs(number))
    whole, power = (int(mantissa * 2**53), exponent - 53) if number else (0, -1074)
    if power < -1074:
        whole, power = whole >> (-1074 - power), -1074
    sign = "-" if math.copysign(1, number) < 0 else ""
    return f"{sign}{whole}p{'+' if power >= 0 else '-'}{abs(power)}"


def hexadecimal_float(number: float, precision: int | None = None) -> str:
    """Return a float as a hexadecimal mantissa and a power of two.

    >>> hexadecimal_float(-2.25)
    '-0x1.2p+01'
    """
    if not math.isfinite(number):
        return format_float(number)
    sign = "-" if math.copysign(1, number) < 0 else ""
    mantissa, exponent = math.frexp(abs(number))
    whole, power = (int(mantissa * 2**53), exponent - 1) if number else (0, 0)
    if precision is not None and precision < 13:
        drop = 4 * (13 - precision)
        half = 1 << (drop - 1)
        rest, whole = whole & ((1 << drop) - 1), whole >> drop
        whole += rest > half or (rest == half and whole & 1)
        if whole.bit_length() > 4 * precision + 1:
            whole, power = whole >> 1, power + 1
        digits = f"{whole:0{precision + 1}x}"
    else:
        digits = f"{whole:014x}"
        digits = digits[0] + (digits[1:].rstrip("0") if precision is None else digits[1:].ljust(precision, "0"))
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{sign}0x{digits[0]}{fraction}p{'+' if power >= 0 else '-'}{abs(power):02d}"
