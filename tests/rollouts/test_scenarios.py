"""Whole canaries in pure code: each test tells a story, and the world minds the promises after every write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.traffic import Weights
from fairlead.testing.builders import HASH_LABEL, pod_hash
from tests.rollouts.world import CANARY, STABLE, World, deployed, update, world

PAIR = ({"setWeight": 50}, {"pause": {"duration": "3s"}})
PAIRS = tuple(step for weight in (20, 40, 60, 80) for step in ({"setWeight": weight}, {"pause": {"duration": "2s"}}))
ABORT = {"abort": True}
RETRY = {"abort": False}
FULL = {"promoteFull": True}
RESUME: dict[str, Any] = {"pauseConditions": None}


def at_step(index: int) -> Callable[[World], bool]:
    """Return whether that step was decided on, stored or not yet."""

    def is_there(found: World) -> bool:
        status = found.decisions[-1].status
        return status.step_index == index and not status.is_promoted

    return is_there


def is_phase(phase: str) -> Callable[[World], bool]:
    return lambda found: found.parsed.phase == phase


# --- events that clients compare exactly ---------------------------------------------------------------------------


def test_events_of_deploy_update_abort_and_retry() -> None:
    found = world(*PAIR).run()
    assert found.reasons() == [
        "RolloutUpdated",
        "NewReplicaSetCreated",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "RolloutCompleted",
    ]
    found.events.clear()
    update(found).run(is_phase("Paused"))
    assert found.reasons() == [
        "RolloutUpdated",
        "NewReplicaSetCreated",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "RolloutStepCompleted",
        "RolloutPaused",
    ]
    found.events.clear()
    found.command(ABORT)
    found.run()
    assert found.reasons() == ["ScalingReplicaSet", "RolloutAborted"]
    assert found.parsed.phase == "Degraded"
    assert found.parsed.message == "RolloutAborted: Rollout aborted update to revision 2"
    found.events.clear()
    found.command(RETRY)
    found.run()
    assert found.reasons() == [
        "ScalingReplicaSet",
        "RolloutStepCompleted",
        "RolloutPaused",
        "RolloutStepCompleted",
        "RolloutResumed",
        "ScalingReplicaSet",
        "RolloutCompleted",
    ]
    assert found.parsed.phase == "Healthy"


def test_messages_of_events() -> None:
    found = deployed(*PAIR)
    update(found).run()
    new, old = pod_hash(2), pod_hash(1)
    assert [event.message for event in found.events] == [
        "Rollout updated to revision 2",
        f"Created ReplicaSet cart-{new} (revision 2)",
        f"Rollout not completed, started update to revision 2 ({new})",
        f"Scaled up ReplicaSet cart-{new} (revision 2) from 0 to 1",
        "Rollout step 1/2 completed (setWeight: 50)",
        "Rollout is paused (CanaryPauseStep)",
        "Rollout step 2/2 completed (pause: 3s)",
        "Rollout is resumed",
        f"Scaled down ReplicaSet cart-{old} (revision 1) from 1 to 0",
        f"Rollout completed update to revision 2 ({new}): Completed all 2 canary steps",
    ]


# --- happy canaries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_an_update_ends_at_the_new_version(replicas: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=replicas, routed=routed)
    update(found).run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.sizes() == {"1": 0, "2": replicas}
    assert found.parsed.step_index == 8
    assert found.decide().blocked_on is None


def test_a_routed_canary_in_few_requests() -> None:
    found = deployed(*PAIRS, replicas=10, routed=True)
    update(found).run()
    assert [weight for _, weight in found.history] == [20, 40, 60, 80, 100, 0]
    assert len(found.writes) == 24, found.writes
    assert [found.selects(STABLE), found.selects(CANARY)] == [pod_hash(2), pod_hash(2)]


def test_at_rest_nothing_is_written() -> None:
    found = deployed(*PAIRS, replicas=3, routed=True)
    found.now += timedelta(days=1)
    found.run()
    assert found.writes == []


def test_without_steps_the_stable_service_moves_the_traffic() -> None:
    found = deployed(replicas=3, routed=True)
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert found.selects(STABLE) == pod_hash(2)
    assert [weight for _, weight in found.history] == []
    assert found.parsed.step_index is None


def test_a_basic_canary_without_steps_is_a_rolling_update() -> None:
    found = deployed(replicas=4)
    update(found).run()
    assert found.sizes() == {"1": 0, "2": 4}
    assert found.parsed.phase == "Healthy"


def test_a_step_counts_only_when_traffic_follows() -> None:
    """The wire is 10 s late: the pause after the weight begins no earlier (issue: no step's clock starts early)."""
    found = deployed({"setWeight": 20}, {"pause": {"duration": "5s"}}, {"setWeight": 40}, replicas=5, routed=True)
    found.lag = timedelta(seconds=10)
    update(found).run(lambda one: bool(one.history))
    written_at = found.history[0][0]
    found.run(is_phase("Paused"))
    assert found.now == written_at + timedelta(seconds=10)
    assert found.parsed.weights is not None
    assert found.parsed.weights.verified is True


def test_settled_but_not_verified_is_shown() -> None:
    found = deployed({"setWeight": 20}, {"pause": {}}, replicas=5, routed=True, verified=False)
    update(found).run(is_phase("Paused"))
    assert "verified" not in found.status["canary"]["weights"]
    routed = next(one for one in found.parsed.conditions if one.type == "TrafficRouted")
    assert (routed.status, routed.reason) == ("True", "Settled")
    assert "not verified" in routed.message


def test_pending_weights_are_shown_while_they_last() -> None:
    found = deployed({"setWeight": 20}, {"pause": {}}, replicas=5, routed=True, lag=timedelta(seconds=30))
    update(found).run(lambda one: one.status["canary"]["weights"].get("verified") is False)
    assert found.status["canary"]["weights"]["canary"]["weight"] == 20


# --- abort ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("step", range(8))
def test_abort_at_every_step(step: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(step))
    found.command(ABORT)
    found.run()
    assert found.parsed.phase == "Degraded"
    assert found.sizes() == {"1": 5, "2": 0}
    assert found.parsed.step_index == 0
    if routed:
        assert found.weights == Weights.of_canary(0)
        assert [found.selects(STABLE), found.selects(CANARY)] == [pod_hash(1), pod_hash(1)]


def test_an_abort_writes_the_route_before_anything_else() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.writes.clear()
    found.command(ABORT)
    found.reconcile()
    assert found.writes == ["write route", "status"]
    assert found.weights == Weights.of_canary(0)


def test_canary_pods_stay_after_an_abort() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True, pods_kept=timedelta(seconds=57))
    update(found).run(at_step(3))
    found.command(ABORT)
    found.run(lambda one: one.selects(CANARY) == pod_hash(1))
    cleared_at = found.now
    found.run(lambda one: one.sizes()["2"] == 0)
    assert found.now >= cleared_at + timedelta(seconds=57)


