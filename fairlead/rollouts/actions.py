"""What may be asked of the cluster for a Rollout: values that can be carried out twice without harm.

Names are derived and never drawn; a precondition (UID, and resourceVersion where the decision depends on what was
read) makes the API server refuse what was decided about another object or another state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead.core.decision import Event
from fairlead.core.objects import ObjectMeta
from fairlead.core.traffic import Weights


@dataclass(frozen=True, slots=True)
class Target:
    """The object that was decided about."""

    name: str
    uid: str
    version: str  # resourceVersion

    @staticmethod
    def of(metadata: ObjectMeta) -> Target:
        return Target(metadata.name, metadata.uid, metadata.resource_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeights:
    """Make the route hold these weights, in one write.

    Attributes:
        in_progress: whether an update is under way (routes may be marked so that GitOps tools leave them alone).
    """

    weights: Weights
    in_progress: bool
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReplicaSet:
    """Create the ReplicaSet of a new revision; `body` is complete.

    Attributes:
        wanted: pods that the Rollout wants in all.
    """

    name: str
    pod_hash: str
    replicas: int
    body: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReplicaSet:
    """Change size, annotations or readiness time of a ReplicaSet, all in one write.

    Attributes:
        replicas: None: as it is.
        annotations: a value of None removes the key.
        min_ready_seconds: None: as it is.
        template: merge patch below `spec.template`; its meaning to a user is never changed.
    """

    target: Target
    replicas: int | None = None
    annotations: tuple[tuple[str, str | None], ...] = ()
    min_ready_seconds: int | None = None
    template: Mapping[str, Any] = field(default_factory=dict)
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class AdoptReplicaSet:
    """Make the Rollout the controller of a ReplicaSet that nobody controls."""

    target: Target


@dataclass(frozen=True, slots=True)
class ReleaseReplicaSet:
    """Give up control of a ReplicaSet that the selector no longer matches."""

    target: Target


@dataclass(frozen=True, slots=True)
class DeleteReplicaSet:
    """Delete an empty ReplicaSet beyond the history limit."""

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRollout:
    """Record the revision on the Rollout, and the number of replicas that an absent field stands for.

    Attributes:
        replicas: written to `spec.replicas` when not None: autoscalers need the field.
    """

    annotations: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchService:
    """Make a Service select the pods of one revision, and mark it as managed."""

    target: Target
    pod_hash: str
    marks: bool  # whether the mark has to be written too
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class ReleaseService:
    """Remove our hash from the selector of a Service, and our mark."""

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun:
    """Create an AnalysisRun; whoever carries it out takes the next free `.N` when the name is taken for good."""

    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Ask an AnalysisRun to end."""

    target: Target


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete an AnalysisRun beyond the history limits, or of a revision that is gone."""

    target: Target


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Evict a pod through the policy API, as disruption budgets allow."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleWorkload:
    """Give the Deployment that the pod template is taken from another size."""

    target: Target
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkPods:
    """Make the pods of a ReplicaSet that live now carry labels and annotations; all their others stay.

    Attributes:
        target: the ReplicaSet.
        labels, annotations: a value of None removes the key.
        text: what this asks for, to be remembered when it is done.
        is_final: the ReplicaSet controller makes right pods by now: nobody has to look again.
    """

    target: Target
    pod_hash: str
    labels: Mapping[str, str | None]
    annotations: Mapping[str, str | None]
    text: str
    is_final: bool


Action = (
    SetWeights
    | CreateReplicaSet
    | PatchReplicaSet
    | AdoptReplicaSet
    | ReleaseReplicaSet
    | DeleteReplicaSet
    | PatchRollout
    | SwitchService
    | ReleaseService
    | CreateRun
    | CancelRun
    | DeleteRun
    | EvictPod
    | MarkPods
    | ScaleWorkload
)


def events_of(action: Action) -> tuple[Event, ...]:
    """Return the events that are about this action."""
    if isinstance(action, CreateReplicaSet):
        return action.events
    if isinstance(action, SetWeights | PatchReplicaSet | PatchRollout | SwitchService):
        return (action.event,) if action.event is not None else ()
    return ()
