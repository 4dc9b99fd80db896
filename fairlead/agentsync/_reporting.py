"""Writes our part of Applications to the cluster that holds them, or keeps it until that can be reached again.

What could not be written is kept durably: the newest of each Application, with what it is based on. When the cluster is
back, it is laid over what others have written there meanwhile (`_belief.rebased`), and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog

from fairlead.agentsync._belief import as_json, from_json, outgoing, rebased, too_large
from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.agentsync.offline import OfflineError, OfflineStore, Shelf
from fairlead.agentsync.status import decode_status
from fairlead.core.backoff import Backoff
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.errors import ClusterError, Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable
from fairlead.core.objects import ObjectKey

log = structlog.get_logger(__name__)

CONFLICTS_MAX = 5
TIME_EVERY = timedelta(minutes=10)
RETRY = Backoff(first=2.0, most=60.0)


class ReportHook(Protocol):
    """Is told what metrics count. Must not raise."""

    def on_postponed(self) -> None:
        """Something could not be reported at once."""
        ...


@dataclass(slots=True)
class _Pending:
    """What could not be written.

    Attributes:
        base: what was stored when we began to differ from it.
        ours: what it should be; of the status at least.
        seen: the version of what is stored that `ours` has been laid over.
    """

    base: Application
    ours: Application
    seen: str
    attempts: int = 0
    retry_at: datetime | None = None


class _Entry(msgspec.Struct, frozen=True):
    base: dict[str, object]
    ours: dict[str, object]


class Reporter:
    """Reports on Applications.

    Args:
        control: holds the Applications; answers enter the caches.
        offline: keeps what cannot be written.
        clock: tells when to try again.
        hook: is told what metrics count.
    """

    def __init__(
        self, control: Cluster, offline: OfflineStore, clock: Clock, *, hook: ReportHook | None = None
    ) -> None:
        self._control = control
        self._offline = offline
        self._clock = clock
        self._hook = hook
        self._stored: dict[ObjectKey, Application] = {}
        self._pending: dict[ObjectKey, _Pending] = {}
        self._writing: set[ObjectKey] = set()

    async def recover(self) -> None:
        """Read what the last process could not deliver."""
        try:
            kept = await self._offline.read(Shelf.REPORT)
        except OfflineError as error:
            log.error("offline_reports_unreadable", error=str(error))
            return
        for name, content in kept.items():
            try:
                entry = msgspec.json.decode(content, type=_Entry)
                base, ours = from_json(entry.base), from_json(entry.ours)
            except DECODE_ERRORS:
                log.error("offline_report_broken", object=name)
                continue
            self._pending[ours.metadata.key] = _Pending(base, ours, base.metadata.resource_version)

    @property
    def pending(self) -> tuple[ObjectKey, ...]:
        """The Applications of which something has not been reported yet, sorted."""
        return tuple(sorted(self._pending))

    def ours(self, key: ObjectKey, found: Application) -> Application:
        """Return what we hold an Application to be, given what the cache shows.

        The same object is returned as long as nothing changes.
        """
        known = self._stored.get(key)
        if known is None or known.metadata.uid != found.metadata.uid or _is_newer(found, known):
            self._stored[key] = known = found
        pending = self._pending.get(key)
        if pending is None:
            return known
        if pending.base.metadata.uid != known.metadata.uid:  # another one of the same name: nobody waits for this
            del self._pending[key]
            return known
        if known.metadata.resource_version != pending.seen:
            pending.ours = rebased(pending.base, pending.ours, known)
            pending.base, pending.seen = known, known.metadata.resource_version
        return pending.ours

    def retry_at(self, key: ObjectKey) -> datetime | None:
        """Return when something that could not be reported is tried again; None: there is no such thing."""
        pending = self._pending.get(key)
        return pending.retry_at if pending is not None else None

    async def report(self, key: ObjectKey, ours: Application) -> Application | None:
        """Make what is stored what we believe; return what is stored then, or None: it is not yet.

        *Guarantees*: what could not be written is kept when this returns, unless the offline store fails too (that is
        logged; then it is kept in memory).
        """
        pending = self._pending.get(key)
        if pending is not None and pending.retry_at is not None and self._clock.now() < pending.retry_at:
            if pending.ours is not ours:
                await self._postpone(key, ours, None)
            return None
        for _ in range(CONFLICTS_MAX):
            stored = self._stored[key]
            patch = outgoing(stored, ours)
            if not patch or self._only_tells_the_time(stored, patch):
                await self._delivered(key)
                return stored
            try:
                written = await self._write(key, patch)
            except Conflict:
                try:
                    newer = await self._control.get(APPLICATIONS, key)
                except NotFound:
                    return None
                except ClusterError as error:
                    await self._postpone(key, ours, error)
                    return None
                ours = rebased(stored, ours, newer)
                self._stored[key] = newer
                continue
            except NotFound:  # it has gone, and the watch will say so
                return None
            except Invalid as error:
                smaller = too_large(ours, str(error)) if _is_too_large(error) else None
                if smaller is None or smaller.status == ours.status:
                    await self._postpone(key, ours, error)
                    return None
                ours = smaller
                continue
            except ClusterError as error:
                await self._postpone(key, ours, error)
                return None
            self._stored[key] = written
            await self._delivered(key)
            return written
        await self._postpone(key, ours, Conflict("somebody else writes it all the time"))
        return None

    async def drop(self, key: ObjectKey) -> None:
        """The Application is no more."""
        self._stored.pop(key, None)
        await self._delivered(key)

    def is_writing(self, key: ObjectKey) -> bool:
        """Whether a write is under way, so that a change of the status may be our own."""
        return key in self._writing

    # --- inside ------------------------------------------------------------------------------------------------------

    def _only_tells_the_time(self, stored: Application, patch: dict[str, Any]) -> bool:
        """Whether nothing is new but when it was compared, and what is stored of that is still young.

        A thousand Applications are compared every few minutes, and each write of that is told to all who watch.
        """
        if patch.keys() != {"status"} or patch["status"].keys() != {"reconciledAt"}:
            return False
        before = decode_status(stored.status).reconciled_at
        return before is not None and self._clock.now() - before < TIME_EVERY

    async def _write(self, key: ObjectKey, patch: dict[str, Any]) -> Application:
        self._writing.add(key)
        try:
            return await self._control.patch(APPLICATIONS, key, MergePatch(patch))
        finally:
            self._writing.discard(key)

    async def _postpone(self, key: ObjectKey, ours: Application, error: ClusterError | None) -> None:
        stored = self._stored[key]
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Pending(stored, ours, stored.metadata.resource_version)
            if self._hook is not None:
                self._hook.on_postponed()
        changed = pending.ours is not ours or pending.attempts == 0
        pending.ours = ours
        if error is not None:
            wait = RETRY.delay(pending.attempts)
            if isinstance(error, TooManyRequests | Unavailable) and error.retry_after is not None:
                wait = max(wait, min(error.retry_after, 60.0))
            if isinstance(error, Forbidden | Invalid):
                wait = max(wait, 30.0)
            pending.attempts += 1
            pending.retry_at = self._clock.now() + timedelta(seconds=wait)
            log.warning("report_postponed", object=str(key), error=str(error), attempt=pending.attempts)
        if changed:
            await self._keep(key, pending)

    async def _keep(self, key: ObjectKey, pending: _Pending) -> None:
        content = msgspec.json.encode(_Entry(base=as_json(pending.base), ours=as_json(pending.ours)))
        try:
            await self._offline.keep(Shelf.REPORT, str(key), content)
        except OfflineError as error:
            log.error("report_not_kept", object=str(key), error=str(error))

    async def _delivered(self, key: ObjectKey) -> None:
        if self._pending.pop(key, None) is None:
            return
        log.info("report_delivered", object=str(key))
        try:
            await self._offline.drop(Shelf.REPORT, str(key))
        except OfflineError as error:
            log.error("report_not_dropped", object=str(key), error=str(error))


def _is_newer(one: Application, other: Application) -> bool:
    new, old = one.metadata.version, other.metadata.version
    return new > old if new and old else one.metadata.resource_version != other.metadata.resource_version


def _is_too_large(error: Invalid) -> bool:
    return error.status == 413 or "too large" in str(error).lower() or "larger than" in str(error).lower()
