"""Rollout, AnalysisRun, Experiment, ApplicationSet, and Flagger's Canary.

Source: gitops.md 10.3; argo-cd: resource_customizations/argoproj.io, resource_customizations/flagger.app.
"""

from __future__ import annotations

from typing import Final

from fairlead.agentsync._health._reading import Reading, Unreadable
from fairlead.agentsync._health.verdict import Health, HealthCode, degraded, healthy, progressing, suspended, unknown
from fairlead.agentsync.resources import annotations_of

_WORKLOAD_GENERATION: Final = "rollout.argoproj.io/workload-generation"
_NOT_OBSERVED: Final = progressing("Waiting for rollout spec update to be observed")
_PHASES: Final = {
    "Healthy": HealthCode.HEALTHY,
    "Degraded": HealthCode.DEGRADED,
    "Progressing": HealthCode.PROGRESSING,
    "Paused": HealthCode.SUSPENDED,
}


def rollout(found: Reading) -> Health:
    if not _is_observed(found):
        return _NOT_OBSERVED
    phase = found.text("status.phase")
    if not phase:
        return _without_phase(found)
    code = _PHASES.get(phase)
    if code is None:
        raise Unreadable(f'status.phase: expected one of {", ".join(_PHASES)}, found "{phase}"')
    return Health(code, found.text("status.message"))


def _is_observed(found: Reading) -> bool:
    if not found.has("status.observedGeneration"):
        return False
    # Before v0.9 the field held a hash; one that is all digits is greater than any generation.
    observed = found.numeral("status.observedGeneration")
    if observed is not None and observed < found.generation:
        return False
    workload = annotations_of(found.found).get(_WORKLOAD_GENERATION)
    return workload is None or workload == found.text("status.workloadObservedGeneration")


def _without_phase(found: Reading) -> Health:
    for one in found.conditions():
        is_over = one.type == "Progressing" and one.reason in ("RolloutAborted", "ProgressDeadlineExceeded")
        if one.type == "InvalidSpec" or is_over:
            return degraded(one.message)
    if found.list_length("status.pauseConditions") or found.flag("spec.paused"):
        return suspended("Rollout is paused")
    current = found.text("status.currentPodHash")
    if not current:
        return progressing("Waiting for rollout to finish: status has not been reconciled.")
    updated = found.count("status.updatedReplicas")
    if updated < found.count("spec.replicas", 1):
        return progressing("Waiting for roll out to finish: More replicas need to be updated")
    if found.count("status.availableReplicas") < updated:
        return progressing("Waiting for roll out to finish: updated replicas are still becoming available")
    stable = found.text("status.stableRS") or found.text("status.canary.stableRS")
    if found.has("spec.strategy.blueGreen"):
        return _blue_green(found, current, stable)
    if found.has("spec.strategy.canary"):
        if found.count("status.replicas") > updated:
            return progressing("Waiting for roll out to finish: old replicas are pending termination")
        if stable != current:
            return progressing("Waiting for rollout to finish steps")
    return healthy()


def _blue_green(found: Reading, current: str, stable: str) -> Health:
    if found.text("status.blueGreen.activeSelector") != current:
        return progressing("active service cutover pending")
    if stable and stable != current:
        return progressing("waiting for analysis to complete")
    return healthy()


def analysis_run(found: Reading) -> Health:
    message = found.text("status.message")
    match found.text("status.phase"):
        case "Pending" | "Running":
            return progressing(message or "Analysis run is running")
        case "Successful":
            return healthy(message or "Analysis run completed successfully")
        case "Failed":
            return degraded(message or "Analysis run failed")
        case "Error":
            return degraded(message or "Analysis run had an error")
        case "Inconclusive":
            return unknown(message or "Analysis run was inconclusive")
    return progressing("Waiting for analysis run to finish: status has not been reconciled.")


def experiment(found: Reading) -> Health:
    match found.text("status.phase"):
        case "Pending":
            return progressing("Experiment is pending")
        case "Running":
            return progressing("Experiment is running")
        case "Successful":
            return healthy("Experiment is successful")
        case "Failed":
            return degraded("Experiment has failed")
        case "Error":
            return degraded("Experiment had an error")
    return progressing("Waiting for experiment to finish: status has not been reconciled.")


def application_set(found: Reading) -> Health:
    failed, current = found.condition("ErrorOccurred"), found.condition("ResourcesUpToDate")
    moving = found.condition("RolloutProgressing")
    if failed is not None and failed.is_true:
        return degraded(failed.message)
    if current is not None and current.is_false:
        return degraded(current.message)
    if moving is not None and moving.is_true:
        return progressing(moving.message)
    if current is not None and current.is_true:
        return healthy(current.message)
    return progressing("Waiting for the status to be reported")


def canary(found: Reading) -> Health:
    if not found.has("status"):
        return unknown("No status")
    phase, weight = found.text("status.phase"), found.numeral("status.canaryWeight") or 0
    parts = [phase, *([f"Canary Weight: {weight} %"] if weight > 0 else [])]
    message = " --- ".join([*parts, *(one.message for one in found.conditions())])
    match phase:
        case "Failed":
            return degraded(message)
        case "Progressing" | "Finalising" | "Promoting":
            return progressing(message)
        case "Succeeded" | "Initialized":
            return healthy(message)
    return unknown(message)
