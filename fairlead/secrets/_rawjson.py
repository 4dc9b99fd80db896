"""JSON as text: members and elements as the slices that the document holds, byte for byte.

Providers return what stands in a document, not what a decoder makes of it: `1.50` and `12345678901234567890` would
change on the way through a float, and spaces within an object would go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from fairlead.core.errors import FairleadError

NESTING_MAX: Final = 100
_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN: Final = re.compile(_STRING + r"|[\[{\]}]", re.DOTALL)
SCALAR: Final = re.compile(_STRING + r"|[^\s,\]}:]+", re.DOTALL)
_SPACE: Final = re.compile(r"[\s,:]*")
_STRAY: Final = re.compile("[\ud800-\udfff]")


class NotJsonError(FairleadError):
    """A text is no JSON, or nests too deeply. The message repeats none of it."""


def readable(document: bytes) -> str:
    """Return a document as text, once it is known to be JSON.

    Raises:
        NotJsonError: it is none.
    """
    text = document.decode("utf-8", "surrogateescape")
    depth = 0
    for token in _TOKEN.finditer(text):
        one = token.group()
        if one in ("{", "["):
            depth += 1
            if depth > NESTING_MAX:
                raise NotJsonError(f"JSON nests more than {NESTING_MAX} deep")
        elif one in ("}", "]"):
            depth -= 1
    try:
        # Numbers are not built: one of a million digits would take minutes.
        json.loads(_STRAY.sub("\ufffd", text), parse_int=_ignore, parse_float=_ignore, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotJsonError("not valid JSON") from None
    return text.strip(" \t\r\n")


def _ignore(_: str) -> int:
    return 0


def _refuse(_: str) -> int:
    raise ValueError


def _end(text: str, at: int) -> int:
    """Return where the value that begins here ends."""
    if text[at] not in "{[":
        found = SCALAR.match(text, at)
        return found.end() if found else at + 1
    depth = 0
    for token in _TOKEN.finditer(text, at):
        match text[token.start()]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                if depth == 0:
                    return token.end()
            case _:
                continue
    return len(text)


def _next(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def members(text: str) -> Iterator[tuple[str, str]]:
    """Yield the members of an object as raw key and raw value, equal keys included."""
    at = _next(text, 1)
    while at < len(text) and text[at] == '"':
        end = _end(text, at)
        start = _next(text, end)
        stop = _end(text, start)
        yield text[at:end], text[start:stop]
        at = _next(text, stop)


def elements(text: str) -> Iterator[str]:
    """Yield the elements of an array as raw values."""
    at = _next(text, 1)
    while at < len(text) and text[at] != "]":
        end = _end(text, at)
        yield text[at:end]
        at = _next(text, end)


def unescaped(raw: str) -> bytes:
    """Return the text of a raw JSON string; bytes that are no characters stay as they are."""
    if "\\" not in raw:
        return raw[1:-1].encode("utf-8", "surrogateescape")
    parts: list[bytes] = []
    copied = 1
    for found in re.finditer(r"(?:\\u[0-9a-fA-F]{4})+|\\.", raw):
        parts.append(raw[copied : found.start()].encode("utf-8", "surrogateescape"))
        parts.append(_STRAY.sub("\ufffd", str(json.loads(f'"{found.group()}"'))).encode())
        copied = found.end()
    parts.append(raw[copied:-1].encode("utf-8", "surrogateescape"))
    return b"".join(parts)
