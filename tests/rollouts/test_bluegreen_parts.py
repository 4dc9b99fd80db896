"""The parts of the blue-green machine by themselves: facts, sizes, Services, the gate; one table for each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.kinds import ReplicaSet
from fairlead.core.objects import rfc3339
from fairlead.rollouts._bluegreen import _gate, facts_of, rule_for
from fairlead.rollouts._bluegreen_modes import Mode, Rule
from fairlead.rollouts._bluegreen_scaling import KEPT, resize
from fairlead.rollouts._bluegreen_services import is_taken, switch
from fairlead.rollouts._conditions import phase_of
from fairlead.rollouts._restart import restart
from fairlead.rollouts._revisions import identify
from fairlead.rollouts._scaling import Change
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts.status import RolloutStatus, read
from fairlead.testing import builders
from fairlead.testing.builders import START, pod_hash, replica_set, service
from tests.rollouts.blue_green_world import ACTIVE, ANALYSIS, BY_HAND, POST, PRE, PREVIEW, PREVIEWED, content

V1, V2, V3 = (f"cart-{pod_hash(version)}" for version in (1, 2, 3))


class Case:
    """An update from version 1 to version 2, n = 5 unless said otherwise, and everything that follows from it."""

    def __init__(
        self,
        *fields: dict[str, Any],
        found: tuple[ReplicaSet, ...] | None = None,
        active: int | None = 1,
        preview: int | None = 2,
        managed: bool = True,
        stable: int | None = 1,
        current: int = 2,
        replicas: int = 5,
        endpoints: dict[str, dict[str, int]] | None = None,
        spec: dict[str, Any] | None = None,
        **status: Any,
    ) -> None:
        rollout = builders.spec_of(content(PREVIEWED, *fields, version=current, replicas=replicas, **(spec or {})))
        if found is None:
            found = (replica_set(1, replicas=replicas), replica_set(2, replicas=replicas))
        services = {ACTIVE: service(ACTIVE, active, managed=managed), PREVIEW: service(PREVIEW, preview)}
        seen = builders.observation(*found, services=services, endpoints=endpoints)
        selected = {
            "activeSelector": "" if active is None else pod_hash(active),
            "previewSelector": "" if preview is None else pod_hash(preview),
            **status.pop("blueGreen", {}),
        }
        stored = builders.status_content(rollout, stable=stable or 1, current=current, blueGreen=selected, **status)
        stored.pop("currentStepHash")
        stored["stableRS"] = "" if stable is None else pod_hash(stable)
        self.status: RolloutStatus = read(stored)
        self.situation = Situation(
            spec=rollout,
            stored=self.status,
            seen=seen,
            revisions=identify(seen.metadata, rollout, self.status, seen.replica_sets),
            now=START,
        )

    @property
    def roles(self) -> Roles:
        return self.situation.roles(self.status.stable_hash)

    @property
    def rule(self) -> Rule:
        return rule_for(facts_of(self.situation, self.status, self.roles))

    def sizes(self) -> dict[str, Change]:
        return resize(self.situation, self.status, self.roles, self.rule, is_halted=False).sizes.changes


def old(version: int, replicas: int, *, left: int | None = None, kept: bool = False, **fields: Any) -> ReplicaSet:
    """Return a ReplicaSet whose delay has so many seconds left (None: it has none)."""
    marks = {} if left is None else {"scale-down-deadline": rfc3339(START + timedelta(seconds=left))}
    marks |= {KEPT: "true"} if kept else {}
    return replica_set(version, replicas=replicas, annotations=marks, **fields)


# --- modes -----------------------------------------------------------------------------------------------------------

PAIR = (replica_set(1, replicas=5), replica_set(2, replicas=5))


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        pytest.param(Case(stable=None), Mode.INITIAL, id="nothing-stable"),
        pytest.param(
            Case(active=None, found=(replica_set(1, replicas=5, available=0), PAIR[1])),
            Mode.INITIAL,
            id="nothing-served-yet",
        ),
        pytest.param(Case(active=None), Mode.PREVIEW, id="another-active-service"),
        pytest.param(Case(stable=2), Mode.PROMOTED, id="promoted"),
        pytest.param(Case(abort=True, promoteFull=True), Mode.ABORTED, id="aborted"),
        pytest.param(Case(promoteFull=True), Mode.FULL, id="full"),
        pytest.param(Case(found=(PAIR[0], old(2, 5, left=9, kept=True))), Mode.FAST, id="within-delay"),
        pytest.param(Case(found=(PAIR[0], old(2, 5, kept=True))), Mode.FAST, id="deadline-removed-already"),
        pytest.param(Case(found=(PAIR[0], old(2, 5, left=0, kept=True))), Mode.PREVIEW, id="delay-is-over"),
        pytest.param(Case(found=(PAIR[0], old(2, 5, left=9))), Mode.PREVIEW, id="deadline-of-an-abort"),
        pytest.param(Case(found=(PAIR[0], old(2, 0, kept=True))), Mode.PREVIEW, id="no-pods-left"),
        pytest.param(
            Case(
                found=(replica_set(1, replicas=5), replica_set(2, replicas=0, age=timedelta(minutes=5))),
                spec={"rollbackWindow": {"revisions": 1}},
            ),
            Mode.FAST,
            id="within-window",
        ),
        pytest.param(Case(active=2), Mode.CHECKING, id="switched"),
        pytest.param(Case(), Mode.PREVIEW, id="before-the-switch"),
    ],
)
def test_mode(case: Case, mode: Mode) -> None:
    assert case.rule.mode is mode


# --- sizes -----------------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"previewReplicaCount": 2}
PASSED: dict[str, Any] = {"scaleUpPreviewCheckPoint": True}


@pytest.mark.parametrize(
    ("case", "replicas"),
    [
        pytest.param(Case(), 5, id="no-preview-count"),
        pytest.param(Case(SMALL), 2, id="before-the-gate"),
        pytest.param(Case(SMALL, blueGreen=PASSED), 5, id="gate-passed"),
        pytest.param(Case(SMALL, promoteFull=True), 5, id="full-promotion"),
        pytest.param(Case(SMALL, active=2), 5, id="users-are-on-it"),
        pytest.param(Case(SMALL, stable=None), 5, id="first-deployment"),
        pytest.param(Case(SMALL, stable=2), 5, id="promoted"),
        pytest.param(Case(SMALL, found=(PAIR[0], old(2, 5, left=9, kept=True))), 5, id="fast-rollback"),
        pytest.param(Case({"previewReplicaCount": 0}), 0, id="preview-of-nothing"),
        pytest.param(Case({"previewReplicaCount": 7}), 7, id="preview-of-more"),
        pytest.param(Case(replicas=0), 0, id="nothing-is-wanted"),
    ],
)
def test_size_of_the_current_revision(case: Case, replicas: int) -> None:
    assert case.sizes()[V2].replicas == replicas


@pytest.mark.parametrize("case", [Case(), Case(abort=True), Case(promoteFull=True), Case(active=2)])
def test_stable_has_all_pods_until_another_one_is_stable(case: Case) -> None:
    assert case.sizes()[V1] == Change(replicas=5, deadline="")


def at(seconds: int) -> str:
    return rfc3339(START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("case", "change"),
    [
        pytest.param(Case(abort=True), Change(replicas=5, deadline=at(30)), id="delay-begins"),
        pytest.param(
            Case({"abortScaleDownDelaySeconds": 7}, abort=True), Change(replicas=5, deadline=at(7)), id="other-delay"
        ),
        pytest.param(Case({"abortScaleDownDelaySeconds": 0}, abort=True), Change(replicas=5), id="for-ever"),
        pytest.param(Case(abort=True, active=2), Change(replicas=5), id="users-are-still-on-it"),
        pytest.param(
            Case(abort=True, found=(replica_set(1, replicas=5, available=4), PAIR[1])),
            Change(replicas=5),
            id="stable-is-not-whole",
        ),
        pytest.param(Case(abort=True, found=(PAIR[0], old(2, 5, left=1))), Change(replicas=5), id="within-delay"),
        pytest.param(
            Case(abort=True, found=(PAIR[0], old(2, 5, left=0))), Change(replicas=0, deadline=""), id="delay-is-over"
        ),
        pytest.param(Case(abort=True, found=(PAIR[1],)), Change(replicas=5), id="stable-was-deleted"),
    ],
)
def test_size_of_an_aborted_revision(case: Case, change: Change) -> None:
    assert case.sizes()[V2] == change


NOW = (replica_set(3, replicas=5, revision=9), replica_set(1, replicas=5))  # version 3 is stable and current


def promoted(*others: ReplicaSet, settings: dict[str, Any] | None = None, **fields: Any) -> Case:
    options: dict[str, Any] = {"stable": 3, "current": 3, "active": 3, "preview": 3, **fields}
    return Case(settings or {}, found=(NOW[0], *others), **options)


@pytest.mark.parametrize(
    ("case", "name", "change"),
    [
        pytest.param(promoted(old(2, 5)), V2, Change(replicas=5, deadline=at(30)), id="delay-begins"),
        pytest.param(
            promoted(old(2, 5), settings={"scaleDownDelaySeconds": 0}),
            V2,
            Change(replicas=0, deadline=""),
            id="no-delay",
        ),
        pytest.param(promoted(old(2, 5, left=1)), V2, Change(replicas=5), id="within-delay"),
        pytest.param(promoted(old(2, 3, left=1, kept=True)), V2, Change(replicas=5), id="was-stable-follows-n"),
        pytest.param(promoted(old(2, 3, left=1)), V2, Change(replicas=3), id="never-was-stays-small"),
        pytest.param(promoted(old(2, 5, left=0)), V2, Change(replicas=0, deadline=""), id="delay-is-over"),
        pytest.param(promoted(old(2, 5), active=2), V2, None, id="active-service-selects-it"),
        pytest.param(promoted(old(2, 5), preview=2), V2, None, id="preview-service-selects-it"),
        pytest.param(promoted(old(2, 0)), V2, None, id="empty-already"),
        pytest.param(
            promoted(old(2, 5, left=9), old(1, 5, left=9), settings={"scaleDownDelayRevisionLimit": 1}),
            V2,
            Change(replicas=5),
            id="newest-within-the-limit",
        ),
        pytest.param(
            promoted(old(2, 5, left=9), old(1, 5, left=9), settings={"scaleDownDelayRevisionLimit": 1}),
            V1,
            Change(replicas=0, deadline=""),
            id="older-beyond-the-limit",
        ),
        pytest.param(
            promoted(old(2, 5), settings={"scaleDownDelayRevisionLimit": 0}),
            V2,
            Change(replicas=0, deadline=""),
            id="none-may-wait",
        ),
        pytest.param(
            promoted(old(2, 5, left=0), old(1, 5), settings=POST, stable=1), V2, None, id="not-while-users-are-judged"
        ),
        pytest.param(
            promoted(old(2, 5, left=0), old(1, 5), settings=POST | {"scaleDownDelaySeconds": 5}, stable=1),
            V2,
            Change(replicas=0, deadline=""),
            id="unless-a-delay-is-asked-for",
        ),
    ],
)
def test_size_of_the_others(case: Case, name: str, change: Change | None) -> None:
    assert case.sizes().get(name) == change


# --- Services --------------------------------------------------------------------------------------------------------


def pods(version: int, available: int, replicas: int = 5) -> ReplicaSet:
    return replica_set(version, replicas=replicas, available=available)


@pytest.mark.parametrize(
    ("case", "selects"),
    [
        pytest.param(Case(), 1, id="not-before-the-gate"),
        pytest.param(Case(blueGreen=PASSED), 2, id="behind-the-gate"),
        pytest.param(Case(blueGreen=PASSED, found=(PAIR[0], pods(2, 4))), 1, id="not-all-pods-available"),
        pytest.param(Case(blueGreen=PASSED, found=(PAIR[0], pods(2, 2, 2))), 1, id="not-all-pods-wanted-yet"),
        pytest.param(Case(blueGreen=PASSED, found=(pods(1, 0), PAIR[1])), 2, id="stable-is-broken"),
        pytest.param(Case(blueGreen=PASSED, replicas=0), 2, id="no-pods-wanted"),
        pytest.param(Case(promoteFull=True), 2, id="full"),
        pytest.param(Case(promoteFull=True, found=(PAIR[0], pods(2, 4))), 1, id="full-not-all-pods"),
        pytest.param(Case(abort=True, active=2), 1, id="abort"),
        pytest.param(Case(abort=True, active=2, found=(PAIR[0], pods(2, 0))), 1, id="abort-new-is-broken"),
        pytest.param(Case(abort=True, active=2, found=(pods(1, 1), PAIR[1])), 1, id="abort-one-stable-pod"),
        pytest.param(Case(abort=True, active=2, found=(pods(1, 0), PAIR[1])), 2, id="abort-no-stable-pod"),
        pytest.param(Case(abort=True, active=2, found=(PAIR[1],)), 2, id="abort-stable-is-gone"),
        pytest.param(Case(active=None), 1, id="adopted-for-stable"),
        pytest.param(Case(active=None, managed=False, found=(pods(1, 4), PAIR[1])), None, id="adopted-with-all-pods"),
        pytest.param(Case(active=3, found=(pods(1, 1), PAIR[1])), 1, id="moved-by-somebody-one-pod-is-enough"),
        pytest.param(Case(stable=2, active=1, found=(PAIR[0], pods(2, 1))), 2, id="promoted-moved-by-somebody"),
        pytest.param(
            Case(stable=2, active=None, managed=False, found=(PAIR[0], pods(2, 4))), None, id="first-with-all-pods"
        ),
    ],
)
def test_active_service(case: Case, selects: int | None) -> None:
    found = switch(case.situation, case.status, case.roles, case.rule, is_halted=False)
    assert found.active_hash == ("" if selects is None else pod_hash(selects))
    before = case.situation.selected(ACTIVE)
    assert [action.pod_hash for action in found.active] == ([found.active_hash] if found.active_hash != before else [])
    wants = {Mode.ABORTED: 1, Mode.PREVIEW: 2 if case.status.may_switch else 1}.get(case.rule.mode, 2)
    is_there = found.active_hash == pod_hash(wants) or (wants == 1 and case.roles.stable is None)
    assert (found.waiting is None) == is_there


@pytest.mark.parametrize(
    ("case", "selects"),
    [
        pytest.param(Case(preview=1, found=(PAIR[0], pods(2, 0, 0))), 2, id="before-there-are-pods"),
        pytest.param(Case(preview=1, stable=2), 2, id="promoted"),
        pytest.param(Case(preview=2, abort=True), 2, id="stays-after-an-abort"),
        pytest.param(Case(preview=None), 2, id="adopted"),
    ],
)
def test_preview_service(case: Case, selects: int) -> None:
    found = switch(case.situation, case.status, case.roles, case.rule, is_halted=False)
    assert found.preview_hash == pod_hash(selects)
    assert len(found.preview) == (case.situation.selected(PREVIEW) != pod_hash(selects))


def test_nothing_is_switched_while_everything_stands_still() -> None:
    case = Case(preview=1, active=1, promoteFull=True)
    found = switch(case.situation, case.status, case.roles, case.rule, is_halted=True)
    assert (found.active, found.preview, found.active_hash, found.preview_hash) == ((), (), pod_hash(1), pod_hash(1))


@pytest.mark.parametrize(
    ("endpoints", "taken"),
    [
        pytest.param(None, True, id="not-observed"),
        pytest.param({}, True, id="no-slice"),
        pytest.param({ACTIVE: {V2: 5}}, True, id="own-pods"),
        pytest.param({ACTIVE: {V2: 5, V1: 0}}, True, id="others-are-gone"),
        pytest.param({ACTIVE: {V2: 5, V1: 1}}, False, id="one-of-another-revision"),
        pytest.param({ACTIVE: {"": 1}}, False, id="a-stranger"),
    ],
)
def test_who_answers_behind_the_active_service(endpoints: dict[str, dict[str, int]] | None, taken: bool) -> None:
    case = Case(active=2, endpoints=endpoints)
    assert is_taken(case.situation, case.roles.new) is taken


# --- the gate --------------------------------------------------------------------------------------------------------

PAUSED_5: dict[str, Any] = {
    "pauseConditions": [{"reason": "BlueGreenPause", "startTime": at(-5)}],
    "controllerPause": True,
}
GOOD, BAD = ({"prePromotionAnalysisRunStatus": {"name": "r", "status": phase}} for phase in ("Successful", "Running"))


@pytest.mark.parametrize(
    ("case", "passes", "pauses", "wakes_in"),
    [
        pytest.param(Case(), True, False, None, id="nothing-is-wanted"),
        pytest.param(Case(found=(PAIR[0], pods(2, 4))), False, False, None, id="pods-are-missing"),
        pytest.param(Case(SMALL, found=(PAIR[0], pods(2, 2, 2))), True, False, None, id="preview-has-its-pods"),
        pytest.param(Case(SMALL, found=(PAIR[0], pods(2, 1, 2))), False, False, None, id="preview-lacks-pods"),
        pytest.param(Case(PRE), False, False, None, id="not-judged"),
        pytest.param(Case(PRE, blueGreen=BAD), False, False, None, id="not-judged-yet"),
        pytest.param(Case(PRE, blueGreen=GOOD), True, False, None, id="judged-good"),
        pytest.param(
            Case({"prePromotionAnalysis": {"templates": []}}), True, False, None, id="an-analysis-without-templates"
        ),
        pytest.param(Case(BY_HAND), False, True, None, id="pause-begins"),
        pytest.param(Case(BY_HAND, **PAUSED_5), False, True, None, id="paused"),
        pytest.param(Case(BY_HAND, controllerPause=True), True, False, None, id="resumed"),
        pytest.param(
            Case(PRE, BY_HAND, blueGreen=BAD, controllerPause=True), False, False, None, id="resumed-too-early"
        ),
        pytest.param(Case({"autoPromotionSeconds": 9}), False, True, 9, id="timed-pause-begins"),
        pytest.param(Case({"autoPromotionSeconds": 9}, **PAUSED_5), False, True, 4, id="timed-pause"),
        pytest.param(Case({"autoPromotionSeconds": 5}, **PAUSED_5), True, False, None, id="timed-pause-is-over"),
        pytest.param(Case({"autoPromotionSeconds": 9}, controllerPause=True), True, False, None, id="timed-resumed"),
        pytest.param(Case(BY_HAND, {"autoPromotionSeconds": 1}, **PAUSED_5), False, True, None, id="T63"),
        pytest.param(Case(**PAUSED_5), True, False, None, id="no-longer-wanted"),
    ],
)
def test_gate(case: Case, passes: bool, pauses: bool, wakes_in: int | None) -> None:
    status, wake_at = _gate(case.situation, case.status, case.roles, case.rule)
    assert status.may_switch is passes
    assert bool(status.pauses) is pauses
    assert wake_at == (None if wakes_in is None else START + timedelta(seconds=wakes_in))
    assert not passes or not status.controller_pause


# --- phase -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "status", "message"),
    [
        pytest.param(Case(), {}, "more replicas need to be updated", id="too-few"),
        pytest.param(
            Case(),
            {"updatedReplicas": 5, "availableReplicas": 4},
            "updated replicas are still becoming available",
            id="not-available",
        ),
        pytest.param(
            Case(), {"updatedReplicas": 5, "availableReplicas": 5}, "active service cutover pending", id="not-switched"
        ),
        pytest.param(
            Case({"postPromotionAnalysis": ANALYSIS}, active=2),
            {"updatedReplicas": 5, "availableReplicas": 5},
            "waiting for analysis to complete",
            id="not-judged",
        ),
        pytest.param(
            Case(active=2),
            {"updatedReplicas": 5, "availableReplicas": 5},
            "waiting for post-promotion verification to complete",
            id="not-stable",
        ),
        pytest.param(
            Case(active=2, stable=2), {"updatedReplicas": 5, "availableReplicas": 5, "replicas": 10}, "", id="done"
        ),
    ],
)
def test_phase(case: Case, status: dict[str, Any], message: str) -> None:
    rendered = {
        "currentPodHash": case.status.pod_hash,
        "stableRS": case.status.stable_hash,
        "blueGreen": {"activeSelector": case.status.active_hash},
        **status,
    }
    phase, found = phase_of(case.situation, read(rendered))
    assert found == message
    assert phase == ("Progressing" if message else "Healthy")


# --- restart ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "evicted"),
    [
        pytest.param({}, 1, id="a-quarter-by-default"),
        pytest.param({"maxUnavailable": 0}, 1, id="at-least-one"),
        pytest.param({"maxUnavailable": 2}, 2, id="pods"),
        pytest.param({"maxUnavailable": "60%"}, 3, id="a-share-rounded-down"),
        pytest.param({"maxUnavailable": 9}, 5, id="no-more-than-there-are"),
    ],
)
def test_a_restart_takes_as_many_pods_as_may_be_missing(fields: dict[str, Any], evicted: int) -> None:
    found = replica_set(2, replicas=5)
    case = Case(fields, found=(found,), stable=2, active=2, spec={"restartAt": at(-1)})
    pods = tuple(builders.pod(f"p{number}", found, created_at=START - timedelta(hours=1)) for number in range(5))
    situation = replace(case.situation, seen=replace(case.situation.seen, pods=pods))
    asked = restart(situation, case.status, case.roles)
    assert (len(asked.actions), asked.left) == (evicted, 5)
