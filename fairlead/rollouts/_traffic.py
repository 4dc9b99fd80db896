"""Which weights the route should hold now, and what must be true before they may change.

Traffic is never sent where nobody can answer, and never taken back later than necessary:

- Up needs capacity first: enough canary pods, the canary Service selecting them, its endpoints converged, no objection
  of the router's preflight, and nobody who refuses or fights what was written last.
- Down needs somebody to take over: one available stable pod behind a stable Service that selects stable. How many
  stable pods there are does not hold an abort back.
- A canary that loses all its pods loses its weight at once.
- Nothing counts as done before the data plane has taken it (`TrafficSeen.holds`).

Where we differ from argo-rollouts on purpose: a stable revision that lacks pods does not keep the canary's weight from
rising, for that would relieve it; and the last weight is in force before the stable Service is switched.

Source: argo-rollouts: rollout/trafficrouting.go; ordering rules of the Gateway API routers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from fairlead.core.decision import Blocker, Event
from fairlead.core.kinds import ReplicaSet
from fairlead.core.traffic import Held, ManagedRoute, TrafficSeen, Weights
from fairlead.rollouts import _replicas
from fairlead.rollouts._canary import desired, weight_at, weight_before
from fairlead.rollouts._managed_routes import routes_at
from fairlead.rollouts._modes import Mode, Rule, WeightRule
from fairlead.rollouts._revisions import pod_hash_of
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.actions import SetWeights
from fairlead.rollouts.status import Destination, RolloutStatus, StoredWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is to be done about the route, and how far it is.

    Attributes:
        action: the write that is due and allowed now.
        is_settled: the route holds exactly what is wanted, and traffic follows it. Always true without a router.
        is_clear: no traffic goes to the canary Service, as well as can be told. Always true without a router.
        waiting: why not everything that is wanted is in force.
        wake_at: when the router wants to be asked again.
    """

    action: SetWeights | None = None
    is_settled: bool = True
    is_clear: bool = True
    waiting: Blocker | None = None
    wake_at: datetime | None = None


def direct(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, *, is_ready: bool) -> Traffic:
    """Return what the route should hold, whether it does, and the write that brings it there.

    Args:
        is_ready: the pods that the current step asks for are there.
    """
    if not situation.is_routed:
        return Traffic()
    seen = situation.traffic(status)
    if seen is None:
        blocker = Blocker(reason=Waiting.ROUTER, what="the traffic router has not been asked yet")
        return Traffic(is_settled=False, is_clear=False, waiting=blocker)
    if situation.wanted == 0:
        return Traffic(is_clear=True, wake_at=seen.wake_at)  # there is nobody to send traffic to
    weight = wanted_weight(situation, status, roles, rule, is_ready=is_ready)
    is_overtaken = _is_overtaken(situation, status, roles, seen)
    if is_overtaken:
        weight = 0  # what the canary Service sends there is meant for nobody any more
    if situation.canary.is_dynamic and (is_overtaken or rule.mode is Mode.ABORTED):
        weight = _as_stable_can_take_over(situation, status, roles, seen)
    routes, held_back = _routes(situation, status, roles, rule, seen, is_overtaken=is_overtaken)
    wanted = Weights.of_canary(weight, total=situation.weight_max, managed=routes)
    is_unused = seen.weights is None or (seen.weights.canary == 0 and not seen.weights.managed)
    is_clear = seen.weights is None or (is_unused and seen.holds)
    # The right weights that the router does not count as stored are another's work: it is asked to take them over.
    if seen.weights == wanted and seen.held is not Held.NOT_STORED:
        if seen.holds and seen.in_progress and rule.mode is Mode.PROMOTED and not situation.has_turned(status):
            # Services that take turns leave nothing to be written at the end but this mark.
            end = SetWeights(weights=wanted, in_progress=False)
            return Traffic(action=end, is_settled=held_back is None, is_clear=is_clear, waiting=held_back)
        if seen.holds:
            return Traffic(is_settled=held_back is None, is_clear=is_clear, waiting=held_back, wake_at=seen.wake_at)
        return Traffic(is_settled=False, is_clear=is_clear, waiting=_pending(seen, wanted), wake_at=seen.wake_at)
    if situation.has_turned(status):
        # The routers still know the Services by their former parts: what is to be written follows at the next look.
        blocker = Blocker(reason=Waiting.ROUTE, what="it is stored that the two Services have changed places")
        return Traffic(is_settled=False, is_clear=is_clear, waiting=blocker, wake_at=seen.wake_at)
    is_rescue = rule.mode is Mode.ABORTED or roles.new.status.available_replicas == 0
    objection = _objection(situation, status, roles, seen, wanted, is_rescue=is_rescue)
    if objection is not None:
        return Traffic(is_settled=False, is_clear=is_clear, waiting=objection, wake_at=seen.wake_at)
    action = SetWeights(
        weights=wanted,
        in_progress=rule.mode not in (Mode.PROMOTED, Mode.ABORTED),
        event=_weight_event(seen.weights, wanted),
    )
    waiting = Blocker(reason=Waiting.ROUTE, what=f"weight {weight} of {wanted.total} is written to the route")
    if seen.held in (Held.CONFLICT, Held.REFUSED):
        waiting = _pending(seen, wanted)
    return Traffic(action=action, is_settled=False, is_clear=is_clear, waiting=waiting, wake_at=seen.wake_at)


