"""Kubernetes' JSONPath templates, as `kubectl -o jsonpath` and web metrics read them.

`{.items[0].name}`, `{$.a['b','c']}`, `{..ready}`, `{.list[?(@.name=="x")].value}`, `{range .items[*]}{.name}{end}`.
Text outside braces stands for itself, so `$.a` without braces is the text `$.a`. Numbers of the data keep their kind:
compare floats with `1.0` in a filter, as with Go. Messages name types and keys, never values: those may be secret.

Source: `k8s.io/client-go: util/jsonpath`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from fairlead.core.errors import FairleadError

TEMPLATE_LENGTH_MAX: Final = 16 * 1024
NESTING_MAX: Final = 16  # unions, filters and ranges in each other
VALUES_MAX: Final = 100_000  # looked at in one evaluation
DEPTH_MAX: Final = 200  # of the data

_KEY: Final = re.compile(r"'([^']*)'")
_SLICE: Final = re.compile(r"(-?[0-9]*)(:-?[0-9]*)?(:[0-9]*)?")
_FILTER: Final = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)
_TERMINATORS: Final = " \t\r\n.,[]$@{}"
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class JsonPathError(FairleadError):
    """The template is none, or does not fit the data; the text is client-go's."""


@dataclass(frozen=True, slots=True)
class _Literal:
    """A text, a number or a bool in the place of what went in."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Slice:
    """`[i]` is the slice from i, with `end` derived from it."""

    start: int | None
    end: int | None
    step: int | None
    is_index: bool


@dataclass(frozen=True, slots=True)
class _Wildcard:
    pass


@dataclass(frozen=True, slots=True)
class _Recursive:
    pass


@dataclass(frozen=True, slots=True)
class _Union:
    branches: tuple[_Steps, ...]


@dataclass(frozen=True, slots=True)
class _Filter:
    left: _Steps
    operator: str  # "exists" without a comparison
    right: _Steps


@dataclass(frozen=True, slots=True)
class _Word:
    """`range` or `end`."""

    name: str


_Step = _Literal | _Field | _Slice | _Wildcard | _Recursive | _Union | _Filter | _Word
_Steps = tuple[_Step, ...]


class _Parser:
    """Reads a template: a list of texts and actions."""

    def __init__(self, text: str, depth: int = 0) -> None:
        if depth > NESTING_MAX:
            raise JsonPathError("template nests too deeply")
        self._text = text
        self._at = 0
        self._depth = depth

    def template(self) -> tuple[_Steps, ...]:
        parts: list[_Steps] = []
        while self._at < len(self._text):
            opening = self._text.find("{", self._at)
            plain = self._text[self._at : opening if opening >= 0 else len(self._text)]
            if plain:
                parts.append((_Literal(plain),))
            if opening < 0:
                break
            self._at = opening + 1
            parts.append(self.action())
        return tuple(parts)

    def action(self) -> _Steps:
        """Read up to the closing brace, and over it."""
        steps: list[_Step] = []
        while True:
            rest = self._text[self._at : self._at + 3]
            character = rest[:1]
            if character == "}":
                self._at += 1
                return tuple(steps)
            if rest == "[?(":
                steps.append(self._filter())
            elif rest.startswith(".."):
                if steps and isinstance(steps[-1], _Recursive):
                    raise JsonPathError("invalid multiple recursive descent")
                self._at += 2
                steps.append(_Recursive())
                following = self._text[self._at : self._at + 1]
                if following.isalnum() or following == "_":
                    steps.append(self._field())
            elif character in ("", "\r", "\n"):
                raise JsonPathError("unclosed action")
            elif character in " @$":
                self._at += 1
            elif character == "[":
                steps.extend(self._array())
            elif character in "\"'":
                steps.append(_Literal(self._quoted(character)))
            elif character == ".":
                self._at += 1
                steps.append(self._field())
            elif character in "+-" or character.isdigit():
                steps.append(_Literal(self._number()))
            elif character.isalnum() or character == "_":
                steps.append(self._word())
            else:
                raise JsonPathError(f"unrecognized character in action: U+{ord(character):04X} '{character}'")

    def _nested(self, action: str) -> _Steps:
        return _Parser(action + "}", self._depth + 1).action()

    def _run(self) -> str:
        """Read up to a terminator that no backslash escapes."""
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in _TERMINATORS:
            self._at += 2 if self._text[self._at] == "\\" else 1
        self._at = min(self._at, len(self._text))
        return self._text[start : self._at]

    def _field(self) -> _Step:
        name = self._run()
        return _Wildcard() if name == "*" else _Field(name.replace("\\", ""))

    def _word(self) -> _Step:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in _TERMINATORS:
            self._at += 1
        word = self._text[start : self._at]
        if word in ("true", "false"):
            return _Literal(word == "true")
        if word not in ("range", "end"):
            raise JsonPathError(f"unrecognized identifier {word}")
        return _Word(word)

    def _number(self) -> int | float:
        start = self._at
        self._at += 1
        while self._at < len(self._text) and (self._text[self._at].isdigit() or self._text[self._at] == "."):
            self._at += 1
        text = self._text[start : self._at]
        try:
            return int(text) if "." not in text and len(text) < 20 else float(text)
        except ValueError:
            raise JsonPathError(f"cannot parse number {text}") from None

    def _quoted(self, mark: str) -> str:
        start = self._at
        self._at += 1
        while True:
            character = self._text[self._at : self._at + 1]
            if character in ("", "\n"):
                raise JsonPathError("unterminated quoted string")
            self._at += 1
            if character == mark and self._text[self._at - 2] != "\\":
                break
        parts = re.split(r"\\(.)", self._text[start + 1 : self._at - 1])
        for position in range(1, len(parts), 2):
            parts[position] = _ESCAPES.get(parts[position], parts[position])
        return "".join(parts)

    def _array(self) -> list[_Step]:
        end = self._text.find("]", self._at)
        text = self._text[self._at + 1 : end]
        if end < 0 or "\n" in text:
            raise JsonPathError("unterminated array")
        self._at = end + 1
        if text == "*":
            text = ":"
        if "," in text:
            return [_Union(tuple(self._nested(f"[{part.strip(' ')}]") for part in text.split(",")))]
        if (key := _KEY.fullmatch(text)) is not None:
            return list(self._nested(f".{key.group(1)}"))
        parts = _SLICE.fullmatch(text)
        if parts is None:
            raise JsonPathError(f"invalid array index {text}")
        start, stop, step = parts.groups()
        if "-" in (start, (stop or "")[1:]):
            raise JsonPathError("array index - is not a number")
        return [
            _Slice(
                start=_bound(start),
                end=_bound(stop[1:]) if stop is not None else None,
                step=_bound(step[1:]) if step is not None else None,
                is_index=stop is None,
            )
        ]

    def _filter(self) -> _Step:
        start = self._at + 3
        self._at = start
        mark, closed = "", False
        while True:
            character = self._text[self._at : self._at + 1]
            if character in ("", "\n"):
                raise JsonPathError("unterminated filter")
            self._at += 1
            if character in "\"'":
                if not mark:
                    mark = character
                elif character == mark and self._text[self._at - 2] != "\\":
                    closed = True
            elif character == ")" and bool(mark) == closed:
                break
        if self._text[self._at : self._at + 1] != "]":
            raise JsonPathError("unclosed array expect ]")
        text = self._text[start : self._at - 1]
        self._at += 1
        parts = _FILTER.fullmatch(text)
        if parts is None:
            return _Filter(self._nested(text), "exists", ())
        return _Filter(self._nested(parts.group(1)), parts.group(2), self._nested(parts.group(3)))


def _bound(digits: str) -> int | None:
    if len(digits) > 19:
        raise JsonPathError(f"array index {digits} is not a number")
    return int(digits) if digits else None


class _Walk:
    """One evaluation, bounded in how much it looks at."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def steps(self, values: Sequence[Any], steps: _Steps) -> list[Any]:
        current = list(values)
        for step in steps:
            current = self._step(current, step)
            self._spend(len(current) + 1)
        return current

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise JsonPathError("template looks at too many values")

    def _step(self, values: list[Any], step: _Step) -> list[Any]:
        match step:
            case _Literal():
                # A text replaces everything that went in, a number each value of it.
                return [step.value] if isinstance(step.value, str) else [step.value for _ in values]
            case _Field():
                found = [value[step.name] for value in values if isinstance(value, Mapping) and step.name in value]
                if values and not found:
                    raise JsonPathError(f"{step.name} is not found")
                return found
            case _Slice():
                return [item for value in values if value is not None for item in _sliced(value, step)]
            case _Wildcard():
                return [item for value in values for item in _inside(value)]
            case _Recursive():
                return list(self._all(values, 0))
            case _Union():
                return [item for branch in step.branches for item in self.steps(values, branch)]
            case _Filter():
                return [item for value in values for item in self._filtered(value, step)]
            case _Word():
                return values if step.name == "range" else []

    def _all(self, values: Sequence[Any], depth: int) -> Iterator[Any]:
        """Yield every value that holds others, outer ones first."""
        if depth > DEPTH_MAX:
            raise JsonPathError("the data nests too deeply")
        for value in values:
            inner = _inside(value)
            self._spend(len(inner) + 1)
            if inner:
                yield value
                yield from self._all(inner, depth + 1)

    def _filtered(self, value: Any, step: _Filter) -> Iterator[Any]:
        if not isinstance(value, list):
            raise JsonPathError(f"{_type(value)} is not array or slice and cannot be filtered")
        for item in value:
            if step.operator == "exists":
                try:
                    if self.steps([item], step.left):
                        yield item
                except JsonPathError:
                    self._spend(1)  # what cannot be looked up is not there
                continue
            sides = []
            for side in (step.left, step.right):
                found = self.steps([item], side)
                if len(found) > 1:
                    raise JsonPathError("can only compare one element at a time")
                sides.extend(found)
            if len(sides) == 2 and _compare(step.operator, *sides):
                yield item


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list):
        return value
    return list(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else []


def _sliced(value: Any, step: _Slice) -> list[Any]:
    if not isinstance(value, list):
        raise JsonPathError(f"{_type(value)} is not array or slice")
    length = len(value)
    start = step.start or 0
    if start < 0:
        start += length
    if step.is_index:
        end = (step.start or 0) + 1
        if end <= 0:
            end += length
    else:
        end = length if step.end is None else step.end
        if end < 0:
            end += length
    if start == end:
        return []
    if not 0 <= start < length:
        raise JsonPathError(f"array index out of bounds: index {start}, length {length}")
    if not 0 <= end <= length:
        raise JsonPathError(f"array index out of bounds: index {end - 1}, length {length}")
    if start > end:
        raise JsonPathError(f"starting index {start} is greater than ending index {end}")
    if step.step == 0:
        raise JsonPathError("step must be > 0")
    return value[start : end : step.step or 1]


_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: not left <= right,
    ">=": lambda left, right: not left < right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator not in _ORDER:
        raise JsonPathError(f"unrecognized filter operator {operator}")
    for side in (left, right):
        if not isinstance(side, bool | int | float | str):
            raise JsonPathError("invalid type for comparison")
    if type(left) is not type(right):
        raise JsonPathError("incompatible types for comparison")
    if isinstance(left, bool) and operator not in ("==", "!="):
        raise JsonPathError("invalid type for comparison")
    return _ORDER[operator](left, right)


def _type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case None:
            return "<nil>"
        case _:
            return "map[string]interface {}"


class JsonPath:
    """A parsed template."""

    def __init__(self, template: str) -> None:
        if len(template) > TEMPLATE_LENGTH_MAX:
            raise JsonPathError(f"template is longer than {TEMPLATE_LENGTH_MAX} characters")
        self.template = template
        self._parts = _Parser(template).template()

    def find(self, data: Any) -> list[Any]:
        """Return the values that the template yields, in its order; texts between actions are values too.

        Raises:
            JsonPathError: a key is missing, an index out of bounds, or kinds do not compare.
        """
        found: list[Any] = []
        walk = _Walk()
        end = self._run(walk, 0, [data], found, 0)
        if end < len(self._parts):
            raise JsonPathError("not in range, nothing to end")
        return found

    def _run(self, walk: _Walk, start: int, values: list[Any], found: list[Any], depth: int) -> int:
        """Carry out parts from `start` up to the end of the range that they are in; return where that is."""
        if depth > NESTING_MAX:
            raise JsonPathError("template nests too deeply")
        at = start
        while at < len(self._parts):
            part = self._parts[at]
            words = {step.name for step in part if isinstance(step, _Word)}
            if "end" in words:
                return at
            results = walk.steps(values, part)
            if "range" not in words:
                found.extend(results)
                at += 1
                continue
            end = len(self._parts)
            for value in results:
                end = self._run(walk, at + 1, [value], found, depth + 1)
            if not results:
                end = self._skip(at + 1)
            at = end + 1
        return at

    def _skip(self, at: int) -> int:
        """Return where the range that begins before `at` ends."""
        depth = 0
        while at < len(self._parts):
            words = {step.name for step in self._parts[at] if isinstance(step, _Word)}
            if "range" in words:
                depth += 1
            elif "end" in words:
                if depth == 0:
                    return at
                depth -= 1
            at += 1
        return at


@lru_cache(maxsize=256)
def compile(template: str) -> JsonPath:  # noqa: A001 - as `regex.compile`
    """Return the parsed template, perhaps one parsed earlier.

    Raises:
        JsonPathError: it is none.

    >>> compile("{.items[0].name}").find({"items": [{"name": "a"}]})
    ['a']
    """
    return JsonPath(template)
