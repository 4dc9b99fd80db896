"""Which fields a manager owns: `fieldsV1` of `metadata.managedFields`, as Kubernetes stores it.

A set is a tree of JSON maps: `f:name` is a field, `k:{...}` an item of a list by its keys, `v:value` an item by its
value, `i:0` by its place, `.` the thing itself. An empty map is the end: the whole value is owned.

Source: `sigs.k8s.io/structured-merge-diff: fieldpath/serialize.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from fairlead.agentsync._quantities import same_scalar
from fairlead.agentsync.resources import Object, metadata_of

Fields = Mapping[str, Any]
NOTHING: Final[Fields] = {}
_SELF: Final = "."
_DEFAULTS: Final = {"protocol": "TCP"}


@lru_cache(maxsize=4096)
def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None


def keys_of(entry: str) -> dict[str, Any]:
    """Return the keys that an entry `k:{...}` names; empty for any other entry.

    >>> keys_of('k:{"name":"web"}')
    {'name': 'web'}
    """
    found = _json(entry[2:]) if entry.startswith("k:") else None
    return found if isinstance(found, dict) else {}


def _entries(found: Object) -> list[Mapping[str, Any]]:
    entries = metadata_of(found).get("managedFields")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def union(sets: Iterable[Fields]) -> Fields:
    """Return the set of fields that any of them has."""
    result: dict[str, Any] = {}
    for one in sets:
        for entry, inner in one.items():
            if isinstance(inner, dict):
                result[entry] = union((result[entry], inner)) if entry in result else inner
    return result


def owned(found: Object, chosen: Callable[[Mapping[str, Any]], bool]) -> Fields:
    """Return the fields that the chosen entries of an object's managedFields own."""
    sets = [entry.get("fieldsV1") for entry in _entries(found) if chosen(entry)]
    return union(one for one in sets if isinstance(one, dict))


def matches(item: Any, entry: str, place: int) -> bool:
    """Return whether an entry of a set means that item of a list, at that place."""
    kind, text = entry[:2], entry[2:]
    if kind == "k:":
        keys = keys_of(entry)
        if not keys or not isinstance(item, dict):
            return False
        return all(same_scalar(item.get(key, _DEFAULTS.get(key)), value) for key, value in keys.items())
    if kind == "v:":
        return not isinstance(item, dict | list) and same_scalar(item, _json(text))
    return kind == "i:" and text == str(place)


def item_fields(fields: Fields, item: Any) -> Fields:
    """Return the fields inside an item of a list."""
    return next((inner for entry, inner in fields.items() if matches(item, entry, -1) and isinstance(inner, dict)), {})


def _place(items: list[Any], entry: str) -> int | None:
    return next((place for place, item in enumerate(items) if matches(item, entry, place)), None)


def without(found: Any, fields: Fields, kept: Fields = NOTHING, wanted: Any = None) -> Any:
    """Return a value without the fields of a set; the value itself when it has none of them.

    Args:
        kept: fields of others: these stay.
        wanted: a value whose own fields stay too.
    """
    if isinstance(found, dict):
        return _without_in_map(found, fields, kept, wanted if isinstance(wanted, dict) else {})
    if isinstance(found, list):
        return _without_in_list(found, fields, kept, wanted if isinstance(wanted, list) else [])
    return found


def _is_leaf(inner: Any) -> bool:
    return not isinstance(inner, dict) or not inner


def _without_in_map(found: dict[str, Any], fields: Fields, kept: Fields, wanted: Mapping[str, Any]) -> dict[str, Any]:
    result = found
    for entry, inner in fields.items():
        name = entry[2:]
        if not entry.startswith("f:") or name not in found:
            continue
        others = kept.get(entry)
        if _is_leaf(inner):
            if name in wanted or others is not None:
                continue
            value: Any = None
        else:
            value = without(found[name], inner, others if isinstance(others, dict) else NOTHING, wanted.get(name))
            if value is found[name]:
                continue
        result = dict(result) if result is found else result
        # A map or list that we made and that lost everything goes as well.
        is_gone = _is_leaf(inner) or (not value and _SELF in inner and others is None and name not in wanted)
        if is_gone:
            del result[name]
        else:
            result[name] = value
    return result


def _without_in_list(found: list[Any], fields: Fields, kept: Fields, wanted: list[Any]) -> list[Any]:
    result: dict[int, Any] = {}
    for entry, inner in fields.items():
        place = _place(found, entry)
        if place is None:
            continue
        meant = _place(wanted, entry)
        others = kept.get(entry)
        if _is_leaf(inner):
            if meant is None and others is None:
                result[place] = None
            continue
        # The keys go only with the item: without them nobody could tell which one it is.
        left = without(
            found[place],
            {one: deeper for one, deeper in inner.items() if one[2:] not in keys_of(entry)},
            others if isinstance(others, dict) else NOTHING,
            wanted[meant] if meant is not None else None,
        )
        if meant is None and others is None and _SELF in inner and _only_keys(left, entry):
            result[place] = None
        elif left is not found[place]:
            result[place] = left
    if not result:
        return found
    return [result.get(place, item) for place, item in enumerate(found) if result.get(place, item) is not None]


def _only_keys(item: Any, entry: str) -> bool:
    return not isinstance(item, dict) or not set(item) - set(keys_of(entry))
