"""The reference controller, put together: caches of what is watched, and the machines that act on them.

Everything here works over the ports, so the same controller runs on a real API server, on the simulated one over
HTTP, and in memory under virtual time. `fairlead.controller.main` adds the process around it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Protocol

import structlog

from fairlead.analysis.planner import TemplatePlanner
from fairlead.analysis.providers import ProviderFactory, ProviderRegistry, ProviderSettings, ProviderTools
from fairlead.analysis.reconciler import AnalysisRunReconciler
from fairlead.analysis.triggers import JOB_UID_LABEL, runs_of_job
from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.secret_wiring import SecretsPart
from fairlead.controller.settings import Settings
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.decision import Blocker, Event, earliest
from fairlead.core.kinds import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    JOBS,
    NAMESPACES,
    POD_TEMPLATES,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    AnalysisRun,
    Job,
)
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.traffic import EvidenceSource, RouterFactory, RouterTools
from fairlead.mesh_routing.routers.gatewayapi import GatewayApiRouting
from fairlead.mesh_routing.routers.leaving import CLAIM_INDEX, RouteKeeper, index_by_claim
from fairlead.mesh_routing.routers.waypoint import SERVICE_INDEX, WaypointRouting, index_by_service
from fairlead.mesh_routing.spec import GATEWAY_API_BLOCK, WAYPOINT_BLOCK, RoutingSettings
from fairlead.rollouts.reconciler import Marking, RolloutReconciler, Views
from fairlead.rollouts.triggers import INDEXES, Triggers, Wake, is_ours
from fairlead.rollouts.workload import StoredWorkloads
from fairlead.runtime.events import EventRecorder
from fairlead.runtime.informers import Informers
from fairlead.runtime.leases import FencedCluster, LeaderElection
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Change, Store
from fairlead.runtime.workqueue import Lane, WorkQueue

log = structlog.get_logger(__name__)

COMPONENT = "rollouts-controller"  # as upstream's Events say it
_BUILT_IN_ROUTERS: Mapping[str, Callable[[RouterTools, RoutingSettings], RouterFactory]] = {
    GATEWAY_API_BLOCK: GatewayApiRouting,
    WAYPOINT_BLOCK: WaypointRouting,
}


class Part(Protocol):
    """Something with caches of its own that runs for one term of leadership."""

    async def run(self) -> None:
        """Work until `stop` is called, or cancelled."""
        ...

    def stop(self) -> None:
        """Begin nothing new, and let `run` return."""
        ...

    @property
    def is_filled(self) -> bool:
        """Whether there is anything to finish."""
        ...


class Caches:
    """What is watched, in one store per kind; kept warm also while another replica leads."""

    def __init__(self, cluster: Cluster, clock: Clock, settings: Settings, rng: random.Random) -> None:
        self.informers = Informers(cluster, clock, namespace=settings.namespace, rng=rng)
        add = self.informers.add
        self.rollouts = add(ROLLOUTS, indexes=INDEXES[ROLLOUTS])
        self.replica_sets = add(REPLICA_SETS, indexes=INDEXES[REPLICA_SETS])
        self.services = add(SERVICES, indexes=INDEXES[SERVICES])
        self.slices = add(ENDPOINT_SLICES, indexes=INDEXES[ENDPOINT_SLICES])
        self.runs = add(ANALYSIS_RUNS, indexes=INDEXES[ANALYSIS_RUNS])
        self.jobs: Store[Job] = add(JOBS, label_selector=JOB_UID_LABEL)
        self.templates = add(ANALYSIS_TEMPLATES)
        # Cluster-scoped kinds need rights that a namespaced controller does not ask for.
        is_wide = not settings.namespace
        self.cluster_templates = add(CLUSTER_ANALYSIS_TEMPLATES) if is_wide else None
        self.namespaces = add(NAMESPACES) if is_wide else None
        self.routes = {
            kind.plural: add(kind, indexes={SERVICE_INDEX: index_by_service, CLAIM_INDEX: index_by_claim})
            for kind in (HTTP_ROUTES, GRPC_ROUTES)
        }
        self.gateways = add(GATEWAYS)
        # A pod template may be taken from these; few clusters have such a Rollout.
        deployments = add(DEPLOYMENTS, on_demand=True)
        pod_templates = add(POD_TEMPLATES, on_demand=True)
        self.workload_stores: dict[Kind[Any], Store[Any]] = {
            DEPLOYMENTS: deployments,
            REPLICA_SETS: self.replica_sets,
            POD_TEMPLATES: pod_templates,
        }
        self.workloads = StoredWorkloads(views=self.workload_stores, want=self.informers.want)


class _CountedRecorder:
    """Records Events, and counts them for the metrics."""

    def __init__(self, recorder: EventRecorder, metrics: ControllerMetrics) -> None:
        self._recorder = recorder
        self._metrics = metrics

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        self._metrics.on_event(str(event.type), event.reason)
        self._recorder.record(kind, metadata, event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subscription:
    """Whose changes wake which queue."""

    store: Store[Any]
    queue: WorkQueue[ObjectKey]
    wake: Callable[[Any, Any], Wake]

    def subscribe(self) -> Callable[[], None]:
        return self.store.subscribe(self._on_change)

    def _on_change(self, change: Change[Any]) -> None:
        woken = self.wake(change.old, change.new)
        lane = Lane.URGENT if woken.is_urgent else Lane.FIRST if change.is_initial else Lane.NORMAL
        for key in woken.keys:
            self.queue.add(key, lane)


class _Term:
    """The machines of one term of leadership: made anew for each, so that nothing of an earlier one lives on."""

    def __init__(self, parent: ReferenceController) -> None:
        settings, caches, clock = parent.settings, parent.caches, parent.clock
        cluster, rng = caches.informers.cluster, parent.rng
        self._clock = clock
        self._resync = settings.resync
        self._rng = rng
        self.background = _Background()
        self.rollouts: WorkQueue[ObjectKey] = WorkQueue(clock, rng=rng)
        self.runs: WorkQueue[ObjectKey] = WorkQueue(clock, rng=rng)
        parent.metrics.queues.watch("Rollouts", self.rollouts)
        parent.metrics.queues.watch("AnalysisRuns", self.runs)
        self.events = EventRecorder(cluster, clock, component=COMPONENT, rng=rng)
        recorder = _CountedRecorder(self.events, parent.metrics)
        jobs = caches.jobs
        provider_settings = ProviderSettings(prometheus_address=settings.prometheus_address)
        self.providers = ProviderRegistry(
            ProviderTools(cluster=cluster, clock=clock, settings=provider_settings, jobs=jobs), parent.providers
        )
        self.analysis = AnalysisRunReconciler(
            cluster,
            caches.runs,
            self.providers,
            clock,
            recorder=recorder,
            wake=self.runs.add,
            jobs=jobs,
            announcer=caches.runs,
        )
        tools = RouterTools(
            cluster=cluster,
            clock=clock,
            routes=caches.routes,
            services=caches.services,
            endpoint_slices=caches.slices,
            namespaces=caches.namespaces,
            gateways=caches.gateways,
            evidence=parent.evidence,
            wake=self.rollouts.add,
            spawn=self.background.spawn,
        )
        self.reconciler = RolloutReconciler(
            cluster,
            Views(
                rollouts=caches.rollouts,
                replica_sets=caches.replica_sets,
                services=caches.services,
                runs=caches.runs,
                endpoint_slices=caches.slices,
                workloads=caches.workloads,
            ),
            TemplatePlanner(caches.templates, caches.cluster_templates),
            routers(tools, settings),
            clock,
            recorder,
            instance_id=settings.instance_id,
            keeper=RouteKeeper(tools),
            marking=Marking(at_a_time=settings.workers.marked_pods, tries=settings.workers.marking_tries),
        )
        rollout_controller = Controller(
            "rollout",
            self.rollouts,
            self._resynced(self.reconciler.reconcile),
            clock=clock,
            workers=settings.workers.rollouts,
            hook=parent.metrics,
            rng=rng,
        )
        run_controller = Controller(
            "analysis_run",
            self.runs,
            self._resynced(self.analysis.reconcile),
            clock=clock,
            workers=settings.workers.analysis_runs,
            hook=parent.metrics,
            rng=rng,
        )
        self.controllers = (rollout_controller, run_controller) if settings.with_rollouts else (run_controller,)
        self.secrets = parent._secrets()
        self.gitops = parent._gitops(parent._fenced) if parent._gitops is not None else None
        triggers = Triggers(caches.rollouts, instance_id=settings.instance_id)

        def own_run(old: AnalysisRun | None, new: AnalysisRun | None) -> Wake:
            found = new or old
            ours = found is not None and is_ours(found, settings.instance_id)
            return Wake((found.metadata.key,)) if found is not None and ours else Wake()

        def run_of_job(old: Job | None, new: Job | None) -> Wake:
            return Wake(runs_of_job(new)) if new is not None else Wake()

        rollouts = self.rollouts
        self.subscriptions = (
            _Subscription(store=caches.rollouts, queue=rollouts, wake=triggers.rollout),
            _Subscription(store=caches.replica_sets, queue=rollouts, wake=triggers.replica_set),
            _Subscription(store=caches.services, queue=rollouts, wake=triggers.service),
            _Subscription(store=caches.slices, queue=rollouts, wake=triggers.endpoint_slice),
            _Subscription(store=caches.runs, queue=rollouts, wake=triggers.run),
            *(_Subscription(store=store, queue=rollouts, wake=triggers.route) for store in caches.routes.values()),
            *(
                _Subscription(store=store, queue=rollouts, wake=triggers.template)
                for store in (caches.templates, caches.cluster_templates)
                if store is not None
            ),
            *(
                _Subscription(store=store, queue=rollouts, wake=partial(triggers.workload, kind))
                for kind, store in caches.workload_stores.items()
            ),
            _Subscription(store=caches.runs, queue=self.runs, wake=own_run),
            _Subscription(store=jobs, queue=self.runs, wake=run_of_job),
        )

    def _resynced(
        self, reconcile: Callable[[ObjectKey], Coroutine[Any, Any, datetime | None]]
    ) -> Callable[[ObjectKey], Coroutine[Any, Any, datetime | None]]:
        """Return the function with a last resort: an object is looked at again now and then, whatever was missed."""

        async def once(key: ObjectKey) -> datetime | None:
            wake_at = await reconcile(key)
            spread = self._resync * (1 + self._rng.random() * 0.1)  # so that thousands do not come at once
            return earliest(wake_at, self._clock.now() + spread)

        return once

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Feed the queues: first with everything that is there, then with what changes."""
        undo = [subscription.subscribe() for subscription in self.subscriptions]
        try:
            yield
        finally:
            for unsubscribe in undo:
                unsubscribe()

    def stop(self) -> None:
        for controller in self.controllers:
            controller.stop()
        for part in (self.secrets, self.gitops):
            if part is not None:
                part.stop()


