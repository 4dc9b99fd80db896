"""Go duration strings, and int-or-percent.

Source: Go's `time.ParseDuration`, `k8s.io/apimachinery: pkg/util/intstr`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

_UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_NUMBER = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)
_UNIT = re.compile(r"[^.0-9]*")
_LIMIT = Fraction(2**63, 10**9)


def parse_go_seconds(text: str) -> Fraction:
    """Return the exact seconds of a Go duration such as `1h30m`, `-1.5s` or `0`.

    Raises:
        ValueError: with Go's own text, for instance `time: unknown unit "d" in duration "1d"`.

    >>> parse_go_seconds("1h30m")
    Fraction(5400, 1)
    """
    quoted = _quoted(text)
    rest = text
    negative = rest[:1] == "-"
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return Fraction(0)
    if not rest:
        raise ValueError(f"time: invalid duration {quoted}")
    total = Fraction(0)
    while rest:
        number = _NUMBER.match(rest)
        whole, fraction = (number.group(1), number.group(2)) if number else ("", None)
        if not number or not (whole or fraction):
            raise ValueError(f"time: invalid duration {quoted}")
        rest = rest[number.end() :]
        unit_match = _UNIT.match(rest)
        unit = unit_match.group(0) if unit_match else ""
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {_quoted(unit)} in duration {quoted}")
        rest = rest[len(unit) :]
        digits = Fraction(int(whole or "0"))
        if fraction:
            digits += Fraction(int(fraction), 10 ** len(fraction))
        total += digits * _UNITS[unit]
        if total >= _LIMIT and not (negative and total == _LIMIT):
            raise ValueError(f"time: invalid duration {quoted}")
    return -total if negative else total


def _quoted(text: str) -> str:
    """Return the text as Go's messages about durations quote it: what is not printable ASCII as bytes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    parts = (
        character if " " <= character < "\x80" else "".join(f"\\x{byte:02x}" for byte in _bytes(character))
        for character in escaped
    )
    return f'"{"".join(parts)}"'


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "replace")


def parse_go_duration(text: str) -> timedelta:
    """Return a Go duration as a timedelta (whole microseconds).

    Raises:
        ValueError: with Go's own text.
    """
    return timedelta(microseconds=int(parse_go_seconds(text) * 10**6))


def format_go_duration(span: timedelta) -> str:
    """Return a span as Go's `Duration.String` does: `1h0m5s`, `1.5s`, `250ms`, `0s`.

    >>> format_go_duration(timedelta(hours=1, seconds=5))
    '1h0m5s'
    """
    micros = span // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1000:
        return f"{sign}{micros}µs"
    if micros < 10**6:
        return f"{sign}{_decimal(micros, 1000)}ms"
    minutes, micros = divmod(micros, 60 * 10**6)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(micros, 10**6)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else str(whole)


def human_duration(span: timedelta) -> str:
    """Return a span as people read it in a table: `90s`, `5m`, `3h10m`, `12d` (kubectl's ages)."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest = divmod(hours, 24)
    if days < 8:
        return f"{days}d{rest}h" if rest else f"{days}d"
    return f"{days}d"
