"""JSON as providers' values need it: numbers keep their digits, and text is written as Go's encoder writes it.

Two styles of what is visible in Secrets live here: Vault's (parsed, written again) and everybody else's (raw slices of
the provider's text). Source: Go `encoding/json`, `strconv.FormatFloat`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn

from fairlead.core.scanning import members

DEPTH_MAX: Final = 200  # far above any real document, far below what would exhaust a stack of ours
_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_TO_ESCAPE: Final = re.compile('["\\\\\x00-\x1f<>&\u2028\u2029\ud800-\udfff]')
_TO_ESCAPE_PLAIN: Final = re.compile('["\\\\\x00-\x1f\u2028\u2029\ud800-\udfff]')


class NotJson(ValueError):
    """The text is no JSON; the message never quotes it."""


class Number(str):
    """A number by its digits in the document."""

    __slots__ = ()


def _no_constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no JSON")


_decoder: Final = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_no_constant, strict=False)


def parse(document: bytes) -> Any:
    """Return the value; numbers are `Number`, the last of duplicate keys wins, broken UTF-8 becomes U+FFFD.

    Raises:
        NotJson: or nested more than some hundred levels deep.
    """
    try:
        value = _decoder.decode(document.decode("utf-8", "replace"))
        if _is_deeper_than(value, DEPTH_MAX):
            raise NotJson(f"nested more than {DEPTH_MAX} levels deep")
        return value
    except json.JSONDecodeError as error:
        # Not `from error`: the decoder's error carries the whole document.
        raise NotJson(f"no valid JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise NotJson(f"nested more than {DEPTH_MAX} levels deep") from None


def _is_deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return True


def parse_object(document: bytes) -> dict[str, Any]:
    """Return the entries of a JSON object. Raises: NotJson."""
    value = parse(document)
    if not isinstance(value, dict):
        raise NotJson("expected a JSON object")
    return value


def encode(value: Any) -> bytes:
    """Return compact JSON with sorted keys; `<`, `>` and `&` are escaped as Go does it, a `Number` keeps its digits."""
    return "".join(_pieces(value)).encode()


def encode_texts(values: Mapping[str, str]) -> bytes:
    """Return a JSON object of texts, compact and sorted, in which `<`, `>` and `&` stand as they are."""
    entries = (
        f'"{_TO_ESCAPE_PLAIN.sub(_escape, key)}":"{_TO_ESCAPE_PLAIN.sub(_escape, values[key])}"'
        for key in sorted(values)
    )
    return f"{{{','.join(entries)}}}".encode()


def _pieces(value: Any) -> Sequence[str]:
    match value:
        case None:
            return ("null",)
        case bool():
            return ("true" if value else "false",)
        case Number():
            return (str(value),)
        case str():
            return (_quoted(value),)
        case float():
            return (_float_in_json(value),)
        case int():
            return (str(value),)
        case Mapping():
            # Code points sort as their UTF-8 bytes do.
            entries = (f"{_quoted(key)}:{''.join(_pieces(value[key]))}" for key in sorted(value))
            return ("{", ",".join(entries), "}")
        case _:
            return ("[", ",".join("".join(_pieces(item)) for item in value), "]")


def _quoted(text: str) -> str:
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    if "\ud800" <= character <= "\udfff":
        return "\\ufffd"
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"


def _fixed(number: float) -> str:
    """Return the shortest digits that read back as the number, never with an exponent."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float_in_json(number: float) -> str:
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return _fixed(number)
    mantissa, _, exponent = repr(number).partition("e")
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').lstrip('0')}"


def as_floats(value: Any) -> Any:
    """Return the value with every number turned into a float, as a Go program without `UseNumber` holds it.

    Raises:
        NotJson: a number is outside of what a float can hold.
    """
    if isinstance(value, Number):
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise NotJson("a number is out of range")
        return number
    if isinstance(value, dict):
        return {key: as_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_floats(inner) for inner in value]
    return value


def text_of(value: Any) -> str:
    """Return an entry as the value of a Secret's key: text as it is, null as nothing, the rest as JSON."""
    match value:
        case None:
            return ""
        case Number():
            return str(value)
        case float():
            return _fixed(value)
        case str():
            return value
        case _:
            return encode(value).decode()


def raw_entries(document: bytes) -> dict[str, str]:
    """Return the entries of a JSON object by key: text unquoted, null as nothing, all else as the document has it.

    Raises:
        NotJson: it is no object.
    """
    entries = parse_object(document)  # what is no JSON anywhere fails as a whole
    try:
        raws = {key: bytes(raw).strip() for key, raw in members(document).items()}
    except ValueError as error:  # valid for us and not for the scanner: broken UTF-8
        raise NotJson("no valid UTF-8") from error
    return {
        key: text_of(value)
        if value is None or (isinstance(value, str) and not isinstance(value, Number))
        else _slice(raws[key])
        for key, value in entries.items()
    }


def _slice(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
