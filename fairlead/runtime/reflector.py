"""Keeps a Store equal to what the API server has: list, watch, resume.

The states, and what leads from one to the next:

    LISTING   reading all pages             -> WATCHING   the store has been replaced
                                            -> ABSENT     the kind is not served (its CRD may come later)
                                            -> PAUSING    any other failure; then LISTING again
    WATCHING  changes enter the store       -> WATCHING   ended cleanly (they all do, after minutes): resume
                                            -> PAUSING    the version has expired, or is refused; then LISTING
                                            -> PAUSING    any other failure; then WATCHING, from where we were
    PAUSING   backing off                   -> LISTING or WATCHING
    ABSENT    asking again now and then     -> LISTING

Source: `k8s.io/client-go: tools/cache/reflector.go` for what a good citizen does; the pauses are its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, assert_never

import structlog

from fairlead.core.backoff import WATCH
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, EventType, Undecodable, WatchEvent
from fairlead.core.errors import ClusterError, Expired, Invalid, NotFound, TooManyRequests, Unavailable
from fairlead.core.objects import Kind, T
from fairlead.runtime.store import Store

log = structlog.get_logger(__name__)


class State(StrEnum):
    """Where a reflector stands; the module's docstring has the transitions."""

    LISTING = "Listing"
    WATCHING = "Watching"
    PAUSING = "Pausing"
    ABSENT = "Absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorSettings:
    """How patient a reflector is.

    Attributes:
        page_limit: objects per page of a list: decoding 500 stalls the loop for milliseconds only.
        watch_seconds: the shortest and the longest time that a watch is asked to last. Drawn anew each time, so
            that the watches of many kinds do not all end together.
        healthy_seconds: after that long without a failure the back-off starts again from its shortest pause.
        hasty_seconds: a watch that ends sooner than that counts as failed, although it ended cleanly: a server or
            proxy that closes at once must not be asked a thousand times a second.
        absent_seconds: pause before a kind that is not served is asked for again.
        retry_after_max_seconds: the longest time that a server may tell us to stay away.
        silence_seconds: a server that sends bookmarks (every minute) and says nothing for that long has gone: the
            connection is half-open. One that has never sent any may be silent for as long as a watch lasts.
        relist_seconds: a watch that ends cleanly this long after the last list is followed by a list, so that an
            event that was lost on its way is made up for one day.
    """

    page_limit: int = 500
    watch_seconds: tuple[float, float] = (300.0, 600.0)
    healthy_seconds: float = 60.0
    hasty_seconds: float = 1.0
    absent_seconds: float = 30.0
    retry_after_max_seconds: float = 60.0
    silence_seconds: float = 150.0
    relist_seconds: float = 3600.0


DEFAULTS = ReflectorSettings()


