"""What the reconciler of analysis runs needs of metric sources, as ports. `fairlead.analysis.providers` offers them.

Third parties add a source through the entry-point group `fairlead.metric_providers`, under the key that users write
below `plugin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fairlead.analysis.spec import Metric
from fairlead.analysis.status import Measurement
from fairlead.core.objects import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One metric of one run, to be measured.

    Attributes:
        run: the run; `run_uid` its UID.
        metric: with every placeholder resolved, so it may hold secrets: neither log nor store it.
        number: which measurement of the metric this is, from 1, errors included; the same again after a crash.
    """

    run: ObjectKey
    run_uid: str
    metric: Metric = field(repr=False)
    number: int


class MetricProvider(Protocol):
    """Asks one kind of metric source, and judges its answers.

    Whatever goes wrong with the source is an answer: a Measurement of phase Error with the text as its message. What
    has an answer at once returns it completed, with value and times. What takes long (a Job) returns a Measurement of
    phase Running whose metadata let it be found again, and `resume_at`. Calls are cancelled when the answer is not
    wanted any more, and must be repeatable: a crash asks again with the same `number`.
    """

    async def measure(self, question: Question) -> Measurement:
        """Return the answer, or that it is on its way."""
        ...

    async def resume(self, question: Question, measurement: Measurement) -> Measurement:
        """Return how far a measurement in flight has come."""
        ...

    async def terminate(self, question: Question, measurement: Measurement) -> Measurement:
        """End a measurement in flight and what runs for it; return it completed."""
        ...

    async def garbage_collect(self, question: Question, measurements: Sequence[Measurement]) -> None:
        """Remove what these measurements, which are about to be forgotten, left behind."""
        ...

    def metadata(self, metric: Metric) -> Mapping[str, str]:
        """Return what is worth showing of the metric as a whole, such as its query after substitution."""
        ...


class Providers(Protocol):
    """Finds the source of a metric."""

    def provider(self, metric: Metric) -> MetricProvider:
        """Return the provider of the metric's block.

        Raises:
            ProviderError: there is none, or it cannot be set up; that is an Error measurement.
        """
        ...
