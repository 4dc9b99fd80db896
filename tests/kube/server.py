"""An API server whose answers are written down beforehand, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes_asyncio import client

from fairlead.kube import KubeCluster
from fairlead.kube._transport import RequestHook

CLOSING = web.AppKey("closing", asyncio.Event)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str  # as it was sent, quoted
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Server:
    """Answers each request with the next of its answers; the last one is repeated."""

    answers: list[Answer]
    requests: list[Seen] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                dict(request.headers),
                await request.read(),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[Server]:
    app = web.Application(client_max_size=8 * 1024**2)
    app[CLOSING] = asyncio.Event()
    server = Server(list(answers))
    app.router.add_route("*", "/{anything:.*}", server.handle)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server
        app[CLOSING].set()


@asynccontextmanager
async def cluster_on(
    *answers: Answer,
    token: str = "",
    hook: RequestHook | None = None,
    on_unauthorized: Callable[[], bool] | None = None,
    call_seconds: float = 20.0,
    watch_margin_seconds: float = 15.0,
) -> AsyncIterator[tuple[KubeCluster, Server]]:
    """Give a KubeCluster and the server that it talks to."""
    async with serving(*answers) as server:
        settings = client.Configuration(host=server.url)
        if token:
            settings.api_key["BearerToken"] = f"Bearer {token}"
        api = client.ApiClient(settings)
        api.user_agent = "fairlead/test"
        cluster = KubeCluster(
            api,
            hook=hook,
            on_unauthorized=on_unauthorized,
            call_seconds=call_seconds,
            watch_margin_seconds=watch_margin_seconds,
        )
        async with cluster:
            yield cluster, server


def says(body: Any, status: int = 200, *, content_type: str = "application/json", **headers: str) -> Answer:
    """Answer with JSON data, or with bytes as they are."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data, status=status, content_type=content_type, headers=named)

    return answer


def status(code: int, reason: str, message: str = "said no", **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
        "details": details,
    }


def streams(*chunks: bytes, then: str = "end") -> Answer:
    """Answer with a watch's body in these chunks, then end, fall silent, or break the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "silence":
            await request.app[CLOSING].wait()
        elif then == "break":
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


async def dawdles(request: web.Request) -> web.StreamResponse:
    """Answer nothing until the test is over."""
    await request.app[CLOSING].wait()
    return web.Response()


async def breaks(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def replica_set(name: str = "a", version: str = "5", **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version},
        "spec": {"replicas": 3},
    } | fields


def line(type_: str, item: Any) -> bytes:
    return msgspec.json.encode({"type": type_, "object": item}) + b"\n"
