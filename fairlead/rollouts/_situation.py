"""The facts of one decision, gathered once: what is wanted, what was seen, which ReplicaSet plays which part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from fairlead.core.kinds import ReplicaSet, Service
from fairlead.core.traffic import TrafficSeen
from fairlead.rollouts import _replicas
from fairlead.rollouts._hash import steps_hash
from fairlead.rollouts._revisions import Revisions, pod_hash_of
from fairlead.rollouts._stanzas import Pair
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import BlueGreenStrategy, CanaryStep, CanaryStrategy, RolloutSpec
from fairlead.rollouts.status import RolloutStatus


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which ReplicaSet is what, given which revision is stable.

    Attributes:
        new: of the current revision; one without UID is still to be created.
        stable: None when there is none (or somebody deleted it); may be the same as `new`.
        others: neither of them, newest revision first.
    """

    new: ReplicaSet
    stable: ReplicaSet | None
    others: tuple[ReplicaSet, ...]

    @property
    def is_one(self) -> bool:
        """Whether stable is the current revision, or missing: nothing to compare with."""
        return self.stable is None or self.stable is self.new


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision is made from. `stored` is the status as it was read."""

    spec: RolloutSpec
    stored: RolloutStatus
    seen: Observation
    revisions: Revisions
    now: datetime

    @cached_property
    def canary(self) -> CanaryStrategy:
        assert self.spec.canary is not None, "a spec without canary is refused before"
        return self.spec.canary

    @cached_property
    def blue_green(self) -> BlueGreenStrategy:
        assert self.spec.blue_green is not None, "asked for by its own machine alone"
        return self.spec.blue_green

    @cached_property
    def steps(self) -> tuple[CanaryStep, ...]:
        return self.spec.steps

    @cached_property
    def step_hash(self) -> str:
        """What `status.currentStepHash` should say; nothing where the strategy has no steps at all."""
        return steps_hash(self.steps) if self.spec.canary is not None else ""

    @cached_property
    def wanted(self) -> int:
        """Pods that the user wants."""
        return self.spec.replicas_wanted

    @cached_property
    def weight_max(self) -> int:
        return self.canary.weight_max

    @cached_property
    def is_routed(self) -> bool:
        return self.spec.canary is not None and self.spec.canary.is_routed

    @cached_property
    def limits(self) -> _replicas.Limits:
        if self.spec.canary is None:
            unavailable = self.blue_green.unavailable.of(self.wanted, round_up=False)
            return _replicas.Limits(surge=0, unavailable=min(unavailable, self.wanted))
        return _replicas.limits(
            self.wanted,
            self.canary.surge.of(self.wanted, round_up=True),
            self.canary.unavailable.of(self.wanted, round_up=False),
        )

    def roles(self, stable_hash: str) -> Roles:
        """Return who is who when that revision is stable."""
        new = self.revisions.current
        stable = new if pod_hash_of(new) == stable_hash else None
        others: list[ReplicaSet] = []
        for found in self.revisions.known:
            if found is new:
                continue
            if stable is None and stable_hash and pod_hash_of(found) == stable_hash:
                stable = found
            else:
                others.append(found)
        return Roles(new=new, stable=stable, others=tuple(others))

    def pair(self, status: RolloutStatus) -> Pair:
        """Return which Services stand for stable and canary by that status."""
        return self.canary.pair(status.stable_turn)

    def has_turned(self, status: RolloutStatus) -> bool:
        """Return whether the Services have changed places by this very decision."""
        return self.spec.canary is not None and self.pair(status) != self.pair(self.stored)

    def traffic(self, status: RolloutStatus) -> TrafficSeen | None:
        """Return what the router sees, told by the parts that the Services play by that status."""
        seen = self.seen.traffic
        if seen is None or seen.weights is None or not self.has_turned(status):
            return seen
        weights = replace(seen.weights, canary=seen.weights.stable, stable=seen.weights.canary)
        return replace(seen, weights=weights)

    def service(self, name: str) -> Service | None:
        return self.seen.services.get(name) if name else None

    def selected(self, name: str) -> str:
        """Return the hash that a Service selects now; empty: none, or there is no such Service."""
        service = self.service(name)
        return service.spec.selector.get(HASH_LABEL, "") if service is not None else ""
