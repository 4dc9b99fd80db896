"""YAML as Kubernetes reads it: 1.1, to JSON data.

`yes`, `no`, `on` and `off` are booleans, `0644` is 420, `1e3` is 1000, dates stay text; a duplicate key is an error.
Documents are read event by event: nothing is ever constructed but data, depth and number of values are bounded, and
an alias counts as much as what it stands for, so that a bomb of aliases ends at the bound.

Source: `sigs.k8s.io/yaml`; where tools differ (`docs/dependencies.md`), the reading of `kubectl apply`. One
difference on purpose: a key is the text that stands there (`y:` is "y"), as no manifest means another.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import yaml

from fairlead.agentsync.sources.port import RenderError

# The C classes are missing only in wheels that were built without libyaml; the others are seven times as slow.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INT: Final = re.compile(
    r"(?P<sign>[-+]?)(?:0[bB](?P<two>[01]+)|0[oO]?(?P<eight>[0-7]+)|0[xX](?P<sixteen>[0-9a-fA-F]+)|(?P<ten>0|[1-9][0-9]*))"
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1  # larger ones are doubles to Kubernetes
_DIGITS_MAX: Final = 400  # more of them are no number that a double can hold
_WHOLE_FLOAT_MAX: Final = 1e21  # from here on Go writes a float with an exponent
_TAG: Final = "tag:yaml.org,2002:"
_BOM: Final = b"\xef\xbb\xbf"


class YamlError(RenderError):
    """A text is no YAML that Kubernetes reads, or is larger than allowed; the message names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlLimits:
    """How much one file may hold.

    Args:
        documents: parts between `---`.
        values: scalars, lists and maps, each alias counted as all that it stands for.
        depth: lists and maps within each other.
    """

    documents: int = 10_000
    values: int = 2_000_000
    depth: int = 200


def read_documents(content: bytes, limits: YamlLimits | None = None, *, is_strict: bool = True) -> Iterator[Any]:
    """Yield the documents of a file, one by one, so that those before a fault are known; null for an empty one.

    Args:
        content: UTF-8.
        limits: how much it may hold.
        is_strict: whether a key that is there twice is an error; else the last one counts.

    Raises:
        YamlError: at the fault, or at the bound.

    >>> list(read_documents(b"a: yes\\n---\\nb: [0644, 1e3, 2026-01-01]\\n"))
    [{'a': True}, {'b': [420, 1000, '2026-01-01']}]
    """
    try:
        text = content.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"byte {error.start} is not UTF-8") from None
    loader = _Loader(text)
    try:
        yield from _Reader(loader, limits or YamlLimits(), is_strict).documents()
    except yaml.YAMLError as error:
        raise YamlError(_problem(error, text)) from None
    finally:
        loader.dispose()


def read_one(content: bytes, limits: YamlLimits | None = None) -> Any:
    """Return the only document of a file; None when there is none.

    Raises:
        YamlError: it cannot be read, or there are several.
    """
    found = list(read_documents(content, limits))
    if len(found) > 1:
        raise YamlError(f"{len(found)} documents, where one is expected")
    return found[0] if found else None


def _problem(error: yaml.YAMLError, text: str) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        position = getattr(error, "position", None)
        where = f"line {text.count(chr(10), 0, position) + 1}: " if isinstance(position, int) else ""
        return f"{where}a character that YAML does not allow"
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}: " if mark is not None else ""
    if mark is not None and _is_tab(text, mark.line):
        return f"{where}a tab is used for indentation, where YAML allows only spaces"
    return where + (error.problem or error.context or "invalid content")


def _is_tab(text: str, line: int) -> bool:
    lines = text.split("\n", line + 1)
    found = lines[line] if line < len(lines) else ""
    return "\t" in found[: len(found) - len(found.lstrip())]


