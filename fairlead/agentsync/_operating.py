"""The life of an operation: taken up, pinned to a commit, carried out pass by pass, tried again, written to history.

Everything that a later pass needs stands in `status.operationState`: the revisions that were resolved, what has become
of each object, and when the next attempt is due. Whatever sources say meanwhile, all passes use the pinned revisions.

Source: `argo-cd: controller/appcontroller.go: processRequestedAppOperation`, `controller/sync.go: SyncAppState`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from fairlead.agentsync import _sync
from fairlead.agentsync._auto import Timing, kitchen, retry_delay, same_sources
from fairlead.agentsync._comparing import Comparison
from fairlead.agentsync._tasks import Course, build_tasks
from fairlead.agentsync.actions import Action
from fairlead.agentsync.observation import Desired, Result
from fairlead.agentsync.operation import Operation, SyncOperation
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import ApplicationSpec, Source
from fairlead.agentsync.status import (
    AppCondition,
    ApplicationStatus,
    ConditionType,
    HistoryEntry,
    OperationState,
    Phase,
    SyncResult,
)
from fairlead.core.decision import Event, EventType, earliest
from fairlead.core.errors import SpecError

BLOCKED = "Sync operation blocked by sync window"
NOTHING_ASKED = "Invalid operation request: no operation specified"
TIMED_OUT = "operation is terminating due to timeout"
PREPARING = "the desired state is being rendered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one look at an operation comes to.

    Attributes:
        wants_render: whether the desired state of the operation has to be rendered first.
    """

    state: OperationState
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    wants_render: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an operation works with.

    Attributes:
        desired: what it is to apply; None: it is not known yet.
        failure: why that cannot be had; empty: it can.
        compare: compares a desired state with what lives.
        find: what lives under a key.
        manner: how tasks are carried out; options, prune, force and approval come from the operation.
        is_blocked, blocked_until: whether sync windows block it, and until when; None: nobody knows.
        errors: of the spec and the project: with any of them nothing is applied.
        results, acted_at: as in the observation.
        approved_at: when deletions were approved last.
        allows_empty: whether a render without any object may prune everything.
    """

    desired: Desired | None
    failure: str
    compare: Callable[[Desired], Comparison]
    find: Callable[[ResourceKey], Object | None]
    stamp: Callable[[Object], Object]
    manner: _sync.Manner
    is_blocked: bool = False
    blocked_until: datetime | None = None
    errors: tuple[AppCondition, ...] = ()
    results: tuple[Result, ...] = ()
    acted_at: datetime | None = None
    approved_at: datetime | None = None
    allows_empty: bool = False


def begin(operation: Operation, now: datetime) -> OperationState:
    """Return the state of an operation that is taken up."""
    return OperationState(operation=operation, phase=Phase.RUNNING, started_at=now.replace(microsecond=0))


def sources_of(state: OperationState, spec: ApplicationSpec) -> tuple[Source, ...]:
    """Return what an operation syncs: what it is pinned to, else what it asks for, else what the spec says.

    Where that is the same, the spec has it in full: values may hold a `null`, which a status cannot.
    """
    sync, result = state.operation.sync, state.sync_result
    found = (result.all_sources if result is not None else ()) or (sync.all_sources if sync is not None else ())
    return spec.all_sources if not found or same_sources(found, spec.all_sources) else found


def revisions_of(state: OperationState, spec: ApplicationSpec) -> tuple[str, ...]:
    """Return the revisions to render: those it is pinned to, else those it asks for; empty: what the sources mean."""
    if state.sync_result is not None and state.sync_result.all_revisions:
        return state.sync_result.all_revisions
    sync = state.operation.sync
    if sync is None:
        return ()
    if len(sources_of(state, spec)) > 1 or spec.is_multi_source:
        return sync.revisions  # the override of a single source says nothing about several
    return sync.all_revisions


def is_pinned(state: OperationState) -> bool:
    """Return whether commits have been resolved: from then on no other is applied."""
    return state.sync_result is not None and bool(state.sync_result.all_revisions)


def proceed(state: OperationState, spec: ApplicationSpec, world: World, timing: Timing, now: datetime) -> Step:
    """Return the next step of an operation that is in progress."""
    if state.phase == Phase.TERMINATING:
        return _terminate(state, spec, world, timing, now)
    if state.finished_at is not None:
        return _await_retry(state, now)
    is_over = timing.sync_timeout and state.started_at is not None and now >= state.started_at + timing.sync_timeout
    if is_over:
        stopped = msgspec.structs.replace(state, phase=Phase.TERMINATING, message=TIMED_OUT)
        return _terminate(stopped, spec, world, timing, now)
    sync = state.operation.sync
    if sync is None:
        return _ended(state, Phase.FAILED, NOTHING_ASKED, now)
    if world.is_blocked:
        blocked = msgspec.structs.replace(state, phase=Phase.RUNNING, message=BLOCKED)
        wake_at = earliest(world.blocked_until, now + timing.operation_interval)
        return Step(state=blocked, wake_at=wake_at)
    if world.errors:
        return _ended(state, Phase.ERROR, joined(world.errors), now)
    if world.desired is None:
        if world.failure:
            message = f"{ConditionType.COMPARISON}: Failed to load target state: {world.failure}"
            return _ended(state, Phase.ERROR, message, now)
        waiting = state if state.message else msgspec.structs.replace(state, message=PREPARING)
        return Step(state=waiting, wake_at=now + timing.operation_interval, wants_render=True)
    return _carry_out(state, sync, spec, world, world.desired, timing, now)


def joined(conditions: tuple[AppCondition, ...]) -> str:
    """Return conditions as the message of an operation."""
    return ";".join(f"{one.type}: {one.message}" for one in conditions)


def _carry_out(
    state: OperationState,
    sync: SyncOperation,
    spec: ApplicationSpec,
    world: World,
    desired: Desired,
    timing: Timing,
    now: datetime,
) -> Step:
    state = _pinned(state, spec, desired)
    comparison = world.compare(desired)
    options = SyncOptions.of(sync.sync_options)
    shared = [one for one in comparison.conditions if one.type == ConditionType.SHARED_RESOURCE]
    if options.fails_on_shared and shared:
        message = f"Shared resource found: {', '.join(one.message for one in shared)}"
        return _ended(state, Phase.FAILED, message, now)
    if comparison.errors:
        return _ended(state, Phase.ERROR, joined(comparison.errors), now)
    assert state.sync_result is not None, "a pinned operation has a result"
    passed = _sync.advance(
        build_tasks(comparison.pairs, comparison.hooks, _course(state, sync, spec, world, desired), world.find),
        state.sync_result.resources,
        world.results,
        _manner(state, sync, options, world, comparison),
        now,
        acted_at=world.acted_at,
    )
    return _after(state, passed, timing, now)


def _after(state: OperationState, passed: _sync.Pass, timing: Timing, now: datetime) -> Step:
    result = state.sync_result if state.sync_result is not None else SyncResult()
    state = msgspec.structs.replace(
        state,
        sync_result=msgspec.structs.replace(result, resources=passed.results),
        phase=passed.phase,
        message=passed.message,
    )
    if passed.phase.is_completed:
        ended = _ended(state, passed.phase, passed.message, now)
        return with_actions(ended, passed.actions)
    wake_at = earliest(passed.wake_at, now + timing.operation_interval)
    return Step(state=state, actions=passed.actions, wake_at=wake_at)


def with_actions(step: Step, actions: tuple[Action, ...]) -> Step:
    """Return a step with the actions that belong to it."""
    return replace(step, actions=actions)


def _pinned(state: OperationState, spec: ApplicationSpec, desired: Desired) -> OperationState:
    """Remember the commits: all later passes apply them and no others."""
    if state.sync_result is not None:
        return state
    is_multi = len(desired.sources) > 1 or spec.is_multi_source
    result = SyncResult(
        revision="" if is_multi else "".join(desired.revisions[:1]),
        revisions=desired.revisions if is_multi else (),
        source=None if is_multi else desired.sources[0] if desired.sources else None,
        sources=desired.sources if is_multi else (),
        managed_namespace_metadata=spec.namespace_metadata,
    )
    return msgspec.structs.replace(state, sync_result=result)


def _course(
    state: OperationState, sync: SyncOperation, spec: ApplicationSpec, world: World, desired: Desired
) -> Course:
    return Course(
        options=SyncOptions.of(sync.sync_options),
        resources=sync.resources,
        runs_hooks=sync.runs_hooks,
        revision="".join(desired.revisions[:1]),
        started_at=state.started_at,
        namespace=spec.destination.namespace,
        namespace_metadata=spec.namespace_metadata,
        stamp=world.stamp,
    )


def _manner(
    state: OperationState, sync: SyncOperation, options: SyncOptions, world: World, comparison: Comparison
) -> _sync.Manner:
    approved = world.approved_at is not None and state.started_at is not None and world.approved_at >= state.started_at
    return replace(
        world.manner,
        options=options,
        prune=sync.prune,
        dry_run=sync.dry_run,
        force=sync.force,
        approved=approved,
        # An empty render is more often an accident than a wish: it needs a word, whatever the options say.
        confirms_all=not world.allows_empty and not any(pair.target is not None for pair in comparison.pairs),
    )


def _terminate(state: OperationState, spec: ApplicationSpec, world: World, timing: Timing, now: datetime) -> Step:
    """End it early. Without its desired state no hook of it is known; then there is nothing to delete."""
    sync, desired = state.operation.sync, world.desired
    if sync is None or desired is None or state.sync_result is None:
        if sync is not None and state.sync_result is not None and not world.failure:
            return Step(state=state, wake_at=now + timing.operation_interval, wants_render=True)
        return _closed(state, Phase.FAILED, _sync.TERMINATED, now)
    comparison = world.compare(desired)
    options = SyncOptions.of(sync.sync_options)
    passed = _sync.terminate(
        build_tasks(comparison.pairs, comparison.hooks, _course(state, sync, spec, world, desired), world.find),
        state.sync_result.resources,
        world.results,
        _manner(state, sync, options, world, comparison),
        now,
    )
    result = msgspec.structs.replace(state.sync_result, resources=passed.results)
    state = msgspec.structs.replace(state, sync_result=result)
    if passed.phase.is_completed:
        return with_actions(_closed(state, passed.phase, passed.message, now), passed.actions)
    return Step(state=state, actions=passed.actions, wake_at=now + timing.operation_interval)


# -- the end, and the next attempt -------------------------------------------------------------------------------------


def _ended(state: OperationState, phase: Phase, message: str, now: datetime) -> Step:
    """Return the end of an attempt: success, or the next attempt if one is left, or failure."""
    retry, count = state.operation.retry, state.retry_count
    if phase.is_successful:
        return _closed(state, phase, message, now)
    if retry.limit >= 0 and count >= retry.limit:
        return _closed(state, phase, f"{message} (retried {count} times)." if count else message, now)
    try:
        shown, due = retry_delay(retry, count), retry_delay(retry, count + 1)
    except SpecError as error:
        return _closed(state, Phase.ERROR, f"{message} (failed to retry: {error})", now)
    at = now.replace(microsecond=0)
    # The delay that follows is that of the next exponent, although the message shows the time of this one.
    text = f"{message}. Retrying attempt #{count + 1} at {kitchen(at + shown)}."
    waiting = msgspec.structs.replace(state, phase=Phase.RUNNING, message=text, retry_count=count + 1, finished_at=at)
    return Step(state=waiting, wake_at=at + due)


def _closed(state: OperationState, phase: Phase, message: str, now: datetime) -> Step:
    return Step(
        state=msgspec.structs.replace(state, phase=phase, message=message, finished_at=now.replace(microsecond=0))
    )


def _await_retry(state: OperationState, now: datetime) -> Step:
    assert state.finished_at is not None, "an attempt that is waited for has an end"
    try:
        at = state.finished_at + retry_delay(state.operation.retry, state.retry_count)
    except SpecError as error:
        return _closed(state, Phase.ERROR, str(error), now)
    if now < at:
        return Step(state=state, wake_at=at)
    operation, extra = state.operation, ""
    if operation.retry.refresh and operation.sync is not None:
        sync = msgspec.structs.replace(operation.sync, revision="", revisions=())
        operation, extra = msgspec.structs.replace(operation, sync=sync), " with latest revisions"
    again = msgspec.structs.replace(
        state,
        operation=operation,
        message=f"Retrying operation{extra}. Attempt #{state.retry_count}",
        finished_at=None,
        sync_result=None,
    )
    return Step(state=again, wake_at=now, wants_render=True)


def with_history(status: ApplicationStatus, state: OperationState, limit: int) -> ApplicationStatus:
    """Return the status with an entry for a full sync that succeeded and was no dry run."""
    sync, result = state.operation.sync, state.sync_result
    if sync is None or result is None or sync.dry_run or sync.is_partial or state.phase != Phase.SUCCEEDED:
        return status
    number = max((entry.id for entry in status.history), default=-1) + 1
    entry = HistoryEntry(
        id=number,
        revision=result.revision,
        revisions=result.revisions,
        source=result.source,
        sources=result.sources,
        deploy_started_at=state.started_at,
        deployed_at=state.finished_at,
        initiated_by=state.operation.initiated_by,
    )
    kept = (*status.history, entry)[-limit:] if limit else ()
    return msgspec.structs.replace(status, history=kept)


def completed_event(state: OperationState) -> Event:
    """Return the Event that tells the end of an operation."""
    sync, result = state.operation.sync, state.sync_result
    what = "Partial sync operation" if sync is not None and sync.is_partial else "Sync operation"
    to = f" to {', '.join(result.all_revisions)}" if result is not None and result.all_revisions else ""
    if state.phase == Phase.SUCCEEDED:
        return Event("OperationCompleted", f"{what}{to} succeeded")
    return Event("OperationCompleted", f"{what}{to} failed: {state.message}", EventType.WARNING)
