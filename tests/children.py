"""Servers that tests and benchmarks start as processes of their own, and that must not outlive them."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def bound(command: Sequence[str]) -> list[str]:
    """Return the command such that its process is killed when ours ends, even if we are killed ourselves.

    Only what the main thread starts can be bound: Linux watches the thread that has forked. Without `setpriv` (it is
    part of util-linux) the command is returned as it is.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", *command]


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does while the block runs: contexts are left, servers stopped, folders removed."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)  # asyncio has one of its own while a loop runs
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:  # started in the background by a shell, where Ctrl-C is ignored
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
