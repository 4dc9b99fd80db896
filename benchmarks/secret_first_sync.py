"""How long a new secret waits while many others are refreshed. Prints one JSON line; exits 1 if it waits too long.

`python -m benchmarks.secret_first_sync [--secrets 2000] [--new 50] [--latency 50] [--interval 60]`

Everything runs under virtual time, so that the figures are those of the planner and of the order in which it asks, the
same on every machine: a provider that answers after `--latency` ms, one key for each ExternalSecret, an API server that
takes 5 ms for a write, and the controllers with their own budgets (100 reads a second and store). Processor time counts
as nothing.

The delay is from the creation of an ExternalSecret to its Secret. Measured are so many new ones

- `burst`: all at once, half a second after all the others have become due together, the worst moment there is;
- `trickle`: one after the other, spread over a whole interval;
- `fifo_s`: how long the last of a burst would wait at the least if it queued up behind those refreshes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.secrets.settings import PlannerSettings
from fairlead.testing.clock import run_virtual
from tests.secrets.world import World

WORKERS = 30  # as the controller's own default
WRITE_SECONDS = 0.005
P99_SECONDS_MAX = 2.0


class _Slow(Forwarding):
    """An API server that takes its time for writes."""

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        await asyncio.sleep(WRITE_SECONDS)
        return await super().write(write, call)


class _Bench:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._world = World()
        self._world.remote.latency = arguments.latency / 1000
        self._made: dict[str, float] = {}
        self._world.cluster.on_commit(self._on_commit)

    def _on_commit(self, verb: str, resource: Any, _old: Any, new: Any) -> None:
        if resource.kind == "Secret" and verb != "delete":
            self._made.setdefault(new["metadata"]["name"], self._now)

    @property
    def _now(self) -> float:
        return self._world.clock.monotonic()

    def _create(self, name: str) -> float:
        self._world.remote.values[name] = name.encode()
        self._world.external_secret(
            name,
            refreshInterval=f"{self._arguments.interval}s",
            data=[{"secretKey": "password", "remoteRef": {"key": name}}],
        )
        return self._now

    async def run(self) -> dict[str, Any]:
        world, arguments = self._world, self._arguments
        world.store()
        for number in range(arguments.secrets):
            self._create(f"old-{number}")
        slow, manager = _Slow(world.cluster), world.cluster.as_manager
        async with world.controller(slow, as_manager=lambda name: _Slow(manager(name)), workers=WORKERS):
            began = self._now
            await self._until_made(arguments.secrets)
            first_sync = self._now - began
            await world.clock.sleep(arguments.interval)
            await self._until_busy()
            burst = await self._delays([self._create(name) for name in self._names("burst")], "burst")
            created = []
            for name in self._names("trickle"):
                created.append(self._create(name))
                await world.clock.sleep(arguments.interval / arguments.new)
            trickle = await self._delays(created, "trickle")
            refreshed = await self._refreshes()
        return {
            "benchmark": "secret_first_sync",
            "secrets": arguments.secrets,
            "new": arguments.new,
            "latency_ms": arguments.latency,
            "interval_s": arguments.interval,
            "first_sync_of_all_s": round(first_sync, 2),
            "burst": burst,
            "trickle": trickle,
            "fifo_s": round(arguments.secrets / PlannerSettings().reads_per_second, 2),
            "refreshes_per_interval": refreshed,
        }

    def _names(self, kind: str) -> list[str]:
        return [f"{kind}-{number}" for number in range(self._arguments.new)]

    async def _until_made(self, count: int) -> None:
        async with asyncio.timeout(3600):
            while len(self._made) < count:
                await self._world.clock.sleep(0.1)

    async def _until_busy(self) -> None:
        """Return half a second after a refresh of all has begun."""
        async with asyncio.timeout(2 * self._arguments.interval):
            await self._world.clock.sleep(1)  # those who began before have had their time
            known = len(self._world.remote.reads)
            while len(self._world.remote.reads) > known:  # a refresh is under way: wait until it is over
                known = len(self._world.remote.reads)
                await self._world.clock.sleep(1)
            while len(self._world.remote.reads) == known:
                await self._world.clock.sleep(0.05)
            await self._world.clock.sleep(0.5)

    async def _delays(self, created: list[float], kind: str) -> dict[str, float]:
        names = self._names(kind)
        async with asyncio.timeout(3600):
            while not all(name in self._made for name in names):
                await self._world.clock.sleep(0.1)
        delays = sorted(self._made[name] - at for name, at in zip(names, created, strict=True))
        percentiles = statistics.quantiles(delays, n=100, method="inclusive")
        return {"p50_s": round(percentiles[49], 3), "p99_s": round(percentiles[98], 3), "max_s": round(delays[-1], 3)}

    async def _refreshes(self) -> float:
        """Return how often each of the old ones is read in one interval, on average: 1, if new ones starve nobody."""
        world, cycles = self._world, 2
        before = len(world.remote.reads)
        await world.clock.sleep(cycles * self._arguments.interval)
        read = sum(key.startswith("old-") for _, key in world.remote.reads[before:])
        return round(read / cycles / float(self._arguments.secrets), 3)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""

    async def main() -> dict[str, Any]:
        return await _Bench(arguments).run()

    return run_virtual(main())


def main() -> int:
    parser = argparse.ArgumentParser(prog="secret_first_sync", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--secrets", type=int, default=2000)
    parser.add_argument("--new", type=int, default=50)
    parser.add_argument("--latency", type=float, default=50.0, help="of the store, in ms")
    parser.add_argument("--interval", type=int, default=60, help="seconds between two refreshes of one secret")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = measure(arguments)
    print(json.dumps(found))
    return int(found["burst"]["p99_s"] > P99_SECONDS_MAX or found["trickle"]["p99_s"] > P99_SECONDS_MAX)


if __name__ == "__main__":
    sys.exit(main())
