"""What the API server refuses on built-in kinds: the rules that people and controllers run into.

Each function takes the defaulted object and what it replaces (None for a creation) and returns causes. Lighter than
the real server: fields that no rule names are accepted as they are.

Source: `k8s.io/kubernetes: pkg/apis/{core,apps,batch,policy}/validation`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairlead.core import selectors
from fairlead.core.errors import Cause
from fairlead.testing import failures, names

Json = Mapping[str, Any]
NOT_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def _list(owner: Any, name: str) -> list[Any]:
    found = owner.get(name) if isinstance(owner, Mapping) else None
    return found if isinstance(found, list) else []


def _map(owner: Any, name: str) -> Json:
    found = owner.get(name) if isinstance(owner, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _port_number(value: Any, field: str) -> Iterator[Cause]:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        yield failures.bad_value(field, value, "must be between 1 and 65535, inclusive")


def _immutable(new: Json, old: Json | None, field: str) -> Iterator[Cause]:
    """Refuse a change of `field`, a dotted path."""
    if old is None:
        return
    before, after = _dig(old, field), _dig(new, field)
    if before is not None and before != after:
        yield failures.bad_value(field, after, IMMUTABLE)


def _dig(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _replicas(spec: Json) -> Iterator[Cause]:
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        yield failures.bad_value("spec.replicas", replicas, NOT_NEGATIVE)
    ready = spec.get("minReadySeconds")
    if isinstance(ready, int) and ready < 0:
        yield failures.bad_value("spec.minReadySeconds", ready, NOT_NEGATIVE)


def pod_spec(spec: Json, path: str, restart: tuple[str, ...]) -> Iterator[Cause]:
    """Yield what is wrong with a pod's spec.

    Args:
        restart: the restart policies that are allowed here.
    """
    volumes = {volume.get("name") for volume in _list(spec, "volumes") if isinstance(volume, Mapping)}
    if not _list(spec, "containers"):
        yield failures.required(f"{path}.containers")
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(_list(spec, group)):
            yield from _container(container, f"{path}.{group}[{index}]", seen, volumes)
    policy = spec.get("restartPolicy")
    if policy not in restart:
        yield failures.not_supported(f"{path}.restartPolicy", policy, restart)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        yield failures.bad_value(f"{path}.terminationGracePeriodSeconds", grace, NOT_NEGATIVE)


def _container(container: Any, path: str, seen: set[str], volumes: set[Any]) -> Iterator[Cause]:
    name = container.get("name") if isinstance(container, Mapping) else None
    if not isinstance(container, Mapping) or not name:
        yield failures.required(f"{path}.name")
    else:
        for problem in names.dns_label(str(name)):
            yield failures.bad_value(f"{path}.name", name, problem)
        if name in seen:
            yield failures.duplicate(f"{path}.name", name)
        seen.add(str(name))
    if not isinstance(container, Mapping):
        return
    if not container.get("image"):
        yield failures.required(f"{path}.image")
    for index, port in enumerate(_list(container, "ports")):
        yield from _port_number(
            _map({"port": port}, "port").get("containerPort"), f"{path}.ports[{index}].containerPort"
        )
    for index, mount in enumerate(_list(container, "volumeMounts")):
        if isinstance(mount, Mapping) and mount.get("name") not in volumes:
            yield failures.missing_reference(f"{path}.volumeMounts[{index}].name", mount.get("name"))
    for index, variable in enumerate(_list(container, "env")):
        if isinstance(variable, Mapping) and not variable.get("name"):
            yield failures.required(f"{path}.env[{index}].name")


def _selector(spec: Json, *, path: str = "spec.selector") -> Iterator[Cause]:
    """A workload's selector must be there and must select the pods of its own template."""
    selector = _map(spec, "selector")
    terms = _map(selector, "matchLabels")
    expressions = _list(selector, "matchExpressions")
    if spec.get("selector") is None:
        yield failures.required(path)
        return
    if not terms and not expressions:
        detail = "empty selector is invalid for deployment"
        yield failures.bad_value(path, dict(selector), detail)
        return
    yield from names.check_labels(terms, f"{path}.matchLabels")
    try:
        parsed = selectors.from_label_selector(terms, expressions)
    except ValueError as error:
        yield failures.bad_value(path, dict(selector), str(error))
        return
    labels = _map(_map(_map(spec, "template"), "metadata"), "labels")
    if not selectors.matches(parsed, labels):
        detail = "`selector` does not match template `labels`"
        yield failures.bad_value("spec.template.metadata.labels", dict(labels), detail)


