"""What has been decided so far about a Rollout, as it is stored on the object: read leniently, written as a patch.

Anybody may write a status: a person's command, another controller, an accident. So each field is read by itself, and
one that makes no sense counts as absent. Fields that we do not know stay as they are, because only what changed is
written. Some fields are commands (`abort`, `promoteFull`, `pauseConditions`, `controllerPause`, `currentStepIndex`):
the machine acknowledges them by what it writes back.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go: RolloutStatus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from fairlead.core.conditions import Condition
from fairlead.core.objects import compact, parse_rfc3339, rfc3339
from fairlead.core.patches import diff


class Phase(StrEnum):
    """What clients show first."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    DEGRADED = "Degraded"


class PauseReason(StrEnum):
    """Why the machine waits for somebody."""

    CANARY_STEP = "CanaryPauseStep"
    BLUE_GREEN = "BlueGreenPause"
    INCONCLUSIVE = "InconclusiveAnalysisRun"


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the values below."""


class PauseCondition(_Value, frozen=True, kw_only=True):
    """One reason to pause, and since when."""

    reason: str
    started_at: datetime


class RunRef(_Value, frozen=True, kw_only=True):
    """The AnalysisRun that decides now, and what was last seen of it."""

    name: str
    phase: str = ""
    message: str = ""

    @property
    def is_completed(self) -> bool:
        """Whether the last word has been said."""
        return self.phase in ("Successful", "Failed", "Error", "Inconclusive")


class Destination(_Value, frozen=True, kw_only=True):
    """Where a share of the traffic goes."""

    weight: int
    service: str = ""
    pod_hash: str = ""


class StoredWeights(_Value, frozen=True, kw_only=True):
    """What the route holds, as last seen.

    Attributes:
        verified: True: the data plane shows it. False: not in force yet, or refused. None: nothing can be asked, and
            the settle delay has passed ("settled, not verified").
    """

    canary: Destination
    stable: Destination
    verified: bool | None = None


class HighWater(_Value, frozen=True, kw_only=True):
    """The best numbers of the current step, so that pods that come and go do not count as progress.

    Attributes:
        updated, ready, available: most pods so far.
        old: fewest pods of other revisions so far.
    """

    updated: int = 0
    ready: int = 0
    available: int = 0
    old: int = 0


class RolloutStatus(_Value, frozen=True, kw_only=True):
    """The status of a Rollout in our words; `pod_hash` and `stable_hash` are hash labels of ReplicaSets.

    Attributes:
        step_index: 0-based; the number of steps: done. None: there are no steps.
        step_hash: of `spec.strategy.canary.steps`; an empty one counts as changed.
        controller_pause: the machine added a pause; without `pauses` it says that a person resumed.
        restarted_at: the `spec.restartAt` that has been carried out.
        stable_turn: which of a pair of Services that take turns is the stable one: `ping`, `pong`, or empty before the
            first promotion (`stablePingPong`).
        active_hash, preview_hash: what the two Services of a blue-green Rollout select.
        may_switch: everything that a blue-green Rollout does before the switch is done (`scaleUpPreviewCheckPoint`).
        pre_run, post_run: before and after the switch; they are kept for the user to see until the next revision.
        high_water: ours; lost where the CRD prunes it, and then recent numbers are compared instead.
    """

    phase: str = ""
    message: str = ""
    observed_generation: str = ""
    workload_observed_generation: str = ""
    pod_hash: str = ""
    stable_hash: str = ""
    step_index: int | None = None
    step_hash: str = ""
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    scale_replicas: int = 0
    selector: str = ""
    collision_count: int | None = None
    abort: bool = False
    aborted_at: datetime | None = None
    pauses: tuple[PauseCondition, ...] = ()
    controller_pause: bool = False
    promote_full: bool = False
    restarted_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    weights: StoredWeights | None = None
    step_run: RunRef | None = None
    background_run: RunRef | None = None
    stable_turn: str = ""
    active_hash: str = ""
    preview_hash: str = ""
    may_switch: bool = False
    pre_run: RunRef | None = None
    post_run: RunRef | None = None
    high_water: HighWater | None = None

    @property
    def is_promoted(self) -> bool:
        """Whether the current revision is the stable one."""
        return self.pod_hash != "" and self.pod_hash == self.stable_hash

    def pause(self, reason: PauseReason) -> PauseCondition | None:
        """Return the pause condition of that reason, if there is one."""
        return next((pause for pause in self.pauses if pause.reason == reason), None)


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(raw: bytes | msgspec.Raw) -> RolloutStatus:
    """Return the status from the JSON below `status`; what cannot be understood is left out."""
    return read(plain(raw))


def plain(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """Return the JSON below `status` as data; empty when it is no object."""
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def read(content: Mapping[str, Any]) -> RolloutStatus:
    """Return the status from JSON data; what cannot be understood is left out."""
    canary, blue_green = _map(content.get("canary")), _map(content.get("blueGreen"))
    return RolloutStatus(
        phase=_text(content.get("phase")),
        message=_text(content.get("message")),
        observed_generation=_text(content.get("observedGeneration")),
        workload_observed_generation=_text(content.get("workloadObservedGeneration")),
        pod_hash=_text(content.get("currentPodHash")),
        stable_hash=_text(content.get("stableRS")),
        step_index=_int(content.get("currentStepIndex")),
        step_hash=_text(content.get("currentStepHash")),
        replicas=_count(content.get("replicas")),
        updated_replicas=_count(content.get("updatedReplicas")),
        ready_replicas=_count(content.get("readyReplicas")),
        available_replicas=_count(content.get("availableReplicas")),
        scale_replicas=_count(content.get("HPAReplicas")),
        selector=_text(content.get("selector")),
        collision_count=_count(content.get("collisionCount")) or None,
        abort=content.get("abort") is True,
        aborted_at=_time(content.get("abortedAt")),
        pauses=tuple(pause for pause in map(_pause, _list(content.get("pauseConditions"))) if pause),
        controller_pause=content.get("controllerPause") is True,
        promote_full=content.get("promoteFull") is True,
        restarted_at=_time(content.get("restartedAt")),
        conditions=tuple(found for found in map(_condition, _list(content.get("conditions"))) if found),
        weights=_weights(canary.get("weights")),
        step_run=_run(canary.get("currentStepAnalysisRunStatus")),
        background_run=_run(canary.get("currentBackgroundAnalysisRunStatus")),
        stable_turn=_text(canary.get("stablePingPong")),
        active_hash=_text(blue_green.get("activeSelector")),
        preview_hash=_text(blue_green.get("previewSelector")),
        may_switch=blue_green.get("scaleUpPreviewCheckPoint") is True,
        pre_run=_run(blue_green.get("prePromotionAnalysisRunStatus")),
        post_run=_run(blue_green.get("postPromotionAnalysisRunStatus")),
        high_water=_high_water(content.get("highWater")),
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count(value: Any) -> int:
    return max(0, _int(value) or 0)


def _time(value: Any) -> datetime | None:
    return parse_rfc3339(value) if isinstance(value, str) else None


def _pause(value: Any) -> PauseCondition | None:
    reason, started_at = _text(_map(value).get("reason")), _time(_map(value).get("startTime"))
    return PauseCondition(reason=reason, started_at=started_at) if reason and started_at else None


def _condition(value: Any) -> Condition | None:
    content = _map(value)
    type_, status = _text(content.get("type")), _text(content.get("status"))
    if not type_ or not status:
        return None
    return Condition(
        type=type_,
        status=status,
        reason=_text(content.get("reason")),
        message=_text(content.get("message")),
        last_update_time=_time(content.get("lastUpdateTime")),
        last_transition_time=_time(content.get("lastTransitionTime")),
    )


def _run(value: Any) -> RunRef | None:
    content = _map(value)
    name = _text(content.get("name"))
    if not name:
        return None
    return RunRef(name=name, phase=_text(content.get("status")), message=_text(content.get("message")))


def _weights(value: Any) -> StoredWeights | None:
    content = _map(value)
    canary, stable = _destination(content.get("canary")), _destination(content.get("stable"))
    if canary is None or stable is None:
        return None
    verified = content.get("verified")
    return StoredWeights(canary=canary, stable=stable, verified=verified if isinstance(verified, bool) else None)


def _destination(value: Any) -> Destination | None:
    content = _map(value)
    weight = _int(content.get("weight"))
    if weight is None:
        return None
    return Destination(
        weight=weight, service=_text(content.get("serviceName")), pod_hash=_text(content.get("podTemplateHash"))
    )


def _high_water(value: Any) -> HighWater | None:
    if not isinstance(value, Mapping):
        return None
    return HighWater(
        updated=_count(value.get("updated")),
        ready=_count(value.get("ready")),
        available=_count(value.get("available")),
        old=_count(value.get("old")),
    )


# --- writing ---------------------------------------------------------------------------------------------------------


def render(status: RolloutStatus) -> dict[str, Any]:
    """Return the status as JSON data; like Go's `omitempty`, what is zero or empty is left out."""
    canary = {
        "weights": None if status.weights is None else _weights_out(status.weights),
        "currentStepAnalysisRunStatus": _run_out(status.step_run),
        "currentBackgroundAnalysisRunStatus": _run_out(status.background_run),
        "stablePingPong": status.stable_turn,
    }
    blue_green = {
        "previewSelector": status.preview_hash,
        "activeSelector": status.active_hash,
        "scaleUpPreviewCheckPoint": status.may_switch or None,
        "prePromotionAnalysisRunStatus": _run_out(status.pre_run),
        "postPromotionAnalysisRunStatus": _run_out(status.post_run),
    }
    content: dict[str, Any] = compact(
        {
            "phase": str(status.phase),
            "message": status.message,
            "observedGeneration": status.observed_generation,
            "workloadObservedGeneration": status.workload_observed_generation,
            "currentPodHash": status.pod_hash,
            "stableRS": status.stable_hash,
            "currentStepHash": status.step_hash,
            "replicas": status.replicas or None,
            "updatedReplicas": status.updated_replicas or None,
            "readyReplicas": status.ready_replicas or None,
            "availableReplicas": status.available_replicas or None,
            "HPAReplicas": status.scale_replicas or None,
            "selector": status.selector,
            "collisionCount": status.collision_count,
            "abort": status.abort or None,
            "abortedAt": _time_out(status.aborted_at),
            "pauseConditions": [
                {"reason": str(pause.reason), "startTime": rfc3339(pause.started_at)} for pause in status.pauses
            ],
            "controllerPause": status.controller_pause or None,
            "promoteFull": status.promote_full or None,
            "restartedAt": _time_out(status.restarted_at),
            "conditions": [_condition_out(condition) for condition in status.conditions],
            "canary": compact(canary),
            "blueGreen": compact(blue_green),
            "highWater": None if status.high_water is None else msgspec.to_builtins(status.high_water),
        }
    )
    if status.step_index is not None:
        content["currentStepIndex"] = status.step_index  # a pointer in Go: 0 is written
    return content


