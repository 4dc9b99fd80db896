"""Asks a Prometheus server, through prometheus-api-client.

The client library blocks, so a query takes a thread of a pool of our own: a slow Prometheus delays nothing but other
queries. `_prometheus_session` holds what the library leaves to us.

Source: `argo-rollouts: metricproviders/prometheus`, `prometheus/client_golang: api/prometheus/v1` for the error texts.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from fairlead.analysis._expressions import ExpressionError, Value, evaluate_time, format_decimal, parse_float
from fairlead.analysis.ports import Question
from fairlead.analysis.providers._base import OneCallProvider, failed
from fairlead.analysis.providers.settings import ProviderTools
from fairlead.analysis.spec import Metric, PrometheusMetric
from fairlead.analysis.status import Measurement
from fairlead.core.durations import human_duration, parse_go_duration
from fairlead.core.errors import ProviderError

if TYPE_CHECKING:
    from fairlead.analysis.providers._prometheus_session import Envelope

QUERY_KEY: Final = "ResolvedPrometheusQuery"
WARNINGS_KEY: Final = "warnings"
SECONDS: Final = 30.0
_SECONDS_MAX: Final = 24 * 3600.0
_GRACE: Final = 0.5  # the server gives up first, then its answer arrives, then the thread's own limits end


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to ask, and how; nothing in it is evaluated any more.

    Attributes:
        address: without user info and without a slash at its end.
        basic_auth: user name and password.
        at: the instant of an instant query; `start`, `end` and `step` are those of a range query.
    """

    address: str
    text: str
    at: datetime
    seconds: float
    headers: Mapping[str, str]
    basic_auth: tuple[str, str] | None = None
    sigv4: tuple[str, str, str] | None = None  # region, profile, role
    insecure: bool = False
    start: datetime | None = None
    end: datetime | None = None
    step: timedelta | None = None


