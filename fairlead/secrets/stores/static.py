"""Credentials that are at hand, and a cluster that is not: for using stores without Kubernetes, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NoReturn

from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey
from fairlead.secrets.stores.port import ClusterEndpoint, RemoteCluster
from fairlead.secrets.values import SecretBytes


class StaticCredentials:
    """The objects that a store's selectors may name, given as values.

    Args:
        secrets: data by (namespace, name).
        config_maps: data by (namespace, name).
        service_accounts: annotations by (namespace, name).
        tokens: of ServiceAccounts by (namespace, name), handed out whatever the audience.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[tuple[str, str], Mapping[str, bytes]] | None = None,
        config_maps: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
        service_accounts: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
        tokens: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self._secrets = dict(secrets or {})
        self._config_maps = dict(config_maps or {})
        self._service_accounts = dict(service_accounts or {})
        self._tokens = dict(tokens or {})

    def __repr__(self) -> str:
        return f"StaticCredentials(secrets={sorted(self._secrets)})"

    async def secret(self, key: ObjectKey) -> Mapping[str, bytes]:
        return self._secrets[key] if key in self._secrets else _missing("secrets", key)

    async def config_map(self, key: ObjectKey) -> Mapping[str, str]:
        return self._config_maps[key] if key in self._config_maps else _missing("configmaps", key)

    async def service_account(self, key: ObjectKey) -> Mapping[str, str]:
        return self._service_accounts[key] if key in self._service_accounts else _missing("serviceaccounts", key)

    async def token(self, key: ObjectKey, *, audiences: Sequence[str], lifetime: timedelta) -> SecretBytes:
        return SecretBytes(self._tokens[key].encode()) if key in self._tokens else _missing("serviceaccounts", key)


def _missing(what: str, key: ObjectKey) -> NoReturn:
    raise NotFound(f'{what} "{key.name}" not found', status=404, reason="NotFound")


class NoClusters:
    """Reaches no cluster."""

    async def connect(self, endpoint: ClusterEndpoint) -> RemoteCluster:
        raise NotFound("no way to other clusters was handed in")
