"""Situations of a blue-green Rollout that others got wrong, by the numbers of the list that they come from."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace as with_fields

from fairlead.core.conditions import find
from fairlead.rollouts.actions import CreateReplicaSet, PatchReplicaSet, SwitchService
from fairlead.testing.builders import HASH_LABEL, pod_hash, service
from tests.rollouts.blue_green_world import (
    ACTIVE,
    BY_HAND,
    POST,
    PRE,
    PREVIEWED,
    BlueGreenWorld,
    deployed,
    told,
    world,
)
from tests.rollouts.world import DEADLINE, World, update

NEW = f"cart-{pod_hash(2)}"


def is_switched(one: World) -> bool:
    return one.selects(ACTIVE) == pod_hash(2)


def crash(found: World, version: int, count: int | None = None) -> None:
    """Let pods of a version lose their readiness, and never regain it."""
    for pod in found.pods[f"cart-{pod_hash(version)}"][:count]:
        pod.ready_at = None
    if count is None:
        found.broken.add(pod_hash(version))


def test_t12_a_run_that_is_recorded_is_not_made_again() -> None:
    found = deployed(PREVIEWED, PRE)
    update(found).run(lambda one: one.parsed.pre_run is not None)
    found.run(seconds=60)
    assert len(found.runs) == 1


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_t13_a_run_that_a_death_hid_is_taken_over(kind: str) -> None:
    found = deployed(PREVIEWED, PRE if kind == "pre" else POST)
    update(found).run(lambda one: bool(one.runs))
    found.command({"blueGreen": {f"{kind}PromotionAnalysisRunStatus": None}})
    found.run(seconds=60)
    assert len(found.runs) == 1
    assert not any(run.is_completed for run in found.runs.values())


def test_t18_another_revision_before_the_first_one_is_up() -> None:
    """Nothing serves yet: the second one neither pauses nor waits for an analysis, and the first one goes."""
    found = world(PREVIEWED, BY_HAND, PRE, broken={pod_hash(1)})
    found.run(seconds=60)
    assert found.parsed.phase == "Progressing"
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert found.runs == {}
    assert found.sizes() == {"1": 0, "2": 2}
    assert told(found).count("RolloutCompleted") == 2
    assert all("Initial deploy" in one.message for one in found.events if one.reason == "RolloutCompleted")


def test_t19_a_broken_stable_revision_does_not_hold_its_fix_back() -> None:
    found = deployed(PREVIEWED)
    crash(found, 1)
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 2}


def test_t21_fewer_pods_are_wanted_than_there_are() -> None:
    found = deployed(PREVIEWED, BY_HAND, replicas=4)
    update(found).run()
    found.change({**found.content, "replicas": 1})
    found.command({"pauseConditions": None})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 1}


def test_t22_autoscalers_see_what_serves_only() -> None:
    found = deployed(PREVIEWED, {"previewReplicaCount": 1}, BY_HAND, replicas=3)
    update(found).run()
    status = found.parsed
    assert (status.replicas, status.scale_replicas) == (4, 3)
    assert status.selector == f"app=cart,{HASH_LABEL}={pod_hash(1)}"


def test_t27_an_unreadable_deadline_counts_as_none() -> None:
    found = deployed()
    update(found).run(lambda one: one.parsed.is_promoted and one.parsed.pod_hash == pod_hash(2))
    name = f"cart-{pod_hash(1)}"
    old = found.replica_sets[name]
    annotations = {**old.metadata.annotations, DEADLINE: "soon"}
    found.replica_sets[name] = with_fields(old, metadata=with_fields(old.metadata, annotations=annotations))
    found.run()
    assert found.sizes() == {"1": 0, "2": 2}
    assert DEADLINE not in found.replica_sets[name].metadata.annotations


def test_t33_a_service_is_taken_over_with_all_pods_and_kept_with_one() -> None:
    found = world(replicas=3)
    found.run(lambda one: bool(one.replica_sets))
    name = f"cart-{pod_hash(1)}"
    found.observe()
    found.pods[name][0].ready_at = None
    found.run(seconds=30)
    assert found.available(name) == 2
    assert found.selects(ACTIVE) == ""
    found.pods[name][0].ready_at = found.now
    found.run()
    assert found.selects(ACTIVE) == pod_hash(1)
    found.services[ACTIVE] = service(ACTIVE, 7)  # somebody points it elsewhere
    crash(found, 1, count=2)
    found.run(lambda one: one.selects(ACTIVE) == pod_hash(1))


def test_t42_an_abort_at_rest_is_dropped() -> None:
    found = deployed(PREVIEWED)
    found.command({"abort": True})
    found.run()
    assert "abort" not in found.status
    assert found.parsed.phase == "Healthy"
    assert found.writes == ["status"]


def test_t46_a_long_pause_is_no_lack_of_progress() -> None:
    found = deployed(PREVIEWED, BY_HAND, progressDeadlineSeconds=60, progressDeadlineAbort=True)
    update(found).run()
    found.now += timedelta(hours=1)
    found.command({"pauseConditions": None})
    found.run()
    assert "Degraded" not in [one.status.phase for one in found.decisions]
    assert found.parsed.phase == "Healthy"


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_t46_nor_is_a_long_analysis(kind: str) -> None:
    found = deployed(PREVIEWED, PRE if kind == "pre" else POST, progressDeadlineSeconds=60, progressDeadlineAbort=True)
    found.judged_after = timedelta(hours=1)
    found.verdicts["cart-"] = "Successful"
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert "RolloutAborted" not in found.reasons()


def test_t47_nor_is_the_delay_of_old_pods() -> None:
    found = deployed({"scaleDownDelaySeconds": 3600}, progressDeadlineSeconds=60, progressDeadlineAbort=True)
    update(found).run()
    assert found.sizes() == {"1": 0, "2": 2}
    assert "Degraded" not in [one.status.phase for one in found.decisions]


@pytest.mark.parametrize("aborts", [False, True])
def test_a_revision_that_never_comes_up_is_late(aborts: bool) -> None:
    found = deployed(PREVIEWED, progressDeadlineSeconds=60, progressDeadlineAbort=aborts)
    found.broken.add(pod_hash(2))
    update(found).run()
    name = "RolloutAborted: Rollout aborted update to revision 2: " if aborts else "ProgressDeadlineExceeded: "
    assert found.parsed.message == f'{name}ReplicaSet "{NEW}" has timed out progressing.'
    assert found.selects(ACTIVE) == pod_hash(1)
    assert found.sizes() == {"1": 2, "2": 0 if aborts else 2}


@pytest.mark.parametrize("left", [0, 1], ids=["nothing-of-it-is-left", "half-of-it-is-left"])
def test_t50_back_to_stable_although_the_new_revision_crashes(left: int) -> None:
    found = deployed(PREVIEWED, POST)
    update(found).run(lambda one: one.parsed.post_run is not None)
    crash(found, 2, count=None if left == 0 else 1)
    found.command({"abort": True})
    began = found.now
    found.run(lambda one: one.selects(ACTIVE) == pod_hash(1))
    assert found.now == began
    found.run()
    assert found.sizes() == {"1": 2, "2": 0}


def test_t50_not_to_a_stable_revision_that_has_nobody_to_answer() -> None:
    found = deployed(PREVIEWED, POST)
    update(found).run(lambda one: one.parsed.post_run is not None)
    crash(found, 1)
    found.command({"abort": True})
    found.run()
    assert is_switched(found)
    assert found.sizes() == {"1": 2, "2": 2}
    assert "0 of 1 pods" in found.explain()


def test_t53_the_pause_begins_after_the_analysis() -> None:
    found = deployed(PREVIEWED, PRE, BY_HAND)
    update(found).run(lambda one: one.parsed.pre_run is not None)
    found.run(seconds=60)
    assert found.parsed.pauses == ()
    found.command({"pauseConditions": None})  # a promotion that comes too early skips nothing
    found.run(seconds=60)
    assert found.selects(ACTIVE) == pod_hash(1)
    found.verdicts["cart-"] = "Successful"
    found.run()
    assert found.parsed.message == "BlueGreenPause"


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_t54_a_pod_that_is_lost_does_not_cut_an_analysis_short(kind: str) -> None:
    found = deployed(PREVIEWED, PRE if kind == "pre" else POST)
    update(found).run(lambda one: bool(one.runs))
    crash(found, 2, count=1)
    found.run(seconds=60)
    (run,) = found.runs.values()
    assert b"terminate" not in bytes(run.spec)
    ref = found.parsed.pre_run if kind == "pre" else found.parsed.post_run
    assert ref is not None
    assert not found.parsed.is_promoted
    for pod in found.pods[NEW]:
        pod.ready_at = found.now
    found.verdicts["cart-"] = "Successful"
    found.run()
    assert found.parsed.phase == "Healthy"
    assert len(found.runs) == 1


def test_t54_a_verdict_stands_when_its_run_is_gone() -> None:
    found = deployed(PREVIEWED, PRE, BY_HAND)
    found.verdicts["cart-"] = "Successful"
    update(found).run()
    found.runs.clear()
    found.command({"pauseConditions": None})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.runs == {}


def test_t60_the_preview_service_moves_before_there_is_a_pod() -> None:
    found = deployed(PREVIEWED)
    update(found)
    kinds = [type(action) for action in found.decide().actions]
    assert kinds.index(SwitchService) < kinds.index(CreateReplicaSet)


def test_t60_also_before_an_old_revision_gets_pods_again() -> None:
    found = deployed(PREVIEWED)
    update(found).run()
    update(found, 1)
    kinds = [type(action) for action in found.decide().actions]
    assert kinds.index(SwitchService) < kinds.index(PatchReplicaSet)


def test_t61_a_full_promotion_waits_for_all_pods() -> None:
    found = deployed(PREVIEWED, {"previewReplicaCount": 1}, BY_HAND, replicas=5)
    update(found).run()
    found.ready_after = timedelta(seconds=30)
    found.command({"promoteFull": True})
    began = found.now
    found.run(is_switched)
    assert found.now - began == timedelta(seconds=30)
    assert found.available(NEW) == 5


def test_t62_a_stable_revision_keeps_its_pods_whatever_the_status_says_of_the_active_one() -> None:
    found = deployed(PREVIEWED, {"scaleDownDelaySeconds": 0}, BY_HAND)
    update(found).run()
    found.command({"blueGreen": {"activeSelector": pod_hash(2)}})
    found.run()
    assert found.sizes() == {"1": 2, "2": 2}
    assert found.parsed.active_hash == pod_hash(1)


def test_t66_a_full_promotion_waits_while_everything_stands_still() -> None:
    found = deployed(PREVIEWED, BY_HAND)
    update(found).run()
    found.change({**found.content, "paused": True})
    found.command({"promoteFull": True})
    found.run()
    assert found.selects(ACTIVE) == pod_hash(1)
    assert found.parsed.promote_full
    found.change({**found.content, "paused": False})
    assert found.run().parsed.phase == "Healthy"


def test_t67_a_full_promotion_of_an_aborted_revision_goes_ahead() -> None:
    found = deployed(PREVIEWED, BY_HAND)
    update(found).run()
    found.command({"abort": True})
    found.run()
    found.command({"promoteFull": True})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 2}


# --- what argo-rollouts takes for a first deployment -----------------------------------------------------------------


def renamed(found: BlueGreenWorld) -> BlueGreenWorld:
    """Let the Rollout name another active Service, with another template at the same time."""
    other = f"{ACTIVE}-2"
    found.services[other] = service(other, managed=False)
    strategy = {**found.content["strategy"]["blueGreen"], "activeService": other}
    found.change({**found.content, "strategy": {"blueGreen": strategy}})
    return found


def test_another_active_service_selects_stable_until_the_switch() -> None:
    found = renamed(deployed(PREVIEWED, BY_HAND))
    update(found).run()
    assert found.parsed.message == "BlueGreenPause"
    assert found.selects(f"{ACTIVE}-2") == pod_hash(1)
    assert found.selects(ACTIVE) == ""
    found.command({"pauseConditions": None})
    found.run()
    assert found.selects(f"{ACTIVE}-2") == pod_hash(2)


# --- conditions ------------------------------------------------------------------------------------------------------


def conditions(found: World) -> dict[str, str]:
    return {one.type: f"{one.status} {one.reason}" for one in found.parsed.conditions}


def test_conditions_of_an_update_that_waits_for_a_person() -> None:
    found = deployed(PREVIEWED, BY_HAND)
    update(found).run()
    assert conditions(found) == {
        "Available": "True AvailableReason",
        "Completed": "False RolloutCompleted",
        "Healthy": "False RolloutHealthy",
        "Paused": "True RolloutPaused",
        "Progressing": "Unknown RolloutPaused",
    }


def test_it_is_healthy_while_old_pods_wait() -> None:
    """Their delay is nobody's illness: all users are where they should be."""
    found = deployed(PREVIEWED)
    update(found).run(lambda one: one.parsed.is_promoted and one.parsed.pod_hash == pod_hash(2))
    assert found.parsed.replicas == 4
    assert conditions(found)["Healthy"] == "True RolloutHealthy"
    assert conditions(found)["Progressing"] == "True NewReplicaSetAvailable"


