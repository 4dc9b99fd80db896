"""`fairlead lint`: check manifests offline, every error with its field path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

_TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_GROUP = "argoproj.io/"


@click.command("lint")
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(exists=True, allow_dash=True))
@click.option("-f", "--filename", multiple=True, type=click.Path(exists=True, allow_dash=True), help="As FILE.")
@click.option("--strict", is_flag=True, help="Fail on warnings as well.")
def lint_(files: tuple[str, ...], filename: tuple[str, ...], strict: bool) -> None:
    """Check the manifests in FILE... (folders too, - is standard input) offline.

    Rollouts, AnalysisTemplates and AnalysisRuns are checked, other kinds are passed over. Exit code 1: something
    would be refused.
    """
    chosen = [*files, *filename]
    if not chosen:
        raise click.UsageError("name at least one file")
    errors = warnings = objects = 0
    for path in chosen:
        for where, document in _documents(path):
            objects += 1
            for text, is_error in _findings(document):
                errors, warnings = errors + is_error, warnings + (not is_error)
                click.echo(f"{where}: {'error' if is_error else 'warning'}: {text}")
    click.echo(f"{objects} objects checked, {errors} errors, {warnings} warnings", err=True)
    if errors or (strict and warnings):
        raise SystemExit(1)


def _documents(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield where and what: the objects that we know, or a text that says why a file cannot be read."""
    from fairlead.cli.yaml import YamlError, load_all

    for name, text in _texts(path):
        try:
            documents = load_all(text)
        except YamlError as error:
            yield name, str(error)
            continue
        for document in documents:
            known = document.get("kind") in ("Rollout", "AnalysisRun", *_TEMPLATES)
            if known and str(document.get("apiVersion", "")).startswith(_GROUP):
                metadata = document.get("metadata")
                title = metadata.get("name", "") if isinstance(metadata, dict) else ""
                yield f"{name}: {document['kind']} {title}", document


def _texts(path: str) -> Iterator[tuple[str, bytes]]:
    if path == "-":
        yield "standard input", sys.stdin.buffer.read()
        return
    root = Path(path)
    found = (
        sorted(one for one in root.rglob("*") if one.suffix in (".yaml", ".yml", ".json")) if root.is_dir() else [root]
    )
    for one in found:
        yield str(one), one.read_bytes()


def _findings(document: dict[str, Any] | str) -> Iterator[tuple[str, bool]]:
    """Yield each finding and whether it is an error."""
    import msgspec

    from fairlead.analysis import decode_run_spec, decode_template_spec
    from fairlead.analysis.lint import lint as lint_analysis
    from fairlead.core.errors import SpecError
    from fairlead.rollouts.lint import lint as lint_rollout

    if isinstance(document, str):
        yield document, True
        return
    raw = msgspec.json.encode(document.get("spec") or {})
    if document["kind"] == "Rollout":
        metadata = document.get("metadata")
        name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        yield from ((str(found), found.is_error) for found in lint_rollout(raw, name=name))
        return
    try:
        if document["kind"] in _TEMPLATES:
            findings = lint_analysis(decode_template_spec(msgspec.Raw(raw)))
        else:
            findings = lint_analysis(decode_run_spec(msgspec.Raw(raw)))
    except SpecError as error:
        yield str(error), True
        return
    yield from ((str(found), found.is_error) for found in findings)
