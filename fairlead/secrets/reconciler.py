"""Takes ExternalSecrets one decision further: observe, decide, act, store.

What is kept between calls, per object and only in memory: when it was read last (the status says that at most once an
hour, since a status that only tells the time is a write for nothing), how often it failed in a row, and the reading
under way. Losing it, as in a crash, costs one more reading within the stores' budgets, and nothing else.

No call waits for a store: reading is a task of its own that wakes the object when it is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import Any, Protocol

import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.conditions import Condition
from fairlead.core.decision import Blocker, Event
from fairlead.core.errors import Conflict, NotFound
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.patches import diff
from fairlead.secrets._live import Live
from fairlead.secrets._opening import Stores
from fairlead.secrets._ownership import controls, created_by
from fairlead.secrets._planner import Planner
from fairlead.secrets._reading import Reader
from fairlead.secrets._sight import Reach, Sight, Views
from fairlead.secrets._writing import Writer
from fairlead.secrets.actions import (
    Action,
    AddFinalizer,
    DeleteOrphans,
    DeleteTarget,
    Fetch,
    RemoveFinalizer,
    WriteTarget,
)
from fairlead.secrets.kinds import EXTERNAL_SECRETS, FINALIZER, ExternalSecret
from fairlead.secrets.machine import Limits, SecretDecision, Subject, decide, prepare
from fairlead.secrets.observation import Fetched, Observation, Outcome
from fairlead.secrets.settings import SECRET_DEFAULTS, SecretSettings
from fairlead.secrets.status import decode_status, status_to_json
from fairlead.secrets.triggers import CREATED_BY_INDEX

__all__ = ["ExternalSecretReconciler", "Recorder", "SyncHook", "Views"]

log = structlog.get_logger(__name__)

ROUNDS_MAX = 12  # decisions of one call: the usual course takes five


class Recorder(Protocol):
    """Writes Kubernetes Events."""

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        """Take note of an event about an object; returns at once and never fails."""
        ...


class SyncHook(Protocol):
    """Is told what metrics count. Must not raise."""

    def on_sync(self, key: ObjectKey, *, failed: bool) -> None:
        """One attempt to sync has ended."""
        ...

    def on_duration(self, kind: Kind[Any], key: ObjectKey, seconds: float) -> None:
        """The last attempt to sync, or to validate a store, took so long."""
        ...

    def on_condition(self, kind: Kind[Any], key: ObjectKey, condition: Condition) -> None:
        """A condition is other than before."""
        ...

    def on_gone(self, kind: Kind[Any], key: ObjectKey) -> None:
        """The object is no more."""
        ...


class ExternalSecretReconciler:
    """Decides on ExternalSecrets and makes their Secrets. Close it at the end, before its planner.

    Args:
        cluster: is written to.
        views: what is seen of the cluster.
        stores: makes handles of stores.
        planner: asks them.
        clock: tells the time.
        recorder: is given the Events.
        wake: is called with an object that wants to be reconciled soon (values have arrived).
        as_manager: returns the cluster as it is seen by a field manager, replies entering the same caches.
        executor: where templates and patterns of tenants run, so that one that takes long holds up nobody; None: here.
        hook: is told what metrics count.
        rng: draws jitter.
    """

    def __init__(
        self,
        cluster: Cluster,
        views: Views,
        stores: Stores,
        planner: Planner,
        clock: Clock,
        *,
        recorder: Recorder,
        wake: Callable[[ObjectKey], None],
        as_manager: Callable[[str], Cluster],
        executor: Executor | None = None,
        hook: SyncHook | None = None,
        rng: random.Random | None = None,
        settings: SecretSettings = SECRET_DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._views = views
        self._clock = clock
        self._recorder = recorder
        self._wake = wake
        self._reader = Reader(stores, planner, clock, executor=executor)
        self._writer = Writer(cluster, views.targets, clock, as_manager=as_manager, executor=executor)
        self._hook = hook
        self._rng = rng or random.Random()
        self._settings = settings
        self._limits = Limits(cluster_stores=settings.cluster_stores and views.cluster_stores is not None)
        self._live: dict[ObjectKey, Live] = {}
        self._sight = Sight(views, stores, clock, settings)
        planner.on_recovery(self._store_is_back)

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Observe, decide, act; return when to look again at the latest.

        Raises:
            ClusterError: something could not be written; what was decided is kept and tried again.
        """
        found = self._views.external_secrets.get(key)
        if found is None:
            self._drop(key)
            return None
        live = self._known(key, found)
        wake_at = None
        for _ in range(ROUNDS_MAX):
            reaches = self._sight.stores(live.refers_to, live.subject.metadata.namespace)
            seen = self._observe(key, live, reaches)
            decision = decide(live.subject, live.status, seen, self._clock.now(), limits=self._limits)
            self._take_over(key, live, decision, reaches)
            wake_at = decision.wake_at
            if not await self._act(key, found, live, decision.actions, reaches):
                if decision.synced is None:
                    break
            elif any(isinstance(action, RemoveFinalizer) for action in decision.actions):
                self._drop(key)
                return None
            found = self._newest(key, found, live)
        await self._store(key, live)
        log.debug("external_secret_reconciled", object=str(key), attempts=live.attempts, wake_at=str(wake_at))
        return wake_at

    def blocker(self, key: ObjectKey) -> Blocker | None:
        """Return what an object waits for, as of its last decision; None: nothing, or it is not known."""
        live = self._live.get(key)
        return live.blocker if live is not None else None

    async def close(self) -> None:
        """Stop reading. What is written is complete at any time."""
        await self._reader.close()
        self._live.clear()

    # --- observe -----------------------------------------------------------------------------------------------------

    def _known(self, key: ObjectKey, found: ExternalSecret) -> Live:
        """Return what is known of an object, brought up to date with what the cache shows."""
        live = self._live.get(key)
        if live is not None and live.uid != found.metadata.uid:  # another object of the same name
            self._drop(key)
            live = None
        if live is None:
            live = self._live[key] = Live.of(self._prepared(found), decode_status(found.status))
        elif live.is_older_than(found.metadata) and live.renew(self._prepared(found), decode_status(found.status)):
            log.info("external_secret_status_changed_by_others", object=str(key))
        return live

    def _prepared(self, found: ExternalSecret) -> Subject:
        return prepare(found.metadata, found.spec, aligned=self._settings.aligned)

    def _newest(self, key: ObjectKey, found: ExternalSecret, live: Live) -> ExternalSecret:
        """Return the object as the cache shows it after our own writes, if it does."""
        shown = self._views.external_secrets.get(key)
        if shown is not None and shown.metadata.uid == live.uid:
            self._known(key, shown)
            return shown
        return found

    def _observe(self, key: ObjectKey, live: Live, reaches: tuple[Reach, ...]) -> Observation:
        subject = live.subject
        return Observation(
            target=self._views.targets.get(ObjectKey(subject.metadata.namespace, subject.target_name)),
            orphans=self._orphans(subject),
            stores=tuple(reach.seen for reach in reaches),
            outcome=live.take_outcome(),
            in_flight=self._reader.is_under_way(key),
            refreshed_at=live.refreshed_at,
            attempts=live.attempts,
            retry_at=live.retry_at,
            has_changed=self._mark(live, reaches) != live.mark,
            stores_changed=live.stores is not None and live.stores != _marks(reaches),
            told=live.told,
            jitter=self._rng.random(),
        )

    def _mark(self, live: Live, reaches: tuple[Reach, ...]) -> object:
        """Return what must have changed for a failure to be tried again before its time."""
        subject = live.subject
        target = self._views.targets.get(ObjectKey(subject.metadata.namespace, subject.target_name))
        version = target.metadata.resource_version if target is not None else ""
        return (
            subject.version,
            subject.metadata.is_deleting,
            tuple((reach.seen, reach.mark) for reach in reaches),
            version,
        )

    def _orphans(self, subject: Subject) -> tuple[ObjectKey, ...]:
        owner = subject.metadata
        value = f"{owner.namespace}/{created_by(owner)}"
        return tuple(
            target.metadata.key
            for target in self._views.targets.by_index(CREATED_BY_INDEX, value)
            if target.metadata.name != subject.target_name
            and controls(owner, target.metadata)
            and not target.metadata.is_deleting
        )

    # --- decide ------------------------------------------------------------------------------------------------------

    def _take_over(self, key: ObjectKey, live: Live, decision: SecretDecision, reaches: tuple[Reach, ...]) -> None:
        before = live.status.ready
        mark = self._mark(live, reaches) if decision.failure is not None else None
        live.take_over(decision, mark=mark, stores=_marks(reaches))
        for event in decision.events:
            self._recorder.record(EXTERNAL_SECRETS, live.subject.metadata, event)
        if decision.events:
            if decision.synced is not None:
                log.info("external_secret_synced", object=str(key), reasons=[event.reason for event in decision.events])
            if decision.failure is not None:
                log.warning("external_secret_failed", object=str(key), error=decision.failure.detail)
        if self._hook is not None:
            if decision.synced is not None or decision.failure is not None:
                self._hook.on_sync(key, failed=decision.failure is not None)
                now = self._clock.monotonic()
                began_at, live.began_at = live.began_at, None
                self._hook.on_duration(EXTERNAL_SECRETS, key, now - (now if began_at is None else began_at))
            after = live.status.ready
            if after is not None and after != before:
                self._hook.on_condition(EXTERNAL_SECRETS, key, after)

    # --- act ---------------------------------------------------------------------------------------------------------

    async def _act(
        self,
        key: ObjectKey,
        found: ExternalSecret,
        live: Live,
        actions: tuple[Action, ...],
        reaches: tuple[Reach, ...],
    ) -> bool:
        """Do what was decided, in order; return whether there was anything to decide anew about."""
        for action in actions:
            match action:
                case AddFinalizer():
                    await self._set_finalizers(key, found, (*found.metadata.finalizers, FINALIZER))
                case RemoveFinalizer():
                    left = tuple(name for name in found.metadata.finalizers if name != FINALIZER)
                    await self._set_finalizers(key, found, left)
                case Fetch():
                    self._fetch(key, live, action, reaches)
                case WriteTarget(fetched=fetched) | DeleteTarget(fetched=Fetched() as fetched):
                    await self._change(live, action, fetched)
                case DeleteTarget():
                    await self._writer.delete_with_owner(live.subject)
                case DeleteOrphans(keys=keys):
                    self._put(live, await self._writer.delete_orphans(live.subject, keys))
                    # A cache that does not know of our own writes shows them for a moment longer.
                    return live.outcome is not None or self._orphans(live.subject) != keys
        return bool(actions)

    async def _change(self, live: Live, action: WriteTarget | DeleteTarget, fetched: Fetched) -> None:
        spec = live.subject.spec
        assert spec is not None, "what cannot be understood is not read"
        try:
            if isinstance(action, WriteTarget):
                self._put(live, await self._writer.write(live.subject, spec, fetched))
            else:
                self._put(live, await self._writer.delete(live.subject, fetched))
        except Conflict:
            self._put(live, fetched)  # decide again on what is there now, with the same values
            raise

    def _fetch(self, key: ObjectKey, live: Live, action: Fetch, reaches: tuple[Reach, ...]) -> None:
        version, live.began_at = live.subject.version, self._clock.monotonic()

        def then(outcome: Outcome) -> None:
            if self._live.get(key) is live:
                live.put(outcome, version)
                self._wake(key)

        self._reader.begin(key, live.subject, action, reaches, then=then)

    def _put(self, live: Live, outcome: Outcome | None) -> None:
        live.put(outcome, live.subject.version)

    async def _set_finalizers(self, key: ObjectKey, found: ExternalSecret, wished: tuple[str, ...]) -> None:
        """A merge patch: an update would make us owner of every field that our type knows."""
        meta = found.metadata
        body = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": list(wished) or None}
        }
        try:
            await self._cluster.patch(EXTERNAL_SECRETS, key, MergePatch(body))
        except NotFound:
            log.debug("external_secret_gone", object=str(key))

    def _store_is_back(self, uid: str) -> None:
        """Have everybody who failed try again now: the budget of the store keeps them in line."""
        now = self._clock.now()
        for key, live in tuple(self._live.items()):
            if (
                live.attempts
                and live.retry_at is not None
                and any(
                    reach.mark[1] == uid
                    for reach in self._sight.stores(live.refers_to, live.subject.metadata.namespace)
                )
            ):
                live.retry_at = now
                self._wake(key)

    # --- store -------------------------------------------------------------------------------------------------------

    async def _store(self, key: ObjectKey, live: Live) -> None:
        """Write what has changed of the status; a refreshTime alone is no change for a while."""
        if not live.is_worth_writing(refresh_time_every=self._settings.refresh_time_every):
            return
        patch = diff(status_to_json(live.stored), status_to_json(live.status))
        if not patch:
            live.stored = live.status
            return
        status = live.attempt()
        body = {"metadata": {"uid": live.uid, "resourceVersion": live.version}, "status": patch}
        try:
            reply = await self._cluster.patch(EXTERNAL_SECRETS, key, MergePatch(body), subresource="status")
        except NotFound:
            return  # it is gone, and the watch will say so
        live.has_stored(status, reply.metadata.resource_version)

    def _drop(self, key: ObjectKey) -> None:
        live = self._live.pop(key, None)
        if live is None:
            return
        self._reader.stop(key)
        if self._hook is not None:
            self._hook.on_gone(EXTERNAL_SECRETS, key)


def _marks(reaches: tuple[Reach, ...]) -> tuple[tuple[str, str, int], ...]:
    return tuple(reach.mark for reach in reaches)