def _workload(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    yield from _replicas(spec)
    yield from _selector(spec)
    yield from _immutable(new, old, "spec.selector")
    template = _map(spec, "template")
    yield from names.check_labels(_map(_map(template, "metadata"), "labels"), "spec.template.labels")
    yield from pod_spec(_map(template, "spec"), "spec.template.spec", ("Always",))


def _job(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield failures.bad_value(f"spec.{name}", value, NOT_NEGATIVE)
    template = _map(_map(spec, "template"), "spec")
    if template.get("restartPolicy") not in ("OnFailure", "Never"):
        path = "spec.template.spec.restartPolicy"
        if template.get("restartPolicy") == "Always":
            yield failures.required(path, 'valid values: "OnFailure", "Never"')
        else:
            yield failures.not_supported(path, template.get("restartPolicy"), ("OnFailure", "Never"))
    else:
        yield from pod_spec(template, "spec.template.spec", ("OnFailure", "Never"))
    for field in ("spec.completions", "spec.selector", "spec.template"):
        yield from _immutable(new, old, field)


# A pod's spec is settled when the pod is made, but for these.
_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations", "schedulingGates", "terminationGracePeriodSeconds")


def _pod(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    yield from pod_spec(spec, "spec", ("Always", "OnFailure", "Never"))
    if old is None:
        return
    if _settled(spec, bool(_map(old, "spec").get("nodeName"))) != _settled(
        _map(old, "spec"), bool(_map(old, "spec").get("nodeName"))
    ):
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
        yield failures.field_forbidden("spec", why)


def _settled(spec: Json, is_bound: bool) -> dict[str, Any]:
    settled = {key: value for key, value in spec.items() if key not in _POD_MAY_CHANGE}
    if not is_bound:
        settled.pop("nodeName", None)
    for group in ("containers", "initContainers"):
        if group in settled:
            settled[group] = [
                {key: value for key, value in item.items() if key != "image"} for item in _list(spec, group)
            ]
    return settled


def _service(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    kind = spec.get("type")
    if kind not in ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"):
        allowed = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
        yield failures.not_supported("spec.type", kind, allowed)
    ports = _list(spec, "ports")
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield failures.required("spec.ports")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield failures.required("spec.externalName")
    taken_names: set[Any] = set()
    taken_ports: set[Any] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            yield failures.required(f"{path}.name")
        elif name:
            for problem in names.dns_label(name):
                yield failures.bad_value(f"{path}.name", name, problem)
            if name in taken_names:
                yield failures.duplicate(f"{path}.name", name)
            taken_names.add(name)
        yield from _port_number(port.get("port"), f"{path}.port")
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            yield failures.not_supported(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        if isinstance(port.get("targetPort"), int):
            yield from _port_number(port["targetPort"], f"{path}.targetPort")
        identity = (port.get("port"), port.get("protocol"))
        if identity in taken_ports:
            yield failures.duplicate(path, {"port": identity[0], "protocol": identity[1]})
        taken_ports.add(identity)
    yield from names.check_labels(_map(spec, "selector"), "spec.selector")
    if old is not None and kind != "ExternalName" and _map(old, "spec").get("type") != "ExternalName":
        before, after = _map(old, "spec").get("clusterIP"), spec.get("clusterIP")
        if before and before != after:
            yield failures.bad_value("spec.clusterIPs[0]", [after], "may not change once set")


def _secret(new: Json, old: Json | None) -> Iterator[Cause]:
    yield from _immutable(new, old, "type")
    yield from _frozen(new, old, ("data",))


def _frozen(new: Json, old: Json | None, fields: tuple[str, ...]) -> Iterator[Cause]:
    """An object marked immutable keeps its data, and stays marked."""
    if old is None or not old.get("immutable"):
        return
    why = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        yield failures.field_forbidden("immutable", why)
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield failures.field_forbidden(field, why)


def _config_map(new: Json, old: Json | None) -> Iterator[Cause]:
    yield from _frozen(new, old, ("data", "binaryData"))


def _disruption_budget(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        yield failures.bad_value("spec", dict(spec), detail)


def _endpoint_slice(new: Json, old: Json | None) -> Iterator[Cause]:
    if new.get("addressType") not in ("IPv4", "IPv6", "FQDN"):
        if new.get("addressType"):
            yield failures.not_supported("addressType", new["addressType"], ("FQDN", "IPv4", "IPv6"))
        else:
            yield failures.required("addressType")
    yield from _immutable(new, old, "addressType")
    for index, endpoint in enumerate(_list(new, "endpoints")):
        if not _list(endpoint, "addresses"):
            yield failures.required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def _lease(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = _map(new, "spec")
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if isinstance(duration, int) and duration <= 0:
        yield failures.bad_value("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if isinstance(transitions, int) and transitions < 0:
        yield failures.bad_value("spec.leaseTransitions", transitions, NOT_NEGATIVE)


def _event(new: Json, old: Json | None) -> Iterator[Cause]:
    involved = new.get("involvedObject")
    if isinstance(involved, Mapping):
        namespace = involved.get("namespace", "")
        if namespace and namespace != new["metadata"].get("namespace"):
            detail = "does not match event.namespace"
            yield failures.bad_value("involvedObject.namespace", namespace, detail)


def _role_binding(new: Json, old: Json | None) -> Iterator[Cause]:
    yield from _immutable(new, old, "roleRef")


def undecodable(kind: str, body: Json) -> str:
    """Return why the body cannot even be read as its kind; empty when it can. Values are not shown."""
    if kind not in ("ConfigMap", "Secret"):
        return ""
    for field in ("data", "stringData"):
        for value in _map(body, field).values():
            if value is not None and not isinstance(value, str):
                found = "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "object"
                return f"json: cannot unmarshal {found} into Go struct field {kind}.{field} of type string"
    if kind == "Secret":
        for value in _map(body, "data").values():
            try:
                base64.b64decode(value or "", validate=True)
            except (binascii.Error, ValueError):
                return "illegal base64 data"
    return ""


_KINDS: Mapping[str, Callable[[Json, Json | None], Iterator[Cause]]] = {
    "Pod": _pod,
    "ReplicaSet": _workload,
    "Deployment": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Job": _job,
    "Service": _service,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "PodDisruptionBudget": _disruption_budget,
    "EndpointSlice": _endpoint_slice,
    "Lease": _lease,
    "Event": _event,
    "RoleBinding": _role_binding,
    "ClusterRoleBinding": _role_binding,
}


def built_in(kind: str, new: Json, old: Json | None) -> list[Cause]:
    """Return what the server would refuse about an object of a built-in kind."""
    check = _KINDS.get(kind)
    return list(check(new, old)) if check else []
