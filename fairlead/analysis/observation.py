"""What has been seen of the measurements of a run since the last decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.analysis.status import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An answer to Measure, Resume or Terminate.

    Attributes:
        metadata: what the provider says of the metric as a whole (the query after substitution); stored once.
        is_termination: it answers Terminate.
    """

    metric: str
    measurement: Measurement
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_termination: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything outside spec and status that a decision depends on.

    Attributes:
        outcomes: answers that no decision has seen yet, oldest first.
        in_flight: metrics for which this process is measuring, resuming or terminating at this moment.
        news: metrics whose measurement in flight has something to tell before its time (its Job has ended).
        arguments_error: why arguments cannot be resolved (a missing Secret); it ends the run.
    """

    outcomes: tuple[Outcome, ...] = ()
    in_flight: frozenset[str] = frozenset()
    news: frozenset[str] = frozenset()
    arguments_error: str = ""


NOTHING_SEEN = Observation()
