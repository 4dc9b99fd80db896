"""Secrets on a real control plane: definitions, ownership, garbage collection, and what a refresh costs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from fairlead.controller.crds import definitions
from fairlead.core.cluster import MergePatch
from fairlead.core.conditions import Condition
from fairlead.core.errors import AlreadyExists, Invalid, NotFound
from fairlead.core.kinds import CRDS, NAMESPACES, SECRETS, carried
from fairlead.core.objects import Kind, ObjectKey
from fairlead.kube.client import KubeCluster
from fairlead.kube.config import connect
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.clock import SystemClock
from fairlead.runtime.events import EventRecorder
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.workqueue import WorkQueue
from fairlead.secrets._opening import Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets.kinds import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    LIVE_SECRETS,
    MANAGED_SELECTOR,
    SECRET_STORES,
    TARGETS,
    LiveSecret,
)
from fairlead.secrets.reconciler import ExternalSecretReconciler, Views
from fairlead.secrets.status import decode_status
from fairlead.secrets.store_reconciler import StoreReconciler
from fairlead.secrets.stores.port import StoreContext
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters, StaticCredentials
from fairlead.secrets.triggers import EXTERNAL_SECRET_INDEXES, TARGET_INDEXES, Triggers
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane")]

OLD = carried("external-secrets.io", "v1beta1", "ExternalSecret", "externalsecrets")
RAW = carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
WAIT_SECONDS = 60


@dataclass
class Requests:
    """What was asked of the API server, watches aside."""

    made: list[tuple[str, str]] = field(default_factory=list)

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        if verb != "watch":
            self.made.append((verb, resource))


@dataclass
class Syncs:
    """How often each object was synced; `at_least` waits for more."""

    counts: dict[ObjectKey, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_sync(self, key: ObjectKey, *, failed: bool) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self.changed.set()

    def on_duration(self, kind: Kind[Any], key: ObjectKey, seconds: float) -> None:
        """Nobody asks for it here."""

    def on_condition(self, kind: Kind[Any], key: ObjectKey, condition: Condition) -> None:
        """Nothing is counted."""

    def on_gone(self, kind: Kind[Any], key: ObjectKey) -> None:
        """Nothing is counted."""

    async def more(self, key: ObjectKey, count: int) -> None:
        wanted = self.counts.get(key, 0) + count
        async with asyncio.timeout(WAIT_SECONDS):
            while self.counts.get(key, 0) < wanted:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Place:
    """A namespace of its own on the control plane, with the definitions in place."""

    admin: KubeCluster
    kubeconfig: str
    namespace: str
    requests: Requests = field(default_factory=Requests)
    syncs: Syncs = field(default_factory=Syncs)

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.namespace, name)

    async def store(self, value: str, *, version: str = "") -> None:
        spec = {"provider": {"fake": {"data": [{"key": "db", "value": value}]}}}
        body = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "store"},
            "spec": spec,
        }
        try:
            await self.admin.create(SECRET_STORES, body, namespace=self.namespace)
        except AlreadyExists:
            await self.admin.patch(SECRET_STORES, self.key("store"), MergePatch({"spec": spec}))

    async def external_secret(self, name: str = "db", **spec: Any) -> None:
        whole = {
            "secretStoreRef": {"name": "store"},
            "refreshInterval": "1s",
            "data": [{"secretKey": "password", "remoteRef": {"key": "db"}}],
            **spec,
        }
        body = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name},
            "spec": whole,
        }
        await self.admin.create(EXTERNAL_SECRETS, body, namespace=self.namespace)

    async def live(self, name: str = "db") -> LiveSecret | None:
        try:
            return await self.admin.get(LIVE_SECRETS, self.key(name))
        except NotFound:
            return None

    async def data(self, name: str = "db") -> dict[str, bytes] | None:
        live = await self.live(name)
        return {key: value.reveal() for key, value in live.data.items()} if live is not None else None

    async def eventually(self, check: Callable[[], Awaitable[bool]]) -> None:
        """Return once it is true; the cluster's own controllers take a while."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not await check():  # noqa: ASYNC110  # other processes do it, and tell nobody
                await asyncio.sleep(0.05)

    async def becomes(self, data: dict[str, bytes] | None, name: str = "db") -> None:
        async def check() -> bool:
            return await self.data(name) == data

        await self.eventually(check)

    @asynccontextmanager
    async def controllers(self) -> AsyncIterator[None]:
        """Run the controllers of secrets until the block ends."""
        clock = SystemClock()
        async with await connect(self.kubeconfig, hook=self.requests) as cluster:
            informers = Informers(cluster, clock, namespace=self.namespace)
            external_secrets = informers.add(EXTERNAL_SECRETS, indexes=EXTERNAL_SECRET_INDEXES)
            stores = informers.add(SECRET_STORES)
            cluster_stores = informers.add(CLUSTER_SECRET_STORES)
            targets = informers.add(TARGETS, label_selector=MANAGED_SELECTOR, indexes=TARGET_INDEXES)
            context = StoreContext(clock=clock, credentials=StaticCredentials(), clusters=NoClusters())
            known = Stores(StoreProviders().provider, context)
            planner = Planner(clock)
            events = EventRecorder(informers.cluster, clock, component="external-secrets")
            queue: WorkQueue[ObjectKey] = WorkQueue(clock)
            store_queue: WorkQueue[ObjectKey] = WorkQueue(clock)
            reconciler = ExternalSecretReconciler(
                informers.cluster,
                Views(external_secrets=external_secrets, targets=targets, stores=stores, cluster_stores=cluster_stores),
                known,
                planner,
                clock,
                recorder=events,
                wake=queue.add,
                as_manager=lambda name: CachedCluster(cluster.as_manager(name), {TARGETS: targets}, clock),
                hook=self.syncs,
                rng=random.Random(0),
            )
            validator = StoreReconciler(
                SECRET_STORES,
                informers.cluster,
                stores,
                known,
                planner,
                clock,
                recorder=events,
                wake=store_queue.add,
            )
            triggers = Triggers(external_secrets)
            feed(external_secrets, queue, own_key)
            feed(targets, queue, triggers.by_target)
            feed(stores, queue, triggers.by_store)
            feed(stores, store_queue, own_key)
            running = [
                events.run(),
                Controller("ExternalSecret", queue, reconciler.reconcile, clock=clock).run(),
                Controller("SecretStore", store_queue, validator.reconcile, clock=clock).run(),
            ]
            tasks = [asyncio.create_task(informers.run())]
            try:
                await informers.wait_synced()  # who has not seen the stores yet would report them missing
                tasks += [asyncio.create_task(one) for one in running]
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await reconciler.close()
                await validator.close()
                await planner.close()


