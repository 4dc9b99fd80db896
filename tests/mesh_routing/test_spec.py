from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey
from fairlead.mesh_routing.spec import (
    InProgressLabel,
    RouteRef,
    RoutingSettings,
    WaypointSpec,
    parse_gateway_api,
    parse_waypoint,
)
from tests.mesh_routing.builders import ref, target


@pytest.mark.parametrize(
    ("config", "routes"),
    [
        pytest.param({"httpRoute": "a"}, (ref("a"),), id="one"),
        pytest.param({"grpcRoute": "a"}, (ref("a", "grpcroutes"),), id="grpc"),
        pytest.param(
            {"httpRoutes": [{"name": "a", "useHeaderRoutes": True}, {"name": "b"}], "httpRoute": "c"},
            (ref("a"), ref("b"), ref("c")),
            id="the-single-one-is-appended",
        ),
        pytest.param({"httpRoute": "a", "httpRoutes": [{"name": "a"}]}, (ref("a"),), id="named-twice"),
        pytest.param({"httpRoute": "a", "namespace": "edge"}, (ref("a", namespace="edge"),), id="other-namespace"),
        pytest.param({"HTTPROUTE": "a"}, (ref("a"),), id="keys-without-regard-to-case"),
        pytest.param({"httpRoute": "a", "configMap": "x", "future": 1}, (ref("a"),), id="unknown-keys-skipped"),
    ],
)
def test_gateway_api_names_routes(config: dict[str, Any], routes: tuple[RouteRef, ...]) -> None:
    assert parse_gateway_api(target(config)).routes == routes


@pytest.mark.parametrize(
    ("config", "label"),
    [
        pytest.param({}, InProgressLabel("rollouts.argoproj.io/gatewayapi-canary", "in-progress"), id="default"),
        pytest.param({"disableInProgressLabel": True}, None, id="disabled"),
        pytest.param({"inProgressLabelKey": "a/b", "inProgressLabelValue": "c"}, InProgressLabel("a/b", "c"), id="own"),
    ],
)
def test_gateway_api_in_progress_label(config: dict[str, Any], label: InProgressLabel | None) -> None:
    assert parse_gateway_api(target({"httpRoute": "a"} | config)).label == label


@pytest.mark.parametrize(
    ("config", "path", "text"),
    [
        pytest.param({}, "", "no route is named", id="nothing"),
        pytest.param({"httpRoute": 5}, "httpRoute", "found 5, expected a string", id="number-for-a-name"),
        pytest.param({"httpRoutes": "a"}, "httpRoutes", 'found "a", expected a list', id="string-for-a-list"),
        pytest.param({"httpRoutes": [{"name": "a"}, {}]}, "httpRoutes[1].name", "expected the name", id="no-name"),
        pytest.param({"httpRoutes": ["a"]}, "httpRoutes[0].name", 'found "a", expected the name', id="bare-name"),
        pytest.param({"tcpRoute": "a"}, "tcpRoute", "not supported", id="tcp"),
        pytest.param({"tlsRoutes": [{"name": "a"}]}, "tlsRoutes", "not supported", id="tls"),
        pytest.param({"httpRouteSelector": {}}, "httpRouteSelector", "empty selector", id="empty-selector"),
        pytest.param(
            {"httpRouteSelector": {"matchLabels": {"a": 1}}},
            "httpRouteSelector.matchLabels",
            "expected label names and values",
            id="number-for-a-label",
        ),
        pytest.param(
            {"httpRouteSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            "httpRouteSelector.matchExpressions",
            '"Near" is not a valid label selector operator',
            id="unknown-operator",
        ),
        pytest.param({"httpRoute": "a", "disableInProgressLabel": "yes"}, "disableInProgressLabel", '"yes"', id="flag"),
        pytest.param({"httpRoute": ["x" * 200]}, "httpRoute", "…, expected a string", id="long-values-are-cut"),
    ],
)
def test_gateway_api_refuses(config: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_gateway_api(target(config))
    assert (caught.value.path, text in caught.value.detail) == (path, True), caught.value.detail


def test_waypoint_defaults_come_from_the_settings() -> None:
    settings = RoutingSettings(settle=timedelta(seconds=1), drain=timedelta(seconds=5))
    assert parse_waypoint(target({"service": "web"}), settings) == WaypointSpec(
        service=ObjectKey("shop", "web"), settle=timedelta(seconds=1), drain=timedelta(seconds=5)
    )


def test_waypoint_with_every_field() -> None:
    config = {"service": "web", "port": 8080, "grpcRoute": "calls", "settle": "1m30s", "drain": "0"}
    assert parse_waypoint(target(config), RoutingSettings()) == WaypointSpec(
        service=ObjectKey("shop", "web"),
        port=8080,
        route=ref("calls", "grpcroutes"),
        settle=timedelta(seconds=90),
        drain=timedelta(0),
    )


@pytest.mark.parametrize(
    ("config", "path", "text"),
    [
        pytest.param({}, "service", "found nothing, expected the name of the Service", id="no-service"),
        pytest.param({"service": ""}, "service", 'found ""', id="empty-service"),
        pytest.param({"service": 7}, "service", "found 7", id="number-for-a-service"),
        pytest.param({"service": "web-canary"}, "service", 'found the canaryService "web-canary"', id="canary"),
        pytest.param({"service": "web", "Port": 80}, "Port", "unknown field, expected one of service, port", id="case"),
        pytest.param({"service": "web", "port": "80"}, "port", 'found "80", expected a port number', id="text-port"),
        pytest.param({"service": "web", "port": True}, "port", "found true", id="true-is-no-port"),
        pytest.param({"service": "web", "port": 0}, "port", "found 0", id="port-zero"),
        pytest.param({"service": "web", "port": 65536}, "port", "found 65536", id="port-too-high"),
        pytest.param(
            {"service": "web", "httpRoute": "a", "grpcRoute": "b"}, "grpcRoute", "at most one", id="two-routes"
        ),
        pytest.param({"service": "web", "httpRoute": {}}, "httpRoute", "found {}, expected the name", id="no-name"),
        pytest.param({"service": "web", "settle": 12}, "settle", "found 12, expected a duration", id="number"),
        pytest.param({"service": "web", "settle": "1y"}, "settle", 'unknown unit "y"', id="year"),
        pytest.param({"service": "web", "drain": "-5s"}, "drain", 'found "-5s"', id="negative"),
    ],
)
def test_waypoint_refuses(config: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_waypoint(target(config), RoutingSettings())
    assert (caught.value.path, text in caught.value.detail) == (path, True), caught.value.detail
