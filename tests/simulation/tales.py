"""Tales that are told more than once: undisturbed, with a controller that dies, behind an API that fails.

A tale begins with a healthy Rollout and waits for what people would wait for, so that it takes the same course
whenever the controller is away for a moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tests.simulation.harness import World
from tests.simulation.manifests import Doc, analysis, analysis_template, pairs, rollout

BAD = 1.0
Telling = Callable[[World], Awaitable[None]]


async def happy(world: World) -> None:
    """Two weights and a promotion."""
    await world.deploy(rollout(pairs(20, 60), routing=world.routing))
    await world.begin()
    await world.update(2)
    await world.until_done()


def judged() -> list[Doc]:
    return [{"setWeight": 40}, {"analysis": analysis()}]


async def abort_by_verdict(world: World) -> None:
    """The second measurement of three is bad."""
    world.script = lambda number: BAD if number == 2 else 0.0
    await world.deploy(rollout(judged(), routing=world.routing, replicas=1))
    await world.begin()
    await world.update(2)
    await world.until_aborted()


async def abort_by_command(world: World) -> None:
    """A person aborts in the second pause, which has no end."""
    steps = [*pairs(20), {"setWeight": 60}, {"pause": {}}]
    await world.deploy(rollout(steps, routing=world.routing, replicas=1))
    await world.begin()
    await world.update(2)
    await world.until(lambda: world.status.get("currentStepIndex") == 3 and world.status.get("phase") == "Paused")
    await world.abort()
    await world.until_aborted()


async def retry(world: World) -> None:
    """The first run of an analysis is bad, the next one good."""
    world.script = lambda number: BAD
    await world.deploy(rollout(judged(), routing=world.routing, replicas=1))
    await world.begin()
    await world.update(2)
    await world.until_aborted()
    world.script = lambda number: 0.0
    await world.retry()
    await world.until_done()


async def rollback(world: World) -> None:
    """Back to the stable revision in the second pause."""
    steps = [*pairs(20), {"setWeight": 60}, {"pause": {}}]
    await world.deploy(rollout(steps, routing=world.routing))
    await world.begin()
    await world.update(2)
    await world.until(lambda: world.status.get("currentStepIndex") == 3 and world.status.get("phase") == "Paused")
    await world.update(1)
    await world.until_done()


async def newer(world: World) -> None:
    """Another version in the second pause."""
    steps = [*pairs(20), {"setWeight": 60}, {"pause": {"duration": "3s"}}]
    await world.deploy(rollout(steps, routing=world.routing))
    await world.begin()
    await world.update(2)
    await world.until(lambda: world.status.get("currentStepIndex") == 3 and world.status.get("phase") == "Paused")
    await world.update(3)
    await world.until_done()


async def background(world: World) -> None:
    """A background analysis accompanies the update."""
    world.apply(analysis_template(interval="2s", count=None))
    canary = {"analysis": {**analysis(), "startingStep": 1}}
    await world.deploy(rollout(pairs(20, 60), routing=world.routing, canary=canary))
    await world.begin()
    await world.update(2)
    await world.until_done()


TALES: Mapping[str, Telling] = {
    "happy": happy,
    "abort-by-verdict": abort_by_verdict,
    "abort-by-command": abort_by_command,
    "retry": retry,
    "rollback": rollback,
    "newer": newer,
    "background": background,
}