def test_an_explicit_delay_of_zero_keeps_the_canary_for_ever() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True, canary={"abortScaleDownDelaySeconds": 0})
    update(found).run(at_step(3))
    found.command(ABORT)
    found.run()
    assert found.sizes() == {"1": 5, "2": 2}


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_retry_starts_again_with_the_same_revision(routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(3))
    found.command(ABORT)
    found.run()
    found.command(RETRY)
    found.run(at_step(1))
    assert found.metadata.annotations["rollout.argoproj.io/revision"] == "2"
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 5}


def test_retry_while_the_canary_still_drains() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.command(ABORT)
    found.run(lambda one: one.selects(CANARY) == pod_hash(1))
    found.command(RETRY)
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 5}


def test_abort_of_a_promoted_rollout_is_dropped_in_silence() -> None:
    found = deployed(*PAIRS, replicas=2)
    found.command(ABORT)
    found.run()
    assert not found.parsed.abort
    assert found.parsed.phase == "Healthy"
    assert found.writes == ["status"]
    assert found.events == []


def test_abort_wins_over_a_promotion_that_is_not_applied() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.command(FULL | ABORT)
    found.run()
    assert found.parsed.phase == "Degraded"
    assert not found.parsed.promote_full


def test_full_promotion_after_an_abort_goes_forward() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.command(ABORT)
    found.run()
    found.command(FULL)
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes()["2"] == 5


