"""Carrying out single actions on the simulated cluster: twice without harm, and never on another object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fairlead.core.errors import Conflict, ProviderError
from fairlead.core.kinds import ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, SERVICES, Rollout
from fairlead.core.objects import controller_reference
from fairlead.core.traffic import TrafficSeen, Weights
from fairlead.rollouts._performing import CollisionError, CreationError, Performer
from fairlead.rollouts._revisions import identify, replica_set_body
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts.actions import (
    Action,
    CancelRun,
    CreateReplicaSet,
    CreateRun,
    DeleteReplicaSet,
    DeleteRun,
    EvictPod,
    PatchReplicaSet,
    PatchRollout,
    ReleaseReplicaSet,
    ReleaseService,
    SetWeights,
    SwitchService,
    Target,
)
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing.builders import pod_hash, spec, spec_content
from tests.testing.worlds import NAMESPACE, SimWorld, key, play

NAME = f"cart-{pod_hash(1)}"


class Stage:
    """A stored Rollout, and a way to carry out actions for it."""

    def __init__(self, sim: SimWorld, rollout: Rollout) -> None:
        self.sim = sim
        self.rollout = rollout

    async def perform(self, *actions: Action, routers: tuple[Any, ...] = ()) -> Performer:
        performer = Performer(self.sim.cluster, self.rollout, routers, self.sim.clock)
        await performer.perform(actions)
        return performer

    def creation(self, replicas: int = 0) -> CreateReplicaSet:
        rollout = spec()
        revisions = identify(self.rollout.metadata, rollout, RolloutStatus(), ())
        body = replica_set_body(self.rollout.metadata, rollout, revisions, replicas)
        return CreateReplicaSet(name=NAME, pod_hash=revisions.pod_hash, replicas=replicas, body=body)

    async def target(self, kind: Any, name: str) -> Target:
        return Target.of((await self.sim.cluster.get(kind, key(name))).metadata)


def staged(story: Callable[[Stage], Awaitable[None]]) -> None:
    async def inside(sim: SimWorld) -> None:
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "cart"},
            "spec": spec_content(),
        }
        await story(Stage(sim, await sim.cluster.create(ROLLOUTS, body, namespace=NAMESPACE)))

    play(inside)


def test_a_replica_set_is_created_once() -> None:
    """T5."""

    async def story(stage: Stage) -> None:
        await stage.perform(stage.creation())
        await stage.perform(stage.creation())
        assert len(stage.sim.cluster.read_all(REPLICA_SETS, NAMESPACE)) == 1

    staged(story)


def test_a_replica_set_of_that_name_with_another_template_is_a_collision() -> None:
    async def story(stage: Stage) -> None:
        creation = stage.creation()
        other = {**creation.body, "spec": {**creation.body["spec"]}}
        template = creation.body["spec"]["template"]
        other["spec"]["template"] = {**template, "spec": {"containers": [{"name": "app", "image": "other"}]}}
        await stage.sim.create(REPLICA_SETS, other)
        with pytest.raises(CollisionError, match="another template or owner"):
            await stage.perform(creation)

    staged(story)


def test_what_the_server_says_of_a_creation_is_passed_on() -> None:
    async def story(stage: Stage) -> None:
        creation = stage.creation()
        broken = CreateReplicaSet(
            name=NAME,
            pod_hash="x",
            replicas=0,
            body={**creation.body, "spec": {**creation.body["spec"], "selector": {}}},
        )
        with pytest.raises(CreationError, match="Failed to create new replica set"):
            await stage.perform(broken)

    staged(story)


def test_a_replica_set_is_changed_in_one_write_and_only_as_it_was_read() -> None:
    async def story(stage: Stage) -> None:
        await stage.perform(stage.creation())
        target = await stage.target(REPLICA_SETS, NAME)
        change = PatchReplicaSet(
            target=target,
            replicas=0,
            annotations=(("a", "1"), ("fairlead.dev/template-hash", None)),
            min_ready_seconds=7,
        )
        await stage.perform(change)
        stored = stage.sim.read(REPLICA_SETS, NAME)
        assert stored["spec"]["minReadySeconds"] == 7
        assert stored["metadata"]["annotations"]["a"] == "1"
        assert "fairlead.dev/template-hash" not in stored["metadata"]["annotations"]
        with pytest.raises(Conflict):
            await stage.perform(change)

    staged(story)


def test_another_object_of_the_same_name_is_left_alone() -> None:
    async def story(stage: Stage) -> None:
        await stage.perform(stage.creation())
        target = await stage.target(REPLICA_SETS, NAME)
        with pytest.raises(Conflict):
            await stage.perform(DeleteReplicaSet(Target(target.name, "another-uid", target.version)))
        await stage.perform(DeleteReplicaSet(target))
        await stage.perform(DeleteReplicaSet(target))
        assert stage.sim.cluster.read_all(REPLICA_SETS, NAMESPACE) == []

    staged(story)


def test_control_is_given_up_and_other_owners_stay() -> None:
    async def story(stage: Stage) -> None:
        await stage.perform(stage.creation())
        await stage.perform(ReleaseReplicaSet(await stage.target(REPLICA_SETS, NAME)))
        assert not stage.sim.read(REPLICA_SETS, NAME)["metadata"].get("ownerReferences")

    staged(story)


def test_the_rollout_gets_its_revision_and_its_default() -> None:
    async def story(stage: Stage) -> None:
        performer = await stage.perform(PatchRollout(annotations=(("rollout.argoproj.io/revision", "3"),), replicas=1))
        stored = stage.sim.read(ROLLOUTS, "cart")
        assert stored["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "3"
        assert performer.outcome.version == stored["metadata"]["resourceVersion"], "the status is written against that"
        with pytest.raises(Conflict):
            await stage.perform(PatchRollout(annotations=(("a", "b"),)))

    staged(story)


def test_a_service_is_switched_marked_and_released() -> None:
    async def story(stage: Stage) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "annotations": {"keep": "1"}},
            "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]},
        }
        await stage.sim.create(SERVICES, body)
        await stage.perform(SwitchService(target=await stage.target(SERVICES, "s"), pod_hash="abc", marks=True))
        stored = stage.sim.read(SERVICES, "s")
        assert stored["spec"]["selector"] == {"app": "cart", HASH_LABEL: "abc"}
        assert stored["metadata"]["annotations"] == {"keep": "1", MANAGED_BY: "cart"}
        await stage.perform(ReleaseService(await stage.target(SERVICES, "s")))
        stored = stage.sim.read(SERVICES, "s")
        assert stored["spec"]["selector"] == {"app": "cart"}
        assert stored["metadata"]["annotations"] == {"keep": "1"}

    staged(story)


def run(stage: Stage, name: str = "r", **run_spec: Any) -> CreateRun:
    owner = controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=stage.rollout.metadata)
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": {"metrics": [], **run_spec},
    }
    return CreateRun(name=name, body=body)


def test_a_run_is_created_once_and_under_another_name_when_its_own_is_taken_for_good() -> None:
    async def story(stage: Stage) -> None:
        first = await stage.perform(run(stage))
        again = await stage.perform(run(stage))
        assert first.outcome.renamed == again.outcome.renamed == ()
        other = await stage.perform(run(stage, args=[{"name": "a", "value": "1"}]))
        assert other.outcome.renamed == (("r", "r.1"),)
        assert len(stage.sim.cluster.read_all(ANALYSIS_RUNS, NAMESPACE)) == 2

    staged(story)


def test_a_run_is_ended_and_deleted_however_often() -> None:
    async def story(stage: Stage) -> None:
        await stage.perform(run(stage))
        target = await stage.target(ANALYSIS_RUNS, "r")
        await stage.perform(CancelRun(target))
        await stage.perform(CancelRun(target))
        assert stage.sim.read(ANALYSIS_RUNS, "r")["spec"]["terminate"] is True
        await stage.perform(DeleteRun(target))
        gone = await stage.perform(DeleteRun(target), CancelRun(target))
        assert [type(action) for action in gone.outcome.done] == [DeleteRun]

    staged(story)


def test_a_pod_that_is_gone_needs_no_eviction() -> None:
    async def story(stage: Stage) -> None:
        performer = await stage.perform(EvictPod("gone", "uid"))
        assert performer.outcome.done == []

    staged(story)


class Router:
    def __init__(self, *, writes: bool = True, error: Exception | None = None) -> None:
        self.writes, self.error = writes, error
        self.asked: list[tuple[Weights, bool]] = []

    def observe(self, now: Any) -> TrafficSeen:
        raise AssertionError("not asked here")

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        self.asked.append((weights, in_progress))
        if self.error is not None:
            raise self.error
        return self.writes

    async def release(self) -> bool:
        return False


WEIGHTS = SetWeights(weights=Weights.of_canary(20), in_progress=True)


def test_every_router_gets_the_weights() -> None:
    async def story(stage: Stage) -> None:
        routers = (Router(writes=False), Router())
        performer = await stage.perform(WEIGHTS, routers=routers)
        assert [router.asked for router in routers] == [[(Weights.of_canary(20), True)]] * 2
        assert performer.outcome.done == [WEIGHTS]
        idle = await stage.perform(WEIGHTS, routers=(Router(writes=False),))
        assert idle.outcome.done == []

    staged(story)


def test_a_route_that_cannot_be_written_keeps_nothing_else_from_being_done() -> None:
    async def story(stage: Stage) -> None:
        error = ProviderError("no such route", provider="httproutes")
        performer = await stage.perform(WEIGHTS, stage.creation(), routers=(Router(error=error),))
        assert performer.outcome.router_error is error
        assert [type(action) for action in performer.outcome.done] == [CreateReplicaSet]

    staged(story)


def test_any_other_refusal_ends_it_and_what_was_done_is_known() -> None:
    async def story(stage: Stage) -> None:
        performer = Performer(stage.sim.cluster, stage.rollout, (Router(),), stage.sim.clock)
        await stage.perform(stage.creation())
        target = await stage.target(REPLICA_SETS, NAME)
        stale = PatchReplicaSet(target=Target(target.name, target.uid, "1"), replicas=3)
        with pytest.raises(Conflict):
            await performer.perform((WEIGHTS, stale, stage.creation()))
        assert performer.outcome.done == [WEIGHTS]

    staged(story)
