"""The contract of deletion: what goes with its owner, what waits, what stays."""

from __future__ import annotations

from typing import Any

from fairlead.core.cluster import MergePatch, Propagation
from fairlead.core.kinds import NAMESPACES, PODS
from fairlead.core.objects import Kind, Manifest, ObjectKey, controller_reference
from tests.conformance.arena import CONFIG_MAPS, RAW_PODS, WIDGETS, Arena
from tests.conformance.pods import template


def owned_by(owner: Manifest, *, block: bool = True) -> dict[str, Any]:
    reference = controller_reference(
        api_version=owner.content["apiVersion"],
        kind=owner.content["kind"],
        metadata=owner.metadata,
        block_owner_deletion=block,
    )
    return {"ownerReferences": [reference]}


async def exists(arena: Arena, kind: Kind[Any], name: str) -> bool:
    return not await arena.is_gone(kind, name)


async def test_dependents_go_with_their_owner(arena: Arena) -> None:
    owner = await arena.create(WIDGETS, "owner", spec={})
    child = await arena.create(CONFIG_MAPS, "child", metadata=owned_by(owner))
    await arena.create(CONFIG_MAPS, "grandchild", metadata=owned_by(child))
    await arena.create(CONFIG_MAPS, "stranger")
    await arena.cluster.delete(WIDGETS, arena.key("owner"))
    await arena.until_gone(CONFIG_MAPS, "child")
    await arena.until_gone(CONFIG_MAPS, "grandchild")
    assert await exists(arena, CONFIG_MAPS, "stranger")


async def test_an_owner_of_that_name_with_another_uid_does_not_count(arena: Arena) -> None:
    owner = await arena.create(WIDGETS, "owner", spec={})
    await arena.cluster.delete(WIDGETS, arena.key("owner"))
    await arena.until_gone(WIDGETS, "owner")
    await arena.create(WIDGETS, "owner", spec={})
    await arena.create(CONFIG_MAPS, "late", metadata=owned_by(owner))
    await arena.until_gone(CONFIG_MAPS, "late")
    assert await exists(arena, WIDGETS, "owner")


async def test_one_owner_left_is_enough(arena: Arena) -> None:
    first = await arena.create(WIDGETS, "first", spec={})
    second = await arena.create(WIDGETS, "second", spec={})
    references = [
        owned_by(first)["ownerReferences"][0],
        {**owned_by(second)["ownerReferences"][0], "controller": False},
    ]
    await arena.create(CONFIG_MAPS, "child", metadata={"ownerReferences": references})
    await arena.cluster.delete(WIDGETS, arena.key("first"))

    async def lost_one() -> bool:
        child = await arena.cluster.get(CONFIG_MAPS, arena.key("child"))
        return [owner.name for owner in child.metadata.owner_references] == ["second"]

    await arena.eventually(lost_one)
    await arena.cluster.delete(WIDGETS, arena.key("second"))
    await arena.until_gone(CONFIG_MAPS, "child")


async def test_foreground_waits_for_the_dependents(arena: Arena) -> None:
    owner = await arena.create(WIDGETS, "owner", spec={})
    held = {**owned_by(owner), "finalizers": ["fairlead.dev/hold"]}
    await arena.create(CONFIG_MAPS, "child", metadata=held)
    await arena.cluster.delete(WIDGETS, arena.key("owner"), propagation=Propagation.FOREGROUND)

    async def child_is_going() -> bool:
        return (await arena.cluster.get(CONFIG_MAPS, arena.key("child"))).metadata.is_deleting

    await arena.eventually(child_is_going)
    waiting = await arena.cluster.get(WIDGETS, arena.key("owner"))
    assert waiting.metadata.finalizers == ("foregroundDeletion",)
    await arena.cluster.patch(CONFIG_MAPS, arena.key("child"), MergePatch({"metadata": {"finalizers": None}}))
    await arena.until_gone(WIDGETS, "owner")
    assert await arena.is_gone(CONFIG_MAPS, "child")


async def test_orphans_lose_their_owner_and_stay(arena: Arena) -> None:
    owner = await arena.create(WIDGETS, "owner", spec={})
    await arena.create(CONFIG_MAPS, "child", metadata=owned_by(owner))
    await arena.cluster.delete(WIDGETS, arena.key("owner"), propagation=Propagation.ORPHAN)
    await arena.until_gone(WIDGETS, "owner")
    child = await arena.cluster.get(CONFIG_MAPS, arena.key("child"))
    assert child.metadata.owner_references == ()


async def test_a_pod_that_runs_nowhere_goes_at_once(arena: Arena) -> None:
    await arena.create(RAW_PODS, "web", spec=template("web")["spec"])
    await arena.cluster.delete(PODS, arena.key("web"))
    await arena.until_gone(PODS, "web")


async def test_a_bound_pod_has_its_grace_period(arena: Arena) -> None:
    spec = {**template("web")["spec"], "nodeName": "nowhere", "terminationGracePeriodSeconds": 7}
    await arena.create(RAW_PODS, "web", spec=spec)
    await arena.cluster.delete(PODS, arena.key("web"))
    leaving = await arena.cluster.get(PODS, arena.key("web"))
    assert leaving.metadata.is_deleting
    assert leaving.metadata.deletion_grace_period_seconds == 7
    await arena.cluster.delete(PODS, arena.key("web"), grace_period_seconds=0)
    await arena.until_gone(PODS, "web")


async def test_a_namespace_goes_with_its_content(arena: Arena) -> None:
    name = f"{arena.namespace}-2"
    await arena.cluster.create(NAMESPACES, {"metadata": {"name": name}})
    await arena.cluster.create(CONFIG_MAPS, {"metadata": {"name": "one"}}, namespace=name)
    await arena.cluster.delete(NAMESPACES, ObjectKey("", name))

    async def gone() -> bool:
        page = await arena.cluster.list(NAMESPACES, field_selector=f"metadata.name={name}")
        return not page.items

    await arena.eventually(gone)
    assert not (await arena.cluster.list(CONFIG_MAPS, namespace=name)).items
