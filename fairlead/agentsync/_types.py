"""How the fields of built-in kinds merge and compare: the shape of a value, read from a generated table.

The table (`_builtin_types.json`) is made from Kubernetes' published API by `tests/oracle/builtintypes`. Of a kind that
is not in it only the metadata has a shape; more is declared by known type fields. What the API server fills into lists
that are replaced as a whole is listed here by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import msgspec

from fairlead.agentsync.resources import Object, group_version, kind_of
from fairlead.core.errors import SpecError

OBJECT_META: Final = "meta.v1.ObjectMeta"
_SCALARS: Final = frozenset({"", "quantity", "int-or-string", "duration", "time", "bytes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is known of a value: of a list or a map, of its items too.

    Attributes:
        type: of a scalar, a reader of `_quantities`; of a map with named fields, its name in the table; else empty.
        is_known: whether it lies in a type that the API server decodes field by field: nulls and most zeros vanish.
        keeps_zero: whether an empty value differs from none (a pointer in Go).
        is_written: whether an empty list says that there shall be none, though it reads back as null.
        merges: whether a strategic merge keeps what only the live side has; otherwise a list is replaced.
        retains: whether a strategic merge drops what the target does not say, once anything in the map changes.
        is_replaced: whether a strategic merge takes the target's map as a whole.
        is_atomic: whether one manager owns a map as a whole.
        is_set: whether managers own items of a list, by value.
        is_keyed: whether managers own items of a list, by key.
        keys: the fields that tell the items of a list apart.
        is_whole: whether lists anywhere in it are replaced, by whomever: a built-in type inside a custom kind.
        fields: known fields of a map that has no name in the table.
    """

    type: str = ""
    is_known: bool = False
    is_list: bool = False
    is_map: bool = False
    keeps_zero: bool = False
    is_written: bool = False
    merges: bool = False
    retains: bool = False
    is_replaced: bool = False
    is_atomic: bool = False
    is_set: bool = False
    is_keyed: bool = False
    keys: tuple[str, ...] = ()
    is_whole: bool = False
    fields: Mapping[str, Shape] = field(default_factory=dict)

    def of(self, name: str) -> Shape:
        """Return the shape of a field of a map."""
        if self.is_map:
            return _inner(self.type, self.is_known, self.is_whole, keeps_zero=True)  # a key stays, whatever its value
        if self.fields and name in self.fields:
            return self.fields[name]
        if self.type in _SCALARS:
            return UNKNOWN
        return _fields(self.type, self.is_whole).get(name, UNKNOWN)

    @property
    def item(self) -> Shape:
        """The shape of the items of a list, or of the values of a map."""
        if self.fields:
            return self
        return _inner(self.type, self.is_known, self.is_whole, retains=self.retains)


