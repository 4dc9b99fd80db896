"""Others who write to our route and Services, and control planes in trouble (S7, S11)."""

from __future__ import annotations

import pytest

from fairlead.core.cluster import JsonPatch
from fairlead.core.kinds import GATEWAYS, HTTP_ROUTES, REPLICA_SETS, ROLLOUTS, SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.testing.waypoint import Behaviour
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import CANARY, HASH_LABEL, NAMESPACE, STABLE, WEB, Doc, Routing, pairs, rollout, route
from tests.simulation.story import selected

ROUTED = [Routing.WAYPOINT, Routing.GATEWAY]
STEPS = pairs(20, 60)
PAUSED: list[Doc] = [{"setWeight": 40}, {"pause": {}}]


async def edit_weights(world: World, stable: int, canary: int) -> None:
    """Write weights as a GitOps tool would that knows nothing of Rollouts."""
    found = world.cluster.read(HTTP_ROUTES, WEB)
    assert found is not None
    index = next(number for number, rule in enumerate(found["spec"]["rules"]) if len(rule["backendRefs"]) == 2)
    operations = [
        {"op": "replace", "path": f"/spec/rules/{index}/backendRefs/{place}/weight", "value": weight}
        for place, weight in ((0, stable), (1, canary))
    ]
    await world.cluster.as_manager("argocd").patch(HTTP_ROUTES, WEB, JsonPatch(operations))


@pytest.mark.parametrize("weights", [(100, 0), (0, 100), (50, 50), (7, 3)], ids=str)
@pytest.mark.parametrize("routing", ROUTED)
def test_a_foreign_edit_of_weights_is_undone(routing: Routing, weights: tuple[int, int]) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        await edit_weights(world, *weights)
        await world.until(lambda: world.weights == (60, 40), seconds=2)
        await world.rest()
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_fight_is_given_up_and_told(routing: Routing) -> None:
    """At most three times within five minutes; then the culprit is named, the step held, and an abort still works."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        for _ in range(4):
            await edit_weights(world, 100, 0)
            await world.clock.sleep(3)
        assert world.weights == (100, 0)
        routed = world.condition("TrafficRouted")
        assert routed is not None
        assert (routed["status"], routed["reason"]) == ("False", "RouteConflict")
        assert "argocd" in routed["message"]
        await world.promote()
        await world.rest(60)
        assert world.status["stableRS"] != world.status["currentPodHash"]
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "RouteConflict"
        assert "argocd" in blocker.what

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_an_abort_wins_a_fight(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        for _ in range(4):
            await edit_weights(world, 50, 50)
            await world.clock.sleep(3)
        await world.abort()
        await world.until(lambda: world.weights == (100, 0), seconds=2)
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_tool_that_reverts_everything_every_three_seconds(routing: Routing) -> None:
    """S7: no hot loop; and when the tool is stopped the update goes through."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60, seconds=20), routing=routing))
        await world.update(2)
        await world.until_step(1)
        before = len(world.writes)
        for _ in range(20):
            await edit_weights(world, 100, 0)
            await world.clock.sleep(3)
        assert len(world.writes) - before < 30
        assert world.status["stableRS"] != world.status["currentPodHash"]
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_foreign_rules_may_change_meanwhile(routing: Routing) -> None:
    if routing is Routing.WAYPOINT:
        pytest.skip("the route is wholly ours")

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        for number in range(8):
            await world.clock.sleep(1)
            path, value = "/spec/rules/0/backendRefs/0/weight", 10 + number
            change = JsonPatch([{"op": "replace", "path": path, "value": value}])
            await world.cluster.as_manager("argocd").patch(HTTP_ROUTES, WEB, change)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)
        found = world.cluster.read(HTTP_ROUTES, WEB)
        assert found is not None
        assert found["spec"]["rules"][0]["backendRefs"][0]["weight"] == 17

    play(tale, routing=routing)


