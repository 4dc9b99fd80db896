"""`fairlead app`: Applications, with the commands and the meaning of `argocd app`, straight on the Kubernetes API."""

from __future__ import annotations

import importlib
from typing import Final

import click

# Name -> (module, attribute, short help): listing the commands imports none of them.
_COMMANDS: Final = {
    "list": ("_app_looking", "list_apps", "List Applications, whether they are synced and healthy."),
    "get": ("_app_looking", "get", "Show an Application and its resources as a tree."),
    "diff": ("_app_diff", "diff", "Show what a sync would change; also from files alone."),
    "sync": ("_app_asking", "sync", "Sync an Application and wait for the end."),
    "wait": ("_app_asking", "wait", "Wait until Applications are synced, healthy, at rest."),
    "history": ("_app_looking", "history", "Show what an Application has been synced to."),
    "rollback": ("_app_asking", "rollback", "Return to an earlier entry of the history."),
    "refresh": ("_app_asking", "refresh", "Compare with the source now."),
    "terminate": ("_app_asking", "terminate", "End the running operation."),
}


class _AppGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"fairlead.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group("app", cls=_AppGroup)
def app_() -> None:
    """List, compare, sync and follow Applications, as `argocd app` does.

    \b
    Examples:
      fairlead app list -A
      fairlead app diff web --local ./deploy
      fairlead app sync web --prune
      fairlead app wait web --health --timeout 5m
    """
