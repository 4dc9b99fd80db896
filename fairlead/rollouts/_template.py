"""A pod template as Go reads and writes it, and whether two templates mean the same.

What Go does to a template between reading and writing it (fields in the order of its structs, unknown ones dropped,
quantities canonical, some empty values kept) decides the hash by which ReplicaSets are named. The order of the fields
is data: `_podtemplate.json`, written by `tests/oracle/podtemplate` from k8s.io/api by reflection.

A value that cannot be decoded is dropped, with whatever is below it, and the rest stands: one bad quantity must not
stop a Rollout.

Source: k8s.io/api v0.36.3: core/v1 PodTemplateSpec; k8s.io/apimachinery: pkg/runtime/converter.go;
k8s.io/kubernetes: pkg/apis/core/v1/defaults.go; argo-rollouts: utils/replicaset/replicaset.go.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from fairlead.core.objects import rfc3339
from fairlead.rollouts import _quantity
from fairlead.rollouts._poddefaults import apply_defaults

HASH_LABEL = "rollouts-pod-template-hash"
ROOT = "PodTemplateSpec"


class Form(StrEnum):
    """Which Kubernetes library wrote the template; only the creation time differs."""

    V1_9 = "v1.9"  # argo-rollouts v1.9 and later (libraries from 0.34 on): a zero creationTimestamp is left out
    V1_8 = "v1.8"  # all before: it is written as null


class _Purpose(StrEnum):
    V1_9 = "v1.9"
    V1_8 = "v1.8"
    MEANING = "meaning"  # defaults applied, quantities by value, nothing empty: to compare, not to write


_DROPPED: Any = object()
_Reader = Callable[[Any, _Purpose], Any]
_INT64 = range(-(2**63), 2**63)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def written(raw: bytes | msgspec.Raw, form: Form = Form.V1_9) -> bytes:
    """Return a pod template as Go writes it after reading it.

    >>> written(b'{"spec": {"containers": [{"resources": {"limits": {"cpu": 0.001}}, "image": "a", "name": "a"}]}}')
    b'{"metadata":{},"spec":{"containers":[{"name":"a","image":"a","resources":{"limits":{"cpu":"1m"}}}]}}'
    """
    data = _plain(raw)
    return html_escaped(msgspec.json.encode(_read_struct(ROOT, data if isinstance(data, dict) else {}, _Purpose(form))))


def html_escaped(data: bytes) -> bytes:
    """Return JSON with the characters escaped that Go escapes for the sake of HTML."""
    for character, escape in _HTML:
        data = data.replace(character, escape)
    return data


_HTML = [(character.encode(), f"\\u{ord(character):04x}".encode()) for character in ("<", ">", "&", "\u2028", "\u2029")]


def _plain(raw: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _tolerated(bytes(raw))


def _tolerated(raw: bytes) -> Any:
    """Read what msgspec refuses and Go takes: lone surrogates and broken UTF-8 become U+FFFD."""
    try:
        value = json.loads(raw.decode(errors="replace"))
        text = json.dumps(value, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError):
        return {}


# --- the typed walk -------------------------------------------------------------------------------------------------


class _Field(msgspec.Struct, frozen=True):
    name: str
    read: _Reader
    absent: Callable[[_Purpose], Any]  # what Go writes when there is nothing to read
    drops_empty: bool


def _read_struct(struct: str, data: Any, purpose: _Purpose) -> Any:
    if not isinstance(data, dict):
        return _DROPPED
    result: dict[str, Any] = {}
    for field in _fields(struct):
        given = data.get(field.name)
        value = _DROPPED if given is None else field.read(given, purpose)
        if value is _DROPPED:
            value = field.absent(purpose)
        if value is not _DROPPED and not (field.drops_empty and not value):
            result[field.name] = value
    if purpose is _Purpose.MEANING:
        result = {name: value for name, value in result.items() if value is not None and value != []}
        apply_defaults(struct, result)
    return result


@cache
def _table() -> Mapping[str, list[tuple[str, str, str]]]:
    path = Path(__file__).with_name("_podtemplate.json")
    return msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str, str]]])


@cache
def _fields(struct: str) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name=name,
            read=_reader(shape),
            absent=_absent(shape, flags),
            # Go's omitempty has no effect on structs, which quantities, times and int-or-strings are; and a pointer
            # to something empty is not empty.
            drops_empty="e" in flags and "p" not in flags and shape.partition(":")[0] in _CAN_BE_EMPTY,
        )
        for name, shape, flags in _table()[struct]
    )


_CAN_BE_EMPTY = ("string", "bool", "int32", "int64", "list", "map")
_ZERO: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "quantity": "0", "intOrString": 0}


def _absent(shape: str, flags: str) -> Callable[[_Purpose], Any]:
    if "p" in flags:
        return (lambda purpose: _DROPPED) if "e" in flags else (lambda purpose: None)
    if "z" in flags:
        return lambda purpose: None if purpose is _Purpose.V1_8 else _DROPPED
    return _zero(shape)


def _zero(shape: str) -> Callable[[_Purpose], Any]:
    if shape.startswith("@"):
        return lambda purpose: _read_struct(shape[1:], {}, purpose)
    value = _ZERO.get(shape)  # lists, maps and times: null
    return lambda purpose: value


def _reader(shape: str) -> _Reader:
    kind, _, inner = shape.partition(":")
    match kind:
        case "list":
            return _list_reader(_reader(inner), _zero(inner))
        case "map":
            is_resources = inner == "quantity"
            return _map_reader(_read_resource if is_resources else _reader(inner), _zero(inner))
        case "string":
            return lambda value, purpose: value if isinstance(value, str) else _DROPPED
        case "bool":
            return lambda value, purpose: value if isinstance(value, bool) else _DROPPED
        case "int32":
            return lambda value, purpose: _integer(value, bits=32)
        case "int64":
            return lambda value, purpose: _integer(value, bits=64)
        case "quantity":
            return _read_quantity
        case "intOrString":
            return _read_int_or_string
        case "time":
            return _read_time
        case "raw":
            return lambda value, purpose: _sorted(value)
        case _:
            assert kind.startswith("@"), f"no reader for {shape}"
            return lambda value, purpose: _read_struct(kind[1:], value, purpose)


def _list_reader(read: _Reader, zero: Callable[[_Purpose], Any]) -> _Reader:
    def read_list(value: Any, purpose: _Purpose) -> Any:
        if not isinstance(value, list):
            return _DROPPED
        items = (zero(purpose) if item is None else read(item, purpose) for item in value)
        return [item for item in items if item is not _DROPPED]

    return read_list


def _map_reader(read: _Reader, zero: Callable[[_Purpose], Any]) -> _Reader:
    def read_map(value: Any, purpose: _Purpose) -> Any:
        if not isinstance(value, dict):
            return _DROPPED
        items = ((key, zero(purpose) if value[key] is None else read(value[key], purpose)) for key in sorted(value))
        return {key: item for key, item in items if item is not _DROPPED}

    return read_map


def _integer(value: Any, *, bits: int) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
        return _DROPPED
    # The converter of the Go controller lets a number overflow into 32 bits.
    return (value + 2**31) % 2**32 - 2**31 if bits == 32 else value


def _quantity_of(value: Any) -> _quantity.Quantity | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return _quantity.parse(value if isinstance(value, str) else _go_number(value))
    except ValueError:
        return None


def _read_quantity(value: Any, purpose: _Purpose) -> Any:
    quantity = _quantity_of(value)
    if quantity is None:
        return _DROPPED
    return str(quantity.value) if purpose is _Purpose.MEANING else quantity.text


def _read_resource(value: Any, purpose: _Purpose) -> Any:
    quantity = _quantity_of(value)
    if quantity is None:
        return _DROPPED
    # The API server's defaulting rounds the entries of resource lists, and nothing else.
    return str(_quantity.rounded_to_milli(quantity.value)) if purpose is _Purpose.MEANING else quantity.text


def _go_number(value: int | float) -> str:
    """Return a JSON number as Go writes it: an exponent only below 1e-6 and from 1e21 on."""
    if isinstance(value, int) and value in _INT64:
        return str(value)
    number = float(value)
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    return re.sub(r"e-0(\d)$", r"e-\1", repr(number)).replace(".0e", "e")


def _read_int_or_string(value: Any, purpose: _Purpose) -> Any:
    if isinstance(value, str):
        return value
    number = _integer(value, bits=64)
    return number if number is not _DROPPED and -(2**31) <= number < 2**31 else _DROPPED


def _read_time(value: Any, purpose: _Purpose) -> Any:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return _DROPPED
    try:
        return rfc3339(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return _DROPPED


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


# --- do two templates mean the same ---------------------------------------------------------------------------------


def templates_equal(
    desired: bytes | msgspec.Raw,
    live: bytes | msgspec.Raw,
    *,
    injected_labels: Iterable[str] = (),
    injected_annotations: Iterable[str] = (),
) -> bool:
    """Return whether pods of one template are pods of the other.

    The hash label, the deprecated `serviceAccount` and an anti-affinity term that a controller of Rollouts has
    injected do not count; absent fields have the API server's defaults; quantities are compared by value.

    Args:
        desired: the template of a Rollout.
        live: the template of a ReplicaSet.
        injected_labels: keys that the controller added to the live one (its ephemeral metadata).
        injected_annotations: likewise.
    """
    wanted, found = meaning(bytes(desired)), meaning(bytes(live))
    labels, annotations = frozenset(injected_labels), frozenset(injected_annotations)
    return _without(wanted) == _without(found, labels=labels, annotations=annotations)


@lru_cache(maxsize=2048)
def digest(raw: bytes) -> str:
    """Return a short text that is the same for templates that are equal (`templates_equal`) and only for those."""
    canonical = msgspec.json.encode(_without(meaning(raw)), enc_hook=str, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:16]


# The meaning of a template is asked for at every look at its Rollout; 2,000 of them are some ten megabytes.
@lru_cache(maxsize=2048)
def meaning(raw: bytes) -> dict[str, Any]:
    """Return a template as typed data with the API server's defaults, quantities as fractions; read-only.

    `metadata` and `spec` are always there, empty fields never.
    """
    data = _plain(raw)
    result: dict[str, Any] = _read_struct(ROOT, data if isinstance(data, dict) else {}, _Purpose.MEANING)
    return result


def _without(
    template: Mapping[str, Any],
    *,
    labels: frozenset[str] = frozenset(),
    annotations: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return a copy without what does not count."""
    metadata, spec = dict(template["metadata"]), dict(template["spec"])
    for field, dropped in (("labels", labels | {HASH_LABEL}), ("annotations", annotations)):
        kept = {key: value for key, value in metadata.pop(field, {}).items() if key not in dropped}
        if kept:
            metadata[field] = kept
    spec.pop("serviceAccount", None)
    if affinity := affinity_without_injected(spec.pop("affinity", {})):
        spec["affinity"] = affinity
    return {"metadata": metadata, "spec": spec}


def affinity_without_injected(affinity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an affinity without the terms that keep pods of two revisions apart."""
    kept = dict(affinity)
    against = dict(kept.pop("podAntiAffinity", {}))
    for field in (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    ):
        terms = [term for term in against.pop(field, ()) if not _is_injected(term.get("podAffinityTerm", term))]
        if terms:
            against[field] = terms
    if against:
        kept["podAntiAffinity"] = against
    return kept


def _is_injected(term: Mapping[str, Any]) -> bool:
    expressions = term.get("labelSelector", {}).get("matchExpressions", ())
    return any(expression.get("key") == HASH_LABEL for expression in expressions)
