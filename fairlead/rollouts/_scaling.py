"""Sizes of the ReplicaSets: who grows and who shrinks now, and who has to wait for connections to drain.

Behind a router a ReplicaSet that has lost its traffic keeps its pods for a while. When that while began is written
on it (`scale-down-deadline`, whole seconds), so that a restart of the controller does not prolong it:

- the revision that was stable, once the promoted one carries all traffic by way of the stable Service;
- a revision that was overtaken by a newer one, once its weight is 0 and in force;
- an aborted canary, once its weight is 0 and in force, and stable is whole.

Source: argo-rollouts: rollout/replicaset.go, rollout/canary.go: scaleDownOldReplicaSetsForCanary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fairlead.core.decision import Blocker, Event, earliest
from fairlead.core.kinds import ReplicaSet
from fairlead.core.objects import parse_rfc3339, rfc3339
from fairlead.core.traffic import TrafficSeen
from fairlead.rollouts import _replicas
from fairlead.rollouts._canary import scale_at, weight_at, whole_second
from fairlead.rollouts._modes import Mode, Rule, SizeRule
from fairlead.rollouts._replicas import Counts, Size
from fairlead.rollouts._revisions import (
    DESIRED_REPLICAS,
    SCALE_DOWN_DEADLINE,
    next_revision,
    pod_hash_of,
    revision_of,
)
from fairlead.rollouts._services import selected_hashes
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.status import RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one ReplicaSet should become; an empty deadline removes the annotation, None leaves it as it is."""

    replicas: int
    deadline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """By name, what the ReplicaSets should become (those that stay as they are included).

    Attributes:
        waiting: why somebody is not smaller yet.
        wake_at: when a delay is over.
    """

    changes: dict[str, Change] = field(default_factory=dict)
    waiting: Blocker | None = None
    wake_at: datetime | None = None


def deadline_of(replica_set: ReplicaSet) -> datetime | None:
    """Return until when a ReplicaSet keeps its pods; an unreadable deadline counts as none."""
    return parse_rfc3339(replica_set.metadata.annotations.get(SCALE_DOWN_DEADLINE, ""))


def resize(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    rule: Rule,
    counts: Counts,
    traffic: Traffic,
    *,
    is_halted: bool,
) -> Sizes:
    """Return what every ReplicaSet should become now.

    Args:
        counts: how many pods canary and stable should have in the end.
        is_halted: the user has stopped everything (an abort goes on).
    """
    if is_halted:
        return Sizes()
    if situation.is_routed:
        return _routed(situation, status, roles, rule, counts, traffic)
    return _basic(situation, status, roles, rule)


# --- without a router ------------------------------------------------------------------------------------------------


def _basic(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule) -> Sizes:
    new, stable = roles.new, roles.stable
    if rule.size is SizeRule.SHRINK and stable is None:
        return Sizes()  # somebody deleted the stable ReplicaSet: what is left must not go, too
    weight = situation.weight_max
    if rule.size is SizeRule.STEP:
        weight = weight_at(situation.steps, status.step_index, situation.weight_max)
    elif rule.size is SizeRule.SHRINK:
        weight = 0
    others = [_size(other) for other in roles.others]
    counts = _replicas.basic_counts(
        situation.wanted,
        weight,
        situation.weight_max,
        situation.limits,
        _size(new),
        None if roles.is_one or stable is None else _size(stable),
        others,
    )
    changes = {new.metadata.name: Change(replicas=counts.canary, deadline="")}
    if stable is not None and stable is not new:
        changes[stable.metadata.name] = Change(replicas=counts.stable, deadline="")
    everyone = (new, *(() if roles.is_one or stable is None else (stable,)), *roles.others)
    # As in `_size`: pods that will go as soon as the ReplicaSet controller has looked must not be spent twice.
    available = sum(min(found.spec.replicas, found.status.available_replicas) for found in everyone)
    kept = _replicas.drain_others(situation.wanted, situation.limits, available, others)
    for other, replicas in zip(roles.others, kept, strict=True):
        changes[other.metadata.name] = Change(replicas=replicas, deadline="" if replicas == 0 else None)
    return Sizes(changes=changes)


def _size(replica_set: ReplicaSet) -> Size:
    # The ReplicaSet controller may not have seen a smaller size yet: pods that will go do not count.
    return Size(replica_set.spec.replicas, replica_set.status.available_replicas)


# --- behind a router -------------------------------------------------------------------------------------------------


