"""One Vault server over hvac: requests in threads, bounded in time and bytes, errors by whose fault they are.

hvac sends the requests and knows the ways to sign in. Answers are taken raw: its own parser would turn long numbers
into floats, and its exceptions carry bodies of answers, which no message of ours may.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from hvac.adapters import RawAdapter

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores import _http
from fairlead.secrets.stores._documents import NotJson, parse_object
from fairlead.secrets.stores._http import Call, CutOff, TooLong, TooSlow, call_under_way
from fairlead.secrets.stores._threads import WORKERS, Threads
from fairlead.secrets.stores.port import (
    CallObserver,
    Denied,
    RetrySettings,
    StoreContext,
    StoreUnavailable,
    Throttled,
)
from fairlead.secrets.stores.vault.paths import PROVIDER
from fairlead.secrets.values import SecretBytes

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0  # between two bytes
_TIMEOUTS: Final[Any] = (CONNECT_SECONDS, READ_SECONDS)  # its annotation says one number, requests takes two
CALL_SECONDS: Final = 20.0  # from the first byte sent to the last one read
_OBSERVED_AS: Final = "HashiCorp/Vault"
_RETRIES: Final = 2  # upstream's client without retrySettings
_WAIT_SECONDS: Final = (1.0, 1.5)
_RETRY_AFTER_SECONDS_MAX: Final = 3600.0

# What a server may say that helps and cannot hold a value; only these of its words enter a message.
_KNOWN_WORDS: Final = (
    "permission denied",
    "invalid token",
    "bad token",
    "missing client token",
    "invalid role or secret ID",
    "invalid role ID",
    "invalid secret id",
    "invalid username or password",
    "service account name not authorized",
    "namespace not authorized",
    "invalid audience",
    "error validating token",
    "could not be found",
    "namespace not found",
    "no namespace",
    "no handler for route",
    "unsupported path",
    "Vault is sealed",
    "standby",
    "rate limit quota exceeded",
    "lease count quota exceeded",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    body: bytes = field(repr=False, default=b"")
    retry_after: float | None = None

    def content(self) -> dict[str, Any]:
        """Return the JSON object of the body, numbers by their digits.

        Raises:
            StoreUnavailable: it is none: whatever answered is no Vault.
        """
        if not self.body.strip():
            return {}
        try:
            return parse_object(self.body)
        except NotJson as error:
            text = f"the answer ({self.status}) is not one of Vault: {error}"
            raise StoreUnavailable(text, provider=PROVIDER) from None

    def words(self) -> list[str]:
        """Return what the server says is wrong, as far as it may be repeated."""
        try:
            errors = parse_object(self.body).get("errors")
        except NotJson:
            return []
        said = " ".join(text for text in errors if isinstance(text, str)) if isinstance(errors, list) else ""
        return [known for known in _KNOWN_WORDS if known.lower() in said.lower()]

    def error(self, doing: str) -> ProviderError:
        """Return the error for a status that is no success."""
        words = self.words()
        text = f"{doing}: {words[0] if words else _MEANINGS.get(self.status, 'an unexpected answer')} ({self.status})"
        if self.status in (401, 403):
            return Denied(text, provider=PROVIDER)
        if self.status == 429:
            return Throttled(text, provider=PROVIDER, retry_after=self.retry_after)
        if self.status >= 500 or self.status in (412, 472, 473):
            return StoreUnavailable(text, provider=PROVIDER, retry_after=self.retry_after)
        return ProviderError(text, provider=PROVIDER)

    @property
    def is_worth_a_retry(self) -> bool:
        if self.status == 503 and "Vault is sealed" in self.words():
            return False  # unsealing takes a person
        return self.status == 412 or (self.status >= 500 and self.status != 501)


_MEANINGS: Final[Mapping[int, str]] = {
    204: "no content",
    400: "the request was refused",
    401: "permission denied",
    403: "permission denied",
    404: "not found",
    405: "not supported there",
    412: "the server has not caught up yet",
    429: "too many requests",
    472: "the server is a disaster-recovery standby",
    473: "the server is a performance standby",
    500: "an internal error of the server",
    502: "the gateway reaches no server",
    503: "the server is sealed or in maintenance",
    504: "the gateway got no answer",
}


class VaultClient:
    """Sends requests; knows no token of its own.

    Args:
        server: URL.
        namespace: sent along; empty for none.
        tls: whom to trust, and who we are.
        headers: sent with each request.
        retry: how often a read that failed on the way is repeated.
        context: the surroundings.
        is_read_your_writes: whether the server is told what we have seen last.
        is_forwarded: whether it should then ask the active node.
    """

    def __init__(
        self,
        server: str,
        *,
        namespace: str,
        tls: ssl.SSLContext,
        headers: Mapping[str, str],
        retry: RetrySettings | None,
        context: StoreContext,
        is_read_your_writes: bool = False,
        is_forwarded: bool = False,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._server = server
        self.namespace = namespace
        self._session = _http.session(tls, connections=WORKERS)
        self._session.headers.update(headers)
        self._threads = Threads(PROVIDER)
        self._clock = context.clock
        self._observe: CallObserver = context.observe_call
        self._call_seconds = call_seconds
        self._retries, self._waits = _retrying(retry)
        self._is_read_your_writes = is_read_your_writes
        self._is_forwarded = is_forwarded
        self._index = ""

    async def read(
        self,
        method: str,
        path: str,
        *,
        token: SecretBytes,
        call: str,
        namespace: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to a request that changes nothing; it is repeated if it failed on the way.

        Args:
            method: GET or LIST.
            path: below `/v1/`, quoted.
            token: whose; empty for none.
            call: its name, for the count of calls.
            namespace: another than the client's.
            params: of the query.

        Raises:
            StoreUnavailable: no answer.
        """

        def send(adapter: RawAdapter) -> requests.Response:
            response: requests.Response = adapter.request(
                method, f"/v1/{path}", headers=self._consistency(), params=dict(params or {})
            )
            self._index = response.headers.get("X-Vault-Index", self._index)
            return response

        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                answer = await self.write(send, token=token, call=call, namespace=namespace)
            except StoreUnavailable:
                if is_last:
                    raise
            else:
                if is_last or not answer.is_worth_a_retry:
                    return answer
            await self._clock.sleep(random.uniform(*self._waits))
        raise AssertionError("the last attempt returns or raises")

    async def write(
        self,
        send: Callable[[RawAdapter], requests.Response],
        *,
        token: SecretBytes,
        call: str,
        namespace: str | None = None,
    ) -> Answer:
        """Return the answer to any request, sent once.

        Args:
            send: sends it by an adapter of hvac; runs in a thread.
            token: whose; empty for none.
            call: its name, for the count of calls.
            namespace: another than the client's.

        Raises:
            StoreUnavailable: no answer. It may have happened.
            ProviderError: it could not be sent.
        """
        # An empty token, never None: hvac would then look for one in the environment and in the home folder.
        adapter = RawAdapter(
            base_uri=self._server,
            token=token.reveal().decode("utf-8", "replace"),
            session=self._session,
            namespace=self.namespace if namespace is None else namespace,
            timeout=_TIMEOUTS,
            ignore_exceptions=True,
        )
        under_way = Call(self._call_seconds)

        def work() -> Answer:
            call_under_way.set(under_way)
            try:
                return _answer(send(adapter))
            except requests.RequestException as error:
                # Not `from error`: texts of requests quote headers that it cannot send.
                raise _transport_error(error) from None
            except (UnicodeError, ValueError) as error:
                raise ProviderError(
                    f"the request cannot be sent ({type(error).__name__}): check server, headers and token",
                    provider=PROVIDER,
                ) from None

        answered = False
        try:
            answer = await self._threads.run(work, seconds=self._call_seconds, give_up=under_way.give_up)
            answered = answer.status < 400 or answer.status == 404
            return answer
        finally:
            self._observe(_OBSERVED_AS, call, answered)

    def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.close()
        self._session.close()

    def _consistency(self) -> dict[str, str]:
        if not self._is_read_your_writes or not self._index:
            return {}
        found = {"X-Vault-Index": self._index}
        if self._is_forwarded:
            found["X-Vault-Inconsistent"] = "forward-active-node"
        return found


