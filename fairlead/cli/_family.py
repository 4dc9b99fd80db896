"""A Rollout with all that belongs to it, read once from the API and summed up as clients of Argo Rollouts do.

Source: argo-rollouts: pkg/kubectl-argo-rollouts/info/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.core.cluster import Cluster
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey, parse_rfc3339
from fairlead.rollouts.commands import HASH_LABEL, revision_of

ROLLOUTS = carried("argoproj.io", "v1alpha1", "Rollout", "rollouts")
ANALYSIS_RUNS = carried("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns")
EXPERIMENTS = carried("argoproj.io", "v1alpha1", "Experiment", "experiments")
REPLICA_SETS = carried("apps", "v1", "ReplicaSet", "replicasets")
PODS = carried("", "v1", "Pod", "pods")
PARTS = (REPLICA_SETS, PODS, ANALYSIS_RUNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The Rollout and its dependents, each list in display order (newest first)."""

    rollout: Manifest
    replica_sets: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    runs: tuple[Manifest, ...] = ()

    def pods_of(self, replica_set: Manifest) -> tuple[Manifest, ...]:
        return tuple(pod for pod in self.pods if _owned_by(pod, replica_set.metadata.uid))

    def runs_of(self, replica_set: Manifest) -> tuple[Manifest, ...]:
        return tuple(run for run in self.runs if pod_hash(run) == pod_hash(replica_set))


def gather(
    rollout: Manifest, replica_sets: Sequence[Manifest], pods: Sequence[Manifest], runs: Sequence[Manifest]
) -> Family:
    """Return the family among the objects of a namespace: by owner UID, never by name."""
    uid = rollout.metadata.uid
    owned = sorted((one for one in replica_sets if _owned_by(one, uid)), key=_by_revision, reverse=True)
    owners = {one.metadata.uid for one in owned}
    ours = [pod for pod in pods if (owner := pod.metadata.controller) is not None and owner.uid in owners]
    return Family(
        rollout=rollout,
        replica_sets=tuple(owned),
        pods=tuple(sorted(ours, key=lambda pod: pod.metadata.name)),
        runs=tuple(sorted((run for run in runs if _owned_by(run, uid)), key=_by_creation, reverse=True)),
    )


def _owned_by(found: Manifest, uid: str) -> bool:
    return any(owner.uid == uid for owner in found.metadata.owner_references)


def _by_revision(found: Manifest) -> tuple[int, str]:
    return revision_of(found), found.metadata.name


def _by_creation(found: Manifest) -> tuple[float, str]:
    created = found.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0), found.metadata.name


def pod_hash(found: Manifest) -> str:
    return found.metadata.labels.get(HASH_LABEL, "")


async def list_all(cluster: Cluster, kind: Kind[Manifest], namespace: str) -> list[Manifest]:
    """Return every object of a kind in a namespace."""
    found: list[Manifest] = []
    token = ""
    while True:
        page = await cluster.list(kind, namespace=namespace, continue_token=token)
        found.extend(page.items)
        token = page.continue_token
        if not token:
            return found


async def read(cluster: Cluster, key: ObjectKey) -> Family:
    """Return the family of one Rollout. NotFound: there is no such Rollout."""
    rollout = await cluster.get(ROLLOUTS, key)
    replica_sets, pods, runs = [await list_all(cluster, kind, key.namespace) for kind in PARTS]
    return gather(rollout, replica_sets, pods, runs)


