"""The wiring: kinds to stores, changes to keys. Under virtual time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from fairlead.core.errors import Forbidden, NotFound
from fairlead.core.kinds import PODS, REPLICA_SETS, SERVICES, Pod, ReplicaSet
from fairlead.core.objects import ObjectKey, ObjectMeta, OwnerReference
from fairlead.runtime import Change, Informers, Lane, Store, WorkQueue, controller_key, feed, own_key
from fairlead.testing.clock import LoopClock, ManualClock, run_virtual
from tests.runtime.scripted import ScriptedCluster, added, deleted, modified, page, replica_set


def owner(
    kind: str, name: str, *, api_version: str = "argoproj.io/v1alpha1", controller: bool = True
) -> OwnerReference:
    return OwnerReference(api_version=api_version, kind=kind, name=name, uid=name, controller=controller)


def test_stores_are_fed_until_cancelled_and_own_writes_enter_them() -> None:
    async def story() -> None:
        async def write(*call: Any) -> Any:
            return replica_set("mine", 11)

        cluster = ScriptedCluster(lists=[page(replica_set("a"), version=10)], write=write)
        informers = Informers(cluster, LoopClock(), namespace="shop")
        store = informers.add(REPLICA_SETS)
        assert informers.store(REPLICA_SETS) is store
        running = asyncio.create_task(informers.run())
        await informers.wait_synced()
        await informers.cluster.create(REPLICA_SETS, {}, namespace="shop")
        assert [item.metadata.name for item in store.list()] == ["a", "mine"]
        assert (informers.has_synced, informers.troubles(), informers.unserved()) == (True, {}, ())
        running.cancel()
        await asyncio.wait([running])
        assert cluster.open_watches == 0

    run_virtual(story())


def test_troubles_and_kinds_that_are_not_served_are_named() -> None:
    class Split(ScriptedCluster):
        async def list(self, kind: Any, **options: Any) -> Any:
            raise Forbidden("no") if kind == PODS else NotFound("no such kind", status=404)

    async def story() -> None:
        informers = Informers(Split(), LoopClock())
        informers.add(PODS)
        informers.add(REPLICA_SETS)
        running = asyncio.create_task(informers.run())
        await asyncio.sleep(1)
        assert informers.troubles() == {"pods": "pods cannot be listed: no"}
        assert informers.unserved() == ("replicasets.apps",)
        assert not informers.has_synced
        running.cancel()
        await asyncio.wait([running])

    run_virtual(story())


async def test_a_store_that_a_field_selector_cuts_takes_no_replies() -> None:
    async def write(*call: Any) -> Any:
        return Pod(metadata=ObjectMeta(name="p", namespace="shop", resource_version="3", uid="p"))

    informers = Informers(ScriptedCluster(write=write), ManualClock())
    store = informers.add(PODS, field_selector="spec.nodeName=here")
    await informers.cluster.create(PODS, {}, namespace="shop")
    assert len(store) == 0


async def test_a_kind_is_added_once() -> None:
    informers = Informers(ScriptedCluster(), ManualClock())
    informers.add(SERVICES)
    with pytest.raises(AssertionError, match="services has been added already"):
        informers.add(SERVICES)


def test_a_kind_on_demand_is_not_looked_at_before_somebody_asks() -> None:
    async def story() -> None:
        cluster = ScriptedCluster(lists=[page(replica_set("a"), version=10), page(version=11)])
        informers = Informers(cluster, LoopClock())
        informers.add(REPLICA_SETS)
        later = informers.add(PODS, on_demand=True)
        running = asyncio.create_task(informers.run())
        await informers.wait_synced()
        assert (informers.has_synced, later.has_synced) == (True, False)
        assert (informers.want(PODS), informers.has_synced) == (False, False)
        await informers.wait_synced()
        assert informers.want(PODS)
        assert informers.want(REPLICA_SETS)
        running.cancel()
        await asyncio.wait([running])

    run_virtual(story())


def queue_and_store() -> tuple[WorkQueue[ObjectKey], Store[ReplicaSet]]:
    clock = ManualClock()
    return WorkQueue(clock), Store("replicasets.apps", clock)


async def taken(queue: WorkQueue[ObjectKey]) -> list[tuple[str, Lane]]:
    """Take all that waits, with the lanes in which it waited."""
    lanes = {str(key): waiting.lane for key, waiting in queue._waiting.items()}
    seen = []
    while len(queue):
        key = await queue.take()
        seen.append((str(key), lanes[str(key)]))
        queue.done(key)
    return seen


async def test_changes_become_keys() -> None:
    queue, store = queue_and_store()
    feed(store, queue, own_key)
    store.replace([replica_set("a", 1), replica_set("b", 1)], resource_version="1")
    assert await taken(queue) == [("shop/a", Lane.FIRST), ("shop/b", Lane.FIRST)]
    store.apply(modified(replica_set("a", 2)))
    store.apply(deleted(replica_set("b", 3)))
    assert await taken(queue) == [("shop/a", Lane.NORMAL), ("shop/b", Lane.NORMAL)]


async def test_an_object_that_changes_hands_wakes_both_owners() -> None:
    queue, store = queue_and_store()
    feed(store, queue, controller_key("Rollout"))
    store.replace([replica_set("a", 1, owner_references=(owner("Rollout", "old"),))], resource_version="1")
    await taken(queue)
    store.apply(modified(replica_set("a", 2, owner_references=(owner("Rollout", "new"),))))
    assert [key for key, _ in await taken(queue)] == ["shop/old", "shop/new"]


async def test_the_lane_can_be_chosen_by_the_change() -> None:
    def lane(change: Change[ReplicaSet]) -> Lane:
        return Lane.URGENT if change.new is not None and "abort" in change.new.metadata.annotations else Lane.NORMAL

    queue, store = queue_and_store()
    feed(store, queue, own_key, lane=lane)
    store.apply(added(replica_set("a", 1)))
    store.apply(added(replica_set("b", 2, annotations={"abort": "now"})))
    assert await taken(queue) == [("shop/b", Lane.URGENT), ("shop/a", Lane.NORMAL)]


@pytest.mark.parametrize(
    ("references", "keys"),
    [
        pytest.param((owner("Rollout", "r"),), (ObjectKey("shop", "r"),), id="controlled"),
        pytest.param((owner("Rollout", "r", controller=False),), (), id="owned-but-not-controlled"),
        pytest.param((owner("Deployment", "d", api_version="apps/v1"),), (), id="another-kind"),
        pytest.param((owner("Rollout", "r", api_version="example.org/v1"),), (), id="another-group"),
        pytest.param((), (), id="free"),
    ],
)
def test_the_controller_of_an_object(references: tuple[OwnerReference, ...], keys: tuple[ObjectKey, ...]) -> None:
    found = replica_set("a", owner_references=references)
    assert controller_key("Rollout", "argoproj.io")(found) == keys


def test_the_runtime_does_not_import_the_client_library() -> None:
    code = (
        "import sys, fairlead.runtime; "
        "print(sorted({'kubernetes_asyncio', 'aiohttp', 'requests', 'boto3'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
