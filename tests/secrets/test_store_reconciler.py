"""Stores are validated, and say so; what does not change costs nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.errors import FairleadError, NotFound, SpecError
from fairlead.core.objects import ObjectKey
from fairlead.secrets._opening import OpeningFailed
from fairlead.secrets.kinds import CLUSTER_SECRET_STORES, SECRET_STORES
from fairlead.secrets.status import StoreReason
from fairlead.secrets.store_reconciler import verdict
from fairlead.secrets.stores.port import Denied, StoreUnavailable, ValidationUnknown
from tests.secrets.world import World, down, told

STORE = ObjectKey("shop", "store")


def ready(world: World, key: ObjectKey = STORE) -> tuple[str, str, str] | None:
    kind = SECRET_STORES if key.namespace else CLUSTER_SECRET_STORES
    found = world.store_status(key, kind).ready
    return (found.status, found.reason, found.message) if found is not None else None


@pytest.mark.parametrize(
    ("error", "is_ready", "reason", "message"),
    [
        pytest.param(None, True, StoreReason.VALID, "store validated", id="valid"),
        pytest.param(
            ValidationUnknown("no idea", provider="p"),
            True,
            StoreReason.VALIDATION_UNKNOWN,
            "could not determine validation status",
            id="unknown-is-ready",
        ),
        pytest.param(SpecError("x"), False, StoreReason.INVALID_PROVIDER_CONFIG, "unable to create client", id="spec"),
        pytest.param(
            OpeningFailed("x", provider="p"),
            False,
            StoreReason.INVALID_PROVIDER_CONFIG,
            "unable to create client",
            id="opening",
        ),
        pytest.param(
            Denied("x", provider="p"),
            False,
            StoreReason.INVALID_PROVIDER_CONFIG,
            "unable to validate store",
            id="login",
        ),
        pytest.param(
            StoreUnavailable("x", provider="p"),
            False,
            StoreReason.INVALID_PROVIDER_CONFIG,
            "unable to validate store",
            id="down",
        ),
    ],
)
def test_verdicts(error: FairleadError | None, is_ready: bool, reason: StoreReason, message: str) -> None:
    found = verdict(error)
    assert (found.is_ready, found.reason, found.message) == (is_ready, reason, message)
    assert found.event.message == (str(error) if error is not None else message), "the cause is in the Event"


def test_a_store_that_fails_is_tried_again_with_growing_pauses_and_recovers() -> None:
    async def story(world: World) -> None:
        world.remote.validation = down()
        world.store()
        async with world.controller():
            await asyncio.sleep(60)
            assert ready(world) == ("False", "InvalidProviderConfig", "unable to validate store")
            assert world.notes.texts("store") == ["connection refused"]
            writes = len(world.process.writes)
            await asyncio.sleep(1000)
            assert len(world.process.writes) == writes
            world.remote.validation = None
            await asyncio.sleep(421)
            assert ready(world) == ("True", "Valid", "store validated")
        assert world.notes.reasons("store") == ["InvalidProviderConfig", "Valid"]

    told(story)


def test_what_cannot_be_told_counts_as_ready() -> None:
    async def story(world: World) -> None:
        world.remote.validation = ValidationUnknown("no idea", provider="remote")
        world.remote.values["db"] = b"x"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            assert ready(world) == ("True", "ValidationUnknown", "could not determine validation status")
            assert world.data() == {"password": b"x"}

    told(story)


@pytest.mark.parametrize(("interval", "calls"), [(None, 12), (60, 60), ("10m", 6), (0, 12)])
def test_how_often_a_store_is_validated(interval: int | str | None, calls: int) -> None:
    async def story(world: World) -> None:
        spec: dict[str, Any] = {"refreshInterval": interval} if interval is not None else {}
        world.store(**spec)
        async with world.controller():
            await asyncio.sleep(3600)
        assert calls <= world.remote.validations <= calls * 1.2 + 2

    told(story)


def test_a_cluster_store_has_its_own_status() -> None:
    async def story(world: World) -> None:
        world.store("shared", namespace="")
        async with world.controller():
            await asyncio.sleep(5)
            assert ready(world, ObjectKey("", "shared")) == ("True", "Valid", "store validated")

    told(story)


def test_a_changed_spec_is_validated_at_once() -> None:
    async def story(world: World) -> None:
        world.store(provider={"remote": {"broken": True}})
        async with world.controller():
            await asyncio.sleep(500)
            assert ready(world) == ("False", "InvalidProviderConfig", "unable to create client")
            assert "spec.provider.remote" in world.notes.texts("store")[0]
            world.store(provider={"remote": {"path": "mended"}})
            await asyncio.sleep(2)
            assert ready(world) == ("True", "Valid", "store validated")

    told(story)


def test_a_missing_credential_is_named() -> None:
    async def story(world: World) -> None:
        world.remote.login = lambda: NotFound('secrets "auth" not found')
        world.store()
        async with world.controller():
            await asyncio.sleep(5)
            assert ready(world) == ("False", "InvalidProviderConfig", "unable to create client")
            assert world.notes.texts("store") == ['secrets "auth" not found']

    told(story)


def test_a_store_that_goes_is_logged_out_of() -> None:
    async def story(world: World) -> None:
        world.store()
        async with world.controller():
            await asyncio.sleep(5)
            assert (world.remote.opened, world.remote.closed) == (1, 0)
            await world.delete(SECRET_STORES, STORE)
            await asyncio.sleep(1)
            assert world.remote.closed == 1
            world.store()
            await asyncio.sleep(5)
            assert ready(world) == ("True", "Valid", "store validated")

    told(story)