def _routed(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, counts: Counts, traffic: Traffic
) -> Sizes:
    changes: dict[str, Change] = {}
    waits: list[tuple[datetime | None, Blocker]] = []
    if roles.stable is not None and roles.stable is not roles.new:
        changes[roles.stable.metadata.name], wait = _stable(situation, roles.stable, counts, traffic)
        waits += wait
    if rule.size is SizeRule.SHRINK:
        change, wait = _aborted(situation, roles, counts, traffic)
    else:
        has_scale = scale_at(situation.steps, status.step_index) is not None
        change, wait = _current(situation, roles, counts, traffic, follows_weight=not has_scale)
    changes[roles.new.metadata.name] = change
    waits += wait
    changed, wait = _old(situation, status, roles, rule, traffic)
    changes |= changed
    waits += wait
    return Sizes(
        changes=changes,
        waiting=waits[0][1] if waits else None,
        wake_at=earliest(*(at for at, _ in waits)),
    )


Waits = list[tuple[datetime | None, Blocker]]


def _stable(situation: Situation, stable: ReplicaSet, counts: Counts, traffic: Traffic) -> tuple[Change, Waits]:
    """Return the size of stable: smaller only when its lower weight is in force and connections have drained."""
    if counts.stable >= stable.spec.replicas or not situation.canary.is_dynamic:
        return Change(replicas=counts.stable, deadline=""), []
    keep = Change(replicas=stable.spec.replicas, deadline="")
    seen = situation.seen.traffic
    if seen is None or seen.weights is None or not traffic.is_settled:
        return keep, []
    wait = _drains(seen, stable, counts.stable, situation.now)
    return (keep, [wait]) if wait is not None else (Change(replicas=counts.stable, deadline=""), [])


def _drains(seen: TrafficSeen, found: ReplicaSet, replicas: int, now: datetime) -> tuple[datetime, Blocker] | None:
    """Return until when pods must stay whose weight has fallen; None: they may go."""
    free_at = seen.since + seen.pods_kept if seen.since is not None else None
    if free_at is None or now >= free_at:
        return None
    what = f"connections to {found.spec.replicas - replicas} pods of {found.metadata.name} have drained"
    return free_at, Blocker(reason=Waiting.OLD_PODS, what=what, since=seen.since, at=free_at)


def _current(
    situation: Situation, roles: Roles, counts: Counts, traffic: Traffic, *, follows_weight: bool
) -> tuple[Change, Waits]:
    """Return the size of the current revision; after a lower weight its pods stay until connections have drained."""
    new, wanted = roles.new, counts.canary
    is_selected = new is not roles.stable and pod_hash_of(new) in selected_hashes(situation)
    if wanted == 0 and new.spec.replicas > 0 and is_selected and situation.wanted > 0:
        what = f"no Service selects the pods of {new.metadata.name}"
        blocker = Blocker(reason=Waiting.SERVICE, what=what)
        return Change(replicas=new.spec.replicas, deadline=""), [(None, blocker)]
    if new.spec.replicas <= wanted or new is roles.stable or not follows_weight:
        return Change(replicas=wanted, deadline=""), []
    seen = situation.seen.traffic
    if seen is None or seen.weights is None:
        return Change(replicas=wanted, deadline=""), []
    carried = _replicas.routed_canary(situation.wanted, seen.weights.canary, situation.weight_max)
    if carried > wanted or not traffic.is_settled:
        return Change(replicas=new.spec.replicas, deadline=""), []
    free_at = seen.since + seen.pods_kept if seen.since is not None else None
    if free_at is not None and situation.now < free_at:
        what = f"connections to {new.spec.replicas - wanted} canary pods have drained"
        blocker = Blocker(reason=Waiting.OLD_PODS, what=what, since=seen.since, at=free_at)
        return Change(replicas=new.spec.replicas, deadline=""), [(free_at, blocker)]
    return Change(replicas=wanted, deadline=""), []


def _aborted(situation: Situation, roles: Roles, counts: Counts, traffic: Traffic) -> tuple[Change, Waits]:
    """Return the size of an aborted canary: as it is, then none after the delay.

    Where stable had shrunk, and no delay is asked for, the canary shrinks as its weight does.
    """
    new, stable = roles.new, roles.stable
    keep = Change(replicas=new.spec.replicas)
    delay = situation.canary.abort_scale_down_delay
    if new.spec.replicas == 0 or delay is None:
        return keep, []
    if situation.canary.is_dynamic and situation.canary.abort_scale_down_delay_seconds is None:
        delay = timedelta(0)
        seen = situation.seen.traffic
        if not traffic.is_clear and 0 < counts.canary < new.spec.replicas and seen is not None and traffic.is_settled:
            wait = _drains(seen, new, counts.canary, situation.now)
            return (keep, [wait]) if wait is not None else (Change(replicas=counts.canary), [])
    if not traffic.is_clear or stable is None or stable.status.available_replicas < situation.wanted:
        return keep, []
    return leave(situation, new, delay, is_selected=pod_hash_of(new) in selected_hashes(situation))


