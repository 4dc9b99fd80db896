from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fairlead.core.kinds import Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Service
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta
from fairlead.testing._wire import WireState, cluster_name, hard_error, wire_of
from tests.mesh_routing.builders import SERVICES, T0, backend, http_route, parent, read, seconds, service, split

WEB = ObjectKey("shop", "web")
STABLE, CANARY = (cluster_name(ObjectKey("shop", f"web-{one}"), 80) for one in ("stable", "canary"))
HEADER = {"headers": [{"name": "x-qa", "value": "1"}]}


def state(*routes: Manifest, services: Sequence[Service] = SERVICES, slices: Sequence[EndpointSlice] = ()) -> WireState:
    return wire_of(map(read, routes), services, slices, is_routed={WEB: True})


def chain(*routes: Manifest, services: Sequence[Service] = SERVICES) -> list[tuple[str, dict[str, int]]]:
    """Return name and weights of each route that clients of web:80 meet, in order."""
    [found] = [one for one in state(*routes, services=services).chains if one.service == WEB]
    return [(route.name, {one.cluster: one.weight for one in route.backends}) for route in found.routes]


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        pytest.param([], [("default", {cluster_name(WEB, 80): 1})], id="no-route-goes-to-the-service-itself"),
        pytest.param([http_route(split(80, 20))], [("shop.web.0", {STABLE: 80, CANARY: 20})], id="weights"),
        pytest.param([http_route(split(100, 0))], [("shop.web.0", {STABLE: 100})], id="weight-0-is-left-out"),
        pytest.param([http_route(split(0, 0))], [("shop.web.0", {})], id="all-0-has-no-backend"),
        pytest.param([http_route(split(None, None))], [("shop.web.0", {STABLE: 1, CANARY: 1})], id="omitted-is-1"),
        pytest.param([http_route(split(80, 20, name="s"))], [("s", {STABLE: 80, CANARY: 20})], id="named-rule"),
        pytest.param(
            [http_route(split(80, 20), {"matches": [HEADER], "backendRefs": [backend("web-canary", 1)]})],
            [("shop.web.1", {CANARY: 1}), ("shop.web.0", {STABLE: 80, CANARY: 20})],
            id="a-header-wins-wherever-it-stands",
        ),
        pytest.param(
            [http_route(split(80, 20)), http_route({"matches": [HEADER]}, name="b", created=T0 + seconds(9))],
            [("shop.b.0", {}), ("shop.web.0", {STABLE: 80, CANARY: 20})],
            id="also-from-a-younger-route",
        ),
        pytest.param(
            [http_route(split(80, 20)), http_route({"matches": [HEADER]}, name="x", parents=[parent(port=None)])],
            [("shop.web.0", {STABLE: 80, CANARY: 20})],
            id="but-not-from-one-without-a-port",
        ),
        pytest.param(
            [http_route(split(80, 20)), http_route(split(1, 1), name="old", created=T0 - seconds(9))],
            [("shop.old.0", {STABLE: 1, CANARY: 1})],
            id="the-older-catch-all-wins",
        ),
        pytest.param(
            [http_route(split(80, 20, matches=[{"path": {"type": "RegularExpression", "value": "/.*"}}]), split(1, 1))],
            [("shop.web.1", {STABLE: 1, CANARY: 1})],
            id="a-path-expression-beside-a-catch-all-is-never-reached",
        ),
        pytest.param(
            [http_route(split(80, 20), parents=[parent(port=81)])],
            [("default", {cluster_name(WEB, 80): 1})],
            id="another-port",
        ),
        pytest.param(
            [http_route(split(80, 20), namespace="else", parents=[parent(namespace="shop")])],
            [("default", {cluster_name(WEB, 80): 1})],
            id="consumer-routes-have-no-effect",
        ),
        pytest.param(
            [http_route(split(80, 20), {"filters": [{"type": "ExtensionRef"}]})],
            [("default", {cluster_name(WEB, 80): 1})],
            id="a-hard-error-drops-all-rules",
        ),
        pytest.param(
            [http_route({"backendRefs": [backend("web-stable", 9), backend("gone", 1)]})],
            [("shop.web.0", {STABLE: 9, "missing|80||gone.shop.svc.cluster.local": 1})],
            id="missing-service",
        ),
        pytest.param(
            [http_route({"backendRefs": [backend("web-stable", 9), backend("web-canary", 1, port=81)]})],
            [("shop.web.0", {STABLE: 9, CANARY.replace("|80|", "|81|"): 1})],
            id="a-port-that-the-backend-lacks",
        ),
    ],
)
def test_routes_of_a_service(routes: list[Manifest], expected: list[tuple[str, dict[str, int]]]) -> None:
    assert chain(*routes) == expected


def test_without_a_waypoint_routes_are_stored_and_ignored() -> None:
    found = wire_of([read(http_route(split(80, 20)))], SERVICES, (), is_routed={})
    assert [route.name for one in found.chains for route in one.routes] == ["default"] * 3


def test_services_without_an_address_have_no_chain() -> None:
    headless = (service("web", cluster_ip="None"), service("api", type="ExternalName"))
    assert state(services=headless) == WireState()


def endpoint(address: str, **conditions: Any) -> Endpoint:
    return Endpoint(addresses=(address,), conditions=EndpointConditions(**conditions))


def test_endpoints_are_the_ready_ones_of_the_named_port() -> None:
    def slice_(name: str, port: str, *endpoints: Endpoint) -> EndpointSlice:
        labels = {"kubernetes.io/service-name": "web-stable"}
        metadata = ObjectMeta(name=name, namespace="shop", labels=labels)
        return EndpointSlice(metadata=metadata, endpoints=endpoints, ports=(EndpointPort(name=port, port=8080),))

    found = state(
        slices=(
            slice_("a", "http", endpoint("127.0.0.3"), endpoint("127.0.0.2", ready=True)),
            slice_(
                "b", "http", endpoint("127.0.0.4", ready=False), endpoint("127.0.0.5", ready=True, terminating=True)
            ),
            slice_("c", "other", endpoint("127.0.0.6")),
        )
    )
    by_name = {cluster.name: cluster.endpoints for cluster in found.clusters}
    assert by_name[STABLE] == (("127.0.0.2", 8080), ("127.0.0.3", 8080))
    assert by_name[CANARY] == ()


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        pytest.param(split(), "", id="none"),
        pytest.param({"filters": [{"type": "ExternalAuth"}]}, "rule 0 has a filter of type ExternalAuth", id="filter"),
        pytest.param(
            {"backendRefs": [backend("a") | {"filters": [{"type": "ExtensionRef"}]}]},
            "rule 0 has a filter of type ExtensionRef",
            id="filter-of-a-ref",
        ),
        pytest.param({"backendRefs": [backend("a.b")]}, "rule 0 names the hostname a.b", id="hostname"),
    ],
)
def test_hard_error(rule: dict[str, Any], error: str) -> None:
    assert hard_error(read(http_route(rule))) == error
