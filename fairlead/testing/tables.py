"""What `kubectl get` prints: objects as rows of a Table, with the columns of their kind.

Source: `k8s.io/kubernetes: pkg/printers/internalversion`, `k8s.io/apiextensions-apiserver: pkg/registry/customresource/
tableconvertor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from fairlead.core import jsonpath, selectors
from fairlead.core.durations import human_duration
from fairlead.core.objects import parse_rfc3339
from fairlead.testing.resources import Column, Resource
from fairlead.testing.storage import Json, Stored
from fairlead.testing.watching import dig

NONE = "<none>"
UNKNOWN = "<unknown>"
_Cells = Mapping[str, Callable[[Json, datetime], Any]]


def definitions(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the head of a table."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description or column.name,
            "priority": column.priority,
        }
        for column in columns
    ]


def row(resource: Resource, version: str, stored: Stored, now: datetime, *, include: str = "Metadata") -> Json:
    """Return an object as a row.

    Args:
        include: `None`, `Metadata` or `Object`: how much of the object comes with the row.
    """
    served = resource.version(version)
    columns = served.columns if served else ()
    cells = [_cell(resource, column, stored.data, now) for column in columns]
    if include == "Object":
        whole: Any = msgspec.Raw(stored.raw_as(resource.api_version(version)))
    elif include == "None":
        whole = None
    else:
        whole = partial(stored)
    return {"cells": cells, "object": whole}


def table(
    resource: Resource, version: str, rows: Iterable[Json], metadata: Json, *, with_columns: bool = True
) -> dict[str, Any]:
    """Return a Table of the rows."""
    served = resource.version(version)
    columns = served.columns if served and with_columns else ()
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions(columns),
        "rows": list(rows),
    }


def partial(stored: Stored) -> Json:
    """Return the object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": stored.full()["metadata"],
    }


def age(text: Any, now: datetime) -> str:
    """Return how long ago a timestamp was."""
    instant = parse_rfc3339(text) if isinstance(text, str) else None
    return human_duration(now - instant) if instant else UNKNOWN


@lru_cache(maxsize=512)
def _path(text: str) -> jsonpath.JsonPath | None:
    try:
        return jsonpath.compile("{" + text + "}")
    except jsonpath.JsonPathError:
        return None


def _cell(resource: Resource, column: Column, data: Json, now: datetime) -> Any:
    if column.name == "Name" and column.format == "name":
        return data["metadata"]["name"]
    if column.path:
        return _custom_cell(column, data, now)
    compute = _CELLS.get(resource.kind, {}).get(column.name) or _COMMON.get(column.name)
    return compute(data, now) if compute else NONE


def _custom_cell(column: Column, data: Json, now: datetime) -> Any:
    path = _path(column.path)
    try:
        found = path.find(data) if path else []
    except jsonpath.JsonPathError:
        found = []  # the field is not there: the cell stays empty
    if column.type == "date":
        return age(found[0], now) if found else UNKNOWN
    if not found:
        return None
    if len(found) == 1 and column.type in ("integer", "number", "boolean") and not isinstance(found[0], dict | list):
        return found[0]
    texts = [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in found]
    return ",".join(texts)


def _created(data: Json, now: datetime) -> str:
    return age(dig(data, "metadata.creationTimestamp"), now)


def _at(path: str, default: Any = NONE) -> Callable[[Json, datetime], Any]:
    def read(data: Json, now: datetime) -> Any:
        found = dig(data, path)
        return default if found in (None, "") else found

    return read


def _containers(data: Json) -> list[Json]:
    found: list[Json] = dig(data, "spec.template.spec.containers") or dig(data, "template.spec.containers") or []
    return found


def _each(field: str) -> Callable[[Json, datetime], str]:
    return lambda data, now: ",".join(str(one.get(field, "")) for one in _containers(data))


def _selector(data: Json, now: datetime) -> str:
    wanted = dig(data, "spec.selector") or {}
    labels, expressions = wanted.get("matchLabels"), wanted.get("matchExpressions")
    if labels is None and expressions is None:
        labels = wanted
    terms = selectors.from_label_selector(labels or {}, expressions or ())
    return selectors.format_selector(terms) or NONE


def pod_status(data: Json) -> str:
    """Return the one word that people know a pod's state by."""
    reason: str = dig(data, "status.reason") or dig(data, "status.phase") or UNKNOWN
    for status in dig(data, "status.containerStatuses") or ():
        state = status.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated:
            reason = terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}"
    if dig(data, "metadata.deletionTimestamp"):
        return "Terminating"
    return reason


def _pod_ready(data: Json, now: datetime) -> str:
    statuses = dig(data, "status.containerStatuses") or ()
    ready = sum(bool(status.get("ready")) for status in statuses)
    return f"{ready}/{len(dig(data, 'spec.containers') or ())}"


def _restarts(data: Json, now: datetime) -> str:
    return str(sum(int(status.get("restartCount", 0)) for status in dig(data, "status.containerStatuses") or ()))


def _gates(data: Json, now: datetime) -> str:
    gates = dig(data, "spec.readinessGates") or ()
    if not gates:
        return NONE
    conditions = {one.get("type"): one.get("status") for one in dig(data, "status.conditions") or ()}
    met = sum(conditions.get(gate.get("conditionType")) == "True" for gate in gates)
    return f"{met}/{len(gates)}"


def _ports(data: Json, now: datetime) -> str:
    texts = [f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in dig(data, "spec.ports") or ()]
    return ",".join(texts) or NONE


def _slice_ports(data: Json, now: datetime) -> str:
    return ",".join(str(port.get("port")) for port in data.get("ports") or ()) or "<unset>"


