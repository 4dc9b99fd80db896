"""What the routers of one factory remember between reconciliations, and the polls that ask the data plane.

Lost on a restart, and found again on the late side: a generation then counts as new, a settle delay starts anew.
Bounded by the routes that exist: what has vanished, or has not been looked at for long, is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from fairlead.core.errors import FairleadError
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.core.traffic import Applied, Evidence, RouterTools, Weights
from fairlead.mesh_routing._drift import Writes
from fairlead.mesh_routing._held import Progress, learn
from fairlead.mesh_routing.spec import RouteRef

log = structlog.get_logger(__name__)

_FAST_SECONDS = 0.1  # the wire follows within 0.11 s when istiod is idle
_BRISK_SECONDS = 0.25
_SLOW_SECONDS = 1.0
_IDLE_SECONDS = 5.0
_UNWATCHED_SECONDS = 60.0  # a poll whose Rollout is not reconciled any more ends
_FORGOTTEN_SECONDS = 3600.0
_PRUNE_EVERY = 256  # lookups


@dataclass(frozen=True, slots=True)
class MemoryKey:
    """A route as one Rollout sees it."""

    uid: str  # of the Rollout
    route: RouteRef


@dataclass(frozen=True, slots=True)
class Question:
    """What the data plane is asked about one route."""

    rollout: ObjectKey
    manifest: Manifest
    services: Mapping[str, int]


@dataclass(slots=True)
class Entry:
    """What is remembered of one route.

    Attributes:
        seen_at: when it was looked at last (monotonic).
        asked: the weights of our last attempt to write, whatever became of it: its answer may have been lost.
        question: what the data plane is being asked; None: nothing is pending.
        warned: the warnings that have been logged, so that each is logged once.
    """

    seen_at: float
    progress: Progress | None = None
    writes: Writes | None = None
    asked: Weights | None = None
    question: Question | None = None
    is_polled: bool = False
    warned: tuple[str, ...] = ()


class Memory:
    """The memory of one factory."""

    def __init__(self, tools: RouterTools) -> None:
        self._tools = tools
        self._entries: dict[MemoryKey, Entry] = {}
        self._lookups = 0

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, key: MemoryKey) -> Entry:
        """Return the entry of a route that is being looked at now; a new one if there is none."""
        now = self._tools.clock.monotonic()
        self._lookups += 1
        if self._lookups % _PRUNE_EVERY == 0:
            self._prune(now)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(seen_at=now)
        entry.seen_at = now
        return entry

    def drop(self, key: MemoryKey) -> None:
        """Forget a route that has vanished."""
        if (entry := self._entries.pop(key, None)) is not None:
            entry.question = None

    def ask(self, key: MemoryKey, question: Question | None) -> None:
        """Have the data plane asked in the background until the question is answered or taken back (None)."""
        entry = self._entries[key]
        entry.question = question
        if question is None or entry.is_polled or self._tools.evidence is None:
            return
        assert self._tools.spawn is not None, "a factory with evidence has a spawn"
        entry.is_polled = True
        self._tools.spawn(self._poll(key, entry))

    async def _poll(self, key: MemoryKey, entry: Entry) -> None:
        clock, evidence = self._tools.clock, self._tools.evidence
        assert evidence is not None, "polls are started only with evidence"
        asked: tuple[str, int] | None = None
        since = clock.monotonic()
        try:
            while (question := entry.question) is not None and (progress := entry.progress) is not None:
                if clock.monotonic() - entry.seen_at > _UNWATCHED_SECONDS:
                    return
                if asked != (progress.uid, progress.generation):
                    asked, since = (progress.uid, progress.generation), clock.monotonic()
                try:
                    answer = await evidence.applied(question.manifest, question.services)
                except FairleadError as error:
                    # A source that raises instead of answering has not answered: that never counts as applied.
                    answer = Evidence(applied=Applied.UNKNOWN, why=str(error))
                self._learn(key, entry, question, asked, answer)
                await clock.sleep(_pace(clock.monotonic() - since))
        finally:
            entry.is_polled = False

    def _learn(
        self, key: MemoryKey, entry: Entry, question: Question, asked: tuple[str, int], answer: Evidence
    ) -> None:
        progress = entry.progress
        if progress is None or (progress.uid, progress.generation) != asked or entry.question is None:
            return  # the answer is about what was, not about what is
        learned = learn(progress, answer, self._tools.clock.now())
        if learned == progress:
            return
        entry.progress = learned
        if answer.applied is Applied.APPLIED:
            entry.question = None
        log.info(
            "route_evidence_changed",
            object=str(question.rollout),
            route=str(key.route),
            generation=progress.generation,
            evidence=answer.applied.value,
            reason=answer.why,
        )
        self._tools.wake(question.rollout)

    def _prune(self, now: float) -> None:
        for key, entry in list(self._entries.items()):
            view = self._tools.routes.get(key.route.plural)
            is_gone = view is not None and view.get(key.route.key) is None
            if is_gone or now - entry.seen_at > _FORGOTTEN_SECONDS:
                self.drop(key)


def _pace(waited: float) -> float:
    """Return seconds until the next question, after having asked about one generation for so long."""
    if waited < 1.0:
        return _FAST_SECONDS
    if waited < 15.0:
        return _BRISK_SECONDS
    return _SLOW_SECONDS if waited < 120.0 else _IDLE_SECONDS
