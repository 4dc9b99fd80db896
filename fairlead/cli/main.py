"""`fairlead`: what a person types. Commands are imported when they are run, so that `--help` is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from fairlead import __version__

# Name -> (module, short help). The help stands here so that listing the commands imports none of them.
_COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run a good and a bad canary on an embedded cluster with a real Envoy."),
    "controller": ("controller", "Run the reference controller."),
    "get": ("get", "Show a Rollout with all that belongs to it, or list them."),
    "list": ("list", "List Rollouts or Experiments."),
    "status": ("status", "Wait for a Rollout to become healthy or degraded."),
    "explain": ("explain", "Say what an object waits for, since when, and what comes next."),
    "create": ("create", "Create Rollouts, Experiments and analysis objects from files."),
    "promote": ("change", "Take a Rollout past its pause or its current step."),
    "abort": ("change", "Send all traffic back to the stable revision."),
    "retry": ("change", "Start an aborted Rollout, or an Experiment, again."),
    "pause": ("change", "Halt a Rollout."),
    "restart": ("change", "Restart the pods of a Rollout."),
    "undo": ("change", "Return to an earlier revision."),
    "set": ("change", "Change the images of a Rollout."),
    "terminate": ("change", "End an AnalysisRun or an Experiment."),
    "lint": ("lint", "Check manifests offline: every error, with its field path."),
    "app": ("app", "List, compare, sync and follow Applications."),
    "agent": ("agent", "Print the rights that the GitOps agent needs, and run it."),
    "secrets": ("secrets", "Render templates of external secrets, look into stores."),
    "crds": ("crds", "Print the custom resource definitions."),
    "manifests": ("manifests", "Print account, rights and Deployment of the controller."),
    "completion": ("completion", "Print the completion script for a shell."),
    "version": ("version", "Print the version."),
}


_GO_BOOLS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def with_switches(ctx: click.Context, command: click.Command, args: list[str]) -> list[str]:
    """Return the words of a command with switches as Go programs take them (`--watch=false`) as ours are written."""
    if isinstance(command, click.Group):
        inner = command.get_command(ctx, args[0]) if args else None
        return args if inner is None else [args[0], *with_switches(ctx, inner, args[1:])]
    switches = {
        word: option
        for option in command.params
        if isinstance(option, click.Option) and option.is_bool_flag
        for word in option.opts
    }
    found: list[str] = []
    for position, arg in enumerate(args):
        if arg == "--":
            return [*found, *args[position:]]
        word, separator, value = arg.partition("=")
        is_on = _GO_BOOLS.get(value.lower()) if separator and word in switches else None
        if is_on is None:
            found.append(arg)
        else:
            # One that is off and has no word for that is off without a word, too.
            found += [word] if is_on else switches[word].secondary_opts[:1]
    return found


class _LazyGroup(click.Group):
    """A group whose commands live in modules of `fairlead.cli`, each named like the command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"fairlead.cli.{_COMMANDS[cmd_name][0]}")
        # "set" would shadow the built-in inside its module.
        command: click.Command = getattr(module, f"{cmd_name}_")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, with_switches(ctx, command, rest) if command is not None else rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fairlead")
def main() -> None:
    """Progressive delivery for Kubernetes: canaries that are verified at the data plane and abort by themselves."""


def run(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit with its code: 0 well, 1 the object is in a bad state, 2 wrong usage."""
    return main(args=arguments, prog_name="fairlead")


if __name__ == "__main__":
    sys.exit(run())
