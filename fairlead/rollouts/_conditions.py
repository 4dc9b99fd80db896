"""Counts, conditions, phase and message: what clients read of a decision.

| type | status / reason | when |
|---|---|---|
| InvalidSpec | True | the spec, or something that it names, cannot work |
| Progressing | see `_progressing` | |
| Paused | True, False / RolloutPaused | a pause condition or spec.paused |
| Available | True, False / AvailableReason | enough pods are available; blue-green: behind the active Service |
| Completed | True, False / RolloutCompleted | the current revision is the stable one |
| Healthy | True, False / RolloutHealthy | completed, and exactly the wanted pods exist and are available; |
| | | blue-green: and both Services select them |
| ReplicaFailure | as on a ReplicaSet | a ReplicaSet cannot create or delete pods |
| TrafficRouted | True / Applied | ours: the data plane shows the stored weights |
| | True / Settled | nobody can be asked, and the settle delay has passed: "settled, not verified" |
| | False / the router's word | the route is refused, fought over or blocked |

Source: argo-rollouts: utils/conditions/conditions.go, rollout/sync.go, utils/rollout/rolloututil.go.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from fairlead.core.conditions import Condition, drop, find, put
from fairlead.core.kinds import ReplicaSet
from fairlead.core.selectors import Requirement, format_selector
from fairlead.core.traffic import Held
from fairlead.rollouts._progress import advance, has_timed_out, is_clock_stopped, marks, timed_out_message
from fairlead.rollouts._revisions import next_revision, pod_hash_of
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.status import Phase, RolloutStatus
from fairlead.rollouts.workload import workload_generation


def count(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status with the numbers of pods that are seen now.

    Those of a blue-green Rollout that autoscalers go by (scale, ready, available, selector) are of the ReplicaSet that
    the active Service selects, or of all while it selects none.
    """
    known = situation.revisions.known
    replicas = sum(found.status.replicas for found in known)
    terms = situation.spec.selector_terms
    counted = known
    if active := active_of(situation, status):
        counted = (active,)
        terms = tuple(sorted((*terms, Requirement(HASH_LABEL, "In", (status.active_hash,))), key=lambda term: term.key))
    return replace(
        status,
        replicas=replicas,
        updated_replicas=situation.revisions.current.status.replicas,
        ready_replicas=sum(found.status.ready_replicas for found in counted),
        available_replicas=sum(found.status.available_replicas for found in counted),
        scale_replicas=sum(found.status.replicas for found in counted),
        selector=format_selector(terms),
        observed_generation=str(situation.seen.metadata.generation),
        workload_observed_generation=workload_generation(situation.seen.workload),
    )


def active_of(situation: Situation, status: RolloutStatus) -> ReplicaSet | None:
    """Return the ReplicaSet that the active Service of a blue-green Rollout selects, if there is one."""
    active = status.active_hash
    return next((found for found in situation.revisions.known if active and pod_hash_of(found) == active), None)


def conclude(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    traffic: Traffic,
    *,
    abort_message: str,
    has_created: bool,
) -> RolloutStatus:
    """Return the status with its conditions, phase and message.

    Args:
        status: decided, counts included.
        abort_message: why it was aborted just now; empty when a person did it, or long ago.
        has_created: the ReplicaSet of a new revision is created by this decision.
    """
    stored, now = situation.stored, situation.now
    was_invalid = find(status.conditions, "InvalidSpec") is not None
    conditions = drop(status.conditions, "InvalidSpec")
    is_paused = bool(status.pauses) or situation.spec.paused
    is_whole = _is_whole(situation, status)
    is_healthy = is_whole and not is_paused
    was_healthy = find(conditions, "Healthy")
    moved, best = advance(stored, status)
    progressing = _progressing(
        situation,
        replace(status, conditions=conditions),
        roles,
        abort_message=abort_message,
        has_created=has_created,
        is_paused=is_paused,
        is_whole=is_whole,
        has_become_ill=not is_whole and was_healthy is not None and was_healthy.is_true and status.is_promoted,
        has_moved=moved or was_invalid,
    )
    if progressing is not None:
        new, refresh = progressing
        conditions = put(conditions, new, now, refresh=refresh)
        if new.reason == "ReplicaSetNotAvailable":
            best = marks(status)  # pods that come back are progress again
    is_aborted = status.abort
    paused = find(conditions, "Paused")
    if is_paused != (paused is not None and paused.is_true) and not is_aborted:
        conditions = put(conditions, _condition("Paused", is_paused, "RolloutPaused", "Rollout is paused"), now)
    available = status.available_replicas >= situation.wanted
    if situation.spec.blue_green is not None:
        available = available and active_of(situation, status) is not None  # pods that nobody reaches do not count
    text = "Rollout has minimum availability" if available else "Rollout does not have minimum availability"
    conditions = put(conditions, _condition("Available", available, "AvailableReason", text), now, refresh=False)
    conditions = _renamed(conditions, "Available", text)
    if is_healthy or was_healthy is not None:
        text = "Rollout is healthy" if is_healthy else "Rollout is not healthy"
        conditions = put(conditions, _condition("Healthy", is_healthy, "RolloutHealthy", text), now)
    conditions = put(
        conditions, _condition("Completed", status.is_promoted, "RolloutCompleted", "RolloutCompleted"), now
    )
    conditions = _replica_failure(situation, conditions)
    conditions = _traffic_routed(situation, conditions, traffic)
    status = replace(status, conditions=conditions, high_water=best)
    phase, message = phase_of(situation, status)
    return replace(status, phase=phase, message=message)


