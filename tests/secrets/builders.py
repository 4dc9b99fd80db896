"""ExternalSecrets, Secrets and what belongs to them, in one call."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from fairlead.core.objects import ObjectMeta, OwnerReference
from fairlead.secrets._hash import data_hash
from fairlead.secrets._ownership import created_by, field_manager
from fairlead.secrets.kinds import (
    CREATED_BY_LABEL,
    DATA_HASH_ANNOTATION,
    FINALIZER,
    MANAGED_LABEL,
    LiveSecret,
    Owned,
    TargetSecret,
    digest,
)
from fairlead.secrets.machine import Subject, prepare
from fairlead.secrets.values import SecretBytes

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
NAMESPACE = "shop"
VALUE = {"secretKey": "password", "remoteRef": {"key": "db"}}


def meta(name: str = "db", *, uid: str = "uid-db", **fields: Any) -> ObjectMeta:
    """Metadata of an ExternalSecret."""
    found = {"resource_version": "10", "generation": 1, "finalizers": (FINALIZER,), **fields}
    return ObjectMeta(name=name, namespace=NAMESPACE, uid=uid, **found)


def subject(spec: Mapping[str, Any] | None = None, *, metadata: ObjectMeta | None = None) -> Subject:
    """An ExternalSecret with one value, unless the spec says otherwise."""
    whole = {"secretStoreRef": {"name": "store"}, "data": [VALUE], **(spec or {})}
    return prepare(metadata or meta(), msgspec.json.encode(whole))


def target_spec(**fields: Any) -> dict[str, Any]:
    return {"target": fields}


def owner(name: str = "db", uid: str = "uid-db", **fields: Any) -> OwnerReference:
    found = {
        "api_version": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "controller": True,
        "block_owner_deletion": True,
        **fields,
    }
    return OwnerReference(name=name, uid=uid, **found)


def secret(
    data: Mapping[str, bytes] | None = None,
    *,
    name: str = "db",
    by: str = "db",
    owned: Owned | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owners: tuple[OwnerReference, ...] | None = None,
    **fields: Any,
) -> LiveSecret:
    """A Secret as External Secrets leaves it under creationPolicy Owner."""
    values = dict(data if data is not None else {"password": b"s3cr3t"})
    managed = {MANAGED_LABEL: "true", CREATED_BY_LABEL: created_by(meta(by))}
    metadata = ObjectMeta(
        name=name,
        namespace=NAMESPACE,
        uid=f"uid-of-secret-{name}",
        resource_version="20",
        labels=managed if labels is None else dict(labels),
        annotations={DATA_HASH_ANNOTATION: data_hash(values)} if annotations is None else dict(annotations),
        owner_references=(owner(by, f"uid-{by}"),) if owners is None else owners,
    )
    mine = Owned(frozenset(values), frozenset(metadata.labels), frozenset(metadata.annotations))
    found = TargetSecret(
        metadata=metadata,
        digests={key: digest(value) for key, value in values.items()},
        hash=data_hash(values),
        owned={field_manager(by): owned if owned is not None else mine},
        **{"type": "Opaque", **fields},
    )
    return LiveSecret(target=found, data=hidden(values))


def hidden(values: Mapping[str, bytes]) -> dict[str, SecretBytes]:
    return {key: SecretBytes(value) for key, value in values.items()}


def encoded(value: bytes) -> str:
    return b64encode(value).decode()
