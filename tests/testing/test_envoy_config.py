from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fairlead.core.objects import ObjectKey
from fairlead.testing import _envoy_config
from fairlead.testing._wire import WireCluster, WireState, cluster_name, wire_of
from tests.mesh_routing.builders import SERVICES, backend, http_route, read, split

WEB = ObjectKey("shop", "web")
PORTS = {(WEB, 80): 18080}


def wire(*rules: dict[str, Any], is_poisoned: bool = False) -> WireState:
    found = wire_of([read(http_route(*rules))], SERVICES, (), is_routed={WEB: True})
    return WireState(chains=found.chains, clusters=found.clusters, is_poisoned=is_poisoned)


def routes(state: WireState) -> list[dict[str, Any]]:
    [listener] = _envoy_config.listeners(state, PORTS)
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    found: list[dict[str, Any]] = manager["route_config"]["virtual_hosts"][0]["routes"]
    return found


def rule(**fields: Any) -> dict[str, Any]:
    return {"backendRefs": [backend("web-stable", 1)], **fields}


def test_the_listener_of_a_waypoint() -> None:
    [listener] = _envoy_config.listeners(wire(split(80, 20)), PORTS)
    [chain] = listener["filter_chains"]
    assert (listener["name"], chain["name"]) == ("main_internal", "inbound-vip|80|http|web.shop.svc.cluster.local")
    assert listener["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 18080}}
    assert chain["filter_chain_match"] == {"destination_port": 18080}
    [route] = routes(wire(split(80, 20)))
    assert route["name"] == "shop.web.0"
    assert route["route"]["weighted_clusters"] == {
        "clusters": [
            {"name": cluster_name(ObjectKey("shop", "web-stable"), 80), "weight": 80},
            {"name": cluster_name(ObjectKey("shop", "web-canary"), 80), "weight": 20},
        ]
    }


def test_services_without_a_port_to_dial_get_no_listener() -> None:
    assert _envoy_config.listeners(wire(), {}) == []


def test_several_services_share_one_listener() -> None:
    ports = PORTS | {(ObjectKey("shop", "web-canary"), 80): 18081}
    [listener] = _envoy_config.listeners(wire(), ports)
    assert [one["address"]["socket_address"]["port_value"] for one in listener["additional_addresses"]] == [18081]
    assert len(listener["filter_chains"]) == 2


def test_a_single_backend_is_a_plain_cluster_and_none_is_a_500() -> None:
    assert routes(wire(split(100, 0)))[0]["route"]["cluster"] == cluster_name(ObjectKey("shop", "web-stable"), 80)
    assert routes(wire(split(0, 0)))[0]["direct_response"] == {"status": 500}


def test_poison_comes_first() -> None:
    assert [route["name"] for route in routes(wire(split(), is_poisoned=True))] == ["poison", "shop.web.0"]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param({}, {"prefix": "/"}, id="everything"),
        pytest.param({"path": {"type": "PathPrefix", "value": "/v1/"}}, {"path_separated_prefix": "/v1"}, id="prefix"),
        pytest.param({"path": {"type": "Exact", "value": "/v1"}}, {"path": "/v1"}, id="exact"),
        pytest.param(
            {"path": {"type": "RegularExpression", "value": "/v.*"}}, {"safe_regex": {"regex": "/v.*"}}, id="expression"
        ),
        pytest.param(
            {"method": "GET", "headers": [{"name": "a", "type": "RegularExpression", "value": "b+"}]},
            {
                "prefix": "/",
                "headers": [
                    {"name": ":method", "string_match": {"exact": "GET"}},
                    {"name": "a", "string_match": {"safe_regex": {"regex": "b+"}}},
                ],
            },
            id="method-and-header",
        ),
        pytest.param(
            {"queryParams": [{"name": "q", "value": "1"}]},
            {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]},
            id="query",
        ),
        pytest.param({"method": {"service": "a.B", "method": "C"}}, {"path": "/a.B/C"}, id="grpc-method"),
        pytest.param({"method": {"service": "a.B"}}, {"path_separated_prefix": "/a.B"}, id="grpc-service"),
    ],
)
def test_matches(match: dict[str, Any], expected: dict[str, Any]) -> None:
    assert routes(wire(rule(matches=[match])))[0]["match"] == expected


def modifier(side: str, **change: Any) -> dict[str, Any]:
    return {"type": f"{side.capitalize()}HeaderModifier", f"{side}HeaderModifier": change}


