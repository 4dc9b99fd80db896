"""`fairlead explain`: what an object waits for, since when, and what comes next."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey

_ROLLOUT = ("rollout", "rollouts", "ro", "rollouts.argoproj.io")
_RUN = ("analysisrun", "analysisruns", "ar", "analysisruns.argoproj.io")


@click.command("explain")
@click.argument("what", metavar="KIND/NAME")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@connection_options
@asynchronous
async def explain_(what: str, output: str, connection: Connection) -> None:
    """Say what KIND/NAME (rollout/web, analysisrun/web-5d5c87bfc9-2) waits for, since when, and what comes next.

    The same engine that runs in the controller decides, from a fresh look at the cluster; nothing is written.
    """
    kind, separator, name = what.partition("/")
    if not separator or not name or kind.lower() not in (*_ROLLOUT, *_RUN):
        raise click.UsageError(f"expected rollout/NAME or analysisrun/NAME, found {what!r}")
    from fairlead.controller import explain
    from fairlead.runtime.clock import SystemClock

    clock = SystemClock()
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        if kind.lower() in _RUN:
            found = await explain.explain_analysis_run(cluster, clock, key)
        else:
            rollout = await explain.explain_rollout(cluster, clock, key)
            if rollout is None:
                raise NotFound(f'rollouts.argoproj.io "{name}" not found', status=404, reason="NotFound")
            found = rollout
    if output == "json":
        click.echo(json.dumps(_json(found), indent=2))
    else:
        click.echo(explain.text(what, found, datetime.now(UTC)))


def _json(found: object) -> object:
    import msgspec

    return msgspec.to_builtins(found, enc_hook=str)
