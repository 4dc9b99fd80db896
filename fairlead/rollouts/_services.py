"""Whose pods the stable and the canary Service select, and when that may change.

A selector moves traffic as a weight does, and without a drain: behind a router it changes only while its Service
carries no traffic, and only to a ReplicaSet that has somebody to answer. A Service that is adopted (no mark of ours
yet) may have served the user's own pods so far: then every new pod must be available first.

Source: argo-rollouts: rollout/service.go: reconcileStableAndCanaryService.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.core.decision import Blocker, Event
from fairlead.core.kinds import ReplicaSet, Service
from fairlead.rollouts._modes import Mode, Part, Rule
from fairlead.rollouts._revisions import pod_hash_of
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.actions import ReleaseService, SwitchService, Target
from fairlead.rollouts.status import RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The selectors to change now, and why one that should change has to wait."""

    actions: tuple[SwitchService | ReleaseService, ...] = ()
    waiting: Blocker | None = None


def switch(
    situation: Situation,
    status: RolloutStatus,
    roles: Roles,
    rule: Rule,
    *,
    canary_pods: int,
    is_clear: bool,
    is_halted: bool,
) -> Switches:
    """Return what to do about the Services.

    Args:
        canary_pods: that the current revision should have; without any, the canary Service selects stable ones.
        is_clear: no traffic goes through the canary Service.
        is_halted: the user has stopped everything.
    """
    if is_halted or situation.has_turned(status):
        return Switches()  # that two Services have changed places is stored first
    released = tuple(ReleaseService(Target.of(found.metadata)) for found in situation.seen.released)
    pair = situation.pair(status)
    actions: list[SwitchService | ReleaseService] = [*released]
    waiting: Blocker | None = None
    if roles.stable is not None and (service := situation.service(pair.stable)):
        action, reason = _switch(situation, service, roles.stable, may_be_empty=False)
        actions += [action] if action else []
        waiting = reason
    is_rescue = rule.mode is Mode.ABORTED and situation.is_routed
    is_empty = situation.is_routed and canary_pods == 0 and situation.wanted > 0
    target = roles.stable if rule.canary_service is Part.STABLE or is_empty else roles.new
    if target is not None and (service := situation.service(pair.canary)):
        selected = service.spec.selector.get(HASH_LABEL, "")
        if selected not in ("", pod_hash_of(target)) and not is_clear:
            waiting = waiting or Blocker(
                reason=Waiting.TRAFFIC, what=f"the weight of Service {pair.canary} is 0 and in force"
            )
        else:
            # One of two that take turns leads to new pods before there are any: balancers register them late.
            is_turn = situation.canary.ping_pong is not None and target is roles.new and not roles.is_one
            action, reason = _switch(situation, service, target, may_be_empty=is_rescue or is_turn)
            actions += [action] if action else []
            waiting = waiting or reason
    return Switches(actions=tuple(actions), waiting=waiting if situation.wanted > 0 else None)


def _switch(
    situation: Situation, service: Service, target: ReplicaSet, *, may_be_empty: bool
) -> tuple[SwitchService | None, Blocker | None]:
    action = select(situation, service, pod_hash_of(target))
    if action is None:
        return None, None
    available, wanted = target.status.available_replicas, target.spec.replicas
    needed = max(1, wanted) if action.marks else 1
    if available < needed and not may_be_empty:
        name = service.metadata.name
        what = f"{available} of {needed} pods of {target.metadata.name} are available for Service {name}"
        return None, Blocker(reason=Waiting.SERVICE, what=what)
    return action, None


def select(situation: Situation, service: Service, pod_hash: str) -> SwitchService | None:
    """Return what makes a Service select a revision's pods and carry our mark; None when it does."""
    selected, name = service.spec.selector.get(HASH_LABEL, ""), service.metadata.name
    is_marked = service.metadata.annotations.get(MANAGED_BY) == situation.seen.metadata.name
    if selected == pod_hash and is_marked:
        return None
    event = None
    if selected != pod_hash:
        event = Event("SwitchService", f"Switched selector for service '{name}' from '{selected}' to '{pod_hash}'")
    return SwitchService(target=Target.of(service.metadata), pod_hash=pod_hash, marks=not is_marked, event=event)


def selected_hashes(situation: Situation) -> frozenset[str]:
    """Return the hashes that the Services of the Rollout select now."""
    return frozenset(found.spec.selector.get(HASH_LABEL, "") for found in situation.seen.services.values())
