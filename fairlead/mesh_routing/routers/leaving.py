"""Routes that a Rollout has split and does not use any more: found by our mark on them, and let go.

It happens when `trafficRouting` is taken out of a spec, names other routes, or makes room for another strategy. A
route of the user's gets all weight back to stable, and loses our rules and marks. A route of our own is deleted: with
it would stay a split that nobody steers any more, in front of pods that nobody counts by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog

from fairlead.core.cluster import Preconditions
from fairlead.core.errors import NotFound
from fairlead.core.objects import Manifest
from fairlead.core.traffic import RouterTools, TrafficTarget, Weights
from fairlead.mesh_routing._httproute import CLAIM, MANAGED_BY, Problem, find_split, release_shared
from fairlead.mesh_routing._managed import recorded
from fairlead.mesh_routing.actions import RouteAction
from fairlead.mesh_routing.observation import Route, read_route
from fairlead.mesh_routing.routers._routes import Routes
from fairlead.mesh_routing.routers.gatewayapi import named_routes
from fairlead.mesh_routing.spec import (
    FIELD_MANAGER,
    GATEWAY_API_BLOCK,
    WAYPOINT_BLOCK,
    InProgressLabel,
    RouteRef,
    RoutingSettings,
    parse_gateway_api,
    parse_waypoint,
)

log = structlog.get_logger(__name__)

CLAIM_INDEX = "claim"  # of the route views: `index_by_claim`


def index_by_claim(manifest: Manifest) -> Iterator[str]:
    """Yield the UID of the Rollout that a route is marked with; for `CLAIM_INDEX`."""
    if uid := manifest.metadata.annotations.get(CLAIM):
        yield uid


@dataclass(frozen=True, slots=True)
class LeftRoute:
    """A route to let go. Implements `core.traffic.LeftRoute`."""

    ref: RouteRef
    target: TrafficTarget
    routes: Routes

    @property
    def name(self) -> str:
        """How people call it."""
        return str(self.ref)

    async def release(self) -> bool:
        """Give all weight to stable and take our rules and marks off, or delete what is ours altogether.

        Raises:
            ClusterError: it could not be written.
        """
        live = self.routes.read(self.ref)
        if live is None:
            return False
        if is_own(live, self.target.uid):
            return await self._delete(live)
        weights = Weights.of_canary(0, total=self.target.total)
        return await self.routes.write(self.ref, self.target, weights, self._plan, find_split)

    def _plan(self, live: Route | None) -> RouteAction | Problem | None:
        if live is None or live.annotations.get(CLAIM) != self.target.uid:
            return None
        # Its managed rules are told by the names of the record that stands beside them.
        names = tuple(found.name for found in recorded(live.annotations) if found.name)
        target = TrafficTarget(
            rollout=self.target.rollout,
            uid=self.target.uid,
            stable_service=self.target.stable_service,
            canary_service=self.target.canary_service,
            config={},
            managed_routes=names or self.target.managed_routes,
        )
        return release_shared(live, target, label=InProgressLabel())

    async def _delete(self, live: Route) -> bool:
        uid = live.manifest.metadata.uid
        try:
            await self.routes.tools.cluster.delete(self.ref.kind, self.ref.key, preconditions=Preconditions(uid=uid))
        except NotFound:
            return False
        log.info("route_deleted", object=str(self.target.rollout), route=str(self.ref))
        return True


def is_own(route: Route, uid: str) -> bool:
    """Return whether a route was made by us for the Rollout of that UID."""
    owners = {owner.uid for owner in route.manifest.metadata.owner_references}
    return uid in owners and route.labels.get(MANAGED_BY) == FIELD_MANAGER


class RouteKeeper:
    """Finds what Rollouts leave behind. Implements `core.traffic.RouteKeeper`.

    Args:
        tools: whose route views have the index `CLAIM_INDEX`.
    """

    def __init__(self, tools: RouterTools, settings: RoutingSettings | None = None) -> None:
        self._routes = Routes(tools, settings or RoutingSettings())

    def left(self, target: TrafficTarget, used: Mapping[str, TrafficTarget]) -> tuple[LeftRoute, ...]:
        """Return the routes marked with a Rollout that none of its routers uses.

        Args:
            target: the Rollout, and the Services between which it has split.
            used: by the name of the router, what it is configured to do now; valid.
        """
        tools = self._routes.tools
        kept = {ref for name, one in used.items() for ref in self._refs(name, one)}
        found = (
            read_route(RouteRef(plural, manifest.metadata.key), manifest)
            for plural, view in tools.routes.items()
            for manifest in view.by_index(CLAIM_INDEX, target.uid)
        )
        return tuple(LeftRoute(route.ref, target, self._routes) for route in found if route.ref not in kept)

    def _refs(self, name: str, target: TrafficTarget) -> tuple[RouteRef, ...]:
        if name == WAYPOINT_BLOCK:
            spec = parse_waypoint(target, self._routes.settings)
            return (spec.route or RouteRef("httproutes", target.rollout),)
        if name == GATEWAY_API_BLOCK:
            return named_routes(parse_gateway_api(target), self._routes.tools.routes)
        return ()  # others do not use our mark
