"""The routers of one Rollout as one: each block of the spec has its own, and all get the same numbers.

Source: argo-rollouts: rollout/trafficrouting.go: NewTrafficRoutingReconciler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fairlead.core.decision import earliest
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectMeta
from fairlead.core.traffic import (
    Held,
    LeftRoute,
    RouteKeeper,
    RouterFactory,
    TrafficRouter,
    TrafficSeen,
    TrafficTarget,
    Weights,
)
from fairlead.rollouts._compatibility import unknown_routers
from fairlead.rollouts._managed_routes import all_routes
from fairlead.rollouts._validation import router_problem
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus

# From worst to best: of several routers the one that has come least far speaks.
_RANK = {
    held: place
    for place, held in enumerate(
        (Held.CONFLICT, Held.REFUSED, Held.NOT_STORED, Held.STORED, Held.ACCEPTED, Held.SETTLED, Held.APPLIED)
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The routers of a Rollout, and what is wrong with how they are configured (then there are none).

    Attributes:
        targets: by name, what each router is configured to do.
    """

    routers: tuple[TrafficRouter, ...] = ()
    targets: Mapping[str, TrafficTarget] = field(default_factory=dict)
    problems: tuple[SpecError, ...] = ()


def route(
    metadata: ObjectMeta, spec: RolloutSpec, factories: Mapping[str, RouterFactory], *, stable_turn: str = ""
) -> Routing:
    """Return the routers that the spec configures.

    Args:
        stable_turn: see `CanaryStrategy.pair`.
    """
    canary = spec.canary
    if canary is None or canary.traffic_routing is None:
        return Routing()
    problems = unknown_routers(spec, factories.keys())
    pair = canary.pair(stable_turn)
    targets: dict[str, TrafficTarget] = {}
    for name, config in canary.traffic_routing.plugins.items():
        factory = factories.get(name)
        if factory is None:
            continue
        target = TrafficTarget(
            rollout=metadata.key,
            uid=metadata.uid,
            stable_service=pair.stable,
            canary_service=pair.canary,
            first_service=canary.ping_pong.ping_service if canary.ping_pong is not None else "",
            config=config,
            total=canary.weight_max,
            managed_routes=tuple(found.name for found in canary.traffic_routing.managed_routes),
            routes=all_routes(canary.steps),
        )
        if problem := factory.validate(target):
            problems.append(router_problem(name, problem))
        targets[name] = target
    if problems:
        return Routing(problems=tuple(problems))
    return Routing(routers=tuple(factories[name].router(target) for name, target in targets.items()), targets=targets)


def left_behind(
    metadata: ObjectMeta, spec: RolloutSpec, status: RolloutStatus, routing: Routing, keeper: RouteKeeper | None
) -> tuple[LeftRoute, ...]:
    """Return the routes that the Rollout has split before, and that its spec does not use any more."""
    if keeper is None or routing.problems:
        return ()
    stable, canary = spec.canary.pair(status.stable_turn) if spec.canary is not None else ("", "")
    if status.weights is not None:  # what stands there was split between the Services of then
        stable, canary = status.weights.stable.service, status.weights.canary.service
    target = TrafficTarget(
        rollout=metadata.key, uid=metadata.uid, stable_service=stable, canary_service=canary, config={}
    )
    return tuple(keeper.left(target, routing.targets))


def look(routers: Iterable[TrafficRouter], now: datetime) -> TrafficSeen | None:
    """Return what the routers see, as one; None when there are none."""
    seen = [router.observe(now) for router in routers]
    if not seen:
        return None
    return seen[0] if len(seen) == 1 else combine(seen)


def combine(seen: list[TrafficSeen]) -> TrafficSeen:
    """Return several looks as one: the one that has come least far speaks, and the longest delays count.

    Weights that differ show as the highest share of the canary, in a split that equals no wanted one (its total is
    0): so all routers are written again, and nobody takes the canary to be without traffic.
    """
    worst = min(seen, key=lambda one: _RANK[one.held])
    settling = [one.settled_at for one in seen if one.settled_at is not None]
    since = [one.since for one in seen if one.since is not None]
    weights, held = seen[0].weights, worst.held
    if any(one.weights != weights for one in seen):
        highest = max(one.weights.canary for one in seen if one.weights is not None)
        weights = Weights(canary=highest, stable=0, total=0)
        held = held if held in (Held.CONFLICT, Held.REFUSED) else Held.NOT_STORED
    return replace(
        worst,
        weights=weights,
        held=held,
        since=max(since, default=None),
        settled_at=max(settling, default=None),
        blocked="; ".join(one.blocked for one in seen if one.blocked),
        pods_kept=max(one.pods_kept for one in seen),
        in_progress=any(one.in_progress for one in seen),
        wake_at=earliest(*(one.wake_at for one in seen)),
    )
