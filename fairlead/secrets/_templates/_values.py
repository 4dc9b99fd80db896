"""Values of templates, and the Go types that templates can tell apart.

| Go | here |
|---|---|
| nil | None |
| bool, float64, complex128 | bool, float, complex |
| string | bytes |
| int | int |
| int64, uint8, uint64 | Int64, Uint8, Uint64 |
| []interface {} | list |
| []string, []int, [][]interface {} | Strings, Ints, Lists |
| map[string]interface {} | dict with keys of bytes |
| map[string]string | StringMap |
| time.Time, time.Month, time.Weekday, time.Duration | Time, Month, Weekday, Duration |
| *semver.Version, sprig.certificate | Version, Certificate |

Types matter: `eq 1 (add 1 0)` is true, while `has 1 (list (add 1 0))` is false, and `until (add 1 2)` is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fairlead.secrets._templates._budget import Budget
from fairlead.secrets._templates._errors import FunctionError, TemplateLimit
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._times import Duration, Month, Time, Weekday

# Any of the types above. Functions check what they get, as their signatures say.
Value = Any


class Int64(int):
    """A Go int64."""


class Uint8(int):
    """A Go uint8: a byte of a string."""


class Uint64(int):
    """A Go uint64."""


class Strings(list[Value]):
    """A Go []string."""


class NoStrings(Strings):
    """A nil []string: it has no elements, and is null in JSON."""


class NoList(list[Value]):
    """A nil []interface {}: it has no elements, and is null in JSON."""


class Ints(list[Value]):
    """A Go []int."""


class Lists(list[Value]):
    """A Go [][]interface {}."""


class StringMap(dict[bytes, Value]):
    """A Go map[string]string: the root of every template, and what `split` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate with its key, both as PEM."""

    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificate(...)"


class Kind(StrEnum):
    """The kinds of Go that templates can meet."""

    INVALID = "invalid"
    BOOL = "bool"
    INT = "int"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT64 = "uint64"
    FLOAT = "float64"
    COMPLEX = "complex128"
    STRING = "string"
    SLICE = "slice"
    MAP = "map"
    STRUCT = "struct"
    POINTER = "ptr"


_TYPES: Final[Mapping[type, tuple[str, Kind]]] = {
    type(None): ("<nil>", Kind.INVALID),
    bool: ("bool", Kind.BOOL),
    int: ("int", Kind.INT),
    Int64: ("int64", Kind.INT64),
    Uint8: ("uint8", Kind.UINT8),
    Uint64: ("uint64", Kind.UINT64),
    float: ("float64", Kind.FLOAT),
    complex: ("complex128", Kind.COMPLEX),
    bytes: ("string", Kind.STRING),
    list: ("[]interface {}", Kind.SLICE),
    Strings: ("[]string", Kind.SLICE),
    NoStrings: ("[]string", Kind.SLICE),
    NoList: ("[]interface {}", Kind.SLICE),
    Ints: ("[]int", Kind.SLICE),
    Lists: ("[][]interface {}", Kind.SLICE),
    dict: ("map[string]interface {}", Kind.MAP),
    StringMap: ("map[string]string", Kind.MAP),
    Time: ("time.Time", Kind.STRUCT),
    Month: ("time.Month", Kind.INT),
    Weekday: ("time.Weekday", Kind.INT),
    Duration: ("time.Duration", Kind.INT64),
    Version: ("*semver.Version", Kind.POINTER),
    Certificate: ("sprig.certificate", Kind.STRUCT),
}
SIGNED: Final = frozenset({Kind.INT, Kind.INT64})
UNSIGNED: Final = frozenset({Kind.UINT8, Kind.UINT64})


def type_name(value: Value) -> str:
    """Return the name of the Go type, as `%T` prints it."""
    return _TYPES[type(value)][0]


def kind(value: Value) -> Kind:
    return _TYPES[type(value)][1]


def empty(value: Value) -> bool:
    """Return whether the value is the zero value of its type, or has no elements; structs never are."""
    match kind(value):
        case Kind.INVALID:
            return True
        case Kind.STRUCT | Kind.POINTER:
            return False
        case _:
            return not value


def truth(value: Value) -> bool:
    return not empty(value)


def equal(one: Value, other: Value, budget: Budget, depth: int = 0) -> bool:
    """Return whether two values are deeply equal, types included.

    Raises:
        TemplateLimit: they nest too deeply, or hold too much.
    """
    if type(one) is not type(other):
        return False
    if not isinstance(one, list | dict):
        return bool(one == other)
    if depth > budget.limits.depth:
        raise TemplateLimit(f"a value nests more than {budget.limits.depth} deep")
    budget.step(1 + len(one) // 4)
    if isinstance(one, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(equal(left, right, budget, depth + 1) for left, right in pairs)
    return one.keys() == other.keys() and all(equal(value, other[key], budget, depth + 1) for key, value in one.items())


def elements(value: Value, what: str) -> list[Any]:
    """Return the elements of a list.

    Raises:
        FunctionError: it is none.
    """
    if isinstance(value, list):
        return value
    if value is None:
        raise FunctionError("runtime error: invalid memory address or nil pointer dereference")
    raise FunctionError(f"{what} {kind(value)}")
