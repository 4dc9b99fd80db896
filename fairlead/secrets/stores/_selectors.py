"""The selectors by which a store's spec names its own credentials, and how they are resolved.

A SecretStore looks in its own namespace and nowhere else. A ClusterSecretStore looks where the selector says, and where
it says nothing, in the namespace of whoever uses the store ("referent").
Source: `external-secrets: runtime/esutils/resolvers`, `runtime/esutils/utils.go: ValidateSecretSelector`.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from fairlead.core.decoding import Wire
from fairlead.core.errors import ClusterError, NotFound, ProviderError, SpecError, TooManyRequests, Unavailable
from fairlead.core.objects import ObjectKey
from fairlead.secrets.stores.port import StoreContext, StoreKind, StoreSpec, StoreUnavailable
from fairlead.secrets.values import SecretBytes


class SecretKeySelector(Wire, frozen=True, kw_only=True):
    """One key of a Secret."""

    name: str = ""
    namespace: str | None = None
    key: str = ""


class ServiceAccountSelector(Wire, frozen=True, kw_only=True):
    """A ServiceAccount, and for whom its tokens are meant."""

    name: str
    namespace: str | None = None
    audiences: tuple[str, ...] = ()


class CAProvider(Wire, frozen=True, kw_only=True):
    """Where a bundle of certificates is kept."""

    type: Literal["Secret", "ConfigMap"]
    name: str
    key: str = ""
    namespace: str | None = None


Selector = SecretKeySelector | ServiceAccountSelector


def check(spec: StoreSpec, selectors: Sequence[tuple[str, Selector | None]]) -> list[SpecError]:
    """Return what is wrong with the namespaces of selectors, given by field path."""
    if spec.kind is StoreKind.CLUSTER:
        return []
    text = "namespace should either be empty or match the namespace of the SecretStore for a namespaced SecretStore"
    return [
        SpecError(text, path=path)
        for path, selector in selectors
        if selector is not None and selector.namespace is not None and selector.namespace != spec.namespace
    ]


def check_ca(
    spec: StoreSpec, provider: CAProvider | None, *, path: str, own_namespace_allowed: bool = True
) -> list[SpecError]:
    """Return what is wrong with the namespace of a CA provider."""
    if provider is None:
        return []
    if spec.kind is StoreKind.CLUSTER:
        return [] if provider.namespace else [SpecError("missing namespace on caProvider secret", path=path)]
    allowed = (None, spec.namespace) if own_namespace_allowed else (None,)
    if provider.namespace in allowed:
        return []
    return [SpecError("namespace must be the one of the SecretStore, or absent", path=f"{path}.namespace")]


def is_referent(spec: StoreSpec, selectors: Sequence[Selector | None]) -> bool:
    """Return whether any of the selectors is resolved in the user's namespace."""
    return spec.kind is StoreKind.CLUSTER and any(
        selector is not None and selector.namespace is None for selector in selectors
    )


