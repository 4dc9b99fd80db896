"""Whether a Rollout moves: progress, the deadline for it, and what stops its clock.

Progress is measured by the best numbers of the current step. Pods that crash and come back reach the same numbers
again and again; that is none, and must not put the deadline off.

Source: argo-rollouts: utils/conditions/conditions.go: RolloutProgressing, RolloutTimedOut. They compare with the last
numbers instead of the best ones, and the clock runs on while an analysis before or after a switch is under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from fairlead.core.conditions import Condition, find
from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts._canary import analysis_of, is_pause, step_of
from fairlead.rollouts._scaling import deadline_of
from fairlead.rollouts._situation import Situation
from fairlead.rollouts.status import HighWater, RolloutStatus

_GRACE = timedelta(seconds=1)  # stored times are whole seconds; also argo-rollouts looks again a second later


def marks(status: RolloutStatus) -> HighWater:
    """Return the numbers that count as progress, as they are in a status."""
    return HighWater(
        updated=status.updated_replicas,
        ready=status.ready_replicas,
        available=status.available_replicas,
        old=max(0, status.replicas - status.updated_replicas),
    )


def advance(stored: RolloutStatus, status: RolloutStatus) -> tuple[bool, HighWater]:
    """Return whether there was progress from one status to the next, and the best numbers since the last step."""
    now = marks(status)
    if _position(stored) != _position(status):
        return True, now
    best = stored.high_water or marks(stored)
    moved = now.updated > best.updated or now.ready > best.ready or now.available > best.available or now.old < best.old
    return moved, HighWater(
        updated=max(now.updated, best.updated),
        ready=max(now.ready, best.ready),
        available=max(now.available, best.available),
        old=min(now.old, best.old),
    )


def _position(status: RolloutStatus) -> tuple[object, ...]:
    selected = status.active_hash, status.preview_hash, status.may_switch
    verdicts = (run.phase for run in (status.pre_run, status.post_run) if run is not None and run.is_completed)
    return status.pod_hash, status.stable_hash, status.step_index, status.step_hash, status.abort, selected, *verdicts


def is_clock_stopped(situation: Situation, status: RolloutStatus, others: Iterable[ReplicaSet]) -> bool:
    """Return whether time does not count against the deadline now: somebody else decides, or a delay has to pass."""
    if status.abort or status.pauses or situation.spec.paused:
        return True
    step = step_of(situation, status)
    if is_pause(step) or analysis_of(step) is not None:
        return True
    runs = () if status.is_promoted else (status.pre_run, status.post_run)
    if any(run is not None and not run.is_completed for run in runs):
        return True
    return any(deadline_of(other) is not None for other in others)


def times_out_at(situation: Situation, progressing: Condition | None) -> datetime | None:
    """Return when a Rollout that makes no progress counts as stuck."""
    if progressing is None or progressing.last_update_time is None:
        return None
    if progressing.reason in ("RolloutAborted", "RolloutPaused"):
        return None
    return progressing.last_update_time + situation.spec.progress_deadline + _GRACE


def has_timed_out(situation: Situation, conditions: Iterable[Condition]) -> bool:
    """Return whether the deadline has passed, by the Progressing condition."""
    progressing = find(tuple(conditions), "Progressing")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return True
    at = times_out_at(situation, progressing)
    return at is not None and situation.now >= at


def timed_out_message(situation: Situation) -> str:
    """Return the message of a Rollout whose ReplicaSet makes no progress."""
    if situation.revisions.exists:
        return f'ReplicaSet "{situation.revisions.current.metadata.name}" has timed out progressing.'
    return f'Rollout "{situation.seen.metadata.name}" has timed out progressing.'
