"""Signing in to Vault: every way to get a token, and one shared token per store that is renewed and given back.

However many tasks find the token missing, run out or refused, one of them signs in and all wait for it. A login is
never abandoned half-way: a caller that is cancelled leaves it running, so that its token is known and can be revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import requests
import structlog
from hvac.adapters import RawAdapter
from hvac.api.auth_methods import JWT, AppRole, Kubernetes, Ldap, Userpass

from fairlead.core.clock import Clock
from fairlead.core.errors import FairleadError, ProviderError, SpecError
from fairlead.secrets.stores._documents import text_of
from fairlead.secrets.stores._selectors import Resolver
from fairlead.secrets.stores.port import StoreUnavailable
from fairlead.secrets.stores.vault.client import Answer, VaultClient
from fairlead.secrets.stores.vault.paths import PROVIDER, in_url
from fairlead.secrets.stores.vault.spec import Auth
from fairlead.secrets.values import SecretBytes

log = structlog.get_logger(__name__)

EMPTY: Final = SecretBytes(b"")
OWN_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_TOKEN_LIFETIME: Final = timedelta(seconds=600)
_RENEW_AT: Final = 2 / 3
_MARGIN: Final = 0.1  # of the lifetime, at most a minute: a token with less left is not used any more
_MARGIN_SECONDS_MAX: Final = 60.0
_TRUSTED_SECONDS: Final = 10.0  # a refusal so soon after the token was found good is about the secret, not the token
_CLOSING_SECONDS: Final = 10.0

Send = Callable[[RawAdapter], requests.Response]
SignIn = Callable[[], Awaitable[Send]]  # reads the credentials anew, and says how to send them
ReadAgain = Callable[[], Awaitable[SecretBytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token and how long it is good.

    Attributes:
        token: empty for a store without authentication.
        is_ours: whether we got it by signing in, and so have to give it back.
        renew_at: monotonic seconds; None: it does not run out.
        ends_at: monotonic seconds; None: it does not run out.
        is_renewable: or else a new one is needed.
        lifetime: seconds that it was granted for.
    """

    token: SecretBytes = field(repr=False, default_factory=lambda: EMPTY)
    is_ours: bool = False
    renew_at: float | None = None
    ends_at: float | None = None
    is_renewable: bool = False
    lifetime: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A token that the spec names, and how to read it again: it may be replaced there."""

    token: SecretBytes = field(repr=False)
    read_again: ReadAgain = field(repr=False)


async def way_in(auth: Auth | None, resolver: Resolver) -> Given | SignIn | None:
    """Return the token that the spec names, or how to get one: credentials are read at each login, so rotated ones too.

    None: without authentication.

    Raises:
        SpecError: a way that is not built.
        ProviderError: the token could not be read.
    """
    if auth is None:
        return None
    if (selector := auth.token_secret_ref) is not None:
        return Given(token=await resolver.secret(selector), read_again=lambda: resolver.secret(selector))
    sign_in = _sign_in(auth, resolver)
    if sign_in is None:
        raise SpecError("expected a way to sign in that is built into fairlead", path="spec.provider.vault.auth")
    return sign_in


def _sign_in(auth: Auth, resolver: Resolver) -> SignIn | None:
    if (app_role := auth.app_role) is not None:

        async def by_app_role() -> Send:
            role_id = app_role.role_id
            if app_role.role_ref is not None:
                role_id = await resolver.text(app_role.role_ref)
            secret_id = await resolver.text(app_role.secret_ref)
            return lambda adapter: _raw(AppRole, adapter).login(
                role_id=role_id.strip(), secret_id=secret_id, use_token=False, mount_point=in_url(app_role.path)
            )

        return by_app_role
    if (kubernetes := auth.kubernetes) is not None:

        async def by_kubernetes() -> Send:
            if kubernetes.service_account_ref is not None:
                jwt = _text(await resolver.token(kubernetes.service_account_ref, lifetime=_TOKEN_LIFETIME))
            elif kubernetes.secret_ref is not None:
                jwt = await resolver.text(kubernetes.secret_ref, default_key="token")
            else:
                jwt = await _own_token()
            return lambda adapter: _raw(Kubernetes, adapter).login(
                role=kubernetes.role, jwt=jwt, use_token=False, mount_point=in_url(kubernetes.mount_path)
            )

        return by_kubernetes
    if (ldap := auth.ldap) is not None:

        async def by_ldap() -> Send:
            password = await resolver.text(ldap.secret_ref)
            return lambda adapter: _raw(Ldap, adapter).login(
                username=in_url(ldap.username.strip()),
                password=password,
                use_token=False,
                mount_point=in_url(ldap.path),
            )

        return by_ldap
    if (user := auth.user_pass) is not None:

        async def by_password() -> Send:
            password = await resolver.text(user.secret_ref)
            return lambda adapter: _raw(Userpass, adapter).login(
                username=in_url(user.username.strip()),
                password=password,
                use_token=False,
                mount_point=in_url(user.path),
            )

        return by_password
    if (by := auth.jwt) is not None:

        async def by_jwt() -> Send:
            if by.secret_ref is not None:
                jwt = await resolver.text(by.secret_ref, default_key="token")
            else:
                wanted = by.kubernetes_service_account_token
                assert wanted is not None, "the spec has been checked"
                audiences = ("vault",) if wanted.audiences is None else wanted.audiences
                seconds = 600 if wanted.expiration_seconds is None else wanted.expiration_seconds
                lifetime = timedelta(seconds=seconds)
                jwt = _text(await resolver.token(wanted.service_account_ref, lifetime=lifetime, audiences=audiences))
            return lambda adapter: _raw(JWT, adapter).jwt_login(
                role=by.role, jwt=jwt.strip(), use_token=False, path=in_url(by.path)
            )

        return by_jwt
    if (cert := auth.cert) is not None:

        async def by_certificate() -> Send:
            body = {"name": cert.vault_role} if cert.vault_role else {}
            path = f"/v1/auth/{in_url(cert.path)}/login"
            return lambda adapter: _response(adapter.request("post", path, json=body))

        return by_certificate
    return None


def _raw(method: Any, adapter: RawAdapter) -> Any:
    """Return an authentication method of hvac; with a raw adapter it answers with a response."""
    return method(adapter)


def _response(found: Any) -> requests.Response:
    assert isinstance(found, requests.Response), "a raw adapter answers with responses"
    return found


def _text(value: SecretBytes) -> str:
    return value.reveal().decode("utf-8", "replace")


async def _own_token() -> str:
    try:
        return (await asyncio.to_thread(OWN_TOKEN.read_text, encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError):
        text = f"the auth names no ServiceAccount and no Secret, and {OWN_TOKEN} cannot be read"
        raise ProviderError(text, provider=PROVIDER) from None


class Logins:
    """The one token of a store. Safe for any number of tasks.

    Args:
        client: sends the requests.
        way: see `way_in`.
        clock: tells when to renew.
        namespace: where tokens live.
    """

    def __init__(self, client: VaultClient, way: Given | SignIn | None, clock: Clock, *, namespace: str) -> None:
        self._client = client
        self._sign_in: SignIn | None = None
        self._read_again: ReadAgain | None = None
        self._login: Login | None = None
        match way:
            case None:
                self._login = Login()
            case Given():
                self._login, self._read_again = Login(token=way.token), way.read_again
            case _:
                self._sign_in = way
        self._clock = clock
        self._namespace = namespace
        self._task: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._good_at = -_TRUSTED_SECONDS
        self._is_closed = False

    async def current(self) -> Login:
        """Return a token that is good as far as we know; sign in if there is none.

        Raises:
            ProviderError: it failed.
        """
        login = self._login
        now = self._clock.monotonic()
        if login is None or (login.ends_at is not None and now >= login.ends_at):
            await self._once(self._replace)
            if self._login is None:
                raise StoreUnavailable("the store has been closed", provider=PROVIDER)
            return self._login
        if login.renew_at is not None and now >= login.renew_at and self._renewing is None:
            # Nobody has to wait: there is a third of its life left.
            self._renewing = asyncio.create_task(self._renew(login))
            self._renewing.add_done_callback(self._renewed)
        return login

    async def refused(self, login: Login) -> bool:
        """Return whether another try with `current()` makes sense after the server refused this one.

        The same status says that the token is no good and that the secret is not for us. Which of the two, the server
        is asked at most every few seconds.
        """
        if self._login is not login:
            return True
        if self._login.token == EMPTY or self._clock.monotonic() - self._good_at < _TRUSTED_SECONDS:
            return False
        await self._once(self._examine)
        return self._login is not login

    async def verify(self) -> None:
        """Return if the token is good. Raises: ProviderError."""
        login = await self.current()
        if login.token == EMPTY:
            return
        answer = await self._ask(login)
        if answer.status != 200:
            raise answer.error("looking up the token")
        self._good_at = self._clock.monotonic()

    async def close(self) -> None:
        """Give the token back; never raises."""
        self._is_closed = True
        pending = [task for task in (self._task, self._renewing) if task is not None]
        if pending:
            await asyncio.wait(pending, timeout=_CLOSING_SECONDS)
        if (login := self._login) is not None:
            self._login = None
            await self._revoke(login)

    # -- one at a time --------------------------------------------------------------------------------------------

    async def _once(self, what: Callable[[], Awaitable[None]]) -> None:
        if self._task is None:
            if self._is_closed:
                raise StoreUnavailable("the store has been closed", provider=PROVIDER)

            async def run() -> None:
                await what()

            self._task = asyncio.create_task(run())
            self._task.add_done_callback(self._done)
        await asyncio.shield(self._task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # those who waited have it; perhaps nobody did

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()

    async def _replace(self) -> None:
        """Leave a fresh token behind, and no old one at the server."""
        old, self._login = self._login, None
        assert self._sign_in is not None, "a token that we were given does not run out"
        send = await self._sign_in()
        answer = await self._client.write(send, token=EMPTY, call="Login", namespace=self._namespace)
        if answer.status != 200:
            raise answer.error("signing in")
        self._login = self._granted(answer, is_new=True)
        if old is not None:
            await self._revoke(old)

    async def _examine(self) -> None:
        login = self._login
        if login is None:
            return
        if self._read_again is not None:
            self._good_at = self._clock.monotonic()
            token = await self._read_again()
            if token != login.token:
                self._login = Login(token=token)
            return
        answer = await self._ask(login)
        if answer.status in (401, 403):
            log.info("vault_token_refused", store=PROVIDER)
            self._login = None
            await self._replace()
        elif answer.status == 200:
            self._good_at = self._clock.monotonic()

    async def _renew(self, login: Login) -> None:
        try:
            if login.is_renewable:
                answer = await self._client.write(
                    lambda adapter: _response(adapter.request("post", "/v1/auth/token/renew-self", json={})),
                    token=login.token,
                    call="RenewSelf",
                    namespace=self._namespace,
                )
                if answer.status == 200:
                    renewed = self._granted(answer, is_new=False, token=login.token)
                    # Less than half of what it was: its maximum draws near, and renewing would soon be all we do.
                    if renewed.lifetime >= login.lifetime / 2 and self._login is login:
                        self._login = renewed
                        return
            if self._login is login:
                await self._once(self._replace_keeping)
        except FairleadError as error:
            # It is good for a while: the next use tries again, a little later.
            log.info("vault_token_not_renewed", error=type(error).__name__)
            if self._login is login:
                self._login = _later(login, self._clock.monotonic())

    async def _replace_keeping(self) -> None:
        old = self._login
        try:
            await self._replace()
        except FairleadError:
            self._login = self._login or old
            raise

    def _granted(self, answer: Answer, *, is_new: bool, token: SecretBytes = EMPTY) -> Login:
        auth = answer.content().get("auth")
        if not isinstance(auth, dict):
            raise StoreUnavailable("the answer to a login holds no token", provider=PROVIDER)
        if is_new:
            given = auth.get("client_token")
            if not isinstance(given, str) or not given:
                raise StoreUnavailable("the answer to a login holds no token", provider=PROVIDER)
            token = SecretBytes(given.encode())
        now = self._clock.monotonic()
        self._good_at = now
        try:
            lifetime = float(text_of(auth.get("lease_duration")) or 0)
        except ValueError:
            lifetime = 0.0
        if not 0 < lifetime < float("inf"):
            return Login(token=token, is_ours=True)
        return Login(
            token=token,
            is_ours=True,
            renew_at=now + lifetime * _RENEW_AT,
            ends_at=now + lifetime - min(_MARGIN_SECONDS_MAX, lifetime * _MARGIN),
            is_renewable=auth.get("renewable") is True,
            lifetime=lifetime,
        )

    async def _ask(self, login: Login) -> Answer:
        return await self._client.read(
            "GET", "auth/token/lookup-self", token=login.token, call="LookupSelf", namespace=self._namespace
        )

    async def _revoke(self, login: Login) -> None:
        if not login.is_ours:
            return
        try:
            answer = await self._client.write(
                lambda adapter: _response(adapter.request("post", "/v1/auth/token/revoke-self", json={})),
                token=login.token,
                call="RevokeSelf",
                namespace=self._namespace,
            )
            if answer.status >= 400 and answer.status != 403:
                raise answer.error("revoking the token")
        except ProviderError as error:
            log.warning("vault_token_not_revoked", error=str(error))  # it ends by itself


def _later(login: Login, now: float) -> Login:
    assert login.ends_at is not None, "only what runs out is renewed"
    return Login(
        token=login.token,
        is_ours=login.is_ours,
        renew_at=now + max(1.0, (login.ends_at - now) / 4),
        ends_at=login.ends_at,
        is_renewable=login.is_renewable,
        lifetime=login.lifetime,
    )