def _slice_endpoints(data: Json, now: datetime) -> str:
    found = [address for endpoint in data.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    shown = ",".join(found[:3])
    return (f"{shown} + {len(found) - 3} more..." if len(found) > 3 else shown) or "<unset>"


def _endpoints(data: Json, now: datetime) -> str:
    texts = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in data.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return ",".join(texts) or NONE


def _job_status(data: Json, now: datetime) -> str:
    conditions = [one.get("type") for one in dig(data, "status.conditions") or () if one.get("status") == "True"]
    for word in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if word in conditions:
            return word
    return "Terminating" if dig(data, "metadata.deletionTimestamp") else "Running"


def _job_duration(data: Json, now: datetime) -> str:
    started = parse_rfc3339(dig(data, "status.startTime") or "")
    ended = parse_rfc3339(dig(data, "status.completionTime") or "")
    return human_duration((ended or now) - started) if started else ""


def _completions(data: Json, now: datetime) -> str:
    return f"{dig(data, 'status.succeeded') or 0}/{dig(data, 'spec.completions') or 1}"


def _node_status(data: Json, now: datetime) -> str:
    conditions = dig(data, "status.conditions") or ()
    ready = next((one.get("status") for one in conditions if one.get("type") == "Ready"), "Unknown")
    text = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    return f"{text},SchedulingDisabled" if dig(data, "spec.unschedulable") else text


def _event_object(data: Json, now: datetime) -> str:
    involved = data.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(data: Json, now: datetime) -> str:
    return age(data.get("lastTimestamp") or data.get("eventTime") or dig(data, "metadata.creationTimestamp"), now)


def _count(path: str) -> Callable[[Json, datetime], Any]:
    return lambda data, now: len(dig(data, path) or ())


def _of(ready: str, wanted: str) -> Callable[[Json, datetime], str]:
    return lambda data, now: f"{dig(data, ready) or 0}/{dig(data, wanted) or 0}"


def _reference(data: Json, now: datetime) -> str:
    target = dig(data, "spec.scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _secret_size(data: Json, now: datetime) -> int:
    return len(data.get("data") or {}) + len(data.get("binaryData") or {})


_COMMON: _Cells = {
    "Age": _created,
    "Created At": _at("metadata.creationTimestamp"),
    "Containers": _each("name"),
    "Images": _each("image"),
    "Selector": _selector,
}
_SCALED: _Cells = {
    "Desired": _at("spec.replicas", 0),
    "Current": _at("status.replicas", 0),
    "Ready": _at("status.readyReplicas", 0),
}
_CELLS: Mapping[str, _Cells] = {
    "Pod": {
        "Ready": _pod_ready,
        "Status": lambda data, now: pod_status(data),
        "Restarts": _restarts,
        "IP": _at("status.podIP"),
        "Node": _at("spec.nodeName"),
        "Nominated Node": _at("status.nominatedNodeName"),
        "Readiness Gates": _gates,
    },
    "ReplicaSet": _SCALED,
    "Deployment": {
        "Ready": _of("status.readyReplicas", "spec.replicas"),
        "Up-to-date": _at("status.updatedReplicas", 0),
        "Available": _at("status.availableReplicas", 0),
    },
    "StatefulSet": {"Ready": _of("status.readyReplicas", "spec.replicas")},
    "DaemonSet": {
        "Desired": _at("status.desiredNumberScheduled", 0),
        "Current": _at("status.currentNumberScheduled", 0),
        "Ready": _at("status.numberReady", 0),
    },
    "Service": {
        "Type": _at("spec.type"),
        "Cluster-IP": _at("spec.clusterIP"),
        "External-IP": _at("spec.externalName"),
        "Port(s)": _ports,
    },
    "Endpoints": {"Endpoints": _endpoints},
    "EndpointSlice": {"AddressType": _at("addressType"), "Ports": _slice_ports, "Endpoints": _slice_endpoints},
    "Secret": {"Type": _at("type"), "Data": _secret_size},
    "ConfigMap": {"Data": _secret_size},
    "ServiceAccount": {"Secrets": _count("secrets")},
    "Namespace": {"Status": _at("status.phase")},
    "Node": {"Status": _node_status, "Version": _at("status.nodeInfo.kubeletVersion")},
    "Job": {"Status": _job_status, "Completions": _completions, "Duration": _job_duration},
    "PodDisruptionBudget": {
        "Min Available": _at("spec.minAvailable", "N/A"),
        "Max Unavailable": _at("spec.maxUnavailable", "N/A"),
        "Allowed Disruptions": _at("status.disruptionsAllowed", 0),
    },
    "Lease": {"Holder": _at("spec.holderIdentity")},
    "HorizontalPodAutoscaler": {
        "Reference": _reference,
        "MinPods": _at("spec.minReplicas"),
        "MaxPods": _at("spec.maxReplicas"),
        "Replicas": _at("status.currentReplicas", 0),
    },
    "Event": {
        "Last Seen": _last_seen,
        "Type": _at("type", ""),
        "Reason": _at("reason", ""),
        "Object": _event_object,
        "Subobject": _at("involvedObject.fieldPath", ""),
        "Source": _at("source.component", ""),
        "Message": _at("message", ""),
        "First Seen": lambda data, now: age(data.get("firstTimestamp"), now),
        "Count": _at("count", 1),
    },
    "PodTemplate": {"Pod Labels": _at("template.metadata.labels")},
    "ControllerRevision": {"Controller": _at("metadata.ownerReferences"), "Revision": _at("revision", 0)},
}
