"""The router of the `fairlead/waypoint` block: a Service behind a waypoint, with everything checked around it.

Dedicated mode (no route named): an HTTPRoute of our own, named after the Rollout and owned by it. Shared mode: the
user's route, of which only our weights are touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import structlog

from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.kinds import Service
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.core.traffic import Held, RouterTools, TrafficSeen, TrafficTarget, Weights
from fairlead.mesh_routing._held import Holding
from fairlead.mesh_routing._httproute import (
    CLAIM,
    CLAIM_NAME,
    Problem,
    Split,
    claimed_by_another,
    covers,
    dedicated_spec,
    find_split,
    release_dedicated,
    release_shared,
    services_of,
    write_dedicated,
    write_shared,
)
from fairlead.mesh_routing._preflight import Finding, Severity, Surroundings, blocking, examine
from fairlead.mesh_routing._waypoint import wished
from fairlead.mesh_routing.actions import RouteAction
from fairlead.mesh_routing.observation import Route, read_route
from fairlead.mesh_routing.routers._memory import MemoryKey
from fairlead.mesh_routing.routers._routes import Routes, RouteSeen
from fairlead.mesh_routing.routers.gatewayapi import combine
from fairlead.mesh_routing.spec import InProgressLabel, RouteRef, RoutingSettings, WaypointSpec, parse_waypoint

log = structlog.get_logger(__name__)

ISTIO_CONTROLLER = "istio.io/gateway-controller"
SERVICE_INDEX = "services"  # of the route views, if it exists: `index_by_service`
_LABEL = InProgressLabel()
_SERVICE_NAME = "kubernetes.io/service-name"


def index_by_service(manifest: Manifest) -> Iterator[str]:
    """Yield `namespace/name` of every Service that a route names as parent or backend; for `SERVICE_INDEX`."""
    route = read_route(RouteRef("httproutes", manifest.metadata.key), manifest)
    named = {ObjectKey(parent.namespace, parent.name) for parent in route.parents if parent.is_service}
    named |= {backend.service for rule in route.rules for backend in rule.backends if backend.service is not None}
    yield from map(str, sorted(named))


class WaypointRouting:
    """The factory behind the entry point `fairlead/waypoint`."""

    def __init__(self, tools: RouterTools, settings: RoutingSettings | None = None) -> None:
        self._routes = Routes(tools, settings or RoutingSettings())

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        """Return the field path below the block and what is wrong with it, or None."""
        try:
            parse_waypoint(target, self._routes.settings)
        except SpecError as error:
            return error.path, error.detail
        return None

    def router(self, target: TrafficTarget) -> WaypointRouter:
        """Return the router of one Rollout.

        Raises:
            SpecError: the block is invalid.
        """
        return WaypointRouter(self._routes, target, parse_waypoint(target, self._routes.settings))


class WaypointRouter:
    """Moves the traffic of one Rollout at the waypoint of its apex Service. Implements `core.traffic.TrafficRouter`."""

    def __init__(self, routes: Routes, target: TrafficTarget, spec: WaypointSpec) -> None:
        self._routes = routes
        self._target = target
        self._spec = spec
        self._ref = spec.route or RouteRef("httproutes", target.rollout)

    def observe(self, now: datetime) -> TrafficSeen:
        """Return what the route shows now and what the preflight finds, from caches only."""
        settings = self._routes.settings
        seen = self._routes.observe(
            self._ref,
            self._target,
            now,
            settle=self._spec.settle,
            controller=settings.controller or ISTIO_CONTROLLER,
            reader=self._read_split,
        )
        if self._spec.route is None and seen.route is None and self._ref.plural in self._routes.tools.routes:
            # A route of our own that does not exist yet is no obstacle: the first write creates it.
            holding = Holding(held=Held.NOT_STORED, reason="RouteNotFound", message=f"{self._ref} is not written yet")
            seen = RouteSeen(weights=None, holding=holding)
        findings = self.findings(seen.route)
        if seen.route is not None:
            self._warn(findings)
        blocked = blocking(findings)
        return combine((seen,), blocked=blocked, pods_kept=self._spec.settle + self._spec.drain, label=_LABEL)

    def findings(self, route: Route | None) -> tuple[Finding, ...]:
        """Return what the preflight finds around the route, warnings too."""
        return examine(self._surroundings(route))

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        """Make the route hold these weights in one write; return whether anything was written.

        Raises:
            ProviderError: the route is missing (shared mode), is somebody else's, or cannot carry the split.
            ClusterError: the write failed.
        """
        target, spec = self._target, self._spec

        def shared(live: Route | None) -> RouteAction | Problem | None:
            if live is None:
                return Problem(reason="RouteNotFound", message=f"{self._ref} not found")
            claimed = claimed_by_another(live, target)
            return claimed or write_shared(live, target, weights, label=_LABEL, in_progress=in_progress)

        def dedicated(live: Route | None) -> RouteAction | Problem | None:
            if live is not None and (foreign := self._foreign(live)) is not None:
                return foreign
            port = self._port(live)
            if port is None:
                message = f"Service {spec.service} is missing or has not exactly one port: name it in `port`"
                return Problem(reason="PortUnknown", message=message)
            return write_dedicated(
                live, self._ref, spec, target, weights, port=port, label=_LABEL, in_progress=in_progress
            )

        plan = shared if spec.route is not None else dedicated
        return await self._routes.write(self._ref, target, weights, plan, self._read_split)

    async def release(self) -> bool:
        """Give all weight to stable and take our marks off; a route of our own stays until its Rollout is gone."""
        target, spec = self._target, self._spec
        weights = Weights.of_canary(0, total=target.total)

        def plan(live: Route | None) -> RouteAction | Problem | None:
            if live is None or claimed_by_another(live, target) is not None:
                return None
            if spec.route is not None:
                return release_shared(live, target, label=_LABEL)
            port = self._port(live)
            if port is None or self._foreign(live) is not None:
                return None
            return release_dedicated(live, self._ref, spec, target, port=port, label=_LABEL)

        if self._ref.plural not in self._routes.tools.routes:
            return False
        return await self._routes.write(self._ref, target, weights, plan, self._read_split)

    def _read_split(self, route: Route, target: TrafficTarget) -> Split | Problem:
        """Return the split; in dedicated mode only if all the rest of the route is as we write it."""
        if self._spec.route is not None:
            return find_split(route, target)
        if (foreign := self._foreign(route)) is not None:
            return foreign
        split, port = find_split(route, target), self._port(route)
        if isinstance(split, Split):
            spec = route.manifest.content.get("spec")
            if port is None or covers(spec, dedicated_spec(self._spec, target, split.weights, port=port)):
                return split
        message = f"{route.ref} is not as we wrote it; it is written again"
        return Problem(reason="RouteChanged", message=message, is_mended_by_writing=True)

    def _foreign(self, route: Route) -> Problem | None:
        owners = {owner.uid for owner in route.manifest.metadata.owner_references}
        claimed = route.annotations.get(CLAIM) == self._target.uid
        recreated = route.annotations.get(CLAIM_NAME) == str(self._target.rollout)
        if self._target.uid in owners or claimed or recreated:
            return None
        message = f"{route.ref} exists and is not ours: delete it, or name it in `httpRoute` to share it"
        return Problem(reason="RouteNotOurs", message=message)

    def _port(self, live: Route | None) -> int | None:
        """Return the apex port: as named, else the Service's only one, else what our route has already."""
        if self._spec.port is not None:
            return self._spec.port
        service = self._routes.tools.services.get(self._spec.service)
        if service is not None:
            return service.spec.ports[0].port if len(service.spec.ports) == 1 else None
        ports = {parent.port for parent in live.parents} if live is not None else set()
        return ports.pop() if len(ports) == 1 else None

    def _surroundings(self, route: Route | None) -> Surroundings:
        tools, apex = self._routes.tools, self._spec.service
        stable, canary = services_of(self._target)
        services: dict[ObjectKey, Service] = {}
        for key in (apex, stable, canary):
            if (service := tools.services.get(key)) is not None:
                services[key] = service
        namespace = tools.namespaces.get(ObjectKey("", apex.namespace)) if tools.namespaces is not None else None
        labels = namespace.metadata.labels if namespace is not None else None
        wish = wished(services.get(apex) or Service(), labels)
        gateway = tools.gateways.get(wish.waypoint) if tools.gateways is not None and wish.waypoint else None
        split = self._read_split(route, self._target) if route is not None else None
        return Surroundings(
            apex=apex,
            stable=stable,
            canary=canary,
            services=services,
            port=self._port(route),
            wish=wish,
            gateway=gateway,
            has_gateways=tools.gateways is not None,
            waypoint_ready=self._ready(wish.waypoint) if wish.waypoint else 0,
            namespace_labels=labels,
            routes=self._related((apex, stable, canary)),
            ours=route,
            our_rules=split.rules if isinstance(split, Split) else (),
        )

    def _ready(self, service: ObjectKey) -> int:
        slices = self._routes.tools.endpoint_slices.list(service.namespace)
        return sum(
            endpoint.conditions.ready is not False and not endpoint.conditions.terminating
            for one in slices
            if one.metadata.labels.get(_SERVICE_NAME) == service.name
            for endpoint in one.endpoints
        )

    def _related(self, services: tuple[ObjectKey, ...]) -> tuple[Route, ...]:
        found = {
            RouteRef(plural, manifest.metadata.key): manifest
            for plural, view in self._routes.tools.routes.items()
            for manifest in _naming(view, services)
        }
        return tuple(read_route(ref, manifest) for ref, manifest in found.items())

    def _warn(self, findings: tuple[Finding, ...]) -> None:
        entry = self._routes.memory.look(MemoryKey(self._target.uid, self._ref))
        warnings = tuple(str(finding) for finding in findings if finding.severity is Severity.WARNS)
        for warning in warnings:
            if warning not in entry.warned:
                log.warning(
                    "route_preflight_warned", object=str(self._target.rollout), route=str(self._ref), reason=warning
                )
        entry.warned = warnings


def _naming(view: View[Manifest], services: tuple[ObjectKey, ...]) -> list[Manifest]:
    """Return the routes that name a Service: by index where the view has one, else by looking at all of them."""
    wanted = set(map(str, services))
    try:
        return [manifest for service in sorted(wanted) for manifest in view.by_index(SERVICE_INDEX, service)]
    except KeyError:
        return [manifest for manifest in view.list() if not wanted.isdisjoint(index_by_service(manifest))]
