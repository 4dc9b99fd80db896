"""`POST /api/webhook`: Git hosts tell of pushes, so that nobody has to wait for the next poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

PATH = "/api/webhook"
BODY_BYTES_MAX = 50 * 1024 * 1024
QUEUE_MAX = 1000  # payloads that wait to be worked on
_READ_SECONDS = 30.0  # a sender that drips holds a connection no longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender is told.

    Attributes:
        push: what is worked on afterwards; None: nothing follows from the payload.
    """

    status: int = 200
    text: str = ""
    push: object | None = None


Understand = Callable[[Mapping[str, str], bytes], Answer]
Follow = Callable[[object], Awaitable[None]]


class WebhookServer:
    """Takes payloads and hands on what they say, one after the other.

    Args:
        understand: authenticates, then reads a payload; never raises.
        follow: has the Applications refreshed that a push concerns.
        body_bytes_max: longer bodies are refused unread.
    """

    def __init__(
        self,
        understand: Understand,
        follow: Follow,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._understand = understand
        self._follow = follow
        self._body_bytes_max = body_bytes_max
        self._queue: asyncio.Queue[object] = asyncio.Queue(queue_max)

    async def _handle(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=400, text="Webhook processing failed: The payload is too large")
        except TimeoutError:
            return web.Response(status=408)
        answer = self._understand({name.lower(): value for name, value in request.headers.items()}, body)
        if answer.push is not None:
            try:
                self._queue.put_nowait(answer.push)
            except asyncio.QueueFull:
                return web.Response(status=503, text="Queue is full, discarding webhook payload")
        return web.Response(status=answer.status, text=answer.text)

    async def _work(self) -> None:
        while True:
            push = await self._queue.get()
            try:
                await self._follow(push)
            except Exception as error:  # the next push must not suffer for it
                log.error("webhook_not_followed", exc_info=error)

    @asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[int]:
        """Listen until the context ends; give the port."""
        application = web.Application(client_max_size=self._body_bytes_max)
        application.router.add_route("*", PATH, self._handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        working = asyncio.create_task(self._work(), name="webhooks")
        try:
            await web.TCPSite(runner, host, port).start()
            yield runner.addresses[0][1]
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await runner.cleanup()
