"""What the Job controller does next: pods to create or delete, the status, and when to look again.

Source: `k8s.io/kubernetes: pkg/controller/job/job_controller.go`, `backoff_utils.go`,
`pkg/controller/ttlafterfinished/`.

Simpler than upstream on purpose: finished pods carry no tracking finalizer (one that is deleted before the
controller has seen its end is not counted), completion indexes and pod failure policies are not acted upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fairlead.testing.workloads._objects import (
    JOBS,
    Condition,
    Job,
    JobStatus,
    Pod,
    pod_from_template,
    set_condition,
    template_of,
)

PARALLEL_MAX = 500  # pods created by one look, as upstream's MaxPodCreateDeletePerSync
BACKOFF_FIRST = timedelta(seconds=10)
BACKOFF_MOST = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one look at a Job leads to.

    Attributes:
        create: how many pods to create.
        delete: pods to delete.
        status: what is to be stored.
        delete_job: its time to live after finishing is over.
        wake_at: the earliest of: a retry's back-off, the active deadline, the end of its time to live.
    """

    create: int = 0
    delete: tuple[Pod, ...] = ()
    status: JobStatus
    delete_job: bool = False
    wake_at: datetime | None = None


def is_finished(job: Job) -> bool:
    """Return whether the Job is Complete or Failed for good."""
    return _has(job.status, "Complete") or _has(job.status, "Failed")


def decide(job: Job, pods: Sequence[Pod], now: datetime) -> Plan:
    """Return what brings the Job one look closer to its end.

    Args:
        job: as last seen.
        pods: all pods that it controls by UID, finished and deleting ones included.
        now: measured against back-off, active deadline and time to live.
    """
    now = now.replace(microsecond=0)
    if job.metadata.is_deleting:
        return Plan(status=job.status)
    if is_finished(job):
        return _after_the_end(job, now)
    active = [pod for pod in pods if pod.is_active]
    counted = msgspec.structs.replace(
        job.status,
        active=len(active),
        ready=sum(pod.is_ready for pod in active),
        terminating=sum(pod.metadata.is_deleting and not pod.is_finished for pod in pods),
        uncounted_terminated_pods={},
        # Never down: the user may delete a finished pod, and it stays counted.
        succeeded=max(job.status.succeeded, sum(pod.status.phase == "Succeeded" for pod in pods)),
        failed=max(job.status.failed, sum(pod.status.phase == "Failed" for pod in pods)),
    )
    if job.spec.suspend:
        return _suspended(job, counted, active, now)
    if counted.start_time is None:
        counted = msgspec.structs.replace(counted, start_time=now)
        if _has(job.status, "Suspended"):
            resumed = Condition(type="Suspended", status="False", reason="JobResumed", message="Job resumed")
            counted = _with(counted, resumed, now)
    if failure := _failure(job, counted, pods, now):
        return _failing(counted, failure, active, now)
    if _is_successful(job, counted):
        return _succeeding(counted, active, now)
    return _going_on(job, counted, active, pods, now)


def pod_body(job: Job, name: str) -> dict[str, Any]:
    """Return the pod that the Job's template describes, with the labels by which clients find it."""
    body = pod_from_template(template_of(job.spec.template), name=name, kind=JOBS, owner=job.metadata)
    labels = body["metadata"].setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels.setdefault(prefix + "job-name", job.metadata.name)
        labels.setdefault(prefix + "controller-uid", job.metadata.uid)
    body["spec"].setdefault("restartPolicy", "Never")
    return body


def _after_the_end(job: Job, now: datetime) -> Plan:
    ttl = job.spec.ttl_seconds_after_finished
    ended = next((c.last_transition_time for c in job.status.conditions if _ends(c)), None)
    if ttl is None or ended is None:
        return Plan(status=job.status)
    due = ended + timedelta(seconds=ttl)
    if due <= now:
        return Plan(status=job.status, delete_job=True)
    return Plan(status=job.status, wake_at=due)


def _suspended(job: Job, status: JobStatus, active: Sequence[Pod], now: datetime) -> Plan:
    condition = Condition(type="Suspended", status="True", reason="JobSuspended", message="Job suspended")
    status = msgspec.structs.replace(_with(status, condition, now), start_time=None)
    return Plan(delete=tuple(active), status=status)


