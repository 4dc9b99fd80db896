"""The status as it is stored: read leniently, written by path, conditions that keep their time."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.agentsync.status import (
    AppCondition,
    ApplicationStatus,
    ConditionType,
    HistoryEntry,
    OperationState,
    Phase,
    ResourceResult,
    SyncResult,
    decode_status,
    odd_fields,
    status_patch,
    to_json,
    with_conditions,
)
from fairlead.core.patches import merge
from tests.agentsync.manifests import STATUS

NOW = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
KINDS = frozenset({ConditionType.COMPARISON, ConditionType.SYNC})


def decoded(status: Any) -> ApplicationStatus:
    return decode_status(msgspec.json.encode(status))


def test_every_field_reads_back_equal() -> None:
    assert to_json(decoded(STATUS)) == STATUS


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"7", b"{", b'{"sync": 7}', b"\xff"], ids=lambda raw: repr(raw))
def test_what_makes_no_sense_counts_as_absent(raw: bytes) -> None:
    assert decode_status(raw) == ApplicationStatus()


def test_one_odd_field_costs_no_other() -> None:
    status = copy.deepcopy(STATUS)
    status["health"] = "fine"
    status["reconciledAt"] = "yesterday"
    status["sync"]["revision"] = None
    status["history"] = [{"id": "seven"}, STATUS["history"][0], None]
    found = decoded(status)
    assert found.sync.status == "OutOfSync"
    assert found.sync.revision == ""
    assert found.health.status == ""
    assert found.reconciled_at is None
    assert [entry.id for entry in found.history] == [7]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(STATUS)), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_reading_never_raises(found: Any) -> None:
    assert isinstance(decoded(found), ApplicationStatus)


def test_what_upstream_requires_is_written_even_if_it_is_empty() -> None:
    state = OperationState(phase=Phase.RUNNING, sync_result=SyncResult(resources=(ResourceResult(kind="Pod"),)))
    found = to_json(ApplicationStatus(operation_state=state, history=(HistoryEntry(),)))
    assert found["operationState"]["operation"] == {}
    assert found["operationState"]["syncResult"]["revision"] == ""
    (result,) = found["operationState"]["syncResult"]["resources"]
    assert result == {"group": "", "version": "", "kind": "Pod", "namespace": "", "name": ""}
    assert found["history"] == [{"id": 0}]


def test_a_patch_names_only_what_changed() -> None:
    before = decoded(STATUS)
    after = replace(before, health=replace(before.health, message="other"), source_type="")
    assert status_patch(before, after) == {"health": {"message": "other"}, "sourceType": None}
    assert status_patch(before, before) == {}


def test_a_patch_leaves_what_it_does_not_know() -> None:
    stored = {**copy.deepcopy(STATUS), "fromTheFuture": 1}
    before = decoded(stored)
    after = replace(before, resources=(), operation_state=None)
    patched = merge(stored, status_patch(before, after))
    assert patched["fromTheFuture"] == 1
    assert decoded(patched) == after


def test_a_condition_keeps_its_time_while_its_message_stays_the_same() -> None:
    old = SECOND - timedelta(hours=1)
    before = ApplicationStatus(
        conditions=(
            AppCondition(type="SyncError", message="same", last_transition_time=old),
            AppCondition(type="ComparisonError", message="before", last_transition_time=old),
            AppCondition(type="DeletionError", message="not evaluated", last_transition_time=old),
        )
    )
    found = (
        AppCondition(type=ConditionType.SYNC, message="same"),
        AppCondition(type=ConditionType.COMPARISON, message="after"),
    )
    after = with_conditions(before, found, KINDS, NOW)
    assert [(one.type, one.message, one.last_transition_time) for one in after.conditions] == [
        ("ComparisonError", "after", SECOND),
        ("DeletionError", "not evaluated", old),
        ("SyncError", "same", old),
    ]
    assert with_conditions(after, (), KINDS, NOW).conditions == before.conditions[2:]


def test_a_condition_that_holds_twice_is_one() -> None:
    same = AppCondition(type=ConditionType.SYNC, message="same")
    assert len(with_conditions(ApplicationStatus(), (same, same), KINDS, NOW).conditions) == 1


def test_errors_and_warnings_are_told_apart() -> None:
    assert [kind for kind in ConditionType if not kind.is_error] == [
        ConditionType.SHARED_RESOURCE,
        ConditionType.REPEATED_RESOURCE,
        ConditionType.EXCLUDED_RESOURCE,
        ConditionType.ORPHANED_RESOURCE,
    ]


def test_what_cannot_be_understood_is_replaced_as_a_whole() -> None:
    # Merged into, it could not be understood either, and the same decision would be taken for ever.
    stored = {**copy.deepcopy(STATUS), "operationState": {"operation": {"sync": {"prune": "yes"}}, "phase": "Running"}}
    raw = msgspec.json.encode(stored)
    assert list(odd_fields(raw)) == ["operationState"]
    assert odd_fields(msgspec.json.encode(STATUS)) == {}
    before = decode_status(raw)
    after = replace(before, operation_state=OperationState(phase=Phase.SUCCEEDED))
    patched = merge(stored, status_patch(before, after, odd=odd_fields(raw)))
    assert decoded(patched) == after
    assert decoded(merge(stored, status_patch(before, before, odd=odd_fields(raw)))) == before
