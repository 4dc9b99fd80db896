"""Applications from commit to cluster, told as stories under virtual time."""

from __future__ import annotations

import asyncio

from tests.agentsync.forge import config_map
from tests.agentsync.stage import AUTOMATED, CONFIG_MAPS, Play, played


def test_an_application_is_compared_and_applied_when_somebody_asks() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application()
            await play.until(lambda: play.state() == ("OutOfSync", "Missing", ""))
            assert play.names() == []
            await play.sync()
            await play.synced(commit=commit)
        assert play.names() == ["one", "two"]
        assert play.writes == ["create configmaps one", "create configmaps two"]
        assert play.results() == {"ConfigMap/one": "configmap/one created", "ConfigMap/two": "configmap/two created"}
        assert play.state() == ("Synced", "Healthy", "Succeeded")
        history = play.status()["history"]
        assert [(entry["id"], entry["revision"]) for entry in history] == [(0, commit)]

    played(story)


def test_drift_is_healed_and_each_new_commit_applied() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
            await play.remove(CONFIG_MAPS, "one")
            await play.until(lambda: play.names() == ["one"])
            commit = play.forge.push(config_map("one", a="2"), config_map("two"))
            await play.synced(commit=commit, seconds=200)
            assert play.read(CONFIG_MAPS, "one")["data"] == {"a": "2"}
            commit = play.forge.push(config_map("two"))
            await play.synced(commit=commit, seconds=200)
            assert play.names() == ["two"]
            count = len(play.writes), len(play.reports)
            await asyncio.sleep(600)
            assert (len(play.writes), play.names()) == (count[0], ["two"])

    played(story)
