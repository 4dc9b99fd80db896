from __future__ import annotations

import pytest

from fairlead.core.kinds import ServicePort
from fairlead.core.objects import ObjectKey
from fairlead.mesh_routing._waypoint import Wish, attached_to, opaque_protocol, wished
from tests.mesh_routing.builders import service

USE, USE_NAMESPACE = "istio.io/use-waypoint", "istio.io/use-waypoint-namespace"


def key(name: str, namespace: str = "shop") -> ObjectKey:
    return ObjectKey(namespace, name)


@pytest.mark.parametrize(
    ("labels", "namespace", "wish"),
    [
        pytest.param({USE: "w"}, {}, Wish(waypoint=key("w")), id="own"),
        pytest.param({}, {USE: "w"}, Wish(waypoint=key("w")), id="namespace"),
        pytest.param({USE: "w"}, {USE: "v"}, Wish(waypoint=key("w")), id="own-beats-namespace"),
        pytest.param({USE: "w"}, None, Wish(waypoint=key("w")), id="own-needs-no-namespace"),
        pytest.param({}, None, Wish(is_known=False), id="namespace-unknown"),
        pytest.param({}, {}, Wish(), id="nobody-asks"),
        pytest.param({USE: "none"}, {USE: "w"}, Wish(opted_out="Service shop/web"), id="opted-out"),
        pytest.param({}, {USE: "none"}, Wish(opted_out="Namespace shop"), id="namespace-opted-out"),
        pytest.param({USE: "None"}, {}, Wish(waypoint=key("None")), id="none-is-compared-exactly"),
        pytest.param({USE: "w", USE_NAMESPACE: "mesh"}, {}, Wish(waypoint=key("w", "mesh")), id="another-namespaces"),
        pytest.param({USE: "w"}, {USE_NAMESPACE: "mesh"}, Wish(waypoint=key("w")), id="labels-do-not-combine"),
    ],
)
def test_label_chain(labels: dict[str, str], namespace: dict[str, str] | None, wish: Wish) -> None:
    assert wished(service("web", labels=labels), namespace) == wish


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Successfully attached to waypoint shop/waypoint", key("waypoint")),
        ("Successfully attached to waypoint shop/w.x. Ingress traffic is not using the waypoint, ...", key("w.x")),
        ("Successfully attached to waypoint mesh/w. Canary waypoint not attached: a/b", key("w", "mesh")),
        ("something else", None),
    ],
)
def test_attached_to(message: str, found: ObjectKey | None) -> None:
    assert attached_to(message) == found


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        pytest.param(ServicePort(name="http"), "", id="http"),
        pytest.param(ServicePort(name="grpc-web-x"), "", id="grpc-web"),
        pytest.param(ServicePort(name="web"), "", id="unknown-name-is-sniffed"),
        pytest.param(ServicePort(), "", id="nothing-is-sniffed"),
        pytest.param(ServicePort(name="tcp-http"), "tcp", id="tcp-name"),
        pytest.param(ServicePort(name="https"), "https", id="https-is-opaque"),
        pytest.param(ServicePort(name="tcp", app_protocol="http"), "", id="app-protocol-beats-the-name"),
        pytest.param(ServicePort(name="http", app_protocol="https"), "https", id="app-protocol-beats-http"),
        pytest.param(ServicePort(app_protocol="kubernetes.io/h2c"), "", id="h2c"),
        pytest.param(ServicePort(app_protocol="redis"), "redis", id="other-app-protocol"),
        pytest.param(ServicePort(name="http", protocol="UDP"), "UDP", id="udp"),
    ],
)
def test_opaque_protocol(port: ServicePort, protocol: str) -> None:
    assert opaque_protocol(port) == protocol
