"""Blue-green: two full sets of pods, and one switch between them, the selector of the active Service.

The theory
==========
The second machine of the shape that `machine` describes. Revisions, commands, verdicts, deadlines, delays and
conditions are the same; *mode* is told by the table below; in the place of steps there is one gate, and in the place
of a route there are two Services.

*Gate.* What comes before the switch, in this order: the preview's pods, an analysis of them, a pause. That it was
passed is stored (`may_switch`, in argo-rollouts' words `scaleUpPreviewCheckPoint`), so that nothing of it is asked for
again while the rest of the pods comes up.

*Ways.* As there, each move is allowed by what was seen, and the later one waits to see the effect of the earlier:

    up       preview Service -> pods of the preview -> analysis -> pause -> all pods -> active Service -> endpoints
             -> analysis -> it is stable -> the former stable keeps its pods a while -> its pods go
    abort    active Service back to stable, first of all -> stable is whole -> delay -> the pods of the new one go

Stable keeps all of its pods until another revision is stable: an abort needs nothing but the one write.

What differs from argo-rollouts on purpose, beside what `_bluegreen_services` and `_bluegreen_scaling` say:

- a revision becomes stable only when no pod of another one answers behind the active Service any more;
- a retry begins at the beginning, with the preview's number of pods, its analysis and its pause;
- a fast rollback keeps the pods that it finds, instead of shrinking to `previewReplicaCount` first;
- the first deployment is over when a revision has pods, not when a selector is set: what was wrong with a revision that
  never came up is mended by the next one, without pause and analysis.

Source: argo-rollouts: rollout/bluegreen.go, rollout/pause.go, utils/replicaset/bluegreen.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from fairlead.core.decision import Blocker, Event
from fairlead.rollouts import _bluegreen_analysis, _bluegreen_scaling, _intake
from fairlead.rollouts._bluegreen_blocking import blocker
from fairlead.rollouts._bluegreen_modes import Facts, Mode, Rule, Size, applies
from fairlead.rollouts._bluegreen_scaling import is_kept, pods_of_current
from fairlead.rollouts._bluegreen_services import Switching, is_taken, switch
from fairlead.rollouts._canary import has_enough, whole_second
from fairlead.rollouts._conditions import count
from fairlead.rollouts._course import Course, is_halted, is_paused, pause_events
from fairlead.rollouts._modes import Part
from fairlead.rollouts._restart import Restart
from fairlead.rollouts._revisions import is_within_rollback_window, next_revision
from fairlead.rollouts._services import Switches
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts.actions import SwitchService
from fairlead.rollouts.status import PauseCondition, PauseReason, RolloutStatus

# Conditions first (a missing one: whatever), then what follows. For every combination of facts exactly one row
# applies; `tests/rollouts/test_bluegreen.py` walks through all of them.
MODES: tuple[Rule, ...] = (
    # Nothing serves yet, so there is nothing to be careful about: all pods, and it is stable at once.
    Rule(mode=Mode.INITIAL, has_stable=False, size=Size.ALL, active=Part.NEW),
    # Also after the user went back to the stable revision in the middle of an update.
    Rule(mode=Mode.PROMOTED, has_stable=True, is_promoted=True, size=Size.ALL, active=Part.NEW),
    Rule(
        mode=Mode.ABORTED,
        has_stable=True,
        is_promoted=False,
        abort=True,
        size=Size.SHRINK,
        active=Part.STABLE,
    ),
    Rule(
        mode=Mode.FULL,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=True,
        size=Size.ALL,
        active=Part.NEW,
    ),
    Rule(
        mode=Mode.FAST,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=True,
        size=Size.ALL,
        active=Part.NEW,
    ),
    Rule(
        mode=Mode.CHECKING,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=False,
        is_switched=True,
        size=Size.ALL,
        active=Part.NEW,
        run="post",
    ),
    Rule(
        mode=Mode.PREVIEW,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=False,
        is_switched=False,
        size=Size.PREVIEW,
        active=Part.STABLE,
        run="pre",
    ),
)


def rule_for(facts: Facts) -> Rule:
    """Return the row of the table that applies."""
    for rule in MODES:
        if applies(rule, facts):
            return rule
    raise AssertionError(f"no mode for {facts}")


def facts_of(situation: Situation, status: RolloutStatus, roles: Roles) -> Facts:
    """Return what decides about the mode."""
    return Facts(
        has_stable=status.is_promoted or (status.stable_hash != "" and not _serves_nothing(status, roles)),
        is_promoted=status.is_promoted,
        abort=status.abort,
        promote_full=status.promote_full,
        is_fast=_is_in_window(situation, roles) or is_kept(situation, roles.new),
        is_switched=status.active_hash == status.pod_hash,
    )


def _serves_nothing(status: RolloutStatus, roles: Roles) -> bool:
    """Return whether the revision that is called stable never had anything to serve with."""
    return status.active_hash == "" and (roles.stable is None or roles.stable.status.available_replicas == 0)


def _is_in_window(situation: Situation, roles: Roles) -> bool:
    window = situation.spec.rollback_window_revisions
    return is_within_rollback_window(window, roles.new, roles.stable, situation.revisions.known)


def chart(situation: Situation, status: RolloutStatus, restart: Restart) -> Course:
    """Return the course of a blue-green Rollout: through the gate if it may, and the next safe move of everything.

    Args:
        status: with everything taken in, verdicts included.
    """
    walk = _walk(situation, status, may_advance=not restart.actions)
    status, roles, rule = walk.status, walk.roles, walk.rule
    halted = is_halted(situation, status)
    stops = halted or bool(restart.actions)
    switching = switch(situation, status, roles, rule, is_halted=halted)
    resized = _bluegreen_scaling.resize(situation, status, roles, rule, is_halted=stops)
    runs = _bluegreen_analysis.arrange(
        situation, status, rule, may_start=not stops and _may_judge(situation, status, roles, rule)
    )

    def explain(concluded: RolloutStatus, is_acting: bool) -> Blocker | None:
        return blocker(
            situation, concluded, roles, rule, switching.waiting, resized.sizes, restart, is_acting=is_acting
        )

    selected = replace(
        runs.status,
        active_hash=switching.active_hash,
        preview_hash=switching.preview_hash,
        # A gate that is left behind in the same decision need not be remembered.
        may_switch=status.may_switch and (situation.stored.may_switch or not switching.active),
    )
    return Course(
        status=count(situation, selected),
        roles=roles,
        is_halted=stops,
        traffic=Traffic(),
        sizes=resized.sizes,
        switches=Switches(actions=(*switching.released, *(() if switching.is_back else switching.active))),
        explain=explain,
        first=(*(switching.active if switching.is_back else ()), *switching.preview),
        runs=runs.actions,
        annotations=resized.annotations,
        opening_events=_events(switching.preview),
        step_events=(*_events(switching.active), *pause_events(is_paused(situation.stored), status)),
        promotion_events=walk.promotion_events,
        wake_at=walk.wake_at,
    )


def _events(switches: tuple[SwitchService, ...]) -> tuple[Event, ...]:
    return tuple(found.event for found in switches if found.event is not None)


def _may_judge(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule) -> bool:
    """Return whether the pods are there, and only they, that an analysis would be about."""
    if not has_enough(None, pods_of_current(situation, status, rule), roles.new):
        return False
    return rule.run == "pre" or is_taken(situation, roles.new)


# --- the gate and the promotion --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Where the Rollout stands after everything that is complete, and what follows from that place."""

    status: RolloutStatus
    roles: Roles
    rule: Rule
    promotion_events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