def leave(situation: Situation, leaving: ReplicaSet, delay: timedelta, *, is_selected: bool) -> tuple[Change, Waits]:
    """Return the size of a ReplicaSet that carries no traffic any more: as it is until its deadline, then none."""
    deadline, kept = deadline_of(leaving), leaving.spec.replicas
    seen = situation.seen.traffic
    delay = max(delay, seen.pods_kept if seen is not None else timedelta(0))
    if deadline is None and delay > timedelta(0):
        deadline = whole_second(situation.now + delay)
        return Change(replicas=kept, deadline=rfc3339(deadline)), [(deadline, _draining(leaving, deadline))]
    if deadline is not None and situation.now < deadline:
        return Change(replicas=kept), [(deadline, _draining(leaving, deadline))]
    if is_selected:
        what = f"no Service selects the pods of {leaving.metadata.name}"
        return Change(replicas=kept), [(None, Blocker(reason=Waiting.SERVICE, what=what))]
    return Change(replicas=0, deadline=""), []


def _draining(leaving: ReplicaSet, deadline: datetime) -> Blocker:
    return Blocker(
        reason=Waiting.OLD_PODS,
        what=f"{leaving.metadata.name} may be scaled down",
        next="its pods are removed",
        at=deadline,
    )


def _old(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, traffic: Traffic
) -> tuple[dict[str, Change], Waits]:
    """Return the sizes of all the others, newest revision first."""
    changes: dict[str, Change] = {}
    waits: Waits = []
    selected = selected_hashes(situation)
    canary_hash = situation.selected(situation.pair(status).canary)
    delayed = 0
    for other in roles.others:
        if other.spec.replicas == 0:
            continue
        name, pod_hash = other.metadata.name, pod_hash_of(other)
        is_selected = pod_hash in selected
        # Its last traffic is gone when nobody selects it and the route has settled; or, while the canary Service
        # still does, when that Service has no weight.
        is_free = traffic.is_settled if not is_selected else (pod_hash == canary_hash and traffic.is_clear)
        if rule.mode is not Mode.PROMOTED and not is_selected:
            is_free = True
        if not is_free:
            changes[name] = Change(replicas=other.spec.replicas)
            continue
        if other.status.available_replicas == 0 and not is_selected:
            changes[name] = Change(replicas=0, deadline="")
            continue
        if delayed >= situation.canary.delayed_revisions_max and not is_selected:
            changes[name] = Change(replicas=0, deadline="")
            continue
        changes[name], wait = leave(situation, other, situation.canary.scale_down_delay, is_selected=is_selected)
        delayed += bool(wait)
        waits += wait
    return changes, waits


# --- what is written -------------------------------------------------------------------------------------------------


def scaled_event(situation: Situation, replica_set: ReplicaSet, replicas: int) -> Event | None:
    """Return the event of a change of size."""
    before = replica_set.spec.replicas
    if before == replicas:
        return None
    is_new = replica_set is situation.revisions.current
    revision = next_revision(situation.revisions) if is_new else revision_of(replica_set.metadata)
    direction = "up" if replicas > before else "down"
    name = replica_set.metadata.name
    return Event(
        "ScalingReplicaSet",
        f"Scaled {direction} ReplicaSet {name} (revision {revision}) from {before} to {replicas}",
    )


def annotations_for(
    situation: Situation, replica_set: ReplicaSet, change: Change, *, is_active: bool
) -> dict[str, str | None]:
    """Return the annotations that go with a change of size.

    Args:
        is_active: it is the current or the stable one; only those follow the wanted number of replicas.
    """
    stored = replica_set.metadata.annotations
    wanted = str(situation.wanted)
    is_resized = change.replicas != replica_set.spec.replicas
    follows = is_active and replica_set.spec.replicas > 0
    result: dict[str, str | None] = {}
    if (is_resized or follows) and stored.get(DESIRED_REPLICAS) != wanted:
        result[DESIRED_REPLICAS] = wanted
    if change.deadline is not None and stored.get(SCALE_DOWN_DEADLINE, "") != change.deadline:
        result[SCALE_DOWN_DEADLINE] = change.deadline or None
    return result
