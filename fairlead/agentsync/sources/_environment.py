"""What a source may say about itself: variables, and parameter files beside its manifests. Pure but for reading these.

Source: argo-cd: pkg/apis/application/v1alpha1/types.go, Env.Envsubst; reposerver/repository/repository.go,
mergeSourceParameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fairlead.agentsync.sources._tree import check_pointer
from fairlead.agentsync.sources._yaml import read_one
from fairlead.agentsync.sources.port import EntryKind, RenderError, RenderRequest, Tree
from fairlead.core.patches import merge

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE: Final = re.compile(
    rf"\$(?:(?P<escaped>\$)|\{{(?P<braced>[^}}]*)\}}|(?P<plain>{_NAME})|(?P<special>[*#@!?\-0-9]))"
)
_FIXED: Final = ("repoURL", "path", "chart", "targetRevision")


def environment(request: RenderRequest) -> dict[str, str]:
    """Return the variables that rendering knows."""
    source = request.source
    return {
        "ARGOCD_APP_NAME": request.application,
        "ARGOCD_APP_NAMESPACE": request.namespace,
        "ARGOCD_APP_PROJECT_NAME": request.project,
        "ARGOCD_APP_REVISION": request.revision,
        "ARGOCD_APP_REVISION_SHORT": request.revision[:7],
        "ARGOCD_APP_REVISION_SHORT_8": request.revision[:8],
        "ARGOCD_APP_SOURCE_REPO_URL": source.repo_url,
        "ARGOCD_APP_SOURCE_PATH": source.path,
        "ARGOCD_APP_SOURCE_TARGET_REVISION": source.target_revision,
    }


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with `$NAME` and `${NAME}` replaced; what is unknown becomes nothing, and `$$` a dollar.

    >>> substitute("$A-${B}-$C-$$A", {"A": "1", "B": "2"})
    '1-2--$A'
    """

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        return variables.get(found["braced"] or found["plain"] or found["special"] or "", "")

    return _VARIABLE.sub(value, text)


async def overridden(tree: Tree, root: str, source: Source, application: str) -> Source:
    """Return a source with the parameter files beside its manifests merged into it.

    `.argocd-source.yaml` comes first, then `.argocd-source-<application>.yaml`. They cannot change where manifests
    come from.

    Raises:
        RenderError: one cannot be read, or makes the source something else than a source.
    """
    from fairlead.agentsync.spec import Source as SourceType

    for name in (".argocd-source.yaml", f".argocd-source-{application}.yaml"):
        entry = await tree.leaf("/".join(filter(None, (root, name))))
        if entry is None or entry.kind is not EntryKind.FILE:
            continue
        content = (await tree.read([entry]))[0]
        check_pointer(name, content)
        patch = _patch(name, content)
        wanted: Any = merge(msgspec.to_builtins(source), patch)
        try:
            source = msgspec.convert(_without_nulls(wanted), SourceType)
        except msgspec.ValidationError as error:
            raise RenderError(f"{name}: {error}") from error
    return source


def _patch(name: str, content: bytes) -> dict[str, Any]:
    try:
        found = read_one(content)
    except RenderError as error:
        raise RenderError(f"{name}: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RenderError(f"{name}: expected a map")
    return {key: value for key, value in found.items() if key not in _FIXED}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if key == "valuesObject" else _without_nulls(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
