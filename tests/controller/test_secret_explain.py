"""`explain` of external secrets and stores, on a cluster where the very controller is at work, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from fairlead.controller.explain import Explanation, text
from fairlead.controller.secret_explain import explain_external_secret, explain_store
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

KEY, STORE = ObjectKey("shop", "db"), ObjectKey("shop", "fake")
MARKER = "planted-value"
_API = "external-secrets.io/v1"


def store(*, name: str = "fake", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    provider = {"fake": {"data": [{"key": "/db", "value": MARKER}]}}
    kind = "SecretStore" if namespace else "ClusterSecretStore"
    return {"apiVersion": _API, "kind": kind, "metadata": metadata, "spec": {"provider": provider, **spec}}


def wanted(**spec: Any) -> dict[str, Any]:
    whole = {
        "refreshInterval": "1m",
        "secretStoreRef": {"name": "fake", "kind": "SecretStore"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "/db"}}],
        **spec,
    }
    return {
        "apiVersion": _API,
        "kind": "ExternalSecret",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": whole,
    }


class Place:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock)
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])

    async def explained(self) -> Explanation:
        return await explain_external_secret(self.cluster, self.clock, KEY)

    def shown(self, found: Explanation) -> str:
        shown = text("externalsecret/db", found, self.clock.now())
        assert MARKER not in shown
        return shown

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[None]:
        controller = ReferenceController(self.cluster, self.clock, Settings(), as_manager=self.cluster.as_manager)
        running = asyncio.create_task(controller.run())
        try:
            yield
        finally:
            controller.stop()
            await asyncio.wait_for(running, 60)


def told(story: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(Place())

    run_virtual(main())


def test_a_synced_secret_waits_for_its_next_refresh() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted()])
        async with place.controller():
            await place.clock.sleep(1200)  # refreshTime, written once an hour, is long past by now
            found = await place.explained()
            now = place.clock.now()
            assert found.phase == "SecretSynced"
            assert found.blocked_on is not None
            assert found.blocked_on.what == "its next refresh"
            assert found.blocked_on.at is not None
            assert now < found.blocked_on.at <= now + timedelta(minutes=1)
            assert found.details == (
                "Secret shop/db: 1 key, as it was written",
                'SecretStore "fake" is ready',
            )
            assert "looks again 2026-01-01 00:20:" in place.shown(found)

    told(story)


@pytest.mark.parametrize(
    ("documents", "reason", "what"),
    [
        pytest.param([wanted()], "Failed", 'this is mended: SecretStore "fake" not found', id="store-missing"),
        pytest.param(
            [store(), wanted(data=[{"secretKey": "password", "remoteRef": {"key": "/other"}}])],
            "SecretSyncedError",
            "a sync succeeds, the last one failed: ",
            id="key-missing",
        ),
        pytest.param(
            [store(controller="others"), wanted()],
            "OtherClass",
            'another controller looks after SecretStore "fake"',
            id="class",
        ),
        pytest.param(
            [
                store(name="wide", namespace="", conditions=[{"namespaces": ["elsewhere"]}]),
                wanted(secretStoreRef={"name": "wide", "kind": "ClusterSecretStore"}),
            ],
            "Failed",
            'this is mended: using cluster store "wide" is not allowed from namespace "shop"',
            id="denied",
        ),
    ],
)
def test_what_goes_wrong_is_named(documents: list[dict[str, Any]], reason: str, what: str) -> None:
    async def story(place: Place) -> None:
        place.cluster.apply(documents)
        async with place.controller():
            await place.clock.sleep(120)
            found = await place.explained()
            place.shown(found)
            blocked = found.blocked_on
            assert blocked is not None
            assert blocked.reason == reason
            assert blocked.what.startswith(what)
            if reason != "OtherClass":
                assert blocked.since is not None
                assert "tried again" in blocked.next
                assert "Secret shop/db does not exist" in found.details

    told(story)


def test_the_cause_of_a_failure_is_taken_from_the_newest_event() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted(data=[{"secretKey": "password", "remoteRef": {"key": "/other"}}])])
        async with place.controller():
            await place.clock.sleep(120)
            found = await place.explained()
            assert found.blocked_on is not None
            assert found.message == "could not get secret data from provider"
            assert found.message not in found.blocked_on.what
            assert "ecret does not exist" in found.blocked_on.what

    told(story)


def test_without_a_controller_it_says_that_nobody_has_seen_it() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted()])
        found = await place.explained()
        assert found.phase == "Pending"
        assert found.blocked_on is not None
        assert found.blocked_on.reason == "NotSeen"
        assert 'SecretStore "fake" has not been validated yet' in found.details

    told(story)


def test_a_controller_that_has_gone_is_missed() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted()])
        async with place.controller():
            await place.clock.sleep(60)
        await place.clock.sleep(3 * 3600)
        found = await place.explained()
        assert any("no controller seems to be at work" in detail for detail in found.details)

    told(story)


def test_what_is_read_once_waits_for_nothing() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted(refreshPolicy="CreatedOnce")])
        async with place.controller():
            await place.clock.sleep(60)
            assert (await place.explained()).blocked_on is None

    told(story)


def test_stores_tell_whether_they_can_be_used() -> None:
    async def story(place: Place) -> None:
        broken = store(name="broken")
        broken["spec"]["provider"]["fake"]["validationResult"] = 2
        place.cluster.apply([store(), broken, store(name="wide", namespace="", controller="others")])
        before = await explain_store(place.cluster, place.clock, STORE)
        assert before.blocked_on is not None
        assert before.blocked_on.reason == "StoreNotValidated"
        async with place.controller():
            await place.clock.sleep(60)
            good = await explain_store(place.cluster, place.clock, STORE)
            assert (good.phase, good.blocked_on) == ("Valid", None)
            assert good.details == ("provider fake, validated every 300 s",)
            bad = await explain_store(place.cluster, place.clock, ObjectKey("shop", "broken"))
            assert bad.blocked_on is not None
            assert bad.blocked_on.since is not None
            assert bad.blocked_on.what == (
                "its validation succeeds, the last one failed: unable to validate, as the store's spec says"
            )
            other = await explain_store(place.cluster, place.clock, ObjectKey("", "wide"))
            assert other.blocked_on is not None
            assert other.blocked_on.what == 'a controller of the class "others" looks after it'
            for found in (good, bad, other):
                place.shown(found)

    told(story)


def test_nothing_is_written_by_an_explanation_and_what_is_not_there_is_not_explained() -> None:
    async def story(place: Place) -> None:
        place.cluster.apply([store(), wanted()])
        commits: list[str] = []
        place.cluster.on_commit(lambda verb, resource, _old, _new: commits.append(f"{verb} {resource.kind}"))
        await place.explained()
        await explain_store(place.cluster, place.clock, STORE)
        assert commits == []
        with pytest.raises(NotFound):
            await explain_store(place.cluster, place.clock, ObjectKey("shop", "nope"))
        with pytest.raises(NotFound):
            await explain_external_secret(place.cluster, place.clock, ObjectKey("shop", "nope"))

    told(story)
