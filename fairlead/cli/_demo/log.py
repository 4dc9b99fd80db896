"""What the controller says in its log: when it measured (finer than the whole seconds of a status), and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement has been taken."""

    run: str  # namespace/name
    phase: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that needs a person."""

    text: str
    at: datetime


class ControllerLog:
    """Reads a log while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> Iterator[Measurement | Trouble]:
        """Yield what has been logged since the last call."""
        with self._path.open("rb") as lines:
            lines.seek(self._read)
            content = lines.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                entry = msgspec.json.decode(line, type=dict[str, Any])
                at = datetime.fromisoformat(str(entry["timestamp"]))
            except (msgspec.MsgspecError, KeyError, ValueError):
                continue  # a traceback, or what a library printed
            if entry.get("event") == "measurement_taken":
                yield Measurement(run=str(entry.get("object", "")), phase=str(entry.get("phase", "")), at=at)
            elif entry.get("level") in ("error", "critical"):
                words = (entry.get(key) for key in ("event", "object", "error", "message"))
                yield Trouble(text=" ".join(str(word) for word in words if word), at=at)
