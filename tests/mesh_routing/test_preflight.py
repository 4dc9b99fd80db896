from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fairlead.core.kinds import KindCondition, Service, ServicePort, ServiceStatus
from fairlead.core.objects import Manifest, ObjectKey, decode_manifest
from fairlead.mesh_routing._preflight import Severity, Surroundings, blocking, examine, refused_by_the_proxy
from fairlead.mesh_routing._waypoint import Wish
from tests.mesh_routing.builders import HASH, T0, backend, http_route, parent, read, seconds, service, split

APEX, STABLE, CANARY = (ObjectKey("shop", name) for name in ("web", "web-stable", "web-canary"))
BOUND = "Successfully attached to waypoint shop/waypoint"
WEB = service("web", {HASH: "a"}, bound=BOUND)
STABLE_SERVICE, CANARY_SERVICE = service("web-stable", {HASH: "a"}), service("web-canary", {HASH: "b"})
SERVICES = {APEX: WEB, STABLE: STABLE_SERVICE, CANARY: CANARY_SERVICE}


def gateway(**changes: Any) -> Manifest:
    content: dict[str, Any] = {
        "metadata": {"name": "waypoint", "namespace": "shop", "labels": {"istio.io/waypoint-for": "service"}},
        "spec": {"gatewayClassName": "istio-waypoint"},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "True"}]},
    }
    return decode_manifest(json.dumps(content | changes).encode())


OURS = read(http_route(split()))
GOOD = Surroundings(
    apex=APEX,
    stable=STABLE,
    canary=CANARY,
    services=SERVICES,
    port=80,
    wish=Wish(waypoint=ObjectKey("shop", "waypoint")),
    gateway=gateway(),
    has_gateways=True,
    waypoint_ready=1,
    namespace_labels={},
    routes=(OURS,),
    ours=OURS,
    our_rules=(0,),
)


def with_service(key: ObjectKey, found: Service | None) -> Surroundings:
    services = {name: one for name, one in SERVICES.items() if name != key}
    return replace(GOOD, services=services | ({key: found} if found else {}))


def with_routes(*routes: Manifest, ours: Manifest | None = None) -> Surroundings:
    mine = read(ours) if ours is not None else OURS
    return replace(GOOD, ours=mine, routes=(mine, *map(read, routes)))


def condition(status: str, reason: str, message: str) -> Service:
    bound = KindCondition(type="istio.io/WaypointBound", status=status, reason=reason, message=message)
    return Service(metadata=WEB.metadata, spec=WEB.spec, status=ServiceStatus(conditions=(bound,)))


def test_a_healthy_service_passes_everything() -> None:
    assert examine(GOOD) == ()


def test_before_the_route_exists_there_is_nothing_to_say_about_it() -> None:
    assert examine(replace(GOOD, ours=None, our_rules=(), routes=())) == ()