def _is_overtaken(situation: Situation, status: RolloutStatus, roles: Roles, seen: TrafficSeen) -> bool:
    """Return whether the weight of the canary Service goes to another revision than the current one."""
    selected = situation.selected(situation.pair(status).canary)
    has_weight = seen.weights is not None and (seen.weights.canary > 0 or bool(seen.weights.managed))
    return has_weight and selected not in ("", pod_hash_of(roles.new))


def _routes(
    situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, seen: TrafficSeen, *, is_overtaken: bool
) -> tuple[tuple[ManagedRoute, ...], Blocker | None]:
    """Return the rules beside the split that the route should hold now, and what keeps others from being added.

    They need a canary that can answer, as a weight does; without one they are left out until it is there.
    """
    routing = situation.canary.traffic_routing
    if routing is None or is_overtaken or rule.mode not in (Mode.STEPPING, Mode.COMPLETING):
        return (), None
    names = [found.name for found in routing.managed_routes]
    asked = routes_at(situation.steps, status.step_index, names)
    if not asked or roles.new.status.available_replicas == 0 or desired(situation, status, roles, rule).canary == 0:
        return (), None
    standing = seen.weights.managed if seen.weights is not None else ()
    if all(route in standing for route in asked):
        return asked, None
    objection = _canary_objection(situation, status, roles)
    if seen.blocked:
        objection = Blocker(reason=Waiting.PREFLIGHT, what=seen.blocked, since=seen.since)
    if objection is None:
        return asked, None
    return tuple(route for route in asked if route in standing), objection


def _as_stable_can_take_over(situation: Situation, status: RolloutStatus, roles: Roles, seen: TrafficSeen) -> int:
    """Return the weight that has to stay where it is while stable, which had shrunk, gets its pods back.

    It never rises, and falls with every pod of stable that becomes available: faster than in argo-rollouts, which
    goes down by the steps. Nothing is spared when nobody answers behind the canary Service any more.
    """
    current = seen.weights.canary if seen.weights is not None else 0
    serving = roles.new
    if selected := situation.selected(situation.pair(status).canary):
        serving = next((one for one in situation.revisions.known if pod_hash_of(one) == selected), roles.new)
    if serving.status.available_replicas == 0 or roles.stable is None or serving is roles.stable:
        return 0
    available = roles.stable.status.available_replicas
    return min(current, _replicas.capacity_weight(situation.wanted, available, situation.weight_max))


def wanted_weight(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, *, is_ready: bool) -> int:
    """Return the canary's weight that the route should hold now."""
    steps, seen = situation.steps, situation.traffic(status)
    current = seen.weights.canary if seen is not None and seen.weights is not None else 0
    if rule.weight is WeightRule.ZERO or roles.new.status.available_replicas == 0:
        return 0
    if not steps:
        # The stable Service moves the traffic, all at once, when every pod is available.
        return current if rule.weight is WeightRule.KEEP else 0
    if rule.weight is WeightRule.KEEP and not is_ready and situation.canary.is_dynamic:
        # Stable has shrunk and cannot wait until the last pod is there: each pod brings its share.
        share = situation.weight_max * roles.new.status.available_replicas // situation.wanted
        return min(max(current, share), situation.weight_max)
    if rule.weight is WeightRule.KEEP:
        return situation.weight_max if is_ready else min(current, situation.weight_max)
    if is_ready:
        return weight_at(steps, status.step_index, situation.weight_max)
    # Pods are missing: what was reached may stay, but nothing is raised towards a step that somebody skipped to.
    return min(current, weight_before(steps, status.step_index))


def _weight_event(before: Weights | None, after: Weights) -> Event | None:
    """Return the event of a change of weights; rules beside them have none."""
    if before is not None and before.canary == after.canary and before.managed != after.managed:
        return None
    return Event("TrafficWeightUpdated", _updated(before, after))


def _updated(before: Weights | None, after: Weights) -> str:
    if before is None or before.canary == after.canary:
        return f"Traffic weight updated to {after.canary}"
    return f"Traffic weight updated from {before.canary} to {after.canary}"


def _words(seen: TrafficSeen) -> str:
    return seen.message or seen.reason or str(seen.held)


def _pending(seen: TrafficSeen, wanted: Weights) -> Blocker:
    what = seen.message or f"weight {wanted.canary} of {wanted.total} is in force (now: {_words(seen)})"
    reason = Waiting.CONFLICT if seen.held is Held.CONFLICT else Waiting.TRAFFIC
    if seen.held is Held.REFUSED:
        reason = Waiting.REFUSED
    return Blocker(reason=reason, what=what, since=seen.since, at=seen.settled_at)


