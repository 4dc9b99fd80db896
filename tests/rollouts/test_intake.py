"""What comes in from outside: another revision, other steps, commands."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fairlead.rollouts._intake import take_in
from fairlead.rollouts.status import PauseReason, RolloutStatus, RunRef, read
from fairlead.testing.builders import START, analysis_run, pod_hash, replica_set, spec, status
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case, routed

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}})
AT = "2025-12-31T00:00:00Z"
STEP_PAUSE = [{"reason": "CanaryPauseStep", "startTime": AT}]
ASKING = [{"reason": "InconclusiveAnalysisRun", "startTime": AT}]


def taken(*steps: dict[str, Any], step: int = 1, **fields: Any) -> RolloutStatus:
    found = routed(*(steps or STEPS), step=step, canary=replica_set(2), **fields)
    return take_in(found.situation)[0]


@pytest.mark.parametrize(("stored", "expected"), [(-3, 0), (0, 0), (2, 2), (4, 4), (99, 4)])
def test_a_step_index_from_outside_is_taken_as_far_as_there_are_steps(stored: int, expected: int) -> None:
    assert taken(step=stored).step_index == expected


def test_an_abort_is_dated_once() -> None:
    first = taken(abort=True, pauseConditions=STEP_PAUSE, controllerPause=True)
    assert (first.abort, first.aborted_at, first.step_index) == (True, START, 0)
    assert (first.pauses, first.controller_pause) == ((), False)
    again = taken(abort=True, abortedAt=AT)
    assert again.aborted_at == START - timedelta(days=1)


def test_an_index_written_during_an_abort_is_overwritten() -> None:
    """T67."""
    assert taken(step=3, abort=True, abortedAt=AT).step_index == 0


@pytest.mark.parametrize(
    ("aborted_at", "abort", "full"),
    [pytest.param(None, True, False, id="both-at-once"), pytest.param(AT, False, True, id="after-an-abort")],
)
def test_abort_and_full_promotion(aborted_at: str | None, abort: bool, full: bool) -> None:
    """T67, and abort wins over what is not applied yet."""
    fields: dict[str, Any] = {"abortedAt": aborted_at} if aborted_at else {}
    found = taken(abort=True, promoteFull=True, **fields)
    assert (found.abort, found.promote_full) == (abort, full)
    assert found.step_index == (0 if abort else 4)


def test_a_retry_starts_at_the_first_step_without_old_runs() -> None:
    run = {"currentStepAnalysisRunStatus": {"name": "r", "status": "Failed"}}
    rollout = spec(*STEPS, version=2, replicas=5, routed=True)
    case = routed(*STEPS, step=3, canary=replica_set(2), seen={"runs": (analysis_run("r", "Failed", step=3),)})
    content = {"abortedAt": AT, "canary": run}
    stored = replace(
        status(rollout, current=2, step=3), aborted_at=read(content).aborted_at, step_run=read(content).step_run
    )
    found = take_in(Case(rollout, stored, case.situation.seen).situation)[0]
    assert (found.aborted_at, found.step_index, found.step_run) == (None, 0, None)


def test_full_promotion_goes_past_all_steps() -> None:
    found = taken(promoteFull=True, pauseConditions=STEP_PAUSE, controllerPause=True)
    assert (found.step_index, found.pauses, found.controller_pause, found.promote_full) == (4, (), False, True)


def test_a_resumed_pause_step_keeps_its_mark_until_the_step_is_complete() -> None:
    assert taken(step=1, controllerPause=True).controller_pause


def test_elsewhere_the_mark_is_dropped() -> None:
    assert not taken(step=2, controllerPause=True).controller_pause


def test_a_pause_of_another_step_is_dropped() -> None:
    found = taken(step=2, pauseConditions=[*STEP_PAUSE, *ASKING], controllerPause=True)
    assert [pause.reason for pause in found.pauses] == [PauseReason.INCONCLUSIVE]
    assert found.controller_pause


@pytest.mark.parametrize("seconds", [2, 3600, 10**9])
def test_a_pause_that_begins_in_the_future_begins_now(seconds: int) -> None:
    begins = (START + timedelta(seconds=seconds)).isoformat()
    ahead = [{"reason": "CanaryPauseStep", "startTime": begins}, *ASKING]
    found = taken(step=1, pauseConditions=ahead, controllerPause=True)
    assert [pause.started_at for pause in found.pauses] == [START, START - timedelta(days=1)]


def test_a_person_who_goes_on_overrules_the_inconclusive_run() -> None:
    case = routed(
        *STEPS,
        step=2,
        canary=replica_set(2),
        seen={"runs": (analysis_run("b", "Inconclusive"),)},
        controllerPause=True,
    )
    stored = replace(case.status, background_run=RunRef(name="b", phase="Inconclusive"))
    found = take_in(dataclass_replace(case, stored))[0]
    assert found.background_run is None


def dataclass_replace(case: Case, stored: RolloutStatus) -> Any:
    return dataclasses.replace(case.situation, stored=stored)


@pytest.mark.parametrize(
    "command", [{"abort": True}, {"promoteFull": True}, {"currentStepIndex": 0}, {"controllerPause": True}]
)
def test_commands_to_a_promoted_rollout_are_dropped(command: dict[str, Any]) -> None:
    """T42."""
    rollout = spec(*STEPS)
    case = Case(rollout, status(rollout, **command), observe(replica_set(1)))
    found, events = take_in(case.situation)
    assert found == status(rollout)
    assert events == ()


# --- another revision -------------------------------------------------------------------------------------------------


def test_another_template_begins_anew() -> None:
    rollout = spec(*STEPS, version=2, restartAt=AT)
    stored = status(
        rollout,
        current=1,
        step=4,
        pauseConditions=STEP_PAUSE,
        controllerPause=True,
        abort=True,
        abortedAt=AT,
        promoteFull=True,
        canary={"currentBackgroundAnalysisRunStatus": {"name": "b"}},
    )
    found, events = take_in(Case(rollout, stored, observe(replica_set(1))).situation)
    assert found.pod_hash == pod_hash(2)
    assert (found.step_index, found.pauses, found.controller_pause) == (0, (), False)
    assert (found.abort, found.aborted_at, found.promote_full) == (False, None, False)
    assert (found.step_run, found.background_run) == (None, None)
    assert found.restarted_at == rollout.restart_at
    assert [event.message for event in events] == [
        f"Rollout not completed, started update to revision 2 ({pod_hash(2)})"
    ]


def test_a_revision_that_overtakes_another_is_not_announced_again() -> None:
    rollout = spec(*STEPS, version=3)
    incomplete = {"type": "Completed", "status": "False", "reason": "RolloutCompleted"}
    stored = status(rollout, current=2, step=1, conditions=[incomplete])
    _, events = take_in(Case(rollout, stored, observe(replica_set(1), replica_set(2))).situation)
    assert events == ()


def test_back_to_stable_skips_the_steps() -> None:
    rollout = spec(*STEPS, version=1)
    stored = status(rollout, current=2, step=1)
    found, events = take_in(Case(rollout, stored, observe(replica_set(1), replica_set(2))).situation)
    assert found.step_index == 4
    assert [(event.reason, event.message) for event in events] == [("SkipSteps", "Rollback to stable ReplicaSets")]


def test_other_steps_begin_anew_in_the_middle_of_an_update() -> None:
    found = taken(step=3, currentStepHash="another")
    assert found.step_index == 0


def test_a_status_without_step_hash_counts_as_changed_and_ends_at_once() -> None:
    """T44."""
    rollout = spec(*STEPS)
    case = Case(rollout, replace(status(rollout, step=0), step_hash=""), observe(replica_set(1)))
    found, events = take_in(case.situation)
    assert found.step_index == 4
    assert [event.reason for event in events] == ["SkipSteps"]


def test_a_first_deployment() -> None:
    rollout = spec(*STEPS)
    found, events = take_in(Case(rollout, RolloutStatus(), observe(revision=0)).situation)
    assert (found.pod_hash, found.stable_hash, found.step_index) == (pod_hash(1), "", 0)
    assert [event.reason for event in events] == ["RolloutNotCompleted"]
