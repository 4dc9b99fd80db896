"""Statuses: read leniently, written as the smallest patch, and which changes can wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.core.conditions import Condition
from fairlead.core.patches import merge
from fairlead.rollouts.status import (
    Destination,
    HighWater,
    PauseCondition,
    PauseReason,
    RolloutStatus,
    RunRef,
    StoredWeights,
    is_urgent,
    patch,
    read,
    render,
)
from fairlead.testing.builders import START

FULL = RolloutStatus(
    phase="Paused",
    message="CanaryPauseStep",
    observed_generation="7",
    pod_hash="b",
    stable_hash="a",
    step_index=0,
    step_hash="s",
    replicas=6,
    updated_replicas=1,
    ready_replicas=6,
    available_replicas=5,
    scale_replicas=6,
    selector="app=cart",
    collision_count=1,
    abort=True,
    aborted_at=START,
    pauses=(PauseCondition(reason=PauseReason.CANARY_STEP, started_at=START),),
    controller_pause=True,
    promote_full=True,
    restarted_at=START,
    conditions=(
        Condition(
            type="Progressing",
            status="True",
            reason="ReplicaSetUpdated",
            message="on its way",
            last_update_time=START,
            last_transition_time=START,
        ),
    ),
    weights=StoredWeights(
        canary=Destination(weight=20, service="cart-canary", pod_hash="b"),
        stable=Destination(weight=80, service="cart-stable", pod_hash="a"),
        verified=False,
    ),
    step_run=RunRef(name="run-1", phase="Running", message="so far"),
    background_run=RunRef(name="run-2"),
    high_water=HighWater(updated=1, ready=1, available=1, old=5),
)


def test_what_is_written_reads_back() -> None:
    assert read(render(FULL)) == FULL


def test_field_names_are_those_of_clients() -> None:
    content = render(FULL)
    assert content["currentPodHash"] == "b"
    assert content["stableRS"] == "a"
    assert content["currentStepIndex"] == 0
    assert content["HPAReplicas"] == 6
    assert content["pauseConditions"] == [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]
    assert content["canary"] == {
        "weights": {
            "canary": {"weight": 20, "serviceName": "cart-canary", "podTemplateHash": "b"},
            "stable": {"weight": 80, "serviceName": "cart-stable", "podTemplateHash": "a"},
            "verified": False,
        },
        "currentStepAnalysisRunStatus": {"name": "run-1", "status": "Running", "message": "so far"},
        "currentBackgroundAnalysisRunStatus": {"name": "run-2", "status": ""},
    }


def test_what_is_empty_is_not_written() -> None:
    assert render(RolloutStatus()) == {}


@pytest.mark.parametrize(
    ("field", "junk", "expected"),
    [
        pytest.param("currentStepIndex", "three", None, id="index-is-text"),
        pytest.param("currentStepIndex", True, None, id="index-is-a-bool"),
        pytest.param("currentStepIndex", 99, 99, id="index-out-of-range-is-clamped-later"),
        pytest.param("abort", "yes", False, id="abort-is-text"),
        pytest.param("replicas", -3, 0, id="negative-count"),
        pytest.param("pauseConditions", {"reason": "x"}, (), id="pauses-are-no-list"),
        pytest.param("pauseConditions", [None, {"reason": "x"}], (), id="a-pause-without-start"),
        pytest.param("conditions", ["Ready"], (), id="conditions-are-text"),
        pytest.param("abortedAt", "yesterday", None, id="no-instant"),
        pytest.param("canary", [], None, id="canary-is-a-list"),
        pytest.param("canary", {"weights": {"canary": {"weight": "20"}}}, None, id="weights-are-text"),
    ],
)
def test_junk_counts_as_absent(field: str, junk: Any, expected: Any) -> None:
    names = {
        "currentStepIndex": "step_index",
        "abort": "abort",
        "replicas": "replicas",
        "pauseConditions": "pauses",
        "conditions": "conditions",
        "abortedAt": "aborted_at",
        "canary": "weights",
    }
    assert getattr(read({field: junk}), names[field]) == expected


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_any_value_in_any_field_is_survived(junk: Any) -> None:
    for field in (*render(FULL), "highWater"):
        read({field: junk, "canary": {"weights": junk, "currentStepAnalysisRunStatus": junk}})


# --- patches -------------------------------------------------------------------------------------------------------


def test_nothing_changed_nothing_written() -> None:
    assert patch(render(FULL), FULL) == {}


def test_only_what_changed_is_written() -> None:
    """So that a command that arrives in between is not undone (T15)."""
    assert patch(render(FULL), replace(FULL, step_index=1, pauses=())) == {
        "currentStepIndex": 1,
        "pauseConditions": None,
    }


def test_fields_of_others_stay() -> None:
    stored = {
        **render(FULL),
        "blueGreen": {"activeSelector": "x", "other": "y"},
        "somebody": {"else": 1},
        "canary": {**render(FULL)["canary"], "stepPluginStatuses": []},
    }
    new = replace(FULL, weights=None, step_run=None, background_run=None)
    result = merge(stored, patch(stored, new))
    assert result["blueGreen"] == {"other": "y"}
    assert result["somebody"] == {"else": 1}
    assert result["canary"] == {"stepPluginStatuses": []}


def test_junk_is_replaced_when_something_is_written_anyway() -> None:
    stored = {**render(FULL), "currentStepIndex": "three"}
    assert patch(stored, FULL)["currentStepIndex"] == 0


def test_a_pruned_field_of_ours_is_not_written_for_ever() -> None:
    stored = render(FULL)
    del stored["highWater"]
    assert patch(stored, FULL) == {}


def test_a_zero_that_somebody_wrote_out_is_no_change() -> None:
    stored = {**render(replace(FULL, replicas=0)), "replicas": 0}
    assert patch(stored, replace(FULL, replicas=0)) == {}


def test_a_patch_brings_any_status_to_any_other() -> None:
    for old in (FULL, RolloutStatus(), replace(FULL, conditions=(), pauses=(), weights=None)):
        for new in (FULL, RolloutStatus(), replace(FULL, step_index=None, abort=False)):
            stored = render(old)
            assert read(merge(stored, patch(stored, new))) == new


# --- urgency ---------------------------------------------------------------------------------------------------------

CALM = replace(
    FULL, abort=False, aborted_at=None, promote_full=False, phase="Progressing", pauses=(), controller_pause=False
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"replicas": 7, "ready_replicas": 2}, False, id="counts"),
        pytest.param({"message": "other words"}, False, id="message"),
        pytest.param({"weights": None}, False, id="weights"),
        pytest.param({"step_run": RunRef(name="run-1", phase="Successful")}, False, id="phase-of-a-run"),
        pytest.param({"step_run": RunRef(name="run-3")}, True, id="another-run"),
        pytest.param({"phase": "Healthy"}, True, id="phase"),
        pytest.param({"step_index": 1}, True, id="step"),
        pytest.param({"abort": True}, True, id="abort"),
        pytest.param({"stable_hash": "b"}, True, id="promotion"),
        pytest.param({"observed_generation": "8"}, True, id="generation"),
        pytest.param(
            {"pauses": (PauseCondition(reason=PauseReason.INCONCLUSIVE, started_at=START),)}, True, id="a-pause-begins"
        ),
    ],
)
def test_what_is_urgent(change: dict[str, Any], expected: bool) -> None:
    assert is_urgent(CALM, replace(CALM, **change)) is expected


def test_the_end_of_a_timed_pause_can_wait_for_what_follows() -> None:
    pause = PauseCondition(reason=PauseReason.CANARY_STEP, started_at=START)
    paused = replace(CALM, phase="Paused", pauses=(pause,), controller_pause=True)
    over = replace(CALM, step_index=1)
    assert not is_urgent(paused, over)
    assert is_urgent(paused, replace(over, abort=True))
    assert is_urgent(paused, replace(over, step_index=2)), "the step after it is complete, too"
    resumed = replace(paused, pauses=())
    assert is_urgent(resumed, over), "a person resumed, and is told at once"


def test_a_new_time_alone_is_not_urgent() -> None:
    later = replace(CALM.conditions[0], last_update_time=START + timedelta(seconds=9))
    assert not is_urgent(CALM, replace(CALM, conditions=(later,)))
