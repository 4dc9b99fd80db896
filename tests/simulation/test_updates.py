"""Revisions that come in the middle of others, and numbers of replicas that change (S4, S6)."""

from __future__ import annotations

import pytest

from fairlead.core.kinds import ROLLOUTS
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import WEB, Routing, analysis, pairs, rollout

ALL = list(Routing)
STEPS = pairs(20, 60)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", ALL)
def test_a_new_revision_at_every_step(routing: Routing, step: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(step)
        await world.update(3)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3")
        assert world.rollout["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "3"

    play(tale, routing=routing)


@pytest.mark.parametrize("delay", [0.0, 0.9, 1.83, 1.9, 4.5, 5.95, 6.15, 8.5, 8.6])
@pytest.mark.parametrize("routing", [Routing.BASIC, Routing.WAYPOINT])
def test_a_new_revision_at_any_moment(routing: Routing, delay: float) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.clock.sleep(delay)
        await world.update(3)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3")

    play(tale, routing=routing)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", ALL)
def test_back_to_stable_at_every_step(routing: Routing, step: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(step)
        await world.update(1)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="1")
        assert world.runs() == []

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_back_to_stable_while_the_canary_is_broken(routing: Routing) -> None:
    """Invariant 16: whatever state it is in."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, progressDeadlineSeconds=20))
        await world.update(2, never_ready="true")
        await world.until_phase("Degraded")
        await world.update(1)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="1")

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_a_broken_stable_does_not_keep_the_cure_out(routing: Routing) -> None:
    """Invariant 16: no deadlock on a bad stable revision."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.unready(1)
        await world.until(lambda: world.status.get("phase") != "Healthy")
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_there_and_back_and_elsewhere_at_once(routing: Routing) -> None:
    """A -> B -> A -> C before the controller has looked once."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        for version in (2, 1, 3):
            await world.update(version)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3")

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_there_and_back_and_elsewhere_at_length(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(3)
        await world.update(1)
        await world.until_step_end()
        await world.update(3)
        await world.until_step(1)
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_an_earlier_revision_is_an_update_like_any_other(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_done()
        await world.update(1)
        await world.until_step(1)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="1")
        assert world.rollout["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "3"

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_within_the_rollback_window_there_are_no_steps(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, rollbackWindow={"revisions": 2}))
        await world.update(2)
        await world.until_done()
        paused = world.events.count("RolloutPaused")
        await world.update(1)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="1")
        assert world.events.count("RolloutPaused") == paused

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_other_steps_begin_the_update_anew(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(3)
        steps = [{"setWeight": 30}, {"pause": {"duration": "1s"}}]
        await world.patch(ROLLOUTS, WEB, {"spec": {"strategy": {"canary": {"steps": steps}}}})
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize(("before", "after"), [(2, 5), (10, 2), (1, 4), (4, 0)])
@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("routing", [Routing.BASIC, Routing.WAYPOINT])
def test_scaling_at_every_step(routing: Routing, step: int, before: int, after: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=before))
        await world.update(2)
        await world.until_step(step)
        await world.scale(after)
        await world.until_done()
        await world.rest()
        if after:
            assert shown(world) == healthy(routing, replicas=after)
        else:
            assert world.sizes == {"1": 0, "2": 0}

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_an_autoscaler_never_rests(routing: Routing) -> None:
    """S6: 2 to 12 to 3 while the update goes on."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        for replicas in (4, 12, 7, 2, 6, 3):
            await world.clock.sleep(1.3)
            await world.scale(replicas)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=3)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_scaling_after_an_abort(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(3)
        await world.abort()
        await world.scale(5)
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing, replicas=5)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_scaling_while_a_pause_lasts(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 50}, {"pause": {}}], routing=routing))
        await world.update(2)
        await world.until_phase("Paused")
        await world.scale(6)
        await world.rest()
        assert world.status["phase"] == "Paused"
        assert world.sizes == {"1": 6 if routing.is_routed else 3, "2": 3}
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, replicas=6, steps=2)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_a_new_revision_during_an_analysis_ends_it(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 50}, {"analysis": analysis()}], routing=routing))
        await world.update(2)
        await world.until(lambda: len(world.asked) == 1)
        await world.update(3)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3", steps=2)
        first = world.runs()[0]
        assert {run["status"]["phase"] for run in world.runs()} == {"Successful"}
        assert len(world.runs()) == 2, first

    play(tale, routing=routing)
