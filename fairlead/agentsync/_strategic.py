"""What a live object becomes when a target is applied to it: a merge of three sides.

Fields that the last target had and the new one has not go; fields that only the live side ever had stay; the target
wins everywhere else. A value that means the same as the live one is left as the live one spells it, so that an object
that needs nothing comes back as the very same Python object, whatever was defaulted or rewritten on the way.

Two ways to treat lists: strategically, by the merge keys of built-in kinds (in custom kinds lists are replaced), and by
ownership, as a server-side apply does.

Source: `k8s.io/apimachinery: pkg/util/strategicpatch`, `pkg/util/jsonmergepatch`. Unlike there: ports are told apart by
protocol too, and metadata merges as such in custom kinds too, so that finalizers of others are never taken off.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead.agentsync._quantities import same_scalar
from fairlead.agentsync._types import ANY, DEFAULTS, UNKNOWN, Shape

ABSENT: Final = object()
_DEFAULT_KEYS: Final = {"protocol": "TCP"}
_ZEROS: Final[tuple[Any, ...]] = ("", 0, [], {})


def is_zero(found: Any) -> bool:
    """Return whether a value is Go's zero of its type, or empty."""
    return found is None or found is False or (found is not True and found in _ZEROS)


def vanishes(found: Any, shape: Shape) -> bool:
    """Return whether the API server would not keep the value: it then equals an absent one."""
    return found is None or (shape.is_known and not shape.keeps_zero and is_zero(found))


def _says_nothing(found: Any, shape: Shape) -> bool:
    """Return whether a value is an empty list that types leave out; false and 0 of a manifest are meant."""
    return found == [] and vanishes(found, shape) and not shape.is_written


def same(target: Any, live: Any, shape: Shape = UNKNOWN) -> bool:
    """Return whether a target and a live value mean the same, defaults inside replaced lists aside.

    >>> same({"cpu": "1000m"}, {"cpu": "1"}, Shape(type="quantity", is_map=True, is_known=True))
    True
    """
    if isinstance(target, dict) and isinstance(live, dict):
        return _same_maps(target, live, shape)
    if isinstance(target, list) and isinstance(live, list):
        if len(target) != len(live):
            return False
        inner = shape.item
        return all(same(wanted, found, inner) for wanted, found in zip(target, live, strict=True))
    if isinstance(target, dict | list) or isinstance(live, dict | list):
        return False
    return same_scalar(target, live, shape.type)


def _same_maps(target: Mapping[str, Any], live: Mapping[str, Any], shape: Shape) -> bool:
    for key, wanted in target.items():
        inner = shape.of(key)
        found = live.get(key)
        if found is None:
            if not vanishes(wanted, inner):
                return False
        elif not same(wanted, found, inner) and not (wanted is None and vanishes(found, inner)):
            return False
    defaults = DEFAULTS.get(shape.type, {})
    for key, found in live.items():
        if key in target or vanishes(found, inner := shape.of(key)):
            continue
        default = defaults.get(key, ABSENT)
        if default is not ANY and (default is ABSENT or not same(default, found, inner)):
            return False
    return True


def clean(target: Any, shape: Shape) -> Any:
    """Return a value as it is when it is new to the live side: without nulls, which a merge patch cannot carry.

    Inside lists of custom kinds they stay: a list is carried as it is.
    """
    if isinstance(target, dict):
        return {key: clean(value, shape.of(key)) for key, value in target.items() if value is not None}
    if isinstance(target, list) and shape.is_known:
        inner = shape.item
        return [clean(value, inner) for value in target]
    return target


@dataclass(frozen=True, slots=True)
class ByOwnership:
    """Lists and maps merge as field managers may own them.

    Attributes:
        inferred: the fields of all managers at this place (`fieldsV1`); they tell how lists of unknown kinds merge.
    """

    inferred: Mapping[str, Any]

    def at(self, key: str) -> ByOwnership:
        inner = self.inferred.get(f"f:{key}")
        return ByOwnership(inner) if isinstance(inner, dict) and inner else _NOTHING_INFERRED


_NOTHING_INFERRED: Final = ByOwnership({})


def merge(original: Any, target: Any, live: Any, shape: Shape = UNKNOWN, owned: ByOwnership | None = None) -> Any:
    """Return what `live` becomes; `live` itself when nothing changes. No argument is changed.

    Args:
        original: the last target; None when there is none.
        owned: None: strategically; else as server-side apply does, where `original` has no part.

    >>> merge({"a": 1, "b": 1}, {"a": 2}, {"a": 1, "b": 1, "c": 1})
    {'a': 2, 'c': 1}
    """
    if isinstance(target, dict) and isinstance(live, dict):
        if shape.is_replaced if owned is None else shape.is_atomic:
            return live if same(target, live, shape) else clean(target, shape)
        return _merge_maps(original if isinstance(original, dict) else {}, target, live, shape, owned)
    if isinstance(target, list) and isinstance(live, list):
        return _merge_lists(original if isinstance(original, list) else [], target, live, shape, owned)
    return live if same(target, live, shape) else clean(target, shape)


