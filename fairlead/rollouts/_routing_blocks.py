"""`trafficRouting` and the blocks of its routers, as written: accepted unchanged, whether or not a router exists.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go (RolloutTrafficRouting).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from fairlead.core.decoding import PRESERVED, Int32, Int64, Wire, doc


class StickinessConfig(Wire, frozen=True, kw_only=True):
    enabled: Annotated[bool, doc("Whether clients stick to a target group.")]
    duration_seconds: Annotated[Int64, doc("For how long.")]


class AlbRouting(Wire, frozen=True, kw_only=True):
    """AWS load balancer by Ingress annotations."""

    ingress: Annotated[str, doc("Name of the Ingress.")] = ""
    service_port: Annotated[Int32, doc("Port that the action routes to.")]
    root_service: Annotated[str, doc("Service that the Ingress names.")] = ""
    annotation_prefix: Annotated[str, doc("Prefix of the Ingress annotations.")] = ""
    stickiness_config: Annotated[StickinessConfig | None, doc("Stickiness of the target groups.")] = None
    ingresses: Annotated[tuple[str, ...], doc("Names of several Ingresses.")] = ()


class TlsRoute(Wire, frozen=True, kw_only=True):
    port: Annotated[Int64, doc("Port of the route.")] = 0
    sni_hosts: Annotated[tuple[str, ...], doc("SNI hosts of the route.")] = ()


class TcpRoute(Wire, frozen=True, kw_only=True):
    port: Annotated[Int64, doc("Port of the route.")] = 0


class IstioVirtualService(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the VirtualService, or name.namespace.")]
    routes: Annotated[tuple[str, ...], doc("HTTP routes to change.")] = ()
    tls_routes: Annotated[tuple[TlsRoute, ...], doc("TLS routes to change.")] = ()
    tcp_routes: Annotated[tuple[TcpRoute, ...], doc("TCP routes to change.")] = ()


class IstioDestinationRule(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the DestinationRule.")]
    canary_subset_name: Annotated[str, doc("Subset of the canary.")]
    stable_subset_name: Annotated[str, doc("Subset of stable.")]
    additional_subset_names: Annotated[tuple[str, ...], doc("Further subsets.")] = ()


class IstioRouting(Wire, frozen=True, kw_only=True):
    virtual_service: Annotated[IstioVirtualService | None, doc("The VirtualService to change.")] = None
    destination_rule: Annotated[IstioDestinationRule | None, doc("The DestinationRule to change.")] = None
    virtual_services: Annotated[tuple[IstioVirtualService, ...], doc("Several VirtualServices.")] = ()


class NginxRouting(Wire, frozen=True, kw_only=True):
    annotation_prefix: Annotated[str, doc("Prefix of the Ingress annotations.")] = ""
    stable_ingress: Annotated[str, doc("Name of the Ingress.")] = ""
    additional_ingress_annotations: Annotated[dict[str, str], doc("Annotations of the canary Ingress.")] = (
        msgspec.field(default_factory=dict)
    )
    stable_ingresses: Annotated[tuple[str, ...], doc("Names of several Ingresses.")] = ()
    canary_ingress_annotations: Annotated[dict[str, str], doc("Annotations of the canary Ingress, unprefixed.")] = (
        msgspec.field(default_factory=dict)
    )


class SmiRouting(Wire, frozen=True, kw_only=True):
    root_service: Annotated[str, doc("Service that clients call.")] = ""
    traffic_split_name: Annotated[str, doc("Name of the TrafficSplit.")] = ""


class AmbassadorRouting(Wire, frozen=True, kw_only=True):
    mappings: Annotated[tuple[str, ...], doc("Names of the Mappings.")]


class AppMeshVirtualService(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the virtual service.")]
    routes: Annotated[tuple[str, ...], doc("Routes to change.")] = ()


class AppMeshNodeRef(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the VirtualNode.")]


class AppMeshNodeGroup(Wire, frozen=True, kw_only=True):
    canary_virtual_node_ref: Annotated[AppMeshNodeRef, doc("Node of the canary.")]
    stable_virtual_node_ref: Annotated[AppMeshNodeRef, doc("Node of stable.")]


class AppMeshRouting(Wire, frozen=True, kw_only=True):
    virtual_service: Annotated[AppMeshVirtualService | None, doc("The virtual service to change.")] = None
    virtual_node_group: Annotated[AppMeshNodeGroup | None, doc("The nodes to change.")] = None


class TraefikRouting(Wire, frozen=True, kw_only=True):
    weighted_traefik_service_name: Annotated[str, doc("Name of the weighted TraefikService.")]


class ApisixRoute(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the ApisixRoute.")]
    rules: Annotated[tuple[str, ...], doc("HTTP rules to change.")] = ()


class ApisixRouting(Wire, frozen=True, kw_only=True):
    route: Annotated[ApisixRoute | None, doc("The route to change.")] = None


class ManagedRoute(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of a route that setHeaderRoute and setMirrorRoute may make.")]


class TrafficRouting(Wire, frozen=True, kw_only=True):
    """Which routers split the traffic, and how each is configured."""

    istio: Annotated[IstioRouting | None, doc("Istio VirtualService and DestinationRule.")] = None
    nginx: Annotated[NginxRouting | None, doc("NGINX Ingress.")] = None
    alb: Annotated[AlbRouting | None, doc("AWS load balancer.")] = None
    smi: Annotated[SmiRouting | None, doc("SMI TrafficSplit.")] = None
    ambassador: Annotated[AmbassadorRouting | None, doc("Ambassador Mappings.")] = None
    app_mesh: Annotated[AppMeshRouting | None, doc("AWS App Mesh.")] = None
    traefik: Annotated[TraefikRouting | None, doc("Traefik's own TraefikService.")] = None
    managed_routes: Annotated[tuple[ManagedRoute, ...], doc("Routes that steps may make, first one wins.")] = ()
    apisix: Annotated[ApisixRouting | None, doc("APISIX.")] = None
    plugins: Annotated[
        dict[str, dict[str, Any]],
        msgspec.Meta(extra_json_schema=PRESERVED),
        doc("Routers by name, each with its own configuration."),
    ] = msgspec.field(default_factory=dict)
    max_traffic_weight: Annotated[Int32 | None, doc("What all weights add up to; 100 when absent.")] = None

    @property
    def built_in(self) -> tuple[str, ...]:
        """Names of the configured routers that are not plug-ins, as the spec spells them."""
        named = {
            "alb": self.alb,
            "ambassador": self.ambassador,
            "apisix": self.apisix,
            "appMesh": self.app_mesh,
            "istio": self.istio,
            "nginx": self.nginx,
            "smi": self.smi,
            "traefik": self.traefik,
        }
        return tuple(name for name, block in named.items() if block is not None)
