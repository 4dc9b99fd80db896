"""Texts to objects: the documents of a file, lists taken apart, and what counts as a manifest at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources._yaml import YamlError, YamlLimits, read_documents, whole_number
from fairlead.agentsync.sources.port import RenderError

_LOOKS_LIKE_A_MANIFEST: Final = tuple(
    re.compile(rf"(?m)^\s*[\"']?{name}[\"']?\s*:") for name in ("apiVersion", "kind", "metadata")
)
_LISTS_DEPTH_MAX: Final = 16
DEPTH_MAX: Final = YamlLimits().depth


class NotManifests(RenderError):
    """A text has no objects of Kubernetes in it.

    Args:
        has_good_part: whether it began with some, so that the rest is a slip and no other kind of file.
    """

    def __init__(self, message: str, *, has_good_part: bool) -> None:
        super().__init__(message)
        self.has_good_part = has_good_part


def read_yaml(content: bytes, limits: YamlLimits | None = None, *, is_strict: bool = True) -> list[Object]:
    """Return the objects of a YAML text; empty documents are none, and lists are kept as they are.

    Args:
        content: UTF-8.
        limits: how much it may hold.
        is_strict: whether a key that is there twice is an error.

    Raises:
        NotManifests: it does not parse, or a document has no kind.
    """
    found: list[Object] = []
    try:
        for document in read_documents(content, limits, is_strict=is_strict):
            if document is None:
                continue
            if not isinstance(document, dict):
                raise YamlError(f"document {len(found) + 1} is no map")
            if not document:
                continue
            if not isinstance(document.get("kind"), str) or not document["kind"]:
                raise YamlError(f"Object 'Kind' is missing in document {len(found) + 1}")
            found.append(document)
    except YamlError as error:
        raise NotManifests(str(error), has_good_part=bool(found)) from error
    return found


def read_json(name: str, content: bytes) -> list[Object]:
    """Return the only object of a JSON text.

    Raises:
        RenderError: it is none, or has more than one; the message names the file.
    """
    try:
        text = content.decode("utf-8-sig").strip()
        found, end = _JSON.raw_decode(text)
        if text.count("{") + text.count("[") > DEPTH_MAX:
            check_depth(found)
    except (ValueError, RecursionError) as error:
        raise RenderError(f'Failed to unmarshal "{name}": {_json_problem(error)}') from None
    if "\\u" in text:
        found = _sound(found)
    if text[end:].strip():
        raise RenderError(f'Found multiple objects in "{name}". Only single objects are allowed in JSON files.')
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str) or not found["kind"]:
        raise RenderError(f"Failed to unmarshal \"{name}\": Object 'Kind' is missing")
    return [found]


def check_depth(value: Any) -> None:
    """Refuse what is nested too deeply for those who walk through it.

    Raises:
        RecursionError: it is.
    """
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise RecursionError


def _sound(value: Any) -> Any:
    """Return a value whose texts are Unicode: half a surrogate pair becomes a question mark, as nobody can store it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_sound(key): _sound(inner) for key, inner in value.items()}
    return [_sound(inner) for inner in value] if isinstance(value, list) else value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    return whole_number(float(text))


_JSON: Final = json.JSONDecoder(parse_float=_float, parse_constant=_no_constant)


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def looks_like_a_manifest(content: bytes) -> bool:
    """Return whether somebody meant a text to be an object of Kubernetes."""
    text = content.decode("utf-8", "replace")
    return all(each.search(text) for each in _LOOKS_LIKE_A_MANIFEST)


def flatten(objects: Iterable[Object]) -> Iterator[Object]:
    """Yield objects with lists replaced by their items.

    Raises:
        RenderError: lists within lists within lists, too often.
    """
    for each in objects:
        yield from _flattened(each, 0)


def _flattened(found: Object, depth: int) -> Iterator[Object]:
    if depth > _LISTS_DEPTH_MAX:
        raise RenderError(f"lists of lists, more than {_LISTS_DEPTH_MAX} deep")
    items: Any = found.get("items")
    if isinstance(items, list):
        for item in items:
            if not isinstance(item, dict):
                raise RenderError(f"an item of a {found.get('kind')} is no object")
            yield from _flattened(item, depth + 1)
    elif not ("items" in found and items is None and "spec" not in found and "status" not in found):
        yield found
