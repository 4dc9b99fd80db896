"""AnalysisRuns of a Rollout: which are wanted, what their verdicts mean, which have to end or may be forgotten.

A run is *current* when its name stands in the status; every other run of the Rollout is cancelled. A run that exists
under the name that would be given next (a crash came between its creation and the status) is taken over, also while
a new one might not be started: after a restart it takes a while until a weight counts as in force again. If it has
ended meanwhile, its verdict counts. For the same reason a run of a later step is left alone until that step is
reached again.

We differ from argo-rollouts in one point on purpose: a run is started only when the weight of its step is in force,
so that it never measures the step before.

Source: argo-rollouts: rollout/analysis.go, utils/analysis/helpers.go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from fairlead.core.conditions import find
from fairlead.core.decision import Event, EventType
from fairlead.core.kinds import AnalysisRun
from fairlead.core.objects import compact, controller_reference
from fairlead.rollouts._canary import analysis_of, step_of
from fairlead.rollouts._modes import Mode, Rule
from fairlead.rollouts._revisions import REVISION, next_revision, pod_hash_of
from fairlead.rollouts._situation import Situation
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts.actions import CancelRun, CreateRun, DeleteRun, Target
from fairlead.rollouts.spec import RolloutAnalysis, RunKey
from fairlead.rollouts.status import PauseReason, RolloutStatus, RunRef

INSTANCE_ID = "argo-rollouts.argoproj.io/controller-instance-id"
STEP_INDEX = "step-index"
ROLLOUT_TYPE = "rollout-type"
_COMPARED = ("metrics", "dryRun", "measurementRetention", "args")
_NAMES_TRIED_MAX = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunType(StrEnum):
    """What a run is for; the value of the label `rollout-type`."""

    STEP = "Step"
    BACKGROUND = "Background"
    PRE_PROMOTION = "PrePromotion"
    POST_PROMOTION = "PostPromotion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the current runs say.

    Attributes:
        abort_message: not empty: one of them failed, so the update is to be aborted.
        is_inconclusive: one of them cannot tell: a person has to decide.
    """

    abort_message: str = ""
    is_inconclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The status with the runs that are current now, and what has to be done for them."""

    status: RolloutStatus
    actions: tuple[CreateRun | CancelRun | DeleteRun, ...] = ()


def look(situation: Situation, status: RolloutStatus) -> RolloutStatus:
    """Return the status with what is seen of the current runs; one that has vanished is no longer current."""
    return replace(
        status,
        step_run=_seen(situation, status.step_run, step_index=status.step_index),
        background_run=_seen(situation, status.background_run),
        pre_run=_seen_or_known(situation, status.pre_run),
        post_run=_seen_or_known(situation, status.post_run),
    )


def _seen_or_known(situation: Situation, ref: RunRef | None) -> RunRef | None:
    """Return what is known of a run around a switch: a verdict stands also when the run is gone."""
    return ref if ref is not None and ref.is_completed else _seen(situation, ref)


def _seen(situation: Situation, ref: RunRef | None, *, step_index: int | None = None) -> RunRef | None:
    if ref is None:
        return None
    run = next((found for found in situation.seen.runs if found.metadata.name == ref.name), None)
    if run is None:
        return None
    if step_index is not None and run.metadata.labels.get(STEP_INDEX, str(step_index)) != str(step_index):
        return None  # somebody moved the Rollout to another step: that verdict is not for here
    return RunRef(name=ref.name, phase=run.phase, message=run.message)


def judge(status: RolloutStatus, *, is_halted: bool) -> Verdict:
    """Return what the current runs mean. A verdict of the step waits for the end of a pause, the background's does not.

    Args:
        is_halted: the user has stopped everything by hand.
    """
    background, step = status.background_run, status.step_run
    if background is not None and background.phase in ("Failed", "Error"):
        return Verdict(abort_message=_message("Background analysis phase error/failed", background))
    if step is not None and step.phase in ("Failed", "Error") and not status.pauses and not is_halted:
        return Verdict(abort_message=_message("Step-based analysis phase error/failed", step))
    around = (("pre", status.pre_run), ("post", status.post_run))
    for name, run in around:
        if run is not None and run.phase in ("Failed", "Error"):
            return Verdict(abort_message=_message(f"Blue/green {name}-promotion analysis phase error/failed", run))
    if status.pause(PauseReason.INCONCLUSIVE) is not None:
        return Verdict()
    is_step_open = step is not None and step.phase == "Inconclusive" and not status.pauses and not is_halted
    unhindered = (background, status.pre_run, status.post_run)
    return Verdict(is_inconclusive=is_step_open or any(_is_inconclusive(run) for run in unhindered))


def _message(text: str, run: RunRef) -> str:
    return f"{text}: {run.message}" if run.message else text


def resume(status: RolloutStatus) -> RolloutStatus:
    """Return the status after a person went on despite an inconclusive run: that run is no longer current."""
    return replace(
        status,
        pre_run=None if _is_inconclusive(status.pre_run) else status.pre_run,
        post_run=None if _is_inconclusive(status.post_run) else status.post_run,
        step_run=None if _is_inconclusive(status.step_run) else status.step_run,
        background_run=None if _is_inconclusive(status.background_run) else status.background_run,
    )


def _is_inconclusive(ref: RunRef | None) -> bool:
    return ref is not None and ref.phase == "Inconclusive"


# --- which runs there should be --------------------------------------------------------------------------------------


def arrange(situation: Situation, status: RolloutStatus, rule: Rule, *, holds: bool, is_halted: bool) -> Runs:
    """Return the status with the runs that should be current, and the actions that make it so.

    Args:
        holds: the pods of the current step are there, and its weight is in force.
        is_halted: the user has stopped everything by hand.
    """
    actions: list[CreateRun | CancelRun | DeleteRun] = []
    if not rule.analysis:
        status = replace(status, step_run=None, background_run=None)
    else:
        may_start = holds and not is_halted and not status.abort
        inconclusive = status.pause(PauseReason.INCONCLUSIVE) is not None
        background = situation.canary.analysis
        if background is None or not background.templates:
            status = replace(status, background_run=None)
        elif (
            status.background_run is None and not (inconclusive or status.abort) and _may_begin(situation, status, rule)
        ):
            ref, created = start(situation, background, RunType.BACKGROUND, None, may_create=may_start)
            status = replace(status, background_run=ref)
            actions += created
        step = step_of(situation, status)
        stanza = analysis_of(step)
        if stanza is None:
            status = replace(status, step_run=None)
        elif status.step_run is None and not status.abort and stanza.templates:
            may_create = may_start and not status.pauses
            ref, created = start(situation, stanza, RunType.STEP, status.step_index, may_create=may_create)
            status = replace(status, step_run=ref)
            actions += created
    current = {ref.name for ref in (status.step_run, status.background_run) if ref is not None}
    ahead = {run.metadata.name for run in situation.seen.runs if rule.analysis and _is_ahead(situation, status, run)}
    cancelled, deleted = dismiss(situation, current, spared=ahead)
    return Runs(status=status, actions=(*cancelled, *actions, *deleted))


def dismiss(
    situation: Situation, current: Collection[str], *, spared: Collection[str] = ()
) -> tuple[tuple[CancelRun, ...], tuple[DeleteRun, ...]]:
    """Return what ends the runs that are not current, and what deletes those that nobody asks for any more.

    Args:
        current, spared: names of runs; the spared ones go on, but may be deleted.
    """
    deleted = _beyond_history(situation, current)
    kept = {*current, *spared, *(action.target.name for action in deleted)}
    cancelled = tuple(
        CancelRun(Target.of(run.metadata))
        for run in situation.seen.runs
        if run.metadata.name not in kept
        and not run.is_completed
        and not run.metadata.is_deleting
        and not _is_terminating(run)
    )
    return cancelled, deleted


def _is_ahead(situation: Situation, status: RolloutStatus, run: AnalysisRun) -> bool:
    """Return whether a run belongs to a later step, which a crash kept the status from saying that it was reached.

    A run that the status has named is none: somebody moved the Rollout back, and it is to end.
    """
    stored = situation.stored
    index = _int(run.metadata.labels.get(STEP_INDEX, ""))
    if index is None or status.step_index is None or not status.step_index < index < len(situation.steps):
        return False
    if stored.step_hash != status.step_hash or (stored.step_run and stored.step_run.name == run.metadata.name):
        return False
    plan, name = situation.seen.plans.get(index), _run_name(situation, index)
    return (
        (run.metadata.name == name or run.metadata.name.startswith(f"{name}."))
        and plan is not None
        and is_reusable(run, situation.seen.metadata.uid, plan.spec)
    )


def _int(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _may_begin(situation: Situation, status: RolloutStatus, rule: Rule) -> bool:
    """Return whether the background run may start at this step.

    Past the last step it may only if there has been none for this revision: after an inconclusive one a person went
    on, and a fresh run would be cut short by the promotion and so look like a success.
    """
    stanza = situation.canary.analysis
    assert stanza is not None, "asked about a stanza that exists"
    if status.step_index is not None and status.step_index < (stanza.starting_step or 0):
        return False
    if rule.mode is not Mode.COMPLETING or not situation.steps:
        return True
    prefix = _run_name(situation, None)
    return not any(
        run.metadata.name == prefix or run.metadata.name.startswith(f"{prefix}.") for run in situation.seen.runs
    )


def _run_name(situation: Situation, key: RunKey) -> str:
    name = f"{situation.seen.metadata.name}-{situation.revisions.pod_hash}-{next_revision(situation.revisions)}"
    return name if key is None else f"{name}-{key}"


def start(
    situation: Situation, stanza: RolloutAnalysis, type_: RunType, key: RunKey, *, may_create: bool
) -> tuple[RunRef | None, tuple[CreateRun, ...]]:
    """Return the run that is current from now on: one that exists already, or else a new one if it may be created."""
    plan = situation.seen.plans.get(key)
    if plan is None or plan.error:
        return None, ()  # reported as an invalid spec
    by_name = {run.metadata.name: run for run in situation.seen.runs}
    base = _run_name(situation, key)
    for number in range(_NAMES_TRIED_MAX):
        name = f"{base}.{number}" if number else base
        existing = by_name.get(name)
        if existing is None and not may_create:
            return None, ()
        if existing is None:
            body = run_body(situation, stanza, type_, key, name, plan.spec)
            return RunRef(name=name), (CreateRun(name=name, body=body),)
        uid = situation.seen.metadata.uid
        if is_reusable(existing, uid, plan.spec) or _is_unheard(situation, existing, uid, plan.spec):
            return RunRef(name=name, phase=existing.phase, message=existing.message), ()
    return None, ()


def _is_unheard(situation: Situation, existing: AnalysisRun, owner_uid: str, spec: Mapping[str, Any]) -> bool:
    """Return whether a run has ended before a crash let the status name it: its verdict must not be lost.

    What an earlier attempt left behind is older than the last progress, to which the retry belongs, too.
    """
    progressing = find(situation.stored.conditions, "Progressing")
    created_at = existing.metadata.creation_timestamp
    if progressing is None or progressing.last_update_time is None or created_at is None:
        return False
    is_new = created_at > progressing.last_update_time
    return is_new and existing.is_completed and _is_same(existing, owner_uid, spec)


def is_reusable(existing: AnalysisRun, owner_uid: str, spec: Mapping[str, Any]) -> bool:
    """Return whether a run under the wanted name is the wanted run: ours, with the same spec, and going on."""
    return not existing.is_completed and _is_same(existing, owner_uid, spec)


def _is_same(existing: AnalysisRun, owner_uid: str, spec: Mapping[str, Any]) -> bool:
    controller = existing.metadata.controller
    if controller is None or controller.uid != owner_uid or existing.metadata.is_deleting:
        return False
    stored = _plain(existing.spec)
    if stored.get("terminate") is True:
        return False
    return all((stored.get(key) or None) == (spec.get(key) or None) for key in _COMPARED)


def _is_terminating(run: AnalysisRun) -> bool:
    return _plain(run.spec).get("terminate") is True


def _plain(raw: msgspec.Raw) -> Mapping[str, Any]:
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def run_body(
    situation: Situation,
    stanza: RolloutAnalysis,
    type_: RunType,
    key: RunKey,
    name: str,
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the complete AnalysisRun."""
    rollout, selector = situation.seen.metadata, situation.spec.selector
    labels = {HASH_LABEL: situation.revisions.pod_hash, ROLLOUT_TYPE: str(type_)}
    if isinstance(key, int):
        labels[STEP_INDEX] = str(key)
    if instance := rollout.labels.get(INSTANCE_ID):
        labels[INSTANCE_ID] = instance
    labels |= stanza.analysis_run_metadata.labels
    labels |= selector.match_labels if selector is not None else {}
    annotations = {REVISION: str(next_revision(situation.revisions)), **stanza.analysis_run_metadata.annotations}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": rollout.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=rollout)
            ],
        },
        "spec": compact(spec),
    }


