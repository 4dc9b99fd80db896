"""Values and paths of jq: order, arithmetic, reading and deleting along a path. Nothing here changes an argument."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Spend = Callable[[int], None]  # takes steps from the work that is left
Path = tuple[Any, ...]  # names, numbers, and slices as `Span`
_KINDS = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_PLACE_MAX = 100_000
_TEXT_MAX = 11  # characters of a value in a message, as jq shows it


class JqFailure(Exception):
    """An expression failed on this value: `try` catches it."""

    def __init__(self, value: Any) -> None:
        super().__init__(value if isinstance(value, str) else to_json(value))
        self.value = value


class Span(tuple[Any, Any]):
    """The part of a path that is a slice: from, to."""

    __slots__ = ()


def kind(found: Any) -> str:
    """Return the name of a value's type."""
    return "null" if found is None else _KINDS[type(found)]


def size(found: Any) -> int:
    """Return how much work it is to go through a value: its parts, and its characters by the dozen."""
    total, waiting = 0, [found]
    while waiting:
        one = waiting.pop()
        total += 1
        if isinstance(one, str):
            total += len(one) // 16
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
    return total


def shown(found: Any) -> str:
    """Return a value as messages name it: its type, and its text if short."""
    text = ""
    for part in _ENCODER.iterencode(_whole(found) if isinstance(found, float) else found):
        text += part
        if len(text) > _TEXT_MAX:
            break
    text = text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}..."
    return f"{kind(found)} ({text})"


def to_json(found: Any) -> str:
    """Return the value as compact JSON; whole numbers without a point."""
    return json.dumps(_whole(found), separators=(",", ":"), ensure_ascii=False)


def _whole(found: Any) -> Any:
    if isinstance(found, float):
        if math.isnan(found):
            return None
        return int(found) if found.is_integer() and abs(found) < 1e17 else found
    if isinstance(found, list):
        return [_whole(one) for one in found]
    if isinstance(found, dict):
        return {key: _whole(one) for key, one in found.items()}
    return found


def truth(found: Any) -> bool:
    return found is not None and found is not False


def rank(found: Any) -> tuple[Any, ...]:
    """Return a key that orders values as jq does: null, false, true, numbers, texts, arrays, objects."""
    match found:
        case None:
            return (0,)
        case bool():
            return (1, found)
        case int() | float():
            return (2, found)
        case str():
            return (3, found)
        case list():
            return (4, [rank(one) for one in found])
        case _:
            names = sorted(found)
            return (5, names, [rank(found[name]) for name in names])


def equal(one: Any, other: Any) -> bool:
    return rank(one) == rank(other)


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """Return `left operator right`.

    Raises:
        JqFailure: these types do not go together.
    """
    numbers = kind(left) == "number" and kind(right) == "number"
    match operator:
        case "+" if left is None or right is None:
            return right if left is None else left
        case "+" if numbers or (kind(left) == kind(right) and kind(left) in ("string", "array")):
            return left + right
        case "+" if isinstance(left, dict) and isinstance(right, dict):
            return left | right
        case "-" if numbers:
            return left - right
        case "-" if isinstance(left, list) and isinstance(right, list):
            gone = [rank(one) for one in right]
            return [one for one in left if rank(one) not in gone]
        case "*" if numbers:
            return _bounded(float(left) * right if isinstance(left, float) else left * right)
        case "*" if isinstance(left, dict) and isinstance(right, dict):
            return _deep(left, right)
        case "/" if isinstance(left, str) and isinstance(right, str):
            return split(left, right)
        case "/" | "%" if numbers:
            return _divided(operator, left, right)
    verbs = {"+": "added", "-": "subtracted", "*": "multiplied", "/": "divided", "%": "divided"}
    raise JqFailure(f"{shown(left)} and {shown(right)} cannot be {verbs[operator]}")


def _bounded(number: Any) -> Any:
    return float(number) if isinstance(number, int) and abs(number) > 2**53 else number


def _divided(operator: str, left: Any, right: Any) -> Any:
    if operator == "%":
        left, right = int(left), int(right)
    if right == 0:
        raise JqFailure(f"{shown(left)} and {shown(right)} cannot be divided because the divisor is zero")
    return int(math.fmod(left, abs(right))) if operator == "%" else left / right


def split(text: str, by: str) -> list[Any]:
    """Return the parts of a text; an empty separator takes it to characters."""
    return list(text) if not by else text.split(by) if text else []


