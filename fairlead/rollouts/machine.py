"""What should happen next to a Rollout: `decide`, pure, total and the same for the same arguments.

The theory
==========
A canary Rollout is not one machine but four small ones, each of which sees the others only through the status and
through what is observed of the cluster:

*Revision.* Which ReplicaSet has the template of the spec. "None" means that the user changed it: the steps begin
anew (`_revisions`, `_intake`).

*Mode.* What the Rollout is up to. The table `MODES` below tells it from six facts; exactly one row applies. A mode
says which weight the route should hold, how many pods the current revision should have, whether analysis may run and
whose pods the canary Service selects. Nobody stores the mode: it follows from the status.

*Step.* Within STEPPING, an index into the list of steps. A step is complete when what it asks for has been *seen*:
pods that are available, weights that the data plane has taken, a verdict, time that has passed, a person who resumed.
One decision completes as many steps as it can (`_walk`), then promotes if it can.

*Ways.* For the route, the Services and the ReplicaSets there is no plan at all, only a rule for the next safe move
towards what is wanted: `_traffic`, `_services`, `_scaling`. Each move is allowed by what was seen, never by what was
asked for before; so each of them may be lost, repeated or late, and the next look finds the same way again. Where two
ways depend on each other, the later one waits to see the effect of the earlier:

    up       pods available -> canary Service selects them -> endpoints -> weight -> in force -> step complete
    abort    weight 0, one write, first of all -> in force -> canary Service to stable -> delay -> pods go
    newer    weight 0 -> in force -> canary Service to the newer revision (the overtaken one keeps its pods a while)
    promote  all weight on the canary, in force -> it is stable -> stable Service selects it -> weight 0 -> in force
             -> the former stable keeps its pods a while -> its pods go

Blue-green is the other machine of this shape (`_bluegreen`): a gate in the place of the steps, two Services in the
place of the route. `_decide` is the frame of both; what each makes of a situation is a `Course`.

Commands are fields that people patch (`_intake`). What was decided is stored once, after the actions: a crash in
between repeats the decision, not the history.

What differs from argo-rollouts, whose objects and words these are: it makes one write per pass and stops; here a
decision does all that is safe at once. It starts a step's clock when the route is written; here traffic must follow.

Source: argo-rollouts: rollout/canary.go, rollout/controller.go, rollout/sync.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from fairlead.core.conditions import find
from fairlead.core.decision import Blocker, Decision, Event, EventType, earliest
from fairlead.core.errors import SpecError
from fairlead.rollouts import _analysis, _blocking, _bluegreen, _intake, _leaving, _restart, workload
from fairlead.rollouts._acting import act, is_lowering
from fairlead.rollouts._canary import at_desired, completed, desired, has_enough, progress, step_of, whole_second
from fairlead.rollouts._conditions import conclude, count
from fairlead.rollouts._course import Course, is_halted, is_paused, pause_events
from fairlead.rollouts._invalid import LOOK_AGAIN, reference_problem, refuse
from fairlead.rollouts._modes import Facts, Mode, Part, Rule, SizeRule, WeightRule, applies
from fairlead.rollouts._progress import advance, has_timed_out, is_clock_stopped, timed_out_message, times_out_at
from fairlead.rollouts._replicas import Counts
from fairlead.rollouts._revisions import identify, is_within_rollback_window, next_revision
from fairlead.rollouts._scaling import resize
from fairlead.rollouts._services import switch
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic, direct, stored_weights
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.actions import Action, events_of
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import PauseCondition, PauseReason, RolloutStatus

# Conditions first (a missing one: whatever), then what follows. For every combination of facts exactly one row
# applies; `tests/rollouts/test_machine.py` walks through all of them.
MODES: tuple[Rule, ...] = (
    Rule(
        # Nothing serves yet, so there is nothing to be careful about: all pods, and it is stable at once.
        mode=Mode.INITIAL,
        has_stable=False,
        weight=WeightRule.ZERO,
        size=SizeRule.ALL,
        analysis=False,
        canary_service=Part.NEW,
    ),
    Rule(
        # Also after the user went back to the stable revision in the middle of an update.
        mode=Mode.PROMOTED,
        has_stable=True,
        is_promoted=True,
        weight=WeightRule.ZERO,
        size=SizeRule.ALL,
        analysis=False,
        canary_service=Part.STABLE,
    ),
    Rule(
        mode=Mode.ABORTED,
        has_stable=True,
        is_promoted=False,
        abort=True,
        weight=WeightRule.ZERO,
        size=SizeRule.SHRINK,
        analysis=False,
        canary_service=Part.STABLE,
    ),
    Rule(
        mode=Mode.FULL,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=True,
        weight=WeightRule.KEEP,
        size=SizeRule.ALL,
        analysis=False,
        canary_service=Part.NEW,
    ),
    Rule(
        mode=Mode.FAST,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=True,
        weight=WeightRule.STEP,
        size=SizeRule.ALL,
        analysis=False,
        canary_service=Part.NEW,
    ),
    Rule(
        mode=Mode.STEPPING,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=False,
        has_step=True,
        weight=WeightRule.STEP,
        size=SizeRule.STEP,
        analysis=True,
        canary_service=Part.NEW,
    ),
    Rule(
        mode=Mode.COMPLETING,
        has_stable=True,
        is_promoted=False,
        abort=False,
        promote_full=False,
        is_fast=False,
        has_step=False,
        weight=WeightRule.STEP,
        size=SizeRule.STEP,
        analysis=True,
        canary_service=Part.NEW,
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
    window = situation.spec.rollback_window_revisions
    return Facts(
        has_stable=status.stable_hash != "",
        is_promoted=status.is_promoted,
        abort=status.abort,
        promote_full=status.promote_full,
        is_fast=is_within_rollback_window(window, roles.new, roles.stable, situation.revisions.known),
        has_step=step_of(situation, status) is not None,
    )


# --- decide ----------------------------------------------------------------------------------------------------------


def decide(
    spec: RolloutSpec | SpecError, status: RolloutStatus, seen: Observation, now: datetime
) -> Decision[RolloutStatus, Action]:
    """Return the Rollout's next status, what must be done to the cluster for it, and what it waits for.

    Args:
        spec: as `understand` returns it: good by itself, or what is wrong with it.
        status: as it is stored; commands of people are in it.
        seen: what the cluster looked like a moment ago.
        now: this instant.

    Guarantees: an update that is aborted loses its traffic by the first action. No action removes pods that carry
    traffic, or moves traffic to where no pod is available. Deciding again after the actions were carried out asks for
    nothing that was done.
    """
    if seen.metadata.is_deleting:
        what = "its dependents are garbage-collected"
        return Decision(status=status, blocked_on=Blocker(reason=Waiting.DELETION, what=what))
    if isinstance(spec, SpecError):
        return _refused(status, seen, spec, now, ())
    situation = Situation(
        spec=spec,
        stored=status,
        seen=_leaving.holding_services(seen),
        revisions=identify(seen.metadata, spec, status, seen.replica_sets),
        now=now,
    )
    problem = reference_problem(spec, seen)
    if problem is not None:
        return _refused(status, seen, problem, now, _rescue(situation))
    return _decide(situation)


def _refused(
    status: RolloutStatus, seen: Observation, problem: SpecError, now: datetime, actions: tuple[Action, ...]
) -> Decision[RolloutStatus, Action]:
    return Decision(
        status=refuse(status, seen, problem, now),
        actions=actions,
        events=_events_of(actions),
        wake_at=now + LOOK_AGAIN,
        blocked_on=Blocker(reason=Waiting.SPEC, what=f"this is mended: {problem}", at=now + LOOK_AGAIN),
    )


def _rescue(situation: Situation) -> tuple[Action, ...]:
    """Return what an abort asks for even while the spec names something that is missing: weight 0."""
    status = situation.stored
    if not status.abort or status.is_promoted or not situation.is_routed:
        return ()
    roles = situation.roles(status.stable_hash)
    rule = rule_for(facts_of(situation, status, roles))
    traffic = direct(situation, status, roles, rule, is_ready=False)
    return (traffic.action,) if traffic.action is not None and is_lowering(situation, traffic) else ()


def _decide(situation: Situation) -> Decision[RolloutStatus, Action]:
    status, intake_events = _intake.take_in(situation)
    run_events = _analysis.events(situation.stored, status)
    restart = _restart.restart(situation, status, situation.roles(status.stable_hash))
    status, abort_message = _judge(situation, count(situation, restart.status))
    chart = _canary if situation.spec.blue_green is None else _bluegreen.chart
    course = chart(situation, status, restart)
    roles = course.roles
    leaving = _leaving.release(situation, roles)
    acts = act(situation, roles, course.sizes, is_halted=course.is_halted, annotations=course.annotations)
    actions: tuple[Action, ...] = (
        *leaving,
        *course.first,
        *acts.before,
        *acts.revision,
        *acts.grow,
        *course.switches.actions,
        *course.weights,
        *acts.shrink,
        *course.runs,
        *acts.marks,
        *acts.forget,
        *restart.actions,
    )
    status = conclude(
        situation,
        course.status,
        roles,
        course.traffic,
        abort_message=abort_message,
        has_created=not situation.revisions.exists,
    )
    status = _leaving.remember(situation, status)
    handed_over = workload.hand_over(
        situation.spec,
        situation.seen.workload,
        situation.stored,
        status,
        revision=next_revision(situation.revisions),
        is_shrinking=any(patch.target.uid == roles.new.metadata.uid for patch in acts.shrink),
    )
    if handed_over is not None and not is_halted(situation, status):
        actions = (*actions, handed_over)
    events = (
        *acts.revision_events,
        *course.opening_events,
        *intake_events,
        *run_events,
        *course.step_events,
        *acts.scaling_events,
        *_events_of(leaving),
        *course.switch_events,
        *_abort_events(situation.stored, status),
        *course.promotion_events,
    )
    return Decision(
        status=status,
        actions=actions,
        events=events,
        wake_at=earliest(
            course.wake_at,
            course.sizes.wake_at,
            course.traffic.wake_at,
            restart.wake_at,
            _deadline(situation, status, roles),
        ),
        blocked_on=course.explain(status, bool(actions)),
    )


def _canary(situation: Situation, status: RolloutStatus, restart: _restart.Restart) -> Course:
    """Return the course of a canary: past every step that is complete, and the next safe move of everything."""
    walk = _walk(situation, status, may_advance=not restart.actions)
    status, roles, rule = walk.status, walk.roles, walk.rule
    halted = is_halted(situation, status)
    switches = switch(
        situation,
        status,
        roles,
        rule,
        canary_pods=walk.counts.canary,
        is_clear=walk.traffic.is_clear,
        is_halted=halted,
    )
    sizes = resize(situation, status, roles, rule, walk.counts, walk.traffic, is_halted=halted or bool(restart.actions))
    runs = _analysis.arrange(
        situation,
        status,
        rule,
        holds=walk.is_ready and walk.traffic.is_settled,
        is_halted=situation.spec.paused,
    )
    weights = (walk.traffic.action,) if walk.traffic.action is not None else ()
    if situation.spec.paused and rule.mode is not Mode.ABORTED and not is_lowering(situation, walk.traffic):
        weights = ()  # everything stands still, but traffic may still be taken off pods that are gone
    is_first = is_lowering(situation, walk.traffic)

    def explain(concluded: RolloutStatus, is_acting: bool) -> Blocker | None:
        return _blocking.blocker(
            situation,
            concluded,
            roles,
            rule,
            walk.counts,
            walk.traffic,
            switches,
            sizes,
            restart,
            is_acting=is_acting,
        )

    return Course(
        status=replace(runs.status, weights=stored_weights(situation, status, roles)),
        roles=roles,
        is_halted=halted or bool(restart.actions),
        traffic=walk.traffic,
        sizes=sizes,
        switches=switches,
        explain=explain,
        first=weights if is_first else (),
        weights=() if is_first else weights,
        runs=runs.actions,
        step_events=walk.step_events,
        switch_events=(*_events_of(switches.actions), *_events_of(weights)),
        promotion_events=walk.promotion_events,
        wake_at=walk.wake_at,
    )


# --- verdicts and deadlines ------------------------------------------------------------------------------------------


def _judge(situation: Situation, status: RolloutStatus) -> tuple[RolloutStatus, str]:
    """Return the status after the verdicts of analysis and the deadline, and why it is aborted now, if it is."""
    if status.is_promoted or status.stable_hash == "" or status.abort or status.promote_full:
        return status, ""
    verdict = _analysis.judge(status, is_halted=situation.spec.paused)
    message = verdict.abort_message or _deadline_abort(situation, status)
    if message:
        return _intake.aborted(situation, status), message
    if verdict.is_inconclusive:
        pause = PauseCondition(reason=PauseReason.INCONCLUSIVE, started_at=whole_second(situation.now))
        return replace(status, pauses=(*status.pauses, pause), controller_pause=True), ""
    return status, ""


def _deadline_abort(situation: Situation, status: RolloutStatus) -> str:
    stored = situation.stored
    if not situation.spec.progress_deadline_abort or find(stored.conditions, "InvalidSpec") is not None:
        return ""  # time with an invalid spec does not count: the clock starts anew with this decision
    moved, _ = advance(stored, status)
    others = situation.roles(status.stable_hash).others
    if moved or is_clock_stopped(situation, status, others) or not has_timed_out(situation, stored.conditions):
        return ""
    return timed_out_message(situation)


def _deadline(situation: Situation, status: RolloutStatus, roles: Roles) -> datetime | None:
    """Return when lack of progress will be noticed, unless something happens before."""
    progressing = find(status.conditions, "Progressing")
    if progressing is None or progressing.reason in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    if is_clock_stopped(situation, status, roles.others):
        return None
    return times_out_at(situation, progressing)


# --- steps and promotion ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Where the Rollout stands after all steps that are complete, and what follows from that place."""

    status: RolloutStatus
    roles: Roles
    rule: Rule
    counts: Counts
    is_ready: bool
    traffic: Traffic
    step_events: tuple[Event, ...] = ()
    promotion_events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


