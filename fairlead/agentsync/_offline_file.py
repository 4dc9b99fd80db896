"""The offline store in a SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from fairlead.agentsync.offline import OfflineError, Shelf, packed, unpacked

log = structlog.get_logger(__name__)

R = TypeVar("R")

FILE_BYTES_MAX = 512 * 1024 * 1024  # of the whole file
_WAIT_SECONDS = 5.0  # for another process that has the file open (the predecessor, at a restart)


class FileStore:
    """Entries in a SQLite file, beside its write-ahead log.

    Args:
        path: of the file; made with its folder if it is not there, readable by its owner only.
        bytes_max: the file never grows beyond this.
    """

    def __init__(self, path: Path, *, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="offline-store")
        self._opened: sqlite3.Connection | None = None

    async def read(self, shelf: Shelf) -> Mapping[str, bytes]:
        return await self._run(lambda database: self._read(database, shelf))

    async def keep(self, shelf: Shelf, name: str, content: bytes) -> None:
        def write(database: sqlite3.Connection) -> None:
            compressed = packed(shelf, name, content)
            with database:
                database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (str(shelf), name, compressed))

        await self._run(write)

    async def drop(self, shelf: Shelf, name: str) -> None:
        def remove(database: sqlite3.Connection) -> None:
            with database:
                database.execute("DELETE FROM entries WHERE shelf = ? AND name = ?", (str(shelf), name))

        await self._run(remove)

    async def close(self) -> None:
        if self._opened is not None:
            with suppress(OfflineError):
                await self._run(lambda database: database.close())
        self._opened = None
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], R]) -> R:
        def guarded() -> R:
            try:
                return work(self._database())
            except (sqlite3.Error, OSError) as error:
                raise OfflineError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            try:
                self._opened = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, full or forbidden: nothing is wrong with what is in it
                self._set_aside(error)
                self._opened = self._open()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # made by us, so that it is never readable by others, not for a moment
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._path.chmod(0o600)
        database = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")  # a report that was kept survives a power cut
            page = database.execute("PRAGMA page_size").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {max(16, self._bytes_max // page)}")
            database.execute(
                "CREATE TABLE IF NOT EXISTS entries"
                " (shelf TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (shelf, name))"
            )
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Begin anew: a file that cannot be read is of no use, and must not keep the agent from working."""
        log.error("offline_store_broken", path=str(self._path), error=str(error))
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._path.replace(self._path.with_name(self._path.name + ".broken"))

    def _read(self, database: sqlite3.Connection, shelf: Shelf) -> Mapping[str, bytes]:
        rows = database.execute("SELECT name, content FROM entries WHERE shelf = ?", (str(shelf),))
        found = {name: unpacked(compressed) for name, compressed in rows}
        for name in [name for name, content in found.items() if content is None]:
            log.error("offline_entry_broken", shelf=str(shelf), name=name)
        return {name: content for name, content in found.items() if content is not None}
