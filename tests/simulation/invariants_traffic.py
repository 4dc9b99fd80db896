"""What must never be written about weights, Services and the pods behind them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.simulation.manifests import CANARY, HASH_LABEL, IN_PROGRESS, STABLE, Doc, Routing
from tests.simulation.rules import at_rest, invariant
from tests.simulation.story import (
    TOTAL,
    Commit,
    Split,
    Story,
    duration_of,
    hash_of,
    pause_of,
    reaches_canary,
    read,
    selected,
    split_of,
    splits,
    started_at,
)

_RESCUE_SECONDS = 3.0


def _rise(commit: Commit) -> tuple[int, int] | None:
    """Return the canary's weight before and after, if the controller has raised it."""
    if not commit.is_ours or commit.kind != "HTTPRoute" or commit.new is None:
        return None
    before, after = split_of(commit.old) or Split(TOTAL, 0), split_of(commit.new)
    if after is None or after.canary <= before.canary:
        return None
    return before.canary, after.canary


def _shrink(commit: Commit) -> tuple[str, int, int] | None:
    """Return the hash of a ReplicaSet that the controller makes smaller, and its size before and after."""
    if not commit.is_ours or commit.kind != "ReplicaSet" or commit.old is None:
        return None
    before = read(commit.old, "spec", "replicas") or 0
    after = read(commit.new or {}, "spec", "replicas") or 0
    return (hash_of(commit.found), before, after) if after < before else None


def _switch(commit: Commit, service: str) -> tuple[str, str] | None:
    """Return the hashes that a Service selected before and selects now, if the controller has changed that."""
    if not commit.is_ours or commit.kind != "Service" or commit.name != service or commit.new is None:
        return None
    before, after = selected(commit.old), selected(commit.new)
    return (before, after) if after and before != after else None


# --- weights -----------------------------------------------------------------------------------------------------


@invariant("1")
def weights_add_up(story: Story, commit: Commit) -> Iterator[str]:
    if commit.is_ours and commit.kind == "HTTPRoute":
        for split in splits(commit.new):
            is_whole = all(isinstance(weight, int) and 0 <= weight <= TOTAL for weight in split)
            if not is_whole or sum(split) != TOTAL:
                yield f"weights {split} are no split of {TOTAL}"


