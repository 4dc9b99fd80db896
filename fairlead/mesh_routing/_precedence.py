"""Which rule answers a request when several routes hang on one Service, as far as it decides about our own rule.

Istio merges the HTTPRoutes and GRPCRoutes of a Service that name a port (or that name none) and orders rules by
specificity, then by age of their object, then by namespace and name. So only an equal match of an older route can
take our requests away for ever. Source: istio: pilot/pkg/config/kube/gateway/conversion.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.core.objects import ObjectKey
from fairlead.mesh_routing.observation import Route, Rule

Match = tuple[Any, ...]
CATCH_ALL: Match = (("PathPrefix", "/"), "", (), ())


def parents_on(route: Route, service: ObjectKey) -> tuple[int | None, ...]:
    """Return the ports by which a route names the Service as parent (None: every port); empty: it does not."""
    return tuple(
        parent.port
        for parent in route.parents
        if parent.is_service and ObjectKey(parent.namespace, parent.name) == service
    )


def matches_of(route: Route, rule: Rule) -> tuple[Match, ...]:
    """Return a rule's matches in a form in which equal matches are equal."""
    entries = rule.content.get("matches")
    if not isinstance(entries, list) or not entries:
        return (CATCH_ALL,)
    read = _grpc_match if route.ref.plural == "grpcroutes" else _http_match
    return tuple(read(entry) for entry in entries if isinstance(entry, Mapping))


def shadowing(ours: Route, rule: Rule, others: tuple[Route, ...], service: ObjectKey) -> tuple[Route, int] | None:
    """Return the route and rule index that answers for one of our rule's matches instead of it, if there is one.

    Args:
        ours: the route that holds our split.
        rule: the rule that holds it.
        others: every route on the Service; ours may be among them.
        service: the apex.
    """
    wanted = set(matches_of(ours, rule))
    for other in rule_owners(ours, others, service):
        for candidate in other.rules:
            if other.ref == ours.ref and candidate.index >= rule.index:
                break
            if wanted & set(matches_of(other, candidate)):
                return other, candidate.index
    return None


def rule_owners(ours: Route, others: tuple[Route, ...], service: ObjectKey) -> tuple[Route, ...]:
    """Return the routes whose equal matches beat ours: older ones of our namespace and port style, then ours itself."""
    style = {port is None for port in parents_on(ours, service)}
    older = [
        other
        for other in others
        if other.ref != ours.ref
        and other.ref.key.namespace == ours.ref.key.namespace
        and style & {port is None for port in parents_on(other, service)}
        and _ports_meet(parents_on(ours, service), parents_on(other, service))
        and _age(other) < _age(ours)
    ]
    return (*sorted(older, key=_age), ours)


def has_catch_all(routes: tuple[Route, ...]) -> bool:
    """Return whether some rule matches every request."""
    return any(CATCH_ALL in matches_of(route, rule) for route in routes for rule in route.rules)


def _ports_meet(left: tuple[int | None, ...], right: tuple[int | None, ...]) -> bool:
    return None in left or None in right or bool(set(left) & set(right))


def _age(route: Route) -> tuple[float, str, str]:
    # An object without a creation time is the one that is about to be created: the youngest.
    created = route.created_at.timestamp() if route.created_at else float("inf")
    return (created, route.ref.key.namespace, route.ref.key.name)


def _http_match(content: Mapping[str, Any]) -> Match:
    path = content.get("path")
    place = path if isinstance(path, Mapping) else {}
    return (
        (str(place.get("type", "PathPrefix")), str(place.get("value", "/"))),
        str(content.get("method", "")),
        _pairs(content.get("headers"), fold=True),
        _pairs(content.get("queryParams"), fold=False),
    )


def _grpc_match(content: Mapping[str, Any]) -> Match:
    method = content.get("method")
    call = method if isinstance(method, Mapping) else {}
    service, name = str(call.get("service", "")), str(call.get("method", ""))
    place = ("PathPrefix", "/") if not service and not name else (str(call.get("type", "Exact")), f"/{service}/{name}")
    return (place, "", _pairs(content.get("headers"), fold=True), ())


def _pairs(entries: Any, *, fold: bool) -> tuple[tuple[str, str, str], ...]:
    found: dict[str, tuple[str, str, str]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping):
            name = str(entry.get("name", ""))
            name = name.lower() if fold else name
            # Of names that are equal but for case the first one counts.
            found.setdefault(name, (name, str(entry.get("type", "Exact")), str(entry.get("value", ""))))
    return tuple(sorted(found.values()))
