"""AWS over boto3: credentials by every way of the spec, calls in threads, errors by whose fault they are.

Clients are made in a thread and called from several (boto3's clients may be shared, its sessions may not). Credentials
that run out are replaced, with the clients that use them, at two thirds of their life; one task does it for all.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from botocore.parsers import ResponseParserError

import fairlead
from fairlead.core.errors import ProviderError
from fairlead.secrets.stores._selectors import Resolver
from fairlead.secrets.stores._threads import WORKERS, Threads
from fairlead.secrets.stores.aws.spec import Aws
from fairlead.secrets.stores.port import (
    Denied,
    NoSecret,
    RetrySettings,
    StoreContext,
    StoreSpec,
    StoreUnavailable,
    Throttled,
)
from fairlead.secrets.values import SecretBytes

PROVIDER: Final = "aws"
T = TypeVar("T")

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0
CALL_SECONDS: Final = 30.0
_ATTEMPTS: Final = 3
_FIRST_WAIT_SECONDS: Final = 0.5
_RENEW_AT: Final = 2 / 3
_ASSUMED_SECONDS: Final = 3600  # what AWS grants to chained roles at most
_REFUSED_SECONDS: Final = 10.0  # credentials that are refused are read again at most this often
_SESSION_NAME: Final = "external-secrets-provider-aws"
_ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
_AUDIENCE_ANNOTATION: Final = "eks.amazonaws.com/audience"
_AUDIENCE: Final = "sts.amazonaws.com"
_ENDPOINTS: Final = {
    "secretsmanager": "AWS_SECRETSMANAGER_ENDPOINT",
    "ssm": "AWS_SSM_ENDPOINT",
    "sts": "AWS_STS_ENDPOINT",
}
_SERVICES: Final = {"secretsmanager": "AWS/SecretsManager", "ssm": "AWS/ParameterStore", "sts": "AWS/STS"}

# At DEBUG botocore logs requests and answers whole: values of secrets, tokens and all. Whatever level somebody sets for
# the whole process, these of its loggers stay silent at DEBUG.
_TALKATIVE: Final = (
    "auth",
    "awsrequest",
    "client",
    "credentials",
    "endpoint",
    "handlers",
    "history",
    "hooks",
    "httpsession",
    "monitoring",
    "parsers",
    "response",
    "retryhandler",
    "retries.standard",
    "session",
    "tokens",
    "utils",
)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


for _name in _TALKATIVE:
    logging.getLogger(f"botocore.{_name}").addFilter(_is_worth_saying)

# By the code of the answer, never by its status: AWS says 400 to nearly everything.
_ABSENT: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound"})
_STALE_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
    }
)
_DENIED: Final = _STALE_CREDENTIALS | {
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "IncompleteSignature",
    "InvalidIdentityToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "RequestExpired",
    "UnauthorizedOperation",
}
_THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
_DELETED: Final = re.compile(r"marked (?:for deletion|as deleted|deleted)", re.IGNORECASE)
_CODE: Final = re.compile(r"[A-Za-z0-9_.]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What signs a request; None for all: whatever boto3 finds in its surroundings."""

    access_key_id: str
    secret_access_key: SecretBytes = field(repr=False)
    session_token: SecretBytes | None = field(repr=False, default=None)

    def for_session(self) -> dict[str, str]:
        found = {
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key.reveal().decode("utf-8", "replace"),
        }
        if self.session_token is not None:
            found["aws_session_token"] = self.session_token.reveal().decode("utf-8", "replace")
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Clients:
    """Clients of one set of keys."""

    made_at: float
    renew_at: float | None
    by_service: dict[str, Any] = field(repr=False)


