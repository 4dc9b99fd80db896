"""Connections to the clusters that stores of secrets describe: the port of `fairlead.secrets` on `fairlead.kube`."""

from __future__ import annotations

import base64
from typing import Any

from fairlead.kube.client import KubeCluster
from fairlead.kube.endpoints import connect_to, parse_kubeconfig
from fairlead.secrets.stores.port import ClusterEndpoint
from fairlead.secrets.values import SecretBytes


class RemoteClusters:
    """A ClusterConnector. Whoever connects closes."""

    async def connect(self, endpoint: ClusterEndpoint) -> KubeCluster:
        if endpoint.kubeconfig is not None:
            return await connect_to(parse_kubeconfig(endpoint.kubeconfig.reveal()))
        return await connect_to(_kubeconfig(endpoint))


def _kubeconfig(endpoint: ClusterEndpoint) -> dict[str, Any]:
    cluster: dict[str, Any] = {"server": endpoint.url}
    if endpoint.ca:
        cluster["certificate-authority-data"] = base64.b64encode(endpoint.ca).decode()
    user: dict[str, Any] = {}
    if endpoint.token is not None:
        user["token"] = endpoint.token.reveal().decode("utf-8", "replace").strip()
    if endpoint.certificate is not None and endpoint.key is not None:
        user["client-certificate-data"] = _encoded(endpoint.certificate)
        user["client-key-data"] = _encoded(endpoint.key)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "store",
        "clusters": [{"name": "store", "cluster": cluster}],
        "users": [{"name": "store", "user": user}],
        "contexts": [{"name": "store", "context": {"cluster": "store", "user": "store"}}],
    }


def _encoded(value: SecretBytes) -> str:
    return base64.b64encode(value.reveal()).decode()
