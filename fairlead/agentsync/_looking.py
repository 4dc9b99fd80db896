"""The comparison of one decision, what it writes into the status, and whether it may be acted on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from fairlead.agentsync._auto import is_of
from fairlead.agentsync._case import Case
from fairlead.agentsync._comparing import Comparison, as_unknown, with_time
from fairlead.agentsync._subject import Reason
from fairlead.agentsync.health import Health, HealthCode
from fairlead.agentsync.observation import Desired, RenderFailure
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.agentsync.status import (
    AppCondition,
    ApplicationStatus,
    ComparedTo,
    ConditionType,
    SyncCode,
    SyncStatus,
    with_conditions,
)
from fairlead.core.decision import Blocker

_EVALUATED = frozenset(
    {
        ConditionType.INVALID_SPEC,
        ConditionType.COMPARISON,
        ConditionType.SHARED_RESOURCE,
        ConditionType.REPEATED_RESOURCE,
        ConditionType.EXCLUDED_RESOURCE,
        ConditionType.ORPHANED_RESOURCE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen.

    Attributes:
        status: with what was seen written down.
        comparison: None: there was nothing to compare.
        desired: what was compared with what lives.
        errors: why nobody can say how it is.
        is_trusted: whether automatic sync may act on it.
        wake_at: when another look is due by itself.
    """

    status: ApplicationStatus
    comparison: Comparison | None = None
    desired: Desired | None = None
    errors: tuple[AppCondition, ...] = ()
    is_trusted: bool = False
    wake_at: datetime | None = None
    blocker: Blocker | None = None


def unknown(status: ApplicationStatus, conditions: tuple[AppCondition, ...], now: datetime) -> ApplicationStatus:
    """Return the status of an Application of which nobody can say how it is: nothing known before is taken for true."""
    status = with_conditions(status, conditions, _EVALUATED, now)
    return msgspec.structs.replace(
        status,
        sync=msgspec.structs.replace(status.sync, status=SyncCode.UNKNOWN),
        health=with_time(Health(HealthCode.UNKNOWN), status.health, now),
        resources=as_unknown(status.resources),
    )


def look(case: Case, spec: ApplicationSpec) -> Look:
    """Return what is wanted against what lives, and the status that says so."""
    seen = case.seen
    if seen.live is None:
        return _without_live(case)
    desired = seen.rendering.desired
    if desired is not None and not is_of(desired, spec):
        desired = None
    failure = seen.rendering.failure
    if failure is not None and desired is not None and failure.at < desired.rendered_at:
        failure = None
    if desired is None and failure is None:
        blocker = Blocker(reason=Reason.RENDERING, what="the sources are being rendered")
        return Look(status=case.status, blocker=blocker)
    comparison = case.compare(spec, desired)
    if failure is not None:
        return _in_doubt(case, spec, comparison, desired, failure)
    assert desired is not None, "without a failure there is a render"
    return Look(
        status=_compared(case, spec, comparison, desired),
        comparison=comparison,
        desired=desired,
        is_trusted=not comparison.errors,
    )


def _without_live(case: Case) -> Look:
    if not case.seen.live_error:
        blocker = Blocker(reason=Reason.LOADING, what="the objects of the destination are being listed")
        return Look(status=case.status, blocker=blocker)
    message = f"Failed to load live state: {case.seen.live_error}"
    error = AppCondition(type=ConditionType.COMPARISON, message=message)
    return Look(
        status=unknown(case.status, (error,), case.now),
        errors=(error,),
        blocker=Blocker(reason=Reason.LOADING, what=message),
    )


def _in_doubt(
    case: Case, spec: ApplicationSpec, comparison: Comparison, desired: Desired | None, failure: RenderFailure
) -> Look:
    """The last render failed. A repository that does not answer has some time to come back."""
    until = failure.since + case.settings.timing.repository_grace
    # Towards a commit that is known drift may still be mended while nobody can say whether there is a newer one.
    is_trusted = failure.is_repository and desired is not None and not comparison.errors
    if failure.is_repository and desired is not None and case.now < until:
        return Look(
            status=_compared(case, spec, comparison, desired),
            comparison=comparison,
            desired=desired,
            is_trusted=is_trusted,
            wake_at=until,
        )
    message = f"Failed to load target state: {failure.message}"
    error = AppCondition(type=ConditionType.COMPARISON, message=message)
    return Look(
        status=_uncertain(case, comparison, error),
        comparison=comparison,
        desired=desired,
        errors=(error,),
        is_trusted=is_trusted,
        blocker=Blocker(reason=Reason.SOURCE_FAILED, what=message, since=failure.since),
    )


def _uncertain(case: Case, comparison: Comparison, error: AppCondition) -> ApplicationStatus:
    """What lives is told, and nothing of what should live."""
    status = _alive(case, comparison, (*comparison.conditions, error))
    return msgspec.structs.replace(
        status,
        sync=msgspec.structs.replace(status.sync, status=SyncCode.UNKNOWN),
        resources=as_unknown(comparison.resources),
    )


def _compared(case: Case, spec: ApplicationSpec, comparison: Comparison, desired: Desired) -> ApplicationStatus:
    status = _alive(case, comparison, comparison.conditions)
    types, is_multi = desired.source_types, spec.is_multi_source
    at = desired.rendered_at.replace(microsecond=0)
    changes: dict[str, Any] = {
        "source_type": "" if is_multi else "".join(types[:1]),
        "source_types": types if is_multi else (),
        "reconciled_at": max(at, status.reconciled_at) if status.reconciled_at is not None else at,
        "sync": SyncStatus(
            status=comparison.code,
            revision="" if is_multi else "".join(desired.revisions[:1]),
            revisions=desired.revisions if is_multi else (),
            compared_to=ComparedTo(
                source=None if is_multi else spec.source,
                sources=spec.sources,
                destination=spec.destination,
                ignore_differences=spec.ignore_differences,
            ),
        ),
    }
    return msgspec.structs.replace(status, resources=comparison.resources, **changes)


def _alive(case: Case, comparison: Comparison, conditions: tuple[AppCondition, ...]) -> ApplicationStatus:
    status = with_conditions(case.status, conditions, _EVALUATED, case.now)
    found = comparison.health if comparison.health is not None else Health(HealthCode.UNKNOWN)
    return msgspec.structs.replace(
        status,
        health=with_time(found, status.health, case.now),
        summary=comparison.summary,
        controller_namespace=case.settings.control_namespace,
    )
