"""A pair of Services that take turns at being stable: no selector of a Service with traffic ever changes."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.kinds import HTTP_ROUTES, SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.testing.faults import Faults
from tests.simulation.harness import World, play, version_of
from tests.simulation.invariants import check
from tests.simulation.manifests import (
    CANARY,
    NAMESPACE,
    STABLE,
    WEB,
    Doc,
    Routing,
    pairs,
    pod_template,
    rollout,
    route,
    service,
)
from tests.simulation.story import read, selected

PING, PONG = ObjectKey(NAMESPACE, "web-ping"), ObjectKey(NAMESPACE, "web-pong")
UNTIMED: list[Doc] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]
ROUTED = [Routing.WAYPOINT, Routing.GATEWAY]
MARK = "rollouts.argoproj.io/gatewayapi-canary"


def document(routing: Routing, steps: list[Doc] | None = None, **canary: Any) -> Doc:
    found = rollout(UNTIMED if steps is None else steps, routing=routing, replicas=5)
    strategy = found["spec"]["strategy"]["canary"]
    del strategy["stableService"], strategy["canaryService"]
    strategy |= {"pingPong": {"pingService": PING.name, "pongService": PONG.name}, **canary}
    return found


def weights(world: World) -> dict[str, int]:
    """Return the weights of the pair in the stored route."""
    found = world.cluster.read(HTTP_ROUTES, WEB) or {}
    for rule in read(found, "spec", "rules") or ():
        split = {one["name"]: one["weight"] for one in rule["backendRefs"]}
        if split.keys() == {PING.name, PONG.name}:
            return split
    return {}


def versions(world: World) -> dict[str, str]:
    """Return which version each of the pair selects."""
    known = {pod_hash: version_of(found) for pod_hash, found in world.story.replica_sets.items()}
    return {key.name: known.get(selected(world.cluster.read(SERVICES, key)), "") for key in (PING, PONG)}


def turn(world: World) -> str:
    return str(read(world.status, "canary", "stablePingPong") or "")


async def deploy(world: World, found: Doc) -> None:
    """Apply everything, mind the promises at every commit, and wait until version 1 is healthy."""
    _watch(world)
    for key in (STABLE, CANARY):
        await world.cluster.delete(SERVICES, key)
    world.apply(service(PING), service(PONG))
    if world.routing is Routing.GATEWAY:
        shared = route()
        for rule in shared["spec"]["rules"]:
            for one in rule["backendRefs"]:
                one["name"] = one["name"].replace("stable", "ping").replace("canary", "pong")
        world.apply(shared)
    await world.deploy(found)


def _watch(world: World) -> None:
    def committed(verb: str, resource: Any, old: Doc | None, new: Doc | None) -> None:
        kind, name = str(resource.kind), str((new or old or {})["metadata"]["name"])
        if kind == "Service" and name in (PING.name, PONG.name) and old is not None and new is not None:
            before, after = selected(old), selected(new)
            if before and after != before and weights(world).get(name):
                world.story.broken.append(f"{name} has weight and is led from {before} to {after}")
        if kind == "HTTPRoute":
            _check_route(world)

    world.cluster.on_commit(committed)
    # Of the split they know two fixed names; here two others change places.
    world.story.check = lambda story, commit: (
        one for one in check(story, commit) if not one.startswith(("20 ", "19 foreign"))
    )


def _check_route(world: World) -> None:
    for name, weight in weights(world).items():
        pod_hash = selected(world.cluster.read(SERVICES, ObjectKey(NAMESPACE, name)))
        if weight and pod_hash and world.story.available(pod_hash) < 1:
            world.story.broken.append(f"{name} has weight {weight}, and no pod of {pod_hash} is available")


@pytest.mark.parametrize("routing", ROUTED)
def test_each_promotion_is_a_change_of_places(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(routing))
        assert (turn(world), versions(world)) == ("ping", {PING.name: "1", PONG.name: "1"})
        assert weights(world) == {PING.name: 100, PONG.name: 0}

        await world.update(2)
        await world.until_phase("Paused")
        assert (turn(world), versions(world)) == ("ping", {PING.name: "1", PONG.name: "2"})
        assert weights(world) == {PING.name: 80, PONG.name: 20}
        stored = read(world.status, "canary", "weights")
        assert (stored["stable"]["serviceName"], stored["canary"]["serviceName"]) == (PING.name, PONG.name)

        await world.promote()
        await world.until_done()
        await world.rest()
        assert (turn(world), versions(world)) == ("pong", {PING.name: "2", PONG.name: "2"})
        assert weights(world) == {PING.name: 0, PONG.name: 100}
        stored = read(world.status, "canary", "weights")
        assert (stored["stable"]["serviceName"], stored["stable"]["weight"]) == (PONG.name, 100)
        assert world.sizes == {"1": 0, "2": 5}
        labels = read(world.cluster.read(HTTP_ROUTES, WEB) or {}, "metadata", "labels") or {}
        assert MARK not in labels

        await world.update(3)
        await world.until_phase("Paused")
        assert versions(world) == {PING.name: "3", PONG.name: "2"}
        assert weights(world) == {PING.name: 20, PONG.name: 80}
        await world.promote(full=True)
        await world.until_done()
        await world.rest()
        assert (turn(world), versions(world)) == ("ping", {PING.name: "3", PONG.name: "3"})
        assert weights(world) == {PING.name: 100, PONG.name: 0}

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ROUTED)
def test_an_abort_changes_no_places_and_a_retry_goes_on(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(routing))
        await world.update(2)
        await world.until_phase("Paused")
        await world.abort()
        await world.until_aborted()
        await world.rest()
        assert (turn(world), weights(world)) == ("ping", {PING.name: 100, PONG.name: 0})
        assert world.sizes == {"1": 5, "2": 0}
        await world.retry()
        await world.until_phase("Paused")
        assert weights(world) == {PING.name: 80, PONG.name: 20}
        await world.promote()
        await world.until_done()
        await world.rest()
        assert (turn(world), weights(world)) == ("pong", {PING.name: 0, PONG.name: 100})

    play(tale, routing=routing)


def test_going_back_to_stable_changes_no_places() -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT))
        await world.update(2)
        await world.until_phase("Paused")
        await world.update(1)
        await world.until_done()
        await world.rest()
        assert (turn(world), weights(world)) == ("ping", {PING.name: 100, PONG.name: 0})
        assert versions(world) == {PING.name: "1", PONG.name: "1"}

    play(tale, routing=Routing.WAYPOINT)


def test_a_newer_revision_takes_the_turn_of_the_one_it_overtakes() -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT))
        await world.update(2)
        await world.until_phase("Paused")
        await world.update(3)
        await world.until(lambda: versions(world)[PONG.name] == "3" and weights(world)[PONG.name] == 20)
        await world.until_phase("Paused")
        await world.promote()
        await world.until_done()
        await world.rest()
        assert (turn(world), versions(world)) == ("pong", {PING.name: "3", PONG.name: "3"})

    play(tale, routing=Routing.WAYPOINT)


def test_without_steps_the_route_moves_after_the_change_of_places() -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT, []))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert (turn(world), weights(world)) == ("pong", {PING.name: 0, PONG.name: 100})
        assert versions(world) == {PING.name: "2", PONG.name: "2"}

    play(tale, routing=Routing.WAYPOINT)


def test_a_stable_that_shrinks_with_its_traffic_takes_turns_too() -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT, pairs(20, 60), dynamicStableScale=True))
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert (turn(world), weights(world)) == ("pong", {PING.name: 0, PONG.name: 100})
        assert world.sizes == {"1": 0, "2": 5}

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("seed", range(6))
def test_faults_and_deaths_change_nothing_in_the_end(seed: int) -> None:
    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT, pairs(20, 60)))
        await world.update(2)
        for _ in range(3):
            writes = len(world.writes)
            await world.until(lambda: len(world.writes) > writes + seed % 3)  # noqa: B023  # awaited at once
            await world.restart()
        await world.until_done()
        await world.rest()
        assert (turn(world), weights(world)) == ("pong", {PING.name: 0, PONG.name: 100})
        assert versions(world) == {PING.name: "2", PONG.name: "2"}
        assert world.sizes == {"1": 0, "2": 5}

    play(tale, routing=Routing.WAYPOINT, seed=seed, faults=Faults() if seed % 2 else None)


def test_a_handed_over_rollout_keeps_its_turn() -> None:
    """What another controller left behind says whose turn it is."""

    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT))
        await world.update(2)
        await world.until_phase("Paused")
        await world.promote()
        await world.until_done()
        await world.rest()
        before, written = turn(world), len(world.writes)
        await world.restart()
        await world.rest()
        assert (before, turn(world)) == ("pong", "pong")
        assert len(world.writes) == written

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("other", ["stableService", "canaryService"])
def test_two_pairs_are_refused(other: str) -> None:
    async def tale(world: World) -> None:
        world.apply(service(PING), service(PONG))
        found = document(Routing.WAYPOINT)
        found["spec"]["strategy"]["canary"][other] = STABLE.name
        world.apply(found)
        world.start()
        await world.until_phase("Degraded")
        assert "spec.strategy.canary.pingPong: Forbidden: found beside stableService" in world.status["message"]
        assert world.sizes == {}

    play(tale, routing=Routing.WAYPOINT)


def test_without_a_router_they_take_turns_all_the_same() -> None:
    async def tale(world: World) -> None:
        world.apply(service(PING), service(PONG))
        found = rollout(UNTIMED, replicas=5)
        pair = {"pingService": PING.name, "pongService": PONG.name}
        found["spec"]["strategy"]["canary"]["pingPong"] = pair
        await world.deploy(found)
        await world.update(2)
        await world.until_phase("Paused")
        assert (turn(world), versions(world)) == ("ping", {PING.name: "1", PONG.name: "2"})
        await world.promote()
        await world.until_done()
        await world.rest()
        assert (turn(world), versions(world)) == ("pong", {PING.name: "2", PONG.name: "2"})

    play(tale)


def test_the_template_is_that_of_the_stable_version() -> None:
    """The whole of it again, as a user would look: which pods answer behind the Service that has all the weight."""

    async def tale(world: World) -> None:
        await deploy(world, document(Routing.WAYPOINT, pairs(50)))
        for version in (2, 3, 4):
            await world.update(version)
            await world.until_done()
            await world.rest()
            ((name, _),) = [one for one in weights(world).items() if one[1] == 100]
            assert versions(world)[name] == str(version)
            assert world.rollout["spec"]["template"] == pod_template(version)

    play(tale, routing=Routing.WAYPOINT)
