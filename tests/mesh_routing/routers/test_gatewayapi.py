from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.errors import Conflict, Invalid, NotFound, ProviderError, Unavailable
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import Held, TrafficRouter, TrafficSeen, TrafficTarget, Weights
from fairlead.mesh_routing._httproute import CLAIM, CLAIM_NAME
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from fairlead.mesh_routing.spec import IN_PROGRESS_KEY, RoutingSettings
from tests.mesh_routing.builders import (
    SERVICES,
    T0,
    World,
    backend,
    http_route,
    parent,
    seconds,
    service,
    split,
    status,
    target,
)

WEB, API = ObjectKey("shop", "web"), ObjectKey("shop", "api")
TWENTY, FIFTY, ABORT = Weights.of_canary(20), Weights.of_canary(50), Weights.of_canary(0)
BOTH = {"httpRoutes": [{"name": "web"}, {"name": "api"}]}


class Bench:
    """One factory in a world, and shortcuts to it."""

    def __init__(self, world: World, of: TrafficTarget | None = None, settings: RoutingSettings | None = None) -> None:
        self.world = world
        self.target = of or target()
        self.factory = GatewayApiRouting(world.tools, settings)

    @property
    def router(self) -> TrafficRouter:
        return self.factory.router(self.target)

    def see(self) -> TrafficSeen:
        return self.router.observe(self.world.clock.now())

    def after(self, time: float) -> TrafficSeen:
        self.world.clock.advance(time)
        return self.see()


def test_a_fresh_route_settles_and_is_then_held() -> None:
    bench = Bench(World(http_route(split(80, 20))))
    seen = bench.see()
    assert (seen.weights, seen.held, seen.settled_at, seen.wake_at) == (
        TWENTY,
        Held.ACCEPTED,
        T0 + seconds(12),
        T0 + seconds(12),
    )
    assert bench.after(11.9).held is Held.ACCEPTED
    seen = bench.after(0.1)
    assert (seen.held, seen.message, seen.holds) == (Held.SETTLED, "settled, not verified", True)


async def test_a_write_starts_over_until_accepted_and_settled() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    bench.see()
    world.clock.advance(60)
    assert bench.see().holds
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert world.cluster.weights(WEB) == [80, 20]
    assert (bench.see().weights, bench.see().held) == (TWENTY, Held.STORED)
    world.clock.advance(3)
    world.cluster.accept(WEB)
    assert bench.see().held is Held.ACCEPTED
    assert bench.after(11.9).held is Held.ACCEPTED  # the delay counts from acceptance, not from the write
    assert bench.after(0.1).held is Held.SETTLED


async def test_a_write_is_one_patch_and_the_same_again_is_none() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert not await bench.router.set_weights(TWENTY, in_progress=True)
    assert len(world.cluster.patches) == 1
    stored = world.cluster.stored[WEB].metadata
    assert stored.labels == {IN_PROGRESS_KEY: "in-progress"}
    assert stored.annotations == {CLAIM: "rollout-1", CLAIM_NAME: "shop/web"}


async def test_abort_is_one_write() -> None:
    world = World(http_route(split(80, 20), split(80, 20), labels={IN_PROGRESS_KEY: "in-progress"}))
    assert await Bench(world).router.set_weights(ABORT, in_progress=False)
    assert (world.cluster.weights(WEB, 0), world.cluster.weights(WEB, 1)) == ([100, 0], [100, 0])
    assert len(world.cluster.patches) == 1
    assert world.cluster.stored[WEB].metadata.labels == {}


