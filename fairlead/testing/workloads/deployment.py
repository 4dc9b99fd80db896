"""What the Deployment controller does next with its ReplicaSets, and what its status says.

Source: `k8s.io/kubernetes: pkg/controller/deployment/` (`rolling.go`, `recreate.go`, `sync.go`, `progress.go`,
`util/deployment_util.go`).

Simpler than upstream on purpose: a change of `spec.replicas` amid an update is not spread in proportion but flows
through the ordinary arithmetic; the hash of a template is our own (a Rollout's hash is upstream's, and not made here).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fairlead.core.objects import controller_reference
from fairlead.testing.workloads._names import ALPHABET
from fairlead.testing.workloads._objects import (
    DEPLOYMENTS,
    Condition,
    Deployment,
    DeploymentStatus,
    Pod,
    ReplicaSet,
    set_condition,
    template_of,
    without_condition,
)

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
NO_DEADLINE = 2**31 - 1  # upstream's way to say that there is no progress deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReplicaSet:
    """Create the ReplicaSet of the present template."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReplicaSet:
    """Merge the body into a ReplicaSet: its scale, its annotations."""

    replica_set: ReplicaSet
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteReplicaSet:
    """Delete an old ReplicaSet beyond the history limit."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate:
    """Record the revision on the Deployment itself."""

    revision: str


Action = CreateReplicaSet | PatchReplicaSet | DeleteReplicaSet | Annotate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one look at a Deployment leads to; `wake_at` is its progress deadline."""

    actions: tuple[Action, ...] = ()
    status: DeploymentStatus
    wake_at: datetime | None = None


def decide(deployment: Deployment, replica_sets: Sequence[ReplicaSet], pods: Sequence[Pod], now: datetime) -> Plan:
    """Return what brings the Deployment one look closer to its wish.

    Args:
        deployment: as last seen.
        replica_sets: those that it controls by UID.
        pods: those of its ReplicaSets; only Recreate looks at them.
        now: stamps conditions and is measured against the progress deadline.
    """
    if deployment.metadata.is_deleting:
        status, wake_at = _status(deployment, replica_sets, None, now, created=False)
        return Plan(status=status, wake_at=wake_at)
    new = _newest(deployment, replica_sets)
    olds = sorted((found for found in replica_sets if found is not new), key=_age)
    actions: list[Action] = []
    if deployment.spec.paused:
        if new is not None and not any(old.spec.replicas for old in olds):
            actions += _scale(deployment, new, deployment.spec.replicas)
    elif deployment.spec.strategy.type == "Recreate":
        actions += _recreate(deployment, new, olds, pods)
    else:
        actions += _rolling(deployment, new, olds)
    if not deployment.spec.paused:
        actions += _revise(deployment, new, olds)
        actions += _forget(deployment, new, olds)
    created = any(isinstance(action, CreateReplicaSet) for action in actions)
    status, wake_at = _status(deployment, replica_sets, new, now, created=created)
    return Plan(actions=tuple(_merged(actions)), status=status, wake_at=wake_at)


def template_hash(template: msgspec.Raw, collisions: int = 0) -> str:
    """Return the label value that tells this template from others: ten letters and digits."""
    canonical = msgspec.json.encode(template_of(template), order="sorted")
    digest = hashlib.sha256(canonical + str(collisions or "").encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[index])
    return "".join(letters)


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """Return an int-or-percent of `total` as a count, rounded up or down; what is neither counts as 0."""
    if isinstance(value, int):
        return value
    text = value.removesuffix("%")
    if not text.isdecimal() or text == value:
        return 0
    exact = int(text) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


def surge_and_unavailable(deployment: Deployment) -> tuple[int, int]:
    """Return how many pods may be above, and how many may be missing from, the wish during a rolling update."""
    if deployment.spec.strategy.type == "Recreate":
        return 0, 0
    rolling, total = deployment.spec.strategy.rolling_update, deployment.spec.replicas
    surge = resolve(rolling.max_surge, total, up=True)
    unavailable = resolve(rolling.max_unavailable, total, up=False)
    # Both 0 would forbid every move.
    return surge, (unavailable or 1) if not surge else unavailable


