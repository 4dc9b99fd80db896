"""The words of the table of modes in `machine.py`: what a Rollout is up to, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a canary Rollout is up to; exactly one at any time."""

    INITIAL = "Initial"  # nothing is stable yet
    PROMOTED = "Promoted"  # the current revision is the stable one
    ABORTED = "Aborted"  # sent back to stable until a retry or another revision
    FULL = "Full"  # a person asked for everything at once
    FAST = "Fast"  # back to a recent revision, without steps
    STEPPING = "Stepping"  # at one of the steps
    COMPLETING = "Completing"  # past the last step, or there are none


class WeightRule(StrEnum):
    """Which weight the route should hold."""

    ZERO = "zero"
    STEP = "step"  # of the steps so far; all of it past the last one
    KEEP = "keep"  # what it holds, until every pod is available; then all of it


class SizeRule(StrEnum):
    """How many pods the current revision should have."""

    ALL = "all"  # as many as the user wants
    STEP = "step"  # as the weight of the step asks for, or its setCanaryScale
    SHRINK = "shrink"  # none in the end: at once by numbers of pods, or after the delay behind a router


class Part(StrEnum):
    """Whose pods a Service selects."""

    NEW = "new"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table: when it applies (None: whatever), and what follows.

    Attributes:
        analysis: whether AnalysisRuns may go on and be started.
        canary_service: whose pods the canary Service should select.
    """

    mode: Mode
    # when
    has_stable: bool | None = None
    is_promoted: bool | None = None
    abort: bool | None = None
    promote_full: bool | None = None
    is_fast: bool | None = None
    has_step: bool | None = None
    # what follows
    weight: WeightRule
    size: SizeRule
    analysis: bool
    canary_service: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides which row applies."""

    has_stable: bool
    is_promoted: bool
    abort: bool
    promote_full: bool
    is_fast: bool
    has_step: bool


def applies(rule: Rule, facts: Facts) -> bool:
    """Return whether every condition of a row holds."""
    return all(
        expected is None or expected == found
        for expected, found in (
            (rule.has_stable, facts.has_stable),
            (rule.is_promoted, facts.is_promoted),
            (rule.abort, facts.abort),
            (rule.promote_full, facts.promote_full),
            (rule.is_fast, facts.is_fast),
            (rule.has_step, facts.has_step),
        )
    )
