"""Steps: the weight and the size of this moment, when enough pods are there, and when a step is complete.

Source: argo-rollouts: utils/replicaset/canary.go, rollout/canary.go: completedCurrentCanaryStep, rollout/pause.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from msgspec.structs import replace

from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts import _replicas
from fairlead.rollouts._modes import Rule, SizeRule
from fairlead.rollouts._replicas import Counts
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts.spec import (
    AnalysisStep,
    CanaryStep,
    Pause,
    ReplicaProgressThreshold,
    RolloutAnalysis,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
)
from fairlead.rollouts.status import PauseCondition, PauseReason, RolloutStatus


def weight_at(steps: Sequence[CanaryStep], index: int | None, weight_max: int) -> int:
    """Return the weight in force at a step: all past the last one, else the nearest `setWeight` up to it, else 0."""
    if index is None or index >= len(steps):
        return weight_max
    return _nearest_weight(steps, index + 1)


def weight_before(steps: Sequence[CanaryStep], index: int | None) -> int:
    """Return the weight that the steps before this one have set."""
    return _nearest_weight(steps, len(steps) if index is None else index)


def _nearest_weight(steps: Sequence[CanaryStep], end: int) -> int:
    for step in reversed(steps[: max(0, end)]):
        if step.set_weight is not None:
            return step.set_weight
    return 0


def scale_at(steps: Sequence[CanaryStep], index: int | None) -> SetCanaryScale | None:
    """Return the `setCanaryScale` in force at a step; None when the size follows the weight."""
    if index is None or index >= len(steps):
        return None
    for step in reversed(steps[: index + 1]):
        if step.set_canary_scale is not None:
            return None if step.set_canary_scale.match_traffic_weight else step.set_canary_scale
    return None


def desired(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule) -> Counts:
    """Return how many pods canary and stable should have in the end, as the Rollout stands now."""
    wanted, weight_max = situation.wanted, situation.weight_max
    if situation.canary.is_dynamic and roles.stable not in (None, roles.new):
        return _dynamic(situation, status, rule)
    if roles.new is roles.stable or rule.size is SizeRule.ALL:
        return Counts(wanted, wanted if situation.is_routed and roles.stable not in (None, roles.new) else 0)
    weight = 0 if rule.size is SizeRule.SHRINK else weight_at(situation.steps, status.step_index, weight_max)
    if not situation.is_routed:
        if roles.stable is None:
            return Counts(wanted, 0)
        return _replicas.approximate(wanted, weight, weight_max, situation.limits.surge)
    if rule.size is SizeRule.SHRINK:
        return Counts(0, wanted)
    scale = scale_at(situation.steps, status.step_index)
    replicas = None
    if scale is not None:
        replicas = scale.replicas
        if scale.weight is not None:
            weight = scale.weight
    canary = _replicas.routed_canary(wanted, weight, weight_max, pods_min=situation.canary.pods_min, replicas=replicas)
    return Counts(canary, wanted)


def _dynamic(situation: Situation, status: RolloutStatus, rule: Rule) -> Counts:
    """Return the sizes where stable shrinks as its traffic does, by the weights that the route holds."""
    wanted, weight_max, seen = situation.wanted, situation.weight_max, situation.seen.traffic
    held = seen.weights if seen is not None else None
    seen_canary, seen_stable = 0, weight_max
    if held is not None and held.total == weight_max:  # routers that disagree: as if all of it were stable's
        seen_canary, seen_stable = held.canary, held.stable
    replicas = None
    match rule.size:
        case SizeRule.ALL:
            weight = weight_max
        case SizeRule.SHRINK:
            weight = 0
        case SizeRule.STEP:
            weight = weight_at(situation.steps, status.step_index, weight_max)
            scale = scale_at(situation.steps, status.step_index)
            if scale is not None:
                replicas = scale.replicas
                weight = scale.weight if scale.weight is not None else weight
    return _replicas.dynamic_counts(
        wanted,
        weight,
        weight_max,
        seen_canary=seen_canary,
        seen_stable=seen_stable,
        is_aborted=rule.size is SizeRule.SHRINK,
        pods_min=situation.canary.pods_min,
        replicas=replicas,
    )


def has_enough(threshold: ReplicaProgressThreshold | None, wanted: int, found: ReplicaSet) -> bool:
    """Return whether so many pods of a ReplicaSet are available that a step counts."""
    available = found.status.available_replicas
    if threshold is None:
        return found.spec.replicas >= wanted and available >= wanted
    if threshold.type == "Pods":
        return available >= threshold.value
    return wanted == 0 or Fraction(available * 100, wanted) >= threshold.value


def at_desired(situation: Situation, counts: Counts, roles: Roles) -> bool:
    """Return whether the pods are there that the current step asks for.

    More canary pods than asked for are fine behind a router: after a lower weight they leave only when connections
    have drained. Without a router the number of pods is the weight. Stable pods must exist but may be broken.
    """
    if not has_enough(situation.canary.progress_threshold, counts.canary, roles.new):
        return False
    if not situation.is_routed and roles.new.spec.replicas != counts.canary:
        return False
    # A stable revision whose size follows its traffic does so after the weight, and so after the step.
    stable = None if roles.stable is roles.new or situation.canary.is_dynamic else roles.stable
    exist = (counts.stable, counts.stable)
    if stable is not None and (stable.spec.replicas, stable.status.replicas) != exist:
        return False
    return situation.is_routed or all(other.status.available_replicas == 0 for other in roles.others)


# --- completing a step ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What became of the current step: complete, or the status in which it goes on.

    Attributes:
        wake_at: when it will be complete by time alone.
    """

    status: RolloutStatus
    is_complete: bool = False
    wake_at: datetime | None = None


