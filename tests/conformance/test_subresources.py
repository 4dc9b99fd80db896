"""The contract of scale and eviction."""

from __future__ import annotations

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid, NotFound, TooManyRequests
from fairlead.core.kinds import PODS
from tests.conformance.arena import BUDGETS, GADGETS, RAW_PODS, RAW_SETS, WIDGETS, Arena
from tests.conformance.pods import replica_set, template


async def test_scale_shows_and_sets_replicas_of_a_built_in_kind(arena: Arena) -> None:
    made = await arena.create(RAW_SETS, "web", spec={**replica_set("web"), "replicas": 0})
    scaled = await arena.cluster.patch(
        RAW_SETS, arena.key("web"), MergePatch({"spec": {"replicas": 0}}), subresource="scale"
    )
    assert scaled.content["kind"] == "Scale"
    assert scaled.content["status"]["selector"] == "app=web"
    await arena.cluster.patch(RAW_SETS, arena.key("web"), MergePatch({"spec": {"replicas": 2}}), subresource="scale")
    now = await arena.cluster.get(RAW_SETS, arena.key("web"))
    assert now.content["spec"]["replicas"] == 2
    assert now.metadata.generation == made.metadata.generation + 1


async def test_scale_of_a_custom_kind_follows_its_paths(arena: Arena) -> None:
    await arena.create(WIDGETS, "one", spec={"replicas": 3})
    status = {"status": {"replicas": 2, "selector": "app=one"}}
    await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch(status), subresource="status")
    scaled = await arena.cluster.patch(
        WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 5}}), subresource="scale"
    )
    assert scaled.content["spec"] == {"replicas": 5}
    assert scaled.content["status"] == {"replicas": 2, "selector": "app=one"}
    with pytest.raises(Invalid):
        await arena.cluster.patch(
            WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": -1}}), subresource="scale"
        )
    assert (await arena.cluster.get(WIDGETS, arena.key("one"))).content["spec"]["replicas"] == 5


async def test_kinds_without_the_subresource_have_no_scale(arena: Arena) -> None:
    await arena.create(GADGETS, "one")
    with pytest.raises(NotFound):
        await arena.cluster.patch(GADGETS, arena.key("one"), MergePatch({"spec": {}}), subresource="scale")


async def _ready_pod(arena: Arena, name: str) -> None:
    """Make a pod that counts as healthy; it is bound, so that no scheduler and no kubelet of the cluster sees it."""
    metadata = {"labels": {"app": "web"}}
    await arena.create(RAW_PODS, name, metadata=metadata, spec={**template(name)["spec"], "nodeName": "nowhere"})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await arena.cluster.patch(PODS, arena.key(name), MergePatch({"status": status}), subresource="status")


async def test_eviction_respects_the_disruption_budget(arena: Arena) -> None:
    for name in ("a", "b"):
        await _ready_pod(arena, name)
    await arena.create(BUDGETS, "web", spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}})

    async def evicted() -> bool:
        # A real disruption controller needs a moment to count the pods.
        try:
            await arena.cluster.evict(arena.key("a"))
        except TooManyRequests:
            return False
        return True

    await arena.eventually(evicted)
    with pytest.raises(TooManyRequests, match="violate the pod's disruption budget") as caught:
        await arena.cluster.evict(arena.key("b"))
    assert caught.value.status == 429
    assert [cause.reason for cause in caught.value.causes] == ["DisruptionBudget"]
    assert not (await arena.cluster.get(PODS, arena.key("b"))).metadata.is_deleting
    for name in ("a", "b"):
        await arena.cluster.delete(PODS, arena.key(name), grace_period_seconds=0)


async def test_eviction_without_a_budget_deletes(arena: Arena) -> None:
    await arena.create(RAW_PODS, "web", spec=template("web")["spec"])
    await arena.cluster.evict(arena.key("web"))
    await arena.until_gone(PODS, "web")
    with pytest.raises(NotFound):
        await arena.cluster.evict(arena.key("web"))
