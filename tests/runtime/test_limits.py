"""How often the API server is asked, under virtual time."""

from __future__ import annotations

import asyncio

import pytest

from fairlead.core.cluster import MergePatch, Preconditions
from fairlead.core.kinds import NAMESPACES, SERVICES, carried
from fairlead.core.objects import ObjectKey
from fairlead.runtime.limits import Bucket, LimitedCluster
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

MAPS = carried("", "v1", "ConfigMap", "configmaps")


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    async def tale() -> list[float]:
        clock = LoopClock()
        bucket, times = Bucket(clock, per_second=10, burst=3), list[float]()

        async def one() -> None:
            await bucket.take()
            times.append(round(clock.monotonic(), 3))

        await asyncio.gather(*(one() for _ in range(6)))
        await asyncio.sleep(60)  # it fills up, but not beyond the burst
        await asyncio.gather(*(one() for _ in range(4)))
        return times

    found = run_virtual(tale())
    assert found[:6] == [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]
    assert [round(time - found[6], 3) for time in found[6:]] == [0.0, 0.0, 0.0, 0.1]


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_lets_nothing_through_is_refused(per_second: float, burst: int) -> None:
    async def tale() -> None:
        with pytest.raises(ValueError, match="expected a rate above 0"):
            Bucket(LoopClock(), per_second=per_second, burst=burst)

    run_virtual(tale())


def test_every_kind_of_request_takes_a_token() -> None:
    async def tale() -> float:
        clock = LoopClock()
        cluster = LimitedCluster(SimulatedCluster(clock), Bucket(clock, per_second=1, burst=1))
        key = ObjectKey("default", "a")
        await cluster.create(MAPS, {"metadata": {"name": "a"}}, namespace="default")
        await cluster.get(MAPS, key)
        page = await cluster.list(MAPS)
        await cluster.patch(MAPS, key, MergePatch({"data": {"b": "c"}}))
        watch = cluster.watch(MAPS, resource_version=page.resource_version)
        event = await anext(watch)
        assert event.object is not None
        await cluster.delete(MAPS, key, preconditions=Preconditions())
        assert [one.metadata.name for one in (await cluster.list(NAMESPACES)).items]
        assert (await cluster.list(SERVICES)).items == ()
        return round(clock.monotonic(), 3)

    assert run_virtual(tale()) == 7.0  # eight requests, the first of which is free
