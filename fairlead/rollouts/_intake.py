"""What has come in from outside since the last decision: a new revision, other steps, commands of a person.

Commands are fields that clients patch; a Rollout is told nothing else. Reading them is level-triggered: a command is
whatever stands there now, and it is acknowledged by what is written back.

| seen | means |
|---|---|
| `abort`, not dated yet | a person (or we) aborted: date it, back to step 0, no pauses |
| `abort` and `promoteFull`, not dated yet | both at once: abort wins |
| `promoteFull`, and an abort that is dated | go forward after all: the abort is dropped |
| no `abort`, but a date | retry: from step 0, with new runs |
| `promoteFull` | past the last step, no pauses, no analysis |
| `controllerPause` without pause conditions | a person took our pause away: resumed |
| the same after an inconclusive run of a blue-green Rollout | that run does not count: it is made again |
| `currentStepIndex`, any number | that is the current step |
| a pause that begins in the future | it begins now |
| any of them when the revision is stable already | nothing is left to do: dropped |

Source: argo-rollouts: rollout/pause.go, rollout/canary.go: reconcile, utils/rollout/rolloututil.go.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.core.conditions import find
from fairlead.core.decision import Event
from fairlead.rollouts import _analysis
from fairlead.rollouts._canary import is_pause, step_of, whole_second
from fairlead.rollouts._revisions import is_within_rollback_window, next_revision
from fairlead.rollouts._situation import Situation
from fairlead.rollouts._stanzas import PING, PONG
from fairlead.rollouts.status import PauseReason, RolloutStatus


def take_in(situation: Situation) -> tuple[RolloutStatus, tuple[Event, ...]]:
    """Return the status with everything taken in that has come from outside, and the events about it."""
    status = _not_in_future(situation, _selections(situation, situation.stored))
    if status.pod_hash != situation.revisions.pod_hash or status.step_hash != situation.step_hash:
        return _begin(situation, status)
    status = replace(status, step_index=_index(situation, status))
    if status.is_promoted:
        return _at_rest(situation, status), ()
    status = _abort_or_promote(situation, status)
    return _analysis.look(situation, _resume(situation, status)), ()


def _selections(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status with what the Services of a blue-green Rollout select now."""
    blue_green = situation.spec.blue_green
    if blue_green is None:
        return replace(status, active_hash="", preview_hash="", may_switch=False, pre_run=None, post_run=None)
    return replace(
        status,
        active_hash=situation.selected(blue_green.active_service),
        preview_hash=situation.selected(blue_green.preview_service),
    )


def _not_in_future(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status without pauses that are still to come: a wrong clock, or a stranger, would stop us for ever."""
    latest = whole_second(situation.now)
    if all(pause.started_at <= latest for pause in status.pauses):
        return status
    pauses = tuple(replace(pause, started_at=min(pause.started_at, latest)) for pause in status.pauses)
    return replace(status, pauses=pauses)


def _index(situation: Situation, status: RolloutStatus) -> int | None:
    if not situation.steps:
        return None
    return min(max(0, status.step_index or 0), len(situation.steps))


def _end(situation: Situation) -> int | None:
    return len(situation.steps) if situation.steps else None


def _begin(situation: Situation, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Event, ...]]:
    """Return the status at the start of another revision, or of other steps."""
    revisions = situation.revisions
    events: list[Event] = []
    begun = replace(
        status,
        pod_hash=revisions.pod_hash,
        step_hash=situation.step_hash,
        step_index=0 if situation.steps else None,
        pauses=(),
        controller_pause=False,
        abort=False,
        aborted_at=None,
        promote_full=False,
        restarted_at=situation.spec.restart_at,
        step_run=None,
        background_run=None,
        may_switch=False,
        pre_run=None,
        post_run=None,
    )
    roles = situation.roles(status.stable_hash)
    if begun.is_promoted:
        begun = replace(begun, step_index=_end(situation))
        if situation.steps and status.stable_hash:
            events.append(Event("SkipSteps", "Rollback to stable ReplicaSets"))
        return begun, tuple(events)
    completed = find(status.conditions, "Completed")
    is_first = situation.spec.blue_green is not None and status.stable_hash == ""  # stable in the same decision
    if not is_first and (completed is None or completed.status != "False"):
        message = f"Rollout not completed, started update to revision {next_revision(revisions)} ({revisions.pod_hash})"
        events.append(Event("RolloutNotCompleted", message))
    window = situation.spec.rollback_window_revisions
    if is_within_rollback_window(window, roles.new, roles.stable, revisions.known):
        begun = replace(begun, step_index=_end(situation))
        if situation.steps and roles.new.spec.replicas > 0:
            events.append(Event("SkipSteps", "Rollback to active ReplicaSets within RollbackWindow"))
    return begun, tuple(events)


def _at_rest(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status of a Rollout whose revision is stable: there is nothing to abort, pause or promote."""
    return replace(
        status,
        step_index=_end(situation),
        pauses=(),
        controller_pause=False,
        abort=False,
        aborted_at=None,
        promote_full=False,
        step_run=None,
        background_run=None,
        may_switch=False,
    )


def promoted(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status of a Rollout whose current revision becomes the stable one.

    Services that take turns change places: the one that leads to the new stable pods is the stable one from now on.
    """
    turn = status.stable_turn
    if situation.spec.canary is not None and situation.spec.canary.ping_pong is not None:
        turn = PONG if turn == PING else PING
    return replace(
        status,
        stable_hash=status.pod_hash,
        stable_turn=turn,
        step_index=_end(situation),
        pauses=(),
        controller_pause=False,
        abort=False,
        aborted_at=None,
        promote_full=False,
        may_switch=False,
    )


def _abort_or_promote(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    if status.abort and status.promote_full:
        is_applied = status.aborted_at is not None
        status = replace(status, abort=not is_applied, promote_full=is_applied)
    if status.abort:
        return aborted(situation, status)
    if status.aborted_at is not None:
        status = replace(
            status,
            aborted_at=None,
            step_index=0 if situation.steps else None,
            step_run=None,
            background_run=None,
            may_switch=False,
            pre_run=None,
            post_run=None,
        )
    roles = situation.roles(status.stable_hash)
    window = situation.spec.rollback_window_revisions
    is_fast = is_within_rollback_window(window, roles.new, roles.stable, situation.revisions.known)
    if status.promote_full or is_fast:
        status = replace(status, step_index=_end(situation), pauses=(), controller_pause=False)
    return status


def aborted(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status of an aborted Rollout; the date of the abort is never renewed."""
    return replace(
        status,
        abort=True,
        aborted_at=status.aborted_at or situation.now,
        promote_full=False,
        step_index=0 if situation.steps else None,
        pauses=(),
        controller_pause=False,
        step_run=None,
        background_run=None,
        may_switch=False,
    )


def _resume(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status without pauses that no longer apply, and without runs that a person has overruled."""
    step = step_of(situation, status)
    is_at_pause = is_pause(step)
    if status.controller_pause and not status.pauses:
        # At a pause step, and before a switch, the flag is left for that: it is over by it.
        seen = _analysis.look(situation, status)
        resumed = _analysis.resume(seen)
        if situation.spec.blue_green is not None:
            is_at_pause = resumed == seen
        return replace(resumed, controller_pause=is_at_pause)
    if not is_at_pause and status.pause(PauseReason.CANARY_STEP) is not None:
        pauses = tuple(pause for pause in status.pauses if pause.reason != PauseReason.CANARY_STEP)
        return replace(status, pauses=pauses, controller_pause=bool(pauses))
    return status
