"""What a cluster serves, asked for once and again when there is reason to believe that it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from fairlead.core.clock import Clock
from fairlead.core.discovery import Discovery, ResourceKind, Served
from fairlead.core.errors import ClusterError

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 5.0  # between two questions, however many kinds are missed
_DOUBT_PAUSE_SECONDS = 0.1  # the same, when somebody knows that there is something new
STALE_SECONDS = 600.0  # an answer that nobody doubted is asked for again after that long: definitions come and go


class DiscoveredKinds:
    """The last answer of discovery; implements `core.discovery.ServedKinds`.

    Args:
        discovery: is asked.
        clock: tells how old the answer is.
        pause_seconds: the shortest time between two questions.
    """

    def __init__(self, discovery: Discovery, clock: Clock, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._discovery = discovery
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._served = Served()
        self._asked_at: float | None = None  # of the last answer; None: there was none
        self._tried_at: float | None = None
        self._doubted = True
        self._asking = asyncio.Lock()

    def find(self, group: str, kind: str, version: str = "") -> ResourceKind | None:
        return self._served.find(group, kind, version)

    def all(self) -> Iterable[ResourceKind]:
        return self._served.all()

    @property
    def is_known(self) -> bool:
        """Whether there has been an answer at all."""
        return self._asked_at is not None

    @property
    def stale(self) -> tuple[str, ...]:
        """The `group/version`s that the server could not ask."""
        return self._served.stale

    def doubt(self) -> None:
        """Take note that definitions have changed, or may have: the next `look` asks."""
        self._doubted = True

    async def look(self, wanted: Iterable[tuple[str, str]] = ()) -> bool:
        """Ask again if there is reason to, and return whether everything wanted is served.

        Reasons are: nothing is known, `doubt`, an old answer, or something wanted that is missing. Between two
        questions there is a pause, however they are reasoned.

        Args:
            wanted: group and kind of each.

        Raises:
            ClusterError: nothing is known yet, and the server cannot be asked.
        """
        asked_for = tuple(wanted)
        if self._has_reason(asked_for):
            async with self._asking:
                if self._has_reason(asked_for):
                    await self._ask()
        return not self._misses(asked_for)

    def _has_reason(self, wanted: tuple[tuple[str, str], ...]) -> bool:
        now = self._clock.monotonic()
        pause = min(_DOUBT_PAUSE_SECONDS, self._pause_seconds) if self._doubted else self._pause_seconds
        if self._tried_at is not None and now - self._tried_at < pause and self.is_known:
            return False
        is_old = self._asked_at is None or now - self._asked_at >= STALE_SECONDS
        return self._doubted or is_old or self._misses(wanted)

    def _misses(self, wanted: tuple[tuple[str, str], ...]) -> bool:
        return any(self._served.find(group, kind) is None for group, kind in wanted)

    async def _ask(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            served = await self._discovery.discover()
        except ClusterError as error:
            if not self.is_known:
                raise
            log.warning("discovery_failed", error=str(error))
            return
        self._served = _kept(self._served, served)
        self._asked_at = self._clock.monotonic()
        self._doubted = False
        log.debug("kinds_discovered", count=len(served.kinds), stale=served.stale)


def _kept(before: Served, now: Served) -> Served:
    """Return the answer with what is known from before about the versions that could not be asked."""
    if not now.stale:
        return now
    there = {(kind.api_version, kind.kind) for kind in now.kinds}
    kept = tuple(
        kind for kind in before.kinds if kind.api_version in now.stale and (kind.api_version, kind.kind) not in there
    )
    return Served(now.kinds + kept, now.stale)
