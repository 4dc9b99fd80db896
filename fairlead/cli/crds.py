"""`fairlead crds`."""

from __future__ import annotations

from importlib.resources import files

import click


@click.command("crds")
def crds_() -> None:
    """Print the custom resource definitions as YAML: `fairlead crds | kubectl apply --server-side -f -`."""
    folder = files("fairlead") / "crds"
    documents = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda e: e.name)
    click.echo("---\n".join(entry.read_text(encoding="utf-8") for entry in documents), nl=False)
