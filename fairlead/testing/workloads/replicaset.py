"""What the ReplicaSet controller does next: how many pods to create, which to delete, what the status says.

Source: `k8s.io/kubernetes: pkg/controller/replicaset/replica_set.go`, `replica_set_utils.go`,
`pkg/controller/controller_utils.go: ActivePodsWithRanks`.

Simpler than upstream on purpose: pods are ours by owner UID (strays are never adopted), and the rank of a pod
to be deleted does not look at how its siblings spread over nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from fairlead.testing.workloads._objects import (
    Condition,
    Pod,
    ReplicaSet,
    ReplicaSetStatus,
    set_condition,
    template_of,
    without_condition,
)

BURST = 500  # pods created or deleted by one look, as upstream's BurstReplicas
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one look at a ReplicaSet leads to.

    Attributes:
        create: how many pods to create.
        delete: the pods to delete, first to go first.
        status: what is to be stored, as long as creating and deleting succeeds (else see `failed`).
        wake_at: when a pod becomes available by time alone.
    """

    create: int = 0
    delete: tuple[Pod, ...] = ()
    status: ReplicaSetStatus
    wake_at: datetime | None = None


def decide(replica_set: ReplicaSet, pods: Sequence[Pod], now: datetime) -> Plan:
    """Return what brings the ReplicaSet's pods closer to its wish.

    Args:
        replica_set: as last seen; one that is being deleted keeps its pods for the garbage collector.
        pods: all pods that it controls by UID, finished and deleting ones included.
        now: the instant that minReadySeconds is measured against.
    """
    active = [pod for pod in pods if pod.is_active]
    create, delete = 0, tuple[Pod, ...]()
    if not replica_set.metadata.is_deleting:
        missing = replica_set.spec.replicas - len(active)
        if missing > 0:
            create = min(missing, BURST)
        elif missing < 0:
            delete = tuple(sorted(active, key=_deletion_rank)[: min(-missing, BURST)])
    min_ready = timedelta(seconds=replica_set.spec.min_ready_seconds)
    available, wake_at = _count_available(active, min_ready, now)
    labels = (template_of(replica_set.spec.template).get("metadata") or {}).get("labels") or {}
    status = msgspec.structs.replace(
        replica_set.status,
        replicas=len(active),
        fully_labeled_replicas=sum(labels.items() <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(pod.is_ready for pod in active),
        available_replicas=available,
        terminating_replicas=sum(pod.metadata.is_deleting and not pod.is_finished for pod in pods),
        observed_generation=replica_set.metadata.generation,
        conditions=without_condition(replica_set.status.conditions, "ReplicaFailure"),
    )
    return Plan(create=create, delete=delete, status=status, wake_at=wake_at)


def failed(plan: Plan, replica_set: ReplicaSet, *, reason: str, message: str, now: datetime) -> ReplicaSetStatus:
    """Return the plan's status with the ReplicaFailure condition that a refused write leads to.

    Args:
        reason: `FailedCreate` or `FailedDelete`.
        message: the API server's words.
    """
    condition = Condition(type="ReplicaFailure", status="True", reason=reason, message=message)
    before = replica_set.status.conditions
    return msgspec.structs.replace(plan.status, conditions=set_condition(before, condition, now))


def _count_available(pods: Sequence[Pod], min_ready: timedelta, now: datetime) -> tuple[int, datetime | None]:
    """Return how many pods have been Ready for long enough, and when the next one will have been."""
    available, wake_at = 0, None
    for pod in pods:
        since = pod.ready_since
        if since is None:
            continue
        due = since + min_ready
        if not min_ready or due <= now:
            available += 1
        elif wake_at is None or due < wake_at:
            wake_at = due
    return available, wake_at


def _deletion_rank(pod: Pod) -> tuple[object, ...]:
    """Return a key that sorts the pods that are missed least to the front."""
    cost = pod.metadata.annotations.get(DELETION_COST, "0")
    since = pod.ready_since
    created = pod.metadata.creation_timestamp
    return (
        bool(pod.spec.node_name),
        _PHASE_RANK.get(pod.status.phase, 1),
        pod.is_ready,
        int(cost) if cost.lstrip("+-").isdecimal() else 0,
        # Ready for a shorter time goes first, then more restarts, then the younger.
        -since.timestamp() if since else 0.0,
        -pod.restarts,
        -created.timestamp() if created else 0.0,
        pod.metadata.name,
    )