def test_a_command_to_abort_is_obeyed_during_a_manual_pause() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.change({**found.content, "paused": True})
    found.run()
    found.command(ABORT)
    found.run()
    assert found.weights == Weights.of_canary(0)
    assert found.parsed.abort


# --- commands -------------------------------------------------------------------------------------------------------


def test_an_untimed_pause_waits_for_a_promotion() -> None:
    found = deployed({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}, replicas=5)
    update(found).run()
    assert found.parsed.phase == "Paused"
    assert found.parsed.message == "CanaryPauseStep"
    found.command(RESUME)
    found.run()
    assert found.parsed.step_index == 3
    assert found.parsed.controller_pause
    found.command(RESUME)
    found.run()
    assert found.parsed.phase == "Healthy"


def test_a_pause_that_was_resumed_is_not_begun_again() -> None:
    """The resume arrives while everything stands still by hand: it must be remembered (T8)."""
    found = deployed({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}, replicas=5)
    update(found).run()
    found.change({**found.content, "paused": True})
    found.run()
    found.command(RESUME)
    found.run()
    assert found.parsed.step_index == 1
    found.change({**found.content, "paused": False})
    found.run()
    assert found.parsed.step_index == 3


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("step", [0, 1, 4, 7])
def test_full_promotion_at_any_step(step: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(step))
    found.command(FULL)
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 5}
    assert not found.parsed.promote_full
    assert any("Full promotion requested" in event.message for event in found.events)


def test_full_promotion_is_kept_while_the_rollout_is_paused_by_hand() -> None:
    """T66: old clients write promoteFull alone."""
    found = deployed(*PAIRS, replicas=5)
    update(found).run(at_step(1))
    found.change({**found.content, "paused": True})
    found.command(FULL)
    found.run()
    assert found.parsed.promote_full
    assert found.sizes()["2"] == 1
    found.change({**found.content, "paused": False})
    found.run()
    assert found.parsed.phase == "Healthy"


def test_a_manual_pause_freezes_everything() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.change({**found.content, "paused": True, "replicas": 8})
    found.run()
    sizes, weights = found.sizes(), found.weights
    assert found.parsed.phase == "Paused"
    assert found.parsed.message == "manually paused"
    found.now += timedelta(hours=2)
    found.run()
    assert (found.sizes(), found.weights) == (sizes, weights)
    found.change({**found.content, "paused": False})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes()["2"] == 8


def test_a_step_that_a_person_skips_to() -> None:
    found = deployed({"setWeight": 20}, {"pause": {}}, {"setWeight": 80}, {"pause": {}}, replicas=5, routed=True)
    update(found).run()
    found.command({"currentStepIndex": 3, "pauseConditions": None, "controllerPause": False})
    found.run()
    assert found.parsed.step_index == 3
    assert found.weights == Weights.of_canary(80)
    assert found.sizes()["2"] == 4


# --- other revisions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("step", range(8))
def test_back_to_stable_at_every_step(step: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(step))
    found.events.clear()
    update(found, 1).run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 5, "2": 0}
    assert "SkipSteps" in found.reasons()
    assert found.metadata.annotations["rollout.argoproj.io/revision"] == "3"
    stable = found.replica_set_of(pod_hash(1))
    assert stable is not None
    assert stable.metadata.annotations["rollout.argoproj.io/revision-history"] == "1"


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("step", range(8))
def test_a_newer_revision_at_every_step(step: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(step))
    update(found, 3).run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 0, "3": 5}


def test_a_newer_revision_takes_the_weight_off_before_the_service_moves() -> None:
    """T29: the Service of the canary still selects version 2 when version 3 has no pods."""
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    found.writes.clear()
    update(found, 3)
    found.reconcile()
    assert found.writes[0] == "write route"
    assert found.weights == Weights.of_canary(0)
    assert found.selects(CANARY) == pod_hash(2)
    found.run(lambda one: one.selects(CANARY) == pod_hash(3))
    assert found.sizes()["2"] > 0, "the overtaken revision keeps its pods for a while"


