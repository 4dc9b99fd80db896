"""What a provider of secrets is to the rest: one live connection behind `Store`, opened by a `StoreProvider`.

Nobody here knows a provider by name. What a provider may need of its surroundings (Secrets that hold its
credentials, tokens of ServiceAccounts, another cluster, the time) is handed to it in a `StoreContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.errors import ProviderError, SpecError
from fairlead.core.objects import ObjectKey
from fairlead.secrets.spec import MetadataPolicy as MetadataPolicy
from fairlead.secrets.spec import StoreKind as StoreKind
from fairlead.secrets.values import SecretBytes

# -- questions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRef:
    """One value at the provider."""

    key: str
    property: str = ""
    version: str = ""
    metadata_policy: MetadataPolicy = MetadataPolicy.NONE

    def document(self) -> RemoteRef:
        """Return the ref of the whole that this is a property of: equal ones are one call, whoever asks."""
        return RemoteRef(key=self.key, version=self.version, metadata_policy=self.metadata_policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindQuery:
    """Many values at once, by folder, by name (RE2, unanchored) or by tags. None and empty tags: not asked."""

    path: str | None = None
    name_regexp: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


# -- what goes wrong --------------------------------------------------------------------------------------------------


class NoSecret(ProviderError):
    """The provider knows us and says that there is no such secret: the one answer that may delete anything."""

    def __init__(self, message: str = "Secret does not exist", *, provider: str) -> None:
        super().__init__(message, provider=provider)


class Throttled(ProviderError):
    """The provider asks for patience.

    Args:
        retry_after: seconds that it asked for, or None.
    """

    def __init__(self, message: str, *, provider: str, retry_after: float | None = None) -> None:
        super().__init__(message, provider=provider)
        self.retry_after = retry_after


class Denied(ProviderError):
    """The provider does not know us, or we may not read this."""


class StoreUnavailable(ProviderError):
    """No answer, half an answer, sealed, or a fault of the provider: nothing is known of the secret.

    Args:
        retry_after: seconds that it asked for, or None.
    """

    def __init__(self, message: str, *, provider: str, retry_after: float | None = None) -> None:
        super().__init__(message, provider=provider)
        self.retry_after = retry_after


class ValidationUnknown(ProviderError):
    """Whether the store works could not be found out; it counts as ready, with that reason."""


# -- the store --------------------------------------------------------------------------------------------------------


class Document(Protocol):
    """What a provider has under one key: read once, asked for any of its properties. Its repr shows nothing of it."""

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002 - the word of the API
        """Return the whole, or one property of it.

        Raises:
            ProviderError: there is no such property.
        """
        ...

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        """Return the entries of the whole, or of one property of it, keys as the provider has them.

        Raises:
            ProviderError: there is no such property, or it is no mapping.
        """
        ...


class Store(Protocol):
    """One live connection, shared by all that use the same store with the same identity.

    Every method raises only branches of `ProviderError`, and `asyncio.CancelledError`; every call is bounded in
    time and in bytes. A missing property of a present secret is a plain `ProviderError`, not `NoSecret`.
    """

    async def read(self, refs: Sequence[RemoteRef]) -> list[Document | ProviderError]:
        """Return what is under the key of each ref, in order, in as few calls as the provider allows.

        The refs' properties play no part: refs that differ in these only are one call (see `RemoteRef.document()`). An
        answer that is an error (`NoSecret`, ...) stands in the list; this never raises for one of them.
        """
        ...

    async def get(self, ref: RemoteRef) -> SecretBytes:
        """Return one value.

        Raises:
            NoSecret: the provider, knowing who asks, has none.
        """
        ...

    async def get_map(self, ref: RemoteRef) -> dict[str, SecretBytes]:
        """Return the entries of one value that is a mapping (`dataFrom.extract`), keys as the provider has them.

        Raises:
            NoSecret: the provider, knowing who asks, has none.
        """
        ...

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        """Return all values that match (`dataFrom.find`), by their name at the provider; empty when none does.

        Raises:
            NoSecret: the folder itself does not exist.
        """
        ...

    async def get_many(self, refs: Sequence[RemoteRef]) -> list[SecretBytes | ProviderError]:
        """Return the value of each ref, in order, in as few calls as the provider allows; never raises for one."""
        ...

    async def validate(self) -> None:
        """Return if the credentials work.

        Raises:
            ValidationUnknown: it could not be found out.
        """
        ...

    async def close(self) -> None:
        """Log out and let go of every connection and thread; never raises. Calls under way may end as unavailable."""
        ...


# -- opening one ------------------------------------------------------------------------------------------------------


class Capabilities(StrEnum):
    """What a store's status says that it can do."""

    READ_ONLY = "ReadOnly"
    WRITE_ONLY = "WriteOnly"
    READ_WRITE = "ReadWrite"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """`spec.retrySettings`: None means not given, which is not the same as 0."""

    max_retries: int | None = None
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """Which provider, and its block of the store's spec as raw JSON (which a provider decodes by itself).

    Args:
        provider: the key below `spec.provider`, such as `vault`.
        block: the JSON object below that key.
        kind: of the object that holds the spec.
        name: of that object.
        namespace: of that object; empty for a ClusterSecretStore.
        retry: `spec.retrySettings`, or None when absent.
    """

    provider: str
    block: msgspec.Raw
    kind: StoreKind = StoreKind.NAMESPACED
    name: str = ""
    namespace: str = ""
    retry: RetrySettings | None = None

    def __repr__(self) -> str:  # a block may hold values: the fake provider's does
        return f"StoreSpec({self.kind} {ObjectKey(self.namespace, self.name)}, provider={self.provider!r})"


