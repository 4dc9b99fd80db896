"""`fairlead explain`: what an object waits for, since when, and what comes next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey

if TYPE_CHECKING:
    from fairlead.controller.explain import Explanation
    from fairlead.core.clock import Clock
    from fairlead.core.cluster import Cluster

_ROLLOUT = ("rollout", "rollouts", "ro", "rollouts.argoproj.io")
_RUN = ("analysisrun", "analysisruns", "ar", "analysisruns.argoproj.io")
_SECRET = ("externalsecret", "externalsecrets", "es", "externalsecrets.external-secrets.io")
_STORE = ("secretstore", "secretstores", "ss", "secretstores.external-secrets.io")
_CLUSTER_STORE = ("clustersecretstore", "clustersecretstores", "css", "clustersecretstores.external-secrets.io")
_APPLICATION = ("application", "applications", "app", "applications.argoproj.io")
_KINDS = (*_ROLLOUT, *_RUN, *_SECRET, *_STORE, *_CLUSTER_STORE, *_APPLICATION)


@click.command("explain")
@click.argument("what", metavar="KIND/NAME")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@connection_options
@asynchronous
async def explain_(what: str, output: str, connection: Connection) -> None:
    """Say what KIND/NAME waits for, since when, and what comes next.

    KIND is rollout, analysisrun, externalsecret, secretstore, clustersecretstore or application. The same engine that
    runs in the controller decides, from a fresh look at the cluster; of an Application its status is read. Nothing is
    written, and no secret's value is shown.
    """
    word, separator, name = what.partition("/")
    kind = word.lower()
    if not separator or not name or kind not in _KINDS:
        raise click.UsageError(
            "expected rollout/NAME, analysisrun/NAME, externalsecret/NAME, secretstore/NAME or application/NAME, "
            f"found {what!r}"
        )
    from fairlead.controller import explain
    from fairlead.runtime.clock import SystemClock

    async with connection.open() as (cluster, namespace):
        key = ObjectKey("" if kind in _CLUSTER_STORE else namespace, name)
        found = await _explained(cluster, SystemClock(), kind, key)
    if output == "json":
        click.echo(json.dumps(_json(found), indent=2))
    else:
        click.echo(explain.text(what, found, datetime.now(UTC)))


async def _explained(cluster: Cluster, clock: Clock, kind: str, key: ObjectKey) -> Explanation:
    """Return what is found out about an object. NotFound: there is none."""
    from fairlead.controller import explain, secret_explain

    if kind in _RUN:
        return await explain.explain_analysis_run(cluster, clock, key)
    if kind in _SECRET:
        return await secret_explain.explain_external_secret(cluster, clock, key)
    if kind in _APPLICATION:
        from fairlead.controller.gitops_explain import explain_application

        return await explain_application(cluster, clock, key)
    if kind in (*_STORE, *_CLUSTER_STORE):
        return await secret_explain.explain_store(cluster, clock, key)
    rollout = await explain.explain_rollout(cluster, clock, key)
    if rollout is None:
        raise NotFound(f'rollouts.argoproj.io "{key.name}" not found', status=404, reason="NotFound")
    return rollout


def _json(found: object) -> object:
    import msgspec

    return msgspec.to_builtins(found, enc_hook=str)
