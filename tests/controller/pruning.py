"""Stand-ins for the definitions that argo-rollouts installs: typed statuses, and what is not named is pruned.

Facts of theirs: only Rollouts have a status subresource, so a status write of an AnalysisRun raises its generation; the
older schema of AnalysisRuns lacks what was added since. Nothing of ours is in them.
Source: argo-rollouts: manifests/crds/.
"""

from __future__ import annotations

from typing import Any

from tests.controller.stage import Json, lax_crds

TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "format": "int32"}
TIME: Json = {"type": "string", "format": "date-time"}
KEPT: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _object(*required: str, **fields: Json) -> Json:
    return {"type": "object", "properties": fields} | ({"required": list(required)} if required else {})


def _list(of: Json) -> Json:
    return {"type": "array", "items": of}


_RUN = _object("name", "status", name=TEXT, status=TEXT, message=TEXT)
_DESTINATION = _object("weight", weight=COUNT, serviceName=TEXT, podTemplateHash=TEXT)
_CONDITION = _object(
    "lastTransitionTime",
    "lastUpdateTime",
    "message",
    "reason",
    "status",
    "type",
    lastTransitionTime=TIME,
    lastUpdateTime=TIME,
    message=TEXT,
    reason=TEXT,
    status=TEXT,
    type=TEXT,
)
ROLLOUT_STATUS = _object(
    phase=TEXT,
    message=TEXT,
    observedGeneration=TEXT,
    workloadObservedGeneration=TEXT,
    currentPodHash=TEXT,
    stableRS=TEXT,
    currentStepIndex=COUNT,
    currentStepHash=TEXT,
    replicas=COUNT,
    updatedReplicas=COUNT,
    readyReplicas=COUNT,
    availableReplicas=COUNT,
    HPAReplicas=COUNT,
    selector=TEXT,
    collisionCount=COUNT,
    abort=FLAG,
    abortedAt=TIME,
    controllerPause=FLAG,
    promoteFull=FLAG,
    restartedAt=TIME,
    pauseConditions=_list(_object("reason", "startTime", reason=TEXT, startTime=TIME)),
    conditions=_list(_CONDITION),
    canary=_object(
        weights=_object("canary", "stable", canary=_DESTINATION, stable=_DESTINATION, verified=FLAG),
        currentStepAnalysisRunStatus=_RUN,
        currentBackgroundAnalysisRunStatus=_RUN,
    ),
)
_MEASUREMENT = _object(
    "phase",
    phase=TEXT,
    message=TEXT,
    value=TEXT,
    startedAt=TIME,
    finishedAt=TIME,
    resumeAt=TIME,
    metadata={"type": "object", "additionalProperties": TEXT},
)
_COUNTERS: Json = dict.fromkeys(("count", "successful", "failed", "inconclusive", "error", "consecutiveError"), COUNT)
OLD_RUN_STATUS = _object(
    "phase",
    phase=TEXT,
    message=TEXT,
    startedAt=TIME,
    metricResults=_list(
        _object("name", "phase", name=TEXT, phase=TEXT, message=TEXT, measurements=_list(_MEASUREMENT), **_COUNTERS)
    ),
)
_SUMMARY = _object(**dict.fromkeys(("count", "successful", "failed", "inconclusive", "error"), COUNT))
NEW_RUN_STATUS = _object(
    "phase",
    phase=TEXT,
    message=TEXT,
    startedAt=TIME,
    completedAt=TIME,
    runSummary=_SUMMARY,
    dryRunSummary=_SUMMARY,
    metricResults=_list(
        _object(
            "name",
            "phase",
            name=TEXT,
            phase=TEXT,
            message=TEXT,
            dryRun=FLAG,
            metadata={"type": "object", "additionalProperties": TEXT},
            measurements=_list(_MEASUREMENT),
            consecutiveSuccess=COUNT,
            **_COUNTERS,
        )
    ),
)


def upstream_crds(*, old: bool) -> list[Json]:
    """Return the stand-ins; `old`: with the schema of AnalysisRuns before summaries and instants of completion."""
    statuses: dict[str, Any] = {"Rollout": ROLLOUT_STATUS, "AnalysisRun": OLD_RUN_STATUS if old else NEW_RUN_STATUS}
    found = [one for one in lax_crds() if one["spec"]["group"] == "argoproj.io"]
    for definition in found:
        kind = definition["spec"]["names"]["kind"]
        for version in definition["spec"]["versions"]:
            if kind != "Rollout":
                version.pop("subresources", None)
            if kind in statuses:
                version["schema"]["openAPIV3Schema"] = _object("spec", spec=KEPT, status=statuses[kind])
    return found
