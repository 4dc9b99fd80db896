"""Whose pods the active and the preview Service select, and when that may change.

The preview Service follows the spec at once: it selects the current revision before that has a pod, because load
balancers take pods in only at their birth. The active Service moves all users at a time:

| to | when |
|---|---|
| the current revision, to promote it | all pods that the user wants are available |
| stable, after an abort | one pod of it is available, however the current revision is |
| where it belongs, if somebody else moved it | one pod of that revision is available |
| where it belongs, for the first time (no mark of ours yet) | every pod of that revision is available |

Where we differ from argo-rollouts on purpose: it goes back to stable only when the *new* revision has all of its pods
(which a broken one never has); and an active Service that selects no revision yet is taken as a first deployment,
which makes an untested revision stable, while here it selects stable until the switch.

Source: argo-rollouts: rollout/bluegreen.go: reconcilePreviewService, reconcileActiveService, rollout/service.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.core.decision import Blocker
from fairlead.core.kinds import ReplicaSet, Service
from fairlead.rollouts._bluegreen_modes import Mode, Rule
from fairlead.rollouts._canary import has_enough
from fairlead.rollouts._modes import Part
from fairlead.rollouts._revisions import pod_hash_of
from fairlead.rollouts._services import select
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.actions import ReleaseService, SwitchService, Target
from fairlead.rollouts.status import RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """The selectors to change now, and what they are afterwards.

    Attributes:
        preview: of the preview Service.
        active: of the active one.
        is_back: users are taken back to stable: before everything else.
        released: Services that the spec does not name any more.
        waiting: why the active Service does not select yet what it should.
    """

    active_hash: str
    preview_hash: str
    preview: tuple[SwitchService, ...] = ()
    active: tuple[SwitchService, ...] = ()
    is_back: bool = False
    released: tuple[ReleaseService, ...] = ()
    waiting: Blocker | None = None


def switch(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, *, is_halted: bool) -> Switching:
    """Return what to do about the Services.

    Args:
        is_halted: the user has stopped everything.
    """
    active_hash, preview_hash = status.active_hash, status.preview_hash
    if is_halted:
        return Switching(active_hash=active_hash, preview_hash=preview_hash)
    blue_green = situation.blue_green
    preview: SwitchService | None = None
    if service := situation.service(blue_green.preview_service):
        preview_hash = pod_hash_of(roles.new)
        preview = select(situation, service, preview_hash)
    active: SwitchService | None = None
    waiting: Blocker | None = None
    target = active_target(status, roles, rule)
    if target is not None and (service := situation.service(blue_green.active_service)):
        waiting = _objection(situation, service, target, roles, rule)
        if waiting is None:
            active_hash = pod_hash_of(target)
            active = select(situation, service, active_hash)
    return Switching(
        active_hash=active_hash,
        preview_hash=preview_hash,
        preview=(preview,) if preview is not None else (),
        active=(active,) if active is not None else (),
        is_back=rule.mode is Mode.ABORTED,
        released=tuple(ReleaseService(Target.of(found.metadata)) for found in situation.seen.released),
        waiting=waiting,
    )


def active_target(status: RolloutStatus, roles: Roles, rule: Rule) -> ReplicaSet | None:
    """Return whose pods users should reach."""
    is_switching = rule.mode is Mode.PREVIEW and status.may_switch
    return roles.stable if rule.active is Part.STABLE and not is_switching else roles.new


def _objection(situation: Situation, service: Service, target: ReplicaSet, roles: Roles, rule: Rule) -> Blocker | None:
    """Return why the active Service can not select a ReplicaSet yet; None: it may, or does so already."""
    if situation.selected(service.metadata.name) == pod_hash_of(target):
        return None
    wanted = situation.wanted
    needed = min(1, wanted)
    is_promotion = target is roles.new and rule.mode is not Mode.PROMOTED
    is_adopted = service.metadata.annotations.get(MANAGED_BY) != situation.seen.metadata.name
    if is_promotion or (is_adopted and rule.mode is not Mode.ABORTED):
        needed = wanted
    if has_enough(None, needed, target):
        return None
    available = target.status.available_replicas
    what = f"{available} of {needed} pods of {target.metadata.name} are available for Service {service.metadata.name}"
    return Blocker(reason=Waiting.SERVICE, what=what)


def is_taken(situation: Situation, current: ReplicaSet) -> bool:
    """Return whether nobody answers behind the active Service any more but pods of the current revision."""
    if situation.seen.endpoints is None:
        return True
    found = situation.seen.endpoints.get(situation.blue_green.active_service, {})
    return all(name == current.metadata.name for name, count in found.items() if count)