def _condition(type_: str, is_true: bool, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="True" if is_true else "False", reason=reason, message=message)


def _renamed(conditions: tuple[Condition, ...], type_: str, message: str) -> tuple[Condition, ...]:
    """Return the conditions with a message that goes with the status, though the reason is the same for both."""
    return tuple(
        replace(found, message=message) if found.type == type_ and found.message != message else found
        for found in conditions
    )


def _is_whole(situation: Situation, status: RolloutStatus) -> bool:
    wanted, blue_green = situation.wanted, situation.spec.blue_green
    is_full = status.is_promoted and status.updated_replicas == status.available_replicas == wanted
    if blue_green is not None:
        # An old ReplicaSet may still wait for its end.
        selected = {status.active_hash, status.preview_hash if blue_green.preview_service else status.active_hash}
        return is_full and selected == {status.pod_hash}
    return is_full and status.replicas == wanted and (status.step_index or 0) == len(situation.steps)


def _progressing(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    *,
    abort_message: str,
    has_created: bool,
    is_paused: bool,
    is_whole: bool,
    has_become_ill: bool,
    has_moved: bool,
) -> tuple[Condition, bool] | None:
    """Return the Progressing condition and whether it is to be renewed though nothing changed; None: it stays.

    | status, reason | when (first match) |
    |---|---|
    | False, RolloutAborted | aborted |
    | True, NewReplicaSetCreated | a revision has just begun |
    | Unknown, RolloutPaused | paused, and not promoted already |
    | True, NewReplicaSetAvailable | promoted, and exactly the wanted pods are available |
    | True, ReplicaSetNotAvailable | it was so, and is no longer |
    | True, ReplicaSetUpdated | something has moved |
    | Unknown, RolloutRetry / RolloutResumed | it was aborted / paused until now |
    | False, ProgressDeadlineExceeded | nothing has moved for too long, and the clock is running |
    | True, FoundNewReplicaSet | there is no such condition yet |
    """
    name = situation.revisions.current.metadata.name
    current = find(status.conditions, "Progressing")
    reason = current.reason if current is not None else ""
    if status.abort:
        message = f"Rollout aborted update to revision {next_revision(situation.revisions)}"
        message += f": {abort_message}" if abort_message else ""
        return Condition(type="Progressing", status="False", reason="RolloutAborted", message=message), False
    if has_created:
        message = f'Created new replica set "{name}"'
        return Condition(type="Progressing", status="True", reason="NewReplicaSetCreated", message=message), True
    if is_paused and not status.is_promoted:
        return Condition(
            type="Progressing", status="Unknown", reason="RolloutPaused", message="Rollout is paused"
        ), False
    if is_whole:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return Condition(type="Progressing", status="True", reason="NewReplicaSetAvailable", message=message), False
    if has_become_ill:
        message = "Rollout does not have minimum availability"
        return Condition(type="Progressing", status="True", reason="ReplicaSetNotAvailable", message=message), True
    if has_moved:
        message = f'ReplicaSet "{name}" is progressing.'
        return Condition(type="Progressing", status="True", reason="ReplicaSetUpdated", message=message), True
    if reason == "RolloutAborted":
        message = "Retrying Rollout after abort"
        return Condition(type="Progressing", status="Unknown", reason="RolloutRetry", message=message), False
    if reason == "RolloutPaused":
        return Condition(
            type="Progressing", status="Unknown", reason="RolloutResumed", message="Rollout is resumed"
        ), False
    if not is_clock_stopped(situation, status, roles.others) and has_timed_out(situation, status.conditions):
        message = timed_out_message(situation)
        return Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message=message), False
    if current is None:
        message = f'Found new replica set "{name}"'
        return Condition(type="Progressing", status="True", reason="FoundNewReplicaSet", message=message), False
    return None