# --- which runs may go -----------------------------------------------------------------------------------------------


def _beyond_history(situation: Situation, current: Iterable[str]) -> tuple[DeleteRun, ...]:
    """Return the deletions of runs whose revision is gone, and of the oldest completed ones beyond the limits."""
    kept = {pod_hash_of(found) for found in situation.revisions.known if not found.metadata.is_deleting}
    kept.add(situation.revisions.pod_hash)
    current = set(current)
    deleted: list[AnalysisRun] = []
    history: dict[bool, list[AnalysisRun]] = {True: [], False: []}
    for run in situation.seen.runs:
        if run.metadata.name in current or run.metadata.is_deleting:
            continue
        if run.metadata.labels.get(HASH_LABEL) not in kept:
            deleted.append(run)
        elif run.is_completed:
            history[run.phase == "Successful"].append(run)
    for is_successful, limit in (
        (True, situation.spec.successful_runs_kept),
        (False, situation.spec.unsuccessful_runs_kept),
    ):
        newest_first = sorted(history[is_successful], key=_age, reverse=True)
        deleted += newest_first[max(0, limit) :]
    return tuple(DeleteRun(Target.of(run.metadata)) for run in deleted)


def _age(run: AnalysisRun) -> tuple[datetime, str]:
    return run.metadata.creation_timestamp or _EPOCH, run.metadata.name


# --- events ----------------------------------------------------------------------------------------------------------


def events(before: RolloutStatus, after: RolloutStatus) -> tuple[Event, ...]:
    """Return the events that say how the current runs have come on."""
    return (
        *_transition("Step", before.step_run, after.step_run),
        *_transition("Background", before.background_run, after.background_run),
        *_transition("PrePromotion", before.pre_run, after.pre_run),
        *_transition("PostPromotion", before.post_run, after.post_run),
    )


def _transition(kind: str, before: RunRef | None, after: RunRef | None) -> tuple[Event, ...]:
    if after is None or not after.phase:
        return ()
    is_same = before is not None and before.name == after.name
    if is_same and before is not None and before.phase == after.phase:
        return ()
    previous = before.phase if is_same and before is not None and before.phase else "NoPreviousStatus"
    message = f"{kind} Analysis Run '{after.name}' Status New: '{after.phase}' Previous: '{previous}'"
    type_ = EventType.WARNING if after.phase in ("Failed", "Error") else EventType.NORMAL
    return (Event(f"AnalysisRun{after.phase}", message, type_),)
