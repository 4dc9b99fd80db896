"""When an Application may be synced: the sync windows of its project.

A window opens at the firings of a cron schedule and stays open for its duration. Comparison and deletion are never
blocked. A window that cannot be understood blocks: whoever wrote it wanted to limit something.

A zone counts with the offset from UTC that it has *now*, as in Argo CD: on the day when clocks change, a window that
opens after the change is an hour off until the change has happened.

Source: gitops.md 12; argo-cd: pkg/apis/application/v1alpha1/types.go, SyncWindows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fairlead.agentsync._globs import glob
from fairlead.core.cron import parse_fields
from fairlead.core.decision import earliest
from fairlead.core.decoding import Wire, doc
from fairlead.core.durations import parse_go_duration

BLOCKED: Final = "Sync operation blocked by sync window"
ALLOW: Final = "allow"
DENY: Final = "deny"


class SyncWindow(Wire, frozen=True, kw_only=True):
    """A time in which syncs are allowed, or are not."""

    kind: Annotated[str, doc("allow or deny.")] = ""
    schedule: Annotated[str, doc("When it opens: cron with five fields.")] = ""
    duration: Annotated[str, doc("How long it stays open, as a Go duration.")] = ""
    time_zone: Annotated[str, doc("IANA zone of the schedule; UTC if empty.")] = ""
    applications: Annotated[tuple[str, ...], doc("Globs of Application names.")] = ()
    namespaces: Annotated[tuple[str, ...], doc("Globs of destination namespaces.")] = ()
    clusters: Annotated[tuple[str, ...], doc("Globs of destination servers or names.")] = ()
    and_operator: Annotated[bool, doc("Whether every list that is not empty must match, and not just one.")] = False
    manual_sync: Annotated[bool, doc("Whether manual syncs pass.")] = False
    sync_overrun: Annotated[bool, doc("Whether an operation that began when allowed may go on.")] = False
    description: Annotated[str, doc("For people.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether a sync may run now.

    Args:
        is_allowed: it may.
        message: why not; empty when it may.
        changes_at: when the answer can be another; None: as long as the windows stay the same, never.
    """

    is_allowed: bool
    message: str = ""
    changes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Opening:
    """A window as it is at one instant."""

    window: SyncWindow
    is_open: bool
    changes_at: datetime | None


def problem(window: SyncWindow) -> str:
    """Return what is wrong with a window; empty: nothing.

    >>> problem(SyncWindow(kind="deny", schedule="0 9 * * *", duration="1d"))
    'cannot parse duration \\'1d\\': time: unknown unit "d" in duration "1d"'
    """
    if _offset(window.time_zone, datetime(1970, 1, 1, tzinfo=UTC)) is None:
        return f"cannot parse '{window.time_zone}' time zone: unknown time zone {window.time_zone}"
    if window.kind not in (ALLOW, DENY):
        return f"kind '{window.kind}' mismatch: can only be allow or deny"
    try:
        parse_fields(window.schedule)
    except ValueError as error:
        return f"cannot parse schedule '{window.schedule}': {error}"
    try:
        parse_go_duration(window.duration)
    except (ValueError, OverflowError) as error:
        return f"cannot parse duration '{window.duration}': {error}"
    return ""


def matching(
    windows: Iterable[SyncWindow], *, application: str, namespace: str, server: str, cluster: str
) -> tuple[SyncWindow, ...]:
    """Return the windows that hold for an Application.

    Args:
        windows: those of its project.
        application: its name.
        namespace, server, cluster: its destination; either of the last two may be empty.
    """
    return tuple(one for one in windows if _applies(one, application, namespace, (server, cluster)))


def _applies(window: SyncWindow, application: str, namespace: str, clusters: tuple[str, str]) -> bool:
    questions = (
        (window.applications, (application,)),
        (window.namespaces, (namespace,)),
        (window.clusters, tuple(filter(None, clusters))),
    )
    answers = [_any(patterns, texts) for patterns, texts in questions if patterns]
    if not answers:
        return False
    return all(answers) if window.and_operator else any(answers)


def _any(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return any(pattern == "*" or glob(pattern, text) for pattern in patterns for text in texts)


def permission(
    windows: Sequence[SyncWindow], now: datetime, *, is_manual: bool, started_at: datetime | None = None
) -> Permission:
    """Return whether a sync may run.

    Args:
        windows: those that match the Application.
        now: the present instant.
        is_manual: whether a person asked; auto-sync and self-heal are not manual.
        started_at: when the running operation began; None: it would begin now.
    """
    for window in windows:
        if wrong := problem(window):
            return Permission(is_allowed=False, message=f"invalid sync windows: {wrong}")
    openings = [_opening(window, now, now) for window in windows]
    changes_at = earliest(*(one.changes_at for one in openings))
    is_running = started_at is not None and _was_allowed(windows, started_at, now, is_manual)
    is_allowed = _decide(openings, is_manual=is_manual, is_running=is_running)
    return Permission(is_allowed=is_allowed, message="" if is_allowed else BLOCKED, changes_at=changes_at)


def _was_allowed(windows: Sequence[SyncWindow], at: datetime, now: datetime, is_manual: bool) -> bool:
    return _decide([_opening(window, at, now) for window in windows], is_manual=is_manual, is_running=False)


def _decide(openings: Sequence[_Opening], *, is_manual: bool, is_running: bool) -> bool:
    denies = [one.window for one in openings if one.window.kind == DENY and one.is_open]
    if denies:
        return _passes(denies, is_manual, is_running)
    allows = [one for one in openings if one.window.kind == ALLOW]
    if not allows or any(one.is_open for one in allows):
        return True
    return _passes([one.window for one in allows], is_manual, is_running)


def _passes(windows: Sequence[SyncWindow], is_manual: bool, is_running: bool) -> bool:
    by_hand = is_manual and all(window.manual_sync for window in windows)
    return by_hand or (is_running and all(window.sync_overrun for window in windows))


def _opening(window: SyncWindow, at: datetime, now: datetime) -> _Opening:
    offset = _offset(window.time_zone, now) or timedelta()
    schedule, duration = parse_fields(window.schedule), parse_go_duration(window.duration)
    local = at.astimezone(UTC) + offset
    following = schedule.next(local - duration)
    is_open = following is not None and following < local
    if is_open:
        last = schedule.last(local)
        ends = last + duration if last is not None else None
        return _Opening(window, True, ends - offset if ends is not None else None)
    upcoming = schedule.next(local)
    # Open from the instant after the firing on, for the firing itself does not count.
    return _Opening(window, False, upcoming - offset + timedelta(microseconds=1) if upcoming is not None else None)


def _offset(zone: str, at: datetime) -> timedelta | None:
    """Return a zone's offset from UTC at an instant; None: there is no such zone."""
    if zone in ("", "UTC"):
        return timedelta()
    import zoneinfo  # seldom needed, and slow to import

    try:
        return at.astimezone(zoneinfo.ZoneInfo(zone)).utcoffset()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
