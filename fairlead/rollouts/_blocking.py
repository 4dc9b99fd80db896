"""What a Rollout waits for, since when, what comes next and when: one answer for every state but the last.

The same words go to `fairlead explain`, to logs and to the dashboard. Several things may be waited for at a time; the
table in `blocker` says which one is named.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fairlead.core.conditions import find
from fairlead.core.decision import Blocker
from fairlead.rollouts import _restart
from fairlead.rollouts._canary import analysis_of, at_desired, has_enough, step_of
from fairlead.rollouts._modes import Mode, Rule
from fairlead.rollouts._replicas import Counts
from fairlead.rollouts._scaling import Sizes
from fairlead.rollouts._services import Switches
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.spec import Pause
from fairlead.rollouts.status import PauseReason, Phase, RolloutStatus


def blocker(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    rule: Rule,
    counts: Counts,
    traffic: Traffic,
    switches: Switches,
    sizes: Sizes,
    restart: _restart.Restart,
    *,
    is_acting: bool,
) -> Blocker | None:
    """Return what is waited for; None only when the Rollout is where it is wanted and nothing is pending.

    Args:
        is_acting: this decision asks for something, so its effect is waited for at least.
    """
    since = _since(status)
    if situation.spec.paused and rule.mode is not Mode.ABORTED:
        what = "spec.paused is set back to false"
        return Blocker(reason=Waiting.MANUAL_PAUSE, what=what, since=since, next="the rollout goes on")
    if rule.mode is Mode.ABORTED:
        pending = traffic.waiting or sizes.waiting
        if pending is not None:
            return pending
        what = "a retry, a full promotion or another revision is asked for"
        return Blocker(reason=Waiting.RETRY, what=what, since=status.aborted_at)
    if pause := status.pause(PauseReason.INCONCLUSIVE):
        what = "somebody decides: the analysis can not tell whether the canary is good"
        return Blocker(reason=Waiting.INCONCLUSIVE, what=what, since=pause.started_at, next="promote, or abort")
    return (
        _step_blocker(situation, status, rule, traffic)
        or traffic.waiting
        or _pods_blocker(situation, status, roles, rule, counts, since)
        or switches.waiting
        or sizes.waiting
        or _rest(situation, status, rule, restart, since, is_acting=is_acting)
    )


def _since(status: RolloutStatus) -> datetime | None:
    progressing = find(status.conditions, "Progressing")
    return progressing.last_update_time if progressing is not None else None


def _next(situation: Situation, status: RolloutStatus) -> str:
    index = (status.step_index or 0) + 1
    if index < len(situation.steps):
        return f"step {index + 1} of {len(situation.steps)} ({situation.steps[index].text})"
    return "the canary becomes stable"


def _step_blocker(situation: Situation, status: RolloutStatus, rule: Rule, traffic: Traffic) -> Blocker | None:
    """Return what the current step itself waits for: time, a person or a verdict."""
    step = step_of(situation, status)
    if rule.mode is not Mode.STEPPING or step is None:
        return None
    following = _next(situation, status)
    if pause := status.pause(PauseReason.CANARY_STEP):
        action = step.action
        duration: timedelta | None = action.duration if isinstance(action, Pause) else None
        if duration is None:
            what = "somebody promotes the rollout"
            return Blocker(reason=Waiting.PAUSE, what=what, since=pause.started_at, next=following)
        ends_at = pause.started_at + duration
        what = f"the pause of {duration.total_seconds():g} s is over"
        return Blocker(reason=Waiting.PAUSE, what=what, since=pause.started_at, next=following, at=ends_at)
    if analysis_of(step) is not None and status.step_run is not None:
        run = next((found for found in situation.seen.runs if found.metadata.name == status.step_run.name), None)
        what = f"AnalysisRun {status.step_run.name} is successful (now: {status.step_run.phase or 'Pending'})"
        since = run.metadata.creation_timestamp if run is not None else situation.now
        return Blocker(reason=Waiting.ANALYSIS, what=what, since=since, next=following)
    return None


def _pods_blocker(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, counts: Counts, since: datetime | None
) -> Blocker | None:
    new, stable = roles.new, roles.stable
    following = "" if rule.mode is Mode.PROMOTED else _next(situation, status)
    is_enough = has_enough(situation.canary.progress_threshold, counts.canary, new)
    if rule.mode is Mode.PROMOTED:
        is_enough = new.status.available_replicas >= situation.wanted
    if not is_enough:
        what = f"{new.status.available_replicas} of {counts.canary} pods of {new.metadata.name} are available"
        return Blocker(reason=Waiting.CANARY_PODS, what=what, since=since, next=following)
    if rule.mode is Mode.PROMOTED or at_desired(situation, counts, roles):
        return None
    if stable is not None and stable is not new and stable.status.replicas != counts.stable:
        what = f"{stable.status.replicas} pods of stable {stable.metadata.name} become {counts.stable}"
        return Blocker(reason=Waiting.STABLE_PODS, what=what, since=since, next=following)
    left = sum(other.status.available_replicas for other in roles.others)
    if left and not situation.is_routed:
        what = f"{left} pods of other revisions are gone"
        return Blocker(reason=Waiting.OLD_PODS, what=what, since=since, next=following)
    what = f"{new.metadata.name} has {new.spec.replicas} pods where {counts.canary} are wanted"
    return Blocker(reason=Waiting.CANARY_PODS, what=what, since=since, next=following)


def _rest(
    situation: Situation,
    status: RolloutStatus,
    rule: Rule,
    restart: _restart.Restart,
    since: datetime | None,
    *,
    is_acting: bool,
) -> Blocker | None:
    if restart.left or restart.wake_at is not None:
        what = f"{restart.left} pods from before the restart are replaced" if restart.left else "the restart is due"
        return Blocker(reason=Waiting.RESTART, what=what, since=since, at=restart.wake_at)
    step = step_of(situation, status)
    if rule.mode is Mode.STEPPING and step is not None:
        return Blocker(
            reason=Waiting.STEP if step.action is None else Waiting.OBSERVATION,
            what=f"step {(status.step_index or 0) + 1} ({step.text}) is complete",
            since=since,
            next=_next(situation, status),
        )
    if status.phase != Phase.HEALTHY or is_acting or rule.mode is not Mode.PROMOTED:
        what = status.message or "the cluster shows what was asked for"
        return Blocker(reason=Waiting.OBSERVATION, what=what, since=since)
    return None
