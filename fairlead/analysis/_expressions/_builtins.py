"""The builtins without a closure.

Source: `expr-lang/expr: builtin/builtin.go`, `builtin/lib.go`. None of them touches files, network or environment;
`timezone` knows the names of the time zone database and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cmp_to_key
from typing import Any, Final

from fairlead.analysis._expressions import _json as go_json
from fairlead.analysis._expressions import _operators as ops
from fairlead.analysis._expressions import _times as times
from fairlead.analysis._expressions._closures import order
from fairlead.analysis._expressions._errors import ExpressionError, runtime_error
from fairlead.analysis._expressions._numbers import parse_float, parse_int
from fairlead.analysis._expressions._values import (
    Budget,
    Record,
    TypedList,
    TypedMap,
    check_depth,
    format_value,
    go_type,
    is_number,
    plain_key,
    truncate,
    wrap64,
)

_REPEAT_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """What functions may use besides their arguments."""

    budget: Budget
    now: datetime | None


Builtin = Callable[..., Any]


def _list(value: Any, verb: str) -> list[Any]:
    if not isinstance(value, list):
        raise runtime_error(f"cannot {verb} {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    """Return what Go's reflect calls the kind of a value."""
    match value:
        case None:
            return "invalid"
        case list():
            return "slice"
        case dict():
            return "map"
        case Record():
            return "struct"
        case _:
            return go_type(value)


# --- numbers


