"""The part of the controller that looks after Applications, put together.

It has informers of its own: two sets, since the Applications may live in another cluster than what they apply. The
cluster that holds them may be unreachable when this starts: then what was kept of them is taken, and corrected by the
first list.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import msgspec
import structlog

from fairlead.agentsync._belief import as_json
from fairlead.agentsync._performing import Managers, Performer
from fairlead.agentsync._reporting import Reporter
from fairlead.agentsync.kinds import APP_PROJECTS, APPLICATIONS, REFRESH, Application, AppProject
from fairlead.agentsync.offline import NoStore, OfflineError, OfflineStore, Shelf
from fairlead.agentsync.reconciler import ApplicationReconciler, Views
from fairlead.agentsync.resources import Object, ResourceKind
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources.port import ManifestSources
from fairlead.agentsync.spec import decode_spec
from fairlead.agentsync.tracking import application_name, owner_of
from fairlead.controller.gitops_live import LiveWatches
from fairlead.controller.gitops_metrics import GitOpsMetrics, Watching
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.discovery import Discovery
from fairlead.core.errors import ClusterError, SpecError
from fairlead.core.objects import Kind, ObjectKey
from fairlead.runtime.discovery import DiscoveredKinds
from fairlead.runtime.events import EventRecorder
from fairlead.runtime.informers import Informers, first_or_normal
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Change, Store
from fairlead.runtime.workqueue import WorkQueue

log = structlog.get_logger(__name__)

COMPONENT = "argocd-application-controller"  # as upstream's Events say it
WORKERS = 20  # upstream's status processors
_PATIENCE_SECONDS = 10.0  # how long the cluster of the Applications may take before what was kept is taken instead
_REFRESHES_AT_ONCE = 20  # one push may concern thousands of Applications
_SETTLE_SECONDS = 0.2  # changes of a Deployment's rollout come in swarms: one look for all of them
_DEFINITIONS = "CustomResourceDefinition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The cluster that is applied to.

    Attributes:
        cluster: is watched.
        managers: the same as a field manager sees it, behind the fence if there is one.
        discovery: tells what it serves.
        namespaces: the only ones to look at; empty: all that is allowed.
    """

    cluster: Cluster
    managers: Managers
    discovery: Discovery
    namespaces: tuple[str, ...] = ()


