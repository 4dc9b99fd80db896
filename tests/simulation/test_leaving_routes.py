"""T39: a spec that does not route any more, or routes elsewhere, leaves nothing behind on the routes of before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fairlead.core.cluster import JsonPatch
from fairlead.core.kinds import HTTP_ROUTES, ROLLOUTS, SERVICES
from fairlead.core.objects import ObjectKey
from tests.simulation.blue_green import ACTIVE, PREVIEW
from tests.simulation.harness import World, play
from tests.simulation.manifests import (
    CANARY,
    IN_PROGRESS,
    NAMESPACE,
    STABLE,
    WEB,
    Doc,
    Routing,
    rollout,
    route,
    service,
)
from tests.simulation.story import read, selected, split_of

HEADER = {"setHeaderRoute": {"name": "qa", "match": [{"headerName": "x-qa", "headerValue": {"exact": "yes"}}]}}
STEPS: list[Doc] = [{"setWeight": 20}, HEADER, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]
UNROUTED: list[Doc] = [{"setWeight": 20}, {"pause": {}}]
ROUTED = [Routing.WAYPOINT, Routing.GATEWAY]


def document(routing: Routing) -> Doc:
    found = rollout(STEPS, routing=routing, replicas=5)
    block = found["spec"]["strategy"]["canary"]["trafficRouting"]
    block["managedRoutes"] = [{"name": "qa"}]
    if routing is Routing.GATEWAY:
        block["plugins"] = {
            "argoproj-labs/gatewayAPI": {
                "httpRoutes": [{"name": WEB.name, "useHeaderRoutes": True}],
                "namespace": NAMESPACE,
            }
        }
    return found


def basic() -> Doc:
    """Return a canary by numbers of pods, whose two Services have no more to say."""
    return {"canary": {"steps": UNROUTED}}


def basic_with_services() -> Doc:
    return {"canary": {"steps": UNROUTED, "stableService": STABLE.name, "canaryService": CANARY.name}}


def blue_green() -> Doc:
    return {"blueGreen": {"activeService": ACTIVE.name, "previewService": PREVIEW.name}}


async def replaced(world: World, strategy: Doc) -> None:
    """Give the Rollout another strategy; what is promised of routed canaries alone is not minded any more."""
    if "trafficRouting" not in strategy.get("canary", {}):
        world.story.routing = Routing.BASIC
    operation = {"op": "replace", "path": "/spec/strategy", "value": strategy}
    await world.cluster.as_manager("kubectl").patch(ROLLOUTS, WEB, JsonPatch([operation]))


async def in_the_middle(world: World) -> None:
    """Play an update to where a route has weight, a rule of ours, and our marks."""
    await world.deploy(document(world.routing))
    await world.update(2)
    await world.until_phase("Paused")
    found = world.cluster.read(HTTP_ROUTES, WEB)
    assert found is not None
    assert world.weights == (80, 20)
    assert "qa" in [rule.get("name") for rule in found["spec"]["rules"]]
    assert ours(found)


def ours(found: Doc) -> list[str]:
    """Return our marks on a route."""
    metadata = found["metadata"]
    marks = [key for key in metadata.get("annotations") or {} if key.startswith("fairlead.dev/")]
    return marks + [key for key in metadata.get("labels") or {} if key == IN_PROGRESS]


def _is_let_go(world: World) -> bool:
    """Whether nothing of ours is left: a route of our own is gone, that of the user is as it was."""
    found = world.cluster.read(HTTP_ROUTES, WEB)
    if world.routing is Routing.WAYPOINT:
        return found is None
    assert found is not None, "the user's route is none of ours"
    return not ours(found) and found["spec"] == _as_applied()["spec"]


def _as_applied() -> Doc:
    found = route()
    for rule in found["spec"]["rules"]:
        for one in rule["backendRefs"]:
            one |= {"group": "", "kind": "Service"}
    return found


@pytest.mark.parametrize("strategy", [basic, basic_with_services, blue_green], ids=lambda make: make.__name__)
@pytest.mark.parametrize("routing", ROUTED)
def test_t39_routes_are_let_go_in_the_middle_of_an_update(routing: Routing, strategy: Callable[[], Doc]) -> None:
    async def tale(world: World) -> None:
        await in_the_middle(world)
        world.apply(service(ACTIVE), service(PREVIEW))
        order: list[str] = []
        _note_order(world, order)
        await replaced(world, strategy())
        await world.until(lambda: _is_let_go(world))
        await world.until(lambda: "weights" not in (world.status.get("canary") or {}))
        if world.status["phase"] == "Paused":
            await world.promote()
        await world.until_done()
        await world.rest()
        assert _is_let_go(world)
        assert {version: size for version, size in world.sizes.items() if size} == {"2": 5}
        is_named = "canaryService" in strategy().get("canary", {})
        for key in (STABLE, CANARY):
            found = world.cluster.read(SERVICES, key) or {}
            is_marked = "argo-rollouts.argoproj.io/managed-by-rollouts" in (found["metadata"].get("annotations") or {})
            assert (is_marked, bool(selected(found))) == (is_named, is_named)
        if not is_named:
            assert order.index("route") < order.index("service")

    play(tale, routing=routing)


def _note_order(world: World, order: list[str]) -> None:
    """Note when a route is let go and when a Service is."""

    def committed(verb: str, resource: Any, old: Doc | None, new: Doc | None) -> None:
        kind = str(resource.kind)
        if kind == "HTTPRoute" and (new is None or (old is not None and split_of(old) != split_of(new))):
            order.append("route")
        if kind == "Service" and old is not None and new is not None and selected(old) and not selected(new):
            order.append("service")

    world.cluster.on_commit(committed)


def test_t39_an_idle_rollout_lets_go_as_well() -> None:
    async def tale(world: World) -> None:
        await world.deploy(document(Routing.GATEWAY))
        await replaced(world, basic())
        await world.until(lambda: _is_let_go(world))
        await world.rest()
        assert world.status["phase"] == "Healthy"
        assert "canary" not in world.status

    play(tale, routing=Routing.GATEWAY)


def test_t39_a_route_is_kept_until_stable_has_somebody_to_take_its_traffic() -> None:
    async def tale(world: World) -> None:
        await in_the_middle(world)
        await world.unready(1)
        await world.until(lambda: world.story.available_now(world.story.stable) == 0)
        await replaced(world, basic_with_services())
        await world.rest(30)
        assert world.weights == (80, 20)
        await world.mend(1)
        await world.until(lambda: _is_let_go(world))

    play(tale, routing=Routing.GATEWAY)


def test_t39_another_route_takes_over_and_the_former_is_let_go() -> None:
    other = ObjectKey(NAMESPACE, "web-other")

    async def tale(world: World) -> None:
        await in_the_middle(world)
        second = route()
        second["metadata"]["name"] = other.name
        world.apply(second)
        found = document(Routing.GATEWAY)["spec"]["strategy"]
        block = {"httpRoutes": [{"name": other.name, "useHeaderRoutes": True}], "namespace": NAMESPACE}
        found["canary"]["trafficRouting"]["plugins"] = {"argoproj-labs/gatewayAPI": block}
        world.story.check = None  # it looks at the former route
        await replaced(world, found)
        await world.until(lambda: _is_let_go(world))
        await world.until(lambda: split_of(world.cluster.read(HTTP_ROUTES, other)) == (80, 20))
        await world.promote()
        await world.until(lambda: world.status.get("currentStepIndex") == 4)
        await world.promote()
        await world.until_done()
        await world.rest()
        assert split_of(world.cluster.read(HTTP_ROUTES, other)) == (100, 0)
        assert read(world.status, "canary", "weights", "stable", "weight") == 100

    # Both routes have the same parent, and the proxy follows the older one: it proves nothing about the other.
    play(tale, routing=Routing.GATEWAY, has_evidence=False)


def test_t39_the_route_of_another_rollout_is_not_touched() -> None:
    async def tale(world: World) -> None:
        await in_the_middle(world)
        foreign = route(70, 30)
        foreign["metadata"] |= {
            "name": "foreign",
            "annotations": {"fairlead.dev/rollout-uid": "somebody", "fairlead.dev/rollout": "shop/else"},
        }
        world.apply(foreign)
        key = ObjectKey(NAMESPACE, "foreign")
        before = world.cluster.read(HTTP_ROUTES, key) or {}
        await replaced(world, basic())
        await world.until(lambda: _is_let_go(world))
        await world.rest()
        after = world.cluster.read(HTTP_ROUTES, key) or {}
        assert after["spec"] == before["spec"]
        assert after["metadata"]["annotations"] == foreign["metadata"]["annotations"]

    play(tale, routing=Routing.GATEWAY)
