from __future__ import annotations

import asyncio

import pytest

from fairlead.core.kinds import PODS
from fairlead.testing.monkey import Monkey, Trick
from tests.testing.worlds import NAMESPACE, REPLICA_SETS, SimWorld, play, replica_set


def ready(world: SimWorld, count: int) -> bool:
    status = world.read(REPLICA_SETS, "web").get("status", {})
    return (status.get("replicas"), status.get("readyReplicas")) == (count, count)


def names(world: SimWorld) -> set[str]:
    return {found["metadata"]["name"] for found in world.pods()}


@pytest.mark.parametrize("trick", [Trick.DELETE, Trick.KILL, Trick.EVICT])
def test_pod_that_the_monkey_takes_is_replaced(trick: Trick) -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(3))
        await world.until(lambda: ready(world, 3))
        before = names(world)
        played = await Monkey(world.cluster, world.clock, tricks=[trick]).play()
        assert played is not None
        name = played[1].name
        assert (played[0], name in before) == (trick, True)
        await world.until(lambda: name not in names(world) and ready(world, 3))
        assert before - names(world) == {name}

    play(story)


def test_unready_pod_recovers_when_it_is_told_to() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(3))
        await world.until(lambda: ready(world, 3))
        monkey = Monkey(world.cluster, world.clock, tricks=[Trick.UNREADY], unready_seconds=30)
        await monkey.play()
        await world.until(lambda: world.read(REPLICA_SETS, "web")["status"]["readyReplicas"] == 2)
        await monkey.recover(due_only=True)  # too early
        await world.clock.sleep(20)
        assert not ready(world, 3)
        await monkey.recover()
        await world.until(lambda: ready(world, 3), seconds=5)

    play(story)


def test_wish_is_met_again_after_the_monkey_and_its_seed_repeats_it() -> None:
    async def story(world: SimWorld) -> list[tuple[float, str, str]]:
        await world.create(REPLICA_SETS, replica_set(4))
        monkey = Monkey(world.cluster, world.clock, seed=3, mean_seconds=2, unready_seconds=5)
        task = asyncio.create_task(monkey.run())
        await world.clock.sleep(120)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await monkey.recover()
        await world.until(lambda: ready(world, 4) and len(names(world)) == 4)
        return [(at, verb, (new or old or {})["metadata"]["name"]) for at, verb, _, old, new in world.history]

    first = play(story)
    assert first == play(story)
    assert len({name for _, verb, name in first if verb == "delete"}) > 10


def test_empty_cluster_gives_the_monkey_nothing_to_do() -> None:
    async def story(world: SimWorld) -> None:
        assert await Monkey(world.cluster, world.clock, namespace=NAMESPACE).play() is None
        assert world.cluster.read_all(PODS) == []

    play(story)
