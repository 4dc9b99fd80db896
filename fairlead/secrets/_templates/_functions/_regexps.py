"""Regular expressions: RE2 on bytes. All patterns of a rendering share one allowance of work.

Source: Go's `regexp`, `Masterminds/sprig` v3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from fairlead.core import regex
from fairlead.core.regex import Match, Pattern
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import runes, seen, unrunes, valid
from fairlead.secrets._templates._values import NoStrings, Strings

REGISTRY: Final = Registry()
_add = REGISTRY.add
_STRING, _INT = Type.STRING, Type.INT
_META: Final = frozenset("\\.+*?()|[]{}^$")


def matches(pattern: Pattern, text: str, work: regex.Work) -> Iterator[Match]:
    """Yield the matches from left to right; an empty one right behind another is none."""
    at, copied = 0, -1
    while at <= len(text):
        found = pattern.search(text, at, work=work)
        if found is None or (span := found.span()) is None:
            return
        low, high = span
        if high > low or low != copied:
            yield found
        copied = high
        at = high if high > low else high + 1


def replace_all(pattern: Pattern, value: bytes, by: Callable[[Match], bytes], work: regex.Work) -> bytes:
    """Return the value with every match replaced; what does not match is kept byte by byte."""
    kept = runes(value)
    parts: list[bytes] = []
    copied = 0
    for found in matches(pattern, seen(kept), work):
        low, high = found.span() or (copied, copied)
        parts += (unrunes(kept[copied:low]), by(found))
        copied = high
    parts.append(unrunes(kept[copied:]))
    return b"".join(parts)


def expanded(template: str, found: Match, kept: str) -> bytes:
    """Return a replacement with its `$1`, `${name}` filled in with the very bytes that matched."""
    return unrunes(regex.expand(template, Match(kept, found.spans, found.names)))


def compiled(pattern: bytes) -> Pattern:
    """Return a compiled pattern.

    Raises:
        FunctionError: it is none; patterns may hold data, so the message does not repeat it.
    """
    try:
        return regex.compile(pattern.decode())
    except UnicodeDecodeError:
        raise FunctionError("error parsing regexp: invalid UTF-8") from None
    except regex.RegexError as error:
        raise FunctionError(f"error parsing regexp: {_reason(str(error))}") from None


def _reason(message: str) -> str:
    """Return what is wrong with a pattern, without the part of it that the message quotes."""
    return message.removeprefix("error parsing regexp: ").partition(": `")[0]


@_add("regexMatch", takes=(_STRING, _STRING))
def _match(c: Context, pattern: bytes, text: bytes) -> bool:
    try:
        found = regex.compile(pattern.decode())
    except (regex.RegexError, UnicodeDecodeError):
        return False
    return found.test(valid(text), work=c.budget.patterns)


@_add("mustRegexMatch", takes=(_STRING, _STRING))
def _must_match(c: Context, pattern: bytes, text: bytes) -> bool:
    return compiled(pattern).test(valid(text), work=c.budget.patterns)


@_add("regexFind", "mustRegexFind", takes=(_STRING, _STRING))
def _find(c: Context, pattern: bytes, text: bytes) -> bytes:
    kept = runes(text)
    found = compiled(pattern).search(seen(kept), work=c.budget.patterns)
    low, high = (found.span() if found is not None else None) or (0, 0)
    return unrunes(kept[low:high])


@_add("regexFindAll", "mustRegexFindAll", takes=(_STRING, _STRING, _INT))
def _find_all(c: Context, pattern: bytes, text: bytes, most: int) -> Strings:
    kept = runes(text)
    parts = Strings()
    for found in matches(compiled(pattern), seen(kept), c.budget.patterns):
        if 0 <= most <= len(parts):
            break
        c.budget.step()
        low, high = found.span() or (0, 0)
        parts.append(unrunes(kept[low:high]))
    return parts or NoStrings()


@_add("regexReplaceAll", "mustRegexReplaceAll", takes=(_STRING, _STRING, _STRING))
def _replace(c: Context, pattern: bytes, text: bytes, replacement: bytes) -> bytes:
    kept, template = runes(text), runes(replacement)

    def by(found: Match) -> bytes:
        c.budget.step()
        piece = expanded(template, found, kept)
        c.budget.allocate(len(piece))
        return piece

    return replace_all(compiled(pattern), text, by, c.budget.patterns)


@_add("regexReplaceAllLiteral", "mustRegexReplaceAllLiteral", takes=(_STRING, _STRING, _STRING))
def _replace_literally(c: Context, pattern: bytes, text: bytes, replacement: bytes) -> bytes:
    def by(_: Match) -> bytes:
        c.budget.step()
        c.budget.allocate(len(replacement))
        return replacement

    return replace_all(compiled(pattern), text, by, c.budget.patterns)


@_add("regexSplit", "mustRegexSplit", takes=(_STRING, _STRING, _INT))
def _split(c: Context, pattern: bytes, text: bytes, most: int) -> Strings:
    if most == 0:
        return NoStrings()
    expression = compiled(pattern)
    if expression.pattern and not text:
        return Strings([b""])
    kept = runes(text)
    parts = Strings()
    begin = end = 0
    for found in matches(expression, seen(kept), c.budget.patterns):
        if 0 < most <= len(parts) + 1:
            break
        c.budget.step()
        end, high = found.span() or (0, 0)
        if high != 0:
            parts.append(unrunes(kept[begin:end]))
        begin = high
    if end != len(kept):
        parts.append(unrunes(kept[begin:]))
    return parts


@_add("regexQuoteMeta", takes=(_STRING,))
def _quote_meta(_: Context, text: bytes) -> bytes:
    return unrunes("".join("\\" + one if one in _META else one for one in runes(text)))
