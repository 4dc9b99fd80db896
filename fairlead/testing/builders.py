"""A valid spec, status or observation in one call: for tests of policies, and for machines that are driven by hand.

Each function takes what a test is about and fills in the rest. The same arguments always build equal values.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisRun, Pod, ReplicaSet, Service
from fairlead.core.objects import ObjectMeta, controller_reference, rfc3339
from fairlead.core.traffic import Held, TrafficSeen, Weights
from fairlead.rollouts._hash import steps_hash, template_hash
from fairlead.rollouts._invalid import understand
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus, read

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = "shop"
ROLLOUT = "cart"
ROLLOUT_UID = "rollout-uid"
HASH_LABEL = "rollouts-pod-template-hash"
MANAGED_BY = "argo-rollouts.argoproj.io/managed-by-rollouts"


def pod_template(version: int | str = 1) -> dict[str, Any]:
    """Return a pod template as JSON data; each version has an image of its own."""
    return {
        "metadata": {"labels": {"app": ROLLOUT}},
        "spec": {"containers": [{"name": "app", "image": f"registry.example/cart:{version}"}]},
    }


def pod_hash(version: int | str = 1) -> str:
    """Return the hash label of a version's pods."""
    return template_hash(msgspec.json.encode(pod_template(version)))


def spec_content(
    *steps: Mapping[str, Any],
    version: int | str = 1,
    replicas: int | None = 1,
    routed: bool = False,
    canary: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a Rollout's spec as JSON data.

    Args:
        steps: of the canary, such as `{"setWeight": 20}`.
        version: of the pod template.
        routed: with stable and canary Service, and the router `fairlead/waypoint`.
        canary: further fields of `strategy.canary`.
        fields: further fields of the spec, as the API spells them.
    """
    strategy: dict[str, Any] = {"steps": list(steps)} if steps else {}
    if routed:
        strategy |= {
            "stableService": f"{ROLLOUT}-stable",
            "canaryService": f"{ROLLOUT}-canary",
            "trafficRouting": {"plugins": {"fairlead/waypoint": {"service": ROLLOUT}}},
        }
    content: dict[str, Any] = {
        "selector": {"matchLabels": {"app": ROLLOUT}},
        "template": pod_template(version),
        "strategy": {"canary": {**strategy, **(canary or {})}},
        **fields,
    }
    if replicas is not None:
        content["replicas"] = replicas
    return content


def spec_of(content: Mapping[str, Any]) -> RolloutSpec:
    """Return the spec that JSON data means.

    Raises:
        SpecError: it is not valid.
    """
    found = understand(msgspec.json.encode(content), name=ROLLOUT)
    if isinstance(found, SpecError):
        raise found
    return found


def spec(*steps: Mapping[str, Any], **settings: Any) -> RolloutSpec:
    """Return a valid spec; arguments as those of `spec_content`."""
    return spec_of(spec_content(*steps, **settings))


def rollout_metadata(**fields: Any) -> ObjectMeta:
    """Return the metadata of the Rollout that everything here belongs to."""
    values: dict[str, Any] = {
        "name": ROLLOUT,
        "namespace": NAMESPACE,
        "uid": ROLLOUT_UID,
        "resource_version": "1",
        "generation": 1,
        "annotations": {"rollout.argoproj.io/revision": "1"},
        **fields,
    }
    return ObjectMeta(**values)


def owned_by_rollout() -> list[dict[str, Any]]:
    """Return the ownerReferences of something that the Rollout controls, as JSON data."""
    return [controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=rollout_metadata())]


def replica_set(
    version: int | str = 1,
    *,
    replicas: int = 1,
    available: int | None = None,
    created: int | None = None,
    ready: int | None = None,
    revision: int | None = None,
    wanted: int | None = None,
    age: timedelta = timedelta(0),
    annotations: Mapping[str, str] | None = None,
    name: str = "",
    resource_version: str = "1",
) -> ReplicaSet:
    """Return the ReplicaSet of a version.

    Args:
        available: pods of it that are available; all, if not said otherwise.
        created: pods of it that exist; as many as wanted of it, if not said otherwise.
        revision: a number; the version, if that is one.
        wanted: replicas that the Rollout wanted when it was scaled last; `replicas`, if not said otherwise.
        age: how long before `START` it was created.
    """
    hash_label = pod_hash(version)
    template = pod_template(version)
    labels = {**template["metadata"]["labels"], HASH_LABEL: hash_label}
    template["metadata"] = {"labels": labels}
    number = revision if revision is not None else (version if isinstance(version, int) else 1)
    available = replicas if available is None else available
    name = name or f"{ROLLOUT}-{hash_label}"
    content = {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "resourceVersion": resource_version,
            "generation": 1,
            "creationTimestamp": rfc3339(START - age),
            "labels": labels,
            "annotations": {
                "rollout.argoproj.io/revision": str(number),
                "rollout.argoproj.io/desired-replicas": str(replicas if wanted is None else wanted),
                **(annotations or {}),
            },
            "ownerReferences": owned_by_rollout(),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": ROLLOUT, HASH_LABEL: hash_label}},
            "template": template,
        },
        "status": {
            "replicas": replicas if created is None else created,
            "readyReplicas": available if ready is None else ready,
            "availableReplicas": available,
            "observedGeneration": 1,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(content), type=ReplicaSet)


def service(name: str, version: int | str | None = None, *, managed: bool = True) -> Service:
    """Return a Service that selects a version's pods; None: all pods of the application.

    Args:
        managed: whether it carries the mark of the Rollout.
    """
    selector = {"app": ROLLOUT} | ({HASH_LABEL: pod_hash(version)} if version is not None else {})
    annotations = {MANAGED_BY: ROLLOUT} if managed else {}
    content = {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "annotations": annotations,
        },
        "spec": {"selector": selector},
    }
    return msgspec.json.decode(msgspec.json.encode(content), type=Service)


def services(*, stable: int | str | None = 1, canary: int | str | None = 1, managed: bool = True) -> dict[str, Service]:
    """Return the two Services of a routed Rollout, by name, and which versions they select."""
    found = (
        service(f"{ROLLOUT}-stable", stable, managed=managed),
        service(f"{ROLLOUT}-canary", canary, managed=managed),
    )
    return {one.metadata.name: one for one in found}


def traffic(canary: int | None = 0, held: Held = Held.APPLIED, *, total: int = 100, **fields: Any) -> TrafficSeen:
    """Return what a router sees: a weight of the canary (None: no split), and how far it has come."""
    weights = None if canary is None else Weights.of_canary(canary, total=total)
    return TrafficSeen(weights=weights, held=held, **fields)


def analysis_run(
    name: str,
    phase: str = "Running",
    *,
    message: str = "",
    step: int | None = None,
    version: int | str = 2,
    run_spec: Mapping[str, Any] | None = None,
    age: timedelta = timedelta(0),
    labels: Mapping[str, str] | None = None,
) -> AnalysisRun:
    """Return an AnalysisRun of the Rollout; `step` None: it runs in the background."""
    marks = {HASH_LABEL: pod_hash(version), "rollout-type": "Background" if step is None else "Step"}
    if step is not None:
        marks["step-index"] = str(step)
    content = {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": rfc3339(START - age),
            "labels": marks | dict(labels or {}),
            "ownerReferences": owned_by_rollout(),
        },
        "spec": {"metrics": []} if run_spec is None else dict(run_spec),
        "status": {"phase": phase, "message": message},
    }
    return msgspec.json.decode(msgspec.json.encode(content), type=AnalysisRun)


def pod(name: str, owner: ReplicaSet, *, created_at: datetime, ready: bool = True, deleting: bool = False) -> Pod:
    """Return a pod of a ReplicaSet."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "creationTimestamp": rfc3339(created_at),
        "ownerReferences": [controller_reference(api_version="apps/v1", kind="ReplicaSet", metadata=owner.metadata)],
    }
    if deleting:
        metadata["deletionTimestamp"] = rfc3339(created_at)
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    content = {"metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}
    return msgspec.json.decode(msgspec.json.encode(content), type=Pod)


def status_content(
    rollout: RolloutSpec, *, stable: int | str = 1, current: int | str = 1, step: int | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a status as JSON data that fits a spec.

    Args:
        stable: version that was promoted last.
        current: version of the spec's template.
        step: index of the current step; past the last one, if not said otherwise.
        fields: further fields, as the API spells them.
    """
    content: dict[str, Any] = {
        "currentPodHash": pod_hash(current),
        "stableRS": pod_hash(stable),
        "currentStepHash": steps_hash(rollout.steps),
        "observedGeneration": "1",
        **fields,
    }
    if rollout.steps:
        content["currentStepIndex"] = len(rollout.steps) if step is None else step
    return content


def status(rollout: RolloutSpec, **settings: Any) -> RolloutStatus:
    """Return a status that fits a spec; arguments as those of `status_content`."""
    return read(status_content(rollout, **settings))


def observation(*replica_sets: ReplicaSet, revision: int | None = None, **fields: Any) -> Observation:
    """Return an observation of these ReplicaSets.

    Args:
        revision: that the Rollout records; the highest of the ReplicaSets', if not said otherwise.
        fields: further fields of `Observation`.
    """
    numbers = [int(found.metadata.annotations["rollout.argoproj.io/revision"]) for found in replica_sets]
    number = max(numbers, default=1) if revision is None else revision
    fields.setdefault("metadata", rollout_metadata(annotations={"rollout.argoproj.io/revision": str(number)}))
    return Observation(replica_sets=tuple(replica_sets), **fields)


__all__ = [
    "NAMESPACE",
    "ROLLOUT",
    "ROLLOUT_UID",
    "START",
    "analysis_run",
    "observation",
    "owned_by_rollout",
    "pod",
    "pod_hash",
    "pod_template",
    "replica_set",
    "rollout_metadata",
    "service",
    "services",
    "spec",
    "spec_content",
    "spec_of",
    "status",
    "status_content",
    "traffic",
]
