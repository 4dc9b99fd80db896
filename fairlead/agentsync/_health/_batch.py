"""Job, CronJob, and Argo's Workflow.

Source: gitops.md 10.2, 10.3; argo-cd: gitops-engine/pkg/health/health_job.go, health_argo.go,
resource_customizations/batch/CronJob.
"""

from __future__ import annotations

from fairlead.agentsync._health._reading import Reading
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing, suspended, unknown


def job(found: Reading) -> Health:
    conditions = found.conditions()
    failed = [one for one in conditions if one.type == "Failed"]
    if failed:
        return degraded(failed[-1].message)
    ended = [one for one in conditions if one.type in ("Complete", "Suspended")]
    if not ended:
        return progressing()
    paused = [one for one in ended if one.type == "Suspended" and one.is_true]
    return suspended(paused[-1].message) if paused else healthy(ended[-1].message)


def cron_job(found: Reading) -> Health:
    if found.flag("spec.suspend"):
        return healthy("CronJob is Suspended")
    if not found.has("status"):
        return progressing("Waiting for CronJob")
    # Instants of the API are RFC 3339 in UTC with whole seconds: their texts sort as they do.
    scheduled, successful = found.text("status.lastScheduleTime"), found.text("status.lastSuccessfulTime")
    if not scheduled:
        return healthy("CronJob has not been scheduled yet")
    if not successful:
        return healthy("The CronJob never completed successfully. It may not be healthy")
    if found.list_length("status.active"):
        return healthy("The job is running. Its last execution may not have been successful")
    if successful < scheduled:
        return degraded("CronJob has not completed its last execution successfully")
    return healthy("CronJob has completed its last execution successfully")


def workflow(found: Reading) -> Health:
    message = found.text("status.message")
    match found.text("status.phase"):
        case "" | "Pending" | "Running":
            return progressing(message)
        case "Succeeded":
            return healthy(message)
        case "Failed" | "Error":
            return degraded(message)
    return unknown(message)
