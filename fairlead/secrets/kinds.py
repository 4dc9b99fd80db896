"""The kinds of this package as the API server serves them.

Secrets that we make are watched in a form that holds no value: what is kept of one is its hash, and a digest per key.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import msgspec

from fairlead.core.kinds import EMPTY
from fairlead.core.objects import Kind, ObjectMeta, struct_decoder
from fairlead.secrets._hash import data_hash
from fairlead.secrets.values import SecretBytes

GROUP: Final = "external-secrets.io"
VERSION: Final = "v1"
MANAGED_LABEL: Final = "reconcile.external-secrets.io/managed"
CREATED_BY_LABEL: Final = "reconcile.external-secrets.io/created-by"
DATA_HASH_ANNOTATION: Final = "reconcile.external-secrets.io/data-hash"
FINALIZER: Final = "externalsecrets.external-secrets.io/externalsecret-cleanup"
MANAGER_PREFIX: Final = "externalsecrets.external-secrets.io/"
MANAGED_SELECTOR: Final = f"{MANAGED_LABEL}=true"  # what to watch Secrets by

_DIGEST_BYTES = 16


class ExternalSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An ExternalSecret; spec and status are parsed by `spec.py` and `status.py`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY


class SecretStore(msgspec.Struct, frozen=True, kw_only=True):
    """A SecretStore or a ClusterSecretStore; spec and status are parsed by `spec.py` and `status.py`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY


@dataclass(frozen=True, slots=True)
class Owned:
    """What one field manager owns of a Secret, by key."""

    data: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()

    def __or__(self, other: Owned) -> Owned:
        return Owned(self.data | other.data, self.labels | other.labels, self.annotations | other.annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSecret:
    """A Secret that some ExternalSecret makes, without its values.

    Attributes:
        digests: by key, what tells whether a value is the same.
        hash: of the data as it is now, comparable with the annotation.
        owned: by field manager, those of ExternalSecrets only.
    """

    metadata: ObjectMeta
    type: str = ""
    immutable: bool = False
    digests: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    hash: str = field(default="", repr=False)
    owned: Mapping[str, Owned] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSecret:
    """A Secret with its values, read when it is about to be written."""

    target: TargetSecret
    data: Mapping[str, SecretBytes]

    @property
    def metadata(self) -> ObjectMeta:
        return self.target.metadata


def digest(value: bytes) -> bytes:
    """Return what is kept of a value to compare it with a later one."""
    return blake2b(value, digest_size=_DIGEST_BYTES).digest()


class _ManagedFields(msgspec.Struct, frozen=True, rename="camel"):
    manager: str = ""
    fields_v1: msgspec.Raw = msgspec.field(name="fieldsV1", default=EMPTY)


class _Fields(msgspec.Struct, frozen=True):
    data: dict[str, Any] = msgspec.field(name="f:data", default_factory=dict)
    metadata: dict[str, dict[str, Any]] = msgspec.field(name="f:metadata", default_factory=dict)


class _WireMeta(msgspec.Struct, frozen=True, rename="camel"):
    managed_fields: tuple[_ManagedFields, ...] = ()


class _WireSecret(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None
    type: str = ""
    immutable: bool | None = None


class _Managed(msgspec.Struct, frozen=True):
    metadata: _WireMeta = _WireMeta()


_wire_secret = msgspec.json.Decoder(_WireSecret)
_managed = msgspec.json.Decoder(_Managed)
_fields = msgspec.json.Decoder(_Fields)


def _decode(raw: bytes) -> tuple[TargetSecret, dict[str, bytes]]:
    wire = _wire_secret.decode(raw)
    data: dict[str, bytes] = {}
    for key, text in (wire.data or {}).items():
        try:
            data[key] = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise ValueError(f"data.{key}: expected base64") from None
    owned: dict[str, Owned] = {}
    for entry in _managed.decode(raw).metadata.managed_fields:
        if entry.manager.startswith(MANAGER_PREFIX):
            owned[entry.manager] = owned.get(entry.manager, Owned()) | _owned(entry.fields_v1)
    target = TargetSecret(
        metadata=wire.metadata,
        type=wire.type,
        immutable=bool(wire.immutable),
        digests={key: digest(value) for key, value in data.items()},
        hash=data_hash(data),
        owned=owned,
    )
    return target, data


def _owned(raw: msgspec.Raw) -> Owned:
    try:
        found = _fields.decode(raw)
    except msgspec.ValidationError:  # a list or a leaf where a map of fields stands: nothing that we can prune
        return Owned()
    labels, annotations = (found.metadata.get(name, {}) for name in ("f:labels", "f:annotations"))
    return Owned(_keys(found.data), _keys(labels), _keys(annotations))


def _keys(fields: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name[2:] for name in fields if name.startswith("f:"))


def decode_target(raw: bytes) -> TargetSecret:
    """Return a Secret without its values."""
    return _decode(raw)[0]


def decode_live(raw: bytes) -> LiveSecret:
    """Return a Secret with its values."""
    target, data = _decode(raw)
    return LiveSecret(target=target, data={key: SecretBytes(value) for key, value in data.items()})


EXTERNAL_SECRETS = Kind(GROUP, VERSION, "ExternalSecret", "externalsecrets", struct_decoder(ExternalSecret))
SECRET_STORES = Kind(GROUP, VERSION, "SecretStore", "secretstores", struct_decoder(SecretStore))
CLUSTER_SECRET_STORES = Kind(
    GROUP, VERSION, "ClusterSecretStore", "clustersecretstores", struct_decoder(SecretStore), namespaced=False
)
TARGETS = Kind("", "v1", "Secret", "secrets", decode_target, form="digest")
LIVE_SECRETS = Kind("", "v1", "Secret", "secrets", decode_live, form="live")
