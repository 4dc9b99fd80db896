"""What people ask for, one thing at a time and several at once (S3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fairlead.core.kinds import ROLLOUTS
from fairlead.rollouts import commands
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import WEB, Doc, Routing, analysis, pairs, rollout

ALL = list(Routing)
BOTH = [Routing.BASIC, Routing.WAYPOINT]
STEPS = pairs(20, 60)
UNTIMED: list[Doc] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]


@pytest.mark.parametrize("routing", ALL)
def test_promote_ends_a_pause(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(UNTIMED, routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        await world.rest()
        assert world.status["currentStepIndex"] == 1
        await world.promote()
        await world.until_step(3)
        await world.rest()
        assert (world.status["phase"], world.status["currentStepIndex"]) == ("Paused", 3)
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_promote_skips_the_step_that_runs(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 20}, {"analysis": analysis()}, {"setWeight": 60}], routing=routing))
        await world.update(2)
        await world.until(lambda: len(world.asked) == 1)
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=3)

    play(tale, routing=routing)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", BOTH)
def test_promote_full_at_every_step(routing: Routing, step: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=4))
        await world.update(2)
        await world.until_step(step)
        await world.promote(full=True)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=4)
        assert "promoteFull" not in world.status

    play(tale, routing=routing)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", BOTH)
def test_pause_by_hand_at_every_step(routing: Routing, step: int) -> None:
    """T23."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=4))
        await world.update(2)
        await world.until_step(step)
        await world.command(*commands.pause())
        await world.until_phase("Paused")
        await world.rest()
        assert world.status["phase"] == "Paused"
        where = (world.sizes, world.weights)
        await world.scale(6)  # must wait, too
        await world.rest()
        assert (world.sizes, world.weights) == where
        await world.patch(ROLLOUTS, WEB, {"spec": {"paused": False}})
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=6)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_abort_is_heard_while_paused_by_hand(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(3)
        await world.command(*commands.pause())
        await world.rest()
        await world.abort()
        await world.until(lambda: bool(world.status.get("abortedAt")))
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


Act = Callable[[World], Awaitable[None]]
ACTS: dict[str, Act] = {
    "abort": lambda world: world.abort(),
    "full": lambda world: world.command(*commands.promote(world.rollout, full=True)),
    "promote": lambda world: world.promote(),
    "pause": lambda world: world.command(*commands.pause()),
    "version": lambda world: world.update(3),
    "scale": lambda world: world.scale(5),
}
PAIRS = [
    ("abort", "full"),
    ("abort", "promote"),
    ("abort", "pause"),
    ("abort", "version"),
    ("abort", "scale"),
    ("full", "promote"),
    ("full", "version"),
    ("pause", "version"),
    ("scale", "version"),
    ("full", "scale"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
@pytest.mark.parametrize("routing", BOTH)
def test_two_commands_at_once_mean_the_same_in_either_order(routing: Routing, one: str, other: str) -> None:
    """Invariant 26. Both are given before the controller looks; `promote` reads, so it sees the one before it."""

    def end(first: str, second: str) -> object:
        async def tale(world: World) -> object:
            await world.deploy(rollout(UNTIMED, routing=routing))
            await world.update(2)
            await world.until_phase("Paused")
            await world.stop()
            await ACTS[first](world)
            await ACTS[second](world)
            world.start()
            await world.rest(120)
            return shown(world)

        return play(tale, routing=routing)

    assert end(one, other) == end(other, one)


@pytest.mark.parametrize("routing", ALL)
def test_restart_replaces_every_pod(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=3))
        before = {pod["metadata"]["name"] for pod in world.pods(1)}
        await world.command(*commands.restart(world.clock.now()))
        await world.until(lambda: world.status.get("restartedAt") is not None)
        await world.rest()
        after = {pod["metadata"]["name"] for pod in world.pods(1)}
        assert len(after) == 3
        assert not before & after
        assert shown(world) == healthy(routing, version="1", replicas=3)

    play(tale, routing=routing)
