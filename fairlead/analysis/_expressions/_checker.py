"""The static check: the type of every sub-expression, found before anything runs.

It also prepares the tree: integer constants in the place of a float parameter become floats, and comparisons of two
ints or two strings are marked.

Source: `expr-lang/expr: checker/checker.go`.
"""

from __future__ import annotations

from typing import Final

from fairlead.analysis._expressions import _nodes as n
from fairlead.analysis._expressions._errors import ExpressionError, static_error
from fairlead.analysis._expressions._parser import BUILTINS
from fairlead.analysis._expressions._signatures import ENVIRONMENT, OVERLOADS, VALIDATORS, Mismatch, Signature
from fairlead.analysis._expressions._types import (
    ANY,
    BOOL,
    DURATION,
    FLOAT,
    GROUPS,
    INT,
    LIST,
    MAP,
    NIL,
    STRING,
    TIME,
    UNKNOWN,
    K,
    Type,
    is_assignable,
    is_comparable,
    list_of,
    map_key,
    may_be,
)
from fairlead.core import regex

_FUNCTION: Final = Type(K.FUNCTION, "func(...interface {}) (interface {}, error)")
_BYTES: Final = Type(K.LIST, "[]uint8", Type(K.INT, "uint8"))
_BOOL_PREDICATES: Final = frozenset(
    ["all", "none", "any", "one", "filter", "count", "find", "findIndex", "findLast", "findLastIndex"]
)