def _merge_maps(
    original: Mapping[str, Any],
    target: Mapping[str, Any],
    live: dict[str, Any],
    shape: Shape,
    owned: ByOwnership | None,
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    unsaid: set[str] = set()  # as types write it: no difference from what is absent
    for key, wanted in target.items():
        inner = shape.of(key)
        found = live.get(key)
        if wanted is None and not inner.is_known:
            if found is not None:
                changed[key] = ABSENT
            continue
        if wanted is None or (found and _says_nothing(wanted, inner)):
            unsaid.add(key)
            continue
        if found is None:
            if not vanishes(wanted, inner):
                changed[key] = clean(wanted, inner)
            continue
        value = merge(original.get(key), wanted, found, inner, owned.at(key) if owned is not None else None)
        if value is not found:
            changed[key] = value
    changed |= _forgone(
        {key: before for key, before in original.items() if key not in target or key in unsaid}, live, shape
    )
    if shape.retains and owned is None and target:
        # A union: what the target does not say goes, but for what the server fills in where nothing is said.
        defaults = DEFAULTS.get(shape.type, {}) if not changed else {}
        changed |= {
            key: ABSENT
            for key, found in live.items()
            if key not in target and not (key in defaults and same(defaults[key], found, shape.of(key)))
        }
    if not changed:
        return live
    return {key: value for key, value in (live | changed).items() if value is not ABSENT}


def _forgone(original: Mapping[str, Any], live: Mapping[str, Any], shape: Shape) -> Iterator[tuple[str, Any]]:
    """Yield what becomes of each field that the last target had and the new one has not."""
    for key, before in original.items():
        inner = shape.of(key)
        if before is None or _says_nothing(before, inner) or key not in live or vanishes(live[key], inner):
            continue
        # Of labels, finalizers and the like others have their own; what else is in a struct came from the server.
        bare: Any = {} if inner.is_map else []
        is_shared = inner.is_map or inner.merges
        left = merge(before, bare, live[key], inner) if is_shared and isinstance(live[key], type(bare)) else ABSENT
        if left is not live[key]:
            yield key, left or ABSENT


def _merge_lists(
    original: list[Any], target: list[Any], live: list[Any], shape: Shape, owned: ByOwnership | None
) -> list[Any]:
    keys = shape.keys
    if owned is None:
        is_merged, is_keyed = shape.merges, bool(keys)
    else:
        keys = keys if shape.is_keyed else _inferred_keys(owned.inferred)
        is_merged, is_keyed = shape.is_set or bool(keys) or _is_inferred_set(owned.inferred), bool(keys)
    if is_merged:
        chosen = keys if is_keyed else ()
        before, wanted, found = _names(original, chosen), _names(target, chosen), _names(live, chosen)
        if wanted is not None and found is not None:
            if not is_keyed and wanted.keys() == found.keys():
                return live  # the order of a set is nobody's
            return _merge_named(before or {}, wanted, found, live, shape.item, owned)
    return live if same(target, live, shape) else clean(target, shape)


def _inferred_keys(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return by which keys managers own the items of a list; none when they do not."""
    from fairlead.agentsync._fieldsets import keys_of

    return next((tuple(keys) for entry in fields if (keys := keys_of(entry))), ())


def _is_inferred_set(fields: Mapping[str, Any]) -> bool:
    return any(entry.startswith("v:") for entry in fields)


def _names(items: list[Any], keys: tuple[str, ...]) -> dict[Hashable, Any] | None:
    """Return the items by what tells them apart and, of those that nothing does, by their number; None: impossible."""
    found: dict[Hashable, Any] = {}
    seen: dict[Hashable, int] = {}
    for item in items:
        if keys:
            if not isinstance(item, dict):
                return None
            name: Hashable = tuple(_keyed(item, key) for key in keys)
        elif isinstance(item, dict | list):
            return None
        else:
            name = (type(item) is bool, item)
        try:
            seen[name] = number = seen.get(name, -1) + 1
        except TypeError:  # a key that is a list or a map
            return None
        found[name, number] = item
    return found


def _keyed(item: Mapping[str, Any], key: str) -> Any:
    found = item.get(key)
    return _DEFAULT_KEYS.get(key) if found is None else found


def _merge_named(
    original: Mapping[Hashable, Any],
    target: Mapping[Hashable, Any],
    live: Mapping[Hashable, Any],
    items: list[Any],
    shape: Shape,
    owned: ByOwnership | None,
) -> list[Any]:
    """Return the merged items: in the target's order, among them what only the live side has."""
    merged: dict[Hashable, Any] = {}
    for name, wanted in target.items():
        found = live.get(name, ABSENT)
        if found is ABSENT:
            merged[name] = clean(wanted, shape)
        else:
            merged[name] = merge(original.get(name), wanted, found, shape, _at_item(owned, wanted))
    kept = {name: found for name, found in live.items() if name not in target and name not in original}
    order = _order(list(target), list(live), kept)
    if owned is not None:  # the order of what is there already is nobody's
        order = [name for name in live if name in merged or name in kept] + [
            name for name in merged if name not in live
        ]
    result = [merged[name] if name in merged else kept[name] for name in order]
    is_same = len(result) == len(items) and all(one is other for one, other in zip(result, items, strict=True))
    return items if is_same else result


def _at_item(owned: ByOwnership | None, wanted: Any) -> ByOwnership | None:
    if owned is None or not isinstance(wanted, dict):
        return owned
    from fairlead.agentsync._fieldsets import item_fields

    return ByOwnership(item_fields(owned.inferred, wanted))


def _order(target: list[Hashable], live: list[Hashable], kept: Mapping[Hashable, Any]) -> list[Hashable]:
    """Return the target's names with those that only the live side has: before what they stood before, else behind."""
    place = {name: number for number, name in enumerate(live)}
    waiting = [name for name in live if name in kept]
    result: list[Hashable] = []
    for name in target:
        while waiting and name in place and place[waiting[0]] < place[name]:
            result.append(waiting.pop(0))
        result.append(name)
    return result + waiting