def _time_out(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _condition_out(condition: Condition) -> dict[str, Any]:
    return compact(
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastUpdateTime": _time_out(condition.last_update_time),
            "lastTransitionTime": _time_out(condition.last_transition_time),
        }
    )


def _run_out(run: RunRef | None) -> dict[str, Any] | None:
    return None if run is None else {"name": run.name, "status": run.phase, **compact({"message": run.message})}


def _weights_out(weights: StoredWeights) -> dict[str, Any]:
    content: dict[str, Any] = {"canary": _destination_out(weights.canary), "stable": _destination_out(weights.stable)}
    if weights.verified is not None:
        content["verified"] = weights.verified
    return content


def _destination_out(destination: Destination) -> dict[str, Any]:
    names = compact({"serviceName": destination.service, "podTemplateHash": destination.pod_hash})
    return {"weight": destination.weight, **names}


_KNOWN = frozenset(
    (
        "phase",
        "message",
        "observedGeneration",
        "workloadObservedGeneration",
        "currentPodHash",
        "stableRS",
        "currentStepIndex",
        "currentStepHash",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "HPAReplicas",
        "selector",
        "collisionCount",
        "abort",
        "abortedAt",
        "pauseConditions",
        "controllerPause",
        "promoteFull",
        "restartedAt",
        "conditions",
        "canary",
        "blueGreen",
        "highWater",
    )
)
_KNOWN_BELOW: Mapping[str, frozenset[str]] = {
    "canary": frozenset(
        ("weights", "currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus", "stablePingPong")
    ),
    "blueGreen": frozenset(
        (
            "previewSelector",
            "activeSelector",
            "scaleUpPreviewCheckPoint",
            "prePromotionAnalysisRunStatus",
            "postPromotionAnalysisRunStatus",
        )
    ),
}


