"""Archives unpacked into private folders, and the folders that were used last."""

from __future__ import annotations

import asyncio
import io
import shutil
import tarfile
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tree import is_safe_name
from fairlead.agentsync.sources.port import RenderError

ARCHIVE_BYTES_MAX: Final = 32 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 256 * 1024 * 1024
FILES_MAX: Final = 50_000
KEPT_MAX: Final = 64


class Unpacked:
    """Folders of archives, by what names their content.

    Args:
        folder: where they lie; only we may read it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, Path] = {}
        self._unpacking: Shared[str, Path] = Shared(window=0, clock=time.monotonic)

    async def folder(self, key: str, name: str, fetch: Callable[[], Awaitable[bytes]]) -> Path:
        """Return the folder of an archive, fetched and unpacked if it is not there yet.

        Args:
            key: what names the content; letters and digits.
            name: of the archive, for messages.
            fetch: gets it.

        Raises:
            RenderError: it is damaged, too large, or leaves its folder.
        """

        async def unpack() -> Path:
            return await self._unpacked(key, name, await fetch())

        found = self._kept.pop(key, None) or await self._unpacking.get(key, unpack)
        self._kept[key] = found
        while len(self._kept) > KEPT_MAX:
            shutil.rmtree(self._kept.pop(next(iter(self._kept))), ignore_errors=True)
        return found

    async def _unpacked(self, key: str, name: str, content: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self._folder))
        try:
            await asyncio.to_thread(unpack_archive, content, made)
        except (tarfile.TarError, OSError, EOFError) as error:
            shutil.rmtree(made, ignore_errors=True)
            raise RenderError(f"{name} cannot be unpacked: {error}") from error
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return made


def unpack_archive(content: bytes, folder: Path) -> None:
    """Write the files of an archive; links and devices are left out.

    Raises:
        TarError: it is damaged, too large, or a path leaves it.
    """
    total = files = 0
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if not name or not member.isreg():
                continue
            if name.startswith("/") or "\\" in name or not is_safe_name(name):
                raise tarfile.TarError(f"a path leaves it: {name!r}")
            total += member.size
            files += 1
            if total > UNPACKED_BYTES_MAX:
                raise tarfile.TarError(f"it holds more than {UNPACKED_BYTES_MAX} bytes")
            if files > FILES_MAX:
                raise tarfile.TarError(f"it holds more than {FILES_MAX} files")
            _write(archive, member, folder / name)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None, "it is a regular file"
    with place.open("xb") as target:
        shutil.copyfileobj(source, target)