UNKNOWN: Final = Shape()


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    from importlib import resources  # takes as long to import as the rest of this module

    raw = resources.files(__package__).joinpath("_builtin_types.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(raw)
    found["types"] |= _EXTENSIONS
    found["kinds"] |= _EXTENDED_KINDS
    return found


@lru_cache(maxsize=4096)
def _inner(type_: str, is_known: bool, is_whole: bool, *, keeps_zero: bool = False, retains: bool = False) -> Shape:
    return Shape(type=type_, is_known=is_known, is_whole=is_whole, keeps_zero=keeps_zero, retains=retains)


@lru_cache(maxsize=4096)
def _fields(type_: str, is_whole: bool) -> Mapping[str, Shape]:
    found = {name: _shape(*entry) for name, entry in _table()["types"].get(type_, {}).items()}
    return {name: _as_whole(shape) for name, shape in found.items()} if is_whole else found


def _as_whole(shape: Shape) -> Shape:
    return replace(shape, is_whole=True, merges=False, retains=False, is_atomic=False, is_set=False, is_keyed=False)


def _shape(flags: str, type_: str, keys: Iterable[str] = ()) -> Shape:
    return Shape(
        type=type_,
        is_known="u" not in flags,
        is_list="l" in flags,
        is_map="m" in flags,
        keeps_zero="p" in flags,
        is_written="w" in flags,
        merges="M" in flags,
        retains="R" in flags,
        is_replaced="E" in flags,
        is_atomic="A" in flags,
        is_set="S" in flags,
        is_keyed="K" in flags,
        keys=tuple(keys),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTypeField:
    """A field of a custom kind that holds a built-in type: its values compare by meaning.

    Source: `resource.customizations.knownTypeFields.<group>_<kind>`.

    Attributes:
        field: names joined by dots; lists on the way are gone through.
        type: such as `core/v1/PodSpec`, `core/Quantity`, `meta/v1/Duration`.
    """

    group: str
    kind: str
    field: str
    type: str

    def check(self) -> None:
        """Refuse a type that nobody knows.

        Raises:
            SpecError: with the types that are always known.
        """
        _named(self)


ROLLOUT_FIELDS: Final = (
    KnownTypeField(group="argoproj.io", kind="Rollout", field="spec.template.spec", type="core/v1/PodSpec"),
)
_NAMES: Final[Mapping[str, Shape]] = {
    "core/Quantity": Shape(type="quantity", is_known=True),
    "core/v1/ResourceList": Shape(type="quantity", is_known=True, is_map=True),
    "meta/v1/Duration": Shape(type="duration", is_known=True),
}


def _named(known: KnownTypeField) -> Shape:
    if known.type in _NAMES:
        return _NAMES[known.type]
    name = known.type.replace("/", ".")
    if name not in _table()["types"]:
        where = f"knownTypeFields.{known.group}_{known.kind}: field {known.field}"
        raise SpecError(
            f'unknown type "{known.type}": expected core/Quantity, meta/v1/Duration or the name of a built-in type, '
            "such as core/v1/PodSpec",
            path=where,
        )
    return Shape(type=name, is_known=True, is_whole=True)


@lru_cache(maxsize=1024)
def _shape_of_kind(group: str, version: str, kind: str, known: tuple[KnownTypeField, ...]) -> Shape:
    """Return the shape of a kind, with those known fields that belong to it."""
    if name := _table()["kinds"].get(f"{group}/{version}/{kind}"):
        return Shape(type=name, is_known=group not in _EXTENDED_GROUPS)
    tree: dict[str, Any] = {}
    for one in known:
        if (one.group, one.kind) == (group, kind):
            *path, last = one.field.split(".")
            at = tree
            for name in path:
                at = at.setdefault(name, {})
            at[last] = _named(one)
    shape = _overlay(tree)
    return replace(shape, fields={**shape.fields, "metadata": Shape(type=OBJECT_META, is_known=True)})


def _overlay(tree: Mapping[str, Any]) -> Shape:
    fields = {name: inner if isinstance(inner, Shape) else _overlay(inner) for name, inner in tree.items()}
    return Shape(fields=fields)


def shape_of(found: Object, known: tuple[KnownTypeField, ...] = ROLLOUT_FIELDS) -> Shape:
    """Return the shape of an object.

    Raises:
        SpecError: a known type field of its kind names a type that nobody knows.
    """
    group, version = group_version(found)
    return _shape_of_kind(group, version, kind_of(found), known)


def is_builtin(found: Object) -> bool:
    """Return whether the API server merges the kind strategically; custom kinds it does not."""
    group, version = group_version(found)
    return f"{group}/{version}/{kind_of(found)}" in _table()["kinds"] and group not in _EXTENDED_GROUPS


# What the API server adds to items of lists, and to maps, that are replaced as a whole. `ANY`: whatever it fills in.
ANY: Final = object()
_EXTENDED_GROUPS: Final = ("gateway.networking.k8s.io", "external-secrets.io")
_SERVICE_REF: Final = {"group": "", "kind": "Service"}
_PREFIX_MATCH: Final = {"type": "PathPrefix", "value": "/"}
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "apps.v1.DeploymentStrategy": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    },
    "core.v1.Volume": {"emptyDir": {}},
    "core.v1.PersistentVolumeClaim": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": ANY},
    "core.v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "core.v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "core.v1.ResourceFieldSelector": {"divisor": "0"},
    "core.v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "core.v1.LimitRangeItem": {"default": ANY, "defaultRequest": ANY},
    "networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    "discovery.v1.EndpointPort": {"protocol": "TCP", "name": ""},
    "core.v1.EndpointPort": {"protocol": "TCP"},
    "rbac.v1.Subject": {"apiGroup": "rbac.authorization.k8s.io"},
    "rbac.v1.RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
    "batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "admissionregistration.v1.MatchResources": {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
    },
    "admissionregistration.v1.RuleWithOperations": {"scope": "*"},
    "admissionregistration.v1.NamedRuleWithOperations": {"scope": "*"},
    "resource.v1.ExactDeviceRequest": {"allocationMode": "ExactCount", "count": 1},
    "resource.v1.DeviceSubRequest": {"allocationMode": "ExactCount", "count": 1},
    "gateway.Backend": {**_SERVICE_REF, "weight": 1},
    "gateway.Parent": {"group": "gateway.networking.k8s.io", "kind": "Gateway"},
    "gateway.Rule": {"matches": [{"path": _PREFIX_MATCH}]},
    "gateway.Match": {"path": _PREFIX_MATCH},
    "gateway.Path": dict(_PREFIX_MATCH),
    "gateway.Method": {"type": "Exact"},
    "gateway.Named": {"type": "Exact"},
    "eso.RemoteRef": {
        "conversionStrategy": "Default",
        "decodingStrategy": "None",
        "metadataPolicy": "None",
        "nullBytePolicy": "Ignore",
    },
}
# Custom kinds that releases are made of: nothing merges in them, but defaults that the server adds inside lists are
# no difference. Upstream shows them as OutOfSync for ever.
_EXTENSIONS: Final[dict[str, Any]] = {
    "gateway.Route": {"metadata": ["", OBJECT_META], "spec": ["u", "gateway.RouteSpec"]},
    "gateway.RouteSpec": {"parentRefs": ["lu", "gateway.Parent"], "rules": ["lu", "gateway.Rule"]},
    "gateway.Rule": {
        "backendRefs": ["lu", "gateway.Backend"],
        "filters": ["lu", "gateway.Filter"],
        "matches": ["lu", "gateway.Match"],
    },
    "gateway.Backend": {"filters": ["lu", "gateway.Filter"]},
    "gateway.Filter": {"requestMirror": ["u", "gateway.Mirror"]},
    "gateway.Mirror": {"backendRef": ["u", "gateway.Backend"]},
    "gateway.Match": {
        "path": ["u", "gateway.Path"],
        "method": ["u", "gateway.Method"],
        "headers": ["lu", "gateway.Named"],
        "queryParams": ["lu", "gateway.Named"],
    },
    "eso.ExternalSecret": {"metadata": ["", OBJECT_META], "spec": ["u", "eso.Spec"]},
    "eso.Spec": {"data": ["lu", "eso.Data"], "dataFrom": ["lu", "eso.From"], "refreshInterval": ["u", "duration"]},
    "eso.Data": {"remoteRef": ["u", "eso.RemoteRef"]},
    "eso.From": {"extract": ["u", "eso.RemoteRef"], "find": ["u", "eso.RemoteRef"]},
}
_EXTENDED_KINDS: Final = {
    **{
        f"gateway.networking.k8s.io/{version}/{kind}": "gateway.Route"
        for version in ("v1", "v1beta1", "v1alpha2")
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    },
    **{f"external-secrets.io/{version}/ExternalSecret": "eso.ExternalSecret" for version in ("v1", "v1beta1")},
}
