"""The played control plane on the simulated cluster, under virtual time; with our routers beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fairlead.core.cluster import JsonPatch, MergePatch
from fairlead.core.kinds import ENDPOINT_SLICES, GATEWAYS, HTTP_ROUTES, NAMESPACES, ROLLOUTS, SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import Applied, Held, RouterTools, TrafficSeen, Weights
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from fairlead.mesh_routing.routers.waypoint import SERVICE_INDEX, WaypointRouting, index_by_service
from fairlead.runtime.informers import Informers
from fairlead.testing._wire import cluster_name
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.waypoint import MemoryWire, WaypointTranslator
from tests.mesh_routing.builders import HASH, backend, parent, split, target

WEB, WAYPOINT = ObjectKey("shop", "web"), ObjectKey("shop", "waypoint")
STABLE, CANARY = (cluster_name(ObjectKey("shop", f"web-{one}"), 80) for one in ("stable", "canary"))
ADDRESSES = {"web-stable": "127.0.0.2", "web-canary": "127.0.0.3"}


def objects(*, waypoint: str | None = "waypoint") -> list[dict[str, Any]]:
    """A namespace with a waypoint, three Services, and an endpoint behind each of the backends."""
    labels = {"istio.io/use-waypoint": waypoint} if waypoint else {}
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE"}
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}},
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": "shop"},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [listener]},
        },
    ]
    for name, selected in (("web", "a"), ("web-stable", "a"), ("web-canary", "b")):
        port = {"name": "http", "port": 80, "targetPort": 8080}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"selector": {HASH: selected}, "ports": [port]},
            }
        )
    # Its owner must be there, or the garbage collector takes the route of our own away.
    found.append(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {}, "spec": {"containers": []}},
            },
        }
    )
    for name, address in ADDRESSES.items():
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            }
        )
    return found


def route(stable: int = 100, canary: int = 0, **rule: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [parent()], "rules": [split(stable, canary, **rule)]},
    }


class World:
    """The cluster, the control plane on a wire in memory, and our router with a cache of its own."""

    def __init__(self, *, has_evidence: bool = True, waypoint: str | None = "waypoint") -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock)
        self.cluster.apply(objects(waypoint=waypoint))
        self.wire = MemoryWire()
        self.plane = WaypointTranslator(self.cluster.as_manager("istiod"), self.clock, self.wire)
        self.informers = Informers(self.cluster, self.clock)
        self.background: list[asyncio.Task[Any]] = []
        routes = self.informers.add(HTTP_ROUTES, indexes={SERVICE_INDEX: index_by_service})
        self.tools = RouterTools(
            cluster=self.informers.cluster,
            clock=self.clock,
            routes={"httproutes": routes},
            services=self.informers.add(SERVICES),
            endpoint_slices=self.informers.add(ENDPOINT_SLICES),
            namespaces=self.informers.add(NAMESPACES),
            gateways=self.informers.add(GATEWAYS),
            evidence=self.wire if has_evidence else None,
            spawn=lambda coro: self.background.append(asyncio.ensure_future(coro)),
        )
        self.factory = WaypointRouting(self.tools)
        uid = self.get(ROLLOUTS, WEB)["metadata"]["uid"]
        self.target = target({"service": "web"}, uid=uid)

    async def start(self) -> None:
        self.background += [asyncio.ensure_future(self.plane.run()), asyncio.ensure_future(self.informers.run())]
        await self.clock.sleep(1)

    async def stop(self) -> None:
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)

    def see(self) -> TrafficSeen:
        return self.factory.router(self.target).observe(self.clock.now())

    async def set(self, canary: int) -> None:
        await self.factory.router(self.target).set_weights(Weights.of_canary(canary), in_progress=canary > 0)

    async def until_held(self) -> float:
        """Return how many seconds it takes until the weights are held, looking as a rollout does."""
        began = self.clock.monotonic()
        while not self.see().holds:
            assert self.clock.monotonic() - began < 60, self.see()
            await self.clock.sleep(0.05)
        return self.clock.monotonic() - began

    def get(self, kind: Any, key: ObjectKey) -> Any:
        found = self.cluster.read(kind, key)
        assert found is not None
        return found


def run(story: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Tell a story in a world of its own, under virtual time."""

    async def main() -> None:
        world = World(**options)
        await world.start()
        try:
            await story(world)
        finally:
            await world.stop()

    run_virtual(main())