class Resolver:
    """Reads what selectors name; every error says which object, never what is in it.

    Args:
        spec: of the store.
        context: its surroundings.
    """

    def __init__(self, spec: StoreSpec, context: StoreContext) -> None:
        self._spec = spec
        self._context = context

    def key(self, selector: Selector | CAProvider) -> ObjectKey:
        """Return which object is meant.

        Raises:
            ProviderError: it depends on who uses the store, and nobody does.
        """
        if self._spec.kind is StoreKind.NAMESPACED:
            return ObjectKey(self._spec.namespace, selector.name)
        namespace = selector.namespace or self._context.namespace
        if not namespace:
            raise self._error(f'"{selector.name}" names no namespace, and nobody uses the store yet')
        return ObjectKey(namespace, selector.name)

    async def secret(self, selector: SecretKeySelector, *, default_key: str = "") -> SecretBytes:
        """Return the value that a selector names, as it is.

        Raises:
            ProviderError: the Secret or its key does not exist, or cannot be read.
        """
        key, entry = self.key(selector), selector.key or default_key
        try:
            data = await self._context.credentials.secret(key)
        except ClusterError as error:
            raise self._unreadable(f'Secret "{key}"', error) from error
        if entry not in data:
            raise self._error(f'cannot find secret data for key: "{entry}" (in Secret "{key}")')
        return SecretBytes(data[entry])

    async def text(self, selector: SecretKeySelector, *, default_key: str = "") -> str:
        """Return the value as text. Raises: ProviderError: also when it is no UTF-8."""
        value = await self.secret(selector, default_key=default_key)
        try:
            return value.reveal().decode()
        except UnicodeDecodeError:
            text = f'key "{selector.key or default_key}" of Secret "{self.key(selector)}" is no UTF-8 text'
            raise self._error(text) from None

    async def ca(self, bundle: bytes | str, provider: CAProvider | None) -> bytes:
        """Return the PEM that the store trusts; empty for the roots of the system.

        Args:
            bundle: `caBundle` as written: base64 of PEM, or of base64 of PEM.
            provider: `caProvider`; used when there is no bundle.

        Raises:
            SpecError: the bundle holds no certificate.
            ProviderError: the provider's object or key does not exist.
        """
        if bundle:
            return decode_bundle(bundle, path="caBundle")
        if provider is None:
            return b""
        key = self.key(provider)
        try:
            if provider.type == "Secret":
                found: bytes | None = (await self._context.credentials.secret(key)).get(provider.key)
            else:
                text = (await self._context.credentials.config_map(key)).get(provider.key)
                found = None if text is None else text.encode()
        except ClusterError as error:
            raise self._unreadable(f'{provider.type} "{key}"', error) from error
        if found is None:
            raise self._error(f'caProvider: {provider.type} "{key}" has no key "{provider.key}"')
        return decode_pem(found, path="caProvider")

    async def annotations(self, selector: ServiceAccountSelector) -> dict[str, str]:
        """Return the annotations of a ServiceAccount. Raises: ProviderError."""
        key = self.key(selector)
        try:
            return dict(await self._context.credentials.service_account(key))
        except ClusterError as error:
            raise self._unreadable(f'ServiceAccount "{key}"', error) from error

    async def token(
        self, selector: ServiceAccountSelector, *, lifetime: timedelta, audiences: Sequence[str] = ()
    ) -> SecretBytes:
        """Return a fresh token, for the audiences of the selector and those given. Raises: ProviderError."""
        key = self.key(selector)
        wanted = tuple(dict.fromkeys((*selector.audiences, *audiences)))
        try:
            return await self._context.credentials.token(key, audiences=wanted, lifetime=lifetime)
        except ClusterError as error:
            raise self._unreadable(f'a token of ServiceAccount "{key}"', error) from error

    def _error(self, text: str) -> ProviderError:
        return ProviderError(text, provider=self._spec.provider)

    def _unreadable(self, what: str, error: ClusterError) -> ProviderError:
        text = f"could not get {what}: {error.reason or error}"
        if isinstance(error, NotFound):
            text = f"could not get {what}: not found"
        if isinstance(error, (Unavailable, TooManyRequests)):
            return StoreUnavailable(text, provider=self._spec.provider, retry_after=error.retry_after)
        return self._error(text)


def decode_bundle(bundle: bytes | str, *, path: str) -> bytes:
    """Return the PEM of a `caBundle`. Raises: SpecError."""
    try:
        return decode_pem(base64.b64decode(re.sub(rb"[\r\n]", b"", _bytes(bundle)), validate=True), path=path)
    except binascii.Error:
        raise SpecError("expected base64 of PEM", path=path) from None


def decode_pem(data: bytes, *, path: str) -> bytes:
    """Return PEM that is given as such or as base64 of it, and can be read. Raises: SpecError."""
    if b"-----BEGIN" not in data:
        try:
            data = base64.b64decode(re.sub(rb"\s", b"", data), validate=True)
        except binascii.Error:
            raise SpecError("expected PEM, or base64 of PEM", path=path) from None
    try:
        ssl.create_default_context(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SpecError("holds no certificate that can be read", path=path) from None
    return data


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
