"""When an ExternalSecret is read again: policies, intervals, windows, shared instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.secrets._schedule import Cause, Due, Timing, due_at, is_due, is_open, opens_at
from fairlead.secrets.spec import RefreshPolicy, SyncWindow, SyncWindows, WindowKind
from fairlead.secrets.status import ExternalSecretStatus

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PERIODIC, ONCE, ON_CHANGE = RefreshPolicy.PERIODIC, RefreshPolicy.CREATED_ONCE, RefreshPolicy.ON_CHANGE
NEVER = ExternalSecretStatus()


def synced(minutes_ago: float, version: str = "1-a") -> ExternalSecretStatus:
    return ExternalSecretStatus(refresh_time=NOW - timedelta(minutes=minutes_ago), synced_resource_version=version)


def windows(kind: WindowKind, *pairs: tuple[str, str]) -> SyncWindows:
    return SyncWindows(
        kind=kind, windows=tuple(SyncWindow(schedule=schedule, duration=duration) for schedule, duration in pairs)
    )


CLOSED = windows(WindowKind.ALLOW, ("0 3 * * *", "1h"))


@pytest.mark.parametrize(
    ("policy", "interval", "status", "expected"),
    [
        pytest.param(PERIODIC, HOUR, NEVER, Due(Cause.FIRST), id="periodic-first"),
        pytest.param(PERIODIC, HOUR, synced(59), Due(None, NOW + timedelta(minutes=1)), id="periodic-not-yet"),
        pytest.param(PERIODIC, HOUR, synced(60), Due(Cause.DUE), id="periodic-on-the-minute"),
        pytest.param(PERIODIC, HOUR, synced(600), Due(Cause.DUE), id="periodic-overdue"),
        pytest.param(PERIODIC, HOUR, synced(5, "0-b"), Due(Cause.CHANGED), id="periodic-changed"),
        pytest.param(PERIODIC, HOUR, synced(-5), Due(Cause.DUE), id="periodic-synced-in-the-future"),
        pytest.param(PERIODIC, timedelta(0), NEVER, Due(Cause.FIRST), id="interval-0-first"),
        pytest.param(PERIODIC, timedelta(0), synced(5, "0-b"), Due(None), id="trap-1-interval-0-ignores-changes"),
        pytest.param(PERIODIC, -HOUR, synced(5), Due(None), id="interval-below-0"),
        pytest.param(ONCE, HOUR, NEVER, Due(Cause.FIRST), id="created-once-first"),
        pytest.param(ONCE, HOUR, synced(600, "0-b"), Due(None), id="trap-2-created-once-sleeps"),
        pytest.param(ON_CHANGE, HOUR, NEVER, Due(Cause.FIRST), id="on-change-first"),
        pytest.param(ON_CHANGE, HOUR, synced(600), Due(None), id="trap-2-on-change-sleeps"),
        pytest.param(ON_CHANGE, HOUR, synced(5, "0-b"), Due(Cause.CHANGED), id="on-change-changed"),
    ],
)
def test_refresh_policies(
    policy: RefreshPolicy, interval: timedelta, status: ExternalSecretStatus, expected: Due
) -> None:
    timing = Timing(policy=policy, interval=interval)
    assert is_due(timing, status, "1-a", refreshed_at=status.refresh_time, now=NOW) == expected


def test_a_time_without_a_version_is_no_sync() -> None:
    status = ExternalSecretStatus(refresh_time=NOW)
    for policy in RefreshPolicy:
        timing = Timing(policy=policy, interval=HOUR)
        assert is_due(timing, status, "1-a", refreshed_at=NOW, now=NOW).cause is Cause.FIRST


def test_closed_windows_hold_back_periodic_refreshes_only() -> None:
    timing = Timing(policy=PERIODIC, interval=HOUR, windows=CLOSED)
    overdue = synced(600)
    opening = datetime(2026, 3, 16, 3, 0, tzinfo=UTC)
    assert is_due(timing, overdue, "1-a", refreshed_at=overdue.refresh_time, now=NOW) == Due(None, opening)
    assert is_due(timing, overdue, "2-a", refreshed_at=overdue.refresh_time, now=NOW) == Due(Cause.CHANGED)
    assert is_due(timing, NEVER, "1-a", refreshed_at=None, now=NOW) == Due(Cause.FIRST)
    assert is_due(timing, overdue, "1-a", refreshed_at=overdue.refresh_time, now=opening) == Due(Cause.DUE)


@pytest.mark.parametrize(
    ("given_windows", "open_now", "opens"),
    [
        pytest.param(None, True, NOW, id="none"),
        pytest.param(windows(WindowKind.ALLOW, ("0 12 * * *", "1h")), True, NOW, id="allow-inside"),
        pytest.param(windows(WindowKind.ALLOW, ("0 12 * * *", "30m")), True, NOW, id="allow-last-instant"),
        pytest.param(
            windows(WindowKind.ALLOW, ("0 12 * * *", "29m")), False, NOW.replace(day=16, minute=0), id="allow-just-over"
        ),
        pytest.param(
            windows(WindowKind.ALLOW, ("0 3 * * *", "1h"), ("0 20 * * *", "1h")),
            False,
            NOW.replace(hour=20, minute=0),
            id="allow-the-nearest",
        ),
        pytest.param(windows(WindowKind.DENY, ("0 3 * * *", "1h")), True, NOW, id="deny-outside"),
        pytest.param(
            windows(WindowKind.DENY, ("0 12 * * *", "1h"), ("0 13 * * *", "1h")),
            False,
            NOW.replace(hour=14, minute=0, microsecond=1),
            id="deny-two-in-a-row",
        ),
        pytest.param(windows(WindowKind.ALLOW, ("whenever", "1h")), False, None, id="allow-unparsable-is-inactive"),
        pytest.param(windows(WindowKind.DENY, ("whenever", "1h")), True, NOW, id="deny-unparsable-is-inactive"),
        pytest.param(windows(WindowKind.ALLOW, ("0 12 * * *", "long")), False, None, id="unparsable-duration"),
        pytest.param(windows(WindowKind.ALLOW, ("@every 1h", "2h")), True, NOW, id="every-within-the-span"),
        pytest.param(windows(WindowKind.ALLOW, ("@every 2h", "1h")), False, None, id="every-beyond-the-span"),
        pytest.param(windows(WindowKind.DENY, ("@every 1h", "2h")), False, None, id="deny-always"),
        pytest.param(SyncWindows(kind=WindowKind.ALLOW, windows=()), True, NOW, id="empty-list"),
    ],
)
def test_windows(given_windows: SyncWindows | None, open_now: bool, opens: datetime | None) -> None:
    assert is_open(given_windows, NOW) is open_now
    assert opens_at(given_windows, NOW) == opens


@given(
    st.integers(min_value=1, max_value=86_400),
    st.integers(min_value=0, max_value=86_400),
    st.lists(st.integers(min_value=0, max_value=10**6), min_size=2, max_size=4),
)
def test_all_of_one_phase_come_together_and_nobody_comes_late(interval: int, phase: int, starts: list[int]) -> None:
    timing = Timing(policy=PERIODIC, interval=timedelta(seconds=interval), align=timedelta(seconds=phase % interval))
    firsts = [NOW + timedelta(seconds=start) for start in starts]
    seconds = [due_at(timing, first) for first in firsts]
    for first, second in zip(firsts, seconds, strict=True):
        assert first < second <= first + timing.interval
        assert due_at(timing, second) == second + timing.interval
    assert len({(second - NOW).total_seconds() % interval for second in seconds}) == 1
