"""A situation in one call: what a part of the machine is asked with."""

from __future__ import annotations

from typing import Any

from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts._canary import at_desired, desired
from fairlead.rollouts._modes import Rule
from fairlead.rollouts._replicas import Counts
from fairlead.rollouts._revisions import identify
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._traffic import Traffic, direct
from fairlead.rollouts.machine import facts_of, rule_for
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing import builders
from fairlead.testing.builders import START


class Case:
    """Spec, status and observation, and everything that follows from them."""

    def __init__(self, rollout: RolloutSpec, status: RolloutStatus, seen: Observation, now: Any = START) -> None:
        self.situation = Situation(
            spec=rollout,
            stored=status,
            seen=seen,
            revisions=identify(seen.metadata, rollout, status, seen.replica_sets),
            now=now,
        )
        self.status = status

    @property
    def roles(self) -> Roles:
        return self.situation.roles(self.status.stable_hash)

    @property
    def rule(self) -> Rule:
        return rule_for(facts_of(self.situation, self.status, self.roles))

    @property
    def counts(self) -> Counts:
        return desired(self.situation, self.status, self.roles, self.rule)

    @property
    def is_ready(self) -> bool:
        return at_desired(self.situation, self.counts, self.roles)

    @property
    def traffic(self) -> Traffic:
        return direct(self.situation, self.status, self.roles, self.rule, is_ready=self.is_ready)


def routed(
    *steps: dict[str, Any],
    step: int | None = 0,
    replicas: int = 5,
    canary: ReplicaSet | None = None,
    stable: ReplicaSet | None = None,
    others: tuple[ReplicaSet, ...] = (),
    stable_version: int = 1,
    settings: dict[str, Any] | None = None,
    seen: dict[str, Any] | None = None,
    now: Any = START,
    **status: Any,
) -> Case:
    """Return a routed update from version 1 to version 2; both Services select what they should.

    Args:
        settings: of `spec_content`.
        seen: fields of the observation.
        status: fields of the status, as the API spells them.
    """
    rollout = builders.spec(*steps, version=2, replicas=replicas, routed=True, **(settings or {}))
    found = [one for one in (canary, stable or builders.replica_set(1, replicas=replicas), *others) if one is not None]
    fields: dict[str, Any] = {"services": builders.services(stable=1, canary=2), "traffic": builders.traffic(0)}
    return Case(
        rollout,
        builders.status(rollout, stable=stable_version, current=2, step=step, **status),
        builders.observation(*found, **{**fields, **(seen or {})}),
        now,
    )
