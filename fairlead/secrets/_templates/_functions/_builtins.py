"""The functions of Go's own template language: comparison, lengths, printing, escaping.

Source: Go's `text/template`.
"""

from __future__ import annotations

from typing import Any, Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._formatting import sprint, sprintf, sprintln
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import runes, seen
from fairlead.secrets._templates._values import (
    SIGNED,
    UNSIGNED,
    Kind,
    StringMap,
    Uint8,
    Value,
    kind,
    truth,
    type_name,
)

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY = Type.ANY
_HTML: Final = {0: b"\xef\xbf\xbd", 34: b"&#34;", 38: b"&amp;", 39: b"&#39;", 60: b"&lt;", 62: b"&gt;"}
_SAFE_IN_URL: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
_JS: Final = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


@_add("and", takes=(_ANY,), rest=_ANY)
@_add("or", takes=(_ANY,), rest=_ANY)
def _unreachable(_: Context, *values: Value) -> Value:
    raise AssertionError(f"the evaluator calls these itself, with {len(values)} arguments")


@_add("not", takes=(_ANY,))
def _not(_: Context, value: Value) -> bool:
    return not truth(value)


@_add("len", takes=(_ANY,))
def _len(_: Context, value: Value) -> int:
    if value is None:
        raise FunctionError("len of nil pointer")
    if not isinstance(value, bytes | list | dict):
        raise FunctionError(f"len of type {type_name(value)}")
    return len(value)


@_add("index", takes=(_ANY,), rest=_ANY)
def _index(_: Context, value: Value, *indices: Value) -> Value:
    if value is None:
        raise FunctionError("index of untyped nil")
    for index in indices:
        if isinstance(value, dict):
            if not isinstance(index, bytes):
                raise FunctionError(f"value has type {type_name(index)}; should be string")
            missing: Any = b"" if isinstance(value, StringMap) else None
            value = value.get(index, missing)
        elif isinstance(value, bytes | list):
            at = _position(index, len(value))
            value = Uint8(value[at]) if isinstance(value, bytes) else value[at]
        elif value is None:
            raise FunctionError("index of nil pointer")
        else:
            raise FunctionError(f"can't index item of type {type_name(value)}")
    return value


def _position(index: Value, length: int) -> int:
    if index is None:
        raise FunctionError("cannot index slice/array with nil")
    if kind(index) not in SIGNED | UNSIGNED:
        raise FunctionError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index < length:
        raise FunctionError(f"index out of range: {index}")
    return int(index)


@_add("call", takes=(_ANY,), rest=_ANY)
def _call(_: Context, value: Value, *arguments: Value) -> Value:
    if value is None:
        raise FunctionError("call of nil")
    raise FunctionError(f"non-function of type {type_name(value)} with {len(arguments)} arguments")


@_add("print", rest=_ANY)
def _print(c: Context, *values: Value) -> bytes:
    return sprint(values, c.budget)


@_add("println", rest=_ANY)
def _println(c: Context, *values: Value) -> bytes:
    return sprintln(values, c.budget)


@_add("printf", takes=(Type.STRING,), rest=_ANY)
def _printf(c: Context, form: bytes, *values: Value) -> bytes:
    return sprintf(form, values, c.budget)


def _joined(c: Context, values: tuple[Value, ...]) -> bytes:
    """Return the text of the arguments of an escaping function."""
    if len(values) == 1 and isinstance(values[0], bytes):
        return values[0]
    return sprint([b"<no value>" if value is None else value for value in values], c.budget)


@_add("html", rest=_ANY)
def _html(c: Context, *values: Value) -> bytes:
    text = _joined(c, values)
    c.budget.allocate(len(text))
    return b"".join(_HTML.get(byte) or bytes([byte]) for byte in text)


@_add("js", rest=_ANY)
def _js(c: Context, *values: Value) -> bytes:
    text = _joined(c, values)
    c.budget.allocate(6 * len(text))
    parts: list[str] = []
    for one in runes(text):
        if one in _JS:
            parts.append(_JS[one])
        elif one < " ":
            parts.append(f"\\u{ord(one):04X}")
        elif one < "\x7f" or (seen(one).isprintable()):
            parts.append(one)
        else:
            parts.append(f"\\u{ord(seen(one)):04X}")
    return "".join(parts).encode("utf-8", "surrogateescape")


@_add("urlquery", rest=_ANY)
def _urlquery(c: Context, *values: Value) -> bytes:
    text = _joined(c, values)
    c.budget.allocate(3 * len(text))
    return query_escaped(text)


def query_escaped(text: bytes) -> bytes:
    """Return the text as a part of a URL's query: a space is a plus."""
    return b"".join(
        bytes([byte]) if byte in _SAFE_IN_URL else b"+" if byte == 32 else b"%%%02X" % byte for byte in text
    )


# comparison

_BASIC: Final = {
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.INT64: "int",
    Kind.UINT8: "uint",
    Kind.UINT64: "uint",
    Kind.FLOAT: "float",
    Kind.COMPLEX: "complex",
    Kind.STRING: "string",
}


def _incompatible(one: Value, other: Value) -> FunctionError:
    return FunctionError(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")


def _equal(one: Value, other: Value) -> bool:
    mine, its = _BASIC.get(kind(one)), _BASIC.get(kind(other))
    if mine != its:
        if {mine, its} == {"int", "uint"}:
            return int(one) == int(other)
        if one is not None and other is not None:
            raise _incompatible(one, other)
        return False
    if mine is not None:
        return bool(one == other)
    if one is None or other is None:
        return one is None and other is None
    if isinstance(one, list | dict) or type(one) is not type(other):
        raise FunctionError(f"non-comparable type {type_name(one)}: {type_name(other)}")
    return bool(one == other)


@_add("eq", takes=(_ANY,), rest=_ANY)
def _eq(_: Context, one: Value, *others: Value) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    return any(_equal(one, other) for other in others)


@_add("ne", takes=(_ANY, _ANY))
def _ne(_: Context, one: Value, other: Value) -> bool:
    return not _equal(one, other)


def _less(one: Value, other: Value) -> bool:
    mine, its = _BASIC.get(kind(one)), _BASIC.get(kind(other))
    if mine is None or its is None:
        raise FunctionError("invalid type for comparison")
    if mine != its and {mine, its} != {"int", "uint"}:
        raise _incompatible(one, other)
    if mine in ("bool", "complex"):
        raise FunctionError("invalid type for comparison")
    return bool(one < other)


@_add("lt", takes=(_ANY, _ANY))
def _lt(_: Context, one: Value, other: Value) -> bool:
    return _less(one, other)


@_add("le", takes=(_ANY, _ANY))
def _le(_: Context, one: Value, other: Value) -> bool:
    return _less(one, other) or _equal(one, other)


@_add("gt", takes=(_ANY, _ANY))
def _gt(_: Context, one: Value, other: Value) -> bool:
    return not (_less(one, other) or _equal(one, other))


@_add("ge", takes=(_ANY, _ANY))
def _ge(_: Context, one: Value, other: Value) -> bool:
    return not _less(one, other)
