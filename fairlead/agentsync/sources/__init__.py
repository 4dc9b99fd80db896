"""Where desired state comes from: Git repositories, charts, directories, and the tools that render them.

`Sources` is what an agent uses; `render` renders a directory of this machine without any of it. Programs (git, helm,
kustomize or kubectl, gpg) are looked for on the PATH when the first source needs them. Modules are loaded when they
are first asked for: the pure parts of agentsync import from here too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.agentsync.sources._access import Access
    from fairlead.agentsync.sources._gitprogram import GitSettings
    from fairlead.agentsync.sources._programs import Limits
    from fairlead.agentsync.sources._tools import ToolSettings
    from fairlead.agentsync.sources._tree import TreeLimits
    from fairlead.agentsync.sources.directory import DirectoryLimits
    from fairlead.agentsync.sources.fetching import Sources, SourcesSettings
    from fairlead.agentsync.sources.helm import HelmSettings
    from fairlead.agentsync.sources.kustomize import KustomizeSettings
    from fairlead.agentsync.sources.local import render
    from fairlead.agentsync.sources.port import (
        Entry,
        EntryKind,
        Fetcher,
        FetcherContext,
        FetcherFactory,
        Freshness,
        ManifestSources,
        ProgramMissing,
        Reference,
        Rendered,
        RenderError,
        RenderRequest,
        RepositoryError,
        Resolved,
        SignatureError,
        SourceError,
        SourceType,
        Tree,
        Verification,
        VerificationMode,
    )
    from fairlead.agentsync.sources.registry import GROUP
    from fairlead.agentsync.sources.repositories import Repositories, Repository, read_repositories

__all__ = [
    "GROUP",
    "Access",
    "DirectoryLimits",
    "Entry",
    "EntryKind",
    "Fetcher",
    "FetcherContext",
    "FetcherFactory",
    "Freshness",
    "GitSettings",
    "HelmSettings",
    "KustomizeSettings",
    "Limits",
    "ManifestSources",
    "ProgramMissing",
    "Reference",
    "RenderError",
    "RenderRequest",
    "Rendered",
    "Repositories",
    "Repository",
    "RepositoryError",
    "Resolved",
    "SignatureError",
    "SourceError",
    "SourceType",
    "Sources",
    "SourcesSettings",
    "ToolSettings",
    "Tree",
    "TreeLimits",
    "Verification",
    "VerificationMode",
    "read_repositories",
    "render",
]

_LATER = {
    "Access": "fairlead.agentsync.sources._access",
    "DirectoryLimits": "fairlead.agentsync.sources.directory",
    "Entry": "fairlead.agentsync.sources.port",
    "EntryKind": "fairlead.agentsync.sources.port",
    "Fetcher": "fairlead.agentsync.sources.port",
    "FetcherContext": "fairlead.agentsync.sources.port",
    "FetcherFactory": "fairlead.agentsync.sources.port",
    "Freshness": "fairlead.agentsync.sources.port",
    "GROUP": "fairlead.agentsync.sources.registry",
    "GitSettings": "fairlead.agentsync.sources._gitprogram",
    "HelmSettings": "fairlead.agentsync.sources.helm",
    "KustomizeSettings": "fairlead.agentsync.sources.kustomize",
    "Limits": "fairlead.agentsync.sources._programs",
    "ManifestSources": "fairlead.agentsync.sources.port",
    "ProgramMissing": "fairlead.agentsync.sources.port",
    "Reference": "fairlead.agentsync.sources.port",
    "RenderError": "fairlead.agentsync.sources.port",
    "RenderRequest": "fairlead.agentsync.sources.port",
    "Rendered": "fairlead.agentsync.sources.port",
    "Repositories": "fairlead.agentsync.sources.repositories",
    "Repository": "fairlead.agentsync.sources.repositories",
    "RepositoryError": "fairlead.agentsync.sources.port",
    "Resolved": "fairlead.agentsync.sources.port",
    "SignatureError": "fairlead.agentsync.sources.port",
    "SourceError": "fairlead.agentsync.sources.port",
    "SourceType": "fairlead.agentsync.sources.port",
    "Sources": "fairlead.agentsync.sources.fetching",
    "SourcesSettings": "fairlead.agentsync.sources.fetching",
    "ToolSettings": "fairlead.agentsync.sources._tools",
    "Tree": "fairlead.agentsync.sources.port",
    "TreeLimits": "fairlead.agentsync.sources._tree",
    "Verification": "fairlead.agentsync.sources.port",
    "VerificationMode": "fairlead.agentsync.sources.port",
    "read_repositories": "fairlead.agentsync.sources.repositories",
    "render": "fairlead.agentsync.sources.local",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for the first time."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
