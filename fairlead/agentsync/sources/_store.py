"""One bare, shallow store per repository and credential: refs are asked for first, and only what moved is fetched.

Nothing is ever checked out. Each commit that was asked for is held by a ref of ours, so that a force push or a deleted
branch takes nothing from under a render; the longest unused ones are let go.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._blobs import Blobs
from fairlead.agentsync.sources._gitprogram import Git, explain
from fairlead.agentsync.sources._programs import Finished, OutputTooLarge
from fairlead.agentsync.sources._revisions import Ref, parse_refs
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tree import Listing, TreeLimits, check_total, is_safe_name
from fairlead.agentsync.sources._urls import Location
from fairlead.agentsync.sources.port import Entry, EntryKind, RepositoryError, SourceError

HELD_MAX: Final = 32  # commits; more are let go when they were not used for UNUSED_SECONDS
UNUSED_SECONDS: Final = 600.0
PACKS_MAX: Final = 40  # more make every look-up slower
WHOLE_LISTING_BYTES: Final = 8 * 1024 * 1024  # about 80,000 files; a larger repository is listed directory by directory
LISTINGS_MAX: Final = 4
ATTEMPT_SECONDS: Final = 0.25
ATTEMPT_SECONDS_MAX: Final = 5.0
_ALL_DEPTH: Final = "2147483647"  # to git: all of it
_HELD: Final = "refs/fairlead/"
_EVERYTHING: Final = ("+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
_REFUSED: Final = re.compile(r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref", re.I)
_DAMAGED: Final = re.compile(r"\.lock'|corrupt|bad object|missing (?:blob|tree|object)|unable to read", re.I)
_LEAF: Final = re.compile(rb"(?P<mode>\d+) (?P<type>\w+) (?P<key>[0-9a-f]+) +(?P<size>-|\d+)\t(?P<path>.*)", re.DOTALL)
_KINDS: Final = {b"120000": EntryKind.LINK, b"160000": EntryKind.MODULE}


class Store:
    """The objects of one repository, as one credential sees it.

    Args:
        git: how git is run.
        location, access: where it comes from.
        folder: where it lies; made at its first use.
        limits: how much of a tree is read.
    """

    def __init__(self, git: Git, location: Location, access: Access, folder: Path, limits: TreeLimits) -> None:
        self._git = git
        self.location = location
        self.access = access
        self._folder = folder
        self._limits = limits
        self._lock = asyncio.Lock()
        self._used_at: dict[str, float] = {}
        self._whole: set[str] = set()  # commits that are there with their history
        self._is_ready = False
        self._is_large = False
        self._listings: dict[str, Listing] = {}
        self._listing: Shared[str, Listing | None] = Shared(window=0, clock=time.monotonic)
        self._blobs = Blobs(self._cat_file)

    async def advertised(self) -> tuple[Ref, ...]:
        """Return the refs of the server, in its order.

        Raises:
            RepositoryError: it does not answer, or not to us.
        """
        if not self._is_ready:  # else a fetch that is under way need not be waited for
            async with self._lock:
                await self._prepare()
        for attempt in range(1, self._git.settings.attempts):
            try:
                return parse_refs(await self._list_remote())
            except RepositoryError:
                await asyncio.sleep(min(ATTEMPT_SECONDS * 2 ** (attempt - 1), ATTEMPT_SECONDS_MAX))
        return parse_refs(await self._list_remote())

    async def _list_remote(self) -> bytes:
        return await self._remote("ls-remote", "--symref", "--", self.location.address)

    async def hold(self, commit: str, *, history: bool = False) -> None:
        """Make sure that a commit and its files are here.

        Args:
            commit: 40 hex digits.
            history: whether all its ancestors are needed too.

        Raises:
            RepositoryError: the server has no such commit, or cannot be reached.
            SourceError: the store would grow beyond its bound.
        """
        if self._has(commit, history):
            return
        async with self._lock:
            await self._prepare()
            if not self._has(commit, history):
                await self._fetch(commit, history)
                self._used_at[commit] = time.monotonic()
                await self._tidy()

    def _has(self, commit: str, history: bool) -> bool:
        """Return whether a commit is held, and note that it is used."""
        if commit not in self._used_at or (history and commit not in self._whole):
            return False
        self._used_at[commit] = time.monotonic()
        return True

    async def complete(self, digits: str) -> str:
        """Return the commit whose hash starts with these digits; all branches and tags are fetched for it.

        Raises:
            RepositoryError: there is none, or more than one.
        """
        async with self._lock:
            await self._prepare()
            await self._fetch_everything()
            ended = await self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{digits}^{{commit}}")
        found = ended.output.decode().strip()
        if ended.code or not found.startswith(digits):
            raise RepositoryError(f"unable to resolve '{digits}' to a commit SHA")
        return found

    async def run(self, *arguments: str, stdin: bytes = b"", home: Path | None = None) -> Finished:
        """Return how a command ended that only reads the store."""
        return await self._git.local(*arguments, store=self._folder, stdin=stdin, home=home)

    def cut_off(self) -> frozenset[str]:
        """Return the commits whose parents are not here."""
        try:
            return frozenset((self._folder / "shallow").read_text().split())
        except FileNotFoundError:
            return frozenset()

    # -- fetching ------------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        if self._is_ready:
            return
        self._git.permit(self.location)
        if not (self._folder / "HEAD").exists():
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ended = await self._git.local(
                "init", "--quiet", "--bare", "--template=", "--", str(self._folder), store=self._folder
            )
            if ended.code:
                raise RepositoryError(f"{self.location.shown}: no store can be made: {explain(ended)}")
        else:
            ended = await self.run("for-each-ref", "--format=%(refname)", _HELD)
            now = time.monotonic()
            for line in ended.output.decode().split():
                self._used_at[line.removeprefix(_HELD)] = now
        self._is_ready = True

    async def _fetch(self, commit: str, history: bool) -> None:
        depth = _ALL_DEPTH if history else str(max(1, self.access.depth))
        wanted = f"+{commit}:{_HELD}{commit}"
        try:
            await self._fetched(f"--depth={depth}", wanted)
        except RepositoryError as error:
            if _DAMAGED.search(str(error)):
                await self._start_anew()  # a process that was killed while it wrote; what was held is fetched again
                await self._fetched(f"--depth={depth}", wanted)
            elif _REFUSED.search(str(error)):
                await self._fetch_by_ref(commit, error)
            else:
                raise
        if history:
            self._whole.add(commit)

    async def _fetch_by_ref(self, commit: str, error: RepositoryError) -> None:
        """Fetch branches and tags: some servers give a commit only to who asks for a ref."""
        await self._fetch_everything()
        found = await self.run("cat-file", "-e", f"{commit}^{{commit}}")
        if found.code:
            raise RepositoryError(f"{self.location.shown}: the repository has no commit {commit}") from error
        await self.run("update-ref", f"{_HELD}{commit}", commit)
        self._whole.add(commit)

    async def _fetch_everything(self) -> None:
        await self._fetched(f"--depth={_ALL_DEPTH}", "--prune", *_EVERYTHING)

    async def _fetched(self, *arguments: str) -> None:
        options = [each for each in arguments if each.startswith("--")]
        wanted = [each for each in arguments if not each.startswith("--")]
        await self._remote(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            *options,
            "--",
            self.location.address,
            *wanted,
        )

    async def _remote(self, *arguments: str) -> bytes:
        return await self._git.remote(
            *arguments, location=self.location, access=self.access, store=self._folder, guard=self._size_guard
        )

    def _size_guard(self) -> str:
        """Return what is wrong with the store's size; empty if nothing is."""
        bound = self._git.settings.store_bytes
        total = 0
        for folder in (self._folder / "objects", self._folder / "objects" / "pack"):
            for each in folder.iterdir() if folder.is_dir() else ():
                try:
                    total += each.stat().st_size
                except FileNotFoundError:
                    continue  # a temporary pack got its name
        return f"{self.location.shown}: the repository is larger than {bound} bytes" if total > bound else ""

    async def _start_anew(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._is_ready = False
        self._whole.clear()
        self._used_at.clear()
        await self._prepare()

    async def _tidy(self) -> None:
        """Let go of commits that nobody used for a while, and join packs when there are many."""
        now = time.monotonic()
        old = sorted((at, commit) for commit, at in self._used_at.items() if now - at > UNUSED_SECONDS)
        surplus = [commit for _, commit in old[: max(0, len(self._used_at) - HELD_MAX)]]
        for commit in surplus:
            del self._used_at[commit]
            self._whole.discard(commit)
            await self.run("update-ref", "-d", f"{_HELD}{commit}")
        if len(list((self._folder / "objects" / "pack").glob("*.pack"))) > PACKS_MAX:
            await self.run("gc", "--quiet", "--prune=now")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def listing(self, commit: str, under: str) -> dict[str, Entry]:
        """Return the leaves of a held commit at or below a path."""
        whole = await self._whole_listing(commit)
        if whole is None:
            whole = Listing(await self._ls_tree(commit, under, self._git.settings.local.output_bytes))
        found = whole.under(under)
        if len(found) > self._limits.files:
            raise SourceError(f"{len(found)} files below {under or 'the root'}: at most {self._limits.files}")
        return found

    async def _whole_listing(self, commit: str) -> Listing | None:
        """Return all leaves of a commit; None if there are too many to list them all."""
        if commit in self._listings:
            return self._listings[commit]
        return None if self._is_large else await self._listing.get(commit, lambda: self._list(commit))

    async def _list(self, commit: str) -> Listing | None:
        try:
            listing = Listing(await self._ls_tree(commit, "", WHOLE_LISTING_BYTES))
        except OutputTooLarge:
            self._is_large = True
            return None
        while len(self._listings) >= LISTINGS_MAX:
            del self._listings[next(iter(self._listings))]
        self._listings[commit] = listing
        return listing

    async def leaf(self, commit: str, path: str) -> Entry | None:
        """Return the leaf of exactly this path; None if there is a directory, or nothing."""
        whole = await self._whole_listing(commit)
        if whole is not None:
            return whole.get(path)
        found = await self._ls_tree(commit, path, self._git.settings.local.output_bytes, is_deep=False)
        return found[0] if found else None

    async def _ls_tree(self, commit: str, under: str, output_bytes: int, *, is_deep: bool = True) -> list[Entry]:
        paths = ["--", under] if under else []
        deep = ["-r"] if is_deep else []
        limits = replace(self._git.settings.local, output_bytes=output_bytes)
        ended = await self._git.local(
            "ls-tree", *deep, "-z", "-l", "--full-tree", commit, *paths, store=self._folder, limits=limits
        )
        if ended.code:
            self._used_at.pop(commit, None)  # fetched again at the next question
            raise RepositoryError(f"{self.location.shown}: commit {commit} cannot be read: {explain(ended)}")
        return [entry for line in ended.output.split(b"\0") if line and (entry := _entry(line)) is not None]

    async def blobs(self, entries: Sequence[Entry]) -> list[bytes]:
        """Return contents by blob id, in the order asked for."""
        check_total(entries, self._limits.read_bytes)
        return await self._blobs.get(entries)

    async def _cat_file(self, stdin: bytes, output_bytes: int) -> bytes:
        limits = replace(self._git.settings.local, output_bytes=output_bytes)
        ended = await self._git.local("cat-file", "--batch", store=self._folder, stdin=stdin, limits=limits)
        return ended.output


def _entry(line: bytes) -> Entry | None:
    """Return a leaf; None for a directory."""
    found = _LEAF.fullmatch(line)
    if found is None:
        raise RepositoryError(f"git listed something odd: {line[:80]!r}")
    if found["type"] == b"tree":
        return None
    path = found["path"].decode("utf-8", "surrogateescape")
    if not is_safe_name(path):
        raise RepositoryError(f"the repository has a path that leaves it: {path!r}")
    size = 0 if found["size"] == b"-" else int(found["size"])
    kind = _KINDS.get(found["mode"], EntryKind.FILE)
    return Entry(path=path, kind=kind, size=size, key=found["key"].decode(), executable=found["mode"] == b"100755")


class GitTree:
    """The files of one commit in a store."""

    def __init__(self, store: Store, commit: str) -> None:
        self._store = store
        self._commit = commit

    @property
    def has_content_keys(self) -> bool:
        return True  # they are blob ids

    async def entries(self, under: str) -> dict[str, Entry]:
        return await self._store.listing(self._commit, under)

    async def leaf(self, path: str) -> Entry | None:
        return await self._store.leaf(self._commit, path) if path else None

    async def read(self, entries: Sequence[Entry]) -> list[bytes]:
        return await self._store.blobs(entries)
