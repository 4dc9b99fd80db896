"""The text of an expression as tokens; a string holds those of what is put into it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from fairlead.core.errors import FairleadError


class JqError(FairleadError):
    """The text is no expression, or uses what is left out."""


_TOKEN = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*)+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<field>\.[A-Za-z_]\w*)
      | (?P<variable>\$(?:__loc__|[A-Za-z_]\w*(?:::\w+)*))
      | (?P<format>@[a-z0-9]+)
      | (?P<word>[A-Za-z_]\w*(?:::\w+)*)
      | (?P<mark>\?//|\|=|\+=|-=|\*=|/=|%=|//=|==|!=|<=|>=|//|\.\.|[.\[\]{}()|,:;=<>+\-*/%?])
      | (?P<quote>")""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    at: int
    value: Any = None


class Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tokens(self, *, until: str = "") -> list[Token]:
        """Return the tokens up to the bracket that ends an interpolation, or to the end."""
        found: list[Token] = []
        open_brackets = 0
        while self._at < len(self._text):
            matched = _TOKEN.match(self._text, self._at)
            if matched is None:
                raise JqError(f"jq: unexpected {self._text[self._at]!r} at character {self._at + 1}")
            kind, text, start = matched.lastgroup or "", matched.group(), self._at
            if kind == "mark" and until:
                if text == until and not open_brackets:
                    self._at = matched.end()
                    return found
                open_brackets += (text == "(") - (text == ")")
            self._at = matched.end()
            if kind == "quote":
                found.append(Token("text", "", start, self._string()))
            elif kind != "blank":
                found.append(Token(kind, text, start))
        if until:
            raise JqError("jq: a string is not closed")
        return found

    def _string(self) -> tuple[str | list[Token], ...]:
        """Return the parts of a string behind its opening quote: texts, and tokens of what is put in."""
        parts: list[str | list[Token]] = []
        plain: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return (*parts, "".join(plain))
            if character != "\\":
                plain.append(character)
                self._at += 1
            elif self._text.startswith("\\(", self._at):
                self._at += 2
                parts += ["".join(plain), self.tokens(until=")")]
                plain = []
            else:
                plain.append(self._escape())
        raise JqError("jq: a string is not closed")

    def _escape(self) -> str:
        matched = _ESCAPE.match(self._text, self._at)
        if matched is None:
            raise JqError(f"jq: invalid escape in a string at character {self._at + 1}")
        end = matched.end()
        if matched[2]:  # two halves of one character are read together
            second = _ESCAPE.match(self._text, end)
            if second is not None and second[2] and matched[2][0] in "dD" and second[2][0] in "dD":
                end = second.end()
        found: str = json.loads(f'"{self._text[self._at : end]}"')
        self._at = end
        return found