def _deep(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    result = dict(left)
    for key, value in right.items():
        before = result.get(key)
        result[key] = _deep(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def at(found: Any, key: Any) -> Any:
    """Return `found[key]`, null where nothing is.

    Raises:
        JqFailure: a value of this type has no such places.
    """
    if isinstance(key, Span):
        return _sliced(found, key)
    if isinstance(found, dict) and isinstance(key, str):
        return found.get(key)
    is_number = kind(key) == "number"
    if isinstance(found, list) and is_number:
        place = math.floor(key)
        return found[place] if -len(found) <= place < len(found) else None
    if found is None and (is_number or isinstance(key, str) or key is None):
        return None
    if isinstance(found, list) and isinstance(key, list):
        return indices(found, key)
    if isinstance(key, str):
        raise JqFailure(f'Cannot index {kind(found)} with "{key}"')
    raise JqFailure(f"Cannot index {kind(found)} with {kind(key)}")


def indices(found: list[Any], wanted: list[Any]) -> list[int]:
    """Return where a list has another one as a part."""
    sought, places = [rank(one) for one in wanted], [rank(one) for one in found]
    width = len(sought)
    return [at for at in range(len(places) - width + 1) if places[at : at + width] == sought] if width else []


def _bounds(found: Sequence[Any], span: Span) -> slice:
    for bound in span:
        if bound is not None and kind(bound) != "number":
            raise JqFailure("Start and end indices of an array slice must be numbers")
    start, stop = span
    return slice(None if start is None else math.floor(start), None if stop is None else math.ceil(stop))


def _sliced(found: Any, span: Span) -> Any:
    if found is None:
        return None
    if not isinstance(found, list | str):
        raise JqFailure(f"Cannot index {kind(found)} with object")
    return found[_bounds(found, span)]


def get(found: Any, path: Iterable[Any]) -> Any:
    """Return what lies at a path; null once the way ends in null."""
    for key in path:
        found = None if found is None else at(found, key)
    return found


def put(found: Any, path: Path, value: Any, spend: Spend) -> Any:
    """Return `found` with the value at the path; what is missing on the way is made."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    inner = put(at(found, key), rest, value, spend)
    spend(_breadth(found))
    if isinstance(key, Span):
        if not isinstance(inner, list):
            raise JqFailure("A slice of an array can only be assigned another array")
        result = list(found or [])
        result[_bounds(result, key)] = inner
        return result
    if isinstance(key, str):
        return {**(found or {}), key: inner}
    result = list(found or [])
    place = math.floor(key)
    if place < 0:
        place += len(result)
        if place < 0:
            raise JqFailure("Out of bounds negative array index")
    if place > _PLACE_MAX:
        raise JqFailure("Array index too large")
    spend(place // 8)
    result += [None] * (place + 1 - len(result))
    result[place] = inner
    return result


def _breadth(found: Any) -> int:
    return 1 + len(found) // 8 if isinstance(found, list | dict) else 1


def delete(found: Any, paths: Iterable[Path], spend: Spend) -> Any:
    """Return `found` without what lies at the paths; parts that lose nothing stay the very same objects."""
    for path in sorted(set(paths), key=_path_rank, reverse=True):
        found = _deleted(found, path, spend)
    return found


def _path_rank(path: Path) -> list[Any]:
    return [(5, key[0] or 0) if isinstance(key, Span) else rank(key) for key in path]


def _deleted(found: Any, path: Path, spend: Spend) -> Any:
    spend(_breadth(found))
    if not path or found is None:
        return None
    key, rest = path[0], path[1:]
    if rest:
        before = at(found, key)
        inner = _deleted(before, rest, spend) if before is not None else None
        return found if inner is before else put(found, (key,), inner, spend)
    if isinstance(found, dict) and isinstance(key, str):
        return {name: value for name, value in found.items() if name != key} if key in found else found
    if isinstance(found, list) and isinstance(key, Span):
        gone = range(len(found))[_bounds(found, key)]
        return [value for place, value in enumerate(found) if place not in gone] if gone else found
    if isinstance(found, list) and kind(key) == "number":
        place = math.floor(key)
        place += len(found) if place < 0 else 0
        return [*found[:place], *found[place + 1 :]] if 0 <= place < len(found) else found
    raise JqFailure(f"Cannot delete field at {'object' if isinstance(found, list) else 'array'} index of {kind(found)}")
