"""What a Rollout's reconciler sees: the views that it is given, and one look at everything around a Rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisRun, EndpointSlice, Pod, ReplicaSet, Rollout, Service
from fairlead.core.objects import ObjectKey
from fairlead.core.plans import AnalysisPlanner
from fairlead.core.traffic import LeftRoute
from fairlead.rollouts._arguments import plans
from fairlead.rollouts._revisions import identify, pod_hash_of
from fairlead.rollouts._routing import Routing, look
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus, plain
from fairlead.rollouts.triggers import (
    REPLICA_SETS_BY_OWNER,
    RUNS_BY_OWNER,
    SERVICES_BY_MANAGER,
    SLICES_BY_SERVICE,
    orphans_of,
)
from fairlead.rollouts.workload import Resolution, StoredWorkloads, Workloads

_GENERATED_BASE_MAX = 58  # characters that the API server keeps of a generateName


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What the reconciler sees, with the indexes of `triggers.INDEXES`.

    Attributes:
        endpoint_slices: None: selectors and numbers of available pods must do.
        workloads: that pod templates may be taken from; the default finds none.
    """

    rollouts: View[Rollout]
    replica_sets: View[ReplicaSet]
    services: View[Service]
    runs: View[AnalysisRun]
    endpoint_slices: View[EndpointSlice] | None = None
    workloads: Workloads = StoredWorkloads(views={})  # noqa: RUF009 - frozen


def observe(
    rollout: Rollout,
    spec: RolloutSpec | SpecError,
    status: RolloutStatus,
    views: Views,
    planner: AnalysisPlanner,
    routing: Routing,
    now: datetime,
    *,
    pods: Sequence[Pod] = (),
    marked: Mapping[str, str] | None = None,
    resolution: Resolution | None = None,
    left: Sequence[LeftRoute] = (),
) -> Observation:
    """Return what the cluster looks like around a Rollout, from the views alone."""
    metadata = rollout.metadata
    if isinstance(spec, SpecError):
        return Observation(metadata=metadata)
    owned = tuple(views.replica_sets.by_index(REPLICA_SETS_BY_OWNER, metadata.uid))
    named = {use.name: views.services.get(ObjectKey(metadata.namespace, use.name)) for use in spec.services}
    services = {name: found for name, found in named.items() if found is not None}
    managed = views.services.by_index(SERVICES_BY_MANAGER, str(metadata.key))
    current = identify(metadata, spec, status, owned)
    return Observation(
        metadata=metadata,
        replica_sets=owned,
        orphans=tuple(views.replica_sets.by_index(REPLICA_SETS_BY_OWNER, orphans_of(metadata.namespace))),
        services=services,
        endpoints=_endpoints(metadata.namespace, services, owned, views.endpoint_slices),
        traffic=look(routing.routers, now),
        left_routes=tuple(route.name for route in left),
        router_problems=routing.problems,
        runs=tuple(views.runs.by_index(RUNS_BY_OWNER, metadata.uid)),
        plans=plans(
            metadata,
            {"spec": plain(rollout.spec), "status": plain(rollout.status)} if spec.analyses else {},
            spec,
            planner,
            latest_hash=current.pod_hash,
            stable_hash=status.stable_hash if any(pod_hash_of(one) == status.stable_hash for one in owned) else "",
        ),
        pods=tuple(pods),
        released=tuple(found for found in managed if found.metadata.name not in named),
        marked=dict(marked or {}),
        workload=resolution.workload if resolution is not None else None,
        workload_problem=resolution.problem if resolution is not None else None,
    )


def _endpoints(
    namespace: str,
    services: Mapping[str, Service],
    replica_sets: Sequence[ReplicaSet],
    slices: View[EndpointSlice] | None,
) -> dict[str, dict[str, int]] | None:
    """Return, by Service, how many ready pods of which ReplicaSet are behind it; None: it cannot be told."""
    if slices is None:
        return None
    # Pods are told by their names: what the API server makes of the ReplicaSet's, and five characters.
    bases = {f"{found.metadata.name}-"[:_GENERATED_BASE_MAX]: found.metadata.name for found in replica_sets}
    if len(bases) < len(replica_sets):
        return None  # names so long that the revisions look alike
    found: dict[str, dict[str, int]] = {}
    for service in services:
        pods = {
            endpoint.target_ref.name
            for one in slices.by_index(SLICES_BY_SERVICE, f"{namespace}/{service}")
            for endpoint in one.endpoints
            if endpoint.target_ref is not None
            and endpoint.conditions.ready is not False
            and not endpoint.conditions.terminating
        }
        counts = found.setdefault(service, {})
        for name in pods:
            owner = bases.get(name[:-5], "")
            counts[owner] = counts.get(owner, 0) + 1
    return found
