"""Statuses: written as upstream writes them, read whatever stands there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.conditions import Condition
from fairlead.secrets.status import (
    ExternalSecretStatus,
    StoreStatus,
    decode_status,
    decode_store_status,
    status_to_json,
    store_status_to_json,
    with_ready,
)

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
STORED: dict[str, Any] = {
    "refreshTime": "2026-03-15T12:30:00Z",
    "syncedResourceVersion": "1-f47fe3c0",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "SecretSynced",
            "message": "secret synced",
            "lastTransitionTime": "2026-03-15T12:30:00Z",
        }
    ],
    "binding": {"name": "db"},
}


def test_a_status_reads_back() -> None:
    status = decode_status(msgspec.json.encode(STORED))
    assert (status.refresh_time, status.binding) == (NOW, "db")
    assert status.ready is not None
    assert status_to_json(status) == STORED


def test_a_status_of_a_store_reads_back() -> None:
    stored = {"capabilities": "ReadOnly", "conditions": STORED["conditions"]}
    assert store_status_to_json(decode_store_status(msgspec.json.encode(stored))) == stored
    assert store_status_to_json(StoreStatus()) == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"7",
        b"{",
        b'{"refreshTime":"yesterday","syncedResourceVersion":5,"conditions":{},"binding":[]}',
        b'{"refreshTime":"2026-01-01T00:00:00"}',
        b'{"conditions":[1,{"status":"True"},{"type":7}]}',
        b"[" * 100_000,
    ],
)
def test_what_makes_no_sense_counts_as_absent(raw: bytes) -> None:
    assert decode_status(raw) == ExternalSecretStatus()
    assert decode_store_status(raw) == StoreStatus()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.dictionaries(st.sampled_from(["refreshTime", "conditions", "binding", "type", "status", "name"]), inner)
            | st.lists(inner)
        ),
    )
)
def test_reading_never_raises_and_what_was_read_is_stable(plain: Any) -> None:
    status = decode_status(msgspec.json.encode(plain))
    assert decode_status(msgspec.json.encode(status_to_json(status))) == status


def test_the_transition_time_moves_with_the_status_only() -> None:
    first = with_ready((), is_ready=False, reason="A", message="a", now=NOW)
    later = NOW + timedelta(minutes=1)
    second = with_ready(first, is_ready=False, reason="B", message="b", now=later)
    assert (second[0].reason, second[0].message, second[0].last_transition_time) == ("B", "b", NOW)
    third = with_ready(second, is_ready=True, reason="B", message="b", now=later)
    assert third[0].last_transition_time == later


def test_other_conditions_keep_their_place() -> None:
    others = (
        Condition(type="X", status="True"),
        Condition(type="Ready", status="True"),
        Condition(type="Y", status=""),
    )
    after = with_ready(others, is_ready=True, reason="R", message="m", now=NOW)
    assert [condition.type for condition in after] == ["X", "Ready", "Y"]
    assert after[1].last_transition_time == NOW
