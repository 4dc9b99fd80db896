"""The process that `secret_refresh` measures: the controllers of secrets, and nothing else of fairlead.

It speaks JSON lines on standard output: `{"synced": N}` as first syncs end, and on each line of standard input what has
happened since the last one. The end of standard input ends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from fairlead.controller.remote_clusters import RemoteClusters
from fairlead.core.conditions import Condition
from fairlead.core.kinds import NAMESPACES
from fairlead.core.objects import Kind, ObjectKey
from fairlead.kube.client import KubeCluster
from fairlead.kube.config import connect
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.clock import SystemClock
from fairlead.runtime.events import EventRecorder
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Store as Cache
from fairlead.runtime.workqueue import WorkQueue
from fairlead.secrets._opening import Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets.kinds import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    MANAGED_SELECTOR,
    SECRET_STORES,
    TARGETS,
)
from fairlead.secrets.reconciler import ExternalSecretReconciler, Views
from fairlead.secrets.store_reconciler import StoreReconciler
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
from fairlead.secrets.stores.port import StoreContext
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.triggers import EXTERNAL_SECRET_INDEXES, TARGET_INDEXES, Triggers

WORKERS = 30  # each waits for three writes, one after the other, of which an API server takes many at a time
REPORT_EVERY = 50  # first syncs


class Syncs:
    """What the reconcilers and stores did since the last `taken`."""

    def __init__(self) -> None:
        self.at: dict[ObjectKey, list[float]] = {}
        self.last: dict[ObjectKey, float] = {}
        self.gaps: list[float] = []
        self.failed = 0
        self.first: set[ObjectKey] = set()
        self.calls: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def on_sync(self, key: ObjectKey, *, failed: bool) -> None:
        if failed:
            self.failed += 1
            return
        now = time.monotonic()
        self.at.setdefault(key, []).append(now)
        if key in self.last:
            self.gaps.append(now - self.last[key])
        self.last[key] = now
        self.first.add(key)
        if len(self.first) % REPORT_EVERY == 0:
            say(synced=len(self.first))

    def on_condition(self, kind: Kind[Any], key: ObjectKey, condition: Condition) -> None:
        """Count nothing."""

    def on_gone(self, kind: Kind[Any], key: ObjectKey) -> None:
        """Count nothing."""

    def on_call(self, provider: str, call: str, succeeded: bool) -> None:
        self.calls[call] += 1

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        self.requests[f"{verb} {resource}"] += 1

    def taken(self) -> dict[str, Any]:
        """Return it, and begin anew."""
        found = {
            "refreshes": sum(map(len, self.at.values())),
            "keys": len(self.at),
            "by_key": sorted(Counter(map(len, self.at.values())).items()),
            "gap_max": max(self.gaps, default=0.0),
            "failed": self.failed,
            "calls": dict(sorted(self.calls.items())),
            "requests": {name: count for name, count in sorted(self.requests.items()) if not name.startswith("watch")},
        }
        self.at, self.gaps, self.failed = {}, [], 0
        self.calls.clear()
        self.requests.clear()
        return found


def say(**found: Any) -> None:
    print(json.dumps(found), flush=True)


@asynccontextmanager
async def controllers(cluster: KubeCluster, syncs: Syncs) -> AsyncIterator[None]:
    """Run the controllers of secrets on a cluster."""
    clock = SystemClock()
    informers = Informers(cluster, clock)
    external_secrets = informers.add(EXTERNAL_SECRETS, indexes=EXTERNAL_SECRET_INDEXES)
    stores = informers.add(SECRET_STORES)
    cluster_stores = informers.add(CLUSTER_SECRET_STORES)
    targets = informers.add(TARGETS, label_selector=MANAGED_SELECTOR, indexes=TARGET_INDEXES)
    namespaces = informers.add(NAMESPACES)
    caches: dict[Kind[Any], Cache[Any]] = {TARGETS: targets, EXTERNAL_SECRETS: external_secrets}
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    known = Stores(
        StoreProviders().provider,
        StoreContext(
            clock=clock,
            credentials=ClusterCredentials(cluster),
            clusters=RemoteClusters(),
            environment=environment,
            observe_call=syncs.on_call,
        ),
    )
    planner = Planner(clock)
    recorder = EventRecorder(cluster, clock, component="external-secrets")
    queue: WorkQueue[ObjectKey] = WorkQueue(clock)
    views = Views(
        external_secrets=external_secrets,
        targets=targets,
        stores=stores,
        cluster_stores=cluster_stores,
        namespaces=namespaces,
    )
    reconciler = ExternalSecretReconciler(
        informers.cluster,
        views,
        known,
        planner,
        clock,
        recorder=recorder,
        wake=queue.add,
        as_manager=lambda name: CachedCluster(cluster.as_manager(name), caches, clock),
        hook=syncs,
    )
    triggers = Triggers(external_secrets)
    feed(external_secrets, queue, own_key)
    feed(targets, queue, triggers.by_target)
    feed(stores, queue, triggers.by_store)
    feed(cluster_stores, queue, triggers.by_store)
    loops = [Controller("externalsecret", queue, reconciler.reconcile, clock=clock, workers=WORKERS)]
    store_reconcilers = []
    for kind, view in ((SECRET_STORES, stores), (CLUSTER_SECRET_STORES, cluster_stores)):
        store_queue: WorkQueue[ObjectKey] = WorkQueue(clock)
        store_reconciler = StoreReconciler(
            kind, informers.cluster, view, known, planner, clock, recorder=recorder, wake=store_queue.add
        )
        store_reconcilers.append(store_reconciler)
        feed(view, store_queue, own_key)
        loops.append(Controller(kind.kind.lower(), store_queue, store_reconciler.reconcile, clock=clock, workers=2))
    tasks = [asyncio.create_task(informers.run()), asyncio.create_task(recorder.run())]
    try:
        await informers.wait_synced()
        tasks += [asyncio.create_task(loop.run()) for loop in loops]
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reconciler.close()
        for store_reconciler in store_reconcilers:
            await store_reconciler.close()
        await planner.close()


async def serve(kubeconfig: str) -> None:
    syncs = Syncs()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(await connect(kubeconfig, hook=syncs))
        await stack.enter_async_context(controllers(cluster, syncs))
        say(ready=True)
        while await reader.readline():
            say(**syncs.taken())


if __name__ == "__main__":
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    asyncio.run(serve(sys.argv[1]))
