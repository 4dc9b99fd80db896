"""Routes that the spec does not use any more: let go as soon as stable can take what they still lead elsewhere.

A route is known by our mark on it. As long as one is left, the Services between which it splits keep our selectors,
and the status keeps saying which two they are: nothing else remembers that.

| a Rollout that | then |
|---|---|
| has nobody available in stable | waits: the traffic has no better place |
| has somebody there, or no stable revision, or wants no pods | lets go: weights back, our rules and marks off |
"""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from fairlead.core.decision import Event
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts.actions import ReleaseRoutes
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.status import RolloutStatus


def holding_services(seen: Observation) -> Observation:
    """Return the observation without Services to release, as long as a route may lead traffic to them."""
    return dataclasses.replace(seen, released=()) if seen.left_routes else seen


def release(situation: Situation, roles: Roles) -> tuple[ReleaseRoutes, ...]:
    """Return what lets go of the routes that are left."""
    left = situation.seen.left_routes
    if not left:
        return ()
    has_stable = roles.stable is not None and roles.stable.status.available_replicas > 0
    if situation.wanted > 0 and situation.stored.stable_hash and not has_stable:
        return ()
    weights = situation.stored.weights
    event = None
    if weights is not None and weights.canary.weight > 0 and not situation.is_routed:
        event = Event("TrafficWeightUpdated", f"Traffic weight updated from {weights.canary.weight} to 0")
    return (ReleaseRoutes(names=left, event=event),)


def remember(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status of a Rollout that does not route (any more): with weights only as long as a route is left."""
    if situation.is_routed:
        return status
    return replace(status, weights=situation.stored.weights if situation.seen.left_routes else None)
