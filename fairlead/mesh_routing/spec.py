"""What the user asked of a router: the two plug-in blocks, parsed and checked, and the settings of the controller.

`argoproj-labs/gatewayAPI` is read as leniently as the upstream plug-in reads it (Go's JSON: keys without regard to
case, unknown ones skipped), because manifests move over unchanged. `fairlead/waypoint` is ours: an unknown key is an
error. Field paths are relative to the block.

Source: rollouts-plugin-trafficrouter-gatewayapi: pkg/plugin/types.go (fields and defaults).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from fairlead.core import selectors
from fairlead.core.durations import parse_go_duration
from fairlead.core.errors import SpecError
from fairlead.core.kinds import GRPC_ROUTES, HTTP_ROUTES
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.core.traffic import TrafficTarget
from fairlead.mesh_routing._managed import check_routes

GATEWAY_API_BLOCK = "argoproj-labs/gatewayAPI"
WAYPOINT_BLOCK = "fairlead/waypoint"
IN_PROGRESS_KEY = "rollouts.argoproj.io/gatewayapi-canary"
IN_PROGRESS_VALUE = "in-progress"
FIELD_MANAGER = "fairlead"

ROUTE_KINDS: Mapping[str, Kind[Manifest]] = {kind.plural: kind for kind in (HTTP_ROUTES, GRPC_ROUTES)}

_VALUE_LENGTH_MAX = 80
_FIELDS = {"httpRoute": "httproutes", "grpcRoute": "grpcroutes"}
_UNSUPPORTED = ("tcpRoute", "tlsRoute")
_DEDICATED_RULE = "split"  # name of the rule in a route of our own


class RoutingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the controller for its routers.

    Attributes:
        settle: from acceptance to the start of a step's clock where no evidence is configured; 12 s is istiod's
            longest debounce (10 s) and its push. A block of `fairlead/waypoint` has its own.
        drain: how long a waypoint lets old connections finish (istio: ProxyConfig drainDuration), 45 s.
        confirm: how long a route's controller may take to accept a generation before it is reported, 60 s.
        controller: the controllerName that must answer for a Service parent; empty: whichever does. A controller
            of another name beside it is not asked. istiod's is `istio.io/gateway-controller` unless
            PILOT_GATEWAY_API_CONTROLLER_NAME says otherwise; `fairlead/waypoint` expects that one when this is empty.
        heals_max: how often foreign edits of our weights are undone within `heals_within`; then we stop fighting.
        write_attempts: how often a write is tried anew after a conflict before the reconciliation fails.
    """

    settle: timedelta = timedelta(seconds=12)
    drain: timedelta = timedelta(seconds=45)
    confirm: timedelta = timedelta(seconds=60)
    controller: str = ""
    heals_max: int = 3
    heals_within: timedelta = timedelta(minutes=5)
    write_attempts: int = 5


class InProgressLabel(msgspec.Struct, frozen=True):
    """The label that a route carries while its rollout is in progress."""

    key: str = IN_PROGRESS_KEY
    value: str = IN_PROGRESS_VALUE


class RouteRef(msgspec.Struct, frozen=True):
    """A route by its kind (plural) and key."""

    plural: str
    key: ObjectKey

    @property
    def kind(self) -> Kind[Manifest]:
        return ROUTE_KINDS[self.plural]

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.key}"


class RouteSelector(msgspec.Struct, frozen=True):
    """Routes of a kind (plural) by their labels."""

    plural: str
    terms: selectors.Selector

    def __str__(self) -> str:
        return f"{ROUTE_KINDS[self.plural].kind} with {selectors.format_selector(self.terms) or 'any labels'}"


class GatewayApiSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The `argoproj-labs/gatewayAPI` block.

    Attributes:
        header_routes: those of the routes that also get the rules of header and mirror steps.
    """

    namespace: str
    routes: tuple[RouteRef, ...] = ()
    header_routes: frozenset[RouteRef] = frozenset()
    selectors: tuple[RouteSelector, ...] = ()
    label: InProgressLabel | None = InProgressLabel()


class WaypointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The `fairlead/waypoint` block.

    Attributes:
        service: the apex Service that clients call.
        port: its port; None: its only one.
        route: the user's route (shared mode); None: a route of our own (dedicated mode).
        settle, drain: see `RoutingSettings`.
    """

    service: ObjectKey
    port: int | None = None
    route: RouteRef | None = None
    settle: timedelta = timedelta(seconds=12)
    drain: timedelta = timedelta(seconds=45)


def parse_gateway_api(target: TrafficTarget) -> GatewayApiSpec:
    """Return the `argoproj-labs/gatewayAPI` block of a target.

    Raises:
        SpecError: with the field path below the block, what was found and what was expected.
    """
    config = {key.lower(): value for key, value in target.config.items()}
    namespace = _text(config, "namespace") or target.rollout.namespace
    for name in _UNSUPPORTED:
        for field in (name, f"{name}s", f"{name}Selector"):
            if config.get(field.lower()):
                raise SpecError("not supported: only httpRoute(s) and grpcRoute(s) carry weights here", path=field)
    routes: list[RouteRef] = []
    flagged: set[RouteRef] = set()
    chosen: list[RouteSelector] = []
    for name, plural in _FIELDS.items():
        for listed, takes_headers in _names(config, f"{name}s"):
            routes.append(RouteRef(plural, ObjectKey(namespace, listed)))
            flagged |= {routes[-1]} if takes_headers else set()
        if single := _text(config, name):
            routes.append(RouteRef(plural, ObjectKey(namespace, single)))
            flagged.add(routes[-1])
        if terms := _selector(config, f"{name}Selector"):
            chosen.append(RouteSelector(plural, terms))
    if not routes and not chosen:
        raise SpecError("no route is named: expected httpRoute, httpRoutes, httpRouteSelector or one of grpcRoute's")
    label: InProgressLabel | None = InProgressLabel(
        _text(config, "inProgressLabelKey") or IN_PROGRESS_KEY,
        _text(config, "inProgressLabelValue") or IN_PROGRESS_VALUE,
    )
    if _flag(config, "disableInProgressLabel"):
        label = None
    if target.routes and not flagged:
        raise SpecError("no route takes the rules of the steps: expected useHeaderRoutes: true for one of them")
    for ref in flagged:
        check_routes(target, is_grpc=ref.plural == "grpcroutes")
    return GatewayApiSpec(
        namespace=namespace,
        routes=tuple(dict.fromkeys(routes)),
        header_routes=frozenset(flagged),
        selectors=tuple(chosen),
        label=label,
    )


