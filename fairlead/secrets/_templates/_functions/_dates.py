"""Dates and spans.

Source: `Masterminds/sprig` v3.
"""

from __future__ import annotations

from datetime import UTC
from typing import Final

from fairlead.secrets._templates import _times
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._numbers import parse_int64, wrap64
from fairlead.secrets._templates._text import runes, unrunes, valid
from fairlead.secrets._templates._times import Time, format_duration
from fairlead.secrets._templates._values import Int64, Value

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING, _TIME = Type.ANY, Type.STRING, Type.TIME
_SECOND: Final = 10**9
_HTML_LAYOUT: Final = b"2006-01-02"
_UNITS: Final = (
    ("y", 365 * 86400),
    ("mo", 30 * 86400),
    ("d", 86400),
    ("h", 3600),
    ("m", 60),
    ("s", 1),
)


def present(c: Context) -> Time:
    return Time(c.now.astimezone(UTC))


def instant(c: Context, value: Value) -> Time:
    """Return the instant that a value stands for: a time, or seconds; anything else is now."""
    if isinstance(value, Time):
        return value
    if type(value) in (int, Int64):
        return Time.unix(int(value))
    return present(c)


@_add("now")
def _now(c: Context) -> Time:
    return present(c)


def _dated(c: Context, layout: bytes, value: Value, zone: bytes) -> bytes:
    place = _times.zone(valid(zone)) or UTC
    return unrunes(instant(c, value).in_zone(place).format(runes(layout)))


@_add("date", takes=(_STRING, _ANY))
def _date(c: Context, layout: bytes, value: Value) -> bytes:
    return _dated(c, layout, value, b"Local")


@_add("dateInZone", "date_in_zone", takes=(_STRING, _ANY, _STRING))
def _date_in_zone(c: Context, layout: bytes, value: Value, zone: bytes) -> bytes:
    return _dated(c, layout, value, zone)


@_add("htmlDate", takes=(_ANY,))
def _html_date(c: Context, value: Value) -> bytes:
    return _dated(c, _HTML_LAYOUT, value, b"Local")


@_add("htmlDateInZone", takes=(_ANY, _STRING))
def _html_date_in_zone(c: Context, value: Value, zone: bytes) -> bytes:
    return _dated(c, _HTML_LAYOUT, value, zone)


@_add("dateModify", "date_modify", takes=(_STRING, _TIME))
def _date_modify(_: Context, span: bytes, value: Time) -> Time:
    found = _times.parse_duration(valid(span))
    return value if found is None else value.plus(found)


@_add("mustDateModify", "must_date_modify", takes=(_STRING, _TIME))
def _must_date_modify(_: Context, span: bytes, value: Time) -> Time:
    found = _times.parse_duration(valid(span))
    if found is None:
        raise FunctionError("time: invalid duration")
    return value.plus(found)


@_add("toDate", takes=(_STRING, _STRING))
def _to_date(_: Context, layout: bytes, text: bytes) -> Time:
    return _times.parse(valid(layout), valid(text)) or Time.zero()


@_add("mustToDate", takes=(_STRING, _STRING))
def _must_to_date(_: Context, layout: bytes, text: bytes) -> Time:
    found = _times.parse(valid(layout), valid(text))
    if found is None:
        raise FunctionError("parsing time: the text does not fit the layout")
    return found


@_add("unixEpoch", takes=(_TIME,))
def _unix_epoch(_: Context, value: Time) -> bytes:
    return b"%d" % (value.unix_nanoseconds() // _SECOND)


@_add("ago", takes=(_ANY,))
def _ago(c: Context, value: Value) -> bytes:
    span = present(c).minus(instant(c, value))
    rounded = (abs(span) * 2 + _SECOND) // (2 * _SECOND) * _SECOND
    return format_duration(rounded if span >= 0 else -rounded).encode()


@_add("duration", takes=(_ANY,))
def _duration(_: Context, value: Value) -> bytes:
    seconds = 0
    if isinstance(value, bytes):
        seconds = parse_int64(value.decode("utf-8", "replace"), 10) or 0
    elif type(value) is Int64:
        seconds = int(value)
    return format_duration(wrap64(seconds * _SECOND)).encode()


@_add("durationRound", takes=(_ANY,))
def _duration_round(c: Context, value: Value) -> bytes:
    span = 0
    if isinstance(value, bytes):
        span = _times.parse_duration(valid(value)) or 0
    elif type(value) is Int64:
        span = int(value)
    elif isinstance(value, Time):
        span = int(present(c).minus(value))
    for unit, seconds in _UNITS:
        if abs(span) > seconds * _SECOND:
            return f"{abs(span) // (seconds * _SECOND)}{unit}".encode()
    return b"0s"
