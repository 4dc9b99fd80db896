"""`fairlead agent run`: the GitOps agent as a process of its own."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairlead.cli._gitops_options import gitops_options
from fairlead.cli._options import asynchronous
from fairlead.cli.change import DURATION

if TYPE_CHECKING:
    from fairlead.controller.gitops_settings import GitOps

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LEASE = "fairlead-agent-lock"


@click.command("run")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Default: KUBECONFIG, the pod's account, ~/.kube.")
@click.option("--context", help="Context of the kubeconfig to use.")
@gitops_options
@click.option(
    "--leader-elect/--no-leader-elect", default=True, show_default=True, help="Work only while a lease is held."
)
@click.option(
    "--leader-election-namespace", default="", help="In this cluster. Default: POD_NAMESPACE, the pod's own, fairlead."
)
@click.option("--leader-election-lease-duration", type=DURATION, default="15s", show_default=True)
@click.option("--leader-election-renew-deadline", type=DURATION, default="10s", show_default=True)
@click.option("--leader-election-retry-period", type=DURATION, default="2s", show_default=True)
@click.option("--host", default="0.0.0.0", show_default=True, help="Where health and metrics are served.")  # noqa: S104
@click.option("--healthzPort", "health_port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--metricsPort", "--metricsport", "metrics_port", type=click.IntRange(0, 65535), default=8090, show_default=True
)
@click.option("--loglevel", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True)
@click.option("--logformat", type=click.Choice(["json", "text"]), default="json", show_default=True)
@asynchronous
async def run_(
    kubeconfig: str | None,
    context: str | None,
    gitops: GitOps,
    leader_elect: bool,
    leader_election_namespace: str,
    leader_election_lease_duration: timedelta,
    leader_election_renew_deadline: timedelta,
    leader_election_retry_period: timedelta,
    host: str,
    health_port: int,
    metrics_port: int,
    loglevel: str,
    logformat: str,
) -> None:
    """Run the GitOps agent until SIGTERM or SIGINT: Applications are applied to this cluster, and nothing else is done.

    The Applications are in this cluster, or with --hub-kubeconfig in a central one. `fairlead agent rbac` prints the
    rights that it needs. /healthz, /readyz and /metrics are served on both ports.

    \b
    Examples:
      fairlead agent run --gitops-namespace argocd --offline-store file:/state/offline.db
      fairlead agent run --hub-kubeconfig hub.kubeconfig --gitops-namespace spoke-1 --cluster-name spoke-1
    """
    from fairlead.controller import logs, main
    from fairlead.controller.settings import Election, Serving, Settings

    if not leader_election_retry_period < leader_election_renew_deadline < leader_election_lease_duration:
        raise click.UsageError("expected retry period < renew deadline < lease duration")
    election = Election(
        namespace=leader_election_namespace or _own_namespace(),
        name=_LEASE,
        duration=leader_election_lease_duration,
        renew_deadline=leader_election_renew_deadline,
        retry=leader_election_retry_period,
    )
    settings = Settings(
        serving=Serving(host=host, health_port=health_port, metrics_port=metrics_port),
        election=election if leader_elect else None,
        gitops=gitops,
    )
    logs.configure(level=loglevel, json=logformat == "json")
    await main.run_agent(settings, kubeconfig=kubeconfig, context=context)


def _own_namespace() -> str:
    if found := os.environ.get("POD_NAMESPACE"):
        return found
    if _SERVICE_ACCOUNT_NAMESPACE.is_file():
        return _SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
    return "fairlead"
