"""Kubernetes Events about our objects: merged, limited, and never in the way of a reconciliation.

`record` only takes note. Workers write, one event at a time per object, so that the order of an object's events is
kept while objects do not wait for each other.

Events must not cost the API server more than what they tell about. When so much happens at once that events have to
wait for their share of requests, those of one object that wait are told together: one Event with the reason of the last
and all of them in its message, in order. Warnings never wait, and are never told together with others.

Source: `k8s.io/client-go: tools/record/events_cache.go` for merging and for the limit per object.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.decision import Event, EventType
from fairlead.core.errors import AlreadyExists, ClusterError, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable
from fairlead.core.kinds import EVENTS
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, compact, rfc3339
from fairlead.runtime.workqueue import QueueClosed, WorkQueue

log = structlog.get_logger(__name__)

MESSAGE_BYTES_MAX = 1024  # what the API server accepts for the note of an event
NAME_CHARACTERS_MAX = 253
EARLY = 1e-6  # of a request: clocks round


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """How much is recorded.

    Attributes:
        merge_seconds: an event that repeats one of the last so many seconds raises its count.
        burst: so many events of one object are written without delay,
        refill_seconds: and one more for each of these. What is above that is counted, not written.
        pending_max: events waiting to be written; more are dropped, the newest first.
        attempts_max: an event that cannot be written after so many attempts is dropped.
        remembered_max: events and objects that are remembered for merging and limiting.
        workers: how many objects' events are written at a time.
        writes_burst: so many requests may be spent on events without delay, whatever they are about,
        writes_per_second: and so many each second from then on. None: events never wait.
        drain_seconds: where events of many objects wait, the rate rises with their number, so that all are told within
            two or three times this time: a thousand new objects would be waiting for minutes.
    """

    merge_seconds: float = 600.0
    burst: int = 25
    refill_seconds: float = 300.0
    pending_max: int = 1000
    attempts_max: int = 5
    remembered_max: int = 4096
    workers: int = 2
    writes_burst: int = 40
    writes_per_second: float | None = 3.0
    drain_seconds: float = 30.0


DEFAULTS = EventSettings()

_Same = tuple[str, str, str, str]  # what makes two events one: UID of the object, type, reason, message


@dataclass(slots=True)
class _Series:
    """One Event object of the API: what has happened, and how much of it is written."""

    kind: Kind[Any]
    about: ObjectMeta
    event: Event
    first_at: datetime
    last_at: datetime
    count: int = 1
    written: int = 0  # the count that the API server knows; 0: not created yet
    key: ObjectKey = field(default=ObjectKey("", ""))
    is_pending: bool = False


class EventRecorder:
    """Writes Events through a Cluster.

    Args:
        cluster: is written to.
        clock: dates the events.
        component: reported as the source, such as `rollouts-controller`.
        rng: draws jitter.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        component: str,
        settings: EventSettings = DEFAULTS,
        rng: random.Random | None = None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._component = component
        self._settings = settings
        self._series: OrderedDict[_Same, _Series] = OrderedDict()  # least recently recorded first
        self._budgets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # by UID: tokens, and when they were so many
        self._pending: dict[str, deque[_Series]] = {}  # by UID, oldest first
        self._pending_count = 0
        self._queue: WorkQueue[str] = WorkQueue(clock, rng=rng)
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._share = (float(settings.writes_burst), clock.monotonic())  # requests left, and when they were so many
        self._made_to_wait: set[str] = set()  # UIDs: in the line, or called out of it
        self._line: OrderedDict[str, None] = OrderedDict()  # UIDs, who came first before the others
        self._is_lined_up = asyncio.Event()
        self._is_hurrying = False
        self.dropped = 0

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        """Take note of an event about an object; returns at once and never fails."""
        now = self._clock.now()
        uid = metadata.uid or f"{kind}/{metadata.key}"
        message = _shortened(event.message, MESSAGE_BYTES_MAX)
        same = (uid, str(event.type), event.reason, message)
        series = self._series.get(same)
        if series is not None and (now - series.last_at).total_seconds() <= self._settings.merge_seconds:
            series.count += 1
            series.last_at = now
            series.about = metadata
            self._series.move_to_end(same)
        else:
            series = _Series(
                kind=kind,
                about=metadata,
                event=Event(event.reason, message, event.type),
                first_at=now,
                last_at=now,
            )
            series.key = _event_key(series)
            self._series[same] = series
            self._series.move_to_end(same)
            self._forget_old(now)
        if series.is_pending:
            return  # merged into what is going to be written anyway
        if not self._may_write(uid):
            self._drop(series, "too many events of one object")
        elif self._pending_count >= self._settings.pending_max:
            self._drop(series, "too many events are waiting")
        else:
            series.is_pending = True
            self._pending.setdefault(uid, deque()).append(series)
            self._pending_count += 1
            self._flushed.clear()
            self._queue.add(uid)

    async def run(self) -> None:
        """Write what is recorded, until cancelled or stopped."""
        async with asyncio.TaskGroup() as around:
            usher = around.create_task(self._usher(), name="events-usher")
            async with asyncio.TaskGroup() as group:
                for number in range(self._settings.workers):
                    group.create_task(self._work(), name=f"events-{number}")
            usher.cancel()

    async def flush(self, seconds: float) -> bool:
        """Wait until everything recorded is written or given up; return False when the time did not suffice."""
        try:
            async with asyncio.timeout(seconds):
                await self._flushed.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self, seconds: float = 5.0) -> None:
        """Flush, and end `run`. What is not written by then is lost."""
        self._is_hurrying = True
        self._line.clear()
        for uid in self._made_to_wait:
            self._queue.add(uid)
        if not await self.flush(seconds):
            log.warning("events_lost", count=self._pending_count)
        self._queue.close()

    @property
    def pending(self) -> int:
        """How many events wait to be written."""
        return self._pending_count

    # --- writing -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            try:
                uid = await self._queue.take()
            except QueueClosed:
                return
            try:
                await self._write_next(uid)
            finally:
                self._queue.done(uid)

    async def _write_next(self, uid: str) -> None:
        if not self._pending.get(uid):
            return
        if not self._may_go(uid):
            self._made_to_wait.add(uid)
            if not self._is_hurrying:
                self._line.setdefault(uid)
                self._is_lined_up.set()
                return
        if uid in self._made_to_wait:
            self._made_to_wait.discard(uid)
            self._tell_together(uid)
        series = self._pending[uid][0]
        is_finished = True
        try:
            await self._write(series)
            is_finished = series.written == series.count  # else it has happened again in the meantime
        except ClusterError as error:
            if self._is_worth_another_try(uid, error):
                return
            self.dropped += 1
            log.warning("event_not_written", object=str(series.about.key), reason=series.event.reason, error=str(error))
        self._queue.forget(uid)
        if is_finished:
            self._settle(uid, series)
        if self._pending.get(uid):
            self._queue.add(uid)

    def _is_worth_another_try(self, uid: str, error: ClusterError) -> bool:
        if isinstance(error, Forbidden | Invalid | NotFound):  # as little welcome the next time
            return False
        if self._queue.failures(uid) + 1 >= self._settings.attempts_max:
            return False
        asked = error.retry_after if isinstance(error, TooManyRequests | Unavailable) else None
        self._queue.retry(uid, max(0.5 * 2 ** self._queue.failures(uid), min(asked or 0.0, 30.0)))
        return True

    def _settle(self, uid: str, series: _Series) -> None:
        series.is_pending = False
        waiting = self._pending[uid]
        waiting.popleft()
        if not waiting:
            del self._pending[uid]
        self._pending_count -= 1
        if not self._pending_count:
            self._flushed.set()

    async def _write(self, series: _Series) -> None:
        count = series.count
        if series.written:
            patch = MergePatch({"count": count, "lastTimestamp": rfc3339(series.last_at)})
            try:
                await self._cluster.patch(EVENTS, series.key, patch)
            except NotFound:  # events are kept for an hour: begin anew
                series.written = 0
        if not series.written:
            # The name tells everything: if it exists, an earlier attempt was carried out and its answer was lost.
            with suppress(AlreadyExists):
                await self._cluster.create(EVENTS, self._body(series), namespace=series.key.namespace)
        series.written = count

    def _body(self, series: _Series) -> dict[str, Any]:
        about = series.about
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.key.name, "namespace": series.key.namespace},
            "involvedObject": compact(
                {
                    "apiVersion": series.kind.api_version,
                    "kind": series.kind.kind,
                    "namespace": about.namespace,
                    "name": about.name,
                    "uid": about.uid,
                    "resourceVersion": about.resource_version,
                }
            ),
            "reason": series.event.reason,
            "message": series.event.message,
            "type": str(series.event.type),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": rfc3339(series.first_at),
            "lastTimestamp": rfc3339(series.last_at),
            "count": series.count,
        }

    # --- a share of requests ---------------------------------------------------------------------------------------

    def _may_go(self, uid: str) -> bool:
        """Take one request out of the share; return whether there was one for this object."""
        if self._settings.writes_per_second is None:
            return True
        if uid in self._made_to_wait and uid not in self._line:
            return True  # it was called, and its request has been taken already
        left = self._saved_up()
        if any(one.event.type is EventType.WARNING for one in self._pending[uid]):
            self._line.pop(uid, None)
            # What warnings take beyond the share is paid back within a second.
            self._share = (max(left - 1.0, -self._writes_per_second()), self._clock.monotonic())
            return True
        if left < 1.0 or self._line:
            return False
        self._share = (left - 1.0, self._clock.monotonic())
        return True

    async def _usher(self) -> None:
        """Call those who wait, one by one, as the share allows."""
        while True:
            if not self._line:
                self._is_lined_up.clear()
                await self._is_lined_up.wait()
            left = self._saved_up()
            if left < 1.0:
                await self._clock.sleep((1.0 - left) / self._writes_per_second())
                left = self._saved_up()
            if left >= 1.0 - EARLY and self._line:
                self._share = (left - 1.0, self._clock.monotonic())
                uid, _ = self._line.popitem(last=False)
                self._queue.add(uid)

    def _saved_up(self) -> float:
        """Return how many requests are left of the share now."""
        now = self._clock.monotonic()
        left, since = self._share
        left = min(float(self._settings.writes_burst), left + (now - since) * self._writes_per_second())
        self._share = (left, now)
        return left

    def _writes_per_second(self) -> float:
        """Return the rate of the share: higher, the more objects wait."""
        return max(self._settings.writes_per_second or 0.0, len(self._line) / self._settings.drain_seconds)

    def _tell_together(self, uid: str) -> None:
        """Put one series in the place of the first ones of an object that wait, up to the first warning."""
        waiting = self._pending[uid]
        together: list[_Series] = []
        while waiting and waiting[0].event.type is not EventType.WARNING:
            together.append(waiting.popleft())
        if len(together) > 1:
            for series in together:
                self._series.pop(_same(series), None)  # what happens again is told anew
            self._pending_count -= len(together) - 1
            together = [_told_together(together)]
        waiting.extendleft(reversed(together))

    # --- limits --------------------------------------------------------------------------------------------------

    def _may_write(self, uid: str) -> bool:
        """Take one token out of the object's budget, if there is one."""
        now = self._clock.monotonic()
        tokens, since = self._budgets.pop(uid, (float(self._settings.burst), now))
        tokens = min(self._settings.burst, tokens + (now - since) / self._settings.refill_seconds)
        granted = tokens >= 1.0
        self._budgets[uid] = (tokens - 1.0 if granted else tokens, now)
        if len(self._budgets) > self._settings.remembered_max:
            self._budgets.popitem(last=False)
        return granted

    def _drop(self, series: _Series, why: str) -> None:
        self.dropped += 1
        log.debug("event_dropped", object=str(series.about.key), reason=series.event.reason, why=why)

    def _forget_old(self, now: datetime) -> None:
        while self._series:
            oldest = next(iter(self._series.values()))
            age = (now - oldest.last_at).total_seconds()
            if len(self._series) <= self._settings.remembered_max and age <= self._settings.merge_seconds:
                return
            self._series.popitem(last=False)