class Checker:
    """Finds types, with the type of `result` given."""

    def __init__(self, result: Type | None) -> None:
        """Prepare for one expression; None: there is no `result` (times of a range query)."""
        self._environment: dict[str, Type] = {
            name: Type(K.FUNCTION, signature.go)
            for name, signature in ENVIRONMENT.items()
            if result is not None or name in ("isNaN", "isInf")
        }
        if result is not None:
            self._environment["result"] = result
        self._variables: list[tuple[str, Type]] = []
        self._scopes: list[tuple[Type, dict[str, Type]]] = []

    def check(self, node: n.Node) -> Type:
        """Return the type of a sub-expression.

        Raises:
            ExpressionError: it can never work.
        """
        match node:
            case n.Constant():
                return _constant(node.value)
            case n.Bytes():
                return _BYTES
            case n.Name():
                return self._name(node)
            case n.Pointer():
                return self._pointer(node)
            case n.Unary():
                return self._unary(node)
            case n.Binary():
                return self._binary(node)
            case n.Chain():
                return self.check(node.node)
            case n.Member():
                return self._member(node)
            case n.Slice():
                return self._slice(node)
            case n.Call():
                return self._call(node)
            case n.Builtin():
                return self._builtin(node)
            case n.Let():
                return self._let(node)
            case n.Sequence():
                return [self.check(item) for item in node.nodes][-1]
            case n.Conditional():
                return self._conditional(node)
            case n.ListOf():
                types = [self.check(item) for item in node.nodes]
                if not types:
                    return LIST
                return list_of(types[-1]) if len({_go_kind(type_) for type_ in types}) == 1 else LIST
            case n.MapOf():
                for key, value in node.pairs:
                    self.check(key)
                    self.check(value)
                return MAP
            case _:
                raise AssertionError(f"a node that nobody checks: {type(node)}")

    # names

    def _name(self, node: n.Name) -> Type:
        for name, type_ in reversed(self._variables):
            if name == node.name:
                return type_
        if node.name == "$env":
            return UNKNOWN
        if node.name in self._environment:
            return self._environment[node.name]
        if node.name in BUILTINS:
            return _FUNCTION
        raise static_error(f"unknown name {node.name}", node.at)

    def _pointer(self, node: n.Pointer) -> Type:
        if not self._scopes:
            raise static_error("cannot use pointer accessor outside predicate", node.at)
        collection, names = self._scopes[-1]
        if node.name == "":
            return UNKNOWN if collection.is_unknown else collection.elements()
        if node.name not in names:
            raise static_error(f"unknown pointer #{node.name}", node.at)
        return names[node.name]

    def _let(self, node: n.Let) -> Type:
        if node.name in self._environment:
            raise static_error(f"cannot redeclare {node.name}", node.at)
        if node.name in BUILTINS:
            raise static_error(f"cannot redeclare builtin {node.name}", node.at)
        if any(name == node.name for name, _ in self._variables):
            raise static_error(f"cannot redeclare variable {node.name}", node.at)
        self._variables.append((node.name, self.check(node.value)))
        type_ = self.check(node.body)
        self._variables.pop()
        return type_

    # operators

    def _unary(self, node: n.Unary) -> Type:
        type_ = self.check(node.node)
        if node.operator in ("!", "not"):
            if type_.kind is K.BOOL or type_.is_unknown:
                return BOOL
        elif type_.is_number:
            return type_
        elif type_.is_unknown:
            return UNKNOWN
        raise static_error(f"invalid operation: {node.operator} (mismatched type {type_.go})", node.at)

    def _binary(self, node: n.Binary) -> Type:
        left, right = self.check(node.left), self.check(node.right)
        if node.operator in ("==", "!="):
            pair = (left.go, right.go)
            node.exact = "int" if pair == ("int", "int") else "string" if pair == ("string", "string") else ""
        elif node.operator == "matches" and isinstance(node.right, n.Constant) and isinstance(node.right.value, str):
            try:
                regex.compile(node.right.value)
            except regex.RegexError as error:
                raise static_error(str(error), node.at) from error
        found = self._in(node, left, right) if node.operator == "in" else _result(node.operator, left, right)
        if found is None:
            mismatch = f"(mismatched types {left.go} and {right.go})"
            raise static_error(f"invalid operation: {node.operator} {mismatch}", node.at)
        return found

    @staticmethod
    def _in(node: n.Binary, needle: Type, container: Type) -> Type | None:
        if container.kind is K.STRUCT and (needle.kind is K.STRING or needle.is_unknown):
            return BOOL
        if container.kind is K.MAP:
            key = map_key(container)
            if not needle.is_unknown and not is_assignable(needle, key):
                raise static_error(f"cannot use {needle.go} as type {key.go} in map key", node.at)
            return BOOL
        if container.kind is K.LIST:
            if not is_comparable(needle, container.elements()):
                raise static_error(f"cannot use {needle.go} as type {container.elements().go} in array", node.at)
            return BOOL
        if container.is_unknown or (needle.is_unknown and container.kind is K.STRING):
            return BOOL
        return None

    def _conditional(self, node: n.Conditional) -> Type:
        condition = self.check(node.condition)
        if condition.kind is not K.BOOL and not condition.is_unknown:
            text = f"non-bool expression (type {condition.go}) used as condition"
            raise static_error(text, node.condition.at)
        yes, no = self.check(node.yes), self.check(node.no)
        if K.NIL in (yes.kind, no.kind):
            return no if yes.kind is K.NIL else yes
        if not is_assignable(yes, no):
            return UNKNOWN
        if yes.kind is no.kind is K.LIST:
            ours, theirs = yes.elements(), no.elements()
            if not is_assignable(ours, theirs) or not is_assignable(theirs, ours):
                return LIST
        return yes

    # members

    def _member(self, node: n.Member) -> Type:
        name = node.property.value if isinstance(node.property, n.Constant) else None
        if isinstance(node.base, n.Name) and node.base.name == "$env":
            if not isinstance(name, str):
                return UNKNOWN
            if name in self._environment:
                return self._environment[name]
            if node.is_optional:
                return UNKNOWN
            raise static_error(f"unknown name {name}", node.at)
        base, property_ = self.check(node.base), self.check(node.property)
        if base.is_unknown:
            return UNKNOWN
        if base.kind is K.NIL and isinstance(name, str):
            raise static_error(f"type nil has no field {name}", node.at)
        if base.kind is K.MAP:
            if not is_assignable(property_, map_key(base)) and not property_.is_unknown:
                text = f"cannot use {property_.go} to get an element from {base.go}"
                raise static_error(text, node.property.at)
            return base.elements()
        if base.kind is K.LIST:
            if property_.kind is not K.INT and not property_.is_unknown:
                text = f"array elements can only be selected using an integer (got {property_.go})"
                raise static_error(text, node.property.at)
            return base.elements()
        if isinstance(name, str):
            if base.kind is K.STRUCT and (found := base.field(name)) is not None:
                return found
            what = "method" if node.is_method else "field"
            raise static_error(f"type {base.go} has no {what} {name}", node.at)
        raise static_error(f"type {base.go}[{property_.go}] is undefined", node.at)

    def _slice(self, node: n.Slice) -> Type:
        base = self.check(node.base)
        if base.is_unknown:
            return UNKNOWN  # its bounds are not looked at either
        if base.kind not in (K.STRING, K.LIST):
            raise static_error(f"cannot slice {base.go}", node.at)
        for bound in (node.low, node.high):
            if bound is not None:
                type_ = self.check(bound)
                if type_.kind is not K.INT and not type_.is_unknown:
                    raise static_error(f"non-integer slice index {type_.go}", bound.at)
        return base

    # calls

    def _call(self, node: n.Call) -> Type:
        if isinstance(node.callee, n.Name) and node.callee.name == "$env":
            raise static_error("map[string]interface {} is not callable", node.at)
        callee = self.check(node.callee)
        if callee.is_unknown:
            for argument in node.arguments:
                self.check(argument)
            return UNKNOWN
        if isinstance(node.callee, n.Name) and node.callee.name in ENVIRONMENT and callee.kind is K.FUNCTION:
            return self._matched(node.callee.name, (ENVIRONMENT[node.callee.name],), node.arguments, node.at)
        raise static_error(f"{callee.go} is not callable", node.at)

    def _matched(self, name: str, signatures: tuple[Signature, ...], arguments: list[n.Node], at: int) -> Type:
        """Return what the first fitting signature gives."""
        types = [self.check(argument) for argument in arguments]
        complaint: ExpressionError | None = None
        for signature in signatures:
            complaint = self._mismatch(name, signature, types, arguments, at)
            if complaint is None:
                return signature.gives
        assert complaint is not None, "a function without a signature"
        raise complaint

    @staticmethod
    def _mismatch(
        name: str, signature: Signature, types: list[Type], arguments: list[n.Node], at: int
    ) -> ExpressionError | None:
        if len(types) != len(signature.takes):
            few = "too many" if len(types) > len(signature.takes) else "not enough"
            return static_error(f"{few} arguments to call {name}", at)
        for position, (given, wanted) in enumerate(zip(types, signature.takes, strict=True)):
            argument = arguments[position]
            if wanted.kind is K.FLOAT and given.kind is K.INT:
                arguments[position] = _with_floats(argument)
            elif wanted.kind is K.INT and given.kind is K.INT:
                continue
            elif given.kind is K.NIL:
                if wanted != ANY:
                    return static_error(f"cannot use nil as argument (type {wanted.go}) to call {name}", argument.at)
            elif not is_assignable(given, wanted) and not given.is_unknown:
                return static_error(
                    f"cannot use {given.go} as argument (type {wanted.go}) to call {name} ", argument.at
                )
        return None

    def _builtin(self, node: n.Builtin) -> Type:
        if len(node.arguments) > 1 and isinstance(node.arguments[1], n.Closure):
            return self._with_closure(node, node.arguments[1])
        if node.name in ("count", "sum"):
            collection = self._collection(node)
            if node.name == "count":
                return INT
            return UNKNOWN if collection.is_unknown else collection.elements()
        if node.name == "get":
            return self._get(node)
        if node.name in OVERLOADS:
            return self._matched(node.name, OVERLOADS[node.name], node.arguments, node.at)
        types = [ANY if (found := self.check(argument)).is_unknown else found for argument in node.arguments]
        try:
            return VALIDATORS[node.name](node.name, types)
        except Mismatch as mismatch:
            raise static_error(str(mismatch), node.at) from None

    def _collection(self, node: n.Builtin) -> Type:
        collection = self.check(node.arguments[0])
        if collection.kind is not K.LIST and not collection.is_unknown:
            text = f"builtin {node.name} takes only array (got {collection.go})"
            raise static_error(text, node.arguments[0].at)
        return collection

    def _with_closure(self, node: n.Builtin, closure: n.Closure) -> Type:
        collection = self._collection(node)
        names: dict[str, Type] = {}
        if node.name in ("map", "reduce"):
            names["index"] = INT
        if node.name == "reduce":
            names["acc"] = UNKNOWN
        self._scopes.append((collection, names))
        given = self.check(closure.node)
        self._scopes.pop()
        if len(node.arguments) == 3:
            order = self.check(node.arguments[2])
            if node.name == "sortBy" and order.kind is not K.STRING and not order.is_unknown:
                text = f"sortBy order argument must be a string (got {order.go})"
                raise static_error(text, node.arguments[2].at)
        if given.kind is K.NIL:
            inputs = "two" if node.name == "reduce" else "one"
            raise static_error(f"predicate should has {inputs} input and one output param", closure.at)
        if node.name in _BOOL_PREDICATES and given.kind is not K.BOOL and not given.is_unknown:
            raise static_error(f"predicate should return boolean (got {given.go})", closure.at)
        element = ANY if collection.is_unknown else collection.elements()
        match node.name:
            case "all" | "none" | "any" | "one":
                return BOOL
            case "filter":
                return LIST if collection.is_unknown else list_of(element)
            case "map":
                return list_of(given)
            case "count" | "findIndex" | "findLastIndex":
                return INT
            case "find" | "findLast":
                return UNKNOWN if collection.is_unknown else element
            case "groupBy":
                return GROUPS
            case "sortBy":
                return collection
            case _:  # sum and reduce give what their closure gives
                return given

    def _get(self, node: n.Builtin) -> Type:
        if len(node.arguments) != 2:
            text = f"invalid number of arguments (expected 2, got {len(node.arguments)})"
            raise static_error(text, node.at)
        base_node, key_node = node.arguments
        base, key = self.check(base_node), self.check(key_node)
        if isinstance(base_node, n.Name) and base_node.name == "$env":
            name = key_node.value if isinstance(key_node, n.Constant) else None
            return self._environment.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN
        if base.is_unknown:
            return UNKNOWN
        if base.kind is K.LIST:
            if key.kind is not K.INT and not key.is_unknown:
                raise static_error(f"non-integer slice index {key.go}", key_node.at)
            return base.elements()
        if base.kind is K.MAP:
            if not is_assignable(key, map_key(base)) and not key.is_unknown:
                raise static_error(f"cannot use {key.go} to get an element from {base.go}", key_node.at)
            return base.elements()
        raise static_error(f"type {base.go} does not support indexing", base_node.at)