@pytest.mark.parametrize(
    ("services", "routes", "config", "reason", "blocked"),
    [
        pytest.param(
            SERVICES, (), {"httpRoute": "web"}, "RouteNotFound", "HTTPRoute shop/web not found", id="no-route"
        ),
        pytest.param(
            SERVICES, (), {"grpcRoute": "web"}, "RouteKindNotServed", "GRPCRoute v1 is not served", id="kind-not-served"
        ),
        pytest.param(
            SERVICES,
            (),
            {"httpRouteSelector": {"matchLabels": {"a": "b"}}},
            "RouteNotFound",
            "no HTTPRoute with a=b in namespace shop",
            id="selector-finds-nothing",
        ),
        pytest.param(
            SERVICES[:2],
            (http_route(),),
            {"httpRoute": "web"},
            "RouteSettling",
            "Service shop/web-canary not found",
            id="no-canary-service",
        ),
        pytest.param(
            SERVICES,
            (http_route({"backendRefs": [backend("web-stable")]}),),
            {"httpRoute": "web"},
            "BackendNotFound",
            "backendRef web-canary not found in HTTPRoute web",
            id="no-backend",
        ),
        pytest.param(
            SERVICES,
            (http_route(annotations={CLAIM: "rollout-9", CLAIM_NAME: "shop/other"}),),
            {"httpRoute": "web"},
            "RouteClaimed",
            "claimed by Rollout shop/other",
            id="claimed",
        ),
        pytest.param(
            SERVICES,
            (http_route(statuses=[status(1, resolved="False", reason="BackendNotFound", message="no web-canary")]),),
            {"httpRoute": "web"},
            "RefsNotResolved",
            "no web-canary",
            id="refs-not-resolved",
        ),
    ],
)
def test_what_keeps_weights_from_being_raised(
    services: Any, routes: Any, config: dict[str, Any], reason: str, blocked: str
) -> None:
    seen = Bench(World(*routes, services=services), target(config)).see()
    assert (seen.reason, seen.holds) == (reason, False)
    assert blocked in seen.blocked


async def test_writes_that_cannot_work_say_why() -> None:
    with pytest.raises(ProviderError, match="HTTPRoute shop/web not found"):
        await Bench(World()).router.set_weights(TWENTY, in_progress=True)
    with pytest.raises(ProviderError, match="no HTTPRoute with a=b"):
        config = {"httpRouteSelector": {"matchLabels": {"a": "b"}}}
        await Bench(World(), target(config)).router.set_weights(TWENTY, in_progress=True)
    claimed = World(http_route(annotations={CLAIM: "rollout-9", CLAIM_NAME: "shop/other"}))
    with pytest.raises(ProviderError, match="claimed by Rollout shop/other"):
        await Bench(claimed).router.set_weights(TWENTY, in_progress=True)
    assert claimed.cluster.patches == []


async def test_a_route_that_nobody_accepts_is_refused_after_a_minute() -> None:
    bench = Bench(World(http_route(split(80, 20), accepted=False)))
    assert bench.see().held is Held.STORED
    assert bench.see().wake_at == T0 + seconds(60)
    seen = bench.after(60)
    assert (seen.held, seen.reason) == (Held.REFUSED, "RouteNotAccepted")
    assert "no status by any controller" in seen.blocked
    bench.world.cluster.accept(WEB)
    assert bench.see().held is Held.ACCEPTED


async def test_conflicts_are_computed_anew_from_the_newest_route() -> None:
    world = World(http_route(split(100, 0)))
    world.cluster.is_frozen = True  # the cache does not see the foreign write
    writes = iter((1, 2))

    def meanwhile() -> None:
        if (number := next(writes, None)) is not None:
            world.cluster.edit(WEB, lambda content: content["spec"].update(hostnames=[f"h{number}"]))
            world.clock.advance(2)  # let the jittered wait pass

    world.cluster.before_patch = meanwhile
    bench = Bench(world)
    waking = bench.router.set_weights(TWENTY, in_progress=True)
    assert await _with_time(world, waking)
    assert world.cluster.weights(WEB) == [80, 20]
    assert world.cluster.stored[WEB].content["spec"]["hostnames"] == ["h2"]
    assert len(world.cluster.patches) == 3


async def test_conflicts_without_end_fail_after_five_more_attempts() -> None:
    world = World(http_route(split(100, 0)))
    count = iter(range(100))
    world.cluster.before_patch = lambda: world.cluster.edit(
        WEB, lambda content: content["spec"].update(hostnames=[f"h{next(count)}"])
    )
    with pytest.raises((Invalid, Conflict)):
        await _with_time(world, Bench(world).router.set_weights(TWENTY, in_progress=True))
    assert len(world.cluster.patches) == 6


async def test_a_refusal_without_a_foreign_write_is_not_tried_again() -> None:
    world = World(http_route(split(100, 0)))

    def refuse() -> None:
        raise Invalid("spec.rules: denied by policy", status=422)

    world.cluster.before_patch = refuse
    with pytest.raises(Invalid, match="denied by policy"):
        await _with_time(world, Bench(world).router.set_weights(TWENTY, in_progress=True))
    assert len(world.cluster.patches) == 1


