"""Names, owners and metadata of Kubernetes objects, as slim values.

Only the fields that somebody reads are modelled; unknown ones are skipped when decoding and survive because
we write patches and never whole objects back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec


class ObjectKey(NamedTuple):
    """Which object of a kind; the namespace is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Who owns an object; `controller` marks the one that manages it."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False

    def __post_init__(self) -> None:
        # Thousands of owners share a handful of kinds.
        msgspec.structs.force_setattr(self, "api_version", sys.intern(self.api_version))
        msgspec.structs.force_setattr(self, "kind", sys.intern(self.kind))


_NOTHING: dict[str, str] = {}


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What every object carries. Treat the mappings as read-only."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Thousands of objects share a handful of namespaces, and most have no labels or no annotations.
        if self.namespace:
            msgspec.structs.force_setattr(self, "namespace", sys.intern(self.namespace))
        if not self.labels:
            msgspec.structs.force_setattr(self, "labels", _NOTHING)
        if not self.annotations:
            msgspec.structs.force_setattr(self, "annotations", _NOTHING)

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object, if any."""
        return next((owner for owner in self.owner_references if owner.controller), None)

    @property
    def is_deleting(self) -> bool:
        return self.deletion_timestamp is not None

    @property
    def version(self) -> int:
        """The resourceVersion as a number, 0 when it is absent or is none."""
        return int(self.resource_version) if self.resource_version.isdecimal() else 0


class HasMetadata(Protocol):
    """Anything that can be cached by key."""

    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=HasMetadata)
T_co = TypeVar("T_co", bound=HasMetadata, covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind that the API server serves, and how one of its objects becomes a value.

    `decode` takes the JSON of one object and raises `msgspec.MsgspecError` or `SpecError` when it cannot. `form` tells
    apart kinds that read the same objects into different values: caches are kept by Kind.
    """

    group: str
    version: str
    kind: str
    plural: str
    decode: Callable[[bytes], T] = field(compare=False, repr=False)
    namespaced: bool = True
    form: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """The root of its REST path, without namespace: `/apis/apps/v1` or `/api/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An object that we merely carry: its metadata as values, the whole of it as JSON.

    It is kept as text, which takes a quarter of the memory of the data.
    """

    metadata: ObjectMeta
    raw: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The object as plain JSON data, made anew each time: the caller's own."""
        return _plain.decode(self.raw)


class _Envelope(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


_envelope = msgspec.json.Decoder(_Envelope)
_plain = msgspec.json.Decoder(dict[str, Any])


def decode_manifest(raw: bytes) -> Manifest:
    """Return an object as a Manifest."""
    _plain.decode(raw)  # what is no JSON object is found out here, and not by whoever reads it
    return Manifest(metadata=_envelope.decode(raw).metadata, raw=bytes(raw))


def struct_decoder(of: type[T]) -> Callable[[bytes], T]:
    """Return the `decode` of a Kind whose objects are the given msgspec struct.

    `null` stands for an absent field where the struct has no use for it: a real API server writes `endpoints: null`
    in the EndpointSlice of a Service without pods.
    """
    decoder = msgspec.json.Decoder(of)

    def decode(raw: bytes) -> T:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            if b"null" not in bytes(raw):
                raise
            return decoder.decode(msgspec.json.encode(_without_nulls(msgspec.json.decode(raw))))

    return decode


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def controller_reference(
    *, api_version: str, kind: str, metadata: ObjectMeta, block_owner_deletion: bool = True
) -> dict[str, Any]:
    """Return the ownerReference, as JSON data, by which `metadata`'s object controls another."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": block_owner_deletion,
    }


def rfc3339(instant: datetime) -> str:
    """Return an instant as Kubernetes writes metav1.Time: UTC, whole seconds, `Z`."""
    # `isoformat` takes a third of the time of `strftime`, and there are many instants.
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def rfc3339_micro(instant: datetime) -> str:
    """Return an instant as metav1.MicroTime: always six fraction digits (the server insists)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime | None:
    """Return the instant that a timestamp names, or None when it is none."""
    try:
        instant = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return instant if instant.tzinfo else None


def compact(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping without entries that are None, an empty string or an empty container."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", {}, [], ())}
