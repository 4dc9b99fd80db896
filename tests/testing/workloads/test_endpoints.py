from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.core.kinds import Service, ServicePort, ServiceSpec
from fairlead.core.objects import Manifest, ObjectMeta
from fairlead.testing.workloads import endpoints
from fairlead.testing.workloads._objects import ADDRESS, Pod
from tests.testing.workloads.make import meta, pod

HTTP = ServicePort(name="http", port=80, target_port=8080)


def service(*ports: ServicePort, **spec: Any) -> Service:
    return Service(
        metadata=meta("web", labels={"team": "shop"}),
        spec=ServiceSpec(**{"selector": {"app": "web"}, "ports": ports or (HTTP,)} | spec),
    )


def stored(body: dict[str, Any], name: str = "web-abcde") -> Manifest:
    metadata = body["metadata"]
    return Manifest(
        metadata=ObjectMeta(name=name, namespace="shop", labels=metadata["labels"]), raw=msgspec.json.encode(body)
    )


def created(*actions: endpoints.Action) -> list[dict[str, Any]]:
    assert all(isinstance(action, endpoints.Create) for action in actions)
    return [action.body for action in actions if isinstance(action, endpoints.Create)]


def conditions(found: Pod, **spec: Any) -> tuple[bool, bool, bool]:
    (body,) = created(*endpoints.decide(service(**spec), [found], []))
    (endpoint,) = body["endpoints"]
    shown = endpoint["conditions"]
    return shown["ready"], shown["serving"], shown["terminating"]


@pytest.mark.parametrize(
    ("found", "publish", "expected"),
    [
        pytest.param(pod(), False, (True, True, False), id="ready"),
        pytest.param(pod(ready_since=None), False, (False, False, False), id="not-ready"),
        pytest.param(pod(ready_since=None), True, (True, False, False), id="published-all-the-same"),
        pytest.param(pod(deleting=True), False, (False, True, True), id="leaving-and-still-serving"),
        pytest.param(pod(ready_since=None, deleting=True), False, (False, False, True), id="leaving"),
    ],
)
def test_conditions(found: Pod, publish: bool, expected: tuple[bool, bool, bool]) -> None:
    assert conditions(found, publish_not_ready_addresses=publish) == expected


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(pod(ip=""), id="no-address-yet"),
        pytest.param(pod(phase="Succeeded"), id="finished"),
        pytest.param(pod(phase="Failed"), id="failed"),
    ],
)
def test_pods_that_are_no_endpoints(found: Pod) -> None:
    (body,) = created(*endpoints.decide(service(), [found], []))
    assert (body["endpoints"], body["ports"]) == ([], [])


def test_slice_names_its_service_and_its_pods() -> None:
    (body,) = created(*endpoints.decide(service(), [pod("b"), pod("a")], []))
    assert body["metadata"]["labels"] == {
        "team": "shop",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-web"
    assert [endpoint["targetRef"]["uid"] for endpoint in body["endpoints"]] == ["uid-a", "uid-b"]
    assert body["endpoints"][0]["nodeName"] == "node-1"
    assert body["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


NAMED = {"containers": [{"name": "web", "ports": [{"name": "web", "containerPort": 9090}]}]}
LOW = {"containers": [{"name": "web", "ports": [{"name": "web", "containerPort": 80}]}]}


@pytest.mark.parametrize(
    ("port", "found", "expected"),
    [
        pytest.param(ServicePort(port=80, target_port=8080), pod(), [8080], id="number"),
        pytest.param(ServicePort(port=8081), pod(), [8081], id="same-as-port"),
        pytest.param(ServicePort(port=80, target_port="web"), pod(spec=NAMED), [9090], id="named"),
        pytest.param(ServicePort(port=80, target_port="8082"), pod(), [8082], id="number-as-text"),
        pytest.param(ServicePort(port=80, target_port="web"), pod(), [], id="name-that-the-pod-lacks"),
        pytest.param(ServicePort(port=80, target_port="web"), pod(spec=LOW, ip="127.1.0.9"), [10080], id="low-port"),
        pytest.param(ServicePort(port=80, target_port="web"), pod(spec=LOW), [80], id="low-port-elsewhere"),
    ],
)
def test_ports(port: ServicePort, found: Pod, expected: list[int]) -> None:
    (body,) = created(*endpoints.decide(service(port), [found], []))
    assert [shown["port"] for shown in body["ports"]] == expected


def test_address_from_the_annotation() -> None:
    found = pod(annotations={ADDRESS: "127.1.0.7:8080"})
    (body,) = created(*endpoints.decide(service(), [found], []))
    assert body["endpoints"][0]["addresses"] == ["127.1.0.7"]


def test_pods_with_different_numbers_for_a_name_get_slices_of_their_own() -> None:
    named = service(ServicePort(port=80, target_port="web"))
    other = {"containers": [{"name": "web", "ports": [{"name": "web", "containerPort": 7070}]}]}
    bodies = created(*endpoints.decide(named, [pod("a", spec=NAMED), pod("b", spec=other)], []))
    assert [body["ports"][0]["port"] for body in bodies] == [9090, 7070]


def test_hundred_endpoints_a_slice() -> None:
    pods = [pod(f"p{number:03}") for number in range(205)]
    bodies = created(*endpoints.decide(service(), pods, []))
    assert [len(body["endpoints"]) for body in bodies] == [100, 100, 5]


def test_nothing_is_written_when_nothing_changed() -> None:
    (body,) = created(*endpoints.decide(service(), [pod()], []))
    assert endpoints.decide(service(), [pod()], [stored(body)]) == ()


def test_a_slice_is_changed_in_place_and_a_spare_one_goes() -> None:
    (body,) = created(*endpoints.decide(service(), [pod("a")], []))
    update, delete = endpoints.decide(service(), [pod("b")], [stored(body, "web-1"), stored(body, "web-2")])
    assert isinstance(update, endpoints.Update)
    assert (update.slice.metadata.name, list(update.body)) == ("web-1", ["endpoints"])
    assert isinstance(delete, endpoints.Delete)
    assert delete.slice.metadata.name == "web-2"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(service(selector={}), id="no-selector"),
        pytest.param(service(type="ExternalName"), id="external-name"),
    ],
)
def test_services_that_are_none_of_our_business(found: Service) -> None:
    assert endpoints.decide(found, [pod()], []) == ()


def test_headless_service_is_labelled() -> None:
    (body,) = created(*endpoints.decide(service(cluster_ip="None"), [pod()], []))
    assert body["metadata"]["labels"][endpoints.HEADLESS] == ""