def _failure(job: Job, status: JobStatus, pods: Sequence[Pod], now: datetime) -> Condition | None:
    """Return why the Job fails, as its FailureTarget condition, or None."""
    target = next((c for c in job.status.conditions if c.type == "FailureTarget" and c.status == "True"), None)
    if target is not None:
        return target
    template = template_of(job.spec.template)
    limit = job.spec.backoff_limit
    exceeded = status.failed > limit
    if (template.get("spec") or {}).get("restartPolicy") == "OnFailure":
        restarts = sum(pod.restarts for pod in pods if not pod.is_finished)
        exceeded = exceeded or (restarts > 0 if limit == 0 else restarts >= limit)
    if exceeded:
        return _target("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline = _deadline(job, status)
    if deadline is not None and deadline <= now:
        return _target("DeadlineExceeded", "Job was active longer than specified deadline")
    return None


def _failing(status: JobStatus, target: Condition, active: Sequence[Pod], now: datetime) -> Plan:
    """Mark the Job as failing at once, and as Failed when its last pod is gone."""
    status = _with(status, target, now)
    if not active and not status.terminating:
        failed = Condition(type="Failed", status="True", reason=target.reason, message=target.message)
        return Plan(status=_with(status, failed, now))
    return Plan(delete=tuple(active), status=status)


def _is_successful(job: Job, status: JobStatus) -> bool:
    if _has(status, "SuccessCriteriaMet"):
        return True
    completions = _completions(job)
    if completions is None:
        return status.succeeded > 0 and status.active == 0  # a work queue: one success, and nobody at work any more
    return status.succeeded >= completions


def _succeeding(status: JobStatus, active: Sequence[Pod], now: datetime) -> Plan:
    text = "Reached expected number of succeeded pods"
    words = Condition(type="SuccessCriteriaMet", status="True", reason="CompletionsReached", message=text)
    status = _with(status, words, now)
    if active or status.terminating:
        return Plan(delete=tuple(active), status=status)
    status = _with(status, msgspec.structs.replace(words, type="Complete"), now)
    return Plan(status=msgspec.structs.replace(status, completion_time=now))


def _going_on(job: Job, status: JobStatus, active: Sequence[Pod], pods: Sequence[Pod], now: datetime) -> Plan:
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    completions = _completions(job)
    if completions is None:
        wanted = len(active) if status.succeeded else parallelism
    else:
        wanted = min(parallelism, completions - status.succeeded)
    deadline = _deadline(job, status)
    # Terminating pods hold their place until they are gone, so that never more than `wanted` run at once.
    missing = wanted - len(active) - status.terminating
    if missing > 0:
        retry_at = _retry_at(pods)
        if retry_at is not None and now < retry_at:
            return Plan(status=status, wake_at=min(retry_at, deadline) if deadline else retry_at)
        create = min(missing, PARALLEL_MAX)
        status = msgspec.structs.replace(status, active=status.active + create)
        return Plan(create=create, status=status, wake_at=deadline)
    if len(active) > wanted:
        # The ones that got least far go first.
        spare = sorted(active, key=lambda pod: (pod.is_ready, pod.status.phase == "Running", pod.metadata.name))
        status = msgspec.structs.replace(status, active=wanted)
        return Plan(delete=tuple(spare[: len(active) - wanted]), status=status, wake_at=deadline)
    return Plan(status=status, wake_at=deadline)


def _completions(job: Job) -> int | None:
    """Return how many pods must succeed; None makes the Job a work queue. Neither count given: one pod."""
    if job.spec.completions is None and job.spec.parallelism is None:
        return 1
    return job.spec.completions


def _retry_at(pods: Sequence[Pod]) -> datetime | None:
    """Return when the next pod may be created: 10 s after the last failure, doubling with each in a row."""
    ended = sorted((_ended_at(pod), pod.status.phase == "Failed") for pod in pods if pod.is_finished)
    failures = 0
    last: datetime | None = None
    for at, has_failed in ended:
        failures, last = (failures + 1, at) if has_failed else (0, None)
    if last is None:
        return None
    delay: timedelta = BACKOFF_FIRST * 2 ** min(failures - 1, 16)
    return last + min(BACKOFF_MOST, delay)


def _ended_at(pod: Pod) -> datetime:
    """Return when a finished pod ended: with its last container, or when it began if none ever ran."""
    ends = [end for status in pod.status.container_statuses if (end := status.finished_at) is not None]
    found = max(ends, default=None) or pod.status.start_time or pod.metadata.creation_timestamp
    assert found is not None, f"{pod.metadata.key}: a stored pod has a creationTimestamp"
    return found


def _deadline(job: Job, status: JobStatus) -> datetime | None:
    if job.spec.active_deadline_seconds is None or status.start_time is None:
        return None
    return status.start_time + timedelta(seconds=job.spec.active_deadline_seconds)


def _target(reason: str, message: str) -> Condition:
    return Condition(type="FailureTarget", status="True", reason=reason, message=message)


def _ends(condition: Condition) -> bool:
    return condition.type in ("Complete", "Failed") and condition.status == "True"


def _has(status: JobStatus, type_: str) -> bool:
    return any(condition.type == type_ and condition.status == "True" for condition in status.conditions)


def _with(status: JobStatus, condition: Condition, now: datetime) -> JobStatus:
    return msgspec.structs.replace(
        status, conditions=set_condition(status.conditions, condition, now, has_probe_time=True)
    )
