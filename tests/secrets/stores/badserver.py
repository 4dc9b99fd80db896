"""A small HTTP server on loopback that answers as it is told, also badly, and remembers what it was asked."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Respond = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request; `answer` sends a whole response."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        seen = self.server.seen
        with seen.lock:
            seen.requests.append((self.command, self.path, body))
            seen.headers.append(dict(self.headers.items()))
            respond = seen.script.pop(0) if len(seen.script) > 1 else seen.script[0]
        with suppress(BrokenPipeError, ConnectionResetError):
            respond(self)

    do_GET = do_POST = do_PUT = do_LIST = _handle

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Stay silent."""


@dataclass(kw_only=True)
class BadServer:
    """What a server was told and has seen.

    Attributes:
        address: URL.
        script: what to do with each request; the last one is repeated.
        stopping: set at the end, for answers that wait.
    """

    address: str = ""
    script: list[Respond]
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    seen: BadServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients hang up on bad answers."""


@contextmanager
def answering(*script: Respond) -> Iterator[BadServer]:
    """Yield a server that follows a script; stop it at the end."""
    seen = BadServer(script=list(script))
    server = _Server(("127.0.0.1", 0), Handler)
    server.seen = seen
    seen.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        seen.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def json_answer(status: int, text: str, **headers: str) -> Respond:
    """Return what answers with JSON."""
    return lambda handler: handler.answer(status, text.encode(), Content_Type="application/json", **headers)


def drip(handler: Handler) -> None:
    """Send a body byte by byte, without end; each byte comes in time for any time-out between two of them."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.seen.stopping.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def drip_headers(handler: Handler) -> None:
    """Send header after header, without end."""
    handler.send_response(200)
    handler.flush_headers()
    number = 0
    while not handler.server.seen.stopping.wait(0.02) and number < 5000:
        handler.wfile.write(f"X-{number}".encode())
        handler.wfile.flush()
        number += 1


def silent(handler: Handler) -> None:
    """Say nothing until the end."""
    handler.server.seen.stopping.wait(30)
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    """Close the connection in the middle of a body."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": {"data": {"v": "half')
    handler.wfile.flush()
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


def endless(handler: Handler) -> None:
    """Send far more than anybody needs."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(64 * 1024 * 1024))
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(b" " * 1024 * 1024)


def gzip_bomb(handler: Handler) -> None:
    """Send little that becomes far more than anybody needs."""
    handler.answer(200, _bomb(), Content_Encoding="gzip")


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * 64 * 1024 * 1024)
