"""Evaluates an expression on a value, with a bound on the work.

An expression is a generator of pairs: the path that a value came from (None if it came from no place of the input),
and the value. `del(expression)` collects the paths, and that is all that ignore rules need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from fairlead.agentsync._jq import nodes as syntax
from fairlead.agentsync._jq.functions import BY_PAIRS, CHEAP, NATIVE, formatted, prelude
from fairlead.agentsync._jq.nodes import Node
from fairlead.agentsync._jq.scopes import NO_NAMES, Broken, Closure, Item, Items, Scope, TooMuchWork
from fairlead.agentsync._jq.special import SPECIAL
from fairlead.agentsync._jq.values import (
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
    size,
    truth,
)
from fairlead.core import regex

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


class Evaluation:
    """One evaluation, with the work that is left to it."""

    def __init__(self, work: int) -> None:
        self._work = work
        self.regex_work = regex.Work()

    def spend(self, steps: int = 1) -> None:
        self._work -= steps
        if self._work < 0:
            raise TooMuchWork

    def run(self, node: Node, scope: Scope, path: Path | None, value: Any) -> Items:
        """Yield the results of a node for an input."""
        self.spend()
        return _RULES[type(node)](self, node, scope, path, value)

    def values(self, node: Node, scope: Scope, value: Any) -> Iterator[Any]:
        for _, found in self.run(node, scope, None, value):
            yield found

    def identity(self, _node: syntax.Identity, _scope: Scope, path: Path | None, value: Any) -> Items:
        yield path, value

    def literal(self, node: syntax.Literal, _scope: Scope, _path: Path | None, _value: Any) -> Items:
        yield None, node.value

    def text(self, node: syntax.Text, scope: Scope, _path: Path | None, value: Any) -> Items:
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
                    self.spend(size(found) // 8)
                    yield formatted(node.format, found) + rest

        for text in parts(0):
            yield None, text

    def format(self, node: syntax.Format, _scope: Scope, _path: Path | None, value: Any) -> Items:
        self.spend(size(value) // 8)
        yield None, formatted(node.name, value)

    def index(self, node: syntax.Index, scope: Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            for key in self.values(node.key, scope, value):
                if isinstance(key, dict):
                    key = Span((key.get("start"), key.get("end")))
                yield from _at(inner, found, key, node.is_optional)

    def slice(self, node: syntax.Slice, scope: Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            for stop in self.values(node.stop, scope, value) if node.stop is not None else (None,):
                for start in self.values(node.start, scope, value) if node.start is not None else (None,):
                    span = Span((start, stop))
                    yield from _at(inner, found, span, node.is_optional)

    def iterate(self, node: syntax.Iterate, scope: Scope, path: Path | None, value: Any) -> Items:
        for inner, found in self.run(node.term, scope, path, value):
            if not isinstance(found, dict | list):
                if node.is_optional:
                    continue
                raise JqFailure(f"Cannot iterate over {kind(found) if found is None else shown(found)}")
            self.spend(len(found) // 8)
            for key, one in found.items() if isinstance(found, dict) else enumerate(found):
                yield _down(inner, key), one

    def array(self, node: syntax.Array, scope: Scope, _path: Path | None, value: Any) -> Items:
        yield None, list(self.values(node.inner, scope, value)) if node.inner is not None else []

    def object(self, node: syntax.Object, scope: Scope, _path: Path | None, value: Any) -> Items:
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

    def negative(self, node: syntax.Negative, scope: Scope, _path: Path | None, value: Any) -> Items:
        for found in self.values(node.inner, scope, value):
            if kind(found) != "number":
                raise JqFailure(f"{shown(found)} cannot be negated")
            yield None, -found

    def binary(self, node: syntax.Binary, scope: Scope, path: Path | None, value: Any) -> Items:
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
            self.spend(size(left) + size(right))
            return _COMPARISONS[operator](rank(left), rank(right))
        if operator == "*" and kind(left) == "string" and kind(right) == "number":
            left, right = right, left
        if operator == "*" and kind(right) == "string" and kind(left) == "number":
            times = max(0, left)
            self.spend(int(min(times * (len(right) + 1), 1e9)) // 16)
            return right * (1 if 0 < times < 1 else int(times)) if times > 0 else None
        sizes = size(left), size(right)
        is_by_pairs = operator == "-" and isinstance(left, list)
        self.spend(math.prod(sizes) if is_by_pairs else sum(sizes) // 2)
        return _called(arithmetic, operator, (left, right))

    def _alternative(self, node: syntax.Binary, scope: Scope, path: Path | None, value: Any) -> Items:
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

    def _logic(self, node: syntax.Binary, scope: Scope, value: Any) -> Items:
        is_or = node.operator == "or"
        for left in self.values(node.left, scope, value):
            if truth(left) is is_or:
                yield None, is_or
                continue
            for right in self.values(node.right, scope, value):
                yield None, truth(right)

    def _assign(self, node: syntax.Binary, scope: Scope, value: Any) -> Items:
        paths = self.paths(node.left, scope, value)
        if node.operator == "|=":
            result, gone = value, []
            for path in paths:
                new = next(self.values(node.right, scope, get(result, path)), _NONE)
                if new is _NONE:
                    gone.append(path)
                else:
                    result = put(result, path, new, self.spend)
            yield None, delete(result, gone, self.spend)
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
                result = put(result, path, after, self.spend)
            yield None, result

    def paths(self, node: Node, scope: Scope, value: Any) -> list[Path]:
        """Return the paths that a node names in a value."""
        found = []
        for path, one in self.run(node, scope, (), value):
            if path is None:
                raise JqFailure(f"Invalid path expression with result {shown(one)}")
            found.append(path)
        return found

    def condition(self, node: syntax.If, scope: Scope, path: Path | None, value: Any) -> Items:
        for found in self.values(node.condition, scope, value):
            yield from self.run(node.then if truth(found) else node.otherwise, scope, path, value)

    def attempt(self, node: syntax.Try, scope: Scope, path: Path | None, value: Any) -> Items:
        try:
            yield from self.run(node.body, scope, path, value)
        except JqFailure as failure:
            if node.catch is not None:
                yield from self.run(node.catch, scope, None, failure.value)

    def reduce(self, node: syntax.Reduce, scope: Scope, path: Path | None, value: Any) -> Items:
        for start in self.run(node.start, scope, path, value):
            state: Item = start
            for found in self.values(node.source, scope, value):
                inner = Scope(scope, node.name, found)
                state = (None, None)
                for state in self.run(node.update, inner, *start):  # noqa: B007 - the last one counts
                    pass
                start = state
            yield state

    def foreach(self, node: syntax.Foreach, scope: Scope, path: Path | None, value: Any) -> Items:
        for start in self.run(node.start, scope, path, value):
            state = start
            for found in self.values(node.source, scope, value):
                inner = Scope(scope, node.name, found)
                for new in self.run(node.update, inner, *state):
                    state = new
                    yield from self.run(node.extract, inner, *new)

    def bind(self, node: syntax.Bind, scope: Scope, path: Path | None, value: Any) -> Items:
        for found in self.values(node.source, scope, value):
            yield from self.run(node.body, Scope(scope, node.name, found), path, value)

    def variable(self, node: syntax.Variable, scope: Scope, _path: Path | None, _value: Any) -> Items:
        found = scope.find(node.name)
        if found is None:
            raise JqFailure(f"{node.name} is not defined")
        yield None, found[0]

    def label(self, node: syntax.Label, scope: Scope, path: Path | None, value: Any) -> Items:
        mark = object()
        try:
            yield from self.run(node.body, Scope(scope, ("label", node.name), mark), path, value)
        except Broken as broken:
            if broken.label is not mark:
                raise

    def stop(self, node: syntax.Break, scope: Scope, _path: Path | None, _value: Any) -> Items:
        found = scope.find(("label", node.name))
        if found is None:
            raise JqFailure(f"${node.name} is not defined")
        raise Broken(found[0])

    def define(self, node: syntax.Define, scope: Scope, path: Path | None, value: Any) -> Items:
        closure = Closure(node.parameters, node.body, scope, True)
        inner = Scope(scope, (node.name, len(node.parameters)), closure)
        yield from self.run(node.rest, inner, path, value)

    def call(self, node: syntax.Call, scope: Scope, path: Path | None, value: Any) -> Items:
        name = (node.name, len(node.arguments))
        found = scope.find(name)
        if found is None and (native := SPECIAL.get(name)) is not None:
            yield from native(self, node.arguments, scope, path, value)
        elif found is None and (native_function := NATIVE.get(name)) is not None:
            for arguments in self.products(node.arguments, scope, value):
                self.spend(self._price(name[0], value, arguments))
                yield None, _called(native_function, value, arguments)
        elif found is not None:
            closure, given = found
            yield from self._enter(closure, given if closure.is_recursive else closure.scope, node, scope, path, value)
        else:
            function = prelude()[name]  # checked when it was compiled
            closure = Closure(function.parameters, function.body, NO_NAMES, True)
            yield from self._enter(closure, NO_NAMES, node, scope, path, value)

    def _price(self, name: str, value: Any, arguments: tuple[Any, ...]) -> int:
        if name in CHEAP:
            return 1 + (len(value) // 16 if isinstance(value, str | list | dict) else 0)
        sizes = [size(one) for one in (value, *arguments)]
        return math.prod(sizes) if name in BY_PAIRS else sum(sizes)

    def products(self, nodes: tuple[Node, ...], scope: Scope, value: Any) -> Iterator[tuple[Any, ...]]:
        if not nodes:
            yield ()
            return
        for rest in self.products(nodes[1:], scope, value):
            for found in self.values(nodes[0], scope, value):
                yield (found, *rest)

    def _enter(
        self, closure: Closure, inner: Scope, node: syntax.Call, scope: Scope, path: Path | None, value: Any
    ) -> Items:
        """Run a body with arguments bound: names as closures, `$names` as values, each combination once."""
        plain = [place for place, name in enumerate(closure.parameters) if name.startswith("$")]
        given = [node.arguments[place] for place in plain]
        for values in self.products(tuple(given), scope, value):
            bound = inner
            for name, argument in zip(closure.parameters, node.arguments, strict=True):
                bound = Scope(bound, (name.removeprefix("$"), 0), Closure((), argument, scope, False))
            for place, found in zip(plain, values, strict=True):
                bound = Scope(bound, closure.parameters[place], found)
            yield from self.run(closure.body, bound, path, value)


_NONE: Final = object()


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


_RULES: Final[dict[type, Callable[..., Items]]] = {
    syntax.Identity: Evaluation.identity,
    syntax.Literal: Evaluation.literal,
    syntax.Text: Evaluation.text,
    syntax.Format: Evaluation.format,
    syntax.Index: Evaluation.index,
    syntax.Slice: Evaluation.slice,
    syntax.Iterate: Evaluation.iterate,
    syntax.Array: Evaluation.array,
    syntax.Object: Evaluation.object,
    syntax.Negative: Evaluation.negative,
    syntax.Binary: Evaluation.binary,
    syntax.If: Evaluation.condition,
    syntax.Try: Evaluation.attempt,
    syntax.Reduce: Evaluation.reduce,
    syntax.Foreach: Evaluation.foreach,
    syntax.Bind: Evaluation.bind,
    syntax.Variable: Evaluation.variable,
    syntax.Label: Evaluation.label,
    syntax.Break: Evaluation.stop,
    syntax.Define: Evaluation.define,
    syntax.Call: Evaluation.call,
}
