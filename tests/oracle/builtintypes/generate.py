"""Writes `fairlead/agentsync/_builtin_types.json`: the fields of every built-in kind, and how each of them merges.

Two sources of one release are joined: the published OpenAPI document knows how lists and maps merge, the Go types
know which fields are pointers (whose zero value stays in an object, while that of others vanishes).

    .venv/bin/python -m tests.oracle.builtintypes.generate ~/go/pkg/mod/k8s.io 1.36.3

The folder is a Go module cache that holds `kubernetes`, `api`, `apimachinery`, `apiextensions-apiserver` and
`kube-aggregator` of that release.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[3] / "fairlead" / "agentsync" / "_builtin_types.json"
SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Duration": "duration",
}
FOLDERS = {
    "io.k8s.api.": "api",
    "io.k8s.apimachinery.": "apimachinery",
    "io.k8s.apiextensions-apiserver.": "apiextensions-apiserver",
    "io.k8s.kube-aggregator.": "kube-aggregator",
}
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r'^\t(?:(\w+)[ \t]+)?(\*?)([\w.\[\]*]+)[ \t]+`[^`]*json:"([^"]*)"', re.MULTILINE)


def pointers(folder: Path) -> dict[str, dict[str, str]]:
    """Return of each Go struct in the folder: field name in JSON to the flags of how its zero value is written."""
    text = "\n".join(found.read_text() for found in sorted(folder.glob("*types*.go")) if "_test" not in found.name)
    found: dict[str, dict[str, str]] = {}
    inlined: dict[str, list[str]] = {}
    for name, body in STRUCT.findall(text):
        fields = found.setdefault(name, {})
        for _, star, type_, tag in FIELD.findall(body):
            key, *options = tag.split(",")
            if "inline" in options and not key:
                inlined.setdefault(name, []).append(type_.lstrip("*"))
            elif key and key != "-":
                is_written = not {"omitempty", "omitzero"} & set(options)
                # An empty list or map that is always written comes back as null: it says something, but equals none.
                is_collection = not star and type_.startswith(("[]", "map["))
                fields[key] = "w" if is_collection and is_written else "p" if star or is_written else ""
    for name, embedded in inlined.items():
        for other in embedded:
            found[name] = {**found.get(other, {}), **found[name]}
    return found


def short(name: str) -> str:
    """Return a short, unique name: `core.v1.Container`."""
    return re.sub(r"^io\.k8s\.(api\.|apimachinery\.pkg\.apis\.|[\w-]+\.pkg\.apis\.)", "", name)


class Writer:
    """Collects the types that can be reached from a kind."""

    def __init__(self, modules: Path, release: str) -> None:
        document = modules / f"kubernetes@v{release}" / "api" / "openapi-spec" / "swagger.json"
        self._definitions: dict[str, Any] = json.loads(document.read_text())["definitions"]
        self._modules = modules
        self._staging = "v0." + release.partition(".")[2]
        self._go: dict[Path, dict[str, dict[str, str]]] = {}
        self.types: dict[str, dict[str, Any]] = {}

    def kinds(self) -> dict[str, str]:
        """Return group/version/Kind to the name of its type."""
        found = {}
        for name, definition in self._definitions.items():
            for gvk in definition.get("x-kubernetes-group-version-kind", ()):
                if "metadata" not in definition.get("properties", {}) or gvk["kind"].endswith("List"):
                    continue
                found["/".join((gvk["group"], gvk["version"], gvk["kind"]))] = self.visit(name)
        return found

    def _kept(self, name: str) -> dict[str, str]:
        prefix, module = next((item for item in FOLDERS.items() if name.startswith(item[0])), ("", ""))
        if not module:
            return {}
        *inner, type_ = name.removeprefix(prefix).split(".")
        folder = self._modules / f"{module}@{self._staging}" / "/".join(inner)
        if folder not in self._go:
            self._go[folder] = pointers(folder)
        return self._go[folder].get(type_, {})

    def visit(self, name: str) -> str:
        if short(name) not in self.types:
            fields = self.types[short(name)] = {}
            kept = self._kept(name)
            for field, schema in self._definitions[name].get("properties", {}).items():
                fields[field] = self._field(schema, zero=kept.get(field, ""))
        return short(name)

    def _field(self, schema: dict[str, Any], *, zero: str) -> list[Any]:
        flags = zero
        inner = schema
        if schema.get("type") == "array":
            flags, inner = flags + "l", schema["items"]
        elif "additionalProperties" in schema:
            flags, inner = flags + "m", schema["additionalProperties"]
        if inner.get("type") == "array":  # a map of lists: what lies in it is atomic
            inner = {}
        type_, atomic = self._type(inner)
        strategies = schema.get("x-kubernetes-patch-strategy", "").split(",")
        merges, list_type = "merge" in strategies, schema.get("x-kubernetes-list-type", "")
        atomic = schema.get("x-kubernetes-map-type", "atomic" if atomic and "l" not in flags else "") == "atomic"
        flags += "M" * merges + "R" * ("retainKeys" in strategies) + "E" * ("replace" in strategies) + "A" * atomic
        flags += {"map": "K", "set": "S"}.get(list_type, "")
        keys = schema.get("x-kubernetes-list-map-keys") or []
        if merges and "l" in flags and not keys and "x-kubernetes-patch-merge-key" in schema:
            keys = [schema["x-kubernetes-patch-merge-key"]]
        return [flags, type_, keys] if keys else [flags, type_]

    def _type(self, schema: dict[str, Any]) -> tuple[str, bool]:
        """Return the type of a value, and whether a struct of it is atomic for server-side apply."""
        reference = schema.get("$ref", "").removeprefix("#/definitions/")
        if not reference:
            return ("bytes" if schema.get("format") == "byte" else ""), False
        if reference in SCALARS:
            return SCALARS[reference], False
        definition = self._definitions[reference]
        if not definition.get("properties"):  # raw JSON
            return "", True
        return self.visit(reference), definition.get("x-kubernetes-map-type") == "atomic"


def main(modules: str, release: str) -> None:
    writer = Writer(Path(modules).expanduser(), release)
    kinds = writer.kinds()
    lines = [f'"release": {json.dumps(release)}']
    for title, table in (("kinds", kinds), ("types", writer.types)):
        entries = sorted(table.items())
        inner = ",\n".join(f"{json.dumps(key)}:{json.dumps(entry, separators=(',', ':'))}" for key, entry in entries)
        lines.append(f'"{title}": {{\n{inner}\n}}')
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
