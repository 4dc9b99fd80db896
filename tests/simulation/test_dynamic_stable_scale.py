"""Stable that shrinks as its traffic does, with the whole controller and a wire that follows late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.ends import healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import Routing, pairs, rollout

DYNAMIC: dict[str, Any] = {"dynamicStableScale": True}
ROUTED = [routing for routing in Routing if routing.is_routed]


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize("routing", ROUTED)
def test_a_good_version_replaces_the_old_one(routing: Routing, replicas: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(25, 50, 75), routing=routing, replicas=replicas, canary=DYNAMIC))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=replicas) | {"step": 6}

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_stable_has_shrunk_at_a_pause_and_grows_again_after_an_abort(routing: Routing) -> None:
    async def tale(world: World) -> None:
        steps: list[dict[str, Any]] = [{"setWeight": 75}, {"pause": {}}]
        await world.deploy(rollout(steps, routing=routing, replicas=4, canary=DYNAMIC))
        await world.update(2)
        await world.until_phase("Paused")
        await world.until(lambda: world.sizes == {"1": 1, "2": 3})
        await world.rest()
        await world.abort()
        await world.until_aborted()
        await world.until(lambda: world.sizes == {"1": 4, "2": 0})
        await world.rest()
        assert world.weights == (100, 0)

    play(tale, routing=routing)
