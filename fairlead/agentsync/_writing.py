"""Writes one object: creates it, changes what differs, replaces it, or makes it anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fairlead.agentsync._live import LiveObject
from fairlead.agentsync._writes import applied, is_binding_to_another_role, label, patch_of, replaced, server_side
from fairlead.agentsync.actions import Apply
from fairlead.agentsync.diff import DiffOptions, keep_ignored
from fairlead.agentsync.resources import Object
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import AlreadyExists, ClusterError, Conflict, FairleadError, Invalid, NotFound
from fairlead.core.objects import Kind, ObjectKey

DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_GONE_SECONDS = 30.0
_GONE_POLL_SECONDS = 0.2


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


class Refused(FairleadError):
    """An object cannot be written, for a reason that is not the server's."""


class Writing:
    """How one object becomes what it should be.

    Args:
        cluster: the destination, as our field manager sees it; writes are dry runs if they shall be.
        kind: under which answers are cached.
        dry_run: whether nothing may change.
    """

    def __init__(
        self, apply: Apply, kind: Kind[LiveObject], manner: Manner, cluster: Cluster, clock: Clock, *, dry_run: bool
    ) -> None:
        self._apply = apply
        self._target = apply.target
        self._manner = manner
        self._clock = clock
        self._kind = kind
        self._key = ObjectKey(apply.key.namespace, apply.key.name)
        self._only_computes = dry_run and manner.dry_runs is DryRuns.CLIENT
        self._cluster = cluster
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
        in_place = (apply.key.group, apply.key.kind) in (DEFINITION, ("", "Namespace"))
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
                raise Refused(f"{label(self._apply.key)} was deleted to be made anew, and is still there")
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
