"""Properties of JSON documents: the paths of GJSON, on the text itself.

`name.first`, `children.1`, `children.#`, `friends.#(last=="Murphy")#.first`, wildcards, `{a,b}`, `[a,b]`, literals and
modifiers such as `@keys`. A result is a slice of the document: white space stays, and of equal keys the first counts.
What a lookup may cost is bounded.

Where we differ: a document that is no JSON has no properties (upstream finds some anyway), and `@pretty` takes no
arguments.

Source: `tidwall/gjson`, its SYNTAX.md, and by comparison with its answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fairlead.core.errors import SpecError
from fairlead.secrets._rawjson import SCALAR, NotJsonError, elements, members, readable, unescaped
from fairlead.secrets._templates._json import json_string
from fairlead.secrets._templates._numbers import format_float

__all__ = ["lookup"]

PATH_LENGTH_MAX: Final = 4096
WORK_MAX: Final = 32 * 2**20  # characters looked at
DEPTH_MAX: Final = 64
_OPERATORS: Final = ("!=", "!%", "<=", ">=", "==", "<", ">", "=", "%")
_TRUE_WORDS: Final = frozenset({"1", "t", "true"})
_FALSE_WORDS: Final = frozenset({"0", "f", "false"})
_WIDTH: Final = 80
_INDENT: Final = "  "


def lookup(document: bytes, path: str) -> bytes | None:
    """Return a property as text: strings without quotes, null as nothing; None if there is no such property.

    Raises:
        SpecError: the path is too long, or asks for too much work.

    >>> lookup(b'{"a": {"b": [1, 1.50, "x"]}}', "a.b.1")
    b'1.5'
    """
    if len(path) > PATH_LENGTH_MAX:
        raise SpecError(f"a property path of more than {PATH_LENGTH_MAX} characters")
    try:
        found = _Lookup().get(_documents(document, path), path, 0)
    except RecursionError as error:
        raise SpecError("a property path that nests too deeply") from error
    return None if found is None else as_text(found)


def _documents(document: bytes, path: str) -> str:
    """Return the document; one of several lines, each a document, as an array of them."""
    try:
        return readable(document)
    except NotJsonError:
        if not path.startswith(".."):
            return ""
    try:
        return f"[{','.join(readable(line) for line in document.splitlines() if line.strip())}]"
    except NotJsonError:
        return ""


def as_text(raw: str) -> bytes:
    """Return a raw value as text. A number that is not whole loses what a float would lose."""
    first = raw[:1]
    if first == '"':
        return unescaped(raw)
    if first in ("-", "+") or first.isdigit():
        if raw.lstrip("-").isdigit():
            return raw.encode()
        return format_float(_as_number(raw), "f").encode()
    return b"" if raw == "null" else raw.encode("utf-8", "surrogateescape")


def _as_number(text: str) -> float:
    try:
        return float(text) if len(text) < 1000 and re.fullmatch(r"[-+.0-9eE]+", text) else 0.0
    except ValueError:
        return 0.0


@dataclass(slots=True)
class _Part:
    """One component of a path, and what follows it."""

    name: str
    rest: str = ""
    has_rest: bool = False
    pipe: str | None = None
    is_wild: bool = False


@dataclass(slots=True)
class _Query:
    path: str
    operator: str
    value: str
    all: bool


@dataclass(slots=True)
class _ArrayPart:
    name: str
    rest: str = ""
    has_rest: bool = False
    pipe: str | None = None
    is_numbered: bool = False  # there is a # in it
    each: str | None = None  # the path behind #.
    query: _Query | None = None


class _Search:
    """What one walk through a document has found so far."""

    __slots__ = ("pipe", "value")

    def __init__(self) -> None:
        self.pipe: str | None = None
        self.value: str | None = None


class _Lookup:
    """Follows a path, and counts what it looks at."""

    def __init__(self) -> None:
        self._left = WORK_MAX

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise SpecError("a property path that asks for too much work on this document")

    def get(self, raw: str, path: str, depth: int) -> str | None:
        """Return the raw value at a path, or None."""
        self._spend(len(raw) + len(path))
        if depth > DEPTH_MAX:
            raise SpecError("a property path that nests too deeply")
        if len(path) > 1:
            if path[0] in "@!":
                made = self._modified(raw, path, depth) if path[0] == "@" else _literal(path)
                if made is not None:
                    result, rest = made
                    return self.get(result, rest[1:], depth + 1) if rest[:1] in ("|", ".") else _parsed(result)
            if path[0] in "[{" and (selection := _selectors(path)) is not None:
                selectors, rest = selection
                if not rest or rest[0] in "|.":
                    result = self._selected(raw, path[0], selectors, depth)
                    return self.get(result, rest[1:], depth + 1) if rest else result
        search = _Search()
        if path.startswith(".."):
            self._array(search, raw if raw[:1] == "[" and depth == 0 else f"[{raw}]", path[2:], depth)
        elif raw[:1] == "{":
            self._object(search, raw, path, depth)
        elif raw[:1] == "[":
            self._array(search, raw, path, depth)
        if search.pipe is not None:
            return self.get(search.value or "", search.pipe, depth + 1)
        return search.value

    # objects and arrays

    def _object(self, search: _Search, raw: str, path: str, depth: int) -> bool:
        part = _object_part(path)
        if not part.has_rest and part.pipe is not None:
            search.pipe = part.pipe
        self._spend(len(raw))
        for key, value in members(raw):
            name = unescaped(key).decode("utf-8", "surrogateescape")
            if not (self._matches(name, part.name) if part.is_wild else name == part.name):
                continue
            if not part.has_rest:
                search.value = value
                return True
            if self._inside(search, value, part.rest, depth):
                return True
        return False

    def _inside(self, search: _Search, value: str, path: str, depth: int) -> bool:
        if depth > DEPTH_MAX:
            raise SpecError("a property path that nests too deeply")
        if value[0] == "{":
            return self._object(search, value, path, depth + 1)
        return value[0] == "[" and self._array(search, value, path, depth + 1)

    def _array(self, search: _Search, raw: str, path: str, depth: int) -> bool:
        part = _array_part(path)
        if not part.has_rest and part.pipe is not None:
            search.pipe = part.pipe
        self._spend(len(raw))
        if part.query is not None:
            return self._queried(search, raw, part, part.query, depth)
        if part.is_numbered:
            if part.name == "#":
                search.value = self._counted(search, raw, part, depth)
                return True
            return False
        if not (part.name.isascii() and part.name.isdigit()) or len(part.name) > 9:
            return False
        wanted = int(part.name)
        for index, value in enumerate(elements(raw)):
            if index != wanted:
                continue
            if part.has_rest:
                return self._inside(search, value, part.rest, depth)
            search.value = value
            return True
        return False

    def _counted(self, search: _Search, raw: str, part: _ArrayPart, depth: int) -> str:
        if part.each is None:
            return str(sum(1 for _ in elements(raw)))
        path, search.pipe = _split_pipe(part.each, search.pipe)
        found = (self.get(value, path, depth + 1) for value in elements(raw))
        return f"[{','.join(value for value in found if value is not None)}]"

    def _queried(self, search: _Search, raw: str, part: _ArrayPart, query: _Query, depth: int) -> bool:
        found: list[str] = []
        rest = part.rest
        for value in elements(raw):
            if value[0] in "{[":
                subject = self.get(value, query.path, depth + 1)
            elif query.path:
                continue
            else:
                subject = value
            if not self._holds(query, subject):
                continue
            result: str | None = value
            if part.has_rest:
                rest, search.pipe = _split_pipe(rest, search.pipe)
                result = self.get(value, rest, depth + 1)
            if not query.all:
                search.value = result
                return True
            if result is not None:
                found.append(result)
        if query.all and search.value is None:
            search.value = f"[{','.join(found)}]"
        return False

    def _holds(self, query: _Query, subject: str | None) -> bool:
        wanted = query.value
        if wanted.startswith("~"):
            verdict = _truthiness(wanted[1:], subject)
            if verdict is None:
                return False
            subject, wanted = "true" if verdict else "false", "true"
        if subject is None:
            return False
        if not query.operator:
            return True
        first = subject[:1]
        if first == '"':
            return self._text_holds(query.operator, unescaped(subject).decode("utf-8", "surrogateescape"), wanted)
        if subject in ("true", "false"):
            return _bool_holds(query.operator, subject, wanted)
        if first == "-" or first.isdigit():
            return _compared(query.operator, _as_number(subject), _as_number(wanted))
        return False

    def _text_holds(self, operator: str, text: str, wanted: str) -> bool:
        if operator == "%":
            return self._matches(text, wanted)
        if operator == "!%":
            return not self._matches(text, wanted)
        return _compared(operator, text, wanted)

    def _matches(self, text: str, pattern: str) -> bool:
        """Return whether a text matches a pattern of `*` and `?`, in time linear in their product."""
        tokens = _pattern(pattern)
        self._spend(len(text) * (1 + tokens.count(None)))
        at = token = 0
        star = resume = -1
        while at < len(text):
            if token < len(tokens) and tokens[token] is None:
                star, resume = token, at
                token += 1
            elif token < len(tokens) and tokens[token] in ("", text[at]):
                token += 1
                at += 1
            elif star >= 0:
                token, resume = star + 1, resume + 1
                at = resume
            else:
                return False
            self._spend(1)
        return all(one is None for one in tokens[token:])

    # selectors and modifiers

    def _selected(self, raw: str, kind: str, selectors: list[tuple[str, str]], depth: int) -> str:
        parts: list[str] = []
        for name, path in selectors:
            value = self.get(raw, path, depth + 1)
            if value is None:
                continue
            if kind == "[":
                parts.append(value)
                continue
            if not name:
                last = _last_name(path)
                name = json_string((last if _is_simple(last) else "_").encode("utf-8", "surrogateescape"))
            elif name[0] != '"':
                name = json_string(name.encode("utf-8", "surrogateescape"))
            parts.append(f"{name}:{value}")
        return f"{kind}{','.join(parts)}{']' if kind == '[' else '}'}"

    def _modified(self, raw: str, path: str, depth: int) -> tuple[str, str] | None:
        """Return what a modifier makes of a value, and the rest of the path; None if there is no such modifier."""
        end = next((at for at in range(1, len(path)) if path[at] in ":|."), len(path))
        name, rest = path[1:end], path[end:]
        if name != "dig" and name not in _MODIFIERS:
            return None
        argument = ""
        if rest.startswith(":"):
            argument, rest = _argument(rest[1:])
        self._spend(2 * len(raw))
        if name == "dig":
            return f"[{','.join(self._dug(raw, argument, depth + 1))}]", rest
        return _MODIFIERS[name](raw, argument), rest

    def _dug(self, raw: str, path: str, depth: int) -> list[str]:
        found = []
        value = self.get(raw, path, depth)
        if value is not None:
            found.append(value)
        children = (value for _, value in members(raw)) if raw[:1] == "{" else elements(raw) if raw[:1] == "[" else ()
        for child in children:
            found += self._dug(child, path, depth + 1)
        return found


# paths


def _is_modifier(path: str) -> bool:
    """Return whether a component behind a point stands for the whole of what precedes it."""
    if path[:1] == "@":
        name = re.split(r"[.|:]", path[1:], maxsplit=1)[0]
        return name == "dig" or name in _MODIFIERS
    return path[:1] in ("[", "{")


def _followed(part: _Part | _ArrayPart, rest: str, *, may_pipe: bool = True) -> None:
    if may_pipe and rest and _is_modifier(rest):
        part.pipe = rest
    else:
        part.rest, part.has_rest = rest, True


def _object_part(path: str) -> _Part:
    part = _Part("")
    name: list[str] = []
    at = 0
    is_escaped = False
    while at < len(path):
        one = path[at]
        if one == "\\":
            is_escaped = True
            name.append(path[at + 1 : at + 2])
            at += 2
            continue
        if one == "|":
            part.pipe = path[at + 1 :]
            break
        if one == ".":
            _followed(part, path[at + 1 :])
            break
        part.is_wild |= one in "*?"
        name.append(one)
        at += 1
    part.name = "".join(name) if is_escaped else path[:at]
    return part


def _array_part(path: str) -> _ArrayPart:
    part = _ArrayPart("")
    at = 0
    while at < len(path):
        one = path[at]
        if one == "|":
            part.name, part.pipe = path[:at], path[at + 1 :]
            return part
        if one == ".":
            part.name = path[:at]
            _followed(part, path[at + 1 :], may_pipe=not part.is_numbered)
            return part
        if one == "#":
            part.is_numbered = True
            if at == 0 and path[1:2] == ".":
                part.each = path[2:]
            elif at == 0 and path[1:2] in ("(", "["):
                parsed = _query(path)
                if parsed is None:
                    break
                part.query, end = parsed
                part.query.all = path[end : end + 1] == "#"
                at = end
                continue
        at += 1
    part.name = path
    return part


def _query(path: str) -> tuple[_Query, int] | None:
    """Return the query at the beginning of a path, and where it ends."""
    depth, at, operator_at = 1, 2, 0
    while at < len(path):
        one = path[at]
        if depth == 1 and not operator_at and one in "!=<>%":
            operator_at = at
        elif one == "\\":
            at += 1
        elif one in "[(":
            depth += 1
        elif one in "])":
            depth -= 1
            if depth == 0:
                break
        elif one == '"':
            at = _quote_end(path, at)
        at += 1
    if depth:
        return None
    if not operator_at:
        return _Query(path[2:at].strip(), "", "", False), at + 1
    value = path[operator_at:at].strip()
    operator = next((one for one in _OPERATORS if value.startswith(one)), value[:1])
    value = value[len(operator) :].strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return _Query(path[2:operator_at].strip(), "=" if operator == "==" else operator, value, False), at + 1


def _quote_end(text: str, at: int) -> int:
    """Return the position of the quote that ends the string begun here."""
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at


def _split_pipe(path: str, pipe: str | None) -> tuple[str, str | None]:
    """Return a path up to its first pipe outside of queries, and what follows; else the pipe that there was."""
    depth, at = 0, 0
    while at < len(path):
        one = path[at]
        if one == "\\":
            at += 1
        elif one == '"' and depth:
            at = _quote_end(path, at)
        elif one in "([{":
            depth += 1
        elif one in ")]}":
            depth -= 1
        elif one == "|" and depth <= 0:
            return path[:at], path[at + 1 :]
        at += 1
    return path, pipe


def _selectors(path: str) -> tuple[list[tuple[str, str]], str] | None:
    """Return the (name, path) pairs of a selection, and the rest of the path; None if it does not end."""
    found: list[tuple[str, str]] = []
    depth, at, start, colon, in_modifier = 1, 1, 1, 0, False
    while at < len(path):
        one = path[at]
        if one == "\\":
            at += 1
        elif one == "@":
            in_modifier |= path[at - 1] in ".|"
        elif one == ":":
            if not in_modifier and not colon and depth == 1:
                colon = at
        elif one == '"':
            at = _quote_end(path, at)
        elif one in "[({":
            depth += 1
        elif one in "])}":
            depth -= 1
        if (one == "," and depth == 1) or depth == 0:
            found.append((path[start:colon], path[colon + 1 : at]) if colon else ("", path[start:at]))
            if depth == 0:
                return found, path[at + 1 :]
            start, colon, in_modifier = at + 1, 0, False
        at += 1
    return None


def _last_name(path: str) -> str:
    for at in range(len(path) - 1, -1, -1):
        if path[at] in "|." and not (at > 0 and path[at - 1] == "\\"):
            return path[at + 1 :]
    return path


def _is_simple(name: str) -> bool:
    return not any(one < " " or one in "[]{}()#|!" for one in name)


def _literal(path: str) -> tuple[str, str] | None:
    """Return the literal behind an exclamation mark, and the rest of the path."""
    text = path[1:]
    if text[0] in '{["+-0123456789':
        end = _squashed_end(text)
        return text[:end], text[end:]
    end = next((at for at in range(len(text)) if text[at] in "|."), len(text))
    return (text[:end], text[end:]) if text[:end].lower() in ("true", "false", "null", "nan", "inf") else None


def _squashed_end(text: str) -> int:
    """Return where upstream sees the end of a literal: one that is not in brackets takes the whole rest of the path."""
    depth, at = 1, 1
    while at < len(text):
        if text[at] == '"':
            at = _quote_end(text, at)
        elif text[at] in "{[(":
            depth += 1
        elif text[at] in "}])":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def _balanced_end(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        if text[at] == '"':
            at = _quote_end(text, at)
        elif text[at] in "{[(":
            depth += 1
        elif text[at] in "}])":
            depth -= 1
        at += 1
        if depth == 0:
            return at
    return len(text)


def _argument(rest: str) -> tuple[str, str]:
    """Return the argument of a modifier, and the rest of the path."""
    if rest[:1] in ("{", "[", '"'):
        end = min(_quote_end(rest, 0) + 1, len(rest)) if rest[0] == '"' else _balanced_end(rest, 0)
        return rest[:end], rest[end:]
    at = 0
    while at < len(rest) and rest[at] != "|":
        at = _balanced_end(rest, at) if rest[at] in '{["(' else at + 1
    return rest[:at], rest[at:]


# comparison


def _compared(operator: str, one: str | float, other: str | float) -> bool:
    left, right = (
        (one, other)
        if isinstance(one, float)
        # Go compares strings by their bytes.
        else (str(one).encode("utf-8", "surrogateescape"), str(other).encode("utf-8", "surrogateescape"))
    )
    comparisons: dict[str, Callable[[], bool]] = {
        "=": lambda: left == right,
        "!=": lambda: left != right,
        "<": lambda: left < right,  # type: ignore[operator]  # both are of one type
        "<=": lambda: left <= right,  # type: ignore[operator]
        ">": lambda: left > right,  # type: ignore[operator]
        ">=": lambda: left >= right,  # type: ignore[operator]
    }
    return operator in comparisons and comparisons[operator]()


def _bool_holds(operator: str, subject: str, wanted: str) -> bool:
    if operator == "=":
        return subject == wanted
    if operator == "!=":
        return subject != wanted
    if subject == "true":
        return operator == ">=" or (operator == ">" and wanted == "false")
    return operator == "<=" or (operator == "<" and wanted == "true")


def _truthiness(word: str, subject: str | None) -> bool | None:
    """Return whether a value is like true, like false, null or there; None for another word."""
    text = unescaped(subject).decode("utf-8", "replace").lower() if subject and subject[0] == '"' else None
    is_number = subject is not None and (subject[:1] == "-" or subject[:1].isdigit())
    match word:
        case "*":
            return subject is not None
        case "null":
            return subject in (None, "null")
        case "true":
            return subject == "true" or text in _TRUE_WORDS or (is_number and _as_number(subject or "") != 0)
        case "false":
            is_zero = is_number and _as_number(subject or "") == 0
            return subject in (None, "null", "false") or text in _FALSE_WORDS or is_zero
        case _:
            return None


def _pattern(pattern: str) -> list[str | None]:
    """Return a pattern as its tokens: None for any characters, nothing for any one, else the very one."""
    tokens: list[str | None] = []
    at = 0
    while at < len(pattern):
        one = pattern[at]
        if one == "\\" and at + 1 < len(pattern):
            at += 1
            tokens.append(pattern[at])
        elif one == "*":
            if not tokens or tokens[-1] is not None:
                tokens.append(None)
        else:
            tokens.append("" if one == "?" else one)
        at += 1
    return tokens


# modifiers


def _parsed(raw: str) -> str | None:
    """Return a made value, or None if it is none."""
    text = raw.lstrip()
    if not text or text[0] in "{[":
        return text or None
    found = SCALAR.match(text)
    return found.group() if found else None


def _reversed(raw: str, _: str) -> str:
    if raw[:1] == "[":
        return f"[{','.join(reversed(list(elements(raw))))}]"
    if raw[:1] == "{":
        return f"{{{','.join(f'{key}:{value}' for key, value in reversed(list(members(raw))))}}}"
    return raw


def _flag(argument: str, name: str) -> bool:
    return argument[:1] == "{" and any(key == f'"{name}"' and value == "true" for key, value in members(argument))


def _flattened(raw: str, argument: str) -> str:
    if raw[:1] != "[":
        return raw
    parts: list[str] = []
    for value in elements(raw):
        if value[0] == "[":
            inner = _flattened(value, argument) if _flag(argument, "deep") else value
            if inner[1:-1].strip():
                parts.append(inner[1:-1].strip())
        else:
            parts.append(value)
    return f"[{','.join(parts)}]"


def _joined(raw: str, argument: str) -> str:
    if raw[:1] != "[":
        return raw
    objects = [value for value in elements(raw) if value[0] == "{"]
    if _flag(argument, "preserve"):
        return f"{{{','.join(value[1:-1].strip() for value in objects)}}}"
    found: dict[bytes, tuple[str, str]] = {}
    for value in objects:
        for key, member in members(value):
            name = unescaped(key)
            found[name] = (found[name][0] if name in found else key, member)
    return f"{{{','.join(f'{key}:{value}' for key, value in found.values())}}}"


def _keys(raw: str, _: str) -> str:
    if raw[:1] == "{":
        return f"[{','.join(key for key, _ in members(raw))}]"
    if raw[:1] == "[":
        return f"[{','.join('null' for _ in elements(raw))}]"
    return "[null]" if raw else "[]"


def _values(raw: str, _: str) -> str:
    if raw[:1] == "{":
        return f"[{','.join(value for _, value in members(raw))}]"
    return raw if raw[:1] == "[" else f"[{raw}]"


def _grouped(raw: str, _: str) -> str:
    if raw[:1] != "{":
        return ""
    rows: list[list[str]] = []
    for key, value in members(raw):
        if value[0] != "[":
            continue
        for index, element in enumerate(elements(value)):
            if index == len(rows):
                rows.append([])
            rows[index].append(f"{key}:{element}")
    return f"[{','.join('{' + ','.join(row) + '}' for row in rows)}]"


def _ugly(raw: str, _: str) -> str:
    return re.sub(r'("[^"\\]*(?:\\.[^"\\]*)*")|[\x00-\x20]+', lambda found: found[1] or "", raw, flags=re.DOTALL)


def _pretty(raw: str, _: str) -> str:
    return f"{_laid_out(raw, '', 0)}\n" if raw else ""


def _laid_out(raw: str, indent: str, column: int) -> str:
    """Return a value over several lines; an array of no objects stays on one where it fits."""
    inner = indent + _INDENT
    if raw[:1] == "{":
        lines = [f"{inner}{key}: {_laid_out(value, inner, len(inner + key) + 2)}" for key, value in members(raw)]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}" if lines else "{}"
    if raw[:1] == "[":
        single = _on_one_line(raw)
        room = _WIDTH - column
        if single is not None and room > 3 and len(single.encode("utf-8", "surrogateescape")) <= room:
            return single
        lines = [inner + _laid_out(value, inner, len(inner)) for value in elements(raw)]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]" if lines else "[]"
    return raw


def _on_one_line(raw: str) -> str | None:
    parts: list[str] = []
    for value in elements(raw):
        if value[0] == "{":
            return None
        part = _on_one_line(value) if value[0] == "[" else value
        if part is None:
            return None
        parts.append(part)
    return f"[{', '.join(parts)}]"


def _from_text(raw: str, _: str) -> str:
    text = as_text(raw)
    try:
        return readable(text)
    except NotJsonError:
        return text.decode("utf-8", "surrogateescape") if raw[:1] != '"' else ""


def _to_text(raw: str, _: str) -> str:
    return json_string(raw.encode("utf-8", "surrogateescape"))


_MODIFIERS: Final[dict[str, Callable[[str, str], str]]] = {
    "pretty": _pretty,
    "ugly": _ugly,
    "reverse": _reversed,
    "this": lambda raw, _: raw,
    "flatten": _flattened,
    "join": _joined,
    "valid": lambda raw, _: raw,
    "keys": _keys,
    "values": _values,
    "tostr": _to_text,
    "fromstr": _from_text,
    "group": _grouped,
}
