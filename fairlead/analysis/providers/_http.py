"""One HTTP exchange of an untrusted URL with an untrusted server, bounded in time, size, hops and reach.

Guarantees: the whole exchange ends within its time, however slowly the server drips; no more than the limit is kept
of an answer, packed or unpacked; redirects stay on the host unless the guard allows others, and never leave http and
https; an address that the guard forbids is never connected to, by whatever name. Messages show neither user info nor
query.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fairlead.analysis.providers.settings import WebGuard

HOPS_MAX: Final = 10  # redirects, as Go's client
_CHUNK: Final = 64 * 1024
_SECRET: Final = ("authorization", "cookie")  # not for other hosts


class ExchangeError(Exception):
    """The exchange failed; the text is for people and holds no secret of the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send. `headers` in the order of the spec: of two with one name the last wins."""

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = 10.0
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, unpacked."""

    status: int
    body: bytes = field(repr=False)

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def shown(url: URL) -> str:
    """Return a URL as it may stand in a message: without user info, query and fragment."""
    try:
        return str(url.with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return str(url.path)


class _Refused(OSError):
    """The guard forbids this address."""


class _GuardedResolver(AbstractResolver):
    """Resolves names, and fails when one of the addresses is forbidden: what is checked is what is connected to."""

    def __init__(self, guard: WebGuard) -> None:
        self._guard = guard
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if refusal := self._guard.refusal(result["host"]):
                raise _Refused(f"{host} is refused: {refusal}")
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def exchange(request: Request, guard: WebGuard, *, body_bytes_max: int) -> Answer:
    """Return the server's last answer.

    Raises:
        ExchangeError: there is none, or it is refused.
    """
    url = _parsed(request.url)
    try:
        async with asyncio.timeout(request.seconds):
            connector = aiohttp.TCPConnector(
                resolver=_GuardedResolver(guard), ssl=not request.insecure, force_close=True, use_dns_cache=False
            )
            async with aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,  # ours has a limit
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session:
                return await _follow(session, _signed(request, url), url.with_user(None), guard, body_bytes_max)
    except TimeoutError:
        raise ExchangeError(_text(request, url, f"no complete answer within {request.seconds:g} s")) from None
    except aiohttp.ClientError as error:
        raise ExchangeError(_text(request, url, _why(error))) from error
    except (ValueError, TypeError, LookupError, OSError) as error:
        # A method, header or host that cannot be sent; the text of the error may hold the header's value.
        raise ExchangeError(_text(request, url, f"the request cannot be sent ({type(error).__name__})")) from error


def _signed(request: Request, url: URL) -> Request:
    """Return the request with the user info of its URL as a header; a header of the user's own wins."""
    if url.user is None or any(name.lower() == "authorization" for name in request.headers):
        return request
    basic = aiohttp.encode_basic_auth(url.user, url.password or "")
    return replace(request, headers={**request.headers, "Authorization": basic})


def _text(request: Request, url: URL, what: str) -> str:
    return f'{request.method.capitalize()} "{shown(url)}": {what}'


def _why(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.ClientConnectorError):
        return str(error.os_error) or type(error.os_error).__name__
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientResponseError):
        return f"malformed answer: {error.message[:200]}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the host is none"
    return type(error).__name__


def _parsed(text: str) -> URL:
    try:
        url = URL(text)
        is_web = url.scheme in ("http", "https") and bool(url.host)
        port_is_good = url.port is None or 0 < url.port < 65536
    except ValueError:
        raise ExchangeError("the URL cannot be parsed") from None
    if not is_web or not port_is_good:
        raise ExchangeError(f'unsupported protocol scheme "{url.scheme}": expected an http or https URL with a host')
    return url


async def _follow(
    session: aiohttp.ClientSession, request: Request, url: URL, guard: WebGuard, body_bytes_max: int
) -> Answer:
    method, body, start = request.method, request.body, url
    for _ in range(HOPS_MAX + 1):
        # A literal address is connected to without asking the resolver.
        if refusal := guard.refusal(url.host or ""):
            raise ExchangeError(_text(request, url, f"refused: {refusal}"))
        async with session.request(
            method,
            url,
            headers={"Accept-Encoding": "gzip", "User-Agent": "fairlead", **request.headers},
            data=body,
            allow_redirects=False,
            proxy=_proxy(url, request, guard),
        ) as response:
            target = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or target is None:
                return Answer(status=response.status, body=await _body(response, body_bytes_max))
            if response.status in (301, 302, 303) and method not in ("GET", "HEAD"):
                method, body = "GET", None
        try:
            following = url.join(URL(target))
        except ValueError:
            raise ExchangeError(_text(request, url, "redirected to what is no URL")) from None
        if following.scheme not in ("http", "https") or not following.host:
            raise ExchangeError(_text(request, url, f"redirected to a URL of scheme {following.scheme!r}: refused"))
        if following.host != start.host and not guard.other_hosts:
            raise ExchangeError(_text(request, url, f"redirected to another host ({following.host}): refused"))
        if start.scheme == "https" and following.scheme == "http":
            raise ExchangeError(_text(request, url, "redirected from https to http: refused"))
        url = following.with_user(None)
        if url.host != start.host:
            request = replace(request, headers={k: v for k, v in request.headers.items() if k.lower() not in _SECRET})
    raise ExchangeError(_text(request, url, f"stopped after {HOPS_MAX} redirects"))


def _proxy(url: URL, request: Request, guard: WebGuard) -> str | None:
    if request.insecure or not guard.environment_proxy or not url.host:
        return None
    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    return None if address is None or proxy_bypass(url.host) else address


async def _body(response: aiohttp.ClientResponse, body_bytes_max: int) -> bytes:
    """Read and unpack a body, and fail as soon as it is too large."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise ExchangeError(f"unsupported content encoding {encoding[:40]!r}")
    unpack = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    parts: list[bytes] = []
    packed = size = 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        packed += len(chunk)
        try:
            part = chunk if unpack is None else unpack.decompress(chunk, body_bytes_max - size + 1)
        except zlib.error:
            raise ExchangeError("malformed answer: its body is no gzip data") from None
        size += len(part)
        if size > body_bytes_max or packed > body_bytes_max or (unpack is not None and unpack.unconsumed_tail):
            raise ExchangeError(f"the answer is larger than {body_bytes_max} bytes")
        parts.append(part)
    if unpack is not None and packed and not unpack.eof:
        raise ExchangeError("malformed answer: its body ends too early")
    return b"".join(parts)
