"""Carries out what was decided about the destination cluster, one object at a time and many at once.

Each object ends in one Result, whatever happens to it: a refusal is an answer and never an exception. An object that is
already as it should be costs no request. Every write can be made twice: creations are named, changes carry the
resourceVersion that they were computed from, deletions the UID of what is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol, assert_never

import structlog

from fairlead.agentsync._live import LiveObject, LiveView, live_kind
from fairlead.agentsync._refusals import told
from fairlead.agentsync._waves import defined_kind
from fairlead.agentsync._writes import dry_run_of, label, masked, without_finalizer
from fairlead.agentsync._writing import DEFINITION, Manner, Refused, Writing
from fairlead.agentsync.actions import (
    Action,
    Apply,
    ApplyWave,
    DeleteHooks,
    DeleteResources,
    DryRun,
    Propagation,
    Prune,
    ReleaseHooks,
    Removal,
    Render,
)
from fairlead.agentsync.kinds import FIELD_MANAGER, HOOK_FINALIZER
from fairlead.agentsync.observation import Result
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind, group_version, key_of
from fairlead.agentsync.status import ResultCode, SyncPhase
from fairlead.core import cluster as port
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import (
    ClusterError,
    Conflict,
    FairleadError,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from fairlead.core.objects import Kind, ObjectKey

log = structlog.get_logger(__name__)

CONCURRENCY = 20  # writes at a time over all Applications, as upstream's
CONFLICTS_MAX = 5  # somebody else writes the object all the time: give up, and let the retry of the sync decide
_OUTAGE_PAUSES_SECONDS = (
    0.5,
    1.0,
    2.0,
    4.0,
)  # a server that restarts is back within this; a longer outage is a failure
_RETRY_AFTER_MAX_SECONDS = 10.0
ESTABLISHED_SECONDS = 3.0
_ESTABLISHED_POLL_SECONDS = 0.1
_PROPAGATION = {
    Propagation.FOREGROUND: port.Propagation.FOREGROUND,
    Propagation.BACKGROUND: port.Propagation.BACKGROUND,
    Propagation.ORPHAN: port.Propagation.ORPHAN,
}


class Managers(Protocol):
    """Shows the destination cluster as a field manager sees it."""

    def __call__(self, field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
        """Return the cluster; what is really written enters the caches."""
        ...


class Kinds(Protocol):
    """What the destination serves, and the way to have it looked at again."""

    def find(self, group: str, kind: str, version: str = "") -> ResourceKind | None: ...

    def doubt(self) -> None: ...

    async def look(self, wanted: Iterable[tuple[str, str]] = ()) -> bool: ...


class Performer:
    """Performs actions. Holds no state but its bound on concurrency.

    Args:
        managers: the destination.
        view: what is seen of it.
        kinds: what it serves.
        clock: measures and waits.
        concurrency: writes at a time.
    """

    def __init__(
        self, managers: Managers, view: LiveView, kinds: Kinds, clock: Clock, *, concurrency: int = CONCURRENCY
    ) -> None:
        self._managers = managers
        self._view = view
        self._kinds = kinds
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)

    async def perform(
        self, action: Action, live: Callable[[ResourceKey], Object | None], manner: Manner
    ) -> tuple[Result, ...]:
        """Carry one action out; return a Result for each object that has one.

        Args:
            live: the objects of the destination as the caches show them.
        """
        match action:
            case DryRun(applies=applies):
                return await self._all(applies, lambda apply: self._tried(apply, live, manner))
            case ApplyWave(groups=groups):
                return await self._wave(groups, live, manner)
            case Prune(removals=removals, propagation=propagation):
                return await self._all(removals, lambda removal: self._pruned(removal, propagation))
            case DeleteHooks(removals=removals):
                return _failures(await self._all(removals, lambda removal: self._deleted_hook(removal, live)))
            case ReleaseHooks(removals=removals):
                return _failures(await self._all(removals, lambda removal: self._released(removal, live)))
            case DeleteResources(removals=removals, propagation=propagation):
                return _failures(await self._all(removals, lambda removal: self._pruned(removal, propagation)))
            case Render():
                raise AssertionError("rendering is not done in the cluster")
            case _:
                assert_never(action)

    async def outcomes(self, targets: list[Object]) -> list[Object | ClusterError]:
        """Return what a server-side apply would make of each, `managedFields` included; nothing is changed."""
        cluster = self._managers(FIELD_MANAGER, dry_run=True)

        async def outcome(target: Object) -> Object | ClusterError:
            key, version = key_of(target), group_version(target)[1]
            kind = self._kinds.find(key.group, key.kind, version)
            if kind is None:
                return NotFound(f"{key.group}/{key.kind} is not served in version {version}")
            try:
                whole = live_kind(kind, with_managers=True)
                found = await cluster.patch(whole, ObjectKey(key.namespace, key.name), dry_run_of(target))
            except ClusterError as error:
                return error
            return found.content

        async def one(target: Object) -> Object | ClusterError:
            async with self._slots:
                return await outcome(target)

        return list(await asyncio.gather(*(one(target) for target in targets)))

    async def _wave(
        self, groups: tuple[tuple[Apply, ...], ...], live: Callable[[ResourceKey], Object | None], manner: Manner
    ) -> tuple[Result, ...]:
        results: list[Result] = []
        for group in groups:
            done = await self._all(group, lambda apply: self._applied(apply, live, manner))
            results += done
            if any(not result.is_successful for result in done):
                break
            await self._established([apply for apply in group if _is_definition(apply.key)])
        return tuple(results)

    async def _all(self, items: Iterable[Any], work: Callable[[Any], Awaitable[Result]]) -> tuple[Result, ...]:
        async def one(item: Any) -> Result:
            async with self._slots:
                return await work(item)

        return tuple(await asyncio.gather(*(one(item) for item in items)))

    # --- one object --------------------------------------------------------------------------------------------------

    async def _tried(self, apply: Apply, live: Callable[[ResourceKey], Object | None], manner: Manner) -> Result:
        """A dry run is client-side apply, whatever the real thing will be; so upstream does."""
        trial = replace(apply, server_side=False)
        result = await self._applied(trial, live, manner, dry_run=True)
        message = f"{result.message} (dry run)" if result.is_successful else result.message
        return replace(result, message=message, dry_run=True)

    async def _applied(
        self,
        apply: Apply,
        live: Callable[[ResourceKey], Object | None],
        manner: Manner,
        *,
        dry_run: bool = False,
    ) -> Result:
        try:
            kind = await self._served(apply, dry_run=dry_run)
            if kind is None:
                return _result(apply, "its definition comes with the same sync")
            cached = self._view.kind(kind, apply.key.namespace)
            cluster = self._managers(FIELD_MANAGER, dry_run=dry_run, strict=apply.validate)
            writing = Writing(apply, cached, manner, cluster, self._clock, dry_run=dry_run)
            message = await self._patiently(lambda: writing.write(live(apply.key)))
        except NotFound as error:
            if not dry_run:
                return _failed(apply.key, apply.phase, error, apply.target)
            return _result(apply, "its namespace comes with the same sync")  # its kind is served: what else was missing
        except FairleadError as error:
            return _failed(apply.key, apply.phase, error, apply.target)
        if _is_definition(apply.key) and not dry_run:
            self._kinds.doubt()
        return _result(apply, message)

    async def _served(self, apply: Apply, *, dry_run: bool) -> ResourceKind | None:
        """Return the kind as the target names it; None: it is not there yet, and a dry run overlooks that."""
        group, version = group_version(apply.target)
        found = self._kinds.find(group, apply.key.kind, version)
        if found is None:
            await self._kinds.look([(group, apply.key.kind)])
            found = self._kinds.find(group, apply.key.kind, version)
        if found is None and not dry_run:
            where = f"{apply.key.namespace}/{apply.key.name}" if apply.key.namespace else apply.key.name
            raise Refused(
                f"The Kubernetes API could not find {group}/{apply.key.kind} for requested resource {where}. Make sure "
                f'the "{apply.key.kind}" CRD is installed on the destination cluster.'
            )
        return found

    async def _patiently(self, write: Callable[[], Awaitable[str]]) -> str:
        """Make a write, again after conflicts and short outages."""
        conflicts = outages = 0
        while True:
            try:
                return await write()
            except Conflict:
                conflicts += 1
                if conflicts > CONFLICTS_MAX:
                    raise
            except (Unavailable, TooManyRequests) as error:
                if outages >= len(_OUTAGE_PAUSES_SECONDS):
                    raise
                asked = min(error.retry_after or 0.0, _RETRY_AFTER_MAX_SECONDS)
                await self._clock.sleep(max(asked, _OUTAGE_PAUSES_SECONDS[outages]))
                outages += 1

    async def _established(self, definitions: list[Apply]) -> None:
        """Wait for a short while until new kinds are served; not for ever, and it is no failure."""
        ends_at = self._clock.monotonic() + ESTABLISHED_SECONDS
        new = {defined_kind(apply.target) for apply in definitions}
        while any(self._kinds.find(group, kind) is None for group, kind in new):
            self._kinds.doubt()
            try:
                await self._kinds.look(new)
            except ClusterError as error:
                log.warning("new_kinds_unknown", error=str(error))
            if self._clock.monotonic() >= ends_at:
                return
            await self._clock.sleep(_ESTABLISHED_POLL_SECONDS)

    # --- removals ----------------------------------------------------------------------------------------------------

    async def _pruned(self, removal: Removal, propagation: Propagation) -> Result:
        async def remove() -> str:
            await self._delete(removal, propagation)
            return "pruned"

        return await self._removed(removal, remove)

    async def _deleted_hook(self, removal: Removal, live: Callable[[ResourceKey], Object | None]) -> Result:
        async def remove() -> str:
            await self._unfinalize(removal, live(removal.key))
            await self._delete(removal, Propagation.BACKGROUND)
            return "deleted"

        return await self._removed(removal, remove)

    async def _released(self, removal: Removal, live: Callable[[ResourceKey], Object | None]) -> Result:
        async def release() -> str:
            await self._unfinalize(removal, live(removal.key))
            return "released"

        return await self._removed(removal, release)

    async def _removed(self, removal: Removal, work: Callable[[], Awaitable[str]]) -> Result:
        try:
            message = await self._patiently(work)
        except NotFound:
            message = "pruned"  # somebody else was quicker
        except FairleadError as error:
            return _failed(removal.key, removal.phase, error)
        return Result(key=removal.key, phase=removal.phase, status=ResultCode.PRUNED, message=message)

    async def _delete(self, removal: Removal, propagation: Propagation) -> None:
        kind = self._kind_of(removal)
        await self._managers(FIELD_MANAGER).delete(
            kind,
            ObjectKey(removal.key.namespace, removal.key.name),
            preconditions=Preconditions(uid=removal.uid),
            propagation=_PROPAGATION[propagation],
        )

    async def _unfinalize(self, removal: Removal, seen: Object | None) -> None:
        """Remove our finalizer of a hook, if it has one."""
        kind = self._kind_of(removal)
        key = ObjectKey(removal.key.namespace, removal.key.name)
        cluster = self._managers(FIELD_MANAGER)
        found = seen if seen is not None else (await cluster.get(kind, key)).content
        for _ in range(CONFLICTS_MAX):
            patch = without_finalizer(found, HOOK_FINALIZER)
            if patch is None:
                return
            try:
                await cluster.patch(kind, key, MergePatch(patch))
                return
            except Conflict:
                found = (await cluster.get(kind, key)).content
        raise Conflict(f"{label(removal.key)}: its finalizers change all the time")

    def _kind_of(self, removal: Removal) -> Kind[LiveObject]:
        key = removal.key
        kind = self._kinds.find(key.group, key.kind, removal.version) or self._kinds.find(key.group, key.kind)
        if kind is None:
            raise NotFound(f"{key.group}/{key.kind} is not served any more")
        return self._view.kind(kind, key.namespace)


def _is_definition(key: ResourceKey) -> bool:
    return (key.group, key.kind) == DEFINITION


def _result(apply: Apply, message: str) -> Result:
    return Result(key=apply.key, phase=apply.phase, status=ResultCode.SYNCED, message=message)


def _failed(key: ResourceKey, phase: SyncPhase, error: Exception, target: Object | None = None) -> Result:
    message = told(key, error)
    if target is not None:
        message = masked(message, target)
    return Result(key=key, phase=phase, status=ResultCode.SYNC_FAILED, message=message)


def _failures(results: tuple[Result, ...]) -> tuple[Result, ...]:
    return tuple(result for result in results if not result.is_successful)
