"""`fairlead create`: create what files say, as it stands there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest

_API_VERSION = "argoproj.io/v1alpha1"


def _kind(kind: str, *, namespaced: bool = True) -> Kind[Manifest]:
    return carried("argoproj.io", "v1alpha1", kind, f"{kind.lower()}s", namespaced=namespaced)


_KINDS = {
    "Rollout": _kind("Rollout"),
    "Experiment": _kind("Experiment"),
    "AnalysisRun": _kind("AnalysisRun"),
    "AnalysisTemplate": _kind("AnalysisTemplate"),
    "ClusterAnalysisTemplate": _kind("ClusterAnalysisTemplate", namespaced=False),
}


@click.command("create")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="A file of one or more objects, - for standard input; may be repeated.",
)
@connection_options
@asynchronous
async def create_(files: tuple[str, ...], connection: Connection) -> None:
    """Create the Rollouts, Experiments, AnalysisRuns and analysis templates of files.

    All files are read first: nothing is created when one of them cannot be understood.
    """
    documents = [found for path in files for found in _documents(path)]
    async with connection.open() as (cluster, namespace):
        for kind, body in documents:
            metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
            where = str((metadata or {}).get("namespace") or namespace) if kind.namespaced else ""
            created = await cluster.create(kind, body, namespace=where)
            click.echo(f"{kind.kind.lower()}.{kind.group}/{created.metadata.name} created")


def _documents(path: str) -> Iterator[tuple[Kind[Manifest], dict[str, Any]]]:
    """Yield the objects of a file, each with its kind.

    Raises:
        SpecError: it is no YAML, or holds something else.
    """
    from fairlead.cli.yaml import YamlError, load_all

    text = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        found = list(load_all(text))
    except YamlError as error:
        raise SpecError(str(error), path=path) from error
    for body in found:
        api_version, kind = str(body.get("apiVersion", "")), str(body.get("kind", ""))
        if api_version != _API_VERSION or kind not in _KINDS:
            expected = f"expected one of {', '.join(_KINDS)} of {_API_VERSION}"
            raise SpecError(f"creates of {api_version}/{kind} unsupported; {expected}", path=path)
        yield _KINDS[kind], body
