"""What ExternalSecrets and their stores wait for, worked out by the machine that decides about them.

A few reads of the cluster are made; no store is asked, no value of a Secret is kept, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic

from fairlead.controller.explain import Explanation
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.conditions import Condition
from fairlead.core.decision import Blocker
from fairlead.core.errors import Forbidden, NotFound
from fairlead.core.kinds import EVENTS, NAMESPACES
from fairlead.core.objects import HasMetadata, Kind, ObjectKey, ObjectMeta, T, parse_rfc3339
from fairlead.secrets._opening import Stores
from fairlead.secrets._schedule import due_at
from fairlead.secrets._sight import Sight, Views
from fairlead.secrets._sources import store_names
from fairlead.secrets.actions import AddFinalizer, DeleteTarget, Fetch
from fairlead.secrets.kinds import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    MANAGED_LABEL,
    SECRET_STORES,
    TARGETS,
    SecretStore,
    TargetSecret,
)
from fairlead.secrets.machine import RETRY, SecretDecision, Subject, decide, is_valid, prepare
from fairlead.secrets.observation import Observation, Readiness, StoreSeen
from fairlead.secrets.settings import SECRET_DEFAULTS
from fairlead.secrets.spec import RefreshPolicy, StoreKind
from fairlead.secrets.status import ExternalSecretStatus, decode_status, decode_store_status
from fairlead.secrets.stores.port import StoreContext
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters, StaticCredentials

_RETRIED: Final = (
    f"it is tried again, at pauses of up to {RETRY.most / 60:g} minutes, "
    "and at once when object, store or target change"
)
_STORE_RETRIED: Final = f"it is validated again, at pauses of up to {RETRY.most / 60:g} minutes, and when it changes"
_LATE: Final = timedelta(minutes=10)  # beyond what refreshTime may lag behind


class _Found(Generic[T]):
    """A View of what was read once."""

    def __init__(self, found: Mapping[ObjectKey, T]) -> None:
        self._found = found

    def get(self, key: ObjectKey) -> T | None:
        return self._found.get(key)

    def list(self, namespace: str = "") -> Sequence[T]:
        keys = (key for key in self._found if namespace in ("", key.namespace))
        return [self._found[key] for key in sorted(keys)]

    def by_index(self, index: str, value: str) -> Sequence[T]:
        raise KeyError(index)


async def explain_external_secret(cluster: Cluster, clock: Clock, key: ObjectKey) -> Explanation:
    """Return what an ExternalSecret waits for.

    Raises:
        NotFound: there is none.
    """
    found = await cluster.get(EXTERNAL_SECRETS, key)
    status = decode_status(found.status)
    subject = prepare(found.metadata, found.spec, aligned=SECRET_DEFAULTS.aligned)
    details: list[str] = []
    stores = await _stores(cluster, clock, subject)
    target, why = await _target(cluster, subject)
    now = clock.now()
    seen = Observation(target=target, stores=stores, refreshed_at=_refreshed_at(subject, status, now))
    decision = decide(subject, status, seen, now)
    trouble = ""
    if status.ready is not None and not status.ready.is_true:
        trouble = await _last_warning(cluster, found.metadata, "UpdateFailed")
    details += _about_target(subject, status, target, why)
    details += [_about_store(store) for store in stores]
    if (late := _lateness(subject, status, now)) is not None:
        details.append(late)
    return Explanation(
        phase=status.ready.reason if status.ready is not None else "Pending",
        message=status.ready.message if status.ready is not None else "",
        blocked_on=_blocker(subject, status, stores, decision, trouble),
        conditions=status.conditions,
        details=tuple(details),
    )


async def explain_store(cluster: Cluster, clock: Clock, key: ObjectKey) -> Explanation:
    """Return what a store waits for: a SecretStore, or a ClusterSecretStore where the namespace is empty.

    Raises:
        NotFound: there is none.
    """
    kind = SECRET_STORES if key.namespace else CLUSTER_SECRET_STORES
    found = await cluster.get(kind, key)
    status = decode_store_status(found.status)
    known = _known_stores(clock).known(StoreKind(kind.kind), found)
    ready = status.ready
    blocker: Blocker | None = None
    if known.controller not in ("", SECRET_DEFAULTS.controller_class):
        what = f'a controller of the class "{known.controller}" looks after it'
        blocker = Blocker(reason="OtherClass", what=what)
    elif known.error:
        what = f"its spec is changed: {known.error}"
        blocker = Blocker(reason="InvalidSpec", what=what, since=_since(ready), next="it is validated at once")
    elif ready is None:
        blocker = Blocker(reason="StoreNotValidated", what="it is validated for the first time")
    elif not ready.is_true:
        trouble = await _last_warning(cluster, found.metadata, ready.reason)
        what = f"its validation succeeds, the last one failed: {trouble or ready.message}"
        blocker = Blocker(reason=ready.reason, what=what, since=_since(ready), next=_STORE_RETRIED)
    details = []
    if known.store is not None:
        every = known.spec.revalidate_after if known.spec is not None else None
        pause = int((every or SECRET_DEFAULTS.store_interval).total_seconds())
        details.append(f"provider {known.store.provider}, validated every {pause} s")
    if known.is_referent:
        details.append("its identity is that of whoever uses it, so that it cannot be validated by itself")
    return Explanation(
        phase=ready.reason if ready is not None else "Pending",
        message=ready.message if ready is not None else "",
        blocked_on=blocker,
        conditions=status.conditions,
        details=tuple(details),
    )


# -- looking ----------------------------------------------------------------------------------------------------------


def _known_stores(clock: Clock) -> Stores:
    """Return what reads specs of stores; it has nothing to open one with."""
    context = StoreContext(clock=clock, credentials=StaticCredentials(), clusters=NoClusters())
    return Stores(StoreProviders().provider, context)


async def _stores(cluster: Cluster, clock: Clock, subject: Subject) -> tuple[StoreSeen, ...]:
    if subject.spec is None:
        return ()
    namespace = subject.metadata.namespace
    names = store_names(subject.spec)
    stores: dict[ObjectKey, SecretStore] = {}
    cluster_stores: dict[ObjectKey, SecretStore] = {}
    namespaces: dict[ObjectKey, HasMetadata] = {}
    for name in names:
        if name.kind is StoreKind.CLUSTER:
            await _read(cluster, CLUSTER_SECRET_STORES, ObjectKey("", name.name), cluster_stores)
            await _read(cluster, NAMESPACES, ObjectKey("", namespace), namespaces)
        else:
            await _read(cluster, SECRET_STORES, ObjectKey(namespace, name.name), stores)
    views = Views(
        external_secrets=_Found({}),
        targets=_Found({}),
        stores=_Found(stores),
        cluster_stores=_Found(cluster_stores),
        namespaces=_Found(namespaces),
    )
    sight = Sight(views, _known_stores(clock), clock, SECRET_DEFAULTS)
    return tuple(reach.seen for reach in sight.stores(names, namespace))


async def _read(cluster: Cluster, kind: Kind[Any], key: ObjectKey, into: dict[ObjectKey, Any]) -> None:
    try:
        into[key] = await cluster.get(kind, key)
    except NotFound:
        into.pop(key, None)


async def _target(cluster: Cluster, subject: Subject) -> tuple[TargetSecret | None, str]:
    """Return the Secret if it is one that the controller sees, else why not."""
    key = ObjectKey(subject.metadata.namespace, subject.target_name)
    try:
        found = await cluster.get(TARGETS, key)
    except NotFound:
        return None, f"Secret {key} does not exist"
    except Forbidden:
        return None, f"Secret {key} may not be read by you, so nothing is said about it"
    if found.metadata.labels.get(MANAGED_LABEL) != "true":
        return None, f"Secret {key} exists, but was not written by an ExternalSecret"
    return found, ""


async def _last_warning(cluster: Cluster, metadata: ObjectMeta, reason: str) -> str:
    """Return what the newest Event of a reason about the object says; empty: there is none."""
    try:
        page = await cluster.list(EVENTS, namespace=metadata.namespace or "default")
    except Forbidden:
        return ""
    newest, text = None, ""
    for event in page.items:
        content = event.content
        if content.get("reason") != reason or (content.get("involvedObject") or {}).get("uid") != metadata.uid:
            continue
        at = parse_rfc3339(str(content.get("lastTimestamp") or content.get("eventTime") or ""))
        if at is not None and (newest is None or at >= newest):
            newest, text = at, str(content.get("message", ""))
    return text


# -- saying -----------------------------------------------------------------------------------------------------------


def _is_periodic(subject: Subject) -> bool:
    timing = subject.timing
    return timing is not None and timing.policy is RefreshPolicy.PERIODIC and timing.interval > timedelta(0)


def _refreshed_at(subject: Subject, status: ExternalSecretStatus, now: datetime) -> datetime | None:
    """Return when the last refresh was, as far as can be known.

    `refreshTime` is brought up to date once an hour at most. Of an object that is in order, and not overdue beyond
    that, the controller has refreshed all that was due: so the next instant that is due lies ahead.
    """
    ready, timing = status.ready, subject.timing
    if ready is None or not ready.is_true or timing is None or status.refresh_time is None:
        return None
    if not _is_periodic(subject) or due_at(timing, status.refresh_time) > now or _lateness(subject, status, now):
        return None
    return now


def _lateness(subject: Subject, status: ExternalSecretStatus, now: datetime) -> str | None:
    timing, at = subject.timing, status.refresh_time
    if timing is None or timing.windows is not None or at is None or not _is_periodic(subject):
        return None
    if status.ready is None or not status.ready.is_true:
        return None
    if now - at <= timing.interval + SECRET_DEFAULTS.refresh_time_every + _LATE:
        return None
    return f"the last refresh that was recorded is of {at:%Y-%m-%d %H:%M:%SZ}: no controller seems to be at work"


def _blocker(
    subject: Subject,
    status: ExternalSecretStatus,
    stores: tuple[StoreSeen, ...],
    decision: SecretDecision,
    trouble: str,
) -> Blocker | None:
    ready = status.ready
    if subject.metadata.is_deleting:
        takes = any(isinstance(action, DeleteTarget) for action in decision.actions)
        next_ = "its Secret is deleted with it" if takes else "its Secret stays"
        return Blocker(reason="Deleting", what="the controller lets it go", next=next_)
    if decision.failure is not None:
        failure = decision.failure
        next_ = "a change is tried at once" if failure.is_final else _RETRIED
        what = f"this is mended: {failure.detail}"
        return Blocker(reason="Failed", what=what, since=_failing_since(ready), next=next_)
    if any(isinstance(action, AddFinalizer) for action in decision.actions):
        return Blocker(reason="NotSeen", what="the controller takes note of it", next="its values are read")
    if ready is not None and not ready.is_true:
        what = f"a sync succeeds, the last one failed: {trouble or ready.message}"
        return Blocker(reason=ready.reason, what=what, since=_since(ready), next=_RETRIED)
    if any(isinstance(action, Fetch) for action in decision.actions):
        return Blocker(reason="Reading", what="its values are read", next="the Secret is written if they have changed")
    if decision.blocked_on is None:
        names = ", ".join(f'{store.kind} "{store.name}"' for store in stores if not store.is_ours)
        return Blocker(reason="OtherClass", what=f"another controller looks after {names or 'it'}")
    if decision.wake_at is None and not any(store.readiness is Readiness.UNKNOWN for store in stores):
        return None  # it is read once, or when it changes
    if decision.blocked_on.reason == "Waiting":
        return replace(
            decision.blocked_on, what="its next refresh", next="the Secret is written if values have changed"
        )
    return decision.blocked_on


def _since(condition: Condition | None) -> datetime | None:
    return condition.last_transition_time if condition is not None else None


def _failing_since(ready: Condition | None) -> datetime | None:
    return _since(ready) if ready is not None and not ready.is_true else None


def _about_target(subject: Subject, status: ExternalSecretStatus, target: TargetSecret | None, why: str) -> list[str]:
    if target is None:
        return [why]
    key, count = target.metadata.key, len(target.digests)
    keys = f"{count} key{'' if count == 1 else 's'}"
    valid = subject.spec is not None and is_valid(subject, subject.spec, status, target)
    return [f"Secret {key}: {keys}, {'as it was written' if valid else 'changed by somebody else'}"]


def _about_store(store: StoreSeen) -> str:
    name = f'{store.kind} "{store.name}"'
    if store.denial:
        return f"{name}: {store.denial}"
    words = {
        Readiness.READY: "is ready",
        Readiness.NOT_READY: "is not ready",
        Readiness.UNKNOWN: "has not been validated yet",
        Readiness.MISSING: "does not exist",
    }
    return f"{name} {words[store.readiness]}"
