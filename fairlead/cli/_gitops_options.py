"""The options about Applications: of `fairlead controller --gitops` and of `fairlead agent run`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from fairlead.cli.change import DURATION


def gitops_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, handed over as one `gitops` (how Applications are looked after)."""

    @click.option(
        "--gitops-namespace",
        default="argocd",
        show_default=True,
        help="Where Applications, AppProjects and Secrets of repositories are.",
    )
    @click.option(
        "--hub-kubeconfig",
        type=click.Path(exists=True, dir_okay=False),
        help="Take Applications of that cluster, apply them here, and report there.",
    )
    @click.option("--hub-context", default="", help="Context of the hub's kubeconfig.")
    @click.option("--cluster-name", default="", help="What Applications of the hub call this cluster.")
    @click.option("--cluster-server", default="", help="The same, by URL.")
    @click.option(
        "--gitops-watch",
        "watched",
        multiple=True,
        metavar="NAMESPACE",
        help="Look at this namespace only; may be repeated. Default: wherever it is allowed.",
    )
    @click.option(
        "--gitops-folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("/tmp/fairlead-gitops"),  # noqa: S108
        show_default=True,
        help="For Git stores and private copies.",
    )
    @click.option(
        "--git-poll", type=DURATION, default="2m", show_default=True, help="Compare that often; argocd-cm wins."
    )
    @click.option("--git-poll-jitter", type=DURATION, default="1m", show_default=True, help="At most so much later.")
    @click.option(
        "--git-poll-hard", type=DURATION, default="0s", show_default=True, help="Render anew that often; 0s: never."
    )
    @click.option(
        "--git-protocol",
        "protocols",
        multiple=True,
        type=click.Choice(["https", "ssh", "http", "file"]),
        default=("https", "ssh"),
        show_default=True,
        help="What git may speak; may be repeated.",
    )
    @click.option(
        "--offline-store",
        default="file",
        show_default=True,
        metavar="file[:PATH]|secret[:NAMESPACE]|none",
        help="Where the last good state is kept for the time when Git or the hub cannot be reached.",
    )
    @click.option("--webhook-host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
    @click.option("--webhook-port", type=click.IntRange(0, 65535), help="Listen for webhooks of Git hosts there.")
    @click.option(
        "--webhook-secret-required",
        is_flag=True,
        help="Refuse webhooks of hosts without a secret in argocd-secret.",
    )
    @click.option(
        "--sync-timeout", type=DURATION, default="0s", show_default=True, help="0s: a sync may take for ever."
    )
    @click.option(
        "--sync-wave-delay",
        type=DURATION,
        default="2s",
        show_default=True,
        help="Pause after each wave but the last, so that other controllers can react.",
    )
    @click.option(
        "--sync-dry-run",
        type=click.Choice(["client", "server"]),
        default="client",
        show_default=True,
        help="server: one bad object keeps all others from being applied, for twice the requests.",
    )
    @click.option(
        "--server-side-diff/--no-server-side-diff",
        default=False,
        show_default=True,
        help="Compare by dry runs of the server unless an Application says otherwise.",
    )
    @click.option(
        "--application-threads", type=click.IntRange(1, 1000), default=20, show_default=True, help="At a time."
    )
    @functools.wraps(command)
    def with_gitops(
        *args: Any,
        gitops_namespace: str,
        hub_kubeconfig: str | None,
        hub_context: str,
        cluster_name: str,
        cluster_server: str,
        watched: tuple[str, ...],
        gitops_folder: Path,
        git_poll: timedelta,
        git_poll_jitter: timedelta,
        git_poll_hard: timedelta,
        protocols: tuple[str, ...],
        offline_store: str,
        webhook_host: str,
        webhook_port: int | None,
        webhook_secret_required: bool,
        sync_timeout: timedelta,
        sync_wave_delay: timedelta,
        sync_dry_run: str,
        server_side_diff: bool,
        application_threads: int,
        **rest: Any,
    ) -> Any:
        from fairlead.controller.gitops_settings import GitOps, Hub, OfflineKind, Polling, Webhooks

        word, _, place = offline_store.partition(":")
        if word not in tuple(OfflineKind) or (place and word == OfflineKind.NONE):
            raise click.BadParameter(
                f"found {offline_store!r}, expected file, file:PATH, secret, secret:NAMESPACE or none",
                param_hint="--offline-store",
            )
        kind = OfflineKind(word)
        gitops = GitOps(
            namespace=gitops_namespace,
            hub=Hub(kubeconfig=hub_kubeconfig, context=hub_context) if hub_kubeconfig else None,
            cluster_name=cluster_name,
            cluster_server=cluster_server,
            watched=watched,
            folder=gitops_folder,
            offline=kind,
            offline_path=place if kind is OfflineKind.FILE else "",
            offline_namespace=(place if kind is OfflineKind.SECRET else "") or gitops_namespace,
            polling=Polling(interval=git_poll, jitter=git_poll_jitter, hard=git_poll_hard),
            webhooks=Webhooks(host=webhook_host, port=webhook_port, is_secret_required=webhook_secret_required),
            sync_timeout=sync_timeout,
            wave_delay=sync_wave_delay,
            server_dry_runs=sync_dry_run == "server",
            server_side_diff=server_side_diff,
            protocols=frozenset(protocols),
            workers=application_threads,
        )
        return command(*args, gitops=gitops, **rest)

    return with_gitops
