"""HTTP to an API server: bytes out, bytes in, every call bounded in time and size.

Configuration, TLS, proxy and credentials are the library's; it hands us its aiohttp session and the current
authorization header. What comes out are bytes, or a branch of `ClusterError`.
"""

from __future__ import annotations

import io
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.config import ConfigException
from yarl import URL

from fairlead.core.errors import ClusterError, Forbidden, Unavailable
from fairlead.kube._errors import translate

log = structlog.get_logger(__name__)

CALL_SECONDS = 30.0  # as long as an API server works on an ordinary request before it gives up itself, and half more
CONNECT_SECONDS = 5.0
BODY_BYTES_MAX = 256 * 1024 * 1024  # a page of 500 objects of half a megabyte
ERROR_BYTES_MAX = 1024 * 1024
WARNINGS_REMEMBERED_MAX = 256

Query = Sequence[tuple[str, str]]


class RequestHook(Protocol):
    """Is told of each request; for metrics. Must not raise."""

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Take note that one was answered.

        Args:
            verb: as Kubernetes names it: get, list, watch, create, patch, delete, evict.
            resource: as in `rollouts.argoproj.io`; for discovery the path.
            status: HTTP status; 0: there was no answer.
            seconds: until the answer was complete; of a watch, until it began.
        """
        ...


class Transport:
    """Sends requests through the library's session.

    Args:
        api: configured; is closed by `close`.
        hook: is told of each request.
        on_unauthorized: called on a 401; returns True if it is worth another try, with credentials that are
            fetched anew.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        hook: RequestHook | None = None,
        on_unauthorized: Callable[[], bool] | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._api = api
        self._hook = hook
        self._on_unauthorized = on_unauthorized
        self._call_seconds = call_seconds
        self._warned: OrderedDict[str, None] = OrderedDict()

    @property
    def host(self) -> str:
        return str(self._api.configuration.host)

    async def close(self) -> None:
        await self._api.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        resource: str,
        query: Query = (),
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Return the body of the answer.

        Args:
            path: quoted already.

        Raises:
            ClusterError: whatever went wrong.
        """
        timeout = aiohttp.ClientTimeout(total=self._call_seconds, sock_connect=CONNECT_SECONDS)
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        with _Measured(self._hook, verb, resource) as measured:
            answer = await self._open(method, path, query, body, headers, timeout)
            measured.status = answer.status
            try:
                with _translated(self._call_seconds):
                    return await _read(answer, BODY_BYTES_MAX)
            finally:
                answer.close()

    @asynccontextmanager
    async def stream(
        self, path: str, *, resource: str, query: Query, read_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the body of a watch, chunk by chunk as it comes; the connection is dropped at the end.

        Args:
            read_seconds: silence of that length means that nobody is there any more.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds)
        with _Measured(self._hook, "watch", resource) as measured:
            answer = await self._open("GET", path, query, None, {"Accept": "application/json"}, timeout)
            measured.status = answer.status
        try:
            _probe_silence(answer)
            yield _chunks(answer, read_seconds)
        finally:
            answer.close()

    async def _open(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Return a successful answer whose body is still to be read; raise everything else."""
        with _translated(timeout.total or timeout.sock_read or 0.0):
            answer = await self._send(method, path, query, body, headers, timeout)
            if answer.status == 401 and self._on_unauthorized is not None and self._on_unauthorized():
                answer.close()
                answer = await self._send(method, path, query, body, headers, timeout)
            if answer.status >= 300:
                try:
                    raise await _refused(answer)
                finally:
                    answer.close()
        for text in answer.headers.getall("Warning", ()):
            self._warn(text, path)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        api = self._api
        settings = await api.configuration.auth_settings()  # runs the hook that renews tokens
        sent: dict[str, str] = {"User-Agent": str(api.user_agent), **headers}
        if "BearerToken" in settings and settings["BearerToken"]["value"]:
            sent["Authorization"] = settings["BearerToken"]["value"]
        rest = api.rest_client
        extra: dict[str, Any] = {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers}
        if rest.server_hostname:
            extra["server_hostname"] = rest.server_hostname
        text = f"{self.host}{path}?{urlencode(query, quote_via=quote)}" if query else f"{self.host}{path}"
        answer: aiohttp.ClientResponse = await rest.pool_manager.request(
            method,
            URL(text, encoded=True),
            data=body if body is None else io.BytesIO(body),  # a large one is sent in pieces, not in one block
            headers=sent,
            timeout=timeout,
            allow_redirects=False,  # an API server has no reason to, and our credentials must not travel
            **extra,
        )
        return answer

    def _warn(self, text: str, path: str) -> None:
        """Log what the server warns of (removed API versions, fields that its schema does not know), once."""
        if text in self._warned:
            return
        self._warned[text] = None
        if len(self._warned) > WARNINGS_REMEMBERED_MAX:
            self._warned.popitem(last=False)
        log.warning("api_server_warned", path=path, message=_warning_text(text))


