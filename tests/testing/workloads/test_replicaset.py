from __future__ import annotations

from typing import Any

import pytest

from fairlead.testing.workloads import replicaset
from fairlead.testing.workloads._objects import Pod, ReplicaSet, ReplicaSetSpec, status_diff
from tests.testing.workloads.make import at, meta, pod, raw

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


def replica_set(replicas: int = 3, *, min_ready: int = 0, **more: Any) -> ReplicaSet:
    spec = ReplicaSetSpec(replicas=replicas, min_ready_seconds=min_ready, template=raw(TEMPLATE))
    return ReplicaSet(metadata=meta("web", **more), spec=spec)


@pytest.mark.parametrize(
    ("replicas", "pods", "create", "delete"),
    [
        pytest.param(3, [], 3, [], id="from-nothing"),
        pytest.param(3, [pod("a")], 2, [], id="two-missing"),
        pytest.param(1, [pod("a")], 0, [], id="as-wished"),
        pytest.param(1, [pod("a", deleting=True)], 1, [], id="a-deleting-pod-does-not-count"),
        pytest.param(1, [pod("a", phase="Failed")], 1, [], id="a-finished-pod-does-not-count"),
        pytest.param(700, [], 500, [], id="at-most-a-burst"),
        pytest.param(1, [pod("a"), pod("b", node="")], 0, ["b"], id="without-a-node-goes-first"),
        pytest.param(
            1, [pod("a", ready_since=None), pod("b", phase="Pending", ready_since=None)], 0, ["b"], id="pending-first"
        ),
        pytest.param(1, [pod("a"), pod("b", ready_since=None)], 0, ["b"], id="not-ready-before-ready"),
        pytest.param(
            1,
            [pod("a", annotations={replicaset.DELETION_COST: "-1"}), pod("b", ready_since=9)],
            0,
            ["a"],
            id="cheaper-before-younger",
        ),
        pytest.param(1, [pod("a", ready_since=5), pod("b", ready_since=9)], 0, ["b"], id="ready-for-a-shorter-time"),
        pytest.param(1, [pod("a", restarts=3), pod("b", created=9)], 0, ["a"], id="restarts-before-age"),
        pytest.param(1, [pod("a"), pod("b", created=9)], 0, ["b"], id="younger-first"),
        pytest.param(0, [pod("b"), pod("a")], 0, ["a", "b"], id="by-name-when-equal"),
    ],
)
def test_creates_and_deletes(replicas: int, pods: list[Pod], create: int, delete: list[str]) -> None:
    plan = replicaset.decide(replica_set(replicas), pods, at(60))
    assert (plan.create, [found.metadata.name for found in plan.delete]) == (create, delete)


def test_deleting_replica_set_leaves_its_pods_to_the_garbage_collector() -> None:
    plan = replicaset.decide(replica_set(0, deletion_timestamp=at(0)), [pod("a")], at(1))
    assert (plan.create, plan.delete) == (0, ())


@pytest.mark.parametrize(
    ("min_ready", "now", "available", "wake_at"),
    [
        pytest.param(0, 10, 2, None, id="ready-is-available"),
        pytest.param(30, 39, 0, 40, id="just-before"),
        pytest.param(30, 40, 1, 50, id="the-first-is-due"),
        pytest.param(30, 50, 2, None, id="both-are"),
    ],
)
def test_available_after_min_ready_seconds(min_ready: int, now: int, available: int, wake_at: int | None) -> None:
    pods = [pod("a", ready_since=10), pod("b", ready_since=20), pod("c", ready_since=None)]
    plan = replicaset.decide(replica_set(3, min_ready=min_ready), pods, at(now))
    assert plan.status.ready_replicas == 2
    assert plan.status.available_replicas == available
    assert plan.wake_at == (None if wake_at is None else at(wake_at))


def test_status_counts_and_is_not_written_twice() -> None:
    pods = [pod("a"), pod("b", ready_since=None), pod("c", labels={"app": "other"}), pod("d", deleting=True)]
    wished = replica_set(3)
    status = replicaset.decide(wished, pods, at(1)).status
    assert status_diff(wished.status, status, always=("replicas",)) == {
        "status": {
            "replicas": 3,
            "fullyLabeledReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "terminatingReplicas": 1,
            "observedGeneration": 1,
        }
    }
    stored = ReplicaSet(metadata=wished.metadata, spec=wished.spec, status=status)
    again = replicaset.decide(stored, pods, at(2)).status
    assert status_diff(status, again, always=("replicas",)) == {}


def test_counters_that_fall_to_zero_are_taken_away() -> None:
    stored = replicaset.decide(replica_set(1), [pod("a")], at(1)).status
    gone = replicaset.decide(replica_set(1), [], at(1)).status
    assert status_diff(stored, gone, always=("replicas",)) == {
        "status": {"replicas": 0, "fullyLabeledReplicas": None, "readyReplicas": None, "availableReplicas": None}
    }


def test_refused_creation_shows_and_heals() -> None:
    wished = replica_set(1)
    plan = replicaset.decide(wished, [], at(1))
    status = replicaset.failed(plan, wished, reason="FailedCreate", message="exceeded quota: pods=1", now=at(1))
    (condition,) = status.conditions
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    stored = ReplicaSet(metadata=wished.metadata, spec=wished.spec, status=status)
    assert replicaset.failed(plan, stored, reason="FailedCreate", message="exceeded quota: pods=1", now=at(9)) == status
    assert replicaset.decide(stored, [pod("a")], at(10)).status.conditions == ()
