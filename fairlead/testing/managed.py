"""Who owns which field: sets of field paths, and server-side apply as operations on them.

A path is a tuple of elements in the notation of `fieldsV1`: `f:name` for a member, `k:{"name":"web"}` for an item
of a keyed list, `v:"x"` for a member of a set. The paths of a set are its leaves, the items of keyed lists and
empty maps.

Source: `sigs.k8s.io/structured-merge-diff` (merge, prune, conflicts by changed value), KEP-555.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from fairlead.testing.shapes import ListType, Shape

Path = tuple[str, ...]
Fields = frozenset[Path]

# Fields that nobody owns: the server sets them, or they say which object is meant.
_UNOWNED = frozenset(
    ("f:metadata", f"f:{name}")
    for name in (
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    )
) | {("f:apiVersion",), ("f:kind",)}


@dataclass(frozen=True)
class Manager:
    """One entry of `metadata.managedFields`."""

    name: str
    operation: str  # "Apply" or "Update"
    api_version: str
    time: str
    fields: Fields
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.name, self.operation, self.subresource)

    @cached_property
    def rendered(self) -> msgspec.Raw:
        """The entry's JSON; cached, since most entries live through many revisions of their object."""
        entry: dict[str, Any] = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields_v1(self.fields),
        }
        if self.subresource:
            entry["subresource"] = self.subresource
        return msgspec.Raw(msgspec.json.encode(entry))


def fields_v1(fields: Iterable[Path]) -> dict[str, Any]:
    """Return the nested form of `fieldsV1`; a path that is also a prefix of another shows as `.`."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
    # Sorted, a prefix comes before what it contains; only then does it need the dot.
    for path in fields:
        node = root
        for element in path:
            node = node[element]
        if node and "." not in node:
            node["."] = {}
    return root


def parse(entries: Any) -> tuple[Manager, ...]:
    """Return the managers that `metadata.managedFields` lists; entries that say nothing are left out."""
    managers = []
    for entry in entries if isinstance(entries, list) else ():
        fields = entry.get("fieldsV1") if isinstance(entry, Mapping) else None
        if isinstance(fields, Mapping) and fields:
            managers.append(
                Manager(
                    name=str(entry.get("manager", "")),
                    operation=str(entry.get("operation", "Update")),
                    api_version=str(entry.get("apiVersion", "")),
                    time=str(entry.get("time", "")),
                    fields=frozenset(_paths(fields, ())),
                    subresource=str(entry.get("subresource", "")),
                )
            )
    return tuple(managers)


def _paths(node: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for element, below in node.items():
        if element == ".":
            yield path
        elif not below:
            yield (*path, element)
        else:
            yield from _paths(below, (*path, element))


def item_element(item: Any, shape: Shape) -> str:
    """Return the path element of an item of a keyed list, or of a member of a set."""
    if shape.list_type is ListType.SET:
        return "v:" + msgspec.json.encode(item).decode()
    keys = {key: item.get(key, shape.key_defaults.get(key)) for key in sorted(shape.keys)}
    return "k:" + msgspec.json.encode({key: value for key, value in keys.items() if value is not None}).decode()


_PLAIN = (str, int, float, list, type(None))
_WHOLES = (dict, list)


def _is_mapping(value: Any) -> bool:
    """Return whether a value has members. Nearly all are plain JSON; asking `Mapping` takes many times as long."""
    return isinstance(value, dict) or (not isinstance(value, _PLAIN) and isinstance(value, Mapping))


def _is_keyed(value: Any, shape: Shape) -> bool:
    if shape.list_type is ListType.MAP:
        return all(isinstance(item, Mapping) for item in value)
    return shape.list_type is ListType.SET


def _children(value: Any, shape: Shape) -> Iterator[tuple[str, Any, Shape]] | None:
    """Yield (element, value, shape) of a granular value; None when the value counts as a whole."""
    if _is_mapping(value):
        if shape.atomic:
            return None
        return ((f"f:{name}", member, shape.member(name)) for name, member in value.items())
    if isinstance(value, list) and _is_keyed(value, shape):
        return ((item_element(item, shape), item, shape.item) for item in value)
    return None


def field_set(value: Any, shape: Shape) -> Fields:
    """Return the paths that a whole object sets."""
    return frozenset(_leaves(value, shape, ())) - _UNOWNED


def _leaves(value: Any, shape: Shape, path: Path) -> Iterator[Path]:
    children = _children(value, shape)
    if children is None or not value:
        if path:
            yield path
        return
    if path and path[-1].startswith("k:"):
        yield path
    for element, member, member_shape in children:
        yield from _leaves(member, member_shape, (*path, element))


def same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal; unlike in Python, 1 is neither true nor 1.0."""
    if left != right or type(left) is not type(right):
        return False
    if not isinstance(left, _WHOLES):
        return True
    return msgspec.json.encode(left, order="sorted") == msgspec.json.encode(right, order="sorted")


