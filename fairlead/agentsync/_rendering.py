"""From the sources of an Application to one desired state: all of one commit each, or nothing.

`render` asks once; `Renderings` keeps what is known of each Application, and what is under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

import structlog

from fairlead.agentsync.actions import Depth, Render
from fairlead.agentsync.observation import Desired, RenderFailure, Rendering
from fairlead.agentsync.offline import OfflineError, OfflineStore, Shelf, decode_desired, encode_desired
from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources.port import (
    Freshness,
    ManifestSources,
    Reference,
    Rendered,
    RenderRequest,
    RepositoryError,
    Resolved,
    SourceError,
    Verification,
)
from fairlead.agentsync.spec import Source
from fairlead.core.clock import Clock
from fairlead.core.objects import ObjectKey

R = TypeVar("R")

log = structlog.get_logger(__name__)

RENDER_SECONDS_MAX = 300.0  # a source that takes longer has failed
_NOTHING = Rendering()
_FRESHNESS = {Depth.CACHED: Freshness.CACHED, Depth.FRESH: Freshness.REFRESH, Depth.HARD: Freshness.HARD}


@dataclass(frozen=True, slots=True, kw_only=True)
class For:
    """For whom something is rendered, and what charts may know of the destination.

    Attributes:
        application: its name, without the namespace.
        namespace: of the destination.
        kube_version: of the destination; empty: not known.
        api_versions: that the destination serves.
        verifications: which signature each source needs, by position; none: nothing is asked for.
    """

    application: str
    project: str
    namespace: str = ""
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()
    verifications: tuple[Verification, ...] = ()

    def verification(self, position: int) -> Verification:
        """Return which signature one source needs, wherever its files are used."""
        return self.verifications[position] if position < len(self.verifications) else Verification()


async def render(sources: ManifestSources, request: Render, whom: For, now: datetime) -> Desired:
    """Return what the sources want.

    Raises:
        SourceError: one of them could not be resolved or rendered; nothing of the others counts then.
    """
    freshness = _FRESHNESS[request.depth]

    async def resolved(position: int, source: Source) -> str:
        if position < len(request.revisions) and request.revisions[position]:
            return request.revisions[position]
        answer: Resolved = await sources.resolve(source, project=whom.project, freshness=freshness)
        return answer.revision

    revisions = await _all(resolved(position, source) for position, source in enumerate(request.sources))
    references = tuple(
        Reference(source=source, revision=revision, verification=whom.verification(position))
        for position, (source, revision) in enumerate(zip(request.sources, revisions, strict=True))
        if source.ref
    )

    async def rendered(position: int, source: Source) -> Rendered:
        return await sources.render(
            RenderRequest(
                application=whom.application,
                namespace=whom.namespace,
                project=whom.project,
                source=source,
                revision=revisions[position],
                references=references,
                kube_version=whom.kube_version,
                api_versions=whom.api_versions,
                verification=whom.verification(position),
                freshness=freshness,
            )
        )

    parts = await _all(rendered(position, source) for position, source in enumerate(request.sources))
    return Desired(
        objects=tuple(found for part in parts for found in part.objects),
        revisions=tuple(part.revision or revision for part, revision in zip(parts, revisions, strict=True)),
        sources=request.sources,
        requested=request.revisions,
        destination=request.destination,
        source_types=tuple(str(part.source_type) for part in parts if part.source_type is not None),
        warnings=tuple(warning for part in parts for warning in part.warnings),
        rendered_at=now,
    )


async def _all(works: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Return all answers in order; the first failure ends the others, and is raised as itself."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


# --- what is known, and what is under way -----------------------------------------------------------------------------


class RenderHook(Protocol):
    """Is told what metrics count. Must not raise."""

    def on_render(self, seconds: float, *, failed: bool) -> None:
        """Sources have been rendered, or could not be."""
        ...


@dataclass(slots=True)
class Renders:
    """What is known of the desired state of one Application.

    Attributes:
        content: the last good one as an entry of the offline store; decoded when it is looked at.
        rendering, operation: the last outcomes, without that state.
        tasks: under way: for the spec, for the operation.
        jitter: a number in 0..1, the same until the next outcome.
    """

    uid: str
    jitter: float
    content: bytes = b""
    rendering: Rendering = _NOTHING
    operation: Rendering = _NOTHING
    rendering_task: asyncio.Task[None] | None = None
    operation_task: asyncio.Task[None] | None = None

    @property
    def desired(self) -> Desired | None:
        return decode_desired(self.content, self.uid) if self.content else None

    def seen(self) -> tuple[Rendering, Rendering]:
        """Return what a decision sees of the spec's sources, and of what the operation asks for."""
        own = replace(self.rendering, desired=self.desired, in_flight=self.rendering_task is not None)
        return own, replace(self.operation, in_flight=self.operation_task is not None)

    def objects(self) -> tuple[Object, ...]:
        """Return everything that is wanted, by the spec or by the operation."""
        desired, other = self.desired, self.operation.desired
        own = desired.objects if desired is not None else ()
        return own if other is None or other.objects == own else own + other.objects

    def answered(self) -> None:
        """Take note that a decision has seen which request was answered."""
        self.rendering = replace(self.rendering, answered="")

    def cancel(self) -> list[asyncio.Task[None]]:
        """End what is under way; return it, to be waited for."""
        tasks = [task for task in (self.rendering_task, self.operation_task) if task is not None]
        for task in tasks:
            task.cancel()
        return tasks


