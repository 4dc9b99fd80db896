"""Base 64 as Go decodes it: strict about padding and characters, indifferent to ends of lines.

Source: Go's `encoding/base64`.
"""

from __future__ import annotations

import binascii
from typing import Final

_STANDARD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_URL_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class Base64Error(ValueError):
    """The text is no base 64; the message tells where, as Go does, and nothing of the text."""


def decode_base64(text: bytes, *, url_safe: bool = False) -> bytes:
    """Return the decoded bytes.

    Raises:
        Base64Error: a foreign character, or padding that is missing or misplaced.

    >>> decode_base64(b"aGVs\\nbG8=")
    b'hello'
    """
    compact = text.translate(None, b"\r\n")
    alphabet = _URL_SAFE if url_safe else _STANDARD
    data = compact.rstrip(b"=")
    if len(compact) % 4 == 0 and len(compact) - len(data) <= 2 and alphabet.issuperset(data):
        try:
            return binascii.a2b_base64(compact.translate(_TO_STANDARD) if url_safe else compact, strict_mode=True)
        except binascii.Error:
            pass  # the padding
    raise Base64Error(f"illegal base64 data at input byte {_offence(text, alphabet)}")


def _offence(text: bytes, alphabet: frozenset[int]) -> int:
    """Return the position that Go names: the first byte that cannot stand where it stands."""
    count = 0  # characters of the current group of four
    at = 0
    while at < len(text):
        byte = text[at]
        if byte in b"\r\n":
            at += 1
            continue
        if byte in alphabet:
            count = (count + 1) % 4
            at += 1
            continue
        if byte != 61 or count < 2:
            return at
        return _after_padding(text, at + 1, count)
    # The end came within a group: Go names its beginning, as far as it was read.
    return len(text) - count if count else len(text)


def _after_padding(text: bytes, at: int, count: int) -> int:
    """Return the position for a group that ends with padding."""
    while at < len(text) and text[at] in b"\r\n":
        at += 1
    if count == 2:
        if at == len(text) or text[at] != 61:
            return at if at == len(text) else at - 1
        at += 1
        while at < len(text) and text[at] in b"\r\n":
            at += 1
    return at
