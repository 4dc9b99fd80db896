"""Functions on lists; whatever they return is a new list.

Source: `Masterminds/sprig` v3.
"""

from __future__ import annotations

from typing import Any, Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._arithmetic import to_int64
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._values import Lists, NoList, Value, elements, empty, equal

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _INT = Type.ANY, Type.INT


def _of(c: Context, value: Value, what: str) -> list[Any]:
    found = elements(value, what)
    c.budget.step(len(found) // 16)
    return found


@_add("list", "tuple", rest=_ANY)
def _list(_: Context, *values: Value) -> list[Value]:
    return list(values)


@_add("append", "push", "mustAppend", "mustPush", takes=(_ANY, _ANY))
def _append(c: Context, values: Value, value: Value) -> list[Value]:
    return [*_of(c, values, "Cannot push on type"), value]


@_add("prepend", "mustPrepend", takes=(_ANY, _ANY))
def _prepend(c: Context, values: Value, value: Value) -> list[Value]:
    return [value, *_of(c, values, "Cannot prepend on type")]


@_add("first", "mustFirst", takes=(_ANY,))
def _first(c: Context, values: Value) -> Value:
    found = _of(c, values, "Cannot find first on type")
    return found[0] if found else None


@_add("last", "mustLast", takes=(_ANY,))
def _last(c: Context, values: Value) -> Value:
    found = _of(c, values, "Cannot find last on type")
    return found[-1] if found else None


@_add("rest", "mustRest", takes=(_ANY,))
def _rest(c: Context, values: Value) -> list[Value]:
    found = _of(c, values, "Cannot find rest on type")
    return list(found[1:]) if found else NoList()


@_add("initial", "mustInitial", takes=(_ANY,))
def _initial(c: Context, values: Value) -> list[Value]:
    found = _of(c, values, "Cannot find initial on type")
    return list(found[:-1]) if found else NoList()


@_add("reverse", "mustReverse", takes=(_ANY,))
def _reverse(c: Context, values: Value) -> list[Value]:
    return list(reversed(_of(c, values, "Cannot find reverse on type")))


@_add("compact", "mustCompact", takes=(_ANY,))
def _compact(c: Context, values: Value) -> list[Value]:
    return [value for value in _of(c, values, "Cannot compact on type") if not empty(value)]


def contains(c: Context, values: list[Any], wanted: Value) -> bool:
    """Return whether a list holds an equal value of the same type."""
    c.budget.step(len(values) // 16)
    return any(equal(wanted, value, c.budget) for value in values)


@_add("uniq", "mustUniq", takes=(_ANY,))
def _uniq(c: Context, values: Value) -> list[Value]:
    kept: list[Value] = []
    for value in _of(c, values, "Cannot find uniq on type"):
        if not contains(c, kept, value):
            kept.append(value)
    return kept


@_add("without", "mustWithout", takes=(_ANY,), rest=_ANY)
def _without(c: Context, values: Value, *unwanted: Value) -> list[Value]:
    found = _of(c, values, "Cannot find without on type")
    return [value for value in found if not contains(c, list(unwanted), value)]


@_add("has", "mustHas", takes=(_ANY, _ANY))
def _has(c: Context, wanted: Value, values: Value) -> bool:
    return values is not None and contains(c, _of(c, values, "Cannot find has on type"), wanted)


@_add("slice", "mustSlice", takes=(_ANY,), rest=_ANY)
def _slice(c: Context, values: Value, *bounds: Value) -> Value:
    found = _of(c, values, "list should be type of slice or array but")
    if not found:
        return None
    low = to_int64(bounds[0]) if bounds else 0
    high = to_int64(bounds[1]) if len(bounds) > 1 else len(found)
    if not 0 <= low <= high <= len(found):
        raise FunctionError("reflect.Value.Slice: slice index out of bounds")
    return type(found)(found[low:high])


@_add("chunk", "mustChunk", takes=(_INT, _ANY))
def _chunk(c: Context, size: int, values: Value) -> Lists:
    found = _of(c, values, "Cannot chunk type")
    if size > 0:
        return Lists(list(found[at : at + size]) for at in range(0, len(found), size))
    # What upstream's arithmetic makes of a negative size.
    count = (len(found) - 1) // size + 1 if size else -1
    if count < 0 or not found:
        raise FunctionError("runtime error: makeslice: len out of range")
    return Lists([list(found)] if count else [])


@_add("concat", rest=_ANY)
def _concat(c: Context, *lists: Value) -> list[Value]:
    joined: list[Value] = []
    for values in lists:
        joined += _of(c, values, "Cannot concat type")
    return joined or NoList()
