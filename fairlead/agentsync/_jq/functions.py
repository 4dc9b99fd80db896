"""The functions that expressions of jq may call: native ones on values, and those that jq defines in its own language.

Absent on purpose: what reads files, the environment, more input, or the time.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from fairlead.agentsync._jq.nodes import Define
from fairlead.agentsync._jq.parsing import parse_definitions
from fairlead.agentsync._jq.values import JqFailure, indices, kind, rank, shown, split, to_json

_SOURCE: Final = """
def select(f): if f then . else empty end;
def recurse(f): def r: ., (f | r); r;
def recurse(f; condition): def r: ., (f | select(condition) | r); r;
def map(f): [.[] | f];
def map_values(f): .[] |= f;
def walk(f): def w: if type == "object" then map_values(w) elif type == "array" then map(w) else . end | f; w;
def del(f): delpaths([path(f)]);
def paths: path(..) | select(length > 0);
def paths(f): path(.. | select(f)) | select(length > 0);
def leaf_paths: paths(scalars);
def pick(f): . as $top | reduce path(f) as $p (null; setpath($p; $top | getpath($p)));
def to_entries: [keys_unsorted[] as $k | {key: $k, value: .[$k]}];
def with_entries(f): to_entries | map(f) | from_entries;
def values: select(. != null);
def nulls: select(. == null);
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def iterables: select(type == "array" or type == "object");
def scalars: select(type != "array" and type != "object");
def isempty(f): label $out | ((f | false, break $out), true);
def any(source; condition): isempty(source | condition | select(.)) | not;
def all(source; condition): isempty(source | condition | select(. | not));
def any(f): any(.[]; f);
def all(f): all(.[]; f);
def any: any(.);
def all: all(.);
def first: .[0];
def last: .[-1];
def nth($n): .[$n];
def nth($n; f): last(limit($n + 1; f));
def until(condition; update): def u: if condition then . else (update | u) end; u;
def while(condition; update): def w: if condition then ., (update | w) else empty end; w;
def repeat(f): def r: ., (f | r); r;
def in(whole): . as $x | whole | has($x);
def inside(whole): . as $x | whole | contains($x);
def add(f): reduce f as $x (null; . + $x);
def sort_by(f): _sort_by(map([f]));
def group_by(f): _group_by(map([f]));
def unique_by(f): [group_by(f)[] | .[0]];
def unique: unique_by(.);
def min_by(f): _min_by(map([f]));
def max_by(f): _max_by(map([f]));
def IN(source): any(source == .; .);
def IN(left; right): any(left == right; .);
def ascii: [.] | implode;
"""


@lru_cache(maxsize=1)
def prelude() -> Mapping[tuple[str, int], Define]:
    """Return the functions that are defined in the language itself, by name and number of parameters."""
    return parse_definitions(_SOURCE)


def formatted(name: str, found: Any) -> str:
    """Return a value as a format writes it."""
    text = found if isinstance(found, str) else to_json(found)
    match name:
        case "@json":
            return to_json(found)
        case "@base64":
            return base64.b64encode(text.encode()).decode()
        case "@base64d":
            try:
                return base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
            except (binascii.Error, ValueError) as error:
                raise JqFailure(f"{shown(found)} is not valid base64 data") from error
        case _:
            return text


def _length(found: Any) -> Any:
    if isinstance(found, bool):
        raise JqFailure(f"{shown(found)} has no length")
    if found is None:
        return 0
    return abs(found) if isinstance(found, int | float) else len(found)


def _keys(found: Any) -> list[Any]:
    return sorted(_keys_unsorted(found))


def _keys_unsorted(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return list(found)
    if isinstance(found, list):
        return list(range(len(found)))
    raise JqFailure(f"{shown(found)} has no keys")


def _has(found: Any, key: Any) -> bool:
    if isinstance(found, dict) and isinstance(key, str):
        return key in found
    if isinstance(found, list) and kind(key) == "number":
        return bool(0 <= key < len(found))
    raise JqFailure(f"Cannot check whether {kind(found)} has a {kind(key)} key")


def _contains(found: Any, inner: Any) -> bool:
    if isinstance(found, dict) and isinstance(inner, dict):
        return all(key in found and _contains(found[key], value) for key, value in inner.items())
    if isinstance(found, list) and isinstance(inner, list):
        return all(any(kind(one) == kind(value) and _contains(one, value) for one in found) for value in inner)
    if isinstance(found, str) and isinstance(inner, str):
        return inner in found
    if kind(found) != kind(inner):
        raise JqFailure(f"{shown(found)} and {shown(inner)} cannot have their containment checked")
    return rank(found) == rank(inner)


def _text(found: Any, what: str) -> str:
    if not isinstance(found, str):
        raise JqFailure(f"{what} input must be a string")
    return found


def _starts(found: Any, start: Any) -> bool:
    if not isinstance(found, str) or not isinstance(start, str):
        raise JqFailure("startswith() requires string inputs")
    return found.startswith(start)


def _ends(found: Any, end: Any) -> bool:
    if not isinstance(found, str) or not isinstance(end, str):
        raise JqFailure("endswith() requires string inputs")
    return found.endswith(end)


def _number(found: Any) -> Any:
    if kind(found) == "number":
        return found
    try:
        number = json.loads(_text(found, "tonumber"))
    except ValueError:
        number = None
    if kind(number) != "number":
        raise JqFailure(f"Cannot parse {shown(found)} as a number")
    return number


def _from_json(found: Any) -> Any:
    try:
        return json.loads(_text(found, "fromjson"))
    except (ValueError, RecursionError) as error:
        raise JqFailure(f"{shown(found)} cannot be parsed as JSON") from error


def _from_entries(found: Any) -> dict[str, Any]:
    if not isinstance(found, list | dict):
        raise JqFailure(f"Cannot iterate over {kind(found)}")
    result: dict[str, Any] = {}
    for entry in found if isinstance(found, list) else found.values():
        if not isinstance(entry, dict):
            raise JqFailure(f'Cannot index {kind(entry)} with "key"')
        key = next(
            (entry[name] for name in ("key", "k", "name", "Name", "K", "Key") if entry.get(name) is not None), None
        )
        value = next((entry[name] for name in ("value", "v", "Value", "V") if name in entry), None)
        result[key if isinstance(key, str) else to_json(key)] = value
    return result


def _join(found: Any, by: Any) -> str:
    if not isinstance(found, list):
        raise JqFailure(f"Cannot iterate over {shown(found)}")
    if any(isinstance(one, list | dict) for one in found):
        raise JqFailure("only scalars can be joined")
    return str(by).join("" if one is None else one if isinstance(one, str) else to_json(one) for one in found)


def _add(found: Any) -> Any:
    from fairlead.agentsync._jq.values import arithmetic

    if not isinstance(found, list | dict):
        raise JqFailure(f"Cannot iterate over {shown(found)}")
    parts = found if isinstance(found, list) else list(found.values())
    if parts and all(isinstance(one, str) for one in parts):
        return "".join(parts)
    if parts and all(isinstance(one, list) for one in parts):
        return [inner for one in parts for inner in one]
    result: Any = None
    for one in parts:
        result = arithmetic("+", result, one)
    return result


def _list(found: Any, verb: str) -> list[Any]:
    if not isinstance(found, list):
        raise JqFailure(f"{shown(found)} cannot be {verb}, as it is not an array")
    return found


def _sorted(found: Any, keys: Any) -> list[Any]:
    pairs = sorted(zip(keys, _list(found, "sorted"), strict=True), key=lambda pair: rank(pair[0]))
    return [value for _, value in pairs]


def _grouped(found: Any, keys: Any) -> list[list[Any]]:
    groups: list[list[Any]] = []
    last: Any = None
    for key, value in sorted(zip(keys, _list(found, "grouped"), strict=True), key=lambda pair: rank(pair[0])):
        if not groups or rank(key) != last:
            groups.append([])
            last = rank(key)
        groups[-1].append(value)
    return groups


def _extreme(chosen: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def found_by(found: Any, keys: Any) -> Any:
        pairs = list(zip(keys, _list(found, "compared"), strict=True))
        if not pairs:
            return None
        if chosen is max:  # of equal ones the last
            pairs.reverse()
        return chosen(pairs, key=lambda pair: rank(pair[0]))[1]

    return found_by


def _flatten(found: Any, depth: Any = math.inf) -> list[Any]:
    if kind(depth) != "number" or depth < 0:
        raise JqFailure("flatten depth must not be negative")
    result: list[Any] = []
    for one in _list(found, "flattened"):
        result += _flatten(one, depth - 1) if isinstance(one, list) and depth > 0 else [one]
    return result


def _indices(found: Any, wanted: Any) -> Any:
    if found is None:
        return None
    if isinstance(found, str) and isinstance(wanted, str):
        return [at for at in range(len(found)) if wanted and found.startswith(wanted, at)]
    if isinstance(found, list):
        return indices(found, wanted if isinstance(wanted, list) else [wanted])
    raise JqFailure(f"Cannot determine indices of {kind(wanted)} in {kind(found)}")


def _trimmed(start: bool) -> Callable[[Any, Any], Any]:
    def trim(found: Any, part: Any) -> Any:
        if not isinstance(found, str) or not isinstance(part, str):
            return found
        return found.removeprefix(part) if start else found.removesuffix(part)

    return trim


def _rounded(how: Callable[[float], int]) -> Callable[[Any], Any]:
    def round_(found: Any) -> Any:
        if kind(found) != "number":
            raise JqFailure(f"{shown(found)} number required")
        return how(found)

    return round_


def _first(found: list[Any] | None, place: int) -> Any:
    return found[place] if found else None


def _case(upper: bool) -> Callable[[Any], str]:
    table = {ord(one): one.upper() for one in "abcdefghijklmnopqrstuvwxyz"}
    if not upper:
        table = {ord(one): chr(number) for number, one in table.items()}

    def change(found: Any) -> str:
        return _text(found, "ascii_upcase" if upper else "ascii_downcase").translate(table)

    return change


NATIVE: Final[Mapping[tuple[str, int], Callable[..., Any]]] = {
    ("not", 0): lambda found: found is None or found is False,
    ("length", 0): _length,
    ("utf8bytelength", 0): lambda found: len(_text(found, "utf8bytelength").encode()),
    ("keys", 0): _keys,
    ("keys_unsorted", 0): _keys_unsorted,
    ("has", 1): _has,
    ("contains", 1): _contains,
    ("type", 0): kind,
    ("tostring", 0): lambda found: found if isinstance(found, str) else to_json(found),
    ("tonumber", 0): _number,
    ("tojson", 0): to_json,
    ("fromjson", 0): _from_json,
    ("from_entries", 0): _from_entries,
    ("ascii_downcase", 0): _case(upper=False),
    ("ascii_upcase", 0): _case(upper=True),
    ("startswith", 1): _starts,
    ("endswith", 1): _ends,
    ("ltrimstr", 1): _trimmed(start=True),
    ("rtrimstr", 1): _trimmed(start=False),
    ("trim", 0): lambda found: _text(found, "trim").strip(),
    ("ltrim", 0): lambda found: _text(found, "trim").lstrip(),
    ("rtrim", 0): lambda found: _text(found, "trim").rstrip(),
    ("split", 1): lambda found, by: split(_text(found, "split"), _text(by, "split")),
    ("join", 1): _join,
    ("add", 0): _add,
    ("reverse", 0): lambda found: found[::-1] if isinstance(found, str) else _list(found or [], "reversed")[::-1],
    ("sort", 0): lambda found: sorted(_list(found, "sorted"), key=rank),
    ("min", 0): lambda found: min(_list(found, "compared"), key=rank, default=None),
    ("max", 0): lambda found: _extreme(max)(found, found),
    ("flatten", 0): _flatten,
    ("flatten", 1): _flatten,
    ("indices", 1): _indices,
    ("index", 1): lambda found, wanted: _first(_indices(found, wanted), 0),
    ("rindex", 1): lambda found, wanted: _first(_indices(found, wanted), -1),
    ("floor", 0): _rounded(math.floor),
    ("ceil", 0): _rounded(math.ceil),
    ("round", 0): _rounded(lambda found: math.floor(found + 0.5)),
    ("abs", 0): lambda found: abs(_number(found)),
    ("infinite", 0): lambda _: math.inf,
    ("nan", 0): lambda _: math.nan,
    ("null", 0): lambda _: None,
    ("explode", 0): lambda found: [ord(one) for one in _text(found, "explode")],
    ("implode", 0): lambda found: "".join(chr(one) for one in _list(found, "imploded")),
    ("_sort_by", 1): _sorted,
    ("_group_by", 1): _grouped,
    ("_min_by", 1): _extreme(min),
    ("_max_by", 1): _extreme(max),
}

# What a call costs: these look at the top of a value only ...
CHEAP: Final = frozenset(
    {"not", "type", "length", "has", "keys", "keys_unsorted", "startswith", "endswith", "ltrimstr", "rtrimstr", "floor"}
)
# ... these compare each part of one value with each part of another; all others go through their values once.
BY_PAIRS: Final = frozenset({"contains", "indices", "index", "rindex"})
