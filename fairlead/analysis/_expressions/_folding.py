"""Constant operands are folded away, where users can see the difference: `result.missing or true` is true.

Source: `expr-lang/expr: optimizer/fold.go`.
"""

from __future__ import annotations

from fairlead.analysis._expressions import _nodes as n
from fairlead.analysis._expressions._errors import static_error
from fairlead.analysis._expressions._values import wrap64


def fold(node: n.Node) -> n.Node:
    """Return the tree with constants folded, where that can be seen from outside.

    Raises:
        ExpressionError: a constant is divided by zero.
    """
    match node:
        case n.Unary():
            node.node = fold(node.node)
            value = node.node.value if isinstance(node.node, n.Constant) else None
            if isinstance(value, bool):
                return n.Constant(node.at, 1, not value) if node.operator in ("!", "not") else node
            if isinstance(value, int | float):
                negative = wrap64(-value) if isinstance(value, int) else -value
                return n.Constant(node.at, 1, negative if node.operator == "-" else value)
        case n.Binary():
            node.left, node.right = fold(node.left), fold(node.right)
            return _folded(node)
        case n.Chain() | n.Closure():
            node.node = fold(node.node)
        case n.Member():
            node.base, node.property = fold(node.base), fold(node.property)
        case n.Slice():
            node.base = fold(node.base)
            node.low = fold(node.low) if node.low is not None else None
            node.high = fold(node.high) if node.high is not None else None
        case n.Call() | n.Builtin():
            node.arguments = [fold(argument) for argument in node.arguments]
        case n.Let():
            node.value, node.body = fold(node.value), fold(node.body)
        case n.Sequence() | n.ListOf():
            node.nodes = [fold(item) for item in node.nodes]
        case n.Conditional():
            node.condition, node.yes, node.no = fold(node.condition), fold(node.yes), fold(node.no)
        case n.MapOf():
            node.pairs = [(fold(key), fold(value)) for key, value in node.pairs]
        case _:
            pass
    return node


def _folded(node: n.Binary) -> n.Node:
    left = node.left.value if isinstance(node.left, n.Constant) else None
    right = node.right.value if isinstance(node.right, n.Constant) else None
    match node.operator:
        case "and" | "&&":
            if left is True:
                return node.right
            if right is True:
                return node.left
            if left is False or right is False:
                return n.Constant(node.at, 1, False)
        case "or" | "||":
            if left is False:
                return node.right
            if right is False:
                return node.left
            if left is True or right is True:
                return n.Constant(node.at, 1, True)
        case "==" if type(left) is type(right) and isinstance(left, int | str):
            return n.Constant(node.at, 1, left == right)
        case "%" if isinstance(left, int) and isinstance(right, int) and right == 0:
            raise static_error("integer divide by zero", node.at)
        case _:
            pass
    return node
