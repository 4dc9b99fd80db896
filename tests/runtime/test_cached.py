"""Own writes are seen before the caller goes on."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import Cluster, MergePatch, Preconditions, Propagation
from fairlead.core.errors import Conflict
from fairlead.core.kinds import PODS, REPLICA_SETS, Pod, ReplicaSet
from fairlead.core.objects import ObjectKey, ObjectMeta
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.store import Store
from fairlead.testing.clock import ManualClock
from tests.runtime.scripted import ScriptedCluster, replica_set

KEY = ObjectKey("shop", "a")


def cached(answer: Any, *items: ReplicaSet) -> tuple[Cluster, Store[ReplicaSet], list[tuple[Any, ...]]]:
    calls: list[tuple[Any, ...]] = []

    async def write(*call: Any) -> Any:
        calls.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = ManualClock()
    store: Store[ReplicaSet] = Store("replicasets.apps", clock)
    store.replace(items, resource_version="10")
    return CachedCluster(ScriptedCluster(write=write), {REPLICA_SETS: store}, clock), store, calls


def version_in(store: Store[ReplicaSet]) -> int | None:
    found = store.get(KEY)
    return None if found is None else found.metadata.version


async def test_a_created_object_is_seen_at_once() -> None:
    cluster, store, _ = cached(replica_set("a", 11))
    reply = await cluster.create(REPLICA_SETS, {}, namespace="shop")
    assert store.get(KEY) is reply


@pytest.mark.parametrize(
    ("subresource", "version"),
    [
        pytest.param("", 11, id="main"),
        pytest.param("status", 11, id="status"),
        pytest.param("scale", 10, id="scale-answers-with-another-kind"),
    ],
)
async def test_a_patched_object_is_seen_at_once(subresource: str, version: int) -> None:
    cluster, store, calls = cached(replica_set("a", 11), replica_set("a", 10))
    await cluster.patch(REPLICA_SETS, KEY, MergePatch({}), subresource=subresource)
    assert version_in(store) == version
    assert calls == [("patch", REPLICA_SETS, KEY, MergePatch({}), subresource)]


async def test_a_live_read_is_seen_too_if_it_is_newer() -> None:
    cluster, store, _ = cached(replica_set("a", 9), replica_set("a", 10))
    assert (await cluster.get(REPLICA_SETS, KEY)).metadata.version == 9
    assert version_in(store) == 10


async def test_a_failed_write_changes_nothing() -> None:
    cluster, store, _ = cached(Conflict("somebody wrote first"), replica_set("a", 10))
    with pytest.raises(Conflict):
        await cluster.patch(REPLICA_SETS, KEY, MergePatch({}))
    with pytest.raises(Conflict):
        await cluster.delete(REPLICA_SETS, KEY)
    assert version_in(store) == 10


@pytest.mark.parametrize(
    ("item", "options", "is_shown", "is_deleting"),
    [
        pytest.param(replica_set("a", 10), {}, False, False, id="gone"),
        pytest.param(replica_set("a", 10, finalizers=("hold",)), {}, True, True, id="held-by-a-finalizer"),
        pytest.param(
            replica_set("a", 10), {"propagation": Propagation.FOREGROUND}, True, True, id="waits-for-dependents"
        ),
        pytest.param(replica_set("a", 10), {"propagation": Propagation.ORPHAN}, True, True, id="orphans-first"),
        pytest.param(
            replica_set("a", 10), {"preconditions": Preconditions(uid="earlier")}, True, False, id="an-earlier-bearer"
        ),
    ],
)
async def test_a_deletion_is_seen_at_once(
    item: ReplicaSet, options: dict[str, Any], is_shown: bool, is_deleting: bool
) -> None:
    cluster, store, _ = cached(None, item)
    await cluster.delete(REPLICA_SETS, KEY, **options)
    shown = store.get(KEY)
    assert (shown is not None) is is_shown
    assert shown is None or shown.metadata.is_deleting is is_deleting


@pytest.mark.parametrize(
    ("grace", "is_shown"), [pytest.param(None, True, id="given-time"), pytest.param(0, False, id="at-once")]
)
async def test_a_deleted_pod_is_given_time(grace: int | None, is_shown: bool) -> None:
    async def write(*call: Any) -> None:
        return None

    clock = ManualClock()
    store: Store[Pod] = Store("pods", clock)
    store.replace([Pod(metadata=ObjectMeta(name="a", namespace="shop", uid="u", resource_version="3"))])
    cluster = CachedCluster(ScriptedCluster(write=write), {PODS: store}, clock)
    await cluster.delete(PODS, KEY, grace_period_seconds=grace)
    shown = store.get(KEY)
    assert (shown is not None) is is_shown
    assert shown is None or shown.metadata.is_deleting


async def test_kinds_without_a_store_pass_through() -> None:
    pod = Pod(metadata=ObjectMeta(name="a", namespace="shop"))
    cluster, store, _ = cached(pod)
    assert await cluster.create(PODS, {}, namespace="shop") is pod
    await cluster.delete(PODS, KEY)
    await cluster.evict(KEY)
    assert len(store) == 0
