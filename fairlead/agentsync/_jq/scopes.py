"""The names that a part of an expression sees, and how an evaluation ends before its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fairlead.agentsync._jq.nodes import Node
from fairlead.agentsync._jq.values import Path

Item = tuple[Path | None, Any]
Items = Iterator[Item]


class Broken(Exception):
    """`break` on its way to its label."""

    def __init__(self, label: object) -> None:
        super().__init__()
        self.label = label


class TooMuchWork(Exception):
    """No `try` of the expression catches it."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A function, or an argument that is not evaluated yet, with the names that it sees."""

    parameters: tuple[str, ...]
    body: Node
    scope: Scope
    is_recursive: bool


class Scope:
    """Names that an expression sees: an endless chain is cheap to extend, and nobody changes one."""

    __slots__ = ("_name", "_outer", "_value")

    def __init__(self, outer: Scope | None = None, name: Any = None, value: Any = None) -> None:
        self._outer, self._name, self._value = outer, name, value

    def find(self, name: Any) -> tuple[Any, Scope] | None:
        """Return what a name stands for, and the scope in which it was given."""
        scope: Scope | None = self
        while scope is not None:
            if scope._name == name and name is not None:
                return scope._value, scope
            scope = scope._outer
        return None


NO_NAMES: Final = Scope()