@pytest.mark.parametrize("at", ["rest", "pause"])
@pytest.mark.parametrize("routing", ROUTED)
def test_the_route_is_deleted_and_comes_back(routing: Routing, at: str) -> None:
    """Ours is written again by us, the user's by the user; a new UID means a new route."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        if at == "pause":
            await world.update(2)
            await world.until_phase("Paused")
        await world.cluster.as_manager("kubectl").delete(HTTP_ROUTES, WEB)
        await world.clock.sleep(20)
        if routing is Routing.GATEWAY:
            assert world.weights is None
            world.apply(route())
        await world.until(lambda: world.weights == ((60, 40) if at == "pause" else (100, 0)))
        await world.rest()
        if at == "rest":
            await world.update(2)
            await world.until_phase("Paused")
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_acceptance_that_comes_and_goes_is_waited_for(routing: Routing) -> None:
    """S11: the Service that the route names vanishes, so the route is not accepted; and comes back."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        world.plane.behave(status_delay=25.0)
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        await world.clock.sleep(20)
        assert world.status["currentStepIndex"] == 0
        assert world.weights == (80, 20)
        world.plane.behave(status_delay=0.012)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing, behaviour=Behaviour())


def test_a_waypoint_that_vanishes_freezes_the_update() -> None:
    """R10: nothing is raised any more; an abort is carried out."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=Routing.WAYPOINT))
        await world.update(2)
        await world.until_phase("Paused")
        world.plane.behave(has_ready_waypoint=False)
        await world.clock.sleep(1)
        await world.promote()
        await world.rest(60)
        assert world.weights == (60, 40)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "PreflightRefused"
        assert "P08" in blocker.what
        await world.abort()
        await world.until(lambda: world.weights == (100, 0), seconds=2)
        world.plane.behave(has_ready_waypoint=True)
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(Routing.WAYPOINT)

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("service", [STABLE, CANARY], ids=["stable", "canary"])
@pytest.mark.parametrize("routing", ROUTED)
def test_a_foreign_edit_of_a_selector_is_undone(routing: Routing, service: ObjectKey) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        status = world.status
        wrong = status["currentPodHash"] if service is STABLE else status["stableRS"]
        await world.patch(SERVICES, service, {"spec": {"selector": {HASH_LABEL: wrong}}}, manager="argocd")
        right = status["stableRS"] if service is STABLE else status["currentPodHash"]
        await world.until(lambda: selected(world.cluster.read(SERVICES, service)) == right)
        await world.until(lambda: world.weights == (60, 40))
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", list(Routing))
def test_a_foreign_edit_of_sizes_is_undone(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing, replicas=4))
        await world.update(2)
        await world.until_phase("Paused")
        before = world.sizes
        for pod_hash in (world.status["stableRS"], world.status["currentPodHash"]):
            key = ObjectKey(NAMESPACE, f"web-{pod_hash}")
            await world.patch(REPLICA_SETS, key, {"spec": {"replicas": 1}}, manager="argocd")
        await world.until(lambda: world.sizes == before)
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=4, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_deleted_rollout_leaves_no_half_state(routing: Routing) -> None:
    """Invariant 23: Services get their selectors back; our own route goes with its owner."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        await world.cluster.as_manager("kubectl").delete(ROLLOUTS, WEB)
        await world.rest()
        for key in (STABLE, CANARY):
            assert selected(world.cluster.read(SERVICES, key)) == ""
        assert world.sizes == {}
        assert world.weights == (None if routing is Routing.WAYPOINT else (60, 40))

    play(tale, routing=routing)


def test_a_missing_gateway_is_explained() -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(PAUSED, routing=Routing.WAYPOINT))
        await world.cluster.as_manager("kubectl").delete(GATEWAYS, ObjectKey(NAMESPACE, "waypoint"))
        await world.clock.sleep(1)
        await world.update(2)
        await world.rest(60)
        assert world.weights == (100, 0)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "PreflightRefused"

    play(tale, routing=Routing.WAYPOINT)
