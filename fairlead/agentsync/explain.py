"""What an Application waits for, as its stored status tells it. Pure.

The controller writes down what it found out; nothing is compared anew here, and no repository is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fairlead.agentsync._auto import retry_delay
from fairlead.agentsync._operating import BLOCKED
from fairlead.agentsync.health import HealthCode
from fairlead.agentsync.kinds import Application
from fairlead.agentsync.machine import Reason, Subject, prepare
from fairlead.agentsync.status import (
    ApplicationStatus,
    ConditionType,
    OperationState,
    Phase,
    ResourceStatus,
    SyncCode,
    decode_status,
)
from fairlead.core.decision import Blocker
from fairlead.core.errors import SpecError

_LINES_MAX = 20
_AT_LEAST_EVERY = timedelta(seconds=30)  # a running operation is looked at that often


def explain(application: Application, now: datetime) -> Blocker | None:
    """Return what an Application waits for; None: for nothing, it is Synced and Healthy."""
    subject, status = prepare(application), decode_status(application.status)
    if (standing := _standing(subject, status)) is not None:
        return standing
    state = status.operation_state
    if state is not None and state.phase in (Phase.RUNNING, Phase.TERMINATING):
        return _operation(state, now)
    if subject.has_operation:
        return Blocker(reason=Reason.SYNCING, what="a sync is asked for", next="the controller takes it up")
    return _condition(status) or _difference(subject, status) or _health(status)


def _standing(subject: Subject, status: ApplicationStatus) -> Blocker | None:
    """What holds whatever else there is."""
    metadata = subject.metadata
    if metadata.annotations.get("argocd.argoproj.io/skip-reconcile") == "true":
        return Blocker(reason=Reason.SKIPPED, what="the annotation argocd.argoproj.io/skip-reconcile is set")
    if metadata.deletion_timestamp is not None:
        failed = status.condition(ConditionType.DELETION)
        left = ", ".join(metadata.finalizers) or "nothing"
        what = failed.message if failed is not None else f"its objects are being deleted; it is held by {left}"
        return Blocker(
            reason=Reason.DELETING,
            what=what,
            since=metadata.deletion_timestamp,
            next="the finalizers go, and the Application with them",
        )
    if subject.spec is None:
        return Blocker(reason=Reason.INVALID, what=subject.error, next="it is compared once the spec is right")
    if not status.sync.status and not status.conditions:
        return Blocker(reason=Reason.RENDERING, what="it has not been compared yet")
    return None


def _operation(state: OperationState, now: datetime) -> Blocker:
    what = state.message or "a sync runs"
    if state.message == BLOCKED:
        return Blocker(reason=Reason.BLOCKED, what=what, since=state.started_at, next="the sync runs")
    if state.finished_at is not None:
        try:
            at = state.finished_at + retry_delay(state.operation.retry, state.retry_count)
        except SpecError:
            at = now
        return Blocker(
            reason=Reason.RETRYING, what=what, since=state.finished_at, next="the sync is tried again", at=at
        )
    return Blocker(
        reason=Reason.SYNCING,
        what=what,
        since=state.started_at,
        next="the next wave, or the end",
        at=now + _AT_LEAST_EVERY,
    )


def _condition(status: ApplicationStatus) -> Blocker | None:
    reasons = {
        ConditionType.INVALID_SPEC: (Reason.INVALID, "it is compared once spec and project are right"),
        ConditionType.COMPARISON: (Reason.SOURCE_FAILED, "the sources are asked again"),
        ConditionType.SYNC: (Reason.OUT_OF_SYNC, "a new commit, a change of the spec or a person brings the next sync"),
    }
    for kind, (reason, then) in reasons.items():
        if (found := status.condition(kind)) is not None:
            return Blocker(reason=reason, what=found.message, since=found.last_transition_time, next=then)
    return None


def _difference(subject: Subject, status: ApplicationStatus) -> Blocker | None:
    if status.sync.status != SyncCode.OUT_OF_SYNC:
        return None
    count = sum(1 for resource in status.resources if resource.status == SyncCode.OUT_OF_SYNC)
    differ = f"{count} {'object differs' if count == 1 else 'objects differ'} from what the source says"
    automated = subject.spec.automated if subject.spec is not None else None
    if automated is None:
        return Blocker(reason=Reason.OUT_OF_SYNC, what=f"{differ}, and automatic sync is off", next="somebody syncs")
    if all(resource.requires_pruning for resource in status.resources if resource.status == SyncCode.OUT_OF_SYNC):
        if not automated.prune:
            what = f"{differ}: they left the source, and automatic sync does not prune"
            return Blocker(reason=Reason.OUT_OF_SYNC, what=what, next="somebody syncs with prune")
    elif not automated.self_heal:
        what = f"{differ} at a revision that has been synced, and self-heal is off"
        return Blocker(reason=Reason.OUT_OF_SYNC, what=what, next="a new commit, or somebody, brings the next sync")
    return Blocker(reason=Reason.OUT_OF_SYNC, what=differ, next="an automatic sync")


def _health(status: ApplicationStatus) -> Blocker | None:
    if status.health.status in ("", HealthCode.HEALTHY):
        return None
    what = status.health.message or f"health is {status.health.status}"
    return Blocker(reason=Reason.UNHEALTHY, what=what, since=status.health.last_transition_time)


def details(application: Application) -> tuple[str, ...]:
    """Return the objects that may be the reason, one line each, the last of many being their number."""
    lines = list(_lines(decode_status(application.status).resources))
    if len(lines) > _LINES_MAX:
        return (*lines[:_LINES_MAX], f"and {len(lines) - _LINES_MAX} more")
    return tuple(lines)


def _lines(resources: tuple[ResourceStatus, ...]) -> Iterator[str]:
    for resource in resources:
        health = resource.health.status if resource.health is not None else ""
        is_well = resource.status in ("", SyncCode.SYNCED) and health in ("", HealthCode.HEALTHY)
        if is_well:
            continue
        where = f"{resource.namespace}/{resource.name}" if resource.namespace else resource.name
        words = [word for word in (resource.status, health) if word]
        if resource.requires_pruning:
            words.append("left the source")
        text = resource.health.message if resource.health is not None else ""
        yield f"{resource.kind} {where}: {', '.join(words)}{f' ({text})' if text else ''}"
