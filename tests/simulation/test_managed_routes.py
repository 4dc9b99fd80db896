"""Requests with a header reach the canary at weight 0, with the whole controller and a wire that follows late."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.kinds import HTTP_ROUTES
from tests.simulation.harness import World, play
from tests.simulation.manifests import WEB, Routing, rollout

HEADER = {"setHeaderRoute": {"name": "qa", "match": [{"headerName": "x-qa", "headerValue": {"exact": "yes"}}]}}
STEPS: list[dict[str, Any]] = [{"setCanaryScale": {"replicas": 1}}, HEADER, {"pause": {}}, {"setWeight": 50}]


def document(routing: Routing) -> dict[str, Any]:
    found = rollout(STEPS, routing=routing, replicas=2)
    found["spec"]["strategy"]["canary"]["trafficRouting"]["managedRoutes"] = [{"name": "qa"}]
    return found


def rules(world: World) -> list[str]:
    found = world.cluster.read(HTTP_ROUTES, WEB)
    assert found is not None
    return [rule.get("name", "") for rule in found["spec"]["rules"]]


@pytest.mark.parametrize("is_aborted", [False, True], ids=["promoted", "aborted"])
def test_a_rule_comes_and_goes(is_aborted: bool) -> None:
    routing = Routing.WAYPOINT

    async def tale(world: World) -> None:
        await world.deploy(document(routing))
        assert "qa" not in rules(world)
        await world.update(2)
        await world.until_phase("Paused")
        assert rules(world).count("qa") == 1
        if is_aborted:
            await world.abort()
            await world.until_aborted()
            await world.until(lambda: world.sizes == {"1": 2, "2": 0})
        else:
            await world.promote()
            await world.until_done()
        await world.rest()
        assert "qa" not in rules(world)

    play(tale, routing=routing)
