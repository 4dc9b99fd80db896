"""The process that `secret_refresh` measures: the part of the reference controller that syncs external secrets.

It speaks JSON lines on standard output: `{"synced": N}` as first syncs end, and on each line of standard input what has
happened since the last one. The end of standard input ends it, and so does SIGTERM.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import signal
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from fairlead.controller.main import COLLECTOR_THRESHOLDS
from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.secret_metrics import SecretMetrics
from fairlead.controller.secret_wiring import SecretsPart
from fairlead.controller.settings import Settings
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from fairlead.runtime.clock import SystemClock

REPORT_EVERY = 50  # first syncs


class Syncs(SecretMetrics):
    """What the reconcilers and stores did since the last `taken`; and the usual metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.at: dict[ObjectKey, list[float]] = {}
        self.last: dict[ObjectKey, float] = {}
        self.gaps: list[float] = []
        self.failed = 0
        self.first: set[ObjectKey] = set()
        self.calls: Counter[str] = Counter()

    def on_sync(self, key: ObjectKey, *, failed: bool) -> None:
        super().on_sync(key, failed=failed)
        if failed:
            self.failed += 1
            return
        now = time.monotonic()
        self.at.setdefault(key, []).append(now)
        if key in self.last:
            self.gaps.append(now - self.last[key])
        self.last[key] = now
        if key not in self.first:
            self.first.add(key)
            if len(self.first) % REPORT_EVERY == 0:
                say(synced=len(self.first))

    def on_provider_call(self, provider: str, call: str, succeeded: bool) -> None:
        super().on_provider_call(provider, call, succeeded)
        self.calls[call] += 1

    def taken(self) -> dict[str, Any]:
        """Return it, and begin anew."""
        found = {
            "refreshes": sum(map(len, self.at.values())),
            "keys": len(self.at),
            "by_key": sorted(Counter(map(len, self.at.values())).items()),
            "gap_max": max(self.gaps, default=0.0),
            "failed": self.failed,
            "calls": dict(sorted(self.calls.items())),
        }
        self.at, self.gaps, self.failed = {}, [], 0
        self.calls.clear()
        return found


def say(**found: Any) -> None:
    print(json.dumps(found), flush=True)


async def serve(kubeconfig: str) -> None:
    """Run the controllers until standard input ends."""
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    metrics, clock = ControllerMetrics(secrets=Syncs), SystemClock()
    syncs = metrics.secrets
    assert isinstance(syncs, Syncs)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(await connect(kubeconfig, hook=metrics))
        part = SecretsPart(
            cluster,
            clock,
            as_manager=cluster.as_manager,
            metrics=metrics,
            settings=Settings(),
            rng=random.Random(),
        )
        running = asyncio.create_task(part.run())
        stack.push_async_callback(_ended, running)
        while not part.is_filled:  # noqa: ASYNC110  # as a probe would ask
            await asyncio.sleep(0.02)
        say(ready=True)
        while await reader.readline():
            say(**syncs.taken(), pending_events=part.pending_events)
        part.stop()
        await asyncio.wait((running,), timeout=10)


async def _ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    asyncio.run(serve(sys.argv[1]))
