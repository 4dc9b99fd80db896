"""Manifests of a directory on this machine, rendered as the agent would render a commit. No network, no Git."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._tools import Tools, ToolSettings
from fairlead.agentsync.sources._tree import FolderTree
from fairlead.agentsync.sources.port import RenderError, RenderRequest

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source


def _no_repository(url: str) -> Access:
    raise RenderError(f"the chart needs {url}, and rendering a directory fetches nothing: run helm dependency build")


async def render(
    directory: Path | str,
    source: Source,
    *,
    application: str = "local",
    namespace: str = "",
    project: str = "default",
    revision: str = "",
    kube_version: str = "",
    api_versions: tuple[str, ...] = (),
    settings: ToolSettings | None = None,
) -> tuple[Object, ...]:
    """Return the objects of a source whose repository is a directory on this machine.

    Args:
        directory: the root of the repository; `source.path` is below it.
        source: as in an Application; `repoURL` and `targetRevision` are only shown, never asked.
        application: name of the Application: the release of a chart, and `ARGOCD_APP_NAME`.
        namespace: `spec.destination.namespace`.
        project: `spec.project`.
        revision: what variables say about the commit.
        kube_version: of the destination, for charts.
        api_versions: that the destination serves, for charts.
        settings: how programs are run.

    Raises:
        SourceError: it cannot be rendered.

    >>> import asyncio, pathlib, tempfile
    >>> from fairlead.agentsync.spec import Source
    >>> with tempfile.TemporaryDirectory() as root:
    ...     _ = pathlib.Path(root, "web.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: web}}")
    ...     asyncio.run(render(root, Source(path=".")))
    ({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web'}},)
    """
    request = RenderRequest(
        application=application,
        namespace=namespace,
        project=project,
        source=source,
        revision=revision,
        kube_version=kube_version,
        api_versions=api_versions,
    )
    root = Path(directory)
    if not await asyncio.to_thread(root.is_dir):
        raise RenderError(f"{directory} is no directory")
    with tempfile.TemporaryDirectory(prefix="fairlead-") as scratch:
        tools = Tools(Path(scratch), settings or ToolSettings())
        found = await tools.render(FolderTree(root), request, references={}, credentials=_no_repository)
    return found.objects