def test_a_second_change_before_the_first_deployment_is_ready() -> None:
    """T18: nothing is stable in practice, and it must progress nevertheless."""
    found = world(*PAIRS, replicas=3, broken={pod_hash(1)})
    found.run(lambda one: one.parsed.stable_hash != "", seconds=5)
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": 3}


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_a_broken_stable_does_not_block_its_fix(routed: bool) -> None:
    """T19."""
    found = deployed(*PAIRS, replicas=4, routed=routed)
    found.broken.add(pod_hash(1))
    name = f"cart-{pod_hash(1)}"
    for pod in found.pods[name]:
        pod.ready_at = None
    update(found).run()
    assert found.parsed.stable_hash == pod_hash(2), found.explain()


def test_steps_alone_may_change() -> None:
    found = deployed(*PAIRS, replicas=2)
    steps = [{"setWeight": 10}]
    canary = {**found.content["strategy"]["canary"], "steps": steps}
    found.change({**found.content, "strategy": {"canary": canary}})
    found.run()
    assert found.parsed.step_index == 1
    assert found.reasons() == ["SkipSteps"]
    assert found.parsed.phase == "Healthy"


def test_a_rollback_within_the_window_skips_the_steps() -> None:
    found = deployed(*PAIRS, replicas=2, rollbackWindow={"revisions": 3})
    found.now += timedelta(minutes=1)
    update(found).run()
    found.now += timedelta(minutes=1)
    found.events.clear()
    update(found, 1).run()
    assert found.parsed.phase == "Healthy"
    assert not any(reason == "RolloutPaused" for reason in found.reasons())
    assert any("Rollback within window" in event.message for event in found.events)


# --- scaling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("replicas", [1, 3, 12])
@pytest.mark.parametrize("step", [0, 1, 3, 6])
def test_scaling_in_the_middle_of_an_update(step: int, replicas: int, routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed)
    update(found).run(at_step(step))
    found.change({**found.content, "replicas": replicas})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 0, "2": replicas}


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_scaling_during_a_pause(routed: bool) -> None:
    """An autoscaler works while the Rollout waits at a pause step."""
    found = deployed({"setWeight": 50}, {"pause": {}}, replicas=4, routed=routed)
    update(found).run()
    found.change({**found.content, "replicas": 8})
    found.run()
    assert found.sizes() == ({"1": 8, "2": 4} if routed else {"1": 4, "2": 4})
    for one in found.replica_sets.values():
        assert one.metadata.annotations["rollout.argoproj.io/desired-replicas"] == "8"


def test_replicas_and_template_in_one_change() -> None:
    """T17."""
    found = deployed(*PAIRS, replicas=4)
    found.content = {**found.content, "replicas": 7}
    update(found).run()
    assert found.sizes() == {"1": 0, "2": 7}


def test_the_size_of_the_canary_apart_from_its_weight() -> None:
    steps: tuple[dict[str, Any], ...] = (
        {"setCanaryScale": {"replicas": 3}},
        {"setWeight": 10},
        {"pause": {}},
        {"setCanaryScale": {"matchTrafficWeight": True}},
        {"pause": {}},
    )
    found = deployed(*steps, replicas=5, routed=True)
    update(found).run()
    assert (found.sizes()["2"], found.weights) == (3, Weights.of_canary(10))
    found.command(RESUME)
    found.run()
    assert (found.sizes()["2"], found.parsed.step_index) == (1, 4)


def test_pods_leave_after_a_lower_weight_only_when_connections_have_drained() -> None:
    steps: tuple[dict[str, Any], ...] = ({"setWeight": 80}, {"setWeight": 20}, {"pause": {}})
    found = deployed(*steps, replicas=5, routed=True, pods_kept=timedelta(seconds=57))
    update(found).run(lambda one: one.weights == Weights.of_canary(20))
    lowered_at = found.now
    assert found.sizes()["2"] == 4
    found.run(lambda one: one.sizes()["2"] == 1)
    assert found.now >= lowered_at + timedelta(seconds=57)


# --- pods that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_pods_that_never_become_ready_meet_the_deadline(routed: bool) -> None:
    found = deployed(*PAIRS, replicas=5, routed=routed, progressDeadlineSeconds=30, broken={pod_hash(2)})
    update(found).run()
    assert found.parsed.phase == "Degraded"
    assert (
        found.parsed.message == f'ProgressDeadlineExceeded: ReplicaSet "cart-{pod_hash(2)}" has timed out progressing.'
    )
    assert not found.parsed.abort
    assert found.weights in (None, Weights.of_canary(0))


