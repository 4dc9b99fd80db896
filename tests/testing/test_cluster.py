"""The simulated cluster under virtual time: what the contract suite cannot ask of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from fairlead.core.cluster import ApplyPatch, Cluster, EventType, MergePatch
from fairlead.core.errors import Conflict, Expired, Invalid, NotFound, Unavailable
from fairlead.core.kinds import LEASES, PODS, REPLICA_SETS, ROLLOUTS, carried
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import EPOCH, LoopClock, ManualClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.resources import Resource
from tests.conformance.arena import DEFINITIONS, GADGETS, WIDGETS

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
KEY = ObjectKey("default", "one")


def story(
    tell: Callable[[SimulatedCluster], Coroutine[Any, Any, None]], *, seed: int = 0, history: int = 10_000
) -> None:
    """Run one story on a fresh cluster under virtual time."""

    async def run() -> None:
        await tell(SimulatedCluster(LoopClock(), seed=seed, history=history, crds=DEFINITIONS))

    run_virtual(run(), seed=seed)


def test_it_is_a_cluster() -> None:
    cluster: Cluster = SimulatedCluster(ManualClock(), crds=())
    assert cluster is not None


def test_time_is_the_clocks() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        await asyncio.sleep(90)
        made = await cluster.create(CONFIG_MAPS, {"metadata": {"name": "one"}}, namespace="default")
        assert made.metadata.creation_timestamp is not None
        assert (made.metadata.creation_timestamp - EPOCH).total_seconds() == 90

    story(tell)


def test_a_seed_decides_every_identity() -> None:
    def identities(seed: int) -> list[str]:
        found: list[str] = []

        async def tell(cluster: SimulatedCluster) -> None:
            for _ in range(3):
                made = await cluster.create(CONFIG_MAPS, {"metadata": {"generateName": "x-"}}, namespace="default")
                found.extend((made.metadata.name, made.metadata.uid))

        story(tell, seed=seed)
        return found

    assert identities(1) == identities(1)
    assert not set(identities(1)) & set(identities(2))


def test_every_commit_is_told() -> None:
    seen: list[tuple[str, str, int | None, int | None]] = []

    def hook(verb: str, resource: Resource, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        seen.append(
            (
                verb,
                resource.kind,
                old["spec"].get("replicas") if old else None,
                new["spec"].get("replicas") if new else None,
            )
        )

    async def tell(cluster: SimulatedCluster) -> None:
        cluster.on_commit(hook)
        body = {"apiVersion": WIDGETS.api_version, "kind": "Widget", "metadata": {"name": "one"}, "spec": {}}
        await cluster.create(WIDGETS, body, namespace="default")
        await cluster.patch(WIDGETS, KEY, MergePatch({"spec": {"replicas": 4}}))
        await cluster.patch(WIDGETS, KEY, MergePatch({"spec": {"replicas": 4}}))
        await cluster.delete(WIDGETS, KEY)

    story(tell)
    assert seen == [("create", "Widget", None, 1), ("update", "Widget", 1, 4), ("delete", "Widget", 4, None)]


def test_an_invariant_that_fails_reaches_the_writer() -> None:
    def hook(verb: str, resource: Resource, old: Any, new: Any) -> None:
        raise AssertionError("broken")

    async def tell(cluster: SimulatedCluster) -> None:
        cluster.on_commit(hook)
        with pytest.raises(AssertionError, match="broken"):
            await cluster.create(CONFIG_MAPS, {"metadata": {"name": "one"}}, namespace="default")

    story(tell)


def test_a_quiet_watch_hears_bookmarks_and_ends_on_time() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        loop = asyncio.get_running_loop()
        heard: list[tuple[float, EventType]] = []
        watch = cluster.watch(PODS, resource_version="1", timeout_seconds=150)
        async for event in watch:
            assert event.object is None
            heard.append((loop.time(), event.type))
        assert heard == [(60, EventType.BOOKMARK), (120, EventType.BOOKMARK), (150, EventType.BOOKMARK)]

    story(tell)


def test_a_bookmark_is_a_place_to_resume_from() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        async with aclosing(cluster.watch(PODS, resource_version="1", timeout_seconds=100)) as watch:  # type: ignore[type-var]
            for name in ("a", "b"):
                await cluster.create(CONFIG_MAPS, {"metadata": {"name": name}}, namespace="default")
            event = await anext(watch)
        cluster.compact()
        async with aclosing(cluster.watch(PODS, resource_version=event.resource_version, timeout_seconds=5)) as watch:  # type: ignore[type-var]
            assert (await anext(watch)).type is EventType.BOOKMARK

    story(tell)


def test_the_log_is_bounded() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        start = (await cluster.list(CONFIG_MAPS)).resource_version
        for number in range(30):
            await cluster.create(CONFIG_MAPS, {"metadata": {"name": f"box-{number}"}}, namespace="default")
        with pytest.raises(Expired):
            async for _ in cluster.watch(CONFIG_MAPS, resource_version=start, timeout_seconds=1):
                pass
        recent = str(int(start) + 25)
        watch = cluster.watch(CONFIG_MAPS, resource_version=recent, timeout_seconds=1)
        names = [event.object.metadata.name async for event in watch if event.object is not None]
        assert names == [f"box-{number}" for number in range(25, 30)]

    story(tell, history=20)


def test_watchers_share_one_encoding() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        await cluster.create(CONFIG_MAPS, {"metadata": {"name": "one"}}, namespace="default")
        stored = cluster.api.storage.get("configmaps", KEY)
        assert stored is not None
        assert stored.raw is stored.raw
        assert stored.raw_as("v1") is stored.raw

    story(tell)


def test_a_past_state_can_be_read() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        made = await cluster.create(CONFIG_MAPS, {"metadata": {"name": "one"}, "data": {"a": "1"}}, namespace="default")
        await cluster.patch(CONFIG_MAPS, KEY, MergePatch({"data": {"a": "2"}}))
        await cluster.delete(CONFIG_MAPS, KEY)
        past = await cluster.get(CONFIG_MAPS, KEY, revision=made.metadata.version)
        assert past.content["data"] == {"a": "1"}
        page = await cluster.list(CONFIG_MAPS, namespace="default", revision=made.metadata.version + 1)
        assert [item.content["data"] for item in page.items] == [{"a": "2"}]
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAPS, KEY, revision=made.metadata.version - 1)

    story(tell)


def test_an_odd_object_does_not_fail_its_list() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        cluster.install_crds(_rollout_definition())
        for name, labels in (("good", {"a": "b"}), ("odd", {"a": "b"})):
            body = {
                "apiVersion": ROLLOUTS.api_version,
                "kind": "Rollout",
                "metadata": {"name": name, "labels": labels, "annotations": {}},
            }
            await cluster.create(ROLLOUTS, body, namespace="default")
        # What no schema forbids and no kind expects: replicas of a ReplicaSet that are a text.
        made = await cluster.create(REPLICA_SETS, _replica_set(), namespace="default")
        cluster.api.rewrite(
            cluster.api.target("apps", "v1", "replicasets").resource,
            _stored(cluster, "replicasets.apps", made.metadata.name),
            _with_replicas(cluster, made.metadata.name, "many"),
        )
        page = await cluster.list(REPLICA_SETS)
        assert page.items == ()
        assert [odd.metadata.name for odd in page.undecodable] == ["web"]
        assert "replicas" in page.undecodable[0].error
        with pytest.raises(Invalid):
            await cluster.get(REPLICA_SETS, ObjectKey("default", "web"))

    story(tell)


def _rollout_definition() -> list[dict[str, Any]]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "rollouts.argoproj.io"},
            "spec": {
                "group": "argoproj.io",
                "scope": "Namespaced",
                "names": {"kind": "Rollout", "plural": "rollouts"},
                "versions": [
                    {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                ],
            },
        }
    ]


def _replica_set() -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}


def _stored(cluster: SimulatedCluster, collection: str, name: str) -> Any:
    return cluster.api.storage.get(collection, ObjectKey("default", name))


def _with_replicas(cluster: SimulatedCluster, name: str, replicas: Any) -> dict[str, Any]:
    data = _stored(cluster, "replicasets.apps", name).data
    return {**data, "metadata": dict(data["metadata"]), "spec": {**data["spec"], "replicas": replicas}}


def test_as_manager_is_another_client_of_the_same_cluster() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        other = cluster.as_manager("other")
        await other.create(CONFIG_MAPS, {"metadata": {"name": "one"}, "data": {"a": "1"}}, namespace="default")
        found = await cluster.get(CONFIG_MAPS, KEY)
        assert [entry["manager"] for entry in found.content["metadata"]["managedFields"]] == ["other"]

    story(tell)


def test_kinds_installed_later_are_served_and_dropped_again() -> None:
    async def run() -> None:
        cluster = SimulatedCluster(LoopClock(), crds=())
        with pytest.raises(NotFound, match="could not find the requested resource"):
            await cluster.list(GADGETS)
        cluster.install_crds(DEFINITIONS)
        body = {"apiVersion": GADGETS.api_version, "kind": "Gadget", "metadata": {"name": "one"}}
        await cluster.create(GADGETS, body, namespace="default")
        definitions = carried(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
        )
        await cluster.delete(definitions, ObjectKey("", str(GADGETS)))
        await asyncio.sleep(1)
        with pytest.raises(NotFound, match="could not find the requested resource"):
            await cluster.list(GADGETS)
        assert cluster.read(GADGETS, KEY) is None

    run_virtual(run())


def test_apply_takes_any_manifests() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        manifests: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "one", "namespace": "shop"},
                "data": {"a": "1"},
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "2"}},
        ]
        cluster.apply(manifests)
        assert [item["data"] for item in cluster.read_all(CONFIG_MAPS)] == [{"a": "2"}, {"a": "1"}]
        with pytest.raises(NotFound, match="no matches for kind 'Teapot'"):
            cluster.apply([{"apiVersion": "v1", "kind": "Teapot", "metadata": {"name": "t"}}])

    story(tell)


def test_a_write_needs_no_waiting_for_others_but_lets_them_run() -> None:
    """Two read-modify-write loops interleave: with preconditions none of the increments is lost."""

    async def tell(cluster: SimulatedCluster) -> None:
        await cluster.create(
            LEASES, {"metadata": {"name": "one"}, "spec": {"leaseTransitions": 0}}, namespace="default"
        )
        lost = 0

        async def increment() -> None:
            nonlocal lost
            for _ in range(10):
                while True:
                    lease = await cluster.get(LEASES, KEY)
                    body = {
                        "metadata": {"resourceVersion": lease.metadata.resource_version},
                        "spec": {"leaseTransitions": lease.content["spec"]["leaseTransitions"] + 1},
                    }
                    try:
                        await cluster.patch(LEASES, KEY, MergePatch(body))
                    except Conflict:
                        lost += 1
                        continue
                    break

        await asyncio.gather(increment(), increment())
        lease = await cluster.get(LEASES, KEY)
        assert lease.content["spec"]["leaseTransitions"] == 20
        assert lost > 0  # they did meet

    story(tell)


def test_applying_a_field_that_is_not_declared_fails() -> None:
    async def tell(cluster: SimulatedCluster) -> None:
        body = {
            "apiVersion": WIDGETS.api_version,
            "kind": "Widget",
            "metadata": {"name": "one"},
            "spec": {"replicas": 2},
        }
        await cluster.create(WIDGETS, body, namespace="default")
        undeclared = {**body, "spec": {"colour": "red"}}
        with pytest.raises(Unavailable, match=r"\.spec\.colour: field not declared in schema"):
            await cluster.patch(WIDGETS, KEY, ApplyPatch(undeclared))

    story(tell)
