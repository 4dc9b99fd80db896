"""What prometheus-api-client leaves to whoever uses it in earnest. Imports requests: only providers.prometheus may.

The session that is handed to the library sends queries in the form body and not in the URL, never retries, follows no
redirect, reads neither ~/.netrc nor the environment, bounds the answer in size, keeps the whole envelope (the library
returns its `result` only, without type and warnings), connects to nothing that the guard forbids, and can be aborted
from another thread. A session serves one measurement.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fairlead.analysis.providers.settings import WebGuard
from fairlead.core.errors import ProviderError

if TYPE_CHECKING:
    from fairlead.analysis.providers.prometheus import Query

_CONNECT_SECONDS: Final = 5.0
_CHUNK: Final = 64 * 1024
_GET_AFTER: Final = (403, 405, 501)  # servers and proxies that know no POST
_TEXT_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An answer: the values as texts in the order of the answer, the instants of instant samples, and the warnings."""

    result_type: str
    texts: tuple[Any, ...]
    instants: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()


class _Head(msgspec.Struct):
    status: str = ""
    data: Any = None
    error: str = ""
    error_type: str = msgspec.field(name="errorType", default="")
    warnings: tuple[str, ...] | None = ()


def _error(text: str) -> ProviderError:
    return ProviderError(text, provider="prometheus")


