"""The whole runtime at work: a small controller on a simulated cluster that fails by seed, under virtual time.

Its wish: a ConfigMap `wish-…` with `data.children` = n owns n ConfigMaps of its name. While there is trouble nothing
may be created twice; once the trouble is over, wish and reality agree, the stores equal the cluster, and no request
but watches is made any more.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import NotFound, SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import Manifest, ObjectKey, controller_reference
from fairlead.runtime import Controller, Informers, Store, WorkQueue, controller_key, feed, own_key
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import ROUGH, Faults, FaultyCluster

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
TROUBLE_SECONDS = 120.0


def number_of(wish: Manifest) -> int:
    text = wish.content.get("data", {}).get("children", "")
    if not text.isdecimal():
        raise SpecError(f"{text!r} is no number", path="data.children")
    return int(text)


def owners(found: Manifest) -> list[str]:
    return [owner.uid for owner in found.metadata.owner_references]


@dataclass
class Parents:
    """Takes one wish one decision further."""

    cluster: Cluster
    store: Store[Manifest]

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        wish = self.store.get(key)
        if wish is None or not key.name.startswith("wish-"):
            return None
        children = self.store.by_index("owner", wish.metadata.uid)
        wanted = {f"{key.name}-child-{number}" for number in range(number_of(wish))}
        for name in sorted(wanted - {child.metadata.name for child in children}):
            reference = controller_reference(api_version="v1", kind="ConfigMap", metadata=wish.metadata)
            body = {"metadata": {"name": name, "namespace": key.namespace, "ownerReferences": [reference]}}
            await self.cluster.create(CONFIG_MAPS, body, namespace=key.namespace)
        for child in children:
            if child.metadata.name not in wanted:
                with suppress(NotFound):
                    await self.cluster.delete(
                        CONFIG_MAPS, child.metadata.key, preconditions=Preconditions(uid=child.metadata.uid)
                    )
        return None


class World:
    """A cluster in trouble, a controller on it, and somebody who changes wishes."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.clock = LoopClock()
        self.random = random.Random(seed)
        self.cluster = SimulatedCluster(self.clock, seed=seed, crds=())
        self.faulty = FaultyCluster(self.cluster, seed=seed, faults=faults)
        self.writes: list[tuple[str, str]] = []
        self.cluster.on_commit(self._note)
        self.informers = Informers(self.faulty, self.clock, rng=random.Random(seed + 1))
        self.store = self.informers.add(CONFIG_MAPS, indexes={"owner": owners})
        self.queue: WorkQueue[ObjectKey] = WorkQueue(self.clock)
        feed(self.store, self.queue, own_key)
        feed(self.store, self.queue, controller_key("ConfigMap"))
        parents = Parents(self.informers.cluster, self.store)
        self.controller = Controller(
            "Wish", self.queue, parents.reconcile, clock=self.clock, workers=3, rng=random.Random(seed + 2)
        )

    def _note(self, verb: str, resource: Any, old: Any, new: Any) -> None:
        found = new or old
        self.writes.append((verb, found["metadata"]["name"]))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.informers.run()), group.create_task(self.controller.run())]
            await self._trouble()
            self.faulty.stop()
            # Long enough for the slowest way back: a half-open watch, and the longest back-off.
            await asyncio.sleep(700)
            written = len(self.writes)
            self.check()
            await asyncio.sleep(600)
            assert len(self.writes) == written, "nothing is written any more"
            for task in tasks:
                task.cancel()

    async def _trouble(self) -> None:
        user = self.cluster.as_manager("user")
        user.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
        ends_at = self.clock.monotonic() + TROUBLE_SECONDS
        while self.clock.monotonic() < ends_at:
            name = f"wish-{self.random.randrange(4)}"
            deed = self.random.random()
            if deed < 0.15:
                with suppress(NotFound):
                    await user.delete(CONFIG_MAPS, ObjectKey("shop", name))
            elif deed < 0.3:
                await self._delete_a_child(user)
            else:
                children = "many" if deed > 0.95 else str(self.random.randrange(5))
                user.apply([wish(name, children)])
            await asyncio.sleep(self.random.uniform(0, 5))
        for number in range(4):
            user.apply([wish(f"wish-{number}", str(number))])

    async def _delete_a_child(self, user: SimulatedCluster) -> None:
        names = [found["metadata"]["name"] for found in self.cluster.read_all(CONFIG_MAPS, "shop")]
        children = [name for name in names if "-child-" in name]
        if children:
            with suppress(NotFound):
                await user.delete(CONFIG_MAPS, ObjectKey("shop", self.random.choice(children)))

    def check(self) -> None:
        real = {found["metadata"]["name"]: found for found in self.cluster.read_all(CONFIG_MAPS, "shop")}
        wanted = {f"wish-{number}-child-{child}" for number in range(4) for child in range(number)}
        assert {name for name in real if "-child-" in name} == wanted
        held = {found.metadata.name: found.metadata.resource_version for found in self.store.list("shop")}
        assert held == {name: found["metadata"]["resourceVersion"] for name, found in real.items()}


def wish(name: str, children: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"children": children},
    }


HARSH = Faults(
    latency=(0.001, 2.0),
    refused=0.1,
    lost_answer=0.15,
    conflict=0.1,
    throttled=0.1,
    compacted=0.2,
    watch_cut=0.1,
    watch_end=0.1,
    watch_duplicate=0.2,
    watch_stall=0.2,
    stale_read=0.2,
    watch_hang=0.05,
)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("faults", [pytest.param(ROUGH, id="rough"), pytest.param(HARSH, id="harsh")])
def test_wish_and_reality_agree_once_the_trouble_is_over(seed: int, faults: Faults) -> None:
    async def story() -> World:
        world = World(seed, faults)
        await world.run()
        return world

    world = run_virtual(story(), seed)
    assert world.faulty.injected, "a run without trouble proves nothing"


def test_without_trouble_each_child_is_created_once() -> None:
    """Own writes enter the store at once: the reconciliation after a create does not create again."""

    async def story() -> World:
        world = World(0, Faults(latency=(0.05, 0.05)))
        user = world.cluster.as_manager("user")
        user.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, wish("wish-0", "20")])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(world.informers.run()), group.create_task(world.controller.run())]
            await asyncio.sleep(30)
            await user.patch(CONFIG_MAPS, ObjectKey("shop", "wish-0"), MergePatch({"data": {"children": "5"}}))
            await asyncio.sleep(30)
            for task in tasks:
                task.cancel()
        return world

    world = run_virtual(story())
    verbs = [verb for verb, name in world.writes if "-child-" in name]
    assert verbs == ["create"] * 20 + ["delete"] * 15
