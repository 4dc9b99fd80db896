"""A route as a value: what its rules, parents, status and writers say, read leniently once.

Odd values (a string where a number belongs) read as absent: the API server validates routes, and what slips through
must not fail a rollout in a worse way than "not found".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from fairlead.core.objects import Manifest, ObjectKey, parse_rfc3339
from fairlead.mesh_routing.spec import RouteRef

GATEWAY_GROUP = "gateway.networking.k8s.io"
DEFAULT_WEIGHT = 1  # of a backendRef that names none; not 100


class ParentRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where a route is attached, with group, kind and namespace defaulted."""

    group: str
    kind: str
    namespace: str
    name: str
    section: str = ""
    port: int | None = None

    @property
    def is_service(self) -> bool:
        return self.group == "" and self.kind == "Service"

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.kind} {self.namespace}/{self.name}{port}"


class BackendRef(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a rule's backendRefs, with defaults filled in."""

    group: str
    kind: str
    namespace: str
    name: str
    port: int | None
    weight: int

    @property
    def service(self) -> ObjectKey | None:
        """The Service that it names; None when it is something else."""
        return ObjectKey(self.namespace, self.name) if self.group == "" and self.kind == "Service" else None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule; `content` is its JSON data."""

    index: int
    name: str
    backends: tuple[BackendRef, ...]
    content: Mapping[str, Any]


class RouteCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of a route's parent."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int


class ParentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one controller says of the route at one parent."""

    parent: ParentRef
    controller: str
    conditions: tuple[RouteCondition, ...]

    def condition(self, type_: str) -> RouteCondition | None:
        return next((condition for condition in self.conditions if condition.type == type_), None)


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """A field manager that owns the route's rules, and when it last wrote."""

    manager: str
    at: datetime | None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route as the decisions of this package see it; `manifest` is what it was read from."""

    ref: RouteRef
    uid: str
    generation: int
    resource_version: str
    created_at: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    parents: tuple[ParentRef, ...]
    rules: tuple[Rule, ...]
    statuses: tuple[ParentStatus, ...]
    manifest: Manifest


def read_route(ref: RouteRef, manifest: Manifest) -> Route:
    """Return a route's manifest as a value."""
    metadata, spec, status = manifest.metadata, _map(manifest.content.get("spec")), manifest.content.get("status")
    namespace = metadata.namespace
    return Route(
        ref=ref,
        uid=metadata.uid,
        generation=metadata.generation,
        resource_version=metadata.resource_version,
        created_at=metadata.creation_timestamp,
        labels=metadata.labels,
        annotations=metadata.annotations,
        parents=tuple(read_parent(_map(entry), namespace) for entry in _list(spec.get("parentRefs"))),
        rules=tuple(_rule(index, _map(entry), namespace) for index, entry in enumerate(_list(spec.get("rules")))),
        statuses=tuple(_parent_status(_map(entry), namespace) for entry in _list(_map(status).get("parents"))),
        manifest=manifest,
    )


def read_parent(content: Mapping[str, Any], namespace: str) -> ParentRef:
    """Return a parentRef with the Gateway API's defaults: a Gateway in the route's own namespace."""
    return ParentRef(
        group=_text(content.get("group"), GATEWAY_GROUP),
        kind=_text(content.get("kind"), "Gateway"),
        namespace=_text(content.get("namespace"), namespace),
        name=_text(content.get("name"), ""),
        section=_text(content.get("sectionName"), ""),
        port=_int(content.get("port")),
    )


def read_backend(content: Mapping[str, Any], namespace: str) -> BackendRef:
    """Return a backendRef with the Gateway API's defaults: a Service in the route's own namespace, weight 1."""
    weight = _int(content.get("weight"))
    return BackendRef(
        group=_text(content.get("group"), ""),
        kind=_text(content.get("kind"), "Service"),
        namespace=_text(content.get("namespace"), namespace),
        name=_text(content.get("name"), ""),
        port=_int(content.get("port")),
        weight=DEFAULT_WEIGHT if weight is None else weight,
    )


def writers_of_rules(manifest: Manifest) -> tuple[Writer, ...]:
    """Return the field managers that own `spec.rules`, the latest writer first."""
    entries = _list(_map(manifest.content.get("metadata")).get("managedFields"))
    found: list[Writer] = []
    for entry in map(_map, entries):
        fields = _map(_map(entry.get("fieldsV1")).get("f:spec"))
        if "f:rules" in fields:
            at = parse_rfc3339(_text(entry.get("time"), ""))
            found.append(Writer(manager=_text(entry.get("manager"), "unknown"), at=at))
    return tuple(sorted(found, key=lambda writer: writer.at.timestamp() if writer.at else 0.0, reverse=True))


def _rule(index: int, content: Mapping[str, Any], namespace: str) -> Rule:
    return Rule(
        index=index,
        name=_text(content.get("name"), ""),
        backends=tuple(read_backend(_map(entry), namespace) for entry in _list(content.get("backendRefs"))),
        content=content,
    )


def _parent_status(content: Mapping[str, Any], namespace: str) -> ParentStatus:
    return ParentStatus(
        parent=read_parent(_map(content.get("parentRef")), namespace),
        controller=_text(content.get("controllerName"), ""),
        conditions=tuple(
            RouteCondition(
                type=_text(entry.get("type"), ""),
                status=_text(entry.get("status"), ""),
                reason=_text(entry.get("reason"), ""),
                message=_text(entry.get("message"), ""),
                observed_generation=_int(entry.get("observedGeneration")) or 0,
            )
            for entry in map(_map, _list(content.get("conditions")))
        ),
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any, default: str) -> str:
    return value if isinstance(value, str) else default


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