def test_the_deadline_aborts_if_asked_to() -> None:
    found = deployed(
        *PAIRS, replicas=5, routed=True, progressDeadlineSeconds=30, progressDeadlineAbort=True, broken={pod_hash(2)}
    )
    update(found).run()
    assert found.parsed.abort
    assert found.parsed.message.startswith("RolloutAborted: Rollout aborted update to revision 2: ReplicaSet")
    assert found.sizes() == {"1": 5, "2": 0}


def test_progress_after_the_deadline_goes_on() -> None:
    found = deployed(*PAIRS, replicas=5, progressDeadlineSeconds=30, ready_after=timedelta(seconds=40))
    update(found).run()
    assert found.parsed.phase == "Healthy"


def test_a_canary_that_loses_all_pods_loses_its_traffic_first() -> None:
    found = deployed({"setWeight": 50}, {"pause": {}}, replicas=2, routed=True)
    update(found).run()
    found.writes.clear()
    for pod in found.pods[f"cart-{pod_hash(2)}"]:
        pod.ready_at = found.now + timedelta(seconds=20)
    found.reconcile()
    assert found.writes[0] == "write route"
    assert found.weights == Weights.of_canary(0)
    found.run()
    assert found.weights == Weights.of_canary(50), "it comes back with its pods"
    assert found.parsed.phase == "Paused"


def test_a_pause_longer_than_the_deadline_is_no_lack_of_progress() -> None:
    """T46."""
    found = deployed(
        {"setWeight": 50}, {"pause": {"duration": "1h"}}, {"setWeight": 60}, replicas=2, progressDeadlineSeconds=30
    )
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert all(decision.status.phase != "Degraded" for decision in found.decisions)


def test_pods_that_come_and_go_do_not_put_the_deadline_off() -> None:
    """T49."""
    found = deployed({"setWeight": 50}, {"pause": {}}, replicas=4, routed=True, progressDeadlineSeconds=60)
    found.broken.add(pod_hash(2))
    update(found).run(lambda one: "2" in one.sizes(), seconds=1)
    began_at = found.now
    name = f"cart-{pod_hash(2)}"
    while found.parsed.phase != "Degraded":
        flap = found.pods[name][0]
        flap.ready_at = None if flap.ready_at is not None else found.now
        found.reconcile()
        found.now += timedelta(seconds=5)
        assert found.now < began_at + timedelta(seconds=120), "the deadline never comes"


# --- traffic that is refused ----------------------------------------------------------------------------------------


def test_a_refused_listener_stops_the_rollout_where_it_is() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(2))
    found.refused = True
    found.run(seconds=3600)
    assert found.weights in (Weights.of_canary(20), Weights.of_canary(40))
    blocked = found.decide().blocked_on
    assert blocked is not None
    assert blocked.reason == "RouteRefused"
    assert "refuses" in blocked.what
    found.command(ABORT)
    found.run(seconds=60)
    assert found.weights == Weights.of_canary(0)


def test_a_preflight_that_fails_keeps_the_weight_from_rising() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(2))
    found.blocked = "Service cart is not bound to a waypoint"
    before = found.weights
    found.run(seconds=3600)
    assert found.weights == before
    blocked = found.decide().blocked_on
    assert blocked is not None
    assert blocked.what == "Service cart is not bound to a waypoint"
    found.command(ABORT)
    found.run()
    assert found.weights == Weights.of_canary(0)


def test_weights_that_somebody_changed_are_set_again() -> None:
    found = deployed({"setWeight": 20}, {"pause": {}}, replicas=5, routed=True)
    update(found).run()
    found.weights = Weights.of_canary(70)
    found.run()
    assert found.weights == Weights.of_canary(20)


# --- analysis -------------------------------------------------------------------------------------------------------

ANALYSIS = {"templates": [{"templateName": "success-rate"}]}
WITH_ANALYSIS = ({"setWeight": 20}, {"analysis": ANALYSIS}, {"setWeight": 60}, {"pause": {"duration": "2s"}})


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_a_step_analysis_that_succeeds(routed: bool) -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5, routed=routed)
    found.verdicts["cart-"] = "Successful"
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert list(found.runs) == [f"cart-{pod_hash(2)}-2-1"]
    run = found.runs[f"cart-{pod_hash(2)}-2-1"]
    assert run.metadata.labels == {
        HASH_LABEL: pod_hash(2),
        "rollout-type": "Step",
        "step-index": "1",
        "app": "cart",
    }
    assert run.metadata.annotations == {"rollout.argoproj.io/revision": "2"}


