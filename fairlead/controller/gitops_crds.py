"""The definitions of Application and AppProject, generated like the others from the types that read the objects.

`status` is no subresource, as upstream: one write changes spec, operation and status.

Source: argo-cd: manifests/crds/.
"""

from __future__ import annotations

from typing import Any

from fairlead.agentsync.kinds import GROUP, VERSION
from fairlead.agentsync.operation import Operation
from fairlead.agentsync.project import ProjectSpec
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.core.schema import opaque, structural

_APPLICATION_COLUMNS: list[dict[str, Any]] = [
    {"name": "Sync Status", "type": "string", "jsonPath": ".status.sync.status"},
    {"name": "Health Status", "type": "string", "jsonPath": ".status.health.status"},
    {"name": "Revision", "type": "string", "jsonPath": ".status.sync.revision", "priority": 10},
    {"name": "Project", "type": "string", "jsonPath": ".spec.project", "priority": 10},
]


def definitions() -> dict[str, dict[str, Any]]:
    """Return the definitions by file name."""
    operation = {"description": "What is asked to be done once; removed when it is done.", **structural(Operation)}
    return {
        "application-crd.yaml": _definition(
            ("Application", "applications"),
            ["app", "apps"],
            "What is deployed from where to where, and whether it is what it should be.",
            {"spec": _required(structural(ApplicationSpec), "destination", "project"), "operation": operation},
            columns=_APPLICATION_COLUMNS,
        ),
        "appproject-crd.yaml": _definition(
            ("AppProject", "appprojects"),
            ["appproj", "appprojs"],
            "What the Applications that name it may do.",
            {"spec": structural(ProjectSpec)},
        ),
    }


def _required(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**schema, "required": sorted(names)}


def _definition(
    names: tuple[str, str],
    short_names: list[str],
    description: str,
    parts: dict[str, Any],
    *,
    columns: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    kind, plural = names
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **parts,
        "status": opaque("What the controller has decided so far."),
    }
    schema = {"description": description, "type": "object", "required": ["metadata", "spec"], "properties": properties}
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        **({"additionalPrinterColumns": columns} if columns else {}),
    }
    name = f"{plural}.{GROUP}"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "shortNames": short_names,
                "singular": kind.lower(),
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }
