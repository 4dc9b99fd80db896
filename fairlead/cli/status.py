"""`fairlead status`: wait for a Rollout to become healthy (exit 0) or degraded (exit 1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import click

from fairlead.cli import _family
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.cli.change import DURATION
from fairlead.cli.get import following
from fairlead.core.objects import Manifest, ObjectKey


def _line(rollout: Manifest) -> tuple[str, str]:
    phase, message = _family.phase_of(rollout)
    return phase, f"{phase} - {message}" if message else phase


@click.command("status")
@click.argument("name")
@click.option("-w/-W", "--watch/--no-watch", default=True, help="Wait until it is healthy or degraded (default).")
@click.option("-t", "--timeout", type=DURATION, default="0s", help="Give up after that long, such as 5m; 0s: never.")
@connection_options
@asynchronous
async def status_(name: str, watch: bool, timeout: timedelta, connection: Connection) -> int:
    """Show the status of rollout NAME, and wait for it to become healthy (exit 0) or degraded (exit 1)."""
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        if not watch:
            return _ended(*_shown(await cluster.get(_family.ROLLOUTS, key)))
        limit = timeout.total_seconds() or None
        try:
            async with asyncio.timeout(limit), following(cluster, key) as families:
                last = ""
                async for family in families:
                    phase, line = _line(family.rollout)
                    if line != last:
                        click.echo(line)
                        last = line
                    if phase in ("Healthy", "Degraded"):
                        return _ended(phase, line)
        except TimeoutError:
            raise click.ClickException("Rollout status watch exceeded timeout") from None
    return 0


def _shown(rollout: Manifest) -> tuple[str, str]:
    phase, line = _line(rollout)
    click.echo(line)
    return phase, line


def _ended(phase: str, line: str) -> int:
    if phase != "Degraded":
        return 0
    click.echo(f"Error: The rollout is in a degraded state with message: {line.partition(' - ')[2]}", err=True)
    return 1
