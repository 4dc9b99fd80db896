"""Helm: charts become manifests by `helm template`, and nothing else of Helm happens.

No release is recorded, no hook run, no cluster asked (`lookup` returns nothing), no plug-in loaded. The program sees a
private copy of the chart, its value files, and a home of its own in which the credentials of chart repositories lie.

Source: argo-cd: util/helm/cmd.go, reposerver/repository/repository.go, helmTemplate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._chartfiles import ChartFiles, Given
from fairlead.agentsync.sources._environment import substitute
from fairlead.agentsync.sources._gitprogram import private_folder, write_private
from fairlead.agentsync.sources._helmhome import helm_environment, write_repositories
from fairlead.agentsync.sources._manifests import flatten, read_yaml
from fairlead.agentsync.sources._programs import Finished, Limits, find_program, one_line, run
from fairlead.agentsync.sources._tree import TreeLimits, source_directory
from fairlead.agentsync.sources.directory import Manifests
from fairlead.agentsync.sources.port import ProgramMissing, RenderError, RenderRequest, SourceError, Tree

if TYPE_CHECKING:
    from fairlead.agentsync.spec import HelmSource

_MISSING_DEPENDENCY: Final = re.compile(r"found in (?:requirements\.yaml|Chart\.yaml), but missing in charts")
_BARE_COMMA: Final = re.compile(r"(?<!\\),")
Credentials = Callable[[str], Access]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmSettings:
    """How helm is run.

    Args:
        program: its name on the PATH, or its path.
        limits: what one rendering may use.
        schemes: of URLs that value files may have (`helm.valuesFileSchemes`); helm fetches them.
        fetch_dependencies: whether charts that a chart names and does not bring along are fetched.
    """

    program: str = "helm"
    limits: Limits = field(default_factory=Limits)
    schemes: frozenset[str] = frozenset({"http", "https"})
    fetch_dependencies: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmInputs:
    """What a chart is rendered with, beside its own files.

    Args:
        request: the source, and the cluster it is for.
        variables: what `$NAME` stands for.
        references: trees of other sources by the name of their `ref`.
        credentials: what opens a chart repository.
    """

    request: RenderRequest
    variables: Mapping[str, str]
    references: Mapping[str, Tree] = field(default_factory=dict)
    credentials: Credentials


async def render_helm(
    tree: Tree,
    path: str,
    inputs: HelmInputs,
    *,
    settings: HelmSettings,
    scratch: Path,
    limits: TreeLimits | None = None,
) -> Manifests:
    """Return what helm makes of a chart.

    Args:
        tree: the repository, or the unpacked chart.
        path: where in it the chart is.
        inputs: what it is rendered with.
        settings: how helm is run.
        scratch: where private copies are made.
        limits: how much may be copied.

    Raises:
        RenderError: it cannot be rendered; the message is helm's.
        ProgramMissing: helm is not there.
    """
    options = _options(inputs.request)
    if options.version not in ("", "v3"):
        raise SourceError(f"helm.version {options.version!r}: only v3 is supported")
    program = _program(settings)
    root = await source_directory(tree, path)
    with private_folder(scratch) as folder:
        files = ChartFiles(tree, root, folder, inputs.references, settings.schemes, limits)
        await files.copy_chart()
        arguments = [
            program,
            "template",
            str(files.chart),
            *await _arguments(options, inputs, files),
        ]
        environment = helm_environment(folder)
        ended = await _run(arguments, environment, files, settings)
        has_fetched = any("://" in each for each in options.value_files)
        if ended.code and _MISSING_DEPENDENCY.search(ended.errors):
            await _build_dependencies(program, files, inputs, environment, settings)
            has_fetched = True
            ended = await _run(arguments, environment, files, settings)
    if ended.code:
        raise RenderError(f"helm template {path or '.'} failed: {_said(ended, files)}")
    try:
        # Helm itself takes the last of equal keys, and charts that rely on that are common.
        objects = tuple(flatten(read_yaml(ended.output, is_strict=False)))
    except RenderError as error:
        raise RenderError(f"helm template {path or '.'}: {error}") from error
    return Manifests(objects=objects, is_of_its_files=not has_fetched)


def _options(request: RenderRequest) -> HelmSource:
    from fairlead.agentsync.spec import HelmSource

    return request.source.helm or HelmSource()


def _program(settings: HelmSettings) -> str:
    try:
        return find_program(settings.program)
    except ProgramMissing as error:
        raise ProgramMissing(f"Helm sources cannot be rendered: {error}") from error


async def _arguments(options: HelmSource, inputs: HelmInputs, files: ChartFiles) -> list[str]:
    """Return the arguments of `helm template` after the chart, in upstream's order."""
    request = inputs.request
    found = ["--name-template", options.release_name or request.application]
    namespace = options.namespace or request.namespace
    if namespace:
        found += ["--namespace", namespace]
    kube_version = options.kube_version or request.kube_version
    if kube_version:
        found += ["--kube-version", kube_version]
    for parameter in options.parameters:
        flag = "--set-string" if parameter.force_string else "--set"
        found += [flag, f"{parameter.name}={set_value(substitute(parameter.value, inputs.variables))}"]
    for at, file in enumerate(options.file_parameters):
        given = Given(text=file.path, field=f"helm.fileParameters[{at}].path")
        place = await files.one(given, inputs.variables)
        found += ["--set-file", f"{file.name}={set_value(place)}"]
    value_files = [Given(text=each, field=f"helm.valueFiles[{at}]") for at, each in enumerate(options.value_files)]
    may_be_absent = options.ignore_missing_value_files
    for place in await files.several(value_files, inputs.variables, may_be_absent=may_be_absent):
        found += ["--values", place]
    own = _own_values(options, files)
    if own:
        found += ["--values", own]
    for version in options.api_versions or request.api_versions:
        found += ["--api-versions", version]
    if not options.skip_crds:
        found.append("--include-crds")
    if options.skip_schema_validation:
        found.append("--skip-schema-validation")
    if options.skip_tests:
        found.append("--skip-tests")
    return found


