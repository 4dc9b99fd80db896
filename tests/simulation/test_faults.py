"""An API server in trouble: whatever it does, the wish is met once the trouble ends, and stays met (ESR).

A seed that failed once joins `SEEDS` for ever. To replay one: `pytest tests/simulation/test_faults.py -k SEED-`.
"""

from __future__ import annotations

from functools import cache

import pytest

from fairlead.testing.faults import ROUGH
from tests.simulation.ends import shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import Doc, Routing
from tests.simulation.tales import TALES

SEEDS = (1, 2, 3, 4)
STALENESS = 420.0  # a watch may hang for five minutes before it is given up
CASES = [
    (seed, tale, routing)
    for seed in SEEDS
    for number, tale in enumerate(TALES)
    for routing in ((Routing.BASIC, Routing.WAYPOINT)[(seed + number) % 2],)
]


@cache
def undisturbed(tale: str, routing: Routing) -> Doc:
    async def telling(world: World) -> Doc:
        await TALES[tale](world)
        await world.rest()
        return shown(world)

    return play(telling, routing=routing)


@pytest.mark.parametrize(
    ("seed", "tale", "routing"), CASES, ids=[f"{seed}-{tale}-{routing}" for seed, tale, routing in CASES]
)
def test_after_the_trouble_the_wish_is_met(seed: int, tale: str, routing: Routing) -> None:
    async def telling(world: World) -> Doc:
        await TALES[tale](world)
        assert world.faulty is not None
        assert sum(world.faulty.injected.values()) > 2, "there was no trouble"
        world.faulty.stop()
        await world.rest(400)  # longer than any watch hangs
        quiet_at = len(world.writes)
        await world.clock.sleep(1800)
        assert len(world.writes) == quiet_at, "something is written for ever"
        return shown(world)

    found = play(telling, routing=routing, seed=seed, faults=ROUGH, staleness=STALENESS)
    assert found == undisturbed(tale, routing)
