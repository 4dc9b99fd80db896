"""Replacing every pod that is older than `spec.restartAt`, by eviction, as availability and budgets allow.

Source: argo-rollouts: rollout/restart.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from fairlead.core.kinds import Pod
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts.actions import EvictPod
from fairlead.rollouts.status import RolloutStatus

_LOOK_AGAIN = timedelta(seconds=30)  # as argo-rollouts: an event about availability may never come
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The status, acknowledged when no old pod is left, and the evictions that are due now."""

    status: RolloutStatus
    actions: tuple[EvictPod, ...] = ()
    left: int = 0
    wake_at: datetime | None = None


def is_wanted(restart_at: datetime | None, status: RolloutStatus, now: datetime) -> bool:
    """Return whether old pods have to be looked for now."""
    return restart_at is not None and restart_at != status.restarted_at and restart_at <= now


def restart(situation: Situation, status: RolloutStatus, roles: Roles) -> Restart:
    """Return the evictions that are due: stable pods first, then those of the current revision, then others."""
    restart_at, now = situation.spec.restart_at, situation.now
    if restart_at is None or restart_at == status.restarted_at:
        return Restart(status=status)
    if restart_at > now:
        return Restart(status=status, wake_at=restart_at)
    order = [roles.stable, roles.new, *roles.others]
    rank = {found.metadata.uid: place for place, found in reversed(list(enumerate(order))) if found is not None}
    pods = [pod for pod in situation.seen.pods if _owner(pod) in rank]
    old = [pod for pod in pods if (pod.metadata.creation_timestamp or _EPOCH) < restart_at]
    if not old:
        return Restart(status=replace(status, restarted_at=restart_at))
    alive = sum(pod.is_ready and not pod.metadata.is_deleting for pod in pods)
    wanted = max(situation.wanted, sum(found.spec.replicas for found in situation.revisions.known))
    allowed = alive - (wanted - max(1, situation.limits.unavailable))
    due = sorted(
        (pod for pod in old if not pod.metadata.is_deleting),
        key=lambda pod: (rank[_owner(pod)], pod.metadata.name),
    )[: max(0, allowed)]
    return Restart(
        status=status,
        actions=tuple(EvictPod(pod.metadata.name, pod.metadata.uid) for pod in due),
        left=len(old),
        wake_at=now + _LOOK_AGAIN,
    )


def _owner(pod: Pod) -> str:
    controller = pod.metadata.controller
    return controller.uid if controller is not None else ""
