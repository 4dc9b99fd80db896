"""Faults strike by seed, and death at exactly one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import fields
from typing import Any

import pytest

from fairlead.core.cluster import EventType, MergePatch
from fairlead.core.errors import AlreadyExists, ClusterError, Conflict, Expired, TooManyRequests, Unavailable
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import (
    NONE,
    ROUGH,
    Faults,
    FaultyCluster,
    Killed,
    KillingCluster,
    KillPoint,
    When,
    Write,
    kill_points,
)

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
KEY = ObjectKey("default", "one")
BODY = {"metadata": {"name": "one"}}


def story(tell: Callable[[SimulatedCluster], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await tell(SimulatedCluster(LoopClock(), crds=()))

    run_virtual(run())


@pytest.mark.parametrize(
    ("fault", "error", "is_committed"),
    [
        pytest.param(Faults(refused=1.0), Unavailable, False, id="refused"),
        pytest.param(Faults(throttled=1.0), TooManyRequests, False, id="throttled"),
        pytest.param(Faults(server_error=1.0), Unavailable, False, id="500"),
        pytest.param(Faults(unavailable=1.0), Unavailable, False, id="503"),
        pytest.param(Faults(lost_answer=1.0), Unavailable, True, id="lost-answer"),
    ],
)
def test_a_create_fails_before_or_after_its_commit(
    fault: Faults, error: type[ClusterError], is_committed: bool
) -> None:
    async def tell(inner: SimulatedCluster) -> None:
        cluster = FaultyCluster(inner, seed=1, faults=fault)
        with pytest.raises(error, match="injected"):
            await cluster.create(CONFIG_MAPS, BODY, namespace="default")
        assert (inner.read(CONFIG_MAPS, KEY) is not None) is is_committed
        assert sum(cluster.injected.values()) == 1
        cluster.stop()
        if is_committed:
            with pytest.raises(AlreadyExists):
                await cluster.create(CONFIG_MAPS, BODY, namespace="default")
        else:
            await cluster.create(CONFIG_MAPS, BODY, namespace="default")

    story(tell)


def test_a_conflict_strikes_patches_only() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        cluster = FaultyCluster(inner, seed=1, faults=Faults(conflict=1.0))
        await cluster.create(CONFIG_MAPS, BODY, namespace="default")
        with pytest.raises(Conflict):
            await cluster.patch(CONFIG_MAPS, KEY, MergePatch({"data": {"a": "1"}}))
        assert "data" not in (inner.read(CONFIG_MAPS, KEY) or {})

    story(tell)


def test_latency_takes_virtual_time() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        cluster = FaultyCluster(inner, seed=1, faults=Faults(latency=(2.0, 3.0)))
        before = asyncio.get_running_loop().time()
        await cluster.list(CONFIG_MAPS)
        assert 2.0 <= asyncio.get_running_loop().time() - before <= 3.0

    story(tell)


def test_stale_reads_show_the_past() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        await inner.create(CONFIG_MAPS, {**BODY, "data": {"n": "0"}}, namespace="default")
        for number in range(1, 10):
            await inner.patch(CONFIG_MAPS, KEY, MergePatch({"data": {"n": str(number)}}))
        cluster = FaultyCluster(inner, seed=3, faults=Faults(stale_read=1.0, stale_revisions=5))
        seen = {(await cluster.get(CONFIG_MAPS, KEY)).content["data"]["n"] for _ in range(20)}
        assert seen <= {"4", "5", "6", "7", "8"}
        assert len(seen) > 1
        listed = (await cluster.list(CONFIG_MAPS, namespace="default")).items[0].content["data"]["n"]
        assert listed in {"4", "5", "6", "7", "8"}

    story(tell)


async def _heard(cluster: FaultyCluster, inner: SimulatedCluster, *, seconds: float = 30.0) -> list[str]:
    """Return what a watch from now on hears of three creations: names, or the error that ended it."""
    version = (await inner.list(CONFIG_MAPS)).resource_version
    for name in ("a", "b", "c"):
        await inner.create(CONFIG_MAPS, {"metadata": {"name": name}}, namespace="default")
    heard: list[str] = []
    try:
        async for event in cluster.watch(CONFIG_MAPS, resource_version=version, timeout_seconds=seconds):
            if event.type is not EventType.BOOKMARK and event.object is not None:
                heard.append(event.object.metadata.name)
    except (Unavailable, Expired) as error:
        heard.append(type(error).__name__)
    return heard


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        pytest.param(NONE, ["a", "b", "c"], id="none"),
        pytest.param(Faults(watch_duplicate=1.0), ["a", "a", "b", "b", "c", "c"], id="duplicate"),
        pytest.param(Faults(watch_cut=1.0), ["a", "Unavailable"], id="cut"),
        pytest.param(Faults(watch_end=1.0), ["a"], id="end"),
        pytest.param(Faults(compacted=1.0), ["Expired"], id="compacted"),
        pytest.param(Faults(watch_hang=1.0), ["Unavailable"], id="hang"),
        pytest.param(Faults(watch_stall=1.0), ["a", "b", "c"], id="stall"),
    ],
)
def test_watches_fail_in_every_way(fault: Faults, heard: list[str]) -> None:
    async def tell(inner: SimulatedCluster) -> None:
        assert await _heard(FaultyCluster(inner, seed=1, faults=fault), inner) == heard

    story(tell)


def test_a_broken_off_watch_leaves_no_listener() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        await _heard(FaultyCluster(inner, seed=1, faults=Faults(watch_cut=1.0)), inner)
        assert not any(inner.api.storage._listeners.values())

    story(tell)


def test_the_same_seed_brings_the_same_trouble() -> None:
    def trouble(seed: int) -> list[str]:
        log: list[str] = []

        async def tell(inner: SimulatedCluster) -> None:
            cluster = FaultyCluster(inner, seed=seed, faults=ROUGH)
            for number in range(60):
                try:
                    await cluster.create(CONFIG_MAPS, {"metadata": {"name": f"n{number}"}}, namespace="default")
                except ClusterError as error:
                    log.append(f"{number} {error}")
            log.append(repr(cluster))

        story(tell)
        return log

    assert trouble(5) == trouble(5)
    assert trouble(5) != trouble(6)
    assert len(trouble(5)) > 3


def test_every_fault_has_a_place_in_the_menu() -> None:
    """ROUGH forgets no fault: whoever adds one decides how often it strikes."""
    left_out = {
        "stale_read",
        "stale_revisions",
        "stall_seconds",
    }  # reads of a controller may be stale; its cache must not
    for field in fields(Faults):
        if field.name not in left_out:
            assert getattr(ROUGH, field.name) != getattr(NONE, field.name), field.name


async def _three_writes(cluster: KillingCluster) -> None:
    await cluster.create(CONFIG_MAPS, BODY, namespace="default")
    await cluster.patch(CONFIG_MAPS, KEY, MergePatch({"data": {"a": "1"}}))
    await cluster.delete(CONFIG_MAPS, KEY)


@pytest.mark.parametrize(
    ("point", "left"),
    [
        pytest.param(KillPoint(at=1), None, id="before-the-create"),
        pytest.param(KillPoint(at=1, when=When.AFTER), {}, id="after-the-create"),
        pytest.param(KillPoint(at=2), {}, id="before-the-patch"),
        pytest.param(KillPoint(at=2, when=When.AFTER), {"a": "1"}, id="after-the-patch"),
        pytest.param(KillPoint(at=3), {"a": "1"}, id="before-the-delete"),
        pytest.param(KillPoint(at=3, when=When.AFTER), None, id="after-the-delete"),
        pytest.param(KillPoint(at=1, verb="patch"), {}, id="before-the-first-patch"),
        pytest.param(KillPoint(at=1, kind="configmaps", verb="delete"), {"a": "1"}, id="by-verb-and-kind"),
    ],
)
def test_death_comes_at_exactly_one_write(point: KillPoint, left: dict[str, str] | None) -> None:
    async def tell(inner: SimulatedCluster) -> None:
        deaths: list[str] = []
        cluster = KillingCluster(inner, point=point, died=lambda: deaths.append("dead"))
        with pytest.raises(Killed):
            await _three_writes(cluster)
        found = inner.read(CONFIG_MAPS, KEY)
        assert (found.get("data", {}) if found else None) == left
        assert cluster.is_dead
        assert deaths == ["dead"]
        with pytest.raises(Killed):
            await cluster.get(CONFIG_MAPS, KEY)

    story(tell)


def test_a_run_without_a_death_counts_its_writes() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        cluster = KillingCluster(inner)
        await _three_writes(cluster)
        assert cluster.counts == {("create", "configmaps"): 1, ("patch", "configmaps"): 1, ("delete", "configmaps"): 1}
        assert cluster.writes[1] == Write("patch", "configmaps", KEY)
        points = list(kill_points(len(cluster.writes)))
        assert len(points) == 6
        assert points[:2] == [KillPoint(at=1, when=When.BEFORE), KillPoint(at=1, when=When.AFTER)]

    story(tell)


def test_death_also_comes_after_a_write_that_was_refused() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        await inner.create(CONFIG_MAPS, BODY, namespace="default")
        cluster = KillingCluster(inner, at=1, when=When.AFTER)
        with pytest.raises(Killed):
            await cluster.create(CONFIG_MAPS, BODY, namespace="default")

    story(tell)


def test_no_error_policy_survives_its_own_death() -> None:
    assert not issubclass(Killed, Exception)


def test_by_number_and_word() -> None:
    async def tell(inner: SimulatedCluster) -> None:
        cluster = KillingCluster(inner, at=1, when="after")
        with pytest.raises(Killed, match="killed after write 1: create configmaps default/one"):
            await _three_writes(cluster)

    story(tell)