def set_value(text: str) -> str:
    r"""Return a value of `--set` in which commas do not part values; a list in braces stays one.

    >>> set_value("a,b"), set_value("{a,b}"), set_value(r"a\,b")
    ('a\\,b', '{a,b}', 'a\\,b')
    """
    return text if text.startswith("{") and text.endswith("}") else _BARE_COMMA.sub(r"\\,", text)


def _own_values(options: HelmSource, files: ChartFiles) -> str:
    """Write the values that stand in the source itself; return their file, or nothing."""
    if options.values_object is not None:
        content = msgspec.json.encode(options.values_object).decode()  # JSON is YAML too
    elif options.values:
        content = options.values
    else:
        return ""
    return str(write_private(files.folder / "values-of-the-source.yaml", content))


async def _run(
    arguments: Sequence[str], environment: Mapping[str, str], files: ChartFiles, settings: HelmSettings
) -> Finished:
    return await run(arguments, environment=environment, folder=files.chart, limits=settings.limits)


def _said(ended: Finished, files: ChartFiles) -> str:
    text = "\n".join(line for line in ended.errors.splitlines() if not line.startswith(("WARNING:", "walk.go")))
    return one_line(files.without_folders(text)) or f"exit code {ended.code}"


async def _build_dependencies(
    program: str, files: ChartFiles, inputs: HelmInputs, environment: Mapping[str, str], settings: HelmSettings
) -> None:
    """Fetch the charts that the chart names, each with what opens its repository."""
    if not settings.fetch_dependencies:
        raise RenderError("the chart's dependencies are not in its charts/ directory, and fetching them is off")
    options = _options(inputs.request)
    secrets = write_repositories(
        files.folder, files.dependencies(), inputs.credentials, pass_on=options.pass_credentials
    )
    ended = await _run([program, "dependency", "build", str(files.chart)], environment, files, settings)
    if ended.code:
        text = files.without_folders(ended.errors)
        raise RenderError(f"helm dependency build failed: {one_line(text, secrets) or f'exit code {ended.code}'}")
