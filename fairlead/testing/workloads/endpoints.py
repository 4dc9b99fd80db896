"""Which EndpointSlices a Service should have.

Source: `k8s.io/kubernetes: pkg/controller/endpointslice/`, `k8s.io/endpointslice: reconciler.go, utils.go`.

Simpler than upstream on purpose: IPv4 only, no topology hints, slices are filled in order of pod names. Two lies
for the sake of pods that answer on loopback (`fairlead.testing.pods`): a pod with the address annotation is listed
under that address, and ports below 1024 of pods on 127.0.0.0/8 appear `wire_port` higher, since only root may bind
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.core.kinds import Service, ServicePort
from fairlead.core.objects import Manifest, controller_reference
from fairlead.core.patches import diff
from fairlead.testing.workloads._objects import ADDRESS, Pod

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_MAX = 100  # per slice, as upstream's default

_Ports = tuple[tuple[str, int, str, str], ...]  # name, number, protocol, appProtocol of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create a slice; its name is still to be given."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Merge the body into a slice."""

    slice: Manifest
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a slice that nobody needs."""

    slice: Manifest


Action = Create | Update | Delete


def wire_port(port: int) -> int:
    """Return the port of 127.0.0.0/8 on which a pod's port is served: itself, or 10000 more below 1024."""
    return port if port >= 1024 else port + 10000


def decide(service: Service, pods: Sequence[Pod], slices: Sequence[Manifest]) -> tuple[Action, ...]:
    """Return the writes that make the slices say which pods stand behind the Service.

    Args:
        service: without a selector, or deleting, its slices are none of our business.
        pods: those of its namespace that its selector matches.
        slices: those labelled with its name and managed by us.
    """
    if not service.spec.selector or service.spec.type == "ExternalName" or service.metadata.is_deleting:
        return ()
    groups: dict[_Ports, list[dict[str, Any]]] = {}
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        if pod.is_finished or not (pod.status.pod_ip or ADDRESS in pod.metadata.annotations):
            continue
        groups.setdefault(_ports(service, pod), []).append(_endpoint(service, pod))
    # A Service without pods keeps one empty slice: readers can tell "none" from "not yet looked at".
    wanted = [
        (ports, endpoints[start : start + ENDPOINTS_MAX])
        for ports, endpoints in (groups or {(): []}).items()
        for start in range(0, max(1, len(endpoints)), ENDPOINTS_MAX)
    ]
    return _matched(service, wanted, sorted(slices, key=lambda slice_: slice_.metadata.name))


def _matched(
    service: Service, wanted: Sequence[tuple[_Ports, list[dict[str, Any]]]], slices: Sequence[Manifest]
) -> tuple[Action, ...]:
    """Give each wanted content to the slice that has these ports already, else to any left over, else to a new one."""
    left = list(slices)
    actions: list[Action] = []
    for ports, endpoints in wanted:
        body = _content(service, ports, endpoints)
        found = next((slice_ for slice_ in left if slice_.content.get("ports", []) == body["ports"]), None)
        if found is None and left:
            found = left[0]
        if found is None:
            actions.append(Create(body=body))
            continue
        left.remove(found)
        if changes := _changes(found.content, body):
            actions.append(Update(slice=found, body=changes))
    return (*actions, *(Delete(slice=slice_) for slice_ in left))


def _changes(stored: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    labels = (stored.get("metadata") or {}).get("labels") or {}
    before = {"ports": stored.get("ports") or [], "endpoints": stored.get("endpoints") or []}
    changes = diff(before, {"ports": body["ports"], "endpoints": body["endpoints"]})
    if label_changes := diff(labels, body["metadata"]["labels"]):
        changes["metadata"] = {"labels": label_changes}
    return changes


def _content(service: Service, ports: _Ports, endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    inherited = {key: value for key, value in service.metadata.labels.items() if key != HEADLESS}
    labels = {**inherited, SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": service.metadata.name + "-",
            "namespace": service.metadata.namespace,
            "labels": labels,
            "ownerReferences": [controller_reference(api_version="v1", kind="Service", metadata=service.metadata)],
        },
        "addressType": "IPv4",
        "ports": [_port(*port) for port in ports],
        "endpoints": endpoints,
    }


def _port(name: str, number: int, protocol: str, app_protocol: str) -> dict[str, Any]:
    port: dict[str, Any] = {"name": name, "port": number, "protocol": protocol}
    return {**port, "appProtocol": app_protocol} if app_protocol else port


def _ports(service: Service, pod: Pod) -> _Ports:
    """Return the Service's ports as this pod serves them; a port whose name the pod lacks is left out."""
    found = []
    for port in service.spec.ports:
        number = _number(port, pod)
        if number is not None:
            if _address(pod).startswith("127."):
                number = wire_port(number)
            found.append((port.name, number, port.protocol, port.app_protocol))
    return tuple(found)


def _number(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port or port.port
    if isinstance(target, int):
        return target
    if target.isdecimal():
        return int(target)
    named = (
        candidate.container_port
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for candidate in container.ports
        if candidate.name == target and candidate.protocol == port.protocol
    )
    return next(named, None)


def _address(pod: Pod) -> str:
    return pod.metadata.annotations.get(ADDRESS, "").partition(":")[0] or pod.status.pod_ip


def _endpoint(service: Service, pod: Pod) -> dict[str, Any]:
    terminating = pod.metadata.is_deleting
    always = service.spec.publish_not_ready_addresses
    endpoint: dict[str, Any] = {
        "addresses": [_address(pod)],
        "conditions": {
            "ready": always or (pod.is_ready and not terminating),
            "serving": pod.is_ready,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
    }
    if pod.spec.node_name:
        endpoint["nodeName"] = pod.spec.node_name
    return endpoint