@pytest.mark.parametrize(
    ("seen", "check", "text"),
    [
        pytest.param(with_service(APEX, None), "P04", "Service shop/web does not exist", id="no-apex"),
        pytest.param(
            with_service(APEX, service("web", bound=BOUND, cluster_ip="None")), "P04", "is headless", id="headless"
        ),
        pytest.param(
            with_service(APEX, service("web", bound=BOUND, type="ExternalName")),
            "P04",
            "is ExternalName",
            id="external",
        ),
        pytest.param(replace(GOOD, port=None), "P04", "name one of them in `port`", id="port-not-named"),
        pytest.param(replace(GOOD, port=81), "P04", "has no port 81, it has 80", id="no-such-port"),
        pytest.param(replace(GOOD, wish=Wish()), "P05", "the route would be stored and ignored", id="no-label"),
        pytest.param(
            replace(GOOD, wish=Wish(opted_out="Namespace shop")), "P05", "Namespace shop opts out with", id="opted-out"
        ),
        pytest.param(
            with_service(APEX, service("web")), "P06", "istiod has not reported on Service shop/web", id="unbound"
        ),
        pytest.param(
            with_service(APEX, condition("False", "AttachmentDenied", "no")), "P06", "AttachmentDenied: no", id="denied"
        ),
        pytest.param(
            with_service(APEX, condition("True", "WaypointAccepted", "Successfully attached to waypoint shop/old")),
            "P07",
            "attached to shop/old, labels ask for shop/waypoint; status is stale",
            id="stale-binding",
        ),
        pytest.param(replace(GOOD, waypoint_ready=0), "P08", "has no ready endpoint", id="waypoint-dead"),
        pytest.param(replace(GOOD, gateway=None), "P09", "Gateway shop/waypoint does not exist", id="no-gateway"),
        pytest.param(
            replace(GOOD, gateway=gateway(spec={"gatewayClassName": "istio-agentgateway-waypoint"})),
            "P09",
            "is run by istio.io/agentgateway-waypoint-controller",
            id="foreign-waypoint",
        ),
        pytest.param(
            replace(GOOD, gateway=gateway(metadata={"labels": {"istio.io/waypoint-for": "workload"}})),
            "P09",
            "expected service or all",
            id="for-workloads",
        ),
        pytest.param(
            replace(
                GOOD,
                gateway=gateway(
                    status={"conditions": [{"type": "Programmed", "status": "False", "reason": "AddressNotAssigned"}]}
                ),
            ),
            "P09",
            "Programmed=False (AddressNotAssigned)",
            id="not-programmed",
        ),
        pytest.param(
            replace(
                GOOD,
                gateway=gateway(
                    status={
                        "listeners": [
                            {
                                "name": "mesh",
                                "conditions": [
                                    {"type": "Accepted", "status": "False", "reason": "UnsupportedProtocol"}
                                ],
                            }
                        ]
                    }
                ),
            ),
            "P09",
            "listener mesh: Accepted=False (UnsupportedProtocol)",
            id="listener-refused",
        ),
        pytest.param(
            with_service(STABLE, service("web-stable", {HASH: "a"}, ports=(ServicePort(name="tcp-x", port=80),))),
            "P10",
            "port 80 of shop/web-stable is declared tcp",
            id="backend-port-is-tcp",
        ),
        pytest.param(
            with_service(CANARY, None), "P11", "canary Service shop/web-canary does not exist", id="no-canary"
        ),
        pytest.param(
            with_service(CANARY, service("web-canary", {HASH: "b"}, port=81)),
            "P11",
            "canary Service shop/web-canary has no port 80",
            id="backend-without-the-port",
        ),
        pytest.param(
            with_service(CANARY, service("web-canary", {HASH: "b"}, cluster_ip="None")),
            "P11",
            "shop/web-canary is headless",
            id="headless-backend",
        ),
        pytest.param(
            with_service(CANARY, service("web-canary", {HASH: "b"}, publish_not_ready_addresses=True)),
            "P11",
            "publishNotReadyAddresses",
            id="not-ready-addresses",
        ),
        pytest.param(
            with_service(CANARY, service("web-canary", {"app": "web"})),
            "P11",
            "canary Service shop/web-canary selects pods of the stable revision",
            id="selectors-not-parted",
        ),
        pytest.param(
            with_routes(http_route({}, name="user", created=T0 - seconds(9))),
            "P14",
            "rule 0 of HTTPRoute shop/user (older, same match) wins over ours",
            id="shadowed",
        ),
        pytest.param(
            with_routes(ours=http_route(split(matches=[{"path": {"type": "PathPrefix", "value": "/v2"}}]))),
            "P17",
            "requests matching no rule would get 404",
            id="no-default-rule",
        ),
        pytest.param(
            with_routes(
                http_route(
                    {"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "(?=x)"}]}]},
                    name="user",
                )
            ),
            "P27",
            "HTTPRoute shop/user spec.rules[0].matches[0].headers[0].value: error parsing regexp",
            id="expression-that-the-proxy-refuses",
        ),
    ],
)
def test_blocking(seen: Surroundings, check: str, text: str) -> None:
    found = [str(finding) for finding in examine(seen) if finding.severity is Severity.BLOCKS]
    assert any(line.startswith(f"{check}: ") and text in line for line in found), found


@pytest.mark.parametrize(
    ("seen", "check", "text"),
    [
        pytest.param(
            with_routes(http_route({}, name="user", parents=[parent(port=None)])),
            "P15",
            "has no port, ours has",
            id="styles",
        ),
        pytest.param(
            with_routes(http_route({}, name="user", namespace="else", parents=[parent(namespace="shop")])),
            "P16",
            "HTTPRoute else/user is accepted but not applied",
            id="consumer",
        ),
        pytest.param(
            with_routes(http_route({"backendRefs": [backend("web")]}, name="edge", parents=[{"name": "edge"}])),
            "P18",
            "skips the waypoint",
            id="ingress",
        ),
        pytest.param(
            with_routes(http_route({"backendRefs": [backend("web-canary")]}, name="edge", parents=[{"name": "edge"}])),
            "P19",
            "weights multiply",
            id="gateway-splits-too",
        ),
        pytest.param(
            with_routes(ours=http_route(split(sessionPersistence={"sessionName": "x"}))),
            "P24",
            "spec.rules[0].sessionPersistence of HTTPRoute shop/web has no effect",
            id="ignored-field",
        ),
        pytest.param(
            with_service(APEX, service("web", {HASH: "a"}, bound=BOUND, labels={"istio.io/global": "true"})),
            "P26",
            "is global",
            id="global",
        ),
    ],
)
def test_warnings_do_not_block(seen: Surroundings, check: str, text: str) -> None:
    findings = examine(seen)
    assert [(finding.check, text in finding.message) for finding in findings] == [(check, True)]
    assert blocking(findings) == ""


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(replace(GOOD, wish=Wish(is_known=False)), id="namespace-not-watched"),
        pytest.param(replace(GOOD, gateway=None, has_gateways=False), id="gateways-not-watched"),
        pytest.param(
            replace(GOOD, gateway=gateway(spec={"gatewayClassName": "my-waypoints"})), id="a-class-of-the-user"
        ),
        pytest.param(
            with_service(CANARY, service("web-canary", {HASH: "a"})), id="at-rest-both-select-the-stable-hash"
        ),
        pytest.param(
            with_routes(http_route({}, name="user", created=T0 + seconds(9))), id="a-younger-catch-all-does-no-harm"
        ),
    ],
)
def test_what_is_unknown_or_harmless_does_not_block(seen: Surroundings) -> None:
    assert blocking(examine(seen)) == ""


