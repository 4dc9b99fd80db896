"""The outermost members of a JSON document, without descending into them.

Decoders recurse, and give up some thousand levels down; an API server takes ten times as many. So that one object
nested too deeply does not cost us the list or the event that it came in, the envelope can be cut open by scanning.
It is slow, and meant for what has failed to decode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb"|[\"{}\[\],]", re.DOTALL)
_KEY = re.compile(rb"\s*(" + _STRING + rb")\s*:", re.DOTALL)


def members(raw: bytes) -> dict[str, bytes]:
    """Return the values of an object as raw JSON, by key; of equal keys the last one counts.

    Raises:
        ValueError: it is no object, or does not end.

    >>> members(b'{"a": [1, {"b": "}"}], "c": null}')
    {'a': b'[1, {"b": "}"}]', 'c': b'null'}
    """
    found: dict[str, bytes] = {}
    for piece in _pieces(raw, b"{"):
        key = _KEY.match(piece)
        if key is None:
            raise ValueError("a member without a key")
        found[str(json.loads(key.group(1)))] = piece[key.end() :].strip()
    return found


def elements(raw: bytes) -> list[bytes]:
    """Return the elements of an array as raw JSON.

    Raises:
        ValueError: it is no array, or does not end.
    """
    return [piece.strip() for piece in _pieces(raw, b"[")]


def _pieces(raw: bytes, opening: bytes) -> Iterator[bytes]:
    """Yield what stands between the outermost brackets, cut at the commas that are in no others."""
    text = raw.strip()
    if text[:1] != opening:
        raise ValueError(f"expected {opening.decode()}, found {text[:1].decode('utf-8', 'replace')!r}")
    depth, start = 0, 1
    for token in _TOKEN.finditer(text):
        match token.group():
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
                if depth == 0:
                    if text[start : token.start()].strip():
                        yield text[start : token.start()]
                    return
            case b'"':
                raise ValueError("a string does not end")
            case b"," if depth == 1:
                yield text[start : token.start()]
                start = token.end()
    raise ValueError("it does not end")
