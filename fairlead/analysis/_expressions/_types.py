"""Static types: what is known of a value before an expression runs.

Source: `expr-lang/expr: checker/nature`. A type is *unknown* when Go would hold it in an interface: the members of a
map, the elements of decoded JSON, and what some functions return.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class K(Enum):
    """Kinds of static types."""

    UNKNOWN = auto()
    NIL = auto()
    BOOL = auto()
    INT = auto()  # any integer
    FLOAT = auto()
    STRING = auto()
    LIST = auto()
    MAP = auto()
    STRUCT = auto()
    TIME = auto()
    DURATION = auto()
    ZONE = auto()
    FUNCTION = auto()


@dataclass(frozen=True, slots=True)
class Type:
    """A static type. `go` is its name in messages; two types are identical when kind and name are."""

    kind: K
    go: str
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()

    @property
    def is_unknown(self) -> bool:
        return self.kind is K.UNKNOWN

    @property
    def is_number(self) -> bool:
        return self.kind in (K.INT, K.FLOAT)

    def elements(self) -> Type:
        """Return the type of a list's elements or of a map's values."""
        return self.element or ANY

    def go_elements(self) -> Type:
        """Return the element type that Go's own type shows: less is known of `[]interface {}`."""
        return ANY if self.go == "[]interface {}" else self.elements()

    def field(self, name: str) -> Type | None:
        return next((type_ for known, type_ in self.fields if known == name), None)


UNKNOWN: Final = Type(K.UNKNOWN, "unknown")
ANY: Final = Type(K.UNKNOWN, "interface {}")
NIL: Final = Type(K.NIL, "unknown")  # Go has no name for it, so messages say "unknown"
BOOL: Final = Type(K.BOOL, "bool")
INT: Final = Type(K.INT, "int")
INT64: Final = Type(K.INT, "int64")
FLOAT: Final = Type(K.FLOAT, "float64")
STRING: Final = Type(K.STRING, "string")
TIME: Final = Type(K.TIME, "time.Time")
DURATION: Final = Type(K.DURATION, "time.Duration")
ZONE: Final = Type(K.ZONE, "*time.Location")
LIST: Final = Type(K.LIST, "[]interface {}")
FLOATS: Final = Type(K.LIST, "[]float64", FLOAT)
INTS: Final = Type(K.LIST, "[]int", INT)
STRINGS: Final = Type(K.LIST, "[]string", STRING)
MAP: Final = Type(K.MAP, "map[string]interface {}")
ANY_MAP: Final = Type(K.MAP, "map[interface {}]interface {}")
GROUPS: Final = Type(K.MAP, "map[interface {}][]interface {}", LIST)


def list_of(element: Type) -> Type:
    """Return `[]interface {}` of which we know more than Go does."""
    return Type(K.LIST, "[]interface {}", element)


def map_key(type_: Type) -> Type:
    """Return the key type of a map."""
    return ANY if type_.go.startswith("map[interface {}]") else STRING


def is_assignable(source: Type, target: Type) -> bool:
    """Return whether Go would assign a value of one type to a variable of the other."""
    if source.kind is K.NIL:
        return target == ANY or target.kind in (K.MAP, K.LIST, K.FUNCTION, K.ZONE)
    if source == UNKNOWN or target == UNKNOWN:
        return False
    return target == ANY or (source.kind is target.kind and source.go == target.go)


def is_comparable(left: Type, right: Type) -> bool:
    """Return whether `==` takes these two."""
    if left.is_unknown or right.is_unknown or K.NIL in (left.kind, right.kind):
        return True
    if left.is_number and right.is_number:
        return True
    if left.kind is right.kind and left.kind in (K.LIST, K.TIME, K.DURATION):
        return True
    return is_assignable(left, right)


def may_be(left: Type, right: Type, *kinds: K) -> bool:
    """Return whether at least one side is unknown and the other fits one of the kinds, or is unknown too."""
    if left.is_unknown and right.is_unknown:
        return True
    return (left.is_unknown and right.kind in kinds) or (right.is_unknown and left.kind in kinds)