def parse_waypoint(target: TrafficTarget, settings: RoutingSettings) -> WaypointSpec:
    """Return the `fairlead/waypoint` block of a target.

    Raises:
        SpecError: with the field path below the block, what was found and what was expected.
    """
    config, known = target.config, ("service", "port", "httpRoute", "grpcRoute", "settle", "drain")
    for key in config:
        if key not in known:
            raise SpecError(f"found an unknown field, expected one of {', '.join(known)}", path=str(key))
    service = config.get("service")
    if not isinstance(service, str) or not service:
        raise SpecError(
            f"{_found(config, 'service')}, expected the name of the Service that clients call", path="service"
        )
    if service == target.canary_service:
        raise SpecError(
            f'found the canaryService "{service}", expected the Service that clients call: clients of the canary '
            "Service itself are not split",
            path="service",
        )
    port = config.get("port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535):
        raise SpecError(f"{_found(config, 'port')}, expected a port number from 1 to 65535", path="port")
    named = [(field, plural) for field, plural in _FIELDS.items() if config.get(field) is not None]
    if len(named) > 1:
        raise SpecError("found httpRoute and grpcRoute, expected at most one of them", path="grpcRoute")
    route: RouteRef | None = None
    for field, plural in named:
        name = config[field]
        if not isinstance(name, str) or not name:
            raise SpecError(f"{_found(config, field)}, expected the name of a route", path=field)
        route = RouteRef(plural, ObjectKey(target.rollout.namespace, name))
    check_routes(target, is_grpc=route is not None and route.plural == "grpcroutes")
    if route is None and _DEDICATED_RULE in target.managed_routes:
        raise SpecError(f"found the managed route {_DEDICATED_RULE!r}, expected another name: so the split is called")
    return WaypointSpec(
        service=ObjectKey(target.rollout.namespace, service),
        port=port,
        route=route,
        settle=_duration(config, "settle", settings.settle),
        drain=_duration(config, "drain", settings.drain),
    )


def _found(config: Mapping[str, Any], field: str) -> str:
    if field not in config:
        return "found nothing"
    shown = json.dumps(config[field], ensure_ascii=False, default=str)
    return f"found {shown if len(shown) <= _VALUE_LENGTH_MAX else shown[:_VALUE_LENGTH_MAX] + '…'}"


def _lower(config: Mapping[str, Any], field: str) -> Any:
    return config.get(field.lower())


def _text(config: Mapping[str, Any], field: str) -> str:
    value = _lower(config, field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SpecError(f"{_found({field: value}, field)}, expected a string", path=field)
    return value


def _flag(config: Mapping[str, Any], field: str) -> bool:
    value = _lower(config, field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise SpecError(f"{_found({field: value}, field)}, expected true or false", path=field)
    return value


def _names(config: Mapping[str, Any], field: str) -> list[tuple[str, bool]]:
    """Return the listed names, each with its `useHeaderRoutes`."""
    value = _lower(config, field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise SpecError(f"{_found({field: value}, field)}, expected a list of {{name}}", path=field)
    names: list[tuple[str, bool]] = []
    for index, entry in enumerate(value):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            found = _found({"": name if isinstance(entry, dict) else entry}, "")
            raise SpecError(f"{found}, expected the name of a route", path=f"{field}[{index}].name")
        flags = {key.lower(): flag for key, flag in entry.items()} if isinstance(entry, dict) else {}
        names.append((name, _flag(flags, "useHeaderRoutes")))
    return names


def _selector(config: Mapping[str, Any], field: str) -> selectors.Selector:
    value = _lower(config, field)
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise SpecError(f"{_found({field: value}, field)}, expected a label selector", path=field)
    labels, expressions = value.get("matchLabels") or {}, value.get("matchExpressions") or []
    if not isinstance(labels, dict) or not all(isinstance(one, str) for one in labels.values()):
        raise SpecError(f"{_found({'': labels}, '')}, expected label names and values", path=f"{field}.matchLabels")
    if not isinstance(expressions, list) or not all(isinstance(one, dict) for one in expressions):
        found = _found({"": expressions}, "")
        raise SpecError(f"{found}, expected a list of key, operator, values", path=f"{field}.matchExpressions")
    try:
        terms = selectors.from_label_selector(labels, expressions)
    except ValueError as error:
        raise SpecError(str(error), path=f"{field}.matchExpressions") from error
    if not terms:
        # An empty selector selects everything: a rollout must not take over every route of its namespace.
        raise SpecError("found an empty selector, expected at least one term", path=field)
    return terms


def _duration(config: Mapping[str, Any], field: str, default: timedelta) -> timedelta:
    value = config.get(field)
    if value is None:
        return default
    expected = 'expected a duration such as "12s"'
    if not isinstance(value, str):
        raise SpecError(f"{_found(config, field)}, {expected}", path=field)
    try:
        span = parse_go_duration(value)
    except (ValueError, OverflowError) as error:
        raise SpecError(f"{_found(config, field)}, {expected} ({error})", path=field) from error
    if span < timedelta(0):
        raise SpecError(f"{_found(config, field)}, {expected}, not below zero", path=field)
    return span
