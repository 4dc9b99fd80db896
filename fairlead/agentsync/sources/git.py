"""Git repositories as sources: one `ls-remote` per repository and polling window, one store per repository."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._gitprogram import Git
from fairlead.agentsync.sources._revisions import Abbreviated, Ref, check_revision, is_commit, resolve_revision
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._store import GitTree, Store
from fairlead.agentsync.sources._tree import TreeLimits
from fairlead.agentsync.sources._urls import locate, normalise
from fairlead.agentsync.sources.port import Freshness, Resolved, SourceError, Tree, Verification
from fairlead.agentsync.sources.repositories import Repositories
from fairlead.agentsync.sources.signatures import Signatures

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

STORES_MAX: Final = 256
COMPLETED_MAX: Final = 1024


class GitFetcher:
    """Resolves and fetches from Git.

    Args:
        git: how git is run.
        folder: where stores lie; only we may read it, and only one process may use it.
        repositories: asked at every use, so that a changed Secret counts at once.
        signatures: asked at every use too.
        window: seconds for which the refs of a repository are not asked for again.
        limits: how much of a tree is read.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        git: Git,
        folder: Path,
        *,
        repositories: Callable[[], Repositories],
        signatures: Callable[[], Signatures],
        window: float = 180.0,
        limits: TreeLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._git = git
        self._folder = folder
        self._repositories = repositories
        self._signatures = signatures
        self._limits = limits or TreeLimits()
        self._stores: dict[str, Store] = {}
        self._refs: Shared[str, tuple[Ref, ...]] = Shared(window=window, clock=clock)
        self._completed: dict[tuple[str, str], str] = {}

    def access(self, source: Source, project: str) -> Access:
        """Return what opens the repository of a source.

        Raises:
            SourceError: its Secret cannot be used, or asks for what is not built.
        """
        access = self._repositories().find(source.repo_url, project=project)
        if access.lfs:
            raise SourceError(f"repository {locate(source.repo_url).shown}: Git LFS is not supported")
        return access

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return the commit that a source means now.

        Raises:
            RepositoryError: the repository cannot be reached, or has no such revision.
            SourceError: the URL or the revision cannot be used.
        """
        revision = source.target_revision
        check_revision(revision)
        key, store = self._store(source, project)
        if is_commit(revision):
            return Resolved(revision=revision.lower())
        found = resolve_revision(revision, await self._advertised(key, store, freshness), tag_prefix=source.tag_prefix)
        if not isinstance(found, Abbreviated):
            return Resolved(revision=found.commit)
        return Resolved(revision=await self._complete(key, store, found.digits))

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        """Return the files of a commit; its signature was checked before any of them was read.

        Raises:
            SignatureError: it is not signed as demanded.
            RepositoryError: it cannot be fetched.
        """
        if not is_commit(revision):
            raise SourceError(f"revision {revision!r} is no commit: expected 40 hex digits")
        commit = revision.lower()
        key, store = self._store(source, project)
        await store.hold(commit)
        await self._signatures().check(store, commit, await self._tag(key, store, source, commit), verification)
        return GitTree(store, commit)

    def forget(self, url: str) -> None:
        """Let the next question about a repository reach it, with whatever credentials: somebody said that it moved."""
        wanted = normalise(url)
        for key, store in self._stores.items():
            if normalise(store.location.address) == wanted:
                self._refs.forget(key)

    async def _advertised(self, key: str, store: Store, freshness: Freshness) -> tuple[Ref, ...]:
        ask: Callable[[], Awaitable[tuple[Ref, ...]]] = store.advertised
        return await self._refs.get(key, ask, is_fresh=freshness is not Freshness.CACHED)

    async def _complete(self, key: str, store: Store, digits: str) -> str:
        """Return the whole of a hash; once found it stays what it is."""
        if (key, digits) not in self._completed:
            found = await store.complete(digits)
            while len(self._completed) >= COMPLETED_MAX:
                del self._completed[next(iter(self._completed))]
            self._completed[key, digits] = found
        return self._completed[key, digits]

    async def _tag(self, key: str, store: Store, source: Source, commit: str) -> str:
        """Return the annotated tag by which a source means this commit; empty if it means it otherwise."""
        if is_commit(source.target_revision):
            return ""
        refs = await self._advertised(key, store, Freshness.CACHED)
        found = resolve_revision(source.target_revision, refs, tag_prefix=source.tag_prefix)
        if isinstance(found, Abbreviated) or found.commit != commit or found.ref is None:
            return ""
        return found.ref.tag

    def _store(self, source: Source, project: str) -> tuple[str, Store]:
        access = self.access(source, project)
        location = locate(source.repo_url)
        self._git.permit(location)
        key = _key(source.repo_url, access)
        if key in self._stores:
            store = self._stores.pop(key)
        else:
            store = Store(self._git, location, access, self._folder / f"{key}.git", self._limits)
        store.access = access  # trust may have changed, and is no part of the key
        self._stores[key] = store  # at the end: the first one is the one that was not used for longest
        while len(self._stores) > STORES_MAX:
            del self._stores[next(iter(self._stores))]
        return key, store


def _key(url: str, access: Access) -> str:
    """Return what a store is called: what one credential may read is kept apart from what another may."""
    location = locate(url)
    text = "\0".join((location.address, location.username, location.password, access.fingerprint()))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