def _objection(
    situation: Situation, status: RolloutStatus, roles: Roles, seen: TrafficSeen, wanted: Weights, *, is_rescue: bool
) -> Blocker | None:
    """Return why the route must not be changed from what it holds to what is wanted; None: go on.

    Args:
        is_rescue: the canary must lose its traffic now; that somebody is there to take it is enough.
    """
    is_first = seen.weights is None
    is_rising, is_lowering = _direction(seen.weights, wanted)
    if seen.held in (Held.CONFLICT, Held.REFUSED) and not is_lowering:
        reason = Waiting.CONFLICT if seen.held is Held.CONFLICT else Waiting.REFUSED
        return Blocker(reason=reason, what=_words(seen), since=seen.since)
    if seen.blocked and (is_rising or is_first):
        return Blocker(reason=Waiting.PREFLIGHT, what=seen.blocked, since=seen.since)
    if (
        (wanted.canary > 0 or wanted.managed)
        and not is_lowering
        and (objection := _canary_objection(situation, status, roles))
    ):
        return objection
    return None if is_rising else _stable_objection(situation, status, roles, wanted, is_rescue=is_rescue)


def _direction(before: Weights | None, after: Weights) -> tuple[bool, bool]:
    """Return whether the canary gets more traffic by a change, and whether it gets less."""
    if before is None:
        return False, False
    if before.canary != after.canary:
        return after.canary > before.canary, after.canary < before.canary
    is_more = any(route not in before.managed for route in after.managed)
    return is_more, not is_more and any(route not in after.managed for route in before.managed)


def _canary_objection(situation: Situation, status: RolloutStatus, roles: Roles) -> Blocker | None:
    name = situation.pair(status).canary
    return _service_objection(situation, name, roles.new, situation.wanted)


def _stable_objection(
    situation: Situation, status: RolloutStatus, roles: Roles, wanted: Weights, *, is_rescue: bool
) -> Blocker | None:
    stable = roles.stable
    available = stable.status.available_replicas if stable is not None else 0
    if stable is None or available == 0:
        return Blocker(reason=Waiting.STABLE_PODS, what="there is an available stable pod that could take the traffic")
    if is_rescue:
        return None
    needed = wanted.stable * situation.wanted // wanted.total
    if (wanted.canary > 0 or situation.canary.is_dynamic) and available < needed:
        return Blocker(reason=Waiting.STABLE_PODS, what=f"{available} of {needed} stable pods are available")
    pods = situation.wanted if stable is roles.new else 1
    return _service_objection(situation, situation.pair(status).stable, stable, pods)


def _service_objection(situation: Situation, name: str, target: ReplicaSet, pods: int) -> Blocker | None:
    """Return why a Service cannot take traffic for a ReplicaSet yet.

    Args:
        pods: so many ready endpoints are enough, even if more pods are available.
    """
    service = situation.service(name)
    if service is None:
        return None  # no such Service is configured: the router knows its backends itself
    if service.spec.selector.get(HASH_LABEL) != pod_hash_of(target):
        what = f"Service {name} selects the pods of ReplicaSet {target.metadata.name}"
        return Blocker(reason=Waiting.SERVICE, what=what)
    if situation.seen.endpoints is None:
        return None
    found: Mapping[str, int] = situation.seen.endpoints.get(name, {})
    ready = found.get(target.metadata.name, 0)
    needed = max(1, min(target.status.available_replicas, pods))
    strangers = sum(found.values()) - ready
    if ready < needed or strangers:
        also = f" and {strangers} of other pods" if strangers else ""
        what = f"Service {name} has {ready} of {needed} endpoints of {target.metadata.name}{also}"
        return Blocker(reason=Waiting.ENDPOINTS, what=what)
    return None


def stored_weights(situation: Situation, status: RolloutStatus, roles: Roles) -> StoredWeights | None:
    """Return the route's weights as the status shows them: what was seen, never what is hoped for.

    How long an accepted route has been so is not remembered over a restart: meanwhile the last word on the same weights
    stands, or every Rollout would be written twice whenever a controller starts.
    """
    seen = situation.traffic(status)
    if not situation.is_routed or seen is None or seen.weights is None:
        return None
    verified: bool | None = False
    if seen.held is Held.APPLIED:
        verified = True
    elif seen.held is Held.SETTLED:
        verified = None
    pair = situation.pair(status)
    stable_hash = status.stable_hash
    fallback = status.pod_hash if seen.weights.canary else stable_hash
    found = StoredWeights(
        canary=Destination(
            weight=seen.weights.canary,
            service=pair.canary,
            pod_hash=situation.selected(pair.canary) or fallback,
        ),
        stable=Destination(
            weight=seen.weights.stable,
            service=pair.stable,
            pod_hash=situation.selected(pair.stable) or stable_hash,
        ),
        verified=verified,
    )
    stored = status.weights
    if stored is not None and seen.held is Held.ACCEPTED and replace(stored, verified=verified) == found:
        return stored
    return found
