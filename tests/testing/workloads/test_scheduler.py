from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.testing.workloads import scheduler
from fairlead.testing.workloads._objects import Condition, Node, NodeSpec, NodeStatus, Pod
from tests.testing.workloads.make import at, meta, pod


def node(name: str, *, ready: bool = True, pods: int = 2, cordoned: bool = False, **labels: str) -> Node:
    condition = Condition(type="Ready", status="True" if ready else "False")
    return Node(
        metadata=meta(name, namespace="", labels=labels),
        spec=NodeSpec(unschedulable=cordoned),
        status=NodeStatus(allocatable={"pods": str(pods)}, conditions=(condition,)),
    )


WAITING = pod(node="", phase="Pending", ready_since=None)


@pytest.mark.parametrize(
    ("nodes", "held", "expected"),
    [
        pytest.param([node("a"), node("b")], {}, scheduler.Bind(node="a"), id="by-name-when-equal"),
        pytest.param([node("a"), node("b")], {"a": 1}, scheduler.Bind(node="b"), id="fewest-pods"),
        pytest.param([node("a", ready=False), node("b")], {"b": 1}, scheduler.Bind(node="b"), id="only-ready-nodes"),
        pytest.param([], {}, scheduler.Pending(message="no nodes available to schedule pods"), id="no-nodes"),
        pytest.param(
            [node("a"), node("b", cordoned=True), node("c")],
            {"a": 2, "c": 2},
            scheduler.Pending(
                message="0/3 nodes are available: 2 Too many pods, 1 node(s) were unschedulable.",
            ),
            id="full",
        ),
    ],
)
def test_decide(nodes: list[Node], held: dict[str, int], expected: scheduler.Bind | scheduler.Pending) -> None:
    assert scheduler.decide(WAITING, nodes, held) == expected


def test_node_selector() -> None:
    picky = pod(node="", spec={"nodeSelector": {"disk": "ssd"}})
    nodes = [node("a"), node("b", disk="ssd")]
    assert scheduler.decide(picky, nodes, {"b": 1}) == scheduler.Bind(node="b")


@pytest.mark.parametrize(
    ("found", "waits"),
    [
        pytest.param(WAITING, True, id="waits"),
        pytest.param(pod(), False, id="has-a-node"),
        pytest.param(pod(node="", deleting=True), False, id="deleting"),
        pytest.param(pod(node="", phase="Failed"), False, id="finished"),
        pytest.param(pod(node="", spec={"schedulerName": "other"}), False, id="another-scheduler"),
        pytest.param(pod(node="", spec={"schedulingGates": [{"name": "quota"}]}), False, id="gated"),
    ],
)
def test_is_waiting(found: Pod, waits: bool) -> None:
    assert scheduler.is_waiting(found) == waits


def test_reason_is_written_once() -> None:
    pending = scheduler.Pending(message="no nodes available to schedule pods")
    patch: dict[str, Any] = scheduler.pending_patch(WAITING, pending, at(1))
    (shown,) = [condition for condition in patch["status"]["conditions"] if condition["type"] == "PodScheduled"]
    assert (shown["status"], shown["reason"]) == ("False", "Unschedulable")
    told = msgspec.structs.replace(WAITING, status=msgspec.convert(patch["status"], type(WAITING.status), strict=False))
    assert scheduler.pending_patch(told, pending, at(2)) == {}
