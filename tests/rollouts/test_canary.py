"""Steps: weight and size of the moment, enough pods, and completion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fairlead.rollouts._canary import (
    at_desired,
    has_enough,
    progress,
    scale_at,
    step_of,
    weight_at,
    weight_before,
    whole_second,
)
from fairlead.rollouts._replicas import Counts
from fairlead.rollouts.spec import ReplicaProgressThreshold
from fairlead.rollouts.status import PauseReason, RunRef
from fairlead.testing.builders import START, replica_set, spec
from tests.rollouts.situations import Case, routed

WEIGHTS: tuple[dict[str, Any], ...] = (
    {"pause": {}},
    {"setWeight": 20},
    {"pause": {}},
    {"setWeight": 60},
    {"pause": {}},
)
SCALES: tuple[dict[str, Any], ...] = (
    {"setWeight": 10},
    {"setCanaryScale": {"replicas": 3}},
    {"setWeight": 40},
    {"setCanaryScale": {"matchTrafficWeight": True}},
    {"setCanaryScale": {"weight": 50}},
)


@pytest.mark.parametrize(
    ("index", "at", "before"),
    [(0, 0, 0), (1, 20, 0), (2, 20, 20), (3, 60, 20), (4, 60, 60), (5, 100, 60), (99, 100, 60), (None, 100, 60)],
)
def test_weights(index: int | None, at: int, before: int) -> None:
    steps = spec(*WEIGHTS).steps
    assert weight_at(steps, index, 100) == at
    assert weight_before(steps, index) == before


def test_without_steps_the_weight_is_all() -> None:
    assert (weight_at((), None, 1000), weight_before((), None)) == (1000, 0)


@pytest.mark.parametrize(
    ("index", "expected"), [(0, None), (1, 3), (2, 3), (3, None), (4, "weight"), (5, None), (None, None)]
)
def test_the_scale_in_force(index: int | None, expected: int | str | None) -> None:
    found = scale_at(spec(*SCALES, routed=True).steps, index)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.replicas, found.weight) == ((3, None) if expected == 3 else (None, 50))


@pytest.mark.parametrize(
    ("step", "status", "expected"),
    [
        pytest.param(0, {}, Counts(1, 5), id="weight-10"),
        pytest.param(2, {}, Counts(3, 5), id="absolute-scale"),
        pytest.param(3, {}, Counts(2, 5), id="weight-again"),
        pytest.param(4, {}, Counts(3, 5), id="scale-by-weight"),
        pytest.param(5, {}, Counts(5, 5), id="past-the-last-step"),
        pytest.param(2, {"promoteFull": True}, Counts(5, 5), id="full-promotion"),
        pytest.param(2, {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}, Counts(0, 5), id="aborted"),
    ],
)
def test_desired_counts_of_a_routed_canary(step: int, status: dict[str, Any], expected: Counts) -> None:
    assert routed(*SCALES, step=step, canary=replica_set(2), **status).counts == expected


# --- enough pods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "wanted", "replicas", "available", "expected"),
    [
        pytest.param(None, 3, 3, 3, True, id="all"),
        pytest.param(None, 3, 3, 2, False, id="one-is-missing"),
        pytest.param(None, 3, 2, 3, False, id="not-scaled-up-yet"),
        pytest.param(None, 3, 5, 5, True, id="more-than-wanted-is-enough"),  # T21
        pytest.param(("Percent", 60), 5, 5, 3, True, id="percent"),
        pytest.param(("Percent", 61), 5, 5, 3, False, id="percent-not-met"),
        pytest.param(("Percent", 90), 0, 0, 0, True, id="nothing-wanted"),
        pytest.param(("Pods", 2), 5, 5, 2, True, id="pods"),
        pytest.param(("Pods", 3), 5, 5, 2, False, id="pods-not-met"),
    ],
)
def test_enough(threshold: Any, wanted: int, replicas: int, available: int, expected: bool) -> None:
    found = replica_set(2, replicas=replicas, available=available)
    given = ReplicaProgressThreshold(type=threshold[0], value=threshold[1]) if threshold else None
    assert has_enough(given, wanted, found) is expected


@pytest.mark.parametrize(
    ("canary", "stable", "expected"),
    [
        pytest.param((1, 1), (5, 5, 5), True, id="both"),
        pytest.param((1, 0), (5, 5, 5), False, id="canary-not-available"),
        pytest.param((1, 1), (5, 5, 0), True, id="a-broken-stable-does-not-block"),  # T19
        pytest.param((1, 1), (5, 4, 4), False, id="stable-pods-not-created"),
        pytest.param((1, 1), (4, 4, 4), False, id="stable-not-scaled"),
        pytest.param((3, 3), (5, 5, 5), True, id="more-canaries-than-wanted"),
    ],
)
def test_at_desired_behind_a_router(canary: tuple[int, int], stable: tuple[int, int, int], expected: bool) -> None:
    case = routed(
        {"setWeight": 20},
        canary=replica_set(2, replicas=canary[0], available=canary[1]),
        stable=replica_set(1, replicas=stable[0], created=stable[1], available=stable[2]),
    )
    assert at_desired(case.situation, Counts(1, 5), case.roles) is expected


# --- completion -------------------------------------------------------------------------------------------------------


def step_progress(case: Case, *, ready: bool = True, holds: bool = True) -> Any:
    step = step_of(case.situation, case.status)
    assert step is not None
    return progress(case.situation, case.status, step, is_ready=ready, holds=holds)


@pytest.mark.parametrize(
    ("step", "ready", "holds", "expected"),
    [
        pytest.param({"setWeight": 20}, True, True, True, id="weight"),
        pytest.param({"setWeight": 20}, False, True, False, id="weight-without-pods"),
        pytest.param({"setWeight": 20}, True, False, False, id="weight-not-in-force"),
        pytest.param({"setCanaryScale": {"replicas": 2}}, True, False, True, id="scale-does-not-wait-for-traffic"),
        pytest.param({"setCanaryScale": {"replicas": 2}}, False, True, False, id="scale-without-pods"),
    ],
)
def test_completion(step: dict[str, Any], ready: bool, holds: bool, expected: bool) -> None:
    assert step_progress(routed(step), ready=ready, holds=holds).is_complete is expected


def paused(duration: Any, **status: Any) -> Case:
    return routed({"pause": {} if duration is None else {"duration": duration}}, **status)


SINCE = [{"reason": "CanaryPauseStep", "startTime": "2025-12-31T23:59:50Z"}]  # 10 s before the decision


def test_a_pause_begins_at_a_whole_second_and_not_before_traffic_has_settled() -> None:
    assert step_progress(paused("5s"), holds=False).status.pauses == ()
    case = paused("5s", now=START + timedelta(microseconds=1))
    outcome = step_progress(case)
    pause = outcome.status.pause(PauseReason.CANARY_STEP)
    assert pause is not None
    assert pause.started_at == START + timedelta(seconds=1)
    assert outcome.wake_at == START + timedelta(seconds=6)
    assert outcome.status.controller_pause
    assert not outcome.is_complete


@pytest.mark.parametrize(
    ("duration", "complete"),
    [
        pytest.param("10s", True, id="over-on-the-second"),
        pytest.param(10, True, id="a-number-is-seconds"),
        pytest.param("11s", False, id="not-over"),
        pytest.param(None, False, id="without-end"),
        pytest.param("1h", False, id="hours"),
    ],
)
def test_a_pause_ends_by_time(duration: Any, complete: bool) -> None:
    outcome = step_progress(paused(duration, pauseConditions=SINCE, controllerPause=True))
    assert outcome.is_complete is complete
    if duration == "11s":
        assert outcome.wake_at == START + timedelta(seconds=1)
    if duration is None:
        assert outcome.wake_at is None


def test_a_condition_that_is_gone_means_that_a_person_resumed() -> None:
    assert step_progress(paused(None, controllerPause=True)).is_complete


def test_a_pause_of_no_length_is_over_at_once() -> None:
    assert step_progress(paused(0)).is_complete


@pytest.mark.parametrize(
    ("phase", "pauses", "expected"),
    [("Successful", [], True), ("Running", [], False), ("Failed", [], False), ("Successful", SINCE, False)],
)
def test_an_analysis_step_needs_a_successful_verdict(phase: str, pauses: list[Any], expected: bool) -> None:
    case = routed({"analysis": {"templates": [{"templateName": "t"}]}}, pauseConditions=pauses)
    case.status = replace(case.status, step_run=RunRef(name="run", phase=phase))
    assert step_progress(case).is_complete is expected


def test_whole_seconds() -> None:
    assert whole_second(START) == START
    assert whole_second(START + timedelta(milliseconds=1)) == START + timedelta(seconds=1)
