"""Instants, and Go's way to write them: layouts are the reference time Mon Jan 2 15:04:05 2006 -0700, written out.

Source: Go's `time`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from fairlead.core.durations import parse_go_seconds
from fairlead.secrets._templates._numbers import wrap64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS: Final = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()  # noqa: SIM905
_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
_PART: Final = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|_(?=2006)|__2|_2|3|4|5|PM|pm"
    r"|[-Z]070000|[-Z]07:00:00|[-Z]0700|[-Z]07:00|[-Z]07|[.,](?:0+|9+)(?![0-9])"
)
_LENGTH_MAX: Final = 256


class Month(int):
    """A Go time.Month: a number that prints as a name."""

    def __str__(self) -> str:
        return _MONTHS[self - 1]


class Weekday(int):
    """A Go time.Weekday: Sunday is 0."""

    def __str__(self) -> str:
        return _DAYS[self]


class Duration(int):
    """A Go time.Duration, in nanoseconds."""

    def __str__(self) -> str:
        return format_duration(self)


@dataclass(frozen=True, slots=True)
class Time:
    """An instant, as the clocks of its zone show it.

    Args:
        at: the instant to a microsecond, with its zone.
        nanos: what a nanosecond clock would show beyond, 0 to 999.
    """

    at: datetime
    nanos: int = 0

    @staticmethod
    def zero() -> Time:
        """Return Go's zero time: the beginning of year 1."""
        return Time(_ZERO)

    @staticmethod
    def unix(seconds: int) -> Time:
        """Return an instant by its seconds since 1970; one that no calendar here reaches is the zero time."""
        try:
            return Time(_EPOCH + timedelta(seconds=seconds))
        except OverflowError:
            return Time.zero()

    def unix_nanoseconds(self) -> int:
        span = self.at - _EPOCH
        return (span.days * 86400 + span.seconds) * 10**9 + span.microseconds * 1000 + self.nanos

    def nanosecond(self) -> int:
        return self.at.microsecond * 1000 + self.nanos

    def in_zone(self, zone: tzinfo) -> Time:
        try:
            return replace(self, at=self.at.astimezone(zone))
        except OverflowError:
            return self

    def plus(self, nanoseconds: int) -> Time:
        """Return a later instant; one beyond the calendar is the zero time."""
        micros, nanos = divmod(self.nanos + nanoseconds, 1000)
        try:
            return Time((self.at.astimezone(UTC) + timedelta(microseconds=micros)).astimezone(self.at.tzinfo), nanos)
        except OverflowError:
            return Time.zero()

    def minus(self, other: Time) -> Duration:
        """Return the span since another instant, as far as 64 bits go."""
        span = self.unix_nanoseconds() - other.unix_nanoseconds()
        return Duration(max(-(2**63), min(2**63 - 1, span)))

    def plus_date(self, years: int, months: int, days: int) -> Time:
        """Return the same time of a later day; a day that its month lacks runs over into the next."""
        months += self.at.month - 1 + 12 * (self.at.year + years)
        try:
            first = self.at.replace(year=months // 12, month=months % 12 + 1, day=1)
            return replace(self, at=first + timedelta(days=self.at.day - 1 + days))
        except (ValueError, OverflowError):
            return Time.zero()

    def zone_name(self) -> str:
        """Return the abbreviation of the zone, or its offset where it has none."""
        name = self.at.tzname() or ""
        return name if name and not name.startswith("UTC+") and not name.startswith("UTC-") else self._offset("-0700")

    def _offset(self, form: str) -> str:
        seconds = int((self.at.utcoffset() or timedelta()).total_seconds())
        if form[0] == "Z" and seconds == 0:
            return "Z"
        sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
        hours, rest = divmod(seconds, 3600)
        minutes, seconds = divmod(rest, 60)
        if form.startswith(("-07:00", "Z07:00")):
            text = f"{sign}{hours:02d}:{minutes:02d}"
            return text + (f":{seconds:02d}" if form.endswith(":00:00") else "")
        if form in ("-07", "Z07"):
            return f"{sign}{hours:02d}"
        return f"{sign}{hours:02d}{minutes:02d}" + (f"{seconds:02d}" if form.endswith("070000") else "")

    def format(self, layout: str) -> str:
        """Return the instant in a layout.

        >>> Time.unix(0).format("Mon, 02 Jan 2006 15:04:05 MST")
        'Thu, 01 Jan 1970 00:00:00 UTC'
        """
        return _PART.sub(lambda found: self._part(found[0]), layout)

    def _part(self, part: str) -> str:
        at = self.at
        if part[0] in ".,":
            digits = f"{self.nanosecond():09d}"[: len(part) - 1].ljust(len(part) - 1, "0")
            if part[1] == "9":
                digits = digits.rstrip("0")
            return part[0] + digits if digits else ""
        if part[0] in "-Z":
            return self._offset(part)
        hour = at.hour % 12 or 12
        day = at.timetuple().tm_yday
        return {
            "January": _MONTHS[at.month - 1],
            "Jan": _MONTHS[at.month - 1][:3],
            "Monday": _DAYS[at.isoweekday() % 7],
            "Mon": _DAYS[at.isoweekday() % 7][:3],
            "MST": self.zone_name(),
            "2006": f"{at.year:04d}",
            "06": f"{at.year % 100:02d}",
            "01": f"{at.month:02d}",
            "1": str(at.month),
            "002": f"{day:03d}",
            "__2": f"{day:3d}",
            "02": f"{at.day:02d}",
            "_2": f"{at.day:2d}",
            "2": str(at.day),
            "15": f"{at.hour:02d}",
            "03": f"{hour:02d}",
            "3": str(hour),
            "04": f"{at.minute:02d}",
            "4": str(at.minute),
            "05": f"{at.second:02d}",
            "5": str(at.second),
            "PM": "PM" if at.hour >= 12 else "AM",
            "pm": "pm" if at.hour >= 12 else "am",
            "_": "_",
        }[part]

    def __str__(self) -> str:
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")


def zone(name: str) -> tzinfo | None:
    """Return a time zone, or None if nobody knows it; `Local` is UTC, wherever the controller runs."""
    if name in ("", "UTC", "Local"):
        return UTC
    import zoneinfo  # seldom needed, and slow to import

    if len(name) > 64 or not _ZONE_NAME.fullmatch(name):
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


# What each part of a layout matches when a time is read.
_NAMES: Final = {
    "January": "|".join(_MONTHS),
    "Jan": "|".join(name[:3] for name in _MONTHS),
    "Monday": "|".join(_DAYS),
    "Mon": "|".join(name[:3] for name in _DAYS),
}
_READS: Final = {
    "2006": r"[0-9]{4}",
    "06": r"[0-9]{2}",
    "01": r"[0-9]{2}",
    "1": r"[0-9]{1,2}",
    "002": r"[0-9]{3}",
    "__2": r" {0,2}[0-9]{1,3}",
    "02": r"[0-9]{2}",
    "_2": r" ?[0-9]{1,2}",
    "2": r" ?[0-9]{1,2}",
    "15": r"[0-9]{2}",
    "03": r"[0-9]{2}",
    "3": r"[0-9]{1,2}",
    "04": r"[0-9]{2}",
    "4": r"[0-9]{1,2}",
    "05": r"[0-9]{2}",
    "5": r"[0-9]{1,2}",
    "PM": r"AM|PM",
    "pm": r"am|pm",
    "MST": r"[A-Z]{3,5}|[A-Z]{4}T|GMT[+-][0-9]{1,2}|[+-][0-9]{2}",
    "_": "_",
}
_OFFSETS: Final = {
    "070000": r"[+-][0-9]{6}",
    "07:00:00": r"[+-][0-9]{2}:[0-9]{2}:[0-9]{2}",
    "0700": r"[+-][0-9]{4}",
    "07:00": r"[+-][0-9]{2}:[0-9]{2}",
    "07": r"[+-][0-9]{2}",
}


def parse(layout: str, text: str, local: tzinfo = UTC) -> Time | None:
    """Return the instant that a text gives in a layout, or None if it does not fit.

    >>> str(parse("2006-01-02", "2024-02-29"))
    '2024-02-29 00:00:00 +0000 UTC'
    """
    if len(layout) > _LENGTH_MAX or len(text) > _LENGTH_MAX:
        return None
    pattern, parts, copied = "", [], 0
    for found in _PART.finditer(layout):
        pattern += re.escape(layout[copied : found.start()])
        part, copied = found[0], found.end()
        parts.append(part)
        pattern += f"({_reading(part)})"
        if part in ("05", "5") and not layout[copied:].startswith((".", ",")):
            parts.append(".9")  # a fraction may follow the seconds even where the layout has none
            pattern += r"((?:[.,][0-9]+)?)"
    pattern += re.escape(layout[copied:])
    found_all = re.fullmatch(pattern, text, re.IGNORECASE if "Jan" in parts or "January" in parts else 0)
    return None if found_all is None else _instant(dict(zip(parts, found_all.groups(), strict=True)), local)


def _reading(part: str) -> str:
    if part in _NAMES:
        return _NAMES[part]
    if part[0] in ".,":
        return f"[.,][0-9]{{{len(part) - 1}}}" if part[1] == "0" else "(?:[.,][0-9]+)?"
    if part[0] == "Z":
        return f"Z|{_OFFSETS[part[1:]]}"
    if part[0] == "-":
        return _OFFSETS[part[1:]]
    return _READS[part]


def _instant(given: dict[str, str], local: tzinfo) -> Time | None:
    year, month, day, hour, minute, second, nanos = 1, 1, 1, 0, 0, 0, 0
    place: tzinfo | None = None
    day_of_year, afternoon = 0, None
    for part, text in given.items():
        if part == "2006":
            year = int(text)
        elif part == "06":
            year = int(text) + (1900 if int(text) >= 69 else 2000)
        elif part in ("January", "Jan"):
            month = [name[: len(text)].lower() for name in _MONTHS].index(text.lower()) + 1
        elif part in ("01", "1"):
            month = int(text)
        elif part in ("002", "__2"):
            day_of_year = int(text)
        elif part in ("02", "_2", "2"):
            day = int(text)
        elif part in ("15", "03", "3"):
            hour = int(text)
        elif part in ("04", "4"):
            minute = int(text)
        elif part in ("05", "5"):
            second = int(text)
        elif part in ("PM", "pm"):
            afternoon = text.upper() == "PM"
        elif part[0] in ".,":
            nanos = int(text[1:10].ljust(9, "0")) if text else 0
        elif part[0] in "-Z":
            place = _offset_zone(text)
        elif part == "MST" and text in ("UTC", "GMT"):
            place = UTC
    if afternoon is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if afternoon else 0)
    try:
        at = datetime(year, month, day, hour, minute, second, nanos // 1000, tzinfo=place or local)
        if day_of_year:
            at = at.replace(month=1, day=1) + timedelta(days=day_of_year - 1)
            if at.year != year:
                return None
    except (ValueError, OverflowError):
        return None
    return Time(at, nanos % 1000)


def _offset_zone(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:6]))
    if not span:
        return UTC
    return timezone(-span if text[0] == "-" else span) if span < timedelta(hours=24) else UTC


def parse_duration(text: str) -> int | None:
    """Return the nanoseconds of a Go duration, or None."""
    if len(text) > _LENGTH_MAX:
        return None
    try:
        return wrap64(int(parse_go_seconds(text) * 10**9))
    except ValueError:
        return None


def format_duration(nanoseconds: int) -> str:
    """Return a span as Go writes it.

    >>> [format_duration(one) for one in (0, 1500, 90 * 10**9, -3600 * 10**9)]
    ['0s', '1.5µs', '1m30s', '-1h0m0s']
    """
    if nanoseconds == 0:
        return "0s"
    sign, span = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if span < scale * 1000 and scale < 10**9:
            return f"{sign}{_decimal(span, scale)}{unit}"
    minutes, rest = divmod(span, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else str(whole)