def test_a_waypoint_comes_up_and_services_are_bound() -> None:
    async def story(world: World) -> None:
        gateway = world.get(GATEWAYS, WAYPOINT)
        assert gateway["status"]["addresses"] == [{"type": "IPAddress", "value": "127.0.0.1"}]
        assert {one["type"]: one["status"] for one in gateway["status"]["conditions"]} == {
            "Accepted": "True",
            "Programmed": "True",
        }
        [bound] = world.get(SERVICES, WEB)["status"]["conditions"]
        assert (bound["type"], bound["status"]) == ("istio.io/WaypointBound", "True")
        assert bound["message"] == "Successfully attached to waypoint shop/waypoint"
        assert world.see().blocked == ""

    run(story)


def test_status_comes_12_ms_after_the_write_and_the_wire_after_110() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route(80, 20)])
        await world.clock.sleep(0.011)
        assert "status" not in world.get(HTTP_ROUTES, WEB)
        await world.clock.sleep(0.003)
        [entry] = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        assert entry["controllerName"] == "istio.io/gateway-controller"
        assert [(one["type"], one["status"], one["observedGeneration"]) for one in entry["conditions"]] == [
            ("Accepted", "True", 1),
            ("ResolvedRefs", "True", 1),
            ("ResolvedWaypoints", "True", 1),
        ]
        assert entry["conditions"][2]["message"] == "All waypoints resolved"
        await world.clock.sleep(0.09)  # 104 ms
        assert world.wire.shares(WEB) == {}  # apex itself has no endpoints here
        await world.clock.sleep(0.01)
        assert world.wire.shares(WEB) == {STABLE: 0.8, CANARY: 0.2}

    run(story)


def test_writes_closer_than_the_debounce_never_exist_on_the_wire() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route(100, 0)])
        await world.clock.sleep(1)
        seen = set()
        for canary in range(10, 60, 10):
            world.cluster.apply([route(100 - canary, canary)])
            for _ in range(6):
                await world.clock.sleep(0.01)
                seen.add(world.wire.shares(WEB).get(CANARY, 0.0))
        assert seen == {0.0}
        await world.clock.sleep(0.1)
        assert world.wire.shares(WEB)[CANARY] == 0.5
        [entry] = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        assert entry["conditions"][0]["observedGeneration"] == 6

    run(story)


def test_steady_writes_of_a_neighbour_put_the_wire_off_ten_seconds_at_most() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route(100, 0)])
        await world.clock.sleep(1)
        world.cluster.apply([route(80, 20)])
        began, arrived = world.clock.monotonic(), 0.0
        for number in range(200):
            neighbour = route(100, number % 5 + 1)
            neighbour["metadata"]["name"] = "neighbour"
            neighbour["spec"]["parentRefs"] = [parent("web-stable")]
            world.cluster.apply([neighbour])
            await world.clock.sleep(0.06)
            if not arrived and CANARY in world.wire.shares(WEB):
                arrived = world.clock.monotonic() - began
        assert 9.9 < arrived < 10.2

    run(story)


@pytest.mark.parametrize(
    ("rules", "type_", "reason"),
    [
        pytest.param([{"backendRefs": [backend("gone", 1)]}], "ResolvedRefs", "BackendNotFound", id="missing-backend"),
        pytest.param([{"filters": [{"type": "ExtensionRef"}]}], "ResolvedRefs", "InvalidFilter", id="hard-error"),
    ],
)
def test_what_istiod_refuses(rules: list[dict[str, Any]], type_: str, reason: str) -> None:
    async def story(world: World) -> None:
        bad = route()
        bad["spec"]["rules"] = rules
        world.cluster.apply([bad])
        await world.clock.sleep(1)
        [entry] = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        assert [(one["type"], one["reason"]) for one in entry["conditions"] if one["status"] == "False"] == [
            (type_, reason)
        ]

    run(story)


