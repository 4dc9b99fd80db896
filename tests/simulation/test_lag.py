"""A wire that is behind what is stored, refuses it, or cannot be asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fairlead.core.objects import parse_rfc3339
from fairlead.testing.waypoint import Behaviour
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import CANARY, Doc, Routing, analysis, pairs, rollout
from tests.simulation.story import pause_of, started_at

ROUTED = [Routing.WAYPOINT, Routing.GATEWAY]
LATE = 10.0


def late() -> Behaviour:
    return Behaviour(lag=(LATE, LATE))


@pytest.mark.parametrize("routing", ROUTED)
def test_no_clock_starts_before_the_wire_has_followed(routing: Routing) -> None:
    """Status says "accepted" after 12 ms, the wire follows after 10 s: the pause begins when the wire has followed."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        await world.update(2)
        for weight in (20, 60):
            await world.until_weight(weight)
            written_at = world.story.split.since
            await world.until(lambda: pause_of(world.status) is not None)
            pause = pause_of(world.status)
            assert pause is not None
            followed_at = world.story.wire.since
            assert world.story.wire.now[CANARY.name] == weight
            assert followed_at - written_at >= timedelta(seconds=LATE - 0.1)
            assert started_at(pause) >= followed_at
            assert started_at(pause) <= followed_at + timedelta(seconds=2)
            await world.until(lambda: pause_of(world.status) is None)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing, behaviour=late())


@pytest.mark.parametrize("routing", ROUTED)
def test_no_measurement_before_the_wire_has_followed(routing: Routing) -> None:
    """Invariant 27: nothing is measured of traffic that does not flow yet."""

    async def tale(world: World) -> None:
        await world.deploy(rollout([{"setWeight": 50}, {"analysis": analysis()}], routing=routing))
        await world.update(2)
        await world.until(lambda: world.weights == (50, 50))
        written_at = world.clock.now()
        await world.until(lambda: bool(world.asked))
        assert world.asked[0][0] >= written_at + timedelta(seconds=LATE - 0.1)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing, behaviour=late())


@pytest.mark.parametrize("routing", ROUTED)
def test_while_the_wire_is_behind_it_is_said_so(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        await world.clock.sleep(5)
        assert world.status["currentStepIndex"] == 0
        assert world.status["canary"]["weights"]["verified"] is False
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "TrafficPending"
        assert "the data plane has not shown the weights" in blocker.what
        await world.until_done()
        await world.rest()
        assert world.status["canary"]["weights"]["verified"] is True

    play(tale, routing=routing, behaviour=late())


@pytest.mark.parametrize("routing", ROUTED)
def test_pods_stay_until_a_late_wire_has_let_go_of_them(routing: Routing) -> None:
    """T38."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        await world.update(2)
        await world.until_step(3)
        await world.abort()
        await world.until(lambda: world.weights == (100, 0))
        await world.until(lambda: CANARY.name not in world.story.wire.now)
        freed_at = world.clock.now()
        await world.until(lambda: world.sizes["2"] == 0)
        assert world.clock.now() >= freed_at + timedelta(seconds=57)
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing, behaviour=late())


@pytest.mark.parametrize("routing", ROUTED)
def test_a_refused_listener_counts_for_nothing(routing: Routing) -> None:
    """The proxy refuses what it is sent while status says "accepted": no step counts, nothing is raised any further."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        world.plane.behave(refuses=True)
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        await world.rest(120)
        assert world.weights == (80, 20)
        assert world.status["currentStepIndex"] == 0
        assert pause_of(world.status) is None
        assert CANARY.name not in world.story.wire.now
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "RouteRefused"
        assert "the proxy refuses its configuration: listener main_internal: invalid perl operator" in blocker.what
        routed = world.condition("TrafficRouted")
        assert routed is not None
        assert (routed["status"], routed["reason"]) == ("False", "ProxyRefused")
        world.plane.behave(refuses=False)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_refusal_in_the_middle_stops_the_next_step(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60, 80), routing=routing))
        await world.update(2)
        await world.until_step(1)
        world.plane.behave(refuses=True)
        await world.until(lambda: world.weights == (40, 60))
        await world.rest(120)
        assert world.weights == (40, 60)
        assert world.status["currentStepIndex"] == 2
        assert world.story.wire.now[CANARY.name] == 20
        await world.abort()
        await world.until(lambda: world.weights == (100, 0), seconds=1)
        await world.clock.sleep(120)
        assert world.sizes["2"] > 0  # the wire still sends a fifth there, whatever is stored
        world.plane.behave(refuses=False)
        await world.until_aborted()
        await world.until(lambda: world.sizes["2"] == 0)
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_waypoint_that_is_cut_off_is_waited_for(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=routing))
        world.plane.behave(is_cut_off=True)
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        await world.rest(200)
        assert (world.status["currentStepIndex"], pause_of(world.status)) == (0, None)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "TrafficPending"
        world.plane.behave(is_cut_off=False)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_without_evidence_weights_settle_and_are_not_verified(routing: Routing) -> None:
    """The settle delay of 12 s decides, and nobody is told that anything was verified."""

    async def tale(world: World) -> None:
        steps: list[Doc] = [{"setWeight": 20}, {"pause": {}}]
        await world.deploy(rollout(steps, routing=routing))
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        written_at = world.clock.now()
        await world.clock.sleep(5)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "TrafficPending"
        assert "waiting for the data plane to settle" in blocker.what
        assert blocker.at is not None
        assert timedelta(seconds=12) <= blocker.at - written_at < timedelta(seconds=12.1)
        await world.until_phase("Paused")
        pause = pause_of(world.status)
        assert pause is not None
        assert started_at(pause) >= written_at + timedelta(seconds=12)
        await world.rest()
        assert "verified" not in world.status["canary"]["weights"]
        routed = world.condition("TrafficRouted")
        assert routed is not None
        assert (routed["status"], routed["reason"]) == ("True", "Settled")
        assert routed["message"].startswith("settled, not verified")
        since = parse_rfc3339(routed["lastTransitionTime"])
        assert since is not None
        await world.promote()
        await world.until_done()
        await world.rest()
        expected = healthy(routing, steps=2)
        assert shown(world) == expected | {"conditions": expected["conditions"] | {"TrafficRouted": "True/Settled"}}

    play(tale, routing=routing, has_evidence=False)


def test_acceptance_that_never_comes_is_told() -> None:
    """After 60 s the route counts as refused, with the reason; the step is held."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=Routing.WAYPOINT))
        world.plane.behave(status_delay=1e9)
        await world.update(2)
        await world.until(lambda: world.weights == (80, 20))
        await world.clock.sleep(50)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "TrafficPending"
        await world.clock.sleep(20)
        blocker = await world.explain()
        assert blocker is not None
        assert blocker.reason == "RouteRefused"
        assert "is not accepted after 60 s" in blocker.what
        assert world.status["currentStepIndex"] == 0

    play(tale, routing=Routing.WAYPOINT)