@pytest.fixture
async def place(control_plane: ControlPlane) -> AsyncIterator[Place]:
    kubeconfig = str(control_plane.kubeconfig_for("fairlead"))
    async with await connect(str(control_plane.kubeconfig), field_manager="kubectl") as admin:
        for name, definition in definitions().items():
            if "secret" in name:
                try:
                    await admin.create(CRDS, definition)
                except AlreadyExists:
                    continue
        namespace = f"secrets-{os.getpid()}-{random.randrange(10**6)}"
        await admin.create(NAMESPACES, {"metadata": {"name": namespace}})
        place = Place(admin, kubeconfig, namespace)

        async def served() -> bool:
            try:
                kinds: tuple[Kind[Any], ...] = (EXTERNAL_SECRETS, SECRET_STORES, CLUSTER_SECRET_STORES, OLD)
                for kind in kinds:
                    await admin.list(kind, namespace=namespace if kind.namespaced else "")
            except NotFound:
                return False
            return True

        await place.eventually(served)
        yield place


@pytest.mark.parametrize("name", sorted(name for name in definitions() if "secret" in name))
async def test_the_definitions_are_accepted(name: str, place: Place) -> None:
    definition = definitions()[name]
    found = await place.admin.get(CRDS, ObjectKey("", definition["metadata"]["name"]))
    conditions = {entry["type"]: entry for entry in found.content["status"]["conditions"]}
    assert conditions["Established"]["status"] == "True"
    assert conditions["NamesAccepted"]["status"] == "True"
    assert "NonStructuralSchema" not in conditions
    for version, ours in zip(found.content["spec"]["versions"], definition["spec"]["versions"], strict=True):
        assert version["additionalPrinterColumns"] == ours["additionalPrinterColumns"]
        assert version.get("selectableFields") == ours.get("selectableFields")


async def test_both_versions_are_one_type_and_fields_can_be_selected_by(place: Place) -> None:
    spec = {"secretStoreRef": {"name": "there"}, "data": [{"secretKey": "a", "remoteRef": {"key": "k"}}], "new": 1}
    body = {"apiVersion": "external-secrets.io/v1beta1", "kind": "ExternalSecret", "metadata": {"name": "old"}}
    await place.admin.create(OLD, {**body, "spec": spec}, namespace=place.namespace)
    found = await place.admin.get(RAW, place.key("old"))
    assert found.content["spec"] == spec, "unknown fields are kept, nothing is defaulted"
    for selector, count in (("spec.secretStoreRef.name=there", 1), ("spec.secretStoreRef.name=gone", 0)):
        page = await place.admin.list(EXTERNAL_SECRETS, namespace=place.namespace, field_selector=selector)
        assert len(page.items) == count


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"data": [{"secretKey": "a/b", "remoteRef": {"key": "k"}}]}, id="key"),
        pytest.param({"target": {"creationPolicy": "Mine"}}, id="policy"),
        pytest.param({"data": [{"secretKey": "a"}]}, id="no-remote-ref"),
    ],
)
async def test_what_cannot_be_is_refused(spec: dict[str, Any], place: Place) -> None:
    with pytest.raises(Invalid):
        await place.external_secret("bad", **spec)


async def test_a_table_shows_what_people_want_to_know(place: Place) -> None:
    await place.store("s3cr3t")
    await place.external_secret()
    async with place.controllers():
        await place.becomes({"password": b"s3cr3t"})
        await place.syncs.more(place.key("db"), 1)
    path = f"/apis/external-secrets.io/v1/namespaces/{place.namespace}/externalsecrets/db"
    table = msgspec.json.decode(
        await place.admin.raw("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    )
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names == ["Name", "StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"]
    cells = table["rows"][0]["cells"]
    assert [cells[0], *cells[2:6]] == ["db", "store", "1s", "SecretSynced", "True"]


async def test_a_secret_is_made_kept_right_and_collected_with_its_owner(place: Place) -> None:
    await place.store("one")
    await place.external_secret()
    async with place.controllers():
        await place.becomes({"password": b"one"})
        live = await place.live()
        assert live is not None
        manager = "externalsecrets.external-secrets.io/db"
        assert live.target.owned[manager].data == {"password"}
        assert "reconcile.external-secrets.io/managed" in live.target.owned[manager].labels
        await place.admin.patch(SECRETS, place.key("db"), MergePatch({"data": {"password": "b29wcw==", "x": "eA=="}}))
        await place.becomes({"password": b"one"})
        await place.store("two")
        await place.becomes({"password": b"two"})
        await place.admin.delete(EXTERNAL_SECRETS, place.key("db"))
        await place.becomes(None)


async def test_invariant_41_refreshes_of_an_unchanged_value_ask_nothing_of_the_api_server(place: Place) -> None:
    await place.store("s3cr3t")
    await place.external_secret()
    await place.external_secret("other")
    async with place.controllers():
        for name in ("db", "other"):
            await place.becomes({"password": b"s3cr3t"}, name)
            await place.syncs.more(place.key(name), 2)  # the first status is written, its Events as well
        before = len(place.requests.made)
        for name in ("db", "other"):
            await place.syncs.more(place.key(name), 4)
        assert place.requests.made[before:] == []


async def test_taken_over_from_another_controller_without_a_write(place: Place) -> None:
    await place.store("s3cr3t")
    await place.external_secret()
    async with place.controllers():
        await place.becomes({"password": b"s3cr3t"})
        await place.syncs.more(place.key("db"), 2)
    before = await place.live()
    written = await place.admin.get(EXTERNAL_SECRETS, place.key("db"))
    assert decode_status(written.status).binding == "db"
    place.requests.made.clear()
    async with place.controllers():
        await place.syncs.more(place.key("db"), 2)
        assert [made for made in place.requests.made if made[0] in ("create", "patch", "delete")] == []
    after = await place.live()
    assert before is not None
    assert after is not None
    assert after.metadata.resource_version == before.metadata.resource_version


async def test_several_make_one_secret_and_each_prunes_its_own(place: Place) -> None:
    await place.store("x")
    target = {"name": "shared", "creationPolicy": "CreateOrMerge"}
    for key in "ab":
        await place.external_secret(key, target=target, data=[{"secretKey": key, "remoteRef": {"key": "db"}}])
    async with place.controllers():
        await place.becomes({"a": b"x", "b": b"x"}, "shared")
        data = [{"secretKey": "c", "remoteRef": {"key": "db"}}]
        await place.admin.patch(EXTERNAL_SECRETS, place.key("b"), MergePatch({"spec": {"data": data}}))
        await place.becomes({"a": b"x", "c": b"x"}, "shared")
