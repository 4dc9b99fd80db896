"""The tree of an expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True, eq=False)
class Node:
    """A sub-expression and its 0-based position. `height`: how deep the tree below it is."""

    at: int
    height: int


@dataclass(slots=True, eq=False)
class Constant(Node):
    """nil, a bool, an integer, a float or a string."""

    value: bool | int | float | str | None


@dataclass(slots=True, eq=False)
class Bytes(Node):
    value: str


@dataclass(slots=True, eq=False)
class Name(Node):
    name: str


@dataclass(slots=True, eq=False)
class Pointer(Node):
    """The element, the index or the accumulator of the innermost closure: name is empty, `index` or `acc`."""

    name: str


@dataclass(slots=True, eq=False)
class Unary(Node):
    operator: str
    node: Node


@dataclass(slots=True, eq=False)
class Binary(Node):
    """`exact`: both sides are statically this type, and Go compares them without looking at anything else."""

    operator: str
    left: Node
    right: Node
    exact: Literal["", "int", "string"] = ""


@dataclass(slots=True, eq=False)
class Chain(Node):
    """The extent that an optional member (`?.`) skips when its base is nil."""

    node: Node


@dataclass(slots=True, eq=False)
class Member(Node):
    """`base.name`, `base[property]`; `is_method`: it is about to be called."""

    base: Node
    property: Node
    is_optional: bool = False
    is_method: bool = False


@dataclass(slots=True, eq=False)
class Slice(Node):
    base: Node
    low: Node | None
    high: Node | None


@dataclass(slots=True, eq=False)
class Call(Node):
    """A call of a function of the environment, or of something that cannot be called."""

    callee: Node
    arguments: list[Node]


@dataclass(slots=True, eq=False)
class Builtin(Node):
    name: str
    arguments: list[Node]


@dataclass(slots=True, eq=False)
class Closure(Node):
    node: Node


@dataclass(slots=True, eq=False)
class Let(Node):
    name: str
    value: Node
    body: Node


@dataclass(slots=True, eq=False)
class Sequence(Node):
    nodes: list[Node]


@dataclass(slots=True, eq=False)
class Conditional(Node):
    condition: Node
    yes: Node
    no: Node


@dataclass(slots=True, eq=False)
class ListOf(Node):
    nodes: list[Node]


@dataclass(slots=True, eq=False)
class MapOf(Node):
    pairs: list[tuple[Node, Node]]


def children(node: Node) -> list[Node]:
    """Return the sub-expressions right below a node."""
    match node:
        case Unary() | Chain() | Closure():
            return [node.node]
        case Binary():
            return [node.left, node.right]
        case Member():
            return [node.base, node.property]
        case Slice():
            return [item for item in (node.base, node.low, node.high) if item is not None]
        case Call():
            return [node.callee, *node.arguments]
        case Builtin():
            return list(node.arguments)
        case Let():
            return [node.value, node.body]
        case Sequence() | ListOf():
            return list(node.nodes)
        case Conditional():
            return [node.condition, node.yes, node.no]
        case MapOf():
            return [item for pair in node.pairs for item in pair]
        case _:
            return []
