"""The routers that ship, held to the contract of all routers."""

from __future__ import annotations

from typing import Any

from fairlead.core.objects import Manifest, ObjectKey
from fairlead.core.traffic import RouterFactory, TrafficTarget, Weights
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from fairlead.mesh_routing.routers.waypoint import WaypointRouting
from tests.mesh_routing.builders import World, http_route, split, target
from tests.mesh_routing.contract import RouterBench, RouterContract

WEB = ObjectKey("shop", "web")


def make(
    factory: type[GatewayApiRouting] | type[WaypointRouting],
    of: TrafficTarget,
    *routes: Manifest,
    invalid: dict[str, Any],
) -> RouterBench:
    world = World(*routes)
    cluster = world.cluster
    history: list[Weights | None] = []
    gets: list[ObjectKey] = []
    put, get = cluster.put, cluster.get

    def noting_put(content: dict[str, Any], *, apply: bool = False) -> Manifest:
        stored = put(content, apply=apply)
        stable, canary = cluster.weights(WEB)
        history.append(Weights(canary=canary, stable=stable))
        return stored

    async def noting_get(kind: Any, key: ObjectKey) -> Manifest:
        gets.append(key)
        return await get(kind, key)

    cluster.put, cluster.get = noting_put, noting_get  # type: ignore[method-assign]
    made: RouterFactory = factory(world.tools)
    bench = RouterBench(
        factory=made,
        target=of,
        now=world.clock.now,
        history=history,
        requests=lambda: len(cluster.patches) + len(gets),
        accept=lambda: accept(),
        tamper=lambda: tamper(),
        remove=(lambda: remove()) if routes else None,
        invalid=(invalid, {}),
    )

    async def accept() -> None:
        if WEB in cluster.stored:
            cluster.accept(WEB)
        bench.see()
        world.clock.advance(60)

    async def tamper() -> None:
        def change(content: dict[str, Any]) -> None:
            content["spec"]["rules"][0]["backendRefs"][1]["weight"] = 77

        cluster.edit(WEB, change)

    async def remove() -> None:
        cluster.stored.clear()
        world.routes.objects.clear()

    return bench


class TestGatewayApi(RouterContract):
    def bench(self) -> RouterBench:
        return make(
            GatewayApiRouting, target({"httpRoute": "web"}), http_route(split(100, 0)), invalid={"httpRoute": 5}
        )


class TestWaypointDedicated(RouterContract):
    def bench(self) -> RouterBench:
        return make(WaypointRouting, target({"service": "web"}), invalid={"service": 5})


class TestWaypointShared(RouterContract):
    def bench(self) -> RouterBench:
        config = {"service": "web", "httpRoute": "web"}
        return make(WaypointRouting, target(config), http_route(split(100, 0)), invalid=config | {"weigth": 1})