def _newest(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """Return the oldest ReplicaSet whose template is the Deployment's, but for the hash label."""
    wanted = _plain(deployment.spec.template)
    return next((found for found in sorted(replica_sets, key=_age) if _plain(found.spec.template) == wanted), None)


def _plain(template: msgspec.Raw) -> dict[str, Any]:
    plain = template_of(template)
    metadata = dict(plain.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH}
    # An empty metadata is the same as none, and `creationTimestamp: null` says nothing.
    rest = {key: value for key, value in metadata.items() if value and key not in ("labels", "creationTimestamp")}
    return {**plain, "metadata": {**rest, "labels": labels}}


def _age(replica_set: ReplicaSet) -> tuple[float, str]:
    created = replica_set.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, replica_set.metadata.name)


def _rolling(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> list[Action]:
    surge, unavailable = surge_and_unavailable(deployment)
    wish = deployment.spec.replicas
    total = sum(old.spec.replicas for old in olds) + (new.spec.replicas if new else 0)
    current = new.spec.replicas if new else 0
    if current > wish:
        grown = wish
    else:
        # Never above wish + surge in all. Example: wish 10, surge 3, 10 old, 0 new: 3 new ones.
        grown = current + max(0, min(wish + surge - total, wish - current))
    if new is None:
        return [CreateReplicaSet(body=_replica_set_body(deployment, grown, olds))]
    if grown != current:
        return _scale(deployment, new, grown)
    return [*_sync_annotations(deployment, new), *_shrink(deployment, new, olds, total, wish - unavailable)]


def _shrink(
    deployment: Deployment, new: ReplicaSet, olds: Sequence[ReplicaSet], total: int, available_min: int
) -> list[Action]:
    """Scale old ReplicaSets down as far as availability allows, pods that are not ready first."""
    new_unavailable = new.spec.replicas - new.status.available_replicas
    budget = total - available_min - new_unavailable
    left = {old.metadata.uid: old.spec.replicas for old in olds}
    for old in olds:
        if budget <= 0:
            break
        broken = min(max(0, old.spec.replicas - old.status.available_replicas), budget)
        left[old.metadata.uid] -= broken
        budget -= broken
    available = new.status.available_replicas + sum(old.status.available_replicas for old in olds)
    spare = available - available_min
    for old in olds:
        if spare <= 0:
            break
        fewer = min(left[old.metadata.uid], spare)
        left[old.metadata.uid] -= fewer
        spare -= fewer
    return [action for old in olds for action in _scale(deployment, old, left[old.metadata.uid], annotate=False)]


def _recreate(
    deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet], pods: Sequence[Pod]
) -> list[Action]:
    running = [old for old in olds if old.spec.replicas]
    if running:
        return [action for old in running for action in _scale(deployment, old, 0)]
    old_uids = {old.metadata.uid for old in olds}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is not None and owner.uid in old_uids and not pod.is_finished:
            return []  # the old version must be gone before the new one starts
    if new is None:
        return [CreateReplicaSet(body=_replica_set_body(deployment, deployment.spec.replicas, olds))]
    return _scale(deployment, new, deployment.spec.replicas) or _sync_annotations(deployment, new)


def _scale(deployment: Deployment, replica_set: ReplicaSet, replicas: int, *, annotate: bool = True) -> list[Action]:
    if replica_set.spec.replicas == replicas:
        return []
    body: dict[str, Any] = {"spec": {"replicas": replicas}}
    if annotate:
        body["metadata"] = {"annotations": _size_annotations(deployment)}
    return [PatchReplicaSet(replica_set=replica_set, body=body)]


def _sync_annotations(deployment: Deployment, replica_set: ReplicaSet) -> list[Action]:
    wanted = _size_annotations(deployment)
    if wanted.items() <= replica_set.metadata.annotations.items():
        return []
    return [PatchReplicaSet(replica_set=replica_set, body={"metadata": {"annotations": wanted}})]


def _size_annotations(deployment: Deployment) -> dict[str, str]:
    surge, _ = surge_and_unavailable(deployment)
    return {DESIRED: str(deployment.spec.replicas), MAX: str(deployment.spec.replicas + surge)}


