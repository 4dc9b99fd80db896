"""Clusters that somebody describes in an object: a kubeconfig as data, which may not reach into this process.

A kubeconfig of the operator may name programs and files; one that a tenant wrote may not: it would run the program,
or send the file, with our rights.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml
from kubernetes_asyncio import client, config

from fairlead.core.errors import SpecError
from fairlead.kube._transport import CALL_SECONDS, RequestHook
from fairlead.kube.client import KubeCluster
from fairlead.kube.config import USER_AGENT, KubeConfigError

CONNECTIONS_MAX: Final = 16
_KUBECONFIG_BYTES_MAX: Final = 1024 * 1024

# By place: what would run a program, read a file of ours, or leave out the verification of TLS.
_REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "users": frozenset({"exec", "auth-provider", "tokenFile", "client-certificate", "client-key"}),
    "clusters": frozenset({"certificate-authority", "insecure-skip-tls-verify", "proxy-url"}),
}
_INNER: Final[Mapping[str, str]] = {"users": "user", "clusters": "cluster"}


def parse_kubeconfig(text: bytes) -> dict[str, Any]:
    """Return a kubeconfig of YAML.

    Raises:
        SpecError: it is none; nothing of it is in the message.
    """
    if len(text) > _KUBECONFIG_BYTES_MAX:
        raise SpecError("the kubeconfig is too long")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SpecError("the kubeconfig is no YAML") from None
    if not isinstance(found, dict):
        raise SpecError("the kubeconfig is no mapping")
    return found


def check_kubeconfig(kubeconfig: Mapping[str, Any]) -> None:
    """Return if the kubeconfig stays within itself.

    Raises:
        SpecError: naming the field that does not.
    """
    for place, refused in _REFUSED.items():
        entries = kubeconfig.get(place) or ()
        if isinstance(entries, str) or not isinstance(entries, Sequence):
            raise SpecError("expected a list", path=place)
        for index, entry in enumerate(entries):
            inner = entry.get(_INNER[place]) if isinstance(entry, Mapping) else None
            if not isinstance(inner, Mapping):
                raise SpecError("expected a mapping", path=f"{place}[{index}].{_INNER[place]}")
            for name in sorted(refused & inner.keys()):
                if inner[name]:
                    raise SpecError(
                        "is not allowed in a kubeconfig of the cluster", path=f"{place}[{index}].{_INNER[place]}.{name}"
                    )
            if place == "clusters" and not str(inner.get("server", "")).startswith("https://"):
                raise SpecError("expected https", path=f"{place}[{index}].cluster.server")


async def connect_to(
    kubeconfig: Mapping[str, Any], *, hook: RequestHook | None = None, call_seconds: float = CALL_SECONDS
) -> KubeCluster:
    """Return the cluster of a kubeconfig's current context. No request is made yet.

    Raises:
        SpecError: the kubeconfig is incomplete, or would reach into this process.
    """
    check_kubeconfig(kubeconfig)
    settings = client.Configuration()
    settings.connection_pool_maxsize = CONNECTIONS_MAX
    try:
        await config.load_kube_config_from_dict(dict(kubeconfig), client_configuration=settings)
        api = client.ApiClient(settings)
    except (config.ConfigException, ssl.SSLError, OSError, AttributeError, KeyError, TypeError, ValueError):
        # Not `from error`: the library quotes what it cannot use.
        raise KubeConfigError("the kubeconfig names no context, cluster and user that can be used") from None
    api.user_agent = USER_AGENT
    return KubeCluster(api, hook=hook, call_seconds=call_seconds)
