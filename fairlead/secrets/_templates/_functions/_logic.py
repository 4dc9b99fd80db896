"""Choices, and what type a value has.

Source: `Masterminds/sprig` v3.
"""

from __future__ import annotations

from typing import Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import valid
from fairlead.secrets._templates._values import Value, empty, equal, kind, type_name

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING = Type.ANY, Type.STRING


@_add("default", takes=(_ANY,), rest=_ANY)
def _default(_: Context, otherwise: Value, *given: Value) -> Value:
    return given[0] if given and not empty(given[0]) else otherwise


@_add("empty", takes=(_ANY,))
def _empty(_: Context, value: Value) -> bool:
    return empty(value)


@_add("coalesce", rest=_ANY)
def _coalesce(_: Context, *values: Value) -> Value:
    return next((value for value in values if not empty(value)), None)


@_add("all", rest=_ANY)
def _all(_: Context, *values: Value) -> bool:
    return not any(map(empty, values))


@_add("any", rest=_ANY)
def _any(_: Context, *values: Value) -> bool:
    return not all(map(empty, values))


@_add("ternary", takes=(_ANY, _ANY, Type.BOOL))
def _ternary(_: Context, yes: Value, no: Value, condition: bool) -> Value:
    return yes if condition else no


@_add("fail", takes=(_STRING,))
def _fail(_: Context, message: bytes) -> bytes:
    # The message may hold data. The evaluator repeats it only where it is a literal.
    raise FunctionError(f"the template gives up with a message of {len(message)} bytes")


@_add("typeOf", takes=(_ANY,))
def _type_of(_: Context, value: Value) -> bytes:
    return type_name(value).encode()


@_add("typeIs", takes=(_STRING, _ANY))
def _type_is(_: Context, name: bytes, value: Value) -> bool:
    return valid(name) == type_name(value)


@_add("typeIsLike", takes=(_STRING, _ANY))
def _type_is_like(_: Context, name: bytes, value: Value) -> bool:
    return type_name(value) in (valid(name), "*" + valid(name))


@_add("kindOf", takes=(_ANY,))
def _kind_of(_: Context, value: Value) -> bytes:
    return kind(value).encode()


@_add("kindIs", takes=(_STRING, _ANY))
def _kind_is(_: Context, name: bytes, value: Value) -> bool:
    return valid(name) == kind(value)


@_add("deepEqual", takes=(_ANY, _ANY))
def _deep_equal(c: Context, one: Value, other: Value) -> bool:
    return equal(one, other, c.budget)
