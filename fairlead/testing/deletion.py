"""What a deletion writes into an object, and when nothing holds it any longer."""

from __future__ import annotations

from datetime import datetime, timedelta

from fairlead.core.cluster import Propagation
from fairlead.core.objects import rfc3339
from fairlead.testing.garbage import FOREGROUND, ORPHAN
from fairlead.testing.requests import DeleteOptions
from fairlead.testing.resources import Resource
from fairlead.testing.storage import Json


def mark(resource: Resource, data: Json, options: DeleteOptions, now: datetime) -> None:
    """Write into the object, in place, that it is to go, and when."""
    metadata = data["metadata"]
    finalizers = [one for one in metadata.get("finalizers") or () if one not in (FOREGROUND, ORPHAN)]
    match options.propagation:
        case Propagation.FOREGROUND:
            finalizers.append(FOREGROUND)
        case Propagation.ORPHAN:
            finalizers.append(ORPHAN)
        case _:
            pass
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    grace = grace_period(resource, data, options.grace_period_seconds)
    is_new = "deletionTimestamp" not in metadata
    if not is_new and grace >= metadata.get("deletionGracePeriodSeconds", 0):
        return
    metadata["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if is_new and metadata.get("generation"):
        metadata["generation"] += 1
    if is_new and resource.collection == "namespaces":
        del metadata["deletionGracePeriodSeconds"]
        data["status"] = {**data.get("status", {}), "phase": "Terminating"}


def grace_period(resource: Resource, data: Json, asked: int | None) -> int:
    """Return how many seconds a deletion waits: only pods that may still run wait for their kubelet."""
    if resource.collection != "pods":
        return 0
    spec, phase = data.get("spec", {}), data.get("status", {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    seconds = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return 1 if seconds < 0 else int(seconds)


def is_due(data: Json) -> bool:
    """Return whether nothing holds an object that is being deleted any longer."""
    metadata = data["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if metadata.get("deletionGracePeriodSeconds"):
        return False
    is_namespace = data.get("kind") == "Namespace" and data.get("apiVersion") == "v1"
    return not (is_namespace and data.get("spec", {}).get("finalizers"))
