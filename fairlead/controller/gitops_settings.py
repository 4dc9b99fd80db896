"""What an operator can set about Applications."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class OfflineKind(StrEnum):
    """Where the last good state is kept for the time when Git or the hub cannot be reached."""

    FILE = "file"  # a SQLite file
    SECRET = "secret"  # noqa: S105  # Secrets in the agent's own namespace
    NONE = "none"  # nowhere: nothing is healed after a restart until Git and the hub are back


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Where Git hosts tell of pushes.

    Attributes:
        port: 0 picks a free one; None: nobody listens.
        is_secret_required: whether hosts without a secret in `argocd-secret` are refused.
    """

    host: str = "0.0.0.0"  # noqa: S104 - Git hosts come from outside the pod
    port: int | None = None
    is_secret_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """When Applications are compared by themselves. Defaults are upstream's; `argocd-cm` wins where it says something.

    Attributes:
        interval: between comparisons; 0: only when something changes.
        jitter: how much longer it is at most.
        hard: between renders anew; 0: never.
    """

    interval: timedelta = timedelta(seconds=120)
    jitter: timedelta = timedelta(seconds=60)
    hard: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The central cluster whose Applications are applied here.

    Attributes:
        kubeconfig: leads there, with few rights.
        context: of it; empty: the current one.
    """

    kubeconfig: str
    context: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOps:
    """How Applications are looked after.

    Attributes:
        namespace: where Applications, projects, and the Secrets of repositories are.
        hub: where that is; None: in the cluster that is applied to.
        cluster_name, cluster_server: what Applications of the hub call this cluster.
        watched: the only namespaces of this cluster to look at; empty: wherever it is allowed.
        folder: for Git stores and private copies; one process uses it at a time.
        offline: what is kept where.
        offline_path: of the file; empty: `offline.db` in the folder.
        offline_namespace: of the Secrets, in this cluster.
        sync_timeout: after that a running sync is terminated; 0: never.
        wave_delay: pause after each wave but the last.
        server_dry_runs: whether the dry run before a sync asks the server, so that one bad object keeps all from being
            applied; twice the requests.
        server_side_diff: whether objects are compared by a dry run of the server, unless an Application says otherwise.
        protocols: that git may speak.
        workers: Applications that are looked at at a time; upstream's default.
    """

    namespace: str = "argocd"
    hub: Hub | None = None
    cluster_name: str = ""
    cluster_server: str = ""
    watched: tuple[str, ...] = ()
    folder: Path = Path("/tmp/fairlead-gitops")  # noqa: S108 - an emptyDir in a pod
    offline: OfflineKind = OfflineKind.FILE
    offline_path: str = ""
    offline_namespace: str = "argocd"
    polling: Polling = field(default_factory=Polling)
    webhooks: Webhooks = field(default_factory=Webhooks)
    sync_timeout: timedelta = timedelta(0)
    wave_delay: timedelta = timedelta(seconds=2)  # upstream's ARGOCD_SYNC_WAVE_DELAY
    server_dry_runs: bool = False
    server_side_diff: bool = False
    protocols: frozenset[str] = frozenset({"https", "ssh"})
    workers: int = 20
