"""Private copies of the few directories that a tool needs, on disk: no links, nothing special, gone afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fairlead.agentsync.sources._tree import BrokenLink, TreeLimits, check_pointer, check_total, real_path
from fairlead.agentsync.sources.port import Entry, EntryKind, RenderError, SourceError, Tree

_LINKED_DEPTH_MAX: Final = 8  # a link to a directory with a link to a directory with ...


async def materialise(tree: Tree, paths: Iterable[str], folder: Path, limits: TreeLimits | None = None) -> None:
    """Write what is at or below some paths of a tree into a folder, in the places that it has in the tree.

    A link becomes what it leads to, as long as that is in the tree; one that leads nowhere and a submodule are left
    out. Files and directories are ours alone (0600, 0700).

    Args:
        tree: the repository.
        paths: from its root.
        folder: an empty one that only we may read.
        limits: how much may be copied.

    Raises:
        SourceError: too much, two names that differ only in case, or a link out of the tree.
        RenderError: a file is a Git LFS pointer.
    """
    limits = limits or TreeLimits()
    wanted: dict[str, Entry] = {}
    for path in paths:
        await _collect(tree, path, path, wanted, limits, 0)
    _check_names(wanted)
    check_total(list(wanted.values()), limits.read_bytes)
    contents = await tree.read(list(wanted.values()))
    for name, content in zip(wanted, contents, strict=True):
        check_pointer(name, content)
    await asyncio.to_thread(_write, folder, list(zip(wanted, contents, strict=True)))


async def _collect(
    tree: Tree, source: str, target: str, wanted: dict[str, Entry], limits: TreeLimits, depth: int
) -> None:
    """Note where each leaf at or below `source` is written: below `target`."""
    if depth > _LINKED_DEPTH_MAX:
        raise SourceError(f"{target}: links to directories, more than {_LINKED_DEPTH_MAX} within each other")
    for path, entry in (await tree.entries(source)).items():
        place = target + path[len(source) :] if source else "/".join(filter(None, (target, path)))
        if entry.kind is EntryKind.FILE:
            wanted[place] = entry
        elif entry.kind is EntryKind.LINK:
            await _collect_link(tree, path, place, wanted, limits, depth)
        if len(wanted) > limits.files:
            raise SourceError(f"more than {limits.files} files are needed to render this source")


async def _collect_link(
    tree: Tree, path: str, place: str, wanted: dict[str, Entry], limits: TreeLimits, depth: int
) -> None:
    try:
        target = await real_path(tree, path)
    except BrokenLink:
        return
    leaf = await tree.leaf(target)
    if leaf is None:
        await _collect(tree, target, place, wanted, limits, depth + 1)
    elif leaf.kind is EntryKind.FILE:
        wanted[place] = leaf


def _check_names(wanted: Iterable[str]) -> None:
    """Refuse names that are one on some disks: which of two files a tool reads must not depend on the machine."""
    seen: dict[str, str] = {}
    for path in wanted:
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                raise SourceError(f"{other!r} and {name!r} differ only in case")


def _write(folder: Path, files: list[tuple[str, bytes]]) -> None:
    made: set[Path] = {folder}
    for name, content in files:
        place = folder / os.fsdecode(os.fsencode(name))
        if place.parent not in made:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.add(place.parent)
        try:
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        except OSError as error:
            raise RenderError(f"{name} cannot be written: {error.strerror}") from error