@pytest.mark.parametrize("phase", ["Failed", "Error"])
@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_a_step_analysis_that_fails(routed: bool, phase: str) -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5, routed=routed)
    found.verdicts["cart-"] = phase
    update(found).run()
    assert found.parsed.phase == "Degraded"
    assert found.parsed.message == (
        "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase error/failed: metric says so"
    )
    assert found.sizes() == {"1": 5, "2": 0}
    assert f"AnalysisRun{phase}" in found.reasons()


def test_a_failed_verdict_writes_the_route_before_anything_else() -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5, routed=True)
    found.verdicts["cart-"] = "Failed"
    update(found).run(lambda one: bool(one.runs))
    found.writes.clear()
    found.now += timedelta(seconds=5)
    found.reconcile()
    assert found.writes[0] == "write route"
    assert found.weights == Weights.of_canary(0)


def test_an_inconclusive_analysis_asks_a_person_and_a_new_run_follows() -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5, routed=True)
    found.verdicts["cart-"] = "Inconclusive"
    update(found).run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "InconclusiveAnalysisRun")
    found.verdicts.clear()
    found.verdicts[f"cart-{pod_hash(2)}-2-1."] = "Successful"
    found.command(RESUME)
    found.run()
    assert sorted(found.runs) == [f"cart-{pod_hash(2)}-2-1", f"cart-{pod_hash(2)}-2-1.1"]
    assert found.parsed.phase == "Healthy"


def test_promoting_past_an_inconclusive_step_skips_it() -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5)
    found.verdicts["cart-"] = "Inconclusive"
    update(found).run()
    found.command({"pauseConditions": None, "controllerPause": False, "currentStepIndex": 2})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert len(found.runs) == 1


def test_promoting_during_an_analysis_ends_it_and_the_next_one_is_new() -> None:
    """T52."""
    steps: tuple[dict[str, Any], ...] = (
        {"setWeight": 20},
        {"analysis": ANALYSIS},
        {"analysis": ANALYSIS},
        {"pause": {}},
    )
    found = deployed(*steps, replicas=5)
    update(found).run(at_step(1))
    found.run(lambda one: bool(one.runs))
    found.command({"pauseConditions": None, "currentStepIndex": 2})
    found.run(lambda one: len(one.runs) == 2)
    first, second = (found.runs[f"cart-{pod_hash(2)}-2-{index}"] for index in (1, 2))
    assert b'"terminate":true' in bytes(first.spec)
    assert b"terminate" not in bytes(second.spec)
    assert found.parsed.step_run is not None
    assert found.parsed.step_run.name == second.metadata.name


BACKGROUND = {"analysis": ANALYSIS}


def test_a_background_analysis_that_fails_aborts() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True, canary=BACKGROUND)
    found.verdicts["cart-"] = "Failed"
    update(found).run()
    assert found.parsed.phase == "Degraded"
    assert "Background analysis phase error/failed: metric says so" in found.parsed.message
    assert found.weights == Weights.of_canary(0)


def test_a_background_analysis_ends_with_the_promotion() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True, canary=BACKGROUND)
    update(found).run()
    assert found.parsed.phase == "Healthy"
    assert list(found.runs) == [f"cart-{pod_hash(2)}-2"]
    assert found.runs[f"cart-{pod_hash(2)}-2"].phase == "Successful", "terminated"
    assert found.parsed.background_run is None


def test_a_background_analysis_starts_with_its_step_and_never_before_its_weight_is_in_force() -> None:
    canary = {"analysis": {**ANALYSIS, "startingStep": 2}}
    found = deployed(*PAIRS, replicas=5, routed=True, canary=canary)
    update(found).run(lambda one: bool(one.runs))
    assert found.weights == Weights.of_canary(40)
    assert found.now >= found.written_at + found.lag


