"""Kubernetes for real: the Cluster port on kubernetes-asyncio. The only package that imports it.

Importing it takes some 400 ms: do so inside the commands that talk to a cluster.
"""

from fairlead.kube._transport import RequestHook
from fairlead.kube.client import KubeCluster
from fairlead.kube.config import KubeConfigError, cluster_at, connect

__all__ = ["KubeCluster", "KubeConfigError", "RequestHook", "cluster_at", "connect"]
