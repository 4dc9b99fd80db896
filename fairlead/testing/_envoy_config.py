"""A state of the wire as Envoy's configuration: listeners, clusters and endpoints as JSON data.

One listener `main_internal` for all Services, as at a waypoint: what makes Envoy refuse it freezes them all. Each
Service's port is a filter chain with its routes inline, so that a change of weights is a listener update in place.
Where ztunnel would dial a VIP, clients dial a loopback port per Service and port.

Source: envoy: api/envoy/config/{listener,route,cluster,endpoint}/v3; shape as istiod generates it for waypoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.core.durations import parse_go_seconds
from fairlead.core.objects import ObjectKey
from fairlead.testing._wire import WireBackend, WireChain, WireCluster, WireRoute, WireState, cluster_name

Json = dict[str, Any]

LISTENER = "main_internal"
HOST = "127.0.0.1"
_TYPE = "type.googleapis.com/envoy."
_MANAGER = _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = _TYPE + "extensions.filters.http.router.v3.Router"
_POISON: Json = {
    # An expression with a lookahead: RE2 has none, and the whole listener is refused.
    "name": "poison",
    "match": {"prefix": "/", "headers": [{"name": "x-poison", "string_match": {"safe_regex": {"regex": "(?=x)"}}}]},
    "direct_response": {"status": 500},
}
_RETRIES: Json = {
    # The mesh's default, also without a retry in the route: refused connections yes, an application's 503 no.
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": _TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
}


def listeners(state: WireState, ports: Mapping[tuple[ObjectKey, int], int]) -> list[Json]:
    """Return the listener that carries all chains for which there is a loopback port; none without any.

    Args:
        state: the wire.
        ports: Service and Service port to the loopback port that clients dial.
    """
    carried = [chain for chain in state.chains if (chain.service, chain.port) in ports]
    if not carried:
        return []
    chains = [_chain(chain, ports[chain.service, chain.port]) for chain in carried]
    if state.is_poisoned:
        manager = chains[0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"].insert(0, _POISON)
    addresses = [_address(HOST, ports[chain.service, chain.port]) for chain in carried]
    found: Json = {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": LISTENER,
        "address": addresses[0],
        "filter_chains": chains,
    }
    if addresses[1:]:
        found["additional_addresses"] = [{"address": address} for address in addresses[1:]]
    return [found]


def clusters(state: WireState, endpoints_path: Mapping[str, str]) -> list[Json]:
    """Return all clusters; each reads its endpoints from a file of its own.

    Args:
        state: the wire.
        endpoints_path: cluster name to that file.
    """
    return [
        {
            "@type": _TYPE + "config.cluster.v3.Cluster",
            "name": cluster.name,
            "type": "EDS",
            "connect_timeout": "1s",
            "ignore_health_on_host_removal": True,  # what has left the EndpointSlice gets no request any more
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "eds_cluster_config": {
                "eds_config": {
                    "resource_api_version": "V3",
                    "path_config_source": {"path": endpoints_path[cluster.name]},
                }
            },
        }
        for cluster in state.clusters
    ]


def endpoints(cluster: WireCluster) -> Json:
    """Return the endpoints of one cluster."""
    members = [{"endpoint": {"address": _address(host, port)}} for host, port in cluster.endpoints]
    return {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
        "endpoints": [{"lb_endpoints": members}] if members else [],
    }


def bootstrap(*, lds_path: str, cds_path: str) -> Json:
    """Return what Envoy is started with: where it reads the rest, and how its counters are labelled."""

    def source(path: str) -> Json:
        return {"resource_api_version": "V3", "path_config_source": {"path": path}}

    return {
        "node": {"id": "waypoint", "cluster": "waypoint"},
        "admin": {"address": _address(HOST, 0)},
        "dynamic_resources": {"lds_config": source(lds_path), "cds_config": source(cds_path)},
        "stats_config": {
            # Envoy's own rule ends a cluster's name at its first dot; ours are host names. The others are its own, so
            # that queries are those of a waypoint: `envoy_cluster_upstream_rq_xx{envoy_response_code_class="2"}`.
            "use_all_default_tags": False,
            "stats_tags": [
                {"tag_name": "envoy.cluster_name", "regex": r"^cluster\.((.+?\.svc\.cluster\.local)\.)"},
                {"tag_name": "envoy.response_code", "regex": r"_rq(_(\d{3}))$"},
                {"tag_name": "envoy.response_code_class", "regex": r"_rq_((\d))xx$"},
            ],
        },
    }


def _chain(chain: WireChain, port: int) -> Json:
    manager: Json = {
        "@type": _MANAGER,
        "stat_prefix": chain.name,
        "route_config": {
            "name": chain.name,
            "validate_clusters": False,  # a backend that does not exist is answered, not refused
            "virtual_hosts": [
                {
                    "name": f"inbound|http|{chain.port}",
                    "domains": ["*"],
                    "routes": [_route(route) for route in chain.routes],
                }
            ],
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    return {
        "name": chain.name,
        "filter_chain_match": {"destination_port": port},
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }


def _route(route: WireRoute) -> Json:
    found: Json = {"name": route.name, "match": _match(route.match)}
    found |= _headers(route.rule)
    if not route.backends:
        return found | {"direct_response": {"status": 500}}
    action: Json = {
        "timeout": "0s",
        "retry_policy": _RETRIES,
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
    }
    timeouts = route.rule.get("timeouts")
    if isinstance(timeouts, Mapping):
        action["timeout"] = _seconds(timeouts.get("backendRequest") or timeouts.get("request"))
    mirrors = [_mirror(entry["requestMirror"], route.namespace) for entry in _filters(route.rule, "RequestMirror")]
    if mirrors:
        action["request_mirror_policies"] = mirrors
    if len(route.backends) == 1:
        action["cluster"] = route.backends[0].cluster
        found |= _merged(found, _headers(route.backends[0].content))
    else:
        action["weighted_clusters"] = {"clusters": [_weighted(backend) for backend in route.backends]}
    return found | {"route": action}


def _weighted(backend: WireBackend) -> Json:
    return {"name": backend.cluster, "weight": backend.weight, **_headers(backend.content)}


def _match(match: Mapping[str, Any]) -> Json:
    path = match.get("path")
    place = path if isinstance(path, Mapping) else {}
    kind, value = str(place.get("type", "PathPrefix")), str(place.get("value", "/"))
    headers = [_matcher(entry, "exact") for entry in _items(match, "headers")]
    method = match.get("method")
    if isinstance(method, Mapping):
        service, name = str(method.get("service", "")), str(method.get("method", ""))
        kind, value = ("Exact", f"/{service}/{name}") if name else ("PathPrefix", f"/{service}" if service else "/")
    elif isinstance(method, str) and method:
        headers.insert(0, {"name": ":method", "string_match": {"exact": method}})
    found: Json = {}
    if kind == "Exact":
        found["path"] = value
    elif kind == "RegularExpression":
        found["safe_regex"] = {"regex": value}
    elif value in ("/", ""):
        found["prefix"] = "/"
    else:
        found["path_separated_prefix"] = value.rstrip("/")
    if headers:
        found["headers"] = headers
    if queries := [_matcher(entry, "exact") for entry in _items(match, "queryParams")]:
        found["query_parameters"] = queries
    return found


def _matcher(entry: Mapping[str, Any], exact: str) -> Json:
    value = str(entry.get("value", ""))
    is_expression = entry.get("type") == "RegularExpression"
    return {
        "name": str(entry.get("name", "")),
        "string_match": {"safe_regex": {"regex": value}} if is_expression else {exact: value},
    }


def _headers(owner: Mapping[str, Any]) -> Json:
    """Return the header changes of a rule or of a ref."""
    found: Json = {}
    for type_, field, side in (
        ("RequestHeaderModifier", "requestHeaderModifier", "request"),
        ("ResponseHeaderModifier", "responseHeaderModifier", "response"),
    ):
        for entry in _filters(owner, type_):
            change = entry[field]
            for operation, action in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")):
                for header in _items(change, operation):
                    value = {"key": str(header.get("name", "")), "value": str(header.get("value", ""))}
                    found.setdefault(f"{side}_headers_to_add", []).append({"header": value, "append_action": action})
            if isinstance(removed := change.get("remove"), list):
                found.setdefault(f"{side}_headers_to_remove", []).extend(map(str, removed))
    return found


def _merged(rule: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    return {key: [*rule.get(key, []), *value] for key, value in more.items()}


def _mirror(content: Mapping[str, Any], namespace: str) -> Json:
    backend = content.get("backendRef")
    ref = backend if isinstance(backend, Mapping) else {}
    fraction = content.get("fraction")
    share = 1_000_000
    if isinstance(content.get("percent"), int):
        share = content["percent"] * 10_000
    elif isinstance(fraction, Mapping):
        share = int(fraction.get("numerator", 0)) * 1_000_000 // max(1, int(fraction.get("denominator", 100)))
    key = ObjectKey(str(ref.get("namespace", namespace)), str(ref.get("name", "")))
    return {
        "cluster": cluster_name(key, int(ref.get("port", 0))),
        "disable_shadow_host_suffix_append": True,
        "runtime_fraction": {"default_value": {"numerator": share, "denominator": "MILLION"}},
    }


def _seconds(text: object) -> str:
    """Return a Gateway API duration as protobuf writes it."""
    if not isinstance(text, str) or not re.fullmatch(r"(\d{1,5}(h|ms|m|s)){1,4}", text):
        return "0s"
    return f"{float(parse_go_seconds(text)):.3f}s"


def _filters(owner: Mapping[str, Any], type_: str) -> list[Mapping[str, Any]]:
    field = type_[0].lower() + type_[1:]
    return [
        entry
        for entry in _items(owner, "filters")
        if entry.get("type") == type_ and isinstance(entry.get(field), Mapping)
    ]


def _items(content: Mapping[str, Any], field: str) -> Sequence[Mapping[str, Any]]:
    value = content.get(field)
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
