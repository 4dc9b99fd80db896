"""Disruption budgets in all their spellings; scale and binding are in the contract."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.errors import Invalid, TooManyRequests
from fairlead.core.kinds import PODS, REPLICA_SETS, carried
from fairlead.core.objects import ObjectKey, controller_reference
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

BUDGETS = carried("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
LABELS = {"app": "web"}


async def world(replicas: int, ready: int, budget: dict[str, Any]) -> SimulatedCluster:
    """Return a cluster with a ReplicaSet of so many pods, the first of them ready, and a budget."""
    cluster = SimulatedCluster(LoopClock(), crds=())
    spec = {"containers": [{"name": "a", "image": "b"}]}
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    body = {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template},
    }
    owner = await cluster.create(REPLICA_SETS, body, namespace="default")
    reference = controller_reference(api_version="apps/v1", kind="ReplicaSet", metadata=owner.metadata)
    for number in range(replicas):
        metadata = {"name": f"web-{number}", "labels": LABELS, "ownerReferences": [reference]}
        await cluster.create(PODS, {"metadata": metadata, "spec": {**spec, "nodeName": "n"}}, namespace="default")
        conditions = [{"type": "Ready", "status": "True" if number < ready else "False"}]
        target = cluster.api.target("", "v1", "pods", namespace="default", name=f"web-{number}")
        stored = cluster.api.stored(target)
        cluster.api.rewrite(
            target.resource,
            stored,
            {
                **stored.data,
                "metadata": dict(stored.metadata),
                "status": {"phase": "Running", "conditions": conditions},
            },
        )
    if budget:
        selector = {"matchLabels": LABELS}
        await cluster.create(
            BUDGETS, {"metadata": {"name": "b"}, "spec": {"selector": selector, **budget}}, namespace="default"
        )
    return cluster


@pytest.mark.parametrize(
    ("replicas", "ready", "budget", "pod", "is_allowed"),
    [
        pytest.param(3, 3, {}, 0, True, id="no-budget"),
        pytest.param(3, 3, {"minAvailable": 2}, 0, True, id="enough"),
        pytest.param(3, 2, {"minAvailable": 2}, 0, False, id="just-enough"),
        pytest.param(3, 3, {"minAvailable": "50%"}, 0, True, id="half-of-three-is-two"),
        pytest.param(3, 2, {"minAvailable": "50%"}, 0, False, id="half-rounds-up"),
        pytest.param(3, 3, {"maxUnavailable": 1}, 0, True, id="one-may-be-missing"),
        pytest.param(3, 2, {"maxUnavailable": 1}, 0, False, id="one-is-missing-already"),
        pytest.param(4, 4, {"maxUnavailable": 0}, 0, False, id="none-may-be-missing"),
        pytest.param(3, 2, {"minAvailable": 2}, 2, True, id="an-unready-one-may-go-while-enough-are-healthy"),
        pytest.param(3, 1, {"minAvailable": 2}, 2, False, id="an-unready-one-stays-while-too-few-are-healthy"),
        pytest.param(
            3,
            1,
            {"minAvailable": 2, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
            2,
            True,
            id="unless-it-always-may-go",
        ),
    ],
)
def test_budgets(replicas: int, ready: int, budget: dict[str, Any], pod: int, is_allowed: bool) -> None:
    async def tell() -> None:
        cluster = await world(replicas, ready, budget)
        key = ObjectKey("default", f"web-{pod}")
        if is_allowed:
            await cluster.evict(key)
            assert (await cluster.get(PODS, key)).metadata.is_deleting
        else:
            with pytest.raises(TooManyRequests, match="Cannot evict pod as it would violate"):
                await cluster.evict(key)
            assert not (await cluster.get(PODS, key)).metadata.is_deleting

    run_virtual(tell())


def test_a_pod_that_leaves_counts_as_gone() -> None:
    async def tell() -> None:
        cluster = await world(3, 3, {"maxUnavailable": 1})
        await cluster.evict(ObjectKey("default", "web-0"))
        with pytest.raises(TooManyRequests) as caught:
            await cluster.evict(ObjectKey("default", "web-1"))
        text = "The disruption budget b needs 2 healthy pods and has 2 currently"
        assert [cause.message for cause in caught.value.causes] == [text]

    run_virtual(tell())


def test_two_budgets_over_one_pod_are_refused() -> None:
    async def tell() -> None:
        cluster = await world(3, 3, {"maxUnavailable": 1})
        selector = {"matchLabels": LABELS}
        await cluster.create(BUDGETS, {"metadata": {"name": "c"}, "spec": {"selector": selector}}, namespace="default")
        with pytest.raises(Invalid, match="more than one PodDisruptionBudget"):
            await cluster.evict(ObjectKey("default", "web-0"))

    run_virtual(tell())
