"""Functions that need more than values: paths, or an argument that is not evaluated as a whole."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from fairlead.agentsync._jq.nodes import Node
from fairlead.agentsync._jq.scopes import Item, Items, Scope, TooMuchWork
from fairlead.agentsync._jq.values import JqFailure, Path, Span, delete, get, kind, put, shown
from fairlead.core import regex

if TYPE_CHECKING:
    from fairlead.agentsync._jq.evaluation import Evaluation


def _down(path: Path | None, key: Any) -> Path | None:
    return None if path is None else (*path, key)


def _empty(_work: Evaluation, _arguments: tuple[Node, ...], _scope: Scope, _path: Path | None, _value: Any) -> Items:
    return iter(())


def _failing(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value) if arguments else (value,):
        raise JqFailure(found)
    yield from ()


def _recurse(work: Evaluation, _arguments: tuple[Node, ...], _scope: Scope, path: Path | None, value: Any) -> Items:
    waiting: list[Item] = [(path, value)]
    while waiting:
        work.spend()
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, dict):
            waiting += [(_down(path, key), one) for key, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(_down(path, place), one) for place, one in reversed(list(enumerate(value)))]


def _limit(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, path: Path | None, value: Any) -> Items:
    for number in work.values(arguments[0], scope, value):
        if kind(number) != "number":
            raise JqFailure("Invalid arguments to limit: the count must be a number")
        if number > 0:
            yield from islice(work.run(arguments[1], scope, path, value), math.ceil(number))


def _first(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, path: Path | None, value: Any) -> Items:
    yield from islice(work.run(arguments[0], scope, path, value), 1)


def _last(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, path: Path | None, value: Any) -> Items:
    yield from deque(work.run(arguments[0], scope, path, value), maxlen=1)


def _getpath(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value):
        keys = _path_value(found)
        yield (None if path is None else (*path, *keys)), get(value, keys)


def _path_value(found: Any) -> Path:
    if not isinstance(found, list):
        raise JqFailure("Path must be specified as an array")
    return tuple(Span((key.get("start"), key.get("end"))) if isinstance(key, dict) else key for key in found)


def _path_of(path: Path) -> list[Any]:
    return [{"start": key[0], "end": key[1]} if isinstance(key, Span) else key for key in path]


def _path(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for found in work.paths(arguments[0], scope, value):
        yield None, _path_of(found)


def _delpaths(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value):
        if not isinstance(found, list):
            raise JqFailure("Paths must be specified as an array")
        yield None, delete(value, [_path_value(one) for one in found], work.spend)


def _setpath(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for new in work.values(arguments[1], scope, value):
        for found in work.values(arguments[0], scope, value):
            yield None, put(value, _path_value(found), new, work.spend)


def _test(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for found in work.products(arguments, scope, value):
        pattern, flags = (*found[0], None)[:2] if isinstance(found[0], list) and found[0] else (*found, None)[:2]
        if not isinstance(value, str) or not isinstance(pattern, str):
            raise JqFailure(f"{shown(value)} cannot be matched, as it is not a string")
        work.spend(1 + (len(value) + len(pattern)) // 2)
        try:
            yield None, regex.compile(_flagged(pattern, flags)).test(value, work=work.regex_work)
        except regex.RegexLimit as error:
            raise TooMuchWork from error
        except regex.RegexError as error:
            raise JqFailure(str(error)) from error


def _flagged(pattern: str, flags: Any) -> str:
    if flags is None:
        return pattern
    if not isinstance(flags, str) or set(flags) - set("gnixsl"):
        raise JqFailure(f"{flags} is not a valid modifier string")
    chosen = "".join(sorted(set(flags) & set("is")))
    return f"(?{chosen}){pattern}" if chosen else pattern


def _range(work: Evaluation, arguments: tuple[Node, ...], scope: Scope, _path: Path | None, value: Any) -> Items:
    for bounds in work.products(arguments, scope, value):
        if any(kind(bound) != "number" for bound in bounds):
            raise JqFailure("Range bounds must be numeric")
        start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        while (start < stop) if step > 0 else (step < 0 and start > stop):
            work.spend()
            yield None, start
            start += step


SPECIAL: Final[dict[tuple[str, int], Callable[..., Items]]] = {
    ("empty", 0): _empty,
    ("error", 0): _failing,
    ("error", 1): _failing,
    ("recurse", 0): _recurse,
    ("limit", 2): _limit,
    ("first", 1): _first,
    ("last", 1): _last,
    ("getpath", 1): _getpath,
    ("path", 1): _path,
    ("delpaths", 1): _delpaths,
    ("setpath", 2): _setpath,
    ("test", 1): _test,
    ("test", 2): _test,
    ("range", 1): _range,
    ("range", 2): _range,
    ("range", 3): _range,
}
