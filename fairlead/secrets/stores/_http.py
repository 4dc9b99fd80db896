"""A requests session that is bounded in bytes and in time, trusts what it is told to, and looks at no environment.

Plain requests waits as long as a byte arrives every few seconds, reads bodies of any length, obeys proxies and netrc of
the process, and adds its own roots to those of a store. Here a call has one deadline, and can be ended from outside.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import IO, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

BODY_BYTES_MAX: Final = 8 * 1024 * 1024  # a Secret holds 1 MiB; lists of names are longer
CHUNK_BYTES: Final = 64 * 1024


class TooLong(requests.RequestException):
    """The body is longer than anybody needs."""


class TooSlow(requests.RequestException):
    """The deadline passed while the answer arrived."""


class CutOff(requests.ConnectionError):
    """The answer ended before its end, or cannot be unpacked."""


class Call:
    """One call: when it has to be over, and which connections it uses.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._connections: set[HTTPConnection] = set()
        self._is_over = False

    def uses(self, connection: HTTPConnection) -> None:
        with self._lock:
            if not self._is_over:
                self._connections.add(connection)
                return
        raise TooSlow("the call was given up")

    def give_up(self) -> None:
        """End the call: whatever thread waits for bytes sees the connection end."""
        with self._lock:
            self._is_over = True
            connections, self._connections = self._connections, set()
        for connection in connections:
            with suppress(OSError, AttributeError):  # not connected yet, or closed meanwhile
                connection.sock.shutdown(socket.SHUT_RDWR)


call_under_way: ContextVar[Call | None] = ContextVar("call_under_way", default=None)


class _Watched(HTTPConnection):
    """A connection that tells the call under way of itself before it is used."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        if (call := call_under_way.get()) is not None:
            call.uses(self)
        super().request(*args, **kwargs)


class _WatchedTls(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        if (call := call_under_way.get()) is not None:
            call.uses(self)
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext, *, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=2, pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
        """Leave trust to the context: the base class would add the roots that requests brings along."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        verify: object = True,
        cert: object = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return the whole answer. Raises: TooLong, TooSlow, other branches of RequestException."""
        # Neither a client certificate nor a proxy of the process' environment: hvac passes on what it found there.
        response = super().send(request, stream=True, timeout=timeout, verify=True)  # type: ignore[arg-type]
        call = call_under_way.get()
        try:
            _read(response, None if call is None else call.deadline)
        except (TooLong, TooSlow):
            raise
        except (HTTPError, OSError, ValueError) as error:
            raise CutOff(f"the answer was cut off ({type(error).__name__})") from None
        finally:
            response.close()
        return response


def _read(response: requests.Response, deadline: float | None) -> None:
    chunks: list[bytes] = []
    size = 0
    # `read1` comes back with what one look at the socket brings, so that a slow drip cannot hold us past the deadline.
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise TooLong(f"the answer is longer than {BODY_BYTES_MAX} bytes")
        if deadline is not None and time.monotonic() > deadline:
            raise TooSlow("the answer came too slowly")
        chunks.append(chunk)
    response._content = b"".join(chunks)
    response._content_consumed = True  # type: ignore[attr-defined]  # how requests itself marks a body that was read


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where to go on, unless the way is from TLS to none: tokens ride along."""
        target = super().get_redirect_target(resp)
        if target is not None and str(resp.url).startswith("https:") and target.startswith("http:"):
            raise requests.exceptions.InvalidURL("the server redirects to an address without TLS")
        return target


def tls_context(ca: bytes = b"", certificate: bytes = b"", key: bytes = b"") -> ssl.SSLContext:
    """Return a context that verifies, with the roots of the system or the given PEM instead.

    Raises:
        ValueError: the PEM cannot be used; nothing of it is in the message.
    """
    try:
        context = ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
    except (ssl.SSLError, ValueError):
        raise ValueError("the CA bundle holds no certificate that can be read") from None
    if certificate:
        _load_pair(context, certificate, key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module reads pairs from files only. Where the system can, the file is memory without a name.
    with ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            file: IO[bytes] = stack.enter_context(os.fdopen(os.memfd_create("client-certificate"), "wb"))
            path = f"/proc/self/fd/{file.fileno()}"
        else:
            file = stack.enter_context(tempfile.NamedTemporaryFile())
            path = str(file.name)
        file.write(certificate.rstrip() + b"\n" + key)
        file.flush()
        try:
            context.load_cert_chain(path, password="")  # an encrypted key fails, instead of asking the terminal
        except (ssl.SSLError, OSError):
            raise ValueError("the client certificate and its key do not form a pair that can be read") from None


def session(context: ssl.SSLContext, *, connections: int) -> requests.Session:
    """Return a session of its own that nothing in the process' environment touches."""
    made = _Session()
    made.trust_env = False
    made.max_redirects = 1  # a standby that sends us to the active node
    adapter = _Adapter(context, connections=connections)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made
