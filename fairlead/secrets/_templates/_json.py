"""JSON as Go reads and writes it.

Source: Go's `encoding/json`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from fairlead.secrets._templates._budget import Budget
from fairlead.secrets._templates._errors import FunctionError, TemplateLimit
from fairlead.secrets._templates._numbers import format_float
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._text import runes, seen
from fairlead.secrets._templates._times import Time
from fairlead.secrets._templates._values import Certificate, NoList, NoStrings, Value, type_name

# What JSON encoders of Go escape, as HTML is, and what they escape always.
_HTML: Final = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_PLAIN: Final = re.compile('[\x00-\x1f"\\\\\u2028\u2029]')
_SHORT: Final = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
_NESTING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


def json_float(number: float) -> str:
    """Return a number as JavaScript writes it: with an exponent from 1e21 on, and below 1e-6.

    >>> [json_float(one) for one in (12345678.0, 1e21, 1e-7, -0.0)]
    ['12345678', '1e+21', '1e-7', '-0']
    """
    magnitude = abs(number)
    if magnitude and (magnitude < 1e-6 or magnitude >= 1e21):
        mantissa, sign, exponent = re.split("([+-])(?=[0-9]+$)", format_float(number, "e"))
        return mantissa + sign + (exponent.lstrip("0") if sign == "-" else exponent)
    return format_float(number, "f")


def json_string(value: bytes, *, html: bool = True) -> str:
    """Return a string as JSON; a byte that is no character becomes U+FFFD, written as an escape."""
    kept = runes(value)
    text = (_HTML if html else _PLAIN).sub(_escaped, kept)
    if not kept.isascii():
        text = re.sub("[\udc80-\udcff]", "\\\\ufffd", text)
    return f'"{text}"'


def _escaped(found: re.Match[str]) -> str:
    one = found.group()
    return _SHORT.get(one) or f"\\u{ord(one):04x}"


def encode(value: Value, budget: Budget, *, html: bool = True, indent: bool = False) -> bytes:
    """Return a value as JSON with sorted keys.

    Raises:
        FunctionError: a number or a type that JSON does not have.
        TemplateLimit: it nests too deeply, or is too long.
    """
    return "".join(_pieces(value, budget, html=html, indent="\n" if indent else "", depth=0)).encode()


def _pieces(value: Any, budget: Budget, *, html: bool, indent: str, depth: int) -> Iterator[str]:
    budget.step()
    if depth > budget.limits.depth:
        raise TemplateLimit(f"a value nests more than {budget.limits.depth} deep")
    inner = f"{indent}  " if indent else ""
    if isinstance(value, NoStrings | NoList):
        yield "null"
    elif isinstance(value, list):
        if not value:
            yield "[]"
            return
        yield "["
        for number, item in enumerate(value):
            yield f"{',' if number else ''}{inner}"
            yield from _pieces(item, budget, html=html, indent=inner, depth=depth + 1)
        yield f"{indent}]"
    elif isinstance(value, dict):
        if not value:
            yield "{}"
            return
        yield "{"
        for number, key in enumerate(sorted(value)):
            yield f"{',' if number else ''}{inner}{json_string(key, html=html)}:{' ' if indent else ''}"
            yield from _pieces(value[key], budget, html=html, indent=inner, depth=depth + 1)
        yield f"{indent}}}"
    else:
        text = _scalar(value, html=html)
        budget.allocate(len(text))
        yield text


def _scalar(value: Value, *, html: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case bytes():
            return json_string(value, html=html)
        case int():
            return str(int(value))
        case float():
            if not math.isfinite(value):
                raise FunctionError("json: unsupported value: a number that is not finite")
            return json_float(value)
        case Time():
            return f'"{value.format("2006-01-02T15:04:05.999999999Z07:00")}"'
        case Version():
            return json_string(str(value).encode(), html=html)
        case Certificate():
            return f'{{"Cert":{json_string(value.cert, html=html)},"Key":{json_string(value.key, html=html)}}}'
        case _:
            raise FunctionError(f"json: unsupported type: {type_name(value)}")


def decode(text: bytes, budget: Budget) -> Value:
    """Return what JSON says: every number is a float, and of equal keys the last one counts.

    Raises:
        FunctionError: it is no JSON; the message does not repeat any of it.
        TemplateLimit: it nests too deeply, or holds too much.
    """
    shown = seen(runes(text))
    budget.allocate(len(text))
    _check_nesting(shown, budget)
    try:
        found = json.loads(shown, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FunctionError(_problem(error)) from None
    return _converted(found, budget)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("json: cannot unmarshal number into Go value of type float64")
    return number


def _refuse(_: str) -> float:
    raise ValueError("invalid character in JSON")


def _problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON at character {error.pos + 1}"
    return str(error) if isinstance(error, ValueError) else "invalid JSON"


def _check_nesting(text: str, budget: Budget) -> None:
    """Refuse what the decoder, which recurses, could not bear."""
    depth = 0
    for token in _NESTING.finditer(text):
        one = token.group()
        if one in ("[", "{"):
            depth += 1
            if depth > budget.limits.depth:
                raise TemplateLimit(f"JSON nests more than {budget.limits.depth} deep")
        elif one in ("]", "}"):
            depth -= 1


def _converted(value: Any, budget: Budget) -> Value:
    if isinstance(value, str):
        return seen(value).encode()
    if isinstance(value, list):
        budget.step(1 + len(value) // 4)
        return [_converted(item, budget) for item in value]
    if isinstance(value, dict):
        budget.step(1 + len(value) // 4)
        return {seen(key).encode(): _converted(item, budget) for key, item in value.items()}
    return value
