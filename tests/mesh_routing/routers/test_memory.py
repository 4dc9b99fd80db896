from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from fairlead.core.errors import ProviderError
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.core.traffic import Applied, Evidence, Held, RouterTools, TrafficSeen, Weights
from fairlead.mesh_routing.routers._memory import _PRUNE_EVERY, MemoryKey
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from tests.mesh_routing.builders import World, http_route, ref, seconds, split, target

WEB = ObjectKey("shop", "web")
TWENTY = Weights.of_canary(20)


class Scripted:
    """Evidence that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Evidence | Exception = Evidence(applied=Applied.NOT_YET, why="old weights")
        self.asked: list[tuple[int, Mapping[str, int]]] = []

    async def applied(self, route: Manifest, services: Mapping[str, int]) -> Evidence:
        self.asked.append((route.metadata.generation, dict(services)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Bench:
    def __init__(self) -> None:
        self.evidence = Scripted()
        self.world = World(http_route(split(100, 0)), evidence=self.evidence)
        self.factory = GatewayApiRouting(self.world.tools)
        self.tasks: list[asyncio.Task[None]] = []

    def see(self) -> TrafficSeen:
        seen = self.factory.router(target()).observe(self.world.clock.now())
        while self.world.spawned:
            self.tasks.append(asyncio.ensure_future(self.world.spawned.pop()))
        return seen

    async def write(self, weights: Weights) -> None:
        await self.factory.router(target()).set_weights(weights, in_progress=True)

    async def run(self, time: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(time / 0.05)):
            for _ in range(5):
                await asyncio.sleep(0)
            self.world.clock.advance(0.05)
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_the_wire_that_lags_is_waited_for_however_long_it_takes() -> None:
    bench = Bench()
    await bench.write(TWENTY)
    bench.world.cluster.accept(WEB)
    assert bench.see().held is Held.ACCEPTED
    await bench.run(30)  # far beyond any settle delay
    seen = bench.see()
    assert (seen.held, seen.reason, seen.settled_at) == (Held.ACCEPTED, "DataPlanePending", None)
    assert "old weights" in seen.message
    bench.evidence.answer = Evidence(applied=Applied.APPLIED)
    await bench.run(2)
    assert bench.world.woken[-1] == WEB
    assert bench.see().held is Held.APPLIED
    await bench.close()


async def test_questions_are_quick_at_first_then_slower_and_end_with_the_answer() -> None:
    bench = Bench()
    bench.see()
    await bench.run(1)
    quick = len(bench.evidence.asked)
    assert 8 <= quick <= 12
    await bench.run(10)
    assert 36 <= len(bench.evidence.asked) - quick <= 44
    bench.evidence.answer = Evidence(applied=Applied.APPLIED)
    await bench.run(1)
    count = len(bench.evidence.asked)
    bench.see()
    await bench.run(30)
    assert len(bench.evidence.asked) == count
    assert all(task.done() for task in bench.tasks)


async def test_nothing_is_asked_before_acceptance() -> None:
    bench = Bench()
    await bench.write(TWENTY)
    assert bench.see().held is Held.STORED
    await bench.run(2)
    assert bench.evidence.asked == []
    bench.world.cluster.accept(WEB)
    bench.see()
    await bench.run(0.2)
    assert bench.evidence.asked[0] == (2, {"web-stable": 80, "web-canary": 20})
    await bench.close()


async def test_an_answer_about_an_older_generation_teaches_nothing() -> None:
    bench = Bench()
    bench.see()
    await bench.run(0.3)
    bench.evidence.answer = Evidence(applied=Applied.APPLIED)
    await bench.write(TWENTY)
    bench.world.cluster.accept(WEB)
    assert bench.see().held is Held.ACCEPTED  # the question is new now
    await bench.run(0.2)
    assert bench.see().held is Held.APPLIED
    assert bench.evidence.asked[-1][0] == 2
    await bench.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Evidence(applied=Applied.UNKNOWN, why="no answer"), id="unknown"),
        pytest.param(ProviderError("no answer", provider="proxy"), id="raised"),
    ],
)
async def test_unknown_evidence_never_counts(answer: Evidence | Exception) -> None:
    bench = Bench()
    bench.evidence.answer = answer
    bench.see()
    await bench.run(20)
    seen = bench.see()
    assert (seen.held, "no answer" in seen.message) == (Held.ACCEPTED, True)
    await bench.close()


async def test_a_refusing_proxy_is_reported_blocks_and_can_heal() -> None:
    bench = Bench()
    bench.evidence.answer = Evidence(applied=Applied.REFUSED, why="invalid perl operator: (?=")
    bench.see()
    with capture_logs() as logs:
        await bench.run(0.3)
    seen = bench.see()
    assert (seen.held, seen.reason) == (Held.REFUSED, "ProxyRefused")
    assert "invalid perl operator: (?=" in seen.blocked
    assert [(one["event"], one["evidence"]) for one in logs] == [("route_evidence_changed", "refused")]
    bench.evidence.answer = Evidence(applied=Applied.APPLIED)
    await bench.run(1)
    assert bench.see().held is Held.APPLIED
    assert bench.see().blocked == ""


async def test_wakes_only_when_the_answer_changes() -> None:
    bench = Bench()
    bench.see()
    await bench.run(5)
    assert bench.world.woken == [WEB]
    await bench.close()


async def test_polls_end_when_the_rollout_is_not_looked_at_any_more() -> None:
    bench = Bench()
    bench.see()
    await bench.run(62)
    assert [task.done() for task in bench.tasks] == [True]


async def test_one_poll_per_route_however_often_it_is_looked_at() -> None:
    bench = Bench()
    for _ in range(5):
        bench.see()
        await bench.run(0.1)
    assert len(bench.tasks) == 1
    await bench.close()


async def test_memory_of_a_route_that_has_vanished_is_dropped() -> None:
    bench = Bench()
    memory = bench.factory._routes.memory
    bench.see()
    await bench.run(0.2)
    assert len(memory) == 1
    bench.world.routes.objects.clear()
    assert bench.see().reason == "RouteNotFound"
    assert len(memory) == 0
    await bench.run(0.3)
    assert all(task.done() for task in bench.tasks)


async def test_memory_is_pruned_of_what_nobody_looks_at() -> None:
    world = World(http_route(split()))
    memory = GatewayApiRouting(world.tools)._routes.memory
    for number in range(5):
        memory.look(MemoryKey(f"rollout-{number}", ref()))
        memory.look(MemoryKey(f"rollout-{number}", ref("gone")))
    world.clock.advance(seconds(3601))
    for _ in range(_PRUNE_EVERY):
        memory.look(MemoryKey("rollout-9", ref()))
    assert len(memory) == 1


def test_evidence_without_a_way_to_ask_in_the_background_is_refused() -> None:
    tools = World(evidence=Scripted()).tools
    alone = RouterTools(
        cluster=tools.cluster,
        clock=tools.clock,
        routes=tools.routes,
        services=tools.services,
        endpoint_slices=tools.endpoint_slices,
        evidence=tools.evidence,
    )
    with pytest.raises(ValueError, match=r"needs RouterTools\.spawn"):
        GatewayApiRouting(alone)
