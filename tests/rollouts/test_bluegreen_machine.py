"""What must hold of a blue-green decision whatever is read and seen."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fairlead.core.decision import Decision
from fairlead.core.plans import Plan
from fairlead.rollouts.actions import Action, CreateReplicaSet, PatchReplicaSet, SwitchService
from fairlead.rollouts.machine import decide
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus, read, render
from fairlead.testing import builders
from fairlead.testing.builders import HASH_LABEL, START, pod_hash, service
from tests.properties import examples
from tests.rollouts.blue_green_world import ACTIVE, ANALYSIS, PREVIEW, content
from tests.rollouts.strategies import replica_sets, status_contents

Case = tuple[RolloutSpec, RolloutStatus, Observation]
HASHES = st.sampled_from([pod_hash(1), pod_hash(2), pod_hash(3), "", "gone"])


@st.composite
def specs(draw: st.DrawFn) -> RolloutSpec:
    """Draw a valid spec of version 2."""
    fields: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "previewService": st.just(PREVIEW),
                "previewReplicaCount": st.integers(0, 9),
                "autoPromotionEnabled": st.booleans(),
                "autoPromotionSeconds": st.integers(0, 60),
                "maxUnavailable": st.sampled_from([0, 1, "25%", "100"]),
                "scaleDownDelaySeconds": st.integers(0, 60),
                "scaleDownDelayRevisionLimit": st.integers(0, 2),
                "abortScaleDownDelaySeconds": st.integers(0, 60),
                "prePromotionAnalysis": st.just(ANALYSIS),
                "postPromotionAnalysis": st.just(ANALYSIS),
                "previewMetadata": st.just({"labels": {"role": "preview"}}),
            },
        )
    )
    others = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "paused": st.booleans(),
                "progressDeadlineAbort": st.booleans(),
                "rollbackWindow": st.integers(0, 3).map(lambda number: {"revisions": number}),
            },
        )
    )
    return builders.spec_of(content(fields, version=2, replicas=draw(st.integers(0, 8)), **others))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rollout = draw(specs())
    stored = draw(status_contents(rollout, junk=draw(st.booleans())))
    if draw(st.booleans()):
        stored.pop("currentStepHash", None)
    run = st.builds(
        lambda name, phase: {"name": name, "status": phase},
        st.sampled_from(["run-0", "run-1"]),
        st.sampled_from(["", "Running", "Successful", "Failed", "Inconclusive"]),
    )
    stored["blueGreen"] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "activeSelector": HASHES,
                "previewSelector": HASHES,
                "scaleUpPreviewCheckPoint": st.booleans(),
                "prePromotionAnalysisRunStatus": run,
                "postPromotionAnalysisRunStatus": run,
            },
        )
    )
    found = draw(replica_sets())
    versions = st.sampled_from([None, 1, 2, 3])
    services = {use.name: service(use.name, draw(versions), managed=draw(st.booleans())) for use in rollout.services}
    names = st.sampled_from([one.metadata.name for one in found] or ["x"])
    endpoints = st.dictionaries(names, st.integers(0, 8), max_size=2)
    runs = tuple(
        builders.analysis_run(f"run-{index}", draw(st.sampled_from(["Running", "Successful", "Failed"])))
        for index in range(draw(st.integers(0, 2)))
    )
    seen = builders.observation(
        *found,
        services=services,
        endpoints=draw(st.one_of(st.none(), st.fixed_dictionaries({ACTIVE: endpoints}))),
        runs=runs,
        plans={use.step: Plan(spec={"metrics": []}) for use in rollout.analyses},
    )
    return rollout, read(stored), seen


def checked(case: Case) -> Decision[RolloutStatus, Action]:
    return decide(*case, START)


THOROUGH = examples(200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@THOROUGH
@given(cases())
def test_any_case_is_decided_and_always_alike(case: Case) -> None:
    first = checked(case)
    assert first == checked(case)
    again = read(render(first.status))
    assert (again.may_switch, again.pre_run, again.post_run) == (
        first.status.may_switch,
        first.status.pre_run,
        first.status.post_run,
    )


@THOROUGH
@given(cases())
def test_something_is_waited_for_unless_all_is_well(case: Case) -> None:
    decision = checked(case)
    if decision.blocked_on is None:
        assert decision.status.phase == "Healthy"
        assert not decision.actions
    else:
        assert decision.blocked_on.what


@THOROUGH
@given(cases())
def test_it_wakes_in_the_future(case: Case) -> None:
    decision = checked(case)
    assert decision.wake_at is None or decision.wake_at > START


def _available(seen: Observation, pod_hash_: str) -> int:
    return sum(
        one.status.available_replicas for one in seen.replica_sets if one.metadata.labels[HASH_LABEL] == pod_hash_
    )


@THOROUGH
@given(cases())
def test_users_are_moved_to_pods_and_to_new_ones_only_when_all_are_there(case: Case) -> None:
    rollout, stored, seen = case
    decision = checked(case)
    for action in decision.actions:
        if not isinstance(action, SwitchService) or action.target.name != ACTIVE or action.event is None:
            continue
        available = _available(seen, action.pod_hash)
        assert available >= min(1, rollout.replicas_wanted)
        is_new = action.pod_hash == pod_hash(2) != stored.stable_hash
        if is_new and not decision.status.is_promoted:
            assert available >= rollout.replicas_wanted
        if decision.status.abort:
            assert action.pod_hash == decision.status.stable_hash


@THOROUGH
@given(cases())
def test_pods_that_users_reach_stay(case: Case) -> None:
    rollout, _, seen = case
    active = seen.services[ACTIVE].spec.selector.get(HASH_LABEL, "")
    by_name = {one.metadata.name: one for one in seen.replica_sets}
    for action in checked(case).actions:
        if isinstance(action, PatchReplicaSet) and action.replicas is not None:
            found = by_name[action.target.name]
            if found.metadata.labels[HASH_LABEL] == active:
                assert action.replicas >= min(found.spec.replicas, rollout.replicas_wanted)


@THOROUGH
@given(cases())
def test_nothing_moves_while_paused_by_hand(case: Case) -> None:
    rollout, _, _ = case
    decision = checked(case)
    if not rollout.paused or decision.status.abort:
        return
    for action in decision.actions:
        assert not isinstance(action, SwitchService)
        assert not (isinstance(action, PatchReplicaSet) and action.replicas is not None)
        assert not (isinstance(action, CreateReplicaSet) and action.replicas)


@THOROUGH
@given(cases())
def test_an_abort_promotes_nothing(case: Case) -> None:
    decision = checked(case)
    if decision.status.abort:
        assert not decision.status.may_switch
        assert not decision.status.is_promoted
        assert not decision.status.pauses