def _same(series: _Series) -> _Same:
    about, event = series.about, series.event
    return (about.uid or f"{series.kind}/{about.key}", str(event.type), event.reason, event.message)


def _told_together(parts: list[_Series]) -> _Series:
    last = parts[-1]
    message = "; ".join(f"{part.event.reason}: {part.event.message}" for part in parts)
    told = _Series(
        kind=last.kind,
        about=last.about,
        event=Event(last.event.reason, _shortened(message, MESSAGE_BYTES_MAX), last.event.type),
        first_at=parts[0].first_at,
        last_at=last.last_at,
        is_pending=True,
    )
    told.key = _event_key(told)
    return told


def _event_key(series: _Series) -> ObjectKey:
    """Return the name of the Event: derived from all that makes it this one, and so the same at each attempt."""
    event, about = series.event, series.about
    facts = "\0".join((about.uid, str(event.type), event.reason, event.message, series.first_at.isoformat()))
    suffix = hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    name = f"{about.name[: NAME_CHARACTERS_MAX - len(suffix) - 1].rstrip('-.')}.{suffix}"
    return ObjectKey(about.namespace or "default", name)


def _shortened(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")  # half a surrogate pair is no text to the API server
    return data.decode() if len(data) <= most else data[: most - 3].decode("utf-8", "ignore") + "…"
