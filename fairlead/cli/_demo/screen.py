"""What the demo shows: one line for each thing that happens, with the seconds since it began.

On a terminal the line of numbers is drawn over while nothing else happens; elsewhere each is a line of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TextIO

TOPIC_WIDTH = 9
WIDTH = 118


class Screen:
    """Writes to a stream.

    Args:
        seconds: returns the time since the demo began.
        live: a terminal looks on.
        width: of it, in characters.
    """

    def __init__(self, stream: TextIO, seconds: Callable[[], float], *, live: bool, width: int = WIDTH) -> None:
        self._stream = stream
        self._width = min(WIDTH, width)
        self._seconds = seconds
        self._live = live
        self._has_open_line = False

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return self._seconds()

    def say(self, topic: str, text: str, *, at: float | None = None) -> None:
        """Show something that happened, at its own time or now."""
        seconds = self._seconds() if at is None else at
        first = f"{seconds:6.1f} s  {topic:<{TOPIC_WIDTH}} "
        lines = textwrap.wrap(text, self._width - len(first), break_long_words=False) or [""]
        self._write("\n".join([first + lines[0], *(" " * len(first) + line for line in lines[1:])]))

    def numbers(self, topic: str, text: str) -> None:
        """Show how things stand; the next of these takes its place on a terminal."""
        line = f"{self._seconds():6.1f} s  {topic:<{TOPIC_WIDTH}} {text}"
        if not self._live:
            self._write(line)
            return
        self._stream.write(f"\r\x1b[K{line[: self._width]}")
        self._stream.flush()
        self._has_open_line = True

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._write(f"\n== {text} {'=' * max(0, self._width - 4 - len(text))}")

    def plain(self, *lines: str) -> None:
        """Show lines as they are."""
        self._write("\n".join(lines))

    def _write(self, text: str) -> None:
        if self._has_open_line:
            self._stream.write("\r\x1b[K")
            self._has_open_line = False
        self._stream.write(text + "\n")
        self._stream.flush()
