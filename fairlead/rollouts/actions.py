"""What may be asked of the cluster for a Rollout: values that can be carried out twice without harm.

Names are derived and never drawn; a precondition (UID, and resourceVersion where the decision depends on what was
read) makes the API server refuse what was decided about another object or another state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fairlead.core.decision import Event
from fairlead.core.objects import ObjectMeta
from fairlead.core.traffic import Weights


class Target(msgspec.Struct, frozen=True):
    """The object that was decided about."""

    name: str
    uid: str
    version: str  # resourceVersion

    @staticmethod
    def of(metadata: ObjectMeta) -> Target:
        return Target(metadata.name, metadata.uid, metadata.resource_version)


class SetWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Make the route hold these weights, in one write.

    Attributes:
        in_progress: whether an update is under way (routes may be marked so that GitOps tools leave them alone).
    """

    weights: Weights
    in_progress: bool
    event: Event | None = None


class ReleaseRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """Give all weight to stable on routes that the spec does not use any more, and take away what is ours.

    Attributes:
        names: of the routes, as they were observed.
    """

    names: tuple[str, ...]
    event: Event | None = None


class CreateReplicaSet(msgspec.Struct, frozen=True, kw_only=True):
    """Create the ReplicaSet of a new revision; `body` is complete.

    Attributes:
        wanted: pods that the Rollout wants in all.
    """

    name: str
    pod_hash: str
    replicas: int
    body: Mapping[str, Any]
    events: tuple[Event, ...] = ()


class PatchReplicaSet(msgspec.Struct, frozen=True, kw_only=True):
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
    template: Mapping[str, Any] = msgspec.field(default_factory=dict)
    event: Event | None = None


class AdoptReplicaSet(msgspec.Struct, frozen=True):
    """Make the Rollout the controller of a ReplicaSet that nobody controls."""

    target: Target


class ReleaseReplicaSet(msgspec.Struct, frozen=True):
    """Give up control of a ReplicaSet that the selector no longer matches."""

    target: Target


class DeleteReplicaSet(msgspec.Struct, frozen=True):
    """Delete an empty ReplicaSet beyond the history limit."""

    target: Target


class PatchRollout(msgspec.Struct, frozen=True, kw_only=True):
    """Record the revision on the Rollout, and the number of replicas that an absent field stands for.

    Attributes:
        replicas: written to `spec.replicas` when not None: autoscalers need the field.
    """

    annotations: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None
    event: Event | None = None


class SwitchService(msgspec.Struct, frozen=True, kw_only=True):
    """Make a Service select the pods of one revision, and mark it as managed."""

    target: Target
    pod_hash: str
    marks: bool  # whether the mark has to be written too
    event: Event | None = None


class ReleaseService(msgspec.Struct, frozen=True):
    """Remove our hash from the selector of a Service, and our mark."""

    target: Target


class CreateRun(msgspec.Struct, frozen=True, kw_only=True):
    """Create an AnalysisRun; whoever carries it out takes the next free `.N` when the name is taken for good."""

    name: str
    body: Mapping[str, Any]


class CancelRun(msgspec.Struct, frozen=True):
    """Ask an AnalysisRun to end."""

    target: Target


class DeleteRun(msgspec.Struct, frozen=True):
    """Delete an AnalysisRun beyond the history limits, or of a revision that is gone."""

    target: Target


class EvictPod(msgspec.Struct, frozen=True):
    """Evict a pod through the policy API, as disruption budgets allow."""

    name: str
    uid: str


class ScaleWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """Give the Deployment that the pod template is taken from another size."""

    target: Target
    replicas: int


class MarkPods(msgspec.Struct, frozen=True, kw_only=True):
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
    | ReleaseRoutes
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
    if isinstance(action, SetWeights | ReleaseRoutes | PatchReplicaSet | PatchRollout | SwitchService):
        return (action.event,) if action.event is not None else ()
    return ()
