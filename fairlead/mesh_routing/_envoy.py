"""What an Envoy's own configuration says about our weights: read from its `/config_dump`, as a value.

A waypoint carries its routes inside a listener (`main_internal`), one filter chain per Service and port with an inline
route configuration named like `inbound-vip|80|http|web.shop.svc.cluster.local`; a gateway has route configurations of
their own. Routes are named `<namespace>.<route>.<rule index>` or by their rule's name; weighted clusters end in the
backend's host name; a single weighted backend is a plain `cluster`.

A refused listener leaves the previous one active and an `error_state` beside it (the same entry, or one of its own).
An in-place update keeps the `version_info` of before, so versions prove nothing and weights are compared instead.

Source: envoy: api/envoy/admin/v3/config_dump_shared.proto; the shape of istiod's answers as measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.core.traffic import Applied, Evidence
from fairlead.mesh_routing._managed import recorded
from fairlead.mesh_routing.observation import Route, Rule

_DEPTH_MAX = 12  # of the walk from a filter chain to its route configuration
_WHY_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRoute:
    """One route of the proxy: the configuration it is in, its name, and its clusters with their weights."""

    configuration: str
    name: str
    clusters: Mapping[str, int]


def evidence_of(dump: Mapping[str, Any], route: Route, services: Mapping[str, int], *, rejected: int = 0) -> Evidence:
    """Return what one proxy's dump says about the weights of a route.

    Args:
        dump: the answer of `/config_dump` (whole, or of its listeners and route configurations).
        route: the route that was written.
        services: name of each of our backend Services to its weight.
        rejected: how many listener updates the proxy has refused since it last took one.
    """
    wanted_rules = [rule for rule in route.rules if _names_all(rule, route, services)]
    if not wanted_rules:
        return Evidence(applied=Applied.UNKNOWN, why=f"{route.ref} has no rule with these Services")
    routes = tuple(proxy_routes(dump))
    missing, differing = [], ""
    for rule in wanted_rules:
        found = [one for one in routes if _is_of(one, route, rule)]
        if not found:
            missing.append(rule.index)
        for one in found:
            actual = _shares(one, route.ref.key.namespace, services)
            if not _same_shares(actual, services):
                shown = ", ".join(f"{service} {weight}" for service, weight in actual.items())
                differing = f"route {one.name} of {one.configuration} has {shown or 'none of our Services'}"
    # Rules beside the split: that they are there is all that can be told of them.
    names = {managed.name for managed in recorded(route.annotations)}
    beside = [rule for rule in route.rules if rule.name in names and rule not in wanted_rules]
    missing += [rule.index for rule in beside if not any(_is_of(one, route, rule) for one in routes)]
    if not missing and not differing:
        return Evidence(applied=Applied.APPLIED)
    if refusals := tuple(refused(dump)):
        return Evidence(applied=Applied.REFUSED, why="; ".join(refusals)[:_WHY_LENGTH_MAX])
    if rejected > 0:
        return Evidence(applied=Applied.REFUSED, why=f"{rejected} listener updates refused; the proxy's log says why")
    why = differing or f"no route of {route.ref} rule {missing[0]} in the proxy"
    return Evidence(applied=Applied.NOT_YET, why=why)


def refused(dump: Mapping[str, Any]) -> Iterator[str]:
    """Yield the error of every listener or route configuration whose latest update the proxy refused."""
    said: set[str] = set()
    for entry in _entries(dump):
        error = _map(entry.get("error_state"))
        if not error:
            continue
        details = str(error.get("details", "")) or "no details"
        name = entry.get("name") or _map(error.get("failed_configuration")).get("name") or ""
        text = f"listener {name}: {details}" if name else details
        if details not in said:
            # Envoy reports a refused listener twice: by name, and once more without one.
            said.add(details)
            yield text


def proxy_routes(dump: Mapping[str, Any]) -> Iterator[ProxyRoute]:
    """Yield every route that is active in the proxy."""
    for entry in _entries(dump):
        listener = _map(_map(entry.get("active_state")).get("listener"))
        chains = [*_items(listener.get("filter_chains")), listener.get("default_filter_chain")]
        for chain in map(_map, chains):
            for configuration in _configurations(chain.get("filters"), _DEPTH_MAX):
                yield from _routes_of(configuration)
        configuration = _map(entry.get("route_config"))
        if configuration:
            yield from _routes_of(configuration)


def service_of_cluster(cluster: str) -> tuple[str, str]:
    """Return (name, namespace) of the Service that a cluster's name ends in; empty when it ends in none.

    >>> service_of_cluster("inbound-vip|80|http|web-canary.shop.svc.cluster.local")
    ('web-canary', 'shop')
    """
    labels = cluster.rsplit("|", 1)[-1].rstrip(";").split(".")
    return (labels[0], labels[1]) if len(labels) > 2 and labels[2] == "svc" else ("", "")


def _entries(dump: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield listeners and route configurations, of a whole dump or of one asked for by resource."""
    for config in map(_map, _items(dump.get("configs"))):
        kinds = ("dynamic_listeners", "static_route_configs", "dynamic_route_configs")
        if any(kind in config for kind in kinds):
            for kind in kinds:
                yield from map(_map, _items(config.get(kind)))
        else:
            yield config


