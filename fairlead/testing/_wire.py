"""What the routes of a cluster mean at a waypoint: a pure translation from objects to a state of the wire.

As istiod was measured to translate: routes of the Service's own namespace, rules by specificity and then by age, refs
of weight 0 left out, all of them 0 a direct 500, a missing Service a cluster that does not exist, one hard error and
all rules of that route are gone.

Its lies: redirects, rewrites and CORS are not translated (such a rule answers as if the filter were not there);
routes of the waypoint's namespace count only when it is the Service's own.

Source: istio: pilot/pkg/config/kube/gateway/{conversion,route_collections}.go, measured behaviour of istiod 1.31.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.core.kinds import EndpointSlice, Service, ServicePort
from fairlead.core.objects import ObjectKey
from fairlead.mesh_routing import Route
from fairlead.mesh_routing.observation import BackendRef, Rule

CLUSTER_DOMAIN = "cluster.local"
SERVICE_NAME = "kubernetes.io/service-name"
_HARD_FILTERS = frozenset({"ExtensionRef", "ExternalAuth"})
_PATHS = {"Exact": 0, "PathPrefix": 1, "RegularExpression": 2}


@dataclass(frozen=True, slots=True)
class WireBackend:
    """A weighted backend: the cluster's name, its weight, and the ref's JSON data."""

    cluster: str
    weight: int
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRoute:
    """One route of a chain: one match of one rule.

    Attributes:
        name: `<namespace>.<route>.<rule index>`, the rule's own name, or `default`.
        namespace: the route's.
        match: the match's JSON data; empty: everything.
        backends: those of weight above 0; none: answered with 500.
        rule: the rule's JSON data.
    """

    name: str
    namespace: str
    match: Mapping[str, Any]
    backends: tuple[WireBackend, ...]
    rule: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireChain:
    """What clients of one port of one Service meet."""

    service: ObjectKey
    port: int
    routes: tuple[WireRoute, ...]

    @property
    def name(self) -> str:
        return cluster_name(self.service, self.port)


@dataclass(frozen=True, slots=True)
class WireCluster:
    """The ready endpoints of one port of one Service, sorted."""

    name: str
    endpoints: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireState:
    """All that the data plane is to be told. `is_poisoned`: with something in it that a proxy refuses."""

    chains: tuple[WireChain, ...] = ()
    clusters: tuple[WireCluster, ...] = ()
    is_poisoned: bool = False


def cluster_name(service: ObjectKey, port: int) -> str:
    """Return the name that istiod gives to a port of a Service at a waypoint.

    >>> cluster_name(ObjectKey("shop", "web"), 80)
    'inbound-vip|80|http|web.shop.svc.cluster.local'
    """
    return f"inbound-vip|{port}|http|{service.name}.{service.namespace}.svc.{CLUSTER_DOMAIN}"


def wire_of(
    routes: Iterable[Route],
    services: Sequence[Service],
    slices: Iterable[EndpointSlice],
    *,
    is_routed: Mapping[ObjectKey, bool],
) -> WireState:
    """Return what the objects mean on the wire.

    Args:
        routes: HTTPRoutes and GRPCRoutes.
        services: all Services.
        slices: all EndpointSlices.
        is_routed: whether a Service is attached to a waypoint; without one its routes are stored and ignored.
    """
    names = {service.metadata.key for service in services}
    mesh = [route for route in routes if not hard_error(route)]
    by_service = _by_service(slices)
    chains: list[WireChain] = []
    clusters: list[WireCluster] = []
    for service in services:
        key = service.metadata.key
        if service.spec.type == "ExternalName" or service.spec.cluster_ip == "None":
            continue
        for port in service.spec.ports:
            own = cluster_name(key, port.port)
            clusters.append(WireCluster(own, _endpoints(by_service.get(key, ()), port)))
            attached = _attached(mesh, key, port.port) if is_routed.get(key, False) else []
            plain = WireRoute(
                name="default", namespace=key.namespace, match={}, backends=(WireBackend(own, 1, {}),), rule={}
            )
            found = tuple(_ordered(attached, names, key)) if attached else (plain,)
            chains.append(WireChain(service=key, port=port.port, routes=found))
    return WireState(chains=tuple(chains), clusters=tuple(clusters))


def hard_error(route: Route) -> str:
    """Return why all rules of a route are dropped; empty when they are not."""
    for rule in route.rules:
        for owner in (rule.content, *_items(rule.content, "backendRefs")):
            for entry in _items(owner, "filters"):
                if entry.get("type") in _HARD_FILTERS:
                    return f"rule {rule.index} has a filter of type {entry['type']}"
        for backend in rule.backends:
            if "." in backend.name:
                return f"rule {rule.index} names the hostname {backend.name}"
    return ""


def _attached(routes: Sequence[Route], service: ObjectKey, port: int) -> list[Route]:
    return [
        route
        for route in routes
        if route.ref.key.namespace == service.namespace and any(_is_parent(route, service, port))
    ]


def _is_parent(route: Route, service: ObjectKey, port: int) -> Iterable[bool]:
    for parent in route.parents:
        if parent.is_service and ObjectKey(parent.namespace, parent.name) == service:
            yield parent.port in (None, port)


def _ordered(routes: list[Route], services: set[ObjectKey], apex: ObjectKey) -> Iterable[WireRoute]:
    """Yield routes in the order in which the proxy looks at them; nothing comes after a catch-all."""
    groups: dict[bool, list[Route]] = {}
    for route in sorted(routes, key=_age):
        has_port = all(parent.port is not None for parent in route.parents if parent.name == apex.name)
        groups.setdefault(has_port, []).append(route)
    for group in groups.values():  # by the age of their oldest route
        entries = [
            (_specificity(match), _wire_route(route, rule, match, services))
            for route in group
            for rule in route.rules
            for match in (_items(rule.content, "matches") or [{}])
        ]
        for rank, wire_route in sorted(entries, key=lambda entry: entry[0]):
            yield wire_route
            if rank == _specificity({}):
                return


def _wire_route(route: Route, rule: Rule, match: Mapping[str, Any], services: set[ObjectKey]) -> WireRoute:
    namespace, name = route.ref.key
    contents = _items(rule.content, "backendRefs")
    backends = tuple(
        WireBackend(_cluster_of(backend, services), backend.weight, content)
        for backend, content in zip(rule.backends, contents, strict=True)
        if backend.weight > 0
    )
    return WireRoute(
        name=rule.name or f"{namespace}.{name}.{rule.index}",
        namespace=namespace,
        match=match,
        backends=backends,
        rule=rule.content,
    )


def _cluster_of(backend: BackendRef, services: set[ObjectKey]) -> str:
    if backend.service is None or backend.service not in services:
        return f"missing|{backend.port}||{backend.name}.{backend.namespace}.svc.{CLUSTER_DOMAIN}"
    return cluster_name(backend.service, backend.port or 0)  # a port that the Service lacks: no such cluster


def _specificity(match: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """Return a sort key: Exact, then the longest prefix, then expressions; method, headers and queries break ties."""
    path = match.get("path")
    place = path if isinstance(path, Mapping) else {}
    kind, value = str(place.get("type", "PathPrefix")), str(place.get("value", "/"))
    method = match.get("method")
    if isinstance(method, Mapping):  # a GRPCRoute's
        kind, value = "Exact", f"/{method.get('service', '')}/{method.get('method', '')}"
    return (
        _PATHS.get(kind, 2),
        -len(value),
        0 if method else 1,
        -len(_items(match, "headers")),
        -len(_items(match, "queryParams")),
    )


def _age(route: Route) -> tuple[float, str, str]:
    return (route.created_at.timestamp() if route.created_at else 0.0, route.ref.key.namespace, route.ref.key.name)


def _by_service(slices: Iterable[EndpointSlice]) -> dict[ObjectKey, list[EndpointSlice]]:
    found: dict[ObjectKey, list[EndpointSlice]] = {}
    for one in slices:
        if (name := one.metadata.labels.get(SERVICE_NAME)) is not None:
            found.setdefault(ObjectKey(one.metadata.namespace, name), []).append(one)
    return found


def _endpoints(slices: Sequence[EndpointSlice], port: ServicePort) -> tuple[tuple[str, int], ...]:
    return tuple(
        sorted(
            {
                (endpoint.addresses[0], offered.port)
                for one in slices
                for offered in one.ports
                if offered.name == port.name and offered.port is not None
                for endpoint in one.endpoints
                if endpoint.addresses and endpoint.conditions.ready is not False and not endpoint.conditions.terminating
            }
        )
    )


def _items(content: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = content.get(field)
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
