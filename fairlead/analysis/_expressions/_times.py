"""Times and durations of expressions."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from fairlead.analysis._expressions import _operators as ops
from fairlead.analysis._expressions._errors import runtime_error
from fairlead.analysis._expressions._values import Duration, Zone
from fairlead.core.durations import parse_go_seconds

_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
_LAYOUTS: Final = (
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
)
# Go's reference time and what strptime calls its parts, longest first.
_PARTS: Final = (
    ("January", "%B"),
    ("Monday", "%A"),
    ("Z07:00", "%z"),
    ("-07:00", "%z"),
    ("-0700", "%z"),
    ("2006", "%Y"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("PM", "%p"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
)


def duration(text: str) -> Duration:
    """Return a Go duration.

    Raises:
        ExpressionError: with Go's text.
    """
    try:
        return Duration(int(parse_go_seconds(text) * 10**9))
    except ValueError as error:
        raise runtime_error(str(error)) from None


def zone(name: str) -> Zone:
    """Return a time zone of the IANA database, `UTC` or `Local` (which is UTC)."""
    if name in ("", "UTC", "Local"):
        return Zone(name or "UTC", UTC)
    import zoneinfo  # seldom needed, and slow to import

    try:
        if not _ZONE_NAME.fullmatch(name) or len(name) > 64:
            raise ValueError(name)
        return Zone(name, zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise runtime_error(f"unknown time zone {name}") from None


def in_zone(instant: datetime, given: Any) -> datetime:
    """Return the same instant as a zone's clocks show it; None leaves it as it is."""
    return instant.astimezone(given.zone) if isinstance(given, Zone) else instant


def date(*arguments: Any) -> datetime:
    """Return the instant of `date([zone,] text [, layout [, zone]])`."""
    place: Any = UTC
    values = list(arguments)
    if isinstance(values[0], Zone):
        place = values.pop(0).zone
    if not values:
        raise runtime_error("invalid number of arguments (expected at least 1, got 0)")
    text = ops.as_text(values[0])
    if len(values) > 2:
        place = zone(ops.as_text(values[2])).zone
    layouts = (ops.as_text(values[1]),) if len(values) > 1 else _LAYOUTS
    for layout in layouts:
        if (instant := _parsed(text, layout, place)) is not None:
            return instant
    if len(values) > 1:
        raise runtime_error(f'parsing time "{text}" as "{layouts[0]}": cannot parse')
    raise runtime_error(f"invalid date {text}")


def _parsed(text: str, layout: str, place: Any) -> datetime | None:
    if len(text) > 100 or len(layout) > 100:
        return None
    if layout.endswith("T15:04:05Z07:00"):
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            return None
        return instant if instant.tzinfo is not None else None
    pattern = layout.replace("%", "%%")
    for part, code in _PARTS:
        pattern = pattern.replace(part, code)
    try:
        instant = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone follows
        if "%Y" not in pattern and "%y" not in pattern:
            instant = instant.replace(year=1)  # Go says 0, which Python does not have
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=place)
    except (ValueError, re.error):
        return None