def _walk(situation: Situation, status: RolloutStatus, *, may_advance: bool) -> _Walk:
    """Return the Rollout past every step that is complete by what was seen, promoted if it can be."""
    step_events = [*pause_events(is_paused(situation.stored), status)]
    promotion_events: list[Event] = []
    wake_at: datetime | None = None
    for _ in range(len(situation.steps) + 3):  # every step once, and a promotion
        roles = situation.roles(status.stable_hash)
        rule = rule_for(facts_of(situation, status, roles))
        counts = desired(situation, status, roles, rule)
        is_ready = at_desired(situation, counts, roles)
        traffic = direct(situation, status, roles, rule, is_ready=is_ready)
        if not may_advance or (is_halted(situation, status) and rule.mode is not Mode.INITIAL):
            break
        step = step_of(situation, status)
        if rule.mode is Mode.STEPPING and step is not None:
            outcome = progress(situation, status, step, is_ready=is_ready, holds=is_ready and traffic.is_settled)
            step_events += pause_events(is_paused(status), outcome.status) if not outcome.is_complete else ()
            was_paused, wake_at = is_paused(status), outcome.wake_at
            status = outcome.status
            if not outcome.is_complete:
                break
            number, total = (status.step_index or 0) + 1, len(situation.steps)
            step_events.append(Event("RolloutStepCompleted", f"Rollout step {number}/{total} completed ({step.text})"))
            status = completed(status)
            step_events += pause_events(was_paused, status)
            continue
        reason = _promotion(situation, rule, roles, is_ready=is_ready, traffic=traffic)
        if not reason:
            break
        status = _intake.promoted(situation, status)
        revision = next_revision(situation.revisions)
        message = f"Rollout completed update to revision {revision} ({status.pod_hash}): {reason}"
        promotion_events.append(Event("RolloutCompleted", message))
    if not status.pauses and may_advance and not is_halted(situation, status):
        was_paused = is_paused(status)
        status = replace(status, controller_pause=False)  # else it still says that a person has resumed
        step_events += pause_events(was_paused, status)
    return _Walk(
        status=status,
        roles=roles,
        rule=rule,
        counts=counts,
        is_ready=is_ready,
        traffic=traffic,
        step_events=tuple(step_events),
        promotion_events=tuple(promotion_events),
        wake_at=wake_at,
    )


