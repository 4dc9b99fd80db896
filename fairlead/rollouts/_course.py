"""What a strategy makes of a situation: the one shape in which canary and blue-green hand over what they decided.

The frame in `machine` does for both what does not depend on the strategy: it takes in what has come from outside and
judges verdicts and deadlines before, and carries out revisions and sizes, words conditions and orders events after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairlead.core.decision import Blocker, Event
from fairlead.rollouts._scaling import Sizes
from fairlead.rollouts._services import Switches
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts.actions import Action, SetWeights
from fairlead.rollouts.status import PauseReason, RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The status that was decided, and what has to be done for it.

    Attributes:
        status: all of it but conditions, phase and message.
        roles: who is who in that status.
        is_halted: sizes stay as they are.
        first: what comes before everything else.
        annotations: by name, what else is written to ReplicaSets; None removes a key.
        explain: from the concluded status, and whether anything is asked for, to what is waited for.
        opening_events: right after those of a new revision.
        step_events: before those of sizes.
        switch_events: after those of sizes.
        promotion_events: last of all.
        wake_at: when the course itself wants to be looked at again.
    """

    status: RolloutStatus
    roles: Roles
    is_halted: bool
    traffic: Traffic
    sizes: Sizes
    switches: Switches
    explain: Callable[[RolloutStatus, bool], Blocker | None]
    first: tuple[Action, ...] = ()
    weights: tuple[SetWeights, ...] = ()
    runs: tuple[Action, ...] = ()
    annotations: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    opening_events: tuple[Event, ...] = ()
    step_events: tuple[Event, ...] = ()
    switch_events: tuple[Event, ...] = ()
    promotion_events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


def is_halted(situation: Situation, status: RolloutStatus) -> bool:
    """Return whether sizes, selectors and steps must stay as they are; an abort ends that."""
    if status.abort:
        return False
    return situation.spec.paused or status.pause(PauseReason.INCONCLUSIVE) is not None


def is_paused(status: RolloutStatus) -> bool:
    """Return whether the machine has paused and not gone on yet, though a person may have resumed it already."""
    return bool(status.pauses) or status.controller_pause


def pause_events(was_paused: bool, status: RolloutStatus) -> tuple[Event, ...]:
    """Return the event of a change between paused and not."""
    if is_paused(status) == was_paused:
        return ()
    if not was_paused:
        return (Event("RolloutPaused", f"Rollout is paused ({status.pauses[0].reason})"),)
    return () if status.abort else (Event("RolloutResumed", "Rollout is resumed"),)