def patch(stored: Mapping[str, Any], new: RolloutStatus) -> dict[str, Any]:
    """Return the merge patch, below `status`, that records `new`; empty when nothing worth a write changed.

    Args:
        stored: the status as it is on the object, as JSON data.
        new: what it should say. Where instants fall within the same second, they are the same.
    """
    before = read(stored)
    rendered = render(new)
    if _without_marks(render(before)) == _without_marks(rendered):
        return {}  # a CRD that prunes our own field must not make us write it for ever
    # An empty text says what an absent one says: argo-rollouts writes some of them.
    known: dict[str, Any] = {key: value for key, value in stored.items() if key in _KNOWN and value != ""}
    for part, fields in _KNOWN_BELOW.items():
        below = known.get(part)
        if isinstance(below, Mapping):
            ours = {key: value for key, value in below.items() if key in fields}
            foreign = len(ours) < len(below)
            known[part] = ours
            if part not in rendered and (foreign or not ours):
                rendered[part] = {}  # others keep their fields below it
    return diff(known, rendered)


def _without_marks(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "highWater"}


# --- what can wait -----------------------------------------------------------------------------------------------

# Conditions that only mirror numbers of pods or the route; that they changed may be written a moment later.
_MIRRORS = frozenset(("Available", "Healthy", "ReplicaFailure", "TrafficRouted"))
_UNDER_WAY = frozenset(("NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"))
_OF_A_PAUSE = frozenset(("Progressing", "Paused"))


