"""The syntax tree of a template."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Text:
    text: bytes


@dataclass(frozen=True, slots=True)
class Dot:
    """The value that the block is about."""


@dataclass(frozen=True, slots=True)
class Nil:
    """The word `nil`."""


@dataclass(frozen=True, slots=True)
class Bool:
    value: bool


@dataclass(frozen=True, slots=True)
class String:
    value: bytes


@dataclass(frozen=True, slots=True)
class Number:
    """A constant. It may be of several types: `1.0` is a whole number too."""

    text: str
    whole: int | None = None
    real: float | None = None
    imaginary: complex | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """`.a.b`"""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x.a.b`; the names are what follows the variable."""

    name: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identifier:
    """The name of a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """`(pipeline).a.b`"""

    node: Operand
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    line: int
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    line: int
    variables: tuple[str, ...]
    is_assignment: bool
    commands: tuple[Command, ...]


Operand = Dot | Nil | Bool | String | Number | Field | Variable | Identifier | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class If:
    pipeline: Pipeline
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class With:
    pipeline: Pipeline
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    pipeline: Pipeline
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """Leaves the innermost range."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Goes on with the next element of the innermost range."""


@dataclass(frozen=True, slots=True)
class Call:
    """`{{ template "name" pipeline }}`"""

    line: int
    name: bytes
    pipeline: Pipeline | None


Node = Text | Action | If | With | Range | Break | Continue | Call


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed template: its own nodes, and the templates that it defines by name."""

    nodes: tuple[Node, ...]
    definitions: dict[bytes, tuple[Node, ...]] = field(default_factory=dict)
