"""What a blue-green Rollout waits for; the twin of `_blocking` for a canary."""

from __future__ import annotations

from datetime import datetime

from fairlead.core.conditions import find
from fairlead.core.decision import Blocker
from fairlead.rollouts._bluegreen_modes import Mode, Rule
from fairlead.rollouts._bluegreen_scaling import pods_of_current
from fairlead.rollouts._bluegreen_services import is_taken
from fairlead.rollouts._canary import has_enough
from fairlead.rollouts._restart import Restart
from fairlead.rollouts._scaling import Sizes
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.status import PauseReason, Phase, RolloutStatus, RunRef

_SWITCH = "the active Service selects the new revision"
_PROMOTION = "the new revision becomes stable"


def blocker(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    rule: Rule,
    switching: Blocker | None,
    sizes: Sizes,
    restart: Restart,
    *,
    is_acting: bool,
) -> Blocker | None:
    """Return what is waited for; None only when the Rollout is where it is wanted and nothing is pending.

    Args:
        switching: why the active Service does not select what it should.
        is_acting: this decision asks for something, so its effect is waited for at least.
    """
    progressing = find(status.conditions, "Progressing")
    since = progressing.last_update_time if progressing is not None else None
    if situation.spec.paused and rule.mode is not Mode.ABORTED:
        what = "spec.paused is set back to false"
        return Blocker(reason=Waiting.MANUAL_PAUSE, what=what, since=since, next="the rollout goes on")
    if rule.mode is Mode.ABORTED:
        what = "a retry, a full promotion or another revision is asked for"
        return switching or sizes.waiting or Blocker(reason=Waiting.RETRY, what=what, since=status.aborted_at)
    if pause := status.pause(PauseReason.INCONCLUSIVE):
        what = "somebody decides: the analysis can not tell whether the new revision is good"
        return Blocker(
            reason=Waiting.INCONCLUSIVE, what=what, since=pause.started_at, next="promote (it is made again), or abort"
        )
    return (
        _pods(situation, status, roles, rule, since)
        or _before_switch(situation, status, rule)
        or switching
        or _after_switch(situation, status, roles, rule, since)
        or sizes.waiting
        or _rest(status, rule, restart, since, is_acting=is_acting)
    )


def _pods(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, since: datetime | None
) -> Blocker | None:
    new, wanted = roles.new, pods_of_current(situation, status, rule)
    if has_enough(None, wanted, new):
        return None
    what = f"{new.status.available_replicas} of {wanted} pods of {new.metadata.name} are available"
    following = "" if rule.mode is Mode.PROMOTED else _SWITCH
    return Blocker(reason=Waiting.CANARY_PODS, what=what, since=since, next=following)


def _before_switch(situation: Situation, status: RolloutStatus, rule: Rule) -> Blocker | None:
    if rule.mode is not Mode.PREVIEW or status.may_switch:
        return None
    if pause := status.pause(PauseReason.BLUE_GREEN):
        delay = situation.blue_green.auto_promotion_delay
        if delay is None:
            what = "somebody promotes the rollout"
            return Blocker(reason=Waiting.PAUSE, what=what, since=pause.started_at, next=_SWITCH)
        what = f"the pause of {delay.total_seconds():g} s is over"
        at = pause.started_at + delay
        return Blocker(reason=Waiting.PAUSE, what=what, since=pause.started_at, next=_SWITCH, at=at)
    return _run(situation, status.pre_run, _SWITCH)


def _after_switch(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, since: datetime | None
) -> Blocker | None:
    if rule.mode is Mode.PROMOTED:
        return None
    if not is_taken(situation, roles.new):
        what = f"no pod of another revision answers behind Service {situation.blue_green.active_service}"
        return Blocker(reason=Waiting.ENDPOINTS, what=what, since=since, next=_PROMOTION)
    return _run(situation, status.post_run, _PROMOTION) if rule.mode is Mode.CHECKING else None


def _run(situation: Situation, ref: RunRef | None, following: str) -> Blocker | None:
    if ref is None or ref.phase == "Successful":
        return None
    run = next((found for found in situation.seen.runs if found.metadata.name == ref.name), None)
    what = f"AnalysisRun {ref.name} is successful (now: {ref.phase or 'Pending'})"
    since = run.metadata.creation_timestamp if run is not None else situation.now
    return Blocker(reason=Waiting.ANALYSIS, what=what, since=since, next=following)


def _rest(
    status: RolloutStatus, rule: Rule, restart: Restart, since: datetime | None, *, is_acting: bool
) -> Blocker | None:
    if restart.left or restart.wake_at is not None:
        what = f"{restart.left} pods from before the restart are replaced" if restart.left else "the restart is due"
        return Blocker(reason=Waiting.RESTART, what=what, since=since, at=restart.wake_at)
    if status.phase != Phase.HEALTHY or is_acting or rule.mode is not Mode.PROMOTED:
        what = status.message or "the cluster shows what was asked for"
        return Blocker(reason=Waiting.OBSERVATION, what=what, since=since)
    return None
