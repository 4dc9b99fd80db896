"""When an ExternalSecret is read again.

Source: `external-secrets: pkg/controllers/externalsecret: shouldRefresh`. Where upstream wakes every few minutes for
nothing (closed windows, CreatedOnce, OnChange), the next instant at which anything can happen is computed instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from fairlead.core.cron import Every, Schedule, parse
from fairlead.core.decision import earliest
from fairlead.core.durations import parse_go_duration
from fairlead.secrets.spec import RefreshPolicy, SyncWindows, WindowKind
from fairlead.secrets.status import ExternalSecretStatus

_OPENINGS_MAX = 1000  # windows that follow each other without a gap are walked through that far


class Cause(StrEnum):
    """Why values are read."""

    FIRST = "First"
    CHANGED = "Changed"
    DRIFTED = "Drifted"
    DUE = "Due"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What refreshes depend on.

    Attributes:
        interval: not above zero: once.
        align: let those who share a phase refresh at the same instants, never later than asked; zero phases from the
            Unix epoch. None: exactly `interval` after the last refresh.
    """

    policy: RefreshPolicy
    interval: timedelta
    windows: SyncWindows | None = None
    align: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """Whether to read now, and otherwise when (None: when something changes)."""

    cause: Cause | None
    at: datetime | None = None


def is_due(
    timing: Timing, status: ExternalSecretStatus, version: str, *, refreshed_at: datetime | None, now: datetime
) -> Due:
    """Return whether values have to be read now.

    Args:
        version: of spec and metadata, as `synced_resource_version` would record it.
        refreshed_at: when the last successful sync started; the status may lag behind it.
    """
    is_first = status.refresh_time is None or not status.synced_resource_version
    if timing.policy is RefreshPolicy.CREATED_ONCE:
        return Due(Cause.FIRST if is_first else None)
    if timing.policy is RefreshPolicy.ON_CHANGE:
        if is_first:
            return Due(Cause.FIRST)
        return Due(Cause.CHANGED if status.synced_resource_version != version else None)
    if timing.interval <= timedelta(0) and status.synced_resource_version:
        return Due(None)  # also when the spec has changed since
    if is_first or refreshed_at is None:
        return Due(Cause.FIRST)
    if status.synced_resource_version != version:
        return Due(Cause.CHANGED)
    if refreshed_at > now:
        return Due(Cause.DUE)  # a clock was wrong, then or now
    at = due_at(timing, refreshed_at)
    if at > now:
        return Due(None, opens_at(timing.windows, at))
    opening = opens_at(timing.windows, now)
    return Due(Cause.DUE) if opening is not None and opening <= now else Due(None, opening)


def due_at(timing: Timing, refreshed_at: datetime) -> datetime:
    """Return the instant of the next periodic refresh: the interval later, or the last shared instant before that.

    With an interval of 60 s and a phase of 7 s, who refreshed at 12:00:30 is due at 12:01:07, and from then on every
    60 s together with all others of that phase.
    """
    latest = refreshed_at + timing.interval
    if timing.align is None or timing.interval <= timedelta(0):
        return latest
    since = (latest - _EPOCH - timing.align) % timing.interval
    aligned = latest - since
    return aligned if aligned > refreshed_at else latest


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_open(windows: SyncWindows | None, at: datetime) -> bool:
    """Return whether a periodic refresh may happen at an instant."""
    if windows is None or not windows.windows:
        return True
    active = any(_is_active(parsed, span, at) for parsed, span in _parsed(windows))
    return active == (windows.kind is WindowKind.ALLOW)


def opens_at(windows: SyncWindows | None, at: datetime) -> datetime | None:
    """Return the first instant, not before the given one, at which a periodic refresh may happen; None: never."""
    if windows is None or is_open(windows, at):
        return at
    parsed = _parsed(windows)
    if windows.kind is WindowKind.ALLOW:
        return earliest(*(schedule.next(at) for schedule, _ in parsed if isinstance(schedule, Schedule)))
    for _ in range(_OPENINGS_MAX):
        # A window is active up to and including its last instant.
        ends = [
            last + span + timedelta(microseconds=1)
            for schedule, span in parsed
            if isinstance(schedule, Schedule) and (last := schedule.last(at)) is not None and at <= last + span
        ]
        if not ends:
            return None  # an @every that is always active
        at = max(ends)
        if is_open(windows, at):
            return at
    return at


def _is_active(schedule: Schedule | Every, span: timedelta, at: datetime) -> bool:
    if isinstance(schedule, Every):
        return schedule.period <= span
    last = schedule.last(at)
    return last is not None and at <= last + span


def _parsed(windows: SyncWindows) -> list[tuple[Schedule | Every, timedelta]]:
    """Return the windows that can be understood; others are never active."""
    found: list[tuple[Schedule | Every, timedelta]] = []
    for window in windows.windows:
        try:
            found.append((parse(window.schedule), parse_go_duration(window.duration)))
        except ValueError:
            continue
    return found