async def test_a_route_deleted_during_the_write() -> None:
    world = World(http_route(split(100, 0)))
    world.cluster.stored.clear()
    with pytest.raises(NotFound):
        await Bench(world).router.set_weights(TWENTY, in_progress=True)


async def test_after_our_write_a_lagging_cache_is_not_taken_for_a_foreign_edit() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    world.cluster.is_frozen = True
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    seen = bench.see()
    assert (seen.weights, seen.held) == (TWENTY, Held.STORED)


async def test_a_write_whose_answer_is_lost_is_ours_nevertheless() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    assert await bench.router.set_weights(TWENTY, in_progress=True)

    def lose() -> None:
        raise Unavailable("the connection broke")

    world.cluster.after_patch = lose
    with pytest.raises(Unavailable):
        await bench.router.set_weights(FIFTY, in_progress=True)
    seen = bench.see()
    assert (seen.weights, seen.held, seen.reason) == (FIFTY, Held.STORED, "RoutePending")


async def test_a_write_that_failed_does_not_make_a_foreign_edit_ours() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    assert await bench.router.set_weights(TWENTY, in_progress=True)

    def refuse() -> None:
        raise Unavailable("nobody is there")

    world.cluster.before_patch = refuse
    with pytest.raises(Unavailable):
        await bench.router.set_weights(FIFTY, in_progress=True)
    world.cluster.edit(WEB, lambda content: content["spec"]["rules"][0]["backendRefs"][1].update(weight=50))
    seen = bench.see()
    assert (seen.held, seen.reason) == (Held.NOT_STORED, "WeightsChanged")


async def test_what_somebody_else_wrote_in_our_place_is_taken_over() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    world.cluster.edit(
        WEB, lambda content: content["spec"]["rules"][0].update(backendRefs=split(50, 50)["backendRefs"])
    )
    assert bench.see().held is Held.NOT_STORED
    assert not await bench.router.set_weights(FIFTY, in_progress=True)
    assert world.woken == [bench.target.rollout]
    seen = bench.see()
    assert (seen.weights, seen.held) == (FIFTY, Held.STORED)


async def test_foreign_edits_are_healed_three_times_and_then_reported() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)

    async def step() -> TrafficSeen:
        """What the rollout does: look, and write when the weights differ."""
        seen = bench.see()
        if seen.weights != TWENTY:
            await bench.router.set_weights(TWENTY, in_progress=True)
        return seen

    def tamper() -> None:
        world.cluster.edit(WEB, lambda content: content["spec"]["rules"][0]["backendRefs"][1].update(weight=50))

    await step()
    for _ in range(3):
        world.clock.advance(10)
        tamper()
        seen = await step()
        assert (seen.held, seen.reason) == (Held.NOT_STORED, "WeightsChanged")
        assert world.cluster.weights(WEB) == [80, 20]
    world.clock.advance(10)
    tamper()
    seen = await step()
    assert (seen.held, seen.reason) == (Held.CONFLICT, "RouteConflict")
    assert "kubectl-edit changed our weights (canary 20, stable 80) to canary 50, stable 80" in seen.message
    assert seen.blocked == seen.message
    assert seen.wake_at == T0 + seconds(10) + seconds(300)
    assert world.cluster.weights(WEB) == [80, 50]  # not fought over

    # An abort is a new wish: it is written at once.
    assert await bench.router.set_weights(ABORT, in_progress=False)
    assert world.cluster.weights(WEB) == [100, 0]


async def test_healing_goes_on_when_the_window_has_passed() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    await bench.router.set_weights(TWENTY, in_progress=True)
    for number in range(5):
        world.clock.advance(151)
        world.cluster.edit(WEB, lambda content: content["spec"]["rules"][0]["backendRefs"][1].update(weight=50))
        assert await bench.router.set_weights(TWENTY, in_progress=True), number


async def test_edits_of_what_is_not_ours_are_left_alone() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    await bench.router.set_weights(TWENTY, in_progress=True)
    world.cluster.edit(WEB, lambda content: content["spec"].update(hostnames=["example.com"]))
    seen = bench.see()
    assert (seen.weights, seen.held, seen.blocked) == (TWENTY, Held.STORED, "")
    assert not await bench.router.set_weights(TWENTY, in_progress=True)


