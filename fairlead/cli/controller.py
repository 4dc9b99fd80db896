"""`fairlead controller`: the reference controller as a process."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairlead import __version__
from fairlead.cli._gitops_options import gitops_options
from fairlead.cli._options import asynchronous
from fairlead.cli._secret_options import secret_options
from fairlead.cli._upstream_options import UpstreamOptions, upstream_options
from fairlead.cli.change import DURATION

if TYPE_CHECKING:
    from fairlead.controller.gitops_settings import GitOps
    from fairlead.secrets.settings import PlannerSettings, SecretSettings

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_FALLBACK_NAMESPACE = "argo-rollouts"  # as upstream, so that both look for the lease in the same place


@click.command("controller")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Default: KUBECONFIG, the pod's account, ~/.kube.")
@click.option("--context", help="Context of the kubeconfig to use.")
@click.option("--namespaced", is_flag=True, help="Work in one namespace only (--namespace, or the pod's own).")
@click.option("-n", "--namespace", default="", help="The only namespace to work in; default: all.")
@click.option("--instance-id", default="", help="Only objects with this controller instance id; default: without one.")
@click.option(
    "--leader-elect/--no-leader-elect", default=True, show_default=True, help="Lead only while a lease is held."
)
@click.option("--leader-election-namespace", default="", help="Default: POD_NAMESPACE, the pod's own, argo-rollouts.")
@click.option("--leader-election-lease-duration", type=DURATION, default="15s", show_default=True)
@click.option("--leader-election-renew-deadline", type=DURATION, default="10s", show_default=True)
@click.option("--leader-election-retry-period", type=DURATION, default="2s", show_default=True)
@click.version_option(__version__, prog_name="fairlead")
@upstream_options
@click.option("--rollout-threads", type=click.IntRange(1, 1000), default=10, show_default=True, help="At a time.")
@click.option("--analysis-threads", type=click.IntRange(1, 1000), default=30, show_default=True, help="At a time.")
@click.option("--secret-threads", type=click.IntRange(1, 1000), default=30, show_default=True, help="At a time.")
@click.option("--secrets/--no-secrets", "with_secrets", default=True, show_default=True, help="Sync external secrets.")
@secret_options
@click.option(
    "--gitops/--no-gitops", "with_gitops", default=False, show_default=True, help="Look after Applications, too."
)
@gitops_options
@click.option("--rollout-resync", type=click.IntRange(1), default=900, show_default=True, help="Seconds.")
@click.option(
    "--envoy-admin",
    multiple=True,
    metavar="HOST:PORT",
    help="Admin address of an Envoy whose config_dump proves that weights were taken; may be repeated.",
)
@click.option(
    "--settle", type=DURATION, default="12s", show_default=True, help="Without evidence: wait after acceptance."
)
@click.option(
    "--drain", type=DURATION, default="45s", show_default=True, help="Keep pods so long after they lost traffic."
)
@click.option(
    "--prometheus-address", envvar="ARGO_ROLLOUTS_PROMETHEUS_ADDRESS", default="", help="For metrics without one."
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Where health and metrics are served.")  # noqa: S104
@click.option("--healthzPort", "health_port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--metricsPort", "--metricsport", "metrics_port", type=click.IntRange(0, 65535), default=8090, show_default=True
)
@click.option(
    "--loglevel", type=click.Choice(["debug", "info", "warn", "warning", "error"]), default="info", show_default=True
)
@click.option("--logformat", type=click.Choice(["json", "text"]), default="json", show_default=True)
@asynchronous
async def controller_(
    kubeconfig: str | None,
    context: str | None,
    namespaced: bool,
    namespace: str,
    instance_id: str,
    leader_elect: bool,
    leader_election_namespace: str,
    leader_election_lease_duration: timedelta,
    leader_election_renew_deadline: timedelta,
    leader_election_retry_period: timedelta,
    rollout_threads: int,
    analysis_threads: int,
    secret_threads: int,
    with_secrets: bool,
    secrets: SecretSettings,
    stores: PlannerSettings,
    with_gitops: bool,
    gitops: GitOps,
    rollout_resync: int,
    envoy_admin: tuple[str, ...],
    settle: timedelta,
    drain: timedelta,
    prometheus_address: str,
    host: str,
    health_port: int,
    metrics_port: int,
    loglevel: str,
    logformat: str,
    upstream: UpstreamOptions,
) -> None:
    """Run the reference controller until SIGTERM or SIGINT; running reconciliations are finished first.

    /healthz, /readyz and /metrics are served on both ports.
    """
    from fairlead.controller import logs, main
    from fairlead.controller.settings import Election, Requests, Serving, Settings, Traffic, Workers

    if not leader_election_retry_period < leader_election_renew_deadline < leader_election_lease_duration:
        raise click.UsageError("expected retry period < renew deadline < lease duration")
    if namespaced and not namespace:
        namespace = _own_namespace()
    election = Election(
        namespace=leader_election_namespace or _own_namespace(),
        duration=leader_election_lease_duration,
        renew_deadline=leader_election_renew_deadline,
        retry=leader_election_retry_period,
    )
    settings = Settings(
        namespace=namespace,
        instance_id=instance_id,
        workers=Workers(
            rollouts=rollout_threads,
            analysis_runs=analysis_threads,
            external_secrets=secret_threads,
            marked_pods=upstream.marking_threads,
            marking_tries=upstream.marking_tries,
        ),
        requests=Requests(per_second=upstream.qps, burst=upstream.burst),
        with_rollouts=upstream.with_rollouts,
        with_secrets=with_secrets and upstream.with_rollouts,
        secrets=secrets,
        stores=stores,
        traffic=Traffic(evidence=envoy_admin, settle=settle, drain=drain),
        serving=Serving(host=host, health_port=health_port, metrics_port=metrics_port),
        election=election if leader_elect else None,
        resync=timedelta(seconds=rollout_resync),
        prometheus_address=prometheus_address,
        gitops=gitops if with_gitops else None,
    )
    logs.configure(level="warning" if loglevel == "warn" else loglevel, json=logformat == "json")
    await main.run(settings, kubeconfig=kubeconfig, context=context)


def _own_namespace() -> str:
    if found := os.environ.get("POD_NAMESPACE"):
        return found
    if _SERVICE_ACCOUNT_NAMESPACE.is_file():
        return _SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
    return _FALLBACK_NAMESPACE
