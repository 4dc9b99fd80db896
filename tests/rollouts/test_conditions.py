"""Counts, conditions, phase and message."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fairlead.core.conditions import Condition, find
from fairlead.core.kinds import KindCondition
from fairlead.core.traffic import Held
from fairlead.rollouts._conditions import PHASES, conclude, count, degradation, phase_of
from fairlead.rollouts.status import PauseCondition, Phase, RolloutStatus
from fairlead.testing.builders import START, pod_hash, replica_set, spec, status, traffic
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case, routed

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}})
ABORTED: dict[str, Any] = {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}
NAME = f"cart-{pod_hash(2)}"
HOUR = timedelta(hours=1)


def progressing(reason: str, state: str = "True", *, ago: timedelta = HOUR) -> dict[str, Any]:
    at = (START - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Progressing",
        "status": state,
        "reason": reason,
        "message": "before",
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }


def healthy(state: str = "True") -> dict[str, Any]:
    return {"type": "Healthy", "status": state, "reason": "RolloutHealthy", "message": "m"}


def concluded(
    case: Case, *, status: RolloutStatus | None = None, message: str = "", created: bool = False
) -> RolloutStatus:
    counted = count(case.situation, status or case.status)
    return conclude(case.situation, counted, case.roles, case.traffic, abort_message=message, has_created=created)


def condition(found: RolloutStatus, type_: str) -> Condition:
    result = find(found.conditions, type_)
    assert result is not None, f"no condition {type_}"
    return result


def promoted(*others: Any, available: int = 5, replicas: int = 5, paused: bool = False, **fields: Any) -> Case:
    rollout = spec(*STEPS, version=2, replicas=replicas, **({"paused": True} if paused else {}))
    seen = observe(replica_set(2, replicas=5, available=available), *others)
    return Case(rollout, status(rollout, stable=2, current=2, **fields), seen)


def test_counts() -> None:
    case = routed(*STEPS, canary=replica_set(2, replicas=2, available=1), others=(replica_set(3, replicas=1),))
    found = count(case.situation, case.status)
    assert (found.replicas, found.updated_replicas, found.ready_replicas, found.available_replicas) == (8, 2, 7, 7)
    assert (found.scale_replicas, found.selector, found.observed_generation) == (8, "app=cart", "1")


# --- Progressing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "options", "expected"),
    [
        pytest.param(
            routed(*STEPS, canary=replica_set(2), **ABORTED),
            {"message": "metric failed"},
            ("False", "RolloutAborted", "Rollout aborted update to revision 2: metric failed"),
            id="aborted",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), **ABORTED),
            {},
            ("False", "RolloutAborted", "Rollout aborted update to revision 2"),
            id="aborted-by-a-person",
        ),
        pytest.param(
            routed(*STEPS),
            {"created": True},
            ("True", "NewReplicaSetCreated", f'Created new replica set "{NAME}"'),
            id="created",
        ),
        pytest.param(
            routed(
                *STEPS,
                canary=replica_set(2),
                pauseConditions=[{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
            ),
            {},
            ("Unknown", "RolloutPaused", "Rollout is paused"),
            id="paused",
        ),
        pytest.param(
            promoted(),
            {},
            ("True", "NewReplicaSetAvailable", f'ReplicaSet "{NAME}" has successfully progressed.'),
            id="all-is-well",
        ),
        pytest.param(
            promoted(available=4, conditions=[progressing("NewReplicaSetAvailable"), healthy()], replicas=5),
            {},
            ("True", "ReplicaSetNotAvailable", "Rollout does not have minimum availability"),
            id="availability-was-lost",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), conditions=[progressing("ReplicaSetUpdated")]),
            {},
            ("True", "ReplicaSetUpdated", f'ReplicaSet "{NAME}" is progressing.'),
            id="progress",
        ),
        pytest.param(
            routed(
                *STEPS,
                canary=replica_set(2, replicas=0),
                conditions=[progressing("RolloutAborted", "False")],
                replicas=0,
            ),
            {},
            ("Unknown", "RolloutRetry", "Retrying Rollout after abort"),
            id="retry",
        ),
        pytest.param(
            routed(
                *STEPS,
                canary=replica_set(2, replicas=0),
                conditions=[progressing("RolloutPaused", "Unknown")],
                replicas=0,
            ),
            {},
            ("Unknown", "RolloutResumed", "Rollout is resumed"),
            id="resumed",
        ),
        pytest.param(
            routed(
                *STEPS,
                canary=replica_set(2, replicas=0),
                stable=replica_set(1, replicas=0),
                conditions=[progressing("ReplicaSetUpdated")],
            ),
            {},
            ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{NAME}" has timed out progressing.'),
            id="timed-out",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2, replicas=0), stable=replica_set(1, replicas=0)),
            {},
            ("True", "FoundNewReplicaSet", f'Found new replica set "{NAME}"'),
            id="found",
        ),
    ],
)
def test_progressing(case: Case, options: dict[str, Any], expected: tuple[str, str, str]) -> None:
    found = condition(concluded(case, **options), "Progressing")
    assert (found.status, found.reason, found.message) == expected


def test_a_condition_that_stays_keeps_its_times_and_message() -> None:
    case = promoted(conditions=[progressing("NewReplicaSetAvailable")])
    found = condition(concluded(case), "Progressing")
    assert (found.last_update_time, found.message) == (START - HOUR, "before")


def test_progress_renews_the_time_and_keeps_the_transition() -> None:
    case = routed(*STEPS, canary=replica_set(2), conditions=[progressing("ReplicaSetUpdated")])
    found = condition(concluded(case), "Progressing")
    assert (found.last_update_time, found.last_transition_time) == (START, START - HOUR)


def test_the_clock_starts_anew_after_an_invalid_spec() -> None:
    """T47a: time with an invalid spec is not time without progress."""
    invalid = {"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec"}
    case = routed(
        *STEPS,
        canary=replica_set(2, replicas=0),
        stable=replica_set(1, replicas=0),
        conditions=[progressing("ReplicaSetUpdated"), invalid],
    )
    found = concluded(case)
    assert find(found.conditions, "InvalidSpec") is None
    assert condition(found, "Progressing").reason == "ReplicaSetUpdated"
    assert condition(found, "Progressing").last_update_time == START


def test_a_paused_and_completed_rollout_does_not_flip() -> None:
    """T43."""
    case = promoted(paused=True, conditions=[progressing("NewReplicaSetAvailable"), healthy()])
    first = concluded(case)
    assert condition(first, "Progressing").reason == "NewReplicaSetAvailable"
    case.situation = replace_situation(case, first)
    again = concluded(case, status=first)
    assert again.conditions == first.conditions
    assert first.phase == Phase.PAUSED


def replace_situation(case: Case, stored: RolloutStatus) -> Any:
    return dataclasses.replace(case.situation, stored=stored)


# --- the others -------------------------------------------------------------------------------------------------------


def test_healthy_and_completed() -> None:
    found = concluded(promoted())
    assert condition(found, "Healthy").is_true
    assert condition(found, "Completed").is_true
    assert condition(found, "Available").message == "Rollout has minimum availability"
    assert (found.phase, found.message) == (Phase.HEALTHY, "")


def test_an_old_revision_in_its_delay_is_healthy_by_phase_and_not_by_condition() -> None:
    rollout = spec(*STEPS, version=2, replicas=5, routed=True)
    seen = observe(replica_set(2, replicas=5), replica_set(1, replicas=5), traffic=traffic(0))
    found = concluded(Case(rollout, status(rollout, stable=2, current=2, conditions=[healthy()]), seen))
    assert not condition(found, "Healthy").is_true
    assert found.phase == Phase.HEALTHY


def test_healthy_is_not_denied_before_it_was_affirmed() -> None:
    assert find(concluded(promoted(available=4)).conditions, "Healthy") is None


def test_available_counts_every_revision() -> None:
    found = concluded(routed(*STEPS, canary=replica_set(2, available=0)))
    assert condition(found, "Available").is_true
    found = concluded(routed(*STEPS, stable=replica_set(1, replicas=5, available=4)))
    assert condition(found, "Available").message == "Rollout does not have minimum availability"


def test_replica_failure_is_copied_and_removed() -> None:
    failing = replica_set(2)
    failure = KindCondition(type="ReplicaFailure", status="True", reason="FailedCreate", message="quota")
    failing = replace(failing, status=replace(failing.status, conditions=(failure,)))
    found = concluded(routed(*STEPS, canary=failing))
    assert condition(found, "ReplicaFailure").message == "quota"
    cured = concluded(routed(*STEPS, canary=replica_set(2)), status=found)
    assert find(cured.conditions, "ReplicaFailure") is None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(traffic(20), ("True", "Applied"), id="applied"),
        pytest.param(traffic(20, Held.SETTLED), ("True", "Settled"), id="settled-not-verified"),
        pytest.param(traffic(20, Held.REFUSED, reason="ProxyRefused"), ("False", "ProxyRefused"), id="refused"),
        pytest.param(traffic(20, Held.CONFLICT, reason="RouteConflict"), ("False", "RouteConflict"), id="conflict"),
        pytest.param(traffic(0, blocked="P01"), ("False", "PreflightRefused"), id="preflight"),
        pytest.param(traffic(20, Held.ACCEPTED), None, id="under-way"),
    ],
)
def test_traffic_routed(seen: Any, expected: tuple[str, str] | None) -> None:
    found = find(concluded(routed(*STEPS, canary=replica_set(2), seen={"traffic": seen})).conditions, "TrafficRouted")
    assert (None if found is None else (found.status, found.reason)) == expected


def test_a_rollout_without_router_says_nothing_of_traffic() -> None:
    stored = {"type": "TrafficRouted", "status": "True", "reason": "Applied"}
    assert find(concluded(promoted(conditions=[stored])).conditions, "TrafficRouted") is None


# --- phase ----------------------------------------------------------------------------------------------------


def paused_by(reason: str) -> RolloutStatus:
    return RolloutStatus(pauses=(PauseCondition(reason=reason, started_at=START),))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(promoted(paused=True), (Phase.PAUSED, "manually paused"), id="by-hand"),
        pytest.param(
            promoted(replica_set(1, replicas=1)),
            (Phase.PROGRESSING, "old replicas are pending termination"),
            id="old-pods",
        ),
        pytest.param(promoted(replicas=6), (Phase.PROGRESSING, "more replicas need to be updated"), id="too-few"),
        pytest.param(
            promoted(available=4),
            (Phase.PROGRESSING, "updated replicas are still becoming available"),
            id="not-available",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2, replicas=5)),
            (Phase.PROGRESSING, "waiting for all steps to complete"),
            id="steps",
        ),
        pytest.param(promoted(), (Phase.HEALTHY, ""), id="healthy"),
    ],
)
def test_phase(case: Case, expected: tuple[Phase, str]) -> None:
    found = concluded(case)
    assert (found.phase, found.message) == expected


def test_a_restart_shows() -> None:
    rollout = spec(*STEPS, version=2, restartAt="2025-12-31T00:00:00Z")
    case = Case(rollout, status(rollout, stable=2, current=2), observe(replica_set(2)))
    assert concluded(case).message == "rollout is restarting"


@pytest.mark.parametrize("reason", ["CanaryPauseStep", "InconclusiveAnalysisRun"])
def test_the_reason_of_a_pause_shows(reason: str) -> None:
    assert phase_of(promoted().situation, paused_by(reason)) == (Phase.PAUSED, reason)


def test_what_is_wrong_comes_first() -> None:
    broken = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message="stuck")
    found = replace(paused_by("CanaryPauseStep"), conditions=(broken,))
    assert phase_of(promoted().situation, found) == (Phase.DEGRADED, "ProgressDeadlineExceeded: stuck")
    assert degradation(RolloutStatus()) == ""


def test_the_last_phase_applies_always() -> None:
    assert PHASES[-1][0] is Phase.HEALTHY
