"""Waiting for Applications: until an operation has ended, until a wanted state is there; with progress on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from fairlead.cli._app_access import APPLICATIONS, following, now
from fairlead.cli._app_resources import Progress, resource_rows
from fairlead.cli._app_view import health_of, items, operation_lines, operation_state, sync_of, text
from fairlead.cli._family import mapping
from fairlead.core.cluster import Cluster
from fairlead.core.errors import FairleadError
from fairlead.core.objects import ObjectKey

_ENDED = ("Succeeded", "Failed", "Error")
Application = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is waited for. Health: one of the codes; an empty tuple: any."""

    sync: bool = False
    operation: bool = False
    health: tuple[str, ...] = ()

    def is_fulfilled(self, application: Application) -> bool:
        if self.sync and sync_of(application) != "Synced":
            return False
        if self.operation and not has_ended(application):
            return False
        return not self.health or health_of(application) in self.health


class Worsened(FairleadError):
    """What is waited for will not come: something has become worse meanwhile."""


def has_ended(application: Application) -> bool:
    """Return whether no operation is asked for or runs."""
    phase = text(operation_state(application).get("phase"))
    return not application.get("operation") and phase in ("", *_ENDED)


async def until(
    cluster: Cluster,
    key: ObjectKey,
    reached: Callable[[Application], bool],
    *,
    seconds: float,
    is_quiet: bool = False,
    on_state: Callable[[Application], None] | None = None,
) -> Application:
    """Return the Application as soon as it is as wanted, printing what changes on the way.

    Args:
        reached: whether it is.
        seconds: how long to wait; 0: for ever.
        is_quiet: print nothing.
        on_state: is shown every state that is not yet as wanted; may raise.

    Raises:
        FairleadError: with argocd's text, when time is up.
    """
    progress = Progress()
    try:
        async with asyncio.timeout(seconds or None), following(cluster, key) as states:
            async for application in states:
                for line in () if is_quiet else progress.lines(application, now()):
                    click.echo(line)
                if reached(application):
                    return application
                if on_state is not None:
                    on_state(application)
    except TimeoutError:
        text_ = f'timed out ({seconds:g}s) waiting for app "{key.name}" match desired state'
        raise FairleadError(text_) from None
    raise AssertionError("states never end by themselves")


def fall_watch(name: str) -> Callable[[Application], None]:
    """Return a function that raises Worsened when a resource turns Degraded that was not before."""
    before: dict[tuple[str, ...], str] = {}

    def look(application: Application) -> None:
        for row in resource_rows(application):
            was = before.get(row.key)
            if row.health == "Degraded" and was not in (None, "Unknown", "Degraded"):
                raise Worsened(f"application '{name}' health state has transitioned from {was or 'none'} to Degraded")
            before[row.key] = row.health

    return look


def outcome(application: Application) -> int:
    """Print how an operation ended on standard error if it was not well; return the exit code."""
    state = operation_state(application)
    phase = text(state.get("phase"))
    if phase != "Succeeded":
        click.echo(f"Error: Operation has completed with phase: {phase or 'unknown'}", err=True)
        return 1
    asked = mapping(mapping(state.get("operation")).get("sync"))
    skipped = [
        one for one in items(mapping(state.get("syncResult")).get("resources")) if one.get("status") == "PruneSkipped"
    ]
    if skipped and not asked.get("resources") and not asked.get("dryRun"):
        click.echo(f"Error: {len(skipped)} resources require pruning", err=True)
        return 1
    return 0


def print_operation(application: Application) -> None:
    """Print the operation that has ended."""
    click.echo("")
    for line in operation_lines(application):
        click.echo(line)


async def ask_for_comparison(
    cluster: Cluster, key: ObjectKey, *, hard: bool, seconds: float, is_async: bool = False
) -> Mapping[str, Any]:
    """Ask for a comparison; return the Application when it has been made, or (`is_async`) at once."""
    from fairlead.agentsync import commands
    from fairlead.agentsync.kinds import REFRESH
    from fairlead.agentsync.resources import annotations_of

    asked = await cluster.patch(APPLICATIONS, key, commands.refresh(now(), hard=hard))
    if is_async:
        return asked.content
    return await until(cluster, key, lambda found: REFRESH not in annotations_of(found), seconds=seconds, is_quiet=True)
