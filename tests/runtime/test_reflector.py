"""A reflector never gives up, never hammers, and resumes where it was. Under virtual time."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from fairlead.core.errors import Cause, Expired, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable
from fairlead.core.kinds import REPLICA_SETS, ReplicaSet
from fairlead.core.objects import ObjectKey
from fairlead.runtime.reflector import Reflector, ReflectorSettings, State
from fairlead.runtime.store import Store
from fairlead.testing.clock import LoopClock, run_virtual
from tests.runtime.scripted import (
    ScriptedCluster,
    added,
    bookmark,
    deleted,
    modified,
    page,
    replica_set,
    undecodable,
)

FOR_EVER = 10.0**9


class Watched:
    """A reflector at work on a scripted cluster."""

    def __init__(self, cluster: ScriptedCluster, settings: ReflectorSettings | None = None) -> None:
        clock = LoopClock()
        self.cluster = cluster
        self.store: Store[ReplicaSet] = Store("replicasets.apps", clock)
        self.reflector = Reflector(
            cluster,
            REPLICA_SETS,
            self.store,
            clock,
            rng=random.Random(1),
            settings=settings or ReflectorSettings(),
        )

    async def run(self, seconds: float) -> None:
        task = asyncio.create_task(self.reflector.run())
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def versions(self) -> dict[str, int]:
        return {item.metadata.name: item.metadata.version for item in self.store.list()}

    def requests(self) -> list[tuple[str, str]]:
        return [(verb, version) for verb, _, version in self.cluster.requests]

    def times(self) -> list[float]:
        return [at for _, at, _ in self.cluster.requests]


def play(cluster: ScriptedCluster, seconds: float, settings: ReflectorSettings | None = None) -> Watched:
    async def story() -> Watched:
        watched = Watched(cluster, settings)
        await watched.run(seconds)
        return watched

    return run_virtual(story())


def test_lists_page_by_page_then_watches_from_the_end_of_the_list() -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(replica_set("a"), token="more", version=7), page(replica_set("b"), version=7)],
            watches=[
                [added(replica_set("c", 8)), modified(replica_set("a", 9)), deleted(replica_set("b", 10)), FOR_EVER]
            ],
        ),
        0.5,
    )
    assert watched.requests() == [("list", ""), ("list", "more"), ("watch", "7")]
    assert watched.versions() == {"a": 9, "c": 8}
    assert watched.store.has_synced


def test_the_store_is_untouched_until_the_last_page_is_there() -> None:
    async def story() -> None:
        cluster = ScriptedCluster(lists=[page(replica_set("a"), token="more"), Unavailable("gone")])
        watched = Watched(cluster)
        await watched.reflector.step()
        assert not watched.store.has_synced
        assert watched.versions() == {}
        assert watched.reflector.state is State.PAUSING

    run_virtual(story())


def test_a_clean_end_is_normal_and_the_watch_resumes_from_the_last_bookmark() -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(replica_set("a"), version=7)],
            watches=[[added(replica_set("b", 8)), 300.0, bookmark(20)], [100.0, bookmark(20), 100.0], [140.0]],
        ),
        600,
    )
    assert watched.requests() == [("list", ""), ("watch", "7"), ("watch", "20"), ("watch", "20")]
    assert watched.times() == [0, 0, 300, 500]
    assert watched.reflector.trouble == ""


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param((8, 6), id="out-of-order"),
        pytest.param((8, ""), id="absent"),
    ],
)
def test_the_place_in_the_stream_never_goes_back(versions: tuple[int | str, int | str]) -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(version=5)],
            watches=[[*(added(replica_set(f"n{index}", at)) for index, at in enumerate(versions)), 300.0]],
        ),
        400,
    )
    assert watched.requests()[-1] == ("watch", "8")


def test_a_version_that_is_no_number_is_passed_on_as_it_is() -> None:
    watched = play(
        ScriptedCluster(lists=[page(version="opaque-1")], watches=[[bookmark("opaque-2"), 100.0]]),
        200,
    )
    assert watched.requests() == [("list", ""), ("watch", "opaque-1"), ("watch", "opaque-2")]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Expired("too old resource version: 7 (9)", status=410, reason="Expired"), id="expired"),
        pytest.param(Invalid("invalid resource version", status=400), id="refused"),
        pytest.param(
            Unavailable("Too large resource version", status=504, causes=(Cause(reason="ResourceVersionTooLarge"),)),
            id="from-the-future",
        ),
        pytest.param(NotFound("the server could not find the requested resource", status=404), id="no-longer-served"),
    ],
)
def test_a_version_that_cannot_be_resumed_leads_to_a_list(error: Exception) -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(replica_set("a", 6), replica_set("b", 6), version=7), page(replica_set("a", 20), version=30)],
            watches=[[10.0, error], [FOR_EVER]],
        ),
        100,
    )
    assert watched.requests() == [("list", ""), ("watch", "7"), ("list", ""), ("watch", "30")]
    assert 10.4 <= watched.times()[2] <= 10.8  # a jittered pause, so that not all watches list at once
    assert watched.versions() == {"a": 20}


def test_an_expired_page_starts_the_list_anew() -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(replica_set("a"), token="more"), Expired("continue token"), page(replica_set("b"))]
        ),
        10,
    )
    assert watched.requests()[:3] == [("list", ""), ("list", "more"), ("list", "")]
    assert watched.versions() == {"b": 1}


def test_a_410_loop_is_slowed_down() -> None:
    loops = 40
    watched = play(
        ScriptedCluster(
            lists=[page(version=7) for _ in range(loops)], watches=[[Expired("compacted")] for _ in range(loops)]
        ),
        300,
    )
    lists = [at for verb, at, _ in watched.cluster.requests if verb == "list"]
    assert len(lists) < 25
    assert all(15 <= after - before <= 30 for before, after in pairwise(lists[8:]))


def test_failures_back_off_exponentially_and_health_resets_it() -> None:
    broken: list[Any] = [[Unavailable("connection reset")] for _ in range(9)]
    watched = play(
        ScriptedCluster(
            lists=[page(version=7)],
            watches=[*broken, [61.0, Unavailable("connection reset")], [FOR_EVER]],
        ),
        500,
    )
    times = watched.times()[1:]
    gaps = [after - before for before, after in pairwise(times)]
    for gap, full in zip(gaps, [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30], strict=False):
        assert full / 2 <= gap <= full
    assert 61.4 <= gaps[9] <= 61.8  # a minute of health: the shortest pause again
    assert {version for verb, version in watched.requests() if verb == "watch"} == {"7"}  # resumed, not listed


@pytest.mark.parametrize(
    ("script", "at"),
    [
        pytest.param([bookmark(8), 140.0, bookmark(9), 140.0, bookmark(9), FOR_EVER], 430, id="after-bookmarks"),
        pytest.param([added(replica_set("a", 8)), 550.0], 550, id="a-server-without-bookmarks-may-be-silent"),
    ],
)
def test_a_watch_that_falls_silent_is_given_up(script: list[Any], at: float) -> None:
    watched = play(ScriptedCluster(lists=[page(version=7)], watches=[script]), 560)
    assert [verb for verb, _ in watched.requests()] == ["list", "watch", "watch"]
    assert at <= watched.times()[2] <= at + 0.8
    assert watched.cluster.open_watches == 0


def test_a_server_that_closes_at_once_is_not_hammered() -> None:
    watched = play(ScriptedCluster(lists=[page(version=7)], watches=[[] for _ in range(50)]), 60)
    assert len(watched.requests()) < 12


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        pytest.param(5.0, 5.0, id="honoured"),
        pytest.param(86400.0, 60.0, id="absurd"),
        pytest.param(0.0, 0.8, id="not-below-our-own"),
    ],
)
def test_retry_after_is_honoured(asked: float, waited: float) -> None:
    watched = play(
        ScriptedCluster(lists=[TooManyRequests("slow down", retry_after=asked), page(version=7)]),
        100,
    )
    assert waited / 2 <= watched.times()[1] <= waited
    assert asked in (0.0, 86400.0) or watched.times()[1] == asked


def test_a_kind_that_is_not_served_is_asked_for_quietly_until_it_comes() -> None:
    absent = NotFound("the server could not find the requested resource", status=404)
    with capture_logs() as logs:
        watched = play(ScriptedCluster(lists=[absent, absent, absent, page(replica_set("a"), version=7)]), 200)
    assert watched.versions() == {"a": 1}
    assert watched.store.served
    gaps = watched.times()[:4]
    assert all(22.5 <= after - before <= 30 for before, after in pairwise(gaps))
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["kind_not_served"]


def test_a_kind_that_is_not_served_does_not_keep_anybody_waiting() -> None:
    async def story() -> None:
        watched = Watched(ScriptedCluster(lists=[NotFound("no such kind", status=404)]))
        await watched.reflector.step()
        assert watched.reflector.state is State.ABSENT
        assert (watched.store.has_synced, watched.store.served) == (True, False)
        assert watched.reflector.trouble == ""

    run_virtual(story())


def test_a_kind_that_is_removed_empties_the_store() -> None:
    absent = NotFound("the server could not find the requested resource", status=404)
    watched = play(
        ScriptedCluster(lists=[page(replica_set("a"), version=7), absent], watches=[[10.0, absent]]),
        20,
    )
    assert watched.versions() == {}
    assert not watched.store.served


def test_a_refused_list_names_its_trouble_and_keeps_what_is_known() -> None:
    async def story() -> None:
        cluster = ScriptedCluster(lists=[Forbidden("replicasets is forbidden", status=403), page(version=7)])
        watched = Watched(cluster)
        await watched.reflector.step()
        assert watched.reflector.trouble == "replicasets.apps cannot be listed: replicasets is forbidden"
        assert not watched.store.has_synced
        await watched.reflector.step()
        await watched.reflector.step()
        assert watched.reflector.trouble == ""

    run_virtual(story())


def test_trouble_ends_with_the_first_sign_of_life() -> None:
    async def story() -> None:
        watched = Watched(
            ScriptedCluster(
                lists=[page(version=7)],
                watches=[
                    [Unavailable("half-open")],
                    [5.0, bookmark(8), 5.0, Unavailable("again")],
                    [100.0],
                    [100.0],
                ],
            )
        )
        troubles: list[bool] = []

        async def look(*at: float) -> None:
            for when in at:
                await asyncio.sleep(when - asyncio.get_running_loop().time())
                troubles.append(bool(watched.reflector.trouble))

        async with asyncio.TaskGroup() as group:
            group.create_task(watched.run(200))
            group.create_task(look(3, 8, 12, 150))
        assert troubles == [True, False, True, False]

    run_virtual(story())


def test_an_object_that_cannot_be_decoded_stops_nothing() -> None:
    with capture_logs() as logs:
        watched = play(
            ScriptedCluster(
                lists=[page(replica_set("a"), undecodable("odd"), version=7)],
                watches=[[added(undecodable("worse", 8)), added(replica_set("b", 9)), FOR_EVER]],
            ),
            10,
        )
    assert watched.versions() == {"a": 1, "b": 9}
    assert sorted(key.name for key in watched.store.problems()) == ["odd", "worse"]
    warned = [(line["object"], line["error"]) for line in logs if line["event"] == "object_undecodable"]
    assert warned == [
        ("shop/odd", "spec.replicas: expected int, got str"),
        ("shop/worse", "spec.replicas: expected int, got str"),
    ]


def test_an_event_that_was_lost_is_made_up_for_by_a_list() -> None:
    watched = play(
        ScriptedCluster(
            lists=[page(replica_set("a"), version=7), page(replica_set("a"), replica_set("lost", 8), version=9)],
            watches=[[3000.0], [700.0], [FOR_EVER]],
        ),
        4000,
    )
    assert watched.requests() == [("list", ""), ("watch", "7"), ("watch", "7"), ("list", ""), ("watch", "9")]
    assert watched.store.get(ObjectKey("shop", "lost")) is not None


def test_the_watch_is_closed_when_cancelled() -> None:
    async def story() -> tuple[int, int]:
        watched = Watched(ScriptedCluster(lists=[page(version=7)], watches=[[bookmark(8), FOR_EVER]]))
        task = asyncio.create_task(watched.reflector.run())
        await asyncio.sleep(1)
        while_running = watched.cluster.open_watches
        task.cancel()
        await asyncio.wait([task])
        return while_running, watched.cluster.open_watches

    assert run_virtual(story()) == (1, 0)


def test_the_watch_is_closed_when_it_fails() -> None:
    async def story() -> int:
        cluster = ScriptedCluster(lists=[page(version=7)], watches=[[Unavailable("broken")]])
        watched = Watched(cluster)
        await watched.reflector.step()
        await watched.reflector.step()
        return cluster.open_watches

    assert run_virtual(story()) == 0
