"""From a store's spec to a live store, for the controller and for anybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from fairlead.core.durations import parse_go_duration
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey
from fairlead.secrets.spec import RetrySettings as RetrySpec
from fairlead.secrets.spec import SecretStoreSpec, decode_store_spec
from fairlead.secrets.stores.port import RetrySettings, Store, StoreContext, StoreKind, StoreSpec
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters, StaticCredentials

_PROVIDERS: Final = StoreProviders()


class SystemClock:
    """The clock of this process, for use outside of the controller."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def store_spec(spec: SecretStoreSpec, *, kind: StoreKind, key: ObjectKey) -> StoreSpec:
    """Return what a provider needs of a store's spec.

    Args:
        spec: as decoded.
        kind: of the object that holds it.
        key: of that object.

    Raises:
        SpecError: not exactly one provider, or retry settings that are none.
    """
    if len(spec.provider) != 1:
        found = ", ".join(sorted(spec.provider)) or "none"
        raise SpecError(f"expected exactly one provider, found {found}", path="spec.provider")
    ((provider, block),) = spec.provider.items()
    return StoreSpec(
        provider=provider,
        block=block,
        kind=kind,
        name=key.name,
        namespace="" if kind is StoreKind.CLUSTER else key.namespace,
        retry=_retry(spec.retry_settings),
    )


def _retry(settings: RetrySpec | None) -> RetrySettings | None:
    if settings is None:
        return None
    interval: timedelta | None = None
    if settings.retry_interval is not None:
        try:
            interval = parse_go_duration(settings.retry_interval)
        except ValueError as error:
            raise SpecError(str(error), path="spec.retrySettings.retryInterval") from None
    return RetrySettings(max_retries=settings.max_retries, interval=interval)


def spec_of_manifest(manifest: Mapping[str, Any]) -> StoreSpec:
    """Return the spec of a SecretStore or ClusterSecretStore that is given as JSON data.

    Raises:
        SpecError: it is neither, or cannot work.
    """
    try:
        kind = StoreKind(str(manifest.get("kind", "")))
    except ValueError:
        raise SpecError("expected SecretStore or ClusterSecretStore", path="kind") from None
    metadata = manifest.get("metadata") or {}
    key = ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
    return store_spec(decode_store_spec(msgspec.json.encode(manifest.get("spec") or {})), kind=kind, key=key)


def outside_of_a_cluster() -> StoreContext:
    """Return surroundings without any cluster: no selector finds anything."""
    return StoreContext(clock=SystemClock(), credentials=StaticCredentials(), clusters=NoClusters())


@asynccontextmanager
async def open_store(
    spec: StoreSpec | Mapping[str, Any],
    context: StoreContext | None = None,
    *,
    providers: StoreProviders = _PROVIDERS,
) -> AsyncIterator[Store]:
    """Yield a live store; log out at the end.

    Args:
        spec: of the store, or a whole manifest as JSON data.
        context: its surroundings; default: none.
        providers: where its provider is found.

    Raises:
        SpecError: the spec cannot work.
        ProviderError: a credential could not be read.

    >>> import asyncio
    >>> manifest = {"kind": "SecretStore", "metadata": {"name": "s", "namespace": "n"}, "spec": {"provider": {"fake": {
    ...     "data": [{"key": "/db", "value": "x"}]}}}}
    >>> async def show():
    ...     async with open_store(manifest) as store:
    ...         return (await store.get(RemoteRef(key="/db"))).reveal()
    >>> from fairlead.secrets.stores.port import RemoteRef
    >>> asyncio.run(show())
    b'x'
    """
    if not isinstance(spec, StoreSpec):
        spec = spec_of_manifest(spec)
    context = context or outside_of_a_cluster()
    if spec.kind is StoreKind.NAMESPACED:
        context = replace(context, namespace=spec.namespace)
    provider = providers.provider(spec.provider)
    if problems := provider.validate_spec(spec):
        raise problems[0]
    store = await provider.open(spec, context)
    try:
        yield store
    finally:
        await store.close()
