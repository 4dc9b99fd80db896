"""Validates SecretStores and ClusterSecretStores, and says in their status whether they can be used.

Upstream writes an Event at each validation; here an unchanged verdict costs the cluster nothing.

Source: `external-secrets: pkg/controllers/secretstore/common.go`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, View
from fairlead.core.decision import Event, EventType
from fairlead.core.errors import FairleadError, NotFound, SpecError
from fairlead.core.objects import Kind, ObjectKey
from fairlead.core.patches import diff
from fairlead.secrets._opening import KnownStore, OpeningFailed, Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets.kinds import SecretStore
from fairlead.secrets.machine import RETRY
from fairlead.secrets.reconciler import Recorder, SyncHook
from fairlead.secrets.settings import SECRET_DEFAULTS, SecretSettings
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.status import (
    StoreReason,
    StoreStatus,
    decode_store_status,
    store_status_to_json,
    with_ready,
)
from fairlead.secrets.stores.port import ValidationUnknown

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a validation has found.

    Attributes:
        detail: of the Event: the cause, without any value.
    """

    is_ready: bool
    reason: StoreReason
    message: str
    detail: str = ""

    @property
    def event(self) -> Event:
        is_good = self.reason is StoreReason.VALID
        return Event(self.reason, self.detail or self.message, EventType.NORMAL if is_good else EventType.WARNING)


VALID = Verdict(is_ready=True, reason=StoreReason.VALID, message="store validated")


def verdict(error: FairleadError | None) -> Verdict:
    """Return what the answer to a validation means."""
    match error:
        case None:
            return VALID
        case ValidationUnknown():
            return Verdict(
                is_ready=True,
                reason=StoreReason.VALIDATION_UNKNOWN,
                message="could not determine validation status",
                detail=str(error),
            )
        case OpeningFailed() | SpecError():
            message = "unable to create client"
        case _:
            message = "unable to validate store"
    return Verdict(is_ready=False, reason=StoreReason.INVALID_PROVIDER_CONFIG, message=message, detail=str(error))


