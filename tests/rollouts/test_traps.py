"""Situations that others got wrong, by the numbers of the list that they come from; those that no other test has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fairlead.core.plans import Plan
from fairlead.core.traffic import Held
from fairlead.rollouts.actions import CreateReplicaSet, CreateRun
from fairlead.rollouts.machine import decide
from fairlead.rollouts.status import patch, read
from fairlead.testing.builders import (
    HASH_LABEL,
    START,
    observation,
    pod_hash,
    pod_template,
    replica_set,
    services,
    spec,
    status_content,
    traffic,
)
from tests.rollouts.world import CANARY, STABLE, World, deployed, update, world

PAIR = ({"setWeight": 50}, {"pause": {"duration": "3s"}})
ANALYSIS = {"templates": [{"templateName": "t"}]}


def test_t16_annotations_of_old_replica_sets_are_not_chased() -> None:
    rollout = spec(*PAIR, version=2, replicas=4)
    old = replica_set(3, replicas=0, wanted=9, revision=1)
    stored = read(status_content(rollout, stable=2, current=2))
    decision = decide(rollout, stored, observation(replica_set(2, replicas=4), old), START)
    assert decision.actions == ()


@pytest.mark.parametrize(("available", "promoted"), [(3, False), (4, True)])
def test_t26_a_threshold_is_enough_to_promote(available: int, promoted: bool) -> None:
    """Four fifths of the pods are enough, also at the end."""
    threshold = {"replicaProgressThreshold": {"type": "Percent", "value": 80}}
    rollout = spec(*PAIR, version=2, replicas=5, routed=True, canary=threshold)
    seen = observation(
        replica_set(1, replicas=5),
        replica_set(2, replicas=5, available=available),
        services=services(stable=1, canary=2),
        traffic=traffic(100),
    )
    decision = decide(rollout, read(status_content(rollout, current=2)), seen, START)
    assert decision.status.is_promoted is promoted


def test_t31_all_weight_stays_on_the_canary_until_the_stable_service_has_moved() -> None:
    found = deployed(*PAIR, replicas=4, routed=True)
    update(found).run()
    assert [weight for _, weight in found.history] == [50, 100, 0]
    moved = found.writes.index(f"patch Service {STABLE}")
    routes = [index for index, what in enumerate(found.writes) if what == "write route"]
    assert routes[1] < moved < routes[2]


def test_t40_a_malformed_template_rolls_out_without_the_value() -> None:
    template = pod_template(1)
    template["spec"]["containers"][0]["resources"] = {"limits": {"memory": "invalid"}}
    found = world(*PAIR, replicas=1, template=template)
    decision = found.decide()
    created = next(action for action in decision.actions if isinstance(action, CreateReplicaSet))
    limits = created.body["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {})
    assert "memory" not in limits
    assert found.run().parsed.phase == "Healthy"


def test_t48_losing_a_node_after_the_update_is_no_reason_to_abort() -> None:
    found = deployed(*PAIR, replicas=4, routed=True, progressDeadlineSeconds=30, progressDeadlineAbort=True)
    for pod in found.pods[f"cart-{pod_hash(1)}"]:
        pod.ready_at = None
    found.run(seconds=3600)
    assert not found.parsed.abort
    assert found.parsed.phase == "Degraded"
    assert found.parsed.message.startswith("ProgressDeadlineExceeded")


def test_t55_no_analysis_within_the_rollback_window() -> None:
    found = deployed(
        {"setWeight": 50},
        {"analysis": ANALYSIS},
        replicas=2,
        rollbackWindow={"revisions": 3},
        canary={"analysis": ANALYSIS},
    )
    found.verdicts["cart-"] = "Successful"
    found.now += timedelta(minutes=1)
    update(found).run()
    found.now += timedelta(minutes=1)
    found.runs.clear()
    update(found, 1).run()
    assert found.parsed.phase == "Healthy"
    assert found.runs == {}


def test_t56_a_run_with_the_same_spec_in_another_order_is_the_same() -> None:
    found = deployed({"setWeight": 50}, {"analysis": ANALYSIS}, replicas=2)
    found.plan_spec = {"metrics": [{"name": "m", "interval": "1s"}], "args": []}
    update(found).run(lambda one: bool(one.runs))
    found.plan_spec = {"args": [], "metrics": [{"interval": "1s", "name": "m"}]}
    found.command({"canary": {"currentStepAnalysisRunStatus": None}})
    found.run(seconds=60)
    assert len(found.runs) == 1


def test_t59_no_run_where_there_is_no_stable_revision() -> None:
    rollout = spec({"setWeight": 50}, {"analysis": ANALYSIS}, canary={"analysis": ANALYSIS})
    seen = observation(revision=0, plans={1: Plan(spec={}), None: Plan(spec={})})
    decision = decide(rollout, read({}), seen, START)
    assert not any(isinstance(action, CreateRun) for action in decision.actions)


def test_a_rollout_of_argo_rollouts_is_taken_over_without_a_write() -> None:
    """As argo-rollouts v1.9 leaves a routed canary at rest: nothing is to be done, and nothing to be written."""
    rollout = spec(*PAIR, version=2, replicas=3, routed=True, revisionHistoryLimit=3)
    at = "2025-12-31T10:00:00Z"

    def condition(type_: str, reason: str, message: str) -> dict[str, Any]:
        return {
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": at,
            "lastTransitionTime": at,
        }

    name, label = f"cart-{pod_hash(2)}", pod_hash(2)
    destination = {"podTemplateHash": label}
    stored = {
        **status_content(rollout, stable=2, current=2),
        "HPAReplicas": 3,
        "availableReplicas": 3,
        "blueGreen": {},
        "canary": {
            "weights": {
                "canary": {**destination, "serviceName": "cart-canary", "weight": 0},
                "stable": {**destination, "serviceName": "cart-stable", "weight": 100},
            }
        },
        "conditions": [
            condition("Available", "AvailableReason", "Rollout has minimum availability"),
            condition("Progressing", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'),
            condition("Completed", "RolloutCompleted", "RolloutCompleted"),
            condition("Healthy", "RolloutHealthy", "Rollout is healthy"),
        ],
        "currentStepIndex": 2,
        "phase": "Healthy",
        "readyReplicas": 3,
        "replicas": 3,
        "selector": "app=cart",
        "updatedReplicas": 3,
        "workloadObservedGeneration": "",
    }
    seen = observation(
        replica_set(2, replicas=3),
        replica_set(1, replicas=0),
        services=services(stable=2, canary=2),
        traffic=traffic(0, Held.SETTLED),
    )
    decision = decide(rollout, read(stored), seen, START)
    assert decision.actions == ()
    assert decision.events == ()
    changed = patch(stored, decision.status)
    only = [one for one in changed.pop("conditions", []) if one["type"] == "TrafficRouted"]
    assert len(only) == 1, "our own condition is all that is new"
    assert set(changed) <= {"highWater"}


def test_a_pod_template_hash_label_is_the_truth() -> None:
    """T1: the stable ReplicaSet has a hash that we do not compute; nothing is deployed anew."""
    rollout = spec(*PAIR, replicas=2)
    found = replica_set(1, replicas=2)
    labels = {**found.metadata.labels, HASH_LABEL: "66597877b7"}
    foreign = replace(found, metadata=replace(found.metadata, labels=labels))
    stored = {**status_content(rollout), "stableRS": "66597877b7", "currentPodHash": "66597877b7"}
    decision = decide(rollout, read(stored), observation(foreign), START)
    assert decision.actions == ()
    assert decision.status.stable_hash == "66597877b7"


@pytest.mark.parametrize("minutes", [0, 10])
def test_old_revisions_beyond_the_limit_are_deleted(minutes: int) -> None:
    found = deployed(*PAIR, replicas=1, revisionHistoryLimit=2)
    for version in range(2, 7):
        found.now += timedelta(minutes=minutes + 1)
        update(found, version).run()
    assert sorted(found.sizes()) == ["4", "5", "6"]


def test_a_weight_that_is_lowered_to_nothing_frees_the_canary_service() -> None:
    found = deployed({"setWeight": 50}, {"setWeight": 0}, {"pause": {}}, replicas=2, routed=True)
    update(found).run()
    assert found.selects(CANARY) == pod_hash(1)
    assert found.sizes()["2"] == 0


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_t11_a_change_of_size_in_the_middle_loses_nothing_of_the_status(routed: bool) -> None:
    steps: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"analysis": ANALYSIS}, {"pause": {}})
    found = deployed(*steps, replicas=4, routed=routed, canary={"analysis": {**ANALYSIS, "startingStep": 1}})
    found.verdicts = {}
    update(found).run(lambda world: world.parsed.step_run is not None)
    before = found.parsed
    found.change({**found.content, "replicas": 6})
    found.run(lambda world: sum(world.sizes().values()) >= 6, seconds=600)
    after = found.parsed
    assert after.step_run is not None
    assert (after.step_index, after.step_run.name) == (
        before.step_index,
        before.step_run.name if before.step_run else "",
    )
    assert (after.background_run and after.background_run.name) == (
        before.background_run and before.background_run.name
    )
    assert (after.weights is None) is (not routed)
    assert (after.stable_hash, after.pod_hash) == (before.stable_hash, before.pod_hash)


def test_t14_a_generation_is_observed_only_with_all_that_follows_from_it() -> None:
    """Clients believe a phase once its generation is theirs: no write says Healthy of what it has not looked at."""
    found = deployed(*PAIR, replicas=4, routed=True)
    for version in (2, 3):
        update(found, version)
        generation = found.metadata.generation
        seen: list[tuple[str, bool]] = []

        def note(world: World, generation: int = generation, seen: list[tuple[str, bool]] = seen) -> bool:
            status = world.parsed
            if status.observed_generation == str(generation):
                seen.append((status.phase, status.is_promoted))
            return False

        with pytest.raises(AssertionError, match="never happened"):
            found.run(note)
        assert seen[0][0] == "Progressing"
        assert all(promoted for phase, promoted in seen if phase == "Healthy")
        assert seen[-1] == ("Healthy", True)


@pytest.mark.parametrize("block", [{}, {"analyses": [{"name": "a", "templateName": "t"}]}], ids=["pods", "analysed"])
def test_t37_and_t58_no_experiment_of_a_step_is_begun(block: dict[str, Any]) -> None:
    """Its Services and their names are no danger as long as such a step is refused."""
    templates = [{"name": "one", "specRef": "canary"}]
    found = world({"setWeight": 20}, {"experiment": {"templates": templates, **block}}, routed=True)
    found.run(seconds=120)
    assert found.parsed.phase == "Degraded"
    assert "spec.strategy.canary.steps[1].experiment: Forbidden: experiment steps are not supported" in (
        found.parsed.message
    )
    assert found.sizes() == {}
