"""Secrets of another cluster, or of another namespace of this one.

Source: `external-secrets: providers/v1/kubernetes`. Unlike upstream, which knows it for `extract` only, a Secret that
the API server does not find is `NoSecret` for a single value, too.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from fairlead.core.cluster import Cluster
from fairlead.core.decoding import Decoder, Wire
from fairlead.core.errors import (
    ClusterError,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    ProviderError,
    SpecError,
    TooManyRequests,
    Unavailable,
)
from fairlead.core.kinds import SECRETS, Secret
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.secrets.stores import _selectors as selectors
from fairlead.secrets.stores._documents import NotJson, encode_texts, raw_entries
from fairlead.secrets.stores._properties import NAMES_MAX, lookup, matching
from fairlead.secrets.stores._selectors import (
    CAProvider,
    Resolver,
    SecretKeySelector,
    Selector,
    ServiceAccountSelector,
)
from fairlead.secrets.stores.base import ReadingStore
from fairlead.secrets.stores.port import (
    Capabilities,
    ClusterEndpoint,
    Denied,
    FindQuery,
    MetadataPolicy,
    NoSecret,
    RemoteCluster,
    RemoteRef,
    Store,
    StoreContext,
    StoreSpec,
    StoreUnavailable,
    Throttled,
    ValidationUnknown,
)
from fairlead.secrets.values import SecretBytes

PROVIDER: Final = "kubernetes"
_ROOT: Final = "spec.provider.kubernetes"
_OBSERVED_AS: Final = "Kubernetes"
_TOKEN_LIFETIME: Final = timedelta(seconds=3600)
_RENEW_AT: Final = 2 / 3
_REFUSED_SECONDS: Final = 10.0  # credentials that are refused are read again at most this often
_LABEL: Final = re.compile(r"[-A-Za-z0-9_./]*")
T = TypeVar("T")


class _Server(Wire, frozen=True, kw_only=True):
    url: str = "kubernetes.default"
    ca_bundle: str = ""
    ca_provider: CAProvider | None = None


class _Token(Wire, frozen=True, kw_only=True):
    bearer_token: SecretKeySelector


class _Certificate(Wire, frozen=True, kw_only=True):
    client_cert: SecretKeySelector
    client_key: SecretKeySelector


class _Auth(Wire, frozen=True, kw_only=True):
    token: _Token | None = None
    service_account: ServiceAccountSelector | None = None
    cert: _Certificate | None = None


class _Block(Wire, frozen=True, kw_only=True):
    server: _Server = _Server()
    remote_namespace: str = "default"
    auth_ref: SecretKeySelector | None = None
    auth: _Auth | None = None


_decoder: Final = Decoder(_Block, root=_ROOT)


def _selectors(block: _Block) -> list[tuple[str, Selector | None]]:
    auth = block.auth or _Auth()
    return [
        (f"{_ROOT}.authRef", block.auth_ref),
        (f"{_ROOT}.auth.serviceAccount", auth.service_account),
        (f"{_ROOT}.auth.token.bearerToken", auth.token.bearer_token if auth.token else None),
        (f"{_ROOT}.auth.cert.clientCert", auth.cert.client_cert if auth.cert else None),
        (f"{_ROOT}.auth.cert.clientKey", auth.cert.client_key if auth.cert else None),
    ]


class KubernetesProvider:
    """Opens stores on the Secrets of one namespace of a cluster."""

    capabilities = Capabilities.READ_WRITE
    converts_found_keys = True

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        try:
            block = _decoder.decode(spec.block)
        except SpecError as error:
            return [error]
        found = selectors.check(spec, _selectors(block))
        provider = block.server.ca_provider
        found += selectors.check_ca(spec, provider, path=f"{_ROOT}.server.caProvider", own_namespace_allowed=False)
        if block.server.ca_bundle:
            try:
                selectors.decode_bundle(block.server.ca_bundle, path=f"{_ROOT}.server.caBundle")
            except SpecError as error:
                found.append(error)
        if "://" in block.server.url and not block.server.url.startswith("https://"):
            found.append(SpecError("expected https", path=f"{_ROOT}.server.url"))
        if not block.remote_namespace:
            found.append(SpecError("must not be empty", path=f"{_ROOT}.remoteNamespace"))
        auth = block.auth
        ways = 0 if auth is None else sum(way is not None for way in (auth.token, auth.service_account, auth.cert))
        if block.auth_ref is None and auth is None:
            found.append(SpecError("expected authRef or auth", path=_ROOT))
        elif auth is not None and ways != 1:
            text = "expected exactly one of token, serviceAccount and cert"
            found.append(SpecError(text, path=f"{_ROOT}.auth"))
        return found

    def is_referent(self, spec: StoreSpec) -> bool:
        try:
            return selectors.is_referent(spec, [selector for _, selector in _selectors(_decoder.decode(spec.block))])
        except SpecError:
            return False

    async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
        block = _decoder.decode(spec.block)
        return KubernetesStore(block.remote_namespace, _Connection(block, Resolver(spec, context), context), context)


# -- the connection ---------------------------------------------------------------------------------------------------


class _Connection:
    """One cluster, with credentials that are read again when they run out or are refused."""

    def __init__(self, block: _Block, resolver: Resolver, context: StoreContext) -> None:
        self._block = block
        self._resolver = resolver
        self._context = context
        self._lock = asyncio.Lock()
        self._cluster: RemoteCluster | None = None
        self._previous: RemoteCluster | None = None  # calls of a moment ago may still use it
        self._made_at = 0.0
        self._is_closed = False

    async def cluster(self) -> RemoteCluster:
        if self._cluster is None or self._is_aged():
            async with self._lock:
                if self._cluster is None or self._is_aged():
                    await self._replace()
        assert self._cluster is not None, "a connection that could not be made has raised"
        return self._cluster

    async def refused(self, cluster: Cluster) -> bool:
        """Return whether another try makes sense after the server did not know us."""
        async with self._lock:
            if self._cluster is not cluster:
                return True
            if self._context.clock.monotonic() - self._made_at < _REFUSED_SECONDS:
                return False
            await self._replace()
            return True

    async def close(self) -> None:
        self._is_closed = True
        async with self._lock:
            for cluster in (self._previous, self._cluster):
                if cluster is not None:
                    await cluster.close()
            self._previous = self._cluster = None

    def _is_aged(self) -> bool:
        auth = self._block.auth
        lasts = auth is None or auth.service_account is None
        age = self._context.clock.monotonic() - self._made_at
        return not lasts and age >= _TOKEN_LIFETIME.total_seconds() * _RENEW_AT

    async def _replace(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the store has been closed", provider=PROVIDER)
        made = await self._connect()
        if self._previous is not None:
            await self._previous.close()
        self._previous, self._cluster = self._cluster, made
        self._made_at = self._context.clock.monotonic()

    async def _connect(self) -> RemoteCluster:
        endpoint = await self._endpoint()
        try:
            return await self._context.clusters.connect(endpoint)
        except SpecError as error:
            raise ProviderError(f"no way to the cluster: {error}", provider=PROVIDER) from None
        except ClusterError as error:
            raise StoreUnavailable(f"no way to the cluster: {error}", provider=PROVIDER) from error

    async def _endpoint(self) -> ClusterEndpoint:
        block, resolver = self._block, self._resolver
        if block.auth_ref is not None:
            return ClusterEndpoint(kubeconfig=await resolver.secret(block.auth_ref))
        try:
            ca = await resolver.ca(block.server.ca_bundle, block.server.ca_provider)
        except SpecError as error:
            raise ProviderError(str(error), provider=PROVIDER) from None
        auth = block.auth or _Auth()
        token: SecretBytes | None = None
        certificate: SecretBytes | None = None
        key: SecretBytes | None = None
        if auth.token is not None:
            token = await resolver.secret(auth.token.bearer_token)
        elif auth.service_account is not None:
            token = await resolver.token(auth.service_account, lifetime=_TOKEN_LIFETIME)
        elif auth.cert is not None:
            certificate = await resolver.secret(auth.cert.client_cert, default_key="tls.crt")
            key = await resolver.secret(auth.cert.client_key, default_key="tls.key")
        url = block.server.url
        return ClusterEndpoint(
            url=url if "://" in url else f"https://{url}", ca=ca, token=token, certificate=certificate, key=key
        )


# -- reading ----------------------------------------------------------------------------------------------------------


class SecretDocument:
    """The data of one Secret."""

    __slots__ = ("_data", "_name")

    def __init__(self, data: Mapping[str, bytes], *, name: str) -> None:
        self._data = data
        self._name = name

    def __repr__(self) -> str:
        return f"SecretDocument({self._name!r})"

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002 - the word of the API
        """Return all data as a JSON object of texts, one entry, or what gjson finds in one."""
        if not property:
            return SecretBytes(
                encode_texts({key: value.decode("utf-8", "replace") for key, value in self._data.items()})
            )
        if property in self._data:
            return SecretBytes(self._data[property])
        name, _, path = property.partition(".")
        found = lookup(self._data[name], path, provider=PROVIDER) if path and name in self._data else None
        if found is None:
            text = f'property {property} does not exist in data of secret "{self._name}"'
            raise ProviderError(text, provider=PROVIDER)
        return SecretBytes(found)

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        """Return the entries of the data, or of the JSON in one of them."""
        if not property:
            return {key: SecretBytes(value) for key, value in self._data.items()}
        return _entries(self.value(property), self._name)


class MetadataDocument:
    """The labels and annotations of one Secret."""

    __slots__ = ("_content", "_name")

    def __init__(self, metadata: ObjectMeta) -> None:
        self._name = metadata.name
        self._content = {"annotations": metadata.annotations, "labels": metadata.labels}

    def __repr__(self) -> str:
        return f"MetadataDocument({self._name!r})"

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002 - the word of the API
        """Return both as JSON, one of them, an entry of it, or what gjson finds in an entry."""
        if not property:
            parts = (f'"{kind}":{encode_texts(entries).decode()}' for kind, entries in self._content.items())
            return SecretBytes(f"{{{','.join(parts)}}}".encode())
        kind, _, rest = property.partition(".")
        entries = self._content.get(kind)
        if entries is not None and not rest:
            return SecretBytes(encode_texts(entries))
        found = _entry(entries or {}, rest)
        if found is None:
            text = f'property {property} does not exist in metadata of secret "{self._name}"'
            raise ProviderError(text, provider=PROVIDER)
        return SecretBytes(found)

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        """Return the entries of what `value` returns."""
        return _entries(self.value(property), self._name)


def _entry(entries: Mapping[str, str], path: str) -> bytes | None:
    """Return an entry, whose name may hold dots, or what gjson finds in it."""
    if path in entries:
        return entries[path].encode()
    for end in (found.start() for found in re.finditer(r"\.", path)):
        if path[:end] in entries:
            return lookup(entries[path[:end]].encode(), path[end + 1 :], provider=PROVIDER)
    return None


def _entries(document: SecretBytes, name: str) -> dict[str, SecretBytes]:
    try:
        found = raw_entries(document.reveal())
    except NotJson as error:
        raise ProviderError(f'unable to unmarshal secret "{name}": {error}', provider=PROVIDER) from None
    return {key: SecretBytes.of_text(text) for key, text in found.items()}


class KubernetesStore(ReadingStore):
    """Reads the Secrets of one namespace.

    Args:
        namespace: which.
        connection: to the cluster.
        context: is told of each call.
    """

    def __init__(self, namespace: str, connection: _Connection, context: StoreContext) -> None:
        self._namespace = namespace
        self._connection = connection
        self._context = context

    async def read_one(self, ref: RemoteRef) -> SecretDocument | MetadataDocument:
        key = ObjectKey(self._namespace, ref.key)
        secret = await self._ask("GetSecret", f'secret "{ref.key}"', lambda cluster: cluster.get(SECRETS, key))
        if ref.metadata_policy == MetadataPolicy.FETCH:
            return MetadataDocument(secret.metadata)
        return SecretDocument(_decoded(secret), name=ref.key)

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        if query.path is not None:
            raise ProviderError("find by path is not supported by the kubernetes provider", provider=PROVIDER)
        if not query.tags and query.name_regexp is None:
            raise ProviderError("find needs a name or tags", provider=PROVIDER)
        secrets = {secret.metadata.name: secret for secret in await self._list(_label_selector(query.tags))}
        names = list(secrets) if query.tags else matching(secrets, query, provider=PROVIDER)
        return {name: SecretDocument(_decoded(secrets[name]), name=name).value() for name in names}

    async def validate(self) -> None:
        try:
            rules = await self._ask("ReviewRules", "a review of our rules", self._review_rules)
            if any(_allows(rule) for rule in rules):
                return
            allowed = await self._ask("ReviewAccess", "a review of our access", self._review_access)
        except ProviderError as error:
            raise ValidationUnknown(str(error), provider=PROVIDER) from error
        if not allowed:
            raise Denied("client is not allowed to get secrets", provider=PROVIDER)

    async def close(self) -> None:
        await self._connection.close()

    async def _list(self, label_selector: str) -> list[Secret]:
        found: list[Secret] = []
        token = ""
        while True:

            async def page(cluster: Cluster, token: str = token) -> tuple[tuple[Secret, ...], str]:
                answer = await cluster.list(
                    SECRETS, namespace=self._namespace, label_selector=label_selector, continue_token=token
                )
                return answer.items, answer.continue_token

            items, token = await self._ask("ListSecrets", "secrets", page)
            found += items
            if len(found) > NAMES_MAX:
                raise ProviderError(f"find sees more than {NAMES_MAX} secrets", provider=PROVIDER)
            if not token:
                return found

    async def _ask(self, call: str, what: str, ask: Callable[[Cluster], Awaitable[T]]) -> T:
        succeeded = False
        cluster = await self._connection.cluster()
        try:
            try:
                found = await ask(cluster)
            except Forbidden as error:
                if error.status != 401 or not await self._connection.refused(cluster):
                    raise
                found = await ask(await self._connection.cluster())
            succeeded = True
            return found
        except ClusterError as error:
            succeeded = _is_absence(error)
            raise _translated(error, what) from None
        finally:
            self._context.observe_call(_OBSERVED_AS, call, succeeded)

    async def _review_rules(self, cluster: Cluster) -> list[_Rule]:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self._namespace},
        }
        return (await cluster.create(_RULES_REVIEWS, body)).status.resource_rules

    async def _review_access(self, cluster: Cluster) -> bool:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": self._namespace, "verb": "get", "resource": "secrets"}},
        }
        return (await cluster.create(_ACCESS_REVIEWS, body)).status.allowed


def _decoded(secret: Secret) -> dict[str, bytes]:
    try:
        return {key: binascii.a2b_base64(text, strict_mode=True) for key, text in secret.data.items()}
    except binascii.Error:
        text = f'secret "{secret.metadata.name}" holds what is no base64'
        raise ProviderError(text, provider=PROVIDER) from None


def _label_selector(tags: Mapping[str, str]) -> str:
    for part in (*tags, *tags.values()):
        if not _LABEL.fullmatch(part):
            raise ProviderError("find.tags: expected names and values of labels", provider=PROVIDER)
    return ",".join(f"{name}={value}" for name, value in sorted(tags.items()))


def _is_absence(error: ClusterError) -> bool:
    """Return whether the API server itself says that it has no such Secret: a stranger's 404 has no reason."""
    return isinstance(error, NotFound) and error.reason == "NotFound" and str(error).startswith("secrets ")


