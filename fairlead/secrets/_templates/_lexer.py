"""The tokens of a template.

Source: Go's `text/template/parse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from fairlead.secrets._templates._errors import TemplateSyntaxError
from fairlead.secrets._templates._text import is_letter, quoted, runes, unrunes

_TRIMMED: Final = " \t\r\n"
KEYWORDS: Final = frozenset(
    {"block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"}
)


class Token(Enum):
    TEXT = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    PIPE = auto()
    STRING = auto()
    VARIABLE = auto()
    CHARACTER = auto()
    FIELD = auto()
    DOT = auto()
    NUMBER = auto()
    KEYWORD = auto()
    BOOL = auto()
    IDENTIFIER = auto()
    OPEN = auto()
    CLOSE = auto()
    OTHER = auto()
    EOF = auto()


@dataclass(frozen=True, slots=True)
class Lexeme:
    token: Token
    text: str
    line: int


def _is_alphanumeric(one: str) -> bool:
    # Go's notion of a digit in names includes those of every script.
    return one == "_" or (one.isalnum() and (is_letter(one) or one.isdecimal()))


def describe_rune(one: str) -> str:
    """Return a character as Go's `%#U` prints it."""
    return f"U+{ord(one):04X} '{one}'" if one.isprintable() else f"U+{ord(one):04X}"


