"""From what every part should become to the writes that make it so, in the order in which they are safe.

Order: weights that fall, first of all; revisions; pods that are added; selectors; weights that rise; pods that go;
runs; evictions. Nothing here waits for anything else in the same decision: each write is allowed by what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.core.decision import Event
from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts import _affinity, _ephemeral
from fairlead.rollouts._revisions import (
    REVISION,
    annotations_wanted,
    beyond_history,
    claims,
    next_revision,
    pod_hash_of,
    replica_set_body,
    revision_of,
)
from fairlead.rollouts._scaling import Change, Sizes, annotations_for, scaled_event
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._stanzas import Metadata
from fairlead.rollouts._traffic import Traffic
from fairlead.rollouts.actions import (
    Action,
    CreateReplicaSet,
    MarkPods,
    PatchReplicaSet,
    PatchRollout,
    Target,
)
from fairlead.rollouts.workload import GENERATION, workload_generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """Actions in order, and the events about them by what they are about."""

    before: tuple[Action, ...] = ()
    revision: tuple[Action, ...] = ()
    grow: tuple[PatchReplicaSet, ...] = ()
    shrink: tuple[PatchReplicaSet, ...] = ()
    marks: tuple[MarkPods, ...] = ()
    forget: tuple[Action, ...] = ()
    revision_events: tuple[Event, ...] = ()
    scaling_events: tuple[Event, ...] = ()


def is_lowering(situation: Situation, traffic: Traffic) -> bool:
    """Return whether the write to the route takes traffic away from the canary."""
    seen = situation.seen.traffic
    if traffic.action is None or seen is None or seen.weights is None:
        return False
    after, before = traffic.action.weights, seen.weights
    if after.canary == before.canary:
        return bool(before.managed) and not after.managed
    return after.canary < before.canary


def act(
    situation: Situation,
    roles: Roles,
    sizes: Sizes,
    *,
    is_halted: bool,
    annotations: Mapping[str, Mapping[str, str | None]] | None = None,
) -> Acts:
    """Return the writes to the Rollout itself and to its ReplicaSets.

    Args:
        is_halted: the user has stopped everything: a new revision is recorded, and gets no pods.
        annotations: by name, what else the annotations of ReplicaSets should be.
    """
    also = annotations or {}
    revisions, rollout = situation.revisions, situation.seen.metadata
    revision: list[Action] = []
    revision_events: list[Event] = []
    scaling: list[Event] = []
    number = next_revision(revisions)
    if not revisions.exists:
        replicas = sizes.changes.get(revisions.current.metadata.name, Change(replicas=0)).replicas
        body = replica_set_body(
            rollout,
            situation.spec,
            revisions,
            replicas,
            marks=_wanted_marks(situation, roles, revisions.current),
            avoid=_avoided(roles),
        )
        name = revisions.current.metadata.name
        created = Event("NewReplicaSetCreated", f"Created ReplicaSet {name} (revision {number})")
        scaled = scaled_event(situation, revisions.current, replicas)
        revision.append(
            CreateReplicaSet(
                name=name,
                pod_hash=revisions.pod_hash,
                replicas=replicas,
                body=body,
                events=tuple(event for event in (created, scaled) if event is not None),
            )
        )
        revision_events.append(created)
        scaling += [scaled] if scaled else []
    default = 1 if situation.spec.replicas is None else None
    updated = None
    recorded: list[tuple[str, str]] = []
    if revision_of(rollout) != number:
        updated = Event("RolloutUpdated", f"Rollout updated to revision {number}")
        recorded.append((REVISION, str(number)))
        revision_events.insert(0, updated)
    generation = workload_generation(situation.seen.workload)
    if generation and rollout.annotations.get(GENERATION) != generation:
        recorded.append((GENERATION, generation))
    if recorded or default is not None:
        revision.append(PatchRollout(annotations=tuple(recorded), replicas=default, event=updated))
    if is_halted:
        return Acts(revision=tuple(revision), revision_events=tuple(revision_events), scaling_events=tuple(scaling))
    grow: list[PatchReplicaSet] = []
    shrink: list[PatchReplicaSet] = []
    marks: list[MarkPods] = []
    stable = () if roles.stable is None or roles.stable is roles.new else (roles.stable,)
    for found in (*stable, roles.new, *roles.others):
        change = sizes.changes.get(found.metadata.name, Change(replicas=found.spec.replicas))
        marking = _marking(situation, roles, found)
        marks += _pods(situation, found, change, marking)
        patch = _patch(situation, roles, found, change, marking, also.get(found.metadata.name, {}))
        if patch is None:
            continue
        is_smaller = patch.replicas is not None and patch.replicas < found.spec.replicas
        (shrink if is_smaller else grow).append(patch)
        scaling += [patch.event] if patch.event else []
    return Acts(
        before=claims(situation.spec, revisions.known, situation.seen.orphans),
        revision=tuple(revision),
        grow=tuple(grow),
        shrink=tuple(shrink),
        marks=tuple(marks),
        forget=beyond_history(situation.spec.history_limit, roles.others),
        revision_events=tuple(revision_events),
        scaling_events=tuple(scaling),
    )


def _wanted_marks(situation: Situation, roles: Roles, found: ReplicaSet) -> Metadata:
    return _ephemeral.wanted_for(
        situation.spec,
        is_new=found is roles.new,
        is_stable=found is roles.stable,
        has_stable=roles.stable is not None,
    )


def _avoided(roles: Roles) -> str:
    """Return the hash of the pods that those of the current revision keep away from; empty: of none."""
    return "" if roles.stable is None or roles.stable is roles.new else pod_hash_of(roles.stable)


def _marking(situation: Situation, roles: Roles, found: ReplicaSet) -> _ephemeral.Marking:
    known = situation.seen.marked.get(found.metadata.uid)
    standing = _ephemeral.mark(found, _ephemeral.injected_into(found), is_marked=True)
    return _ephemeral.mark(found, _wanted_marks(situation, roles, found), is_marked=known == standing.text)


def _pods(situation: Situation, found: ReplicaSet, change: Change, marking: _ephemeral.Marking) -> tuple[MarkPods, ...]:
    """Return the action that makes the pods of a ReplicaSet carry what they must, unless they are known to."""
    metadata, text = found.metadata, marking.text
    if not text or not metadata.uid or metadata.is_deleting or found.spec.replicas == 0 or change.replicas == 0:
        return ()
    is_written = not marking.template and not marking.annotations
    if is_written and situation.seen.marked.get(metadata.uid) == text:
        return ()
    is_seen = found.status.observed_generation >= metadata.generation
    if is_written and not is_seen:
        return ()  # pods are still made from the former template: they were marked once, and will be again
    return (
        MarkPods(
            target=Target.of(metadata),
            pod_hash=pod_hash_of(found),
            labels=marking.labels,
            annotations=marking.pod_annotations,
            text=text,
            is_final=is_written,
        ),
    )


def _patch(
    situation: Situation,
    roles: Roles,
    found: ReplicaSet,
    change: Change,
    marking: _ephemeral.Marking,
    also: Mapping[str, str | None],
) -> PatchReplicaSet | None:
    """Return the one write that makes a ReplicaSet what it should be; None when it is so."""
    if not found.metadata.uid or found.metadata.is_deleting:
        return None
    is_current = found is situation.revisions.current
    annotations: dict[str, str | None] = dict(marking.annotations)
    annotations |= {key: text for key, text in also.items() if found.metadata.annotations.get(key) != text}
    template = {"metadata": marking.template} if marking.template else {}
    min_ready = None
    if is_current:
        wanted = annotations_wanted(situation.seen.metadata, situation.revisions)
        annotations |= {key: text for key, text in wanted.items() if found.metadata.annotations.get(key) != text}
        if found.spec.min_ready_seconds != situation.spec.min_ready_seconds:
            min_ready = situation.spec.min_ready_seconds
        if avoid := _avoided(roles):
            namespace = situation.seen.metadata.namespace
            template |= _affinity.renew(found, situation.spec, avoid=avoid, namespace=namespace)
    is_active = is_current or found is roles.stable
    annotations |= annotations_for(situation, found, change, is_active=is_active)
    replicas = change.replicas if change.replicas != found.spec.replicas else None
    if replicas is None and not annotations and min_ready is None and not template:
        return None
    return PatchReplicaSet(
        target=Target.of(found.metadata),
        replicas=replicas,
        annotations=tuple(annotations.items()),
        min_ready_seconds=min_ready,
        template=template,
        event=scaled_event(situation, found, change.replicas),
    )