class Session(requests.Session):
    """The session of one measurement."""

    def __init__(self, guard: WebGuard, body_bytes_max: int) -> None:
        super().__init__()
        self.trust_env = False
        self._guard = guard
        self._body_bytes_max = body_bytes_max
        self._deadline = 0.0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_aborted = False
        self.body = b""

    def limit(self, seconds: float) -> None:
        """Set how long the whole of the next exchange may take."""
        self._deadline = time.monotonic() + seconds

    def mount(self, prefix: str | bytes, adapter: Any) -> None:
        """Mount our own adapter, whatever is offered: the library brings one that it has made itself."""
        super().mount(prefix, _Adapter(self))

    def request(self, *args: Any, **rest: Any) -> requests.Response:
        """Send a request and read its answer within the limits; a POST carries its parameters in the body."""
        if rest.get("method") == "POST":
            rest["data"] = rest.pop("params")
        rest |= {"stream": True, "allow_redirects": False}
        response = super().request(*args, **rest)
        try:
            self.body = self._read(response)
        finally:
            response.close()
        response._content = self.body
        return response

    def _read(self, response: requests.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        unpack = zlib.decompressobj(wbits=31) if encoding in ("gzip", "x-gzip") else None
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise _error(f"bad_response: unsupported content encoding {encoding[:40]!r}")
        parts: list[bytes] = []
        size = packed = 0
        # read1 returns what has arrived, so that a server that drips meets the deadline.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            packed += len(chunk)
            part = chunk if unpack is None else unpack.decompress(chunk, self._body_bytes_max - size + 1)
            size += len(part)
            if max(size, packed) > self._body_bytes_max or (unpack is not None and unpack.unconsumed_tail):
                raise _error(f"bad_response: the answer is larger than {self._body_bytes_max} bytes")
            if time.monotonic() > self._deadline:
                raise requests.Timeout()
            parts.append(part)
        if unpack is not None and packed and not unpack.eof:
            raise _error("bad_response: the answer ends too early")
        return b"".join(parts)

    def admit(self, connection: socket.socket) -> None:
        """Keep a new connection for `abort`, if it leads where the guard allows.

        Raises:
            ProviderError: it does not; nothing has been sent.
        """
        address = str(connection.getpeername()[0])
        refusal = self._guard.refusal(address)
        with self._lock:
            if not refusal and not self._is_aborted:
                # A second descriptor of the same connection: TLS takes the first one away.
                self._sockets.append(connection.dup())
                return
        connection.close()
        raise _error(f"the address is refused: {refusal}" if refusal else "the query was given up")

    def abort(self) -> None:
        """End whatever the session still waits for, at once. Any thread may call it."""
        with self._lock:
            self._is_aborted = True
            sockets, self._sockets = self._sockets, []
        for connection in sockets:
            with contextlib.suppress(OSError):  # closed by the other side already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class _Adapter(HTTPAdapter):
    """Connects through sockets that the session knows, and never retries."""

    def __init__(self, session: Session) -> None:
        self._admit = session.admit
        super().__init__(max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        admit = self._admit

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                admit(connection)
                return connection

        class Encrypted(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                admit(connection)
                return connection

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class EncryptedPool(HTTPSConnectionPool):
            ConnectionCls = Encrypted

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}


def ask(query: Query, session: Session) -> Envelope:
    """Return the answer to a query. Blocks; ends within the query's time.

    Raises:
        ProviderError: there is no answer, or it is an error.
    """
    session.limit(query.seconds)
    session.verify = not query.insecure
    if not query.insecure and session._guard.environment_proxy:
        session.proxies = dict(get_environ_proxies(query.address))
    try:
        try:
            return _answer(query, session, "POST")
        except _TryGet:
            return _answer(query, session, "GET")
    finally:
        session.close()


class _TryGet(Exception):
    """The server knows no POST."""


def _answer(query: Query, session: Session, method: str) -> Envelope:
    client = PrometheusConnect(
        url=query.address,
        headers=dict(query.headers),
        auth=_signer(query) if query.sigv4 is not None else query.basic_auth,
        session=session,
        retry=Retry(0),
        timeout=(min(_CONNECT_SECONDS, query.seconds), query.seconds),
        method=method,
    )
    what = f'{method.capitalize()} "{query.address}/api/v1/{"query" if query.start is None else "query_range"}": '
    params = {"timeout": f"{query.seconds:g}s"}
    try:
        if query.start is not None and query.end is not None and query.step is not None:
            step = f"{query.step.total_seconds():g}"
            client.custom_query_range(query.text, query.start, query.end, step, params=params)
        else:
            client.custom_query(query.text, params={"time": f"{query.at.timestamp():.3f}", **params})
    except PrometheusApiClientException as error:
        status = _status(error)
        if method == "POST" and status in _GET_AFTER:
            raise _TryGet from None
        raise _refusal(status, session.body) from None  # the text of the error repeats the whole body
    except requests.Timeout:
        raise _error(what + "context deadline exceeded") from None
    except requests.JSONDecodeError:
        raise _error(f"bad_response: the answer is no JSON: {_start(session.body)}") from None
    except RecursionError:
        raise _error("bad_response: the answer nests too deeply") from None
    except (KeyError, TypeError):
        raise _refusal(200, session.body) from None
    except (requests.RequestException, HTTPError, OSError, zlib.error) as error:
        raise _error(what + _why(error)) from error
    return _envelope(session.body)


def _status(error: PrometheusApiClientException) -> int:
    digits = str(error).removeprefix("HTTP Status Code ").partition(" ")[0]
    return int(digits) if digits.isdigit() else 0


def _refusal(status: int, body: bytes) -> ProviderError:
    """Return the error that the server gave, in the words of Prometheus' Go client."""
    head = _Head()
    # Without an error of Prometheus' own the status says enough.
    with contextlib.suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        head = msgspec.json.decode(body, type=_Head, strict=False)
    if head.error and status in (200, 400, 422):
        return _error(f"{head.error_type or 'error'}: {head.error[:_TEXT_MAX]}")
    detail = f" ({head.error[:_TEXT_MAX]})" if head.error else ""
    match status // 100:
        case 2:
            return _error(f"bad_response: inconsistent body for response code {status}")
        case 3:
            return _error(f"bad_response: bad response code {status}: redirects are not followed")
        case 4:
            return _error(f"client_error: client error: {status}{detail}")
        case 5:
            return _error(f"server_error: server error: {status}{detail}")
        case _:
            return _error(f"bad_response: bad response code {status}")


def _start(body: bytes) -> str:
    return repr(body[:60].decode("utf-8", "replace"))


def _why(error: Exception) -> str:
    """Return what happened, without the parts of the library's text that repeat the URL."""
    reason: Any = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    text = str(reason).partition(" object at 0x")
    shown = text[0].rpartition(".")[2] + text[2].partition(">")[2] if text[1] else text[0]
    return f"{type(error).__name__}: {shown[:_TEXT_MAX]}"


def _envelope(body: bytes) -> Envelope:
    """Return the values of an answer.

    Raises:
        ProviderError: it is not what the API promises.
    """
    try:
        head = msgspec.json.decode(body, type=_Head, strict=False)
        data = head.data
        result_type, result = str(data["resultType"]), data["result"]
        if head.status != "success":
            raise _refusal(200, body)
        warnings = tuple(head.warnings or ())
        match result_type:
            case "scalar":
                instant, text = result
                return Envelope(result_type=result_type, texts=(text,), instants=(float(instant),), warnings=warnings)
            case "vector":
                # A series without a value has a histogram.
                samples = [series["value"] for series in _series(result) if "value" in series]
            case "matrix":
                samples = [sample for series in _series(result) for sample in series.get("values", ())]
            case _:
                return Envelope(result_type=result_type, texts=(), warnings=warnings)
        return Envelope(
            result_type=result_type,
            texts=tuple(text for _, text in samples),
            instants=tuple(float(instant) for instant, _ in samples),
            warnings=warnings,
        )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _error(f"bad_response: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _error("bad_response: the answer is not what the API of Prometheus promises") from None


def _series(result: Any) -> list[dict[str, Any]]:
    if not isinstance(result, list) or not all(isinstance(series, dict) for series in result):
        raise TypeError("not a list of series")
    return result


def _signer(query: Query) -> Any:
    from fairlead.analysis.providers._sigv4 import Signer

    assert query.sigv4 is not None
    return Signer(*query.sigv4)
