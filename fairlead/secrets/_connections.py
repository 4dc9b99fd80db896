"""Connections to one store: one per identity, opened by whoever comes first, closed (which logs out) when it is idle,
outdated, refused everything, or at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from fairlead.core.clock import Clock
from fairlead.secrets._kept import EARLY_SECONDS
from fairlead.secrets._questions import Identity, StoreHandle
from fairlead.secrets.settings import PlannerSettings
from fairlead.secrets.stores.port import Store


@dataclass(slots=True)
class _Connection:
    opening: asyncio.Task[Store]
    opened_at: float
    used_at: float

    @property
    def is_open(self) -> bool:
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None

    @property
    def has_failed(self) -> bool:
        return self.opening.done() and not self.is_open


class Connections:
    """Opens and closes connections to one store.

    Args:
        uid: of the store; names tasks.
        calls: what is under way: nobody is logged out below a call.
    """

    def __init__(
        self, uid: str, clock: Clock, settings: PlannerSettings, *, calls: Collection[asyncio.Task[None]]
    ) -> None:
        self._uid = uid
        self._clock = clock
        self._settings = settings
        self._calls = calls
        self._by_identity: dict[Identity, _Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._watchman: asyncio.Task[None] | None = None

    @property
    def open_count(self) -> int:
        """How many are open."""
        return sum(connection.is_open for connection in self._by_identity.values())

    async def store(self, handle: StoreHandle) -> Store:
        """Return the connection of an identity, opened if need be.

        Raises:
            FairleadError: it could not be opened; the next one to come tries again.
        """
        identity, now = handle.identity, self._clock.monotonic()
        connection = self._by_identity.get(identity)
        if connection is None:
            opening = asyncio.create_task(_opened(handle), name=f"store-{self._uid}-open")
            connection = self._by_identity[identity] = _Connection(opening, opened_at=now, used_at=now)
            self._keep_watch()
        connection.used_at = now
        try:
            return await asyncio.shield(connection.opening)
        finally:
            if connection.has_failed and self._by_identity.get(identity) is connection:
                del self._by_identity[identity]

    def renew(self, revision: str) -> None:
        """The store's spec is another: let go of connections of earlier ones."""
        for identity in tuple(self._by_identity):
            if identity.revision != revision:
                self._drop(identity)

    def refused(self, identity: Identity) -> None:
        """Everything was refused: let go of the connection unless it is new; credentials may have been rotated."""
        connection = self._by_identity.get(identity)
        if connection is None:
            return
        if self._clock.monotonic() - connection.opened_at >= self._settings.reopen_seconds:
            self._drop(identity)

    def drop_all(self) -> None:
        """Let go of all: the next one to come logs in anew."""
        for identity in tuple(self._by_identity):
            self._drop(identity)

    async def close(self) -> None:
        """Log out everywhere."""
        if self._watchman is not None:
            self._watchman.cancel()
            await asyncio.gather(self._watchman, return_exceptions=True)
        self.drop_all()
        if self._closing:
            await asyncio.wait(tuple(self._closing))

    # --- closing -----------------------------------------------------------------------------------------------------

    def _drop(self, identity: Identity) -> None:
        """Let go of a connection, and log out once nobody uses it any more."""
        connection = self._by_identity.pop(identity)
        task = asyncio.create_task(self._log_out(connection), name=f"store-{self._uid}-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _log_out(self, connection: _Connection) -> None:
        if self._calls:
            await asyncio.wait(tuple(self._calls), timeout=self._settings.call_seconds)
        await asyncio.wait((connection.opening,))
        if connection.is_open:
            await connection.opening.result().close()

    def _keep_watch(self) -> None:
        """Have idle connections closed in time, as long as there are any."""
        if self._watchman is None:
            self._watchman = asyncio.create_task(self._close_idle(), name=f"store-{self._uid}-idle")

    async def _close_idle(self) -> None:
        while self._by_identity:
            due = min(connection.used_at for connection in self._by_identity.values()) + self._settings.idle_seconds
            await self._clock.sleep(due - self._clock.monotonic())
            for identity, connection in tuple(self._by_identity.items()):
                idle_at = connection.used_at + self._settings.idle_seconds
                if idle_at <= self._clock.monotonic() + EARLY_SECONDS:
                    self._drop(identity)
        self._watchman = None


async def _opened(handle: StoreHandle) -> Store:
    return await handle.open()
