"""Switches as scripts for Argo Rollouts' client write them: `--watch=false`."""

from __future__ import annotations

import click
import pytest

from fairlead.cli.main import main, with_switches


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("status web --watch=false", "status web -W"),
        ("status web -w=false", "status web -W"),
        ("status web -w=true", "status web -w"),
        ("status -w web", "status -w web"),
        ("status web --watch=False --timeout=5m", "status web -W --timeout=5m"),
        ("promote web --full=true", "promote web --full"),
        ("promote web --full=false", "promote web"),
        ("list rollouts -A=1 --name=false", "list rollouts -A --name=false"),
        ("get rollout web --watch=perhaps", "get rollout web --watch=perhaps"),
        ("set image web web=true", "set image web web=true"),
        ("abort -- --full=true", "abort -- --full=true"),
        ("list", "list"),
    ],
)
def test_words_become_ours(line: str, expected: str) -> None:
    name, *rest = line.split()
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    assert [name, *with_switches(context, command, rest)] == expected.split()