class _Background:
    """Small things that run beside the machines (polls of the data plane) and end with the term."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something; its failure is logged and ends nothing else."""
        task = asyncio.create_task(self._watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watched(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # the poll of one route must not take the controller down
            log.error("background_task_broken", exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def routers(tools: RouterTools, settings: Settings) -> dict[str, RouterFactory]:
    """Return the routers by the name under `trafficRouting.plugins`: ours, then what is installed beside them."""
    routing = RoutingSettings(settle=settings.traffic.settle, drain=settings.traffic.drain)
    found = {name: make(tools, routing) for name, make in _BUILT_IN_ROUTERS.items()}
    for point in entry_points(group="fairlead.traffic_routers"):
        if point.name in found:
            continue
        try:
            found[point.name] = point.load()(tools, routing)
        except Exception as error:  # somebody else's code: without it, Rollouts that name it are refused
            log.error("traffic_router_broken", router=point.name, exc_info=error)
    return found


class ReferenceController:
    """Rollouts and AnalysisRuns of a cluster, taken care of.

    Args:
        cluster: the API server; own writes enter the caches at once.
        clock: for everything.
        evidence: asks the data plane whether weights were taken; None: the settle delay decides.
        election: lead only while the lease is ours; None: always.
        providers: metric providers beside the built-in and the installed ones, by name.
        as_manager: the same cluster as a field manager of that name sees it; None: external secrets are not synced.
        gitops: makes the part that looks after Applications, given what fences a cluster; None: nobody does.
        rng: draws jitter; a seeded one makes a simulated run repeatable.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        settings: Settings | None = None,
        *,
        metrics: ControllerMetrics | None = None,
        evidence: EvidenceSource | None = None,
        election: LeaderElection | None = None,
        providers: Mapping[str, ProviderFactory] | None = None,
        as_manager: Callable[[str], Cluster] | None = None,
        gitops: Callable[[Callable[[Cluster], Cluster]], Part] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.clock = clock
        self.settings = settings or Settings()
        self.metrics = metrics or ControllerMetrics()
        self.evidence = evidence
        self.providers = providers
        self.rng = rng or random.Random()
        self._election = election
        self._cluster = self._fenced(cluster)
        self._as_manager = as_manager
        self._gitops = gitops
        self.caches = Caches(self._cluster, clock, self.settings, self.rng)
        self._term: _Term | None = None
        self._stopping = asyncio.Event()
        self._synced = False

    def _fenced(self, cluster: Cluster) -> Cluster:
        return cluster if self._election is None else FencedCluster(cluster, self._election.fence, self.clock)

    def _secrets(self) -> SecretsPart | None:
        as_manager = self._as_manager
        if as_manager is None:
            return None
        return SecretsPart(
            self._cluster,
            self.clock,
            as_manager=lambda name: self._fenced(as_manager(name)),
            metrics=self.metrics,
            settings=self.settings,
            rng=self.rng,
        )

    async def run(self) -> None:
        """Work until `stop` is called (then return when what runs has ended), or cancelled."""
        async with asyncio.TaskGroup() as tasks:
            informing = tasks.create_task(self.caches.informers.run(), name="informers")
            stopping = tasks.create_task(self._stopping.wait(), name="stopping")
            working = tasks.create_task(self._work(), name="working")
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and self._term is None:
                working.cancel()  # it waits for caches or for the lease: there is nothing to finish
            elif not working.done() and self._term is not None:
                self._term.stop()
                await self._finish(working)
            await asyncio.gather(working, return_exceptions=True)
            for task in (stopping, informing):
                task.cancel()

    async def _finish(self, working: asyncio.Task[None]) -> None:
        """Wait for running reconciliations, but not for ever: cutting one off is as harmless as a crash."""
        grace = asyncio.create_task(self.clock.sleep(self.settings.stop_grace.total_seconds()))
        await asyncio.wait((working, grace), return_when=asyncio.FIRST_COMPLETED)
        grace.cancel()
        if not working.done():
            log.warning("stop_grace_exceeded", seconds=self.settings.stop_grace.total_seconds())
            working.cancel()

    async def _work(self) -> None:
        await self.caches.informers.wait_synced()
        self._synced = True
        for kind in self.caches.informers.unserved():
            log.warning("kind_not_served", resource=kind)
        log.info("caches_filled", rollouts=len(self.caches.rollouts), runs=len(self.caches.runs))
        if self._election is None:
            await self._lead()
        else:
            await self._election.run(self._lead)

    async def _lead(self) -> None:
        term = _Term(self)
        self._term = term
        try:
            async with asyncio.TaskGroup() as around:
                recording = around.create_task(term.events.run(), name="events")
                with term.fed():
                    async with asyncio.TaskGroup() as work:
                        for controller in term.controllers:
                            work.create_task(controller.run(), name=controller.name)
                        if term.secrets is not None:
                            work.create_task(self._until_stopped(term.secrets), name="secrets")
                        if term.gitops is not None:
                            work.create_task(self._until_stopped(term.gitops), name="gitops")
                await term.analysis.close()
                await term.events.stop()
                recording.cancel()
        finally:
            self._term = None
            term.providers.close()
            await term.background.close()

    async def _until_stopped(self, part: Part) -> None:
        """Run the part; asked to stop before its caches are filled, it has nothing to finish."""
        running = asyncio.create_task(part.run(), name="part")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and part.is_filled:
                await asyncio.wait((running,))
        finally:
            for task in (running, stopping):
                task.cancel()
            results = await asyncio.gather(running, stopping, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    def stop(self) -> None:
        """Begin nothing new, and let `run` return."""
        self._stopping.set()

    # --- what people and probes ask -----------------------------------------------------------------------------------

    @property
    def is_leading(self) -> bool:
        return self._term is not None

    def not_ready(self) -> list[str]:
        """Return why the controller cannot do its work yet, as sentences."""
        if not self._synced:
            troubles = self.caches.informers.troubles()
            return [f"{kind}: {why}" for kind, why in troubles.items()] or ["the caches are being filled"]
        return []

    async def explain(self, key: ObjectKey) -> Blocker | None:
        """Return what a Rollout waits for now; None: for nothing, or it is not ours to know."""
        term = self._term
        decision = await term.reconciler.explain(key) if term is not None else None
        return decision.blocked_on if decision is not None else None

    def look(self) -> None:
        """Take a look at the objects for the metrics."""
        caches = self.caches
        self.metrics.look(caches.rollouts, caches.runs, caches.templates, caches.cluster_templates)
