"""What must be true around a route before its weights mean anything: the checks of a Service behind a waypoint.

Each check looks at a value (`Surroundings`) and finds something or does not; all findings are reported at once, with
the check's number and how to mend it. Numbers are those of the catalogue in the manual.

Not checked, because the objects are not watched: P02 and P03 (the CRDs' own fields), P12 (captured pods), P13
(VirtualServices), P20 and P21 (callers that bypass the waypoint), P22 (policies), P23 (autoscalers, budgets), P25
(features of other implementations). P09 needs Gateways and knows only Istio's own classes.

Source: istio: pilot/pkg/serviceregistry/ambient, pilot/pkg/config/kube/gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairlead.core import regex
from fairlead.core.kinds import Service
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.mesh_routing._precedence import has_catch_all, parents_on, shadowing
from fairlead.mesh_routing._waypoint import (
    CLASS_CONTROLLERS,
    GLOBAL,
    INGRESS_USE_WAYPOINT,
    MESH_CONTROLLER,
    WAYPOINT_BOUND,
    WAYPOINT_FOR,
    Wish,
    attached_to,
    opaque_protocol,
)
from fairlead.mesh_routing.observation import Route, Rule

POD_TEMPLATE_HASH = "rollouts-pod-template-hash"


class Severity(StrEnum):
    """Whether a finding keeps weights from being raised."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check that failed."""

    check: str
    message: str
    severity: Severity = Severity.BLOCKS

    def __str__(self) -> str:
        return f"{self.check}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the checks look at, all of it from caches.

    Attributes:
        apex, stable, canary: keys of the three Services.
        services: those of them that exist.
        port: the apex port that is split; None: none was named and the Service has not exactly one.
        wish: what the label chain of apex asks for.
        gateway: the waypoint's Gateway; None: there is none.
        has_gateways: whether Gateways are watched at all.
        waypoint_ready: ready endpoints of the waypoint's own Service.
        namespace_labels: of apex's namespace; None: not watched.
        routes: every route that names apex as parent or backend, or a backend Service as backend.
        ours: the route that holds our split; None: not created yet.
        our_rules: indexes of the rules that hold it.
    """

    apex: ObjectKey
    stable: ObjectKey
    canary: ObjectKey
    services: Mapping[ObjectKey, Service]
    port: int | None
    wish: Wish
    gateway: Manifest | None
    has_gateways: bool
    waypoint_ready: int
    namespace_labels: Mapping[str, str] | None
    routes: tuple[Route, ...]
    ours: Route | None
    our_rules: tuple[int, ...] = ()


Check = Callable[[Surroundings], Iterator[Finding]]


def examine(seen: Surroundings) -> tuple[Finding, ...]:
    """Return everything that is found, in the order of the catalogue."""
    return tuple(finding for check in _CHECKS for finding in check(seen))


def blocking(findings: tuple[Finding, ...]) -> str:
    """Return the findings that keep weights from being raised, as one text; empty when there are none."""
    return "; ".join(str(finding) for finding in findings if finding.severity is Severity.BLOCKS)


def _p04_apex(seen: Surroundings) -> Iterator[Finding]:
    service = seen.services.get(seen.apex)
    if service is None:
        yield Finding(check="P04", message=f"Service {seen.apex} does not exist: create it, clients call it")
        return
    if kind := _unsplittable(service):
        yield Finding(check="P04", message=f"Service {seen.apex} is {kind}: traffic to it cannot be split")
    numbers = [port.port for port in service.spec.ports]
    if seen.port is None:
        shown = ", ".join(map(str, numbers)) or "none"
        yield Finding(check="P04", message=f"Service {seen.apex} has ports {shown}: name one of them in `port`")
    elif seen.port not in numbers:
        shown = ", ".join(map(str, numbers)) or "none"
        yield Finding(check="P04", message=f"Service {seen.apex} has no port {seen.port}, it has {shown}")


def _p05_wanted(seen: Surroundings) -> Iterator[Finding]:
    if seen.wish.opted_out:
        message = f'{seen.wish.opted_out} opts out with istio.io/use-waypoint "none": remove it or name a waypoint'
        yield Finding(check="P05", message=message)
    elif seen.wish.is_known and seen.wish.waypoint is None and seen.apex in seen.services:
        yield Finding(
            check="P05",
            message=f"no istio.io/use-waypoint on Service {seen.apex} or its namespace: "
            "the route would be stored and ignored; label one of them with the waypoint's name",
        )


def _p06_bound(seen: Surroundings) -> Iterator[Finding]:
    service = seen.services.get(seen.apex)
    if service is None:
        return
    bound = next((one for one in service.status.conditions if one.type == WAYPOINT_BOUND), None)
    if bound is None:
        yield Finding(
            check="P06",
            message=f"istiod has not reported on Service {seen.apex} (not ambient, or status disabled): "
            f"its condition {WAYPOINT_BOUND} is absent",
        )
    elif bound.status != "True":
        waypoint = seen.wish.waypoint or "of the Service"
        yield Finding(check="P06", message=f"waypoint {waypoint}: {bound.reason}: {bound.message}")
    elif seen.wish.waypoint is not None and (actual := attached_to(bound.message)) != seen.wish.waypoint:
        # The condition has no observedGeneration: right after a label change the old True is still there.
        yield Finding(
            check="P07",
            message=f"Service {seen.apex} is attached to {actual or repr(bound.message)}, "
            f"labels ask for {seen.wish.waypoint}; status is stale",
        )


def _p08_alive(seen: Surroundings) -> Iterator[Finding]:
    if seen.wish.waypoint is not None and seen.waypoint_ready < 1:
        message = f"waypoint {seen.wish.waypoint} has no ready endpoint: new connections to {seen.apex} would fail"
        yield Finding(check="P08", message=message)


def _p09_correct(seen: Surroundings) -> Iterator[Finding]:
    waypoint = seen.wish.waypoint
    if waypoint is None or not seen.has_gateways:
        return
    if seen.gateway is None:
        yield Finding(check="P09", message=f"Gateway {waypoint} does not exist: create the waypoint, or mend the label")
        return
    spec = _map(seen.gateway.content.get("spec"))
    name = str(spec.get("gatewayClassName", ""))
    controller = CLASS_CONTROLLERS.get(name)
    if controller is not None and controller != MESH_CONTROLLER:
        message = f"waypoint {waypoint} is run by {controller}; routes will be answered by another controller"
        yield Finding(check="P09", message=message)
    purpose = seen.gateway.metadata.labels.get(WAYPOINT_FOR, "service")
    if purpose not in ("service", "all"):
        message = f"waypoint {waypoint} serves {WAYPOINT_FOR}={purpose}, expected service or all"
        yield Finding(check="P09", message=message)
    status = _map(seen.gateway.content.get("status"))
    for condition in map(_map, _items(status.get("conditions"))):
        if condition.get("type") in ("Accepted", "Programmed") and condition.get("status") == "False":
            yield Finding(check="P09", message=f"waypoint {waypoint}: {_condition(condition)}")
    for listener in map(_map, _items(status.get("listeners"))):
        for condition in map(_map, _items(listener.get("conditions"))):
            if condition.get("type") == "Accepted" and condition.get("status") == "False":
                where = f"waypoint {waypoint} listener {listener.get('name', '')}"
                yield Finding(check="P09", message=f"{where}: {_condition(condition)}")


def _p10_http(seen: Surroundings) -> Iterator[Finding]:
    for key in dict.fromkeys((seen.apex, seen.stable, seen.canary)):
        service = seen.services.get(key)
        for port in service.spec.ports if service else ():
            if port.port == seen.port and (protocol := opaque_protocol(port)):
                yield Finding(
                    check="P10",
                    message=f"port {port.port} of {key} is declared {protocol}: HTTPRoute rules are ignored on it; "
                    "set appProtocol: http",
                )


def _p11_backends(seen: Surroundings) -> Iterator[Finding]:
    for role, key in (("stable", seen.stable), ("canary", seen.canary)):
        service = seen.services.get(key)
        if service is None:
            yield Finding(check="P11", message=f"{role} Service {key} does not exist: create it")
            continue
        if kind := _unsplittable(service):
            yield Finding(check="P11", message=f"{role} Service {key} is {kind}: expected a ClusterIP Service")
        ports = _backend_ports(seen, key)
        missing = ports - {port.port for port in service.spec.ports}
        for port in sorted(missing):
            yield Finding(check="P11", message=f"{role} Service {key} has no port {port}: its share would get 500")
        if service.spec.publish_not_ready_addresses:
            message = f"{role} Service {key} has publishNotReadyAddresses: pods that are not ready would get traffic"
            yield Finding(check="P11", message=message)
    stable, canary = seen.services.get(seen.stable), seen.services.get(seen.canary)
    if stable is not None and canary is not None and not _are_ours(stable.spec.selector, canary.spec.selector):
        yield Finding(
            check="P11",
            message=f"canary Service {seen.canary} selects pods of the stable revision: its selector "
            f"{_selector(canary.spec.selector)} and that of {seen.stable}, {_selector(stable.spec.selector)}, "
            f"differ in no value, and {POD_TEMPLATE_HASH} is not in both",
        )


def _p14_shadowed(seen: Surroundings) -> Iterator[Finding]:
    if seen.ours is None:
        return
    for index in seen.our_rules:
        found = shadowing(seen.ours, seen.ours.rules[index], seen.routes, seen.apex)
        if found is not None:
            other, place = found
            age = "earlier" if other.ref == seen.ours.ref else "older"
            message = f"rule {place} of {other.ref} ({age}, same match) wins over ours; narrow its match or delete it"
            yield Finding(check="P14", message=message)


def _p15_port_styles(seen: Surroundings) -> Iterator[Finding]:
    if seen.ours is None:
        return
    with_port = any(port is not None for port in parents_on(seen.ours, seen.apex))
    for route in _mesh_routes(seen):
        if route.ref != seen.ours.ref and any((port is not None) != with_port for port in parents_on(route, seen.apex)):
            theirs, mine = ("no port", "has") if with_port else ("a port", "has none")
            message = f"{route.ref} has {theirs}, ours {mine}: they are ordered by object age, not by match"
            yield Finding(check="P15", message=message, severity=Severity.WARNS)


def _p16_consumers(seen: Surroundings) -> Iterator[Finding]:
    for route in _mesh_routes(seen):
        if route.ref.key.namespace != seen.apex.namespace:
            message = f"{route.ref} is accepted but not applied at a waypoint outside its namespace"
            yield Finding(check="P16", message=message, severity=Severity.WARNS)


def _p17_default_rule(seen: Surroundings) -> Iterator[Finding]:
    if seen.ours is None:
        return
    local = tuple(route for route in _mesh_routes(seen) if route.ref.key.namespace == seen.apex.namespace)
    if local and not has_catch_all(local):
        message = f"no rule of the routes on {seen.apex} matches everything: requests matching no rule would get 404"
        yield Finding(check="P17", message=message)


def _p18_ingress(seen: Surroundings) -> Iterator[Finding]:
    service = seen.services.get(seen.apex)
    if service is None:
        return
    own = service.metadata.labels.get(INGRESS_USE_WAYPOINT)
    label = own if own is not None else (seen.namespace_labels or {}).get(INGRESS_USE_WAYPOINT, "")
    covered = label.lower() in ("true", "1", "t")
    for route in seen.routes:
        if not any(parent.kind == "Gateway" for parent in route.parents):
            continue
        named = {backend.service for rule in route.rules for backend in rule.backends}
        if seen.apex in named and not covered:
            message = (
                f"ingress traffic to {seen.apex} by {route.ref} skips the waypoint; "
                f"set {INGRESS_USE_WAYPOINT}=true or route at the gateway"
            )
            yield Finding(check="P18", message=message, severity=Severity.WARNS)
        is_ours = seen.ours is not None and route.ref == seen.ours.ref
        if not is_ours and named & ({seen.stable, seen.canary} - {seen.apex}):
            message = f"gateway route {route.ref} already splits: weights multiply"
            yield Finding(check="P19", message=message, severity=Severity.WARNS)


def _p24_ignored_fields(seen: Surroundings) -> Iterator[Finding]:
    if seen.ours is None:
        return
    spec = _map(seen.ours.manifest.content.get("spec"))
    fields = ["hostnames"] if spec.get("hostnames") else []
    fields += [f"parentRefs[{i}].sectionName" for i, parent in enumerate(seen.ours.parents) if parent.section]
    fields += [
        f"rules[{rule.index}].sessionPersistence" for rule in seen.ours.rules if rule.content.get("sessionPersistence")
    ]
    for field in fields:
        message = f"spec.{field} of {seen.ours.ref} has no effect at an Istio waypoint"
        yield Finding(check="P24", message=message, severity=Severity.WARNS)


def _p26_global(seen: Surroundings) -> Iterator[Finding]:
    service = seen.services.get(seen.apex)
    if service is not None and service.metadata.labels.get(GLOBAL) == "true":
        message = f"{seen.apex} is global: weights act per cluster"
        yield Finding(check="P26", message=message, severity=Severity.WARNS)


def _p27_acceptable_to_the_proxy(seen: Surroundings) -> Iterator[Finding]:
    # Every route of the Service: one bad expression freezes the whole listener, whoever wrote it.
    for route in _mesh_routes(seen):
        for rule in route.rules:
            for path, error in refused_by_the_proxy(rule):
                yield Finding(
                    check="P27",
                    message=f"{route.ref} spec.rules[{rule.index}].{path}: {error}; "
                    "the waypoint would refuse every later change",
                )


_CHECKS: tuple[Check, ...] = (
    _p04_apex,
    _p05_wanted,
    _p06_bound,
    _p08_alive,
    _p09_correct,
    _p10_http,
    _p11_backends,
    _p14_shadowed,
    _p15_port_styles,
    _p16_consumers,
    _p17_default_rule,
    _p18_ingress,
    _p24_ignored_fields,
    _p26_global,
    _p27_acceptable_to_the_proxy,
)

_COMMAND = re.compile(r"%%|%[A-Z][A-Z0-9_]*(\([^)]*\))?(:[0-9]+)?%")


def refused_by_the_proxy(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the field path and the error of everything in a rule that Envoy would refuse its listener for.

    istiod compiles no expression of an HTTPRoute: header and query expressions must be RE2's, and a `%` in the value
    of a header modifier must be doubled or be one of Envoy's commands.
    """
    for number, match in enumerate(map(_map, _items(rule.content.get("matches")))):
        for field in ("headers", "queryParams"):
            for place, entry in enumerate(map(_map, _items(match.get(field)))):
                if entry.get("type") != "RegularExpression":
                    continue
                try:
                    regex.compile(str(entry.get("value", "")))
                except regex.RegexError as error:
                    yield f"matches[{number}].{field}[{place}].value", str(error)
    owners: list[tuple[str, Mapping[str, Any]]] = [("", rule.content)]
    owners += [
        (f"backendRefs[{place}].", _map(entry)) for place, entry in enumerate(_items(rule.content.get("backendRefs")))
    ]
    for prefix, owner in owners:
        for number, entry in enumerate(map(_map, _items(owner.get("filters")))):
            for field in ("requestHeaderModifier", "responseHeaderModifier"):
                for operation in ("set", "add"):
                    headers = _items(_map(entry.get(field)).get(operation))
                    for place, header in enumerate(map(_map, headers)):
                        if "%" in _COMMAND.sub("", str(header.get("value", ""))):
                            path = f"{prefix}filters[{number}].{field}.{operation}[{place}].value"
                            yield path, f'lone "%" in {header.get("value")!r}, write it as "%%"'