class Lexer:
    """Cuts a template into tokens.

    Args:
        source: the template.
        left: the delimiter in front of actions.
        right: the one behind them.
    """

    def __init__(self, source: bytes, left: str, right: str) -> None:
        self._input = runes(source)
        self._left = left
        self._right = right
        self._at = 0
        self._line = 1
        self._found: list[Lexeme] = []
        self._parentheses = 0

    def run(self) -> list[Lexeme]:
        """Return all tokens; the last one is EOF.

        Raises:
            TemplateSyntaxError: an action does not end, or holds what is no token.
        """
        while self._text():
            self._action()
        self._found.append(Lexeme(Token.EOF, "", self._line))
        return self._found

    def _fail(self, message: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(message, line=self._line)

    def _emit(self, token: Token, end: int) -> None:
        text = self._input[self._at : end]
        self._found.append(Lexeme(token, text, self._line))
        self._line += text.count("\n")
        self._at = end

    def _skip(self, end: int) -> None:
        self._line += self._input.count("\n", self._at, end)
        self._at = end

    def _text(self) -> bool:
        """Take the text in front of the next action; return whether there is one."""
        while True:
            opening = self._input.find(self._left, self._at)
            end = len(self._input) if opening < 0 else opening
            after = end + len(self._left)
            trims = opening >= 0 and self._input[after : after + 1] == "-" and self._at_space(after + 1)
            kept = end
            if trims:
                kept = self._at + len(self._input[self._at : end].rstrip(_TRIMMED))
            if kept > self._at:
                self._emit(Token.TEXT, kept)
            self._skip(end)
            if opening < 0:
                return False
            marked = after + 2 if trims else after
            if not self._input.startswith("/*", marked):
                self._skip(marked)
                self._found.append(Lexeme(Token.LEFT, self._left, self._line))
                self._parentheses = 0
                return True
            self._comment(marked)

    def _at_space(self, at: int) -> bool:
        return at < len(self._input) and self._input[at] in _TRIMMED

    def _comment(self, at: int) -> None:
        end = self._input.find("*/", at + 2)
        if end < 0:
            raise self._fail("unclosed comment")
        end += 2
        trims = self._input[end : end + 2] in {f"{one}-" for one in _TRIMMED}
        if trims:
            end += 2
        if not self._input.startswith(self._right, end):
            raise self._fail("comment ends before closing delimiter")
        self._skip(end + len(self._right))
        if trims:
            self._trim_left()

    def _trim_left(self) -> None:
        end = self._at
        while self._at_space(end):
            end += 1
        self._skip(end)

    def _closing(self) -> tuple[bool, bool]:
        """Return whether the action ends here, and whether it trims the text behind it."""
        at = self._at
        if self._at_space(at) and self._input[at + 1 : at + 2] == "-" and self._input.startswith(self._right, at + 2):
            return True, True
        return self._input.startswith(self._right, at), False

    def _action(self) -> None:
        while True:
            ends, trims = self._closing()
            if ends:
                if self._parentheses:
                    raise self._fail("unclosed left paren")
                self._skip(self._at + (2 if trims else 0))
                self._emit(Token.RIGHT, self._at + len(self._right))
                if trims:
                    self._trim_left()
                return
            if self._at >= len(self._input):
                raise self._fail("unclosed action")
            self._inside(self._input[self._at])

    def _inside(self, one: str) -> None:
        at = self._at
        following = self._input[at + 1 : at + 2]
        if one in _TRIMMED:
            self._space()
        elif one == "=":
            self._emit(Token.ASSIGN, at + 1)
        elif one == ":":
            if following != "=":
                raise self._fail("expected :=")
            self._emit(Token.DECLARE, at + 2)
        elif one == "|":
            self._emit(Token.PIPE, at + 1)
        elif one in "\"'":
            self._quote(one)
        elif one == "`":
            end = self._input.find("`", at + 1)
            if end < 0:
                raise self._fail("unterminated raw quoted string")
            self._emit(Token.STRING, end + 1)
        elif one == "$":
            self._name(Token.VARIABLE)
        elif one == "." and not ("0" <= following <= "9"):
            self._name(Token.FIELD)
        elif one in "+-.0123456789":
            self._number()
        elif _is_alphanumeric(one):
            self._identifier()
        elif one == "(":
            self._emit(Token.OPEN, at + 1)
            self._parentheses += 1
        elif one == ")":
            if not self._parentheses:
                raise self._fail("unexpected right paren")
            self._emit(Token.CLOSE, at + 1)
            self._parentheses -= 1
        elif one.isascii() and one.isprintable():
            self._emit(Token.OTHER, at + 1)
        else:
            shown = "\ufffd" if "\udc80" <= one <= "\udcff" else one
            raise self._fail(f"unrecognized character in action: {describe_rune(shown)}")

    def _space(self) -> None:
        end = self._at
        while self._at_space(end):
            end += 1
        # The last space may belong to a trimming delimiter.
        if self._input[end : end + 1] == "-" and self._input.startswith(self._right, end + 1):
            end -= 1
            if end == self._at:
                return
        self._emit(Token.SPACE, end)

    def _quote(self, mark: str) -> None:
        end = self._at + 1
        while end < len(self._input) and self._input[end] not in (mark, "\n"):
            end += 2 if self._input[end] == "\\" and self._input[end + 1 : end + 2] != "\n" else 1
        if self._input[end : end + 1] != mark:
            what = "quoted string" if mark == '"' else "character constant"
            raise self._fail(f"unterminated {what}")
        self._emit(Token.STRING if mark == '"' else Token.CHARACTER, end + 1)

    def _word_end(self, at: int) -> int:
        while at < len(self._input) and _is_alphanumeric(self._input[at]):
            at += 1
        return at

    def _terminated(self, at: int) -> None:
        if at >= len(self._input) or self._input[at] in " \t\r\n.,|:)(" or self._input.startswith(self._right, at):
            return
        raise self._fail(f"bad character {describe_rune(self._input[at])}")

    def _name(self, token: Token) -> None:
        end = self._word_end(self._at + 1)
        self._terminated(end)
        if token is Token.FIELD and end == self._at + 1:
            token = Token.DOT
        self._emit(token, end)

    def _identifier(self) -> None:
        end = self._word_end(self._at)
        self._terminated(end)
        word = self._input[self._at : end]
        if word in KEYWORDS:
            self._emit(Token.KEYWORD, end)
        elif word in ("true", "false"):
            self._emit(Token.BOOL, end)
        else:
            self._emit(Token.IDENTIFIER, end)

    def _number(self) -> None:
        end, is_number = self._number_end(self._at)
        if is_number and self._input[end : end + 1] in ("+", "-"):  # a complex constant, such as 1+2i
            end, is_number = self._number_end(end)
            is_number = is_number and self._input[end - 1] == "i"
        if not is_number:
            word = quoted(unrunes(self._input[self._at : end])).decode()
            raise self._fail(f"bad number syntax: {word}")
        self._emit(Token.NUMBER, end)

    def _number_end(self, at: int) -> tuple[int, bool]:
        """Return where the number ends, or behind the character that is wrong."""
        text = self._input
        at += text[at : at + 1] in ("+", "-")
        digits, exponent = "0123456789_", "eE"
        prefix = text[at : at + 2].lower()
        if prefix in ("0x", "0o", "0b"):
            digits = {"0x": "0123456789abcdefABCDEF_", "0o": "01234567_", "0b": "01_"}[prefix]
            exponent = {"0x": "pP"}.get(prefix, "")
            at += 2
        at = self._digits_end(at, digits)
        if text[at : at + 1] == ".":
            at = self._digits_end(at + 1, digits)
        if exponent and text[at : at + 1] and text[at] in exponent:
            at += 1
            at += text[at : at + 1] in ("+", "-")
            at = self._digits_end(at, "0123456789_")
        at += text[at : at + 1] == "i"
        if at < len(text) and _is_alphanumeric(text[at]):
            return at + 1, False
        return at, True

    def _digits_end(self, at: int, digits: str) -> int:
        while at < len(self._input) and self._input[at] in digits:
            at += 1
        return at