@invariant("2")
def both_weights_move_together(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "HTTPRoute":
        return
    for before, after in zip(splits(commit.old), splits(commit.new), strict=False):
        moved = (before.stable != after.stable) + (before.canary != after.canary)
        if moved == 1 and sum(before) == TOTAL:
            yield f"only one weight moved: {before} to {after}"


@invariant("3")
def canary_has_pods_before_weight(story: Story, commit: Commit) -> Iterator[str]:
    if rise := _rise(commit):
        needed = 1 if story.has_canary_scale or "replicaProgressThreshold" in story.canary else story.needed(rise[1])
        if story.available(story.current) < max(1, needed):
            yield f"weight {rise[1]} with {story.available(story.current)} of {needed} canary pods"


@invariant("4", "R3")
def stable_has_pods_before_weight(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "HTTPRoute":
        return
    before, after = split_of(commit.old), split_of(commit.new)
    if after is None or (before is not None and after.stable <= before.stable):
        return
    pod_hash = selected(story.service(STABLE.name))
    available = story.available(pod_hash)
    if available < 1:
        yield "weight for stable, which has no pod"
    # All of it: the canary is aborted, overtaken, promoted or without pods, and one pod is better than none.
    if after.canary > 0 and available < after.stable * story.replicas // TOTAL:
        yield f"weight {after.stable} for stable with {available} of {story.replicas} pods"


@invariant("6")
def weight_follows_the_steps(story: Story, commit: Commit) -> Iterator[str]:
    rise = _rise(commit)
    if rise is None or story.status.get("promoteFull") or "full" in story.commands:
        return
    allowed = max(_reachable(story, rise[0]), default=0)
    if rise[1] > allowed:
        yield f"weight {rise[1]} where the steps allow {allowed}"


def _reachable(story: Story, before: int) -> Iterator[int]:
    """Yield the weights of the current step and of those that follow without anything to wait for."""
    status = story.status
    if story.current == story.stable:
        yield 0
        return
    index = status.get("currentStepIndex") or 0
    yield story.weight_at(index)
    while index < len(story.steps):
        step = story.steps[index]
        if "pause" in step:
            pause, duration = pause_of(status), duration_of(step)
            is_resumed = bool(status.get("controllerPause")) and pause is None
            is_over = pause is not None and duration is not None and started_at(pause) + duration <= story.now
            if not (is_resumed or is_over or duration == timedelta(0)):
                return
            status = {}
        elif "analysis" in step:
            if not any(_is_good(run, index, story.current) for run in story.runs):
                return
        elif "setWeight" in step and int(step["setWeight"]) != before:
            return
        index += 1
        yield story.weight_at(index)


def _is_good(run: Doc, index: int, pod_hash: str) -> bool:
    return (
        hash_of(run) == pod_hash
        and read(run, "metadata", "labels", "step-index") == str(index)
        and read(run, "status", "phase") == "Successful"
    )


@invariant("7")
def abort_is_final(story: Story, commit: Commit) -> Iterator[str]:
    status = story.status
    is_aborted = status.get("abort") and status.get("abortedAt") and not status.get("promoteFull")
    if is_aborted and (rise := _rise(commit)):
        yield f"weight raised from {rise[0]} to {rise[1]} after the abort"


@at_rest("8")
def abort_restores(story: Story) -> Iterator[str]:
    status = story.status
    if not status.get("abort"):
        return
    if story.split.now is not None and story.split.now.canary:
        yield f"aborted, and the canary has weight {story.split.now.canary}"
    for name in (STABLE.name, CANARY.name):
        service = story.service(name)
        if service is not None and selected(service) != story.stable:
            yield f"aborted, and Service {name} selects {selected(service)}"
    if story.available_now(story.stable) < story.replicas:
        yield f"aborted, and stable has {story.available_now(story.stable)} of {story.replicas} pods"


@invariant("9")
def abort_takes_weight_before_pods_and_selectors(story: Story, commit: Commit) -> Iterator[str]:
    split = story.split.now
    if not story.status.get("abort") or split is None or split.canary == 0:
        return
    if (shrink := _shrink(commit)) and shrink[0] == story.current:
        yield f"aborted canary made smaller while it has weight {split.canary}"
    if switch := _switch(commit, CANARY.name):
        yield f"canary Service switched to {switch[1]} while it has weight {split.canary}"


@invariant("R8")
def empty_canary_loses_weight_at_once(story: Story, commit: Commit) -> Iterator[str]:
    if not story.empty.now:
        return
    spent = story.now - story.empty.since
    if spent > timedelta(seconds=_RESCUE_SECONDS) + story.staleness:
        yield f"the canary has had weight and no pod for {spent.total_seconds():g} s"


@invariant("R9")
def nobody_ready_nothing_written(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "HTTPRoute" or story.replicas == 0:
        return
    hashes = {selected(story.service(key.name)) for key in (STABLE, CANARY)}
    is_moved = split_of(commit.old) != split_of(commit.new)
    if is_moved and not any(story.available(pod_hash) for pod_hash in hashes):
        yield "weights written while neither side has a pod"


# --- Services ----------------------------------------------------------------------------------------------------


@invariant("R1")
def endpoints_before_weight(story: Story, commit: Commit) -> Iterator[str]:
    if rise := _rise(commit):
        needed = 1 if story.has_canary_scale or "replicaProgressThreshold" in story.canary else story.needed(rise[1])
        seen = story.endpoints(CANARY.name)
        if not any(one[story.current] >= max(1, needed) and set(one) <= {story.current} for one in seen):
            yield f"weight {rise[1]} while the canary Service has endpoints {dict(seen[0])}, needed {needed}"


@invariant("R2")
def selector_before_weight(story: Story, commit: Commit) -> Iterator[str]:
    if rise := _rise(commit):
        found = selected(story.service(CANARY.name))
        if found != story.current:
            yield f"weight {rise[1]} while the canary Service selects {found}, not {story.current}"


@invariant("10")
def services_select_live_pods(story: Story, commit: Commit) -> Iterator[str]:
    for name in (STABLE.name, CANARY.name):
        switch = _switch(commit, name)
        if switch is None or switch[0] == "":
            continue
        is_rescue = name == CANARY.name and story.status.get("abort") and story.routing.is_routed
        if story.available(switch[1]) < 1 and not is_rescue:
            yield f"Service {name} selects {switch[1]}, which has no pod"


@invariant("14", "R4")
def newer_revision_waits_for_weight_zero(story: Story, commit: Commit) -> Iterator[str]:
    switch = _switch(commit, CANARY.name)
    if switch is None or switch[0] == "" or not story.routing.is_routed:
        return
    stored = story.split.now.canary if story.split.now else 0
    if stored or (story.has_evidence and story.wire_canary):
        yield f"canary Service switched with weight {stored} stored and {story.wire_canary:g} on the wire"


@invariant("21")
def stable_service_moves_to_whole_revisions(story: Story, commit: Commit) -> Iterator[str]:
    switch = _switch(commit, STABLE.name)
    if switch is None:
        return
    # Within a rollback window a revision may become stable by the very write that makes it current.
    if switch[1] not in (story.stable, story.current) and "rollbackWindow" not in story.spec:
        yield f"stable Service selects {switch[1]}, neither stable nor current"
    is_repair = switch[1] == story.stable and story.stable != story.current
    is_excused = is_repair or not switch[0] or "replicaProgressThreshold" in story.canary
    if not is_excused and story.available(switch[1]) < story.replicas:
        yield f"stable Service switched to {story.available(switch[1])} of {story.replicas} pods"


@invariant("R6")
def all_weight_is_on_the_canary_before_stable_moves(story: Story, commit: Commit) -> Iterator[str]:
    switch = _switch(commit, STABLE.name)
    if switch is None or switch[0] == "" or not story.routing.is_routed or not story.steps or not story.replicas:
        return
    if switch[1] == story.current and not story.is_held(TOTAL):
        yield f"stable Service switched with {story.split.now} stored and {story.wire_canary:g} on the wire"


# --- pods that carry traffic -------------------------------------------------------------------------------------


@invariant("5")
def pods_that_carry_traffic_stay(story: Story, commit: Commit) -> Iterator[str]:
    shrink = _shrink(commit)
    if shrink is None or not story.routing.is_routed or story.has_canary_scale or story.replicas == 0:
        return
    pod_hash, before, after = shrink
    if story.available_now(pod_hash) == 0:
        return
    carried = story.carried(pod_hash, since=story.now - story.kept)
    if after < min(before, story.needed(carried)):
        yield f"{pod_hash} made smaller from {before} to {after}, and it has lately carried weight {carried:g}"


@invariant("R5")
def aborted_canary_drains(story: Story, commit: Commit) -> Iterator[str]:
    shrink = _shrink(commit)
    if shrink is None or not story.status.get("abort") or not story.routing.is_routed:
        return
    if shrink[0] != story.current or story.available_now(shrink[0]) == 0 or story.has_canary_scale:
        return
    carried = max(weights.get(CANARY.name, 0) for weights in story.wire.after(story.now - story.kept))
    if carried:
        yield f"aborted canary made smaller, and the wire has sent it {carried:g} lately"


@invariant("R7")
def rules_without_weight_have_pods(story: Story, commit: Commit) -> Iterator[str]:
    is_added = commit.kind == "HTTPRoute" and reaches_canary(commit.new) and not reaches_canary(commit.old)
    has_pods = any(one[story.current] for one in story.endpoints(CANARY.name))
    if commit.is_ours and is_added and not has_pods:
        yield "a rule sends requests to a canary without endpoints"
    shrink = _shrink(commit)
    if shrink is None or shrink[2] > 0 or story.available_now(shrink[0]) == 0:
        return
    if story.reached(shrink[0], since=story.now - story.kept):
        yield f"{shrink[0]} is removed, and rules have lately sent it requests"


@invariant("17")
def only_ready_revision_stays(story: Story, commit: Commit) -> Iterator[str]:
    shrink = _shrink(commit)
    if shrink is None or shrink[2] > 0 or story.replicas == 0:
        return
    others = [pod_hash for pod_hash in story.replica_sets if pod_hash != shrink[0]]
    if read(commit.old or {}, "status", "availableReplicas") and not any(
        story.available(pod_hash) for pod_hash in others
    ):
        yield f"{shrink[0]} is the only revision with pods, and is removed"


# --- other people's things ---------------------------------------------------------------------------------------


@invariant("19")
def foreign_parts_stay(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "HTTPRoute" or commit.old is None or story.routing is not Routing.GATEWAY:
        return
    if commit.new is None:
        yield "the user's route is gone"
        return
    managed = _managed(commit.old) | _managed(commit.new)
    before, after = _foreign(commit.old, managed), _foreign(commit.new, managed)
    if before != after:
        yield f"foreign parts changed from {before} to {after}"


def _managed(route: Doc) -> set[str]:
    """Return the names of the rules that a route records as ours."""
    record = (read(route, "metadata", "annotations") or {}).get("fairlead.dev/managed-routes")
    return {one["name"] for one in json.loads(record)} if record else set()


def _foreign(route: Doc, managed: set[str]) -> dict[str, Any]:
    """Return what is not ours of a user's route."""
    kept = copy.deepcopy({"spec": route["spec"], "labels": read(route, "metadata", "labels") or {}})
    kept["labels"].pop(IN_PROGRESS, None)
    kept["spec"]["rules"] = [rule for rule in kept["spec"]["rules"] if rule.get("name") not in managed]
    for rule in kept["spec"]["rules"]:
        names = {one["name"] for one in rule.get("backendRefs") or ()}
        if {STABLE.name, CANARY.name} <= names:
            for one in rule["backendRefs"]:
                if one["name"] in (STABLE.name, CANARY.name):
                    one.pop("weight", None)
    annotations = read(route, "metadata", "annotations") or {}
    kept["annotations"] = {key: value for key, value in annotations.items() if not key.startswith("fairlead.dev/")}
    return kept


@invariant("19")
def services_change_by_their_hash_alone(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "Service" or commit.old is None or commit.new is None:
        return
    before, after = copy.deepcopy(commit.old["spec"]), copy.deepcopy(commit.new["spec"])
    for spec in (before, after):
        (spec.get("selector") or {}).pop(HASH_LABEL, None)
    if before != after:
        yield f"Service {commit.name} changed from {before} to {after}"
