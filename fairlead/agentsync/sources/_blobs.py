"""Contents of blobs out of a store: read by one program at a time, which serves everybody who asked meanwhile.

A thousand Applications of one repository ask for their files in the same moment; a program for each would cost more
than all the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from fairlead.agentsync.sources.port import Entry, RepositoryError, SourceError

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
BATCH_BYTES_MAX: Final = 64 * 1024 * 1024  # of one program's output; a larger blob goes alone
HEADER_BYTES: Final = 200  # more than `cat-file` writes around each blob
Run = Callable[[bytes, int], Awaitable[bytes]]


class Blobs:
    """Reads blobs in batches and keeps the ones that were asked for last.

    Args:
        run: `git cat-file --batch` with this input, and an output of at most so many bytes.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._wanted: dict[str, tuple[int, asyncio.Future[bytes]]] = {}
        self._reading: dict[str, tuple[int, asyncio.Future[bytes]]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def get(self, entries: Sequence[Entry]) -> list[bytes]:
        """Return contents in the order asked for.

        Raises:
            RepositoryError: the store has no such blob.
        """
        found: dict[str, bytes | asyncio.Future[bytes]] = {}
        for entry in entries:
            if entry.key not in found:
                found[entry.key] = self._kept[entry.key] if entry.key in self._kept else self._ask(entry)
        missing = [each for each in found.values() if isinstance(each, asyncio.Future)]
        if missing:
            # Shielded: others may wait for the same blob.
            await asyncio.gather(*(asyncio.shield(each) for each in missing))
        contents = {key: each.result() if isinstance(each, asyncio.Future) else each for key, each in found.items()}
        return [contents[entry.key] for entry in entries]

    def _ask(self, entry: Entry) -> asyncio.Future[bytes]:
        for asked in (self._reading, self._wanted):
            if entry.key in asked:
                return asked[entry.key][1]
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self._wanted[entry.key] = (entry.size, future)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        return future

    async def _read(self) -> None:
        """Read until nobody wants anything."""
        try:
            while self._wanted:
                self._reading = self._batch()
                await self._read_batch(self._reading)
        finally:
            # Only when this task was cancelled, as the loop ends, is anybody left.
            for _, future in (*self._reading.values(), *self._wanted.values()):
                future.cancel()
            self._reading, self._wanted = {}, {}

    def _batch(self) -> dict[str, tuple[int, asyncio.Future[bytes]]]:
        batch: dict[str, tuple[int, asyncio.Future[bytes]]] = {}
        total = 0
        while self._wanted:
            key, (size, future) = next(iter(self._wanted.items()))
            total += size + HEADER_BYTES
            if batch and total > BATCH_BYTES_MAX:
                break
            batch[key] = (size, future)
            del self._wanted[key]
        return batch

    async def _read_batch(self, batch: dict[str, tuple[int, asyncio.Future[bytes]]]) -> None:
        size = sum(size + HEADER_BYTES for size, _ in batch.values())
        try:
            found = parse_batch(await self._run("".join(f"{key}\n" for key in batch).encode(), size), list(batch))
        except (SourceError, OSError) as error:
            self._fail(batch, error)
            return
        for key, content in found.items():
            self._keep(key, content)
            if not batch[key][1].done():
                batch[key][1].set_result(content)
        self._reading = {}

    def _fail(self, batch: dict[str, tuple[int, asyncio.Future[bytes]]], error: Exception) -> None:
        for _, future in batch.values():
            if not future.done():
                future.set_exception(error)
        self._reading = {}

    def _keep(self, key: str, content: bytes) -> None:
        """Keep a blob for the next commit, which mostly has the same ones; the oldest go first."""
        if len(content) > KEPT_BYTES_MAX // 8 or key in self._kept:
            return
        self._kept[key] = content
        self._kept_bytes += len(content)
        while self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= len(self._kept.pop(next(iter(self._kept))))


def _seen(future: asyncio.Future[bytes]) -> None:
    if not future.cancelled():
        future.exception()  # those who waited have it; that nobody may be left is no fault


def parse_batch(output: bytes, keys: Sequence[str]) -> dict[str, bytes]:
    """Return what `git cat-file --batch` wrote, by id.

    Raises:
        RepositoryError: one is missing.
    """
    found: dict[str, bytes] = {}
    at = 0
    for key in keys:
        end = output.find(b"\n", at)
        header = output[at:end].split(b" ") if end >= 0 else []
        if len(header) != 3 or header[0] != key.encode():
            raise RepositoryError(f"git has no blob {key}")
        size = int(header[2])
        found[key] = output[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found
