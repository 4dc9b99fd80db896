"""Short ways to values for the tables of this package."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fairlead.core.objects import ObjectMeta, OwnerReference, rfc3339
from fairlead.testing.workloads._objects import PODS, Pod

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def owned(kind: str, uid: str) -> tuple[OwnerReference, ...]:
    return (OwnerReference(api_version="v1", kind=kind, name="owner", uid=uid, controller=True),)


def meta(name: str, **more: Any) -> ObjectMeta:
    fields: dict[str, Any] = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "creation_timestamp": T0,
        "generation": 1,
    }
    return ObjectMeta(**(fields | more))


def pod(
    name: str = "a",
    *,
    phase: str = "Running",
    ready_since: float | None = 0.0,
    node: str = "node-1",
    deleting: bool = False,
    created: float = 0.0,
    restarts: int = 0,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    ip: str = "10.0.0.1",
    ended: float | None = None,
    spec: dict[str, Any] | None = None,
) -> Pod:
    """Return a pod as a watch would bring it."""
    status: dict[str, Any] = {"phase": phase, "podIP": ip}
    ready = {"type": "Ready", "status": "False" if ready_since is None else "True"}
    ready["lastTransitionTime"] = rfc3339(at(ready_since or 0.0))
    status["conditions"] = [ready]
    container: dict[str, Any] = {"name": "web", "restartCount": restarts}
    if ended is not None:
        container["state"] = {"terminated": {"exitCode": 1, "finishedAt": rfc3339(at(ended))}}
    status["containerStatuses"] = [container]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "creationTimestamp": rfc3339(at(created)),
        "labels": labels or {"app": "web"},
        "annotations": annotations or {},
    }
    if deleting:
        metadata["deletionTimestamp"] = rfc3339(at(created + 60))
    body = {"metadata": metadata, "spec": {"nodeName": node, **(spec or {})}, "status": status}
    return PODS.decode(msgspec.json.encode(body))
