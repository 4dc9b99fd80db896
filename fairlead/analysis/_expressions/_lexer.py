"""An expression becomes tokens, one at a time and only as far as the parser asks.

Source: `expr-lang/expr: parser/lexer`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fairlead.analysis._expressions._errors import static_error

_WORDS: Final = frozenset(
    ["in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else", "not"]
)
_SIMPLE_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_OCTAL: Final = "01234567"
_DECIMAL: Final = "0123456789_"
_HEXADECIMAL: Final = "0123456789abcdefABCDEF"


class TokenKind(StrEnum):
    """Kinds of tokens, as messages call them."""

    NAME = "Identifier"
    NUMBER = "Number"
    STRING = "String"
    BYTES = "Bytes"
    OPERATOR = "Operator"
    BRACKET = "Bracket"
    END = "EOF"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. For a string `text` is what it stands for."""

    kind: TokenKind
    text: str
    at: int

    def __str__(self) -> str:
        return f"{self.kind}({quote(self.text)})" if self.text else str(self.kind)


def quote(text: str) -> str:
    """Return a text in double quotes as Go prints it."""
    return json.dumps(text, ensure_ascii=False)


def is_word_character(character: str) -> bool:
    """Return whether it may stand in a name. Unicode letters may."""
    return character.isalnum() or character in ("_", "$")


class Lexer:
    """Yields the tokens of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def next(self) -> Token:
        """Return the next token; END for ever after the last one.

        Raises:
            ExpressionError: the text has none here.
        """
        self._skip()
        start = self._at
        if start >= len(self._text):
            return Token(TokenKind.END, "", max(0, len(self._text) - 1))
        character = self._text[start]
        if character in "'\"":
            return Token(TokenKind.STRING, self._string(character), start)
        if character == "`":
            return Token(TokenKind.STRING, self._raw(), start)
        if character in "bB" and self._peek(1) in ("'", '"'):
            self._at += 1
            return Token(TokenKind.BYTES, self._string(self._text[self._at]), start)
        if character.isdigit() and character.isascii():
            return self._number()
        if character == "." and self._peek(1) in tuple("0123456789"):
            return self._number()
        if character in "([{}])":
            return self._take(TokenKind.BRACKET, 1)
        if character in "?.|:#":
            doubles = {"?": ("?.", "??"), ".": ("..",), "|": ("||",), ":": ("::",), "#": ("##",)}[character]
            return self._take(TokenKind.OPERATOR, 2 if self._text[start : start + 2] in doubles else 1)
        if character in ",;%+-^/":
            return self._take(TokenKind.OPERATOR, 1)
        if character in "&!=*<>":
            return self._take(TokenKind.OPERATOR, 2 if self._peek(1) in ("&", "=", "*") else 1)
        if is_word_character(character):
            end = start
            while end < len(self._text) and is_word_character(self._text[end]):
                end += 1
            word = self._text[start:end]
            return self._take(TokenKind.OPERATOR if word in _WORDS else TokenKind.NAME, end - start)
        shown = f" '{character}'" if character.isprintable() else ""
        raise static_error(f"unrecognized character: U+{ord(character):04X}{shown}", start)

    def _take(self, kind: TokenKind, length: int) -> Token:
        start = self._at
        self._at += length
        return Token(kind, self._text[start : self._at], start)

    def _peek(self, ahead: int) -> str:
        return self._text[self._at + ahead : self._at + ahead + 1]

    def _skip(self) -> None:
        """Step over white space and comments."""
        while self._at < len(self._text):
            if self._text[self._at].isspace():
                self._at += 1
            elif self._text.startswith("//", self._at):
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end + 1
            elif self._text.startswith("/*", self._at):
                end = self._text.find("*/", self._at + 2)
                if end < 0:
                    raise static_error("unclosed comment", len(self._text) - 1)
                self._at = end + 2
            else:
                return

    def _number(self) -> Token:
        text, start, end = self._text, self._at, self._at
        digits = _DECIMAL
        if text[start] == "0" and (mark := text[start + 1 : start + 2].lower()) in ("x", "o", "b"):
            digits = {"x": _HEXADECIMAL + "_", "o": _OCTAL + "_", "b": "01_"}[mark]
            end += 2

        def run(at: int) -> int:
            while at < len(text) and text[at] in digits:
                at += 1
            return at

        end = run(end)
        # In 1..3 the dots are the range operator.
        is_range = text.startswith("..", end)
        if not is_range:
            if text.startswith(".", end):
                end = run(end + 1)
            if text[end : end + 1] in ("e", "E"):
                end += 1
                if text[end : end + 1] in ("+", "-"):
                    end += 1
                end = run(end)
            if end < len(text) and is_word_character(text[end]):
                raise static_error(f"bad number syntax: {quote(text[start : end + 1])}", end)
        return self._take(TokenKind.NUMBER, end - start)

    def _raw(self) -> str:
        """Read a backtick string; a doubled backtick stands for one."""
        at = self._at + 1
        while True:
            end = self._text.find("`", at)
            if end < 0:
                raise static_error("literal not terminated", len(self._text))
            if self._text.startswith("``", end):
                at = end + 2
                continue
            break
        value = self._text[self._at + 1 : end].replace("``", "`")
        self._at = end + 1
        return value

    def _string(self, mark: str) -> str:
        parts: list[str] = []
        at = self._at + 1
        while True:
            end = at
            while end < len(self._text) and self._text[end] not in (mark, "\\", "\n"):
                end += 1
            parts.append(self._text[at:end])
            if end >= len(self._text) or self._text[end] == "\n":
                raise static_error("literal not terminated", end)
            if self._text[end] == mark:
                self._at = end + 1
                return "".join(parts)
            value, at = self._escape(end + 1, mark)
            parts.append(value)

    def _escape(self, at: int, mark: str) -> tuple[str, int]:
        """Return what the escape behind a backslash stands for, and where the text goes on."""
        letter = self._text[at : at + 1]
        if letter == mark or letter in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES.get(letter, letter), at + 1
        if letter == "u" and self._text.startswith("{", at + 1):
            end = self._text.find("}", at, at + 9)
            digits = self._text[at + 2 : end] if end >= 0 else ""
            return self._code_point(digits, 16, 1, at), end + 1
        if letter in ("x", "u", "U"):
            length = {"x": 2, "u": 4, "U": 8}[letter]
            return self._code_point(self._text[at + 1 : at + 1 + length], 16, length, at), at + 1 + length
        if letter and letter in _OCTAL:
            return self._code_point(self._text[at : at + 3], 8, 3, at), at + 3
        raise static_error("invalid char escape", at)

    def _code_point(self, digits: str, base: int, least: int, at: int) -> str:
        allowed = _HEXADECIMAL if base == 16 else _OCTAL
        if len(digits) < least or not digits or any(digit not in allowed for digit in digits):
            raise static_error("invalid char escape", at)
        code = int(digits, base)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise static_error("unable to unescape string", at)
        return chr(code)
