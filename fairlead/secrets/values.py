"""Bytes that nobody sees by accident: what a provider answers and what a Secret is made of."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

_PLACEHOLDER = "SecretBytes(***)"  # the same for every value: neither content nor length shows

_SURROGATE = re.compile("[\ud800-\udfff]")


class SecretBytes:
    """One secret value; repr, str and format print a placeholder, and it cannot be pickled or encoded as JSON.

    >>> SecretBytes(b"hunter2")
    SecretBytes(***)
    >>> SecretBytes(b"hunter2").reveal()
    b'hunter2'
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    @classmethod
    def of_text(cls, text: str) -> SecretBytes:
        """Return the UTF-8 bytes of a text; a lone surrogate, which JSON may hold, becomes U+FFFD as in Go."""
        return cls(_SURROGATE.sub("\ufffd", text).encode())

    def reveal(self) -> bytes:
        """Return the bytes themselves: call it where they are written, and nowhere else."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash could be compared with those of guesses

    def __repr__(self) -> str:
        return _PLACEHOLDER

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _PLACEHOLDER

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret value does not leave the process")
