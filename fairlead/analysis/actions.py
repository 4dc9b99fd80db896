"""What may be asked of the world for an AnalysisRun. Each can be asked twice without harm."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.analysis.status import Measurement


@dataclass(frozen=True, slots=True)
class Measure:
    """Ask the metric's source; the answer comes back as an Outcome of a later observation."""

    metric: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Look at the metric's measurement in flight again."""

    metric: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """End the metric's measurement in flight, and whatever runs for it."""

    metric: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Forget the question that is being asked for the metric: its answer is not wanted any more."""

    metric: str


@dataclass(frozen=True, slots=True)
class GarbageCollect:
    """Remove what these measurements of the metric left behind: they are about to be forgotten."""

    metric: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete the run itself: it has been completed for as long as its ttlStrategy says."""


Action = Measure | Resume | Terminate | Cancel | GarbageCollect | DeleteRun
