"""The builtins that take a closure: `all(result, # > 0.9)` and its like.

Source: `expr-lang/expr: compiler/compiler.go: BuiltinNode`, `vm/runtime/sort.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cmp_to_key
from typing import Any, Final, Protocol

from fairlead.analysis._expressions import _operators as ops
from fairlead.analysis._expressions._errors import runtime_error
from fairlead.analysis._expressions._values import Budget, TypedMap, go_type

Evaluate = Callable[[dict[str, Any]], Any]


class ClosureBuiltin(Protocol):
    """Works on a list. `evaluate` is the closure, None when it was left out; `extra` a third argument, if given."""

    def __call__(
        self, items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool
    ) -> Any: ...


def _holds(items: Iterable[Any], evaluate: Evaluate | None) -> Iterable[bool]:
    for item in items:
        yield ops.as_bool(item if evaluate is None else evaluate({"": item}))


def _all(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> bool:
    return all(_holds(items, evaluate))


def _none(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> bool:
    return not any(_holds(items, evaluate))


def _any(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> bool:
    return any(_holds(items, evaluate))


def _one(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> bool:
    return sum(_holds(items, evaluate)) == 1


def _count(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> int:
    budget.spend(len(items))
    return sum(_holds(items, evaluate))


def _filter(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> list[Any]:
    return [item for item, holds in zip(items, _holds(items, evaluate), strict=True) if holds]


def _map(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> list[Any]:
    assert evaluate is not None
    return [evaluate({"": item, "index": index}) for index, item in enumerate(items)]


def _sum(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> Any:
    total: Any = 0
    for item in items:
        budget.spend()
        total = ops.arithmetic("+", item if evaluate is None else evaluate({"": item}), total, budget)
    return total


def _position(items: Iterable[Any], evaluate: Evaluate | None) -> int | None:
    return next((index for index, holds in enumerate(_holds(items, evaluate)) if holds), None)


def _find(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> Any:
    index = _position(items, evaluate)
    return None if index is None else items[index]


def _find_index(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> int | None:
    return _position(items, evaluate)


def _find_last(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> Any:
    index = _position(reversed(items), evaluate)
    return None if index is None else items[len(items) - 1 - index]


def _find_last_index(
    items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool
) -> int | None:
    index = _position(reversed(items), evaluate)
    return None if index is None else len(items) - 1 - index


def _group_by(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> Any:
    assert evaluate is not None
    groups = TypedMap("map[interface {}][]interface {}")
    for item in items:
        key = evaluate({"": item})
        if isinstance(key, list | dict):
            raise runtime_error(f"hash of unhashable type: {go_type(key)}")
        groups.setdefault(ops.map_key(key), []).append(item)
    return groups


def _sort_by(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> list[Any]:
    assert evaluate is not None
    if has_extra and extra not in ("asc", "desc"):
        ops.as_text(extra)
        raise runtime_error("unknown order, use asc or desc")
    keyed = [(evaluate({"": item}), item) for item in items]

    def by_key(left: tuple[Any, Any], right: tuple[Any, Any]) -> int:
        return order(left[0], right[0], budget)

    return [item for _, item in sorted(keyed, key=cmp_to_key(by_key), reverse=extra == "desc")]


def order(left: Any, right: Any, budget: Budget) -> int:
    """Return -1, 0 or 1 as a value stands before, beside or behind the other."""
    budget.spend()
    if ops.compare("<", left, right, budget):
        return -1
    return 1 if ops.compare("<", right, left, budget) else 0


def _reduce(items: list[Any], evaluate: Evaluate | None, budget: Budget, extra: Any, has_extra: bool) -> Any:
    assert evaluate is not None
    if not has_extra and not items:
        raise runtime_error("reduce of empty array with no initial value")
    accumulated = extra if has_extra else items[0]
    for index, item in enumerate(items):
        if index > 0 or has_extra:
            accumulated = evaluate({"": item, "index": index, "acc": accumulated})
    return accumulated


CLOSURES: Final[dict[str, ClosureBuiltin]] = {
    "all": _all,
    "none": _none,
    "any": _any,
    "one": _one,
    "count": _count,
    "filter": _filter,
    "map": _map,
    "sum": _sum,
    "find": _find,
    "findIndex": _find_index,
    "findLast": _find_last,
    "findLastIndex": _find_last_index,
    "groupBy": _group_by,
    "sortBy": _sort_by,
    "reduce": _reduce,
}
