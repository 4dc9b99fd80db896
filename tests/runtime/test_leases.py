from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Unavailable
from fairlead.core.kinds import LEASES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey, T
from fairlead.runtime.leases import Fence, FencedCluster, LeaderElection, LeaseSettings
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

KEY = ObjectKey("default", "argo-rollouts-controller-lock")
CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")


class Unreliable(SimulatedCluster):
    """Does not answer while `is_down`."""

    is_down = False

    async def get(self, kind: Kind[T], key: ObjectKey, *, revision: int | None = None) -> T:
        if self.is_down:
            await asyncio.sleep(60)
            raise Unavailable("no answer")
        return await super().get(kind, key, revision=revision)


def leaders(*elections: LeaderElection) -> list[bool]:
    return [one.is_leader for one in elections]


def election(cluster: SimulatedCluster, identity: str) -> LeaderElection:
    return LeaderElection(cluster, cluster.clock, LeaseSettings(key=KEY, identity=identity))


def forever(log: list[str], name: str, clock: LoopClock) -> Callable[[], Awaitable[None]]:
    async def lead() -> None:
        log.append(f"{clock.monotonic():.0f} {name} leads")
        try:
            await asyncio.Event().wait()
        finally:
            log.append(f"{clock.monotonic():.0f} {name} stops")

    return lead


async def lease_of(cluster: SimulatedCluster) -> dict[str, Any]:
    found: Manifest = await cluster.get(LEASES, KEY)
    spec: dict[str, Any] = found.content["spec"]
    return spec


def test_the_second_waits_and_takes_over_at_once_when_the_first_is_asked_to_stop() -> None:
    async def story() -> list[str]:
        clock = LoopClock()
        cluster, log = SimulatedCluster(clock), list[str]()
        first, second = election(cluster, "first"), election(cluster, "second")
        one = asyncio.create_task(first.run(forever(log, "first", clock)))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.run(forever(log, "second", clock)))
        await asyncio.sleep(59)
        assert leaders(first, second) == [True, False]
        assert (await lease_of(cluster))["leaseTransitions"] == 0
        one.cancel()
        await asyncio.sleep(4)
        assert leaders(first, second) == [False, True]
        assert (await lease_of(cluster))["leaseTransitions"] == 1
        two.cancel()
        await asyncio.gather(one, two, return_exceptions=True)
        assert (await lease_of(cluster))["holderIdentity"] == ""
        return log

    log = run_virtual(story())
    assert [line.split(" ", 1)[1] for line in log] == ["first leads", "first stops", "second leads", "second stops"]
    assert int(log[2].split()[0]) - int(log[1].split()[0]) <= 3, log


def test_a_leader_that_cannot_renew_gives_up_before_anybody_may_take_over() -> None:
    async def story() -> list[str]:
        clock = LoopClock()
        cluster, log = Unreliable(clock), list[str]()
        healthy = SimulatedCluster(clock, api=cluster.api, crds=())
        first, second = election(cluster, "first"), election(healthy, "second")
        one = asyncio.create_task(first.run(forever(log, "first", clock)))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.run(forever(log, "second", clock)))
        await asyncio.sleep(29)
        cluster.is_down = True
        await asyncio.sleep(60)
        for task in (one, two):
            task.cancel()
        await asyncio.gather(one, two, return_exceptions=True)
        return log

    log = run_virtual(story())
    assert [line.split(" ", 1)[1] for line in log][:3] == ["first leads", "first stops", "second leads"]
    stopped, taken = int(log[1].split()[0]), int(log[2].split()[0])
    assert 30 <= stopped <= 40 and stopped < taken <= 50, log


def test_a_process_that_was_stopped_for_longer_than_its_lease_writes_nothing() -> None:
    async def story() -> None:
        clock = LoopClock()
        cluster, fence = SimulatedCluster(clock), Fence()
        fenced = FencedCluster(cluster, fence, clock)
        fence.valid_until = clock.monotonic() + 10
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
        await fenced.create(CONFIG_MAPS, body, namespace="default")
        await asyncio.sleep(11)  # as SIGSTOP and SIGCONT would: nothing of ours ran in between
        key = ObjectKey("default", "a")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: fenced.create(CONFIG_MAPS, body, namespace="default"),
            lambda: fenced.patch(CONFIG_MAPS, key, MergePatch({"data": {"x": "y"}})),
            lambda: fenced.delete(CONFIG_MAPS, key),
            lambda: fenced.evict(key),
        ]
        for attempt in attempts:
            with pytest.raises(Unavailable, match="does not lead"):
                await attempt()
        assert "data" not in (await fenced.get(CONFIG_MAPS, key)).content

    run_virtual(story())


def test_a_lease_of_a_stranger_expires_by_what_we_saw_and_not_by_its_date() -> None:
    async def story() -> float:
        clock = LoopClock()
        cluster = SimulatedCluster(clock)
        spec = {
            "holderIdentity": "gone",
            "leaseDurationSeconds": 15,
            "renewTime": "2001-01-01T00:00:00.000000Z",  # a clock far behind ours: it may live all the same
            "leaseTransitions": 4,
        }
        meta = {"name": KEY.name, "namespace": KEY.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        await cluster.create(LEASES, body, namespace=KEY.namespace)
        one = election(cluster, "first")
        led = asyncio.Event()

        async def lead() -> None:
            led.set()

        await asyncio.wait_for(one.run(lead), 60)
        assert led.is_set()
        assert one.fence.epoch == 5
        return clock.monotonic()

    assert 15 <= run_virtual(story()) <= 18


def test_an_error_of_the_leader_is_the_callers_and_the_lease_is_released() -> None:
    async def story() -> None:
        cluster = SimulatedCluster(LoopClock())

        async def lead() -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await election(cluster, "first").run(lead)
        assert (await lease_of(cluster))["holderIdentity"] == ""

    run_virtual(story())
