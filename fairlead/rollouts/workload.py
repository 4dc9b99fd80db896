"""The workload that a Rollout takes its pod template from (`spec.workloadRef`).

The template, and the selector where the Rollout has none, are put in place in memory only: nothing that is written to
the Rollout is made from them, so they cannot end up in its spec.

A Deployment can hand its pods over, once, with the first revision: `onsuccess` takes them all away when the Rollout
is healthy for the first time, `progressively` takes one away for each pod of ours that is ready. Once that is done,
the Deployment is never scaled up again, whatever happens to the Rollout.

Source: argo-rollouts: rollout/templateref.go, rollout/scale_utils.go, rollout/replicaset.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from fairlead.core.cluster import View
from fairlead.core.conditions import find
from fairlead.core.errors import SpecError
from fairlead.core.kinds import DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, Deployment, PodTemplate, ReplicaSet
from fairlead.core.kinds import LabelSelector as KindSelector
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.rollouts._ephemeral import bare_template
from fairlead.rollouts._revisions import pod_hash_of
from fairlead.rollouts._stanzas import LabelSelector
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._validation import resolved_problems
from fairlead.rollouts.actions import ScaleWorkload, Target
from fairlead.rollouts.spec import RolloutSpec, WorkloadRef
from fairlead.rollouts.status import Phase, RolloutStatus

GENERATION = "rollout.argoproj.io/workload-generation"  # annotation of the Rollout: generation of its workload

# By kind and API group: what a template may be taken from.
KINDS: Mapping[tuple[str, str], Kind[Any]] = {
    ("apps", "Deployment"): DEPLOYMENTS,
    ("apps", "ReplicaSet"): REPLICA_SETS,
    ("", "PodTemplate"): POD_TEMPLATES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload as a Rollout sees it; `replicas` and `selector` are None where its kind has none."""

    kind: str
    metadata: ObjectMeta
    template: msgspec.Raw
    selector: LabelSelector | None = None
    replicas: int | None = None

    @staticmethod
    def of(found: Deployment | ReplicaSet | PodTemplate) -> Workload:
        if isinstance(found, PodTemplate):
            return Workload(kind="PodTemplate", metadata=found.metadata, template=found.template)
        kind = "Deployment" if isinstance(found, Deployment) else "ReplicaSet"
        return Workload(
            kind=kind,
            metadata=found.metadata,
            template=found.spec.template,
            selector=_selector(found.spec.selector),
            replicas=found.spec.replicas,
        )


def _selector(found: KindSelector) -> LabelSelector:
    return msgspec.convert(
        {"matchLabels": found.match_labels, "matchExpressions": list(found.match_expressions)}, LabelSelector
    )


class NotSeenYet(Exception):
    """The kind of the workload has not been listed yet: nothing can be said for a moment."""


class Workloads(Protocol):
    """Finds workloads without a request."""

    def get(self, kind: Kind[Any], key: ObjectKey) -> Workload | None:
        """Return a workload; None: there is none.

        Raises:
            NotSeenYet: it cannot be told yet.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWorkloads:
    """Workloads from caches that are filled when they are first asked for.

    Args:
        want: has the cache of a kind filled; returns whether it is.
    """

    views: Mapping[Kind[Any], View[Any]]
    want: Callable[[Kind[Any]], bool] = field(default=lambda kind: True)

    def get(self, kind: Kind[Any], key: ObjectKey) -> Workload | None:
        view = self.views.get(kind)
        if view is None:
            return None
        if not self.want(kind):
            raise NotSeenYet
        found = view.get(key)
        return Workload.of(found) if found is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A spec with everything in place that its workload says, or what is wrong.

    Attributes:
        problem: the spec must not be acted on, but for the sake of an abort.
    """

    spec: RolloutSpec | SpecError
    workload: Workload | None = None
    problem: SpecError | None = None


def workload_generation(workload: Workload | None) -> str:
    """Return the generation of a workload as text; empty when there is no workload."""
    return str(workload.metadata.generation) if workload is not None else ""


def kind_of(reference: WorkloadRef) -> Kind[Any] | None:
    """Return the kind that a reference names; None: it is not one that has a pod template."""
    group = reference.api_version.rpartition("/")[0]
    return KINDS.get((group, reference.kind))


def resolve(
    spec: RolloutSpec,
    namespace: str,
    workloads: Workloads,
    *,
    status: RolloutStatus,
    owned: tuple[ReplicaSet, ...],
) -> Resolution:
    """Return the spec with the template of its workload.

    While the workload is missing, the template of the current revision stands in for it, so that an abort still
    knows what to do; nothing else is done with it.

    Raises:
        NotSeenYet: it cannot be told yet.
    """
    reference = spec.workload_ref
    if reference is None:
        return Resolution(spec=spec)
    kind = kind_of(reference)
    if kind is None:
        group = reference.api_version.rpartition("/")[0]
        return _without_workload(
            spec, SpecError(f"workload of type {group}/{reference.kind} is not supported"), status, owned
        )
    found = workloads.get(kind, ObjectKey(namespace, reference.name))
    if found is None:
        return _without_workload(spec, SpecError(f'{kind} "{reference.name}" not found'), status, owned)
    whole = replace(spec, template=found.template, selector=spec.selector or found.selector)
    problems = resolved_problems(whole)
    return Resolution(spec=whole, workload=found, problem=problems[0] if problems else None)


def _without_workload(
    spec: RolloutSpec, problem: SpecError, status: RolloutStatus, owned: tuple[ReplicaSet, ...]
) -> Resolution:
    current = next((found for found in owned if status.pod_hash and pod_hash_of(found) == status.pod_hash), None)
    if current is None:
        return Resolution(spec=problem)
    selector = spec.selector
    if selector is None:
        selector = _selector(current.spec.selector)
        labels = {key: value for key, value in selector.match_labels.items() if key != HASH_LABEL}
        selector = replace(selector, match_labels=labels)
    stand_in = replace(spec, template=msgspec.Raw(bare_template(current)), selector=selector)
    return Resolution(spec=stand_in, problem=problem)


def hand_over(
    spec: RolloutSpec,
    workload: Workload | None,
    stored: RolloutStatus,
    status: RolloutStatus,
    *,
    revision: int,
    is_shrinking: bool,
) -> ScaleWorkload | None:
    """Return the scaling of the Deployment that is due; None: none is.

    Args:
        stored, status: before and after this decision.
        revision: of the current ReplicaSet; only the first one takes pods over.
        is_shrinking: its size is being lowered.
    """
    reference = spec.workload_ref
    if reference is None or workload is None or workload.replicas is None or workload.kind != "Deployment":
        return None
    if revision != 1 or workload.metadata.is_deleting:
        return None
    is_healthy = status.phase == Phase.HEALTHY
    was_healthy = find(stored.conditions, "Healthy") is not None
    replicas: int | None = None
    match reference.scale_down:
        case "onsuccess":
            replicas = 0 if is_healthy and not was_healthy else None
        case "progressively":
            if is_healthy:
                replicas = 0
            elif not was_healthy and (status.ready_replicas > 0 or is_shrinking):
                replicas = max(0, spec.replicas_wanted - status.ready_replicas)
    if replicas is None or replicas == workload.replicas:
        return None
    return ScaleWorkload(target=Target.of(workload.metadata), replicas=replicas)
