"""JSON patch (RFC 6902) and Kubernetes' strategic merge patch; RFC 7386 is in `core.patches`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.testing.shapes import Shape


class PatchError(ValueError):
    """The patch cannot be applied; the text says which operation and why."""


def json_patch(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Return the document with the operations applied in order; the arguments are not changed.

    Raises:
        PatchError: an operation is malformed, points to nothing, or is a `test` that fails. Nothing is applied then.
    """
    for operation in operations:
        if not isinstance(operation, Mapping) or "op" not in operation or "path" not in operation:
            raise PatchError("each operation needs the members op and path")
        document = _perform(document, operation)
    return document


def _perform(document: Any, operation: Mapping[str, Any]) -> Any:
    name, path = operation["op"], _pointer(operation["path"])
    match name:
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            _find(document, path)
            return _add(_remove(document, path), path, _value(operation)) if path else _value(operation)
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise PatchError(f"cannot move {operation['from']!r} into itself")
            value = _find(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, _find(document, _pointer(operation.get("from"))))
        case "test":
            if not _equal(_find(document, path), _value(operation)):
                raise PatchError(f"testing path {operation['path']} failed: values differ")
            return document
        case _:
            raise PatchError(f"unknown operation {name!r}")


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f"operation {operation['op']} needs a value")
    return operation["value"]


def _pointer(text: Any) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{text!r} is no JSON pointer")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: unlike in Python, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _index(items: list[Any], part: str, *, end: int) -> int:
    # RFC 6901: no leading zeros, no sign.
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")) or int(part) > end:
        raise PatchError(f"{part!r} is no index into a list of {len(items)}")
    return int(part)


def _step(document: Any, part: str) -> Any:
    if isinstance(document, Mapping) and part in document:
        return document[part]
    if isinstance(document, list):
        return document[_index(document, part, end=len(document) - 1)]
    raise PatchError(f"there is no member {part!r}")


def _find(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = _step(document, part)
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(document, Mapping):
        return {**document, part: _add(_step(document, part), rest, value) if rest else value}
    if isinstance(document, list):
        if rest:
            index = _index(document, part, end=len(document) - 1)
            return [*document[:index], _add(document[index], rest, value), *document[index + 1 :]]
        index = len(document) if part == "-" else _index(document, part, end=len(document))
        return [*document[:index], value, *document[index:]]
    raise PatchError(f"cannot add {part!r} to a scalar")


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise PatchError("cannot remove the whole document")
    part, rest = path[0], path[1:]
    inner = _step(document, part)
    if isinstance(document, list):
        index = int(part)
        middle = [_remove(inner, rest)] if rest else []
        return [*document[:index], *middle, *document[index + 1 :]]
    if rest:
        return {**document, part: _remove(inner, rest)}
    return {key: value for key, value in document.items() if key != part}


_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(live: Any, patch: Mapping[str, Any], shape: Shape) -> Any:
    """Return the live object with a strategic merge patch applied: lists with a merge key merge by it.

    Raises:
        PatchError: a directive is malformed, or an item lacks its merge key.

    Source: `k8s.io/apimachinery: pkg/util/strategicpatch`, the directives `$patch`, `$retainKeys`,
    `$deleteFromPrimitiveList` and `$setElementOrder`.
    """
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if not key.startswith("$")}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"unknown patch type {directive!r}")
    result: dict[str, Any] = dict(live) if isinstance(live, Mapping) else {}
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES) and isinstance(value, list):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            result[name] = [item for item in result.get(name) or [] if item not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        member = shape.member(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = strategic_merge(result.get(key), value, member)
        elif isinstance(value, list):
            result[key] = _merge_list(result.get(key) or [], value, member)
        else:
            result[key] = value
    for key, value in patch.items():
        if key.startswith(_ORDER) and isinstance(value, list):
            name = key.removeprefix(_ORDER)
            if isinstance(result.get(name), list):
                result[name] = _in_order(result[name], value, shape.member(name))
    return result


def _merge_list(live: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    directives = {item.get("$patch") for item in patch if isinstance(item, Mapping)}
    if "replace" in directives:
        return [item for item in patch if not (isinstance(item, Mapping) and "$patch" in item)]
    if shape.list_type == "set":
        return [*live, *(item for item in patch if item not in live)]
    key = shape.merge_key
    if not key:
        return patch
    result = list(live)
    for item in patch:
        if not isinstance(item, Mapping) or key not in item:
            raise PatchError(f"map does not contain declared merge key: {key}")
        place = next(
            (i for i, old in enumerate(result) if isinstance(old, Mapping) and old.get(key) == item[key]), None
        )
        if item.get("$patch") == "delete":
            result = [old for old in result if not (isinstance(old, Mapping) and old.get(key) == item[key])]
        elif place is None:
            result.append(strategic_merge({}, item, shape.item))
        else:
            result[place] = strategic_merge(result[place], item, shape.item)
    return result


def _in_order(items: list[Any], order: list[Any], shape: Shape) -> list[Any]:
    """Sort the items named by `order` into it; others keep their place relative to what precedes them."""
    key = shape.merge_key

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, Mapping) else item

    wanted = [identity(item) for item in order]
    named = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    result: list[Any] = []
    remaining = iter(named)
    for item in items:
        result.append(next(remaining) if identity(item) in wanted else item)
    return result
