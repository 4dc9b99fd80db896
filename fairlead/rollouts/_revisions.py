"""Which ReplicaSet belongs to which revision: finding, numbering, creating, adopting and forgetting them.

The label `rollouts-pod-template-hash` of a ReplicaSet is the truth, whatever a newer controller would compute. "No
ReplicaSet has this template" means "the user changed the template", so a template is recognised in three ways:

1. by the hash that we compute, under every collision count so far;
2. by the hash that argo-rollouts before v1.9 computed;
3. by meaning (defaults applied), unless we made the ReplicaSet ourselves: then its label says exactly which template
   it had, and a live template that has come to mean something else was edited in place.

Source: argo-rollouts: utils/replicaset/replicaset.go: FindNewReplicaSet, rollout/sync.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from fairlead.core.kinds import LabelSelector, ReplicaSet, ReplicaSetSpec
from fairlead.core.objects import ObjectMeta, controller_reference
from fairlead.core.selectors import matches
from fairlead.rollouts import _affinity, _ephemeral
from fairlead.rollouts._ephemeral import bare_template
from fairlead.rollouts._hash import template_hash
from fairlead.rollouts._stanzas import Metadata
from fairlead.rollouts._template import HASH_LABEL, Form, digest, templates_equal, written
from fairlead.rollouts.actions import (
    Action,
    AdoptReplicaSet,
    DeleteReplicaSet,
    ReleaseReplicaSet,
    Target,
)
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus

REVISION = "rollout.argoproj.io/revision"
REVISION_HISTORY = "rollout.argoproj.io/revision-history"
DESIRED_REPLICAS = "rollout.argoproj.io/desired-replicas"
SCALE_DOWN_DEADLINE = "scale-down-deadline"  # bare, as argo-rollouts writes it
MADE_FROM = "fairlead.dev/template-digest"  # on ReplicaSets of ours: what their template was when we sent it

_NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        # What stands on ReplicaSets for our own use: copied from a Rollout, it would come and go for ever.
        SCALE_DOWN_DEADLINE,
        "rollout.argoproj.io/ephemeral-metadata",
        "notified.notifications.argoproj.io",
        "rollout.argoproj.io/workload-generation",  # argo-rollouts copies it; nobody reads it there
    )
)
_OUR_PREFIX = "fairlead.dev/"  # likewise
_COLLISIONS_TRIED_MAX = 16  # a status written by a stranger must not cost us a million hashes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """The ReplicaSets of a Rollout that count.

    Attributes:
        current: of the template in the spec; one without UID does not exist yet.
        known: all that exist, newest revision first (the current one included, if it exists).
    """

    current: ReplicaSet
    known: tuple[ReplicaSet, ...]

    @property
    def pod_hash(self) -> str:
        return pod_hash_of(self.current)

    @property
    def exists(self) -> bool:
        return self.current.metadata.uid != ""


def pod_hash_of(replica_set: ReplicaSet) -> str:
    """Return the hash label; empty when there is none."""
    return replica_set.metadata.labels.get(HASH_LABEL, "")


def revision_of(metadata: ObjectMeta) -> int:
    """Return the revision that an object's annotation names; 0 when it names none."""
    text = metadata.annotations.get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def age_order(replica_set: ReplicaSet) -> tuple[datetime, str]:
    """Return what sorts ReplicaSets oldest first, always in the same way."""
    return replica_set.metadata.creation_timestamp or _EPOCH, replica_set.metadata.name


def identify(rollout: ObjectMeta, spec: RolloutSpec, status: RolloutStatus, owned: Iterable[ReplicaSet]) -> Revisions:
    """Return the ReplicaSet of the spec's template (to be created, if there is none), and all the others."""
    known = sorted(
        (found for found in owned if pod_hash_of(found)),
        key=lambda found: (revision_of(found.metadata), age_order(found)),
        reverse=True,
    )
    current = _find(spec, status, sorted(known, key=age_order))
    if current is None:
        current = _unborn(rollout, template_hash(spec.template, collision_count=status.collision_count))
    return Revisions(current=current, known=tuple(known))


def _find(spec: RolloutSpec, status: RolloutStatus, oldest_first: list[ReplicaSet]) -> ReplicaSet | None:
    by_hash = {pod_hash_of(found): found for found in reversed(oldest_first)}
    count = status.collision_count or 0
    counts: list[int | None] = [*range(count, max(0, count - _COLLISIONS_TRIED_MAX), -1), None]
    for form in (Form.V1_9, Form.V1_8):
        for collision_count in counts:
            found = by_hash.get(template_hash(spec.template, collision_count=collision_count, form=form))
            if found is not None:
                return found
    alike = [
        found
        for found in oldest_first
        if not _was_edited(found) and templates_equal(spec.template, bare_template(found))
    ]
    # After a change of hash several may be alike: the one in use must not lose its part to an older one.
    for preferred in (status.pod_hash, status.stable_hash):
        for found in alike:
            if preferred and pod_hash_of(found) == preferred:
                return found
    return alike[0] if alike else None


def _was_edited(found: ReplicaSet) -> bool:
    """Return whether somebody changed the template of a ReplicaSet of ours since we made it.

    Such a one must not be taken for the revision that it looks like now: its pods are of another one (rollouts #4976).
    """
    made_from = found.metadata.annotations.get(MADE_FROM)
    return made_from is not None and made_from != digest(bare_template(found))


