"""When an Application is compared anew, and when it syncs by itself.

Source: `argo-cd: controller/appcontroller.go: needRefreshAppStatus, autoSync, alreadyAttemptedSync, selfHealBackoff`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from fairlead.agentsync._comparing import Comparison
from fairlead.agentsync.actions import Depth
from fairlead.agentsync.observation import Desired, Rendering
from fairlead.agentsync.operation import InitiatedBy, Operation, SyncOperation, SyncResource
from fairlead.agentsync.options import Consent, SyncOptions
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.spec import AUTO_RETRY_LIMIT, ApplicationSpec, Automated, RetryStrategy, Source
from fairlead.agentsync.status import (
    ApplicationStatus,
    OperationState,
    Phase,
    ResourceStatus,
    SyncCode,
    to_json,
    without_nulls,
)
from fairlead.core.decision import Event, earliest


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When things happen by themselves.

    Attributes:
        reconciliation: time between comparisons; 0: only when something changes. `timeout.reconciliation`
        jitter: how much longer it is at most, so that not all ask at once.
        hard_reconciliation: time between comparisons that render anew; 0: never.
        failure_retry: when a repository that did not answer is asked again.
        repository_grace: how long what was known holds while a repository does not answer.
        heal_first, heal_factor, heal_most: delays between self-heals in a row, by their number.
        heal_timeout: the delay, if `heal_first` is 0.
        heal_reset: after so long without a self-heal their count begins anew.
        operation_interval: a running operation is looked at at least that often.
        sync_timeout: after that a running operation is terminated; 0: never.
        wave_delay: pause after each wave but the last.
    """

    reconciliation: timedelta = timedelta(seconds=120)
    jitter: timedelta = timedelta(seconds=60)
    hard_reconciliation: timedelta = timedelta(0)
    failure_retry: timedelta = timedelta(seconds=30)
    repository_grace: timedelta = timedelta(seconds=180)
    heal_first: timedelta = timedelta(seconds=2)
    heal_factor: int = 3
    heal_most: timedelta = timedelta(seconds=300)
    heal_timeout: timedelta = timedelta(0)
    heal_reset: timedelta = timedelta(minutes=10)
    operation_interval: timedelta = timedelta(seconds=30)
    sync_timeout: timedelta = timedelta(0)
    wave_delay: timedelta = timedelta(seconds=2)


