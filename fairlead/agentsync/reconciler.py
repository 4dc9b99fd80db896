"""Takes Applications one decision further: observe, decide, act, store.

What is kept between calls, per Application and in memory: what was rendered last, what we hold the Application to be,
and what is under way. Rendering and acting are tasks of their own that wake the Application when they are over: no call
waits for Git, and none for a wave of a thousand objects. Losing all of it, as in a crash, costs one more render and
repeats actions that are harmless when repeated.

Two clusters meet here, and they may be one: the *control* cluster holds the Applications, the *destination* is where
they are applied. When the control cluster or Git cannot be reached, what is known goes on being healed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from fairlead.agentsync._belief import believed
from fairlead.agentsync._claims import claimed, is_rollout
from fairlead.agentsync._judgement import asks_for_server_side_diff, diff_options, differ
from fairlead.agentsync._live import LiveView, Sight, Wanted
from fairlead.agentsync._performing import Performer
from fairlead.agentsync._rendering import RenderHook, Renderings, Renders
from fairlead.agentsync._reporting import Reporter
from fairlead.agentsync._serverdiff import ROUNDS_MAX, ServerDiffs
from fairlead.agentsync._surroundings import Surroundings
from fairlead.agentsync._wanting import Need, need
from fairlead.agentsync._writing import DryRuns, Manner
from fairlead.agentsync.actions import Action, ApplyWave, DryRun, Prune, Render
from fairlead.agentsync.diff import DiffOptions
from fairlead.agentsync.kinds import APPLICATIONS, Application, AppProject
from fairlead.agentsync.machine import (
    ApplicationDecision,
    Subject,
    Tools,
    application_patch,
    decide,
    prepare,
)
from fairlead.agentsync.observation import DestinationSeen, Observation, Result
from fairlead.agentsync.offline import OfflineStore
from fairlead.agentsync.resources import Object, ServedKinds
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources.port import (
    ManifestSources,
)
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.agentsync.status import ApplicationStatus, Phase, decode_status
from fairlead.core.clock import Clock
from fairlead.core.cluster import View
from fairlead.core.decision import Event, earliest
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta

log = structlog.get_logger(__name__)

STEPS_MAX = 4  # of an operation, in one reconciliation
MISSING_KIND_RETRY = timedelta(seconds=10)
_SOON = timedelta(seconds=1)


class Recorder(Protocol):
    """Writes Kubernetes Events."""

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        """Take note of an event about an object; returns at once and never fails."""
        ...


class GitOpsHook(RenderHook, Protocol):
    """Is told what metrics count. Must not raise."""

    def on_sync(self, key: ObjectKey, *, project: str, phase: str, dry_run: bool) -> None:
        """An operation has ended."""
        ...

    def on_results(self, *, succeeded: int, failed: int) -> None:
        """So many objects were written, or could not be."""
        ...


class Kinds(ServedKinds, Protocol):
    """What the destination serves, and the way to have it looked at again."""

    @property
    def is_known(self) -> bool: ...

    async def look(self, wanted: Any = ()) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What is seen of the control cluster."""

    applications: View[Application]
    projects: View[AppProject]


@dataclass(slots=True)
class _Live:
    """An Application that this process looks after.

    Attributes:
        ours: what we hold it to be; what is stored, unless something could not be reported yet.
        status: of `ours`, decoded.
        renders: its desired state.
        acting: actions under way.
        results: of actions, that no decision has seen yet.
        needs: what has to be seen for it, and what that was worked out from.
        server_diffs: what the server said about its objects, if they are compared so.
    """

    uid: str
    ours: Application
    subject: Subject
    status: ApplicationStatus
    renders: Renders
    acting: asyncio.Task[None] | None = None
    results: tuple[Result, ...] = ()
    acted_at: datetime | None = None
    needs: tuple[object, Need] | None = None
    server_diffs: ServerDiffs | None = None
    decision: ApplicationDecision | None = None


