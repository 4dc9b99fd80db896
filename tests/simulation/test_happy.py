"""Good canaries, from the first deploy to the end (S1, S2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.ends import healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import Routing, analysis, pairs, rollout

ALL = list(Routing)


@pytest.mark.parametrize("replicas", [1, 10])
@pytest.mark.parametrize("routing", ALL)
def test_first_deploy_is_stable_at_once(routing: Routing, replicas: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing, replicas=replicas))
        assert shown(world) == healthy(routing, version="1", replicas=replicas)
        assert "RolloutPaused" not in world.events  # no step of a first deploy is carried out

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_without_replicas_revisions_pass_through_empty(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing, replicas=0))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert world.sizes == {"1": 0, "2": 0}
        await world.scale(2)
        await world.until(lambda: world.sizes == {"1": 0, "2": 2} and world.status.get("availableReplicas") == 2)
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("replicas", [1, 2, 10])
@pytest.mark.parametrize("routing", ALL)
def test_a_good_version_replaces_the_old_one(routing: Routing, replicas: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing, replicas=replicas))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=replicas)

    play(tale, routing=routing)


STEPS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "weights-only": [{"setWeight": weight} for weight in (10, 40, 100)],
    "scale": [{"setCanaryScale": {"replicas": 1}}, {"setWeight": 50}, {"pause": {"duration": "1s"}}],
    "down-again": [*pairs(60, 20)],
    "analysis": [{"setWeight": 40}, {"analysis": analysis()}, {"setWeight": 80}, {"analysis": analysis()}],
    "twenty": [{"setWeight": weight} for weight in range(5, 101, 5)],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("routing", [Routing.BASIC, Routing.WAYPOINT])
def test_any_steps_lead_to_the_end(routing: Routing, name: str) -> None:
    steps = STEPS[name]
    if name == "scale" and not routing.is_routed:
        pytest.skip("setCanaryScale needs a router")

    async def tale(world: World) -> None:
        await world.deploy(rollout(steps, routing=routing, replicas=3))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=3) | {"step": len(steps) or None}

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_background_analysis_accompanies_the_update(routing: Routing) -> None:
    async def tale(world: World) -> None:
        canary = {"analysis": {**analysis(), "startingStep": 1}}
        await world.deploy(rollout(pairs(20, 60), routing=routing, canary=canary))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)
        (run,) = world.runs()
        assert run["status"]["phase"] == "Successful"

    play(tale, routing=routing)


def test_the_same_revision_again_writes_nothing() -> None:
    """Invariant 15."""

    async def tale(world: World) -> None:
        document = rollout(pairs(20, 60), routing=Routing.WAYPOINT)
        await world.deploy(document)
        before = len(world.writes)
        world.apply(document)
        await world.rest()
        await world.update(1)
        await world.rest()
        assert len(world.writes) == before

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("routing", ALL)
def test_a_fresh_controller_finds_nothing_to_do(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        before = len(world.writes)
        await world.restart(gracefully=True)
        await world.rest()
        assert len(world.writes) == before

    play(tale, routing=routing)


def test_ten_revisions_leave_a_bounded_history() -> None:
    """Invariant 58."""

    async def tale(world: World) -> None:
        document = rollout([{"setWeight": 50}], revisionHistoryLimit=3)
        await world.deploy(document)
        for version in range(2, 12):
            await world.update(version)
            await world.until_done()
        await world.rest()
        assert world.sizes == {"11": 2, "10": 0, "9": 0, "8": 0}

    play(tale)
