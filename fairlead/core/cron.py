"""When a schedule fires: cron with five fields in UTC, and the words that stand for one.

A schedule answers two questions: when it fired last, and when it fires next. `@every` has no anchor in time: it fires
"always" in the sense that any span as long as its period holds one firing.

Source: `robfig/cron: parser.go`: the standard parser, as External Secrets uses it, and the one without words, as
Argo CD's sync windows use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fairlead.core.durations import parse_go_duration

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_NAMES: tuple[dict[str, int], ...] = (
    {},
    {},
    {},
    {name: number for number, name in enumerate(_MONTHS, 1)},
    {name: number for number, name in enumerate(_DAYS)},
)
_DAYS_MAX = 366 * 8  # 29 February comes at least every eight years; what does not come by then never does
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The firings of five cron fields. A day must match both day fields, or either of them if both are restricted."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def last(self, at: datetime) -> datetime | None:
        """Return the latest firing that is not after the instant."""
        moment = at.astimezone(UTC)
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        limit = (moment.hour, moment.minute)
        for _ in range(_DAYS_MAX):
            if self._fires_on(day):
                found = max(((h, m) for h in self.hours for m in self.minutes if (h, m) <= limit), default=None)
                if found is not None:
                    return day.replace(hour=found[0], minute=found[1])
            day, limit = day - _DAY, (23, 59)
        return None

    def next(self, after: datetime) -> datetime | None:
        """Return the first firing after the instant."""
        moment = after.astimezone(UTC)
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        limit = (moment.hour, moment.minute)
        for _ in range(_DAYS_MAX):
            if self._fires_on(day):
                found = min(((h, m) for h in self.hours for m in self.minutes if (h, m) > limit), default=None)
                if found is not None:
                    return day.replace(hour=found[0], minute=found[1])
            day, limit = day + _DAY, (-1, -1)
        return None

    def _fires_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        of_month = day.day in self.days
        of_week = (day.weekday() + 1) % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week


@dataclass(frozen=True, slots=True)
class Every:
    """A firing somewhere in each period."""

    period: timedelta


def parse(text: str) -> Schedule | Every:
    """Return the schedule that a text describes.

    Raises:
        ValueError: it is none.
    """
    text = text.strip()
    if text.startswith("@every "):
        period = parse_go_duration(text.removeprefix("@every ").strip())
        return Every(max(timedelta(seconds=1), period))
    if text.startswith("@"):
        if text not in _WORDS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    return parse_fields(text)


def parse_fields(text: str) -> Schedule:
    """Return the schedule of five fields; words such as `@daily` are refused.

    Raises:
        ValueError: it is none.

    >>> parse_fields("@daily")
    Traceback (most recent call last):
    ...
    ValueError: parser does not accept descriptors: @daily
    """
    text = text.strip()
    if text.startswith("@"):
        raise ValueError(f"parser does not accept descriptors: {text}")
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    sets = [_field(field, position) for position, field in enumerate(fields)]
    return Schedule(
        minutes=sets[0],
        hours=sets[1],
        days=sets[2],
        months=sets[3],
        weekdays=sets[4],
        any_day=_is_any(fields[2]),
        any_weekday=_is_any(fields[4]),
    )


def _is_any(field: str) -> bool:
    # `*/2` restricts, so it is not any.
    return any(part in ("*", "?", "*/1", "?/1") for part in field.split(","))


def _field(field: str, position: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        found.update(_range(part, position))
    return frozenset(found)


def _range(part: str, position: int) -> range:
    lowest, highest = _BOUNDS[position]
    span, slash, step_text = part.partition("/")
    first_text, dash, last_text = span.partition("-")
    if first_text in ("*", "?") and not dash:
        first, last = lowest, highest
    else:
        first = _number(first_text, position)
        # `5/15` means from 5 on.
        last = _number(last_text, position) if dash else (highest if slash else first)
    step = _number(step_text, 0) if slash else 1
    if first < lowest or last > highest or first > last or step == 0:
        raise ValueError(f"{part!r} is outside of {lowest} to {highest}")
    return range(first, last + 1, step)


def _number(text: str, position: int) -> int:
    named = _NAMES[position].get(text.lower())
    if named is not None:
        return named
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise ValueError(f"failed to parse {text!r}: expected a number")
    return int(text)
