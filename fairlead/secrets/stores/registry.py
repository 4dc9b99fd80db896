"""Which provider knows which key below `spec.provider`.

Another package adds one through the entry-point group `fairlead.secret_stores`: the name is the key, the object a
callable without arguments that returns a `StoreProvider`. What ships with fairlead is registered the same way inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final

from fairlead.core.errors import SpecError
from fairlead.secrets.stores.port import StoreProvider

GROUP: Final = "fairlead.secret_stores"
ProviderFactory = Callable[[], StoreProvider]

# Keys of the API that no provider here answers for. A plug-in of the same name does.
_NOT_BUILT: Final = frozenset(
    [
        "akeyless",
        "alibaba",
        "azurekv",
        "barbican",
        "beyondtrust",
        "beyondtrustworkloadcredentials",
        "bitwardensecretsmanager",
        "chef",
        "cloudrusm",
        "conjur",
        "crd",
        "delinea",
        "device42",
        "doppler",
        "dvls",
        "fortanix",
        "gcpsm",
        "github",
        "gitlab",
        "ibm",
        "infisical",
        "keepersecurity",
        "nebiusmysterybox",
        "ngrok",
        "onboardbase",
        "onepassword",
        "onepasswordSDK",
        "oracle",
        "ovh",
        "passbolt",
        "passworddepot",
        "previder",
        "pulumi",
        "scaleway",
        "secretserver",
        "senhasegura",
        "volcengine",
        "webhook",
        "yandexcertificatemanager",
        "yandexlockbox",
    ]
)


def _fake() -> StoreProvider:
    from fairlead.secrets.stores.fake import FakeProvider

    return FakeProvider()


def _kubernetes() -> StoreProvider:
    from fairlead.secrets.stores.kubernetes import KubernetesProvider

    return KubernetesProvider()


def _vault() -> StoreProvider:
    from fairlead.secrets.stores.vault import VaultProvider

    return VaultProvider()


def _openbao() -> StoreProvider:
    from fairlead.secrets.stores.openbao import OpenBaoProvider

    return OpenBaoProvider()


def _aws() -> StoreProvider:
    from fairlead.secrets.stores.aws import AwsProvider

    return AwsProvider()


BUILT_IN: Final[Mapping[str, ProviderFactory]] = {
    "fake": _fake,
    "kubernetes": _kubernetes,
    "vault": _vault,
    "openBao": _openbao,
    "aws": _aws,
}


class StoreProviders:
    """Finds providers: those handed over, built-in ones, and those that are installed. Imports each at its first use.

    Args:
        extra: more of them, by key; they take precedence.
    """

    def __init__(self, extra: Mapping[str, ProviderFactory] | None = None) -> None:
        self._factories: dict[str, ProviderFactory] = {**BUILT_IN, **(extra or {})}
        self._made: dict[str, StoreProvider] = {}

    def provider(self, name: str) -> StoreProvider:
        """Return the provider of a key.

        Raises:
            SpecError: there is none, or it cannot be loaded: this store cannot work, others can.
        """
        if name not in self._made:
            self._made[name] = self._factory(name)()
        return self._made[name]

    def _factory(self, name: str) -> ProviderFactory:
        if name in self._factories:
            return self._factories[name]
        path = f"spec.provider.{name}"
        for point in entry_points(group=GROUP, name=name):
            try:
                factory: ProviderFactory = point.load()
            except (ImportError, AttributeError) as error:
                raise SpecError(f"the plug-in {point.value} cannot be loaded: {error}", path=path) from error
            return factory
        known = "is not built into fairlead yet" if name in _NOT_BUILT else "is no provider"
        raise SpecError(f"{known}: use {', '.join(BUILT_IN)} or a plug-in of the group {GROUP}", path=path)