class AwsClient:
    """Calls one service.

    Args:
        service: `secretsmanager` or `ssm`.
        aws: the block of the spec.
        spec: of the store.
        context: the surroundings.
        call_seconds: how long one call may take.
    """

    def __init__(
        self, service: str, aws: Aws, spec: StoreSpec, context: StoreContext, *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._service = service
        self._aws = aws
        self._spec = spec
        self._context = context
        self._resolver = Resolver(spec, context)
        self._threads = Threads(PROVIDER)
        self._call_seconds = call_seconds
        self._attempts, self._waits = _retrying(spec.retry)
        self._clients: _Clients | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def call(self, operation: str, *, doing: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to an operation that changes nothing.

        Args:
            operation: as boto3 names it, such as `get_secret_value`.
            doing: what for, in words that may be shown.
            parameters: of the operation.

        Raises:
            NoSecret: AWS knows us and has none.
            ProviderError: anything else.
        """
        clients = await self._current()
        try:
            return await self._repeated(clients, operation, doing, parameters)
        except Denied as error:
            if not isinstance(error, _Stale) or not await self._refused(clients):
                raise
        return await self._repeated(await self._current(), operation, doing, parameters)

    async def sign_in(self) -> None:
        """Return if there are credentials: roles are assumed, and answers of metadata services are waited for."""
        clients = await self._current()

        def look(session: Any) -> bool:
            credentials = session.get_credentials()
            return credentials is not None and bool(credentials.get_frozen_credentials().access_key)

        if not await self._in_thread(lambda: look(clients.by_service["session"]), "retrieving credentials"):
            raise ProviderError("no credentials were found", provider=PROVIDER)

    async def close(self) -> None:
        """Let go of connections and threads; never raises. Sessions of AWS end by themselves."""
        self._is_closed = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=self._call_seconds)
        if (clients := self._clients) is not None:
            self._clients = None
            clients.by_service[self._service].close()
        self._threads.close()

    # -- one call -------------------------------------------------------------------------------------------------

    async def _repeated(
        self, clients: _Clients, operation: str, doing: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        name = operation.title().replace("_", "")
        for attempt in range(self._attempts):
            method = getattr(clients.by_service[self._service], operation)
            try:
                return await self._observed(self._service, name, partial(method, **parameters), doing)
            except StoreUnavailable:
                if attempt == self._attempts - 1:
                    raise
            await self._context.clock.sleep(self._waits(attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _observed(self, service: str, name: str, call: Callable[[], T], doing: str) -> T:
        succeeded = False
        try:
            found = await self._in_thread(call, doing)
            succeeded = True
            return found
        except NoSecret:
            succeeded = True
            raise
        finally:
            self._context.observe_call(_SERVICES[service], name, succeeded)

    async def _in_thread(self, call: Callable[[], T], doing: str) -> T:
        def work() -> T:
            try:
                return call()
            except ClientError as error:
                # Not `from error` here and below: messages of AWS hold identities, and request ids that never repeat.
                raise translated(error, doing) from None
            except NoCredentialsError:
                raise ProviderError(f"{doing}: no credentials were found", provider=PROVIDER) from None
            except ParamValidationError:
                raise ProviderError(f"{doing}: AWS takes no such name, version or setting", provider=PROVIDER) from None
            except BotoCoreError as error:
                raise StoreUnavailable(f"{doing}: {type(error).__name__}", provider=PROVIDER) from None
            except (ResponseParserError, ValueError, KeyError, RecursionError) as error:
                # An answer that is none: broken JSON or XML, or without a field that is always there.
                raise StoreUnavailable(f"{doing}: {type(error).__name__}", provider=PROVIDER) from None

        return await self._threads.run(work, seconds=self._call_seconds)

    # -- credentials ----------------------------------------------------------------------------------------------

    async def _current(self) -> _Clients:
        clients = self._clients
        if clients is None:
            await self._once()
            if self._clients is None:
                raise StoreUnavailable("the store has been closed", provider=PROVIDER)
            return self._clients
        if clients.renew_at is not None and self._context.clock.monotonic() >= clients.renew_at:
            await self._once()
            return self._clients or clients
        return clients

    async def _refused(self, clients: _Clients) -> bool:
        """Return whether another try makes sense after the credentials were refused."""
        if self._clients is not clients:
            return True
        if self._context.clock.monotonic() - clients.made_at < _REFUSED_SECONDS:
            return False
        await self._once()
        return self._clients is not clients

    async def _once(self) -> None:
        if self._task is None:
            if self._is_closed:
                raise StoreUnavailable("the store has been closed", provider=PROVIDER)
            self._task = asyncio.create_task(self._replace())
            self._task.add_done_callback(self._done)
        await asyncio.shield(self._task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # those who waited have it; perhaps nobody did

    async def _replace(self) -> None:
        keys = await self._base_keys()
        assumed = self._aws.service_account is not None
        for role in (*self._aws.additional_roles, *((self._aws.role,) if self._aws.role else ())):
            extra = self._last_role() if role == self._aws.role else {}
            keys = await self._assumed(keys, role, extra)
            assumed = True
        now = self._context.clock.monotonic()
        by_service = await self._in_thread(lambda: self._made(keys), "setting up")
        # Clients that are replaced are not closed: calls of this moment use them. They go with the last of these.
        self._clients = _Clients(
            made_at=now, renew_at=now + _ASSUMED_SECONDS * _RENEW_AT if assumed else None, by_service=by_service
        )

    async def _base_keys(self) -> Keys | None:
        if (account := self._aws.service_account) is not None:
            annotations = await self._resolver.annotations(account)
            role = annotations.get(_ROLE_ANNOTATION, "")
            if not role:
                text = f'ServiceAccount "{self._resolver.key(account)}" has no annotation {_ROLE_ANNOTATION}'
                raise ProviderError(text, provider=PROVIDER)
            audience = annotations.get(_AUDIENCE_ANNOTATION) or _AUDIENCE
            token = await self._resolver.token(
                account, lifetime=timedelta(seconds=_ASSUMED_SECONDS), audiences=(audience,)
            )
            return await self._by_web_identity(role, token)
        if (ref := self._aws.auth.secret_ref) is not None:
            session = None if ref.session_token is None else await self._resolver.secret(ref.session_token)
            return Keys(
                access_key_id=await self._resolver.text(ref.access_key_id),
                secret_access_key=await self._resolver.secret(ref.secret_access_key),
                session_token=session,
            )
        return None

    async def _by_web_identity(self, role: str, token: SecretBytes) -> Keys:
        def assume() -> dict[str, Any]:
            client = self._client(boto3.session.Session(region_name=self._aws.region), "sts", signature=UNSIGNED)
            answer: dict[str, Any] = client.assume_role_with_web_identity(
                RoleArn=role, RoleSessionName=_SESSION_NAME, WebIdentityToken=token.reveal().decode("utf-8", "replace")
            )
            return answer

        doing = f'assuming role "{role}" by a token'
        return _keys(await self._observed("sts", "AssumeRoleWithWebIdentity", assume, doing))

    async def _assumed(self, keys: Keys | None, role: str, extra: Mapping[str, Any]) -> Keys:
        def assume() -> dict[str, Any]:
            answer: dict[str, Any] = self._client(self._session(keys), "sts").assume_role(
                RoleArn=role, RoleSessionName=_SESSION_NAME, **extra
            )
            return answer

        return _keys(await self._observed("sts", "AssumeRole", assume, f'assuming role "{role}"'))

    def _last_role(self) -> dict[str, Any]:
        """Return what the last role of the chain is assumed with."""
        aws, found = self._aws, dict[str, Any]()
        if aws.external_id:
            found["ExternalId"] = aws.external_id
        tags = {tag.key: tag.value for tag in aws.session_tags}
        if aws.session_tags_policy != "None":
            tags = dict(aws.custom_session_tags) if aws.session_tags_policy == "Custom" else {}
            tags |= {
                "esoNamespace": self._context.namespace,
                "esoStoreName": self._spec.name,
                "esoStoreKind": str(self._spec.kind),
            }
        if tags:
            found["Tags"] = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        if aws.transitive_tag_keys:
            found["TransitiveTagKeys"] = list(aws.transitive_tag_keys)
        return found

    # -- in a thread ----------------------------------------------------------------------------------------------

    def _made(self, keys: Keys | None) -> dict[str, Any]:
        session = self._session(keys)
        return {"session": session, self._service: self._client(session, self._service)}

    def _session(self, keys: Keys | None) -> Any:
        found = {} if keys is None else keys.for_session()
        return boto3.session.Session(region_name=self._aws.region, **found)

    def _client(self, session: Any, service: str, *, signature: Any = None) -> Any:
        settings: dict[str, Any] = {} if signature is None else {"signature_version": signature}
        return session.client(
            service,
            region_name=self._aws.region,
            endpoint_url=self._context.environment.get(_ENDPOINTS[service]) or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 1},  # repeating is ours to do
                max_pool_connections=WORKERS,
                user_agent_extra=f"fairlead/{fairlead.__version__}",
                **settings,
            ),
        )


class _Stale(Denied):
    """The credentials themselves are refused: new ones may do better."""


def translated(error: ClientError, doing: str) -> ProviderError:
    """Return the error that a code of AWS stands for; of its message, only what is known is used."""
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    metadata = answer.get("ResponseMetadata", {})
    return by_code(
        code,
        str(answer.get("Error", {}).get("Message", "")),
        doing,
        status=int(metadata.get("HTTPStatusCode") or 0),
        retry_after=_seconds(metadata.get("HTTPHeaders", {}).get("retry-after")),
    )


def by_code(code: str, message: str, doing: str, *, status: int = 0, retry_after: float | None = None) -> ProviderError:
    """Return the error that a code of AWS stands for."""
    code = code.rpartition("#")[2]
    if code in _ABSENT or (
        code in ("InvalidRequestException", "InvalidParameterException") and _DELETED.search(message)
    ):
        return NoSecret(provider=PROVIDER)
    text = f"{doing}: {code if _CODE.fullmatch(code) else 'an unexpected answer'}"
    if code in _STALE_CREDENTIALS:
        return _Stale(text, provider=PROVIDER)
    if code in _DENIED:
        return Denied(text, provider=PROVIDER)
    if code in _THROTTLED or status == 429:
        return Throttled(text, provider=PROVIDER, retry_after=retry_after)
    if status >= 500 or code in ("InternalServiceError", "InternalServiceErrorException", "InternalServerError"):
        return StoreUnavailable(text, provider=PROVIDER, retry_after=retry_after)
    return ProviderError(text, provider=PROVIDER)


def _keys(answer: Mapping[str, Any]) -> Keys:
    try:
        found = answer["Credentials"]
        return Keys(
            access_key_id=found["AccessKeyId"],
            secret_access_key=SecretBytes(found["SecretAccessKey"].encode()),
            session_token=SecretBytes(found["SessionToken"].encode()),
        )
    except (KeyError, TypeError, AttributeError):
        raise StoreUnavailable("the answer to assuming a role holds no credentials", provider=PROVIDER) from None


def _retrying(retry: RetrySettings | None) -> tuple[int, Callable[[int], float]]:
    if retry is None or retry.interval is None:
        attempts = _ATTEMPTS if retry is None or retry.max_retries is None else max(1, retry.max_retries)
        return attempts, lambda attempt: random.uniform(0.5, 1.0) * _FIRST_WAIT_SECONDS * 2.0**attempt
    seconds = retry.interval.total_seconds()
    return max(1, _ATTEMPTS if retry.max_retries is None else retry.max_retries), lambda attempt: seconds


def _seconds(text: object) -> float | None:
    return float(text) if isinstance(text, str) and text.isdecimal() and len(text) < 7 else None


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in groups of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
