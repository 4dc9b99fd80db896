"""Hub and spoke under virtual time: Applications in one cluster, what they want in another, and the link between."""

from __future__ import annotations

import asyncio
from typing import Any

from fairlead.agentsync.offline import Shelf
from tests.agentsync.forge import config_map
from tests.agentsync.stage import AUTOMATED, CONFIG_MAPS, MemoryStore, Play, played

THERE: dict[str, Any] = {"destination": {"name": "spoke", "namespace": "shop"}, "syncPolicy": AUTOMATED}


def cut(play: Play) -> None:
    for link in play.links:
        link.is_cut = True


def mend(play: Play) -> None:
    for link in play.links:
        link.is_cut = False


def test_applications_of_the_hub_are_applied_here_and_reported_there() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced(commit=commit)
            assert play.names() == ["one"] and play.hub.read_all(CONFIG_MAPS, "shop") == []
            assert play.state() == ("Synced", "Healthy", "Succeeded")
            assert not [line for line in play.writes if "applications" in line]
            assert not [line for line in play.reports if "configmaps" in line]

    played(story, hub=True)


def test_while_the_link_is_cut_drift_is_healed_and_new_commits_are_applied() -> None:
    async def story(play: Play) -> None:
        first = play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced(commit=first)
            await asyncio.sleep(10)
            cut(play)
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
            second = play.forge.push(config_map("one"), config_map("two"))
            await play.until(lambda: play.names() == ["one", "two"], seconds=400)
            third = play.forge.push(config_map("two"))
            await play.until(lambda: play.names() == ["two"], seconds=400)
            assert play.status()["sync"]["revision"] == first  # nobody could tell the hub
            mend(play)
            await play.synced(commit=third, seconds=100)
            # Nothing is lost: each full sync is in the history, in its order.
            assert [entry["revision"] for entry in play.status()["history"]] == [first, second, third]
            assert [entry["id"] for entry in play.status()["history"]] == [0, 1, 2]

    played(story, hub=True)


def test_edits_on_both_sides_while_the_link_is_cut_meet() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        other = play.forge.push(config_map("one", a="other"), branch="other")
        async with play.process():
            await play.application(**THERE)
            await play.synced()
            cut(play)
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await play.patch({"spec": {"source": {"targetRevision": "other"}}})
            await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
            mend(play)
            await play.synced(commit=other, seconds=200)
            assert play.read(CONFIG_MAPS, "one")["data"] == {"a": "other"}

    played(story, hub=True)


def test_a_restart_while_the_link_is_cut_takes_what_was_kept() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced(commit=commit)
            await asyncio.sleep(10)
        play.forge.cut()  # Git is away too
        await play.remove(CONFIG_MAPS, "one")
        part = play.part()
        cut(play)
        running = asyncio.create_task(part.run())
        await play.until(lambda: play.names() == ["one"])
        await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
        await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
        before = play.status()["operationState"]["finishedAt"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert isinstance(play.store, MemoryStore) and play.store.entries[Shelf.REPORT]
        play.forge.mend()
        async with play.process():  # what the dead one could not tell is told by this one
            await play.until(lambda: play.status()["operationState"]["finishedAt"] > before)
            await play.synced(commit=commit)
            await play.until(lambda: not play.store.entries[Shelf.REPORT])  # type: ignore[attr-defined]

    played(story, hub=True)


def test_an_application_that_is_deleted_on_the_hub_meanwhile_goes_here_too() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        finalizers = {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}
        async with play.process():
            await play.application(metadata=finalizers, **THERE)
            await play.synced()
            cut(play)
            await play.delete()
            await asyncio.sleep(100)
            assert play.names() == ["one"]
            mend(play)
            await play.until(lambda: play.names() == [] and not play.applications(), seconds=100)
            await asyncio.sleep(10)
        assert isinstance(play.store, MemoryStore)
        assert {shelf: entries for shelf, entries in play.store.entries.items() if entries} == {}

    played(story, hub=True)


def test_nothing_is_kept_of_an_application_that_went_while_nobody_was_there() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced()
            cut(play)
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await asyncio.sleep(30)
        assert isinstance(play.store, MemoryStore)
        assert {shelf for shelf, entries in play.store.entries.items() if entries} == {
            Shelf.DESIRED,
            Shelf.APPLICATION,
            Shelf.REPORT,
        }
        await play.delete()
        async with play.process() as part:
            await asyncio.sleep(30)
            assert part.troubles() == []
            assert {shelf for shelf, entries in play.store.entries.items() if entries} == set()
            assert play.names() == ["one"]  # without the finalizer its objects stay, as upstream

    played(story, hub=True)


def test_applications_for_another_cluster_are_another_agents() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**{**THERE, "destination": {"name": "another", "namespace": "shop"}})
            await asyncio.sleep(300)
            assert play.status() == {} and play.names() == [] and play.reports == []
            await play.patch({"spec": {"destination": {"name": "spoke"}}})
            await play.synced()
            play.reports.clear()
            await play.patch({"spec": {"destination": {"name": "another"}}})
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await asyncio.sleep(300)
            assert play.read(CONFIG_MAPS, "one")["data"] == {"a": "by hand"}  # nobody of us cares any more
            assert play.reports == []

    played(story, hub=True)


def test_a_hub_that_lost_its_statuses_is_told_again() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced(commit=commit)
            await play.patch({"status": None})  # a restored backup, or somebody's PUT of an old copy
            await play.synced(commit=commit, seconds=200)
            assert play.names() == ["one"]

    played(story, hub=True)


def test_while_nothing_can_be_reported_nothing_is_asked_for_all_the_time() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(**THERE)
            await play.synced()
            await asyncio.sleep(10)
            cut(play)
            play.links[0].refused.clear()
            await asyncio.sleep(3600)
            assert len(play.links[0].refused) < 400  # reports and the watches, each backing off
            assert isinstance(play.store, MemoryStore)
            play.store.writes.clear()
            await asyncio.sleep(3600)
            assert len(play.store.writes) < 80

    played(story, hub=True)
