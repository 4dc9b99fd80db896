"""`fairlead demo`: a good canary promoted and a bad one stopped, on an embedded cluster with a real Envoy."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import suppress

import click

from fairlead.cli._options import asynchronous


@click.command("demo")
@click.option("--fast", is_flag=True, help="Shorter pauses, more requests a second.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of delays, names, and which requests fail.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON on standard output, the rest on error.")
@asynchronous
async def demo_(fast: bool, keep: bool, seed: int, as_json: bool) -> int:
    """Run a good and a bad canary on an embedded cluster with a real Envoy, and check what came of it.

    Exit code 0: all facts hold. 1: some do not, they are named. 2: Envoy is not installed.
    """
    from fairlead.core.errors import MissingExtra
    from fairlead.testing.envoy import find_envoy

    try:
        find_envoy()
    except MissingExtra as error:
        click.echo(f"The demo needs a real Envoy: {error}", err=True)
        return 2
    from fairlead.cli._demo import facts, manifests, story

    stream = sys.stderr if as_json else sys.stdout
    pace = manifests.FAST if fast else manifests.NORMAL
    options = story.Options(pace=pace, seed=seed, keep=keep, live=stream.isatty())
    terminated = _cancelled_by_sigterm()
    try:
        found = await story.play(options, stream)
    except asyncio.CancelledError:
        if terminated.is_set():
            return 128 + signal.SIGTERM
        raise
    if as_json:
        click.echo(json.dumps(facts.as_json(found), indent=2))
    return 1 if facts.problems(found) else 0


def _cancelled_by_sigterm() -> asyncio.Event:
    """Let SIGTERM cancel the demo as Ctrl-C does, so that all that it has started ends; return what tells of it."""
    task, terminated = asyncio.current_task(), asyncio.Event()
    assert task is not None, "a command runs in a task"

    def terminate() -> None:
        terminated.set()
        task.cancel()

    with suppress(NotImplementedError):  # loops without signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    return terminated