class ApplicationReconciler:
    """Decides on Applications and has them carried out. Close it at the end.

    Args:
        views: what is seen of the control cluster.
        reporter: writes to it.
        view: what is seen of the destination.
        kinds: what it serves.
        performer: writes to it.
        sources: renders.
        offline: keeps the last good desired state.
        clock: tells the time.
        recorder: is given the Events.
        wake: is called with an Application that wants to be reconciled soon.
        hook: is told what metrics count.
        rng: draws jitter.
    """

    def __init__(
        self,
        views: Views,
        reporter: Reporter,
        view: LiveView,
        kinds: Kinds,
        performer: Performer,
        sources: ManifestSources,
        offline: OfflineStore,
        clock: Clock,
        *,
        recorder: Recorder,
        wake: Callable[[ObjectKey], None],
        settings: GitOpsSettings | None = None,
        hook: GitOpsHook | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._views = views
        self._reporter = reporter
        self._view = view
        self._kinds = kinds
        self._performer = performer
        self._renderings = Renderings(sources, offline, clock, wake=wake, hook=hook, rng=rng)
        self._clock = clock
        self._recorder = recorder
        self._wake = wake
        self._surroundings = Surroundings(settings or GitOpsSettings(), views.projects, view, kinds)
        self._hook = hook
        self._live: dict[ObjectKey, _Live] = {}

    @property
    def settings(self) -> GitOpsSettings:
        """How Applications are looked after; another value holds from the next look at each."""
        return self._surroundings.settings

    @settings.setter
    def settings(self, found: GitOpsSettings) -> None:
        self._surroundings.settings = found

    async def recover(self) -> None:
        """Read what the last process left. To be called once, before the first reconciliation.

        A store that cannot be read leaves nothing to recover; that is logged, and no reason not to work.
        """
        await self._renderings.recover()
        await self._reporter.recover()

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Observe, decide, act, store; return when to look again at the latest."""
        found = self._views.applications.get(key)
        if found is None:
            await self._drop(key)
            return None
        if self._surroundings.is_elsewhere(found):
            if key in self._live:  # it was ours until now
                await self._drop(key)
            return None
        live = self._known(key, found)
        for step in range(STEPS_MAX):
            sight, missing_at = await self._look(key, live)
            decision, seen, options = await self._decide(live, sight)
            if seen.live is not None and not seen.is_acting:
                live.results = ()
            live.renders.answered()
            live.decision = decision
            self._tell(key, live, decision)
            manner = self._manner(live, decision, options)
            if step + 1 == STEPS_MAX or not self._leads_on(live, decision, manner):
                break
            for action in decision.actions:
                live.results += await self._performer.perform(action, sight.live.find, manner)
            self._believe(live, decision)
        if step == 0:
            self._act(key, live, decision, sight, manner)
            report_at = await self._store(key, live, decision)
        else:  # the beginning of the operation is written only now, and has to be before anything is done for it
            report_at = await self._store(key, live, decision)
            self._act(key, live, decision, sight, manner)
        log.debug(
            "application_reconciled",
            object=str(key),
            sync=decision.status.sync.status,
            health=decision.status.health.status,
            actions=len(decision.actions),
            wake_at=str(decision.wake_at),
        )
        return earliest(decision.wake_at, missing_at, report_at)

    def explain(self, key: ObjectKey) -> ApplicationDecision | None:
        """Return the last decision; None: there has been none."""
        live = self._live.get(key)
        return live.decision if live is not None else None

    async def outlive(self, key: ObjectKey) -> None:
        """Keep nothing of an object that is no more; one that is looked after is left alone."""
        if key not in self._live:
            await self._renderings.drop(key)
            await self._reporter.drop(key)

    async def close(self) -> None:
        """End what is under way. What is written is complete at any time."""
        tasks = [task for live in self._live.values() for task in self._ended(live)]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._live.clear()

    # --- observe -----------------------------------------------------------------------------------------------------

    def _known(self, key: ObjectKey, found: Application) -> _Live:
        """Return what is known of an Application, brought up to date with what the cache shows."""
        live = self._live.get(key)
        if live is not None and live.uid != found.metadata.uid:  # another one of the same name
            self._forget(key, live)
            live = None
        ours = self._reporter.ours(key, found)
        if live is None:
            live = _Live(
                uid=found.metadata.uid,
                ours=ours,
                subject=prepare(ours),
                status=decode_status(ours.status),
                renders=self._renderings.begin(key, found.metadata.uid),
            )
            self._live[key] = live
        elif ours is not live.ours:
            live.ours, live.subject, live.status = ours, prepare(ours), decode_status(ours.status)
        return live

    async def _look(self, key: ObjectKey, live: _Live) -> tuple[Sight, datetime | None]:
        """Have seen what is needed, and look; return also when to ask again for a kind that is missing."""
        await self._kinds.look()
        objects = live.renders.objects()
        status = live.status
        project = self._surroundings.project(live.subject)
        renders = live.renders
        mark = (
            renders.content,
            renders.operation.desired,
            live.subject,
            status.resources,
            status.operation_state,
            project,
        )
        if live.needs is None or live.needs[0] != mark or live.needs[1].missing:
            found = self._need(live, objects)
            if found.missing:
                await self._kinds.look(found.missing)
                found = self._need(live, objects)
            self._view.follow(key, found.wanted)
            live.needs = (mark, found)
        wanted = live.needs[1]
        sight = self._view.look(key)
        unread = {kind: why for kind, why in sight.unread.items() if kind in wanted.targets}
        at = self._clock.now() + MISSING_KIND_RETRY if wanted.missing else None
        return replace(sight, unread=unread), at

    def _need(self, live: _Live, objects: tuple[Object, ...]) -> Need:
        spec = live.subject.spec
        namespace = spec.destination.namespace if spec is not None else ""
        found = need(
            spec, live.status, objects, self._kinds, namespace, refuses=self._surroundings.refuses(live.subject)
        )
        if self._server_diffs(live) is not None:
            found = replace(found, wanted=replace(found.wanted, with_managers=True))
        return found

    def _observe(self, live: _Live, sight: Sight) -> Observation:
        spec = live.subject.spec
        rendering, operation = live.renders.seen()
        wanted = live.needs[1].wanted if live.needs is not None else Wanted()
        is_seen = not sight.waiting and not sight.unread and self._kinds.is_known
        return Observation(
            rendering=rendering,
            operation=operation,
            live=sight.live if is_seen else None,
            live_error=sight.error,
            served=self._kinds,
            destination=self.settings.destination(spec.destination) if spec is not None else DestinationSeen(),
            project=self._surroundings.project(live.subject),
            results=live.results,
            is_acting=live.acting is not None,
            acted_at=live.acted_at,
            others=self._surroundings.others(live.subject, wanted.keys, sight.live) if is_seen else {},
            orphaned=self._surroundings.orphaned(live.subject) if is_seen else None,
            jitter=live.renders.jitter,
        )

    # --- decide ------------------------------------------------------------------------------------------------------

    def _options(self, live: _Live, seen: Observation) -> DiffOptions:
        spec = live.subject.spec or ApplicationSpec()
        desired = seen.rendering.desired
        rollouts = [found for found in (desired.objects if desired is not None else ()) if is_rollout(found)]
        if seen.live is not None:
            rollouts += [found for found in seen.live.tracked() if is_rollout(found)]
        return diff_options(
            spec,
            live.subject.metadata,
            self.settings.tracking(live.subject.metadata),
            self.settings.system,
            claimed(rollouts, namespace=spec.destination.namespace),
        )

    async def _decide(self, live: _Live, sight: Sight) -> tuple[ApplicationDecision, Observation, DiffOptions]:
        """Decide; if the server has to be asked for that, ask, look and decide again."""
        server = self._server_diffs(live)
        for rounds_left in reversed(range(ROUNDS_MAX)):
            seen = self._observe(live, sight)
            options = self._options(live, seen)
            tracking = self.settings.tracking(live.subject.metadata)
            differs = differ(live.subject.spec or ApplicationSpec(), options, server)
            decision = decide(
                live.subject,
                live.status,
                seen,
                self._clock.now(),
                Tools(tracking=tracking, differs=differs),
                settings=self.settings.machine,
            )
            # What was seen holds for as long as nothing is awaited.
            if server is None or not rounds_left or not await server.ask(self._performer.outcomes):
                break
        if server is not None and live.needs is not None:
            server.keep(live.needs[1].wanted.keys)
        return decision, seen, options

    def _server_diffs(self, live: _Live) -> ServerDiffs | None:
        """Return what the server has said, if it shall be asked."""
        by_default = self.settings.server_side_diff
        if not asks_for_server_side_diff(live.subject.metadata, by_default=by_default):
            live.server_diffs = None
        elif live.server_diffs is None:
            live.server_diffs = ServerDiffs()
        return live.server_diffs

    def _tell(self, key: ObjectKey, live: _Live, decision: ApplicationDecision) -> None:
        for event in decision.events:
            self._recorder.record(APPLICATIONS, live.subject.metadata, event)
        before, after = live.status.operation_state, decision.status.operation_state
        if after is None or before == after or not _is_completed(after.phase):
            return
        log.info("operation_completed", object=str(key), phase=after.phase, message=after.message)
        if self._hook is not None:
            spec, sync = live.subject.spec, after.operation.sync
            self._hook.on_sync(
                key,
                project=spec.project_name if spec is not None else "",
                phase=after.phase,
                dry_run=sync is not None and sync.dry_run,
            )

    # --- act ---------------------------------------------------------------------------------------------------------

    def _manner(self, live: _Live, decision: ApplicationDecision, options: DiffOptions) -> Manner:
        sync = _sync_of(live.status, decision)
        is_dry = sync is not None and sync.dry_run
        return Manner(options=options, dry_runs=DryRuns.SERVER if is_dry else self.settings.dry_runs)

    def _leads_on(self, live: _Live, decision: ApplicationDecision, manner: Manner) -> bool:
        """Whether the next step of an operation can follow at once, since this one asks nobody and only computes.

        The end of an operation does not: it is written before another one begins.
        """
        state = decision.status.operation_state
        if live.acting is not None or state is None or state.phase != Phase.RUNNING or state.finished_at is not None:
            return False
        if decision.actions:
            is_dry = all(isinstance(action, DryRun) for action in decision.actions)
            return is_dry and manner.dry_runs is DryRuns.CLIENT
        is_due = decision.wake_at is not None and decision.wake_at <= self._clock.now()
        return is_due and decision.status != live.status

    def _act(self, key: ObjectKey, live: _Live, decision: ApplicationDecision, sight: Sight, manner: Manner) -> None:
        """Begin what was decided; its end wakes the Application."""
        others: list[Action] = []
        for action in decision.actions:
            if isinstance(action, Render):
                self._renderings.start(key, live.renders, action, self._surroundings.whom(live.subject))
            else:
                others.append(action)
        if others and live.acting is None:
            live.acting = asyncio.create_task(self._perform(key, live, others, sight, manner), name=f"act-{key}")

    async def _perform(self, key: ObjectKey, live: _Live, actions: list[Action], sight: Sight, manner: Manner) -> None:
        results: list[Result] = []
        try:
            for action in actions:
                results += await self._performer.perform(action, sight.live.find, manner)
                if isinstance(action, ApplyWave | Prune):
                    live.acted_at = self._clock.now()
        except Exception as error:  # a bug with one object must not silence the Application for ever
            log.error("actions_broken", object=str(key), exc_info=error)
            await self._clock.sleep(_SOON.total_seconds())
        finally:
            live.acting = None
        live.results += tuple(results)
        failed = [result for result in results if not result.is_successful]
        for result in failed:
            log.warning("object_not_applied", object=str(key), resource=str(result.key), message=result.message)
        if self._hook is not None:
            self._hook.on_results(succeeded=len(results) - len(failed), failed=len(failed))
        self._wake(key)

    # --- store -------------------------------------------------------------------------------------------------------

    async def _store(self, key: ObjectKey, live: _Live, decision: ApplicationDecision) -> datetime | None:
        """Write what was decided, or keep it for later; return when to try again, if so."""
        self._believe(live, decision)
        stored = await self._reporter.report(key, live.ours)
        if stored is not None and stored is not live.ours:
            live.ours, live.subject, live.status = stored, prepare(stored), decode_status(stored.status)
        return self._reporter.retry_at(key)

    @staticmethod
    def _believe(live: _Live, decision: ApplicationDecision) -> None:
        """Hold the Application to be what was decided."""
        patch = application_patch(live.subject, live.status, decision)
        if patch:
            body = {**patch, "metadata": {k: v for k, v in patch.get("metadata", {}).items() if k != "resourceVersion"}}
            live.ours = believed(live.ours, body)
            live.subject, live.status = prepare(live.ours), decision.status

    # --- the end of one ----------------------------------------------------------------------------------------------

    def _forget(self, key: ObjectKey, live: _Live) -> None:
        self._ended(live)
        self._live.pop(key, None)

    @staticmethod
    def _ended(live: _Live) -> list[asyncio.Task[None]]:
        """Cancel what is under way for an Application; return it."""
        tasks = live.renders.cancel()
        if live.acting is not None:
            live.acting.cancel()
            tasks.append(live.acting)
        return tasks

    async def _drop(self, key: ObjectKey) -> None:
        """The Application is no more: nothing of it is kept."""
        if (live := self._live.get(key)) is not None:
            self._forget(key, live)
        self._view.forget(key)
        await self._reporter.drop(key)
        await self._renderings.drop(key)


def _is_completed(phase: str) -> bool:
    return phase in tuple(Phase) and Phase(phase).is_completed


def _sync_of(status: ApplicationStatus, decision: ApplicationDecision) -> Any:
    state = decision.status.operation_state or status.operation_state
    return state.operation.sync if state is not None else None
