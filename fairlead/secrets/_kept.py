"""Answers of one store that are held for a little while, for those who come later."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from fairlead.secrets._questions import Answer, Asked
from fairlead.secrets.actions import Urgency

EARLY_SECONDS = 1e-6  # a timer may ring that much too early: clocks round


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    started_at: datetime
    kept_at: float


class KeptAnswers:
    """Holds answers for `seconds`; while new objects keep coming, for so long after the last of them.

    A thousand new objects that share two hundred keys take as long as the API server takes to write for them: those of
    one key come one by one, and on a busy machine further apart than any fixed time. How old an answer may be is for
    each of them to say (`not_before`); the time here only bounds how long values lie in memory.

    Args:
        seconds: from the answer, or from the last question about something new.
        seconds_max: from the answer, whoever comes.
    """

    def __init__(self, *, seconds: float, seconds_max: float) -> None:
        self._seconds = seconds
        self._seconds_max = max(seconds, seconds_max)
        self._answers: dict[Asked, _Kept] = {}
        self._new_at = -math.inf

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, asked: Asked, *, urgency: Urgency, not_before: datetime, now: float) -> Answer | None:
        """Return the answer to a question, unless it was put before `not_before`; None: it must be asked."""
        if urgency is Urgency.FIRST:
            if now - self._new_at >= self._seconds:
                self.forget(now)  # else the time of what has expired would be prolonged
            self._new_at = now
        kept = self._answers.get(asked)
        if kept is None or kept.started_at < not_before or self._expires_at(kept) <= now:
            return None
        return kept.answer

    def keep(self, asked: Asked, answer: Answer, *, started_at: datetime, now: float) -> None:
        """Hold an answer to a question that was put at `started_at`."""
        self._answers[asked] = _Kept(answer, started_at, now)

    def forget(self, now: float) -> None:
        """Let go of what has had its time."""
        for asked in [one for one, kept in self._answers.items() if self._expires_at(kept) <= now + EARLY_SECONDS]:
            del self._answers[asked]

    def clear(self) -> None:
        """Let go of everything."""
        self._answers.clear()

    @property
    def due_at(self) -> float:
        """When to `forget` next, as things stand."""
        return min((self._expires_at(kept) for kept in self._answers.values()), default=math.inf)

    def _expires_at(self, kept: _Kept) -> float:
        return min(max(kept.kept_at, self._new_at) + self._seconds, kept.kept_at + self._seconds_max)