class PrometheusProvider(OneCallProvider):
    """One query per measurement, a bounded number at a time."""

    def __init__(self, tools: ProviderTools) -> None:
        super().__init__(tools)
        threads = self.settings.prometheus_threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="prometheus")
        self._slots = asyncio.Semaphore(threads)

    def metadata(self, metric: Metric) -> Mapping[str, str]:
        """Return the query, with its arguments in place."""
        prometheus = metric.provider.prometheus
        return {QUERY_KEY: prometheus.query} if prometheus is not None else {}

    def close(self) -> None:
        """End the pool; threads that still wait for a server end with their time limits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def measure(self, question: Question) -> Measurement:
        """Return the verdict on what the server answers now."""
        started_at = self.tools.clock.now()
        metric = question.metric
        prometheus = metric.provider.prometheus
        assert prometheus is not None, "the registry hands over metrics with a prometheus block only"
        try:
            query = await self._prepared(prometheus, started_at)
            envelope = await self._ask(query)
            result, shown = _result(envelope)
            self._refuse_stale(envelope, query)
        except ProviderError as error:
            return msgspec.structs.replace(failed(str(error), self.tools.clock.now()), started_at=started_at)
        metadata = {}
        if envelope.warnings:
            metadata[WARNINGS_KEY] = ", ".join(f'"{warning}"' for warning in envelope.warnings)
        return self.judged(metric, result, shown, started_at, metadata)

    async def _prepared(self, prometheus: PrometheusMetric, now: datetime) -> Query:
        """Return the query of a metric.

        Raises:
            ProviderError: the metric cannot be asked; upstream's texts.
        """
        address, user_info = _address(prometheus.address or self.settings.prometheus_address)
        seconds = SECONDS if prometheus.timeout is None else float(prometheus.timeout)
        if seconds < 0:
            raise _error("prometheus timeout should not be negative")
        seconds = min(seconds, _SECONDS_MAX)
        headers = {header.key: header.value for header in prometheus.headers}
        for name, value in headers.items():
            if not name.isascii() or not name.isprintable() or not value.isprintable() or name.strip() != name:
                raise _error(f"the header {name[:80]!r} cannot be sent")
        basic_auth = _basic_auth(prometheus) or user_info
        oauth2 = prometheus.authentication.oauth2
        if oauth2.token_url:
            headers["Authorization"] = await self._token(prometheus, headers, seconds)
        if any(name.lower() == "authorization" for name in headers):
            basic_auth = None
        sigv4 = prometheus.authentication.sigv4
        signing = (sigv4.region, sigv4.profile, sigv4.role_arn)
        start, end, step = _range(prometheus, now)
        return Query(
            address=address,
            text=prometheus.query,
            at=now,
            seconds=seconds,
            headers=headers,
            basic_auth=basic_auth,
            sigv4=signing if "aps-workspaces" in address and any(signing) else None,
            insecure=prometheus.insecure,
            start=start,
            end=end,
            step=step,
        )

    async def _token(self, prometheus: PrometheusMetric, headers: Mapping[str, str], seconds: float) -> str:
        from fairlead.analysis.providers import _http, _oauth2

        try:
            return await _oauth2.token(
                prometheus.authentication.oauth2,
                self.settings.guard,
                headers=headers,
                insecure=prometheus.insecure,
                seconds=seconds,
                body_bytes_max=self.settings.body_bytes_max,
            )
        except _http.ExchangeError as error:
            raise _error(str(error)) from error

    async def _ask(self, query: Query) -> Envelope:
        """Return the server's answer.

        Raises:
            ProviderError: there is none in time, or it is an error.
        """
        # Imported by the first query, not by everybody who knows this provider: it brings requests.
        from fairlead.analysis.providers import _prometheus_session

        session = _prometheus_session.Session(self.settings.guard, self.settings.body_bytes_max)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(query.seconds + _GRACE if query.seconds else 0):
                await self._slots.acquire()
                context = contextvars.copy_context()
                future = loop.run_in_executor(self._pool, context.run, _prometheus_session.ask, query, session)
                # Given back when the thread is free, which may be later than the end of this wait.
                future.add_done_callback(lambda done: self._release(done))
                return await asyncio.shield(future)
        except TimeoutError:
            raise _error(f'Post "{query.address}{_path(query)}": context deadline exceeded') from None
        finally:
            session.abort()

    def _release(self, done: asyncio.Future[Envelope]) -> None:
        self._slots.release()
        if not done.cancelled():
            done.exception()  # seen: nobody may be waiting for it any more

    def _refuse_stale(self, envelope: Envelope, query: Query) -> None:
        limit = self.settings.stale_after
        if limit is None or query.start is not None or envelope.result_type not in ("vector", "scalar"):
            return
        for at in envelope.instants:
            age = timedelta(seconds=query.at.timestamp() - at)
            if abs(age) > limit:
                direction = "old" if age > timedelta(0) else "in the future"
                raise _error(f"stale data: a sample is {human_duration(abs(age))} {direction}")


def _path(query: Query) -> str:
    return "/api/v1/query" if query.start is None else "/api/v1/query_range"


def _error(text: str) -> ProviderError:
    return ProviderError(text, provider="prometheus")


def _address(text: str) -> tuple[str, tuple[str, str] | None]:
    """Return an address without user info, and the user info."""
    if not text:
        raise _error("prometheus address is not configured")
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
        port = parts.port
    except ValueError:
        is_url, port = False, None
    if not is_url:
        raise _error("prometheus address is not is url format")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    bare = urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return bare, None
    return bare, (parts.username, parts.password or "")


def _basic_auth(prometheus: PrometheusMetric) -> tuple[str, str] | None:
    basic = prometheus.authentication.basic_auth
    if not basic.username and not basic.password:
        return None
    for name, value in (("username", basic.username), ("password", basic.password)):
        if not value:
            raise _error(f"missing mandatory parameter in metric for basic auth setup: {name}")
    return basic.username, basic.password


def _range(prometheus: PrometheusMetric, now: datetime) -> tuple[datetime | None, datetime | None, timedelta | None]:
    """Return start, end and step of a range query, or Nones."""
    if prometheus.range_query is None:
        return None, None, None
    instants: list[datetime] = []
    for name, text in (("start", prometheus.range_query.start), ("end", prometheus.range_query.end)):
        try:
            instants.append(evaluate_time(text, now))
        except ExpressionError as error:
            raise _error(f"failed to parse rangeQuery.{name} as time: {error.text}") from error
    try:
        step = parse_go_duration(prometheus.range_query.step)
    except (ValueError, OverflowError) as error:
        raise _error(f"failed to parse rangeQuery.step as duration: {error}") from error
    return instants[0], instants[1], step


def _result(envelope: Envelope) -> tuple[Value, str]:
    """Return what the conditions see of an answer, and what people see of it.

    Raises:
        ProviderError: its type is not supported, or it is malformed.
    """
    if envelope.result_type == "scalar":
        number = _number(envelope.texts[0])
        return Value.number(number), format_decimal(number)
    if envelope.result_type not in ("vector", "matrix"):
        raise _error("Prometheus metric type not supported")
    numbers = [_number(text) for text in envelope.texts]
    return Value.floats(numbers), "[" + ",".join(map(format_decimal, numbers)) + "]"


def _number(text: Any) -> float:
    """Return a sample's value: always a text, `NaN` and `+Inf` included; one beyond a float is an infinity."""
    try:
        if not isinstance(text, str):
            raise ValueError(text)
        return parse_float(text)
    except ValueError as error:
        if "out of range" in str(error):
            return -math.inf if isinstance(text, str) and text.startswith("-") else math.inf
        raise _error(f"bad_response: a sample's value is no number: {str(text)[:40]!r}") from None
