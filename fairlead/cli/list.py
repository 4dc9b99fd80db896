"""`fairlead list`: Rollouts or Experiments as a table, followed as it changes with `--watch`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import click

from fairlead.cli._family import EXPERIMENTS, ROLLOUTS, list_all
from fairlead.cli._listing import EXPERIMENT_COLUMNS, ROLLOUT_COLUMNS, Row, experiment_row, print_table, rollout_row
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.cluster import Cluster
from fairlead.core.objects import Manifest, rfc3339


@click.group("list")
def list_() -> None:
    """List Rollouts or Experiments."""


@list_.command("rollouts")
@click.option("--name", default="", help="Only the Rollout of this name.")
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("-w", "--watch", is_flag=True, help="Print a row again whenever it changes, until interrupted.")
@click.option("--timestamps", is_flag=True, help="Begin each row with the time at which it was so.")
@connection_options
@asynchronous
async def list_rollouts(name: str, all_namespaces: bool, watch: bool, timestamps: bool, connection: Connection) -> None:
    """List rollouts: strategy, status, step, weight and replicas."""
    async with connection.open() as (cluster, namespace):
        scope = "" if all_namespaces else namespace
        rollouts = [one for one in await list_all(cluster, ROLLOUTS, scope) if name in ("", one.metadata.name)]
        if not rollouts and not watch:
            _say_nothing(scope)
            return
        rows = [_stamped(rollout_row(one), timestamps) for one in rollouts]
        columns = (ROLLOUT_COLUMNS[0], *(("TIMESTAMP",) if timestamps else ()), *ROLLOUT_COLUMNS[1:])
        print_table(columns, rows, all_namespaces=all_namespaces)
        if watch:
            await _follow(cluster, scope, name, rollouts, timestamps=timestamps)


def _say_nothing(scope: str) -> None:
    click.echo(f"No resources found in {scope} namespace." if scope else "No resources found.", err=True)


def _stamped(row: Row, timestamps: bool) -> Row:
    return (row[0], rfc3339(datetime.now(UTC)), *row[1:]) if timestamps else row


async def _follow(cluster: Cluster, scope: str, name: str, shown: list[Manifest], *, timestamps: bool) -> None:
    """Print the row of a Rollout whenever it is another one than before."""
    from fairlead.runtime.clock import SystemClock
    from fairlead.runtime.informers import Informers

    informers = Informers(cluster, SystemClock(), namespace=scope)
    store = informers.add(ROLLOUTS)
    changed = asyncio.Event()
    store.subscribe(lambda _change: changed.set())
    watching = asyncio.create_task(informers.run())
    last = {one.metadata.key: rollout_row(one) for one in shown}
    try:
        await informers.wait_synced()
        while True:
            for one in store.list(scope):
                row = rollout_row(one)
                if name in ("", one.metadata.name) and last.get(one.metadata.key) != row:
                    last[one.metadata.key] = row
                    click.echo("  ".join(_stamped(row, timestamps)[0 if not scope else 1 :]))
            await changed.wait()
            changed.clear()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@list_.command("experiments")
@click.option("-A", "--all-namespaces", is_flag=True)
@connection_options
@asynchronous
async def list_experiments(all_namespaces: bool, connection: Connection) -> None:
    """List experiments: status, how long they last and what is left of it."""
    async with connection.open() as (cluster, namespace):
        scope = "" if all_namespaces else namespace
        found = await list_all(cluster, EXPERIMENTS, scope)
    if not found:
        _say_nothing(scope)
        return
    now = datetime.now(UTC)
    print_table(EXPERIMENT_COLUMNS, [experiment_row(one, now) for one in found], all_namespaces=all_namespaces)
