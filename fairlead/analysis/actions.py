"""What may be asked of the world for an AnalysisRun. Each can be asked twice without harm."""

from __future__ import annotations

import msgspec

from fairlead.analysis.status import Measurement


class Measure(msgspec.Struct, frozen=True):
    """Ask the metric's source; the answer comes back as an Outcome of a later observation."""

    metric: str


class Resume(msgspec.Struct, frozen=True):
    """Look at the metric's measurement in flight again."""

    metric: str


class Terminate(msgspec.Struct, frozen=True):
    """End the metric's measurement in flight, and whatever runs for it."""

    metric: str


class Cancel(msgspec.Struct, frozen=True):
    """Forget the question that is being asked for the metric: its answer is not wanted any more."""

    metric: str


class GarbageCollect(msgspec.Struct, frozen=True):
    """Remove what these measurements of the metric left behind: they are about to be forgotten."""

    metric: str
    measurements: tuple[Measurement, ...]


class DeleteRun(msgspec.Struct, frozen=True):
    """Delete the run itself: it has been completed for as long as its ttlStrategy says."""


Action = Measure | Resume | Terminate | Cancel | GarbageCollect | DeleteRun
