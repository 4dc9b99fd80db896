"""Weights from an HTTPRoute to the requests that a real Envoy hands to real pods."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import ProviderError
from fairlead.core.kinds import HTTP_ROUTES, REPLICA_SETS
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import Held, TrafficSeen
from fairlead.testing.envoy import EnvoyProcess, backend_counts
from fairlead.testing.load import LoadGenerator
from tests.wire.arena import WEB, Arena, arena, need_envoy

pytestmark = pytest.mark.real

STABLE, CANARY = ObjectKey("shop", "web-stable"), ObjectKey("shop", "web-canary")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Arena]:
    need_envoy()
    async with arena(tmp_path) as found:
        yield found


async def check_share(world: Arena, canary: int) -> None:
    """Fail unless the canary gets its share within 3 sigma of 1,000 requests.

    A true share fails that in 1 of 370 samples, too often for a test: then a second, larger sample decides.
    """
    p = canary / 100
    for total in (1000, 4000):
        counts = await world.load(total)
        assert (counts.total, counts.lost, counts.failed) == (total, 0, 0), counts
        if abs(counts.share("2") - p) <= 3 * math.sqrt(p * (1 - p) / total):
            return
    raise AssertionError(f"wanted {canary} %, got {counts.by_version}")


async def test_backends_get_the_shares_that_are_written(world: Arena) -> None:
    for canary in (20, 50, 100, 0):
        await world.set(canary)
        await world.until_held()
        assert world.see().held is Held.APPLIED
        await check_share(world, canary)


async def test_what_envoy_counts_is_what_the_backends_answered(world: Arena) -> None:
    await world.set(50)
    await world.until_held()
    answered = (await world.load(300)).by_version
    counted = await backend_counts(world.envoy.admin)
    assert (counted[STABLE].answers_2xx, counted[CANARY].answers_2xx) == (answered["1"], answered["2"])
    assert counted[STABLE].answers == answered["1"]


async def test_a_lagging_wire_is_seen_and_waited_for(world: Arena) -> None:
    world.plane.behave(lag=(2.0, 2.0))
    seen: list[TrafficSeen] = []

    def holds() -> bool:
        seen.append(world.see())
        return seen[-1].holds

    load = LoadGenerator("127.0.0.1", world.port, rate=200)
    loading = asyncio.create_task(load.run())
    try:
        await world.set(50)
        await world.until(lambda: world.see().held is Held.ACCEPTED)
        before = load.counts().by_version
        assert set(before) <= {"1"}  # accepted, and not one request has come to the canary
        await world.until(holds)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
    assert {one.held for one in seen[:-1]} == {Held.ACCEPTED}
    assert seen[-1].held is Held.APPLIED
    await check_share(world, 50)


async def test_a_refused_listener_is_told_in_the_proxys_words_and_can_be_mended(world: Arena) -> None:
    await world.set(20)
    await world.until_held()
    world.plane.behave(refuses=True)
    await world.set(100)
    await world.until(lambda: world.see().held is Held.REFUSED)
    seen = world.see()
    assert (seen.reason, seen.holds) == ("ProxyRefused", False)
    assert "invalid perl operator: (?=" in seen.blocked
    # Status says that all is well; the wire still follows the weights of before.
    route = world.cluster.read(HTTP_ROUTES, WEB)
    assert route is not None
    [entry] = route["status"]["parents"]
    assert [(one["status"], one["observedGeneration"]) for one in entry["conditions"]] == [("True", 3)] * 3
    await check_share(world, 20)
    world.plane.behave(refuses=False)
    await world.until_held()
    assert (await world.load(100)).by_version == {"2": 100}


async def test_a_proxy_that_cannot_be_asked_holds_nothing(world: Arena) -> None:
    await world.envoy.stop()
    await world.set(20)
    await world.until(lambda: "does not answer" in world.see().message)
    assert world.see().held is Held.ACCEPTED


async def test_an_open_connection_gets_one_more_old_answer_and_is_then_closed(world: Arena) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)

    async def ask() -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return head.lower()

    try:
        assert b"x-version: 1" in await ask()
        await world.set(100)
        await world.until_held()
        assert (await world.load(50)).by_version == {"2": 50}  # new connections follow at once
        late = await ask()
        assert b"x-version: 1" in late
        assert b"connection: close" in late
        assert await reader.read() == b""
    finally:
        writer.close()


async def test_nothing_is_lost_while_pods_and_weights_change(world: Arena) -> None:
    load = LoadGenerator("127.0.0.1", world.port, rate=200)
    loading = asyncio.create_task(load.run())
    try:
        for canary in (50, 100):
            await world.set(canary)
            await world.until_held()
        # All traffic is with the canary and the old connections have drained: stable may go.
        await world.until_drained()
        patch = MergePatch({"spec": {"replicas": 0}})
        await world.cluster.patch(REPLICA_SETS, ObjectKey("shop", "web-a"), patch)
        await world.until(lambda: not _answers(world))
        sent = load.sent
        await world.until(lambda: load.sent >= sent + 50)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
    counts = load.counts()
    assert (counts.lost, counts.failed) == (0, 0), counts.losses
    assert set(counts.by_version) == {"1", "2"}


def _answers(world: Arena) -> bool:
    """Return whether stable still has a ready pod."""
    found = world.cluster.read(REPLICA_SETS, ObjectKey("shop", "web-a"))
    return bool(found and found["status"].get("readyReplicas"))


async def test_an_envoy_that_cannot_start_says_why(tmp_path: Path) -> None:
    need_envoy()
    process = EnvoyProcess(tmp_path, binary=Path("/bin/false"))
    with pytest.raises(ProviderError, match="ended with 1"):
        await process.start()
    assert process.pid == 0


async def test_an_envoy_ends_with_its_context(tmp_path: Path) -> None:
    need_envoy()
    async with EnvoyProcess(tmp_path) as envoy:
        pid = envoy.pid
        os.kill(pid, 0)  # it is there
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
