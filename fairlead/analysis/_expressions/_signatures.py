"""What functions take and give back, checked before an expression runs.

Source: `expr-lang/expr: builtin/builtin.go`, `argo-rollouts: utils/evaluate/evaluate.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.analysis._expressions._types import (
    ANY,
    ANY_MAP,
    BOOL,
    DURATION,
    FLOAT,
    FLOATS,
    INT,
    INT64,
    INTS,
    LIST,
    STRING,
    STRINGS,
    TIME,
    ZONE,
    K,
    Type,
)


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters in order, and the result."""

    takes: tuple[Type, ...]
    gives: Type

    @property
    def go(self) -> str:
        return f"func({', '.join(type_.go for type_ in self.takes)}) {self.gives.go}"


# Functions of the environment: they shadow nothing and cannot be redeclared.
ENVIRONMENT: Final[dict[str, Signature]] = {
    "asInt": Signature((ANY,), INT64),
    "asFloat": Signature((ANY,), FLOAT),
    "isNaN": Signature((FLOAT,), BOOL),
    "isInf": Signature((FLOAT,), BOOL),
    "isNil": Signature((ANY,), BOOL),
    "default": Signature((ANY, ANY), ANY),
}

_TEXT: Final = (Signature((STRING,), STRING),)
_BITS: Final = (Signature((INT, INT), INT),)
_FOUND: Final = (Signature((STRING, STRING), INT),)
_IS: Final = (Signature((STRING, STRING), BOOL),)

# Several signatures: the first that fits; when none does, the last one's complaint.
OVERLOADS: Final[dict[str, tuple[Signature, ...]]] = {
    "type": (Signature((ANY,), STRING),),
    "string": (Signature((ANY,), STRING),),
    "trim": (*_TEXT, Signature((STRING, STRING), STRING)),
    "trimPrefix": (Signature((STRING, STRING), STRING), *_TEXT),
    "trimSuffix": (Signature((STRING, STRING), STRING), *_TEXT),
    "upper": _TEXT,
    "lower": _TEXT,
    "split": (Signature((STRING, STRING), STRINGS), Signature((STRING, STRING, INT), STRINGS)),
    "splitAfter": (Signature((STRING, STRING), STRINGS), Signature((STRING, STRING, INT), STRINGS)),
    "replace": (Signature((STRING, STRING, STRING, INT), STRING), Signature((STRING, STRING, STRING), STRING)),
    "repeat": (Signature((STRING, INT), STRING),),
    "join": (
        Signature((STRINGS, STRING), STRING),
        Signature((LIST, STRING), STRING),
        Signature((LIST,), STRING),
        Signature((STRINGS,), STRING),
    ),
    "indexOf": _FOUND,
    "lastIndexOf": _FOUND,
    "hasPrefix": _IS,
    "hasSuffix": _IS,
    "toJSON": (Signature((ANY,), STRING),),
    "fromJSON": (Signature((STRING,), ANY),),
    "toBase64": _TEXT,
    "fromBase64": _TEXT,
    "duration": (Signature((STRING,), DURATION),),
    "timezone": (Signature((STRING,), ZONE),),
    "sort": (
        *(Signature((type_, STRING), LIST) for type_ in (LIST, INTS, FLOATS, STRINGS)),
        *(Signature((type_,), LIST) for type_ in (LIST, FLOATS, STRINGS, INTS)),
    ),
    "bitand": _BITS,
    "bitor": _BITS,
    "bitxor": _BITS,
    "bitnand": _BITS,
    "bitshl": _BITS,
    "bitshr": _BITS,
    "bitushr": _BITS,
    "bitnot": (Signature((INT,), INT),),
}

Types = Sequence[Type]
Validator = Callable[[str, Types], Type]


class Mismatch(Exception):
    """The arguments do not fit; the text says why."""


def _count(types: Types, expected: int) -> None:
    if len(types) != expected:
        raise Mismatch(f"invalid number of arguments (expected {expected}, got {len(types)})")