def _promotion(situation: Situation, rule: Rule, roles: Roles, *, is_ready: bool, traffic: Traffic) -> str:
    """Return why the current revision becomes the stable one now; empty: it does not."""
    if rule.mode is Mode.INITIAL:
        return "Initial deploy"
    if rule.mode not in (Mode.FULL, Mode.FAST, Mode.COMPLETING):
        return ""
    if not has_enough(situation.canary.progress_threshold, situation.wanted, roles.new):
        return ""
    if situation.is_routed and situation.steps and not (is_ready and traffic.is_settled):
        return ""  # the last weight must be in force before the stable Service is switched
    match rule.mode:
        case Mode.FULL:
            return "Full promotion requested"
        case Mode.FAST:
            return "Rollback within window"
        case _:
            return f"Completed all {len(situation.steps)} canary steps"


# --- events ----------------------------------------------------------------------------------------------------------


def _events_of(actions: Iterable[Action]) -> tuple[Event, ...]:
    return tuple(event for action in actions for event in events_of(action))


def _abort_events(stored: RolloutStatus, status: RolloutStatus) -> tuple[Event, ...]:
    before, after = find(stored.conditions, "Progressing"), find(status.conditions, "Progressing")
    if after is None or after.reason != "RolloutAborted":
        return ()
    if before is not None and before.reason == "RolloutAborted":
        return ()
    return (Event("RolloutAborted", after.message, EventType.WARNING),)
