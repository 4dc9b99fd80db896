"""Whose business a change is: which keys to reconcile when an object changes, and what to watch.

Source: `argo-rollouts: analysis/controller.go`, `metricproviders/job/job.go`.
"""

from __future__ import annotations

from fairlead.core.kinds import AnalysisRun, Job
from fairlead.core.objects import ObjectKey

JOB_UID_LABEL = "analysisrun.argoproj.io/uid"  # on Jobs of runs and on their pods; also the selector to watch them by
JOB_NAME_ANNOTATION = "analysisrun.argoproj.io/name"
JOB_NAMESPACE_ANNOTATION = "analysisrun.argoproj.io/namespace"
JOB_METRIC_ANNOTATION = "analysisrun.argoproj.io/metric-name"


def runs_of_job(job: Job) -> tuple[ObjectKey, ...]:
    """Return the run that a Job measures for; empty if it has not ended, or is nobody's.

    Only the end of a Job is worth a look: what happens before is looked at in the measurement's own time.
    """
    meta = job.metadata
    name = meta.annotations.get(JOB_NAME_ANNOTATION, "")
    if JOB_UID_LABEL not in meta.labels or not name or not has_ended(job):
        return ()
    return (ObjectKey(meta.annotations.get(JOB_NAMESPACE_ANNOTATION) or meta.namespace, name),)


def has_ended(job: Job) -> bool:
    """Whether a Job is complete or has failed."""
    return any(
        condition.type in ("Complete", "Failed") and condition.status == "True" for condition in job.status.conditions
    )


def owners_of_run(run: AnalysisRun) -> tuple[str, ...]:
    """Return the UID of the Rollout or Experiment that controls a run; an index function for stores of runs."""
    owner = run.metadata.controller
    return (owner.uid,) if owner is not None else ()
