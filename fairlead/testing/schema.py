"""Structural schemas of CustomResourceDefinitions: pruning, defaulting and validation, in upstream's words.

Of CEL (`x-kubernetes-validations`) only `self == oldSelf` is understood; other rules are ignored. Of `format` only
`date-time` is checked.

Source: `k8s.io/apiextensions-apiserver: pkg/apiserver/schema`, `k8s.io/kube-openapi: pkg/validation/validate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.core import regex
from fairlead.core.errors import Cause
from fairlead.core.objects import parse_rfc3339
from fairlead.testing import failures
from fairlead.testing.storage import copy_json

Schema = Mapping[str, Any]
_MISSING = object()

# At the top and in embedded resources these are Kubernetes' own business.
_TYPE_META = ("apiVersion", "kind", "metadata")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _preserves(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def prune(value: Any, schema: Schema, path: str = "", *, top: bool = True) -> list[str]:
    """Drop from the value, in place, the fields that the schema does not know; return their paths."""
    dropped: list[str] = []
    embedded = top or bool(schema.get("x-kubernetes-embedded-resource"))
    if isinstance(value, dict):
        properties: Mapping[str, Schema] = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for name in list(value):
            if embedded and name in _TYPE_META:
                continue
            here = _join(path, name)
            if name in properties:
                dropped.extend(prune(value[name], properties[name], here, top=False))
            elif isinstance(additional, Mapping):
                dropped.extend(prune(value[name], additional, here, top=False))
            elif not additional and not _preserves(schema):
                del value[name]
                dropped.append(here)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            dropped.extend(prune(item, schema["items"], f"{path}[{index}]", top=False))
    return dropped


def default(value: Any, schema: Schema) -> None:
    """Fill in the schema's defaults, in place; a null that is not allowed counts as absent when there is a default."""
    if isinstance(value, dict):
        additional = schema.get("additionalProperties")
        properties: Mapping[str, Schema] = schema.get("properties", {})
        for name, member in properties.items():
            current = value.get(name, _MISSING)
            if "default" in member and (current is _MISSING or (current is None and not member.get("nullable"))):
                value[name] = copy_json(member["default"])
            if name in value:
                default(value[name], member)
        if isinstance(additional, Mapping):
            for name, member_value in value.items():
                if name not in properties:
                    default(member_value, additional)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            default(item, schema["items"])


def validate(value: Any, schema: Schema, *, old: Any = None) -> list[Cause]:
    """Return what is wrong with an object of that schema; `old` is what it replaces."""
    return _validate(value, schema, "", old if old is not None else _MISSING, top=True)


def _validate(value: Any, schema: Schema, path: str, old: Any, *, top: bool = False) -> list[Cause]:
    if value is None:
        if schema.get("nullable") or (not schema.get("type") and not schema.get("x-kubernetes-int-or-string")):
            return []
        return [_wrong_type(value, schema, path)]
    if not _has_type(value, schema):
        return [_wrong_type(value, schema, path)]
    causes: list[Cause] = []
    if "enum" in schema and value not in schema["enum"]:
        causes.append(failures.not_supported(path, value, schema["enum"]))
    if isinstance(value, dict):
        causes.extend(_validate_object(value, schema, path, old, top=top))
    elif isinstance(value, list):
        causes.extend(_validate_list(value, schema, path, old))
    elif isinstance(value, str):
        causes.extend(_validate_string(value, schema, path))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        causes.extend(_validate_number(value, schema, path))
    causes.extend(_validate_combinations(value, schema, path, old))
    causes.extend(_validate_rules(value, schema, path, old))
    return causes


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _has_type(value: Any, schema: Schema) -> bool:
    found = _type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        return found in ("integer", "string")
    wanted = schema.get("type")
    return not wanted or found == wanted or (wanted == "number" and found == "integer")


def _wrong_type(value: Any, schema: Schema, path: str) -> Cause:
    wanted = "integer,string" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")
    found = _type_name(value)
    return failures.bad_type(path, found, f'{path} in body must be of type {wanted}: "{found}"')