def test_a_missing_parent_and_a_missing_backend_of_weight_0() -> None:
    async def story(world: World) -> None:
        lost = route()
        lost["spec"]["parentRefs"] = [parent("nowhere")]
        lost["spec"]["rules"] = [{"backendRefs": [backend("web-stable", 1), backend("gone", 0)]}]
        world.cluster.apply([lost])
        await world.clock.sleep(1)
        [entry] = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        accepted, resolved, waypoints = entry["conditions"]
        assert (accepted["reason"], accepted["message"]) == (
            "NoMatchingParent",
            'parent service: "nowhere" not found',
        )
        assert resolved["status"] == "True"  # behind weight 0 nobody looks
        assert (waypoints["status"], waypoints["message"]) == ("True", "parent not found")

    run(story)


def test_status_of_other_controllers_stays() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route()])
        await world.clock.sleep(1)
        live = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        edge = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
        foreign = {"parentRef": edge, "controllerName": "traefik.io/gateway-controller", "conditions": []}
        patch = MergePatch({"status": {"parents": [*live, foreign]}})
        await world.cluster.patch(HTTP_ROUTES, WEB, patch, subresource="status")
        world.cluster.apply([route(80, 20)])
        await world.clock.sleep(1)
        parents = world.get(HTTP_ROUTES, WEB)["status"]["parents"]
        assert foreign in parents
        assert [one["observedGeneration"] for one in parents[1]["conditions"]] == [2, 2, 2]

    run(story)


def test_nothing_is_written_once_everything_is_said() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route(80, 20)])
        await world.clock.sleep(1)
        commits: list[str] = []
        world.cluster.on_commit(lambda verb, resource, old, new: commits.append(f"{verb} {resource.plural}"))
        await world.clock.sleep(600)
        assert commits == []

    run(story)


def test_without_a_waypoint_label_the_route_is_accepted_and_ignored() -> None:
    async def story(world: World) -> None:
        world.cluster.apply([route(80, 20)])
        await world.clock.sleep(1)
        conditions = world.get(HTTP_ROUTES, WEB)["status"]["parents"][0]["conditions"]
        assert [one["status"] for one in conditions] == ["True", "True", "True"]
        assert "label missing" in conditions[2]["message"]
        assert CANARY not in world.wire.shares(WEB)
        assert "P05" in world.see().blocked
        assert "P06" in world.see().blocked

    run(story, waypoint=None)


def test_a_weight_is_held_as_soon_as_the_wire_shows_it() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        assert await world.until_held() < 0.5
        await world.set(20)
        assert not world.see().holds
        assert await world.until_held() < 0.5
        assert world.see().held is Held.APPLIED
        assert world.wire.shares(WEB) == {STABLE: 0.8, CANARY: 0.2}

    run(story)


def test_a_wire_that_lags_ten_seconds_is_waited_for() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        await world.until_held()
        world.plane.behave(lag=(10.0, 10.0))
        await world.set(20)
        await world.clock.sleep(1)
        assert (world.see().weights, world.see().held) == (Weights.of_canary(20), Held.ACCEPTED)
        assert 8.9 <= await world.until_held() <= 9.5
        assert world.wire.shares(WEB)[CANARY] == 0.2

    run(story)


def test_without_evidence_a_weight_settles_twelve_seconds_after_acceptance() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        assert 12.0 <= await world.until_held() <= 12.1
        assert (world.see().held, world.see().message) == (Held.SETTLED, "settled, not verified")

    run(story, has_evidence=False)


def test_late_status_holds_everything_back_though_the_wire_has_it() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        await world.until_held()
        world.plane.behave(status_delay=34.0)
        await world.set(20)
        await world.clock.sleep(5)
        assert world.wire.shares(WEB)[CANARY] == 0.2
        assert world.see().held is Held.STORED
        assert 28.9 <= await world.until_held() <= 29.5

    run(story)


def test_a_refused_listener_is_said_and_holds_until_it_is_mended() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        await world.until_held()
        world.plane.behave(refuses=True)
        await world.clock.sleep(1)
        await world.set(20)
        for _ in range(6):
            await world.clock.sleep(10)
            seen = world.see()
        assert (seen.held, seen.reason) == (Held.REFUSED, "ProxyRefused")
        assert "invalid perl operator: (?=" in seen.blocked
        assert CANARY not in world.wire.shares(WEB)
        world.plane.behave(refuses=False)
        assert await world.until_held() < 6
        assert (world.see().blocked, world.wire.shares(WEB)[CANARY]) == ("", 0.2)

    run(story)


