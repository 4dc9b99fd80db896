"""The part of the controller that syncs external secrets, put together.

It has informers of its own: rollouts do not wait for Secrets that this controller may not read, or for kinds that the
cluster does not serve.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.remote_clusters import RemoteClusters
from fairlead.controller.settings import Settings
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.kinds import NAMESPACES
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.events import EventRecorder
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Change
from fairlead.runtime.store import Store as Cache
from fairlead.runtime.workqueue import WorkQueue
from fairlead.secrets._opening import Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets.kinds import CLUSTER_SECRET_STORES, EXTERNAL_SECRETS, MANAGED_SELECTOR, SECRET_STORES, TARGETS
from fairlead.secrets.reconciler import ExternalSecretReconciler, Views
from fairlead.secrets.store_reconciler import StoreReconciler
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
from fairlead.secrets.stores.port import StoreContext
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.triggers import EXTERNAL_SECRET_INDEXES, TARGET_INDEXES, Triggers

log = structlog.get_logger(__name__)

COMPONENT = "external-secrets"  # as upstream's Events say it
_NAME = "externalsecret"  # in metrics, as upstream's
_STORE_WORKERS = 2
_TEMPLATE_THREADS = 2  # a hostile template may hold one for a second or two, and must hold nobody else up


class SecretsPart:
    """ExternalSecrets and their stores, for one term of leadership.

    Args:
        cluster: is watched and written to, behind the fence if there is one.
        as_manager: the same cluster as a field manager of that name sees it.
        settings: of the controller; in a single namespace there are no ClusterSecretStores.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        as_manager: Callable[[str], Cluster],
        metrics: ControllerMetrics,
        settings: Settings,
        rng: random.Random,
    ) -> None:
        namespace = settings.namespace
        self._informers = informers = Informers(cluster, clock, namespace=namespace, rng=rng)
        external_secrets = informers.add(EXTERNAL_SECRETS, indexes=EXTERNAL_SECRET_INDEXES)
        targets = informers.add(TARGETS, label_selector=MANAGED_SELECTOR, indexes=TARGET_INDEXES)
        stores: dict[Kind[Any], Cache[Any]] = {SECRET_STORES: informers.add(SECRET_STORES)}
        if not namespace and settings.secrets.cluster_stores:
            stores[CLUSTER_SECRET_STORES] = informers.add(CLUSTER_SECRET_STORES)
        namespaces: Cache[Manifest] | None = None if namespace else informers.add(NAMESPACES)
        caches: dict[Kind[Any], Cache[Any]] = {TARGETS: targets, EXTERNAL_SECRETS: external_secrets}
        self._planner = Planner(clock, settings=settings.stores, rng=rng)
        self._events = EventRecorder(cluster, clock, component=COMPONENT, rng=rng)
        self._threads = ThreadPoolExecutor(_TEMPLATE_THREADS, thread_name_prefix="templates")
        opened = Stores(
            StoreProviders().provider,
            StoreContext(
                clock=clock,
                credentials=ClusterCredentials(cluster),
                clusters=RemoteClusters(),
                environment={name: value for name, value in os.environ.items() if name.startswith("AWS_")},
                observe_call=metrics.secrets.on_provider_call,
            ),
        )
        queue: WorkQueue[ObjectKey] = WorkQueue(clock, rng=rng)
        metrics.queues.watch(_NAME, queue)
        self._secrets = ExternalSecretReconciler(
            informers.cluster,
            Views(
                external_secrets=external_secrets,
                targets=targets,
                stores=stores[SECRET_STORES],
                cluster_stores=stores.get(CLUSTER_SECRET_STORES),
                namespaces=namespaces,
            ),
            opened,
            self._planner,
            clock,
            recorder=self._events,
            wake=queue.add,
            as_manager=lambda name: CachedCluster(as_manager(name), caches, clock),
            executor=self._threads,
            hook=metrics.secrets,
            rng=rng,
            settings=settings.secrets,
        )
        triggers = Triggers(external_secrets)
        feed(external_secrets, queue, own_key)
        feed(targets, queue, triggers.by_target)
        if namespaces is not None:
            namespaces.subscribe(_relabelled(queue, triggers))
        self._controllers = [
            Controller(
                _NAME,
                queue,
                self._secrets.reconcile,
                clock=clock,
                workers=settings.workers.external_secrets,
                hook=metrics,
                rng=rng,
            )
        ]
        self._stores: list[StoreReconciler] = []
        for kind, view in stores.items():
            feed(view, queue, triggers.by_store)
            store_queue: WorkQueue[ObjectKey] = WorkQueue(clock, rng=rng)
            metrics.queues.watch(kind.kind.lower(), store_queue)
            reconciler = StoreReconciler(
                kind,
                informers.cluster,
                view,
                opened,
                self._planner,
                clock,
                recorder=self._events,
                wake=store_queue.add,
                hook=metrics.secrets,
                rng=rng,
                settings=settings.secrets,
            )
            self._stores.append(reconciler)
            feed(view, store_queue, own_key)
            self._controllers.append(
                Controller(
                    kind.kind.lower(),
                    store_queue,
                    reconciler.reconcile,
                    clock=clock,
                    workers=_STORE_WORKERS,
                    hook=metrics,
                    rng=rng,
                )
            )

    async def run(self) -> None:
        """Sync until `stop` is called, or cancelled; then log out of the stores."""
        try:
            async with asyncio.TaskGroup() as around:
                beside = [
                    around.create_task(self._informers.run(), name="secret-informers"),
                    around.create_task(self._events.run(), name="secret-events"),
                ]
                await self._informers.wait_synced()
                async with asyncio.TaskGroup() as work:
                    for controller in self._controllers:
                        work.create_task(controller.run(), name=controller.name)
                await self._events.stop()
                for task in beside:
                    task.cancel()
        finally:
            await self._secrets.close()
            for reconciler in self._stores:
                await reconciler.close()
            await self._planner.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Begin nothing new, and let `run` return once the caches have been filled."""
        for controller in self._controllers:
            controller.stop()

    @property
    def is_filled(self) -> bool:
        """Whether there is anything to finish."""
        return self._informers.has_synced

    @property
    def pending_events(self) -> int:
        """How many Events wait to be written."""
        return self._events.pending

    def troubles(self) -> list[str]:
        """Return why caches may be behind, one sentence per kind."""
        return [f"{kind}: {why}" for kind, why in self._informers.troubles().items()]


def _relabelled(queue: WorkQueue[ObjectKey], triggers: Triggers) -> Callable[[Change[Manifest]], None]:
    """Return what wakes the ExternalSecrets of a namespace: its labels open and close ClusterSecretStores to it."""

    def on_change(change: Change[Manifest]) -> None:
        if change.is_initial or change.old is None or change.new is None:
            return  # of a namespace that comes or goes, its ExternalSecrets come and go as well
        if change.old.metadata.labels != change.new.metadata.labels:
            for key in triggers.by_namespace(change.new):
                queue.add(key)

    return on_change
