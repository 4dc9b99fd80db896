"""Trees of files: paths that are safe, links followed inside the tree alone, and a directory on disk as a tree."""

from __future__ import annotations

import asyncio
import bisect
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead.agentsync.sources.port import Entry, EntryKind, RenderError, SourceError, Tree

LINKS_FOLLOWED_MAX: Final = 40  # as Linux does
PATH_CHARACTERS_MAX: Final = 4096
_LFS: Final = b"version https://git-lfs.github.com/spec/"
_OUT_OF_BOUNDS: Final = "repository contains out-of-bounds symlinks. file: {}"


class BrokenLink(RenderError):
    """A link leads nowhere, or to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """How much of one revision is read.

    Args:
        files: leaves below one source path.
        read_bytes: contents read for one source.
    """

    files: int = 50_000
    read_bytes: int = 256 * 1024 * 1024


def clean_path(path: str, *, field: str = "app path") -> str:
    """Return a user's path in its shortest form, from the root of the tree; empty for the root.

    Raises:
        SourceError: it is absolute, leaves the root, or has characters in it that mean something else elsewhere.
    """
    if len(path) > PATH_CHARACTERS_MAX:
        raise SourceError(f"{field} has {len(path)} characters: at most {PATH_CHARACTERS_MAX} are allowed")
    if any(not each.isprintable() for each in path) or "\\" in path:
        raise SourceError(f"{field} {path!r} has a backslash or a control character in it")
    if path.startswith(("/", "~")):
        raise SourceError(f"{path}: {field} is absolute")
    done: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not done:
                raise SourceError(f"{path}: {field} outside root")
            done.pop()
        elif part not in ("", "."):
            done.append(part)
    if any(part.lower() == ".git" for part in done):
        raise SourceError(f"{field} {path!r} goes through .git")
    return "/".join(done)


def is_safe_name(path: str) -> bool:
    """Return whether a path of a tree stays in it when it is written to a disk."""
    return all(part not in ("", ".", "..") and part.lower() != ".git" for part in path.split("/")) and "\0" not in path


async def real_path(tree: Tree, path: str) -> str:
    """Return where a path leads when every link in it is followed; empty for the root.

    Raises:
        RenderError: out of the tree.
        BrokenLink: in a circle.
    """
    waiting = deque(path.split("/"))
    done: list[str] = []
    followed = 0
    while waiting:
        part = waiting.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                raise RenderError(_OUT_OF_BOUNDS.format(path))
            done.pop()
            continue
        done.append(part)
        leaf = await tree.leaf("/".join(done))
        if leaf is None or leaf.kind is not EntryKind.LINK:
            continue
        followed += 1
        if followed > LINKS_FOLLOWED_MAX:
            raise BrokenLink(f"link {path} leads in a circle")
        target = (await tree.read([leaf]))[0].decode("utf-8", "surrogateescape")
        if target.startswith("/") or len(target) > PATH_CHARACTERS_MAX:
            raise RenderError(_OUT_OF_BOUNDS.format(path))
        done.pop()
        waiting.extendleft(reversed(target.split("/")))
    return "/".join(done)


async def source_directory(tree: Tree, path: str) -> str:
    """Return the directory that a source's path means, links followed; empty for the root.

    Raises:
        SourceError: there is none, or it is out of bounds.
    """
    place = await real_path(tree, clean_path(path))
    if await tree.leaf(place) is not None:
        raise SourceError(f"{path}: app path is not a directory")
    if place and not await tree.entries(place):
        raise SourceError(f"{path}: app path does not exist")
    return place


async def is_directory(tree: Tree, path: str) -> bool:
    """Return whether there is something below a path."""
    return not path or (await tree.leaf(path) is None and bool(await tree.entries(path)))


def check_pointer(path: str, content: bytes) -> None:
    """Refuse what Git LFS left in place of a file.

    Raises:
        RenderError: it is a pointer.
    """
    if content.startswith(_LFS):
        raise RenderError(f"{path} is a Git LFS pointer: Git LFS is off, the file's content is not in the repository")


class Listing(Mapping[str, Entry]):
    """Leaves by path; those below one directory are found without looking at the others."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = {entry.path: entry for entry in sorted(entries, key=lambda each: each.path)}
        self._paths = list(self._entries)

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def under(self, path: str) -> dict[str, Entry]:
        """Return what is at or below a path."""
        if not path:
            return self._entries
        if path in self._entries:
            return {path: self._entries[path]}
        first = bisect.bisect_left(self._paths, path + "/")
        last = bisect.bisect_left(self._paths, path + "0")  # "0" follows "/"
        return {each: self._entries[each] for each in self._paths[first:last]}


