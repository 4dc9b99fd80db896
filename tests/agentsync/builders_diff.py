"""Objects to compare: small manifests, and what a cluster makes of them."""

from __future__ import annotations

import copy
import json
from typing import Any

from fairlead.agentsync.diff import LAST_APPLIED
from fairlead.agentsync.resources import Object


def container(name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "shop/web:1", **fields}


def pod_spec(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containers": list(containers) or [container()], **fields}


def deployment(pods: dict[str, Any] | None = None, **fields: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pods or pod_spec()},
            **fields,
        },
    }


def rollout(pods: dict[str, Any] | None = None, **fields: Any) -> Object:
    return {**deployment(pods, **fields), "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}


def custom(**spec: Any) -> Object:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "one", "namespace": "shop"},
        "spec": spec,
    }


def config_map(**data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"},
        "data": data,
    }


def secret(**fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop"}, **fields}


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}, **spec},
    }


def route(*rules: dict[str, Any], annotations: dict[str, str] | None = None, kind: str = "HTTPRoute") -> Object:
    found: Object = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "gate"}], "rules": list(rules)},
    }
    if annotations:
        found["metadata"]["annotations"] = annotations
    return found


def ref(name: str, weight: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **fields} | ({} if weight is None else {"weight": weight})


def read(applied: Object, *, last_applied: bool = True, managers: list[dict[str, Any]] | None = None) -> Object:
    """Return an object as it is read back after an apply: with what the server keeps, and the target of the apply."""
    live = copy.deepcopy(applied)
    live["metadata"] |= {
        "uid": "3f1c",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": "2026-08-01T10:00:00Z",
    }
    if last_applied:
        live["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(applied)
    if managers is not None:
        live["metadata"]["managedFields"] = managers
    return live


def manager(name: str, fields: dict[str, Any], operation: str = "Apply", **more: str) -> dict[str, Any]:
    return {
        "manager": name,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    } | more


def edited(found: Object, path: str, value: Any) -> Object:
    """Return a copy with another value at a path such as `spec.template.spec.containers.0.image`."""
    result = copy.deepcopy(found)
    at: Any = result
    *way, last = path.split(".")
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return result
