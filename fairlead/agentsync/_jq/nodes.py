"""The parts that an expression of jq is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Node:
    """A part of an expression."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Identity(Node):
    """`.`"""


@dataclass(frozen=True, slots=True)
class Literal(Node):
    value: Any


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A string with values in it, each put in as the format says."""

    parts: tuple[str | Node, ...]
    format: str = "@text"


@dataclass(frozen=True, slots=True)
class Format(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`term[key]`, `term.key`; with `?` a value that has no such places gives nothing."""

    term: Node
    key: Node
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Slice(Node):
    term: Node
    start: Node | None
    stop: Node | None
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Iterate(Node):
    """`term[]`"""

    term: Node
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Array(Node):
    inner: Node | None


@dataclass(frozen=True, slots=True)
class Object(Node):
    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Negative(Node):
    inner: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`|`, `,`, `//`, `and`, `or`, a comparison, arithmetic, or an assignment."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class If(Node):
    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Try(Node):
    body: Node
    catch: Node | None = None


@dataclass(frozen=True, slots=True)
class Reduce(Node):
    source: Node
    name: str
    start: Node
    update: Node


@dataclass(frozen=True, slots=True)
class Foreach(Node):
    source: Node
    name: str
    start: Node
    update: Node
    extract: Node


@dataclass(frozen=True, slots=True)
class Bind(Node):
    """`source as $name | body`"""

    source: Node
    name: str
    body: Node


@dataclass(frozen=True, slots=True)
class Variable(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Label(Node):
    name: str
    body: Node


@dataclass(frozen=True, slots=True)
class Break(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Define(Node):
    """`def name(parameters): body; rest`"""

    name: str
    parameters: tuple[str, ...]
    body: Node
    rest: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    name: str
    arguments: tuple[Node, ...] = ()
