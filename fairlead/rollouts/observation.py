"""What the cluster looked like a moment ago, as far as a Rollout is concerned: facts only, no decision.

The reconciler fills it from its views, tests and simulations by hand. Everything that a decision depends on is in
here, in the spec, in the stored status, or is the instant of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisRun, Pod, ReplicaSet, Service
from fairlead.core.objects import ObjectMeta
from fairlead.core.plans import AnalysisPlanner, Plan
from fairlead.core.traffic import TrafficSeen
from fairlead.rollouts.spec import RunKey
from fairlead.rollouts.workload import Workload

__all__ = ["AnalysisPlanner", "Observation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at everything around a Rollout.

    Attributes:
        metadata: of the Rollout itself.
        replica_sets: those that it controls, in any state.
        orphans: ReplicaSets of the namespace that nobody controls and that carry a pod template hash.
        services: by name, those of the Services named in the spec that exist.
        endpoints: by Service name, how many ready endpoints belong to which ReplicaSet (by its name; pods of others
            count under an empty name). None: not observed, and then the numbers of the ReplicaSets must do.
        traffic: what the router says of the route; None without a router.
        left_routes: names of routes that still carry our mark though the spec does not use them any more.
        router_problems: what the routers say about their configuration.
        runs: the AnalysisRuns that the Rollout controls.
        plans: by what they are for, what the analysis stanzas amount to.
        pods: of the Rollout's ReplicaSets; only needed while a restart is wanted.
        released: Services that still carry our mark though the spec does not name them any more.
        workload: that the pod template was taken from, if the spec refers to one.
        workload_problem: why it could not be.
        marked: by UID of ReplicaSets, what all their pods are known to carry (`MarkPods.text`).
    """

    metadata: ObjectMeta
    replica_sets: tuple[ReplicaSet, ...] = ()
    orphans: tuple[ReplicaSet, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)
    endpoints: Mapping[str, Mapping[str, int]] | None = None
    traffic: TrafficSeen | None = None
    left_routes: tuple[str, ...] = ()
    router_problems: tuple[SpecError, ...] = ()
    runs: tuple[AnalysisRun, ...] = ()
    plans: Mapping[RunKey, Plan] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    released: tuple[Service, ...] = ()
    workload: Workload | None = None
    workload_problem: SpecError | None = None
    marked: Mapping[str, str] = field(default_factory=dict)
