"""Fields that do not count as a difference: by JSON pointer, by a path expression of jq, by field manager.

An ignored field is taken off both sides before they are compared. With RespectIgnoreDifferences it also keeps its live
value at the apply (`keep_ignored`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fairlead.agentsync._fieldsets import owned, without
from fairlead.agentsync._types import Shape, shape_of
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.core.errors import SpecError

if TYPE_CHECKING:
    from fairlead.agentsync._jq import Expression

_ESCAPE = re.compile(r"~(?![01])")


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """One entry of `spec.ignoreDifferences`, or of `resource.customizations.ignoreDifferences`.

    Attributes:
        group: a glob; empty is the core group.
        kind: a glob.
        name: exact; any if empty.
        namespace: exact; any if empty.
        json_pointers: RFC 6901.
        jq_path_expressions: each names paths, which are deleted.
        managed_fields_managers: what they own on the live object is ignored.
    """

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    json_pointers: tuple[str, ...] = ()
    jq_path_expressions: tuple[str, ...] = ()
    managed_fields_managers: tuple[str, ...] = ()

    def applies_to(self, key: ResourceKey) -> bool:
        """Return whether the rule speaks of that object.

        >>> IgnoreRule(group="*", kind="Deploy*").applies_to(ResourceKey("apps", "Deployment", "shop", "web"))
        True
        """
        return (
            self.name in ("", key.name)
            and self.namespace in ("", key.namespace)
            and (self.group == key.group or bool(_glob(self.group).match(key.group)))
            and (self.kind == key.kind or bool(_glob(self.kind).match(key.kind)))
        )

    def check(self, path: str = "spec.ignoreDifferences") -> None:
        """Refuse what can never be read.

        Raises:
            SpecError: the first pointer or expression that is wrong, with its field path.
        """
        for place, pointer in enumerate(self.json_pointers):
            _parse_pointer(pointer, f"{path}.jsonPointers[{place}]")
        for place, expression in enumerate(self.jq_path_expressions):
            _compiled(expression, f"{path}.jqPathExpressions[{place}]")


@lru_cache(maxsize=4096)
def _parse_pointer(pointer: str, path: str = "jsonPointers") -> tuple[str, ...]:
    if pointer and not pointer.startswith("/"):
        raise SpecError(f'Invalid value: "{pointer}": expected a JSON pointer, which starts with "/"', path=path)
    if _ESCAPE.search(pointer):
        raise SpecError(f'Invalid value: "{pointer}": expected ~0 or ~1 after no other "~"', path=path)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


@lru_cache(maxsize=1024)
def _compiled(expression: str, path: str = "jqPathExpressions") -> Expression:
    from fairlead.agentsync._jq import JqError, compile_expression  # few Applications have any

    try:
        return compile_expression(expression)
    except JqError as error:
        raise SpecError(f'Invalid value: "{expression}": {error}', path=path) from error


def _without_pointer(found: Any, parts: Sequence[str]) -> Any:
    """Return a value without what a pointer names; the value itself when it names nothing."""
    if not parts:
        return found  # the whole object cannot be ignored
    name, rest = parts[0], parts[1:]
    if isinstance(found, dict):
        if name not in found:
            return found
        if not rest:
            return {key: value for key, value in found.items() if key != name}
        inner = _without_pointer(found[name], rest)
        return found if inner is found[name] else {**found, name: inner}
    if isinstance(found, list) and name.isascii() and name.isdecimal() and len(name) < 7 and int(name) < len(found):
        place = int(name)
        if not rest:
            return [*found[:place], *found[place + 1 :]]
        inner = _without_pointer(found[place], rest)
        return found if inner is found[place] else [*found[:place], inner, *found[place + 1 :]]
    return found


@dataclass(frozen=True, slots=True)
class Ignoring:
    """The rules that speak of one object, ready to be applied to its sides."""

    pointers: tuple[tuple[str, ...], ...]
    expressions: tuple[Expression, ...]
    fields: Mapping[str, Any]

    def __bool__(self) -> bool:
        return bool(self.pointers or self.expressions or self.fields)

    def strip(self, found: Object) -> Object:
        """Return the object without its ignored fields; itself when it has none.

        Raises:
            SpecError: an expression took too much work: what it names is not known, so that nothing may be concluded.
        """
        result: Any = found
        for parts in self.pointers:
            result = _without_pointer(result, parts)
        for expression in self.expressions:
            result = expression.delete(result)
        if self.fields:
            result = without(result, self.fields)
        return result if isinstance(result, dict) else found


NO_RULES: Final = Ignoring((), (), {})


def ignoring(rules: Iterable[IgnoreRule], key: ResourceKey, live: Object | None) -> Ignoring:
    """Return what is ignored on the object with that key.

    Args:
        live: with its managedFields.

    Raises:
        SpecError: a pointer or an expression is wrong.
    """
    chosen = [rule for rule in rules if rule.applies_to(key)]
    if not chosen:
        return NO_RULES
    managers = {name for rule in chosen for name in rule.managed_fields_managers}
    fields = owned(live, lambda entry: entry.get("manager") in managers) if managers and live is not None else {}
    return Ignoring(
        tuple(_parse_pointer(one) for rule in chosen for one in rule.json_pointers),
        tuple(_compiled(one) for rule in chosen for one in rule.jq_path_expressions),
        fields,
    )


def restore(target: Object, live: Object, rules: Ignoring) -> Object:
    """Return the target with the live values of what is ignored; what the live object lacks goes.

    In a list whose items are told apart by keys, items are kept one by one. In any other list they are as long as no
    item is ignored as a whole and both sides have equally many; else the live list is kept as it is.
    """
    bare, left = rules.strip(target), rules.strip(live)
    result = _restored(bare, left, live, shape_of(live))
    return result if isinstance(result, dict) else target


def _restored(target: Any, left: Any, live: Any, shape: Shape) -> Any:
    """Return `target` with what `left` lacks of `live`."""
    if left is live:
        return target
    if isinstance(live, dict) and isinstance(left, dict):
        base = target if isinstance(target, dict) else {}
        result = dict(base)
        for key, value in live.items():
            if key not in left:
                result[key] = value
            elif left[key] is not value:
                result[key] = _restored(base.get(key), left[key], value, shape.of(key))
        return result
    if isinstance(live, list) and isinstance(left, list):
        return _restored_list(target, left, live, shape)
    return live


def _restored_list(target: Any, left: list[Any], live: list[Any], shape: Shape) -> Any:
    wanted = target if isinstance(target, list) else []
    if shape.keys and (named := _by_keys(wanted, left, live, shape)) is not None:
        return named
    if len(left) == len(live) == len(wanted):
        triples = zip(wanted, left, live, strict=True)
        return [_restored(one, other, found, shape.item) for one, other, found in triples]
    return live


def _by_keys(wanted: list[Any], left: list[Any], live: list[Any], shape: Shape) -> list[Any] | None:
    def named(items: list[Any]) -> dict[Any, Any] | None:
        names = [tuple(item.get(key) for key in shape.keys) if isinstance(item, dict) else None for item in items]
        if None in names or len(set(names)) != len(names):
            return None
        return dict(zip(names, items, strict=True))

    sides = named(wanted), named(left), named(live)
    if any(side is None for side in sides):
        return None
    wanted_by, left_by, live_by = (side or {} for side in sides)
    result = {
        name: _restored(item, left_by[name], live_by[name], shape.item) if name in left_by and name in live_by else item
        for name, item in wanted_by.items()
    }
    result |= {name: item for name, item in live_by.items() if name not in left_by}
    return list(result.values())
