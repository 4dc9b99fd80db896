"""`POST /api/webhook`: what is taken, what is refused, and that nobody waits for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from fairlead.controller.gitops_webhook import PATH, Answer, WebhookServer


@dataclass
class Host:
    """The server under test, and what reached those behind it."""

    url: str = ""
    session: aiohttp.ClientSession | None = None
    followed: list[object] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def understand(self, headers: Mapping[str, str], body: bytes) -> Answer:
        self.headers = headers
        if body == b"refuse":
            return Answer(status=400, text="Webhook processing failed: HMAC verification failed")
        return Answer(push=body.decode()) if body else Answer()

    async def follow(self, push: object) -> None:
        await self.gate.wait()
        if push == "broken":
            raise RuntimeError("a bug")
        self.followed.append(push)

    async def post(self, body: bytes = b"", **headers: str) -> tuple[int, str]:
        assert self.session is not None, "the server runs"
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def served(*, queue_max: int = 10, body_bytes_max: int = 1000) -> AsyncIterator[Host]:
    host = Host()
    host.gate.set()
    server = WebhookServer(host.understand, host.follow, queue_max=queue_max, body_bytes_max=body_bytes_max)
    async with server.serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        host.url, host.session = f"http://127.0.0.1:{port}{PATH}", session
        yield host


async def _until(host: Host, pushes: list[object]) -> None:
    async with asyncio.timeout(5):
        while host.followed != pushes:  # noqa: ASYNC110  # a server in the same loop tells nobody
            await asyncio.sleep(0.01)


async def test_a_push_is_answered_at_once_and_followed_afterwards() -> None:
    async with served() as host:
        host.gate.clear()
        assert await host.post(b"main", **{"X-GitHub-Event": "push"}) == (200, "")
        assert host.followed == [] and host.headers["x-github-event"] == "push"
        host.gate.set()
        await _until(host, ["main"])


async def test_what_moves_nothing_is_answered_and_not_followed() -> None:
    async with served() as host:
        assert await host.post() == (200, "")
        assert await host.post(b"main") == (200, "")
        await _until(host, ["main"])


async def test_a_refusal_has_its_status_and_text() -> None:
    async with served() as host:
        assert await host.post(b"refuse") == (400, "Webhook processing failed: HMAC verification failed")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods_are_refused(method: str) -> None:
    async with served() as host:
        assert host.session is not None
        async with host.session.request(method, host.url) as answer:
            assert answer.status == 405


async def test_other_paths_are_not_there() -> None:
    async with served() as host:
        assert host.session is not None
        async with host.session.post(host.url + "/more") as answer:
            assert answer.status == 404


async def test_a_body_that_is_too_long_is_refused_unread() -> None:
    async with served(body_bytes_max=1000) as host:
        status, text = await host.post(b"x" * 1001)
        assert status == 400 and "too large" in text
        assert host.headers == {}  # nobody looked at it


async def test_a_full_queue_says_so_and_empties_again() -> None:
    async with served(queue_max=2) as host:
        host.gate.clear()
        await host.post(b"one")
        await asyncio.sleep(0.1)  # it is being followed now
        await host.post(b"two")
        await host.post(b"three")
        assert await host.post(b"four") == (503, "Queue is full, discarding webhook payload")
        host.gate.set()
        await _until(host, ["one", "two", "three"])
        assert await host.post(b"five") == (200, "")


async def test_a_bug_while_following_one_push_does_not_end_the_others() -> None:
    async with served() as host:
        await host.post(b"broken")
        await host.post(b"main")
        await _until(host, ["main"])
