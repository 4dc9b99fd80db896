"""What can go wrong with a condition, in the words that users of expr-lang know."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fairlead.core.errors import FairleadError

_TEXT_MAX: Final = 16_384  # far more than is shown: secrets are taken out before a text is cut to that


class ErrorKind(StrEnum):
    """When the error was found."""

    STATIC = "static"  # before anything ran
    RUNTIME = "runtime"
    NOT_BOOL = "notbool"  # it ran, but its answer is neither true nor false


class ExpressionError(FairleadError):
    """A condition cannot be evaluated.

    Args:
        text: the message, cut to its first line and to a readable length.
        kind: when it was found.
        column: 1-based position in the expression, in characters; 0 if none applies.
    """

    def __init__(self, text: str, kind: ErrorKind, *, column: int = 0) -> None:
        line = text.partition("\n")[0]
        line = line if len(line) <= _TEXT_MAX else line[:_TEXT_MAX] + "…"
        super().__init__(line)
        self.text = line
        self.kind = kind
        self.column = column


def static_error(text: str, at: int = -1) -> ExpressionError:
    """Return an error found before running, at a 0-based position."""
    return ExpressionError(text, ErrorKind.STATIC, column=at + 1)


def runtime_error(text: str) -> ExpressionError:
    """Return an error of a running expression."""
    return ExpressionError(text, ErrorKind.RUNTIME)
