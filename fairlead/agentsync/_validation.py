"""What is wrong with the spec of an Application beyond its types.

Source: `argo-cd: util/argo/argo.go: ValidatePermissions`, `pkg/apis/application/v1alpha1/types.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairlead.agentsync.spec import ApplicationSpec, Source
from fairlead.core.errors import SpecError

SOURCE_REQUIRED = "spec.source.repoURL and either spec.source.path or spec.source.chart are required"
CHART_REVISION_REQUIRED = "spec.source.targetRevision is required if the manifest source is a helm chart"
DESTINATION_MISSING = "Destination server missing from app spec"
HYDRATOR_REFUSED = (
    "spec.sourceHydrator: rendering into another branch is not supported: use spec.source or spec.sources"
)
PLUGIN_REFUSED = "config management plug-ins are not supported: render with Helm, Kustomize or plain manifests"
JSONNET_REFUSED = "Jsonnet is not supported: render it before it is committed"
LOCAL_REFUSED = "Cannot use local sync when signature keys are required."
_REF = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def problems(spec: ApplicationSpec) -> tuple[str, ...]:
    """Return what is wrong with a spec, one message each; none: nothing."""
    return tuple(_problems(spec))


def _problems(spec: ApplicationSpec) -> Iterator[str]:
    if spec.source_hydrator is not None:
        yield HYDRATOR_REFUSED
    elif not spec.all_sources:
        yield SOURCE_REQUIRED
    names: list[str] = []
    for index, source in enumerate(spec.all_sources):
        path = f"spec.sources[{index}]" if spec.is_multi_source else "spec.source"
        yield from source_problems(source, path, is_multi=spec.is_multi_source)
        names.append(source.name)
    for name in dict.fromkeys(name for name in names if name and names.count(name) > 1):
        yield f"application has duplicate source name: {name}"
    refs = [source.ref for source in spec.all_sources if source.ref]
    for ref in dict.fromkeys(ref for ref in refs if refs.count(ref) > 1):
        yield f"spec.sources: ref {ref} is given to more than one source"
    yield from _destination_problems(spec)
    try:
        policy = spec.sync_policy
        if policy is not None and policy.retry is not None:
            _ = (policy.retry.duration, policy.retry.duration_max)
    except SpecError as error:
        yield str(error)


def source_problems(source: Source, path: str, *, is_multi: bool) -> Iterator[str]:
    """Yield what is wrong with one source.

    Args:
        path: of the source, for messages.
        is_multi: whether it is one of several.
    """
    if not source.repo_url or not (source.path or source.chart or (is_multi and source.ref)):
        if not is_multi:
            yield SOURCE_REQUIRED
        else:
            yield f"{path}.repoURL and either {path}.path, {path}.chart or {path}.ref are required"
    if source.chart and not source.target_revision:
        yield CHART_REVISION_REQUIRED.replace("spec.source", path)
    if source.ref and source.chart:
        yield f"{path}: ref and chart exclude each other"
    if source.ref and not _REF.fullmatch(source.ref):
        yield f"{path}.ref {source.ref} cannot contain any special characters except '_' and '-'"
    if source.path.startswith("/") or ".." in source.path.split("/"):
        yield f'{path}.path: Invalid value: "{source.path}": expected a path inside the repository'
    tools = {
        "Helm": source.helm,
        "Kustomize": source.kustomize,
        "Directory": source.directory,
        "Plugin": source.plugin,
    }
    given = [name for name, block in tools.items() if block is not None]
    if len(given) > 1:
        yield f"multiple application sources defined: {','.join(given)}"
    if source.plugin is not None:
        yield f"{path}.plugin: {PLUGIN_REFUSED}"
    if source.directory is not None and source.directory.jsonnet is not None:
        jsonnet = source.directory.jsonnet
        if jsonnet.ext_vars or jsonnet.tlas or jsonnet.libs:
            yield f"{path}.directory.jsonnet: {JSONNET_REFUSED}"


def _destination_problems(spec: ApplicationSpec) -> Iterator[str]:
    destination = spec.destination
    if destination.server and destination.name:
        yield (
            f"application destination can't have both name and server defined: {destination.name} {destination.server}"
        )
    elif not destination.server and not destination.name:
        yield DESTINATION_MISSING
