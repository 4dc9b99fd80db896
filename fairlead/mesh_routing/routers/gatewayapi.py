"""The router of the `argoproj-labs/gatewayAPI` block: weights in the HTTPRoutes and GRPCRoutes that the user names.

Several routes are one router: each gets the same weights, and the one that has come least far speaks for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from fairlead.core import selectors
from fairlead.core.cluster import View
from fairlead.core.errors import FairleadError, ProviderError, SpecError
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.core.traffic import AdditionalWeight, Held, RouterTools, TrafficSeen, TrafficTarget, Weights
from fairlead.mesh_routing._held import worst
from fairlead.mesh_routing._httproute import Problem, claimed_by_another, find_split, release_shared, write_shared
from fairlead.mesh_routing.actions import RouteAction
from fairlead.mesh_routing.observation import Route
from fairlead.mesh_routing.routers._routes import Plan, Routes, RouteSeen
from fairlead.mesh_routing.spec import GatewayApiSpec, InProgressLabel, RouteRef, RoutingSettings, parse_gateway_api


class _RefPlan(Protocol):
    def __call__(self, live: Route | None, ref: RouteRef) -> RouteAction | Problem | None: ...


class GatewayApiRouting:
    """The factory behind the entry point `argoproj-labs/gatewayAPI`."""

    def __init__(self, tools: RouterTools, settings: RoutingSettings | None = None) -> None:
        self._routes = Routes(tools, settings or RoutingSettings())

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        """Return the field path below the block and what is wrong with it, or None."""
        try:
            parse_gateway_api(target)
        except SpecError as error:
            return error.path, error.detail
        return None

    def router(self, target: TrafficTarget) -> GatewayApiRouter:
        """Return the router of one Rollout.

        Raises:
            SpecError: the block is invalid.
        """
        return GatewayApiRouter(self._routes, target, parse_gateway_api(target))


class GatewayApiRouter:
    """Moves the traffic of one Rollout in routes of its user. Implements `core.traffic.TrafficRouter`."""

    def __init__(self, routes: Routes, target: TrafficTarget, spec: GatewayApiSpec) -> None:
        self._routes = routes
        self._target = target
        self._spec = spec

    def observe(self, now: datetime) -> TrafficSeen:
        """Return what the routes show now, from caches only."""
        settings = self._routes.settings
        refs = self._refs()
        if not refs:
            what = ", ".join(map(str, self._spec.selectors))
            message = f"no {what} in namespace {self._spec.namespace}"
            return TrafficSeen(
                weights=None, held=Held.NOT_STORED, reason="RouteNotFound", message=message, blocked=message
            )
        seen = tuple(
            self._routes.observe(ref, self._target, now, settle=settings.settle, controller=settings.controller)
            for ref in refs
        )
        seen = tuple(self._without_rules_of_others(ref, one, refs, seen) for ref, one in zip(refs, seen, strict=True))
        blocked, label = self._missing_services(), self._spec.label
        return combine(seen, blocked=blocked, pods_kept=self._pods_kept(seen), label=label)

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        """Make every route hold these weights, each in one write; return whether anything was written.

        One route that fails does not keep the others from being written: an abort reaches all that can be reached.

        Raises:
            ProviderError: a route is missing or cannot carry the split.
            ClusterError: a write failed.
        """
        label, target = self._spec.label, self._target

        def plan(live: Route | None, ref: RouteRef) -> RouteAction | Problem | None:
            if live is None:
                return Problem(reason="RouteNotFound", message=f"{ref} not found")
            claimed = claimed_by_another(live, target)
            wanted = self._for_route(ref, weights)
            return claimed or write_shared(live, target, wanted, label=label, in_progress=in_progress)

        return await self._write_all(weights, plan)

    async def release(self) -> bool:
        """Give all weight to stable and take our marks off every route that still exists."""
        label, target = self._spec.label, self._target

        def plan(live: Route | None, ref: RouteRef) -> RouteAction | Problem | None:
            if live is None or claimed_by_another(live, target) is not None:
                return None  # nothing of ours is there
            return release_shared(live, target, label=label)

        if not self._refs():
            return False
        return await self._write_all(Weights.of_canary(0, total=target.total), plan)

    async def _write_all(self, weights: Weights, plan: _RefPlan) -> bool:
        refs = self._refs()
        if not refs:
            what = ", ".join(map(str, self._spec.selectors))
            raise ProviderError(f"no {what} in namespace {self._spec.namespace}", provider="routes")
        written, failure = False, None
        for ref in refs:
            try:
                wanted = self._for_route(ref, weights)
                written |= await self._routes.write(ref, self._target, wanted, _for(plan, ref), find_split)
            except FairleadError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return written

    def _for_route(self, ref: RouteRef, weights: Weights) -> Weights:
        """Return what one of the routes should hold: the rules of steps go to those that are named for it."""
        return weights if ref in self._spec.header_routes else replace(weights, managed=())

    def _without_rules_of_others(
        self, ref: RouteRef, seen: RouteSeen, refs: tuple[RouteRef, ...], all_seen: tuple[RouteSeen, ...]
    ) -> RouteSeen:
        """Return what a route shows as if it held the rules, too, that only others of the routes hold."""
        if ref in self._spec.header_routes or seen.weights is None or seen.weights.managed:
            return seen
        others = (one.weights for at, one in zip(refs, all_seen, strict=True) if at in self._spec.header_routes)
        managed = next((weights.managed for weights in others if weights is not None), ())
        return replace(seen, weights=replace(seen.weights, managed=managed))

    def _refs(self) -> tuple[RouteRef, ...]:
        return named_routes(self._spec, self._routes.tools.routes)

    def _missing_services(self) -> str:
        namespace, services = self._target.rollout.namespace, self._routes.tools.services
        names = (self._target.stable_service, self._target.canary_service)
        missing = [name for name in names if services.get(ObjectKey(namespace, name)) is None]
        return "; ".join(f"Service {namespace}/{name} not found" for name in missing)

    def _pods_kept(self, seen: tuple[RouteSeen, ...]) -> timedelta:
        # A Gateway takes routes through RDS: old connections follow at once. A waypoint drains its listener.
        settings = self._routes.settings
        parents = [parent for one in seen if one.route is not None for parent in one.route.parents]
        drains = not parents or any(parent.is_service for parent in parents)
        return settings.settle + (settings.drain if drains else timedelta(0))


def named_routes(spec: GatewayApiSpec, views: Mapping[str, View[Manifest]]) -> tuple[RouteRef, ...]:
    """Return the routes that are named or selected now; sorted by key after the named ones."""
    found = list(spec.routes)
    for selector in spec.selectors:
        view = views.get(selector.plural)
        for manifest in view.list(spec.namespace) if view is not None else ():
            if selectors.matches(selector.terms, manifest.metadata.labels):
                found.append(RouteRef(selector.plural, manifest.metadata.key))
    return tuple(dict.fromkeys(found))


def _for(plan: _RefPlan, ref: RouteRef) -> Plan:
    return lambda live: plan(live, ref)


def combine(
    seen: tuple[RouteSeen, ...], *, blocked: str, pods_kept: timedelta, label: InProgressLabel | None
) -> TrafficSeen:
    """Return what several routes show as one: the least far of them, and an upper bound of each side's weight."""
    holding = worst(tuple(one.holding for one in seen))
    reasons = [blocked, *(one.holding.message for one in seen if _keeps_from_raising(one))]
    return TrafficSeen(
        weights=_common([one.weights for one in seen]),
        held=holding.held,
        reason=holding.reason,
        message=holding.message,
        since=holding.since,
        settled_at=holding.settled_at,
        blocked="; ".join(dict.fromkeys(filter(None, reasons))),
        in_progress=label is not None and any(_is_marked(one, label) for one in seen),
        pods_kept=pods_kept,
        wake_at=holding.wake_at,
    )


def _is_marked(seen: RouteSeen, label: InProgressLabel) -> bool:
    return seen.route is not None and seen.route.labels.get(label.key) == label.value


def _keeps_from_raising(seen: RouteSeen) -> bool:
    return seen.problem is not None or seen.holding.held in (Held.REFUSED, Held.CONFLICT)


def _common(weights: list[Weights | None]) -> Weights | None:
    known = [one for one in weights if one is not None]
    if not known or len(known) < len(weights):
        return None
    if all(one == known[0] for one in known):
        return known[0]
    # Routes that disagree: the most that each side may get anywhere, which equals no split that can be asked for.
    names = dict.fromkeys(share.service for one in known for share in one.additional)
    return replace(
        known[0],
        canary=max(one.canary for one in known),
        stable=max(one.stable for one in known),
        additional=tuple(
            AdditionalWeight(
                service=name,
                weight=max(share.weight for one in known for share in one.additional if share.service == name),
            )
            for name in names
        ),
    )