def compare(old: Any, new: Any, shape: Shape) -> tuple[Fields, Fields]:
    """Return the paths that `new` adds or changes, and those that it no longer has."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _compare(old, new, shape, (), changed, removed)
    return frozenset(changed) - _UNOWNED, frozenset(removed) - _UNOWNED


def _compare(old: Any, new: Any, shape: Shape, path: Path, changed: set[Path], removed: set[Path]) -> None:
    if same(old, new):
        return
    before, after = _children(old, shape), _children(new, shape)
    if before is None or after is None or type(old) is not type(new) or not old or not new:
        changed.update(_leaves(new, shape, path))
        removed.update(set(_leaves(old, shape, path)) - changed)
        return
    left = {element: (value, inner) for element, value, inner in before}
    for element, value, inner in after:
        if element in left:
            _compare(left.pop(element)[0], value, inner, (*path, element), changed, removed)
        else:
            changed.update(_leaves(value, inner, (*path, element)))
    for element, (value, inner) in left.items():
        removed.update(_leaves(value, inner, (*path, element)))


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """Return the live value with the applied one laid over it."""
    if isinstance(live, Mapping) and isinstance(config, Mapping) and not shape.atomic:
        result = dict(live)
        for name, value in config.items():
            result[name] = merge(live[name], value, shape.member(name)) if name in live else value
        return result
    if isinstance(live, list) and isinstance(config, list) and _is_keyed(live, shape) and _is_keyed(config, shape):
        return _merge_lists(live, config, shape)
    return config


def _merge_lists(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """Merge by key: the applied order wins, live items that are not applied keep their place among the others.

    Live a, b, c with applied c, x, a gives b, c, x, a: a waits for its place in the applied order, b does not.
    """
    ours = {item_element(item, shape): item for item in live}
    theirs = {item_element(item, shape): item for item in config}
    waiting = deque(ours)
    shared = deque(element for element in theirs if element in ours)
    result: list[Any] = []
    for element, item in theirs.items():
        while waiting and waiting[0] != next(iter(shared), None):
            if (head := waiting.popleft()) not in theirs:
                result.append(ours[head])
        if element not in ours:
            result.append(item)
            continue
        result.append(merge(ours[element], item, shape.item))
        shared.popleft()
        if waiting and waiting[0] == element:
            waiting.popleft()
    result.extend(ours[element] for element in waiting if element not in theirs)
    return result


def remove(value: Any, paths: Iterable[Path], kept: Fields, shape: Shape) -> Any:
    """Return the value without the given paths; a list item with fields in `kept` stays, emptied maps go."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node[""] = True  # this very path goes
    prefixes = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    return _remove(value, tree, prefixes, shape, ())


