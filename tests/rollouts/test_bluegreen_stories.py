"""Blue-green updates that do not go straight: aborts, retries, rollbacks, newer revisions, deaths between writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from fairlead.rollouts._bluegreen_scaling import KEPT
from fairlead.testing.builders import pod_hash
from tests.rollouts.blue_green_world import (
    ACTIVE,
    BY_HAND,
    POST,
    PRE,
    PREVIEW,
    PREVIEWED,
    BlueGreenWorld,
    deployed,
    told,
    world,
)
from tests.rollouts.world import DEADLINE, World, update

FULL = (PREVIEWED, {"previewReplicaCount": 1}, PRE, POST, BY_HAND)
Stage = Callable[[World], bool]


def is_switched(one: World) -> bool:
    return one.selects(ACTIVE) == pod_hash(2)


def is_healthy(one: World) -> bool:
    return one.parsed.phase == "Healthy" and one.parsed.is_promoted


def promote(found: World) -> None:
    found.command({"pauseConditions": None})


def stage(name: str, *fields: dict[str, object]) -> BlueGreenWorld:
    """Return a world in an update with everything on, stopped where the name says."""
    found = deployed(*(fields or FULL))
    found.verdicts["cart-"] = "Successful"
    update(found)
    if name == "pods":
        return _until(found, lambda one: len(one.replica_sets) == 2 and one.parsed.pod_hash == pod_hash(2))
    if name == "pre-analysis":
        return _until(found, lambda one: one.parsed.pre_run is not None)
    _until(found, lambda one: bool(one.parsed.pauses))
    if name == "paused":
        return found
    promote(found)
    if name == "scaling":
        return _until(found, lambda one: one.parsed.may_switch)
    _until(found, is_switched)
    if name == "switched":
        return found
    return _until(found, lambda one: one.parsed.post_run is not None)


def _until(found: BlueGreenWorld, holds: Stage) -> BlueGreenWorld:
    found.run(holds)
    return found


STAGES = ("pods", "pre-analysis", "paused", "scaling", "switched", "post-analysis")
BEFORE_SWITCH = STAGES[:4]


# --- abort -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_an_abort_at_every_stage_leaves_users_on_stable(name: str) -> None:
    found = stage(name)
    found.command({"abort": True})
    found.run()
    assert found.selects(ACTIVE) == pod_hash(1)
    assert found.selects(PREVIEW) == pod_hash(2)  # testers may look for what was wrong
    assert found.sizes() == {"1": 2, "2": 0}
    assert (found.parsed.phase, found.parsed.message) == (
        "Degraded",
        "RolloutAborted: Rollout aborted update to revision 2",
    )
    assert not found.parsed.may_switch
    assert all(run.is_completed for run in found.runs.values())


@pytest.mark.parametrize("name", STAGES)
def test_an_abort_moves_users_first_and_pods_last(name: str) -> None:
    found = stage(name)
    found.writes.clear()
    found.command({"abort": True})
    found.run()
    patched = [what for what in found.writes if what != "status" and not what.startswith("cancel")]
    back = [] if name in BEFORE_SWITCH else [f"patch Service {ACTIVE}"]
    deadline, gone = [f"patch ReplicaSet cart-{pod_hash(2)}"] * 2
    assert patched == [*back, deadline, gone]


def test_pods_of_an_aborted_revision_stay_for_the_delay() -> None:
    found = stage("paused", PREVIEWED, BY_HAND, {"abortScaleDownDelaySeconds": 50})
    found.command({"abort": True})
    began = found.now
    found.run(lambda one: one.sizes()["2"] == 0)
    assert found.now - began == timedelta(seconds=50)


def test_pods_of_an_aborted_revision_stay_for_ever_with_a_delay_of_zero() -> None:
    found = stage("paused", PREVIEWED, BY_HAND, {"abortScaleDownDelaySeconds": 0})
    found.command({"abort": True})
    found.run()
    assert found.sizes() == {"1": 2, "2": 2}
    assert DEADLINE not in found.replica_sets[f"cart-{pod_hash(2)}"].metadata.annotations


@pytest.mark.parametrize(
    ("kind", "text"),
    [("pre", "Blue/green pre-promotion analysis"), ("post", "Blue/green post-promotion analysis")],
)
@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_a_bad_verdict_aborts(kind: str, text: str, phase: str) -> None:
    found = deployed(*FULL)
    found.verdicts[f"cart-{pod_hash(2)}-2-{kind}"] = phase
    found.verdicts["cart-"] = "Successful"
    update(found).run(lambda one: bool(one.parsed.pauses) or one.parsed.abort)
    if kind == "post":
        promote(found)
    found.run()
    assert found.parsed.abort
    assert found.parsed.message == (
        f"RolloutAborted: Rollout aborted update to revision 2: {text} phase error/failed: metric says so"
    )
    assert found.selects(ACTIVE) == pod_hash(1)
    assert found.sizes() == {"1": 2, "2": 0}
    run = found.parsed.pre_run if kind == "pre" else found.parsed.post_run
    assert run is not None
    assert run.phase == phase  # for the user to see
    if kind == "pre":
        assert "SwitchService" not in [event.reason for event in found.events if ACTIVE in event.message]


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_an_inconclusive_verdict_asks_a_person_who_has_it_made_again(kind: str) -> None:
    found = deployed(PREVIEWED, PRE if kind == "pre" else POST)
    name = f"cart-{pod_hash(2)}-2-{kind}"
    found.verdicts[name] = "Inconclusive"
    update(found).run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "InconclusiveAnalysisRun")
    assert found.sizes() == {"1": 2, "2": 2}
    found.verdicts = {f"{name}.1": "Successful"}
    promote(found)
    found.run()
    assert set(found.runs) == {name, f"{name}.1"}
    assert is_healthy(found)
    assert told(found).count("RolloutPaused") == told(found).count("RolloutResumed") == 1


def test_who_goes_on_after_doubts_has_not_promoted_yet() -> None:
    """The analysis is made again, and then the pause is asked for that the strategy wants."""
    found = deployed(PREVIEWED, PRE, BY_HAND)
    name = f"cart-{pod_hash(2)}-2-pre"
    found.verdicts[name] = "Inconclusive"
    update(found).run()
    found.verdicts = {f"{name}.1": "Successful"}
    promote(found)
    found.run()
    assert found.parsed.message == "BlueGreenPause"
    assert found.selects(ACTIVE) == pod_hash(1)
    assert told(found)[-3:] == ["RolloutPaused", "RolloutResumed", "RolloutPaused"]


# --- retry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("waits", [True, False], ids=["when-pods-are-gone", "at-once"])
def test_a_retry_begins_at_the_beginning(name: str, waits: bool) -> None:
    """Also within the delay of the abort: what failed is not skipped because its pods are still there."""
    found = stage(name)
    found.command({"abort": True})
    found.run(None if waits else lambda one: one.parsed.aborted_at is not None)
    made = len(found.runs)
    found.command({"abort": False})
    found.run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "BlueGreenPause")
    assert found.sizes() == {"1": 2, "2": 1}
    assert len(found.runs) == made + 1
    promote(found)
    found.run()
    assert is_healthy(found)
    assert found.sizes() == {"1": 0, "2": 2}


# --- promote ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_a_full_promotion_at_every_stage(name: str) -> None:
    """T61: with all pods, and at once."""
    found = stage(name)
    found.command({"promoteFull": True})
    found.run(is_switched)
    assert found.available(f"cart-{pod_hash(2)}") == 2
    found.run(lambda one: one.parsed.is_promoted)
    assert not found.parsed.promote_full
    assert "Full promotion requested" in next(one.message for one in found.events if one.reason == "RolloutCompleted")
    assert found.run().sizes() == {"1": 0, "2": 2}
    assert is_healthy(found)


@pytest.mark.parametrize("name", STAGES)
def test_an_abort_is_stronger_than_a_promotion_that_is_not_applied(name: str) -> None:
    found = stage(name)
    found.command({"promoteFull": True, "abort": True})
    found.run()
    assert found.selects(ACTIVE) == pod_hash(1)
    assert found.parsed.abort
    assert not found.parsed.promote_full


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_pause_that_ends_by_time(seconds: int) -> None:
    found = deployed(PREVIEWED, {"autoPromotionSeconds": seconds})
    update(found).run(lambda one: one.available(f"cart-{pod_hash(2)}") == 2)
    began = found.now
    found.run(is_switched)
    assert found.now - began == timedelta(seconds=seconds)
    assert told(found).count("RolloutPaused") == told(found).count("RolloutResumed") == (1 if seconds else 0)
    found.run()
    assert is_healthy(found)


def test_t63_seconds_do_not_promote_where_only_a_person_may() -> None:
    found = deployed(PREVIEWED, BY_HAND, {"autoPromotionSeconds": 5})
    update(found).run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "BlueGreenPause")
    assert found.selects(ACTIVE) == pod_hash(1)


def test_a_pause_that_is_no_longer_wanted_ends() -> None:
    found = stage("paused")
    strategy = {**found.content["strategy"]["blueGreen"], "autoPromotionEnabled": True}
    found.change({**found.content, "strategy": {"blueGreen": strategy}})
    found.run()
    assert is_healthy(found)


@pytest.mark.parametrize("name", STAGES)
def test_a_manual_pause_stops_everything(name: str) -> None:
    found = stage(name)
    found.change({**found.content, "paused": True})
    before = found.sizes(), found.facts()["services"]
    found.run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "manually paused")
    assert (found.sizes(), found.facts()["services"]) == before
    found.change({**found.content, "paused": False})
    found.run(lambda one: bool(one.parsed.pauses) or is_healthy(one))
    promote(found)
    found.run()
    assert is_healthy(found)


# --- other revisions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_a_newer_revision_at_every_stage(name: str) -> None:
    found = stage(name)
    update(found, 3)
    found.run()
    assert found.selects(PREVIEW) == pod_hash(3)
    assert found.selects(ACTIVE) == pod_hash(1)  # also if users were on the one before already
    assert found.parsed.message == "BlueGreenPause"
    assert found.sizes() == {"1": 2, "2": 0, "3": 1}
    promote(found)
    found.run()
    assert is_healthy(found)
    assert found.sizes() == {"1": 0, "2": 0, "3": 2}


@pytest.mark.parametrize("name", STAGES)
def test_a_rollback_to_stable_at_every_stage(name: str) -> None:
    found = stage(name)
    update(found, 1)
    found.run()
    assert is_healthy(found)
    assert found.selects(ACTIVE) == found.selects(PREVIEW) == pod_hash(1)
    assert found.sizes() == {"1": 2, "2": 0}
    assert not found.parsed.pauses


def test_a_fast_rollback_within_the_scale_down_delay() -> None:
    """T55: neither pause nor analysis; all pods are there, and stay (argo-rollouts shrinks them first)."""
    found = stage("post-analysis")
    found.run(is_healthy)
    assert found.sizes() == {"1": 2, "2": 2}
    assert KEPT in found.replica_sets[f"cart-{pod_hash(1)}"].metadata.annotations
    found.runs.clear()
    found.events.clear()
    update(found, 1)
    began = found.now
    found.run(is_healthy)
    assert found.now == began
    assert found.sizes() == {"1": 2, "2": 2}
    assert found.runs == {}
    assert "RolloutPaused" not in found.reasons()
    completed = next(one.message for one in found.events if one.reason == "RolloutCompleted")
    assert completed == f"Rollout completed update to revision 3 ({pod_hash(1)}): Fast rollback"
    assert found.run().sizes() == {"1": 2, "2": 0}
    assert KEPT not in found.replica_sets[f"cart-{pod_hash(2)}"].metadata.annotations


def test_a_rollback_after_the_delay_is_an_ordinary_update() -> None:
    found = stage("post-analysis")
    found.run()
    assert found.sizes() == {"1": 0, "2": 2}
    update(found, 1)
    found.run()
    assert found.parsed.message == "BlueGreenPause"
    assert found.sizes() == {"1": 1, "2": 2}


def test_a_rollback_within_the_window_is_fast_without_pods() -> None:
    found = deployed(*FULL, rollbackWindow={"revisions": 2})
    found.verdicts["cart-"] = "Successful"
    found.now += timedelta(minutes=1)
    update(found).run()
    promote(found)
    found.run()
    assert found.sizes() == {"1": 0, "2": 2}
    found.runs.clear()
    found.events.clear()
    update(found, 1).run()
    assert is_healthy(found)
    assert found.runs == {}
    assert "Rollback within window" in next(one.message for one in found.events if one.reason == "RolloutCompleted")


def test_a_revision_that_was_aborted_is_no_fast_rollback() -> None:
    """Its deadline looks like that of a former stable one, and it never was good."""
    found = stage("paused")
    found.command({"abort": True})
    found.run(lambda one: DEADLINE in one.replica_sets[f"cart-{pod_hash(2)}"].metadata.annotations)
    update(found, 3).run(lambda one: bool(one.parsed.pauses))
    update(found, 2).run()
    assert found.parsed.message == "BlueGreenPause"
    assert found.selects(ACTIVE) == pod_hash(1)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_old_pods_follow_the_wanted_number_within_their_delay() -> None:
    found = deployed(PREVIEWED)
    update(found).run(is_healthy)
    found.change({**found.content, "replicas": 4})
    found.run(lambda one: one.sizes() == {"1": 4, "2": 4})
    assert found.run().sizes() == {"1": 0, "2": 4}


def test_only_so_many_old_revisions_wait() -> None:
    found = deployed({"scaleDownDelayRevisionLimit": 1})
    update(found, 2).run(lambda one: one.parsed.stable_hash == pod_hash(2))
    update(found, 3).run(lambda one: one.parsed.stable_hash == pod_hash(3))
    assert found.sizes() == {"1": 0, "2": 2, "3": 2}


def test_no_delay() -> None:
    found = deployed({"scaleDownDelaySeconds": 0})
    update(found).run(lambda one: one.parsed.is_promoted)
    assert found.sizes() == {"1": 0, "2": 2}


def test_without_pods_revisions_pass_through() -> None:
    found = world(PREVIEWED, replicas=0)
    found.run()
    update(found).run()
    assert is_healthy(found)
    assert found.selects(ACTIVE) == found.selects(PREVIEW) == pod_hash(2)


@pytest.mark.parametrize("name", STAGES)
def test_scaling_in_the_middle_of_an_update(name: str) -> None:
    found = stage(name)
    found.change({**found.content, "replicas": 5})
    found.run()
    if found.parsed.pauses:
        assert found.sizes() == {"1": 5, "2": 1}
        promote(found)
        found.run()
    assert is_healthy(found)
    assert found.sizes() == {"1": 0, "2": 5}


# --- deaths ----------------------------------------------------------------------------------------------------------


def tale_of_success(found: BlueGreenWorld) -> None:
    found.verdicts["cart-"] = "Successful"
    update(found).run(lambda one: bool(one.parsed.pauses))
    promote(found)
    found.run()


def tale_of_abort(found: BlueGreenWorld) -> None:
    found.verdicts[f"cart-{pod_hash(2)}-2-pre"] = "Successful"
    found.verdicts["cart-"] = "Failed"
    update(found).run(lambda one: bool(one.parsed.pauses))
    promote(found)
    found.run()


def tale_of_rollback(found: BlueGreenWorld) -> None:
    tale_of_success_until_healthy(found)
    update(found, 1).run()


def tale_of_success_until_healthy(found: BlueGreenWorld) -> None:
    found.verdicts["cart-"] = "Successful"
    update(found).run(lambda one: bool(one.parsed.pauses))
    promote(found)
    found.run(is_healthy)


TALES = {"success": tale_of_success, "abort": tale_of_abort, "rollback": tale_of_rollback}


def has_died(found: World) -> bool:
    return found.crash_after is None


@pytest.mark.parametrize("tale", TALES)
def test_a_death_after_every_write_leads_to_the_same_end(tale: str) -> None:
    expected = deployed(*FULL)
    TALES[tale](expected)
    writes = len(expected.writes)
    assert writes > 10
    for point in range(writes):
        found = deployed(*FULL)
        found.crash_after = point
        TALES[tale](found)
        assert has_died(found), f"never died: {point}"
        assert found.facts() == expected.facts(), f"after write {point}: {expected.writes[point]}"
        assert set(found.runs) == set(expected.runs), f"after write {point}: {expected.writes[point]}"


# --- from and to a canary --------------------------------------------------------------------------------------------


def test_t44_from_blue_green_to_canary_and_back_at_rest() -> None:
    """Nothing is rolled out; Services that are named no longer are let go, and what was stored of them is forgotten."""
    found = deployed(PREVIEWED, PRE)
    blue_green = found.content["strategy"]
    found.change({**found.content, "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.facts()["step"] == 2
    assert "blueGreen" not in found.status
    assert found.facts()["services"] == {ACTIVE: "", PREVIEW: ""}
    assert found.sizes() == {"1": 2}
    found.change({**found.content, "strategy": blue_green})
    found.run()
    assert is_healthy(found)
    assert found.facts()["step"] is None
    assert "canary" not in found.status
    assert found.facts()["services"] == {ACTIVE: pod_hash(1), PREVIEW: pod_hash(1)}
    assert found.sizes() == {"1": 2}


def test_from_a_canary_in_the_middle_of_an_update_to_blue_green() -> None:
    found = deployed(PREVIEWED, BY_HAND, replicas=4)
    blue_green = found.content["strategy"]
    found.change({**found.content, "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}})
    found.run()
    update(found).run()
    assert found.status["message"] == "CanaryPauseStep"
    found.change({**found.content, "strategy": blue_green})
    found.run()
    assert found.status["message"] == "BlueGreenPause"
    assert found.sizes() == {"1": 4, "2": 4}
    assert (found.selects(ACTIVE), found.selects(PREVIEW)) == (pod_hash(1), pod_hash(2))
    promote(found)
    found.run()
    assert is_healthy(found)


def test_from_blue_green_in_the_middle_of_an_update_to_canary() -> None:
    found = stage("paused")
    found.change({**found.content, "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}})
    found.run()
    assert found.status["message"] == "CanaryPauseStep"
    assert found.sizes() == {"1": 1, "2": 1}
    promote(found)
    found.run()
    assert is_healthy(found)