def _unborn(rollout: ObjectMeta, pod_hash: str) -> ReplicaSet:
    metadata = ObjectMeta(name=f"{rollout.name}-{pod_hash}", namespace=rollout.namespace, labels={HASH_LABEL: pod_hash})
    return ReplicaSet(metadata=metadata, spec=ReplicaSetSpec(replicas=0, selector=LabelSelector()))


def next_revision(revisions: Revisions) -> int:
    """Return the revision that the current ReplicaSet should have: above all others, and never lowered."""
    others = (revision_of(found.metadata) for found in revisions.known if found is not revisions.current)
    return max(revision_of(revisions.current.metadata), max(others, default=0) + 1)


def annotations_wanted(rollout: ObjectMeta, revisions: Revisions) -> dict[str, str]:
    """Return the annotations that the current ReplicaSet must have: the Rollout's own ones, and its revision.

    A revision that is taken up again (a rollback) gets a new number; the old ones are kept in a list.
    """
    wanted = {key: value for key, value in rollout.annotations.items() if _is_copied(key)}
    revision, stored = next_revision(revisions), revisions.current.metadata
    wanted[REVISION] = str(revision)
    if 0 < revision_of(stored) < revision:
        earlier = stored.annotations.get(REVISION_HISTORY, "")
        wanted[REVISION_HISTORY] = ",".join(filter(None, (earlier, stored.annotations[REVISION])))
    return wanted


def _is_copied(annotation: str) -> bool:
    return annotation not in _NOT_COPIED and not annotation.startswith(_OUR_PREFIX)


def replica_set_body(
    rollout: ObjectMeta,
    spec: RolloutSpec,
    revisions: Revisions,
    replicas: int,
    *,
    marks: Metadata = Metadata(),  # noqa: B008 - frozen
    avoid: str = "",
) -> dict[str, Any]:
    """Return the complete ReplicaSet of the current revision.

    The template is written as Go writes it after reading, that is, without values that it could not read: the API
    server would refuse the whole ReplicaSet for one of them.

    Args:
        marks: what its pods carry to show which part they play.
        avoid: hash label of the pods whose nodes they keep away from, if the spec asks for that.
    """
    pod_hash = revisions.pod_hash
    template: dict[str, Any] = msgspec.json.decode(written(spec.template), type=dict[str, Any])
    labels = {**spec.template_labels, HASH_LABEL: pod_hash}
    template["metadata"] = {**template.get("metadata", {}), "labels": labels}
    template = _affinity.inject(template, _affinity.anti_affinity_of(spec), avoid=avoid, namespace=rollout.namespace)
    template, injected = _ephemeral.inject(template, marks)
    selector = msgspec.to_builtins(spec.selector) if spec.selector else {}
    selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH_LABEL: pod_hash}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": revisions.current.metadata.name,
            "namespace": rollout.namespace,
            "labels": labels,
            "annotations": {
                **annotations_wanted(rollout, revisions),
                DESIRED_REPLICAS: str(spec.replicas_wanted),
                MADE_FROM: digest(bytes(spec.template)),
                **injected,
            },
            "ownerReferences": [
                controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=rollout)
            ],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    }


def claims(spec: RolloutSpec, owned: Iterable[ReplicaSet], orphans: Iterable[ReplicaSet]) -> tuple[Action, ...]:
    """Return the adoptions and releases that make owned and selected ReplicaSets the same."""
    terms = spec.selector_terms
    if not terms:
        return ()
    adopted = [
        AdoptReplicaSet(Target.of(found.metadata))
        for found in orphans
        if not found.metadata.is_deleting and pod_hash_of(found) and matches(terms, found.metadata.labels)
    ]
    released = [
        ReleaseReplicaSet(Target.of(found.metadata))
        for found in owned
        if not found.metadata.is_deleting and not matches(terms, found.metadata.labels)
    ]
    return (*adopted, *released)


def beyond_history(limit: int, others: Iterable[ReplicaSet]) -> tuple[DeleteReplicaSet, ...]:
    """Return the deletions of the oldest ReplicaSets beyond the limit; one that is not empty keeps its place."""
    alive = sorted((found for found in others if not found.metadata.is_deleting), key=age_order)
    return tuple(
        DeleteReplicaSet(Target.of(found.metadata)) for found in alive[: max(0, len(alive) - limit)] if _is_empty(found)
    )


def _is_empty(found: ReplicaSet) -> bool:
    is_seen = found.metadata.generation <= found.status.observed_generation
    return found.spec.replicas == 0 and found.status.replicas == 0 and is_seen


def is_within_rollback_window(
    window: int, new: ReplicaSet, stable: ReplicaSet | None, known: Iterable[ReplicaSet]
) -> bool:
    """Return whether the new revision is an earlier one, with fewer than `window` revisions between it and stable."""
    if window <= 0 or stable is None or not new.metadata.uid or new is stable:
        return False
    if age_order(new)[0] >= age_order(stable)[0]:
        return False
    between = sum(age_order(new)[0] < age_order(found)[0] < age_order(stable)[0] for found in known)
    return between < window
