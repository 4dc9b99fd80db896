"""Marking pods that live: many at a time, only our keys, and none kept back by another that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import ClusterError, Conflict, NotFound
from fairlead.core.kinds import PODS, REPLICA_SETS
from fairlead.rollouts._marking import mark_pods
from fairlead.rollouts.actions import MarkPods, Target
from fairlead.testing.builders import pod_hash, spec_content
from tests.rollouts.test_reconciler import Shop, run
from tests.testing.worlds import NAMESPACE, key

MARKS: dict[str, Any] = {
    "canaryMetadata": {"labels": {"role": "canary"}, "annotations": {"note": "new"}},
    "stableMetadata": {"labels": {"role": "stable"}},
}


class Nagging:
    """A cluster that refuses patches of pods so many times each, and counts what goes on at a time."""

    def __init__(self, cluster: Any, refusals: Mapping[str, int], error: type[ClusterError] = Conflict) -> None:
        self._cluster = cluster
        self._left = dict(refusals)
        self._error = error
        self.running = self.most = self.lists = 0

    async def list(self, kind: Any, **settings: Any) -> Any:
        self.lists += 1
        return await self._cluster.list(kind, **settings)

    async def patch(self, kind: Any, target: Any, patch: Any, **settings: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.01)
            if self._left.get(target.name, 0) > 0:
                self._left[target.name] -= 1
                raise self._error(f"not now: {target.name}")
            return await self._cluster.patch(kind, target, patch, **settings)
        finally:
            self.running -= 1


def content(replicas: int, **canary: Any) -> dict[str, Any]:
    return spec_content({"setWeight": 50}, {"pause": {}}, replicas=replicas, canary=canary)


def pods_of(shop: Shop, version: int) -> list[dict[str, Any]]:
    return [
        one
        for one in shop.sim.cluster.read_all(PODS, NAMESPACE)
        if one["metadata"]["labels"]["rollouts-pod-template-hash"] == pod_hash(version)
    ]


async def action_for(shop: Shop, **labels: str | None) -> MarkPods:
    found = await shop.sim.cluster.get(REPLICA_SETS, key(f"cart-{pod_hash(1)}"))
    return MarkPods(
        target=Target.of(found.metadata), pod_hash=pod_hash(1), labels=labels, annotations={}, text="x", is_final=True
    )


def deployed(replicas: int, story: Callable[[Shop], Awaitable[None]], **canary: Any) -> None:
    async def inside(shop: Shop) -> None:
        await shop.apply(content(replicas, **canary))
        await shop.until_done(1)
        await story(shop)

    run(inside)


def test_ten_at_a_time_and_nothing_when_all_is_right() -> None:
    async def story(shop: Shop) -> None:
        action = await action_for(shop, role="x", app="cart")
        cluster: Any = Nagging(shop.sim.cluster, {})
        assert await mark_pods(cluster, shop.sim.clock, NAMESPACE, action) == (True, None)
        assert cluster.most == 10
        assert {pod["metadata"]["labels"]["role"] for pod in pods_of(shop, 1)} == {"x"}
        assert await mark_pods(cluster, shop.sim.clock, NAMESPACE, action) == (False, None)

    deployed(12, story)


@pytest.mark.parametrize(("refusals", "fails"), [(2, False), (3, True)])
def test_each_pod_is_tried_three_times_and_the_others_go_on(refusals: int, fails: bool) -> None:
    """T64."""

    async def story(shop: Shop) -> None:
        names = [pod["metadata"]["name"] for pod in pods_of(shop, 1)]
        cluster: Any = Nagging(shop.sim.cluster, {names[0]: refusals})
        began = shop.sim.clock.monotonic()
        changed, error = await mark_pods(cluster, shop.sim.clock, NAMESPACE, await action_for(shop, role="x"))
        assert changed
        assert (error is not None) is fails
        assert shop.sim.clock.monotonic() - began >= 0.3, "it waits longer each time"
        marked = [pod["metadata"]["name"] for pod in pods_of(shop, 1) if "role" in pod["metadata"]["labels"]]
        assert sorted(marked) == sorted(names[1:] if fails else names)

    deployed(3, story)


def test_a_pod_that_is_gone_is_done() -> None:
    async def story(shop: Shop) -> None:
        names = [pod["metadata"]["name"] for pod in pods_of(shop, 1)]
        cluster: Any = Nagging(shop.sim.cluster, dict.fromkeys(names, 1), NotFound)
        assert await mark_pods(cluster, shop.sim.clock, NAMESPACE, await action_for(shop, role="x")) == (True, None)

    deployed(2, story)


def test_pods_change_their_part_and_keep_everything_else() -> None:
    """T65, and that no pod is restarted for it."""

    async def story(shop: Shop) -> None:
        (stable,) = pods_of(shop, 1)
        assert stable["metadata"]["labels"]["role"] == "stable"
        await shop.set_version(2)
        await shop.until_phase("Paused")
        (canary,) = pods_of(shop, 2)
        assert canary["metadata"]["labels"]["role"] == "canary"
        assert canary["metadata"]["annotations"]["note"] == "new"
        webhooks = {"metadata": {"labels": {"mesh": "yes"}, "annotations": {"injected": "proxy"}}}
        name = canary["metadata"]["name"]
        await shop.sim.cluster.as_manager("webhook").patch(PODS, key(name), MergePatch(webhooks))
        await shop.user_patch({"status": {"pauseConditions": None}}, subresource="status")
        await shop.until_done(2)
        await asyncio.sleep(30)
        (promoted,) = pods_of(shop, 2)
        assert promoted["metadata"]["uid"] == canary["metadata"]["uid"]
        labels, annotations = promoted["metadata"]["labels"], promoted["metadata"]["annotations"]
        assert (labels["role"], labels["mesh"], annotations["injected"]) == ("stable", "yes", "proxy")
        assert "note" not in annotations

    deployed(1, story, **MARKS)


def test_pods_are_not_looked_at_again_and_again() -> None:
    async def story(shop: Shop) -> None:
        await shop.set_version(2)
        await shop.until_phase("Paused")
        await shop.user_patch({"status": {"pauseConditions": None}}, subresource="status")
        await shop.until_done(2)
        await asyncio.sleep(30)
        before = len(shop.writes)
        for _ in range(3):
            await shop.reconciler.reconcile(key("cart"))
        assert len(shop.writes) == before
        decision = await shop.reconciler.explain(key("cart"))
        assert decision is not None
        assert decision.actions == ()

    deployed(2, story, **MARKS)
