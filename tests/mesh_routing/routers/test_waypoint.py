from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from fairlead.core.cluster import ApplyPatch
from fairlead.core.errors import ProviderError
from fairlead.core.kinds import Endpoint, EndpointConditions, EndpointSlice, ServicePort
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta, decode_manifest
from fairlead.core.traffic import AdditionalWeight, Held, TrafficSeen, Weights
from fairlead.mesh_routing._httproute import CLAIM, CLAIM_NAME
from fairlead.mesh_routing.routers.waypoint import WaypointRouter, WaypointRouting, index_by_service
from fairlead.mesh_routing.spec import IN_PROGRESS_KEY
from tests.mesh_routing.builders import HASH, World, http_route, parent, seconds, service, split, status, target

WEB = ObjectKey("shop", "web")
TWENTY, ABORT = Weights.of_canary(20), Weights.of_canary(0)
APEX = service(
    "web",
    {HASH: "a"},
    labels={"istio.io/use-waypoint": "waypoint"},
    bound="Successfully attached to waypoint shop/waypoint",
)
SERVICES = (APEX, service("web-stable", {HASH: "a"}), service("web-canary", {HASH: "b"}))
DEDICATED: Mapping[str, Any] = {"service": "web"}
SHARED: Mapping[str, Any] = {"service": "web", "httpRoute": "web"}


def waypoint_slice(*, ready: bool | None = True, terminating: bool = False) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="waypoint-1", namespace="shop", labels={"kubernetes.io/service-name": "waypoint"}),
        endpoints=(
            Endpoint(addresses=("10.0.0.9",), conditions=EndpointConditions(ready=ready, terminating=terminating)),
        ),
    )


def gateway() -> Manifest:
    content = {
        "metadata": {"name": "waypoint", "namespace": "shop"},
        "spec": {"gatewayClassName": "istio-waypoint"},
    }
    return decode_manifest(json.dumps(content).encode())


class Bench:
    def __init__(
        self,
        *routes: Manifest,
        config: Mapping[str, Any] = DEDICATED,
        services: Sequence[Any] = SERVICES,
        slices: Sequence[EndpointSlice] = (waypoint_slice(),),
    ) -> None:
        self.world = World(*routes, services=services, slices=slices, gateways=[gateway()], namespaces=[])
        self.target = target(config)
        self.factory = WaypointRouting(self.world.tools)

    @property
    def router(self) -> WaypointRouter:
        return self.factory.router(self.target)

    def see(self) -> TrafficSeen:
        return self.router.observe(self.world.clock.now())

    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.cluster.stored[WEB].content["spec"]
        return found


def test_before_the_first_write_there_is_no_route_and_no_obstacle() -> None:
    seen = Bench().see()
    assert (seen.weights, seen.held, seen.reason, seen.blocked) == (None, Held.NOT_STORED, "RouteNotFound", "")


async def test_dedicated_route_is_created_whole_and_owned() -> None:
    bench = Bench()
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    [patch] = bench.world.cluster.patches
    assert isinstance(patch, ApplyPatch)
    assert patch.force
    assert patch.body == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "fairlead", IN_PROGRESS_KEY: "in-progress"},
            "annotations": {CLAIM: "rollout-1", CLAIM_NAME: "shop/web"},
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Rollout",
                    "name": "web",
                    "uid": "rollout-1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
            "rules": [
                {
                    "name": "split",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "web-stable", "port": 80, "weight": 80},
                        {"group": "", "kind": "Service", "name": "web-canary", "port": 80, "weight": 20},
                    ],
                }
            ],
        },
    }
    assert not await bench.router.set_weights(TWENTY, in_progress=True)


async def test_dedicated_route_is_held_like_any_other() -> None:
    bench = Bench()
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert (bench.see().weights, bench.see().held) == (TWENTY, Held.STORED)
    bench.world.cluster.accept(WEB)
    assert bench.see().held is Held.ACCEPTED
    bench.world.clock.advance(12)
    assert (bench.see().held, bench.see().blocked) == (Held.SETTLED, "")
    assert bench.see().pods_kept == seconds(57)


async def test_dedicated_route_keeps_both_backends_at_weight_0_and_drops_the_label() -> None:
    bench = Bench()
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert await bench.router.set_weights(ABORT, in_progress=False)
    assert bench.world.cluster.weights(WEB) == [100, 0]
    assert IN_PROGRESS_KEY not in bench.world.cluster.stored[WEB].metadata.labels


async def test_dedicated_route_carries_experiments() -> None:
    bench = Bench()
    weights = Weights.of_canary(20, additional=(AdditionalWeight(service="exp", weight=5),))
    await bench.router.set_weights(weights, in_progress=True)
    assert bench.world.cluster.weights(WEB) == [75, 20, 5]
    assert bench.see().weights == weights
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert bench.world.cluster.weights(WEB) == [80, 20]


