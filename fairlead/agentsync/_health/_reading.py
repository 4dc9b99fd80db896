"""Fields of an object that somebody else wrote: read by path, typed, absent ones with their default.

A field of the wrong type ends the check that reads it, with a text that says which field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class Unreadable(Exception):
    """A field is not of the type that its kind has; the text is the health's message."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; what it leaves out is empty."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int | None

    @property
    def is_true(self) -> bool:
        return self.status == "True"

    @property
    def is_false(self) -> bool:
        return self.status == "False"


@dataclass(frozen=True, slots=True)
class Reading:
    """An object, or a part of one, with the path by which errors name it."""

    found: Mapping[str, Any]
    path: str = ""

    def _named(self, path: str) -> str:
        return f"{self.path}.{path}" if self.path else path

    def _at(self, path: str) -> Any:
        value: Any = self.found
        done: list[str] = []
        for name in path.split("."):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise self._wrong(".".join(done), value, "object")
            value = value.get(name)
            done.append(name)
        return value

    def _wrong(self, path: str, value: Any, expected: str) -> Unreadable:
        return Unreadable(f"{self._named(path)}: expected {expected}, found {_WORDS.get(type(value), 'null')}")

    def _typed(self, path: str, of: type[T]) -> T | None:
        value = self._at(path)
        if value is None:
            return None
        if not isinstance(value, of) or (of is int and isinstance(value, bool)):
            raise self._wrong(path, value, _WORDS[of])
        return value

    def has(self, path: str) -> bool:
        return self._at(path) is not None

    def number(self, path: str) -> int | None:
        return self._typed(path, int)

    def count(self, path: str, default: int = 0) -> int:
        found = self._typed(path, int)
        return default if found is None else found

    def numeral(self, path: str) -> int | None:
        """Return a number that may be written as a string; None: absent, or no number."""
        value = self._at(path)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else None

    def text(self, path: str) -> str:
        return self._typed(path, str) or ""

    def flag(self, path: str) -> bool:
        return self._typed(path, bool) or False

    def list_length(self, path: str) -> int:
        return len(self._typed(path, list) or ())

    def parts(self, path: str) -> list[Reading]:
        """Return the elements of a list of objects."""
        found: list[Reading] = []
        for index, inner in enumerate(self._typed(path, list) or ()):
            if not isinstance(inner, Mapping):
                raise self._wrong(f"{path}[{index}]", inner, "object")
            found.append(Reading(inner, self._named(f"{path}[{index}]")))
        return found

    def conditions(self, path: str = "status.conditions") -> list[Condition]:
        return [
            Condition(
                type=one.text("type"),
                status=one.text("status"),
                reason=one.text("reason"),
                message=one.text("message"),
                observed_generation=one.number("observedGeneration"),
            )
            for one in self.parts(path)
        ]

    def condition(self, kind: str) -> Condition | None:
        """Return the first condition of a type."""
        return next((one for one in self.conditions() if one.type == kind), None)

    @property
    def name(self) -> str:
        return self.text("metadata.name")

    @property
    def generation(self) -> int:
        return self.count("metadata.generation")
