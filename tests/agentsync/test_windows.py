"""Sync windows: which ones hold, when they are open, and who passes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync.windows import ALLOW, BLOCKED, DENY, Permission, SyncWindow, matching, permission, problem

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday, in winter in Berlin


def window(kind: str, **more: Any) -> SyncWindow:
    return SyncWindow(**({"kind": kind, "schedule": "0 9 * * *", "duration": "2h"} | more))


def at(hours: float) -> datetime:
    """Return an instant relative to the opening at nine."""
    return NINE + timedelta(hours=hours)


def allowed(
    windows: list[SyncWindow], now: datetime, *, is_manual: bool = False, started: datetime | None = None
) -> bool:
    return permission(windows, now, is_manual=is_manual, started_at=started).is_allowed


@pytest.mark.parametrize(
    ("hours", "is_open"),
    [
        pytest.param(-0.1, False, id="before"),
        pytest.param(0, False, id="at-the-firing-itself"),
        pytest.param(0.001, True, id="just-after"),
        pytest.param(1.999, True, id="just-before-the-end"),
        pytest.param(2, False, id="at-the-end"),
        pytest.param(24.5, True, id="next-day"),
    ],
)
def test_a_window_is_open_between_its_firing_and_its_end(hours: float, is_open: bool) -> None:
    assert allowed([window(ALLOW)], at(hours)) is is_open
    assert allowed([window(DENY)], at(hours)) is not is_open


OPEN, SHUT = at(1), at(3)
PASS, OVER = {"manual_sync": True}, {"sync_overrun": True}


@pytest.mark.parametrize(
    ("windows", "now", "automatic", "manual"),
    [
        pytest.param([], OPEN, True, True, id="no-windows"),
        pytest.param([window(DENY)], OPEN, False, False, id="active-deny"),
        pytest.param([window(DENY, **PASS)], OPEN, False, True, id="active-deny-manual"),
        pytest.param([window(DENY, **PASS), window(DENY)], OPEN, False, False, id="all-denies-must-let-manual-pass"),
        pytest.param([window(DENY), window(ALLOW)], OPEN, False, False, id="deny-wins"),
        pytest.param([window(DENY)], SHUT, True, True, id="inactive-deny"),
        pytest.param([window(ALLOW)], OPEN, True, True, id="active-allow"),
        pytest.param([window(ALLOW)], SHUT, False, False, id="inactive-allow"),
        pytest.param([window(ALLOW, **PASS)], SHUT, False, True, id="inactive-allow-manual"),
        pytest.param([window(ALLOW, **PASS), window(ALLOW)], SHUT, False, False, id="all-allows-must-let-manual-pass"),
        pytest.param([window(ALLOW), window(ALLOW, schedule="0 12 * * *")], OPEN, True, True, id="one-allow-is-enough"),
        pytest.param(
            [window(DENY, schedule="0 20 * * *"), window(ALLOW)], SHUT, False, False, id="deny-shut-allow-shut"
        ),
    ],
)
def test_decision(windows: list[SyncWindow], now: datetime, automatic: bool, manual: bool) -> None:
    assert allowed(windows, now) is automatic
    assert allowed(windows, now, is_manual=True) is manual


@pytest.mark.parametrize(
    ("windows", "now", "started", "expected"),
    [
        pytest.param([window(DENY, **OVER)], OPEN, at(-1), True, id="began-before-the-deny"),
        pytest.param([window(DENY, **OVER)], OPEN, at(0.5), False, id="began-inside-the-deny"),
        pytest.param([window(DENY)], OPEN, at(-1), False, id="deny-without-overrun"),
        pytest.param([window(DENY, **OVER), window(DENY)], OPEN, at(-1), False, id="all-denies-must-allow-overrun"),
        pytest.param([window(ALLOW, **OVER)], SHUT, at(1), True, id="began-inside-the-allow"),
        pytest.param([window(ALLOW, **OVER)], SHUT, at(2.5), False, id="began-after-the-allow"),
        pytest.param([window(ALLOW)], SHUT, at(1), False, id="allow-without-overrun"),
        pytest.param([window(ALLOW, **OVER)], SHUT, None, False, id="not-begun"),
    ],
)
def test_an_operation_may_outlast_its_window(
    windows: list[SyncWindow], now: datetime, started: datetime | None, expected: bool
) -> None:
    assert allowed(windows, now, started=started) is expected


def test_who_is_blocked_learns_why_and_until_when() -> None:
    assert permission([window(DENY)], OPEN, is_manual=False) == Permission(
        is_allowed=False, message=BLOCKED, changes_at=at(2)
    )
    assert permission([window(ALLOW)], at(-1), is_manual=False).changes_at == at(0) + timedelta(microseconds=1)
    assert permission([], OPEN, is_manual=False) == Permission(is_allowed=True)


def test_trap_35_a_zone_counts_with_the_offset_of_now() -> None:
    # Clocks in Berlin go forward at 01:00 UTC on 29 March 2026. Before, the window of 09:00 opens at 08:00 UTC.
    berlin = [window(ALLOW, time_zone="Europe/Berlin")]
    assert allowed(berlin, datetime(2026, 3, 28, 8, 30, tzinfo=UTC))
    assert allowed(berlin, datetime(2026, 3, 29, 7, 30, tzinfo=UTC))
    assert not allowed(berlin, datetime(2026, 3, 29, 9, 30, tzinfo=UTC))
    # Seen from the evening before, the next morning's opening is an hour late.
    evening = permission(berlin, datetime(2026, 3, 28, 20, 0, tzinfo=UTC), is_manual=False)
    assert evening.changes_at == datetime(2026, 3, 29, 8, 0, 0, 1, tzinfo=UTC)
    # A window that spans the change shifts with it: open from 23:30 UTC for four hours, it ends at 02:30 UTC.
    night = [window(DENY, schedule="30 0 * * *", duration="4h", time_zone="Europe/Berlin")]
    before, after = datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 3, 29, 2, 45, tzinfo=UTC)
    assert (allowed(night, before), allowed(night, after)) == (False, True)
    assert permission(night, before, is_manual=False).changes_at == datetime(2026, 3, 29, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        pytest.param(
            window(DENY, time_zone="Mars/Olympus"),
            "cannot parse 'Mars/Olympus' time zone: unknown time zone Mars/Olympus",
            id="zone",
        ),
        pytest.param(
            window(DENY, time_zone="../../etc/passwd"),
            "cannot parse '../../etc/passwd' time zone: unknown time zone ../../etc/passwd",
            id="path-as-zone",
        ),
        pytest.param(window("Deny"), "kind 'Deny' mismatch: can only be allow or deny", id="kind"),
        pytest.param(
            window(DENY, schedule="@daily"),
            "cannot parse schedule '@daily': parser does not accept descriptors: @daily",
            id="schedule",
        ),
        pytest.param(
            window(DENY, duration="2"),
            "cannot parse duration '2': time: missing unit in duration \"2\"",
            id="duration",
        ),
    ],
)
def test_a_window_that_cannot_be_understood_blocks(broken: SyncWindow, message: str) -> None:
    assert problem(broken) == message
    found = permission([window(ALLOW), broken], OPEN, is_manual=True)
    assert found == Permission(is_allowed=False, message=f"invalid sync windows: {message}")


DESTINATION = {"application": "shop-web", "namespace": "shop", "server": "https://spoke", "cluster": "spoke-1"}


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        pytest.param({}, False, id="no-lists-match-nothing"),
        pytest.param({"applications": ("*",)}, True, id="all-applications"),
        pytest.param({"applications": ("shop-*",)}, True, id="application"),
        pytest.param({"namespaces": ("shop",)}, True, id="namespace"),
        pytest.param({"clusters": ("https://*",)}, True, id="server"),
        pytest.param({"clusters": ("spoke-?",)}, True, id="cluster-name"),
        pytest.param({"clusters": ("hub",)}, False, id="other-cluster"),
        pytest.param({"applications": ("other",), "namespaces": ("shop",)}, True, id="any-list"),
        pytest.param(
            {"applications": ("other",), "namespaces": ("shop",), "and_operator": True}, False, id="every-list"
        ),
        pytest.param(
            {"applications": ("shop-*",), "namespaces": ("shop",), "and_operator": True}, True, id="all-match"
        ),
    ],
)
def test_which_windows_hold(lists: dict[str, Any], expected: bool) -> None:
    one = window(DENY, **lists)
    assert matching([one], **DESTINATION) == ((one,) if expected else ())


@given(
    st.lists(
        st.builds(
            window,
            st.sampled_from([ALLOW, DENY]),
            schedule=st.sampled_from(["0 9 * * *", "*/30 * * * *", "0 0 * * 1", "0 0 31 2 *"]),
            duration=st.sampled_from(["0s", "10m", "2h", "30h", "-1h"]),
            time_zone=st.sampled_from(["", "America/New_York", "Asia/Kolkata"]),
            manual_sync=st.booleans(),
            sync_overrun=st.booleans(),
        ),
        max_size=4,
    ),
    st.integers(0, 60 * 24 * 14),
    st.booleans(),
)
def test_nothing_changes_before_the_instant_that_is_named(
    windows: list[SyncWindow], minutes: int, manual: bool
) -> None:
    now = NINE + timedelta(days=30, minutes=minutes)  # no clock changes within the two weeks that follow
    found = permission(windows, now, is_manual=manual)
    assert found.changes_at is None or found.changes_at > now
    until = min(found.changes_at or now + timedelta(days=1), now + timedelta(days=1))
    middle = now + (until - now) / 2
    assert permission(windows, middle, is_manual=manual).is_allowed is found.is_allowed
