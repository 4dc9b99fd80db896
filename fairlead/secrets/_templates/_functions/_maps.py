"""Functions on maps of anything. The root of a template is a map of strings, and none of them takes it.

Upstream leaves the order of `keys` and `values` to chance; here they are in the order of the keys.

Source: `Masterminds/sprig` v3, `dario.cat/mergo`.
"""

from __future__ import annotations

from typing import Any, Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._formatting import shown_text
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._values import StringMap, Strings, Value, empty, kind, type_name

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING, _MAP = Type.ANY, Type.STRING, Type.MAP
Map = dict[bytes, Any]


@_add("dict", rest=_ANY)
def _dict(c: Context, *values: Value) -> Map:
    keys = [shown_text(key, c.budget) for key in values[::2]]
    found = list(values[1::2]) + [b""] * (len(values) % 2)
    return dict(zip(keys, found, strict=True))


@_add("get", takes=(_MAP, _STRING))
def _get(_: Context, mapping: Map, key: bytes) -> Value:
    return mapping.get(key, b"")


@_add("set", takes=(_MAP, _STRING, _ANY))
def _set(c: Context, mapping: Map, key: bytes, value: Value) -> Map:
    c.budget.step()
    mapping[key] = value
    return mapping


@_add("unset", takes=(_MAP, _STRING))
def _unset(_: Context, mapping: Map, key: bytes) -> Map:
    mapping.pop(key, None)
    return mapping


@_add("hasKey", takes=(_MAP, _STRING))
def _has_key(_: Context, mapping: Map, key: bytes) -> bool:
    return key in mapping


@_add("keys", rest=_MAP)
def _keys(c: Context, *mappings: Map) -> Strings:
    c.budget.step(sum(map(len, mappings)) // 16)
    return Strings(key for mapping in mappings for key in sorted(mapping))


@_add("values", takes=(_MAP,))
def _values(c: Context, mapping: Map) -> list[Value]:
    c.budget.step(len(mapping) // 16)
    return [mapping[key] for key in sorted(mapping)]


@_add("pluck", takes=(_STRING,), rest=_MAP)
def _pluck(_: Context, key: bytes, *mappings: Map) -> list[Value]:
    return [mapping[key] for mapping in mappings if key in mapping]


@_add("pick", takes=(_MAP,), rest=_STRING)
def _pick(_: Context, mapping: Map, *keys: bytes) -> Map:
    return {key: mapping[key] for key in keys if key in mapping}


@_add("omit", takes=(_MAP,), rest=_STRING)
def _omit(c: Context, mapping: Map, *keys: bytes) -> Map:
    c.budget.step(len(mapping) // 16)
    return {key: value for key, value in mapping.items() if key not in keys}


def _merge_into(c: Context, target: Map, source: Map, *, overwrites: bool, depth: int = 0) -> None:
    if depth > c.budget.limits.depth:
        raise FunctionError("maps that nest too deeply")
    for key, value in source.items():
        c.budget.step()
        existing = target.get(key)
        if value is None:
            if overwrites:
                target[key] = None
            continue
        if existing is not None and _is_map(existing) and _is_map(value):
            _merge_into(c, existing, value, overwrites=overwrites, depth=depth + 1)
            if existing:
                continue
        if overwrites or empty(existing):
            target[key] = value


def _is_map(value: Value) -> bool:
    return isinstance(value, dict) and not isinstance(value, StringMap)


@_add("merge", "mustMerge", takes=(_MAP,), rest=_MAP)
def _merge(c: Context, target: Map, *sources: Map) -> Map:
    for source in sources:
        _merge_into(c, target, source, overwrites=False)
    return target


@_add("mergeOverwrite", "mustMergeOverwrite", takes=(_MAP,), rest=_MAP)
def _merge_overwrite(c: Context, target: Map, *sources: Map) -> Map:
    for source in sources:
        _merge_into(c, target, source, overwrites=True)
    return target


@_add("dig", rest=_ANY)
def _dig(_: Context, *values: Value) -> Value:
    if len(values) < 3:
        raise FunctionError("dig needs at least three arguments")
    *keys, otherwise, value = values
    for number, key in enumerate(keys):
        if not _is_map(value):
            raise FunctionError(
                f"interface conversion: interface {{}} is {_shown(value)}, not map[string]interface {{}}"
            )
        if not isinstance(key, bytes):
            raise FunctionError(f"interface conversion: interface {{}} is {_shown(key)}, not string")
        if key not in value:
            return otherwise
        value = value[key]
        if number == len(keys) - 1:
            return value
    raise AssertionError("there is at least one key")


def _shown(value: Value) -> str:
    return type_name(value) if kind(value) != "invalid" else "nil"


def copied(c: Context, value: Value, depth: int = 0) -> Value:
    """Return a value that shares no list and no map with the given one."""
    c.budget.step()
    if depth > c.budget.limits.depth:
        raise FunctionError("a value that nests too deeply")
    if isinstance(value, dict):
        return type(value)((key, copied(c, item, depth + 1)) for key, item in value.items())
    if isinstance(value, list):
        return type(value)(copied(c, item, depth + 1) for item in value)
    return value


@_add("deepCopy", "mustDeepCopy", takes=(_ANY,))
def _deep_copy(c: Context, value: Value) -> Value:
    if value is None:
        raise FunctionError("reflect: call of reflect.Value.Type on zero Value")
    return copied(c, value)
