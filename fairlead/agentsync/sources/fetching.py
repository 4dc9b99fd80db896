"""The facade: sources resolved and rendered, with everything asked for once that many want to know.

One `ls-remote` per repository and polling window answers all Applications; manifests are kept as JSON by commit and
parameters; renders of one repository run side by side, as each has its own copy of what it reads.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._cache import RenderedCache, cache_key
from fairlead.agentsync.sources._gitprogram import Git, GitSettings
from fairlead.agentsync.sources._reuse import Reuse, Watch
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tools import Tools, ToolSettings
from fairlead.agentsync.sources._urls import locate
from fairlead.agentsync.sources.charts import ChartFetcher
from fairlead.agentsync.sources.directory import ParsedFiles
from fairlead.agentsync.sources.git import GitFetcher
from fairlead.agentsync.sources.oci import OciFetcher
from fairlead.agentsync.sources.port import (
    Fetcher,
    FetcherContext,
    FetcherFactory,
    Freshness,
    ProgramMissing,
    Rendered,
    RenderRequest,
    RepositoryError,
    Resolved,
    SourceError,
    Tree,
    Verification,
    VerificationMode,
)
from fairlead.agentsync.sources.registry import GIT_SCHEMES, Fetchers
from fairlead.agentsync.sources.repositories import Repositories
from fairlead.agentsync.sources.signatures import Signatures

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

WINDOW_SECONDS: Final = 180.0  # upstream's revision cache
LEFTOVER_SECONDS: Final = 3600.0  # no program runs for so long


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesSettings:
    """How sources are read.

    Args:
        git: how git is run, and which protocols may be spoken; those of chart repositories too.
        tools: how manifests are rendered.
        gpg: name of the program on the PATH, or its path.
        window: seconds for which the refs of a repository, or the index of charts, are not asked for again.
        manifests_bytes: how much rendered manifests may take.
        files_bytes: how much parsed files may take.
    """

    git: GitSettings = field(default_factory=GitSettings)
    tools: ToolSettings = field(default_factory=ToolSettings)
    gpg: str = "gpg"
    window: float = WINDOW_SECONDS
    manifests_bytes: int = 64 * 1024 * 1024
    files_bytes: int = 64 * 1024 * 1024


class Sources:
    """Resolves and renders sources of Applications. Implements `ManifestSources`.

    Args:
        folder: where stores and private copies lie. Made if absent (0700); stores in it are used again after a
            restart; only one process may use it.
        settings: how.
        plugins: fetchers by URL scheme, beside those that are installed.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        folder: Path,
        settings: SourcesSettings | None = None,
        *,
        plugins: Mapping[str, FetcherFactory] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings or SourcesSettings()
        scratch = _without_leftovers(_private(folder / "scratch"))
        self._scratch = scratch
        self._gpg = settings.gpg
        self._clock = clock
        self._repositories = Repositories()
        self._keys: dict[str, str] = {}
        self._signatures = Signatures(scratch, {}, settings.gpg)
        self._tools = Tools(scratch, settings.tools, ParsedFiles(settings.files_bytes))
        self._cache = RenderedCache(settings.manifests_bytes)
        self._reuse = Reuse()
        self._rendering: Shared[str, Rendered] = Shared(window=0, clock=clock)
        self._git = GitFetcher(
            Git(settings.git, scratch),
            _private(folder / "stores"),
            repositories=lambda: self._repositories,
            signatures=lambda: self._signatures,
            window=settings.window,
            limits=settings.tools.tree,
            clock=clock,
        )
        self._charts = ChartFetcher(
            _without_leftovers(_private(folder / "charts")),
            access=self._access,
            window=settings.window,
            protocols=settings.git.protocols & {"https", "http"},
            limits=settings.tools.tree,
            clock=clock,
        )
        self._oci = OciFetcher(
            _without_leftovers(_private(folder / "oci")),
            access=self._access,
            window=settings.window,
            protocols=settings.git.protocols & {"https", "http"},
            limits=settings.tools.tree,
            clock=clock,
        )
        self._fetchers = Fetchers(FetcherContext(folder=_private(folder / "plugins"), access=self._access), plugins)

    def trust(self, repositories: Repositories, keys: Mapping[str, str]) -> None:
        """Take over what opens repositories and who may sign, from now on.

        What was rendered under other keys is forgotten: a key that was taken out counts no longer.

        Args:
            repositories: as `read_repositories` reads them.
            keys: armoured public keys by id (ConfigMap `argocd-gpg-keys-cm`).
        """
        self._repositories = repositories
        if dict(keys) != self._keys:
            self._keys = dict(keys)
            self._signatures = Signatures(self._scratch, keys, self._gpg)
            self._cache.clear()
            self._reuse.clear()

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return the commit or chart version that a source means now.

        Args:
            source: one source of an Application.
            project: its AppProject; credentials may be limited to it.
            freshness: whether an answer of this polling window will do.

        Raises:
            RepositoryError: the repository cannot be reached, or has no such revision.
            SourceError: the source cannot be used.
        """
        source = with_scheme(source)
        return await self._fetcher(source).resolve(source, project=project, freshness=freshness)

    async def render(self, request: RenderRequest) -> Rendered:
        """Return the objects of one source at one revision, all from that one revision.

        Guarantees: a signature that is demanded was verified before any file was read. Nothing that failed is taken
        for an empty set of objects.

        Raises:
            SignatureError: the revision is not signed as demanded.
            RepositoryError: it cannot be fetched.
            RenderError: it cannot become objects.
            ProgramMissing: a program that is needed is not installed.
        """
        request = replace(request, source=with_scheme(request.source))
        if request.source.ref and request.source.chart:
            raise SourceError(f"source {request.source.ref!r}: a source with ref cannot have a chart")
        if request.source.is_reference_only:
            if request.verification.mode is not VerificationMode.NONE:
                await self._tree(request.source, request.revision, request.project, request.verification)
            return Rendered(objects=(), revision=request.revision, source_type=None)
        key = cache_key(request)
        is_hard = request.freshness is Freshness.HARD
        if is_hard:
            self._cache.forget(key)
        elif (kept := self._cache.get(key, self._clock())) is not None:
            return kept
        found = await self._rendering.get(key, lambda: self._rendered(key, request), is_fresh=is_hard)
        # Who waited for the same render must not get the same objects.
        return self._cache.get(key, self._clock()) or found

    def moved(self, url: str) -> None:
        """Note that a repository moved, as a webhook said: the next question about it reaches it."""
        self._git.forget(url)
        self._charts.forget(url)
        self._oci.forget(url)

    async def _rendered(self, key: str, request: RenderRequest) -> Rendered:
        try:
            found = await self._render(key, request)
        except (RepositoryError, ProgramMissing):
            raise  # may be better the next time, with the same revision
        except SourceError as error:
            self._cache.put_failure(key, error, self._clock())
            raise
        return found

    async def _render(self, key: str, request: RenderRequest) -> Rendered:
        source, project = request.source, request.project
        tree = await self._tree(source, request.revision, project, request.verification)
        references = {
            each.source.ref: await self._tree(each.source, each.revision, project, each.verification)
            for each in request.references
        }
        if request.freshness is not Freshness.HARD:
            earlier = await self._reuse.find(request, {"": tree, **references})
            if earlier is not None:
                self._cache.rekey(earlier, key, request.revision)
                if (kept := self._cache.get(key, self._clock())) is not None:
                    self._reuse.moved(request, key)
                    return kept
        watch = Watch()
        found = await self._tools.render(
            tree, request, references=references, credentials=lambda url: self._access(url, project), watch=watch
        )
        self._cache.put(key, found, self._clock())
        self._reuse.put(request, key, watch)
        return found

    async def _tree(self, source: Source, revision: str, project: str, verification: Verification) -> Tree:
        return await self._fetcher(source).tree(source, revision, project=project, verification=verification)

    def _access(self, url: str, project: str) -> Access:
        return self._repositories.find(url, project=project)

    def _fetcher(self, source: Source) -> Fetcher:
        place = locate(source.repo_url)
        if place.scheme == "oci":
            return self._oci
        if place.scheme not in GIT_SCHEMES:
            return self._fetchers.fetcher(place)
        return self._charts if source.chart else self._git


def with_scheme(source: Source) -> Source:
    """Return a source whose URL says that it is of a registry: charts may name one without (`ghcr.io/team/charts`)."""
    if not source.chart or "://" in source.repo_url or not source.repo_url.strip():
        return source
    return msgspec.structs.replace(source, repo_url=f"oci://{source.repo_url.strip()}")


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _without_leftovers(folder: Path) -> Path:
    """Remove what a process left that was killed: private copies, and files with credentials among them."""
    oldest = time.time() - LEFTOVER_SECONDS
    for each in folder.iterdir():
        if each.is_dir() and each.stat().st_mtime < oldest:
            shutil.rmtree(each, ignore_errors=True)
    return folder
