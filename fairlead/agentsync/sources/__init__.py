"""Where desired state comes from: Git repositories, charts, directories, and the tools that render them.

`Sources` is what an agent uses; `render` renders a directory of this machine without any of it. Programs (git, helm,
kustomize or kubectl, gpg) are looked for on the PATH when the first source needs them.
"""

from __future__ import annotations

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
