"""Sizes of a blue-green Rollout's ReplicaSets, and how long each of them keeps its pods.

| ReplicaSet | size |
|---|---|
| stable | all |
| current | all; before the switch `previewReplicaCount`, if there is one |
| current, aborted | as it is until users are back and stable is whole, none after `abortScaleDownDelaySeconds` |
| others | none after `scaleDownDelaySeconds`; those that a Service selects stay as they are |

A ReplicaSet that was stable is marked when its delay begins (`KEPT`). As long as it keeps its pods, going back to it
needs neither pause nor analysis, and it follows the wanted number of pods. One that was overtaken or aborted before it
was good has the same deadline and no mark. (Argo-rollouts takes the deadline alone as proof: a retry within the delay
of an abort skips the analysis that failed.)

Source: argo-rollouts: rollout/replicaset.go, rollout/bluegreen.go: scaleDownOldReplicaSetsForBlueGreen,
utils/replicaset/replicaset.go: NewRSNewReplicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fairlead.core.decision import Blocker, earliest
from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts._bluegreen_modes import Mode, Rule, Size
from fairlead.rollouts._revisions import pod_hash_of
from fairlead.rollouts._scaling import Change, Sizes, Waits, deadline_of, leave
from fairlead.rollouts._services import selected_hashes
from fairlead.rollouts._situation import Roles, Situation
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.status import RolloutStatus

KEPT = "fairlead.dev/kept-since-stable"  # on ReplicaSets: they were stable, and have had pods ever since


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """Sizes, and by name what else is written to ReplicaSets."""

    sizes: Sizes
    annotations: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)


def is_kept(situation: Situation, found: ReplicaSet) -> bool:
    """Return whether a ReplicaSet was stable, and has kept its pods since then."""
    deadline = deadline_of(found)
    has_time = deadline is None or situation.now < deadline
    return KEPT in found.metadata.annotations and found.spec.replicas > 0 and has_time


def pods_of_current(situation: Situation, status: RolloutStatus, rule: Rule) -> int:
    """Return how many pods the current revision should have, unless it is aborted."""
    count = situation.blue_green.preview_replica_count
    is_small = rule.size is Size.PREVIEW and not status.may_switch
    return count if count is not None and is_small else situation.wanted


def resize(situation: Situation, status: RolloutStatus, roles: Roles, rule: Rule, *, is_halted: bool) -> Resized:
    """Return what every ReplicaSet should become now.

    Args:
        is_halted: the user has stopped everything (an abort goes on).
    """
    if is_halted:
        return Resized(sizes=Sizes())
    new, stable = roles.new, roles.stable
    changes: dict[str, Change] = {}
    waits: Waits = []
    if stable is not None and stable is not new:
        changes[stable.metadata.name] = Change(replicas=situation.wanted, deadline="")
    if rule.size is Size.SHRINK:
        changes[new.metadata.name], waits = _aborted(situation, status, roles)
    else:
        changes[new.metadata.name] = Change(replicas=pods_of_current(situation, status, rule), deadline="")
    changed, more = _old(situation, roles, rule)
    changes |= changed
    waits = [*waits, *more]
    return Resized(
        sizes=Sizes(
            changes=changes,
            waiting=waits[0][1] if waits else None,
            wake_at=earliest(*(at for at, _ in waits)),
        ),
        annotations=_marks(situation, status, roles, changes),
    )


def _aborted(situation: Situation, status: RolloutStatus, roles: Roles) -> tuple[Change, Waits]:
    """Return the size of an aborted revision: as it is, then none after the delay."""
    new, stable = roles.new, roles.stable
    keep = Change(replicas=new.spec.replicas)
    delay = situation.blue_green.abort_scale_down_delay
    if new.spec.replicas == 0 or delay is None:
        return keep, []
    if stable is None or status.active_hash == pod_hash_of(new):
        return keep, []
    if stable.status.available_replicas < situation.wanted:
        what = f"{stable.status.available_replicas} of {situation.wanted} stable pods are available"
        return keep, [(None, Blocker(reason=Waiting.STABLE_PODS, what=what))]
    return leave(situation, new, delay, is_selected=False)  # the preview Service may stay with it


def _old(situation: Situation, roles: Roles, rule: Rule) -> tuple[dict[str, Change], Waits]:
    """Return the sizes of all the others, newest revision first."""
    blue_green, selected = situation.blue_green, selected_hashes(situation)
    stanza = blue_green.post_promotion_analysis
    is_checked = stanza is not None and bool(stanza.templates)
    if rule.mode is Mode.CHECKING and is_checked and blue_green.scale_down_delay_seconds is None:
        return {}, []  # nothing goes before it is clear where users will be
    changes: dict[str, Change] = {}
    waits: Waits = []
    delayed = 0
    for other in roles.others:
        if other.spec.replicas == 0 or pod_hash_of(other) in selected:
            continue
        name = other.metadata.name
        if delayed >= blue_green.delayed_revisions_max:
            changes[name] = Change(replicas=0, deadline="")
            continue
        change, wait = leave(situation, other, blue_green.scale_down_delay, is_selected=False)
        if wait and is_kept(situation, other):
            change = replace(change, replicas=situation.wanted)  # users may be sent back to it at any moment
        changes[name] = change
        delayed += bool(wait)
        waits += wait
    return changes, waits


def _marks(
    situation: Situation, status: RolloutStatus, roles: Roles, changes: Mapping[str, Change]
) -> dict[str, dict[str, str | None]]:
    """Return the marks to be written or removed, each along with another change of its ReplicaSet."""
    marks: dict[str, dict[str, str | None]] = {}
    before = situation.stored.stable_hash
    for other in roles.others:
        change = changes.get(other.metadata.name)
        was_stable = before not in ("", status.stable_hash) and pod_hash_of(other) == before
        if was_stable and change is not None and change.replicas > 0:
            marks[other.metadata.name] = {KEPT: "true"}
    for found in (roles.new, *roles.others):
        change = changes.get(found.metadata.name)
        is_emptied = change is not None and change.replicas == 0 < found.spec.replicas
        is_stale = found is roles.new and not status.is_promoted and not is_kept(situation, found)
        if KEPT in found.metadata.annotations and (is_emptied or is_stale):
            marks[found.metadata.name] = {KEPT: None}
    return marks
