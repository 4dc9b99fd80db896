"""Good canaries, from the first deploy to the end."""

from __future__ import annotations

import pytest

from tests.simulation.harness import World, play
from tests.simulation.manifests import Routing, pairs, rollout


@pytest.mark.parametrize("replicas", [1, 2, 10])
@pytest.mark.parametrize("routing", list(Routing))
def test_a_good_version_replaces_the_old_one(routing: Routing, replicas: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing, replicas=replicas))
        await world.update(2)
        await world.until(lambda: world.status["currentPodHash"] != world.status["stableRS"])
        await world.until_phase("Healthy")
        await world.rest()
        assert world.sizes == {"1": 0, "2": replicas}
        assert world.weights == ((100, 0) if routing.is_routed else None)

    play(tale, routing=routing)