def _translated(error: ClusterError, what: str) -> ProviderError:
    text = f"could not get {what}: {error.reason or type(error).__name__}"
    match error:
        case NotFound() if _is_absence(error):
            return NoSecret(provider=PROVIDER)
        case Forbidden():
            return Denied(text, provider=PROVIDER)
        case TooManyRequests():
            return Throttled(text, provider=PROVIDER, retry_after=error.retry_after)
        case Unavailable():
            return StoreUnavailable(text, provider=PROVIDER, retry_after=error.retry_after)
        case Expired():
            return StoreUnavailable(text, provider=PROVIDER)
        case NotFound() | Invalid() | _:
            return ProviderError(text, provider=PROVIDER)


# -- reviews ----------------------------------------------------------------------------------------------------------


class _Rule(msgspec.Struct, frozen=True, rename="camel"):
    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


class _RulesStatus(msgspec.Struct, frozen=True, rename="camel"):
    resource_rules: list[_Rule] = []


class _RulesReview(msgspec.Struct, frozen=True):
    status: _RulesStatus = _RulesStatus()

    @property
    def metadata(self) -> ObjectMeta:
        return _UNNAMED


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()

    @property
    def metadata(self) -> ObjectMeta:
        return _UNNAMED


# A review has no name, and whoever decodes an object wants one.
_UNNAMED: Final = ObjectMeta(name="review")


def _review_kind(kind: str, plural: str, of: Any) -> Kind[Any]:
    return Kind("authorization.k8s.io", "v1", kind, plural, msgspec.json.Decoder(of).decode, namespaced=False)


_RULES_REVIEWS: Final[Kind[_RulesReview]] = _review_kind(
    "SelfSubjectRulesReview", "selfsubjectrulesreviews", _RulesReview
)
_ACCESS_REVIEWS: Final[Kind[_AccessReview]] = _review_kind(
    "SelfSubjectAccessReview", "selfsubjectaccessreviews", _AccessReview
)


def _allows(rule: _Rule) -> bool:
    return (
        bool({"get", "*"} & set(rule.verbs))
        and bool({"secrets", "*"} & set(rule.resources))
        and bool({"", "*"} & set(rule.api_groups))
    )