def _constant(value: bool | int | float | str | None) -> Type:
    if value is None:
        return NIL
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    return FLOAT if isinstance(value, float) else STRING


def _go_kind(type_: Type) -> str:
    """Return what tells the elements of a list literal apart: int and int64 are different kinds, for instance."""
    return type_.go if type_.kind in (K.INT, K.FLOAT) else type_.kind.name


def _result(operator: str, left: Type, right: Type) -> Type | None:
    """Return the type of `left operator right`, or None when it has none."""
    kinds = (left.kind, right.kind)
    both_numbers = left.is_number and right.is_number
    match operator:
        case "==" | "!=":
            return BOOL if is_comparable(left, right) else None
        case "or" | "||" | "and" | "&&":
            return BOOL if kinds == (K.BOOL, K.BOOL) or may_be(left, right, K.BOOL) else None
        case "<" | ">" | ">=" | "<=":
            if both_numbers or (left.kind is right.kind and left.kind in (K.STRING, K.TIME, K.DURATION)):
                return BOOL
            return BOOL if may_be(left, right, K.INT, K.FLOAT, K.STRING, K.TIME, K.DURATION) else None
        case "+" | "-" | "*":
            if both_numbers:
                return FLOAT if K.FLOAT in kinds else INT
            if (found := _SUMS.get((operator, *kinds))) is not None:
                return found
            also = {"+": (K.STRING, K.TIME, K.DURATION), "-": (K.TIME, K.DURATION), "*": (K.DURATION,)}[operator]
            return UNKNOWN if may_be(left, right, K.INT, K.FLOAT, *also) else None
        case "/" | "**" | "^":
            return FLOAT if both_numbers or may_be(left, right, K.INT, K.FLOAT) else None
        case "%":
            return INT if kinds == (K.INT, K.INT) or may_be(left, right, K.INT) else None
        case "matches":
            is_text = left.kind is K.STRING or left == _BYTES
            return BOOL if (is_text and right.kind is K.STRING) or may_be(left, right, K.STRING) else None
        case "contains" | "startsWith" | "endsWith":
            return BOOL if kinds == (K.STRING, K.STRING) or may_be(left, right, K.STRING) else None
        case "..":
            return list_of(INT) if kinds == (K.INT, K.INT) or may_be(left, right, K.INT) else None
        case "??":
            if left.kind is K.NIL:
                return right
            if right.kind is K.NIL:
                return left
            return left if is_assignable(right, left) else UNKNOWN
        case _:
            raise AssertionError(f"an operator that nobody checks: {operator}")


