from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fairlead.testing.load import Answer, LoadCounts, LoadGenerator

Reply = Callable[[int], bytes | None]


def answer(version: str, status: int = 200, *, close: bool = False) -> bytes:
    closing = "Connection: close\r\n" if close else ""
    return f"HTTP/1.1 {status} X\r\nX-Version: {version}\r\n{closing}Content-Length: 2\r\n\r\nok".encode()


class Server:
    """Answers the n-th request with what `reply` says; None closes the connection without an answer."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests = self.connections = 0
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                self.requests += 1
                content = self.reply(self.requests)
                if content is None:
                    break
                writer.write(content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[tuple[Server, int]]:
    server = Server(reply)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield server, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def test_counts_by_version_and_status() -> None:
    async with serving(lambda n: answer("2" if n % 5 == 0 else "1", 500 if n % 10 == 0 else 200)) as (server, port):
        load = LoadGenerator("127.0.0.1", port, rate=5000, total_max=100)
        counts = await load.run()
    assert server.requests == server.connections == load.sent == counts.total == 100
    assert counts.by_version == {"1": 80, "2": 20}
    assert (counts.failed, counts.lost, counts.share("2")) == (10, 0, 0.2)
    assert counts.answers[Answer("2", 500)] == 10


async def test_connections_can_be_kept() -> None:
    async with serving(lambda n: answer("1")) as (server, port):
        load = LoadGenerator("127.0.0.1", port, rate=5000, total_max=60, concurrency=3, new_connections=False)
        assert (await load.run()).total == 60
    assert server.connections <= 3


async def test_a_connection_that_the_other_side_closes_is_made_anew() -> None:
    async with serving(lambda n: answer("1", close=n % 10 == 0)) as (server, port):
        load = LoadGenerator("127.0.0.1", port, rate=5000, total_max=40, concurrency=1, new_connections=False)
        assert (await load.run()).lost == 0
    assert server.connections == 4


async def test_requests_without_an_answer_are_lost() -> None:
    async with serving(lambda n: None if n % 4 == 0 else answer("1")) as (_, port):
        counts = await LoadGenerator("127.0.0.1", port, rate=5000, total_max=20, concurrency=1).run()
    assert (counts.lost, counts.total, len(counts.losses)) == (5, 20, 5)


async def test_nobody_there_loses_everything() -> None:
    async with serving(lambda n: None) as (_, port):
        pass
    counts = await LoadGenerator("127.0.0.1", port, rate=5000, total_max=5).run()
    assert (counts.lost, counts.by_version) == (5, {})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="no-body"),
    ],
)
async def test_other_forms_of_answers(content: bytes) -> None:
    async with serving(lambda n: content) as (_, port):
        load = LoadGenerator("127.0.0.1", port, rate=5000, total_max=6, concurrency=1, new_connections=False)
        counts = await load.run()
    assert (counts.lost, counts.by_version) == (0, {"": 6})


@pytest.mark.parametrize(
    "content", [pytest.param(b"what?\r\n\r\n", id="no-status"), pytest.param(b"x" * 70_000, id="endless-head")]
)
async def test_odd_answers_are_lost(content: bytes) -> None:
    async with serving(lambda n: content) as (_, port):
        counts = await LoadGenerator("127.0.0.1", port, rate=5000, total_max=3, concurrency=1).run()
    assert counts.lost == 3


async def test_a_duration_bounds_the_load() -> None:
    async with serving(lambda n: answer("1")) as (server, port):
        load = LoadGenerator("127.0.0.1", port, rate=200)
        counts = await load.run(duration=0.05)
    assert counts.total == server.requests == 10  # due at 0, 5, ... 45 ms


async def test_what_is_asked_for() -> None:
    async with serving(lambda n: answer("1")) as (server, port):
        await LoadGenerator("127.0.0.1", port, total_max=1, path="/a?b", host_header="web.shop").run()
    assert server.heads == [b"GET /a?b HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n"]


async def test_series_and_windows() -> None:
    async with serving(lambda n: answer("1")) as (_, port):
        load = LoadGenerator("127.0.0.1", port, rate=5000, total_max=10)
        await load.run()
    assert [one.at for one in load.series] == [0]
    assert load.counts(since=1) == LoadCounts(answers={})
    assert load.counts(until=1).total == 10
