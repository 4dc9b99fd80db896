"""What counts as progress, and what stops the clock of the deadline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.conditions import Condition
from fairlead.rollouts._progress import advance, has_timed_out, is_clock_stopped, marks, times_out_at
from fairlead.rollouts.status import HighWater, RolloutStatus
from fairlead.testing.builders import START, replica_set
from tests.rollouts.situations import Case, routed


def numbers(updated: int, ready: int, available: int, total: int, **fields: Any) -> RolloutStatus:
    return RolloutStatus(
        updated_replicas=updated, ready_replicas=ready, available_replicas=available, replicas=total, **fields
    )


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        pytest.param((1, 5, 5, 6), (1, 5, 5, 6), False, id="nothing"),
        pytest.param((1, 5, 5, 6), (2, 5, 5, 7), True, id="more-new-pods"),
        pytest.param((1, 5, 5, 6), (1, 6, 5, 6), True, id="ready"),
        pytest.param((1, 5, 5, 6), (1, 5, 6, 6), True, id="available"),
        pytest.param((1, 5, 5, 6), (1, 5, 5, 5), True, id="fewer-old-pods"),
        pytest.param((1, 6, 6, 6), (1, 5, 5, 6), False, id="loss-is-no-progress"),
    ],
)
def test_progress(before: tuple[int, ...], after: tuple[int, ...], moved: bool) -> None:
    assert advance(numbers(*before), numbers(*after))[0] is moved


def test_pods_that_come_and_go_are_no_progress() -> None:
    """T49."""
    best = HighWater(updated=1, ready=6, available=6, old=5)
    down = numbers(1, 5, 5, 6, high_water=best)
    moved, still = advance(down, numbers(1, 6, 6, 6))
    assert not moved
    assert still == best


def test_another_step_is_progress_and_begins_anew() -> None:
    best = HighWater(updated=9, ready=9, available=9, old=0)
    moved, mark = advance(numbers(1, 5, 5, 6, high_water=best), numbers(1, 5, 5, 6, step_index=3))
    assert moved
    assert mark == marks(numbers(1, 5, 5, 6))


def progressing(reason: str, ago: float) -> Condition:
    return Condition(type="Progressing", status="True", reason=reason, last_update_time=START - timedelta(seconds=ago))


@pytest.mark.parametrize(
    ("reason", "ago", "expected"),
    [
        pytest.param("ReplicaSetUpdated", 600, False, id="on-the-second"),
        pytest.param("ReplicaSetUpdated", 601, True, id="passed"),
        pytest.param("RolloutPaused", 9999, False, id="never-while-paused"),
        pytest.param("RolloutAborted", 9999, False, id="never-when-aborted"),
        pytest.param("ProgressDeadlineExceeded", 0, True, id="it-has-passed-before"),
    ],
)
def test_deadline(reason: str, ago: float, expected: bool) -> None:
    case = routed({"setWeight": 20})
    assert has_timed_out(case.situation, (progressing(reason, ago),)) is expected


def test_without_a_condition_there_is_no_deadline() -> None:
    case = routed({"setWeight": 20})
    assert times_out_at(case.situation, None) is None
    assert not has_timed_out(case.situation, ())


ANALYSIS = {"analysis": {"templates": [{"templateName": "t"}]}}


@pytest.mark.parametrize(
    ("case", "stopped"),
    [
        pytest.param(routed({"setWeight": 20}), False, id="a-weight"),
        pytest.param(routed({"pause": {}}), True, id="a-pause"),
        pytest.param(routed(ANALYSIS), True, id="an-analysis"),
        pytest.param(routed({"setWeight": 20}, settings={"paused": True}), True, id="by-hand"),
        pytest.param(routed({"setWeight": 20}, abort=True), True, id="aborted"),
        pytest.param(
            routed(
                {"setWeight": 20}, others=(replica_set(3, annotations={"scale-down-deadline": "2026-01-02T00:00:00Z"}),)
            ),
            True,
            id="waiting-for-a-delay",  # T47
        ),
    ],
)
def test_when_time_does_not_count(case: Case, stopped: bool) -> None:
    assert is_clock_stopped(case.situation, case.status, case.roles.others) is stopped