# --- summed up -------------------------------------------------------------------------------------------------------


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one: a stranger may have written it."""
    return value if isinstance(value, Mapping) else {}


def status_of(rollout: Manifest) -> Mapping[str, Any]:
    return mapping(rollout.content.get("status"))


def spec_of(rollout: Manifest) -> Mapping[str, Any]:
    return mapping(rollout.content.get("spec"))


def canary_of(rollout: Manifest) -> Mapping[str, Any]:
    return mapping(mapping(spec_of(rollout).get("strategy")).get("canary"))


def steps_of(rollout: Manifest) -> Sequence[Any]:
    steps = canary_of(rollout).get("steps")
    return steps if isinstance(steps, list) else []


def phase_of(rollout: Manifest) -> tuple[str, str]:
    """Return phase and message as clients show them: not yet observed changes come first."""
    status = status_of(rollout)
    observed = str(status.get("observedGeneration", ""))
    if observed.isdecimal() and int(observed) < rollout.metadata.generation:
        return "Progressing", "waiting for rollout spec update to be observed"
    if status.get("controllerPause") and not status.get("pauseConditions"):
        return "Progressing", "waiting for rollout to unpause"
    return str(status.get("phase") or "Progressing"), str(status.get("message") or "")


def total_weight(rollout: Manifest) -> int:
    most = mapping(canary_of(rollout).get("trafficRouting")).get("maxTrafficWeight")
    return most if isinstance(most, int) and most > 0 else 100


def set_weight(rollout: Manifest) -> int:
    """Return the weight that the steps ask for now (rollouts: GetCurrentSetWeight)."""
    status, steps = status_of(rollout), steps_of(rollout)
    if status.get("abort"):
        return 0
    index = status.get("currentStepIndex")
    index = index if isinstance(index, int) else len(steps)
    if index >= len(steps):
        return total_weight(rollout)
    weights = [mapping(step).get("setWeight") for step in steps[: index + 1]]
    return next((weight for weight in reversed(weights) if isinstance(weight, int)), 0)


def actual_weight(family: Family) -> int:
    """Return the share that the canary has: of the route, or of the available pods without one."""
    rollout = family.rollout
    status, total = status_of(rollout), total_weight(rollout)
    index, steps = status.get("currentStepIndex"), steps_of(rollout)
    if not isinstance(index, int) or index >= len(steps):
        return total
    weights = mapping(mapping(status.get("canary")).get("weights"))
    if weights:
        weight = mapping(weights.get("canary")).get("weight")
        return weight if isinstance(weight, int) else 0
    available = status.get("availableReplicas")
    if not isinstance(available, int) or available < 1:
        return 0
    canary = next((one for one in family.replica_sets if pod_hash(one) == status.get("currentPodHash")), None)
    return number(canary, "status", "availableReplicas") * total // available if canary else 0


def number(found: Manifest | None, *path: str) -> int:
    """Return the whole number at a path, 0 when there is none."""
    value: Any = found.content if found else None
    for name in path:
        value = mapping(value).get(name)
    return value if isinstance(value, int) else 0


def tags_of(family: Family, replica_set: Manifest) -> tuple[str, ...]:
    """Return what a ReplicaSet is to its Rollout: `stable`, `canary`; of a blue-green one also `active`, `preview`.

    Where two Services take turns, also which of them leads to it: `ping` or `pong`.
    """
    status, own = status_of(family.rollout), pod_hash(replica_set)
    if not own:
        return ()
    tags = ["stable"] if own == status.get("stableRS") else []
    if "blueGreen" in mapping(spec_of(family.rollout).get("strategy")):
        selected = mapping(status.get("blueGreen"))
        is_active = own == selected.get("activeSelector")
        tags += ["active"] if is_active else []
        tags += ["preview"] if own == selected.get("previewSelector") and not is_active else []
    elif not tags and own == status.get("currentPodHash"):
        tags.append("canary")
    if tags and "pingPong" in canary_of(family.rollout):
        turn = "ping" if mapping(status.get("canary")).get("stablePingPong") == "ping" else "pong"
        other = "pong" if turn == "ping" else "ping"
        tags.append(turn if "stable" in tags else other)
    return tuple(tags)


def images_of(family: Family) -> list[tuple[str, tuple[str, ...]]]:
    """Return the images that run, each with the tags of its revision, newest revision first."""
    found: dict[str, set[str]] = {}
    for replica_set in family.replica_sets:
        if not number(replica_set, "spec", "replicas"):
            continue
        pod = mapping(mapping(mapping(replica_set.content.get("spec")).get("template")).get("spec"))
        for container in pod.get("containers") or ():
            found.setdefault(str(mapping(container).get("image", "")), set()).update(tags_of(family, replica_set))
    return [(image, tuple(sorted(tags))) for image, tags in found.items()]


def replica_set_status(replica_set: Manifest) -> str:
    """Return `Healthy`, `Progressing`, `ScaledDown` or `Degraded`."""
    wanted, available = number(replica_set, "spec", "replicas"), number(replica_set, "status", "availableReplicas")
    for condition in mapping(replica_set.content.get("status")).get("conditions") or ():
        if mapping(condition).get("type") == "ReplicaFailure" and mapping(condition).get("status") == "True":
            return "Degraded"
    if not wanted and not number(replica_set, "status", "replicas"):
        return "ScaledDown"
    return "Healthy" if available >= wanted else "Progressing"


def pod_status(pod: Manifest) -> tuple[str, int, int, int]:
    """Return the word that kubectl shows, ready containers, all containers, restarts."""
    status = mapping(pod.content.get("status"))
    word = str(status.get("reason") or status.get("phase") or "Unknown")
    containers = [mapping(found) for found in status.get("containerStatuses") or ()]
    for container in containers:
        state = mapping(container.get("state"))
        for kind in ("waiting", "terminated"):
            if reason := mapping(state.get(kind)).get("reason"):
                word = str(reason)
    if pod.metadata.is_deleting:
        word = "Terminating"
    ready = sum(1 for container in containers if container.get("ready") is True)
    restarts = sum(number for c in containers if isinstance(number := c.get("restartCount"), int))
    declared = mapping(pod.content.get("spec")).get("containers")
    return word, ready, len(declared) if isinstance(declared, list) else len(containers), restarts


def deadline_of(replica_set: Manifest) -> str:
    """Return the instant at which a ReplicaSet will be scaled down, empty if none is set."""
    text = replica_set.metadata.annotations.get("scale-down-deadline", "")
    return text if parse_rfc3339(text) else ""
