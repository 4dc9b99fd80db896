"""Options that commands of `fairlead app` share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from fairlead.cli._app_access import LIMIT, complete_names


def name_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("name", shell_complete=complete_names)(command)


def timeout_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Give up after that long, such as 90, 90s or 5m; 0: never."
    return click.option("--timeout", type=LIMIT, default="0", help=text)(command)


def output_option(*others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    choices = click.Choice([*others, "json"])
    return click.option("-o", "--output", type=choices, default=others[0], show_default=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