def test_a_person_who_goes_on_at_the_last_pause_is_not_asked_again() -> None:
    """T51: an inconclusive background run at an untimed pause is not replaced by one that the promotion cuts short."""
    found = deployed({"setWeight": 50}, {"pause": {}}, replicas=4, routed=True, canary=BACKGROUND)
    found.verdicts["cart-"] = "Inconclusive"
    update(found).run()
    assert [pause.reason for pause in found.parsed.pauses] == ["CanaryPauseStep", "InconclusiveAnalysisRun"]
    found.command(RESUME)
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert len(found.runs) == 1


def test_a_retry_makes_a_new_run() -> None:
    found = deployed(*WITH_ANALYSIS, replicas=5)
    found.verdicts["cart-"] = "Failed"
    update(found).run()
    found.verdicts.clear()
    found.verdicts[f"cart-{pod_hash(2)}-2-1.1"] = "Successful"
    found.command(RETRY)
    found.run()
    assert found.parsed.phase == "Healthy"


# --- invalid specs --------------------------------------------------------------------------------------------------


def test_an_invalid_spec_stops_everything_and_says_why() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    steps = [{"setWeight": 120}]
    canary = {**found.content["strategy"]["canary"], "steps": steps}
    good = found.content
    found.change({**good, "strategy": {"canary": canary}})
    found.run(seconds=100)
    assert found.parsed.phase == "Degraded"
    assert found.parsed.message == (
        'InvalidSpec: The Rollout "cart" is invalid: spec.strategy.steps[0].setWeight: Invalid value: 120: '
        "SetWeight needs to be between 0 and 100"
    )
    assert found.writes == ["status"], "and it says so once (T41)"
    found.change(good)
    found.run()
    assert found.parsed.phase == "Healthy"


def test_a_missing_service_is_named_and_an_abort_is_obeyed_nevertheless() -> None:
    found = deployed(*PAIRS, replicas=5, routed=True)
    update(found).run(at_step(3))
    kept = dict(found.services)
    weights = found.weights
    found.services[CANARY] = found.services[CANARY]
    found.content = {**found.content}
    found.content["strategy"] = {"canary": {**found.content["strategy"]["canary"], "stableService": "nowhere"}}
    found.run(seconds=60)
    assert 'services "nowhere" not found' in found.parsed.message
    assert found.weights == weights
    found.command(ABORT)
    found.reconcile()
    assert found.weights == Weights.of_canary(0)
    assert kept == found.services


# --- the controller is killed -----------------------------------------------------------------------------------------


def _story(name: str) -> World:
    match name:
        case "happy":
            found = deployed(*PAIRS, replicas=5, routed=True)
            return update(found)
        case "basic":
            found = deployed(*PAIRS, replicas=5)
            return update(found)
        case "abort":
            found = deployed(*PAIRS, replicas=5, routed=True)
            update(found).run(at_step(3))
            found.command(ABORT)
            return found
        case "newer":
            found = deployed(*PAIRS, replicas=5, routed=True)
            update(found).run(at_step(3))
            return update(found, 3)
        case "back":
            found = deployed(*PAIRS, replicas=5, routed=True)
            update(found).run(at_step(5))
            return update(found, 1)
        case "full":
            found = deployed(*PAIRS, replicas=5, routed=True)
            update(found).run(at_step(3))
            found.command(FULL)
            return found
        case "analysis":
            found = deployed(*WITH_ANALYSIS, replicas=5, routed=True, canary=BACKGROUND)
            found.verdicts["cart-"] = "Successful"
            return update(found)
        case _:
            found = deployed(*WITH_ANALYSIS, replicas=5, routed=True)
            found.verdicts["cart-"] = "Failed"
            return update(found)


STORIES = ("happy", "basic", "abort", "newer", "back", "full", "analysis", "failing")


@pytest.mark.parametrize("story", STORIES)
def test_killing_the_controller_after_any_write_changes_nothing_in_the_end(story: str) -> None:
    reference = _story(story)
    before = len(reference.writes)
    reference.run()
    facts, writes = reference.facts(), len(reference.writes) - before
    assert writes > 3
    for kill_after in range(writes):
        found = _story(story)
        found.crash_after = kill_after
        found.run()
        assert found.facts() == facts, f"killed after write {kill_after}"
