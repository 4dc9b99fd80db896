"""The reconciler on the simulated cluster with its built-in controllers, under virtual time; the route is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.decision import Event
from fairlead.core.errors import ClusterError, Conflict, Invalid, ProviderError
from fairlead.core.kinds import ANALYSIS_RUNS, ENDPOINT_SLICES, PODS, REPLICA_SETS, ROLLOUTS, SERVICES, AnalysisRun
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.plans import Plan, PlanRequest
from fairlead.core.traffic import Held, TrafficSeen, TrafficTarget, Weights
from fairlead.rollouts import commands
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts.reconciler import RolloutReconciler, Views
from fairlead.rollouts.triggers import INDEXES, Triggers, Wake
from fairlead.runtime import Change, Controller, Informers, Lane, WorkQueue
from fairlead.testing.builders import pod_hash, pod_template, spec_content
from tests.testing.worlds import NAMESPACE, SimWorld, key, play

CART = key("cart")
PAIRS = tuple(step for weight in (20, 60) for step in ({"setWeight": weight}, {"pause": {"duration": "2s"}}))


@dataclass(slots=True)
class Route:
    """A route in memory, in force `lag` after it was written; plays factory and router at once."""

    clock: Any
    lag: timedelta = timedelta(seconds=1)
    weights: Weights | None = None
    written_at: datetime | None = None
    writes: list[Weights] = field(default_factory=list)
    failure: ClusterError | ProviderError | None = None
    note: Callable[[str], None] = lambda what: None

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        return None if "service" in target.config else ("service", "Required value")

    def router(self, target: TrafficTarget) -> Route:
        return self

    def observe(self, now: datetime) -> TrafficSeen:
        if self.weights is None or self.written_at is None:
            return TrafficSeen(weights=None, held=Held.NOT_STORED)
        at = self.written_at + self.lag
        if now < at:
            return TrafficSeen(weights=self.weights, held=Held.ACCEPTED, since=self.written_at, wake_at=at)
        return TrafficSeen(weights=self.weights, held=Held.APPLIED, since=at)

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        if self.failure is not None:
            raise self.failure
        if weights == self.weights:
            return False
        self.weights, self.written_at = weights, self.clock.now()
        self.writes.append(weights)
        self.note("route")
        return True

    async def release(self) -> bool:
        return False


class Planner:
    def __init__(self) -> None:
        self.error = ""
        self.asked: list[PlanRequest] = []

    def plan(self, request: PlanRequest) -> Plan:
        self.asked.append(request)
        return Plan(spec={"metrics": [{"name": "m", "provider": {}}]}, error=self.error, field="templates", value="t")


@dataclass
class Events:
    seen: list[Event] = field(default_factory=list)

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        self.seen.append(event)

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.seen]


@dataclass
class Shop:
    """The simulated cluster with a running rollout controller."""

    sim: SimWorld
    route: Route
    planner: Planner
    events: Events
    informers: Informers
    reconciler: RolloutReconciler
    writes: list[str] = field(default_factory=list)

    async def apply(self, content: Mapping[str, Any], **metadata: Any) -> None:
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "cart", "namespace": NAMESPACE, **metadata},
            "spec": dict(content),
        }
        await self.sim.cluster.as_manager("user").create(ROLLOUTS, body, namespace=NAMESPACE)

    async def set_version(self, version: int) -> None:
        await self.user_patch({"spec": {"template": pod_template(version)}})

    async def user_patch(self, body: Mapping[str, Any], *, subresource: str = "") -> None:
        user = self.sim.cluster.as_manager("user")
        await user.patch(ROLLOUTS, CART, MergePatch(body), subresource=subresource)

    async def command(self, *given: commands.Command) -> None:
        for one in given:
            await self.sim.cluster.as_manager("user").patch(ROLLOUTS, CART, one.patch, subresource=one.subresource)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sim.read(ROLLOUTS, "cart").get("status", {})
        return found

    def replicas(self, version: int) -> int:
        size: int = self.sim.read(REPLICA_SETS, f"cart-{pod_hash(version)}")["spec"]["replicas"]
        return size

    async def until_phase(self, phase: str, *, seconds: float = 200.0) -> None:
        await self.sim.until(lambda: self.status.get("phase") == phase, seconds=seconds)

    async def until_done(self, version: int) -> None:
        def is_done() -> bool:
            return self.status.get("stableRS") == pod_hash(version) and self.status.get("phase") == "Healthy"

        await self.sim.until(is_done, seconds=300)


@asynccontextmanager
async def controller(sim: SimWorld, *, instance_id: str = "") -> AsyncIterator[Shop]:
    clock = sim.clock
    informers = Informers(sim.cluster, clock)
    rollouts, replica_sets, services, runs, slices = (
        informers.add(kind, indexes=INDEXES.get(kind))
        for kind in (ROLLOUTS, REPLICA_SETS, SERVICES, ANALYSIS_RUNS, ENDPOINT_SLICES)
    )
    route, planner, events = Route(clock), Planner(), Events()
    views = Views(rollouts=rollouts, replica_sets=replica_sets, services=services, runs=runs, endpoint_slices=slices)
    reconciler = RolloutReconciler(
        informers.cluster,
        views,
        planner,
        {"fairlead/waypoint": route},
        clock,
        events,
        instance_id=instance_id,
    )
    queue: WorkQueue[ObjectKey] = WorkQueue(clock)
    triggers = Triggers(rollouts, instance_id=instance_id)

    def follow(concerned: Callable[[Any, Any], Wake]) -> Callable[[Change[Any]], None]:
        def changed(change: Change[Any]) -> None:
            wake = concerned(change.old, change.new)
            for one in wake.keys:
                queue.add(one, Lane.URGENT if wake.is_urgent else Lane.NORMAL)

        return changed

    rollouts.subscribe(follow(triggers.rollout))
    replica_sets.subscribe(follow(triggers.replica_set))
    services.subscribe(follow(triggers.service))
    runs.subscribe(follow(triggers.run))
    slices.subscribe(follow(triggers.endpoint_slice))
    shop = Shop(sim, route, planner, events, informers, reconciler)
    route.note = shop.writes.append

    def note(verb: Any, resource: Any, old: Any, new: Any) -> None:
        managers = (new or {}).get("metadata", {}).get("managedFields", ())
        latest: dict[str, Any] = max(managers, key=lambda entry: entry.get("time", ""), default={})
        if str(resource.kind) in ("Rollout", "ReplicaSet", "Service", "AnalysisRun"):
            shop.writes.append(f"{verb} {resource.kind} {latest.get('manager')}")

    sim.cluster.on_commit(note)
    loop = Controller("rollouts", queue, reconciler.reconcile, clock=clock, workers=2)
    tasks = [asyncio.create_task(informers.run()), asyncio.create_task(loop.run())]
    await informers.wait_synced()
    try:
        yield shop
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(story: Callable[[Shop], Awaitable[None]], **settings: Any) -> None:
    """Play a story with a controller in a world of its own."""

    async def inside(sim: SimWorld) -> None:
        async with controller(sim, **settings) as shop:
            await story(shop)

    play(inside)


async def with_services(shop: Shop) -> None:
    for name in ("cart-stable", "cart-canary"):
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]},
        }
        await shop.sim.create(SERVICES, body)


def test_a_basic_canary_from_first_deploy_to_promotion() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content(*PAIRS, replicas=5))
        await shop.until_done(1)
        await shop.set_version(2)
        await shop.until_done(2)
        assert (shop.replicas(1), shop.replicas(2)) == (0, 5)
        assert shop.sim.read(ROLLOUTS, "cart")["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "2"

    run(story)


def test_events_begin_when_a_rollout_is_seen_and_end_when_it_is_gone() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content(*PAIRS, replicas=1))
        await shop.until_done(1)
        assert shop.events.reasons == [
            "RolloutAddedToInformer",
            "RolloutUpdated",
            "NewReplicaSetCreated",
            "RolloutNotCompleted",
            "ScalingReplicaSet",
            "RolloutCompleted",
        ]
        assert shop.events.seen[0].message == "Rollout resource added to informer: default/cart"
        await shop.sim.cluster.delete(ROLLOUTS, CART)
        await shop.sim.until(lambda: "RolloutDeleted" in shop.events.reasons, seconds=10)
        assert shop.events.seen[-1].message == "Rollout cart/default is deleted."
        await asyncio.sleep(30)
        assert shop.events.reasons.count("RolloutDeleted") == 1

    run(story)


def test_a_routed_canary_moves_weights_and_selectors() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        await shop.apply(spec_content(*PAIRS, replicas=5, routed=True))
        await shop.until_done(1)
        await shop.set_version(2)
        await shop.sim.until(lambda: shop.status.get("stableRS") == pod_hash(2), seconds=100)
        await shop.sim.until(lambda: shop.replicas(1) == 0, seconds=100)
        assert [weights.canary for weights in shop.route.writes] == [0, 20, 60, 100, 0]
        for name in ("cart-stable", "cart-canary"):
            service = shop.sim.read(SERVICES, name)
            assert service["spec"]["selector"][HASH_LABEL] == pod_hash(2)
            assert service["metadata"]["annotations"][MANAGED_BY] == "cart"
        assert shop.status["canary"]["weights"]["verified"] is True

    run(story)


def test_at_rest_nothing_is_written() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        await shop.apply(spec_content(*PAIRS, replicas=2, routed=True))
        await shop.until_done(1)
        await asyncio.sleep(60)
        shop.writes.clear()
        await asyncio.sleep(3600)
        assert shop.writes == []

    run(story)


def test_an_abort_needs_one_write_before_the_weight_is_gone() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        await shop.apply(spec_content(*PAIRS, {"pause": {}}, replicas=5, routed=True))
        await shop.until_done(1)
        await shop.set_version(2)
        await shop.until_phase("Paused")
        shop.writes.clear()
        await shop.command(*commands.abort())
        await shop.until_phase("Degraded")
        assert shop.writes[0].startswith("update Rollout"), "the command itself"
        assert shop.writes[1] == "route"
        assert shop.route.weights == Weights.of_canary(0)
        await shop.sim.until(lambda: shop.replicas(2) == 0, seconds=100)

    run(story)


def test_a_command_that_arrives_in_between_is_not_overwritten() -> None:
    """The Rollout changes after it was read: the write is refused, and the next decision knows the command (T15)."""

    async def story(shop: Shop) -> None:
        await shop.apply(spec_content({"setWeight": 20}, {"pause": {"duration": "5s"}}, {"pause": {}}, replicas=5))
        await shop.until_done(1)
        await shop.set_version(2)
        await shop.until_phase("Paused")
        stale = shop.informers.store(ROLLOUTS).get(CART)
        assert stale is not None
        await shop.command(*commands.abort())
        decided = await shop.reconciler._decide(stale)
        decision, stored = decided.decision, decided.stored
        from fairlead.rollouts._performing import Outcome

        changed = decision.status
        outcome = Outcome(version=stale.metadata.resource_version, done=[])
        with pytest.raises(Conflict):
            await shop.reconciler._write(stale, {**stored, "currentStepIndex": 0}, changed, outcome)
        await shop.until_phase("Degraded")
        assert shop.status["abort"] is True

    run(story)


def test_a_route_that_cannot_be_written_is_reported_and_the_status_told() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        shop.route.failure = ProviderError("HTTPRoute cart not found", provider="httproutes")
        await shop.apply(spec_content(*PAIRS, replicas=1, routed=True))
        await shop.sim.until(lambda: "TrafficRoutingError" in shop.events.reasons, seconds=30)
        await shop.sim.until(lambda: shop.status.get("availableReplicas") == 1, seconds=30)
        shop.route.failure = None
        await shop.sim.until(lambda: shop.route.weights == Weights.of_canary(0), seconds=100)
        await shop.until_done(1)

    run(story)


def test_services_are_released_when_their_rollout_is_gone() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        await shop.apply(spec_content(*PAIRS, replicas=1, routed=True))
        await shop.until_done(1)
        await shop.sim.cluster.delete(ROLLOUTS, CART)

        def is_released() -> bool:
            service = shop.sim.read(SERVICES, "cart-stable")
            return HASH_LABEL not in service["spec"]["selector"] and MANAGED_BY not in service["metadata"].get(
                "annotations", {}
            )

        await shop.sim.until(is_released, seconds=30)

    run(story)


def test_a_service_that_is_named_no_longer_is_released() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        content = spec_content(*PAIRS, replicas=1, canary={"stableService": "cart-stable"})
        await shop.apply(content)
        await shop.until_done(1)
        await shop.sim.until(lambda: HASH_LABEL in shop.sim.read(SERVICES, "cart-stable")["spec"]["selector"])
        await shop.user_patch({"spec": {"strategy": {"canary": {"stableService": None}}}})
        await shop.sim.until(lambda: HASH_LABEL not in shop.sim.read(SERVICES, "cart-stable")["spec"]["selector"])

    run(story)


async def stranger(shop: Shop, *, template: Mapping[str, Any], owned: bool) -> None:
    """Create a ReplicaSet under the name that the controller will want."""
    labels = {"app": "cart", HASH_LABEL: pod_hash(1)}
    metadata: dict[str, Any] = {"name": f"cart-{pod_hash(1)}", "labels": labels}
    if not owned:
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "someone", "controller": True}
        metadata["ownerReferences"] = [owner]
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {**template, "metadata": {"labels": labels}},
        },
    }
    await shop.sim.create(REPLICA_SETS, body)


def test_a_name_that_is_taken_by_somebody_else_makes_another_hash() -> None:
    async def story(shop: Shop) -> None:
        await stranger(shop, template=pod_template(9), owned=False)
        await shop.apply(spec_content(*PAIRS, replicas=1))
        await shop.until_phase("Healthy")
        assert shop.status["collisionCount"] == 1
        assert shop.status["currentPodHash"] != pod_hash(1)

    run(story)


def test_an_orphan_with_the_right_template_is_adopted() -> None:
    async def story(shop: Shop) -> None:
        await stranger(shop, template=pod_template(1), owned=True)
        await shop.apply(spec_content(*PAIRS, replicas=2))
        await shop.until_done(1)
        adopted = shop.sim.read(REPLICA_SETS, f"cart-{pod_hash(1)}")
        assert adopted["metadata"]["ownerReferences"][0]["kind"] == "Rollout"
        assert shop.status.get("collisionCount") is None
        assert len(shop.sim.cluster.read_all(REPLICA_SETS, NAMESPACE)) == 1

    run(story)


def test_a_replica_set_that_cannot_be_created_is_reported() -> None:
    async def story(shop: Shop) -> None:
        async def refuse(*args: Any, **kwargs: Any) -> Any:
            raise Invalid("exceeded quota", status=422, reason="Invalid")

        shop.reconciler._cluster.create = refuse  # type: ignore[method-assign]
        await shop.apply(spec_content(*PAIRS, replicas=1))
        await shop.sim.until(lambda: "conditions" in shop.status, seconds=10)
        progressing = next(one for one in shop.status["conditions"] if one["type"] == "Progressing")
        assert progressing["reason"] == "ReplicaSetCreateError"
        assert progressing["message"].endswith("exceeded quota")
        # Whoever waits for the update learns that it has been seen, and what holds it up.
        assert (shop.status["observedGeneration"], shop.status["phase"]) == ("1", "Progressing")
        assert shop.status["message"] == f"ReplicaSetCreateError: {progressing['message']}"
        assert "ReplicaSetCreateError" in shop.events.reasons

    run(story)


def test_a_restart_evicts_the_pods_that_are_older() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content(*PAIRS, replicas=3))
        await shop.until_done(1)
        await asyncio.sleep(5)
        before = {pod["metadata"]["uid"] for pod in shop.sim.pods(app="cart")}
        await shop.command(*commands.restart(shop.sim.clock.now()))
        await shop.sim.until(lambda: shop.status.get("message") == "rollout is restarting", seconds=30)
        await shop.sim.until(lambda: "restartedAt" in shop.status and shop.status["phase"] == "Healthy", seconds=300)
        after = {pod["metadata"]["uid"] for pod in shop.sim.pods(app="cart")}
        assert not before & after

    run(story)


ANALYSIS = {"analysis": {"templates": [{"templateName": "t"}], "args": [{"name": "region", "value": "eu"}]}}


async def judge(shop: Shop, name: str, phase: str) -> None:
    body = {"status": {"phase": phase, "message": "measured"}}
    await shop.sim.cluster.as_manager("judge").patch(ANALYSIS_RUNS, key(name), MergePatch(body))


def test_a_verdict_decides() -> None:
    async def story(shop: Shop) -> None:
        await with_services(shop)
        await shop.apply(spec_content({"setWeight": 50}, ANALYSIS, {"setWeight": 60}, replicas=2, routed=True))
        await shop.until_done(1)
        await shop.set_version(2)
        name = f"cart-{pod_hash(2)}-2-1"
        await shop.sim.until(lambda: shop.sim.cluster.read(ANALYSIS_RUNS, key(name)) is not None, seconds=30)
        assert shop.planner.asked[-1].args[0].value == "eu"
        shop.writes.clear()
        await judge(shop, name, "Failed")
        await shop.until_phase("Degraded")
        assert shop.writes[1] == "route", shop.writes
        assert shop.status["message"].endswith("Step-based analysis phase error/failed: measured")

    run(story)


def test_a_run_whose_name_is_taken_gets_the_next_one() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content({"setWeight": 50}, ANALYSIS, replicas=2))
        await shop.until_done(1)
        name = f"cart-{pod_hash(2)}-2-1"
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": name},
            "spec": {"metrics": []},
        }
        await shop.sim.create(ANALYSIS_RUNS, body)
        await shop.set_version(2)
        await shop.sim.until(lambda: shop.sim.cluster.read(ANALYSIS_RUNS, key(f"{name}.1")) is not None, seconds=30)
        await shop.sim.until(
            lambda: shop.status["canary"]["currentStepAnalysisRunStatus"]["name"] == f"{name}.1", seconds=30
        )
        await judge(shop, f"{name}.1", "Successful")
        await shop.until_done(2)

    run(story)


def test_a_run_that_the_view_lacks_is_asked_for_before_it_is_made_again() -> None:
    """T12: a run that is named in the status and absent from the cache is read from the server."""

    async def story(shop: Shop) -> None:
        await shop.apply(spec_content({"setWeight": 50}, ANALYSIS, replicas=2))
        await shop.until_done(1)
        await shop.set_version(2)
        name = f"cart-{pod_hash(2)}-2-1"
        await shop.sim.until(lambda: "currentStepAnalysisRunStatus" in shop.status.get("canary", {}), seconds=30)
        rollout = shop.informers.store(ROLLOUTS).get(CART)
        assert rollout is not None
        store = shop.informers.store(ANALYSIS_RUNS)
        stored = store.get(key(name))
        assert isinstance(stored, AnalysisRun)
        asked: list[str] = []
        original = shop.reconciler._cluster.get

        async def get(kind: Kind[Any], asked_for: ObjectKey) -> Any:
            asked.append(asked_for.name)
            return await original(kind, asked_for)

        shop.reconciler._cluster.get = get  # type: ignore[method-assign, assignment]

        class Empty:
            def get(self, asked_for: ObjectKey) -> None:
                return None

        views = shop.reconciler._views
        from dataclasses import replace

        shop.reconciler._views = replace(views, runs=Empty())  # type: ignore[arg-type]
        from fairlead.rollouts.status import parse

        await shop.reconciler._find_runs(rollout.metadata, parse(rollout.status))
        assert asked == [name]
        shop.reconciler._views = views

    run(story)


def test_an_invalid_reference_is_named_and_cured() -> None:
    async def story(shop: Shop) -> None:
        shop.planner.error = "AnalysisTemplate 't' not found"
        await shop.apply(spec_content({"setWeight": 50}, ANALYSIS, replicas=1))
        await shop.until_phase("Degraded")
        assert "AnalysisTemplate 't' not found" in shop.status["message"]
        assert "spec.strategy.canary.steps[1].analysis.templates" in shop.status["message"]
        assert not shop.sim.cluster.read_all(REPLICA_SETS, NAMESPACE)
        shop.planner.error = ""
        await shop.until_done(1)

    run(story)


def test_rollouts_of_another_instance_are_left_alone() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content(*PAIRS, replicas=1), labels={})
        await asyncio.sleep(30)
        assert shop.status == {}

    run(story, instance_id="other")


def test_runs_inherit_the_instance_id() -> None:
    async def story(shop: Shop) -> None:
        label = "argo-rollouts.argoproj.io/controller-instance-id"
        await shop.apply(spec_content({"setWeight": 50}, ANALYSIS, replicas=1), labels={label: "mine"})
        await shop.until_done(1)
        await shop.set_version(2)
        name = f"cart-{pod_hash(2)}-2-1"
        await shop.sim.until(lambda: shop.sim.cluster.read(ANALYSIS_RUNS, key(name)) is not None, seconds=30)
        assert shop.sim.read(ANALYSIS_RUNS, name)["metadata"]["labels"][label] == "mine"
        assert shop.planner.asked[-1].instance_id == "mine"

    run(story, instance_id="mine")


def test_pods_are_owned_by_replica_sets_of_the_rollout() -> None:
    async def story(shop: Shop) -> None:
        await shop.apply(spec_content(*PAIRS, replicas=2))
        await shop.until_done(1)
        owners = {pod["metadata"]["ownerReferences"][0]["name"] for pod in shop.sim.cluster.read_all(PODS, NAMESPACE)}
        assert owners == {f"cart-{pod_hash(1)}"}
        found = await shop.reconciler.explain(CART)
        assert found is not None
        assert found.blocked_on is None

    run(story)