def test_pods_that_nobody_reaches_are_no_availability() -> None:
    found = world(replicas=1)
    found.run(lambda one: bool(one.replica_sets))
    available = find(found.parsed.conditions, "Available")
    assert available is not None
    assert (available.status, available.message) == ("False", "Rollout does not have minimum availability")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param((), "waiting for post-promotion verification to complete", id="without-analysis"),
        pytest.param((POST,), "waiting for analysis to complete", id="with-analysis"),
    ],
)
def test_messages_between_switch_and_promotion(fields: tuple[dict[str, object], ...], message: str) -> None:
    found = deployed(*fields)
    update(found).run(lambda one: one.available(NEW) == 2)
    assert is_switched(found)
    decisions = [one.status.message for one in found.decisions if one.status.active_hash == pod_hash(2)]
    assert decisions[0] == message


def test_messages_of_a_first_deployment() -> None:
    found = world(replicas=2, lag=timedelta(0))
    found.run()
    messages = list(dict.fromkeys(one.status.message for one in found.decisions))
    assert messages == [
        "more replicas need to be updated",
        "updated replicas are still becoming available",
        "",
    ]


def test_the_message_while_the_active_service_is_elsewhere() -> None:
    found = deployed(replicas=2)
    crash(found, 1)
    found.services[ACTIVE] = service(ACTIVE, 7)
    found.reconcile()
    assert found.decide().status.message == "updated replicas are still becoming available"
    found.pods[f"cart-{pod_hash(1)}"][0].ready_at = found.now
    found.broken.clear()
    assert found.decide().status.message == "updated replicas are still becoming available"