def test_a_users_expression_that_the_proxy_refuses_is_named_before_it_is_asked() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        await world.until_held()
        bad = route(matches=[{"headers": [{"type": "RegularExpression", "name": "a", "value": "b++"}]}])
        bad["metadata"]["name"] = "bad"
        world.cluster.apply([bad])
        await world.clock.sleep(1)
        assert "P27: HTTPRoute shop/bad spec.rules[0].matches[0].headers[0].value" in world.see().blocked
        assert world.wire.error != ""

    run(story)


def test_a_shared_route_keeps_what_its_user_wrote_and_names_who_fights_us() -> None:
    async def story(world: World) -> None:
        user = world.cluster.as_manager("helm")
        before = route(100, 0, timeouts={"request": "3s"}, filters=[])
        user.apply([before])
        await world.clock.sleep(1)
        spec = world.get(HTTP_ROUTES, WEB)["spec"]
        factory = GatewayApiRouting(world.tools)
        config = target({"httpRoute": "web"}, uid=world.target.uid)
        await factory.router(config).set_weights(Weights.of_canary(20), in_progress=True)
        after = world.get(HTTP_ROUTES, WEB)["spec"]
        spec["rules"][0]["backendRefs"][0]["weight"], spec["rules"][0]["backendRefs"][1]["weight"] = 80, 20
        assert after == spec
        for _ in range(4):
            await world.clock.sleep(1)
            path = "/spec/rules/0/backendRefs/1/weight"
            await user.patch(HTTP_ROUTES, WEB, JsonPatch([{"op": "replace", "path": path, "value": 50}]))
            await world.clock.sleep(1)
            seen = factory.router(config).observe(world.clock.now())
            await factory.router(config).set_weights(Weights.of_canary(20), in_progress=True)
        assert (seen.held, seen.reason) == (Held.CONFLICT, "RouteConflict")
        assert "helm changed our weights (canary 20, stable 80) to canary 50, stable 80" in seen.message

    run(story)


def test_a_wire_that_is_cut_off_shows_nothing_and_catches_up() -> None:
    async def story(world: World) -> None:
        await world.set(0)
        await world.until_held()
        world.plane.behave(is_cut_off=True)
        await world.set(20)
        await world.clock.sleep(100)
        assert (world.see().held, world.see().reason) == (Held.ACCEPTED, "DataPlanePending")
        assert (await world.wire.applied(world.tools.routes["httproutes"].list()[0], {"web-canary": 20})).applied is (
            Applied.NOT_YET
        )
        world.plane.behave(is_cut_off=False)
        assert await world.until_held() < 6

    run(story)


def test_a_waypoint_without_a_ready_pod_blocks() -> None:
    async def story(world: World) -> None:
        world.plane.behave(has_ready_waypoint=False)
        await world.clock.sleep(1)
        assert "P08: waypoint shop/waypoint has no ready endpoint" in world.see().blocked

    run(story)


def test_the_same_seed_gives_the_same_lags() -> None:
    def lags(seed: int) -> list[float]:
        found: list[float] = []

        async def main() -> None:
            world = World()
            world.plane = WaypointTranslator(world.cluster.as_manager("istiod"), world.clock, world.wire, seed=seed)
            await world.start()
            try:
                world.plane.behave(lag=(0.11, 10.0))
                for canary in (10, 20, 30):
                    world.cluster.apply([route(100 - canary, canary)])
                    began = world.clock.monotonic()
                    while world.wire.shares(WEB).get(CANARY) != canary / 100:
                        await world.clock.sleep(0.01)
                    found.append(round(world.clock.monotonic() - began, 2))
            finally:
                await world.stop()

        run_virtual(main())
        return found

    first = lags(1)
    assert first == lags(1) != lags(2)
    assert all(0.1 <= lag <= 10.1 for lag in first)


def test_a_change_that_comes_while_it_is_being_cancelled_is_left_alone() -> None:
    async def story(world: World) -> None:
        plane = world.background[0]
        plane.cancel()
        await asyncio.sleep(0)  # it has noticed, and its parts have not ended yet
        assert not plane.done()
        world.plane.behave(has_ready_waypoint=False)  # would have to be written
        await asyncio.gather(plane, return_exceptions=True)
        assert plane.cancelled()

    run(story)
