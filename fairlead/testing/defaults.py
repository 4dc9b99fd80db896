"""What the API server fills in on built-in kinds, so that what is read back looks as on a real cluster.

Source: `k8s.io/kubernetes: pkg/apis/{core,apps,batch,discovery,policy}/v1/defaults.go`. Each function changes the
object in place and may run again on what it has filled in.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]


def _members(owner: Json, name: str) -> list[Json]:
    found = owner.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _child(owner: Json, name: str) -> Json | None:
    found = owner.get(name)
    return found if isinstance(found, dict) else None


def image_pull_policy(image: str) -> str:
    """Return the policy for an image without one: `Always` for the tag latest or none, `IfNotPresent` otherwise.

    >>> image_pull_policy("registry:5000/web"), image_pull_policy("web:1"), image_pull_policy("web@sha256:00")
    ('Always', 'IfNotPresent', 'IfNotPresent')
    """
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def pod_spec(spec: Json) -> None:
    """Fill in a pod's spec (also within templates)."""
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
    ):
        if spec.get(name) is None:
            spec[name] = value
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for container in _members(spec, name):
            _container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in _members(spec, "volumes"):
        _volume(volume)


def _container(container: Json, *, host_network: bool) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = image_pull_policy(str(container.get("image", "")))
    container.setdefault("resources", {})
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    for port in _members(container, "ports"):
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if host_network and not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := _child(container, name):
            _probe(probe)
    for hook in (_child(container, "lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http_get(hook)
    for variable in _members(container, "env"):
        source = _child(variable, "valueFrom") or {}
        if (reference := _child(source, "fieldRef")) and not reference.get("apiVersion"):
            reference["apiVersion"] = "v1"
        if (resource := _child(source, "resourceFieldRef")) and not resource.get("divisor"):
            resource["divisor"] = "0"


def _requests(container: Json) -> None:
    """A limit without a request is also the request."""
    resources = _child(container, "resources") or {}
    limits = _child(resources, "limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _probe(probe: Json) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(name):
            probe[name] = value
    _http_get(probe)
    if (grpc := _child(probe, "grpc")) is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _http_get(handler: Json) -> None:
    if (request := _child(handler, "httpGet")) is not None:
        if not request.get("scheme"):
            request["scheme"] = "HTTP"
        if not request.get("path"):
            request["path"] = "/"


def _volume(volume: Json) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        source = _child(volume, name)
        if source is not None and source.get("defaultMode") is None:
            source["defaultMode"] = 420
    projected = _child(volume, "projected") or {}
    for source in _members(projected, "sources"):
        token = _child(source, "serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
    host_path = _child(volume, "hostPath")
    if host_path is not None and host_path.get("type") is None:
        host_path["type"] = ""


def _template(spec: Json) -> None:
    template = _child(spec, "template")
    if template is not None:
        inner = template.setdefault("spec", {})
        if isinstance(inner, dict):
            pod_spec(inner)
        # The typed server always writes metadata of a template, as an empty object with a null time in it.
        metadata = template.setdefault("metadata", {})
        if isinstance(metadata, dict) and metadata.get("creationTimestamp", 0) is None:
            del metadata["creationTimestamp"]


def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("preemptionPolicy") is None:
        spec["preemptionPolicy"] = "PreemptLowerPriority"
    spec.setdefault("priority", 0)
    for container in (*_members(spec, "initContainers"), *_members(spec, "containers")):
        _requests(container)
    _tolerations(spec)
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
    address = status.get("podIP")
    if address and (not status.get("podIPs") or status["podIPs"][0].get("ip") != address):
        status["podIPs"] = [{"ip": address}]
    if not status.get("qosClass"):
        status["qosClass"] = qos_class(spec)


def _tolerations(spec: Json) -> None:
    """A pod bears a node that is not ready or out of reach for five minutes (an admission plug-in adds that)."""
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        borne = any(
            one.get("key") in (None, "", key) and one.get("effect") in (None, "", "NoExecute") for one in tolerations
        )
        if not borne:
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return a pod's quality of service class from the requests and limits of its containers."""
    containers = [item for item in spec.get("containers") or () if isinstance(item, dict)]
    resources = [item.get("resources") or {} for item in containers]
    if not any(one.get("requests") or one.get("limits") for one in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(one.get("limits") or {}) and one.get("requests", {}) == one["limits"]
        for one in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _pod_template(obj: Json) -> None:
    _template(obj)


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    _template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    if spec.get("progressDeadlineSeconds") is None:
        spec["progressDeadlineSeconds"] = 600
    _template(spec)
    obj.setdefault("status", {})


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    _template(spec)
    status = obj.setdefault("status", {})
    status.setdefault("replicas", 0)
    status.setdefault("availableReplicas", 0)


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)
    status = obj.setdefault("status", {})
    for name in ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"):
        status.setdefault(name, 0)


def _job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    for name, value in (
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("manualSelector", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
    ):
        if spec.get(name) is None:
            spec[name] = value
    _job_selector(obj, spec)
    _template(spec)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    obj.setdefault("status", {})


def _job_selector(obj: Json, spec: Json) -> None:
    """Give the pods of a new Job labels that no other Job's pods have, and select them by the Job's UID."""
    uid = obj["metadata"].get("uid", "")
    if spec.get("manualSelector") or spec.get("selector") or not uid:
        return
    name = obj["metadata"]["name"]
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    for port in _members(spec, "ports"):
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)
    if spec["type"] != "ExternalName":
        if not spec.get("internalTrafficPolicy"):
            spec["internalTrafficPolicy"] = "Cluster"
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _secret(obj: Json) -> None:
    if not obj.get("type"):
        obj["type"] = "Opaque"
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()


def _namespace(obj: Json) -> None:
    obj.setdefault("status", {}).setdefault("phase", "Active")
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _endpoint_slice(obj: Json) -> None:
    for port in _members(obj, "ports"):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    if obj.get("endpoints") is None:
        obj["endpoints"] = []
    for endpoint in _members(obj, "endpoints"):
        endpoint.setdefault("conditions", {})


def _endpoints(obj: Json) -> None:
    for subset in _members(obj, "subsets"):
        for port in _members(subset, "ports"):
            port.setdefault("protocol", "TCP")


def _event(obj: Json) -> None:
    if str(obj.get("apiVersion", "")).startswith("events.k8s.io/"):
        return
    for name in ("source", "involvedObject"):
        obj.setdefault(name, {})
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(name, None)
    for name in ("reportingComponent", "reportingInstance"):
        obj.setdefault(name, "")


def _autoscaler(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    obj.setdefault("status", {}).setdefault("desiredReplicas", 0)


def _disruption_budget(obj: Json) -> None:
    status = obj.setdefault("status", {})
    for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(name, 0)


def _node(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]


def _ingress(obj: Json) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


_KINDS: Mapping[str, Callable[[Json], None]] = {
    "Pod": _pod,
    "PodTemplate": _pod_template,
    "ReplicaSet": _replica_set,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "Service": _service,
    "Secret": _secret,
    "Namespace": _namespace,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Event": _event,
    "HorizontalPodAutoscaler": _autoscaler,
    "Ingress": _ingress,
    "Node": _node,
    "PodDisruptionBudget": _disruption_budget,
}


def built_in(kind: str, obj: Json) -> None:
    """Fill in what the server fills in on an object of a built-in kind."""
    if fill := _KINDS.get(kind):
        fill(obj)
