"""What has been decided so far about an AnalysisRun, as it is stored on the object.

The status is merge-patched on the main resource: the kind has no status subresource. Instants have second
precision, as metav1.Time has. Anybody may write this status (`kubectl apply` of a run that carries one does), so
reading is lenient: what makes no sense is dropped, entry by entry, and never raises.

Source: `argo-rollouts: pkg/apis/rollouts/v1alpha1/analysis_types.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.objects import parse_rfc3339, rfc3339

TEXT_BYTES_MAX = 512 * 1024  # of values and messages in one status, roughly: characters are counted


class Phase(StrEnum):
    """How far a measurement, a metric or a run has come; the last four are final."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    ERROR = "Error"
    INCONCLUSIVE = "Inconclusive"

    @property
    def is_completed(self) -> bool:
        return self not in (Phase.PENDING, Phase.RUNNING)

    @property
    def is_bad(self) -> bool:
        """Whether it stops the run: Failed, Error or Inconclusive."""
        return self in (Phase.FAILED, Phase.ERROR, Phase.INCONCLUSIVE)


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Settings of every value that is stored: absent and empty are the same."""


class Measurement(_Struct, frozen=True, kw_only=True):
    """One answer of a metric source, with its time and its verdict.

    Attributes:
        value: the answer as text, for people.
        metadata: what the provider must find again (a Job's name) or wants to show (warnings).
        resume_at: when a measurement in flight should be looked at again; None: when something changes.
    """

    phase: Phase
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    value: str = ""
    metadata: dict[str, str] = {}
    resume_at: datetime | None = None

    @property
    def is_in_flight(self) -> bool:
        return self.finished_at is None


class MetricResult(_Struct, frozen=True, kw_only=True):
    """All answers to one question, newest last, and the judgement on them.

    Attributes:
        count: measurements that are no errors: successful + failed + inconclusive.
        dry_run: fixed when the result is made.
    """

    name: str = ""
    phase: Phase
    measurements: tuple[Measurement, ...] = ()
    message: str = ""
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    consecutive_error: int = 0
    consecutive_success: int = 0
    dry_run: bool = False
    metadata: dict[str, str] = {}

    @property
    def last(self) -> Measurement | None:
        return self.measurements[-1] if self.measurements else None


class RunSummary(_Struct, frozen=True, kw_only=True):
    """How many metrics (not measurements) ended how; `count` counts unfinished ones as well."""

    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0


class AnalysisRunStatus(_Struct, frozen=True, kw_only=True):
    """The status of a run. A `phase` of None: nothing has been decided yet.

    Attributes:
        metric_results: one per metric that has begun, in the order in which the answers arrived.
        run_summary: over the metrics that count; `dry_run_summary`: over those that do not.
    """

    phase: Phase | None = None
    message: str = ""
    metric_results: tuple[MetricResult, ...] = ()
    started_at: datetime | None = None
    run_summary: RunSummary | None = None
    dry_run_summary: RunSummary | None = None
    completed_at: datetime | None = None

    @property
    def is_completed(self) -> bool:
        return self.phase is not None and self.phase.is_completed

    def result(self, name: str) -> MetricResult | None:
        """Return the result of the metric of that name; None: it has not begun."""
        return next((result for result in self.metric_results if result.name == name), None)


def second(instant: datetime) -> datetime:
    """Return the instant as the status stores it: UTC, fractions of a second cut off."""
    return instant.astimezone(UTC).replace(microsecond=0)


def status_to_json(status: AnalysisRunStatus) -> dict[str, Any]:
    """Return the status as JSON data, instants as RFC 3339 with whole seconds."""
    data = _render(msgspec.to_builtins(status, builtin_types=(datetime,)))
    assert isinstance(data, dict)
    for name, summary in (("runSummary", status.run_summary), ("dryRunSummary", status.dry_run_summary)):
        if summary is not None:
            data.setdefault(name, {})
    return data


def _render(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {name: _render(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_render(member) for member in value]
    return value


def bounded(results: tuple[MetricResult, ...]) -> tuple[MetricResult, ...]:
    """Return the results short enough to be stored: beyond half a MiB of text only the newest answers keep theirs.

    The API server refuses objects of more than 1.5 MiB, and a run whose verdict cannot be stored would never end.
    """
    if sum(_size(measurement) for result in results for measurement in result.measurements) <= TEXT_BYTES_MAX:
        return results
    return tuple(
        msgspec.structs.replace(
            result,
            measurements=(
                *(msgspec.structs.replace(older, value="", message="") for older in result.measurements[:-1]),
                *result.measurements[-1:],
            ),
        )
        for result in results
    )


def _size(measurement: Measurement) -> int:
    return len(measurement.value) + len(measurement.message)


_strict = msgspec.json.Decoder(AnalysisRunStatus)
_INSTANTS = frozenset({"startedAt", "finishedAt", "resumeAt", "completedAt"})


def decode_status(raw: bytes | msgspec.Raw) -> AnalysisRunStatus:
    """Return what can be understood of a stored status; the rest counts as absent. Never raises."""
    try:
        return _plausible(_strict.decode(raw))
    except DECODE_ERRORS:
        pass
    try:
        plain = msgspec.json.decode(raw)
    except DECODE_ERRORS:
        return AnalysisRunStatus()
    return _plausible(_salvage_run(plain)) if isinstance(plain, dict) else AnalysisRunStatus()


def _plausible(status: AnalysisRunStatus) -> AnalysisRunStatus:
    """Take away what no controller writes: nameless or repeated results, negative counters, fractions of seconds,
    times without a zone."""
    kept: dict[str, MetricResult] = {}
    for result in status.metric_results:
        kept.setdefault(result.name, _plausible_result(result))
    results = tuple(kept.values())
    changes = _whole_seconds(status, "started_at", "completed_at")
    if results != status.metric_results:
        changes["metric_results"] = results
    return msgspec.structs.replace(status, **changes) if changes else status


_COUNTERS = ("count", "successful", "failed", "inconclusive", "error", "consecutive_error", "consecutive_success")


def _plausible_result(result: MetricResult) -> MetricResult:
    changes: dict[str, Any] = {name: 0 for name in _COUNTERS if getattr(result, name) < 0}
    measurements = tuple(_plausible_measurement(measurement) for measurement in result.measurements)
    if measurements != result.measurements:
        changes["measurements"] = measurements
    return msgspec.structs.replace(result, **changes) if changes else result


def _plausible_measurement(measurement: Measurement) -> Measurement:
    changes = _whole_seconds(measurement, "started_at", "finished_at", "resume_at")
    return msgspec.structs.replace(measurement, **changes) if changes else measurement


def _whole_seconds(holder: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Return the instants to be replaced: by whole seconds, or by None if they have no zone."""
    changes: dict[str, Any] = {}
    for name in names:
        instant = getattr(holder, name)
        if instant is not None and (instant.tzinfo is None or instant.microsecond):
            changes[name] = second(instant) if instant.tzinfo is not None else None
    return changes


def _salvage(of: type[msgspec.Struct], plain: Mapping[str, Any], lists: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments that can be read from JSON data; a bad field counts as absent."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(of):
        value = plain.get(field.encode_name)
        if value is None:
            continue
        if field.encode_name in lists:
            members = value if isinstance(value, list) else []
            read = (lists[field.encode_name](member) for member in members if isinstance(member, dict))
            found[field.name] = tuple(member for member in read if member is not None)
            continue
        if field.encode_name in _INSTANTS:
            value = parse_rfc3339(value) if isinstance(value, str) else None
            if value is None:
                continue
        try:
            found[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            continue
    return found


def _salvage_run(plain: Mapping[str, Any]) -> AnalysisRunStatus:
    return AnalysisRunStatus(**_salvage(AnalysisRunStatus, plain, {"metricResults": _salvage_result}))


def _salvage_result(plain: Mapping[str, Any]) -> MetricResult | None:
    found = _salvage(MetricResult, plain, {"measurements": _salvage_measurement})
    found.setdefault("phase", Phase.RUNNING)
    return MetricResult(**found) if found.get("name") else None


def _salvage_measurement(plain: Mapping[str, Any]) -> Measurement | None:
    found = _salvage(Measurement, plain, {})
    return Measurement(**found) if "phase" in found else None