def _retrying(retry: RetrySettings | None) -> tuple[int, tuple[float, float]]:
    if retry is None:
        return _RETRIES, _WAIT_SECONDS
    waits = _WAIT_SECONDS if retry.interval is None else (retry.interval.total_seconds(),) * 2
    return max(0, retry.max_retries or 0), waits


def _answer(response: requests.Response) -> Answer:
    return Answer(
        status=response.status_code, body=response.content, retry_after=_seconds(response.headers.get("Retry-After"))
    )


def _seconds(text: str | None) -> float | None:
    if text is None or not text.strip().isdecimal() or len(text) > 12:
        return None  # absent, or a date: then our own back-off will do
    return min(float(text), _RETRY_AFTER_SECONDS_MAX)


def _transport_error(error: requests.RequestException) -> ProviderError:
    match error:
        case TooLong() | TooSlow() | CutOff():
            return StoreUnavailable(str(error), provider=PROVIDER)
        case requests.exceptions.SSLError():
            return StoreUnavailable("the server's certificate could not be verified", provider=PROVIDER)
        case requests.exceptions.ConnectTimeout():
            return StoreUnavailable(f"no connection within {CONNECT_SECONDS:g} s", provider=PROVIDER)
        case requests.exceptions.ReadTimeout():
            return StoreUnavailable(f"no byte within {READ_SECONDS:g} s", provider=PROVIDER)
        case requests.exceptions.TooManyRedirects():
            return StoreUnavailable("the server redirects more than once", provider=PROVIDER)
        case requests.exceptions.InvalidHeader():
            text = "a token or header holds what cannot be sent (does it end with a newline?)"
            return ProviderError(text, provider=PROVIDER)
        case (
            requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema() | requests.exceptions.MissingSchema()
        ):
            return ProviderError("the server's address cannot be used", provider=PROVIDER)
        case _:
            return StoreUnavailable(f"no connection ({type(error).__name__})", provider=PROVIDER)
