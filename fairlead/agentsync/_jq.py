"""Evaluates path expressions of jq on JSON values: pure, with a bound on the work, and no way out to files or time.

An expression is a generator of pairs: a value, and the path that it came from (None if it came from no place of the
input). `del(expression)` collects the paths, and that is all that ignore rules need.

The language is that of jq 1.7 and of gojq, which upstream uses, as far as `_jq_syntax` and `_jq_functions` say.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final

from fairlead.agentsync import _jq_syntax as syntax
from fairlead.agentsync._jq_functions import NATIVE, formatted, prelude
from fairlead.agentsync._jq_syntax import JqError, Node, parse
from fairlead.agentsync._jq_values import (
    JqFailure,
    Path,
    Span,
    arithmetic,
    at,
    delete,
    get,
    kind,
    put,
    rank,
    shown,
    truth,
)
from fairlead.core.errors import SpecError

__all__ = ["Expression", "JqError", "compile_expression"]

WORK_MAX: Final = 300_000  # steps of one evaluation: well under a second
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}

Item = tuple[Path | None, Any]
Items = Iterator[Item]


class _Broken(Exception):
    """`break` on its way to its label."""

    def __init__(self, label: object) -> None:
        super().__init__()
        self.label = label


class _TooMuchWork(Exception):
    """No `try` of the expression catches it."""


@dataclass(frozen=True, slots=True)
class _Closure:
    """A function, or an argument that is not evaluated yet, with the names that it sees."""

    parameters: tuple[str, ...]
    body: Node
    scope: _Scope
    is_recursive: bool


class _Scope:
    """Names that an expression sees: an endless chain is cheap to extend, and nobody changes one."""

    __slots__ = ("_name", "_outer", "_value")

    def __init__(self, outer: _Scope | None = None, name: Any = None, value: Any = None) -> None:
        self._outer, self._name, self._value = outer, name, value

    def find(self, name: Any) -> tuple[Any, _Scope] | None:
        """Return what a name stands for, and the scope in which it was given."""
        scope: _Scope | None = self
        while scope is not None:
            if scope._name == name and name is not None:
                return scope._value, scope
            scope = scope._outer
        return None


class _Evaluation:
    """One evaluation, with the work that is left to it."""

    def __init__(self, work: int) -> None:
        self._work = work

    def spend(self, steps: int = 1) -> None:
        self._work -= steps
        if self._work < 0:
            raise _TooMuchWork

    def run(self, node: Node, scope: _Scope, path: Path | None, value: Any) -> Items:
        """Yield the results of a node for an input."""
        self.spend()
        return _RULES[type(node)](self, node, scope, path, value)

    def values(self, node: Node, scope: _Scope, value: Any) -> Iterator[Any]:
        for _, found in self.run(node, scope, None, value):
            yield found

    def identity(self, _node: syntax.Identity, _scope: _Scope, path: Path | None, value: Any) -> Items:
        yield path, value

    def literal(self, node: syntax.Literal, _scope: _Scope, _path: Path | None, _value: Any) -> Items:
        yield None, node.value

    def text(self, node: syntax.Text, scope: _Scope, _path: Path | None, value: Any) -> Items:
        def parts(place: int) -> Iterator[str]:
            if place == len(node.parts):
                yield ""
                return
            part = node.parts[place]
            if isinstance(part, str):
                for rest in parts(place + 1):
                    yield part + rest
                return
            for rest in parts(place + 1):
                for found in self.values(part, scope, value):
                    self.spend(len(rest) // 16)
                    yield formatted(node.format, found) + rest

        for text in parts(0):
            yield None, text

    def format(self, node: syntax.Format, _scope: _Scope, _path: Path | None, value: Any) -> Items:
        yield None, formatted(node.name, value)

    def index(self, node: syntax.Index, scope: _Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            for key in self.values(node.key, scope, value):
                if isinstance(key, dict):
                    key = Span((key.get("start"), key.get("end")))
                yield from _at(inner, found, key, node.is_optional)

    def slice(self, node: syntax.Slice, scope: _Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            for stop in self.values(node.stop, scope, value) if node.stop is not None else (None,):
                for start in self.values(node.start, scope, value) if node.start is not None else (None,):
                    span = Span((start, stop))
                    yield from _at(inner, found, span, node.is_optional)

    def iterate(self, node: syntax.Iterate, scope: _Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            if not isinstance(found, dict | list):
                if node.is_optional:
                    continue
                raise JqFailure(f"Cannot iterate over {kind(found) if found is None else shown(found)}")
            self.spend(len(found) // 8)
            for key, one in found.items() if isinstance(found, dict) else enumerate(found):
                yield _down(inner, key), one

    def array(self, node: syntax.Array, scope: _Scope, _path: Path | None, value: Any) -> Items:
        yield None, list(self.values(node.inner, scope, value)) if node.inner is not None else []

    def object(self, node: syntax.Object, scope: _Scope, _path: Path | None, value: Any) -> Items:
        def entries(place: int) -> Iterator[dict[str, Any]]:
            if place < 0:
                yield {}
                return
            key_node, value_node = node.entries[place]
            for before in entries(place - 1):
                for key in self.values(key_node, scope, value):
                    if not isinstance(key, str):
                        raise JqFailure(f"Object keys must be strings, not {shown(key)}")
                    for found in self.values(value_node, scope, value):
                        self.spend(1 + len(before) // 8)
                        yield {**before, key: found}

        for found in entries(len(node.entries) - 1):
            yield None, found

    def negative(self, node: syntax.Negative, scope: _Scope, _path: Path | None, value: Any) -> Items:
        for found in self.values(node.inner, scope, value):
            if kind(found) != "number":
                raise JqFailure(f"{shown(found)} cannot be negated")
            yield None, -found

    def binary(self, node: syntax.Binary, scope: _Scope, path: Path | None, value: Any) -> Items:
        operator = node.operator
        if operator == "|":
            for inner, found in self.run(node.left, scope, path, value):
                yield from self.run(node.right, scope, inner, found)
        elif operator == ",":
            yield from self.run(node.left, scope, path, value)
            yield from self.run(node.right, scope, path, value)
        elif operator == "//":
            yield from self._alternative(node, scope, path, value)
        elif operator in ("and", "or"):
            yield from self._logic(node, scope, value)
        elif operator.endswith("=") and operator not in _COMPARISONS:
            yield from self._assign(node, scope, value)
        else:
            for right in self.values(node.right, scope, value):
                for left in self.values(node.left, scope, value):
                    yield None, self._combined(operator, left, right)

    def _combined(self, operator: str, left: Any, right: Any) -> Any:
        if operator in _COMPARISONS:
            return _COMPARISONS[operator](rank(left), rank(right))
        if operator == "*" and kind(left) == "string" and kind(right) == "number":
            left, right = right, left
        if operator == "*" and kind(right) == "string" and kind(left) == "number":
            times = max(0, left)
            self.spend(int(min(times * (len(right) + 1), 1e9)) // 16)
            return right * (1 if 0 < times < 1 else int(times)) if times > 0 else None
        if isinstance(left, str | list | dict):
            self.spend(len(left) // 16)
        return _called(arithmetic, operator, (left, right))

    def _alternative(self, node: syntax.Binary, scope: _Scope, path: Path | None, value: Any) -> Items:
        is_found = False
        try:
            for item in self.run(node.left, scope, path, value):
                if truth(item[1]):
                    is_found = True
                    yield item
        except JqFailure:
            pass  # as jq: what fails is as good as null
        if not is_found:
            yield from self.run(node.right, scope, path, value)

    def _logic(self, node: syntax.Binary, scope: _Scope, value: Any) -> Items:
        is_or = node.operator == "or"
        for left in self.values(node.left, scope, value):
            if truth(left) is is_or:
                yield None, is_or
                continue
            for right in self.values(node.right, scope, value):
                yield None, truth(right)

    def _assign(self, node: syntax.Binary, scope: _Scope, value: Any) -> Items:
        paths = self.paths(node.left, scope, value)
        if node.operator == "|=":
            result, gone = value, []
            for path in paths:
                new = next(self.values(node.right, scope, get(result, path)), _NONE)
                if new is _NONE:
                    gone.append(path)
                else:
                    result = put(result, path, new)
            yield None, delete(result, gone)
            return
        for right in self.values(node.right, scope, value):
            result = value
            for path in paths:
                before = get(result, path)
                if node.operator == "=":
                    after = right
                elif node.operator == "//=":
                    after = before if truth(before) else right
                else:
                    after = self._combined(node.operator[:-1], before, right)
                result = put(result, path, after)
            yield None, result

    def paths(self, node: Node, scope: _Scope, value: Any) -> list[Path]:
        """Return the paths that a node names in a value."""
        found = []
        for path, one in self.run(node, scope, (), value):
            if path is None:
                raise JqFailure(f"Invalid path expression with result {shown(one)}")
            found.append(path)
        return found

    def condition(self, node: syntax.If, scope: _Scope, path: Path | None, value: Any) -> Items:
        for found in self.values(node.condition, scope, value):
            yield from self.run(node.then if truth(found) else node.otherwise, scope, path, value)

    def attempt(self, node: syntax.Try, scope: _Scope, path: Path | None, value: Any) -> Items:
        try:
            yield from self.run(node.body, scope, path, value)
        except JqFailure as failure:
            if node.catch is not None:
                yield from self.run(node.catch, scope, None, failure.value)

    def reduce(self, node: syntax.Reduce, scope: _Scope, path: Path | None, value: Any) -> Items:
        for start in self.run(node.start, scope, path, value):
            state: Item = start
            for found in self.values(node.source, scope, value):
                inner = _Scope(scope, node.name, found)
                state = (None, None)
                for state in self.run(node.update, inner, *start):  # noqa: B007 - the last one counts
                    pass
                start = state
            yield state

    def foreach(self, node: syntax.Foreach, scope: _Scope, path: Path | None, value: Any) -> Items:
        for start in self.run(node.start, scope, path, value):
            state = start
            for found in self.values(node.source, scope, value):
                inner = _Scope(scope, node.name, found)
                for new in self.run(node.update, inner, *state):
                    state = new
                    yield from self.run(node.extract, inner, *new)

    def bind(self, node: syntax.Bind, scope: _Scope, path: Path | None, value: Any) -> Items:
        for found in self.values(node.source, scope, value):
            yield from self.run(node.body, _Scope(scope, node.name, found), path, value)

    def variable(self, node: syntax.Variable, scope: _Scope, _path: Path | None, _value: Any) -> Items:
        found = scope.find(node.name)
        if found is None:
            raise JqFailure(f"{node.name} is not defined")
        yield None, found[0]

    def label(self, node: syntax.Label, scope: _Scope, path: Path | None, value: Any) -> Items:
        mark = object()
        try:
            yield from self.run(node.body, _Scope(scope, ("label", node.name), mark), path, value)
        except _Broken as broken:
            if broken.label is not mark:
                raise

    def stop(self, node: syntax.Break, scope: _Scope, _path: Path | None, _value: Any) -> Items:
        found = scope.find(("label", node.name))
        if found is None:
            raise JqFailure(f"${node.name} is not defined")
        raise _Broken(found[0])

    def define(self, node: syntax.Define, scope: _Scope, path: Path | None, value: Any) -> Items:
        closure = _Closure(node.parameters, node.body, scope, True)
        inner = _Scope(scope, (node.name, len(node.parameters)), closure)
        yield from self.run(node.rest, inner, path, value)

    def call(self, node: syntax.Call, scope: _Scope, path: Path | None, value: Any) -> Items:
        name = (node.name, len(node.arguments))
        found = scope.find(name)
        if found is None and (native := _NATIVE_WITH_PATHS.get(name)) is not None:
            yield from native(self, node.arguments, scope, path, value)
        elif found is None and (native_function := NATIVE.get(name)) is not None:
            for arguments in self._products(node.arguments, scope, value):
                self.spend(1 + (len(value) // 8 if isinstance(value, str | list | dict) else 0))
                yield None, _called(native_function, value, arguments)
        elif found is not None:
            closure, given = found
            yield from self._enter(closure, given if closure.is_recursive else closure.scope, node, scope, path, value)
        else:
            function = prelude()[name]  # checked when it was compiled
            closure = _Closure(function.parameters, function.body, _EMPTY, True)
            yield from self._enter(closure, _EMPTY, node, scope, path, value)

    def _products(self, nodes: tuple[Node, ...], scope: _Scope, value: Any) -> Iterator[tuple[Any, ...]]:
        if not nodes:
            yield ()
            return
        for rest in self._products(nodes[1:], scope, value):
            for found in self.values(nodes[0], scope, value):
                yield (found, *rest)

    def _enter(
        self, closure: _Closure, inner: _Scope, node: syntax.Call, scope: _Scope, path: Path | None, value: Any
    ) -> Items:
        """Run a body with arguments bound: names as closures, `$names` as values, each combination once."""
        plain = [place for place, name in enumerate(closure.parameters) if name.startswith("$")]
        given = [node.arguments[place] for place in plain]
        for values in self._products(tuple(given), scope, value):
            bound = inner
            for name, argument in zip(closure.parameters, node.arguments, strict=True):
                bound = _Scope(bound, (name.removeprefix("$"), 0), _Closure((), argument, scope, False))
            for place, found in zip(plain, values, strict=True):
                bound = _Scope(bound, closure.parameters[place], found)
            yield from self.run(closure.body, bound, path, value)


_NONE: Final = object()
_EMPTY: Final = _Scope()


def _at(path: Path | None, found: Any, key: Any, is_optional: bool) -> Items:
    try:
        yield _down(path, key), at(found, key)
    except JqFailure:
        if not is_optional:
            raise


def _called(function: Callable[..., Any], value: Any, arguments: tuple[Any, ...]) -> Any:
    """Call a function of values; what Python refuses (a text as a number, a number too large) fails as in jq."""
    try:
        return function(value, *arguments)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise JqFailure(f"{shown(value)}: {error}") from error


def _down(path: Path | None, key: Any) -> Path | None:
    return None if path is None else (*path, key)


def _empty(_work: _Evaluation, _arguments: tuple[Node, ...], _scope: _Scope, _path: Path | None, _value: Any) -> Items:
    return iter(())


def _failing(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, _path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value) if arguments else (value,):
        raise JqFailure(found)
    yield from ()


def _recurse(work: _Evaluation, _arguments: tuple[Node, ...], _scope: _Scope, path: Path | None, value: Any) -> Items:
    waiting: list[Item] = [(path, value)]
    while waiting:
        work.spend()
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, dict):
            waiting += [(_down(path, key), one) for key, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(_down(path, place), one) for place, one in reversed(list(enumerate(value)))]


def _limit(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, path: Path | None, value: Any) -> Items:
    for number in work.values(arguments[0], scope, value):
        if kind(number) != "number":
            raise JqFailure("Invalid arguments to limit: the count must be a number")
        if number > 0:
            yield from islice(work.run(arguments[1], scope, path, value), math.ceil(number))


def _first(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, path: Path | None, value: Any) -> Items:
    yield from islice(work.run(arguments[0], scope, path, value), 1)


def _last(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, path: Path | None, value: Any) -> Items:
    yield from deque(work.run(arguments[0], scope, path, value), maxlen=1)


def _getpath(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value):
        keys = _path_value(found)
        yield (None if path is None else (*path, *keys)), get(value, keys)


def _path_value(found: Any) -> Path:
    if not isinstance(found, list):
        raise JqFailure("Path must be specified as an array")
    return tuple(Span((key.get("start"), key.get("end"))) if isinstance(key, dict) else key for key in found)


def _path_of(path: Path) -> list[Any]:
    return [{"start": key[0], "end": key[1]} if isinstance(key, Span) else key for key in path]


def _path(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, _path: Path | None, value: Any) -> Items:
    for found in work.paths(arguments[0], scope, value):
        yield None, _path_of(found)


def _delpaths(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, _path: Path | None, value: Any) -> Items:
    for found in work.values(arguments[0], scope, value):
        if not isinstance(found, list):
            raise JqFailure("Paths must be specified as an array")
        yield None, delete(value, [_path_value(one) for one in found])


def _setpath(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, _path: Path | None, value: Any) -> Items:
    for new in work.values(arguments[1], scope, value):
        for found in work.values(arguments[0], scope, value):
            yield None, put(value, _path_value(found), new)


def _range(work: _Evaluation, arguments: tuple[Node, ...], scope: _Scope, _path: Path | None, value: Any) -> Items:
    for bounds in work._products(arguments, scope, value):
        if any(kind(bound) != "number" for bound in bounds):
            raise JqFailure("Range bounds must be numeric")
        start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        while (start < stop) if step > 0 else (step < 0 and start > stop):
            work.spend()
            yield None, start
            start += step


_NATIVE_WITH_PATHS: Final[dict[tuple[str, int], Callable[..., Items]]] = {
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
    ("range", 1): _range,
    ("range", 2): _range,
    ("range", 3): _range,
}
_RULES: Final[dict[type, Callable[..., Items]]] = {
    syntax.Identity: _Evaluation.identity,
    syntax.Literal: _Evaluation.literal,
    syntax.Text: _Evaluation.text,
    syntax.Format: _Evaluation.format,
    syntax.Index: _Evaluation.index,
    syntax.Slice: _Evaluation.slice,
    syntax.Iterate: _Evaluation.iterate,
    syntax.Array: _Evaluation.array,
    syntax.Object: _Evaluation.object,
    syntax.Negative: _Evaluation.negative,
    syntax.Binary: _Evaluation.binary,
    syntax.If: _Evaluation.condition,
    syntax.Try: _Evaluation.attempt,
    syntax.Reduce: _Evaluation.reduce,
    syntax.Foreach: _Evaluation.foreach,
    syntax.Bind: _Evaluation.bind,
    syntax.Variable: _Evaluation.variable,
    syntax.Label: _Evaluation.label,
    syntax.Break: _Evaluation.stop,
    syntax.Define: _Evaluation.define,
    syntax.Call: _Evaluation.call,
}


def _check(node: Node, names: frozenset[Any]) -> None:
    """Refuse names that nothing defines, before anything is evaluated."""
    match node:
        case syntax.Call(name, arguments):
            key = (name, len(arguments))
            if key not in names and key not in NATIVE and key not in prelude() and key not in _NATIVE_WITH_PATHS:
                raise JqError(f"jq: {name}/{len(arguments)} is not defined")
        case syntax.Variable(name) if name not in names:
            raise JqError(f"jq: {name} is not defined")
        case syntax.Break(name) if ("label", name) not in names:
            raise JqError(f"jq: label {name} is not defined")
        case syntax.Define(name, parameters, body, rest):
            inner = names | {(name, len(parameters))}
            plain = {one for one in parameters if one.startswith("$")}
            _check(body, inner | plain | {(one.removeprefix("$"), 0) for one in parameters})
            _check(rest, inner)
            return
    bound = {node.name} if isinstance(node, syntax.Bind | syntax.Reduce | syntax.Foreach) else set()
    if isinstance(node, syntax.Label):
        bound = {("label", node.name)}  # type: ignore[arg-type]  # names are texts, labels are pairs
    for inner_node, is_source in _children(node):
        _check(inner_node, names if is_source else names | bound)


def _children(node: Node) -> Iterator[tuple[Node, bool]]:
    """Yield the nodes right inside a node, and whether they stand before what it binds."""
    for name in (one.name for one in fields(node)):  # type: ignore[arg-type]  # every node is a dataclass
        found = getattr(node, name)
        for one in found if isinstance(found, tuple) else (found,):
            for inner in one if isinstance(one, tuple) else (one,):
                if isinstance(inner, Node):
                    yield inner, name in ("source", "start")


class Expression:
    """A compiled expression. Safe to share."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._node = parse(text)
        _check(self._node, frozenset())

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def results(self, value: Any, *, work: int = WORK_MAX) -> Generator[Any, None, None]:
        """Yield what the expression makes of a value.

        Raises:
            JqFailure: it fails on this value.
            SpecError: it takes too much work.
        """
        try:
            yield from _Evaluation(work).values(self._node, _EMPTY, value)
        except (_TooMuchWork, RecursionError) as error:
            raise self._stopped() from error

    def delete(self, value: Any, *, work: int = WORK_MAX) -> Any:
        """Return the value without what the expression names, as `del(expression)`; itself if that is nothing.

        An expression that fails on this value names nothing in it: `.a[]` where there is no `a`.

        Raises:
            SpecError: it takes too much work.
        """
        try:
            return delete(value, _Evaluation(work).paths(self._node, _EMPTY, value))
        except (JqFailure, _Broken):
            return value
        except (_TooMuchWork, RecursionError) as error:
            raise self._stopped() from error

    def _stopped(self) -> SpecError:
        return SpecError(f'jq: the expression "{self.text}" takes too much work and was stopped')


def compile_expression(text: str) -> Expression:
    """Return the compiled expression.

    Raises:
        JqError: the text is no expression, or calls a function that does not exist here.

    >>> compile_expression(".a[] | select(.b == 1)").delete({"a": [{"b": 1}, {"b": 2}]})
    {'a': [{'b': 2}]}
    """
    try:
        return Expression(text)
    except RecursionError as error:
        raise JqError("jq: nested too deeply") from error