def revision_of(replica_set: ReplicaSet) -> int:
    """Return the revision number in its annotation, 0 without one."""
    found = replica_set.metadata.annotations.get(REVISION, "")
    return int(found) if found.isdecimal() else 0


def _revise(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> list[Action]:
    """Give the present template the highest revision, also when it was used before (a rollback)."""
    if new is None:
        return []
    highest = max((revision_of(old) for old in olds), default=0)
    revision = max(revision_of(new), highest + 1)
    actions: list[Action] = []
    if revision_of(new) != revision:
        body = {"metadata": {"annotations": {REVISION: str(revision)}}}
        actions.append(PatchReplicaSet(replica_set=new, body=body))
    if deployment.metadata.annotations.get(REVISION) != str(revision):
        actions.append(Annotate(revision=str(revision)))
    return actions


def _forget(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> list[Action]:
    """Delete ReplicaSets beyond the history limit, once the new one has taken over."""
    if new is None or not _is_complete(deployment, new, olds):
        return []
    idle = [old for old in olds if not old.spec.replicas and not old.status.replicas and not old.metadata.is_deleting]
    idle.sort(key=revision_of)
    return [
        DeleteReplicaSet(replica_set=old) for old in idle[: max(0, len(idle) - deployment.spec.revision_history_limit)]
    ]


def _is_complete(deployment: Deployment, new: ReplicaSet, olds: Sequence[ReplicaSet]) -> bool:
    return (
        new.status.replicas == deployment.spec.replicas
        and new.status.available_replicas == deployment.spec.replicas
        and not any(old.status.replicas for old in olds)
        and new.status.observed_generation >= new.metadata.generation
    )


def _replica_set_body(deployment: Deployment, replicas: int, olds: Sequence[ReplicaSet]) -> dict[str, Any]:
    hash_ = template_hash(deployment.spec.template, deployment.status.collision_count)
    template = template_of(deployment.spec.template)
    metadata = dict(template.get("metadata") or {})
    labels = {**(metadata.get("labels") or {}), HASH: hash_}
    template["metadata"] = {**metadata, "labels": labels}
    selector: dict[str, Any] = {"matchLabels": {**deployment.spec.selector.match_labels, HASH: hash_}}
    if deployment.spec.selector.match_expressions:
        selector["matchExpressions"] = list(deployment.spec.selector.match_expressions)
    revision = max((revision_of(old) for old in olds), default=0) + 1
    owner = controller_reference(
        api_version=DEPLOYMENTS.api_version, kind=DEPLOYMENTS.kind, metadata=deployment.metadata
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment.metadata.name}-{hash_}",
            "namespace": deployment.metadata.namespace,
            "labels": labels,
            "annotations": {REVISION: str(revision), **_size_annotations(deployment)},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    }


def _merged(actions: Sequence[Action]) -> list[Action]:
    """Join patches of one ReplicaSet into one write; the order of first mention is kept."""
    joined: list[Action] = []
    for action in actions:
        if isinstance(action, PatchReplicaSet):
            for index, other in enumerate(joined):
                if isinstance(other, PatchReplicaSet) and other.replica_set is action.replica_set:
                    notes = {**_notes(other.body), **_notes(action.body)}
                    body = {**other.body, **action.body, **({"metadata": {"annotations": notes}} if notes else {})}
                    joined[index] = PatchReplicaSet(replica_set=action.replica_set, body=body)
                    break
            else:
                joined.append(action)
        else:
            joined.append(action)
    return joined


def _notes(body: dict[str, Any]) -> dict[str, str]:
    notes: dict[str, str] = (body.get("metadata") or {}).get("annotations") or {}
    return notes


def _status(
    deployment: Deployment,
    replica_sets: Sequence[ReplicaSet],
    new: ReplicaSet | None,
    now: datetime,
    *,
    created: bool,
) -> tuple[DeploymentStatus, datetime | None]:
    total = sum(found.status.replicas for found in replica_sets)
    available = sum(found.status.available_replicas for found in replica_sets)
    old = deployment.status
    fresh = msgspec.structs.replace(
        old,
        observed_generation=deployment.metadata.generation,
        replicas=total,
        updated_replicas=new.status.replicas if new else 0,
        ready_replicas=sum(found.status.ready_replicas for found in replica_sets),
        available_replicas=available,
        unavailable_replicas=max(0, sum(found.spec.replicas for found in replica_sets) - available),
    )
    conditions = old.conditions
    _, unavailable = surge_and_unavailable(deployment)
    enough = available >= deployment.spec.replicas - unavailable
    words = "has minimum availability" if enough else "does not have minimum availability"
    conditions = set_condition(
        conditions,
        Condition(
            type="Available",
            status="True" if enough else "False",
            reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            message=f"Deployment {words}.",
        ),
        now,
        has_update_time=True,
    )
    conditions, wake_at = _progress(deployment, fresh, conditions, new, replica_sets, now, created=created)
    troubled = next((c for found in replica_sets for c in found.status.conditions if c.type == "ReplicaFailure"), None)
    if troubled is None:
        conditions = without_condition(conditions, "ReplicaFailure")
    else:
        failure = Condition(type="ReplicaFailure", status="True", reason=troubled.reason, message=troubled.message)
        conditions = set_condition(conditions, failure, now, has_update_time=True)
    return msgspec.structs.replace(fresh, conditions=conditions), wake_at


def _progress(
    deployment: Deployment,
    fresh: DeploymentStatus,
    conditions: tuple[Condition, ...],
    new: ReplicaSet | None,
    replica_sets: Sequence[ReplicaSet],
    now: datetime,
    *,
    created: bool,
) -> tuple[tuple[Condition, ...], datetime | None]:
    """Return the conditions with Progressing among them, and when its deadline passes."""
    if deployment.spec.progress_deadline_seconds >= NO_DEADLINE:
        return without_condition(conditions, "Progressing"), None
    before = next((condition for condition in conditions if condition.type == "Progressing"), None)
    if deployment.spec.paused:
        if before is None or before.reason == "NewReplicaSetAvailable":
            return conditions, None
        return _progressing(conditions, "Unknown", "DeploymentPaused", "Deployment is paused", now), None
    olds = [found for found in replica_sets if found is not new]
    named = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    if new is not None and _is_complete(deployment, new, olds):
        text = f"{named} has successfully progressed."
        return _progressing(conditions, "True", "NewReplicaSetAvailable", text, now), None
    deadline = timedelta(seconds=deployment.spec.progress_deadline_seconds)
    if created:
        text = f"Created new replica set for {named}"
        return _progressing(conditions, "True", "NewReplicaSetCreated", text, now), now + deadline
    if before is not None and before.reason == "NewReplicaSetAvailable" and fresh.replicas == fresh.updated_replicas:
        return conditions, None  # a pod that fails after the update is no lack of progress
    last = deployment.status
    moved = (
        fresh.updated_replicas > last.updated_replicas
        or fresh.replicas - fresh.updated_replicas < last.replicas - last.updated_replicas
        or fresh.ready_replicas > last.ready_replicas
        or fresh.available_replicas > last.available_replicas
    )
    if before is None or moved or before.reason in ("NewReplicaSetAvailable", "DeploymentPaused"):
        kept = without_condition(conditions, "Progressing") if moved and before is not None else conditions
        text = f"{named} is progressing."
        stamped = _progressing(kept, "True", "ReplicaSetUpdated", text, now)
        if moved and before is not None and before.status == "True":
            # The update time is renewed by every progress, the transition time only by a change of status.
            stamped = tuple(
                msgspec.structs.replace(c, last_transition_time=before.last_transition_time)
                if c.type == "Progressing"
                else c
                for c in stamped
            )
        return stamped, now + deadline
    since = before.last_update_time or now
    if before.status == "True" and now >= since + deadline:
        text = f"{named} has timed out progressing."
        return _progressing(conditions, "False", "ProgressDeadlineExceeded", text, now), None
    return conditions, since + deadline if before.status == "True" else None


def _progressing(
    conditions: tuple[Condition, ...], status: str, reason: str, message: str, now: datetime
) -> tuple[Condition, ...]:
    condition = Condition(type="Progressing", status=status, reason=reason, message=message)
    return set_condition(conditions, condition, now, has_update_time=True)
