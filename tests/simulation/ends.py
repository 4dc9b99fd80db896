"""How a world ends: what people see of it, and everything that is stored, without what differs from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.core.kinds import ANALYSIS_RUNS, HTTP_ROUTES, PODS, REPLICA_SETS, SERVICES
from tests.simulation.harness import World, version_of
from tests.simulation.manifests import CANARY, HASH_LABEL, NAMESPACE, STABLE, Doc, Routing
from tests.simulation.story import read, selected

# Times, identities and counters of writes: the same story told twice has others.
_VOLATILE = frozenset(
    (
        "abortedAt",
        "completedAt",
        "creationTimestamp",
        "finishedAt",
        "generation",
        "highWater",
        "lastTransitionTime",
        "lastUpdateTime",
        "managedFields",
        "message",  # of conditions: only the reason is compared, but see `shown`
        "observedGeneration",
        "resourceVersion",
        "scale-down-deadline",
        "startTime",
        "startedAt",
        "uid",
    )
)


def shown(world: World) -> Doc:
    """Return what people see of the Rollout and around it."""
    status = world.status
    conditions = {one["type"]: f"{one['status']}/{one['reason']}" for one in status.get("conditions") or ()}
    if conditions.get("Paused") == "False/RolloutPaused":
        del conditions["Paused"]  # it has been paused, and is not: as good as absent
    if status.get("abort"):
        conditions.pop("Paused", None)  # as upstream: True for ever when the update was aborted in a pause
    return {
        "phase": status.get("phase"),
        "message": status.get("message", ""),
        "step": status.get("currentStepIndex"),
        "sizes": {version: size for version, size in world.sizes.items() if size},
        "weights": tuple(world.weights) if world.weights is not None else None,
        "services": _services(world),
        "conditions": conditions,
    }


def _services(world: World) -> dict[str, str]:
    """Return which version the two Services select."""
    versions = {pod_hash: version_of(found) for pod_hash, found in world.story.replica_sets.items()}
    found = {key.name: selected(world.cluster.read(SERVICES, key)) for key in (STABLE, CANARY)}
    return {name: versions[pod_hash] for name, pod_hash in found.items() if pod_hash}


def healthy(routing: Routing, *, version: str = "2", replicas: int = 2, steps: int = 4) -> Doc:
    """Return what is shown once a version is stable and nothing else is left."""
    conditions = {
        "Available": "True/AvailableReason",
        "Completed": "True/RolloutCompleted",
        "Healthy": "True/RolloutHealthy",
        "Progressing": "True/NewReplicaSetAvailable",
    }
    if routing.is_routed:
        conditions["TrafficRouted"] = "True/Applied"
    return {
        "phase": "Healthy",
        "message": "",
        "step": steps,
        "sizes": {version: replicas},
        "weights": (100, 0) if routing.is_routed else None,
        "services": {STABLE.name: version, CANARY.name: version} if routing.is_routed else {},
        "conditions": conditions,
    }


def aborted(
    routing: Routing, *, stable: str = "1", replicas: int = 2, revision: int = 2, cause: str = "", reason: str = ""
) -> Doc:
    """Return what is shown once an update is aborted and everything is back at stable."""
    message = f"{reason or 'RolloutAborted'}: Rollout aborted update to revision {revision}"
    conditions = healthy(routing)["conditions"] | {
        "Completed": "False/RolloutCompleted",
        "Healthy": "False/RolloutHealthy",
        "Progressing": "False/RolloutAborted",
    }
    return healthy(routing, version=stable, replicas=replicas, steps=0) | {
        "phase": "Degraded",
        "message": f"{message}: {cause}" if cause else message,
        "conditions": conditions,
    }


def stored(world: World) -> Doc:
    """Return everything that is stored, told by versions instead of hashes and names that are drawn."""
    names = {pod_hash: f"<{version_of(found)}>" for pod_hash, found in world.story.replica_sets.items() if pod_hash}
    kinds = (SERVICES, HTTP_ROUTES, REPLICA_SETS, ANALYSIS_RUNS)
    found: dict[str, Any] = {"Rollout": world.rollout}
    for kind in kinds:
        for one in world.cluster.read_all(kind, NAMESPACE):
            found[f"{kind.kind} {one['metadata']['name']}"] = one
    pods = [
        (names.get(str(read(one, "metadata", "labels", HASH_LABEL))), read(one, "status", "phase"))
        for one in world.cluster.read_all(PODS, NAMESPACE)
        if "deletionTimestamp" not in one["metadata"]
    ]
    plain: Doc = _told(found | {"pods": sorted(map(str, pods))}, names)
    return plain


def _told(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for pod_hash, name in names.items():
            value = value.replace(pod_hash, name)
        return value
    if isinstance(value, Mapping):
        return {
            _told(key, names): _told(inner, names)
            for key, inner in value.items()
            if key not in _VOLATILE and key.rpartition("/")[2] not in _VOLATILE
        }
    return [_told(inner, names) for inner in value] if isinstance(value, list) else value
