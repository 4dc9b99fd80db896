"""The Clock port: everything that depends on time takes an instant from here."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time at start plus monotonic time since: a jump of the wall clock moves nothing."""

    def now(self) -> datetime:
        """Return the aware instant (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin, never falling."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that time has passed."""
        ...
