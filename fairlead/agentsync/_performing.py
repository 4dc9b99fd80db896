"""Carries out what was decided about the destination cluster, one object at a time and many at once.

Each object ends in one Result, whatever happens to it: a refusal is an answer and never an exception. An object that is
already as it should be costs no request. Every write can be made twice: creations are named, changes carry the
resourceVersion that they were computed from, deletions the UID of what is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, assert_never

import structlog

from fairlead.agentsync._live import LiveObject, LiveView
from fairlead.agentsync._refusals import told
from fairlead.agentsync._waves import defined_kind
from fairlead.agentsync._writes import (
    applied,
    is_binding_to_another_role,
    label,
    patch_of,
    replaced,
    server_side,
    without_finalizer,
)
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
from fairlead.agentsync.diff import DiffOptions, keep_ignored
from fairlead.agentsync.kinds import FIELD_MANAGER, HOOK_FINALIZER
from fairlead.agentsync.observation import Result
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind, group_version
from fairlead.agentsync.status import ResultCode, SyncPhase
from fairlead.core import cluster as port
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    FairleadError,
    Invalid,
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
_GONE_SECONDS = 30.0
_GONE_POLL_SECONDS = 0.2
_DEFINITION = ("apiextensions.k8s.io", "CustomResourceDefinition")
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


class DryRuns(StrEnum):
    """How the dry run before a sync is made."""

    CLIENT = "client"  # computed here, as upstream does: no request
    SERVER = "server"  # each change is sent twice, the first time for trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the actions of one Application are performed.

    Attributes:
        options: what of a manifest counts.
        dry_runs: how a dry run is made.
    """

    options: DiffOptions = field(default_factory=DiffOptions)
    dry_runs: DryRuns = DryRuns.CLIENT


class _Refused(FairleadError):
    """An object cannot be written, for a reason that is not the server's."""


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
            writing = _Writing(self, apply, kind, manner, dry_run=dry_run)
            message = await self._patiently(lambda: writing.write(live(apply.key)))
        except NotFound as error:
            if not dry_run:
                return _failed(apply.key, apply.phase, error)
            return _result(apply, "its namespace comes with the same sync")  # its kind is served: what else was missing
        except FairleadError as error:
            return _failed(apply.key, apply.phase, error)
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
            raise _Refused(
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


class _Writing:
    """How one object becomes what it should be."""

    def __init__(
        self, performer: Performer, apply: Apply, kind: ResourceKind, manner: Manner, *, dry_run: bool
    ) -> None:
        self._apply = apply
        self._target = apply.target
        self._manner = manner
        self._clock = performer._clock
        self._kind = performer._view.kind(kind, apply.key.namespace)
        self._key = ObjectKey(apply.key.namespace, apply.key.name)
        self._only_computes = dry_run and manner.dry_runs is DryRuns.CLIENT
        self._cluster = performer._managers(FIELD_MANAGER, dry_run=dry_run, strict=apply.validate)
        self._is_first = True
        self._dry_run = dry_run

    async def write(self, seen: Object | None) -> str:
        """Make the object so; return what kubectl would say.

        Args:
            seen: what the caches show; looked at in the first attempt only.
        """
        live = seen if self._is_first else await self._fresh()
        self._is_first = False
        try:
            return await self._write(live)
        except (Conflict, Invalid) as error:
            if not self._apply.force or live is None or self._dry_run or _is_stale(error):
                raise
            await self._remove(live)
            return await self._create()

    async def _write(self, live: Object | None) -> str:
        apply = self._apply
        if live is None:
            if apply.server_side and not apply.replace:
                return await self._apply_server_side(None)
            return await self._create()
        if apply.create_only:
            return self._said("unchanged")
        if apply.replace:
            return await self._replace(live)
        if is_binding_to_another_role(self._target, live):
            if not self._dry_run:
                await self._remove(live)
                await self._create()
            return self._said("configured")
        if apply.server_side:
            return await self._apply_server_side(live)
        wanted = applied(self._target, live, self._manner.options, keeps_ignored=apply.keep_ignored)
        is_changed = await self._change(live, wanted)
        return self._said("configured" if is_changed else "unchanged")

    async def _create(self) -> str:
        body = self._target if self._apply.replace else applied(self._target, None, self._manner.options)
        if not self._only_computes:
            try:
                await self._cluster.create(self._kind, body, namespace=self._key.namespace)
            except AlreadyExists as error:  # the caches were behind: look again
                raise Conflict(str(error), status=409, reason="Conflict") from error
        return self._said("created")

    async def _replace(self, live: Object) -> str:
        apply = self._apply
        in_place = (apply.key.group, apply.key.kind) in (_DEFINITION, ("", "Namespace"))
        if apply.force and not in_place and not self._dry_run:
            await self._remove(live)
            await self._create()
            return self._said("replaced")
        target = self._target
        if apply.keep_ignored:
            target = keep_ignored(target, live, self._manner.options.ignores)
        await self._change(live, replaced(target, live))
        return f"{apply.key.kind}/{apply.key.name} updated" if in_place else self._said("replaced")

    async def _change(self, live: Object, wanted: Object) -> bool:
        """Send what differs; return whether anything does."""
        patch = patch_of(live, wanted)
        if patch and not self._only_computes:
            metadata = {**patch.get("metadata", {}), "resourceVersion": live["metadata"].get("resourceVersion", "")}
            await self._cluster.patch(self._kind, self._key, MergePatch({**patch, "metadata": metadata}))
        return bool(patch)

    async def _apply_server_side(self, live: Object | None) -> str:
        patches = server_side(
            self._target,
            live,
            self._manner.options,
            migrate_from=self._apply.migrate_from,
            keeps_ignored=self._apply.keep_ignored,
        )
        for patch in patches:
            if not self._only_computes:
                await self._cluster.patch(self._kind, self._key, patch)
        return self._said("serverside-applied" if patches else "unchanged")

    async def _remove(self, live: Object) -> None:
        """Delete the object and wait until it is gone."""
        uid = str(live["metadata"].get("uid") or "")
        try:
            await self._cluster.delete(self._kind, self._key, preconditions=Preconditions(uid=uid))
        except NotFound:
            return
        ends_at = self._clock.monotonic() + _GONE_SECONDS
        while (found := await self._fresh()) is not None and found["metadata"].get("uid") == uid:
            if self._clock.monotonic() >= ends_at:
                raise _Refused(f"{label(self._apply.key)} was deleted to be made anew, and is still there")
            await self._clock.sleep(_GONE_POLL_SECONDS)

    async def _fresh(self) -> Object | None:
        try:
            return (await self._cluster.get(self._kind, self._key)).content
        except NotFound:
            return None

    def _said(self, verb: str) -> str:
        return f"{label(self._apply.key)} {verb}"


def _is_stale(error: ClusterError) -> bool:
    """Whether a conflict only says that we have not seen the newest state."""
    return isinstance(error, Conflict) and not error.causes


def _is_definition(key: ResourceKey) -> bool:
    return (key.group, key.kind) == _DEFINITION


def _result(apply: Apply, message: str) -> Result:
    return Result(key=apply.key, phase=apply.phase, status=ResultCode.SYNCED, message=message)


def _failed(key: ResourceKey, phase: SyncPhase, error: Exception) -> Result:
    return Result(key=key, phase=phase, status=ResultCode.SYNC_FAILED, message=told(key, error))


def _failures(results: tuple[Result, ...]) -> tuple[Result, ...]:
    return tuple(result for result in results if not result.is_successful)
