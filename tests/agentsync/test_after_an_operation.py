"""What is compared with after a sync: what that sync has taken, without waiting for the next poll."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agentsync.forge import config_map
from tests.agentsync.stage import Play, played


def test_a_sync_to_a_newer_commit_is_seen_at_once() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("web", value="1"))
        await play.application()
        async with play.process():
            await play.sync()
            await play.synced()
            newer = play.forge.push(config_map("web", value="2"))
            began = play.seconds
            await play.sync()
            await play.synced(commit=newer, seconds=20)
            assert play.seconds - began < 20  # a poll would come after two minutes

    played(story)


@pytest.mark.parametrize("how", [{"dryRun": True}, {"revision": "older"}])
def test_a_sync_elsewhere_is_followed_by_one_look_and_no_more(how: dict[str, Any]) -> None:
    async def story(play: Play) -> None:
        older = play.forge.push(config_map("web", value="1"))
        play.forge.push(config_map("web", value="2"))
        await play.application()
        async with play.process():
            await play.sync()
            await play.synced()
            before = play.forge.calls["resolve"]
            await play.sync(**{name: older if value == "older" else value for name, value in how.items()})
            await play.until(lambda: play.state()[2] == "Succeeded", seconds=20)
            await play.until(lambda: play.seconds > 60, seconds=60)
            assert play.forge.calls["resolve"] - before <= 2
            assert play.state()[0] == ("OutOfSync" if "revision" in how else "Synced")

    played(story)
