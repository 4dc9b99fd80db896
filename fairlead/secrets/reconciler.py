"""Takes ExternalSecrets one decision further: observe, decide, act, store.

What is kept between calls, per object and only in memory: when it was read last (the status says that at most once an
hour, since a status that only tells the time is a write for nothing), how often it failed in a row, and the reading
under way. Losing it, as in a crash, costs one more reading within the stores' budgets, and nothing else.

No call waits for a store: reading is a task of its own that wakes the object when it is over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.conditions import Condition
from fairlead.core.decision import Blocker, Event
from fairlead.core.errors import Conflict, FairleadError, NotFound, SpecError
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.patches import diff
from fairlead.secrets import _sources
from fairlead.secrets._opening import Stores
from fairlead.secrets._ownership import controls, created_by
from fairlead.secrets._planner import Planner, Question
from fairlead.secrets._questions import StoreName
from fairlead.secrets._sight import DEFAULTS, Reach, SecretSettings, Sight, Views
from fairlead.secrets._sources import Reading, SourceError
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
from fairlead.secrets.machine import GET_FAILED, Limits, SecretDecision, Subject, decide, prepare
from fairlead.secrets.observation import Failed, Fetched, Observation, Outcome, Told
from fairlead.secrets.status import ExternalSecretStatus, decode_status, status_to_json
from fairlead.secrets.triggers import CREATED_BY_INDEX

__all__ = ["DEFAULTS", "ExternalSecretReconciler", "Recorder", "SecretSettings", "SyncHook", "Views"]

log = structlog.get_logger(__name__)

ROUNDS_MAX = 12  # decisions of one call: the usual course takes five
ATTEMPTS_REMEMBERED_MAX = 8  # the API server shows one of the last few writes, or none


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

    def on_condition(self, kind: Kind[Any], key: ObjectKey, condition: Condition) -> None:
        """A condition is other than before."""
        ...

    def on_gone(self, kind: Kind[Any], key: ObjectKey) -> None:
        """The object is no more."""
        ...


@dataclass(slots=True)
class _Live:
    """An ExternalSecret that this process looks after.

    Attributes:
        status: decided last; the truth until somebody else writes.
        stored: what the API server holds, as far as we know.
        written: what we tried to store since then: an answer may have been lost although it was written.
        outcome: what no decision has seen yet, and the version of the object that it is about.
        mark: of object, stores and target at the last failure.
        stores: marks of the stores at the last success.
    """

    uid: str
    subject: Subject
    refers_to: tuple[StoreName, ...]
    version: str
    status: ExternalSecretStatus
    stored: ExternalSecretStatus
    written: list[ExternalSecretStatus] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    outcome: Outcome | None = None
    outcome_version: str = ""
    refreshed_at: datetime | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    mark: object = None
    stores: tuple[tuple[str, str, int], ...] | None = None
    told: Told = field(default_factory=Told)
    blocker: Blocker | None = None


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
        settings: SecretSettings = DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._views = views
        self._stores = stores
        self._planner = planner
        self._clock = clock
        self._recorder = recorder
        self._wake = wake
        self._executor = executor
        self._writer = Writer(cluster, views.targets, clock, as_manager=as_manager, executor=executor)
        self._hook = hook
        self._rng = rng or random.Random()
        self._settings = settings
        self._limits = Limits(cluster_stores=settings.cluster_stores and views.cluster_stores is not None)
        self._live: dict[ObjectKey, _Live] = {}
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
            seen = self._observe(live, reaches)
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
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._live.clear()

    # --- observe -----------------------------------------------------------------------------------------------------

    def _known(self, key: ObjectKey, found: ExternalSecret) -> _Live:
        """Return what is known of an object, brought up to date with what the cache shows."""
        live = self._live.get(key)
        if live is not None and live.uid != found.metadata.uid:  # another object of the same name
            self._drop(key)
            live = None
        if live is None:
            status = decode_status(found.status)
            subject = self._prepared(found)
            live = _Live(
                uid=found.metadata.uid,
                subject=subject,
                refers_to=_refers_to(subject),
                version=found.metadata.resource_version,
                status=status,
                stored=status,
            )
            self._live[key] = live
        elif _is_newer(found.metadata, live.version):
            live.version = found.metadata.resource_version
            live.subject = self._prepared(found)
            live.refers_to = _refers_to(live.subject)
            self._take_in(key, live, decode_status(found.status))
        return live

    def _prepared(self, found: ExternalSecret) -> Subject:
        return prepare(found.metadata, found.spec, aligned=self._settings.aligned)

    def _take_in(self, key: ObjectKey, live: _Live, shown: ExternalSecretStatus) -> None:
        """Accept a newer status of the API server: our own, late or unanswered, or somebody else's."""
        if shown != live.stored and shown not in live.written:
            log.info("external_secret_status_changed_by_others", object=str(key))
            live.status = shown
            live.written.clear()
        live.stored = shown

    def _newest(self, key: ObjectKey, found: ExternalSecret, live: _Live) -> ExternalSecret:
        """Return the object as the cache shows it after our own writes, if it does."""
        shown = self._views.external_secrets.get(key)
        if shown is not None and shown.metadata.uid == live.uid:
            self._known(key, shown)
            return shown
        return found

    def _observe(self, live: _Live, reaches: tuple[Reach, ...]) -> Observation:
        subject = live.subject
        if live.outcome is not None and live.outcome_version != subject.version:
            live.outcome = None  # it answers a question that nobody asks any more
        outcome, live.outcome = live.outcome, None
        marks = tuple(reach.mark for reach in reaches)
        return Observation(
            target=self._views.targets.get(ObjectKey(subject.metadata.namespace, subject.target_name)),
            orphans=self._orphans(subject),
            stores=tuple(reach.seen for reach in reaches),
            outcome=outcome,
            in_flight=live.task is not None,
            refreshed_at=live.refreshed_at,
            attempts=live.attempts,
            retry_at=live.retry_at,
            has_changed=self._mark(live, reaches) != live.mark,
            stores_changed=live.stores is not None and live.stores != marks,
            told=live.told,
            jitter=self._rng.random(),
        )

    def _mark(self, live: _Live, reaches: tuple[Reach, ...]) -> object:
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

    def _take_over(self, key: ObjectKey, live: _Live, decision: SecretDecision, reaches: tuple[Reach, ...]) -> None:
        before = live.status.ready
        live.status = decision.status
        live.blocker = decision.blocked_on
        for event in decision.events:
            self._recorder.record(EXTERNAL_SECRETS, live.subject.metadata, event)
        if decision.synced is not None:
            live.refreshed_at = decision.synced.started_at
            live.attempts, live.retry_at, live.mark = 0, None, None
            live.stores = tuple(reach.mark for reach in reaches)
            live.told = Told(missing=decision.synced.missing)
            if decision.events:
                log.info("external_secret_synced", object=str(key), reasons=[event.reason for event in decision.events])
        if decision.failure is not None:
            live.attempts += 1
            live.retry_at = decision.wake_at
            live.mark = self._mark(live, reaches)
            if decision.events:
                log.warning("external_secret_failed", object=str(key), error=decision.failure.detail)
            live.told = replace(live.told, error=decision.failure.detail)
        if self._hook is not None:
            if decision.synced is not None or decision.failure is not None:
                self._hook.on_sync(key, failed=decision.failure is not None)
            after = live.status.ready
            if after is not None and after != before:
                self._hook.on_condition(EXTERNAL_SECRETS, key, after)

    # --- act ---------------------------------------------------------------------------------------------------------

    async def _act(
        self,
        key: ObjectKey,
        found: ExternalSecret,
        live: _Live,
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
                    live.task = asyncio.create_task(
                        self._fetch(key, live, live.subject, action, reaches), name=f"external-secret-{key}"
                    )
                case WriteTarget(fetched=fetched) | DeleteTarget(fetched=Fetched() as fetched):
                    await self._change(live, action, fetched)
                case DeleteTarget():
                    await self._writer.delete_with_owner(live.subject)
                case DeleteOrphans(keys=keys):
                    self._put(live, await self._writer.delete_orphans(live.subject, keys))
                    # A cache that does not know of our own writes shows them for a moment longer.
                    return live.outcome is not None or self._orphans(live.subject) != keys
        return bool(actions)

    async def _change(self, live: _Live, action: WriteTarget | DeleteTarget, fetched: Fetched) -> None:
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

    def _put(self, live: _Live, outcome: Outcome | None) -> None:
        live.outcome, live.outcome_version = outcome, live.subject.version

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

    # --- read --------------------------------------------------------------------------------------------------------

    async def _fetch(
        self, key: ObjectKey, live: _Live, subject: Subject, action: Fetch, reaches: tuple[Reach, ...]
    ) -> None:
        started_at = self._clock.now()
        outcome: Outcome
        try:
            outcome = await self._read(subject, action, reaches, started_at)
        except SourceError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error), retry_after=error.retry_after)
        except SpecError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error), is_final=True)
        except FairleadError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error))
        finally:
            live.task = None
        if self._live.get(key) is live:
            live.outcome, live.outcome_version = outcome, subject.version
            self._wake(key)

    async def _read(self, subject: Subject, action: Fetch, reaches: tuple[Reach, ...], started_at: datetime) -> Fetched:
        """Return what all sources gave together.

        Raises:
            SourceError: a source could not be read.
            SpecError: a source cannot be asked.
        """
        assert subject.spec is not None, "what cannot be understood is not read"
        known = {StoreName(reach.seen.kind, reach.seen.name): reach.known for reach in reaches}
        sources = _sources.sources(subject.spec)
        grouped: dict[StoreName, list[int]] = {}
        for index, source in enumerate(sources):
            grouped.setdefault(source.store, []).append(index)
        readings: dict[int, Reading] = {}

        async def ask(name: StoreName, indexes: list[int]) -> None:
            store = known.get(name)
            if store is None:
                raise SourceError(f'{name.kind} "{name.name}" not found')
            handle = self._stores.handle(store, subject.metadata.namespace)
            questions: list[Question] = [sources[index].question for index in indexes]
            answers = await self._planner.ask(handle, questions, urgency=action.urgency, not_before=action.not_before)
            for index, answer in zip(indexes, answers, strict=True):
                assert answer is not None, "a value is an answer"
                readings[index] = answer

        await asyncio.gather(*(ask(name, indexes) for name, indexes in grouped.items()))
        assemble = partial(
            _sources.assemble,
            subject.spec,
            sources,
            [readings[index] for index in range(len(sources))],
            converts_found={name: store.converts_found_keys for name, store in known.items() if store is not None},
        )
        if self._executor is not None and _sources.is_costly(subject.spec):
            found = await asyncio.get_running_loop().run_in_executor(self._executor, assemble)
        else:
            found = assemble()
        return Fetched(values=found.values, missing=found.missing, started_at=started_at)

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

    async def _store(self, key: ObjectKey, live: _Live) -> None:
        """Write what has changed of the status; a refreshTime alone is no change for a while."""
        if not self._is_worth_writing(live):
            return
        patch = diff(status_to_json(live.stored), status_to_json(live.status))
        if not patch:
            live.stored = live.status
            return
        status = live.status
        if status not in live.written:
            live.written = [*live.written[1 - ATTEMPTS_REMEMBERED_MAX :], status]
        body = {"metadata": {"uid": live.uid, "resourceVersion": live.version}, "status": patch}
        try:
            reply = await self._cluster.patch(EXTERNAL_SECRETS, key, MergePatch(body), subresource="status")
        except NotFound:
            return  # it is gone, and the watch will say so
        live.stored = status
        live.written.clear()
        live.version = reply.metadata.resource_version

    def _is_worth_writing(self, live: _Live) -> bool:
        stored, status = live.stored, live.status
        if status == stored:
            return False
        if msgspec.structs.replace(status, refresh_time=stored.refresh_time) != stored:
            return True
        if stored.refresh_time is None or status.refresh_time is None:
            return True
        return status.refresh_time - stored.refresh_time >= self._settings.refresh_time_every

    def _drop(self, key: ObjectKey) -> None:
        live = self._live.pop(key, None)
        if live is None:
            return
        if live.task is not None:
            live.task.cancel()
        if self._hook is not None:
            self._hook.on_gone(EXTERNAL_SECRETS, key)


def _refers_to(subject: Subject) -> tuple[StoreName, ...]:
    return _sources.store_names(subject.spec) if subject.spec is not None else ()


def _is_newer(metadata: ObjectMeta, version: str) -> bool:
    known = int(version) if version.isdecimal() else 0
    if metadata.version and known:
        return metadata.version > known
    return metadata.resource_version != version  # versions that are no numbers cannot be compared
