"""Runs a checked tree, step by step and within a budget. Nothing here can reach a Python attribute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from fairlead.analysis._expressions import _nodes as n
from fairlead.analysis._expressions import _operators as ops
from fairlead.analysis._expressions._builtins import BUILTIN_FUNCTIONS, Call
from fairlead.analysis._expressions._closures import CLOSURES
from fairlead.analysis._expressions._errors import runtime_error
from fairlead.analysis._expressions._numbers import parse_float, parse_int
from fairlead.analysis._expressions._signatures import ENVIRONMENT
from fairlead.analysis._expressions._values import (
    Budget,
    Function,
    Int64,
    TypedList,
    Uint8,
    format_value,
    go_type,
    is_number,
    truncate,
    wrap64,
)


class _Skip(Exception):
    """The base of an optional member is nil: the rest of its chain is skipped."""


_SKIP: Final = _Skip()
_FAR: Final = 2**63 - 1  # the upper bound of a slice without one


class Evaluator:
    """Holds the environment of one evaluation."""

    def __init__(self, *, result: Any, now: datetime | None, budget: Budget) -> None:
        self.budget = budget
        self._result = result
        self._call = Call(budget=budget, now=now)
        self._variables: list[tuple[str, Any]] = []
        self._scopes: list[dict[str, Any]] = []
        self._dispatch: Mapping[type, Callable[[Any], Any]] = {
            n.Constant: lambda node: node.value,
            n.Bytes: lambda node: TypedList("[]uint8", map(Uint8, node.value.encode("utf-8", "surrogatepass"))),
            n.Name: self._name,
            n.Pointer: lambda node: self._scopes[-1][node.name],
            n.Unary: self._unary,
            n.Binary: self._binary,
            n.Chain: self._chain,
            n.Member: self._member,
            n.Slice: self._slice,
            n.Call: self._function,
            n.Builtin: self._builtin,
            n.Let: self._let,
            n.Sequence: lambda node: [self.run(item) for item in node.nodes][-1],
            n.Conditional: lambda node: self.run(node.yes if ops.as_bool(self.run(node.condition)) else node.no),
            n.ListOf: lambda node: [self.run(item) for item in node.nodes],
            n.MapOf: lambda node: {ops.as_text(self.run(key)): self.run(value) for key, value in node.pairs},
        }

    def run(self, node: n.Node) -> Any:
        """Return the value of a sub-expression.

        Raises:
            ExpressionError: it has none, or the budget is spent.
        """
        self.budget.spend()
        return self._dispatch[type(node)](node)

    def with_scope(self, node: n.Closure, scope: dict[str, Any]) -> Any:
        """Return the value of a closure for one element."""
        self._scopes.append(scope)
        value = self.run(node.node)
        self._scopes.pop()
        return value

    def _name(self, node: n.Name) -> Any:
        for name, value in reversed(self._variables):
            if name == node.name:
                return value
        if node.name == "$env":
            return self._environment()
        if node.name == "result":
            return self._result
        # A builtin that is named without being called is nil, as upstream.
        return Function(node.name, ENVIRONMENT[node.name].go) if node.name in ENVIRONMENT else None

    def _environment(self) -> dict[str, Any]:
        functions = {name: Function(name, signature.go) for name, signature in ENVIRONMENT.items()}
        return {"result": self._result, **functions}

    def _let(self, node: n.Let) -> Any:
        self._variables.append((node.name, self.run(node.value)))
        value = self.run(node.body)
        self._variables.pop()
        return value

    def _unary(self, node: n.Unary) -> Any:
        value = self.run(node.node)
        if node.operator in ("!", "not"):
            return not ops.as_bool(value)
        return ops.negate(value) if node.operator == "-" else value

    def _binary(self, node: n.Binary) -> Any:
        operator = node.operator
        left = self.run(node.left)
        match operator:
            case "and" | "&&":
                return self.run(node.right) if ops.as_bool(left) else False
            case "or" | "||":
                return True if ops.as_bool(left) else self.run(node.right)
            case "??":
                return self.run(node.right) if left is None else left
            case _:
                right = self.run(node.right)
        match operator:
            case "==" | "!=":
                if node.exact:
                    for side in (left, right):
                        if go_type(side) != node.exact:
                            raise ops.wrong_type(side, node.exact)
                return ops.equal(left, right, self.budget) == (operator == "==")
            case "<" | "<=" | ">" | ">=":
                return ops.compare(operator, left, right, self.budget)
            case "in":
                return ops.contains(left, right, self.budget)
            case "matches":
                return ops.matches(left, right, self.budget)
            case "contains" | "startsWith" | "endsWith":
                return ops.text_test(operator, left, right, self.budget)
            case "..":
                return ops.span(left, right, self.budget)
            case _:
                return ops.arithmetic(operator, left, right, self.budget)

    def _chain(self, node: n.Chain) -> Any:
        try:
            return self.run(node.node)
        except _Skip:
            return None

    def _member(self, node: n.Member) -> Any:
        base = self.run(node.base)
        if base is None and node.is_optional:
            raise _SKIP
        return ops.fetch(base, self.run(node.property), self.budget)

    def _slice(self, node: n.Slice) -> Any:
        base = self.run(node.base)
        high = _FAR if node.high is None else self.run(node.high)
        low = 0 if node.low is None else self.run(node.low)
        return ops.slice_of(base, low, high, self.budget)

    def _builtin(self, node: n.Builtin) -> Any:
        closure = node.arguments[1] if len(node.arguments) > 1 else None
        if isinstance(closure, n.Closure) or node.name in ("count", "sum"):
            items = self.run(node.arguments[0])
            if not isinstance(items, list):
                raise runtime_error(f"builtin {node.name} takes only array (got {go_type(items)})")
            extra = self.run(node.arguments[2]) if len(node.arguments) > 2 else None
            evaluate = partial(self.with_scope, closure) if isinstance(closure, n.Closure) else None
            return CLOSURES[node.name](items, evaluate, self.budget, extra, len(node.arguments) > 2)
        values = [self.run(argument) for argument in node.arguments]
        return BUILTIN_FUNCTIONS[node.name](self._call, *values)

    def _function(self, node: n.Call) -> Any:
        callee = self.run(node.callee)
        values = [self.run(argument) for argument in node.arguments]
        if callee is None:
            raise runtime_error("invalid operation: cannot call nil")
        if not isinstance(callee, Function):
            raise runtime_error(f"invalid operation: cannot call non-function of type {go_type(callee)}")
        signature = ENVIRONMENT[callee.name]
        if len(values) != len(signature.takes):
            few = "too many" if len(values) > len(signature.takes) else "not enough"
            raise runtime_error(f"{few} arguments to call {callee.name}")
        match callee.name:
            case "asInt":
                return self._as_int(values[0])
            case "asFloat":
                return self._as_float(values[0])
            case "isNaN":
                return math.isnan(ops.as_float(values[0]))
            case "isInf":
                return math.isinf(ops.as_float(values[0]))
            case "isNil":
                return self._result is None
            case _:
                return values[1] if self._result is None else self._result

    def _as_int(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return Int64(parse_int(value))
            except ValueError as error:
                raise runtime_error(str(error)) from None
        if not is_number(value):
            raise runtime_error(f"asInt() not supported on {go_type(value)} {format_value(value, self.budget)}")
        return Int64(truncate(value) if isinstance(value, float) else wrap64(int(value)))

    def _as_float(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return parse_float(value)
            except ValueError as error:
                raise runtime_error(str(error)) from None
        if not is_number(value):
            raise runtime_error(f"asFloat() not supported on {go_type(value)} {format_value(value, self.budget)}")
        return float(value)
