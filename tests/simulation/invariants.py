"""All invariants that a simulated world is watched by."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation import invariants_analysis, invariants_rollouts, invariants_traffic
from tests.simulation.rules import AT_REST, INVARIANTS
from tests.simulation.story import Commit, Story


def check(story: Story, commit: Commit) -> Iterator[str]:
    """Yield every complaint about a commit, with the number and name of the invariant that it breaks."""
    for one in INVARIANTS:
        for complaint in one.check(story, commit):
            yield f"{'/'.join(one.numbers)} {one.name}: {complaint}"


def check_at_rest(story: Story) -> Iterator[str]:
    """Yield every complaint about a world in which nothing happens any more."""
    for one in AT_REST:
        for complaint in one.check(story):
            yield f"{'/'.join(one.numbers)} {one.name}: {complaint}"


__all__ = [
    "AT_REST",
    "INVARIANTS",
    "check",
    "check_at_rest",
    "invariants_analysis",
    "invariants_rollouts",
    "invariants_traffic",
]
