"""When a decided status is written, and which of its events are new: the memory of the shell, which may be lost.

A status that only mirrors other objects waits until it has been the same for a moment, so that ten pods becoming
ready are one write and not ten. A decision that is not stored yet is made again at the next look, with the same
events: those that were recorded already are not recorded twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fairlead.core.decision import Event
from fairlead.rollouts.status import RolloutStatus, fingerprint, is_urgent

QUIET = timedelta(seconds=2)  # pods, routes and evidence usually need less from one change to the next
MOST = timedelta(seconds=10)  # numbers that never come to rest are shown at least so often


@dataclass(slots=True)
class _Entry:
    uid: str
    waiting_since: datetime | None = None
    changed_at: datetime | None = None
    status: RolloutStatus | None = None
    recorded: Counter[Event] = field(default_factory=Counter)


class Journal:
    """Remembers, per Rollout, what is decided and not stored yet. Bounded by the Rollouts that wait."""

    def __init__(self, *, quiet: timedelta = QUIET, most: timedelta = MOST) -> None:
        self._quiet = quiet
        self._most = most
        self._entries: dict[Hashable, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def hold(
        self, key: Hashable, uid: str, stored: RolloutStatus, new: RolloutStatus, now: datetime
    ) -> datetime | None:
        """Return until when the write of a changed status may wait; None: it is due."""
        if is_urgent(stored, new):
            return None
        entry = self._entry(key, uid)
        said = fingerprint(new)
        if entry.waiting_since is None:
            entry.waiting_since = now
        if entry.status != said or entry.changed_at is None:
            entry.status, entry.changed_at = said, now
        due = min(entry.waiting_since + self._most, entry.changed_at + self._quiet)
        return due if now < due else None

    def fresh(self, key: Hashable, uid: str, events: Iterable[Event]) -> tuple[Event, ...]:
        """Return the events that have not been recorded since the status was written last, and remember them."""
        entry = self._entry(key, uid)
        seen: Counter[Event] = Counter()
        new: list[Event] = []
        for event in events:
            seen[event] += 1
            if seen[event] > entry.recorded[event]:
                entry.recorded[event] += 1
                new.append(event)
        return tuple(new)

    def forget(self, key: Hashable) -> None:
        """Forget a Rollout: its status is written, as it should be, or it is gone."""
        self._entries.pop(key, None)

    def _entry(self, key: Hashable, uid: str) -> _Entry:
        entry = self._entries.get(key)
        if entry is None or entry.uid != uid:
            entry = self._entries[key] = _Entry(uid)
        return entry
