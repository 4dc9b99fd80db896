"""The definitions of `external-secrets.io`, generated like the others from the types that read the objects.

`v1` is stored, `v1beta1` served besides: one type, so that no conversion is needed.

Source: external-secrets: config/crds/bases.
"""

from __future__ import annotations

from typing import Any

from fairlead.core.schema import opaque, structural
from fairlead.secrets.kinds import GROUP
from fairlead.secrets.spec import ExternalSecretSpec, SecretStoreSpec

_CATEGORY = "external-secrets"
_READY = '.status.conditions[?(@.type=="Ready")]'


def _column(name: str, path: str, description: str, *, type_: str = "string") -> dict[str, str]:
    return {"name": name, "type": type_, "jsonPath": path, "description": description}


_SECRET_COLUMNS = [
    _column("StoreType", ".spec.secretStoreRef.kind", "Kind of the store"),
    _column("Store", ".spec.secretStoreRef.name", "Name of the store"),
    _column("Refresh Interval", ".spec.refreshInterval", "Time between refreshes"),
    _column("Status", f"{_READY}.reason", "How the last sync ended"),
    _column("Ready", f"{_READY}.status", "Whether the Secret is up to date"),
    _column("Last Sync", ".status.refreshTime", "Time of the last sync, to the hour", type_="date"),
]
_STORE_COLUMNS = [
    _column("AGE", ".metadata.creationTimestamp", "Time since the object was created", type_="date"),
    _column("Status", f"{_READY}.reason", "How the last validation ended"),
    _column("Capabilities", ".status.capabilities", "What the store can be used for"),
    _column("Ready", f"{_READY}.status", "Whether the store can be used"),
]
_SELECTABLE = (
    ".spec.secretStoreRef.name",
    ".spec.secretStoreRef.kind",
    ".spec.target.name",
    ".spec.refreshInterval",
)


def definitions() -> dict[str, dict[str, Any]]:
    """Return the definitions by file name."""
    return {
        "external-secret-crd.yaml": _definition(
            ("ExternalSecret", "externalsecrets", "es"),
            "A Secret that is made of values of a store, and kept up to date.",
            structural(ExternalSecretSpec),
            columns=_SECRET_COLUMNS,
            selectable=_SELECTABLE,
        ),
        "secret-store-crd.yaml": _definition(
            ("SecretStore", "secretstores", "ss"),
            "A store of secrets, for ExternalSecrets of its namespace.",
            structural(SecretStoreSpec),
            columns=_STORE_COLUMNS,
        ),
        "cluster-secret-store-crd.yaml": _definition(
            ("ClusterSecretStore", "clustersecretstores", "css"),
            "A store of secrets, for ExternalSecrets of any namespace that its conditions let in.",
            structural(SecretStoreSpec),
            columns=_STORE_COLUMNS,
            scope="Cluster",
        ),
    }


def _definition(
    names: tuple[str, str, str],
    description: str,
    spec: dict[str, Any],
    *,
    columns: list[dict[str, str]],
    selectable: tuple[str, ...] = (),
    scope: str = "Namespaced",
) -> dict[str, Any]:
    kind, plural, short_name = names
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"external-secrets.io/component": "controller"}},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": [_CATEGORY],
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "shortNames": [short_name],
                "singular": kind.lower(),
            },
            "scope": scope,
            "versions": [
                _version(name, description, spec, columns=columns, selectable=selectable) for name in ("v1", "v1beta1")
            ],
        },
    }


def _version(
    name: str,
    description: str,
    spec: dict[str, Any],
    *,
    columns: list[dict[str, str]],
    selectable: tuple[str, ...],
) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "description": description,
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": spec,
                    "status": opaque("What the controller has decided so far."),
                },
            }
        },
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return version
