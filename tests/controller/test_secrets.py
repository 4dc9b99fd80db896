"""External secrets as a part of the controller: synced, counted, stopped, and in nobody's way."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from prometheus_client import generate_latest

from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import NAMESPACES, SECRETS, carried
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

STORE: dict[str, Any] = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "SecretStore",
    "metadata": {"name": "fake", "namespace": "default"},
    "spec": {"provider": {"fake": {"data": [{"key": "/db", "value": "planted-value", "version": "v1"}]}}},
}
WANTED: dict[str, Any] = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "ExternalSecret",
    "metadata": {"name": "db", "namespace": "default"},
    "spec": {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "fake", "kind": "SecretStore"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "/db", "version": "v1"}}],
    },
}
KEY = ObjectKey("default", "db")
EXTERNAL_SECRETS = carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")


async def until(cluster: SimulatedCluster, question: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    cluster.on_commit(lambda *_write: changed.set())
    async with asyncio.timeout(20):
        while not question():
            changed.clear()
            await changed.wait()


def is_ready(cluster: SimulatedCluster) -> bool:
    status = (cluster.read(EXTERNAL_SECRETS, KEY) or {}).get("status", {})
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))


async def test_a_secret_is_synced_counted_and_the_controller_stops() -> None:
    cluster = SimulatedCluster(LoopClock())
    controller = ReferenceController(cluster, cluster.clock, Settings(), as_manager=cluster.as_manager)
    running = asyncio.create_task(controller.run())
    cluster.apply([STORE, WANTED])
    await until(cluster, lambda: is_ready(cluster))
    secret = await cluster.get(SECRETS, KEY)
    assert base64.b64decode(secret.data["password"]) == b"planted-value"
    exposed = generate_latest(controller.metrics.registry).decode()
    assert 'externalsecret_sync_calls_total{name="db",namespace="default"} 1.0' in exposed
    assert (
        'externalsecret_status_condition{condition="Ready",name="db",namespace="default",status="True"} 1.0' in exposed
    )
    assert 'externalsecret_reconcile_duration{name="db",namespace="default"}' in exposed
    assert 'secretstore_reconcile_duration{name="fake",namespace="default"}' in exposed
    assert 'controller_runtime_reconcile_total{controller="externalsecret",result="success"}' in exposed
    assert 'workqueue_depth{name="externalsecret"} 0.0' in exposed
    assert "planted-value" not in exposed
    controller.stop()
    await asyncio.wait_for(running, 10)


def test_kinds_that_are_not_served_hold_up_nothing() -> None:
    async def story() -> tuple[bool, list[str]]:
        cluster = SimulatedCluster(LoopClock(), crds=())
        controller = ReferenceController(cluster, cluster.clock, Settings(), as_manager=cluster.as_manager)
        running = asyncio.create_task(controller.run())
        await cluster.clock.sleep(5)
        found = controller.is_leading, controller.not_ready()
        controller.stop()
        await asyncio.wait_for(running, 20)
        return found

    assert run_virtual(story()) == (True, [])


def test_a_namespace_that_is_labelled_gets_its_secrets_at_once() -> None:
    """Labels open ClusterSecretStores: nobody waits for the next attempt, which may be minutes away."""
    shared = {
        **STORE,
        "kind": "ClusterSecretStore",
        "metadata": {"name": "fake"},
        "spec": {**STORE["spec"], "conditions": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}]},
    }
    wanted = {**WANTED, "spec": {**WANTED["spec"], "secretStoreRef": {"name": "fake", "kind": "ClusterSecretStore"}}}

    async def story() -> None:
        cluster = SimulatedCluster(LoopClock())
        controller = ReferenceController(cluster, cluster.clock, Settings(), as_manager=cluster.as_manager)
        running = asyncio.create_task(controller.run())
        cluster.apply([shared, wanted])
        await cluster.clock.sleep(300)
        assert not is_ready(cluster)
        key = ObjectKey("", "default")
        for labels, is_open in (({"other": "x"}, False), ({"team": "shop"}, True)):
            await cluster.as_manager("kubectl").patch(NAMESPACES, key, MergePatch({"metadata": {"labels": labels}}))
            await cluster.clock.sleep(1)
            assert is_ready(cluster) is is_open
        controller.stop()
        await asyncio.wait_for(running, 20)

    run_virtual(story())