async def test_a_recreated_route_is_simply_written() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    await bench.router.set_weights(TWENTY, in_progress=True)
    again = http_route(split(100, 0), uid="route-2", version="500")
    world.routes.objects[WEB] = world.cluster.stored[WEB] = again
    assert (bench.see().weights, bench.see().reason) == (ABORT, "RouteSettling")
    assert await bench.router.set_weights(TWENTY, in_progress=True)


async def test_several_routes_are_one() -> None:
    world = World(http_route(split(100, 0)), http_route(split(100, 0), name="api", uid="route-2"))
    bench = Bench(world, target(BOTH))
    bench.see()
    bench.after(12)
    assert bench.see().held is Held.SETTLED
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert (world.cluster.weights(WEB), world.cluster.weights(API)) == ([80, 20], [80, 20])
    world.cluster.accept(WEB)
    assert bench.see().held is Held.STORED  # the other one is not accepted yet
    world.cluster.accept(API)
    assert bench.see().held is Held.ACCEPTED


def test_routes_that_disagree_show_no_split_that_could_be_wanted() -> None:
    world = World(http_route(split(80, 20)), http_route(split(50, 50), name="api", uid="route-2"))
    assert Bench(world, target(BOTH)).see().weights == Weights(canary=50, stable=80)
    one_missing = World(http_route(split(80, 20)))
    assert Bench(one_missing, target(BOTH)).see().weights is None


async def test_a_missing_route_does_not_keep_an_abort_from_the_others() -> None:
    world = World(http_route(split(80, 20), name="api", uid="route-2"))
    with pytest.raises(ProviderError, match="HTTPRoute shop/web not found"):
        await Bench(world, target(BOTH)).router.set_weights(ABORT, in_progress=False)
    assert world.cluster.weights(API) == [100, 0]


def test_selected_routes() -> None:
    world = World(
        http_route(split(80, 20), labels={"team": "a"}),
        http_route(split(80, 20), name="api", uid="route-2", labels={"team": "b"}),
        http_route(split(1, 1), name="web", namespace="else", uid="route-3", labels={"team": "a"}),
    )
    bench = Bench(world, target({"httpRouteSelector": {"matchLabels": {"team": "a"}}}))
    assert bench.see().weights == TWENTY


@pytest.mark.parametrize(
    ("parents", "kept"),
    [
        pytest.param([parent()], 57, id="a-waypoint-drains-its-listener"),
        pytest.param([{"name": "edge"}], 12, id="a-gateway-updates-its-routes"),
        pytest.param([{"name": "edge"}, parent()], 57, id="both"),
    ],
)
def test_pods_are_kept(parents: list[dict[str, Any]], kept: float) -> None:
    assert Bench(World(http_route(parents=parents))).see().pods_kept == seconds(kept)


def test_pods_are_kept_as_configured() -> None:
    settings = RoutingSettings(settle=seconds(1), drain=seconds(5))
    assert Bench(World(http_route()), settings=settings).see().pods_kept == seconds(6)


async def test_release() -> None:
    world = World(http_route(split(100, 0)))
    bench = Bench(world)
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert await bench.router.release()
    stored = world.cluster.stored[WEB]
    assert world.cluster.weights(WEB) == [100, 0]
    assert (stored.metadata.labels, stored.metadata.annotations) == ({}, {})
    assert not await bench.router.release()
    assert not await Bench(World()).router.release()  # nothing is there, nothing is to be done


def test_validate() -> None:
    factory = GatewayApiRouting(World().tools)
    assert factory.validate(target()) is None
    path, error = factory.validate(target({"httpRoute": 5})) or ("", "")
    assert (path, "expected a string" in error) == ("httpRoute", True)


async def test_a_service_in_another_namespace_needs_no_look() -> None:
    world = World(http_route(split(100, 0), namespace="edge"), services=(*SERVICES, service("x")))
    of = target({"httpRoute": "web", "namespace": "edge"})
    with pytest.raises(ProviderError, match="backendRef web-canary not found"):
        await Bench(world, of).router.set_weights(TWENTY, in_progress=True)


async def _with_time(world: World, coro: Any) -> Any:
    """Run a coroutine while time passes by itself."""
    task = asyncio.ensure_future(coro)
    for _ in range(10_000):
        if task.done():
            break
        await asyncio.sleep(0)
        world.clock.advance(0.05)
    return await task
