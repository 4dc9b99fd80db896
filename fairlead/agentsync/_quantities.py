"""Scalars that mean the same though they are spelled differently: `1000m` is `1`, `60s` is `1m0s`.

Source: `k8s.io/apimachinery: pkg/api/resource/quantity.go`, `pkg/util/intstr`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any, Final

from fairlead.core.durations import parse_go_seconds
from fairlead.core.objects import parse_rfc3339

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,3})|(n|u|m|k|[KMGTPE]i?))?", re.ASCII)
_SUFFIXES: Final[Mapping[str, Fraction]] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}
_DIGITS_MAX: Final = 64  # nobody writes more, and conversion of very long ones is slow
_NANO: Final = 10**9


def quantity(found: Any) -> Fraction | None:
    """Return a quantity as a number; None when it is none. What is finer than a billionth is rounded up.

    >>> quantity("1000m"), quantity(1), quantity("1Ki")
    (Fraction(1, 1), Fraction(1, 1), Fraction(1024, 1))
    """
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    text = str(found)
    matched = _QUANTITY.fullmatch(text) if len(text) <= _DIGITS_MAX else None
    if matched is None:
        return None
    sign, digits, exponent, suffix = matched.groups()
    value = Fraction(digits.rstrip("."))
    if exponent:
        value *= Fraction(10) ** int(exponent[1:])
    elif suffix:
        if suffix == "K":  # only Ki exists
            return None
        value *= _SUFFIXES[suffix]
    value = Fraction(ceil(value * _NANO), _NANO)
    return -value if sign == "-" else value


def duration(found: Any) -> Fraction | None:
    """Return a Go duration in seconds; None when it is none."""
    if not isinstance(found, str) or len(found) > _DIGITS_MAX:
        return None
    try:
        return parse_go_seconds(found)
    except ValueError:
        return None


def int_or_string(found: Any) -> int | str | None:
    """Return a number for what is written in digits, else the text.

    >>> int_or_string("80"), int_or_string(80), int_or_string("25%")
    (80, 80, '25%')
    """
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    is_number = isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) < _DIGITS_MAX
    return int(found) if is_number else found


def content(found: Any) -> bytes | None:
    """Return the bytes that a base64 text stands for, line breaks or not; None when it is none."""
    if not isinstance(found, str):
        return None
    try:
        return base64.b64decode("".join(found.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def instant(found: Any) -> datetime | None:
    """Return a time; None when it is none."""
    return parse_rfc3339(found) if isinstance(found, str) else None


READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "quantity": quantity,
    "duration": duration,
    "int-or-string": int_or_string,
    "bytes": content,
    "time": instant,
}


def same_scalar(one: Any, other: Any, type_: str = "") -> bool:
    """Return whether two JSON values that are no maps and no lists mean the same.

    Args:
        type_: a key of `READERS`, or empty: then they are equal only if spelled equally (1 is 1.0, but not true).

    >>> same_scalar("1000m", 1, "quantity"), same_scalar(1, True)
    (True, False)
    """
    if isinstance(one, bool) is isinstance(other, bool) and one == other:
        return True
    read = READERS.get(type_)
    if read is None:
        return False
    meant = read(one)
    return meant is not None and meant == read(other)
