"""A proxy before an API server, that counts what passes and makes trouble when asked to.

Plain HTTP towards the client, TLS towards the server. Answers of ordinary calls are read whole before they are handed
on, so that something can happen between a write's commit and its answer; watches pass chunk by chunk.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.controlplane.plane import ControlPlane

_HOP = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
HALF_OPEN_SECONDS = 5.0
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: what it asks for, as an audit log tells it."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def is_write(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete")

    @property
    def is_decision(self) -> bool:
        """Whether it is a write by which a controller acts: Events and leases are kept apart."""
        return self.is_write and self.resource not in ("events", "leases")

    def __str__(self) -> str:
        what = "/".join(part for part in (self.resource, self.name, self.subresource) if part)
        return f"{self.verb} {what}"


class Trouble(Enum):
    """What the proxy can do to a call instead of passing it on."""

    ERROR_500 = auto()
    ERROR_503 = auto()
    THROTTLED = auto()  # 429 with Retry-After: 1
    RESET = auto()  # the connection breaks; the server never hears of it
    RESET_AFTER = auto()  # the connection breaks after the server has done it
    HALF_OPEN = auto()  # of a watch: nothing comes any more; only after `HALF_OPEN_SECONDS` the connection breaks


def parse(method: str, path: str, query: str = "") -> Call:
    """Return what a request asks for."""
    parts = [part for part in path.split("/") if part]
    parts = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource = ([*parts, "", "", ""])[:3]
    verb = _VERBS.get(method, method.lower())
    if verb == "get" and not name:
        verb = "watch" if "watch=true" in query or "watch=1" in query else "list"
    return Call(verb=verb, resource=resource, namespace=namespace, name=name, subresource=subresource)


async def _nothing(call: Call) -> None:
    return


def _no_trouble(call: Call) -> Trouble | None:
    return None


@dataclass(kw_only=True)
class Proxy:
    """What happens to calls; change the fields while it runs.

    Attributes:
        kubeconfig: leads through the proxy.
        trouble: asked before each call.
        before: called before a call is passed on.
        on_commit: called after the server has answered a call well, before the client hears of it. It may kill
            the client: the answer then goes nowhere.
        done: the calls that the server answered well, in the order of its answers.
        refused: those that it did not, with the status.
        is_cut: nothing passes any more, and a watch that hears something breaks off.
    """

    kubeconfig: Path
    trouble: Callable[[Call], Trouble | None] = _no_trouble
    before: Callable[[Call], Awaitable[None]] = _nothing
    on_commit: Callable[[Call], Awaitable[None]] = _nothing
    done: list[Call] = field(default_factory=list)
    refused: list[tuple[Call, int]] = field(default_factory=list)
    troubles: Counter[Trouble] = field(default_factory=Counter)
    is_cut: bool = False

    @property
    def decisions(self) -> list[Call]:
        return [call for call in self.done if call.is_decision]


@asynccontextmanager
async def proxied(plane: ControlPlane, user: str, folder: Path, name: str) -> AsyncIterator[Proxy]:
    """Run a proxy with the credentials of a user; its kubeconfig is written to the folder."""
    assert plane.folder is not None, "a control plane that was started here"
    context = ssl.create_default_context(cafile=str(plane.folder / "certs" / "apiserver.crt"))
    context.check_hostname = False
    proxy = Proxy(kubeconfig=folder / f"{name}.kubeconfig")
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        passing = _Passing(proxy, session, plane.server)
        runner = web.ServerRunner(
            web.Server(passing.handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            proxy.kubeconfig.write_text(plane.kubeconfig_text(user, server=f"http://127.0.0.1:{port}"))
            yield proxy
        finally:
            await runner.cleanup()


class _Passing:
    def __init__(self, proxy: Proxy, session: aiohttp.ClientSession, server: str) -> None:
        self._proxy = proxy
        self._session = session
        self._server = server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = parse(request.method, request.path, request.query_string)
        if self._proxy.is_cut:
            return _broken(request)
        trouble = self._proxy.trouble(call)
        if trouble is not None:
            self._proxy.troubles[trouble] += 1
        match trouble:
            case Trouble.ERROR_500 | Trouble.ERROR_503 | Trouble.THROTTLED:
                return _refused(trouble)
            case Trouble.RESET:
                return _broken(request)
        body = await request.read()
        await self._proxy.before(call)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = self._server + request.raw_path
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                if call.verb == "watch" and answer.status == 200:
                    return await self._stream(request, answer, is_half_open=trouble is Trouble.HALF_OPEN)
                content = await answer.read()
        except aiohttp.ClientError:  # the server is away: so are we
            return _broken(request)
        if answer.status < 400:
            self._proxy.done.append(call)
            await self._proxy.on_commit(call)
        else:
            self._proxy.refused.append((call, answer.status))
        if trouble is Trouble.RESET_AFTER:
            return _broken(request)
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
        return web.Response(status=answer.status, body=content, headers=kept)

    async def _stream(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, *, is_half_open: bool
    ) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        if is_half_open:
            await asyncio.sleep(HALF_OPEN_SECONDS)
            return _broken(request)
        with suppress(ConnectionError):
            async for chunk in answer.content.iter_any():
                if self._proxy.is_cut:
                    return _broken(request)
                await response.write(chunk)
        return response


def _refused(trouble: Trouble) -> web.Response:
    status = {Trouble.ERROR_500: 500, Trouble.ERROR_503: 503, Trouble.THROTTLED: 429}[trouble]
    reason = {500: "InternalError", 503: "ServiceUnavailable", 429: "TooManyRequests"}[status]
    headers = {"Content-Type": "application/json"} | ({"Retry-After": "1"} if status == 429 else {})
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": status,
        "message": "no",
    }
    return web.Response(status=status, text=json.dumps(body), headers=headers)


def _broken(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
