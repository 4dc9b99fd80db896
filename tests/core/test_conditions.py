"""Conditions: what moves their times, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fairlead.core.conditions import Condition, drop, find, put

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEFORE + timedelta(minutes=5)

PROGRESSING = Condition(
    type="Progressing",
    status="True",
    reason="Updated",
    message="m",
    last_update_time=BEFORE,
    last_transition_time=BEFORE,
)
PAUSED = Condition(type="Paused", status="False", last_update_time=BEFORE, last_transition_time=BEFORE)
BOTH = (PROGRESSING, PAUSED)


@pytest.mark.parametrize(
    ("new", "refresh", "message", "updated_at", "changed_at"),
    [
        pytest.param({}, False, "m", BEFORE, BEFORE, id="unchanged"),
        pytest.param({"message": "other"}, False, "m", BEFORE, BEFORE, id="a-new-message-alone-changes-nothing"),
        pytest.param({"message": "other"}, True, "other", NOW, BEFORE, id="unless-refreshed"),
        pytest.param({"reason": "Other"}, False, "m", NOW, BEFORE, id="reason"),
        pytest.param({"status": "False"}, False, "m", NOW, NOW, id="status"),
    ],
)
def test_put(new: dict[str, str], refresh: bool, message: str, updated_at: datetime, changed_at: datetime) -> None:
    wanted = msgspec.structs.replace(PROGRESSING, last_update_time=None, last_transition_time=None, **new)
    first, second = put(BOTH, wanted, NOW, refresh=refresh)
    assert (first.message, first.last_update_time, first.last_transition_time) == (message, updated_at, changed_at)
    assert (first.status, first.reason) == (wanted.status, wanted.reason)
    assert second is PAUSED


def test_a_new_condition_comes_last_with_both_times() -> None:
    found = put(BOTH, Condition(type="Healthy", status="True"), NOW)
    assert found[:2] == BOTH
    assert (found[2].last_update_time, found[2].last_transition_time) == (NOW, NOW)


def test_find_and_drop() -> None:
    assert find(BOTH, "Paused") is PAUSED
    assert find(BOTH, "Healthy") is None
    assert drop(BOTH, "Paused") == (PROGRESSING,)
    assert drop(BOTH, "Healthy") == BOTH
    assert (PROGRESSING.is_true, PAUSED.is_true) == (True, False)


def test_on_the_wire() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PROGRESSING))["lastTransitionTime"] == "2026-01-01T00:00:00Z"
