"""User-written JSON to typed values: lenient where Kubernetes is, exact about what is wrong otherwise.

Here too: one object of the API to its value, so that an odd object degrades itself alone (`decode_object`).

Unknown fields are skipped, `null` stands for an absent field (as Go reads it), and a value of the wrong type becomes
a `SpecError` that names the field path, what was found and what was expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from fairlead.core.cluster import Undecodable
from fairlead.core.errors import SpecError
from fairlead.core.objects import Kind, ObjectMeta
from fairlead.core.objects import T as ObjectT
from fairlead.core.scanning import members

T = TypeVar("T")

INT32_MAX = 2**31 - 1
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=INT32_MAX, extra_json_schema={"format": "int32"})]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1, extra_json_schema={"format": "int64"})]


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Settings of a value that a user writes: camelCase, unknown fields skipped, absent fields not written."""


def doc(text: str) -> msgspec.Meta:
    """Return the annotation that documents a field, in the code and in the generated CRD."""
    return msgspec.Meta(description=text)


PRESERVED = {"x-kubernetes-preserve-unknown-fields": True}  # in the schema of a field that is somebody else's

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<path>.*)`)?$", re.DOTALL)
_SEGMENT = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_PYTHON = {"str": str, "int": int, "object": dict, "array": list, "bool": bool}
_VALUE_CHARACTERS_MAX = 80


class Decoder(Generic[T]):
    """Decodes one type from JSON bytes; reuse it.

    Args:
        of: the type.
        root: the field path of the whole, such as `spec`.
        opaque: keys below which `null` is data and is kept (a plug-in's own configuration).
    """

    def __init__(self, of: type[T], *, root: str, opaque: Collection[str] = ()) -> None:
        self._of = of
        self._root = root
        self._opaque = frozenset(opaque)

    def decode(self, raw: bytes | msgspec.Raw) -> T:
        """Return the value.

        Raises:
            SpecError: not JSON, nested too deeply, or a field of the wrong type.

        >>> Decoder(dict[str, int], root="spec").decode(b'{"a": "x"}')
        Traceback (most recent call last):
        ...
        fairlead.core.errors.SpecError: spec.a: Invalid value: "x": expected int, found str
        """
        data = bytes(raw)
        try:
            if b"null" in data:
                data = self._without_nulls(data)
            try:
                return self._typed.decode(data)
            except msgspec.ValidationError as error:
                raise explain(error, msgspec.json.decode(data), root=self._root) from None
        except RecursionError:
            raise SpecError("nested too deeply", path=self._root) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"not valid JSON: {error}", path=self._root) from None

    @cached_property
    def _typed(self) -> msgspec.json.Decoder[T]:
        """Made when it is first needed: msgspec looks at every type below, which takes longer than many an import."""
        return msgspec.json.Decoder(self._of)

    def _without_nulls(self, data: bytes) -> bytes:
        # One level at a time, as raw JSON, so that what is opaque stays byte-equal.
        try:
            fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            return data
        kept: dict[str, Any] = {}
        for key, raw in fields.items():
            if key in self._opaque or b"null" not in bytes(raw):
                kept[key] = raw
            elif (value := self._strip(msgspec.json.decode(raw))) is not None:
                kept[key] = value
        return msgspec.json.encode(kept)

    def _strip(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: inner if key in self._opaque else self._strip(inner)
                for key, inner in value.items()
                if inner is not None
            }
        if isinstance(value, list):
            return [self._strip(item) for item in value]
        return value


def explain(error: msgspec.ValidationError, data: Any, *, root: str) -> SpecError:
    """Return the SpecError for a value that did not fit its type.

    Args:
        error: what msgspec said.
        data: the same document as plain JSON data, to quote from.
        root: the field path of the whole.
    """
    matched = _WHERE.match(str(error))
    what, where = (matched["what"], matched["path"] or "") if matched else (str(error), "")
    expected, found = _expectation(what)
    path, value = root, data
    for segment in _SEGMENT.finditer(where):
        name, index = segment.groups()
        if name is not None:
            path, value = f"{path}.{name}", value.get(name) if isinstance(value, dict) else None
        elif isinstance(value, list) and index != "...":
            path, value = f"{path}[{index}]", value[int(index)] if int(index) < len(value) else None
        elif isinstance(value, dict):
            key = _culprit(value, expected)
            path, value = f"{path}.{key}", value.get(key)
    if what.startswith("Object missing required field"):
        return SpecError("Required value", path=f"{path}.{what.split('`')[1]}")
    quoted = json.dumps(value, ensure_ascii=False, default=str)
    if len(quoted) > _VALUE_CHARACTERS_MAX:
        quoted = quoted[:_VALUE_CHARACTERS_MAX] + "…"
    if not what.startswith("Expected "):
        detail = f"{what[:1].lower()}{what[1:]}"
    else:
        detail = f"expected {expected}, found {found}" if found else f"expected {expected}"
    return SpecError(f"Invalid value: {quoted}: {detail}", path=path)


