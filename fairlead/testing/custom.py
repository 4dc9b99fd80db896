"""CustomResourceDefinitions: from the document to a served kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import msgspec
import yaml

from fairlead.core import regex
from fairlead.core.errors import Cause
from fairlead.testing import failures, shapes
from fairlead.testing.resources import Column, Resource, ScalePaths, Served

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
COLLECTION = "customresourcedefinitions.apiextensions.k8s.io"
_PRESERVE_ALL: Mapping[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@cache  # parsing them takes longer than making a whole cluster
def fairlead_crds() -> tuple[Mapping[str, Any], ...]:
    """Return the CustomResourceDefinitions that ship with fairlead; to be read only."""
    documents: list[dict[str, Any]] = []
    folder = resources.files("fairlead").joinpath("crds")
    if folder.is_dir():
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith((".yaml", ".yml")):
                documents.extend(load_documents(file.read_text(encoding="utf-8")))
    return tuple(only_definitions(documents))


def load_documents(text: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a text that are mappings."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, Loader=loader) if isinstance(document, dict)]


def default(definition: dict[str, Any]) -> None:
    """Fill in, in place, what the server fills in on a definition."""
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = str(names.get("kind", ""))
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")
    finalizers = definition["metadata"].setdefault("finalizers", [])
    if CLEANUP not in finalizers and "deletionTimestamp" not in definition["metadata"]:
        finalizers.append(CLEANUP)


def check(definition: Mapping[str, Any]) -> list[Cause]:
    """Return what is wrong with a definition."""
    spec = definition.get("spec")
    if not isinstance(spec, Mapping):
        return [failures.required("spec")]
    names = spec.get("names") or {}
    causes = [failures.required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)]
    if not spec.get("group"):
        causes.append(failures.required("spec.group"))
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        causes.append(failures.not_supported("spec.scope", spec.get("scope"), ("Cluster", "Namespaced")))
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if not causes and definition["metadata"].get("name") != expected:
        found = definition["metadata"].get("name")
        causes.append(failures.bad_value("metadata.name", found, 'must be spec.names.plural+"."+spec.group'))
    versions = spec.get("versions") or []
    storing = [version for version in versions if version.get("storage")]
    if len(storing) != 1:
        detail = "must have exactly one version marked as storage version"
        causes.append(failures.bad_value("spec.versions", [v.get("name") for v in versions], detail))
    for index, version in enumerate(versions):
        if not isinstance((version.get("schema") or {}).get("openAPIV3Schema"), Mapping):
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            causes.append(failures.required(path, "schemas are required"))
        else:
            raw = msgspec.json.encode(version["schema"]["openAPIV3Schema"])
            causes.extend(_bad_patterns_of(raw, f"spec.versions[{index}].schema"))
    return causes


@lru_cache(maxsize=256)  # every simulated cluster installs the same definitions
def _bad_patterns_of(raw: bytes, path: str) -> tuple[Cause, ...]:
    return tuple(_bad_patterns(msgspec.json.decode(raw), path))


def _bad_patterns(schema: Any, path: str) -> list[Cause]:
    """Return the regular expressions of a schema that are none."""
    causes: list[Cause] = []
    if isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            try:
                regex.compile(pattern)
            except regex.RegexError as error:
                causes.append(
                    failures.bad_value(f"{path}.pattern", pattern, f"must be a valid regular expression: {error}")
                )
        for name, member in schema.items():
            if name not in ("default", "enum", "example"):
                causes.extend(_bad_patterns(member, f"{path}.{name}"))
    elif isinstance(schema, list):
        for index, member in enumerate(schema):
            causes.extend(_bad_patterns(member, f"{path}[{index}]"))
    return causes


def established(definition: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the status of an accepted definition; conditions that it has keep their times."""
    old = definition.get("status") or {}
    if old.get("conditions"):
        conditions = old["conditions"]
    else:
        conditions = [
            {
                "type": "NamesAccepted",
                "status": "True",
                "reason": "NoConflicts",
                "message": "no conflicts found",
                "lastTransitionTime": now,
            },
            {
                "type": "Established",
                "status": "True",
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
                "lastTransitionTime": now,
            },
        ]
    storing = [version["name"] for version in definition["spec"]["versions"] if version.get("storage")]
    stored = list(dict.fromkeys([*(old.get("storedVersions") or ()), *storing]))
    return {"conditions": conditions, "acceptedNames": definition["spec"]["names"], "storedVersions": stored}


def resource(definition: Mapping[str, Any]) -> Resource:
    """Return the kind that a definition defines; the same object for the same spec."""
    return _resource(msgspec.json.encode(definition["spec"]))


@lru_cache(maxsize=256)
def _resource(raw: bytes) -> Resource:
    spec = msgspec.json.decode(raw)
    names = spec["names"]
    versions = sorted(spec["versions"], key=lambda version: _priority(version["name"]), reverse=True)
    storage = next(version for version in versions if version.get("storage"))
    subresources = storage.get("subresources") or {}
    schema = storage["schema"]["openAPIV3Schema"]
    return Resource(
        group=spec["group"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", names["kind"].lower()),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        versions=tuple(_served(version) for version in versions if version.get("served", True)),
        storage_version=storage["name"],
        status="status" in subresources,
        scale=_scale(subresources.get("scale")),
        generation=True,
        shape=shapes.of_custom(schema),
        field_labels=tuple(entry["jsonPath"].strip(".") for entry in storage.get("selectableFields") or ()),
        custom=True,
    )


def _priority(version: str) -> tuple[int, int, int]:
    """Order versions as discovery does: v2 before v1 before v1beta1 before v1alpha1 before anything else."""
    for rank, word in ((3, ""), (2, "beta"), (1, "alpha")):
        head, found, tail = version[1:].partition(word) if word else (version[1:], "", "")
        if version.startswith("v") and head.isdecimal() and (not word or (found and tail.isdecimal())):
            return rank, int(head), int(tail) if tail else 0
    return 0, 0, 0


def _served(version: Mapping[str, Any]) -> Served:
    columns = [Column(name="Name", format="name")]
    for entry in version.get("additionalPrinterColumns") or ():
        columns.append(
            Column(
                name=entry["name"],
                type=entry.get("type", "string"),
                path=entry["jsonPath"],
                format=entry.get("format", ""),
                description=entry.get("description", ""),
                priority=entry.get("priority", 0),
            )
        )
    if len(columns) == 1:
        columns.append(Column(name="Age", type="date", path=".metadata.creationTimestamp"))
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or _PRESERVE_ALL
    return Served(name=version["name"], schema=schema, columns=tuple(columns))


def _scale(paths: Mapping[str, Any] | None) -> ScalePaths | None:
    if paths is None:
        return None
    return ScalePaths(
        spec_replicas=paths["specReplicasPath"],
        status_replicas=paths["statusReplicasPath"],
        selector=paths.get("labelSelectorPath") or "-",
    )


def only_definitions(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the CustomResourceDefinitions among the documents."""
    return [document for document in documents if document.get("kind") == "CustomResourceDefinition"]
