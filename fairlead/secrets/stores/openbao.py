"""The `openBao` key: Vault's provider with fewer settings.

Source: `external-secrets: apis/externalsecrets/v1/secretstore_openbao_types.go`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from fairlead.core.decoding import Decoder, Wire
from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets.stores.port import Capabilities, FindQuery, Store, StoreContext, StoreSpec
from fairlead.secrets.stores.vault import VaultProvider
from fairlead.secrets.stores.vault.paths import PROVIDER
from fairlead.secrets.stores.vault.store import VaultStore
from fairlead.secrets.values import SecretBytes

_ROOT: Final = "spec.provider.openBao"
_WAYS: Final = ("appRole", "tokenSecretRef", "userPass")


class _OpenBao(Wire, frozen=True, kw_only=True):
    server: str = ""
    path: str | None = None
    version: str = "v2"
    namespace: str | None = None
    ca_bundle: str = ""
    ca_provider: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None


_decoder: Final = Decoder(_OpenBao, root=_ROOT)


def _as_vault(spec: StoreSpec) -> StoreSpec:
    block = _decoder.decode(spec.block)
    return replace(spec, provider=PROVIDER, block=msgspec.Raw(msgspec.json.encode(block)))


class OpenBaoProvider:
    """Opens stores on OpenBao's KV engines."""

    capabilities = Capabilities.READ_ONLY
    converts_found_keys = False

    def __init__(self) -> None:
        self._vault = VaultProvider()

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        try:
            block = _decoder.decode(spec.block)
            found = [
                SpecError(error.detail, path=error.path.replace("spec.provider.vault", _ROOT, 1))
                for error in self._vault.validate_spec(_as_vault(spec))
            ]
        except SpecError as error:
            return [error]
        if block.ca_bundle and block.ca_provider is not None:
            found.append(SpecError("expected at most one of caBundle and caProvider", path=_ROOT))
        auth = block.auth or {}
        if block.auth is not None and sum(auth.get(way) is not None for way in _WAYS) != 1:
            found.append(SpecError(f"expected exactly one of {', '.join(_WAYS)}", path=f"{_ROOT}.auth"))
        role = auth.get("appRole")
        if isinstance(role, dict) and bool(role.get("roleId")) == (role.get("roleRef") is not None):
            found.append(SpecError("expected exactly one of roleId and roleRef", path=f"{_ROOT}.auth.appRole"))
        return found

    def is_referent(self, spec: StoreSpec) -> bool:
        try:
            return self._vault.is_referent(_as_vault(spec))
        except SpecError:
            return False

    async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
        return await self._vault.open(_as_vault(spec), context, store=_OpenBaoStore)


class _OpenBaoStore(VaultStore):
    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        if query.tags:
            raise ProviderError("find by tags is not supported by the openBao provider", provider=PROVIDER)
        return await super().find(query)