def is_urgent(stored: RolloutStatus, new: RolloutStatus) -> bool:
    """Return whether a change of status must be written at once, and not a moment later with what follows.

    Counts, messages, weights, selectors and the phase of a run that goes on mirror other objects: they change several
    times while pods become ready, and nobody decides on them but by looking at those objects. That a timed pause is
    over follows from what is stored, too: it may be written with the end of the step that comes after it.
    """
    if _is_pause_over(stored, new):
        return _essence(_after_pause(stored), without=_OF_A_PAUSE) != _essence(_after_pause(new), without=_OF_A_PAUSE)
    return _essence(stored) != _essence(new)


def _is_pause_over(stored: RolloutStatus, new: RolloutStatus) -> bool:
    reasons = [pause.reason for pause in stored.pauses]
    if reasons != [PauseReason.CANARY_STEP] or new.pauses or stored.step_index is None:
        return False
    return new.step_index == stored.step_index + 1


def _after_pause(status: RolloutStatus) -> RolloutStatus:
    return replace(status, step_index=None, pauses=(), controller_pause=False, phase="")


def fingerprint(status: RolloutStatus) -> RolloutStatus:
    """Return the status without the times of its conditions: two that differ in nothing else say the same."""
    return replace(status, conditions=tuple(_timeless(found) for found in status.conditions))


def _essence(status: RolloutStatus, *, without: frozenset[str] = frozenset()) -> RolloutStatus:
    return replace(
        status,
        message="",
        replicas=0,
        updated_replicas=0,
        ready_replicas=0,
        available_replicas=0,
        scale_replicas=0,
        selector="",
        conditions=tuple(_bare(found) for found in status.conditions if found.type not in _MIRRORS | without),
        weights=None,
        step_run=None if status.step_run is None else RunRef(name=status.step_run.name),
        background_run=None if status.background_run is None else RunRef(name=status.background_run.name),
        active_hash="",
        preview_hash="",
        pre_run=None if status.pre_run is None else RunRef(name=status.pre_run.name),
        post_run=None if status.post_run is None else RunRef(name=status.post_run.name),
        high_water=None,
    )


def _bare(condition: Condition) -> Condition:
    message = condition.message if condition.status == "False" or condition.type == "InvalidSpec" else ""
    reason = "" if condition.reason in _UNDER_WAY else condition.reason
    return replace(_timeless(condition), message=message, reason=reason)


def _timeless(condition: Condition) -> Condition:
    return replace(condition, last_update_time=None, last_transition_time=None)