class _Reader:
    """Builds values from events."""

    def __init__(self, loader: Any, limits: YamlLimits, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._next = loader.get_event
        self._limits = limits
        self._left = limits.values
        self._anchors: dict[str, Any] = {}

    def documents(self) -> Iterator[Any]:
        self._next()  # the start of the stream
        count = 0
        while not isinstance(self._next(), yaml.StreamEndEvent):  # the start of a document
            count += 1
            if count > self._limits.documents:
                raise YamlError(f"more than {self._limits.documents} documents")
            self._anchors = {}
            yield self._value(self._next(), 0)
            self._next()  # its end

    def _spend(self, event: Any, depth: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise YamlError(f"more than {self._limits.values} values, aliases counted in full")
        if depth > self._limits.depth:
            raise YamlError(f"{_line(event)}nested more than {self._limits.depth} deep")

    def _value(self, event: Any, depth: int) -> Any:
        self._spend(event, depth)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                # Also an alias within its own anchor: a value cannot hold itself.
                raise YamlError(f"{_line(event)}unknown anchor {event.anchor!r}")
            return self._copied(self._anchors[event.anchor], event, depth)
        found: Any
        if isinstance(event, yaml.ScalarEvent):
            found = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event, "seq")
            found = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                found.append(self._value(item, depth + 1))
        else:
            _check_tag(event, "map")
            found = self._mapping(depth)
        if event.anchor:
            self._anchors[event.anchor] = found
        return found

    def _copied(self, value: Any, event: Any, depth: int) -> Any:
        self._spend(event, depth)
        if isinstance(value, list):
            return [self._copied(item, event, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self._copied(item, event, depth + 1) for key, item in value.items()}
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            self._spend(event, depth)
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                merged += self._merged(event, depth)
                continue
            key = self._key(event)
            if key in own and self._is_strict:
                raise YamlError(f"{_line(event)}key {_shown(key)} is there twice in one map")
            own[key] = self._value(self._next(), depth + 1)
        if not merged:
            return own
        found: dict[str, Any] = {}
        for each in reversed(merged):  # the first one named wins among them, and own keys over all
            found |= each
        return found | own

    def _merged(self, event: Any, depth: int) -> list[dict[str, Any]]:
        value = self._value(self._next(), depth + 1)
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in found):
            raise YamlError(f"{_line(event)}<< needs a map, or a list of maps")
        return found

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent):
            named = self._anchors.get(event.anchor or "")
            if isinstance(named, str):
                return named
        if not isinstance(event, yaml.ScalarEvent):
            raise YamlError(f"{_line(event)}a key of a map is no text")
        key = str(event.value)
        if event.anchor:
            self._anchors[event.anchor] = key
        return key


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "


def _shown(key: str) -> str:
    return repr(key if len(key) <= 60 else key[:60] + "...")


def _check_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        raise YamlError(f"{_line(event)}tag {_shown(event.tag)} is not allowed: manifests are plain data")


def _scalar(event: Any) -> Any:
    text: str = event.value
    tag: str | None = event.tag
    if tag is None or tag == "!":
        if not event.implicit[0]:
            return text
        found = resolve(text)
    else:
        found = _tagged(event, tag, text)
    if isinstance(found, float) and not math.isfinite(found):
        raise YamlError(f"{_line(event)}{_shown(text)} is no number that JSON can hold")
    return found


def _tagged(event: Any, tag: str, text: str) -> Any:
    kind = tag.removeprefix(_TAG)
    if kind in ("str", "timestamp"):
        return text
    if kind == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise YamlError(f"{_line(event)}!!binary is no base64 of UTF-8 text") from None
    found = resolve(text)
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
    if kind not in kinds:
        raise YamlError(f"{_line(event)}tag {_shown(tag)} is not allowed: manifests are plain data")
    if not isinstance(found, kinds[kind]) or (isinstance(found, bool) and kind != "bool"):
        raise YamlError(f"{_line(event)}{_shown(text)} is no {kind}")
    return found


@lru_cache(maxsize=8192)
def resolve(text: str) -> bool | int | float | str | None:
    """Return what a plain scalar is.

    >>> [resolve(one) for one in ("yes", "0644", "1e3", "12:30:45", "~", "1.0", "0o14", "1_000")]
    [True, 420, 1000, '12:30:45', None, 1, 12, 1000]
    """
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    number = _number(text.replace("_", "") if text[0] != "_" else text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    if len(text) > _DIGITS_MAX:
        return None
    found = _INT.fullmatch(text)
    if found is not None:
        for name, base in (("two", 2), ("eight", 8), ("sixteen", 16), ("ten", 10)):
            if found[name] is not None:
                whole = int(found["sign"] + found[name], base)
                return whole if _INT64_MIN <= whole <= _INT64_MAX else whole_number(float(whole))
    if _FLOAT.fullmatch(text) is None:
        return None
    number = float(text)
    if math.isinf(number):
        return None
    return whole_number(number)


def whole_number(number: float) -> int | float:
    """Return a number as others read it after Go wrote it: without a point if it is whole, in its shortest digits."""
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < _WHOLE_FLOAT_MAX else number
