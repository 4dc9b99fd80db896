"""Kubernetes quantities: to the text that Go writes for them, and to their value.

Source: k8s.io/apimachinery: pkg/api/resource (quantity.go, amount.go, suffix.go). What looks odd here is odd there,
and counts because the text enters the hash of a pod template: `1500m` and `1.500` stay as they are, `1.5` becomes
`1500m`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

_SCANNED = re.compile(r"([+-]?)(0*)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*(?:[+-]?[0-9]*))", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()}
_DIGITS_MAX = 18  # of a number that Go keeps in 64 bits without looking closer
_NANO = -9
_CAP = 2**63 - 1  # of binary quantities
_CHARACTERS_MAX = 200
_EXPONENT_MAX = 1000  # Go takes any; nothing real comes near, and 10**(10**8) would cost minutes


class Quantity(NamedTuple):
    """The text that Go writes, and the exact value."""

    text: str
    value: Fraction


def parse(text: str) -> Quantity:
    """Return a quantity.

    Raises:
        ValueError: it is none.

    >>> parse("0.001").text, parse("1024Mi").text, parse("1.5Gi").text, parse("1e3").text
    ('1m', '1Gi', '1536Mi', '1e3')
    """
    text = text.strip()
    scanned = _SCANNED.fullmatch(text) if len(text) <= _CHARACTERS_MAX else None
    if not text or scanned is None:
        raise ValueError(f"no quantity: {text[:_CHARACTERS_MAX]!r}")
    sign, zeros, whole, fraction, suffix = scanned[1], scanned[2], scanned[3], scanned[4] or "", scanned[5]
    family, exponent = _interpret(suffix)
    digits = (whole or "0") + fraction
    has_digits = bool(zeros or whole or fraction)  # `m` alone is zero, but only on Go's fast path
    number = int(digits) * (-1 if sign == "-" else 1)
    if number and abs(exponent) > _EXPONENT_MAX:
        raise ValueError(f"exponent out of range: {text!r}")
    if family == "binary":
        return _binary(text, number, digits, len(fraction), exponent, has_digits)
    return _decimal(text, number, digits, exponent - len(fraction), family, has_digits)


def _interpret(suffix: str) -> tuple[str, int]:
    if suffix in _DECIMAL:
        return "decimal", _DECIMAL[suffix]
    if suffix in _BINARY:
        return "binary", _BINARY[suffix]
    if matched := _EXPONENT.fullmatch(suffix):
        return "exponent", int(matched[1])
    raise ValueError(f"unknown suffix: {suffix!r}")


def _decimal(text: str, number: int, digits: str, scale: int, family: str, has_digits: bool) -> Quantity:
    if len(digits) <= _DIGITS_MAX and scale >= _NANO:
        value = _scaled(number, scale)
        if scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0":
            return Quantity(text, value)  # canonical already, so Go keeps what was written
        return Quantity(_canonical(value, family), value)
    if not has_digits:
        raise ValueError(f"no digits: {text!r}")
    value = _rounded_up(_scaled(number, scale), _NANO)
    return Quantity(_canonical(value, family), value)


def _binary(text: str, number: int, digits: str, places: int, exponent: int, has_digits: bool) -> Quantity:
    if not places and 15 - len(digits) - exponent * 3 // 10 - 1 >= 0:
        value = Fraction(number << exponent)
        return Quantity(text if number & 7 else _canonical(value, "binary"), value)
    if not has_digits:
        raise ValueError(f"no digits: {text!r}")
    value = _rounded_up(_scaled(number, -places) * 2**exponent, _NANO)
    if abs(value) > _CAP:
        value = Fraction(_CAP if value > 0 else -_CAP)
    return Quantity(_canonical(value, "decimal" if 0 < abs(value) < 1 else "binary"), value)


def _canonical(value: Fraction, family: str) -> str:
    if not value:
        return "0"
    if family == "binary" and value.denominator == 1 and abs(value) >= 1024:
        mantissa, exponent = value.numerator, 0
        while mantissa % 1024 == 0:
            mantissa, exponent = mantissa // 1024, exponent + 10
        return f"{mantissa}{_BINARY_SUFFIX.get(exponent, '')}"
    # A binary one that is small or broken is written as a decimal one. Nothing here is finer than nano.
    exponent = _NANO
    mantissa = int(value * 10**9)
    while mantissa % 1000 == 0:
        mantissa, exponent = mantissa // 1000, exponent + 3
    if family == "exponent":
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX.get(exponent, '')}"


def _scaled(number: int, scale: int) -> Fraction:
    if not number:
        return Fraction(0)  # whatever the scale: 0e1000000000 is zero at once
    return Fraction(number * 10**scale) if scale >= 0 else Fraction(number, 10**-scale)


def _rounded_up(value: Fraction, scale: int) -> Fraction:
    """Round away from zero to 10**scale: whoever asks for a resource gets some."""
    parts = value * 10**-scale
    return Fraction(ceil(parts) if parts > 0 else floor(parts), 10**-scale)


def rounded_to_milli(value: Fraction) -> Fraction:
    """Return the value as the API server's defaulting stores it in a resource list."""
    return _rounded_up(value, -3)
