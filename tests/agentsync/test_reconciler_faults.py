"""Applications under trouble that a seed decides: first nothing may be wrong, then the faults end and all must be well.

Both clusters lose requests and answers, break watches off and show the past; Git fails now and then; commits, edits by
hand and restarts go on meanwhile.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from fairlead.agentsync.resources import Object, annotations_of, name_of
from fairlead.core.cluster import Cluster
from fairlead.testing.faults import ROUGH, FaultyCluster
from tests.agentsync.forge import Forge, config_map
from tests.agentsync.stage import AUTOMATED, CONFIG_MAPS, Play, played

NAMES = tuple(f"map-{number}" for number in range(8))
HOOK = {"argocd.argoproj.io/hook": "PreSync"}
SEEDS = (1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40)))


class Watch:
    """Looks at every committed write, and remembers what must never happen."""

    def __init__(self, play: Play) -> None:
        self.wrong: list[str] = []
        self._forge = play.forge
        self.good: list[dict[str, Object]] = []  # what was pushed, and can be rendered; newest last
        self.by_hand = ""  # what the test itself deletes at this moment
        play.cluster.on_commit(self._committed)

    def push(self, forge: Forge, objects: list[Object]) -> str:
        self.good.append({name_of(found): found for found in objects})
        return forge.push(*objects)

    def _committed(self, verb: str, resource: Any, old: Any, new: Any) -> None:
        if resource.plural != "configmaps" or (new or old)["metadata"].get("namespace") != "shop":
            return
        name = (new or old)["metadata"]["name"]
        if verb == "delete":
            if name == "foreign":
                self.wrong.append("an object of somebody else was deleted")
            elif name not in ("hook", self.by_hand) and not any(name not in commit for commit in self.good):
                self.wrong.append(f"{name} was deleted, and every commit wants it")
        elif annotations_of(new).get("argocd.argoproj.io/tracking-id") and verb == "create":
            wanted = [commit[name].get("data") for commit in self.good if name in commit]
            if new.get("data") not in wanted:
                self.wrong.append(f"{name} was made with what no commit says: {new.get('data')}")


def commit_of(rng: random.Random, number: int) -> list[Object]:
    """Return a random subset, never empty, with a hook now and then."""
    names = rng.sample(NAMES, rng.randint(2, len(NAMES)))
    objects = [
        config_map(name, annotations={"argocd.argoproj.io/sync-wave": str(index % 3)}, commit=str(number))
        for index, name in enumerate(sorted(names))
    ]
    return [*objects, config_map("hook", annotations=HOOK, commit=str(number))] if rng.random() < 0.3 else objects


@pytest.mark.parametrize("hub", [False, True], ids=["one-cluster", "hub"])
@pytest.mark.parametrize("seed", SEEDS)
def test_trouble_leads_to_nothing_wrong_and_then_to_the_end(seed: int, hub: bool) -> None:
    async def story(play: Play) -> None:
        rng = random.Random(seed)
        wrapped: list[FaultyCluster] = []

        def around(cluster: Cluster) -> Cluster:
            wrapped.append(FaultyCluster(cluster, seed=rng.randrange(2**32), faults=ROUGH))
            return wrapped[-1]

        play.around = around
        watch = Watch(play)
        watch.push(play.forge, commit_of(rng, 0))
        play.cluster.apply([config_map("foreign")], namespace="shop")
        destination = {"name": "spoke" if hub else "in-cluster", "namespace": "shop"}
        policy = {**AUTOMATED, "retry": {"limit": -1, "backoff": {"duration": "5s", "maxDuration": "30s"}}}
        await play.application(syncPolicy=policy, destination=destination)
        for life in range(3):
            async with play.process():
                for _ in range(8):
                    await asyncio.sleep(rng.uniform(5, 60))
                    await _happens(play, rng, watch, life)
        play.forge.mend()
        last = watch.push(play.forge, commit_of(rng, 99))
        async with play.process():
            await asyncio.sleep(rng.uniform(1, 60))
            for cluster in wrapped:
                cluster.stop()
            await play.refresh()
            await play.synced(commit=last, seconds=1200)
            await asyncio.sleep(120)
            assert watch.wrong == []
            found = {one["metadata"]["name"]: one["data"] for one in play.cluster.read_all(CONFIG_MAPS, "shop")}
            found.pop("foreign")
            found.pop("hook", None)  # one of an earlier commit stays, as its policy says
            assert found == {name: one["data"] for name, one in watch.good[-1].items() if name != "hook"}
            count = len(play.writes)
            await asyncio.sleep(600)
            assert len(play.writes) == count
        assert sum(sum(cluster.injected.values()) for cluster in wrapped) > 5

    played(story, hub=hub, seed=seed)


async def _happens(play: Play, rng: random.Random, watch: Watch, life: int) -> None:
    match rng.randrange(6):
        case 0:
            watch.push(play.forge, commit_of(rng, life * 10 + rng.randrange(10)))
        case 1:
            play.forge.push_broken()
        case 2:
            play.forge.cut()
        case 3:
            play.forge.mend()
        case 4:
            names = [name for name in play.names() if name not in ("foreign", "hook")]
            if names:
                watch.by_hand = rng.choice(names)
                await play.remove(CONFIG_MAPS, watch.by_hand)
                watch.by_hand = ""
        case _:
            names = [name for name in play.names() if name not in ("foreign", "hook")]
            if names:
                await play.edit(CONFIG_MAPS, rng.choice(names), {"data": {"commit": "by hand"}})
