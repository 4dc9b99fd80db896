"""What both the parser and the matcher of regular expressions need: their errors, and what a word is."""

from __future__ import annotations

from fairlead.core.errors import FairleadError


class RegexError(FairleadError):
    """The pattern is none, or is one that a linear-time engine cannot run; the text is Go's own."""


class RegexLimit(FairleadError):
    """This pattern would need too much work on this text."""


def is_word(character: str) -> bool:
    """Return whether `\\b` counts a character as a part of a word."""
    return character.isascii() and (character.isalnum() or character == "_")