def _remove(value: Any, tree: Mapping[str, Any], kept: set[Path], shape: Shape, path: Path) -> Any:
    children = _children(value, shape)
    if children is None:
        return value
    survivors: list[tuple[str, Any]] = []
    for element, member, member_shape in children:
        here = (*path, element)
        below = tree.get(element)
        if below is None:
            survivors.append((element, member))
            continue
        is_item = not element.startswith("f:")
        if below.get("") and (here not in kept):
            continue
        pruned = _remove(member, below, kept, member_shape, here)
        if member and not pruned and not is_item and isinstance(pruned, Mapping | list):
            continue  # whatever it held has gone, so it goes too
        survivors.append((element, pruned))
    if isinstance(value, Mapping):
        return {element[2:]: member for element, member in survivors}
    return [member for _, member in survivors]


def strip(fields: Fields, *roots: str) -> Fields:
    """Return the paths that do not start with one of the top-level fields."""
    firsts = {f"f:{root}" for root in roots}
    return frozenset(path for path in fields if path[0] not in firsts)


def describe(path: Path) -> str:
    """Return a path as conflicts show it: `.spec.template.spec.containers[name="web"].image`."""
    text = ""
    for element in path:
        body = element[2:]
        if element.startswith("f:"):
            text += f".{body}"
        elif element.startswith("k:"):
            keys = msgspec.json.decode(body)
            text += "[" + ",".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in keys.items()) + "]"
        else:
            text += f"[={body}]"
    return text


@dataclass(frozen=True, slots=True)
class OwnershipConflict:
    """An applied field that another manager owns with another value."""

    manager: Manager
    paths: tuple[Path, ...]


def apply(
    live: Mapping[str, Any],
    config: Mapping[str, Any],
    managers: Sequence[Manager],
    applier: Manager,
    shape: Shape,
    *,
    force: bool,
) -> tuple[dict[str, Any], tuple[Manager, ...], tuple[OwnershipConflict, ...]]:
    """Return the object after server-side apply, its managers, and the conflicts (none when forced).

    Args:
        applier: who applies; its `fields` are those of the configuration.
    """
    merged = merge(live, config, shape)
    changed, _ = compare(live, merged, shape)
    previous = next((manager for manager in managers if manager.identity == applier.identity), None)
    others = [manager for manager in managers if manager.identity != applier.identity]
    conflicts = tuple(
        OwnershipConflict(manager, tuple(sorted(taken)))
        for manager in others
        if (taken := manager.fields & changed & applier.fields)
    )
    if conflicts and not force:
        return merged, tuple(managers), conflicts
    others = [replaced(manager, manager.fields - (changed & applier.fields)) for manager in others]
    if previous is not None:
        owned_by_others = frozenset().union(*(manager.fields for manager in others))
        kept = owned_by_others | applier.fields
        merged = remove(merged, previous.fields - kept, kept, shape)
    result = [manager for manager in others if manager.fields]
    result.append(applier if previous is None or previous.fields != applier.fields else previous)
    return merged, tuple(result), ()


def update(
    old: Mapping[str, Any], new: Mapping[str, Any], managers: Sequence[Manager], updater: Manager, shape: Shape
) -> tuple[Manager, ...]:
    """Return the managers after an ordinary write: what changed belongs to the writer alone.

    Args:
        updater: who writes; its `fields` are ignored.
    """
    changed, removed = compare(old, new, shape)
    if not changed and not removed:
        return tuple(managers)
    gone = removed - changed
    result: list[Manager] = []
    found = False
    for manager in managers:
        fields = manager.fields - gone
        if manager.identity == updater.identity:
            found = True
            merged = fields | changed
            result.append(manager if merged == manager.fields else Manager(**{**_values(updater), "fields": merged}))
        else:
            result.append(replaced(manager, fields - changed))
    if not found and changed:
        result.append(replaced(updater, changed))
    return tuple(manager for manager in result if manager.fields)


def replaced(manager: Manager, fields: Fields) -> Manager:
    """Return the manager with other fields; the same object when they are equal."""
    return manager if fields == manager.fields else Manager(**{**_values(manager), "fields": fields})


def _values(manager: Manager) -> dict[str, Any]:
    return {name: getattr(manager, name) for name in Manager.__dataclass_fields__}
