"""Directories and trees for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlead.agentsync.sources.port import Entry, EntryKind


def folder(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a directory and return it."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


class MemoryTree:
    """A tree in memory whose keys are contents, like Git's; links are given as `-> target`."""

    has_content_keys = True

    def __init__(self, files: Mapping[str, str]) -> None:
        self._entries = {
            path: Entry(
                path=path,
                kind=EntryKind.LINK if content.startswith("-> ") else EntryKind.FILE,
                size=len(content.encode()),
                key=content,
            )
            for path, content in sorted(files.items())
        }
        self.reads: list[str] = []

    async def entries(self, under: str) -> Mapping[str, Entry]:
        return {
            path: entry
            for path, entry in self._entries.items()
            if not under or path == under or path.startswith(f"{under}/")
        }

    async def leaf(self, path: str) -> Entry | None:
        return self._entries.get(path)

    async def read(self, entries: Sequence[Entry]) -> list[bytes]:
        self.reads += [entry.path for entry in entries]
        return [entry.key.removeprefix("-> ").encode() for entry in entries]