def _len(call: Call, value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise runtime_error(f"invalid argument for len (type {go_type(value)})")
    return len(value)


def _abs(call: Call, value: Any) -> Any:
    if not is_number(value):
        raise runtime_error(f"invalid argument for abs (type {go_type(value)})")
    return ops.negate(value) if value < 0 else value


def _rounding(name: str, function: Callable[[float], float]) -> Builtin:
    def rounded(call: Call, value: Any) -> float:
        if not is_number(value):
            raise runtime_error(f"invalid argument for {name} (type {go_type(value)})")
        number = float(value)
        return function(number) if math.isfinite(number) else number

    return rounded


def _round(value: float) -> float:
    """Round half away from zero."""
    whole = math.trunc(value)
    return float(whole + math.copysign(1, value)) if abs(value - whole) >= 0.5 else float(whole)


def _int(call: Call, value: Any) -> int:
    if isinstance(value, str):
        try:
            return parse_int(value)
        except ValueError:
            raise runtime_error(f"invalid operation: int({value})") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise runtime_error(f"invalid operation: int({go_type(value)})")
    return truncate(value) if isinstance(value, float) else wrap64(int(value))


def _float(call: Call, value: Any) -> float:
    if isinstance(value, str):
        try:
            return parse_float(value)
        except ValueError:
            raise runtime_error(f"invalid operation: float({value})") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise runtime_error(f"invalid operation: float({go_type(value)})")
    return float(value)


def _extreme(name: str, operator: str) -> Builtin:
    """Return max or min: the first argument stays unless a later one beats it, so NaN in front wins."""

    def pick(call: Call, values: list[Any], depth: int) -> Any:
        check_depth(depth)
        best: Any = None
        for value in values:
            call.budget.spend()
            candidate = pick(call, value, depth + 1) if isinstance(value, list) else value
            if candidate is None and isinstance(value, list):
                continue
            if not is_number(candidate):
                raise runtime_error(f"invalid argument for {name} (type {go_type(candidate)})")
            if best is None or ops.compare(operator, best, candidate, call.budget):
                best = candidate
        return best

    def extreme(call: Call, *values: Any) -> Any:
        if len(values) == 1 and not is_number(values[0]) and not isinstance(values[0], list):
            return values[0]
        return pick(call, list(values), 0)

    return extreme


def _numbers(call: Call, name: str, values: Any, depth: int = 0) -> Iterator[float]:
    check_depth(depth)
    for value in values:
        call.budget.spend()
        if isinstance(value, list):
            yield from _numbers(call, name, value, depth + 1)
        elif is_number(value):
            yield float(value)
        else:
            raise runtime_error(f"invalid argument for {name} (type {go_type(value)})")


def _mean(call: Call, *values: Any) -> float:
    numbers = list(_numbers(call, "mean", values))
    return sum(numbers) / len(numbers) if numbers else 0.0


def _median(call: Call, *values: Any) -> float:
    # Go sorts NaN to the front.
    numbers = sorted(_numbers(call, "median", values), key=lambda number: (not math.isnan(number), number))
    if not numbers:
        return 0.0
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2


def _bits(name: str, function: Callable[[int, int], int]) -> Builtin:
    def combined(call: Call, left: Any, right: Any) -> int:
        for value in (left, right):
            if not is_number(value) or isinstance(value, float):
                raise runtime_error(f"cannot use {go_type(value)} as argument (type int) to call {name}")
        if "sh" in name and right < 0:
            raise runtime_error(f"invalid operation: negative shift count {int(right)} (type int)")
        return wrap64(function(int(left), int(right)))

    return combined


def _bitnot(call: Call, value: Any) -> int:
    if not is_number(value) or isinstance(value, float):
        raise runtime_error(f"cannot use {go_type(value)} as argument (type int) to call bitnot")
    return ~int(value)


# --- texts


def _type(call: Call, value: Any) -> str:
    match value:
        case None:
            return "nil"
        case list():
            return "array"
        case dict():
            return "map"
        case bool() | str():
            return go_type(value)
        case float():
            return "float"
        case _:
            name = go_type(value)
            return "uint" if name.startswith("uint") else "int" if name in ("int", "int64") else name.partition("(")[0]


def _string(call: Call, value: Any) -> str:
    return call.budget.text(format_value(value, call.budget))


def _trim(call: Call, text: Any, cut: Any = None) -> str:
    whole = ops.as_text(text)
    call.budget.spend(len(whole) * (1 + len(ops.as_text(cut or ""))) // 256)
    return whole.strip() if cut is None else whole.strip(ops.as_text(cut)) if cut else whole


def _trim_prefix(call: Call, text: Any, prefix: Any = " ") -> str:
    return call.budget.text(ops.as_text(text).removeprefix(ops.as_text(prefix)))


def _trim_suffix(call: Call, text: Any, suffix: Any = " ") -> str:
    return call.budget.text(ops.as_text(text).removesuffix(ops.as_text(suffix)))


def _upper(call: Call, text: Any) -> str:
    return call.budget.text("".join(_one(character, character.upper()) for character in ops.as_text(text)))


def _lower(call: Call, text: Any) -> str:
    return call.budget.text("".join(_one(character, character.lower()) for character in ops.as_text(text)))


def _one(character: str, changed: str) -> str:
    """Return the changed character if it is still one: Go leaves ß as it is."""
    return changed if len(changed) == 1 else character


def _parts(call: Call, text: Any, by: Any, limit: Any, keep: str) -> list[Any]:
    text, by = ops.as_text(text), ops.as_text(by)
    most = -1 if limit is None else ops.to_int(limit)
    call.budget.spend(len(text) // 16)
    if most == 0:
        return TypedList("[]string")
    if by:
        parts = text.split(by) if most < 0 else text.split(by, most - 1)
    else:
        parts = list(text) if most < 0 or most >= len(text) else [*text[: most - 1], text[most - 1 :]]
    call.budget.spend(len(parts))
    return TypedList("[]string", [*(part + keep * (1 if by else 0) for part in parts[:-1]), *parts[-1:]])


def _split(call: Call, text: Any, by: Any, limit: Any = None) -> list[Any]:
    return _parts(call, text, by, limit, "")


def _split_after(call: Call, text: Any, by: Any, limit: Any = None) -> list[Any]:
    return _parts(call, text, by, limit, ops.as_text(by))


def _replace(call: Call, text: Any, old: Any, new: Any, limit: Any = None) -> str:
    whole, before, after = ops.as_text(text), ops.as_text(old), ops.as_text(new)
    most = -1 if limit is None else ops.to_int(limit)
    found = whole.count(before) if before else len(whole) + 1
    count = found if most < 0 else min(found, most)
    call.budget.spend((len(whole) + count * len(after)) // 16)
    return whole.replace(before, after, count)


def _repeat(call: Call, text: Any, times_: Any) -> str:
    part, count = ops.as_text(text), ops.to_int(times_)
    if count < 0:
        raise runtime_error(f"invalid argument for repeat (expected positive integer, got {count})")
    if count > _REPEAT_MAX:
        raise runtime_error("memory budget exceeded")
    call.budget.spend(len(part) * count // 16)
    return part * count


def _join(call: Call, parts: Any, glue: Any = "") -> str:
    if not isinstance(parts, list):
        raise runtime_error(f"invalid argument for join (type {go_type(parts)})")
    between = ops.as_text(glue)
    call.budget.spend(len(parts) + len(between) * len(parts) // 16)
    texts = [ops.as_text(part) for part in parts]
    call.budget.spend(sum(map(len, texts)) // 16)
    return between.join(texts)


def _byte_index(text: str, index: int) -> int:
    return index if index < 0 else len(text[:index].encode("utf-8", "surrogatepass"))


def _index_of(call: Call, text: Any, part: Any) -> int:
    whole = ops.as_text(text)
    call.budget.spend(len(whole) // 64)
    return _byte_index(whole, whole.find(ops.as_text(part)))


def _last_index_of(call: Call, text: Any, part: Any) -> int:
    whole, wanted = ops.as_text(text), ops.as_text(part)
    # Searching backwards has no linear algorithm in Python.
    call.budget.spend(len(whole) * (1 + len(wanted)) // 256)
    return _byte_index(whole, whole.rfind(wanted))


def _has_prefix(call: Call, text: Any, prefix: Any) -> bool:
    return ops.as_text(text).startswith(ops.as_text(prefix))


def _has_suffix(call: Call, text: Any, suffix: Any) -> bool:
    return ops.as_text(text).endswith(ops.as_text(suffix))


def _to_json(call: Call, value: Any) -> str:
    return call.budget.text(go_json.dump(value, call.budget))


def _from_json(call: Call, text: Any) -> Any:
    text = ops.as_text(text)
    call.budget.spend(len(text) // 8)
    return go_json.load(text)


def _to_base64(call: Call, text: Any) -> str:
    return call.budget.text(base64.b64encode(ops.as_text(text).encode("utf-8", "surrogatepass")).decode())


def _from_base64(call: Call, text: Any) -> str:
    text = ops.as_text(text)
    call.budget.spend(len(text) // 16)
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        at = next((index for index, one in enumerate(text) if one not in alphabet), len(text))
        raise runtime_error(f"illegal base64 data at input byte {at}") from None


# --- lists and maps


def _first(call: Call, items: Any) -> Any:
    return _end(call, items, 0)


def _last(call: Call, items: Any) -> Any:
    return _end(call, items, -1)


def _end(call: Call, items: Any, index: int) -> Any:
    try:
        return ops.fetch(items, index, call.budget)
    except ExpressionError:  # nil for whatever has no first element
        call.budget.spend()
        return None


def _get(call: Call, base: Any, key: Any) -> Any:
    if isinstance(base, str | list):
        ops.to_int(key)
    return _end(call, base, key)


def _take(call: Call, items: Any, count: Any) -> Any:
    items = _list(items, "take from")
    if not is_number(count) or isinstance(count, float):
        raise runtime_error(f"cannot take {_kind(count)} elements")
    if count < 0:
        raise runtime_error("reflect.Value.Slice: slice index out of bounds")
    return ops.slice_of(items, 0, int(count), call.budget)


def _map(value: Any, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise runtime_error(f"cannot {what.replace('%s', _kind(value))}")
    return value


def _keys(call: Call, value: Any) -> list[Any]:
    mapping = _map(value, "get keys from %s")
    call.budget.spend(len(mapping))
    return [plain_key(key) for key in mapping]


def _values(call: Call, value: Any) -> list[Any]:
    mapping = _map(value, "get values from %s")
    call.budget.spend(len(mapping))
    return list(mapping.values())


def _to_pairs(call: Call, value: Any) -> list[Any]:
    mapping = _map(value, "transform %s to pairs")
    call.budget.spend(2 * len(mapping))
    return TypedList("[][2]interface {}", ([plain_key(key), item] for key, item in mapping.items()))


def _from_pairs(call: Call, pairs: Any) -> Any:
    result = TypedMap("map[interface {}]interface {}")
    for pair in _list(pairs, "transform from pairs"):
        call.budget.spend()
        if not isinstance(pair, list):
            raise runtime_error(f"invalid pair {format_value(pair, call.budget)}")
        if len(pair) != 2:
            raise runtime_error(f"invalid pair length {format_value(pair, call.budget)}")
        if isinstance(pair[0], list | dict | Record):
            raise runtime_error(f"cannot use {go_type(pair[0])} as map key")
        result[ops.map_key(pair[0])] = pair[1]
    return result


def _reverse(call: Call, items: Any) -> list[Any]:
    items = _list(items, "reverse")
    call.budget.spend(len(items))
    return list(reversed(items))


def _uniq(call: Call, items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _list(items, "uniq"):
        if not any(ops.equal(item, other, call.budget) for other in found):
            found.append(item)
    return found


def _concat(call: Call, *lists: Any) -> list[Any]:
    joined: list[Any] = []
    for items in lists:
        call.budget.spend(len(_list(items, "concat")))
        joined.extend(items)
    return joined


def _flatten(call: Call, items: Any, depth: int = 0) -> list[Any]:
    check_depth(depth)
    flat: list[Any] = []
    for item in _list(items, "flatten"):
        call.budget.spend()
        if isinstance(item, list):
            flat.extend(_flatten(call, item, depth + 1))
        else:
            flat.append(item)
    return flat


def _sort(call: Call, items: Any, direction: Any = "asc") -> list[Any]:
    if not isinstance(direction, str):
        raise runtime_error(f"sort order argument must be a string (got {go_type(direction)})")
    if direction not in ("asc", "desc"):
        raise runtime_error(f"invalid order {direction}, expected asc or desc")
    if not isinstance(items, list):
        return []
    return sorted(items, key=cmp_to_key(lambda a, b: order(a, b, call.budget)), reverse=direction == "desc")


# --- times


def _now(call: Call, zone: Any = None) -> datetime:
    if call.now is None:
        raise runtime_error("now() is not available here")
    return times.in_zone(call.now, zone)


def _duration(call: Call, text: Any) -> Any:
    return times.duration(ops.as_text(text))


def _date(call: Call, *arguments: Any) -> datetime:
    return times.date(*arguments)


def _timezone(call: Call, name: Any) -> Any:
    return times.zone(ops.as_text(name))


BUILTIN_FUNCTIONS: Final[dict[str, Builtin]] = {
    "len": _len,
    "type": _type,
    "abs": _abs,
    "ceil": _rounding("ceil", lambda value: float(math.ceil(value))),
    "floor": _rounding("floor", lambda value: float(math.floor(value))),
    "round": _rounding("round", _round),
    "int": _int,
    "float": _float,
    "string": _string,
    "trim": _trim,
    "trimPrefix": _trim_prefix,
    "trimSuffix": _trim_suffix,
    "upper": _upper,
    "lower": _lower,
    "split": _split,
    "splitAfter": _split_after,
    "replace": _replace,
    "repeat": _repeat,
    "join": _join,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "hasPrefix": _has_prefix,
    "hasSuffix": _has_suffix,
    "max": _extreme("max", "<"),
    "min": _extreme("min", ">"),
    "mean": _mean,
    "median": _median,
    "toJSON": _to_json,
    "fromJSON": _from_json,
    "toBase64": _to_base64,
    "fromBase64": _from_base64,
    "now": _now,
    "duration": _duration,
    "date": _date,
    "timezone": _timezone,
    "first": _first,
    "last": _last,
    "get": _get,
    "take": _take,
    "keys": _keys,
    "values": _values,
    "toPairs": _to_pairs,
    "fromPairs": _from_pairs,
    "reverse": _reverse,
    "uniq": _uniq,
    "concat": _concat,
    "flatten": _flatten,
    "sort": _sort,
    "bitand": _bits("bitand", lambda left, right: left & right),
    "bitor": _bits("bitor", lambda left, right: left | right),
    "bitxor": _bits("bitxor", lambda left, right: left ^ right),
    "bitnand": _bits("bitnand", lambda left, right: left & ~right),
    "bitshl": _bits("bitshl", lambda left, right: left << right if right < 64 else 0),
    "bitshr": _bits("bitshr", lambda left, right: left >> min(right, 64)),
    "bitushr": _bits("bitushr", lambda left, right: left % 2**64 >> min(right, 64)),
    "bitnot": _bitnot,
}