class GitOpsPart:
    """Applications and their projects, for one term of leadership.

    Args:
        control: holds the Applications; is watched and written to, behind the fence if there is one.
        destination: is applied to.
        sources: renders.
        clock: for everything.
        namespace: where Applications and projects are.
        offline: keeps what is needed when something cannot be reached.
        keeps_applications: whether the Applications themselves are kept too, since they live elsewhere.
        metrics: counts.
        workers: Applications that are looked at at a time.
        rng: draws jitter.
    """

    def __init__(
        self,
        control: Cluster,
        destination: Destination,
        sources: ManifestSources,
        clock: Clock,
        *,
        namespace: str = "argocd",
        settings: GitOpsSettings | None = None,
        offline: OfflineStore | None = None,
        keeps_applications: bool = False,
        metrics: GitOpsMetrics | None = None,
        workers: int = WORKERS,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()
        settings = settings or GitOpsSettings()
        settings = replace(settings, machine=replace(settings.machine, control_namespace=namespace))
        self._clock = clock
        self._metrics = metrics
        self._offline = offline or NoStore()
        self._keeps_applications = keeps_applications
        self._informers = Informers(control, clock, namespace=namespace, rng=rng)
        self.applications: Store[Application] = self._informers.add(APPLICATIONS)
        self.projects: Store[AppProject] = self._informers.add(APP_PROJECTS)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(clock, rng=rng)
        self._kinds = DiscoveredKinds(destination.discovery, clock)
        self._live = LiveWatches(
            destination.cluster,
            clock,
            owner=_owner(settings),
            name=lambda key: application_name(key.namespace, key.name, control_namespace=namespace),
            wake=self._changed,
            namespaces=destination.namespaces,
            rng=rng,
        )
        self._live.on_change(self._definition_changed)
        self._events = EventRecorder(control, clock, component=COMPONENT, rng=rng)
        self._reporter = Reporter(self._informers.cluster, self._offline, clock, hook=metrics)
        self.reconciler = ApplicationReconciler(
            Views(applications=self.applications, projects=self.projects),
            self._reporter,
            self._live,
            self._kinds,
            Performer(_CachedManagers(destination.managers, self._live), self._live, self._kinds, clock),
            sources,
            self._offline,
            clock,
            recorder=self._events,
            wake=self._queue.add,
            settings=settings,
            hook=metrics,
            rng=rng,
        )
        self._control = self._informers.cluster
        self._controller = Controller(
            "application", self._queue, self.reconciler.reconcile, clock=clock, workers=workers, hook=metrics, rng=rng
        )
        self._unkept: dict[tuple[Shelf, str], bytes | None] = {}  # None: to be dropped
        self._keeping = asyncio.Event()

    # --- running -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until `stop` is called (then return when what runs has ended), or cancelled."""
        try:
            async with asyncio.TaskGroup() as around:
                beside = [
                    around.create_task(self._informers.run(), name="application-informers"),
                    around.create_task(self._events.run(), name="application-events"),
                    around.create_task(self._live.run(), name="live-watches"),
                    around.create_task(self._keep(), name="application-keeping"),
                    around.create_task(self._tidy(), name="application-tidying"),
                ]
                await self.reconciler.recover()
                await self._filled()
                self.applications.subscribe(self._application_changed)
                self.projects.subscribe(self._project_changed)
                if self._keeps_applications:
                    self.applications.subscribe(lambda change: self._to_keep(Shelf.APPLICATION, change))
                    self.projects.subscribe(lambda change: self._to_keep(Shelf.PROJECT, change))
                await self._controller.run()
                await self._events.stop()
                for task in beside:
                    task.cancel()
        finally:
            await self.reconciler.close()
            await self._live.close()
            await self._offline.close()

    def stop(self) -> None:
        """Begin nothing new, and let `run` return."""
        self._controller.stop()

    async def _filled(self) -> None:
        """Wait until the Applications are known; if that takes too long, take what was kept of them."""
        waiting = asyncio.create_task(self._informers.wait_synced())
        patience = asyncio.create_task(self._clock.sleep(_PATIENCE_SECONDS))
        try:
            await asyncio.wait((waiting, patience), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and self._keeps_applications:
                await self._take_kept()
            if not waiting.done() and not len(self.applications):
                await waiting
        finally:
            for task in (waiting, patience):
                task.cancel()
            await asyncio.gather(waiting, patience, return_exceptions=True)

    async def _take_kept(self) -> None:
        kinds: tuple[tuple[Shelf, Kind[Any], Store[Any]], ...] = (
            (Shelf.PROJECT, APP_PROJECTS, self.projects),
            (Shelf.APPLICATION, APPLICATIONS, self.applications),
        )
        for shelf, kind, store in kinds:
            try:
                kept = await self._offline.read(shelf)
            except OfflineError as error:
                log.error("offline_store_unreadable", error=str(error))
                continue
            for name, content in kept.items():
                try:
                    store.put(kind.decode(content))
                except DECODE_ERRORS:
                    log.error("offline_entry_broken", shelf=str(shelf), name=name)
            log.warning("control_cluster_unreachable", taken=len(kept), shelf=str(shelf))

    # --- keeping Applications for when their cluster is away ---------------------------------------------------------

    def _to_keep(self, shelf: Shelf, change: Change[Any]) -> None:
        found = change.new
        name = str(change.key)
        if found is None:
            self._unkept[shelf, name] = None
        elif isinstance(found, Application):
            # The status is kept only while it cannot be reported: everything else is in the cluster, or comes again.
            self._unkept[shelf, name] = msgspec.json.encode(as_json(found))
        else:
            self._unkept[shelf, name] = msgspec.json.encode({"metadata": found.metadata, "spec": found.spec})
        self._keeping.set()

    async def _keep(self) -> None:
        """Write what has changed, the newest of each, at most once a second."""
        written: dict[tuple[Shelf, str], bytes] = {}  # digests
        while True:
            await self._keeping.wait()
            self._keeping.clear()
            batch, self._unkept = self._unkept, {}
            for (shelf, name), content in batch.items():
                try:
                    if content is None:
                        written.pop((shelf, name), None)
                        await self._offline.drop(shelf, name)
                    elif written.get((shelf, name)) != (digest := sha256(content).digest()):
                        await self._offline.keep(shelf, name, content)
                        written[shelf, name] = digest
                except OfflineError as error:
                    log.error("application_not_kept", object=name, error=str(error))
            await self._clock.sleep(1.0)

    async def _tidy(self) -> None:
        """Keep nothing of Applications that went while nobody of us was there to see it."""
        await self._informers.wait_synced()
        stores: tuple[tuple[Shelf, Store[Any]], ...] = (
            (Shelf.DESIRED, self.applications),
            (Shelf.REPORT, self.applications),
            (Shelf.APPLICATION, self.applications),
            (Shelf.PROJECT, self.projects),
        )
        for shelf, store in stores:
            if not store.served:
                continue  # a definition that is missing for a while takes nothing along
            try:
                kept = await self._offline.read(shelf)
                for name in kept:
                    namespace, _, own = name.rpartition("/")
                    key = ObjectKey(namespace, own)
                    if store.get(key) is None and key not in store.problems():
                        log.info("offline_entry_outlived", shelf=str(shelf), name=name)
                        await self._offline.drop(shelf, name)
                        await self.reconciler.outlive(key)
            except OfflineError as error:
                log.error("offline_store_unreadable", error=str(error))

    # --- what wakes whom ---------------------------------------------------------------------------------------------

    def _changed(self, application: ObjectKey, is_first: bool) -> None:
        if is_first:
            self._queue.add(application)
        else:
            self._queue.add_after(application, _SETTLE_SECONDS)

    def _application_changed(self, change: Change[Application]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and self._reporter.is_writing(change.key) and _is_as_asked(old, new):
            return  # the answer to our own report: whoever made it knows
        self._queue.add(change.key, first_or_normal(change))

    def _definition_changed(self, kind: ResourceKind) -> None:
        if kind.kind == _DEFINITIONS:
            self._kinds.doubt()

    def _project_changed(self, change: Change[AppProject]) -> None:
        if change.is_initial:
            return
        for application in self.applications.list():
            try:
                project = decode_spec(application.spec).project_name
            except SpecError:
                continue
            if project == change.key.name:
                self._queue.add(application.metadata.key)

    async def refresh(self, applications: Iterable[ObjectKey]) -> None:
        """Have Applications compared with what their sources say now, as the annotation of a person would."""
        patch = MergePatch({"metadata": {"annotations": {REFRESH: "normal"}}})
        limit = asyncio.Semaphore(_REFRESHES_AT_ONCE)

        async def ask(key: ObjectKey) -> None:
            async with limit:
                try:
                    await self._control.patch(APPLICATIONS, key, patch)
                except ClusterError as error:
                    log.warning("refresh_not_asked_for", object=str(key), error=str(error))

        await asyncio.gather(*map(ask, applications))

    # --- people and probes -------------------------------------------------------------------------------------------

    @property
    def is_filled(self) -> bool:
        """Whether there is anything to finish."""
        return self._informers.has_synced

    def troubles(self) -> list[str]:
        """Return why something may be behind, one sentence each."""
        found = [f"{kind}: {why}" for kind, why in self._informers.troubles().items()]
        if pending := self._reporter.pending:
            found.append(f"{len(pending)} Applications wait to be reported on")
        return found + self._live.troubles()

    def look(self) -> None:
        """Take a look at the objects for the metrics."""
        if self._metrics is not None:
            self._metrics.look(
                self.applications, lambda: Watching(kinds=len(self._live.watched), objects=self._live.count)
            )


class _CachedManagers:
    """The destination as field managers see it, real writes entering the caches."""

    def __init__(self, inner: Managers, live: LiveWatches) -> None:
        self._inner = inner
        self._live = live
        self._made: dict[tuple[str, bool, bool], Cluster] = {}

    def __call__(self, field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
        key = (field_manager, dry_run, strict)
        if key not in self._made:
            cluster = self._inner(field_manager, dry_run=dry_run, strict=strict)
            self._made[key] = cluster if dry_run else self._live.cached(cluster)
        return self._made[key]


def _is_as_asked(old: Application, new: Application) -> bool:
    """Whether nothing differs that a person would change."""
    one, other = old.metadata, new.metadata
    return (
        bytes(old.spec) == bytes(new.spec)
        and bytes(old.operation) == bytes(new.operation)
        and (one.annotations, one.labels, one.finalizers, one.deletion_timestamp)
        == (other.annotations, other.labels, other.finalizers, other.deletion_timestamp)
    )


def _owner(settings: GitOpsSettings) -> Callable[[Object], str]:
    system = settings.system

    def owner(found: Object) -> str:
        return owner_of(
            found,
            method=system.tracking_method,
            label_key=system.label_key,
            installation_id=system.installation_id,
        )

    return owner
