"""The credentials of stores, read from the cluster that fairlead runs in: live, one object at a time, never kept."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from fairlead.core.cluster import Cluster
from fairlead.core.errors import Invalid
from fairlead.core.kinds import SECRETS
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, struct_decoder
from fairlead.secrets.values import SecretBytes

_TOKEN_SECONDS_MIN: Final = 600  # the API server accepts no less


class _ConfigMap(msgspec.Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


class _ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()


class _Issued(msgspec.Struct, frozen=True, kw_only=True):
    token: str = ""

    def __repr__(self) -> str:
        return "_Issued(***)"


class _TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    status: _Issued = _Issued()


_CONFIG_MAPS: Final = Kind("", "v1", "ConfigMap", "configmaps", struct_decoder(_ConfigMap))
_SERVICE_ACCOUNTS: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts", struct_decoder(_ServiceAccount))


class ClusterCredentials:
    """Reads what a store's selectors name.

    Args:
        cluster: the one that the store's object lives in.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def secret(self, key: ObjectKey) -> Mapping[str, bytes]:
        found = await self._cluster.get(SECRETS, key)
        try:
            return {name: binascii.a2b_base64(text, strict_mode=True) for name, text in found.data.items()}
        except binascii.Error:
            raise Invalid(f"Secret {key} holds what is no base64") from None

    async def config_map(self, key: ObjectKey) -> Mapping[str, str]:
        return (await self._cluster.get(_CONFIG_MAPS, key)).data or {}

    async def service_account(self, key: ObjectKey) -> Mapping[str, str]:
        return (await self._cluster.get(_SERVICE_ACCOUNTS, key)).metadata.annotations

    async def token(self, key: ObjectKey, *, audiences: Sequence[str], lifetime: timedelta) -> SecretBytes:
        # TokenRequest is created below the ServiceAccount: to the port, a kind whose collection lies there.
        kind = Kind("", "v1", "TokenRequest", f"serviceaccounts/{key.name}/token", struct_decoder(_TokenRequest))
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": key.name},
            "spec": {
                "audiences": list(audiences),
                "expirationSeconds": max(_TOKEN_SECONDS_MIN, int(lifetime.total_seconds())),
            },
        }
        return SecretBytes((await self._cluster.create(kind, body, namespace=key.namespace)).status.token.encode())
