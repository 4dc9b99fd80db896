"""Repositories of charts: an index over HTTP, versions by constraint, archives checked and unpacked on our side.

Source: helm.sh/docs/topics/chart_repository; argo-cd: util/helm/client.go.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._archives import ARCHIVE_BYTES_MAX, Unpacked
from fairlead.agentsync.sources._downloads import Downloads, authorization
from fairlead.agentsync.sources._revisions import check_revision, greatest_tag, is_constraint, is_version
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tree import FolderTree, TreeLimits
from fairlead.agentsync.sources._urls import Location, locate, normalise
from fairlead.agentsync.sources._yaml import YamlLimits, read_one
from fairlead.agentsync.sources.port import (
    Freshness,
    RenderError,
    RepositoryError,
    Resolved,
    SourceError,
    Tree,
    Verification,
)

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

INDEX_BYTES_MAX: Final = 64 * 1024 * 1024
_INDEX_LIMITS: Final = YamlLimits(documents=1, values=10_000_000)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/]*")
Index = Mapping[str, Any]


class ChartFetcher:
    """Resolves versions of charts and fetches them over HTTP.

    Args:
        folder: where unpacked charts lie; only we may read it.
        access: what opens a URL for a project.
        window: seconds for which an index is not asked for again.
        protocols: URL schemes that it may speak.
        limits: how much of a chart is read.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        folder: Path,
        *,
        access: Callable[[str, str], Access],
        window: float = 180.0,
        protocols: frozenset[str] = frozenset({"https"}),
        limits: TreeLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._downloads = Downloads(folder, protocols)
        self._access = access
        self._limits = limits or TreeLimits()
        self._unpacked = Unpacked(folder)
        self._indexes: Shared[str, Index] = Shared(window=window, clock=clock)

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return the version of a chart that a source means now.

        Raises:
            RepositoryError: the repository cannot be reached, or has no such chart or version.
            SourceError: the source cannot be used.
        """
        revision = source.target_revision
        check_revision(revision)
        if not revision:
            raise SourceError("targetRevision is required for a chart")
        if not _NAME.fullmatch(source.chart) or ".." in source.chart:
            raise SourceError(f"chart {source.chart!r} is no name of a chart")
        if not is_version(revision) and not is_constraint(revision):
            raise SourceError(f"targetRevision {revision!r} is neither a version nor a constraint")
        place, access = self._opened(source, project)
        versions = _versions(await self._index(place, access, freshness), source.chart, place)
        if revision in versions:
            return Resolved(revision=revision)
        if is_version(revision):
            same = [each for each in versions if each.removeprefix("v") == revision.removeprefix("v")]
            found = same[0] if same else None
        else:
            found = greatest_tag(revision, versions)
        if found is None:
            raise RepositoryError(f"{place.shown}: chart {source.chart} has no version that matches {revision!r}")
        return Resolved(revision=found)

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        """Return the files of a chart. Signatures are Git's: a chart has none that could be checked here.

        Raises:
            RepositoryError: it cannot be fetched.
            RenderError: it is damaged, or no chart.
        """
        place, access = self._opened(source, project)
        named = "\0".join((place.address, access.fingerprint(), source.chart, revision))
        folder = await self._unpacked.folder(
            hashlib.sha256(named.encode()).hexdigest()[:40],
            f"{place.shown}: chart {source.chart} {revision}",
            lambda: self._archive(place, access, source, revision),
        )
        return FolderTree(folder / source.chart.rpartition("/")[2], self._limits)

    def forget(self, url: str) -> None:
        """Let the next question about a repository reach it, with whatever credentials."""
        wanted = normalise(url)
        for key in self._indexes.known():
            if normalise(key.partition("\0")[0]) == wanted:
                self._indexes.forget(key)

    def _opened(self, source: Source, project: str) -> tuple[Location, Access]:
        place = locate(source.repo_url)
        self._downloads.permit(place)
        access = self._access(source.repo_url, project)
        access.check()
        return place, access

    async def _index(self, place: Location, access: Access, freshness: Freshness) -> Index:
        async def ask() -> Index:
            content = await self._get(f"{place.address.rstrip('/')}/index.yaml", place, access, INDEX_BYTES_MAX)
            return await asyncio.to_thread(_read_index, content, place)

        is_fresh = freshness is not Freshness.CACHED
        return await self._indexes.get(_index_key(place, access), ask, is_fresh=is_fresh)

    async def _archive(self, place: Location, access: Access, source: Source, revision: str) -> bytes:
        chart = source.chart
        pass_on = source.helm is not None and source.helm.pass_credentials
        index = await self._index(place, access, Freshness.CACHED)
        entry = _versions(index, chart, place).get(revision)
        if entry is None:
            raise RepositoryError(f"{place.shown}: chart {chart} has no version {revision!r} any more")
        urls = entry.get("urls")
        if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
            raise RepositoryError(f"{place.shown}: chart {chart} {revision} has no URL")
        url = urljoin(f"{place.address.rstrip('/')}/", urls[0])
        content = await self._get(url, place, access, ARCHIVE_BYTES_MAX, pass_on=pass_on)
        digest = entry.get("digest")
        if isinstance(digest, str) and digest and hashlib.sha256(content).hexdigest() != digest.removeprefix("sha256:"):
            raise RepositoryError(f"{place.shown}: chart {chart} {revision} is not what the index says it is")
        return content

    async def _get(self, url: str, place: Location, access: Access, bytes_max: int, *, pass_on: bool = False) -> bytes:
        who = authorization(place, access)
        answer = await self._downloads.get(url, place, access, bytes_max=bytes_max, authorization=who, pass_on=pass_on)
        if answer.status != 200:
            raise RepositoryError(f"{place.shown}: HTTP {answer.status} for {locate(url).shown}")
        return answer.body


def _index_key(place: Location, access: Access) -> str:
    return f"{place.address}\0{access.fingerprint()}"


def _read_index(content: bytes, place: Location) -> Index:
    try:
        found: Any = json.loads(content) if content.lstrip()[:1] == b"{" else read_one(content, _INDEX_LIMITS)
    except (ValueError, RecursionError, RenderError) as error:
        raise RepositoryError(f"{place.shown}: index.yaml cannot be read: {error}") from None
    entries = found.get("entries") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise RepositoryError(f"{place.shown}: index.yaml has no entries")
    return entries


def _versions(index: Index, chart: str, place: Location) -> dict[str, dict[str, Any]]:
    """Return what the index says about each version of a chart, in its order."""
    listed = index.get(chart)
    if not isinstance(listed, list):
        raise RepositoryError(f"{place.shown}: there is no chart {chart!r}")
    found: dict[str, dict[str, Any]] = {}
    for each in listed:
        if isinstance(each, dict) and isinstance(each.get("version"), str):
            found.setdefault(each["version"], each)
    return found