def test_header_modifiers() -> None:
    filters = [
        modifier("request", set=[{"name": "a", "value": "1"}], remove=["b"]),
        modifier("response", add=[{"name": "c", "value": "2"}]),
    ]
    [route] = routes(wire(rule(filters=filters)))
    assert route["request_headers_to_add"] == [
        {"header": {"key": "a", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]
    assert route["request_headers_to_remove"] == ["b"]
    assert route["response_headers_to_add"][0]["append_action"] == "APPEND_IF_EXISTS_OR_ADD"


def test_header_modifiers_of_one_backend() -> None:
    change = {"filters": [modifier("response", set=[{"name": "a", "value": "1"}])]}
    both = {"backendRefs": [backend("web-stable", 1), backend("web-canary", 1) | change]}
    first, second = routes(wire(both))[0]["route"]["weighted_clusters"]["clusters"]
    assert "response_headers_to_add" not in first
    assert second["response_headers_to_add"][0]["header"]["key"] == "a"
    alone = {"backendRefs": [backend("web-canary", 1) | change]}
    assert routes(wire(alone))[0]["response_headers_to_add"][0]["header"]["key"] == "a"


@pytest.mark.parametrize(
    ("share", "numerator"),
    [
        pytest.param({}, 1_000_000, id="all"),
        pytest.param({"percent": 50}, 500_000, id="percent"),
        pytest.param({"fraction": {"numerator": 1, "denominator": 1000}}, 1000, id="fraction"),
    ],
)
def test_mirrors(share: dict[str, Any], numerator: int) -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web-canary", "port": 80}, **share}}
    [policy] = routes(wire(rule(filters=[mirror])))[0]["route"]["request_mirror_policies"]
    assert policy["cluster"] == cluster_name(ObjectKey("shop", "web-canary"), 80)
    assert policy["runtime_fraction"]["default_value"]["numerator"] == numerator


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        pytest.param({}, "0s", id="none"),
        pytest.param({"timeouts": {"request": "1500ms"}}, "1.500s", id="request"),
        pytest.param({"timeouts": {"request": "3s", "backendRequest": "1s"}}, "1.000s", id="backend-request"),
        pytest.param({"timeouts": {"request": "soon"}}, "0s", id="odd"),
    ],
)
def test_timeouts(timeouts: dict[str, Any], expected: str) -> None:
    assert routes(wire(rule(**timeouts)))[0]["route"]["timeout"] == expected


def test_endpoints_and_clusters() -> None:
    cluster = WireCluster("c", (("127.0.0.2", 8080),))
    [member] = _envoy_config.endpoints(cluster)["endpoints"][0]["lb_endpoints"]
    assert member["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.2", "port_value": 8080}
    assert _envoy_config.endpoints(WireCluster("c", ()))["endpoints"] == []
    [found] = _envoy_config.clusters(WireState(clusters=(cluster,)), {"c": "/tmp/c.json"})
    assert found["eds_cluster_config"]["eds_config"]["path_config_source"] == {"path": "/tmp/c.json"}


def test_everything_is_json() -> None:
    json.dumps([_envoy_config.bootstrap(lds_path="l", cds_path="c"), _envoy_config.listeners(wire(split()), PORTS)])


@pytest.mark.parametrize(
    ("counter", "name", "tags"),
    [
        pytest.param("upstream_rq_2xx", "cluster.upstream_rq_xx", {"envoy.response_code_class": "2"}, id="class"),
        pytest.param("upstream_rq_503", "cluster.upstream_rq", {"envoy.response_code": "503"}, id="code"),
        pytest.param("upstream_rq_total", "cluster.upstream_rq_total", {}, id="neither"),
    ],
)
def test_counters_have_the_names_that_queries_on_a_waypoint_use(counter: str, name: str, tags: dict[str, str]) -> None:
    # What the first group of a rule matches is taken out of the name, what the second matches is the tag's value.
    cluster = cluster_name(ObjectKey("shop", "web-canary"), 80)
    left, found = f"cluster.{cluster}.{counter}", {}
    for rule in _envoy_config.bootstrap(lds_path="l", cds_path="c")["stats_config"]["stats_tags"]:
        if match := re.search(rule["regex"], left):
            found[rule["tag_name"]] = match[2]
            left = left[: match.start(1)] + left[match.end(1) :]
    assert (left, found) == (name, {"envoy.cluster_name": cluster, **tags})