def _configurations(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth == 0:
        return
    if isinstance(value, Mapping):
        found = value.get("route_config")
        if isinstance(found, Mapping):
            yield found
        for key, inner in value.items():
            if key != "route_config" and isinstance(inner, Mapping | list):
                yield from _configurations(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _configurations(inner, depth - 1)


def _routes_of(configuration: Mapping[str, Any]) -> Iterator[ProxyRoute]:
    for host in map(_map, _items(configuration.get("virtual_hosts"))):
        for entry in map(_map, _items(host.get("routes"))):
            action = _map(entry.get("route"))
            clusters: dict[str, int] = {}
            for weighted in map(_map, _items(_map(action.get("weighted_clusters")).get("clusters"))):
                name, weight = str(weighted.get("name", "")), weighted.get("weight", 0)
                clusters[name] = clusters.get(name, 0) + (weight if isinstance(weight, int) else 0)
            if isinstance(single := action.get("cluster"), str):
                clusters[single] = 1
            yield ProxyRoute(
                configuration=str(configuration.get("name", "")), name=str(entry.get("name", "")), clusters=clusters
            )


def _names_all(rule: Rule, route: Route, services: Mapping[str, int]) -> bool:
    named = {backend.name for backend in rule.backends if backend.service is not None}
    return all(service in named for service, weight in services.items() if weight > 0) and bool(named & set(services))


def _is_of(found: ProxyRoute, route: Route, rule: Rule) -> bool:
    namespace, name = route.ref.key
    if found.name == f"{namespace}.{name}.{rule.index}":
        return True
    if not rule.name or found.name != rule.name:
        return False
    # A rule's own name says nothing about its route: the Service that the configuration is for must be a parent.
    service = service_of_cluster(found.configuration)
    return any(parent.is_service and (parent.name, parent.namespace) == service for parent in route.parents)


def _shares(found: ProxyRoute, namespace: str, services: Mapping[str, int]) -> dict[str, int]:
    shares: dict[str, int] = {}
    for cluster, weight in found.clusters.items():
        name, where = service_of_cluster(cluster)
        if name in services and where == namespace and weight > 0:
            shares[name] = shares.get(name, 0) + weight
    return shares


def _same_shares(actual: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Return whether the shares are in the same proportion; weights are shares of their sum, 1/1 is 50/50."""
    actual_sum, wanted_sum = sum(actual.values()), sum(wanted.values())
    if actual_sum == 0 or wanted_sum == 0:
        return False
    return all(actual.get(name, 0) * wanted_sum == weight * actual_sum for name, weight in wanted.items())


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
