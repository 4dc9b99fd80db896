"""Deployment, ReplicaSet, StatefulSet, DaemonSet.

Source: gitops.md 10.2; argo-cd: gitops-engine/pkg/health/health_deployment.go and its siblings.
"""

from __future__ import annotations

from fairlead.agentsync._health._reading import Reading
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing, suspended

_WAITING = "Waiting for rollout to finish:"


def _is_observed(found: Reading) -> bool:
    return found.generation <= found.count("status.observedGeneration")


def deployment(found: Reading) -> Health:
    if found.flag("spec.paused"):
        return suspended("Deployment is paused")
    if not _is_observed(found):
        return progressing(f"{_WAITING} observed deployment generation less than desired generation")
    condition = found.condition("Progressing")
    if condition is not None and condition.reason == "ProgressDeadlineExceeded":
        return degraded(f'Deployment "{found.name}" exceeded its progress deadline')
    desired = found.number("spec.replicas")
    total, updated = found.count("status.replicas"), found.count("status.updatedReplicas")
    available = found.count("status.availableReplicas")
    if desired is not None and updated < desired:
        return progressing(f"{_WAITING} {updated} out of {desired} new replicas have been updated...")
    if total > updated:
        return progressing(f"{_WAITING} {total - updated} old replicas are pending termination...")
    if available < updated:
        return progressing(f"{_WAITING} {available} of {updated} updated replicas are available...")
    return healthy()


def replica_set(found: Reading) -> Health:
    if not _is_observed(found):
        return progressing(f"{_WAITING} observed replica set generation less than desired generation")
    failure = found.condition("ReplicaFailure")
    if failure is not None and failure.is_true:
        return degraded(failure.message)
    desired, available = found.number("spec.replicas"), found.count("status.availableReplicas")
    if desired is not None and available < desired:
        return progressing(f"{_WAITING} {available} out of {desired} new replicas are available...")
    return healthy()


def stateful_set(found: Reading) -> Health:
    if not found.count("status.observedGeneration") or not _is_observed(found):
        return progressing("Waiting for statefulset spec update to be observed...")
    desired, ready = found.number("spec.replicas"), found.count("status.readyReplicas")
    if desired is not None and ready < desired:
        return progressing(f"Waiting for {desired - ready} pods to be ready...")
    updated = found.count("status.updatedReplicas")
    strategy = found.text("spec.updateStrategy.type")
    if strategy == "RollingUpdate" and found.has("spec.updateStrategy.rollingUpdate"):
        partition = found.number("spec.updateStrategy.rollingUpdate.partition")
        if desired is not None and partition is not None and updated < desired - partition:
            return progressing(
                f"Waiting for partitioned roll out to finish: {updated} out of {desired - partition} new pods have been"
                " updated..."
            )
        return healthy(f"partitioned roll out complete: {updated} new pods have been updated...")
    if strategy == "OnDelete":
        return healthy(f"statefulset has {ready} ready pods")
    current, update = found.text("status.currentRevision"), found.text("status.updateRevision")
    if current != update:
        return progressing(f"waiting for statefulset rolling update to complete {updated} pods at revision {update}...")
    count = found.count("status.currentReplicas")
    return healthy(f"statefulset rolling update complete {count} pods at revision {current}...")


def daemon_set(found: Reading) -> Health:
    if not _is_observed(found):
        return progressing(f"{_WAITING} observed daemon set generation less than desired generation")
    updated, desired = found.count("status.updatedNumberScheduled"), found.count("status.desiredNumberScheduled")
    if found.text("spec.updateStrategy.type") == "OnDelete":
        return healthy(f"daemon set {updated} out of {desired} new pods have been updated")
    waiting = f'Waiting for daemon set "{found.name}" rollout to finish:'
    if updated < desired:
        return progressing(f"{waiting} {updated} out of {desired} new pods have been updated...")
    available = found.count("status.numberAvailable")
    if available < desired:
        return progressing(f"{waiting} {available} of {desired} updated pods are available...")
    return healthy()
