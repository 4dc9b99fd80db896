"""What must never be written about steps, pauses, aborts, sizes and commands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.simulation.manifests import CANARY, Doc
from tests.simulation.rules import at_rest, invariant
from tests.simulation.story import (
    Commit,
    Story,
    condition,
    duration_of,
    hash_of,
    pause_of,
    read,
    selected,
    split_of,
    started_at,
)

_BURST = 60  # writes of the controller within a second that count as a hot loop
_HISTORY_MAX = 10  # upstream's default revisionHistoryLimit


def _step(commit: Commit) -> tuple[Doc, Doc] | None:
    """Return the status before and after, if the controller wrote it and the revision and its steps are the same."""
    if not commit.is_ours or commit.kind != "Rollout" or commit.old is None or commit.new is None:
        return None
    old, new = commit.old.get("status") or {}, commit.new.get("status") or {}
    same = all(old.get(name) == new.get(name) for name in ("currentPodHash", "currentStepHash"))
    return (old, new) if old != new and same else None


def _is_done(status: Doc) -> bool:
    return bool(status.get("currentPodHash")) and status.get("currentPodHash") == status.get("stableRS")


def _passed(story: Story, old: Doc, new: Doc) -> range:
    """Return the indexes of the steps that a status write counts as complete; none when a command explains it."""
    before, after = old.get("currentStepIndex") or 0, new.get("currentStepIndex") or 0
    if old.get("promoteFull") or _is_done(old) or not old.get("stableRS") or "rollbackWindow" in story.spec:
        return range(0)
    if old.get("abort") or old.get("abortedAt"):
        before = 0
    return range(before, after)


@invariant("11")
def steps_go_forward_through_their_gates(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None:
        return
    old, new = statuses
    before, after = old.get("currentStepIndex") or 0, new.get("currentStepIndex") or 0
    is_reset = bool(new.get("abort") or old.get("abortedAt") or old.get("abort"))
    if after < before and not is_reset:
        yield f"step {before} became {after}"
    for index in _passed(story, old, new):
        step = story.steps[index] if index < len(story.steps) else {}
        if "analysis" in step and not _has_passed(story, index):
            yield f"step {index} passed without a successful analysis"
        if "pause" in step and duration_of(step) is None and not _is_resumed(old):
            yield f"step {index} passed, and nobody has resumed"


def _has_passed(story: Story, index: int) -> bool:
    return any(
        hash_of(run) == story.current
        and read(run, "metadata", "labels", "step-index") == str(index)
        and read(run, "status", "phase") == "Successful"
        for run in story.runs
    )


def _is_resumed(status: Doc) -> bool:
    return bool(status.get("controllerPause")) and pause_of(status) is None


@invariant("12")
def pauses_last(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None:
        return
    old, new = statuses
    for index in _passed(story, old, new):
        step = story.steps[index] if index < len(story.steps) else {}
        duration = duration_of(step) if "pause" in step else None
        if duration is None or duration == timedelta(0) or _is_resumed(old):
            continue
        pause = pause_of(old)
        if pause is None or index != (old.get("currentStepIndex") or 0):
            yield f"pause of step {index} was passed without having begun"
        elif commit.at < started_at(pause) + duration:
            yield f"pause of step {index} ended {(started_at(pause) + duration - commit.at).total_seconds():g} s early"


@invariant("20")
def weights_hold_before_steps_count(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None or not story.routing.is_routed or story.replicas == 0:
        return
    old, new = statuses
    for index in _passed(story, old, new):
        step = story.steps[index] if index < len(story.steps) else {}
        weight = step.get("setWeight")
        if weight is not None and not story.is_held(weight) and weight not in story.held_at:
            yield f"step {index} counts, and weight {weight} was never in force"


@invariant("20")
def pauses_begin_when_weights_hold(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None:
        return
    old, new = statuses
    pause = pause_of(new)
    if pause is None or pause_of(old) == pause:
        return
    if started_at(pause) < commit.at - timedelta(seconds=1):
        yield f"pause begun at {pause['startTime']}, before now"
    weight = story.weight_at(new.get("currentStepIndex") or 0)
    if not story.routing.is_routed or not story.replicas:
        return
    if not story.is_held(weight):
        yield f"pause begun with {story.split.now} stored and {story.wire_canary:g} on the wire, not {weight}"
    if weight and selected(story.service(CANARY.name)) != new.get("currentPodHash"):
        yield f"pause begun while the canary Service selects {selected(story.service(CANARY.name))}"


@invariant("13")
def only_progress_renews_the_deadline(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None or commit.old is None or commit.new is None:
        return
    old, new = statuses
    before, after = condition(commit.old, "Progressing"), condition(commit.new, "Progressing")
    is_renewed = before.get("lastUpdateTime") != after.get("lastUpdateTime")
    is_running = before.get("reason") == after.get("reason") == "ReplicaSetUpdated"
    if is_running and is_renewed and not _has_progressed(old, new):
        yield f"Progressing renewed without progress: {before} to {after}"
    was_late = before.get("reason") == "ProgressDeadlineExceeded"
    is_other = any(old.get(name) != new.get(name) for name in ("abort", "pauseConditions", "controllerPause"))
    is_explained = is_other or _has_progressed(old, new) or story.spec.get("paused")
    if was_late and after.get("reason") != "ProgressDeadlineExceeded" and not is_explained:
        yield f"the deadline was forgotten without progress: {after}"


def _has_progressed(old: Doc, new: Doc) -> bool:
    def count(status: Doc, name: str) -> int:
        return int(status.get(name) or 0)

    left = [count(one, "replicas") - count(one, "updatedReplicas") for one in (old, new)]
    return (
        any(old.get(name) != new.get(name) for name in ("updatedReplicas", "stableRS", "currentStepIndex", "blueGreen"))
        or left[1] < left[0]
        or any(count(new, name) > count(old, name) for name in ("readyReplicas", "availableReplicas"))
    )


@at_rest("16")
def rollback_to_stable_is_taken(story: Story) -> Iterator[str]:
    if not _is_done(story.status):
        return
    if story.status.get("abort") or story.status.get("promoteFull") or pause_of(story.status):
        yield "at the stable revision, and still in an update"
    if story.available_now(story.stable) >= story.replicas and story.status.get("phase") not in ("Healthy", "Paused"):
        yield f"at the stable revision, whole, and {story.status.get('phase')}: {story.status.get('message')}"


@invariant("22")
def sizes_stay_within_limits(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "ReplicaSet" or story.routing.is_routed or not story.stable:
        return
    if read(story.spec, "strategy", "blueGreen"):
        return  # two full sets of pods
    before = read(commit.old or {}, "spec", "replicas") or 0
    after = read(commit.new or {}, "spec", "replicas") or 0
    # The user may have changed the number while the write was on its way.
    limits = [_limits(story, wanted) for wanted in story.wanted.after(story.lately)]
    least, most = min(low for low, _ in limits), max(high for _, high in limits)
    sizes = {pod_hash: found["spec"]["replicas"] for pod_hash, found in story.replica_sets.items()}
    if after > before and sum(sizes.values()) > most:
        yield f"{sum(sizes.values())} pods where {most} are allowed"
    if after < before:
        left = sum(min(size, story.available(pod_hash)) for pod_hash, size in sizes.items())
        is_loss = after < min(before, story.available_now(hash_of(commit.found)))
        if is_loss and left < least:
            yield f"{left} pods are left where {least} are needed"


def _limits(story: Story, wanted: int) -> tuple[int, int]:
    """Return how few pods must be available, and how many there may be, when so many are wanted."""

    def resolve(value: Any, *, up: bool) -> int:
        if isinstance(value, int):
            return value
        share = int(value.rstrip("%")) * wanted / 100
        return math.ceil(share) if up else math.floor(share)

    surge = resolve(story.canary.get("maxSurge", "25%"), up=True)
    unavailable = resolve(story.canary.get("maxUnavailable", "25%"), up=False)
    return wanted - min(wanted, unavailable if surge or unavailable else 1), wanted + surge


@invariant("24")
def suspended_is_still(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or not all(story.paused.after(story.lately)) or story.status.get("abort"):
        return
    if commit.kind == "ReplicaSet":
        before = read(commit.old or {}, "spec", "replicas") or 0
        after = read(commit.new or {}, "spec", "replicas") or 0
        if before != after and commit.new is not None:
            yield f"size changed from {before} to {after} while paused by hand"
    if commit.kind == "Service" and selected(commit.old) != selected(commit.new):
        yield "selector changed while paused by hand"
    if commit.kind == "HTTPRoute":
        old, new = split_of(commit.old), split_of(commit.new)
        if new is not None and new.canary > (old.canary if old else 0):
            yield "weight raised while paused by hand"
    if (statuses := _step(commit)) and len(_passed(story, *statuses)):
        yield "step completed while paused by hand"


@invariant("25")
def no_command_is_lost(story: Story, commit: Commit) -> Iterator[str]:
    statuses = _step(commit)
    if statuses is None:
        return
    old, new = statuses
    if old.get("abort") and not new.get("abort") and not (old.get("promoteFull") or _is_done(new)):
        yield "an abort was erased"
    if old.get("promoteFull") and not new.get("promoteFull") and not (new.get("abort") or _is_done(new)):
        yield "a full promotion was erased"
    is_same_step = old.get("currentStepIndex") == new.get("currentStepIndex")
    if _is_resumed(old) and pause_of(new) is not None and is_same_step and not old.get("abortedAt"):
        yield "a pause that a person has ended began again"


@at_rest("25")
def every_command_is_acknowledged(story: Story) -> Iterator[str]:
    if story.status.get("abort") and not story.status.get("abortedAt"):
        yield "an abort was never acknowledged"
    if story.status.get("promoteFull") and not story.spec.get("paused") and _can_promote(story):
        yield "a full promotion was never carried out"


def _can_promote(story: Story) -> bool:
    return story.available_now(story.current) >= story.replicas and condition(story.rollout, "InvalidSpec") == {}


@invariant("56")
def nothing_is_written_for_nothing(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind == "Event":
        return
    if commit.old is not None and commit.new is not None and _bare(commit.old) == _bare(commit.new):
        yield "a write that changes nothing"
    lately = [at for at in story.writes if at > commit.at - timedelta(seconds=1)]
    if len(lately) > _BURST:
        yield f"{len(lately)} writes within a second"


def _bare(document: Doc) -> Doc:
    hidden = ("resourceVersion", "generation", "managedFields")
    metadata = {key: value for key, value in document["metadata"].items() if key not in hidden}
    return {**document, "metadata": metadata}


@invariant("58")
def history_is_bounded(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.verb != "create":
        return
    limit = int(story.spec.get("revisionHistoryLimit", _HISTORY_MAX))
    empty = [one for one in story.replica_sets.values() if not one["spec"]["replicas"]]
    if len(empty) > limit + 2:
        yield f"{len(empty)} old ReplicaSets where {limit} are kept"
    ended = [run for run in story.runs if read(run, "status", "phase") in ("Successful", "Failed", "Error")]
    if len(ended) > _HISTORY_MAX + 4:
        yield f"{len(ended)} finished AnalysisRuns"
