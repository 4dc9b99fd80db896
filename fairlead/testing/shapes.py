"""How the API server merges each field of a kind: which lists are keyed, which values are replaced as a whole.

One `Shape` serves server-side apply and strategic merge patches, for built-in kinds (tables below) and for
custom ones (read off their schema). What no table names is a plain map or an atomic list.

Source: the `x-kubernetes-list-type`, `-list-map-keys`, `-map-type` and `patchMergeKey` marks of Kubernetes' API types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ListType(StrEnum):
    """How lists merge: as one value, by keys of their items, or as a set of scalars."""

    ATOMIC = "atomic"
    MAP = "map"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one field merges.

    Attributes:
        fields: shapes of named members; others have the shape `values`.
        values: shape of members without a name (of a map); None: the plain shape.
        items: shape of a list's items; None: the plain shape.
        keys: of a keyed list, the fields that identify an item.
        key_defaults: values of keys that an item leaves out.
        merge_key: the one key that strategic merge patches use; empty: such patches replace the list.
        atomic: whether a map is replaced as a whole.
    """

    fields: Mapping[str, Shape] = field(default_factory=dict)
    values: Shape | None = None
    items: Shape | None = None
    list_type: ListType = ListType.ATOMIC
    keys: tuple[str, ...] = ()
    key_defaults: Mapping[str, Any] = field(default_factory=dict)
    merge_key: str = ""
    atomic: bool = False

    def member(self, name: str) -> Shape:
        return self.fields.get(name) or self.values or PLAIN

    @property
    def item(self) -> Shape:
        return self.items or PLAIN


PLAIN = Shape()
ATOMIC = Shape(atomic=True)
SET = Shape(list_type=ListType.SET)


def of(**fields: Shape) -> Shape:
    return Shape(fields=fields)


def keyed(*keys: str, merge: str | None = None, item: Shape = PLAIN, **defaults: Any) -> Shape:
    """Return the shape of a list whose items are known by `keys`; strategic patches use `merge`, or the first."""
    merge_key = keys[0] if merge is None else merge
    return Shape(list_type=ListType.MAP, keys=keys, key_defaults=defaults, merge_key=merge_key, items=item)


METADATA = of(ownerReferences=keyed("uid", item=ATOMIC), finalizers=SET)
CONDITIONS = keyed("type")

_ENV = keyed("name", item=of(valueFrom=of(configMapKeyRef=ATOMIC, secretKeyRef=ATOMIC, fieldRef=ATOMIC)))
_CONTAINER = of(
    env=_ENV,
    ports=keyed("containerPort", "protocol", protocol="TCP"),
    volumeMounts=keyed("mountPath"),
    volumeDevices=keyed("devicePath"),
    resources=of(claims=keyed("name")),
)
_CONTAINERS = keyed("name", item=_CONTAINER)
POD_SPEC = of(
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    ephemeralContainers=_CONTAINERS,
    volumes=keyed("name"),
    imagePullSecrets=keyed("name"),
    hostAliases=keyed("ip"),
    schedulingGates=keyed("name"),
    resourceClaims=keyed("name"),
    topologySpreadConstraints=keyed("topologyKey", "whenUnsatisfiable"),
    nodeSelector=ATOMIC,
)
POD_TEMPLATE = of(metadata=METADATA, spec=POD_SPEC)
_WORKLOAD = of(
    metadata=METADATA,
    spec=of(selector=ATOMIC, template=POD_TEMPLATE),
    status=of(conditions=CONDITIONS),
)

BUILT_IN: Mapping[str, Shape] = {
    "Pod": of(
        metadata=METADATA,
        spec=POD_SPEC,
        status=of(conditions=CONDITIONS, podIPs=keyed("ip"), hostIPs=Shape(merge_key="ip")),
    ),
    "PodTemplate": of(metadata=METADATA, template=POD_TEMPLATE),
    "Service": of(
        metadata=METADATA,
        spec=of(selector=ATOMIC, ports=keyed("port", "protocol", protocol="TCP")),
        status=of(conditions=CONDITIONS),
    ),
    "ServiceAccount": of(metadata=METADATA, secrets=keyed("name"), imagePullSecrets=Shape(merge_key="name")),
    "Namespace": of(metadata=METADATA, status=of(conditions=CONDITIONS)),
    "Node": of(
        metadata=METADATA,
        spec=of(podCIDRs=SET, taints=Shape(merge_key="key")),
        status=of(conditions=CONDITIONS, addresses=keyed("type")),
    ),
    "Event": of(metadata=METADATA, involvedObject=ATOMIC, regarding=ATOMIC, related=ATOMIC),
    "ReplicaSet": _WORKLOAD,
    "Deployment": _WORKLOAD,
    "StatefulSet": _WORKLOAD,
    "DaemonSet": _WORKLOAD,
    "Job": _WORKLOAD,
    "PodDisruptionBudget": of(metadata=METADATA, spec=of(selector=ATOMIC), status=of(conditions=CONDITIONS)),
    "HorizontalPodAutoscaler": of(metadata=METADATA, spec=of(scaleTargetRef=ATOMIC), status=of(conditions=CONDITIONS)),
    "CustomResourceDefinition": of(
        metadata=METADATA,
        spec=of(versions=Shape(merge_key=""), names=PLAIN),
        status=of(conditions=CONDITIONS, storedVersions=Shape()),
    ),
}
DEFAULT = of(metadata=METADATA)


def built_in(kind: str) -> Shape:
    """Return the shape of a built-in kind."""
    return BUILT_IN.get(kind, DEFAULT)


def of_schema(schema: Mapping[str, Any]) -> Shape:
    """Return the shape of a field with that structural schema (of a CustomResourceDefinition)."""
    items = schema.get("items")
    additional = schema.get("additionalProperties")
    list_type = ListType(schema.get("x-kubernetes-list-type", "atomic"))
    item_properties = items.get("properties", {}) if isinstance(items, Mapping) else {}
    keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
    return Shape(
        fields={name: of_schema(member) for name, member in schema.get("properties", {}).items()},
        values=of_schema(additional) if isinstance(additional, Mapping) else None,
        items=of_schema(items) if isinstance(items, Mapping) else None,
        list_type=list_type,
        keys=keys,
        key_defaults={
            key: item_properties[key]["default"] for key in keys if "default" in item_properties.get(key, {})
        },
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
    )


def of_custom(schema: Mapping[str, Any]) -> Shape:
    """Return the shape of a whole custom object: its schema, with metadata as of every object."""
    shape = of_schema(schema)
    return Shape(fields={**shape.fields, "metadata": METADATA}, values=shape.values)