class Renderings:
    """Has sources rendered beside the decisions, and keeps the last good state of each Application durably.

    Args:
        sources: renders.
        offline: keeps.
        wake: is called with an Application whose render has ended.
        hook: is told what metrics count.
    """

    def __init__(
        self,
        sources: ManifestSources,
        offline: OfflineStore,
        clock: Clock,
        *,
        wake: Callable[[ObjectKey], None],
        hook: RenderHook | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._sources = sources
        self._offline = offline
        self._clock = clock
        self._wake = wake
        self._hook = hook
        self._rng = rng or random.Random()
        self._kept: dict[str, bytes] = {}  # what the last process left, until it is asked for

    async def recover(self) -> None:
        """Read what the last process left. A store that cannot be read leaves nothing, and is no reason not to work."""
        try:
            self._kept = dict(await self._offline.read(Shelf.DESIRED))
        except OfflineError as error:
            log.error("offline_store_unreadable", error=str(error))

    def begin(self, key: ObjectKey, uid: str) -> Renders:
        """Return what is known of an Application that this process has not seen before."""
        known = Renders(uid=uid, jitter=self._rng.random())
        content = self._kept.pop(str(key), b"")
        if content and (desired := decode_desired(content, uid)) is not None:
            known.content = content
            log.info("desired_state_restored", object=str(key), revisions=desired.revisions)
        return known

    async def drop(self, key: ObjectKey) -> None:
        """Keep nothing of an Application that is no more."""
        self._kept.pop(str(key), None)
        try:
            await self._offline.drop(Shelf.DESIRED, str(key))
        except OfflineError as error:
            log.error("desired_state_not_dropped", object=str(key), error=str(error))

    def start(self, key: ObjectKey, known: Renders, action: Render, whom: For) -> None:
        """Have it rendered; the end wakes the Application. A newer request of an operation replaces the one before."""
        if action.for_operation:
            if known.operation_task is not None:
                known.operation_task.cancel()
            known.operation = _NOTHING
            known.operation_task = asyncio.create_task(self._operation(key, known, action, whom))
        elif known.rendering_task is None:
            known.rendering_task = asyncio.create_task(self._own(key, known, action, whom))

    async def _operation(self, key: ObjectKey, known: Renders, action: Render, whom: For) -> None:
        task = asyncio.current_task()
        desired, failure = self._at_hand(known, action), None
        if desired is None:
            desired, failure = await self._asked(key, action, whom)
        if known.operation_task is not task:
            return  # another one has been asked for since
        known.operation_task = None
        known.operation = Rendering(desired=desired, failure=self._failed(action, failure, None))
        self._wake(key)

    async def _own(self, key: ObjectKey, known: Renders, action: Render, whom: For) -> None:
        desired, failure = await self._asked(key, action, whom)
        before = known.rendering.failure
        known.rendering_task = None
        known.jitter = self._rng.random()
        known.rendering = Rendering(failure=self._failed(action, failure, before), answered=action.request)
        if desired is not None:
            await self._keep(key, known, desired)
        self._wake(key)

    async def _asked(self, key: ObjectKey, action: Render, whom: For) -> tuple[Desired | None, SourceError | None]:
        started = self._clock.monotonic()
        desired: Desired | None = None
        failure: SourceError | None = None
        try:
            async with asyncio.timeout(RENDER_SECONDS_MAX):
                desired = await render(self._sources, action, whom, self._clock.now())
        except SourceError as error:
            failure = error
        except TimeoutError:
            failure = RepositoryError(f"the sources took longer than {RENDER_SECONDS_MAX:g} s")
        except Exception as error:  # a bug of a tool's adapter is a failed render like any other
            log.error("render_broken", object=str(key), exc_info=error)
            failure = SourceError(f"rendering broke down: {type(error).__name__}")
        if failure is not None:
            log.warning("render_failed", object=str(key), error=str(failure))
        if self._hook is not None:
            self._hook.on_render(self._clock.monotonic() - started, failed=failure is not None)
        return desired, failure

    def _at_hand(self, known: Renders, action: Render) -> Desired | None:
        """Return what is asked for if it has been rendered already.

        An operation at a commit that is known needs no Git, and so is possible while Git cannot be reached.
        """
        desired = known.desired if action.revisions else None
        if desired is None or desired.sources != action.sources or desired.revisions != action.revisions:
            return None
        if desired.destination not in (None, action.destination):
            return None
        return replace(desired, requested=action.revisions, rendered_at=self._clock.now())

    def _failed(self, action: Render, error: SourceError | None, before: RenderFailure | None) -> RenderFailure | None:
        if error is None:
            return None
        now = self._clock.now()
        is_repository = isinstance(error, RepositoryError)
        return RenderFailure(
            message=str(error),
            is_repository=is_repository,
            sources=action.sources,
            since=before.since if before is not None and before.is_repository == is_repository else now,
            at=now,
        )

    async def _keep(self, key: ObjectKey, known: Renders, desired: Desired) -> None:
        """Remember a desired state, durably if it is another one."""
        before = known.desired
        known.content = encode_desired(known.uid, desired)
        if before is not None and replace(before, rendered_at=desired.rendered_at) == desired:
            return  # another time is no other state: nothing is written for it
        try:
            await self._offline.keep(Shelf.DESIRED, str(key), known.content)
        except OfflineError as error:
            log.error("desired_state_not_kept", object=str(key), error=str(error))
