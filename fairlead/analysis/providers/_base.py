"""What providers that answer in one call have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fairlead.analysis._conditions import judge
from fairlead.analysis._expressions import Value
from fairlead.analysis.ports import Question
from fairlead.analysis.providers.settings import ProviderTools
from fairlead.analysis.spec import Metric
from fairlead.analysis.status import Measurement, Phase


class OneCallProvider:
    """A provider whose measurements are complete at once: nothing is ever in flight."""

    def __init__(self, tools: ProviderTools) -> None:
        self.tools = tools
        self.settings = tools.settings

    async def resume(self, question: Question, measurement: Measurement) -> Measurement:
        """Return an Error: there is nothing to resume."""
        return failed("nothing is in flight for this kind of metric", self.tools.clock.now(), measurement)

    async def terminate(self, question: Question, measurement: Measurement) -> Measurement:
        """Return an Error: there is nothing to end."""
        return failed("nothing is in flight for this kind of metric", self.tools.clock.now(), measurement)

    async def garbage_collect(self, question: Question, measurements: Sequence[Measurement]) -> None:
        """Return at once: measurements leave nothing behind."""

    def metadata(self, metric: Metric) -> Mapping[str, str]:
        """Return nothing: there is nothing to show of the metric as a whole."""
        return {}

    def judged(
        self, metric: Metric, result: Value, shown: str, started_at: datetime, metadata: Mapping[str, str]
    ) -> Measurement:
        """Return the measurement of a result: its verdict by the metric's conditions, and its value for people."""
        now = self.tools.clock.now()
        phase, message = judge(
            metric.success_condition, metric.failure_condition, result, now=now, strict=self.settings.strict
        )
        return Measurement(
            phase=phase,
            message=message,
            started_at=started_at,
            finished_at=now,
            value="" if phase is Phase.ERROR else shown,  # as upstream: an error of a condition shows no value
            metadata=dict(metadata),
        )


def failed(message: str, now: datetime, measurement: Measurement | None = None) -> Measurement:
    """Return an Error measurement, finished now."""
    return Measurement(
        phase=Phase.ERROR,
        message=message,
        started_at=measurement.started_at if measurement is not None else None,
        finished_at=now,
        metadata=measurement.metadata if measurement is not None else {},
    )