_SUMS: Final[dict[tuple[str, K, K], Type]] = {
    ("+", K.STRING, K.STRING): STRING,
    ("+", K.TIME, K.DURATION): TIME,
    ("+", K.DURATION, K.TIME): TIME,
    ("+", K.DURATION, K.DURATION): DURATION,
    ("-", K.TIME, K.TIME): DURATION,
    ("-", K.TIME, K.DURATION): TIME,
    ("-", K.DURATION, K.DURATION): DURATION,
    ("*", K.DURATION, K.DURATION): DURATION,
    **{("*", kind, K.DURATION): DURATION for kind in (K.INT, K.FLOAT)},
    **{("*", K.DURATION, kind): DURATION for kind in (K.INT, K.FLOAT)},
}


def _with_floats(node: n.Node) -> n.Node:
    """Return the tree with its integer constants as floats, as far as signs and sums go."""
    match node:
        case n.Constant() if isinstance(node.value, int) and not isinstance(node.value, bool):
            return n.Constant(node.at, node.height, float(node.value))
        case n.Unary():
            return n.Unary(node.at, node.height, node.operator, _with_floats(node.node))
        case n.Binary() if node.operator in ("+", "-", "*"):
            left, right = _with_floats(node.left), _with_floats(node.right)
            return n.Binary(node.at, node.height, node.operator, left, right)
        case _:
            return node
