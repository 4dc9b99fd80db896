"""AnalysisRuns around the switch of a blue-green Rollout: one before it, one after it.

The first begins when the preview has its pods, and the switch waits for it. The second begins when all users are on
the current revision, and the promotion waits for it. Once begun, a run goes on whatever becomes of the pods: to cut it
short would make it look like a success. Verdicts stay in the status for the user to see, until the next revision.

A person who goes on after an inconclusive run has it made again. A retry has both made again.

Source: argo-rollouts: rollout/analysis.go: reconcilePrePromotionAnalysisRun, reconcilePostPromotionAnalysisRun.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.rollouts._analysis import Runs, RunType, dismiss, start
from fairlead.rollouts._bluegreen_modes import Rule
from fairlead.rollouts._situation import Situation
from fairlead.rollouts.actions import CreateRun
from fairlead.rollouts.spec import RolloutAnalysis, RunKey
from fairlead.rollouts.status import RolloutStatus, RunRef


def is_passed(stanza: RolloutAnalysis | None, run: RunRef | None) -> bool:
    """Return whether an analysis stands in nobody's way: there is none, or it was successful."""
    return stanza is None or not stanza.templates or (run is not None and run.phase == "Successful")


def arrange(situation: Situation, status: RolloutStatus, rule: Rule, *, may_start: bool) -> Runs:
    """Return the status with the runs that should be current, and the actions that make it so.

    Args:
        may_start: the pods that are to be judged are there, and nobody has stopped everything.
    """
    blue_green = situation.blue_green
    pre, post = _kept(status.pre_run), _kept(status.post_run)
    created: tuple[CreateRun, ...] = ()
    if rule.run == "pre":
        pre, created = _run(
            situation, status.pre_run, blue_green.pre_promotion_analysis, RunType.PRE_PROMOTION, "pre", may_start
        )
        post = None
    elif rule.run == "post":
        post, created = _run(
            situation, status.post_run, blue_green.post_promotion_analysis, RunType.POST_PROMOTION, "post", may_start
        )
    cancelled, deleted = dismiss(situation, {ref.name for ref in (pre, post) if ref is not None})
    return Runs(status=replace(status, pre_run=pre, post_run=post), actions=(*cancelled, *created, *deleted))


def _kept(ref: RunRef | None) -> RunRef | None:
    """Return a run that has said its word; one that is cut short says nothing."""
    return ref if ref is not None and ref.is_completed else None


def _run(
    situation: Situation, ref: RunRef | None, stanza: RolloutAnalysis | None, type_: RunType, key: RunKey, may: bool
) -> tuple[RunRef | None, tuple[CreateRun, ...]]:
    if stanza is None or not stanza.templates:
        return None, ()
    if ref is not None:
        return ref, ()
    return start(situation, stanza, type_, key, may_create=may)