def test_all_failures_are_reported_at_once() -> None:
    text = blocking(examine(replace(GOOD, services={}, wish=Wish(opted_out="Service shop/web"), port=None)))
    assert [part.split(":")[0] for part in text.split("; ")] == ["P04", "P05", "P11", "P11"]


def modifier(field: str, value: str) -> dict[str, Any]:
    return {"type": "x", field: {"set": [{"name": "a", "value": value}]}}


def expression(field: str, value: str) -> dict[str, Any]:
    return {"matches": [{field: [{"type": "RegularExpression", "name": "a", "value": value}]}]}


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        pytest.param(expression("headers", "a.*"), [], id="fine"),
        pytest.param(expression("headers", "a++"), ["matches[0].headers[0].value"], id="possessive"),
        pytest.param(expression("queryParams", "a{1001}"), ["matches[0].queryParams[0].value"], id="repetition"),
        pytest.param({"matches": [{"headers": [{"name": "a", "value": "(?=x)"}]}]}, [], id="exact-is-no-expression"),
        pytest.param(
            {"filters": [modifier("requestHeaderModifier", "50% off")]},
            ["filters[0].requestHeaderModifier.set[0].value"],
            id="lone-percent",
        ),
        pytest.param({"filters": [modifier("requestHeaderModifier", "50%% off")]}, [], id="doubled-percent"),
        pytest.param({"filters": [modifier("responseHeaderModifier", "%REQ(x)%")]}, [], id="command"),
        pytest.param(
            {"backendRefs": [backend("a") | {"filters": [modifier("responseHeaderModifier", "%")]}]},
            ["backendRefs[0].filters[0].responseHeaderModifier.set[0].value"],
            id="at-a-backend",
        ),
    ],
)
def test_what_the_proxy_would_refuse(rule: dict[str, Any], paths: list[str]) -> None:
    assert [path for path, _ in refused_by_the_proxy(read(http_route(rule)).rules[0])] == paths
