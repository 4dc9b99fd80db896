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
_GONE: Final = object()
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


def without(found: Any, fields: Fields) -> Any:
    """Return a value without the fields of a set; the value itself when it has none of them."""
    if isinstance(found, dict):
        return _without_in_map(found, fields)
    return _without_in_list(found, fields) if isinstance(found, list) else found


def _is_leaf(inner: Any) -> bool:
    return not isinstance(inner, dict) or not inner


def _without_in_map(found: dict[str, Any], fields: Fields) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for entry, inner in fields.items():
        name = entry[2:]
        if not entry.startswith("f:") or name not in found:
            continue
        left = _GONE if _is_leaf(inner) else without(found[name], inner)
        if left is found[name]:
            continue
        # A map or a list that the manager made and that lost everything goes as well.
        changed[name] = _GONE if not left and _SELF in inner else left
    return _changed_map(found, changed)


def _without_in_list(found: list[Any], fields: Fields) -> list[Any]:
    changed: dict[int, Any] = {}
    for entry, inner in fields.items():
        place = _place(found, entry)
        if place is None:
            continue
        left = _GONE if _is_leaf(inner) else without(found[place], _without_keys(inner, entry))
        if left is not found[place]:
            changed[place] = _GONE if _SELF in inner and _has_only_keys(left, entry) else left
    return _changed_list(found, changed)


def released(found: Any, ours: Fields, others: Fields, wanted: Any) -> Any:
    """Return a value without what we owned, nobody else owns, and the target no longer has; itself if that is nothing.

    What is left in a field or an item that goes, goes with it: nobody owns the defaults in there.
    """
    if isinstance(found, dict):
        return _released_in_map(found, ours, others, wanted if isinstance(wanted, dict) else {})
    if isinstance(found, list):
        return _released_in_list(found, ours, others, wanted if isinstance(wanted, list) else [])
    return found


def _released_in_map(found: dict[str, Any], ours: Fields, others: Fields, wanted: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for entry, inner in ours.items():
        name = entry[2:]
        if not entry.startswith("f:") or name not in found:
            continue
        if name not in wanted and entry not in others:
            changed[name] = _GONE
        elif not _is_leaf(inner):
            left = released(found[name], inner, others.get(entry) or NOTHING, wanted.get(name))
            if left is not found[name]:
                changed[name] = left
    return _changed_map(found, changed)


def _released_in_list(found: list[Any], ours: Fields, others: Fields, wanted: list[Any]) -> list[Any]:
    changed: dict[int, Any] = {}
    for entry, inner in ours.items():
        place = _place(found, entry)
        if place is None:
            continue
        meant = _place(wanted, entry)
        if meant is None and entry not in others:
            changed[place] = _GONE
        elif not _is_leaf(inner):
            deeper = _without_keys(inner, entry)
            target = wanted[meant] if meant is not None else None
            left = released(found[place], deeper, others.get(entry) or NOTHING, target)
            if left is not found[place]:
                changed[place] = left
    return _changed_list(found, changed)


def _changed_map(found: dict[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**found, **changed}.items() if value is not _GONE} if changed else found


def _changed_list(found: list[Any], changed: Mapping[int, Any]) -> list[Any]:
    items = (changed.get(place, item) for place, item in enumerate(found))
    return [item for item in items if item is not _GONE] if changed else found


def _without_keys(inner: Fields, entry: str) -> Fields:
    """Return the fields of an item but for its keys: without them nobody could tell which one it is."""
    return {one: deeper for one, deeper in inner.items() if one[2:] not in keys_of(entry)}


def _has_only_keys(item: Any, entry: str) -> bool:
    return not isinstance(item, dict) or not set(item) - set(keys_of(entry))
