"""`fairlead app sync`, `rollback`, `terminate`, `refresh` and `wait`: each asks for something, or waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fairlead.cli import _app_view as view
from fairlead.cli._app_access import APPLICATIONS, complete_names, key_of, now, send, whoami, window_permission
from fairlead.cli._app_options import name_argument, output_option, print_json, timeout_option
from fairlead.cli._app_waiting import (
    Wish,
    ask_for_comparison,
    fall_watch,
    has_ended,
    outcome,
    print_operation,
    until,
)
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.cluster import Cluster
from fairlead.core.objects import ObjectKey

if TYPE_CHECKING:
    from fairlead.core.cluster import MergePatch


@click.command("sync")
@name_argument
@click.option("--revision", default="", help="Sync to this revision instead of the spec's.")
@click.option("--prune", is_flag=True, help="Delete what left the source.")
@click.option("--dry-run", is_flag=True, help="Change nothing, say what would happen.")
@click.option("--force", is_flag=True, help="Delete and re-create what cannot be changed.")
@click.option(
    "--strategy", type=click.Choice(["hook", "apply"]), default="hook", show_default=True, help="apply: no hooks."
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="GROUP:KIND:[NAMESPACE/]NAME",
    help="Only this one; may be repeated. Parts may be *, a leading ! excludes.",
)
@click.option("--async", "is_async", is_flag=True, help="Do not wait for the end.")
@timeout_option
@output_option("wide")
@connection_options
@asynchronous
async def sync(
    name: str,
    revision: str,
    prune: bool,
    dry_run: bool,
    force: bool,
    strategy: str,
    resources: tuple[str, ...],
    is_async: bool,
    timeout: float,
    output: str,
    connection: Connection,
) -> int:
    """Sync application NAME to its source, and wait for the end (exit 1: it did not go well).

    Refused while another operation is present, and outside of the sync windows of its project.

    \b
    Examples:
      fairlead app sync web --prune --timeout 5m
      fairlead app sync web --resource apps:Deployment:web
      fairlead app sync web --resource '!:Secret:*' --dry-run
    """
    from fairlead.agentsync import commands

    def decide(application: dict[str, Any]) -> MergePatch:
        known = view.items(view.status_of(application).get("resources"))
        chosen = [one for text in resources for one in commands.parse_resource(text, known)]
        request = commands.SyncRequest(
            revision=revision,
            prune=prune,
            dry_run=dry_run,
            force=force,
            apply_only=strategy == "apply",
            resources=tuple(chosen),
        )
        return commands.sync(application, request, username=username)

    async with connection.open() as (cluster, namespace):
        key = key_of(name, namespace)
        application = (await cluster.get(APPLICATIONS, key)).content
        permission = await window_permission(cluster, application)
        if permission is not None and not permission[1]:
            raise click.ClickException("cannot sync: blocked by sync window")
        username = await whoami(cluster)
        await send(cluster, key, decide)
        if is_async:
            click.echo(f"application '{key.name}' sync requested", err=output == "json")
            return 0
        return await _await_operation(cluster, key, seconds=timeout, output=output)


async def _await_operation(cluster: Cluster, key: ObjectKey, *, seconds: float, output: str) -> int:
    # The state of the operation before was removed with the request: the first that has ended is ours.
    application = await until(
        cluster,
        key,
        lambda found: has_ended(found) and bool(view.operation_state(found)),
        seconds=seconds,
        is_quiet=output == "json",
    )
    if output == "json":
        print_json(application)
    else:
        print_operation(application)
    return outcome(application)


@click.command("rollback")
@name_argument
@click.argument("number", metavar="[ID]", type=int, required=False)
@click.option("--prune", is_flag=True, help="Delete what is not in that revision.")
@click.option("--dry-run", is_flag=True, help="Change nothing, say what would happen.")
@click.option("--async", "is_async", is_flag=True, help="Do not wait for the end.")
@timeout_option
@output_option("wide")
@connection_options
@asynchronous
async def rollback(
    name: str,
    number: int | None,
    prune: bool,
    dry_run: bool,
    is_async: bool,
    timeout: float,
    output: str,
    connection: Connection,
) -> int:
    """Return application NAME to entry ID of its history; without ID, to the one before the last.

    Refused while automatic sync is on: it would undo the rollback at once.

    \b
    Examples:
      fairlead app rollback web
      fairlead app rollback web 7 --prune
    """
    from fairlead.agentsync import commands

    async with connection.open() as (cluster, namespace):
        key = key_of(name, namespace)
        username = await whoami(cluster)
        await send(
            cluster,
            key,
            lambda found: commands.rollback(found, number, username=username, prune=prune, dry_run=dry_run),
        )
        if is_async:
            click.echo(f"application '{key.name}' rollback requested", err=output == "json")
            return 0
        return await _await_operation(cluster, key, seconds=timeout, output=output)


@click.command("terminate")
@name_argument
@connection_options
@asynchronous
async def terminate(name: str, connection: Connection) -> None:
    """End the running operation of application NAME.

    \b
    Example:
      fairlead app terminate web
    """
    from fairlead.agentsync import commands

    async with connection.open() as (cluster, namespace):
        key = key_of(name, namespace)
        await send(cluster, key, commands.terminate)
    click.echo(f"application '{key.name}' operation terminating")


@click.command("refresh")
@name_argument
@click.option("--hard", is_flag=True, help="Render the manifests anew instead of taking those of the same commit.")
@click.option("--async", "is_async", is_flag=True, help="Do not wait until it has been compared.")
@timeout_option
@output_option("wide")
@connection_options
@asynchronous
async def refresh(name: str, hard: bool, is_async: bool, timeout: float, output: str, connection: Connection) -> None:
    """Compare application NAME with its source now.

    \b
    Examples:
      fairlead app refresh web
      fairlead app refresh web --hard --timeout 1m
    """
    async with connection.open() as (cluster, namespace):
        key = key_of(name, namespace)
        found = await ask_for_comparison(cluster, key, hard=hard, seconds=timeout, is_async=is_async)
    if output == "json":
        print_json(found)
    elif is_async:
        click.echo(f"application '{key.name}' refresh requested")
    else:
        click.echo(f"application '{key.name}' refreshed: {view.sync_of(found)}, {view.health_of(found)}")


@click.command("wait")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names)
@click.option("--sync", is_flag=True, help="Until it is Synced.")
@click.option("--health", is_flag=True, help="Until it is Healthy.")
@click.option("--suspended", is_flag=True, help="Until it is Suspended; with --health either will do.")
@click.option("--degraded", is_flag=True, help="Until it is Degraded; with --health either will do.")
@click.option("--operation", is_flag=True, help="Until no operation runs.")
@timeout_option
@output_option("wide")
@connection_options
@asynchronous
async def wait(
    names: tuple[str, ...],
    sync: bool,
    health: bool,
    suspended: bool,
    degraded: bool,
    operation: bool,
    timeout: float,
    output: str,
    connection: Connection,
) -> None:
    """Wait until applications NAME... are as wanted; by default Synced, Healthy and without an operation.

    Ends with exit code 1 when time is up, and when a resource turns Degraded while health is waited for.

    \b
    Examples:
      fairlead app wait web --health --timeout 300
      fairlead app wait web shop/api --sync --operation
    """
    if not (sync or health or suspended or degraded or operation):
        sync = health = operation = True
    pairs = ((health, "Healthy"), (suspended, "Suspended"), (degraded, "Degraded"))
    wish = Wish(sync=sync, operation=operation, health=tuple(code for is_wanted, code in pairs if is_wanted))
    started = now()
    reached = []
    async with connection.open() as (cluster, namespace):
        for name in names:
            key = key_of(name, namespace)
            left = timeout and max(0.001, timeout - (now() - started).total_seconds())
            reached.append(
                await until(
                    cluster,
                    key,
                    wish.is_fulfilled,
                    seconds=left,
                    is_quiet=output == "json",
                    on_state=fall_watch(key.name) if health and not degraded else None,
                )
            )
    if output == "json":
        print_json(reached if len(reached) > 1 else reached[0])
        return
    for found in reached:
        click.echo(f"{view.name_of(found)}: {view.sync_of(found)}, {view.health_of(found)}")
