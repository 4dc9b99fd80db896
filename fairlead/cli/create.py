"""`fairlead create`: create what files say, as it stands there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey

_API_VERSION = "argoproj.io/v1alpha1"
_INSTANCE_ID = "argo-rollouts.argoproj.io/controller-instance-id"


def _kind(kind: str, *, namespaced: bool = True) -> Kind[Manifest]:
    return carried("argoproj.io", "v1alpha1", kind, f"{kind.lower()}s", namespaced=namespaced)


_KINDS = {
    "Rollout": _kind("Rollout"),
    "Experiment": _kind("Experiment"),
    "AnalysisRun": _kind("AnalysisRun"),
    "AnalysisTemplate": _kind("AnalysisTemplate"),
    "ClusterAnalysisTemplate": _kind("ClusterAnalysisTemplate", namespaced=False),
}


@click.group("create", invoke_without_command=True)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="A file of one or more objects, - for standard input; may be repeated.",
)
@connection_options
@click.pass_context
@asynchronous
async def create_(ctx: click.Context, files: tuple[str, ...], connection: Connection) -> None:
    """Create the Rollouts, Experiments, AnalysisRuns and analysis templates of files.

    All files are read first: nothing is created when one of them cannot be understood.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not files:
        raise click.UsageError("name a file with -f, or a kind to create", ctx)
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


@create_.command("analysisrun")
@click.option("--from", "template", default="", help="Name of the AnalysisTemplate.")
@click.option(
    "--from-file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), help="File with the template."
)
@click.option("--global", "is_global", is_flag=True, help="--from names a ClusterAnalysisTemplate.")
@click.option("-a", "--argument", "arguments", metavar="NAME=VALUE", multiple=True, help="May be repeated.")
@click.option("--name", default="", help="Of the run.")
@click.option("--generate-name", default="", help="Beginning of the run's name; default: the template's, and a dash.")
@click.option("--instance-id", default="", help="Of the controller that is to take it.")
@connection_options
@asynchronous
async def create_analysisrun(
    template: str,
    from_file: str | None,
    is_global: bool,
    arguments: tuple[str, ...],
    name: str,
    generate_name: str,
    instance_id: str,
    connection: Connection,
) -> None:
    """Start an AnalysisRun from a template."""
    if bool(template) is bool(from_file):
        raise click.UsageError("expected one of --from and --from-file")
    values = dict(_argument(text) for text in arguments)
    async with connection.open() as (cluster, namespace):
        if from_file:
            found = _template_of(from_file)
        else:
            kind = _KINDS["ClusterAnalysisTemplate" if is_global else "AnalysisTemplate"]
            found = (await cluster.get(kind, ObjectKey("" if is_global else namespace, template))).content
        body = run_of(found, values, name=name, generate_name=generate_name, instance_id=instance_id)
        created = await cluster.create(_KINDS["AnalysisRun"], body, namespace=namespace)
    click.echo(f"analysisrun.argoproj.io/{created.metadata.name} created")


def run_of(
    template: Mapping[str, Any], values: Mapping[str, str], *, name: str, generate_name: str, instance_id: str
) -> dict[str, Any]:
    """Return the AnalysisRun that a template and arguments make.

    Raises:
        SpecError: an argument has no value, is not one of the template's, or the template includes others.
    """
    spec = template.get("spec") if isinstance(template.get("spec"), dict) else {}
    assert isinstance(spec, dict), "it has just been made one"
    if spec.get("templates"):
        raise SpecError(
            "a template that includes others is not followed here: let a Rollout use it", path="spec.templates"
        )
    known = [one for one in spec.get("args") or () if isinstance(one, dict)]
    for wanted in sorted(values.keys() - {str(one.get("name")) for one in known}):
        raise SpecError(f"the template has no argument {wanted!r}", path="spec.args")
    given = [{"name": one["name"], "value": values[one["name"]]} if one.get("name") in values else one for one in known]
    for one in given:
        if "value" not in one and "valueFrom" not in one:
            raise SpecError(f"args.{one.get('name')} was not resolved", path="spec.args")
    metadata: dict[str, Any] = {"name": name} if name else {}
    if not name:
        own = str((template.get("metadata") or {}).get("name") or "analysis")
        metadata["generateName"] = generate_name or f"{own}-"
    if instance_id:
        metadata["labels"] = {_INSTANCE_ID: instance_id}
    kept = {key: spec[key] for key in ("metrics", "dryRun", "measurementRetention") if spec.get(key)}
    return {
        "apiVersion": _API_VERSION,
        "kind": "AnalysisRun",
        "metadata": metadata,
        "spec": {**kept, **({"args": given} if given else {})},
    }


def _argument(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise SpecError(f"arguments must be in the form NAME=VALUE, found {text!r}")
    return name, value


def _template_of(path: str) -> dict[str, Any]:
    found = list(_documents(path))
    if len(found) != 1 or not found[0][0].kind.endswith("AnalysisTemplate"):
        raise SpecError("expected one AnalysisTemplate or ClusterAnalysisTemplate", path=path)
    return found[0][1]
