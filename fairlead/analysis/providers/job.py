"""Runs a Job; its completion is the verdict. Conditions are not looked at.

Source: `argo-rollouts: metricproviders/job`. Where we differ: leftovers are removed metric by metric (upstream counts
the Jobs of the whole run), and an API server that cannot be reached for a moment does not end the measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from fairlead.analysis.ports import Question
from fairlead.analysis.providers._base import failed
from fairlead.analysis.providers.settings import ProviderTools
from fairlead.analysis.spec import JobMetric, Metric
from fairlead.analysis.status import Measurement, Phase
from fairlead.core.cluster import Cluster, Propagation
from fairlead.core.errors import (
    AlreadyExists,
    ClusterError,
    Forbidden,
    NotFound,
    ProviderError,
    TooManyRequests,
    Unavailable,
)
from fairlead.core.kinds import ANALYSIS_RUNS, JOBS, Job, carried
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta, controller_reference

NAME_KEY: Final = "job-name"
NAMESPACE_KEY: Final = "job-namespace"
UID_LABEL: Final = "analysisrun.argoproj.io/uid"
_ANNOTATION: Final = "analysisrun.argoproj.io/"
_NAME_MAX: Final = 63
_RETRY: Final = timedelta(seconds=5)
_TERMINAL: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
_PODS: Final = carried("", "v1", "Pod", "pods")


class JobProvider:
    """Creates a Job per measurement and looks at it until it ends."""

    def __init__(self, tools: ProviderTools) -> None:
        if tools.cluster is None:
            raise ProviderError("jobs need a cluster", provider="job")
        self._tools = tools
        self._cluster: Cluster = tools.cluster

    def metadata(self, metric: Metric) -> Mapping[str, str]:
        """Return nothing: a Job is shown by its measurement."""
        return {}

    async def measure(self, question: Question) -> Measurement:
        """Create the Job and return that it is on its way; one that is there already counts as created."""
        now = self._tools.clock.now()
        block = question.metric.provider.job
        assert block is not None, "the registry hands over metrics with a job block only"
        key = ObjectKey(self._tools.settings.job_namespace or question.run.namespace, _name(question))
        try:
            await self._create(question, block, key)
        except ClusterError as error:
            return msgspec.structs.replace(failed(str(error), self._tools.clock.now()), started_at=now)
        return Measurement(
            phase=Phase.RUNNING,
            started_at=now,
            metadata={NAME_KEY: key.name, NAMESPACE_KEY: key.namespace},
            resume_at=now,
        )

    async def _create(self, question: Question, block: JobMetric, key: ObjectKey) -> None:
        try:
            await self._cluster.create(JOBS, _manifest(question, block, key), namespace=key.namespace)
        except AlreadyExists:
            # A crash after the first creation asks again with the same name.
            job = await self._cluster.get(JOBS, key)
            owner = job.metadata.controller
            found = owner.uid if owner is not None else job.metadata.labels.get(UID_LABEL, "")
            if found != question.run_uid:
                raise

    async def resume(self, question: Question, measurement: Measurement) -> Measurement:
        """Return the verdict of the Job, or when to look again."""
        now = self._tools.clock.now()
        key = _key(measurement)
        if key is None:
            return failed("job metadata reference missing", now, measurement)
        try:
            job = await self._job(key)
            phase = _phase(job)
            if phase is not None:
                return _finished(measurement, phase, "", now)
            if text := await self._stuck(key):
                return _finished(measurement, Phase.INCONCLUSIVE, text, now)
        except (Unavailable, TooManyRequests):
            return msgspec.structs.replace(measurement, resume_at=now + _RETRY)
        except ClusterError as error:
            return failed(str(error), now, measurement)
        return msgspec.structs.replace(measurement, resume_at=now + _pause(measurement, now))

    async def _job(self, key: ObjectKey) -> Job:
        cached = self._tools.jobs.get(key) if self._tools.jobs is not None else None
        # A Job that the cache lacks may be too new for it, or gone: only the server knows.
        return cached if cached is not None else await self._cluster.get(JOBS, key)

    async def _stuck(self, key: ObjectKey) -> str:
        """Return why a container of the Job will never start; empty if none is known to be stuck."""
        try:
            page = await self._cluster.list(_PODS, namespace=key.namespace, label_selector=f"job-name={key.name}")
        except Forbidden:
            return ""  # without the right to list pods the Job's own limits end it
        return next((text for pod in page.items if (text := _stuck_container(pod))), "")

    async def terminate(self, question: Question, measurement: Measurement) -> Measurement:
        """Delete the Job with its pods; return the measurement as Inconclusive."""
        key = _key(measurement)
        now = self._tools.clock.now()
        if key is None:
            return failed("job metadata reference missing", now, measurement)
        try:
            await self._cluster.delete(JOBS, key, propagation=Propagation.FOREGROUND)
        except NotFound:
            return _finished(measurement, Phase.INCONCLUSIVE, "", now)
        except ClusterError as error:
            return failed(str(error), now, measurement)
        return _finished(measurement, Phase.INCONCLUSIVE, "", self._tools.clock.now())

    async def garbage_collect(self, question: Question, measurements: Sequence[Measurement]) -> None:
        """Delete the Jobs of these measurements."""
        for measurement in measurements:
            key = _key(measurement)
            if key is None:
                continue
            try:
                await self._cluster.delete(JOBS, key, propagation=Propagation.BACKGROUND)
            except NotFound:
                continue


def _name(question: Question) -> str:
    """Return `<run UID>.<metric>.<number>`, the metric's part cut so that the whole fits into a label."""
    rest = _NAME_MAX - len(question.run_uid) - len(str(question.number)) - 2
    return f"{question.run_uid}.{question.metric.name[: max(0, rest)]}.{question.number}"


