"""What memory ExternalSecrets take that are in order. Prints one JSON line.

`python -m benchmarks.secret_memory [--secrets 1000] [--keys 200] [--interval 30]`

On a real control plane and a real OpenBao, as in `secret_refresh`, the process of the controllers syncs so many
ExternalSecrets of two keys each, refreshes them for a while, and then twice as many. Measured are, of that process:

- `base_mib`: its proportional set size with no object at all; `once_mib`, `twice_mib`: with so many, and twice as many;
- `worked_slope_mib`: what the second lot added, per 1,000; what is loaded at the first sync is no part of it;
- `restarted_mib`: of a process that was started afterwards on all of them; `slope_mib`: what they add to it, per 1,000.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from typing import Any

import structlog

from benchmarks.secret_refresh import Process, create, prepare, process, provider
from fairlead.kube.config import connect
from tests.controlplane import plane as planes


async def _settled(running: Process, seconds: float) -> float:
    """Return the size after some refreshes."""
    await asyncio.sleep(seconds)
    return running.pss_mib


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    count, pause = arguments.secrets, arguments.interval * 1.5
    first = argparse.Namespace(secrets=count, keys=arguments.keys, interval=arguments.interval)
    second = argparse.Namespace(secrets=2 * count, keys=arguments.keys, interval=arguments.interval)
    with planes.started() as plane, provider("vault", arguments.keys) as source:
        async with await connect(str(plane.kubeconfig)) as cluster:
            await prepare(cluster, source)
            with process(plane, source.environment) as running:
                await asyncio.to_thread(running.until, "ready", True)
                base = await _settled(running, 3)
                await create(cluster, source, first)
                await asyncio.to_thread(running.until, "synced", count)
                once = await _settled(running, pause)
                await create(cluster, source, second)
                await asyncio.to_thread(running.until, "synced", 2 * count)
                twice = await _settled(running, pause)
            with process(plane, source.environment) as restarted:
                await asyncio.to_thread(restarted.until, "synced", 2 * count)
                after = await _settled(restarted, pause)
    return {
        "benchmark": "secret_memory",
        "secrets": count,
        "keys": arguments.keys,
        "interval_s": arguments.interval,
        "base_mib": round(base, 1),
        "once_mib": round(once, 1),
        "twice_mib": round(twice, 1),
        "restarted_mib": round(after, 1),
        "worked_slope_mib": round((twice - once) * 1000 / count, 1),
        "slope_mib": round((after - base) * 1000 / (2 * count), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="secret_memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--secrets", type=int, default=1000, help="of the first lot; a multiple of 50")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--interval", type=int, default=30, help="seconds between two refreshes of one secret")
    arguments = parser.parse_args()
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
    )
    print(json.dumps(asyncio.run(measure(arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