@dataclass(slots=True)
class _Live:
    """A store that this process validates.

    Attributes:
        generation: of the spec that `verdict` is about.
        due_at: when to validate again.
        told: what the last Event said.
    """

    uid: str
    generation: int
    verdict: Verdict | None = None
    due_at: datetime | None = None
    attempts: int = 0
    told: Verdict | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class StoreReconciler:
    """Validates the stores of one kind. Close it at the end, before its planner.

    Args:
        kind: `kinds.SECRET_STORES` or `kinds.CLUSTER_SECRET_STORES`.
        wake: is called with a store that wants to be reconciled soon (its validation has ended).
    """

    def __init__(
        self,
        kind: Kind[SecretStore],
        cluster: Cluster,
        view: View[SecretStore],
        stores: Stores,
        planner: Planner,
        clock: Clock,
        *,
        recorder: Recorder,
        wake: Callable[[ObjectKey], None],
        hook: SyncHook | None = None,
        rng: random.Random | None = None,
        settings: SecretSettings = SECRET_DEFAULTS,
    ) -> None:
        self._kind = kind
        self._store_kind = StoreKind(kind.kind)
        self._cluster = cluster
        self._view = view
        self._stores = stores
        self._planner = planner
        self._clock = clock
        self._recorder = recorder
        self._wake = wake
        self._hook = hook
        self._rng = rng or random.Random()
        self._settings = settings
        self._live: dict[ObjectKey, _Live] = {}

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Validate if it is time, and store what was found; return when to look again at the latest.

        Raises:
            ClusterError: the status could not be stored.
        """
        found = self._view.get(key)
        live = self._live.get(key)
        if live is not None and (found is None or found.metadata.uid != live.uid):
            await self._drop(key, live)
            live = None
        if found is None or found.metadata.is_deleting:
            return None
        known = self._stores.known(self._store_kind, found)
        if known.controller not in ("", self._settings.controller_class):
            return None  # somebody else's, status and all
        now = self._clock.now()
        if live is None:
            live = self._live[key] = _Live(uid=found.metadata.uid, generation=found.metadata.generation)
        if live.generation != found.metadata.generation:
            live.generation, live.verdict, live.attempts = found.metadata.generation, None, 0
        if live.verdict is not None:
            await self._conclude(key, found, known, live)
        if live.task is None and (live.verdict is None or (live.due_at is not None and live.due_at <= now)):
            live.task = asyncio.create_task(self._validate(key, live, known), name=f"{self._store_kind}-{key}")
        return live.due_at if live.task is None else None

    async def close(self) -> None:
        """Stop validating."""
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._live.clear()

    # --- validating ---------------------------------------------------------------------------------------------------

    async def _validate(self, key: ObjectKey, live: _Live, known: KnownStore) -> None:
        generation, began_at = live.generation, self._clock.monotonic()
        try:
            found = verdict(await self._answer(known))
        finally:
            live.task = None
        if self._hook is not None:
            self._hook.on_duration(self._kind, key, self._clock.monotonic() - began_at)
        if self._live.get(key) is live:
            if live.generation == generation:
                self._take(live, known, found)
            self._wake(key)

    async def _answer(self, known: KnownStore) -> FairleadError | None:
        if known.error:
            return SpecError(known.error)
        if known.is_referent:
            return None  # nobody's identity to try it with
        return await self._planner.validate(self._stores.handle(known, ""))

    def _take(self, live: _Live, known: KnownStore, found: Verdict) -> None:
        now = self._clock.now()
        live.verdict = found
        if found.is_ready:
            live.attempts = 0
            asked = known.spec.revalidate_after if known.spec is not None else None
            live.due_at = now + (asked or self._settings.store_interval) * (1 - self._rng.random() / 10)
            return
        if known.error:
            live.due_at = None  # only a change of the spec helps
            return
        live.due_at = now + timedelta(seconds=RETRY.delay(live.attempts, jitter=self._rng.random()))
        live.attempts += 1

    # --- storing ------------------------------------------------------------------------------------------------------

    async def _conclude(self, key: ObjectKey, found: SecretStore, known: KnownStore, live: _Live) -> None:
        """Write what has changed; tell what is new."""
        assert live.verdict is not None, "there is something to conclude"
        stored = decode_store_status(found.status)
        conditions = with_ready(
            stored.conditions,
            is_ready=live.verdict.is_ready,
            reason=live.verdict.reason,
            message=live.verdict.message,
            now=self._clock.now(),
        )
        capabilities = str(known.provider.capabilities) if known.provider is not None else stored.capabilities
        status = StoreStatus(capabilities=capabilities, conditions=conditions)
        patch = diff(store_status_to_json(stored), store_status_to_json(status))
        if live.told is None and not patch:
            live.told = live.verdict  # an earlier process said it
        if live.told != live.verdict:
            self._recorder.record(self._kind, found.metadata, live.verdict.event)
            log.info(
                "secret_store_validated", object=str(key), reason=str(live.verdict.reason), error=live.verdict.detail
            )
            live.told = live.verdict
            if self._hook is not None and status.ready is not None:
                self._hook.on_condition(self._kind, key, status.ready)
        if patch:
            meta = {"uid": found.metadata.uid, "resourceVersion": found.metadata.resource_version}
            body = {"metadata": meta, "status": patch}
            try:
                await self._cluster.patch(self._kind, key, MergePatch(body), subresource="status")
            except NotFound:
                log.debug("secret_store_gone", object=str(key))

    async def _drop(self, key: ObjectKey, live: _Live) -> None:
        del self._live[key]
        if live.task is not None:
            live.task.cancel()
        await self._planner.forget(live.uid)
        if self._hook is not None:
            self._hook.on_gone(self._kind, key)