class FolderTree:
    """A directory on disk: what a person has before a commit, or an unpacked chart.

    Links are leaves and never followed by the system; sockets, pipes and devices are refused. Nothing is kept: what
    changes on disk is seen by the next question.
    """

    def __init__(self, folder: Path, limits: TreeLimits | None = None) -> None:
        self._root = folder
        self._limits = limits or TreeLimits()

    @property
    def has_content_keys(self) -> bool:
        return False  # they are paths

    async def entries(self, under: str) -> Mapping[str, Entry]:
        return await asyncio.to_thread(self._entries, under)

    async def leaf(self, path: str) -> Entry | None:
        return await asyncio.to_thread(self._leaf, path)

    async def read(self, entries: Sequence[Entry]) -> list[bytes]:
        check_total(entries, self._limits.read_bytes)
        return await asyncio.to_thread(lambda: [self._content(entry) for entry in entries])

    def _leaf(self, path: str) -> Entry | None:
        if not path or not is_safe_name(path):
            return None
        try:
            found = (self._root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if stat.S_ISDIR(found.st_mode) else self._entry(path, found)

    def _entries(self, under: str) -> dict[str, Entry]:
        leaf = self._leaf(under)
        if leaf is not None:
            return {under: leaf}
        found: list[Entry] = []
        for folder, folders, files in os.walk(self._root / under, followlinks=False):
            folders[:] = sorted(name for name in folders if name.lower() != ".git")
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            for name in (*files, *links):
                full = Path(folder) / name
                path = full.relative_to(self._root).as_posix()
                if is_safe_name(path):
                    found.append(self._entry(path, full.lstat()))
            if len(found) > self._limits.files:
                raise SourceError(f"more than {self._limits.files} files below {under or 'the root'}")
        return {entry.path: entry for entry in sorted(found, key=lambda each: each.path)}

    def _entry(self, path: str, found: os.stat_result) -> Entry:
        if stat.S_ISLNK(found.st_mode):
            kind = EntryKind.LINK
        elif stat.S_ISREG(found.st_mode):
            kind = EntryKind.FILE
        else:
            raise SourceError(f"{path} is neither a file nor a directory nor a link")
        executable = bool(found.st_mode & stat.S_IXUSR)
        return Entry(path=path, kind=kind, size=found.st_size, key=path, executable=executable)

    def _content(self, entry: Entry) -> bytes:
        place = self._root / entry.path
        try:
            if entry.kind is EntryKind.LINK:
                return os.fsencode(place.readlink())
            # What became a link or a pipe since it was listed is not opened.
            with os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                content = file.read(entry.size + 1)
        except OSError as error:
            raise SourceError(f"{entry.path} cannot be read: {error.strerror}") from error
        if len(content) > entry.size:
            raise SourceError(f"{entry.path} grew while it was read")
        return content


def check_total(entries: Sequence[Entry], bytes_max: int) -> None:
    """Refuse to read more than a bound.

    Raises:
        SourceError: together they are larger.
    """
    total = sum(entry.size for entry in entries)
    if total > bytes_max:
        largest = max(entries, key=lambda each: each.size)
        raise SourceError(
            f"{len(entries)} files have {total} bytes, more than {bytes_max}; the largest is {largest.path}"
        )
