"""What should happen next to an ExternalSecret. Pure.

Each reconciliation goes through the rules of `decide` from the top; the first that applies answers. In the usual course
of things an object passes through four of them, with one action of the shell in between:

    due → Fetch → (values) → WriteTarget → (written) → status → wait until due again

- Nothing is written but from a complete reading: an error anywhere leaves the Secret as it is. Only an authenticated
  "there is no such secret" of every source together with deletionPolicy Delete deletes anything.
- A failure is tried again after 1 s, doubling up to 7 minutes, and at once when object, store or target change. Those
  that no retry can mend wait for such a change.
- The target is compared by hashes; drift is corrected whatever the refresh policy says.

Source: `external-secrets: pkg/controllers/externalsecret: Reconcile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import assert_never

import msgspec

from fairlead.core.backoff import Backoff
from fairlead.core.decision import Blocker, Decision, Event, EventType
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectMeta
from fairlead.secrets import _schedule, _validation
from fairlead.secrets._hash import metadata_hash
from fairlead.secrets._ownership import controls
from fairlead.secrets._schedule import Cause, Timing
from fairlead.secrets.actions import (
    Action,
    AddFinalizer,
    DeleteOrphans,
    DeleteTarget,
    Fetch,
    RemoveFinalizer,
    Urgency,
    WriteTarget,
)
from fairlead.secrets.kinds import DATA_HASH_ANNOTATION, FINALIZER, MANAGED_LABEL, TargetSecret
from fairlead.secrets.observation import Change, Deleted, Failed, Fetched, Observation, Readiness, StoreSeen, Written
from fairlead.secrets.spec import (
    CreationPolicy,
    DeletionPolicy,
    ExternalSecretSpec,
    RefreshPolicy,
    StoreKind,
    decode_spec,
)
from fairlead.secrets.status import ExternalSecretStatus, Reason, with_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDecision(Decision[ExternalSecretStatus, Action]):
    """What to do next, and how the last attempt ended, if this decision ends one.

    Attributes:
        synced: what was read, when it has been carried through.
        failure: what went wrong instead.
    """

    synced: Fetched | None = None
    failure: Failed | None = None


RETRY = Backoff(first=1.0, most=420.0)  # as upstream's queue
FRESH = timedelta(seconds=2)  # to mend drift, a value will do that somebody else read just now
RETAINED = "secret retained due to DeletionPolicy=Retain"
_SYNCED = "secret synced"
_DELETED = "secret deleted due to DeletionPolicy=Delete"
_MISSING = "secret will not be created due to CreationPolicy=Merge"
GET_FAILED = "could not get secret data from provider"
UPDATE_FAILED = "could not update secret"
DELETE_FAILED = "could not delete secret"
ORPHANS_FAILED = "could not delete orphaned secrets"
FROZEN = "could not update secret, target is immutable"
GENERIC = "invalid generic target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One ExternalSecret, read.

    Attributes:
        spec: None: it cannot be understood, and `error` says why.
        version: of spec and metadata, as `status.syncedResourceVersion` records it.
        timing: when it is read again; None with an error.
    """

    metadata: ObjectMeta
    spec: ExternalSecretSpec | None
    error: str = ""
    version: str = ""
    timing: Timing | None = None

    @property
    def target_name(self) -> str:
        named = self.spec.target.name if self.spec is not None else None
        return named or self.metadata.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this controller serves.

    Attributes:
        cluster_stores: whether ClusterSecretStores are.
    """

    cluster_stores: bool = True


def prepare(metadata: ObjectMeta, raw: bytes | msgspec.Raw, *, aligned: bool = False) -> Subject:
    """Return the object as decisions need it. A spec that cannot be understood or must not be served is an error.

    Args:
        aligned: let all that use one store at one interval refresh at the same instants, so that they share reads.
    """
    version = f"{metadata.generation}-{metadata_hash(metadata.annotations, metadata.labels)}"
    try:
        spec = decode_spec(raw)
    except SpecError as error:
        return Subject(metadata=metadata, spec=None, error=str(error), version=version)
    found = "; ".join(str(problem) for problem in _validation.problems(spec))
    timing = None
    if not found:
        align = _phase(metadata, spec) if aligned else None
        timing = Timing(policy=spec.refresh, interval=spec.interval, windows=spec.sync_windows, align=align)
    return Subject(metadata=metadata, spec=spec, error=found, version=version, timing=timing)


def _phase(metadata: ObjectMeta, spec: ExternalSecretSpec) -> timedelta | None:
    """Return the phase of those who share store and interval: another one for each store, so that stores alternate."""
    if spec.interval <= timedelta(0):
        return None
    ref = spec.secret_store_ref
    home = "" if ref.kind is StoreKind.CLUSTER else metadata.namespace
    number = int.from_bytes(sha256(f"{home}/{ref.name}".encode()).digest()[:8], "big")
    return timedelta(microseconds=number % (spec.interval // timedelta(microseconds=1)))


def decide(
    subject: Subject, status: ExternalSecretStatus, seen: Observation, now: datetime, *, limits: Limits = Limits()
) -> SecretDecision:
    """Return the next status of an ExternalSecret and what must be done for it."""
    spec = subject.spec
    if subject.metadata.is_deleting:
        return _delete(subject, status, seen)
    if spec is not None and _is_somebody_elses(spec, seen, limits):
        return SecretDecision(status=status)
    if FINALIZER not in subject.metadata.finalizers:
        return SecretDecision(status=status, actions=(*_ahead(subject, status, seen, now), AddFinalizer()))
    if spec is None or subject.error:
        return _failed(status, seen, Failed(message="invalid ExternalSecret", detail=subject.error, is_final=True), now)
    manifest = spec.target.manifest
    if manifest is not None and (manifest.api_version, manifest.kind) != ("v1", "Secret"):
        detail = "generic targets are not enabled"
        return _failed(status, seen, Failed(message=GENERIC, detail=detail, is_final=True), now)
    match seen.outcome:
        case None:
            return _look(subject, spec, status, seen, now)
        case Fetched() as fetched:
            return _fetched(subject, spec, status, seen, fetched, now)
        case Written(change=change, fetched=fetched):
            return _written(subject, status, seen, change, fetched, now)
        case Deleted(was_there=was_there, fetched=fetched):
            events = (Event("Deleted", "secret deleted due to DeletionPolicy=Delete"),) if was_there else ()
            return _synced(subject, status, seen, fetched, Reason.DELETED, _DELETED, now, events=events)
        case Failed() as failure:
            return _failed(status, seen, failure, now)
        case _:
            assert_never(seen.outcome)


# -- rules -------------------------------------------------------------------------------------------------------------


def _delete(subject: Subject, status: ExternalSecretStatus, seen: Observation) -> SecretDecision:
    """The object is going: take the Secret along only if that was asked for and it is ours, by UID."""
    if FINALIZER not in subject.metadata.finalizers:
        return SecretDecision(status=status)
    actions: tuple[Action, ...] = (RemoveFinalizer(),)
    wants = subject.spec is not None and subject.spec.target.deletion is DeletionPolicy.DELETE
    if wants and seen.target is not None and controls(subject.metadata, seen.target.metadata):
        actions = (DeleteTarget(), RemoveFinalizer())
    return SecretDecision(status=status, actions=actions)


def _ahead(subject: Subject, status: ExternalSecretStatus, seen: Observation, now: datetime) -> tuple[Action, ...]:
    """Return what need not wait for the finalizer: reading. So all new objects are read for together."""
    if subject.spec is None or subject.error or subject.spec.target.manifest is not None or seen.outcome is not None:
        return ()
    actions = _look(subject, subject.spec, status, seen, now).actions
    return tuple(action for action in actions if isinstance(action, Fetch))


def _is_somebody_elses(spec: ExternalSecretSpec, seen: Observation, limits: Limits) -> bool:
    if spec.secret_store_ref.kind is StoreKind.CLUSTER and not limits.cluster_stores:
        return True
    return not all(store.is_ours for store in seen.stores)


def _look(
    subject: Subject, spec: ExternalSecretSpec, status: ExternalSecretStatus, seen: Observation, now: datetime
) -> SecretDecision:
    """Nothing has come back: read if it is time, else wait."""
    if seen.in_flight:
        return SecretDecision(status=status, blocked_on=Blocker(reason="Reading", what="values are being read"))
    if seen.attempts and not seen.has_changed:
        if seen.retry_at is None:
            what = f"the last sync failed: {seen.told.error}"
            return SecretDecision(
                status=status, blocked_on=Blocker(reason="Failed", what=what, next="a change is tried")
            )
        if now < seen.retry_at:
            blocker = Blocker(reason="Retrying", what=f"the last sync failed: {seen.told.error}", at=seen.retry_at)
            return SecretDecision(status=status, wake_at=seen.retry_at, blocked_on=blocker)
    timing = subject.timing
    assert timing is not None, "what is wrong is not read"
    # What this process did counts: the stored time lags behind, or is ahead where a clock was wrong.
    refreshed_at = seen.refreshed_at or status.refresh_time
    due = _schedule.is_due(timing, status, subject.version, refreshed_at=refreshed_at, now=now)
    cause, not_before = due.cause, now - FRESH
    created_at = subject.metadata.creation_timestamp
    if cause is Cause.FIRST and created_at is not None:
        not_before = min(now, created_at)
    if cause is Cause.DUE and refreshed_at is not None and refreshed_at <= now:
        not_before = _schedule.due_at(timing, refreshed_at)
    if cause is None and not is_valid(subject, spec, status, seen.target):
        cause = Cause.DRIFTED
    if cause is Cause.CHANGED:
        not_before = now  # a change may be somebody's way to ask for the value of this moment
    is_periodic = timing.policy is RefreshPolicy.PERIODIC and timing.interval > timedelta(0)
    if cause is None and seen.stores_changed and is_periodic:
        cause = Cause.CHANGED
    if cause is None:
        return _rest(status, seen, due.at, now)
    for store in seen.stores:
        if store.readiness is Readiness.UNKNOWN:
            what = f'{store.kind} "{store.name}" is being validated for the first time'
            return SecretDecision(status=status, blocked_on=Blocker(reason="StoreNotValidated", what=what))
        if problem := store_problem(store):
            return _failed(status, seen, Failed(message=GET_FAILED, detail=problem), now)
    urgency = Urgency.REFRESH if cause is Cause.DUE else Urgency.FIRST
    return SecretDecision(status=status, actions=(Fetch(urgency=urgency, not_before=not_before),))


def _rest(status: ExternalSecretStatus, seen: Observation, wake_at: datetime | None, now: datetime) -> SecretDecision:
    """The Secret is as it should be: what earlier names left behind can go."""
    if seen.orphans:
        return SecretDecision(status=status, actions=(DeleteOrphans(keys=seen.orphans),), wake_at=wake_at)
    if status.ready is not None and status.ready.message == ORPHANS_FAILED:
        mended = with_ready(status.conditions, is_ready=True, reason=Reason.SYNCED, message=_SYNCED, now=now)
        status = msgspec.structs.replace(status, conditions=mended)
    blocker = Blocker(reason="Waiting", what="the next refresh is waited for", at=wake_at)
    return SecretDecision(status=status, wake_at=wake_at, blocked_on=blocker)


def store_problem(store: StoreSeen) -> str:
    """Return why the store must not be asked now; empty: it may."""
    if store.readiness is Readiness.MISSING:
        return f'{store.kind} "{store.name}" not found'
    if store.denial:
        return store.denial
    return f'{store.kind} "{store.name}" is not ready' if store.readiness is Readiness.NOT_READY else ""


def is_valid(
    subject: Subject, spec: ExternalSecretSpec, status: ExternalSecretStatus, target: TargetSecret | None
) -> bool:
    """Return whether the Secret is as it was written last, or is rightly absent."""
    if spec.target.creation in (CreationPolicy.ORPHAN, CreationPolicy.NONE):
        return True
    if target is None:
        ready = status.ready
        return (
            ready is not None
            and ready.is_true
            and (ready.reason in (Reason.MISSING, Reason.DELETED) or ready.message == RETAINED)
        )
    meta = target.metadata
    return meta.labels.get(MANAGED_LABEL) == "true" and meta.annotations.get(DATA_HASH_ANNOTATION) == target.hash


def _fetched(
    subject: Subject,
    spec: ExternalSecretSpec,
    status: ExternalSecretStatus,
    seen: Observation,
    fetched: Fetched,
    now: datetime,
) -> SecretDecision:
    """All values are here: say what they mean for the Secret."""
    creation, deletion = spec.target.creation, spec.target.deletion
    if not fetched.values and deletion is DeletionPolicy.DELETE:
        if creation is not CreationPolicy.OWNER:
            detail = f"unable to delete secret not created by operator: creationPolicy is {creation}"
            return _failed(status, seen, Failed(message=DELETE_FAILED, detail=detail, is_final=True), now)
        return SecretDecision(status=status, actions=(DeleteTarget(fetched=fetched),))
    if not fetched.values and deletion is DeletionPolicy.RETAIN:
        return _synced(subject, status, seen, fetched, Reason.SYNCED, RETAINED, now)
    if creation is CreationPolicy.NONE:
        return _synced(subject, status, seen, fetched, Reason.SYNCED, _SYNCED, now)
    return SecretDecision(status=status, actions=(WriteTarget(fetched=fetched),))


def _written(
    subject: Subject,
    status: ExternalSecretStatus,
    seen: Observation,
    change: Change,
    fetched: Fetched,
    now: datetime,
) -> SecretDecision:
    if change is Change.ABSENT:
        return _synced(subject, status, seen, fetched, Reason.MISSING, _MISSING, now)
    events = {
        Change.CREATED: (Event("Created", "secret created"),),
        Change.UPDATED: (Event("Updated", "secret updated"),),
    }.get(change, ())
    bound = msgspec.structs.replace(status, binding=subject.target_name)
    return _synced(subject, bound, seen, fetched, Reason.SYNCED, _SYNCED, now, events=events)


def _synced(
    subject: Subject,
    status: ExternalSecretStatus,
    seen: Observation,
    fetched: Fetched,
    reason: Reason,
    message: str,
    now: datetime,
    *,
    events: tuple[Event, ...] = (),
) -> SecretDecision:
    refreshed_at = fetched.started_at.replace(microsecond=0)
    missing: tuple[Event, ...] = ()
    if fetched.missing != seen.told.missing:
        missing = tuple(Event("MissingProviderSecret", text) for text in fetched.missing)
    synced = msgspec.structs.replace(
        status,
        # What is stored never moves backwards, whatever clocks do.
        refresh_time=_latest(status.refresh_time, refreshed_at),
        synced_resource_version=subject.version,
        conditions=with_ready(status.conditions, is_ready=True, reason=reason, message=message, now=now),
    )
    return SecretDecision(status=synced, events=(*missing, *events), wake_at=now, synced=fetched)


def _failed(status: ExternalSecretStatus, seen: Observation, failure: Failed, now: datetime) -> SecretDecision:
    """The Secret stays as it is; the condition says that, and the Event why."""
    conditions = with_ready(
        status.conditions, is_ready=False, reason=Reason.SYNC_ERROR, message=failure.message, now=now
    )
    events = () if failure.detail == seen.told.error else (Event("UpdateFailed", failure.detail, EventType.WARNING),)
    wake_at = None
    if not failure.is_final:
        delay = max(RETRY.delay(seen.attempts, jitter=seen.jitter), failure.retry_after or 0.0)
        wake_at = now + timedelta(seconds=delay)
    blocker = Blocker(reason="Failed", what=f"{failure.message}: {failure.detail}", at=wake_at)
    return SecretDecision(
        status=msgspec.structs.replace(status, conditions=conditions),
        events=events,
        wake_at=wake_at,
        blocked_on=blocker,
        failure=failure,
    )


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