def _expectation(what: str) -> tuple[str, str]:
    """Split msgspec's "Expected `int | null`, got `str`" into what was expected and what was found."""
    text = what.removeprefix("Expected ").replace("`", "").replace(" | null", "")
    expected, _, found = text.partition(", got ")
    return expected, found


def _culprit(values: dict[str, Any], expected: str) -> str:
    """Return the key of the entry that is wrong: msgspec does not name keys of free mappings."""
    wanted = tuple(_PYTHON[word] for word in expected.split(" | ") if word in _PYTHON)
    return next((key for key, value in values.items() if wanted and not isinstance(value, wanted)), "*")


# -- objects of the API ----------------------------------------------------------------------------------------------

# What a `Kind.decode` may raise for bad bytes: msgspec's errors and invalid UTF-8 are ValueErrors, and a document
# nested some thousand levels deep ends in a RecursionError.
DECODE_ERRORS = (ValueError, SpecError, RecursionError)

_AT = re.compile(r"^(?P<text>.*) - at `\$\.?(?P<path>.*)`$", re.DOTALL)


class _Metadata(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class _Identity(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


_metadata = msgspec.json.Decoder(_Metadata)
_identity = msgspec.json.Decoder(_Identity)


def describe_decode_error(error: Exception) -> str:
    """Return what is wrong as `field.path: expected this, got that`, in the words of our other messages.

    >>> describe_decode_error(ValueError("Expected `int`, got `str` - at `$.spec.replicas`"))
    'spec.replicas: expected int, got str'
    """
    if isinstance(error, RecursionError):
        return "nested too deeply to be read"
    if isinstance(error, SpecError):
        return str(error)
    found = _AT.match(str(error))
    text = (found.group("text") if found else str(error)).replace("`", "")
    text = text[:1].lower() + text[1:]
    return f"{found.group('path')}: {text}" if found else text


def decode_object(kind: Kind[ObjectT], raw: bytes) -> ObjectT | Undecodable:
    """Return the object, or what could be read of its metadata and why the rest could not."""
    try:
        value = kind.decode(raw)
    except DECODE_ERRORS as error:
        return Undecodable(metadata=_readable_metadata(raw), error=describe_decode_error(error))
    if not value.metadata.name:
        return Undecodable(metadata=value.metadata, error="metadata.name: expected a name, found none")
    return value


def _readable_metadata(raw: bytes) -> ObjectMeta:
    try:
        return _metadata.decode(raw).metadata
    except DECODE_ERRORS:
        pass
    try:  # an odd label must not cost us the name, nor what is nested too deeply elsewhere
        identity = _identity.decode(members(raw).get("metadata", b"{}"))
    except DECODE_ERRORS:
        return ObjectMeta()
    return ObjectMeta(
        name=identity.name,
        namespace=identity.namespace,
        uid=identity.uid,
        resource_version=identity.resource_version,
    )
