"""When a store may be asked next: its budget, its wishes, and how it has been doing.

Source: token buckets, circuit breakers; the rate falls by half at each 429 and rises slowly, as TCP's window does.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.core.backoff import Backoff

PROBE = Backoff(first=1.0, most=30.0)
THROTTLED = Backoff(first=1.0, most=60.0)  # for a store that does not say how long
SAVING_SECONDS = 0.25  # reads for a full batch are not saved up for longer than this
RECOVERY = 1.01  # halved at once, the rate is doubled again after some seventy good calls
RATE_MIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How a store may be asked, see `PlannerSettings`."""

    reads_per_second: float
    burst: int
    pause_seconds_max: float
    failures_max: int


class Patience:
    """Decides when, never what. Instants are monotonic seconds; none is read from a clock here.

    Args:
        now: from when on reads are saved up: there is no burst at the start.
    """

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._saved_at = now
        self._saved = 0.0
        self._throttles = 0
        self._failures = 0
        self.rate = allowance.reads_per_second
        self.paused_until = now
        self.probe_at = now

    @property
    def is_broken(self) -> bool:
        """Whether the store has failed so often that it is only probed."""
        return self._failures >= self._allowance.failures_max

    def is_closed(self, now: float) -> bool:
        """Whether nobody but a validation may ask now."""
        return self.is_broken and now < self.probe_at

    def seconds_until(self, reads: int, now: float, *, is_validation: bool = False) -> float:
        """Return the time until so many reads may be made together, or as many of them as are worth waiting for."""
        self._save(now)
        worth = min(float(reads), float(self._allowance.burst), max(1.0, self.rate * SAVING_SECONDS))
        seconds = max(self.paused_until - now, (worth - self._saved) / self.rate)
        if self.is_broken and not is_validation:
            seconds = max(seconds, self.probe_at - now)
        return max(0.0, seconds)

    def spend(self, reads: int) -> int:
        """Return how many of so many reads may be made now, at least one, and count them."""
        granted = min(reads, max(1, int(self._saved + 1e-6)))
        self._saved -= granted
        return granted

    def throttled(self, asked: float | None, now: float, *, jitter: float) -> float:
        """Take note of a 429; return for how long the store is left alone."""
        seconds = THROTTLED.delay(self._throttles, jitter=jitter) if asked is None else asked
        seconds = min(max(0.0, seconds), self._allowance.pause_seconds_max)
        self._throttles += 1
        self.paused_until = max(self.paused_until, now + seconds)
        self._saved, self._saved_at = 0.0, now
        self.rate = min(self.rate, max(RATE_MIN, self.rate / 2))
        return seconds

    def failed(self, now: float, *, jitter: float) -> None:
        """Take note that the store as a whole failed."""
        self._failures += 1
        if self.is_broken:
            self.probe_at = now + PROBE.delay(self._failures - self._allowance.failures_max, jitter=jitter)

    def succeeded(self) -> bool:
        """Take note of an answer; return whether the store is back."""
        was_broken = self.is_broken
        self._failures = self._throttles = 0
        self.rate = min(self._allowance.reads_per_second, self.rate * RECOVERY)
        return was_broken

    def renewed(self) -> None:
        """The store's spec is another: what was learnt of its health says nothing. Its budget stays what it is."""
        self._failures = 0

    def _save(self, now: float) -> None:
        self._saved = min(float(self._allowance.burst), self._saved + (now - self._saved_at) * self.rate)
        self._saved_at = now
