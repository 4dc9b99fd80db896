"""Which pods a restart evicts, and when it is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.rollouts._restart import Restart, is_wanted, restart
from fairlead.rollouts.machine import decide
from fairlead.testing.builders import START, pod, replica_set, spec, status
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case

AT = "2025-12-31T23:00:00Z"
BEFORE, AFTER = START - timedelta(hours=2), START - timedelta(minutes=1)
STABLE = replica_set(1, replicas=4)
CANARY = replica_set(2, replicas=2)


def pods(owner: Any, *created: Any, ready: bool = True) -> list[Any]:
    return [
        pod(f"{owner.metadata.name}-{index}", owner, created_at=at, ready=ready) for index, at in enumerate(created)
    ]


def restarted(*given: Any, restart_at: str = AT, replicas: int = 4, owners: Any = (STABLE,), **fields: Any) -> Restart:
    rollout = spec(version=1, replicas=replicas, restartAt=restart_at)
    seen = observe(*owners, pods=tuple(one for group in given for one in group))
    case = Case(rollout, status(rollout, **fields), seen)
    return restart(case.situation, case.status, case.roles)


def names(found: Restart) -> list[str]:
    return [action.name for action in found.actions]


def test_old_pods_are_evicted_as_many_as_may_be_missing() -> None:
    """A quarter of four may be missing."""
    found = restarted(pods(STABLE, BEFORE, BEFORE, BEFORE, BEFORE))
    assert names(found) == [f"{STABLE.metadata.name}-0"]
    assert found.wake_at == START + timedelta(seconds=30)
    assert found.left == 4
    assert found.status.restarted_at is None


def test_the_stable_ones_go_first() -> None:
    found = restarted(
        pods(CANARY, BEFORE, BEFORE), pods(STABLE, BEFORE, BEFORE, BEFORE, BEFORE), owners=(STABLE, CANARY)
    )
    assert names(found) == [f"{STABLE.metadata.name}-0"]


def test_pods_that_are_missing_already_count() -> None:
    assert names(restarted(pods(STABLE, BEFORE, BEFORE, BEFORE))) == []


def test_pods_that_are_not_ready_count_as_missing() -> None:
    found = restarted(pods(STABLE, BEFORE, BEFORE, BEFORE), pods(replica_set(1, replicas=4), BEFORE, ready=False))
    assert names(found) == []


def test_young_pods_stay_and_then_it_is_done() -> None:
    found = restarted(pods(STABLE, AFTER, AFTER, AFTER, AFTER))
    assert found.actions == ()
    assert found.status.restarted_at is not None


def test_foreign_pods_are_left_alone() -> None:
    assert restarted(pods(replica_set(9), BEFORE)).actions == ()


@pytest.mark.parametrize(
    ("restart_at", "restarted_at", "wanted"),
    [(AT, None, True), (AT, AT, False), ("2026-01-02T00:00:00Z", None, False), (None, None, False)],
)
def test_when_it_is_wanted(restart_at: str | None, restarted_at: str | None, wanted: bool) -> None:
    rollout = spec(**({"restartAt": restart_at} if restart_at else {}))
    stored = status(rollout, **({"restartedAt": restarted_at} if restarted_at else {}))
    assert is_wanted(rollout.restart_at, stored, START) is wanted


def test_a_restart_in_the_future_is_waited_for() -> None:
    found = restarted(restart_at="2026-01-01T00:00:10Z")
    assert (found.actions, found.wake_at) == ((), START + timedelta(seconds=10))


def test_nothing_else_moves_in_a_decision_that_evicts() -> None:
    """T28: numbers of pods do not show the evictions yet."""
    rollout = spec({"setWeight": 50}, {"pause": {}}, version=2, replicas=4, restartAt=AT)
    seen = observe(
        STABLE, replica_set(2, replicas=2), pods=tuple(pods(STABLE, *[BEFORE] * 4) + pods(CANARY, BEFORE, BEFORE))
    )
    decision = decide(rollout, status(rollout, current=2, step=0), seen, START)
    assert {type(action).__name__ for action in decision.actions} == {"EvictPod"}
    assert decision.status.step_index == 0
    assert decision.status.message == "rollout is restarting"
