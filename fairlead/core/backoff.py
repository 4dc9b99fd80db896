"""Which delay follows which failed attempt, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Doubling delays: attempt 0 waits `first` seconds, later ones twice as long each, up to `most`."""

    first: float
    most: float
    factor: float = 2.0

    def delay(self, attempt: int, *, jitter: float = 0.0) -> float:
        """Return seconds to wait after the given failed attempt (0-based).

        Args:
            attempt: how many attempts failed before this one.
            jitter: a number in 0..1 that the caller draws; it takes away up to half of the delay.
        """
        # The exponent is bounded so that a thousand failures do not overflow a float.
        full = min(self.most, self.first * self.factor ** min(attempt, 64))
        return full * (1.0 - jitter / 2)


RECONCILE = Backoff(first=0.001, most=10.0)  # as Argo Rollouts' queues: per item, 1 ms doubling to 10 s
WATCH = Backoff(first=0.8, most=30.0)  # as client-go's reflector
