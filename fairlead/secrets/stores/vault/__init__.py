"""HashiCorp Vault and OpenBao."""

from __future__ import annotations

import asyncio
from typing import Final

from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets.stores._http import tls_context
from fairlead.secrets.stores._selectors import Resolver
from fairlead.secrets.stores.port import Capabilities, Store, StoreContext, StoreSpec
from fairlead.secrets.stores.vault import spec as specs
from fairlead.secrets.stores.vault.client import CALL_SECONDS, VaultClient
from fairlead.secrets.stores.vault.login import Logins, way_in
from fairlead.secrets.stores.vault.paths import PROVIDER
from fairlead.secrets.stores.vault.store import VaultStore

__all__ = ["VaultProvider"]

_NO_CERTIFICATE: Final = b""


class VaultProvider:
    """Opens stores on Vault's KV engines.

    Args:
        call_seconds: how long one call may take.
    """

    capabilities = Capabilities.READ_WRITE
    converts_found_keys = False

    def __init__(self, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        return specs.problems(spec)

    def is_referent(self, spec: StoreSpec) -> bool:
        return specs.is_referent(spec)

    async def open(self, spec: StoreSpec, context: StoreContext, *, store: type[VaultStore] = VaultStore) -> Store:
        vault = specs.decode(spec)
        resolver = Resolver(spec, context)
        auth = vault.auth or specs.Auth()
        certificate, key = await self._certificate(vault, resolver)
        ca = await resolver.ca(vault.ca_bundle, vault.ca_provider)
        try:
            # In a thread: reading the roots of the system takes a while.
            tls = await asyncio.to_thread(tls_context, ca, certificate, key)
        except ValueError as error:
            raise ProviderError(str(error), provider=PROVIDER) from None
        way = await way_in(vault.auth, resolver)
        client = VaultClient(
            vault.server,
            namespace=vault.namespace or "",
            tls=tls,
            headers=vault.headers,
            retry=spec.retry,
            context=context,
            is_read_your_writes=vault.read_your_writes,
            is_forwarded=vault.forward_inconsistent,
            call_seconds=self._call_seconds,
        )
        namespace = vault.namespace if auth.namespace is None else auth.namespace
        return store(vault, client, Logins(client, way, context.clock, namespace=namespace or ""))

    async def _certificate(self, vault: specs.Vault, resolver: Resolver) -> tuple[bytes, bytes]:
        if vault.tls.cert_secret_ref is not None and vault.tls.key_secret_ref is not None:
            certificate = await resolver.secret(vault.tls.cert_secret_ref, default_key="tls.crt")
            key = await resolver.secret(vault.tls.key_secret_ref, default_key="tls.key")
            return certificate.reveal(), key.reveal()
        auth = vault.auth
        if auth is not None and auth.cert is not None and auth.cert.client_cert.name:
            certificate = await resolver.secret(auth.cert.client_cert, default_key="tls.crt")
            key = await resolver.secret(auth.cert.secret_ref, default_key="tls.key")
            return certificate.reveal(), key.reveal()
        return _NO_CERTIFICATE, _NO_CERTIFICATE
