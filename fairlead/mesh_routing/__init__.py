"""Weights to routes: computes them, writes them, and says how far the data plane has taken them.

The router factories live in `fairlead.mesh_routing.routers`, the evidence of an Envoy in
`fairlead.mesh_routing.evidence`; both are asynchronous and imported by whoever plugs them in.
"""

from fairlead.mesh_routing._acceptance import Acceptance, Verdict, confirmed
from fairlead.mesh_routing._envoy import evidence_of
from fairlead.mesh_routing._preflight import refused_by_the_proxy
from fairlead.mesh_routing._waypoint import Wish, wished
from fairlead.mesh_routing.actions import ApplyRoute, PatchRoute, RouteAction
from fairlead.mesh_routing.observation import Route, read_route
from fairlead.mesh_routing.spec import (
    GATEWAY_API_BLOCK,
    WAYPOINT_BLOCK,
    GatewayApiSpec,
    RouteRef,
    RoutingSettings,
    WaypointSpec,
    parse_gateway_api,
    parse_waypoint,
)

__all__ = [
    "GATEWAY_API_BLOCK",
    "WAYPOINT_BLOCK",
    "Acceptance",
    "ApplyRoute",
    "GatewayApiSpec",
    "PatchRoute",
    "Route",
    "RouteAction",
    "RouteRef",
    "RoutingSettings",
    "Verdict",
    "WaypointSpec",
    "Wish",
    "confirmed",
    "evidence_of",
    "parse_gateway_api",
    "parse_waypoint",
    "read_route",
    "refused_by_the_proxy",
    "wished",
]
