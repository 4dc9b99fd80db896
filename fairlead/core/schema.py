"""The structural OpenAPI schema of a custom resource from the types that read it.

Whatever the types do not know is kept by the API server: every object has `x-kubernetes-preserve-unknown-fields`.
Defaults are not part of the schema, because they are applied when they are read: an object stays as its user wrote it.

Source: Kubernetes, "Custom Resources: specifying a structural schema".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

PRESERVE = "x-kubernetes-preserve-unknown-fields"
_DROPPED = frozenset({"title", "default", "$ref"})
_FORMATS_WITH_BOUNDS = ("int32", "int64")


def opaque(description: str = "") -> dict[str, Any]:
    """Return the schema of an object that is somebody else's."""
    schema: dict[str, Any] = {"type": "object", PRESERVE: True}
    return {"description": description, **schema} if description else schema


def structural(of: type) -> dict[str, Any]:
    """Return the structural schema of a msgspec type.

    Raises:
        ValueError: the type contains itself, or a choice that a structural schema cannot express.

    >>> structural(dict[str, int])
    {'type': 'object', 'additionalProperties': {'type': 'integer'}}
    """
    (schema,), components = msgspec.json.schema_components([of], ref_template="{name}")
    return _inlined(schema, components, ())


def _inlined(schema: Mapping[str, Any], components: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"]
        if name in within:
            raise ValueError(f"recursive types have no structural schema: {' → '.join((*within, name))}")
        # What stands beside the reference describes the field, and so wins over what describes the type.
        merged = {**components[name], **{key: value for key, value in schema.items() if key != "$ref"}}
        return _inlined(merged, components, (*within, name))
    if "anyOf" in schema:
        return _chosen(schema, components, within)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if result.get("format") in _FORMATS_WITH_BOUNDS:
        result.pop("minimum", None)
        result.pop("maximum", None)
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "enum" in result and all(isinstance(value, str) for value in result["enum"]):
        result["type"] = "string"
    if result.get(PRESERVE):
        inner = ("additionalProperties", "properties", "required")
        return {**{key: value for key, value in result.items() if key not in inner}, "type": "object"}
    if "items" in result:
        result["items"] = _inlined(result["items"], components, within)
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _inlined(result["additionalProperties"], components, within)
    elif result.get("type") == "object":
        result.pop("additionalProperties", None)
        properties = result.pop("properties", {})
        if properties:
            result["properties"] = {name: _inlined(inner, components, within) for name, inner in properties.items()}
        if not result.get("required"):
            result.pop("required", None)
        result[PRESERVE] = True
    if not result.get("type"):
        result[PRESERVE] = True  # Any: whatever JSON
    return result


def _chosen(schema: Mapping[str, Any], components: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a union: of a type and null, or of a number and a text."""
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    real = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
    if len(real) == 1:
        return _inlined({**real[0], **beside}, components, within)
    if {choice.get("type") for choice in real} == {"integer", "string"}:
        kept = {key: value for key, value in beside.items() if key not in _DROPPED}
        return {**kept, "x-kubernetes-int-or-string": True}
    raise ValueError(f"no structural schema for a choice of {[choice.get('type') for choice in real]}")


def leaves(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the path of every field below which there is nothing more to say, in order.

    Lists add `[]` to a path, free mappings `{}`.
    """
    if items := schema.get("items"):
        yield from leaves(items, f"{path}[]")
    elif properties := schema.get("properties"):
        for name, inner in properties.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(inner := schema.get("additionalProperties"), dict):
        yield from leaves(inner, f"{path}{{}}")
    else:
        yield path
