"""YAML as Kubernetes reads and writes it: 1.1, through JSON, so that `yes` is true and `012` is ten.

It is read event by event: depth, aliases and the number of values are bounded, and no object is ever constructed.

Source: `sigs.k8s.io/yaml`, `go.yaml.in/yaml/v2`; by comparison with their answers.
"""

from __future__ import annotations

import base64
import binascii
import functools
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from fairlead.secrets._templates._budget import Budget
from fairlead.secrets._templates._errors import FunctionError, TemplateLimit
from fairlead.secrets._templates._json import encode
from fairlead.secrets._templates._numbers import format_float, format_float32, parse_float, parse_int
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._text import is_letter, runes, seen, valid
from fairlead.secrets._templates._times import Time
from fairlead.secrets._templates._values import Certificate, NoList, NoStrings, Value

# The C classes are missing only in wheels that were built without libyaml; the others are seven times as slow.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_SPECIAL: Final = {
    ".nan": math.nan,
    ".NaN": math.nan,
    ".NAN": math.nan,
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASE60: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:[Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?)?"
)
_UINT64_MAX: Final = 2**64 - 1
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_TAG: Final = "tag:yaml.org,2002:"


class _Merge:
    """The key `<<`."""


def load(text: bytes, budget: Budget) -> Value:
    """Return the first document: None, bool, int, float, bytes, lists, and maps with keys of bytes.

    Raises:
        FunctionError: it is no YAML, or has no place in JSON; the message does not repeat any of it.
        TemplateLimit: it nests too deeply, or holds too much.
    """
    budget.allocate(len(text))
    loader = _Loader(text)
    try:
        return _Composer(loader, budget).document()
    except yaml.MarkedYAMLError as error:
        raise FunctionError(f"error converting YAML to JSON: yaml: {_problem(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FunctionError("error converting YAML to JSON: yaml: invalid text") from error
    finally:
        loader.dispose()


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Return the problem and its line, the way Go counts: the first line is not told."""
    mark = error.problem_mark
    line = mark.line if mark is not None else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    problem = error.problem or "invalid content"
    if "'" in problem or '"' in problem:
        problem = "invalid content"  # it repeats a part of the text
    return f"line {line}: {problem}" if line else problem


def _failure(message: str) -> FunctionError:
    return FunctionError(f"error converting YAML to JSON: {message}")


class _Composer:
    """Builds values from events."""

    def __init__(self, loader: Any, budget: Budget) -> None:
        self._loader = loader
        self._budget = budget
        self._anchors: dict[str, Any] = {}

    def document(self) -> Value:
        self._event()  # the start of the stream
        event = self._event()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        return self._node(self._event(), 0)

    def _event(self) -> Any:
        self._budget.step()
        return self._loader.get_event()

    def _node(self, event: Any, depth: int) -> Any:
        if depth > self._budget.limits.depth:
            raise TemplateLimit(f"YAML nests more than {self._budget.limits.depth} deep")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _failure("yaml: unknown anchor referenced")
            return self._copied(self._anchors[event.anchor], depth)
        found: Any
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            found = []
            while not isinstance(item := self._event(), yaml.SequenceEndEvent):
                found.append(_plain(self._node(item, depth + 1)))
        else:
            found = self._mapping(depth)
        if event.anchor:
            self._anchors[event.anchor] = found
        return found

    def _copied(self, value: Any, depth: int) -> Any:
        """Return an alias in full, so that a bomb of aliases costs what it would weigh."""
        self._budget.step()
        if depth > self._budget.limits.depth:
            raise TemplateLimit(f"YAML nests more than {self._budget.limits.depth} deep")
        if isinstance(value, bytes):
            self._budget.allocate(len(value))
        if isinstance(value, list):
            return [self._copied(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self._copied(item, depth + 1) for key, item in value.items()}
        return value

    def _mapping(self, depth: int) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        while not isinstance(event := self._event(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._event(), depth + 1)
            if isinstance(key, _Merge):
                for source in reversed(value) if isinstance(value, list) else (value,):
                    if not isinstance(source, dict):
                        raise _failure("yaml: map merge requires map or sequence of maps as the value")
                    found |= source  # over what stood before it, as upstream
            else:
                found[_key(key)] = _plain(value)
        return found

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.implicit[0]:
            return _Merge() if text == "<<" else resolve(text)
        tag = event.tag or _STRING_TAG
        if event.implicit[1] or tag in ("!", _STRING_TAG) or not tag.startswith(_TAG):
            return seen(text).encode()
        return _tagged(tag.removeprefix(_TAG), text)


def _plain(value: Any) -> Any:
    return b"<<" if isinstance(value, _Merge) else value


def _tagged(tag: str, text: str) -> Any:
    if tag == "binary":
        try:
            return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
        except binascii.Error as error:
            raise _failure("yaml: !!binary value contains invalid base64 data") from error
    found = resolve(text)
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "bool": (bool,), "null": (type(None),)}
    if tag == "float" and isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    if tag in kinds and isinstance(found, kinds[tag]):
        return found
    if tag in ("timestamp", "merge", "value"):
        return text.encode()
    raise _failure(f"yaml: cannot decode a scalar as !!{tag}")


def resolve(text: str) -> bool | int | float | bytes | None:
    """Return what a plain scalar is.

    >>> [resolve(one) for one in ("yes", "012", "1e3", "12:30", "~", "1.0")]
    [True, 10, 1000.0, b'12:30', None, 1.0]
    """
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] in "+-.0123456789":
        number = _number(text.replace("_", ""))
        if number is not None:
            return number
    return seen(text).encode()


def _number(text: str) -> int | float | None:
    whole = parse_int(text)
    if whole is not None and -(2**63) <= whole <= _UINT64_MAX:
        return whole
    return parse_float(text) if _FLOAT.fullmatch(text) else None


def _key(value: Any) -> bytes:
    """Return a key as text."""
    match value:
        case bytes():
            return value
        case bool():
            return b"true" if value else b"false"
        case int():
            return b"%d" % value
        case float():
            return _float_key(value)
        case None:
            raise _failure("unsupported map key of type: null")
        case _:
            raise _failure("yaml: invalid map key")


def _float_key(value: float) -> bytes:
    if math.isnan(value):
        return b".nan"
    if math.isinf(value):
        return b".inf" if value > 0 else b"-.inf"
    return format_float32(value).encode()


def as_json_data(value: Value) -> Value:
    """Return loaded data as if it had gone through JSON: every number is a float.

    Raises:
        FunctionError: a number that is not finite.
    """
    if isinstance(value, dict):
        return {key: as_json_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise _failure("json: unsupported value: a number that is not finite")
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def load_strings(text: bytes, budget: Budget) -> dict[bytes, bytes]:
    """Return a document that maps text to text; scalars of other types become text, null becomes empty.

    Raises:
        FunctionError: it is no YAML, no map, or nests.
    """
    document = load(text, budget)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise unmarshal_error(document, "map[string]string")
    return {key: _string_of(value) for key, value in document.items()}


def unmarshal_error(value: Value, wanted: str) -> FunctionError:
    """Return what Go says when a document is of another type than it wants."""
    found = {list: "array", dict: "object", bytes: "string", bool: "bool"}.get(type(value), "number")
    return FunctionError(
        f"error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type {wanted}"
    )


def _string_of(value: Value) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case bool():
            return b"true" if value else b"false"
        case int():
            return b"%d" % value
        case float():
            return format_float32(value).encode()  # upstream writes such numbers with 32 bits
        case _:
            raise unmarshal_error(value, "string")


# writing


def dump(value: Value, budget: Budget) -> bytes:
    """Return a value as YAML without the end of its last line; keys are sorted, numbers within them by size.

    Raises:
        FunctionError: JSON has no place for the value.
        TemplateLimit: it nests too deeply, or is too long.
    """
    encode(value, budget, html=False)  # refuses what JSON has no place for, and what nests too deeply
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(value),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    budget.step(len(events))
    text: str = yaml.emit(events, Dumper=_Dumper, allow_unicode=True, width=80)
    found = re.sub(r"\n\.\.\.\n\Z", "\n", text).encode("utf-8", "surrogatepass")
    budget.allocate(len(found))
    return found.removesuffix(b"\n")


def _events(value: Value) -> Iterator[yaml.Event]:
    if isinstance(value, NoList | NoStrings):
        yield yaml.ScalarEvent(None, None, (True, False), "null")
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(None, None, True, flow_style=not value)
        for item in value:
            yield from _events(item)
        yield yaml.SequenceEndEvent()
    elif isinstance(value, dict):
        yield yaml.MappingStartEvent(None, None, True, flow_style=not value)
        for key in sorted(value, key=functools.cmp_to_key(_by_nature)):
            yield from _events(key)
            yield from _events(value[key])
        yield yaml.MappingEndEvent()
    elif isinstance(value, bytes):
        yield _string_event(valid(value))
    elif isinstance(value, Time):
        yield _string_event(value.format("2006-01-02T15:04:05.999999999Z07:00"))
    elif isinstance(value, Version):
        yield _string_event(str(value))
    elif isinstance(value, Certificate):
        yield from _events({b"Cert": value.cert, b"Key": value.key})
    else:
        yield yaml.ScalarEvent(None, None, (True, False), _number_text(value))


def _number_text(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    number: float = value
    if number.is_integer() and -(2**63) <= number <= _UINT64_MAX:
        return "-0" if number == 0 and math.copysign(1, number) < 0 else str(int(number))
    return format_float(number)


def _string_event(text: str) -> yaml.ScalarEvent:
    if "\n" in text:
        style = "|"
    elif isinstance(resolve(text), bytes) and not _looks_special(text):
        style = None
    else:
        style = '"'
    return yaml.ScalarEvent(None, None, (True, True), text, style=style)


def _looks_special(text: str) -> bool:
    return bool(_BASE60.fullmatch(text) or _TIMESTAMP.fullmatch(text))


def _by_nature(one: bytes, other: bytes) -> int:
    """Compare two keys: letters after all else, and numbers within them by size."""
    left, right = runes(one), runes(other)
    for at, (mine, its) in enumerate(zip(left, right, strict=False)):
        if mine == its:
            continue
        my_letter, its_letter = is_letter(mine), is_letter(its)
        if my_letter and its_letter:
            return -1 if mine < its else 1
        if my_letter or its_letter:
            return -1 if its_letter else 1
        before = 0
        if "0" in (mine, its):
            start = at
            while start > 0 and left[start - 1].isdecimal():
                start -= 1
                if left[start] != "0":
                    before = 1
                    break
        my_number, its_number = _number_at(left, at, before), _number_at(right, at, before)
        if my_number != its_number:
            return -1 if my_number < its_number else 1
        return -1 if mine < its else 1
    return len(left) - len(right)


def _number_at(text: str, at: int, before: int) -> tuple[int, int]:
    """Return the number that begins here, and where it ends."""
    number, end = before, at
    while end < len(text) and text[end].isdecimal():
        number = number * 10 + ord(text[end]) - 48
        end += 1
    return number, end