# -- when to compare ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whether sources are to be asked now.

    Attributes:
        depth: how deep; None: not now.
        at: when they are due by themselves; None: never.
    """

    depth: Depth | None = None
    at: datetime | None = None


def when_to_render(
    spec: ApplicationSpec, rendering: Rendering, refresh: str, timing: Timing, now: datetime, *, jitter: float
) -> Due:
    """Return whether, and how deep, the sources are to be asked.

    Args:
        refresh: value of the refresh annotation; empty: there is none.
        jitter: a number in 0..1.
    """
    if rendering.in_flight:
        return Due()
    if refresh:
        return Due(depth=Depth.HARD if refresh == "hard" else Depth.FRESH)
    desired, failure = rendering.desired, rendering.failure
    is_current = desired is not None and is_of(desired, spec)
    if failure is not None and failure.sources and not same_sources(failure.sources, spec.all_sources):
        return Due(depth=Depth.FRESH)  # the spec has changed since
    if failure is not None:
        period = timing.failure_retry if failure.is_repository or desired is None else _period(timing, jitter)
        at = failure.at + (period or timing.failure_retry)
        return Due(depth=Depth.CACHED, at=at) if now >= at else Due(at=at)
    if desired is None or not is_current:
        return Due(depth=Depth.FRESH)
    hard_at = desired.rendered_at + timing.hard_reconciliation if timing.hard_reconciliation else None
    if hard_at is not None and now >= hard_at:
        return Due(depth=Depth.HARD)
    period = _period(timing, jitter)
    soft_at = desired.rendered_at + period if period is not None else None
    if soft_at is not None and now >= soft_at:
        return Due(depth=Depth.CACHED)
    return Due(at=earliest(soft_at, hard_at))


def _period(timing: Timing, jitter: float) -> timedelta | None:
    return timing.reconciliation + timing.jitter * jitter if timing.reconciliation else None


def is_of(desired: Desired, spec: ApplicationSpec) -> bool:
    """Return whether something was rendered for what the spec says now."""
    is_for_it = desired.destination is None or desired.destination == spec.destination
    return is_for_it and same_sources(desired.sources, spec.all_sources)


def same_sources(one: tuple[Source, ...], other: tuple[Source, ...]) -> bool:
    """Return whether sources are the same; a status cannot hold the `null`s that values may have."""
    if one == other:
        return True
    return [without_nulls(to_json(source)) for source in one] == [without_nulls(to_json(source)) for source in other]


# -- when to sync by itself --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """What automatic sync decides.

    Attributes:
        operation: what to ask for; None: nothing now.
        error: text of the condition SyncError; empty: there is none.
        wait_until: when self-heal may begin; None: it is not waited for.
        why_not: why nothing is asked for, for people.
    """

    operation: Operation | None = None
    error: str = ""
    event: Event | None = None
    wait_until: datetime | None = None
    why_not: str = ""


def auto_sync(
    spec: ApplicationSpec,
    status: ApplicationStatus,
    comparison: Comparison,
    desired: Desired,
    timing: Timing,
    now: datetime,
    *,
    namespace_changed: bool = False,
) -> Auto:
    """Return whether an Application syncs by itself now. No operation runs, and it is not being deleted.

    Args:
        comparison: of `desired` with what lives at this moment.
        namespace_changed: whether the metadata of the destination namespace is not what was written last.
    """
    automated = spec.automated
    if automated is None:
        return Auto(why_not="automatic sync is off")
    if comparison.code is not SyncCode.OUT_OF_SYNC:
        return Auto(why_not="nothing differs")
    differing = [one for one in comparison.resources if one.status == SyncCode.OUT_OF_SYNC]
    if not automated.prune and all(one.requires_pruning for one in differing) and not namespace_changed:
        return Auto(why_not="only pruning is needed, and it is off")
    named = _named(desired.revisions)
    operation = _operation(spec, automated, desired)
    state = status.operation_state
    if state is not None and was_attempted(state, desired.revisions, spec.all_sources):
        kept = _kept(spec, comparison)
        mended = [one for one in differing if one.key not in kept]
        if differing and not mended and not namespace_changed:
            return Auto(why_not="what differs must not be pruned")  # it would be tried again for ever
        healing = _heal(automated, state, operation, mended, timing, now, named)
        if healing.operation is None:
            return healing
        operation = healing.operation
    if automated.prune and not automated.allow_empty and would_prune_all(comparison.resources):
        message = f"Skipping sync attempt to {named}: auto-sync will wipe out all resources"
        return Auto(error=message, why_not=message)
    revisions = ", ".join(desired.revisions)
    return Auto(operation=operation, event=Event("OperationStarted", f"Initiated automated sync to '{revisions}'"))


def _kept(spec: ApplicationSpec, comparison: Comparison) -> frozenset[ResourceKey]:
    """Return what left the source and must not be pruned."""
    options = SyncOptions.of(spec.sync_options)
    return frozenset(
        pair.key
        for pair in comparison.pairs
        if pair.target is None and pair.live is not None and options.prunes(pair.live) is Consent.NEVER
    )


def _named(revisions: tuple[str, ...]) -> str:
    """Return revisions as messages show a list of them."""
    return f"[{' '.join(revisions)}]" if len(revisions) > 1 else "".join(revisions)


def would_prune_all(resources: tuple[ResourceStatus, ...]) -> bool:
    """Return whether nothing would be left. Hooks do not count: they are no part of what runs."""
    counted = [one for one in resources if not one.hook]
    return bool(counted) and all(one.requires_pruning for one in counted)


def was_attempted(state: OperationState, revisions: tuple[str, ...], sources: tuple[Source, ...]) -> bool:
    """Return whether the last operation was about these very revisions and sources."""
    result = state.sync_result
    if result is None or state.operation.sync is None:
        return False
    known = tuple(filter(None, revisions))  # a source without revisions has an empty one, which is not stored
    return tuple(filter(None, result.all_revisions)) == known and same_sources(result.all_sources, sources)


def _operation(spec: ApplicationSpec, automated: Automated, desired: Desired) -> Operation:
    policy = spec.sync_policy
    retry = policy.retry if policy is not None else None
    is_multi = spec.is_multi_source
    return Operation(
        sync=SyncOperation(
            revision="" if is_multi else "".join(desired.revisions[:1]),
            revisions=desired.revisions if is_multi else (),
            sources=spec.sources,
            prune=automated.prune,
            sync_options=spec.sync_options,
        ),
        initiated_by=InitiatedBy(automated=True),
        retry=retry if retry is not None else RetryStrategy(limit=AUTO_RETRY_LIMIT),
    )


def _heal(
    automated: Automated,
    state: OperationState,
    operation: Operation,
    differing: list[ResourceStatus],
    timing: Timing,
    now: datetime,
    named: str,
) -> Auto:
    """The revision was synced before. If that failed, nothing but a change helps; else drift may be mended in part."""
    if state.phase != Phase.SUCCEEDED:
        message = f"Failed last sync attempt to {named}: {state.message}"
        return Auto(error=message, why_not=message)
    if not automated.self_heal:
        return Auto(why_not="this revision was synced, and self-heal is off")
    count = _heals_so_far(state, timing, now)
    if state.finished_at is not None:
        at = state.finished_at + heal_delay(count, timing)
        if now < at:
            return Auto(wait_until=at, why_not="self-heal waits for its back-off")
    assert operation.sync is not None, "automatic sync asks for a sync"
    resources = tuple(
        SyncResource(group=one.group, kind=one.kind, name=one.name, namespace=one.namespace) for one in differing
    )
    sync = msgspec.structs.replace(operation.sync, resources=resources, auto_heal_attempts_count=count + 1)
    return Auto(operation=msgspec.structs.replace(operation, sync=sync))


def _heals_so_far(state: OperationState, timing: Timing, now: datetime) -> int:
    if state.operation.sync is None or state.finished_at is None:
        return 0
    if now - state.finished_at > timing.heal_reset:
        return 0
    return max(0, state.operation.sync.auto_heal_attempts_count)


def heal_delay(count: int, timing: Timing) -> timedelta:
    """Return the delay before the next self-heal, after `count` in a row.

    >>> [heal_delay(count, Timing()).seconds for count in range(8)]
    [0, 2, 6, 18, 54, 162, 300, 300]
    """
    if not timing.heal_first:
        return timing.heal_timeout
    delay = timedelta(0)
    for _ in range(count):
        delay = delay * timing.heal_factor if delay else timing.heal_first
        if delay >= timing.heal_most:
            return timing.heal_most
    return delay


# -- retry -------------------------------------------------------------------------------------------------------------


def retry_delay(retry: RetryStrategy, count: int) -> timedelta:
    """Return duration × factor^count, at most maxDuration.

    Raises:
        SpecError: a duration is none.

    >>> [retry_delay(RetryStrategy(), count).seconds for count in range(7)]
    [5, 10, 20, 40, 80, 160, 180]
    """
    delay, most = retry.duration, retry.duration_max
    for _ in range(count):
        if delay >= most:
            return most
        try:
            delay *= retry.factor
        except OverflowError:
            return most
    return min(delay, most)


def kitchen(instant: datetime) -> str:
    """Return a time of day as Go's `time.Kitchen` writes it: 3:04PM."""
    return f"{instant.hour % 12 or 12}:{instant.minute:02d}{'AM' if instant.hour < 12 else 'PM'}"
