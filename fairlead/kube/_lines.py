"""Chunks of a watch's body to lines. Not `readline`: its limit is the buffer's, and large objects are larger."""

from __future__ import annotations

from fairlead.core.errors import Unavailable

LINE_BYTES_MAX = 16 * 1024 * 1024  # an object is 1.5 MiB at most in etcd, some 3 MiB in JSON; this bounds memory


class LineSplitter:
    """Takes chunks as they come, gives whole lines.

    >>> splitter = LineSplitter()
    >>> splitter.feed(b'{"a":1}\\n{"b"'), splitter.feed(b':2}\\n')
    ([b'{"a":1}'], [b'{"b":2}'])
    """

    def __init__(self, most: int = LINE_BYTES_MAX) -> None:
        self._most = most
        self._parts: list[bytes] = []  # of the line that has begun
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in this chunk, without their ends; empty ones are left out.

        Raises:
            Unavailable: a line is longer than is allowed.
        """
        *whole, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for end in whole:
            self._hold(end)
            lines.append(b"".join(self._parts).strip())
            self._parts, self._size = [], 0
        self._hold(rest)
        return [line for line in lines if line]

    def rest(self) -> bytes:
        """Return the beginning of the line that has not ended."""
        return b"".join(self._parts).strip()

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most:
            raise Unavailable(f"the watch sent a line of more than {self._most} bytes")
        if part:
            self._parts.append(part)