class Credentials(Protocol):
    """Where a store's own credentials come from: objects of the cluster that fairlead runs in."""

    async def secret(self, key: ObjectKey) -> Mapping[str, bytes]:
        """Return the data of a Secret. Raises: branches of ClusterError."""
        ...

    async def config_map(self, key: ObjectKey) -> Mapping[str, str]:
        """Return the data of a ConfigMap. Raises: branches of ClusterError."""
        ...

    async def service_account(self, key: ObjectKey) -> Mapping[str, str]:
        """Return the annotations of a ServiceAccount. Raises: branches of ClusterError."""
        ...

    async def token(self, key: ObjectKey, *, audiences: Sequence[str], lifetime: timedelta) -> SecretBytes:
        """Return a fresh token of a ServiceAccount (TokenRequest). Raises: branches of ClusterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEndpoint:
    """How another cluster is reached: a whole kubeconfig, or an address and one way to authenticate.

    Args:
        url: of the API server; empty with a kubeconfig.
        ca: PEM; empty for the roots of the system.
        token: a bearer token, or None.
        certificate: PEM of a client certificate, or None.
        key: PEM of its key, or None.
        kubeconfig: YAML, or None. It may name no `exec` and no auth-provider: it comes from an object of a tenant.
    """

    url: str = ""
    ca: bytes = b""
    token: SecretBytes | None = None
    certificate: SecretBytes | None = None
    key: SecretBytes | None = None
    kubeconfig: SecretBytes | None = None


class RemoteCluster(Cluster, Protocol):
    """A Cluster that somebody opened and has to close."""

    async def close(self) -> None: ...


class ClusterConnector(Protocol):
    """Opens connections to other clusters; implemented where `fairlead.kube` may be imported."""

    async def connect(self, endpoint: ClusterEndpoint) -> RemoteCluster:
        """Return a cluster. Raises: SpecError for an endpoint that cannot be one, branches of ClusterError."""
        ...


CallObserver = Callable[[str, str, bool], None]  # provider ("HashiCorp/Vault"), call ("ReadSecretData"), succeeded


def _unobserved(provider: str, call: str, succeeded: bool) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContext:
    """What a provider may use of its surroundings.

    Args:
        clock: for logins that run out.
        credentials: reads the objects that a spec's selectors name.
        clusters: opens other clusters (the kubernetes provider).
        namespace: of the ExternalSecret that uses the store; selectors of a ClusterSecretStore that name no namespace
            are resolved here. Empty when nobody uses it yet (validation).
        environment: settings of the operator, such as `AWS_STS_ENDPOINT` (not of the user).
        observe_call: told of each call to the provider.
    """

    clock: Clock
    credentials: Credentials
    clusters: ClusterConnector
    namespace: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    observe_call: CallObserver = _unobserved


class StoreProvider(Protocol):
    """Knows one key below `spec.provider`. Stateless; found by the entry-point group `fairlead.secret_stores`."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def converts_found_keys(self) -> bool:
        """Whether keys that `find` returns are to be converted before they are rewritten, and not after."""
        ...

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        """Return everything that is wrong with the block, without asking anybody; empty when it may be opened."""
        ...

    def is_referent(self, spec: StoreSpec) -> bool:
        """Return whether credentials come from the user's namespace: never share such a store across namespaces."""
        ...

    async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
        """Return a store; nobody is logged in yet, so what it names need not be right.

        Raises:
            SpecError: the block cannot work.
            ProviderError: what it names (a token, a bundle of certificates) could not be read, or is none.
        """
        ...