async def test_whatever_is_changed_in_a_route_of_our_own_is_written_again() -> None:
    bench = Bench()
    await bench.router.set_weights(TWENTY, in_progress=True)
    bench.world.cluster.edit(WEB, lambda content: content["spec"]["rules"][0]["matches"].pop())
    seen = bench.see()
    assert (seen.weights, seen.held, seen.reason, seen.blocked) == (None, Held.NOT_STORED, "WeightsChanged", "")
    assert "kubectl-edit" in seen.message
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert bench.spec()["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]


async def test_a_deleted_route_of_our_own_is_written_again() -> None:
    bench = Bench()
    await bench.router.set_weights(TWENTY, in_progress=True)
    bench.world.routes.objects.clear()
    bench.world.cluster.stored.clear()
    assert (bench.see().weights, bench.see().blocked) == (None, "")
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert bench.world.cluster.weights(WEB) == [80, 20]


async def test_somebody_elses_route_of_our_name_is_not_touched() -> None:
    bench = Bench(http_route(split(100, 0)))
    seen = bench.see()
    assert (seen.held, seen.reason) == (Held.REFUSED, "RouteNotOurs")
    assert "name it in `httpRoute` to share it" in seen.blocked
    with pytest.raises(ProviderError, match="exists and is not ours"):
        await bench.router.set_weights(TWENTY, in_progress=True)
    assert not await bench.router.release()
    assert bench.world.cluster.patches == []


async def test_shared_route_gets_weights_alone() -> None:
    bench = Bench(http_route(split(100, 0, timeouts={"request": "3s"})), config=SHARED)
    assert await bench.router.set_weights(TWENTY, in_progress=True)
    assert bench.spec()["rules"] == [split(80, 20, timeouts={"request": "3s"})]


async def test_a_shared_route_that_is_missing_fails() -> None:
    bench = Bench(config=SHARED)
    assert bench.see().blocked == "HTTPRoute shop/web not found"
    with pytest.raises(ProviderError, match="HTTPRoute shop/web not found"):
        await bench.router.set_weights(TWENTY, in_progress=True)


@pytest.mark.parametrize(
    ("bench", "blocked"),
    [
        pytest.param(Bench(slices=()), "P08: waypoint shop/waypoint has no ready endpoint", id="waypoint-gone"),
        pytest.param(Bench(slices=(waypoint_slice(ready=False),)), "P08", id="waypoint-not-ready"),
        pytest.param(Bench(slices=(waypoint_slice(terminating=True),)), "P08", id="waypoint-terminating"),
        pytest.param(Bench(services=SERVICES[1:]), "P04: Service shop/web does not exist", id="no-apex"),
        pytest.param(
            Bench(services=SERVICES[:2]), "P11: canary Service shop/web-canary does not exist", id="no-canary"
        ),
        pytest.param(
            Bench(services=(service("web", {HASH: "a"}), *SERVICES[1:])),
            "P06: istiod has not reported on Service shop/web",
            id="not-bound",
        ),
        pytest.param(
            Bench(config={"service": "web", "port": 81}), "P04: Service shop/web has no port 81", id="no-port"
        ),
        pytest.param(
            Bench(http_route(split(matches=[{"path": {"value": "/x"}}])), config=SHARED), "P17", id="no-default-rule"
        ),
    ],
)
def test_preflight_blocks(bench: Bench, blocked: str) -> None:
    assert blocked in bench.see().blocked


async def test_preflight_never_keeps_traffic_from_being_lowered() -> None:
    bench = Bench(http_route(split(80, 20)), config=SHARED, slices=(), services=())
    assert bench.see().blocked
    assert await bench.router.set_weights(ABORT, in_progress=False)
    assert bench.world.cluster.weights(WEB) == [100, 0]


async def test_the_port_must_be_named_when_there_are_several() -> None:
    ports = (ServicePort(name="http", port=80), ServicePort(name="http-admin", port=81))
    apex = service("web", {HASH: "a"}, labels=APEX.metadata.labels, bound="…", ports=ports)
    bench = Bench(services=(apex, *SERVICES[1:]))
    assert "has ports 80, 81: name one of them in `port`" in bench.see().blocked
    with pytest.raises(ProviderError, match="name it in `port`"):
        await bench.router.set_weights(TWENTY, in_progress=True)


def test_another_controllers_answer_does_not_count() -> None:
    foreign = http_route(split(80, 20), statuses=[status(1, controller="istio.io/agentgateway-controller")])
    bench = Bench(foreign, config=SHARED)
    assert bench.see().held is Held.STORED
    bench.world.clock.advance(60)
    assert "no status by istio.io/gateway-controller" in bench.see().message


def test_own_settle_and_drain() -> None:
    config = {**SHARED, "settle": "2s", "drain": "5s"}
    bench = Bench(http_route(split(80, 20)), config=config)
    assert bench.see().settled_at == bench.world.clock.now() + seconds(2)
    assert bench.see().pods_kept == seconds(7)


async def test_release_of_a_dedicated_route_leaves_it_to_its_owner() -> None:
    bench = Bench()
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert await bench.router.release()
    metadata = bench.world.cluster.stored[WEB].metadata
    assert (metadata.annotations, len(metadata.owner_references)) == ({}, 1)
    assert bench.world.cluster.weights(WEB) == [100, 0]
    assert not await bench.router.release()


async def test_release_of_a_shared_route() -> None:
    bench = Bench(http_route(split(100, 0)), config=SHARED)
    await bench.router.set_weights(TWENTY, in_progress=True)
    assert await bench.router.release()
    assert bench.world.cluster.weights(WEB) == [100, 0]
    assert bench.world.cluster.stored[WEB].metadata.annotations == {}


def test_a_warning_is_logged_once() -> None:
    other = http_route({}, name="user", uid="route-2", parents=[parent(port=None)])
    bench = Bench(http_route(split(80, 20)), other, config=SHARED)
    with capture_logs() as logs:
        bench.see()
        bench.see()
    assert [(one["event"], one["reason"][:4]) for one in logs] == [("route_preflight_warned", "P15:")]


def test_validate() -> None:
    factory = Bench().factory
    assert factory.validate(target(DEDICATED)) is None
    path, error = factory.validate(target({"service": "web", "weigth": 1})) or ("", "")
    assert (path, "unknown field" in error) == ("weigth", True)


def test_index_by_service() -> None:
    route = http_route(split(), parents=[parent(), {"name": "edge"}])
    assert list(index_by_service(route)) == ["shop/web", "shop/web-canary", "shop/web-stable"]
