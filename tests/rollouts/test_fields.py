"""What single fields of a canary's spec do to whole updates, in the small world; alone they are tested elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.traffic import Weights
from fairlead.testing.builders import pod_hash
from tests.rollouts.world import STABLE, World, deployed, update

PAIR: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"pause": {}})
ROUTED = pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
RESUME = {"pauseConditions": None}


def with_canary(found: World, **fields: Any) -> World:
    """Change fields of the strategy."""
    canary = {**found.content["strategy"]["canary"], **fields}
    found.change({**found.content, "strategy": {"canary": canary}})
    return found


def with_total(total: int) -> dict[str, Any]:
    plugins = {"fairlead/waypoint": {"service": "cart"}}
    return {"trafficRouting": {"plugins": plugins, "maxTrafficWeight": total}}


# --- rollbackWindow -------------------------------------------------------------------------------------------------


def through_versions(found: World, last: int) -> World:
    for version in range(2, last + 1):
        found.now += timedelta(minutes=10)
        update(found, version).run()
        found.command(RESUME)
        found.run()
        assert found.parsed.stable_hash == pod_hash(version)
    found.now += timedelta(minutes=10)
    found.run()
    found.events.clear()
    found.history.clear()
    return found


@ROUTED
def test_a_rollback_within_the_window_goes_all_the_way(routed: bool) -> None:
    found = through_versions(deployed(*PAIR, replicas=2, routed=routed, rollbackWindow={"revisions": 2}), 3)
    update(found, 1).run()
    assert found.parsed.phase == "Healthy"
    assert found.sizes() == {"1": 2, "2": 0, "3": 0}
    assert "RolloutPaused" not in found.reasons()
    assert [weight for _, weight in found.history] == ([100, 0] if routed else [])


@ROUTED
def test_a_rollback_outside_the_window_is_an_update_like_any_other(routed: bool) -> None:
    found = through_versions(deployed(*PAIR, replicas=2, routed=routed, rollbackWindow={"revisions": 1}), 3)
    update(found, 1).run()
    assert found.parsed.phase == "Paused"
    assert found.sizes() == {"1": 1, "2": 0, "3": 2 if routed else 1}
    assert found.metadata.annotations["rollout.argoproj.io/revision"] == "4"


def test_back_to_a_canary_that_still_has_pods_is_told() -> None:
    """Version 2 was overtaken and keeps its pods a while: within the window it is taken up without steps."""
    found = deployed(*PAIR, replicas=2, routed=True, rollbackWindow={"revisions": 5})
    found.now += timedelta(minutes=1)
    update(found).run()
    found.now += timedelta(minutes=1)
    update(found, 3).run()
    found.command({"promoteFull": True})
    found.run(lambda one: one.parsed.stable_hash == pod_hash(3))
    found.events.clear()
    update(found, 1).run()
    skipped = [event.message for event in found.events if event.reason == "SkipSteps"]
    assert skipped == ["Rollback to active ReplicaSets within RollbackWindow"]


# --- how long pods stay ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, {"1": 2, "2": 2, "3": 2, "4": 2}), (1, {"1": 0, "2": 0, "3": 2, "4": 2})]
)
def test_so_many_old_revisions_keep_their_pods(limit: int | None, kept: dict[str, int]) -> None:
    delays = {"scaleDownDelaySeconds": 3600, "scaleDownDelayRevisionLimit": limit}
    canary = {name: value for name, value in delays.items() if value is not None}
    found = deployed({"setWeight": 50}, replicas=2, routed=True, canary=canary)
    for version in (2, 3, 4):
        update(found, version).run(lambda one: one.parsed.phase == "Healthy" and one.parsed.is_promoted, seconds=600)
        found.run(seconds=60)
    assert found.sizes() == kept
    found.run()
    assert found.sizes() == {"1": 0, "2": 0, "3": 0, "4": 2}


# --- spec.paused ----------------------------------------------------------------------------------------------------


@ROUTED
def test_a_manual_pause_holds_an_autoscaler_too(routed: bool) -> None:
    found = deployed(*PAIR, replicas=4, routed=routed)
    found.change({**found.content, "paused": True, "replicas": 8})
    found.run()
    assert (found.parsed.phase, found.parsed.message) == ("Paused", "manually paused")
    assert found.sizes() == {"1": 4}
    found.change({**found.content, "paused": False})
    found.run()
    assert found.sizes() == {"1": 8}
    assert found.parsed.phase == "Healthy"


@ROUTED
def test_a_new_version_waits_without_pods_while_paused_by_hand(routed: bool) -> None:
    found = deployed(*PAIR, replicas=4, routed=routed)
    found.content = {**found.content, "paused": True}
    update(found).run()
    assert found.sizes() == {"1": 4, "2": 0}
    found.change({**found.content, "paused": False})
    found.run()
    assert found.parsed.phase == "Paused"
    assert found.parsed.message == "CanaryPauseStep"


# --- steps that change ----------------------------------------------------------------------------------------------


@ROUTED
def test_other_steps_in_the_middle_begin_anew_with_the_same_pods(routed: bool) -> None:
    found = deployed({"setWeight": 50}, {"pause": {}}, {"setWeight": 75}, {"pause": {}}, replicas=4, routed=routed)
    update(found).run()
    found.command(RESUME)
    found.run()
    assert found.parsed.step_index == 3
    revision = found.metadata.annotations["rollout.argoproj.io/revision"]
    with_canary(found, steps=[{"setWeight": 25}, {"pause": {}}]).run()
    assert found.parsed.step_index == 1
    assert found.sizes() == {"1": 4 if routed else 3, "2": 1}
    assert len(found.replica_sets) == 2
    assert found.metadata.annotations["rollout.argoproj.io/revision"] == revision
    if routed:
        assert found.weights == Weights.of_canary(25)


@ROUTED
def test_steps_that_are_taken_away_in_the_middle_let_the_update_finish(routed: bool) -> None:
    found = deployed(*PAIR, replicas=4, routed=routed)
    update(found).run()
    with_canary(found, steps=[]).run()
    assert found.parsed.phase == "Healthy"
    assert found.parsed.step_index is None
    assert found.sizes() == {"1": 0, "2": 4}


# --- how many pods are enough ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "goes_on"),
    [
        pytest.param({"type": "Percent", "value": 50}, True, id="half"),
        pytest.param({"type": "Pods", "value": 2}, True, id="two"),
        pytest.param({"type": "Pods", "value": 3}, False, id="three"),
        pytest.param({"type": "Percent", "value": -1}, False, id="ignored"),
    ],
)
def test_a_step_counts_with_part_of_its_pods(threshold: dict[str, Any], goes_on: bool) -> None:
    found = deployed(*PAIR, replicas=8, routed=True, canary={"replicaProgressThreshold": threshold})
    update(found).run(lambda one: one.sizes().get("2") == 4)
    for pod in found.pods[f"cart-{pod_hash(2)}"][:2]:
        pod.ready_at = None
    found.run(seconds=500)
    assert (found.parsed.phase == "Paused") is goes_on, found.explain()
    assert found.weights == Weights.of_canary(50 if goes_on else 0)


@pytest.mark.parametrize(("replicas", "size"), [(5, 3), (2, 2), (1, 1)])
def test_a_canary_has_a_smallest_size(replicas: int, size: int) -> None:
    found = deployed(
        {"setWeight": 10}, {"pause": {}}, replicas=replicas, routed=True, canary={"minPodsPerReplicaSet": 3}
    )
    update(found).run()
    assert found.sizes() == {"1": replicas, "2": size}
    found.command({"abort": True})
    found.run()
    assert found.sizes() == {"1": replicas, "2": 0}


# --- other totals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "weight", "size"),
    [
        pytest.param(1000, 5, 1, id="half-a-percent"),
        pytest.param(100_000_000, 50_000_000, 50, id="more-than-32-bits-in-between"),
        pytest.param(2_147_483_647, 2_147_483_646, 100, id="the-most"),
    ],
)
def test_weights_of_another_total(total: int, weight: int, size: int) -> None:
    """T25: a weight times a number of pods does not fit in 32 bits."""
    found = deployed({"setWeight": weight}, {"pause": {}}, replicas=100, routed=True, canary=with_total(total))
    update(found).run()
    assert found.weights == Weights.of_canary(weight, total=total)
    assert found.sizes() == {"1": 100, "2": size}
    found.command(RESUME)
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.weights == Weights.of_canary(0, total=total)
    assert found.selects(STABLE) == pod_hash(2)
