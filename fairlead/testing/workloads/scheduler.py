"""Which node a pod goes to.

Source: `k8s.io/kubernetes: pkg/scheduler/` (the order of filters and the text for pods that fit nowhere).

Simpler than upstream on purpose: only node readiness, cordons, `nodeSelector` and the number of pods are looked at;
requests of CPU and memory, affinity and taints are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairlead.testing.workloads._objects import Condition, Node, Pod, set_condition, to_json

SCHEDULER = "default-scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """The pod goes to this node."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The pod fits nowhere now; `message` counts the reasons."""

    message: str


def is_waiting(pod: Pod) -> bool:
    """Return whether the scheduler has to find a node for this pod."""
    return (
        not pod.spec.node_name
        and not pod.metadata.is_deleting
        and not pod.is_finished
        and not pod.spec.scheduling_gates
        and pod.spec.scheduler_name == SCHEDULER
    )


def decide(pod: Pod, nodes: Sequence[Node], pods_on: Mapping[str, int]) -> Bind | Pending:
    """Return where the pod goes: to the node with the fewest pods of those that may take it.

    Args:
        pod: one that `is_waiting`.
        nodes: all nodes.
        pods_on: by node name, how many pods that have not finished it holds.
    """
    refusals: dict[str, int] = {}
    fitting: list[Node] = []
    for node in nodes:
        if refusal := _refusal(pod, node, pods_on.get(node.metadata.name, 0)):
            refusals[refusal] = refusals.get(refusal, 0) + 1
        else:
            fitting.append(node)
    if fitting:
        best = min(fitting, key=lambda node: (pods_on.get(node.metadata.name, 0), node.metadata.name))
        return Bind(node=best.metadata.name)
    if not nodes:
        return Pending(message="no nodes available to schedule pods")
    reasons = ", ".join(f"{count} {text}" for text, count in sorted(refusals.items()))
    return Pending(message=f"0/{len(nodes)} nodes are available: {reasons}.")


def pending_patch(pod: Pod, pending: Pending, now: datetime) -> dict[str, Any]:
    """Return the status patch that shows why the pod has no node; empty when it says so already."""
    refused = Condition(type="PodScheduled", status="False", reason="Unschedulable", message=pending.message)
    conditions = set_condition(pod.status.conditions, refused, now)
    if conditions == pod.status.conditions:
        return {}
    return {
        "metadata": {"resourceVersion": pod.metadata.resource_version},
        "status": {"phase": "Pending", "conditions": to_json(conditions)},
    }


def _refusal(pod: Pod, node: Node, held: int) -> str:
    """Return why the node cannot take the pod, in the scheduler's words; empty when it can."""
    if node.spec.unschedulable:
        return "node(s) were unschedulable"
    if not node.is_ready:
        return "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    if held >= node.pods_max:
        return "Too many pods"
    return ""
