"""What differs between two objects, in words for people: where, what is wanted, what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead.agentsync._normalising import LAST_APPLIED, is_secret
from fairlead.agentsync._strategic import same
from fairlead.agentsync._types import Shape
from fairlead.agentsync.resources import Object, annotations_of, group_version, key_of, kind_of, metadata_of

HIDDEN: Final = "++++++++"
HIDDEN_OTHER: Final = "+++++++++"  # one more: it is not the same value
_SECRET_FIELDS: Final = ("data", "stringData")
_PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that an apply would change. Values of Secrets are hidden.

    Attributes:
        path: such as `spec.template.spec.containers[name=web].image`.
        wanted: the JSON value that it gets; None: it goes.
        found: the JSON value that it has; None: it is new.
    """

    path: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.path}: wanted {self.wanted!r}, found {self.found!r}"


def changes(live: Object, predicted: Object, shape: Shape) -> tuple[Change, ...]:
    """Return what an apply changes, in the order of the predicted object, what goes last."""
    return tuple(_walk(live, predicted, shape, "", is_secret(live) or is_secret(predicted)))


def _joined(path: str, key: str) -> str:
    if not _PLAIN.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def _walk(found: Any, wanted: Any, shape: Shape, path: str, hides: bool) -> Iterator[Change]:
    if found is wanted:
        return
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in (*wanted, *(key for key in found if key not in wanted)):
            inner = hides and (path in _SECRET_FIELDS or (not path and key in _SECRET_FIELDS))
            is_value = path in _SECRET_FIELDS and hides
            one, other = found.get(key), wanted.get(key)
            if is_value:
                yield from _hidden(one, other, shape.of(key), _joined(path, key))
            else:
                yield from _walk(one, other, shape.of(key), _joined(path, key), hides if not path else inner)
    elif isinstance(found, list) and isinstance(wanted, list):
        yield from _walk_list(found, wanted, shape, path)
    elif not same(wanted, found, shape):
        yield from (
            (Change(path=path, wanted=_masked(wanted, HIDDEN), found=_masked(found, HIDDEN_OTHER)),)
            if hides and path in _SECRET_FIELDS
            else (Change(path=path, wanted=wanted, found=found),)
        )


def _hidden(found: Any, wanted: Any, shape: Shape, path: str) -> Iterator[Change]:
    if found is None or wanted is None or not same(wanted, found, shape):
        yield Change(
            path=path,
            wanted=None if wanted is None else HIDDEN,
            found=None if found is None else HIDDEN_OTHER,
        )


def _masked(found: Any, mark: str) -> Any:
    if isinstance(found, dict):
        return dict.fromkeys(found, mark)
    return None if found is None else mark


def _walk_list(found: list[Any], wanted: list[Any], shape: Shape, path: str) -> Iterator[Change]:
    inner = shape.item
    if shape.keys and (named := _pairs(found, wanted, shape.keys)) is not None:
        for name, one, other in named:
            yield from _walk(one, other, inner, f"{path}[{name}]", False)
        kept = [name for name, one, other in named if one is not None and other is not None]
        before = [name for one in found if (name := _name(one, shape.keys)) in kept]
        if before != kept:
            yield Change(path=f"{path} (order)", wanted=kept, found=before)
        return
    if len(found) == len(wanted):
        for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from _walk(one, other, inner, f"{path}[{place}]", False)
    elif not same(wanted, found, shape):
        yield Change(path=path, wanted=wanted, found=found)


def _name(item: Any, keys: tuple[str, ...]) -> str:
    return ",".join(f"{key}={item[key]}" for key in keys if item.get(key) is not None) if isinstance(item, dict) else ""


def _pairs(found: list[Any], wanted: list[Any], keys: tuple[str, ...]) -> list[tuple[str, Any, Any]] | None:
    """Return the items of both lists by name; None when names are missing or not unique."""
    before, after = ({_name(item, keys): item for item in side} for side in (found, wanted))
    if len(before) != len(found) or len(after) != len(wanted) or "" in before or "" in after:
        return None
    names = (*after, *(name for name in before if name not in after))
    return [(name, before.get(name), after.get(name)) for name in names]


def _hide(found: Object, other: Mapping[str, Any] | None, mark: str) -> Object:
    if not is_secret(found):
        return found
    result = dict(found)
    for field in _SECRET_FIELDS:
        if isinstance(values := found.get(field), dict):
            beside = other.get(field) if other is not None else None
            equal = beside if isinstance(beside, dict) else {}
            result[field] = {
                key: HIDDEN if key in equal and equal[key] == value else mark for key, value in values.items()
            }
        elif field in found:
            result[field] = HIDDEN  # of a wrong type, and perhaps still a secret
    if LAST_APPLIED in annotations_of(found):
        metadata = metadata_of(found)
        result["metadata"] = {**metadata, "annotations": {**metadata["annotations"], LAST_APPLIED: HIDDEN}}
    return result


def hide_secrets(found: Object) -> Object:
    """Return a Secret with its values hidden, its last-applied annotation too; any other object as it is.

    >>> hide_secrets({"apiVersion": "v1", "kind": "Secret", "data": {"password": "aHVudGVyMg=="}})["data"]
    {'password': '++++++++'}
    """
    return _hide(found, None, HIDDEN)


def render_diff(target: Object | None, live: Object | None) -> str:
    """Return what turns the live object into the target as a unified diff of YAML; empty when nothing does.

    Values of Secrets are hidden; those that differ have different lengths.
    """
    import difflib

    import yaml

    named = target if target is not None else live
    if named is None:
        return ""
    sides = []
    for side, other, mark in ((live, target, HIDDEN_OTHER), (target, live, HIDDEN)):
        shown = _hide(side, other, mark) if side is not None else {}
        sides.append(yaml.safe_dump(shown, sort_keys=True, width=10_000).splitlines() if shown else [])
    lines = list(difflib.unified_diff(sides[0], sides[1], "live", "target", lineterm=""))
    if not lines:
        return ""
    key = key_of(named)
    place = f"{key.namespace}/{key.name}"
    return "\n".join((f"===== {group_version(named)[0]}/{kind_of(named)} {place} ======", *lines, ""))