def _is(type_: Type, *kinds: K) -> bool:
    return type_.is_unknown or type_.kind in kinds


def _go(type_: Type) -> str:
    return "%!s(<nil>)" if type_.kind is K.NIL else type_.go


def _one_of(gives: Type | None, *kinds: K) -> Validator:
    """Return a check for one argument of these kinds; `gives` of None: the argument's own type."""

    def validate(name: str, types: Types) -> Type:
        _count(types, 1)
        if not _is(types[0], *kinds):
            raise Mismatch(f"invalid argument for {name} (type {_go(types[0])})")
        return types[0] if gives is None else gives

    return validate


def _verb(verb: str, gives: Type | None, *kinds: K) -> Validator:
    """As `_one_of`, with a complaint like `cannot reverse string`; `gives` of None: the element's type."""

    def validate(name: str, types: Types) -> Type:
        _count(types, 1)
        if not _is(types[0], *kinds):
            raise Mismatch("cannot " + verb.replace("%s", _go(types[0])))
        return gives if gives is not None else types[0].go_elements() if types[0].kind is K.LIST else ANY

    return validate


def _aggregate(name: str, types: Types) -> Type:
    if not types:
        raise Mismatch(f"not enough arguments to call {name}")
    for type_ in types:
        if _is(type_, K.LIST):
            return ANY
        if not type_.is_number:
            raise Mismatch(f"invalid argument for {name} (type {_go(type_)})")
    return types[0]


def _take(name: str, types: Types) -> Type:
    _count(types, 2)
    if not _is(types[0], K.LIST):
        raise Mismatch(f"cannot take from {_go(types[0])}")
    if not _is(types[1], K.INT):
        raise Mismatch(f"cannot take {_go(types[1])} elements")
    return LIST if types[0].go == LIST.go else types[0]


def _concat(name: str, types: Types) -> Type:
    if not types:
        raise Mismatch("invalid number of arguments (expected at least 1, got 0)")
    for type_ in types:
        if not _is(type_, K.LIST):
            raise Mismatch(f"cannot concat {_go(type_)}")
    return LIST


def _now(name: str, types: Types) -> Type:
    if types and not (len(types) == 1 and types[0].kind is K.ZONE):
        raise Mismatch(f"invalid number of arguments (expected 0, got {len(types)})")
    return TIME


def _date(name: str, types: Types) -> Type:
    if not types:
        raise Mismatch("invalid number of arguments (expected at least 1, got 0)")
    rest = types[1:] if types[0].kind is K.ZONE else types
    if len(rest) > 3 or not rest:
        raise Mismatch(f"invalid number of arguments (expected at most 3, got {len(rest)})")
    return TIME


VALIDATORS: Final[dict[str, Validator]] = {
    "len": _one_of(INT, K.LIST, K.MAP, K.STRING),
    "abs": _one_of(None, K.INT, K.FLOAT),
    **dict.fromkeys(("ceil", "floor", "round"), _one_of(FLOAT, K.INT, K.FLOAT)),
    "int": _one_of(INT, K.INT, K.FLOAT, K.STRING, K.DURATION),
    "float": _one_of(FLOAT, K.INT, K.FLOAT, K.STRING, K.DURATION),
    **dict.fromkeys(("max", "min", "mean", "median"), _aggregate),
    "now": _now,
    "date": _date,
    "first": _verb("get first element from %s", None, K.LIST),
    "last": _verb("get last element from %s", None, K.LIST),
    "take": _take,
    "keys": _verb("get keys from %s", LIST, K.MAP),
    "values": _verb("get values from %s", LIST, K.MAP),
    "toPairs": _verb("transform %s to pairs", LIST, K.MAP),
    "fromPairs": _verb("transform %s from pairs", ANY_MAP, K.LIST),
    "reverse": _verb("reverse %s", LIST, K.LIST),
    "uniq": _verb("uniq %s", LIST, K.LIST),
    "flatten": _verb("flatten %s", LIST, K.LIST),
    "concat": _concat,
}
