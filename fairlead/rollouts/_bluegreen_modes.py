"""The words of the table of modes in `_bluegreen.py`: what a blue-green Rollout is up to, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairlead.rollouts._modes import Part


class Mode(StrEnum):
    """What a blue-green Rollout is up to; exactly one at any time."""

    INITIAL = "Initial"  # nothing serves yet
    PROMOTED = "Promoted"  # the current revision is the stable one
    ABORTED = "Aborted"  # sent back to stable until a retry or another revision
    FULL = "Full"  # a person asked for everything at once
    FAST = "Fast"  # back to a revision that was good, without pause and analysis
    CHECKING = "Checking"  # users are on the current revision; it is not stable yet
    PREVIEW = "Preview"  # users are on the stable revision, testers on the current one


class Size(StrEnum):
    """How many pods the current revision should have."""

    ALL = "all"  # as many as the user wants
    PREVIEW = "preview"  # as many as testers need; all of them once the switch is allowed
    SHRINK = "shrink"  # none in the end, after the delay


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table: when it applies (None: whatever), and what follows.

    Attributes:
        active: whose pods the active Service should select (`PREVIEW`: until the switch is allowed).
        run: which AnalysisRun may be under way: `pre`, `post` or none.
    """

    mode: Mode
    # when
    has_stable: bool | None = None
    is_promoted: bool | None = None
    abort: bool | None = None
    promote_full: bool | None = None
    is_fast: bool | None = None
    is_switched: bool | None = None
    # what follows
    size: Size
    active: Part
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides which row applies.

    Attributes:
        has_stable: some revision was promoted, and it serves or could.
        is_fast: the current revision was good not long ago.
        is_switched: the active Service selects the current revision.
    """

    has_stable: bool
    is_promoted: bool
    abort: bool
    promote_full: bool
    is_fast: bool
    is_switched: bool


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
            (rule.is_switched, facts.is_switched),
        )
    )