class Reflector(Generic[T]):
    """Feeds one Store from one Cluster, for ever.

    Args:
        cluster: is listed and watched.
        kind: what of.
        store: is fed. Nobody else may call its `replace` and `apply`.
        clock: measures and waits.
        namespace: only this one; empty: all.
        label_selector: only what it matches.
        field_selector: only what it matches.
        rng: draws jitter.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind[T],
        store: Store[T],
        clock: Clock,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        rng: random.Random | None = None,
        settings: ReflectorSettings = DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._store = store
        self._clock = clock
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._rng = rng or random.Random()
        self._settings = settings
        self._log = log.bind(kind=str(kind))
        self._state = State.LISTING
        self._after_pause = State.LISTING
        self._pause_seconds = 0.0
        self._resource_version = ""
        self._listed_at = 0.0
        self._failures = 0  # in a row
        self._failed_at = 0.0
        self._trouble = ""
        self._failure: ClusterError | None = None
        self._has_bookmarks = False

    @property
    def state(self) -> State:
        return self._state

    @property
    def trouble(self) -> str:
        """Why the store may be behind, in words for a person; empty while it is not."""
        return self._trouble

    @property
    def failure(self) -> ClusterError | None:
        """What went wrong last, while the store may be behind for it; None while it is not."""
        return self._failure if self._trouble else None

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            await self.step()

    async def step(self) -> None:
        """Do what the state asks for, and enter the next one."""
        try:
            match self._state:
                case State.LISTING:
                    await self._list()
                case State.WATCHING:
                    await self._watch()
                case State.PAUSING:
                    await self._clock.sleep(self._pause_seconds)
                    self._state = self._after_pause
                case State.ABSENT:
                    await self._clock.sleep(self._jittered(self._settings.absent_seconds))
                    self._state = State.LISTING
                case _:
                    assert_never(self._state)
        except NotFound as error:
            self._not_found(error)
        except ClusterError as error:
            self._failed(error)

    async def _list(self) -> None:
        items: list[T] = []
        undecodable: list[Undecodable] = []
        token = ""
        while True:
            page = await self._cluster.list(
                self._kind,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=self._settings.page_limit,
                continue_token=token,
            )
            items += page.items
            undecodable += page.undecodable
            token = page.continue_token
            if not token:
                break
        removed = self._store.replace(items, undecodable, resource_version=page.resource_version)
        self._resource_version = page.resource_version
        self._listed_at = self._clock.monotonic()
        self._trouble = ""
        self._state = State.WATCHING
        self._log.debug(
            "kind_listed",
            count=len(items),
            undecodable=len(undecodable),
            removed=len(removed),
            resource_version=page.resource_version,
        )
        for problem in undecodable:
            self._log.warning("object_undecodable", object=str(problem.metadata.key), error=problem.error)

    async def _watch(self) -> None:
        started_at = self._clock.monotonic()
        stream = self._cluster.watch(
            self._kind,
            resource_version=self._resource_version,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=self._rng.uniform(*self._settings.watch_seconds),
        )
        async with _closed_at_the_end(stream):
            while (event := await self._next(stream)) is not None:
                self._take(event)
        ended_at = self._clock.monotonic()
        if ended_at - started_at < self._settings.hasty_seconds:
            self._failed(Unavailable("the watch was closed at once"))
            return
        self._trouble = ""
        if ended_at - self._listed_at >= self._settings.relist_seconds:
            self._state = State.LISTING

    async def _next(self, stream: AsyncIterator[WatchEvent[T]]) -> WatchEvent[T] | None:
        """Return the next event, or None at the end."""
        limit = self._settings.silence_seconds if self._has_bookmarks else None
        try:
            async with asyncio.timeout(limit):
                return await anext(stream, None)
        except TimeoutError:
            raise Unavailable(f"the watch has said nothing for {limit} s") from None

    def _take(self, event: WatchEvent[T]) -> None:
        self._store.apply(event)
        self._trouble = ""
        self._has_bookmarks |= event.type is EventType.BOOKMARK
        if isinstance(event.object, Undecodable):
            problem = event.object
            self._log.warning("object_undecodable", object=str(problem.metadata.key), error=problem.error)
        old, new = self._resource_version, event.resource_version
        # An event that arrives out of order must not take our place in the stream back.
        if new and not (old.isdecimal() and new.isdecimal() and int(new) < int(old)):
            self._resource_version = new

    def _not_found(self, error: NotFound) -> None:
        if self._state is State.WATCHING:  # it was there a moment ago: only a list can tell
            self._failed(error)
            return
        if self._store.served or not self._store.has_synced:
            self._log.info("kind_not_served", retry_seconds=self._settings.absent_seconds)
        self._store.absent()
        self._trouble = ""
        self._state = State.ABSENT

    def _failed(self, error: ClusterError) -> None:
        now = self._clock.monotonic()
        if now - self._failed_at >= self._settings.healthy_seconds:
            self._failures = 0
        pause = WATCH.delay(self._failures, jitter=self._rng.random())
        if isinstance(error, TooManyRequests | Unavailable) and error.retry_after is not None:
            pause = max(pause, min(error.retry_after, self._settings.retry_after_max_seconds))
        self._failures += 1
        self._failed_at = now + pause  # the pause itself is no time of health
        self._pause_seconds = pause
        self._after_pause = (
            State.WATCHING if self._state is State.WATCHING and not _needs_list(error) else State.LISTING
        )
        report = self._log.info if isinstance(error, Expired) or self._failures == 1 else self._log.warning
        report(
            "watch_interrupted" if self._state is State.WATCHING else "list_failed",
            error=type(error).__name__,
            message=str(error),
            attempt=self._failures,
            next=str(self._after_pause),
            pause_seconds=round(pause, 3),
        )
        self._failure = error
        self._trouble = f"{self._kind} cannot be {'watched' if self._state is State.WATCHING else 'listed'}: {error}"
        self._state = State.PAUSING

    def _jittered(self, seconds: float) -> float:
        return seconds * (1.0 - self._rng.random() / 4)


def _needs_list(error: ClusterError) -> bool:
    """Whether resuming from the same version is in vain: it has expired, is from the future, or is no version."""
    if isinstance(error, Expired | Invalid | NotFound):
        return True
    return any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes)


@asynccontextmanager
async def _closed_at_the_end(stream: AsyncIterator[object]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(stream, "aclose", None)  # the port promises an iterator; generators want to be closed
        if close is not None:
            await close()
