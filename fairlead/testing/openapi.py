"""OpenAPI documents, as far as kubectl reads them: which writes validate fields, and the schemas of custom kinds.

Built-in kinds have no schema here. Clients that know them, as kubectl does, then merge by what they have compiled in;
for the same reason no strategic merge is announced.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from fairlead.testing.discovery import resources_of
from fairlead.testing.resources import Registry, Resource, Served

_INFO = {"title": "fairlead simulated Kubernetes", "version": "v1"}
_WRITES = ("dryRun", "fieldManager", "fieldValidation", "force")


def _group_versions(registry: Registry) -> dict[str, tuple[str, str]]:
    """Return (group, version) by path, such as `apis/apps/v1`."""
    found: dict[str, tuple[str, str]] = {}
    for resource in registry:
        for served in resource.versions:
            path = f"apis/{resource.group}/{served.name}" if resource.group else f"api/{served.name}"
            found[path] = (resource.group, served.name)
    return dict(sorted(found.items()))


def v3_index(registry: Registry) -> dict[str, Any]:
    """Return the answer of `/openapi/v3`: where the document of each version is, with a hash for caches."""
    paths: dict[str, Any] = {}
    for path in _group_versions(registry):
        content = msgspec.json.encode(v3(registry, path))
        digest = hashlib.sha256(content).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def _schema_name(resource: Resource, version: str) -> str:
    reversed_group = ".".join(reversed(resource.group.split("."))) if resource.group else "core"
    return f"{reversed_group}.{version}.{resource.kind}"


def _kind_of(resource: Resource, version: str) -> dict[str, str]:
    return {"group": resource.group, "version": version, "kind": resource.kind}


def _schema(resource: Resource, served: Served) -> dict[str, Any]:
    if served.schema is None:
        schema: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    else:
        schema = dict(served.schema)
        schema["properties"] = {
            "apiVersion": {"type": "string", "description": "Version of the kind's schema."},
            "kind": {"type": "string", "description": "What this object is."},
            **schema.get("properties", {}),
            "metadata": {"type": "object", "description": "Name, labels, owners and the like."},
        }
    return {**schema, "x-kubernetes-group-version-kind": [_kind_of(resource, served.name)]}


def v3(registry: Registry, path: str) -> dict[str, Any] | None:
    """Return the document of one version, such as `apis/apps/v1`; None when it is not served."""
    found = _group_versions(registry).get(path)
    if found is None:
        return None
    group, version = found
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _WRITES]
    for resource in resources_of(registry, group, version):
        served = resource.version(version)
        assert served is not None, "resources_of asked for this version"
        name = _schema_name(resource, version)
        schemas[name] = _schema(resource, served)
        reference = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        answers = {"200": {"description": "OK", "content": reference}}
        kind = _kind_of(resource, version)
        middle = "/namespaces/{namespace}" if resource.namespaced else ""
        collection = f"/{path}{middle}/{resource.plural}"

        def operation(action: str, *, writes: bool = False, kind: Any = kind, answers: Any = answers) -> dict[str, Any]:
            made: dict[str, Any] = {
                "responses": answers,
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind,
            }
            if writes:
                made["parameters"] = parameters
            return made

        paths[collection] = {"get": operation("list"), "post": operation("post", writes=True)}
        patch = operation("patch", writes=True)
        patch["requestBody"] = {
            "content": {
                content_type: {"schema": {"type": "object"}}
                for content_type in (
                    "application/apply-patch+yaml",
                    "application/json-patch+json",
                    "application/merge-patch+json",
                )
            }
        }
        paths[collection + "/{name}"] = {
            "get": operation("get"),
            "put": operation("put", writes=True),
            "patch": patch,
            "delete": operation("delete"),
        }
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def v2(registry: Registry) -> dict[str, Any]:
    """Return the answer of `/openapi/v2`: the schemas of custom kinds, for clients that know no v3."""
    definitions = {
        _schema_name(resource, served.name): _schema(resource, served)
        for resource in registry
        if resource.custom
        for served in resource.versions
    }
    return {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": definitions}