def _key(measurement: Measurement) -> ObjectKey | None:
    name = measurement.metadata.get(NAME_KEY, "")
    namespace = measurement.metadata.get(NAMESPACE_KEY, "")
    return ObjectKey(namespace, name) if name and namespace else None


def _manifest(question: Question, block: JobMetric, key: ObjectKey) -> dict[str, Any]:
    """Return the Job: the user's spec with our label on Job and pods, so that caches may select by it."""
    spec = dict(block.spec)
    template = dict(_mapping(spec.get("template")))
    pod_metadata = dict(_mapping(template.get("metadata")))
    pod_metadata["labels"] = {**_mapping(pod_metadata.get("labels")), UID_LABEL: question.run_uid}
    spec["template"] = {**template, "metadata": pod_metadata}
    metadata: dict[str, Any] = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {**block.metadata.labels, UID_LABEL: question.run_uid},
        "annotations": {
            **block.metadata.annotations,
            f"{_ANNOTATION}name": question.run.name,
            f"{_ANNOTATION}namespace": question.run.namespace,
            f"{_ANNOTATION}metric-name": question.metric.name,
        },
    }
    if key.namespace == question.run.namespace:  # owners in another namespace are no owners
        run = ObjectMeta(name=question.run.name, namespace=question.run.namespace, uid=question.run_uid)
        metadata["ownerReferences"] = [
            controller_reference(api_version=ANALYSIS_RUNS.api_version, kind=ANALYSIS_RUNS.kind, metadata=run)
        ]
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _phase(job: Job) -> Phase | None:
    """Return the verdict of a Job that has ended; of several conditions the last one counts, as upstream."""
    verdicts = {"Complete": Phase.SUCCESSFUL, "Failed": Phase.FAILED}
    found = [verdicts[condition.type] for condition in job.status.conditions if condition.type in verdicts]
    return found[-1] if found else None


def _finished(measurement: Measurement, phase: Phase, message: str, now: datetime) -> Measurement:
    return msgspec.structs.replace(measurement, phase=phase, message=message, finished_at=now, resume_at=None)


def _pause(measurement: Measurement, now: datetime) -> timedelta:
    """Return sqrt(2 x elapsed seconds): 3 s after 5 s, 85 s after an hour; at least a second."""
    elapsed = (now - measurement.started_at).total_seconds() if measurement.started_at is not None else 0.0
    return timedelta(seconds=max(1.0, math.sqrt(2 * max(0.0, elapsed))))


def _stuck_container(pod: Manifest) -> str:
    status = _mapping(pod.content.get("status"))
    for kind in ("initContainerStatuses", "containerStatuses"):
        containers = status.get(kind)
        for container in containers if isinstance(containers, list) else ():
            waiting = _mapping(_mapping(_mapping(container).get("state")).get("waiting"))
            if (reason := waiting.get("reason")) in _TERMINAL:
                name, text = _mapping(container).get("name", ""), waiting.get("message", "")
                return f"Pod {pod.metadata.name}, container {name} has terminal error ({reason}): {text}\n"
    return ""