class _Measured:
    """Tells the hook how a request ended, however that was."""

    def __init__(self, hook: RequestHook | None, verb: str, resource: str) -> None:
        self._hook = hook
        self._verb = verb
        self._resource = resource
        self._started = time.monotonic()
        self.status = 0

    def __enter__(self) -> _Measured:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._hook is not None:
            status = error.status if isinstance(error, ClusterError) else self.status
            self._hook.on_request(self._verb, self._resource, status, time.monotonic() - self._started)


class _translated:  # noqa: N801  # reads as a word: `with _translated(30):`
    """Turns foreign errors into ours, where they enter."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case TimeoutError():  # before OSError, of which it is one
                raise Unavailable(f"no answer within {self._seconds:g} s") from error
            case aiohttp.ClientPayloadError():
                raise Unavailable(f"the answer broke off: {error}") from error
            case aiohttp.ClientError() | OSError():
                raise Unavailable(f"the API server cannot be reached: {error or type(error).__name__}") from error
            case ConfigException():
                raise Forbidden(f"the credentials cannot be renewed: {error}") from error
            case ValueError() if "AUTHORIZATION" in str(error):
                raise Forbidden(
                    "the credentials cannot be sent: a ~/.netrc entry for the API server gets in their way"
                    " (set NETRC=/dev/null, or remove it)"
                ) from error
            case ValueError():
                raise Forbidden(f"the credentials cannot be sent: {error}") from error


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > most:
            raise Unavailable(f"the answer is longer than {most} bytes", status=answer.status)
        chunks.append(chunk)
    return b"".join(chunks)


async def _chunks(answer: aiohttp.ClientResponse, seconds: float) -> AsyncIterator[bytes]:
    with _translated(seconds):
        async for chunk in answer.content.iter_any():
            yield chunk


async def _refused(answer: aiohttp.ClientResponse) -> ClusterError:
    if answer.status < 400:
        where = answer.headers.get("Location", "nowhere")
        return Unavailable(
            f"HTTP {answer.status}: redirected to {where}, which no API server does", status=answer.status
        )
    try:
        body = await _read(answer, ERROR_BYTES_MAX)
    except (aiohttp.ClientError, Unavailable, TimeoutError):
        body = b""  # the status says enough
    return translate(
        answer.status,
        body,
        retry_after=answer.headers.get("Retry-After", ""),
        content_type=answer.headers.get("Content-Type", ""),
    )


def _warning_text(header: str) -> str:
    """Return the quoted text of `299 - "text"`."""
    _, quote_mark, quoted = header.partition('"')
    return quoted.removesuffix('"').replace('\\"', '"').replace("\\\\", "\\") if quote_mark else header


def _probe_silence(answer: aiohttp.ClientResponse) -> None:
    """Have the kernel notice within a minute that the other side of a silent watch has gone."""
    transport = answer.connection.transport if answer.connection is not None else None
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is None:
        return
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):  # not every platform has them
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
