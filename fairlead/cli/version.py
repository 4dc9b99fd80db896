"""`fairlead version`."""

from __future__ import annotations

import click

from fairlead import __version__


@click.command("version")
def version_() -> None:
    """Print the version."""
    click.echo(f"fairlead {__version__}")
