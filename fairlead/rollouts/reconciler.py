"""Takes one Rollout one decision further: observe, decide, act, and again until nothing is asked for.

Thin on purpose: what should happen is decided in `machine`, what it means to the API is in `_performing`. The only
memory is the journal of what is decided and not stored yet, and who has been seen; losing it costs nothing but an
Event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.conditions import Condition, put
from fairlead.core.decision import Decision, Event, EventType, earliest
from fairlead.core.errors import ClusterError, NotFound, SpecError
from fairlead.core.kinds import (
    ANALYSIS_RUNS,
    PODS,
    ROLLOUTS,
    SERVICES,
    Pod,
    Rollout,
)
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.plans import AnalysisPlanner
from fairlead.core.traffic import LeftRoute, RouteKeeper, RouterFactory, TrafficRouter
from fairlead.rollouts import _restart
from fairlead.rollouts._invalid import understand
from fairlead.rollouts._journal import Journal
from fairlead.rollouts._marking import Marking
from fairlead.rollouts._observing import Views, observe
from fairlead.rollouts._performing import RELEASE_PATCH, CollisionError, CreationError, Outcome, Performer
from fairlead.rollouts._routing import Routing, left_behind, route
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts.actions import Action, events_of
from fairlead.rollouts.machine import decide
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import Phase, RolloutStatus, RunRef, patch, plain, read
from fairlead.rollouts.triggers import (
    REPLICA_SETS_BY_OWNER,
    SERVICES_BY_MANAGER,
    is_ours,
)
from fairlead.rollouts.workload import NotSeenYet, Resolution, resolve

log = structlog.get_logger(__name__)

_ROUNDS_MAX = 8  # decisions in a row; whatever is left then follows with the next look
_WORKLOAD_LOOK = timedelta(seconds=1)  # until the workloads of a kind have been listed for the first time


class Recorder(Protocol):
    """Takes note of Events; returns at once and never fails."""

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A decision, and what it takes to carry it out."""

    decision: Decision[RolloutStatus, Action]
    stored: dict[str, Any]
    routers: tuple[TrafficRouter, ...]
    left: tuple[LeftRoute, ...]