def _walk(situation: Situation, status: RolloutStatus, *, may_advance: bool) -> _Walk:
    """Return the Rollout past the gate if it may pass, and promoted if it can be."""
    events: list[Event] = []
    wake_at: datetime | None = None
    while True:
        roles = situation.roles(status.stable_hash)
        rule = rule_for(facts_of(situation, status, roles))
        if not may_advance or (is_halted(situation, status) and rule.mode is not Mode.INITIAL):
            break
        if rule.mode is Mode.PREVIEW and not status.may_switch:
            status, wake_at = _gate(situation, status, roles, rule)
        else:
            status = replace(status, pauses=(), controller_pause=False)
        reason = _promotion(situation, status, roles, rule)
        if not reason:
            break
        status = _intake.promoted(situation, status)
        revision = next_revision(situation.revisions)
        message = f"Rollout completed update to revision {revision} ({status.pod_hash}): {reason}"
        events.append(Event("RolloutCompleted", message))
    return _Walk(status=status, roles=roles, rule=rule, promotion_events=tuple(events), wake_at=wake_at)


def _gate(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule
) -> tuple[RolloutStatus, datetime | None]:
    """Return the status behind the gate, or as it waits before it, and when time alone opens it.

    | first match | then |
    |---|---|
    | the preview lacks pods, or its analysis has not been successful yet | wait |
    | no pause is wanted | go on |
    | there was no pause yet | pause |
    | a person took the pause away | go on |
    | the pause ends by time, and is over | go on |
    """
    blue_green = situation.blue_green
    has_pods = has_enough(None, pods_of_current(situation, status, rule), roles.new)
    if not has_pods or not _bluegreen_analysis.is_passed(blue_green.pre_promotion_analysis, status.pre_run):
        return status, None
    delay, pause = blue_green.auto_promotion_delay, status.pause(PauseReason.BLUE_GREEN)
    ends_at: datetime | None = None
    has_resumed = pause is None and status.controller_pause
    if not has_resumed and (delay is None or delay.total_seconds() > 0):
        if pause is None:
            pause = PauseCondition(reason=PauseReason.BLUE_GREEN, started_at=whole_second(situation.now))
            status = replace(status, pauses=(*status.pauses, pause), controller_pause=True)
        ends_at = pause.started_at + delay if delay is not None else None
        if ends_at is None or situation.now < ends_at:
            return status, ends_at
    pauses = tuple(found for found in status.pauses if found.reason != PauseReason.BLUE_GREEN)
    return replace(status, may_switch=True, pauses=pauses, controller_pause=bool(pauses)), None


def _promotion(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule) -> str:
    """Return why the current revision becomes the stable one now; empty: it does not."""
    if rule.mode is Mode.INITIAL:
        return "Initial deploy"
    if status.active_hash != status.pod_hash or not is_taken(situation, roles.new):
        return ""
    match rule.mode:
        case Mode.FULL:
            return "Full promotion requested"
        case Mode.FAST:
            return "Rollback within window" if _is_in_window(situation, roles) else "Fast rollback"
        case Mode.CHECKING:
            stanza = situation.blue_green.post_promotion_analysis
            return "Completed blue-green update" if _bluegreen_analysis.is_passed(stanza, status.post_run) else ""
        case _:
            return ""


__all__ = ["MODES", "Switching", "chart", "facts_of", "rule_for"]
