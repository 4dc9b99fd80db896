"""Which waypoint a Service asks for, and which one istiod has attached it to.

Source: istio: pilot/pkg/serviceregistry/ambient/waypoints.go (label chain), pilot/pkg/model/service.go (condition).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.core.kinds import Service, ServicePort
from fairlead.core.objects import ObjectKey

USE_WAYPOINT = "istio.io/use-waypoint"
USE_WAYPOINT_NAMESPACE = "istio.io/use-waypoint-namespace"
WAYPOINT_FOR = "istio.io/waypoint-for"
WAYPOINT_BOUND = "istio.io/WaypointBound"
INGRESS_USE_WAYPOINT = "istio.io/ingress-use-waypoint"
GLOBAL = "istio.io/global"
MESH_CONTROLLER = "istio.io/mesh-controller"

# gatewayClassName to controllerName, for the classes that Istio installs. Other classes may be anybody's.
CLASS_CONTROLLERS: Mapping[str, str] = {
    "istio-waypoint": MESH_CONTROLLER,
    "istio": "istio.io/gateway-controller",
    "istio-remote": "istio.io/unmanaged-gateway",
    "istio-east-west": "istio.io/eastwest-controller",
    "istio-agentgateway": "istio.io/agentgateway-controller",
    "istio-agentgateway-waypoint": "istio.io/agentgateway-waypoint-controller",
}

_ATTACHED = re.compile(r"Successfully attached to waypoint ([^/\s]+)/([^\s.,]+(?:\.[^\s.,]+)*)")
_HTTP = frozenset({"http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws"})
_OTHER = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis", "udp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the labels ask for: a waypoint, none, or nothing that we could see.

    Attributes:
        waypoint: the Gateway's key; None: no waypoint is asked for.
        opted_out: the object that says `none`, in words; empty otherwise.
        is_known: False when the namespace's labels decide and could not be read.
    """

    waypoint: ObjectKey | None = None
    opted_out: str = ""
    is_known: bool = True


def wished(service: Service, namespace_labels: Mapping[str, str] | None) -> Wish:
    """Return the waypoint that the label chain of a Service names: its own label, else its namespace's.

    `istio.io/use-waypoint-namespace` counts only on the object that supplied the name.
    """
    namespace = service.metadata.namespace
    chain = ((service.metadata.labels, f"Service {service.metadata.key}"), (namespace_labels, f"Namespace {namespace}"))
    for labels, where in chain:
        if labels is None:
            return Wish(is_known=False)
        if USE_WAYPOINT not in labels:
            continue
        name = labels[USE_WAYPOINT]
        if name == "none":  # compared exactly, as istiod's resolver does
            return Wish(opted_out=where)
        return Wish(waypoint=ObjectKey(labels.get(USE_WAYPOINT_NAMESPACE) or namespace, name))
    return Wish()


def attached_to(message: str) -> ObjectKey | None:
    """Return the waypoint that the message of a true WaypointBound names.

    >>> attached_to("Successfully attached to waypoint shop/waypoint. Ingress traffic will traverse the waypoint")
    ObjectKey(namespace='shop', name='waypoint')
    """
    match = _ATTACHED.search(message)
    return ObjectKey(match[1], match[2]) if match else None


def opaque_protocol(port: ServicePort) -> str:
    """Return the protocol that keeps the mesh from reading HTTP on a port; empty when it does or sniffs it.

    Source: istio: pkg/config/kube/conversion.go; appProtocol beats the name, whose part before the first `-` counts.
    """
    if port.protocol not in ("", "TCP"):
        return port.protocol
    declared = port.app_protocol.lower()
    if declared:
        return "" if declared in _HTTP else declared
    prefix = port.name.lower().split("-", 1)[0]
    return prefix if prefix in _OTHER else ""
