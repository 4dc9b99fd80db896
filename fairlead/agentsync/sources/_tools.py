"""Which tool renders a directory, and what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._environment import environment, overridden
from fairlead.agentsync.sources._reuse import Watch, WatchedVariables
from fairlead.agentsync.sources._tree import TreeLimits, source_directory
from fairlead.agentsync.sources.directory import DirectoryLimits, Manifests, ParsedFiles, render_directory
from fairlead.agentsync.sources.helm import HelmInputs, HelmSettings, render_helm
from fairlead.agentsync.sources.kustomize import KustomizeSettings, kustomization_file, render_kustomize
from fairlead.agentsync.sources.port import Rendered, RenderRequest, SourceError, SourceType, Tree, printable

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

PROGRAMS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """How rendering is done.

    Args:
        helm, kustomize: how the programs are run.
        directory: how much plain manifests may hold.
        tree: how much of a repository is read.
        programs_at_once: how many renders run a program at the same time.
    """

    helm: HelmSettings = field(default_factory=HelmSettings)
    kustomize: KustomizeSettings = field(default_factory=KustomizeSettings)
    directory: DirectoryLimits = field(default_factory=DirectoryLimits)
    tree: TreeLimits = field(default_factory=TreeLimits)
    programs_at_once: int = PROGRAMS_AT_ONCE


class Tools:
    """Renders trees. Private copies make renders of one repository independent: none waits for another's directory.

    Args:
        scratch: where private copies are made.
        settings: how.
        parsed: what is known of plain manifests already.
    """

    def __init__(self, scratch: Path, settings: ToolSettings, parsed: ParsedFiles | None = None) -> None:
        self._scratch = scratch
        self._settings = settings
        self._parsed = parsed
        self._programs = asyncio.Semaphore(settings.programs_at_once)

    async def render(
        self,
        tree: Tree,
        request: RenderRequest,
        *,
        references: Mapping[str, Tree],
        credentials: Callable[[str], Access],
        watch: Watch | None = None,
    ) -> Rendered:
        """Return the objects that the tool of a source makes of its directory.

        Args:
            tree: the repository, or the unpacked chart.
            request: what is rendered.
            references: trees of sources with a `ref`, by that name.
            credentials: what opens a chart repository.
            watch: notes what the objects are made from.

        Raises:
            SourceError: see there.
        """
        watch = watch or Watch()
        tree = watch.tree("", tree)
        references = {name: watch.tree(name, each) for name, each in references.items()}
        # The root of the path is followed once, here; the tools get the path as the user gave it, for their messages.
        root = await source_directory(tree, request.source.path)
        source = await overridden(tree, root, request.source, request.application)
        request = replace(request, source=source)
        kind = explicit_type(source) or await discovered_type(tree, root)
        variables = WatchedVariables(environment(request))
        inputs = HelmInputs(request=request, variables=variables, references=references, credentials=credentials)
        found = await self._manifests(kind, tree, inputs)
        watch.is_of_its_files = watch.is_of_its_files and found.is_of_its_files and not variables.told_revision
        return Rendered(
            objects=found.objects,
            revision=request.revision,
            source_type=kind,
            warnings=tuple(map(printable, found.warnings)),
        )

    async def _manifests(self, kind: SourceType, tree: Tree, inputs: HelmInputs) -> Manifests:
        source, settings = inputs.request.source, self._settings
        if kind is SourceType.DIRECTORY:
            return await render_directory(
                tree, source.path, source.directory, limits=settings.directory, parsed=self._parsed
            )
        async with self._programs:
            if kind is SourceType.KUSTOMIZE:
                return await render_kustomize(
                    tree,
                    source.path,
                    source.kustomize,
                    inputs.variables,
                    settings=settings.kustomize,
                    scratch=self._scratch,
                    limits=settings.tree,
                )
            return await render_helm(
                tree, source.path, inputs, settings=settings.helm, scratch=self._scratch, limits=settings.tree
            )


def explicit_type(source: Source) -> SourceType | None:
    """Return the tool that a source names; None if it leaves that to its files.

    Raises:
        SourceError: several, or one that is not built.
    """
    blocks = {
        "Kustomize": source.kustomize,
        "Helm": source.helm,
        "Directory": source.directory,
        "Plugin": source.plugin,
    }
    named = [name for name, block in blocks.items() if block is not None]
    if len(named) > 1:
        raise SourceError(f"multiple application sources defined: {','.join(named)}")
    if source.plugin is not None:
        raise SourceError("config management plug-ins are not supported: commit rendered manifests")
    if source.directory is not None and source.directory.jsonnet is not None:
        jsonnet = source.directory.jsonnet
        if jsonnet.ext_vars or jsonnet.tlas or jsonnet.libs:
            raise SourceError("directory.jsonnet: Jsonnet is not supported: render it before it is committed")
    if source.chart:
        if named not in ([], ["Helm"]):
            raise SourceError(f"a chart is rendered by Helm, not by {named[0]}")
        return SourceType.HELM
    return SourceType(named[0]) if named else None


async def discovered_type(tree: Tree, root: str) -> SourceType:
    """Return the tool that a directory's files ask for."""
    if await tree.leaf(f"{root}/Chart.yaml" if root else "Chart.yaml") is not None:
        return SourceType.HELM
    return SourceType.KUSTOMIZE if await kustomization_file(tree, root) else SourceType.DIRECTORY
