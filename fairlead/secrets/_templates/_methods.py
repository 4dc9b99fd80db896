"""The exported methods and fields of the values that are no plain data: times, versions, certificates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

from fairlead.secrets._templates._functions._registry import Context, Function, Type
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._text import runes, unrunes
from fairlead.secrets._templates._times import Duration, Month, Time, Weekday
from fairlead.secrets._templates._values import Certificate, Int64, Uint64, Value

_Run = Callable[..., Any]
_Method = tuple[tuple[Type, ...], _Run]
_SECOND: Final = 10**9


def _rounded(value: int, unit: int) -> int:
    """Return the nearest multiple, halves away from zero."""
    if unit <= 0:
        return value
    magnitude = (abs(value) * 2 + unit) // (2 * unit) * unit
    return magnitude if value >= 0 else -magnitude


def _truncated(value: int, unit: int) -> int:
    if unit <= 0:
        return value
    return abs(value) // unit * unit * (1 if value >= 0 else -1)


def _since_year_one(moment: Time) -> int:
    return moment.unix_nanoseconds() - Time.zero().unix_nanoseconds()


_TIME: Final[dict[str, _Method]] = {
    "UTC": ((), lambda t: t.in_zone(UTC)),
    "Local": ((), lambda t: t.in_zone(UTC)),
    "Format": ((Type.STRING,), lambda t, layout: unrunes(t.format(runes(layout)))),
    "String": ((), lambda t: str(t).encode()),
    "Unix": ((), lambda t: Int64(t.unix_nanoseconds() // _SECOND)),
    "UnixMilli": ((), lambda t: Int64(t.unix_nanoseconds() // 10**6)),
    "UnixMicro": ((), lambda t: Int64(t.unix_nanoseconds() // 10**3)),
    "UnixNano": ((), lambda t: Int64(t.unix_nanoseconds())),
    "Year": ((), lambda t: t.at.year),
    "Month": ((), lambda t: Month(t.at.month)),
    "Day": ((), lambda t: t.at.day),
    "Hour": ((), lambda t: t.at.hour),
    "Minute": ((), lambda t: t.at.minute),
    "Second": ((), lambda t: t.at.second),
    "Nanosecond": ((), lambda t: t.nanosecond()),
    "Weekday": ((), lambda t: Weekday(t.at.isoweekday() % 7)),
    "YearDay": ((), lambda t: t.at.timetuple().tm_yday),
    "IsZero": ((), lambda t: t.unix_nanoseconds() == Time.zero().unix_nanoseconds()),
    "Add": ((Type.DURATION,), lambda t, span: t.plus(span)),
    "AddDate": ((Type.INT, Type.INT, Type.INT), lambda t, years, months, days: t.plus_date(years, months, days)),
    "Sub": ((Type.TIME,), lambda t, other: t.minus(other)),
    "After": ((Type.TIME,), lambda t, other: t.unix_nanoseconds() > other.unix_nanoseconds()),
    "Before": ((Type.TIME,), lambda t, other: t.unix_nanoseconds() < other.unix_nanoseconds()),
    "Equal": ((Type.TIME,), lambda t, other: t.unix_nanoseconds() == other.unix_nanoseconds()),
    "Compare": (
        (Type.TIME,),
        lambda t, other: (
            (t.unix_nanoseconds() > other.unix_nanoseconds()) - (t.unix_nanoseconds() < other.unix_nanoseconds())
        ),
    ),
    "Truncate": (
        (Type.DURATION,),
        lambda t, span: t.plus(_truncated(_since_year_one(t), span) - _since_year_one(t)),
    ),
    "Round": ((Type.DURATION,), lambda t, span: t.plus(_rounded(_since_year_one(t), span) - _since_year_one(t))),
}
_DURATION: Final[dict[str, _Method]] = {
    "String": ((), lambda d: str(d).encode()),
    "Hours": ((), lambda d: d / (3600 * _SECOND)),
    "Minutes": ((), lambda d: d / (60 * _SECOND)),
    "Seconds": ((), lambda d: d / _SECOND),
    "Milliseconds": ((), lambda d: Int64(_truncated(d, 10**6) // 10**6)),
    "Microseconds": ((), lambda d: Int64(_truncated(d, 10**3) // 10**3)),
    "Nanoseconds": ((), lambda d: Int64(d)),
    "Abs": ((), lambda d: Duration(min(abs(d), 2**63 - 1))),
    "Round": ((Type.DURATION,), lambda d, unit: Duration(_rounded(d, unit))),
    "Truncate": ((Type.DURATION,), lambda d, unit: Duration(_truncated(d, unit))),
}
_NAMED: Final[dict[str, _Method]] = {"String": ((), lambda one: str(one).encode())}
_VERSION: Final[dict[str, _Method]] = {
    "Major": ((), lambda v: Uint64(v.major)),
    "Minor": ((), lambda v: Uint64(v.minor)),
    "Patch": ((), lambda v: Uint64(v.patch)),
    "Prerelease": ((), lambda v: v.prerelease.encode()),
    "Metadata": ((), lambda v: v.metadata.encode()),
    "Original": ((), lambda v: v.original.encode()),
    "String": ((), lambda v: str(v).encode()),
    "Compare": ((Type.VERSION,), lambda v, other: v.compare(other)),
    "Equal": ((Type.VERSION,), lambda v, other: v.compare(other) == 0),
    "LessThan": ((Type.VERSION,), lambda v, other: v.compare(other) < 0),
    "LessThanEqual": ((Type.VERSION,), lambda v, other: v.compare(other) <= 0),
    "GreaterThan": ((Type.VERSION,), lambda v, other: v.compare(other) > 0),
    "GreaterThanEqual": ((Type.VERSION,), lambda v, other: v.compare(other) >= 0),
}
_METHODS: Final[dict[type, dict[str, _Method]]] = {
    Time: _TIME,
    Duration: _DURATION,
    Month: _NAMED,
    Weekday: _NAMED,
    Version: _VERSION,
}


def method(value: Value, name: str) -> Function | None:
    """Return a method of a value, bound to it; None if it has none of that name."""
    found = _METHODS.get(type(value), {}).get(name)
    if found is None:
        return None
    takes, run = found

    def call(_: Context, *arguments: Value) -> Value:
        return run(value, *arguments)

    return Function(name, call, takes)


def struct_field(value: Certificate, name: str) -> bytes | None:
    """Return a field of a certificate."""
    return {"Cert": value.cert, "Key": value.key}.get(name)
