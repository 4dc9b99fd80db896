"""From the sources of an Application to one desired state: all of one commit each, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from fairlead.agentsync.actions import Depth, Render
from fairlead.agentsync.observation import Desired
from fairlead.agentsync.sources.port import (
    Freshness,
    ManifestSources,
    Reference,
    Rendered,
    RenderRequest,
    Resolved,
    Verification,
)
from fairlead.agentsync.spec import Source

R = TypeVar("R")

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
