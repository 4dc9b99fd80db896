"""`fairlead app list`, `get` and `history`: nothing is written."""

from __future__ import annotations

import sys

import click

from fairlead.cli import _app_view as view
from fairlead.cli._app_access import APPLICATIONS, key_of, list_all, window_permission
from fairlead.cli._app_options import name_argument, output_option, print_json
from fairlead.cli._app_waiting import ask_for_comparison
from fairlead.cli._family import mapping
from fairlead.cli._options import Connection, asynchronous, connection_options


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every namespace.")
@click.option("-l", "--selector", default="", help="Only those with these labels, such as team=shop.")
@click.option("-p", "--project", "projects", multiple=True, help="Only those of this project; may be repeated.")
@output_option("wide", "name")
@connection_options
@asynchronous
async def list_apps(
    all_namespaces: bool, selector: str, projects: tuple[str, ...], output: str, connection: Connection
) -> None:
    """List Applications: where they deploy to, whether they are synced and healthy.

    \b
    Examples:
      fairlead app list
      fairlead app list -A -l team=shop -o json
    """
    async with connection.open() as (cluster, namespace):
        found = await list_all(cluster, APPLICATIONS, "" if all_namespaces else namespace, selector)
    wanted = [
        one.content
        for one in found
        if not projects or (mapping(one.content.get("spec")).get("project") or "default") in projects
    ]
    if output == "json":
        print_json(wanted)
    elif output == "name":
        for one in wanted:
            click.echo(view.name_of(one))
    else:
        for line in view.columns([view.LIST_COLUMNS, *(view.list_row(one) for one in wanted)]):
            click.echo(line)


@click.command("get")
@name_argument
@click.option("--refresh", "is_refreshed", is_flag=True, help="Compare first.")
@click.option("--hard-refresh", is_flag=True, help="Render anew and compare first.")
@click.option("--show-operation", is_flag=True, help="Show the last operation also when it went well.")
@click.option("--no-children", is_flag=True, help="Do not look for ReplicaSets, Pods and the like.")
@click.option("--no-color", is_flag=True, help="Plain text.")
@output_option("tree")
@connection_options
@asynchronous
async def get(
    name: str,
    is_refreshed: bool,
    hard_refresh: bool,
    show_operation: bool,
    no_children: bool,
    no_color: bool,
    output: str,
    connection: Connection,
) -> None:
    """Show application NAME: what it is, how it is, and its resources as a tree.

    \b
    Examples:
      fairlead app get web
      fairlead app get argocd/web --refresh -o json
    """
    from fairlead.cli._app_children import children_of
    from fairlead.cli._app_resources import tree

    async with connection.open() as (cluster, namespace):
        key = key_of(name, namespace)
        if is_refreshed or hard_refresh:
            await ask_for_comparison(cluster, key, hard=hard_refresh, seconds=60)
        found = (await cluster.get(APPLICATIONS, key)).content
        if output == "json":
            print_json(found)
            return
        window = _window_word(await window_permission(cluster, found))
        family = await children_of(cluster, found, is_wanted=not no_children)
    for line in view.header(found, window):
        click.echo(line)
    conditions, operation = view.condition_lines(found), view.operation_lines(found)
    is_fine = view.operation_state(found).get("phase") == "Succeeded"
    for block in (conditions, operation if show_operation or not is_fine else []):
        if block:
            click.echo("\n" + "\n".join(block))
    colour = sys.stdout.isatty() and not no_color
    click.echo("\n" + "\n".join(tree(found, family, colour=colour)))


def _window_word(permission: tuple[bool, bool] | None) -> str:
    if permission is None:
        return ""
    automatic, manual = permission
    return "Sync Allowed" if automatic else "Manual Allowed" if manual else "Sync Denied"


@click.command("history")
@name_argument
@output_option("wide", "id")
@connection_options
@asynchronous
async def history(name: str, output: str, connection: Connection) -> None:
    """Show what application NAME has been synced to, oldest first.

    \b
    Examples:
      fairlead app history web
      fairlead app history web -o id
    """
    async with connection.open() as (cluster, namespace):
        found = (await cluster.get(APPLICATIONS, key_of(name, namespace))).content
    entries = view.items(view.status_of(found).get("history"))
    if output == "json":
        print_json(entries)
    elif output == "id":
        for entry in entries:
            click.echo(entry.get("id", 0))
    else:
        for line in view.history_lines(found):
            click.echo(line)
