"""Pods that die, or that never become ready (S5)."""

from __future__ import annotations

import pytest

from fairlead.core.kinds import PODS
from fairlead.core.objects import ObjectKey
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import NAMESPACE, Routing, pairs, rollout

ALL = list(Routing)
STEPS = pairs(20, 60)


async def kill(world: World, version: int, count: int | None = None) -> None:
    for pod in world.pods(version)[:count]:
        key = ObjectKey(NAMESPACE, pod["metadata"]["name"])
        await world.cluster.as_manager("kubectl").delete(PODS, key, grace_period_seconds=0)


@pytest.mark.parametrize("routing", ALL)
def test_pods_that_never_become_ready_get_no_traffic(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2, never_ready="true")
        await world.clock.sleep(300)
        assert world.status["phase"] == "Progressing"
        assert world.status["currentStepIndex"] == 0
        assert world.weights == ((100, 0) if routing.is_routed else None)
        assert world.story.available_now(world.status["stableRS"]) == 2
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "CanaryPods"
        assert blocker.what.startswith("0 of 1 pods")

    play(tale, routing=routing)


@pytest.mark.parametrize("version", [1, 2, None], ids=["stable", "canary", "both"])
@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("routing", [Routing.BASIC, Routing.WAYPOINT])
def test_pods_die_at_every_step(routing: Routing, step: int, version: int | None) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=4))
        await world.update(2)
        await world.until_step(step)
        for one in (1, 2):
            if version in (one, None):
                await kill(world, one)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=4)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", [Routing.WAYPOINT, Routing.GATEWAY])
def test_a_canary_without_pods_loses_its_weight(routing: Routing) -> None:
    """R8; and it gets it back when pods are there again."""

    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 50}, {"pause": {}}], routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        world.break_new_pods(2)
        await kill(world, 2)
        await world.until(lambda: world.weights == (100, 0), seconds=1)
        await world.rest()
        assert world.weights == (100, 0)
        world.break_new_pods(0)
        await world.mend(2)
        await world.until(lambda: world.weights == (50, 50))
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", [Routing.WAYPOINT, Routing.GATEWAY])
def test_nobody_is_ready_nothing_is_touched(routing: Routing) -> None:
    """R9: neither side can answer, so weights stay as they are."""

    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 50}, {"pause": {}}], routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        await world.unready(1)
        await world.rest()
        assert world.weights == (50, 50)
        await world.unready(2)
        await world.rest()
        assert world.weights == (50, 50)
        blocker = await world.explain()
        assert blocker is not None
        await world.mend(1)
        await world.mend(2)
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_after_the_promotion_the_new_version_loses_its_pods(routing: Routing) -> None:
    """Invariant 17: the former stable revision is not deleted while it is the only one with pods."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step_end()
        await kill(world, 2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_an_abort_while_stable_is_crippled(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=4))
        await world.update(2)
        await world.until_step(3)
        await world.unready(1, 3)
        await world.abort()
        await world.until_aborted()
        await world.clock.sleep(120)
        if routing.is_routed:
            assert world.weights == (100, 0)
            assert world.sizes["2"] > 0  # stable is not whole: the canary keeps its pods
        await world.mend(1)
        await world.until(lambda: world.sizes["2"] == 0)
        await world.rest()
        assert shown(world) == aborted(routing, replicas=4)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_a_crashing_version_is_given_up_for_a_good_one(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, progressDeadlineSeconds=60))
        await world.update("crash")
        await world.until_phase("Degraded")
        await world.update("does-not-exist")
        await world.until(lambda: world.status["phase"] == "Progressing")
        await world.until_phase("Degraded")
        await world.update(4)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="4")

    play(tale, routing=routing)