def _validate_object(value: dict[str, Any], schema: Schema, path: str, old: Any, *, top: bool) -> list[Cause]:
    causes: list[Cause] = []
    properties: Mapping[str, Schema] = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    causes.extend(failures.required(_join(path, name)) for name in schema.get("required", ()) if name not in value)
    for name, member in value.items():
        if (top or schema.get("x-kubernetes-embedded-resource")) and name in _TYPE_META:
            continue
        inner = properties.get(name, additional if isinstance(additional, Mapping) else None)
        if inner is not None:
            causes.extend(_validate(member, inner, _join(path, name), before.get(name, _MISSING)))
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        causes.append(failures.too_many(path, len(value), schema["maxProperties"]))
    if len(value) < schema.get("minProperties", 0):
        detail = f"{path} in body should have at least {schema['minProperties']} properties"
        causes.append(failures.bad_value(path, len(value), detail))
    return causes


def _validate_list(value: list[Any], schema: Schema, path: str, old: Any) -> list[Cause]:
    causes: list[Cause] = []
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        causes.append(failures.too_many(path, len(value), schema["maxItems"]))
    if len(value) < schema.get("minItems", 0):
        detail = f"{path} in body should have at least {schema['minItems']} items"
        causes.append(failures.bad_value(path, len(value), detail))
    items = schema.get("items")
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    before = old if isinstance(old, list) else []
    seen: list[Any] = []
    for index, item in enumerate(value):
        identity = _identity(item, list_type, keys)
        if identity is not _MISSING:
            if identity in seen:
                causes.append(failures.duplicate(f"{path}[{index}]", identity))
            seen.append(identity)
        if isinstance(items, Mapping):
            # Only items of keyed lists have a past: elsewhere a place says nothing about what stood there.
            past = next((one for one in before if _identity(one, list_type, keys) == identity), _MISSING)
            causes.extend(_validate(item, items, f"{path}[{index}]", past if list_type == "map" else _MISSING))
    return causes


def _identity(item: Any, list_type: Any, keys: Sequence[str]) -> Any:
    if list_type == "set":
        return item
    if list_type == "map" and isinstance(item, dict):
        return {key: item[key] for key in keys if key in item}
    return _MISSING


def _validate_string(value: str, schema: Schema, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        causes.append(failures.too_long(path, schema["maxLength"]))
    if len(value) < schema.get("minLength", 0):
        detail = f"{path} in body should be at least {schema['minLength']} chars long"
        causes.append(failures.bad_value(path, value, detail))
    if (pattern := schema.get("pattern")) and not regex.compile(pattern).test(value):
        causes.append(failures.bad_value(path, value, f"{path} in body should match '{pattern}'"))
    if schema.get("format") == "date-time" and parse_rfc3339(value) is None:
        detail = f"{path} in body must be of type date-time: {failures.shown(value)}"
        causes.append(failures.bad_value(path, value, detail))
    return causes


def _validate_number(value: float, schema: Schema, path: str) -> list[Cause]:
    causes: list[Cause] = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        relation = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(failures.bad_value(path, value, f"{path} in body should be {relation} {low}"))
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        relation = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        causes.append(failures.bad_value(path, value, f"{path} in body should be {relation} {high}"))
    if (factor := schema.get("multipleOf")) and value % factor:
        causes.append(failures.bad_value(path, value, f"{path} in body should be a multiple of {factor}"))
    return causes


def _validate_combinations(value: Any, schema: Schema, path: str, old: Any) -> list[Cause]:
    causes: list[Cause] = []
    for part in schema.get("allOf", ()):
        causes.extend(_validate(value, part, path, old))
    quoted = f'"{path}"'
    if "anyOf" in schema and all(_validate(value, part, path, old) for part in schema["anyOf"]):
        causes.append(failures.bad_value(path, "", f"{quoted} must validate at least one schema (anyOf)"))
    if "oneOf" in schema:
        count = sum(not _validate(value, part, path, old) for part in schema["oneOf"])
        if count != 1:
            found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
            detail = f"{quoted} must validate one and only one schema (oneOf). {found}"
            causes.append(failures.bad_value(path, "", detail))
    if "not" in schema and not _validate(value, schema["not"], path, old):
        causes.append(failures.bad_value(path, "", f"{quoted} must not validate the schema (not)"))
    return causes


def _validate_rules(value: Any, schema: Schema, path: str, old: Any) -> list[Cause]:
    causes: list[Cause] = []
    for rule in schema.get("x-kubernetes-validations", ()):
        expression = " ".join(str(rule.get("rule", "")).split())
        if expression in ("self == oldSelf", "oldSelf == self") and old is not _MISSING and value != old:
            message = rule.get("message") or f"failed rule: {expression}"
            causes.append(failures.bad_value(path, _type_name(value), message))
    return causes
