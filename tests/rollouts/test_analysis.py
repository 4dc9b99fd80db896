"""AnalysisRuns: which are wanted, what verdicts mean, what is cancelled and deleted."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.core.plans import Plan
from fairlead.rollouts._analysis import Runs, arrange, events, is_reusable, judge, look, resume
from fairlead.rollouts.actions import CancelRun, CreateRun, DeleteRun
from fairlead.rollouts.status import RolloutStatus, RunRef
from fairlead.testing.builders import ROLLOUT_UID, analysis_run, pod_hash, replica_set, rollout_metadata
from tests.rollouts.situations import Case, routed

STANZA = {"templates": [{"templateName": "t"}]}
STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"analysis": STANZA}, {"pause": {}})
PLAN = Plan(spec={"metrics": [{"name": "m"}], "args": [{"name": "a", "value": "1"}]})
PAUSE = [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]
ASKING = [{"reason": "InconclusiveAnalysisRun", "startTime": "2026-01-01T00:00:00Z"}]
NAME = f"cart-{pod_hash(2)}-2"
BACKGROUND: dict[str, Any] = {"canary": {"analysis": STANZA}}
HOUR = timedelta(hours=1)


def case(
    *steps: dict[str, Any], step: int | None = 1, runs: Any = (), seen: dict[str, Any] | None = None, **given: Any
) -> Case:
    fields = {"runs": tuple(runs), "plans": {1: PLAN, None: PLAN}, **(seen or {})}
    return routed(*(steps or STEPS), step=step, canary=replica_set(2), seen=fields, **given)


def arranged(found: Case, *, holds: bool = True, halted: bool = False) -> Runs:
    status = look(found.situation, found.status)
    return arrange(found.situation, status, found.rule, holds=holds, is_halted=halted)


def created(found: Runs) -> list[str]:
    return [action.name for action in found.actions if isinstance(action, CreateRun)]


def cancelled(found: Runs) -> list[str]:
    return [action.target.name for action in found.actions if isinstance(action, CancelRun)]


def deleted(found: Runs) -> list[str]:
    return [action.target.name for action in found.actions if isinstance(action, DeleteRun)]


def with_refs(found: Case, *, step: str = "", background: str = "") -> Case:
    found.status = replace(
        found.status,
        step_run=RunRef(name=step) if step else None,
        background_run=RunRef(name=background) if background else None,
    )
    return found


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_step_gets_its_run() -> None:
    found = arranged(case())
    assert created(found) == [f"{NAME}-1"]
    assert found.status.step_run == RunRef(name=f"{NAME}-1")
    body = next(action.body for action in found.actions if isinstance(action, CreateRun))
    assert body["spec"] == PLAN.spec
    assert body["metadata"]["labels"] == {
        "rollouts-pod-template-hash": pod_hash(2),
        "rollout-type": "Step",
        "step-index": "1",
        "app": "cart",
    }
    assert body["metadata"]["ownerReferences"][0]["uid"] == ROLLOUT_UID


@pytest.mark.parametrize(
    ("given", "options"),
    [
        pytest.param({}, {"holds": False}, id="its-weight-is-not-in-force"),
        pytest.param({}, {"halted": True}, id="stopped-by-hand"),
        pytest.param({"pauseConditions": PAUSE}, {}, id="paused"),
        pytest.param({"step": 0}, {}, id="another-step"),
        pytest.param({"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}, {}, id="aborted"),
        pytest.param({"promoteFull": True}, {}, id="full-promotion"),
        pytest.param({"stable_version": 2}, {}, id="promoted"),
        pytest.param({"seen": {"plans": {1: Plan(error="no template")}}}, {}, id="no-plan"),
        pytest.param({"seen": {"plans": {}}}, {}, id="not-planned"),
    ],
)
def test_when_no_run_is_started(given: dict[str, Any], options: dict[str, Any]) -> None:
    assert created(arranged(case(**given), **options)) == []


def test_metadata_of_the_stanza_and_the_instance_id() -> None:
    stanza = {**STANZA, "analysisRunMetadata": {"labels": {"app": "x", "team": "a"}, "annotations": {"note": "b"}}}
    metadata = rollout_metadata(
        labels={"argo-rollouts.argoproj.io/controller-instance-id": "mine"},
        annotations={"rollout.argoproj.io/revision": "2"},
    )
    found = arranged(case({"setWeight": 20}, {"analysis": stanza}, seen={"metadata": metadata}))
    meta = next(action.body for action in found.actions if isinstance(action, CreateRun))["metadata"]
    assert meta["labels"]["argo-rollouts.argoproj.io/controller-instance-id"] == "mine"
    assert meta["labels"]["team"] == "a"
    assert meta["labels"]["app"] == "cart", "the selector of the Rollout wins"
    assert meta["annotations"] == {"rollout.argoproj.io/revision": "2", "note": "b"}


def test_a_run_that_was_made_before_a_crash_is_taken_over() -> None:
    """T13."""
    run = analysis_run(f"{NAME}-1", step=1, run_spec=PLAN.spec)
    found = arranged(case(runs=[run]))
    assert found.actions == ()
    assert found.status.step_run is not None
    assert found.status.step_run.name == f"{NAME}-1"


def test_it_is_taken_over_also_before_the_weight_counts_as_in_force_again() -> None:
    run = analysis_run(f"{NAME}-1", "Running", step=1, run_spec=PLAN.spec)
    found = arranged(case(runs=[run]), holds=False)
    assert found.actions == ()
    assert found.status.step_run == RunRef(name=f"{NAME}-1", phase="Running")


@pytest.mark.parametrize(
    ("given", "stored", "run_spec", "is_kept"),
    [
        pytest.param({}, {}, PLAN.spec, True, id="made-before-a-crash"),
        pytest.param(
            {}, {"step_run": RunRef(name=f"{NAME}-1")}, PLAN.spec, False, id="somebody-moved-the-rollout-back"
        ),
        pytest.param({}, {"step_hash": "other"}, PLAN.spec, False, id="of-other-steps"),
        pytest.param({}, {}, {"metrics": []}, False, id="of-another-spec"),
        pytest.param({"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}, {}, PLAN.spec, False, id="aborted"),
    ],
)
def test_a_run_of_a_step_that_is_not_reached_again_yet(
    given: dict[str, Any], stored: dict[str, Any], run_spec: dict[str, Any], is_kept: bool
) -> None:
    run = analysis_run(f"{NAME}-1", "Running", step=1, run_spec=run_spec)
    found = case(step=0, runs=[run], **given)
    found.situation = dataclasses.replace(found.situation, stored=replace(found.status, **stored))
    runs = arranged(found, holds=False)
    assert [type(action) for action in runs.actions] == ([] if is_kept else [CancelRun])
    assert runs.status.step_run is None


@pytest.mark.parametrize(
    "existing",
    [
        pytest.param({"phase": "Failed", "run_spec": PLAN.spec}, id="completed"),
        pytest.param({"run_spec": {"metrics": []}}, id="another-spec"),
        pytest.param({"run_spec": {**PLAN.spec, "terminate": True}}, id="terminated"),
    ],
)
def test_a_name_that_is_taken_for_good(existing: dict[str, Any]) -> None:
    run = analysis_run(f"{NAME}-1", step=1, **existing)
    assert created(arranged(case(runs=[run]))) == [f"{NAME}-1.1"]


@pytest.mark.parametrize("phase", ["Successful", "Failed", "Error", "Inconclusive"])
@pytest.mark.parametrize(
    ("after_progress", "is_heard"),
    [
        pytest.param(timedelta(seconds=1), True, id="since-the-last-progress"),
        pytest.param(timedelta(0), False, id="in-the-same-second"),
        pytest.param(-HOUR, False, id="of-an-earlier-attempt"),
    ],
)
def test_a_run_that_ended_while_nobody_was_there_to_hear_it(
    phase: str, after_progress: timedelta, is_heard: bool
) -> None:
    """A crash came before the status could name it: a bad verdict must not be tried again until it is good."""
    progressing = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": ""}
    times = dict.fromkeys(("lastUpdateTime", "lastTransitionTime"), "2026-01-01T00:00:00Z")
    run = analysis_run(f"{NAME}-1", phase, step=1, run_spec=PLAN.spec, age=-after_progress)
    found = arranged(case(runs=[run], conditions=[progressing | times]))
    assert created(found) == ([] if is_heard else [f"{NAME}-1.1"])
    if is_heard:
        assert found.status.step_run == RunRef(name=f"{NAME}-1", phase=phase)


def test_a_run_of_somebody_else_is_not_reused() -> None:
    run = analysis_run("x", run_spec=PLAN.spec)
    assert is_reusable(run, ROLLOUT_UID, PLAN.spec)
    assert not is_reusable(run, "other", PLAN.spec)
    broken = replace(run, spec=msgspec.Raw(b"[]"))
    assert not is_reusable(broken, ROLLOUT_UID, PLAN.spec)


# --- background -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starting", "step", "expected"), [(None, 0, [NAME]), (2, 1, []), (2, 2, [NAME]), (0, 2, [NAME])]
)
def test_the_background_run_starts_at_its_step(starting: int | None, step: int, expected: list[str]) -> None:
    stanza = STANZA if starting is None else {**STANZA, "startingStep": starting}
    found = case({"setWeight": 20}, {"pause": {}}, {"pause": {}}, step=step, settings={"canary": {"analysis": stanza}})
    assert created(arranged(found)) == expected


def test_it_starts_past_the_last_step_only_if_there_was_none() -> None:
    """T51."""
    fresh = case({"setWeight": 20}, step=1, settings=BACKGROUND)
    assert created(arranged(fresh)) == [NAME]
    old = case({"setWeight": 20}, step=1, settings=BACKGROUND, runs=[analysis_run(NAME, "Inconclusive")])
    assert created(arranged(old)) == []


def test_a_finished_background_run_is_not_repeated() -> None:
    found = with_refs(case(step=2, settings=BACKGROUND, runs=[analysis_run(NAME, "Successful")]), background=NAME)
    assert created(arranged(found)) == []


def test_it_is_not_recreated_while_a_person_is_asked() -> None:
    assert created(arranged(case(step=2, settings=BACKGROUND, pauseConditions=ASKING))) == []


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "background", "pauses", "halted", "message", "asks"),
    [
        pytest.param("Running", "Running", [], False, "", False, id="nothing-yet"),
        pytest.param("Successful", "Successful", [], False, "", False, id="good"),
        pytest.param("Failed", "", [], False, "Step-based analysis phase error/failed", False, id="step-failed"),
        pytest.param("Error", "", [], False, "Step-based analysis phase error/failed", False, id="step-error"),
        pytest.param("Failed", "", PAUSE, False, "", False, id="a-step-waits-for-the-end-of-the-pause"),
        pytest.param("Failed", "", [], True, "", False, id="and-for-the-end-of-a-manual-one"),
        pytest.param("", "Failed", PAUSE, True, "Background analysis phase error/failed", False, id="background-not"),
        pytest.param("Inconclusive", "", [], False, "", True, id="step-cannot-tell"),
        pytest.param("", "Inconclusive", PAUSE, False, "", True, id="background-cannot-tell"),
        pytest.param("", "Inconclusive", ASKING, False, "", False, id="a-person-is-asked-already"),
        pytest.param("Surprised", "", [], False, "", False, id="an-unknown-phase-is-none"),
    ],
)
def test_verdicts(step: str, background: str, pauses: list[Any], halted: bool, message: str, asks: bool) -> None:
    status = replace(
        case(pauseConditions=pauses).status,
        step_run=RunRef(name="s", phase=step) if step else None,
        background_run=RunRef(name="b", phase=background) if background else None,
    )
    verdict = judge(status, is_halted=halted)
    assert (verdict.abort_message, verdict.is_inconclusive) == (message, asks)


def test_the_message_of_a_run_is_passed_on() -> None:
    status = RolloutStatus(background_run=RunRef(name="b", phase="Failed", message="m: 3 of 5"))
    assert judge(status, is_halted=False).abort_message == "Background analysis phase error/failed: m: 3 of 5"


def test_a_person_overrules_only_what_was_inconclusive() -> None:
    found = case()
    status = replace(
        found.status,
        step_run=RunRef(name="s", phase="Inconclusive"),
        background_run=RunRef(name="b", phase="Running"),
    )
    after = resume(status)
    assert (after.step_run, after.background_run) == (None, status.background_run)


def test_a_run_of_another_step_does_not_count() -> None:
    """T52."""
    found = with_refs(case(runs=[analysis_run("r", "Successful", step=0)]), step="r")
    assert look(found.situation, found.status).step_run is None


def test_a_run_that_vanished_does_not_count() -> None:
    found = with_refs(case(), step="r", background="b")
    after = look(found.situation, found.status)
    assert (after.step_run, after.background_run) == (None, None)


# --- ending and forgetting -----------------------------------------------------------------------------------------


def test_runs_that_are_not_current_are_cancelled() -> None:
    runs = [
        analysis_run("old", step=0),
        analysis_run("done", "Failed", step=0),
        analysis_run("ending", step=0, run_spec={"terminate": True}),
        analysis_run("current", step=1, run_spec=PLAN.spec),
    ]
    assert cancelled(arranged(with_refs(case(runs=runs), step="current"))) == ["old"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}, id="abort"),
        pytest.param({"promoteFull": True}, id="full-promotion"),
        pytest.param({"stable_version": 2}, id="promoted"),
    ],
)
def test_all_runs_end(given: dict[str, Any]) -> None:
    runs = [analysis_run("s", step=1), analysis_run("b")]
    found = arranged(with_refs(case(runs=runs, settings=BACKGROUND, **given), step="s", background="b"))
    assert sorted(cancelled(found)) == ["b", "s"]
    assert (found.status.step_run, found.status.background_run) == (None, None)


def test_only_the_newest_runs_are_kept() -> None:
    runs = [analysis_run(f"good-{age}", "Successful", age=age * HOUR) for age in range(4)]
    runs += [
        analysis_run(f"bad-{age}", phase, age=age * HOUR)
        for age, phase in enumerate(("Failed", "Error", "Inconclusive"))
    ]
    limits = {"analysis": {"successfulRunHistoryLimit": 2, "unsuccessfulRunHistoryLimit": 1}}
    found = arranged(case(step=2, runs=runs, settings=limits))
    assert sorted(deleted(found)) == ["bad-1", "bad-2", "good-2", "good-3"]


def test_runs_of_a_revision_that_is_gone_are_deleted() -> None:
    runs = [
        analysis_run("gone", "Successful", version=9),
        analysis_run("unlabelled", "Running", labels={"rollouts-pod-template-hash": ""}),
        analysis_run("stable", "Successful", version=1),
    ]
    found = arranged(case(step=2, runs=runs))
    assert sorted(deleted(found)) == ["gone", "unlabelled"]
    assert cancelled(found) == []


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_tell_of_every_phase_once() -> None:
    before = RolloutStatus(step_run=RunRef(name="s"), background_run=RunRef(name="b", phase="Running"))
    after = RolloutStatus(step_run=RunRef(name="s", phase="Running"), background_run=RunRef(name="b", phase="Failed"))
    found = events(before, after)
    assert [(event.reason, str(event.type)) for event in found] == [
        ("AnalysisRunRunning", "Normal"),
        ("AnalysisRunFailed", "Warning"),
    ]
    assert found[0].message == "Step Analysis Run 's' Status New: 'Running' Previous: 'NoPreviousStatus'"
    assert found[1].message == "Background Analysis Run 'b' Status New: 'Failed' Previous: 'Running'"
    assert events(after, after) == ()