def _replica_failure(situation: Situation, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    for found in (situation.revisions.current, *situation.revisions.known):
        for condition in found.status.conditions:
            if condition.type == "ReplicaFailure":
                copy = Condition(
                    type="ReplicaFailure",
                    status=condition.status or "True",
                    reason=condition.reason,
                    message=condition.message,
                )
                return put(conditions, copy, situation.now)
    return drop(conditions, "ReplicaFailure")


_BLOCKING = frozenset((Waiting.CONFLICT, Waiting.REFUSED, Waiting.PREFLIGHT))


def _traffic_routed(situation: Situation, conditions: tuple[Condition, ...], traffic: Traffic) -> tuple[Condition, ...]:
    """Return the conditions with what is known of the route; while a change is on its way, a good last word stands."""
    seen = situation.seen.traffic
    if not situation.is_routed or seen is None:
        return drop(conditions, "TrafficRouted")
    waiting = traffic.waiting
    if waiting is not None and waiting.reason in _BLOCKING:
        reason = seen.reason if waiting.reason != Waiting.PREFLIGHT and seen.reason else str(waiting.reason)
        new = _condition("TrafficRouted", False, reason, waiting.what)
    elif seen.weights is not None and seen.held is Held.APPLIED:
        new = _condition("TrafficRouted", True, "Applied", "the data plane routes by the stored weights")
    elif seen.weights is not None and seen.held is Held.SETTLED:
        new = _condition("TrafficRouted", True, "Settled", "settled, not verified: no evidence from the data plane")
    else:
        # New weights are on their way: what was wrong before is over, and what was right is so until they arrive.
        stored = find(conditions, "TrafficRouted")
        return conditions if stored is None or stored.is_true else drop(conditions, "TrafficRouted")
    return put(conditions, new, situation.now)


# --- phase -----------------------------------------------------------------------------------------------------------

_Test = Callable[[Situation, RolloutStatus], bool]

# First match. A phase is what a person sees, so the order says what matters most.
PHASES: tuple[tuple[Phase, str, _Test], ...] = (
    (Phase.PAUSED, "manually paused", lambda s, status: s.spec.paused),
    (Phase.PAUSED, "{pause}", lambda s, status: bool(status.pauses)),
    (
        Phase.PROGRESSING,
        "rollout is restarting",
        lambda s, status: s.spec.restart_at is not None and s.spec.restart_at != status.restarted_at,
    ),
    (
        Phase.PROGRESSING,
        "more replicas need to be updated",
        lambda s, status: status.updated_replicas < s.wanted,
    ),
    (
        Phase.PROGRESSING,
        "updated replicas are still becoming available",
        lambda s, status: status.available_replicas < status.updated_replicas,
    ),
    (
        Phase.PROGRESSING,
        "active service cutover pending",
        lambda s, status: s.spec.blue_green is not None and status.active_hash != status.pod_hash,
    ),
    (
        Phase.PROGRESSING,
        "waiting for analysis to complete",
        lambda s, status: s.spec.blue_green is not None and not status.is_promoted and _awaits_analysis(s, status),
    ),
    (
        Phase.PROGRESSING,
        "waiting for post-promotion verification to complete",
        lambda s, status: s.spec.blue_green is not None and not status.is_promoted,
    ),
    (
        Phase.PROGRESSING,
        "old replicas are pending termination",
        lambda s, status: s.spec.canary is not None and not s.is_routed and status.replicas > status.updated_replicas,
    ),
    (
        Phase.PROGRESSING,
        "waiting for all steps to complete",
        lambda s, status: not status.is_promoted,
    ),
    (Phase.HEALTHY, "", lambda s, status: True),
)


def _awaits_analysis(situation: Situation, status: RolloutStatus) -> bool:
    stanza = situation.blue_green.post_promotion_analysis
    return stanza is not None and bool(stanza.templates) and not (status.post_run and status.post_run.is_completed)


_DEGRADING = frozenset(("InvalidSpec", "RolloutAborted", "ProgressDeadlineExceeded"))


def phase_of(situation: Situation, status: RolloutStatus) -> tuple[Phase, str]:
    """Return the phase that clients show, and its message."""
    if degraded := degradation(status):
        return Phase.DEGRADED, degraded
    for phase, message, applies in PHASES:
        if applies(situation, status):
            return phase, message.format(pause=status.pauses[0].reason if status.pauses else "")
    raise AssertionError("the last row applies always")


def degradation(status: RolloutStatus) -> str:
    """Return the message of a condition that makes a Rollout degraded; empty: none does."""
    for condition in status.conditions:
        if condition.reason in _DEGRADING:
            return f"{condition.reason}: {condition.message}"
    return ""