def step_of(situation: Situation, status: RolloutStatus) -> CanaryStep | None:
    """Return the current step; None past the last one, or when there are none."""
    index = status.step_index
    return situation.steps[index] if index is not None and 0 <= index < len(situation.steps) else None


def is_pause(step: CanaryStep | None) -> bool:
    """Return whether a step is a pause; cheaper than to look at its action."""
    return step is not None and step.pause is not None


def analysis_of(step: CanaryStep | None) -> RolloutAnalysis | None:
    """Return the stanza of a step that is an analysis; None for every other step."""
    if step is None or step.pause is not None or step.set_canary_scale is not None:
        return None
    return step.analysis if step.set_weight is None and step.experiment is None else None


def progress(situation: Situation, status: RolloutStatus, step: CanaryStep, *, is_ready: bool, holds: bool) -> Progress:
    """Return whether the current step is complete, and begin its pause if it is one.

    Args:
        is_ready: the pods of this step are there.
        holds: traffic follows the weights wanted now.
    """
    match step.action:
        case Pause(duration=duration):
            return _pause(situation, status, duration, may_begin=holds)
        case SetWeight() | SetHeaderRoute() | SetMirrorRoute():
            return Progress(status=status, is_complete=is_ready and holds)
        case SetCanaryScale():
            return Progress(status=status, is_complete=is_ready)
        case AnalysisStep():
            # A verdict that arrives during a pause takes effect when the pause is over.
            done = status.step_run is not None and status.step_run.phase == "Successful" and not status.pauses
            return Progress(status=status, is_complete=done)
        case _:
            return Progress(status=status)  # kinds of steps that are not carried out here: they never end by themselves


def _pause(situation: Situation, status: RolloutStatus, duration: timedelta | None, *, may_begin: bool) -> Progress:
    condition = status.pause(PauseReason.CANARY_STEP)
    if condition is None:
        if status.controller_pause:
            return Progress(status=status, is_complete=True)  # we paused, and a person took the condition away
        if not may_begin:
            return Progress(status=status)  # the clock starts when traffic has settled
        condition = PauseCondition(reason=PauseReason.CANARY_STEP, started_at=whole_second(situation.now))
        status = replace(status, pauses=(*status.pauses, condition), controller_pause=True)
        if duration == timedelta(0):
            return Progress(status=status, is_complete=True)
    if duration is None:
        return Progress(status=status)
    ends_at = condition.started_at + duration
    if situation.now >= ends_at:
        return Progress(status=status, is_complete=True)
    return Progress(status=status, wake_at=ends_at)


def whole_second(instant: datetime) -> datetime:
    """Return the instant, moved up to a whole second: stored times have no fraction, and no wait may be cut short."""
    return instant if instant.microsecond == 0 else instant.replace(microsecond=0) + timedelta(seconds=1)


def completed(status: RolloutStatus) -> RolloutStatus:
    """Return the status at the next step."""
    assert status.step_index is not None, "a step was completed"
    pauses = tuple(pause for pause in status.pauses if pause.reason != PauseReason.CANARY_STEP)
    return replace(
        status,
        step_index=status.step_index + 1,
        step_run=None,
        pauses=pauses,
        controller_pause=bool(pauses),
    )