class RolloutReconciler:
    """Takes Rollouts one decision further each time.

    Args:
        cluster: whose own writes are seen in the views at once (`runtime.CachedCluster`).
        planner: says what an analysis stanza amounts to.
        routers: by the key under `trafficRouting.plugins`.
        recorder: of Events.
        instance_id: Rollouts without this label value are left alone (empty: those with one).
        keeper: finds routes that Rollouts leave behind; None: they stay as they are.
        marking: how labels and annotations come to live pods.
    """

    def __init__(
        self,
        cluster: Cluster,
        views: Views,
        planner: AnalysisPlanner,
        routers: Mapping[str, RouterFactory],
        clock: Clock,
        recorder: Recorder,
        *,
        instance_id: str = "",
        keeper: RouteKeeper | None = None,
        marking: Marking = Marking(),  # noqa: B008 - frozen
        journal: Journal | None = None,
    ) -> None:
        self._cluster = cluster
        self._views = views
        self._planner = planner
        self._routers = routers
        self._clock = clock
        self._recorder = recorder
        self._instance_id = instance_id
        self._keeper = keeper
        self._marking = marking
        self._journal = journal or Journal()
        self._known: dict[ObjectKey, str] = {}  # UIDs of the Rollouts that have been looked at
        self._marked: dict[ObjectKey, dict[str, str]] = {}  # by UID of ReplicaSets, what all their pods carry

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Observe, decide and act; return when to look again at the latest.

        Raises:
            FairleadError: an action failed; what was decided before it has been done.
        """
        for _ in range(_ROUNDS_MAX):
            rollout = self._views.rollouts.get(key)
            if rollout is None:
                self._journal.forget(key)
                self._marked.pop(key, None)
                self._say_gone(key)
                await self._release(key)
                return None
            if not is_ours(rollout, self._instance_id):
                return None
            self._say_seen(key, rollout)
            try:
                wake_at, has_acted = await self._once(key, rollout)
            except NotSeenYet:
                return self._clock.now() + _WORKLOAD_LOOK
            if not has_acted:
                return wake_at
        return self._clock.now()

    async def explain(self, key: ObjectKey) -> Decision[RolloutStatus, Action] | None:
        """Return what would be decided now, without doing it; None: there is no such Rollout."""
        rollout = self._views.rollouts.get(key)
        if rollout is None:
            return None
        try:
            return (await self._decide(rollout)).decision
        except NotSeenYet:
            return None

    async def _decide(self, rollout: Rollout) -> _Decided:
        spec = understand(rollout.spec, name=rollout.metadata.name)
        stored = plain(rollout.status)
        status = read(stored)
        resolution = self._resolve(rollout, spec, status)
        spec = resolution.spec
        await self._find_runs(rollout.metadata, status)
        pods = await self._pods(rollout.metadata, spec, status)
        now = self._clock.now()
        routing = Routing()
        left: tuple[LeftRoute, ...] = ()
        if not isinstance(spec, SpecError):
            routing = route(rollout.metadata, spec, self._routers, stable_turn=status.stable_turn)
            left = left_behind(rollout.metadata, spec, status, routing, self._keeper)
        marked = self._marked.get(rollout.metadata.key)
        seen = observe(
            rollout,
            spec,
            status,
            self._views,
            self._planner,
            routing,
            now,
            pods=pods,
            marked=marked,
            resolution=resolution,
            left=left,
        )
        return _Decided(decision=decide(spec, status, seen, now), stored=stored, routers=routing.routers, left=left)

    def _resolve(self, rollout: Rollout, spec: RolloutSpec | SpecError, status: RolloutStatus) -> Resolution:
        if isinstance(spec, SpecError) or spec.workload_ref is None:
            return Resolution(spec=spec)
        owned = tuple(self._views.replica_sets.by_index(REPLICA_SETS_BY_OWNER, rollout.metadata.uid))
        return resolve(spec, rollout.metadata.namespace, self._views.workloads, status=status, owned=owned)

    async def _once(self, key: ObjectKey, rollout: Rollout) -> tuple[datetime | None, bool]:
        """Decide once and act; return when to look again, and whether anything but the status was written."""
        decided = await self._decide(rollout)
        decision, stored = decided.decision, decided.stored
        performer = Performer(self._cluster, rollout, decided.routers, self._clock, decided.left, self._marking)
        outcome = performer.outcome
        try:
            try:
                await performer.perform(decision.actions)
            finally:
                self._remember_marks(key, rollout.metadata.uid, outcome)
        except CollisionError as error:
            await self._collide(rollout, stored, outcome, str(error))
            return self._clock.now(), True
        except CreationError as error:
            self._record(rollout, (Event("ReplicaSetCreateError", str(error), EventType.WARNING),))
            status = _not_created(read(stored), rollout.metadata, str(error), self._clock.now())
            await self._write(rollout, stored, status, outcome)
            raise error.cause from error
        except Exception:
            # What was done has happened, whatever became of the rest.
            self._record(rollout, _events_of(outcome.done))
            raise
        status = _with_names(decision.status, outcome.renamed)
        has_changed = bool(patch(stored, status))
        held = None
        if has_changed:
            held = self._journal.hold(key, rollout.metadata.uid, read(stored), status, self._clock.now())
        try:
            has_written = held is None and await self._write(rollout, stored, status, outcome)
        except ClusterError:
            self._record(rollout, self._journal.fresh(key, rollout.metadata.uid, _events_of(outcome.done)))
            raise
        self._record(rollout, self._journal.fresh(key, rollout.metadata.uid, _happened(decision, outcome)))
        if held is None:
            self._journal.forget(key)
        self._log(rollout, decision, outcome, has_written=has_written)
        if outcome.router_error is not None:
            self._record(rollout, (Event("TrafficRoutingError", str(outcome.router_error), EventType.WARNING),))
            raise outcome.router_error
        if outcome.pods_error is not None:
            raise outcome.pods_error
        return earliest(decision.wake_at, held), bool(outcome.done)

    def _remember_marks(self, key: ObjectKey, uid: str, outcome: Outcome) -> None:
        """Remember what pods carry, of ReplicaSets that still exist."""
        marked = self._marked.get(key, {}) | {found: text for found, text in outcome.marked if text}
        if not marked:
            return
        owned = {found.metadata.uid for found in self._views.replica_sets.by_index(REPLICA_SETS_BY_OWNER, uid)}
        self._marked[key] = {found: text for found, text in marked.items() if found in owned}

    # --- what is read besides the views ---------------------------------------------------------------------------

    async def _find_runs(self, metadata: ObjectMeta, status: RolloutStatus) -> None:
        """See to it that runs named in the status are in the view, if they exist: else they would be made again."""
        if status.abort:
            return  # they end in any case, and nothing may come before the weight
        around = () if status.is_promoted else (status.pre_run, status.post_run)
        for ref in (status.step_run, status.background_run, *around):
            if ref is None or (ref in around and ref.is_completed):
                continue  # the verdicts around a switch are known for good
            key = ObjectKey(metadata.namespace, ref.name)
            if self._views.runs.get(key) is not None:
                continue
            try:
                await self._cluster.get(ANALYSIS_RUNS, key)
            except NotFound:
                log.info("analysis_run_missing", object=str(metadata.key), run=key.name)

    async def _pods(self, metadata: ObjectMeta, spec: RolloutSpec | SpecError, status: RolloutStatus) -> list[Pod]:
        """Return the pods of the namespace's ReplicaSets while a restart is due; they are not watched."""
        if (
            isinstance(spec, SpecError)
            or status.abort
            or not _restart.is_wanted(spec.restart_at, status, self._clock.now())
        ):
            return []
        found: list[Pod] = []
        token = ""
        while True:
            page = await self._cluster.list(
                PODS, namespace=metadata.namespace, label_selector=HASH_LABEL, continue_token=token
            )
            found += page.items
            token = page.continue_token
            if not token:
                return found

    # --- what is written besides actions --------------------------------------------------------------------------

    async def _write(
        self, rollout: Rollout, stored: Mapping[str, Any], status: RolloutStatus, outcome: Outcome
    ) -> bool:
        """Store a status, if it says something new and nobody wrote to the Rollout since it was read."""
        body = patch(stored, status)
        if not body:
            return False
        metadata = {"uid": rollout.metadata.uid, "resourceVersion": outcome.version}
        await self._cluster.patch(
            ROLLOUTS, rollout.metadata.key, MergePatch({"metadata": metadata, "status": body}), subresource="status"
        )
        return True

    async def _collide(self, rollout: Rollout, stored: Mapping[str, Any], outcome: Outcome, why: str) -> None:
        status = read(stored)
        count = (status.collision_count or 0) + 1
        log.warning("rollout_hash_collided", object=str(rollout.metadata.key), collision_count=count, error=why)
        await self._write(rollout, stored, replace(status, collision_count=count), outcome)

    async def _release(self, key: ObjectKey) -> None:
        """Take our hash and our mark off the Services of a Rollout that is gone."""
        for service in self._views.services.by_index(SERVICES_BY_MANAGER, str(key)):
            metadata = {"uid": service.metadata.uid, "resourceVersion": service.metadata.resource_version}
            body = {**RELEASE_PATCH, "metadata": {**RELEASE_PATCH["metadata"], **metadata}}
            try:
                await self._cluster.patch(SERVICES, service.metadata.key, MergePatch(body))
            except NotFound:
                continue
            log.info("service_released", object=str(key), service=service.metadata.name)

    # --- saying so --------------------------------------------------------------------------------------------------

    def _say_seen(self, key: ObjectKey, rollout: Rollout) -> None:
        """Record that a new Rollout has been seen. Upstream says so of all, each time that a controller starts."""
        uid = rollout.metadata.uid
        if self._known.get(key) == uid:
            return
        self._known[key] = uid
        if not plain(rollout.status):
            self._record(rollout, (Event("RolloutAddedToInformer", f"Rollout resource added to informer: {key}"),))

    def _say_gone(self, key: ObjectKey) -> None:
        uid = self._known.pop(key, None)
        if uid is not None:
            gone = ObjectMeta(name=key.name, namespace=key.namespace, uid=uid)
            event = Event("RolloutDeleted", f"Rollout {key.name}/{key.namespace} is deleted.")
            self._recorder.record(ROLLOUTS, gone, event)

    def _record(self, rollout: Rollout, events: Sequence[Event]) -> None:
        for event in events:
            self._recorder.record(ROLLOUTS, rollout.metadata, event)

    def _log(
        self, rollout: Rollout, decision: Decision[RolloutStatus, Action], outcome: Outcome, *, has_written: bool
    ) -> None:
        status, blocked = decision.status, decision.blocked_on
        facts = {
            "object": str(rollout.metadata.key),
            "generation": rollout.metadata.generation,
            "revision": status.pod_hash,
            "phase": str(status.phase),
            "step": status.step_index,
            "weight": status.weights.canary.weight if status.weights is not None else None,
            "actions": len(outcome.done),
            "wake_at": decision.wake_at.isoformat() if decision.wake_at is not None else None,
            "blocked_on": str(blocked.reason) if blocked is not None else None,
        }
        write = log.info if outcome.done or has_written else log.debug
        write("rollout_reconciled", **facts)
        for event in decision.events:
            if event.reason == "RolloutAborted":
                log.warning("rollout_aborted", object=facts["object"], revision=status.pod_hash, reason=event.message)


