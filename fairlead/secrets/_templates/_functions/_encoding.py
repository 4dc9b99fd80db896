"""Encodings, JSON and YAML. Decoders of base 64, base 32 and hexadecimal return the text of an error as the value.

Source: `Masterminds/sprig` v3, `external-secrets: runtime/template`.
"""

from __future__ import annotations

import base64
from typing import Final

from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._templates import _json, _yaml
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._values import Value

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING = Type.ANY, Type.STRING
_BASE32: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_HEX: Final = b"0123456789abcdefABCDEF"


@_add("b64enc", takes=(_STRING,))
def _b64enc(_: Context, text: bytes) -> bytes:
    return base64.b64encode(text)


@_add("b64dec", takes=(_STRING,))
def _b64dec(_: Context, text: bytes) -> bytes:
    try:
        return decode_base64(text)
    except Base64Error as error:
        return str(error).encode()


@_add("b32enc", takes=(_STRING,))
def _b32enc(_: Context, text: bytes) -> bytes:
    return base64.b32encode(text)


@_add("b32dec", takes=(_STRING,))
def _b32dec(c: Context, text: bytes) -> bytes:
    c.budget.step(len(text) // 64)
    return decoded_base32(text)


def decoded_base32(text: bytes) -> bytes:
    """Return decoded text, or why it cannot be decoded."""
    digits = text.translate(None, b"\r\n")
    offence = _base32_offence(digits)
    return base64.b32decode(digits) if offence is None else b"illegal base32 data at input byte %d" % offence


def _base32_offence(digits: bytes) -> int | None:
    """Return the position that Go names, or None if all is well."""
    padding = len(digits)
    for at, byte in enumerate(digits):
        if byte == 61 and at % 8 >= 2 and len(digits) - at <= 8:
            padding = at
            break
        if byte not in _BASE32:
            return at
    given, left = padding % 8, len(digits) - padding
    if not left:
        return len(digits) - given if given else None
    if left - 1 + given < 7:
        return len(digits)
    foreign = next((at for at in range(padding + 1, padding + 8 - given) if digits[at] != 61), None)
    if foreign is not None:
        return foreign - 1
    if given in (3, 6):
        return padding
    return None if left == 8 - given else padding


@_add("hexdec", takes=(_STRING,))
def _hexdec(_: Context, text: bytes) -> bytes:
    for byte in text:
        if byte not in _HEX:
            return f"encoding/hex: invalid byte: U+{byte:04X} {_shown(byte)}".rstrip().encode()
    if len(text) % 2:
        return b"encoding/hex: odd length hex string"
    return bytes.fromhex(text.decode())


def _shown(byte: int) -> str:
    return f"'{chr(byte)}'" if chr(byte).isprintable() else ""


@_add("toJson", takes=(_ANY,))
def _to_json(c: Context, value: Value) -> bytes:
    try:
        return _json.encode(value, c.budget)
    except FunctionError:
        return b""


@_add("mustToJson", takes=(_ANY,))
def _must_to_json(c: Context, value: Value) -> bytes:
    return _json.encode(value, c.budget)


@_add("toPrettyJson", takes=(_ANY,))
def _to_pretty_json(c: Context, value: Value) -> bytes:
    try:
        return _json.encode(value, c.budget, indent=True)
    except FunctionError:
        return b""


@_add("mustToPrettyJson", takes=(_ANY,))
def _must_to_pretty_json(c: Context, value: Value) -> bytes:
    return _json.encode(value, c.budget, indent=True)


@_add("toRawJson", "mustToRawJson", takes=(_ANY,))
def _to_raw_json(c: Context, value: Value) -> bytes:
    return _json.encode(value, c.budget, html=False)


@_add("fromJson", takes=(_STRING,))
def _from_json(c: Context, text: bytes) -> Value:
    try:
        return _json.decode(text, c.budget)
    except FunctionError:
        return None


@_add("mustFromJson", takes=(_STRING,))
def _must_from_json(c: Context, text: bytes) -> Value:
    return _json.decode(text, c.budget)


@_add("toYaml", takes=(_ANY,))
def _to_yaml(c: Context, value: Value) -> bytes:
    try:
        return _yaml.dump(value, c.budget)
    except FunctionError:
        return b""


@_add("fromYaml", takes=(_STRING,))
def _from_yaml(c: Context, text: bytes) -> Value:
    try:
        document = _yaml.as_json_data(_yaml.load(text, c.budget))
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise _yaml.unmarshal_error(document, "map[string]interface {}")
        return document
    except FunctionError as error:
        return {b"Error": str(error).encode()}
