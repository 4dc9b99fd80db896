"""The HTTP client against the simulated cluster's API over loopback: the port holds from end to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.cluster import ApplyPatch, JsonPatch, MergePatch, Preconditions, WatchEvent
from fairlead.core.decision import Event
from fairlead.core.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Expired,
    Invalid,
    NotFound,
    TooManyRequests,
)
from fairlead.core.kinds import EVENTS, NAMESPACES, PODS, REPLICA_SETS, ROLLOUTS, carried
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta
from fairlead.kube import KubeCluster, cluster_at, connect
from fairlead.runtime import Controller, EventRecorder, Informers, SystemClock, WorkQueue, feed, own_key
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
ABSENT = carried("example.org", "v1", "Nothing", "nothings")
KEY = ObjectKey("shop", "a")


@asynccontextmanager
async def world() -> AsyncIterator[tuple[KubeCluster, SimulatedCluster]]:
    """Give a client, and the cluster behind the HTTP server that it talks to, with the namespace `shop`."""
    cluster = SimulatedCluster(LoopClock())
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
    async with serve(cluster) as served, cluster_at(served.url) as client:
        yield client, cluster


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def replica_set(name: str = "a") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }


async def test_an_object_from_its_creation_to_its_end() -> None:
    async with world() as (client, _):
        created = await client.create(REPLICA_SETS, replica_set(), namespace="shop")
        assert (created.metadata.key, created.spec.replicas, created.metadata.generation) == (KEY, 2, 1)
        assert await client.get(REPLICA_SETS, KEY) == created
        merged = await client.patch(REPLICA_SETS, KEY, MergePatch({"spec": {"replicas": 5}}))
        assert (merged.spec.replicas, merged.metadata.generation) == (5, 2)
        operations = [
            {"op": "test", "path": "/spec/replicas", "value": 5},
            {"op": "replace", "path": "/spec/replicas", "value": 6},
        ]
        assert (await client.patch(REPLICA_SETS, KEY, JsonPatch(operations))).spec.replicas == 6
        with pytest.raises(Invalid):
            await client.patch(REPLICA_SETS, KEY, JsonPatch(operations))
        status = await client.patch(REPLICA_SETS, KEY, MergePatch({"status": {"replicas": 3}}), subresource="status")
        assert (status.status.replicas, status.spec.replicas, status.metadata.generation) == (3, 6, 3)
        await client.delete(REPLICA_SETS, KEY, preconditions=Preconditions(uid=created.metadata.uid))
        with pytest.raises(NotFound):
            await client.get(REPLICA_SETS, KEY)


async def test_lists_go_page_by_page_and_select() -> None:
    async with world() as (client, _):
        for number in range(7):
            await client.create(CONFIG_MAPS, config_map(f"n{number}"), namespace="shop")
        names: list[str] = []
        token = ""
        while True:
            page = await client.list(CONFIG_MAPS, namespace="shop", limit=3, continue_token=token)
            assert len(page.items) <= 3
            names += [item.metadata.name for item in page.items]
            token = page.continue_token
            if not token:
                break
        assert names == [f"n{number}" for number in range(7)]
        await client.create(REPLICA_SETS, replica_set(), namespace="shop")
        assert len((await client.list(REPLICA_SETS, label_selector="app in (web,db),!legacy")).items) == 1
        assert len((await client.list(REPLICA_SETS, label_selector="app!=web")).items) == 0
        chosen = await client.list(CONFIG_MAPS, field_selector="metadata.name=n3")
        assert [item.metadata.name for item in chosen.items] == ["n3"]
        assert "shop" in [item.metadata.name for item in (await client.list(NAMESPACES)).items]


async def test_a_watch_tells_what_happens_and_resumes() -> None:
    async with world() as (client, _):
        start = (await client.list(CONFIG_MAPS, namespace="shop")).resource_version
        await client.create(CONFIG_MAPS, config_map(), namespace="shop")
        watching = client.watch(CONFIG_MAPS, resource_version=start, namespace="shop")
        first = await anext(watching)
        await client.patch(CONFIG_MAPS, KEY, MergePatch({"data": {"x": "1"}}))
        await client.delete(CONFIG_MAPS, KEY)
        seen = [first, await anext(watching), await anext(watching)]
        await watching.aclose()  # type: ignore[attr-defined]
        assert [told(event) for event in seen] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        again = client.watch(CONFIG_MAPS, resource_version=first.resource_version, namespace="shop")
        assert told(await anext(again)) == ("MODIFIED", "a")
        await again.aclose()  # type: ignore[attr-defined]


def told(event: WatchEvent[Manifest]) -> tuple[str, str]:
    assert event.object is not None
    return str(event.type), event.object.metadata.name


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(lambda c: c.get(CONFIG_MAPS, ObjectKey("shop", "none")), NotFound, id="no-object"),
        pytest.param(lambda c: c.list(ABSENT), NotFound, id="no-kind"),
        pytest.param(lambda c: c.create(CONFIG_MAPS, config_map(), namespace="shop"), AlreadyExists, id="name-taken"),
        pytest.param(lambda c: c.create(CONFIG_MAPS, config_map("A b"), namespace="shop"), Invalid, id="bad-name"),
        pytest.param(lambda c: c.create(CONFIG_MAPS, config_map(), namespace="none"), NotFound, id="no-namespace"),
        pytest.param(
            lambda c: c.patch(CONFIG_MAPS, KEY, MergePatch({"metadata": {"resourceVersion": "1"}})),
            Conflict,
            id="stale-version",
        ),
        pytest.param(
            lambda c: c.patch(CONFIG_MAPS, KEY, MergePatch({"metadata": {"uid": "other"}})), Conflict, id="other-uid"
        ),
        pytest.param(
            lambda c: c.delete(CONFIG_MAPS, KEY, preconditions=Preconditions(uid="other")), Conflict, id="delete-other"
        ),
        pytest.param(
            lambda c: c.delete(CONFIG_MAPS, KEY, preconditions=Preconditions(resource_version="1")),
            Conflict,
            id="delete-stale",
        ),
        pytest.param(lambda c: c.list(CONFIG_MAPS, label_selector="a b"), Invalid, id="bad-selector"),
        pytest.param(lambda c: c.list(CONFIG_MAPS, continue_token="garbage"), (Invalid, Expired), id="bad-token"),
        pytest.param(lambda c: c.evict(ObjectKey("shop", "none")), NotFound, id="evict-nobody"),
    ],
)
async def test_errors_arrive_as_what_they_are(call: Any, error: type[ClusterError]) -> None:
    async with world() as (client, _):
        await client.create(CONFIG_MAPS, config_map(), namespace="shop")
        with pytest.raises(error):
            await call(client)


async def test_applied_fields_have_an_owner() -> None:
    async with world() as (client, cluster):
        mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"mine": "1"}}
        await client.patch(CONFIG_MAPS, KEY, ApplyPatch(mine))
        await cluster.as_manager("argocd").patch(
            CONFIG_MAPS, KEY, ApplyPatch({**config_map(theirs="1"), "metadata": {"name": "a", "namespace": "shop"}})
        )
        with pytest.raises(Conflict) as caught:
            await client.patch(CONFIG_MAPS, KEY, ApplyPatch({**mine, "data": {"mine": "2", "theirs": "2"}}))
        assert [cause.reason for cause in caught.value.causes] == ["FieldManagerConflict"]
        assert "argocd" in caught.value.causes[0].message
        forced = await client.patch(CONFIG_MAPS, KEY, ApplyPatch({**mine, "data": {"theirs": "2"}}, force=True))
        assert forced.content["data"] == {"theirs": "2"}, "what is applied no longer is removed"
        managers = {entry["manager"] for entry in forced.content["metadata"]["managedFields"]}
        assert "fairlead" in managers


async def test_an_old_version_expires_both_ways() -> None:
    async with world() as (client, cluster):
        for number in range(5):
            await client.create(CONFIG_MAPS, config_map(f"n{number}"), namespace="shop")
        token = (await client.list(CONFIG_MAPS, namespace="shop", limit=2)).continue_token
        await client.create(CONFIG_MAPS, config_map("later"), namespace="shop")
        cluster.compact()
        with pytest.raises(Expired):
            await client.list(CONFIG_MAPS, namespace="shop", limit=2, continue_token=token)
        with pytest.raises(Expired):
            async for _ in client.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=1):
                pass


async def test_an_eviction_that_a_budget_forbids_asks_for_patience() -> None:
    async with world() as (client, cluster):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "shop"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
        cluster.apply([pod, budget])
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await client.patch(PODS, KEY, MergePatch({"status": ready}), subresource="status")
        with pytest.raises(TooManyRequests):
            await client.evict(KEY)


async def test_an_odd_object_costs_nobody_else() -> None:
    """A Rollout kind that demands what this object lacks: the other objects of the list go on."""
    async with world() as (client, cluster):
        odd = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odd", "namespace": "shop"}}
        cluster.apply([odd, {**config_map("good"), "metadata": {"name": "good", "namespace": "shop"}}])

        def picky(raw: bytes) -> Manifest:
            if b'"odd"' in raw:
                raise ValueError("Expected `int`, got `str` - at `$.data.size`")
            return CONFIG_MAPS.decode(raw)

        kind = type(CONFIG_MAPS)("", "v1", "ConfigMap", "configmaps", picky)
        page = await client.list(kind, namespace="shop")
        assert [item.metadata.name for item in page.items] == ["good"]
        assert [(str(found.metadata.key), found.error) for found in page.undecodable] == [
            ("shop/odd", "data.size: expected int, got str")
        ]


async def test_a_kubeconfig_of_the_server_connects(tmp_path: Path) -> None:
    cluster = SimulatedCluster(LoopClock())
    async with serve(cluster) as served:
        path = tmp_path / "config"
        path.write_text(served.kubeconfig())
        async with await connect(str(path)) as client:
            assert b"v1." in await client.raw("GET", "/version")
            assert (await client.list(ROLLOUTS)).items == ()


async def test_a_controller_at_work_over_http() -> None:
    """Reflector, store, queue, loop and Events on the real clock and real sockets, as the reference controller runs."""
    async with world() as (client, cluster):
        clock = SystemClock()
        informers = Informers(client, clock, namespace="shop")
        store = informers.add(CONFIG_MAPS)
        unserved = informers.add(ABSENT)
        queue: WorkQueue[ObjectKey] = WorkQueue(clock)
        feed(store, queue, own_key)
        recorder = EventRecorder(informers.cluster, clock, component="counter")
        finished = asyncio.Event()

        async def reconcile(key: ObjectKey) -> None:
            found = store.get(key)
            if found is None or "count" not in found.content.get("data", {}):
                return
            count = int(found.content["data"]["count"])
            if count == 3:
                finished.set()
                return
            version = {"resourceVersion": found.metadata.resource_version}
            wish = MergePatch({"metadata": version, "data": {"count": str(count + 1)}})
            await informers.cluster.patch(CONFIG_MAPS, key, wish)
            recorder.record(CONFIG_MAPS, found.metadata, Event("Counted", f"to {count + 1}"))

        controller = Controller("Counter", queue, reconcile, clock=clock)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(informers.run())
            group.create_task(controller.run())
            group.create_task(recorder.run())
            await informers.wait_synced()
            assert not unserved.served
            await client.create(CONFIG_MAPS, config_map(count="0"), namespace="shop")
            await finished.wait()
            await recorder.stop()
            controller.stop()
            watching.cancel()
        events = cluster.read_all(EVENTS, "shop")
        events.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        assert [event["message"] for event in events if event["reason"] == "Counted"] == ["to 1", "to 2", "to 3"]
        assert {event["involvedObject"]["kind"] for event in events} == {"ConfigMap"}


async def test_an_event_about_a_cluster_scoped_object_is_accepted() -> None:
    async with world() as (client, cluster):
        clock = SystemClock()
        recorder = EventRecorder(client, clock, component="counter")
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            recorder.record(NAMESPACES, ObjectMeta(name="shop", uid="u"), Event("Seen", "here"))
            await recorder.stop()
        assert [event["reason"] for event in cluster.read_all(EVENTS, "default")] == ["Seen"]