def _unsplittable(service: Service) -> str:
    if service.spec.type == "ExternalName":
        return "ExternalName"
    return "headless" if service.spec.cluster_ip == "None" else ""


def _backend_ports(seen: Surroundings, service: ObjectKey) -> set[int]:
    """Return the ports by which our rules name a backend; before the route exists the apex port."""
    if seen.ours is None or not seen.our_rules:
        return {seen.port} if seen.port is not None else set()
    rules = (seen.ours.rules[index] for index in seen.our_rules)
    named = (backend for rule in rules for backend in rule.backends if backend.service == service)
    return {backend.port for backend in named if backend.port is not None}


def _are_ours(stable: Mapping[str, str], canary: Mapping[str, str]) -> bool:
    """Return whether the selectors part the revisions, or are at rest: both Services then select the stable hash."""
    if POD_TEMPLATE_HASH in stable and POD_TEMPLATE_HASH in canary:
        return True
    return any(key in canary and canary[key] != value for key, value in stable.items())


def _selector(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or "(none)"


def _mesh_routes(seen: Surroundings) -> tuple[Route, ...]:
    return tuple(route for route in seen.routes if parents_on(route, seen.apex))


def _condition(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('type')}=False ({condition.get('reason', '')}): {condition.get('message', '')}"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
