"""Byte strings seen as characters, the way Go sees them.

A value may hold any bytes. `runes` gives one character for each character of UTF-8 and one for each byte that is none;
the latter are surrogates, so that `unrunes` restores the very bytes. Go's functions that look at characters see U+FFFD
in their place: `seen`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

_STRAY: Final = re.compile("[\ud800-\udfff]")
SPACES: Final = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {
    chr(code) for code in range(0x2000, 0x200B)
}
_ESCAPES: Final = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def runes(value: bytes) -> str:
    """Return one character for each character or stray byte."""
    return value.decode("utf-8", "surrogateescape")


def unrunes(text: str) -> bytes:
    """Return the bytes that `runes` was given."""
    return text.encode("utf-8", "surrogateescape")


def seen(text: str) -> str:
    """Return the text with U+FFFD in place of whatever is no character."""
    return _STRAY.sub("\ufffd", text)


def valid(value: bytes) -> str:
    """Return the text that Go's functions on characters see."""
    return seen(runes(value))


def is_space(one: str) -> bool:
    return one in SPACES


def is_letter(one: str) -> bool:
    return unicodedata.category(one)[0] == "L"


def is_digit(one: str) -> bool:
    return unicodedata.category(one) == "Nd"


def is_number(one: str) -> bool:
    return unicodedata.category(one)[0] == "N"


def is_upper(one: str) -> bool:
    return unicodedata.category(one) == "Lu"


def is_lower(one: str) -> bool:
    return unicodedata.category(one) == "Ll"


def is_punctuation(one: str) -> bool:
    return unicodedata.category(one)[0] == "P"


def to_upper(one: str) -> str:
    """Return the single upper-case character of a character, or itself."""
    upper = one.upper()
    if len(upper) > 1:
        upper = one.title()
    return upper if len(upper) == 1 else one


def to_lower(one: str) -> str:
    """Return the single lower-case character of a character, or itself."""
    return one.lower()[:1] or one


def to_title(one: str) -> str:
    """Return the single title-case character of a character, or itself."""
    title = one.title()
    return title if len(title) == 1 else to_upper(one)


def mapped(value: bytes, change: Callable[[str], str]) -> bytes:
    """Return the value with every character changed; stray bytes become U+FFFD."""
    return "".join(map(change, valid(value))).encode()


def trimmed(value: bytes) -> bytes:
    """Return the value without white space around it; stray bytes are none."""
    text = runes(value)
    low, high = 0, len(text)
    while low < high and text[low] in SPACES:
        low += 1
    while high > low and text[high - 1] in SPACES:
        high -= 1
    return unrunes(text[low:high])


def trimmed_of(value: bytes, cut: bytes) -> bytes:
    """Return the value without any of the characters of `cut` around it."""
    text, characters = runes(value), set(runes(cut))
    low, high = 0, len(text)
    while low < high and text[low] in characters:
        low += 1
    while high > low and text[high - 1] in characters:
        high -= 1
    return unrunes(text[low:high])


def quoted(value: bytes, mark: str = '"', *, ascii_only: bool = False) -> bytes:
    """Return the value as a Go literal.

    Source: Go's `strconv.Quote`.
    """
    parts: list[str] = [mark]
    for one in runes(value):
        code = ord(one)
        if 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        else:
            parts.append(_quoted_rune(one, mark, ascii_only=ascii_only))
    parts.append(mark)
    return "".join(parts).encode()


def _quoted_rune(one: str, mark: str, *, ascii_only: bool) -> str:
    code = ord(one)
    if one in (mark, "\\"):
        return "\\" + one
    if one.isprintable() and (code < 0x80 or not ascii_only):
        return one
    if one in _ESCAPES:
        return _ESCAPES[one]
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquoted(literal: str) -> bytes:
    """Return the bytes of a Go literal in double quotes, or of one in back quotes.

    Raises:
        ValueError: it is none.

    Source: Go's `strconv.Unquote`.
    """
    if literal[:1] == "`":
        return unrunes(literal[1:-1].replace("\r", ""))
    if "\n" in literal:
        raise ValueError("invalid syntax")
    found = bytearray()
    at, end = 1, len(literal) - 1
    while at < end:
        one = literal[at]
        if one != "\\":
            found += seen(one).encode()
            at += 1
            continue
        piece, at = unescaped(literal, at, end, '"')
        found += piece
    return bytes(found)


_SIMPLE: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_HEX: Final = {"x": 2, "u": 4, "U": 8}


def unescaped(text: str, at: int, end: int, mark: str) -> tuple[bytes, int]:
    """Return what the escape sequence at `at` stands for, and where it ends.

    Raises:
        ValueError: there is no such sequence.
    """
    if at + 1 >= end:
        raise ValueError("invalid syntax")
    letter = text[at + 1]
    if letter in _SIMPLE:
        return bytes([_SIMPLE[letter]]), at + 2
    if letter == mark:
        return letter.encode(), at + 2
    if letter in _HEX:
        digits = text[at + 2 : at + 2 + _HEX[letter]]
        if not re.fullmatch(f"[0-9a-fA-F]{{{_HEX[letter]}}}", digits) or at + 2 + len(digits) > end:
            raise ValueError("invalid syntax")
        code = int(digits, 16)
        if letter == "x":
            return bytes([code]), at + 4
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("invalid syntax")
        return chr(code).encode(), at + 2 + len(digits)
    digits = text[at + 1 : at + 4]
    if not re.fullmatch("[0-7]{3}", digits) or at + 4 > end or int(digits, 8) > 255:
        raise ValueError("invalid syntax")
    return bytes([int(digits, 8)]), at + 4
