"""Routes that cannot carry a split: nothing is raised, the reason names the backend, and mended it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fairlead.core.cluster import JsonPatch
from fairlead.core.kinds import HTTP_ROUTES
from tests.simulation.ends import healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import CANARY, STABLE, WEB, Doc, Routing, pairs, rollout, route


def _split(document: Doc) -> Doc:
    found: Doc = document["spec"]["rules"][1]
    return found


def without_rules() -> Doc:
    document = route()
    del document["spec"]["rules"]
    return document


def without_our_backends() -> Doc:
    document = route()
    del document["spec"]["rules"][1]
    return document


def without_the_canary() -> Doc:
    document = route()
    del _split(document)["backendRefs"][1]
    return document


def with_one_twice() -> Doc:
    document = route()
    refs = _split(document)["backendRefs"]
    refs.append(dict(refs[1]))
    return document


def of_another_namespace() -> Doc:
    document = route()
    _split(document)["backendRefs"][1]["namespace"] = "elsewhere"
    return document


def apart() -> Doc:
    document = route()
    rule = _split(document)
    document["spec"]["rules"].append({**rule, "backendRefs": [rule["backendRefs"].pop(1)]})
    return document


BAD: dict[Callable[[], Doc], str] = {
    without_rules: CANARY.name,
    without_our_backends: CANARY.name,
    without_the_canary: CANARY.name,
    with_one_twice: f"names Service {CANARY.name} 2 times",
    of_another_namespace: CANARY.name,
    apart: f"in one rule with {STABLE.name}",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_route_that_cannot_carry_the_split_stops_the_update_and_says_why(make: Callable[[], Doc]) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=Routing.GATEWAY, replicas=4))
        await _replace(world, make())
        before = world.cluster.read(HTTP_ROUTES, WEB)
        assert before is not None
        await world.update(2)
        await world.until(lambda: (world.condition("TrafficRouted") or {}).get("status") == "False")
        await world.rest()
        told: dict[str, Any] = world.condition("TrafficRouted") or {}
        assert BAD[make] in told["message"]
        assert world.status["currentStepIndex"] == 0
        after = world.cluster.read(HTTP_ROUTES, WEB)
        assert after is not None
        assert after["spec"] == before["spec"]
        assert world.sizes["1"] == 4  # who serves now is left alone
        await _replace(world, route())
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(Routing.GATEWAY, replicas=4)

    play(tale, routing=Routing.GATEWAY)


async def _replace(world: World, document: Doc) -> None:
    operation = {"op": "replace", "path": "/spec", "value": document["spec"]}
    await world.cluster.as_manager("kubectl").patch(HTTP_ROUTES, WEB, JsonPatch([operation]))
