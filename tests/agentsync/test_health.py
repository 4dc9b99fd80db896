"""Health of objects and of Applications: every row of the tables, with the exact messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync import health as module
from fairlead.agentsync.health import Health, HealthCode, Managed, application_health, health, refused_scripts, worst
from fairlead.agentsync.resources import Object, ResourceKey, key_of

HEALTHY, SUSPENDED, PROGRESSING = HealthCode.HEALTHY, HealthCode.SUSPENDED, HealthCode.PROGRESSING
MISSING, DEGRADED, UNKNOWN = HealthCode.MISSING, HealthCode.DEGRADED, HealthCode.UNKNOWN
FINISH = "Waiting for rollout to finish:"


def make(kind: str, *, generation: int = 2, metadata: dict[str, Any] | None = None, **content: Any) -> Object:
    """Return an object; `kind` is `group/version/Kind` or `v1/Kind`."""
    api_version, _, name = kind.rpartition("/")
    base = {"name": "web", "namespace": "shop", "generation": generation}
    return {"apiVersion": api_version, "kind": name, "metadata": base | (metadata or {}), **content}


def cond(kind: str, status: str = "True", message: str = "why", **rest: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "message": message, **rest}


def with_status(kind: str, spec: dict[str, Any] | None = None, **status: Any) -> Object:
    return make(kind, spec=spec or {}, status={"observedGeneration": 2, **status})


DEPLOYMENT, STATEFUL, DAEMON = "apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet"
REPLICA_SET = "apps/v1/ReplicaSet"
FULL: dict[str, Any] = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}

WORKLOADS = [
    pytest.param(
        make(DEPLOYMENT, spec={"paused": True}), SUSPENDED, "Deployment is paused", id="deployment-paused-comes-first"
    ),
    pytest.param(
        make(DEPLOYMENT, generation=3, spec={}, status={"observedGeneration": 2}),
        PROGRESSING,
        f"{FINISH} observed deployment generation less than desired generation",
        id="deployment-not-observed",
    ),
    pytest.param(
        with_status(DEPLOYMENT, conditions=[cond("Progressing", "False", reason="ProgressDeadlineExceeded")]),
        DEGRADED,
        'Deployment "web" exceeded its progress deadline',
        id="deployment-deadline",
    ),
    pytest.param(
        with_status(DEPLOYMENT, {"replicas": 3}, replicas=3, updatedReplicas=1),
        PROGRESSING,
        f"{FINISH} 1 out of 3 new replicas have been updated...",
        id="deployment-updating",
    ),
    pytest.param(
        with_status(DEPLOYMENT, {"replicas": 3}, replicas=5, updatedReplicas=3),
        PROGRESSING,
        f"{FINISH} 2 old replicas are pending termination...",
        id="deployment-old-replicas",
    ),
    pytest.param(
        with_status(DEPLOYMENT, {"replicas": 3}, replicas=3, updatedReplicas=3, availableReplicas=2),
        PROGRESSING,
        f"{FINISH} 2 of 3 updated replicas are available...",
        id="deployment-not-available",
    ),
    pytest.param(with_status(DEPLOYMENT, {"replicas": 3}, **FULL), HEALTHY, "", id="deployment-healthy"),
    pytest.param(with_status(DEPLOYMENT, **FULL), HEALTHY, "", id="deployment-without-replicas"),
    pytest.param(
        make(REPLICA_SET, generation=3, status={"observedGeneration": 2}),
        PROGRESSING,
        f"{FINISH} observed replica set generation less than desired generation",
        id="replicaset-not-observed",
    ),
    pytest.param(
        with_status(REPLICA_SET, {"replicas": 2}, conditions=[cond("ReplicaFailure", message="quota")]),
        DEGRADED,
        "quota",
        id="replicaset-failure",
    ),
    pytest.param(
        with_status(REPLICA_SET, {"replicas": 2}, availableReplicas=1),
        PROGRESSING,
        f"{FINISH} 1 out of 2 new replicas are available...",
        id="replicaset-not-available",
    ),
    pytest.param(with_status(REPLICA_SET, {"replicas": 2}, availableReplicas=2), HEALTHY, "", id="replicaset-healthy"),
    pytest.param(
        make(STATEFUL, generation=0, spec={}, status={}),
        PROGRESSING,
        "Waiting for statefulset spec update to be observed...",
        id="statefulset-never-observed",
    ),
    pytest.param(
        make(STATEFUL, generation=3, spec={}, status={"observedGeneration": 2}),
        PROGRESSING,
        "Waiting for statefulset spec update to be observed...",
        id="statefulset-not-observed",
    ),
    pytest.param(
        with_status(STATEFUL, {"replicas": 3}, readyReplicas=1),
        PROGRESSING,
        "Waiting for 2 pods to be ready...",
        id="statefulset-not-ready",
    ),
    pytest.param(
        with_status(STATEFUL, {"replicas": 3, "updateStrategy": ROLLING}, readyReplicas=3, updatedReplicas=1),
        PROGRESSING,
        "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated...",
        id="statefulset-partition-updating",
    ),
    pytest.param(
        with_status(STATEFUL, {"replicas": 3, "updateStrategy": ROLLING}, readyReplicas=3, updatedReplicas=2),
        HEALTHY,
        "partitioned roll out complete: 2 new pods have been updated...",
        id="statefulset-partition-complete",
    ),
    pytest.param(
        with_status(STATEFUL, {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}, readyReplicas=3),
        HEALTHY,
        "statefulset has 3 ready pods",
        id="statefulset-on-delete",
    ),
    pytest.param(
        with_status(
            STATEFUL,
            {"updateStrategy": {"type": "RollingUpdate"}},
            updatedReplicas=1,
            currentRevision="web-1",
            updateRevision="web-2",
        ),
        PROGRESSING,
        "waiting for statefulset rolling update to complete 1 pods at revision web-2...",
        id="statefulset-rolling",
    ),
    pytest.param(
        with_status(STATEFUL, currentReplicas=3, currentRevision="web-2", updateRevision="web-2"),
        HEALTHY,
        "statefulset rolling update complete 3 pods at revision web-2...",
        id="statefulset-complete",
    ),
    pytest.param(
        make(DAEMON, generation=3, status={"observedGeneration": 2}),
        PROGRESSING,
        f"{FINISH} observed daemon set generation less than desired generation",
        id="daemonset-not-observed",
    ),
    pytest.param(
        with_status(
            DAEMON, {"updateStrategy": {"type": "OnDelete"}}, updatedNumberScheduled=1, desiredNumberScheduled=4
        ),
        HEALTHY,
        "daemon set 1 out of 4 new pods have been updated",
        id="daemonset-on-delete",
    ),
    pytest.param(
        with_status(DAEMON, updatedNumberScheduled=1, desiredNumberScheduled=4),
        PROGRESSING,
        'Waiting for daemon set "web" rollout to finish: 1 out of 4 new pods have been updated...',
        id="daemonset-updating",
    ),
    pytest.param(
        with_status(DAEMON, updatedNumberScheduled=4, desiredNumberScheduled=4, numberAvailable=3),
        PROGRESSING,
        'Waiting for daemon set "web" rollout to finish: 3 of 4 updated pods are available...',
        id="daemonset-not-available",
    ),
    pytest.param(
        with_status(DAEMON, updatedNumberScheduled=4, desiredNumberScheduled=4, numberAvailable=4),
        HEALTHY,
        "",
        id="daemonset-healthy",
    ),
]

ADDRESS = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}


def hpa(*conditions: dict[str, Any], version: str = "v2") -> Object:
    return make(f"autoscaling/{version}/HorizontalPodAutoscaler", status={"conditions": list(conditions)})


def hpa_v1(text: str | None) -> Object:
    annotations = {} if text is None else {"autoscaling.alpha.kubernetes.io/conditions": text}
    return make("autoscaling/v1/HorizontalPodAutoscaler", metadata={"annotations": annotations})


CLUSTER = [
    pytest.param(make("v1/Service", spec={"type": "LoadBalancer"}), PROGRESSING, "", id="service-without-address"),
    pytest.param(make("v1/Service", spec={"type": "LoadBalancer"}, status=ADDRESS), HEALTHY, "", id="service-address"),
    pytest.param(make("v1/Service", spec={"type": "ClusterIP"}), HEALTHY, "", id="service-inside"),
    pytest.param(make("networking.k8s.io/v1/Ingress"), PROGRESSING, "", id="ingress-without-address"),
    pytest.param(make("networking.k8s.io/v1/Ingress", status=ADDRESS), HEALTHY, "", id="ingress-address"),
    pytest.param(make("extensions/v1beta1/Ingress", status=ADDRESS), HEALTHY, "", id="ingress-of-old"),
    *(
        pytest.param(make("v1/PersistentVolumeClaim", status={"phase": phase}), code, "", id=f"pvc-{phase or 'none'}")
        for phase, code in (
            ("Lost", DEGRADED),
            ("Pending", PROGRESSING),
            ("Bound", HEALTHY),
            ("Odd", UNKNOWN),
            ("", UNKNOWN),
        )
    ),
    *(
        pytest.param(
            hpa(cond("ScalingLimited"), cond(kind, "False", "bad", reason=reason)), DEGRADED, "bad", id=f"hpa-{reason}"
        )
        for kind, reason in (
            ("AbleToScale", "FailedGetScale"),
            ("AbleToScale", "FailedUpdateScale"),
            ("ScalingActive", "FailedGetResourceMetric"),
            ("ScalingActive", "FailedGetObjectMetric"),
            ("ScalingActive", "FailedGetPodsMetric"),
            ("ScalingActive", "FailedGetExternalMetric"),
            ("ScalingActive", "FailedComputeMetricsReplicas"),
            ("ScalingActive", "InvalidSelector"),
        )
    ),
    pytest.param(hpa(cond("AbleToScale", message="ready")), HEALTHY, "ready", id="hpa-able"),
    pytest.param(hpa(cond("ScalingLimited", message="few")), HEALTHY, "few", id="hpa-limited"),
    pytest.param(hpa(), PROGRESSING, "Waiting to Autoscale", id="hpa-none"),
    pytest.param(hpa(cond("AbleToScale"), version="v2beta2"), HEALTHY, "why", id="hpa-v2beta2"),
    pytest.param(
        hpa_v1('[{"type": "AbleToScale", "status": "True", "message": "m"}]'), HEALTHY, "m", id="hpa-v1-annotation"
    ),
    pytest.param(hpa_v1(None), PROGRESSING, "Waiting to Autoscale", id="hpa-v1-no-annotation"),
    pytest.param(hpa_v1("[]"), PROGRESSING, "Waiting to Autoscale", id="hpa-v1-no-conditions"),
    pytest.param(
        hpa(cond("AbleToScale"), version="v9"),
        UNKNOWN,
        "unsupported HPA GVK: autoscaling/v9, Kind=HorizontalPodAutoscaler",
        id="hpa-v9",
    ),
    pytest.param(
        make("apiregistration.k8s.io/v1/APIService", status={"conditions": [cond("Available", reason="Passed")]}),
        HEALTHY,
        "Passed: why",
        id="apiservice-available",
    ),
    pytest.param(
        make(
            "apiregistration.k8s.io/v1beta1/APIService",
            status={"conditions": [cond("Available", "False", reason="MissingEndpoints")]},
        ),
        PROGRESSING,
        "MissingEndpoints: why",
        id="apiservice-not-available",
    ),
    pytest.param(
        make("apiregistration.k8s.io/v1/APIService"), PROGRESSING, "Waiting to be processed", id="apiservice-new"
    ),
]


def pod(phase: str, policy: str = "Always", *, annotations: dict[str, str] | None = None, **status: Any) -> Object:
    return make(
        "v1/Pod",
        metadata={"annotations": annotations or {}},
        spec={"restartPolicy": policy},
        status={"phase": phase, **status},
    )


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}


def ended(name: str = "main", **terminated: Any) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": terminated}}


LONG = {"argocd.argoproj.io/ignore-restart-policy": "true"}
CRASHED = [{"name": "main", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}]
PODS = [
    pytest.param(
        pod(
            "Pending",
            containerStatuses=[
                waiting("ErrImagePull", "no image"),
                waiting("ContainerCreating", "soon"),
                waiting("CreateContainerConfigError", "no map"),
                waiting("CrashLoopBackOff", "back-off 10s"),
            ],
        ),
        DEGRADED,
        "no image, no map, back-off 10s",
        id="stuck",
    ),
    pytest.param(
        pod("Pending", "Never", containerStatuses=[waiting("ErrImagePull", "no image")], message="waits"),
        PROGRESSING,
        "waits",
        id="one-that-ends-is-not-stuck",
    ),
    pytest.param(
        pod("Pending", "Never", annotations=LONG, containerStatuses=[waiting("ImagePullBackOff", "no image")]),
        DEGRADED,
        "no image",
        id="annotated-stuck",
    ),
    pytest.param(pod("Pending", message="unschedulable"), PROGRESSING, "unschedulable", id="pending"),
    pytest.param(pod("Succeeded", "Never", message="done"), HEALTHY, "done", id="succeeded"),
    pytest.param(
        pod("Failed", "Never", message="evicted", containerStatuses=[ended(exitCode=1)]),
        DEGRADED,
        "evicted",
        id="failed",
    ),
    pytest.param(
        pod(
            "Failed",
            "Never",
            initContainerStatuses=[ended("setup", exitCode=0), ended("load", message="no table", exitCode=2)],
            containerStatuses=[ended(exitCode=1)],
        ),
        DEGRADED,
        "no table",
        id="failed-init-first",
    ),
    pytest.param(
        pod("Failed", "Never", containerStatuses=[ended(reason="OOMKilled", exitCode=137)]),
        DEGRADED,
        "OOMKilled",
        id="failed-memory",
    ),
    pytest.param(
        pod("Failed", "Never", containerStatuses=[ended(exitCode=0), ended("side", exitCode=3)]),
        DEGRADED,
        'container "side" failed with exit code 3',
        id="failed-exit-code",
    ),
    pytest.param(pod("Failed", "Never"), DEGRADED, "", id="failed-silently"),
    pytest.param(pod("Running", conditions=[cond("Ready")], message="ok"), HEALTHY, "ok", id="running-ready"),
    pytest.param(
        pod("Running", conditions=[cond("Ready", "False")], containerStatuses=CRASHED),
        DEGRADED,
        "",
        id="running-crashed",
    ),
    pytest.param(pod("Running", containerStatuses=[]), PROGRESSING, "", id="running-not-ready"),
    pytest.param(pod("Running", "OnFailure", conditions=[cond("Ready")]), PROGRESSING, "", id="running-on-failure"),
    pytest.param(pod("Running", "Never", conditions=[cond("Ready")]), PROGRESSING, "", id="running-never"),
    pytest.param(
        pod("Running", "Never", annotations=LONG, conditions=[cond("Ready")]), HEALTHY, "", id="running-annotated"
    ),
    pytest.param(pod("Unknown", message="lost"), UNKNOWN, "lost", id="unknown-phase"),
]


def job(*conditions: dict[str, Any]) -> Object:
    return make("batch/v1/Job", status={"conditions": list(conditions)})


def cron(spec: dict[str, Any] | None = None, **status: Any) -> Object:
    return make("batch/v1/CronJob", spec=spec or {}, status=status)


EARLY, LATE = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"
BATCH = [
    pytest.param(job(), PROGRESSING, "", id="job-running"),
    pytest.param(job(cond("Complete"), cond("Failed", message="limit")), DEGRADED, "limit", id="job-failed"),
    pytest.param(job(cond("Suspended", message="halt")), SUSPENDED, "halt", id="job-suspended"),
    pytest.param(job(cond("Suspended", "False", "resumed")), HEALTHY, "resumed", id="job-resumed"),
    pytest.param(job(cond("Complete", message="done")), HEALTHY, "done", id="job-complete"),
    pytest.param(cron({"suspend": True}), HEALTHY, "CronJob is Suspended", id="cron-suspended"),
    pytest.param(make("batch/v1/CronJob", spec={}), PROGRESSING, "Waiting for CronJob", id="cron-new"),
    pytest.param(cron(), HEALTHY, "CronJob has not been scheduled yet", id="cron-never-scheduled"),
    pytest.param(
        cron(lastScheduleTime=LATE, active=[{"name": "x"}]),
        HEALTHY,
        "The CronJob never completed successfully. It may not be healthy",
        id="cron-never-successful",
    ),
    pytest.param(
        cron(lastScheduleTime=LATE, lastSuccessfulTime=EARLY, active=[{"name": "x"}]),
        HEALTHY,
        "The job is running. Its last execution may not have been successful",
        id="cron-active",
    ),
    pytest.param(
        cron(lastScheduleTime=LATE, lastSuccessfulTime=EARLY),
        DEGRADED,
        "CronJob has not completed its last execution successfully",
        id="cron-failed",
    ),
    pytest.param(
        cron(lastScheduleTime=EARLY, lastSuccessfulTime=LATE),
        HEALTHY,
        "CronJob has completed its last execution successfully",
        id="cron-successful",
    ),
    *(
        pytest.param(
            make("argoproj.io/v1alpha1/Workflow", status={"phase": phase, "message": "m"}),
            code,
            "m",
            id=f"workflow-{phase}",
        )
        for phase, code in (
            ("", PROGRESSING),
            ("Pending", PROGRESSING),
            ("Running", PROGRESSING),
            ("Succeeded", HEALTHY),
            ("Failed", DEGRADED),
            ("Error", DEGRADED),
            ("Odd", UNKNOWN),
        )
    ),
]


def crd(*conditions: dict[str, Any]) -> Object:
    return make("apiextensions.k8s.io/v1/CustomResourceDefinition", status={"conditions": list(conditions)})


def rollout(spec: dict[str, Any] | None = None, **status: Any) -> Object:
    return make("argoproj.io/v1alpha1/Rollout", spec=spec or {}, status={"observedGeneration": "2", **status})


NOT_OBSERVED = "Waiting for rollout spec update to be observed"
SETTLED: dict[str, Any] = {
    "currentPodHash": "b",
    "stableRS": "b",
    "replicas": 1,
    "updatedReplicas": 1,
    "availableReplicas": 1,
}
CANARY: dict[str, Any] = {"strategy": {"canary": {}}}
BLUE_GREEN: dict[str, Any] = {"strategy": {"blueGreen": {}}}
WORKLOAD = {"annotations": {"rollout.argoproj.io/workload-generation": "7"}}
DELIVERY = [
    pytest.param(crd(), PROGRESSING, "Status conditions not found", id="crd-new"),
    pytest.param(
        make("apiextensions.k8s.io/v1/CustomResourceDefinition"),
        PROGRESSING,
        "Status conditions not found",
        id="crd-no-status",
    ),
    pytest.param(
        crd(cond("Established"), cond("Terminating", message="objects left")),
        PROGRESSING,
        "CRD is terminating: objects left",
        id="crd-terminating",
    ),
    pytest.param(
        crd(cond("NamesAccepted", "False", "taken"), cond("NonStructuralSchema")),
        DEGRADED,
        "CRD names have not been accepted: taken",
        id="crd-names",
    ),
    pytest.param(
        crd(cond("Established"), cond("NonStructuralSchema", message="spec.x")),
        DEGRADED,
        "Schema violations found: spec.x",
        id="crd-schema",
    ),
    pytest.param(
        crd(cond("Established", "False", reason="Installing")),
        PROGRESSING,
        "CRD is being installed",
        id="crd-installing",
    ),
    pytest.param(crd(cond("NamesAccepted")), DEGRADED, "CRD is not established", id="crd-not-established"),
    pytest.param(crd(cond("Established"), cond("NamesAccepted")), HEALTHY, "CRD is healthy", id="crd-healthy"),
    pytest.param(make("argoproj.io/v1alpha1/Rollout"), PROGRESSING, NOT_OBSERVED, id="rollout-new"),
    pytest.param(rollout(observedGeneration="1", phase="Healthy"), PROGRESSING, NOT_OBSERVED, id="rollout-behind"),
    pytest.param(rollout(observedGeneration=1, phase="Healthy"), PROGRESSING, NOT_OBSERVED, id="rollout-behind-number"),
    pytest.param(rollout(observedGeneration="9", phase="Healthy"), HEALTHY, "", id="rollout-greater-passes"),
    pytest.param(rollout(observedGeneration="6b4f", phase="Healthy"), HEALTHY, "", id="rollout-hash-passes"),
    pytest.param(
        make(
            "argoproj.io/v1alpha1/Rollout",
            metadata=WORKLOAD,
            status={"observedGeneration": "2", "workloadObservedGeneration": "6", "phase": "Healthy"},
        ),
        PROGRESSING,
        NOT_OBSERVED,
        id="rollout-workload-behind",
    ),
    pytest.param(
        make(
            "argoproj.io/v1alpha1/Rollout",
            metadata=WORKLOAD,
            status={"observedGeneration": "2", "workloadObservedGeneration": "7", "phase": "Healthy"},
        ),
        HEALTHY,
        "",
        id="rollout-workload-observed",
    ),
    pytest.param(rollout(phase="Paused", message="CanaryPauseStep"), SUSPENDED, "CanaryPauseStep", id="rollout-paused"),
    pytest.param(
        rollout(phase="Degraded", message="RolloutAborted"), DEGRADED, "RolloutAborted", id="rollout-degraded"
    ),
    pytest.param(rollout(phase="Progressing", message="m"), PROGRESSING, "m", id="rollout-progressing"),
    pytest.param(
        rollout(phase="Odd"),
        UNKNOWN,
        'status.phase: expected one of Healthy, Degraded, Progressing, Paused, found "Odd"',
        id="rollout-odd-phase",
    ),
    pytest.param(rollout(conditions=[cond("InvalidSpec")]), DEGRADED, "why", id="rollout-old-invalid"),
    *(
        pytest.param(
            rollout(conditions=[cond("Progressing", reason=reason)]), DEGRADED, "why", id=f"rollout-old-{reason}"
        )
        for reason in ("RolloutAborted", "ProgressDeadlineExceeded")
    ),
    pytest.param(
        rollout(pauseConditions=[{"reason": "CanaryPauseStep"}]),
        SUSPENDED,
        "Rollout is paused",
        id="rollout-old-paused",
    ),
    pytest.param(rollout({"paused": True}), SUSPENDED, "Rollout is paused", id="rollout-old-paused-by-spec"),
    pytest.param(
        rollout(),
        PROGRESSING,
        "Waiting for rollout to finish: status has not been reconciled.",
        id="rollout-old-no-hash",
    ),
    pytest.param(
        rollout({"replicas": 2}, **SETTLED),
        PROGRESSING,
        "Waiting for roll out to finish: More replicas need to be updated",
        id="rollout-old-updating",
    ),
    pytest.param(
        rollout(**(SETTLED | {"availableReplicas": 0})),
        PROGRESSING,
        "Waiting for roll out to finish: updated replicas are still becoming available",
        id="rollout-old-not-available",
    ),
    pytest.param(
        rollout(BLUE_GREEN, **SETTLED), PROGRESSING, "active service cutover pending", id="rollout-old-cutover"
    ),
    pytest.param(
        rollout(BLUE_GREEN, **(SETTLED | {"stableRS": "a", "blueGreen": {"activeSelector": "b"}})),
        PROGRESSING,
        "waiting for analysis to complete",
        id="rollout-old-analysis",
    ),
    pytest.param(
        rollout(BLUE_GREEN, **(SETTLED | {"blueGreen": {"activeSelector": "b"}})),
        HEALTHY,
        "",
        id="rollout-old-blue-green",
    ),
    pytest.param(
        rollout(CANARY, **(SETTLED | {"replicas": 2})),
        PROGRESSING,
        "Waiting for roll out to finish: old replicas are pending termination",
        id="rollout-old-replicas",
    ),
    pytest.param(
        rollout(CANARY, **(SETTLED | {"stableRS": "a"})),
        PROGRESSING,
        "Waiting for rollout to finish steps",
        id="rollout-old-steps",
    ),
    pytest.param(rollout(CANARY, **SETTLED), HEALTHY, "", id="rollout-old-healthy"),
    *(
        pytest.param(
            make("argoproj.io/v1alpha1/AnalysisRun", status={"phase": phase}), code, text, id=f"analysisrun-{phase}"
        )
        for phase, code, text in (
            ("Pending", PROGRESSING, "Analysis run is running"),
            ("Running", PROGRESSING, "Analysis run is running"),
            ("Successful", HEALTHY, "Analysis run completed successfully"),
            ("Failed", DEGRADED, "Analysis run failed"),
            ("Error", DEGRADED, "Analysis run had an error"),
            ("Inconclusive", UNKNOWN, "Analysis run was inconclusive"),
            ("", PROGRESSING, "Waiting for analysis run to finish: status has not been reconciled."),
        )
    ),
    pytest.param(
        make("argoproj.io/v1alpha1/AnalysisRun", status={"phase": "Failed", "message": "own"}),
        DEGRADED,
        "own",
        id="analysisrun-own-message",
    ),
    *(
        pytest.param(
            make("argoproj.io/v1alpha1/Experiment", status={"phase": phase}), code, text, id=f"experiment-{phase}"
        )
        for phase, code, text in (
            ("Pending", PROGRESSING, "Experiment is pending"),
            ("Running", PROGRESSING, "Experiment is running"),
            ("Successful", HEALTHY, "Experiment is successful"),
            ("Failed", DEGRADED, "Experiment has failed"),
            ("Error", DEGRADED, "Experiment had an error"),
            ("", PROGRESSING, "Waiting for experiment to finish: status has not been reconciled."),
        )
    ),
    *(
        pytest.param(
            make("argoproj.io/v1alpha1/ApplicationSet", status={"conditions": conditions}),
            code,
            text,
            id=f"appset-{name}",
        )
        for name, conditions, code, text in (
            ("error", [cond("ResourcesUpToDate", "True"), cond("ErrorOccurred", message="bad")], DEGRADED, "bad"),
            ("old", [cond("RolloutProgressing"), cond("ResourcesUpToDate", "False", "old")], DEGRADED, "old"),
            (
                "moving",
                [cond("ResourcesUpToDate"), cond("RolloutProgressing", message="step 1")],
                PROGRESSING,
                "step 1",
            ),
            ("current", [cond("ErrorOccurred", "False"), cond("ResourcesUpToDate", message="ok")], HEALTHY, "ok"),
            ("silent", [], PROGRESSING, "Waiting for the status to be reported"),
        )
    ),
    *(
        pytest.param(
            make(
                "flagger.app/v1beta1/Canary",
                status={"phase": phase, "canaryWeight": weight, "conditions": [cond("Promoted", message="m")]},
            ),
            code,
            text,
            id=f"canary-{phase}",
        )
        for phase, weight, code, text in (
            ("Failed", 0, DEGRADED, "Failed --- m"),
            ("Progressing", 20, PROGRESSING, "Progressing --- Canary Weight: 20 % --- m"),
            ("Finalising", 0, PROGRESSING, "Finalising --- m"),
            ("Promoting", 100, PROGRESSING, "Promoting --- Canary Weight: 100 % --- m"),
            ("Succeeded", 0, HEALTHY, "Succeeded --- m"),
            ("Initialized", 0, HEALTHY, "Initialized --- m"),
            ("Waiting", 0, UNKNOWN, "Waiting --- m"),
        )
    ),
    pytest.param(make("flagger.app/v1beta1/Canary"), UNKNOWN, "No status", id="canary-new"),
]

ESO_KINDS = ("ExternalSecret", "SecretStore", "ClusterSecretStore", "PushSecret")
SECRETS = [
    *(
        pytest.param(
            make(f"external-secrets.io/v1/{kind}", status={"conditions": conditions}), code, text, id=f"{kind}-{name}"
        )
        for kind in ESO_KINDS
        for name, conditions, code, text in (
            ("false", [cond("Deleted"), cond("Ready", "False", "denied"), cond("Ready")], DEGRADED, "denied"),
            ("true", [cond("Ready", message="synced")], HEALTHY, "synced"),
            ("none", [], PROGRESSING, f"Waiting for {kind}"),
        )
    ),
    *(
        pytest.param(
            make("external-secrets.io/v1/ClusterExternalSecret", status={"conditions": conditions}),
            code,
            text,
            id=f"ClusterExternalSecret-{name}",
        )
        for name, conditions, code, text in (
            ("ready", [cond("NotReady"), cond("Ready", message="all")], HEALTHY, "all"),
            ("partial", [cond("Ready"), cond("PartiallyReady", message="some")], DEGRADED, "some"),
            ("not-ready", [cond("Ready"), cond("NotReady", message="none")], DEGRADED, "none"),
            ("none", [], PROGRESSING, "Waiting for ClusterExternalSecret"),
        )
    ),
    *(
        pytest.param(
            make("cert-manager.io/v1/Certificate", status={"conditions": conditions}),
            code,
            text,
            id=f"certificate-{name}",
        )
        for name, conditions, code, text in (
            ("issuing", [cond("Ready", "False"), cond("Issuing", message="asked")], PROGRESSING, "asked"),
            ("not-ready", [cond("Issuing", "False"), cond("Ready", "False", "expired")], DEGRADED, "expired"),
            ("ready", [cond("Ready", message="valid")], HEALTHY, "valid"),
            ("none", [], PROGRESSING, "Waiting for certificate"),
        )
    ),
]


def route(kind: str, *parents: list[dict[str, Any]]) -> Object:
    status = {"parents": [{"parentRef": {"name": f"gw{n}"}, "conditions": found} for n, found in enumerate(parents)]}
    return make(f"gateway.networking.k8s.io/v1/{kind}", status=status)


def now(kind: str, status: str = "True", message: str = "why") -> dict[str, Any]:
    return cond(kind, status, message, observedGeneration=2)


def stale(kind: str, status: str = "True", message: str = "why") -> dict[str, Any]:
    return cond(kind, status, message, observedGeneration=1)


def gateway(own: list[dict[str, Any]], *listeners: list[dict[str, Any]]) -> Object:
    status = {"conditions": own, "listeners": [{"name": "x", "conditions": found} for found in listeners]}
    return make("gateway.networking.k8s.io/v1/Gateway", status=status)


def backend_tls(*ancestors: list[dict[str, Any]]) -> Object:
    found = [{"ancestorRef": {"name": f"gw{n}"}, "conditions": inner} for n, inner in enumerate(ancestors)]
    return make("gateway.networking.k8s.io/v1/BackendTLSPolicy", status={"ancestors": found})


def gateway_class(*conditions: dict[str, Any]) -> Object:
    return make("gateway.networking.k8s.io/v1/GatewayClass", status={"conditions": list(conditions)})


GATEWAY = [
    pytest.param(
        route("HTTPRoute", [now("Accepted", "False", "no"), now("ResolvedRefs", "False", "no backend")]),
        DEGRADED,
        "Parent gw0: no backend",
        id="httproute-refs-before-accepted",
    ),
    pytest.param(
        route("HTTPRoute", [now("Accepted")], [now("Accepted", "False", "no listener")]),
        DEGRADED,
        "Parent gw1: no listener",
        id="httproute-second-parent",
    ),
    pytest.param(
        route("HTTPRoute", [now("Accepted", "False", "")]),
        DEGRADED,
        "Parent gw0: Failed condition: Accepted",
        id="httproute-no-message",
    ),
    pytest.param(
        route("HTTPRoute", [now("Accepted"), now("Programmed", "Unknown", "")]),
        PROGRESSING,
        "Parent gw0: Route is still being programmed",
        id="httproute-programming",
    ),
    pytest.param(
        route("HTTPRoute", [stale("Accepted", "False")], [now("Accepted")]),
        HEALTHY,
        "HTTPRoute is healthy",
        id="httproute-stale-parent-is-skipped",
    ),
    pytest.param(
        route("HTTPRoute", [stale("Accepted")]), PROGRESSING, "Waiting for HTTPRoute status", id="httproute-all-stale"
    ),
    pytest.param(route("HTTPRoute"), PROGRESSING, "Waiting for HTTPRoute status", id="httproute-new"),
    pytest.param(route("HTTPRoute", []), PROGRESSING, "Waiting for HTTPRoute status", id="httproute-no-conditions"),
    pytest.param(
        route("GRPCRoute", [stale("Accepted", "False", "no")]),
        DEGRADED,
        "Parent gw0: no",
        id="grpcroute-knows-no-stale",
    ),
    pytest.param(route("GRPCRoute", [stale("Accepted")]), HEALTHY, "GRPCRoute is healthy", id="grpcroute-healthy"),
    pytest.param(route("GRPCRoute"), PROGRESSING, "Waiting for GRPCRoute status", id="grpcroute-new"),
    pytest.param(gateway([cond("Accepted", "False", "no class")]), DEGRADED, "no class", id="gateway-not-accepted"),
    pytest.param(
        gateway([cond("Programmed", "False", "")]),
        PROGRESSING,
        "Gateway is still being programmed",
        id="gateway-programming",
    ),
    pytest.param(
        gateway([cond("Accepted")], [cond("ResolvedRefs", "False", "no certificate")]),
        DEGRADED,
        "Listener: no certificate",
        id="gateway-listener",
    ),
    pytest.param(
        gateway([cond("Accepted")], [cond("Programmed", "False", "")]),
        PROGRESSING,
        "Listener: Listener is still being programmed",
        id="gateway-listener-programming",
    ),
    pytest.param(gateway([cond("Accepted")], [cond("Accepted")]), HEALTHY, "Gateway is healthy", id="gateway-healthy"),
    pytest.param(gateway([]), PROGRESSING, "Waiting for Gateway status", id="gateway-new"),
    pytest.param(gateway_class(now("Accepted", message="ok")), HEALTHY, "ok", id="gatewayclass-accepted"),
    pytest.param(gateway_class(now("Accepted", "False", "no")), DEGRADED, "no", id="gatewayclass-refused"),
    pytest.param(gateway_class(now("Accepted", "Unknown", "wait")), PROGRESSING, "wait", id="gatewayclass-unknown"),
    pytest.param(
        gateway_class(stale("Accepted")), PROGRESSING, "Waiting for GatewayClass status", id="gatewayclass-stale"
    ),
    pytest.param(
        backend_tls([now("Accepted")], [stale("Accepted")]),
        PROGRESSING,
        "Waiting for Ancestor gw1 to update BackendTLSPolicy status",
        id="backendtls-stale",
    ),
    pytest.param(
        backend_tls([now("Accepted"), now("ResolvedRefs", "False", "no bundle")]),
        DEGRADED,
        "Ancestor gw0: no bundle",
        id="backendtls-refs",
    ),
    pytest.param(
        backend_tls([now("Accepted", "False", "conflict")]), DEGRADED, "Ancestor gw0: conflict", id="backendtls-refused"
    ),
    pytest.param(
        backend_tls([now("Accepted"), now("ResolvedRefs")]),
        HEALTHY,
        "BackendTLSPolicy is healthy",
        id="backendtls-healthy",
    ),
]

DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
HOOK = DELETED | {"finalizers": ["argocd.argoproj.io/hook-finalizer"]}
GENERAL = [
    pytest.param(
        make("v1/ConfigMap", metadata=DELETED), PROGRESSING, "Pending deletion", id="deleted-of-a-kind-without-check"
    ),
    pytest.param(
        make(DEPLOYMENT, metadata=DELETED, spec={"paused": True}),
        PROGRESSING,
        "Pending deletion",
        id="deleted-comes-first",
    ),
    pytest.param(
        make("batch/v1/Job", metadata=HOOK, status={"conditions": [cond("Complete", message="done")]}),
        HEALTHY,
        "done",
        id="deleted-hook-is-judged",
    ),
    pytest.param(
        make("apps/v1beta1/Deployment"),
        UNKNOWN,
        "unsupported Deployment GVK: apps/v1beta1, Kind=Deployment",
        id="old-version",
    ),
    pytest.param(make("v2/Pod"), UNKNOWN, "unsupported Pod GVK: v2, Kind=Pod", id="core-version"),
    pytest.param(
        make(DEPLOYMENT, spec={"replicas": "three"}, status={"observedGeneration": 2}),
        UNKNOWN,
        "spec.replicas: expected integer, found string",
        id="wrong-type",
    ),
    pytest.param(
        make(DEPLOYMENT, status=[]), UNKNOWN, "status: expected object, found array", id="status-of-the-wrong-type"
    ),
    pytest.param(
        route("HTTPRoute", [{"type": "Accepted", "status": True}]),
        UNKNOWN,
        "status.parents[0].conditions[0].status: expected string, found boolean",
        id="wrong-type-deep-inside",
    ),
    pytest.param(
        make("batch/v1/Job", status={"conditions": ["Complete"]}),
        UNKNOWN,
        "status.conditions[0]: expected object, found string",
        id="condition-that-is-none",
    ),
    pytest.param(
        hpa_v1("["),
        UNKNOWN,
        "failed to convert conditions annotation to typed: Input data was truncated",
        id="annotation-that-is-no-json",
    ),
]


@pytest.mark.parametrize(
    ("found", "code", "message"),
    [*WORKLOADS, *CLUSTER, *PODS, *BATCH, *DELIVERY, *SECRETS, *GATEWAY, *GENERAL],
)
def test_health_of(found: Object, code: HealthCode, message: str) -> None:
    assert health(found) == Health(code, message)


def test_a_kind_without_check_has_no_health() -> None:
    assert health(make("v1/ConfigMap")) is None
    assert health(make("argoproj.io/v1alpha1/Application", status={"health": {"status": "Degraded"}})) is None
    assert health({}) is None


def test_a_hook_that_ends_is_never_taken_for_one_that_serves() -> None:
    found = pod("Running", "Never", annotations=LONG, conditions=[cond("Ready")])
    assert health(found, is_hook=True) == Health(PROGRESSING)
    assert health(found) == Health(HEALTHY)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["True", "False", "Ready", "Running", "2", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["conditions", "type", "status", "phase", "replicas", "parents", "message", "spec", "strategy"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([*module._SCRIPTED, *module._BUILTIN]), _json, _json)
def test_whatever_strangers_write_gets_a_health(kind: tuple[str, str], spec: Any, status: Any) -> None:
    group, name = kind
    found: Object = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": name, "spec": spec, "status": status}
    assert health(found) is not None


# -- an Application ----------------------------------------------------------------------------------------------------


def managed(name: str, code: HealthCode | None, *, kind: str = DEPLOYMENT, **more: Any) -> Managed:
    found = make(kind, metadata={"name": name, **more.pop("metadata", {})})
    return Managed(key=key_of(found), live=found, health=None if code is None else Health(code), **more)


def missing(name: str) -> Managed:
    return Managed(key=ResourceKey("apps", "Deployment", "shop", name), live=None, health=Health(MISSING))


SELF = ResourceKey("argoproj.io", "Application", "shop", "me")
APP = "argoproj.io/v1alpha1/Application"


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param([], Health(HEALTHY), id="nothing"),
        pytest.param([managed("a", HEALTHY), managed("b", None, kind="v1/ConfigMap")], Health(HEALTHY), id="healthy"),
        pytest.param(
            [managed("a", PROGRESSING), managed("b", DEGRADED), managed("c", SUSPENDED)],
            Health(DEGRADED, "Caused by apps/Deployment:shop/b"),
            id="worst",
        ),
        pytest.param(
            [managed("svc", PROGRESSING, kind="v1/Service"), managed("b", PROGRESSING)],
            Health(PROGRESSING, "Caused by /Service:shop/svc, apps/Deployment:shop/b"),
            id="two-causes",
        ),
        pytest.param(
            [managed(name, DEGRADED) for name in "abcde"],
            Health(
                DEGRADED,
                "Caused by apps/Deployment:shop/a, apps/Deployment:shop/b, apps/Deployment:shop/c and 2 more",
            ),
            id="more-than-three",
        ),
        pytest.param([missing("a"), missing("b")], Health(MISSING), id="all-missing"),
        pytest.param([missing("a"), managed("b", HEALTHY)], Health(HEALTHY), id="some-missing"),
        pytest.param([managed("a", DEGRADED, is_counted=False)], Health(HEALTHY), id="hooks-do-not-count"),
        pytest.param(
            [managed("a", DEGRADED, metadata={"annotations": {"argocd.argoproj.io/ignore-healthcheck": "true"}})],
            Health(HEALTHY),
            id="ignored-by-annotation",
        ),
        pytest.param([managed("me", DEGRADED, kind=APP)], Health(HEALTHY), id="itself"),
        pytest.param(
            [managed("child", UNKNOWN, kind=APP), managed("other", MISSING, kind=APP)],
            Health(HEALTHY),
            id="children-unknown-or-missing",
        ),
        pytest.param(
            [managed("child", DEGRADED, kind=APP)],
            Health(DEGRADED, "Caused by argoproj.io/Application:shop/child"),
            id="child-degraded",
        ),
    ],
)
def test_health_of_an_application(items: list[Managed], expected: Health) -> None:
    assert application_health(items, application=SELF) == expected


def test_codes_are_ordered_from_best_to_worst() -> None:
    assert sorted(HealthCode, key=lambda code: code.severity) == list(HealthCode)
    assert worst([]) is HEALTHY
    assert [worst(pair) for pair in ((HEALTHY, SUSPENDED), (SUSPENDED, PROGRESSING), (PROGRESSING, MISSING))] == [
        SUSPENDED,
        PROGRESSING,
        MISSING,
    ]
    assert worst(HealthCode) is UNKNOWN


def test_scripts_in_the_settings_are_refused_by_name() -> None:
    settings = {
        "resource.customizations.health.argoproj.io_Application": "hs = {}",
        "resource.customizations.health.apps_Deployment": "hs = {}",
        "resource.customizations.ignoreDifferences.apps_Deployment": "jsonPointers: []",
    }
    assert refused_scripts(settings) == (
        "resource.customizations.health.apps_Deployment: Lua is not run here; the built-in check of apps/Deployment"
        " holds",
        "resource.customizations.health.argoproj.io_Application: Lua is not run here; argoproj.io/Application has no"
        " health and does not count",
    )