def _events_of(actions: Sequence[Action]) -> tuple[Event, ...]:
    return tuple(event for action in actions for event in events_of(action))


def _happened(decision: Decision[RolloutStatus, Action], outcome: Outcome) -> tuple[Event, ...]:
    """Return the events of a decision without those of actions that turned out to change nothing."""
    idle = [action for action in decision.actions if all(action is not done for done in outcome.done)]
    dropped = list(_events_of(idle))
    kept: list[Event] = []
    for event in decision.events:
        if event in dropped:
            dropped.remove(event)
        else:
            kept.append(event)
    return tuple(kept)


def _with_names(status: RolloutStatus, renamed: Sequence[tuple[str, str]]) -> RolloutStatus:
    """Return the status with the names under which runs were created in the end."""
    names = dict(renamed)
    if not names:
        return status

    def named(ref: RunRef | None) -> RunRef | None:
        return replace(ref, name=names.get(ref.name, ref.name)) if ref is not None else None

    return replace(
        status,
        step_run=named(status.step_run),
        background_run=named(status.background_run),
        pre_run=named(status.pre_run),
        post_run=named(status.post_run),
    )


def _not_created(status: RolloutStatus, rollout: ObjectMeta, message: str, now: datetime) -> RolloutStatus:
    """Return the status that says that the ReplicaSet of a new revision could not be created.

    It is no reason to be Degraded: a quota may have room again in a moment, and whoever waits for the update goes on
    waiting. Source: argo-rollouts: rollout/controller.go: patchCondition; the message is ours, theirs has no reason.
    """
    condition = Condition(type="Progressing", status="False", reason="ReplicaSetCreateError", message=message)
    return replace(
        status,
        conditions=put(status.conditions, condition, now),
        observed_generation=str(rollout.generation),
        phase=Phase.PROGRESSING,
        message=f"{condition.reason}: {message}",
    )


__all__ = ["Marking", "Recorder", "RolloutReconciler", "Views", "observe"]
