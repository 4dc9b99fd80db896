"""What a cluster itself provides: Services, Ingresses, volumes, autoscalers, aggregated APIs, definitions.

Source: gitops.md 10.2, 10.3; argo-cd: gitops-engine/pkg/health, resource_customizations/apiextensions.k8s.io.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fairlead.agentsync._health._reading import Condition, Reading, Unreadable
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing, unknown
from fairlead.agentsync.resources import annotations_of, group_version

_V1_CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
_WAITING_TO_SCALE: Final = progressing("Waiting to Autoscale")
_BROKEN: Final = frozenset(
    {
        ("AbleToScale", "FailedGetScale"),
        ("AbleToScale", "FailedUpdateScale"),
        ("ScalingActive", "FailedGetResourceMetric"),
        ("ScalingActive", "FailedGetObjectMetric"),
        ("ScalingActive", "FailedGetPodsMetric"),
        ("ScalingActive", "FailedGetExternalMetric"),
        ("ScalingActive", "FailedComputeMetricsReplicas"),
        ("ScalingActive", "InvalidSelector"),
    }
)


def service(found: Reading) -> Health:
    if found.text("spec.type") == "LoadBalancer" and not found.list_length("status.loadBalancer.ingress"):
        return progressing()
    return healthy()


def ingress(found: Reading) -> Health:
    return healthy() if found.list_length("status.loadBalancer.ingress") else progressing()


def volume_claim(found: Reading) -> Health:
    match found.text("status.phase"):
        case "Lost":
            return degraded()
        case "Pending":
            return progressing()
        case "Bound":
            return healthy()
    return unknown()


def autoscaler(found: Reading) -> Health:
    conditions = _v1_conditions(found) if group_version(found.found)[1] == "v1" else found.conditions()
    for one in conditions:
        if (one.type, one.reason) in _BROKEN:
            return degraded(one.message)
    for one in conditions:
        if one.type in ("AbleToScale", "ScalingLimited") and one.is_true:
            return healthy(one.message)
    return _WAITING_TO_SCALE


def _v1_conditions(found: Reading) -> list[Condition]:
    text = annotations_of(found.found).get(_V1_CONDITIONS)
    if text is None:
        return []
    try:
        read: list[dict[str, Any]] = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"failed to convert conditions annotation to typed: {error}") from None
    return Reading({"conditions": read}).conditions("conditions")


def api_service(found: Reading) -> Health:
    available = found.condition("Available")
    if available is None:
        return progressing("Waiting to be processed")
    message = f"{available.reason}: {available.message}"
    return healthy(message) if available.is_true else progressing(message)


def definition(found: Reading) -> Health:
    conditions = found.conditions()
    if not conditions:
        return progressing("Status conditions not found")
    by_type = {one.type: one for one in conditions}
    terminating, names = by_type.get("Terminating"), by_type.get("NamesAccepted")
    schema, established = by_type.get("NonStructuralSchema"), by_type.get("Established")
    if terminating is not None and terminating.is_true:
        return progressing(f"CRD is terminating: {terminating.message}")
    if names is not None and names.is_false:
        return degraded(f"CRD names have not been accepted: {names.message}")
    if schema is not None and schema.is_true:
        return degraded(f"Schema violations found: {schema.message}")
    if established is not None and established.is_true:
        return healthy("CRD is healthy")
    if established is not None and established.reason == "Installing":
        return progressing("CRD is being installed")
    return degraded("CRD is not established")
