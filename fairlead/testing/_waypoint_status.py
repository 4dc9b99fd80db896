"""What istiod writes on routes, Services and Gateways, as values.

Source: istio: pilot/pkg/config/kube/gateway/conditions.go, pilot/pkg/serviceregistry/ambient/status.go; measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairlead.core.kinds import Service
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.mesh_routing import Route, wished
from fairlead.mesh_routing.observation import ParentRef
from fairlead.testing._wire import hard_error

Json = dict[str, Any]

ROUTE_CONTROLLER = "istio.io/gateway-controller"
WAYPOINT_CLASS = "istio-waypoint"
WAYPOINT_BOUND = "istio.io/WaypointBound"
_UNLABELLED = (
    "istio.io/use-waypoint label missing from parent and parent namespace; in ambient mode, route will not be respected"
)

FindService = Callable[[ObjectKey], Service | None]
Labels = Callable[[str], Mapping[str, str]]


def route_parents(route: Route, now: str, *, find: FindService, namespace_labels: Labels) -> list[Json]:
    """Return `status.parents` of a route: entries of other controllers as they are, ours for each Service parent."""
    content = route.manifest.content
    before = _items(content.get("status"), "parents")
    others = [entry for entry in before if entry.get("controllerName") != ROUTE_CONTROLLER]
    refs = _items(content.get("spec"), "parentRefs")
    ours = []
    for parent, ref in zip(route.parents, refs, strict=True):
        if not parent.is_service:
            continue
        conditions = [
            {**condition, "observedGeneration": route.generation}
            for condition in _conditions(route, parent, find, namespace_labels)
        ]
        old = next(
            (one for one in before if one.get("parentRef") == ref and one.get("controllerName") == ROUTE_CONTROLLER), {}
        )
        ours.append(
            {
                "parentRef": ref,
                "controllerName": ROUTE_CONTROLLER,
                "conditions": _stamped(conditions, _items(old, "conditions"), now),
            }
        )
    return [*others, *ours]


def service_conditions(
    service: Service, conditions: Sequence[Json], now: str, *, is_ready: Callable[[ObjectKey], bool], labels: Labels
) -> list[Json]:
    """Return a Service's conditions with ours set or, when no waypoint is wanted, left out.

    Args:
        service: the Service.
        conditions: those that it has, as JSON data.
        now: RFC 3339.
        is_ready: whether a waypoint's Gateway exists and has an address.
        labels: of a namespace.
    """
    others = [condition for condition in conditions if condition.get("type") != WAYPOINT_BOUND]
    waypoint = wished(service, labels(service.metadata.namespace)).waypoint
    if waypoint is None:
        return others
    bound: Json = {"type": WAYPOINT_BOUND, "status": "False", "reason": "WaypointIsNotReady"}
    bound["message"] = f"waypoint {waypoint} is not ready"
    if is_ready(waypoint):
        message = f"Successfully attached to waypoint {waypoint}"
        bound |= {"status": "True", "reason": "WaypointAccepted", "message": message}
    return [*others, *_stamped([bound], conditions, now)]


def gateway_status(gateway: Manifest, address: str, now: str) -> Json:
    """Return the status of a waypoint's Gateway that is accepted and programmed."""
    before = _items(gateway.content.get("status"), "conditions")
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": type_,
            "message": "",
            "observedGeneration": gateway.metadata.generation,
        }
        for type_ in ("Accepted", "Programmed")
    ]
    return {"addresses": [{"type": "IPAddress", "value": address}], "conditions": _stamped(conditions, before, now)}


def _conditions(route: Route, parent: ParentRef, find: FindService, namespace_labels: Labels) -> list[Json]:
    key = ObjectKey(parent.namespace, parent.name)
    service = find(key)
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "Route was valid"}
    if service is None:
        message = f'parent service: "{parent.name}" not found'
        accepted |= {"status": "False", "reason": "NoMatchingParent", "message": message}
        waypoints = "parent not found"
    else:
        wish = wished(service, namespace_labels(parent.namespace))
        waypoints = "All waypoints resolved" if wish.waypoint is not None else _UNLABELLED
    resolved = {
        "type": "ResolvedRefs",
        "status": "True",
        "reason": "ResolvedRefs",
        "message": "All references resolved",
    }
    if error := hard_error(route):
        resolved |= {"status": "False", "reason": "InvalidFilter", "message": error}
    # A backend of weight 0 is dropped before anybody looks for its Service.
    for backend in (one for rule in route.rules for one in rule.backends if one.weight > 0):
        if backend.service is None:
            message = f"referencing unsupported backendRef: kind {backend.kind}"
            resolved |= {"status": "False", "reason": "InvalidKind", "message": message}
        elif find(backend.service) is None:
            message = f"backend({backend.name}.{backend.namespace}.svc.cluster.local) not found"
            resolved |= {"status": "False", "reason": "BackendNotFound", "message": message}
    # Always True: only its message says something.
    bound = {"type": "ResolvedWaypoints", "status": "True", "reason": "ResolvedWaypoints", "message": waypoints}
    return [accepted, resolved, bound]


def _stamped(conditions: Sequence[Json], before: Sequence[Json], now: str) -> list[Json]:
    """Return conditions with their transition times: kept while the status is."""
    stamped = []
    for condition in conditions:
        old = next((one for one in before if one.get("type") == condition["type"]), {})
        is_same = old.get("status") == condition["status"] and isinstance(old.get("lastTransitionTime"), str)
        stamped.append({**condition, "lastTransitionTime": old["lastTransitionTime"] if is_same else now})
    return stamped


def _items(content: Any, field: str) -> list[Json]:
    value = content.get(field) if isinstance(content, Mapping) else None
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
