"""Bounded load on one address: so many requests a second, and a count of what came back.

A request is lost when it gets no answer at all: the connection is refused, reset, or silent for too long.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION_HEADER = "x-version"
_HEAD_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: who gave it (the version header; empty: somebody else, such as the proxy), and its status."""

    version: str
    status: int


@dataclass(slots=True)
class Second:
    """What came back of the requests that were sent within one second."""

    at: int  # whole seconds since the load began
    answers: Counter[Answer] = field(default_factory=Counter)
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCounts:
    """Sums over some time."""

    answers: Mapping[Answer, int]
    lost: int = 0
    losses: tuple[str, ...] = ()  # the first few, in words

    @property
    def total(self) -> int:
        """All requests, lost ones too."""
        return sum(self.answers.values()) + self.lost

    @property
    def by_version(self) -> dict[str, int]:
        """Answers by version, whatever their status."""
        found: Counter[str] = Counter()
        for answer, count in self.answers.items():
            found[answer.version] += count
        return dict(found)

    @property
    def failed(self) -> int:
        """Answers of status 500 and above."""
        return sum(count for answer, count in self.answers.items() if answer.status >= 500)

    def share(self, version: str) -> float:
        """Return the version's part of all answers that some version gave; 0.0 without any."""
        known = {name: count for name, count in self.by_version.items() if name}
        total = sum(known.values())
        return known.get(version, 0) / total if total else 0.0


class LoadGenerator:
    """Sends GET requests at a steady rate, never more than so many at once and in total.

    Args:
        host, port: where to.
        rate: requests a second; a slow answer does not slow the next request down, until `concurrency` are open.
        concurrency: requests that may be open at once.
        total_max: after so many the load ends by itself.
        host_header: the Host that is asked for.
        path: the path that is asked for.
        new_connections: a connection for each request; else each of `concurrency` clients keeps its own.
        timeout: seconds after which a request counts as lost.
        version_header: the header in which a backend says who it is.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        rate: float = 100.0,
        concurrency: int = 16,
        total_max: int = 100_000,
        host_header: str = "web",
        path: str = "/",
        new_connections: bool = True,
        timeout: float = 5.0,
        version_header: str = VERSION_HEADER,
    ) -> None:
        self._host, self._port = host, port
        self._rate, self._concurrency, self._total_max = rate, concurrency, total_max
        closing = "Connection: close\r\n" if new_connections else ""
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host_header}\r\n{closing}\r\n".encode()
        self._keeps = not new_connections
        self._timeout = timeout
        self._version_header = version_header.lower()
        self._sent = 0
        self._began = 0.0
        self._seconds: list[Second] = []
        self._losses: list[str] = []

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return self._sent

    @property
    def series(self) -> tuple[Second, ...]:
        """One entry for each second in which something was sent, oldest first; the last ones may still grow."""
        return tuple(self._seconds)

    def counts(self, since: int = 0, until: int | None = None) -> LoadCounts:
        """Return the sums of the seconds from `since` to before `until` (in seconds since the load began)."""
        answers: Counter[Answer] = Counter()
        lost = 0
        for second in self._seconds:
            if second.at >= since and (until is None or second.at < until):
                answers.update(second.answers)
                lost += second.lost
        return LoadCounts(answers=dict(answers), lost=lost, losses=tuple(self._losses))

    def elapsed(self) -> float:
        """Return seconds since the load began; 0.0 before."""
        return asyncio.get_running_loop().time() - self._began if self._began else 0.0

    async def run(self, duration: float | None = None) -> LoadCounts:
        """Send until the time is over, the total is reached, or it is cancelled; then wait for open requests.

        Args:
            duration: seconds; None: until `total_max`.
        """
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        until = None if duration is None else self._began + duration
        tickets: asyncio.Queue[float | None] = asyncio.Queue(maxsize=self._concurrency)
        async with asyncio.TaskGroup() as clients:
            for number in range(self._concurrency):
                clients.create_task(self._client(tickets), name=f"load-{number}")
            while self._sent < self._total_max:
                due = self._began + self._sent / self._rate
                if until is not None and due >= until:
                    break
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                self._sent += 1
                await tickets.put(loop.time())
            for _ in range(self._concurrency):
                await tickets.put(None)
        return self.counts()

    async def _client(self, tickets: asyncio.Queue[float | None]) -> None:
        connection: _Connection | None = None
        try:
            while (sent_at := await tickets.get()) is not None:
                second = self._second(int(sent_at - self._began))
                try:
                    async with asyncio.timeout(self._timeout):
                        if connection is None:
                            connection = await _Connection.open(self._host, self._port)
                        answer, closes = await connection.ask(self._request, self._version_header)
                    second.answers[answer] += 1
                except (OSError, TimeoutError, EOFError, ValueError) as error:
                    second.lost += 1
                    if len(self._losses) < 20:
                        self._losses.append(f"{sent_at - self._began:.3f} s: {error or type(error).__name__}")
                    closes = True
                if connection is not None and (closes or not self._keeps):
                    connection.close()
                    connection = None
        finally:
            if connection is not None:
                connection.close()

    def _second(self, at: int) -> Second:
        # Clients come in the order of their tickets, give or take one: the place is at the end or near it.
        for second in reversed(self._seconds):
            if second.at == at:
                return second
            if second.at < at:
                break
        second = Second(at=at)
        self._seconds.append(second)
        self._seconds.sort(key=lambda one: one.at)
        return second


class _Connection:
    """One HTTP/1.1 connection, as plain as it gets: load must not cost more than what it loads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port, limit=_HEAD_BYTES_MAX))

    async def ask(self, request: bytes, version_header: str) -> tuple[Answer, bool]:
        """Return the answer, and whether the other side closes the connection."""
        self._writer.write(request)
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the head of the answer is too long") from error
        lines = head.decode("latin-1").split("\r\n")
        protocol, _, rest = lines[0].partition(" ")
        if not protocol.startswith("HTTP/1."):
            raise ValueError(f"not an answer of HTTP/1: {lines[0][:80]!r}")
        status = int(rest[:3])
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if "content-length" in headers:
            await self._reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            await self._chunks()
        closes = headers.get("connection", "").lower() == "close"
        return Answer(headers.get(version_header, ""), status), closes

    async def _chunks(self) -> None:
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            await self._reader.readexactly(size + 2)
        await self._reader.readline()

    def close(self) -> None:
        self._writer.close()
