"""A Git host in memory: repositories with commits and branches, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources.port import (
    Freshness,
    Rendered,
    RenderError,
    RenderRequest,
    RepositoryError,
    Resolved,
    SourceType,
)
from fairlead.agentsync.spec import Source

URL = "https://git.example/shop.git"
PATH = "deploy"


@dataclass
class Forge:
    """Implements `sources.port.ManifestSources`.

    Attributes:
        heads: commit by URL and branch.
        commits: objects by commit and path; None: the commit cannot be rendered.
        trouble: raised by whatever asks for a repository; None: all is well.
        seconds: that each answer takes.
        calls: how often something was asked for.
    """

    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    commits: dict[str, dict[str, tuple[Object, ...] | None]] = field(default_factory=dict)
    trouble: Exception | None = None
    seconds: float = 0.2
    calls: Counter[str] = field(default_factory=Counter)
    asked: list[Freshness] = field(default_factory=list)
    before_render: Callable[[RenderRequest], None] = lambda request: None

    def push(self, *objects: Object, url: str = URL, branch: str = "main", path: str = PATH) -> str:
        """Commit these objects, and no others, below a path; return the commit."""
        return self._push(tuple(copy.deepcopy(objects)), url, branch, path)

    def push_broken(self, *, url: str = URL, branch: str = "main", path: str = PATH) -> str:
        """Commit what cannot be rendered; return the commit."""
        return self._push(None, url, branch, path)

    def _push(self, objects: tuple[Object, ...] | None, url: str, branch: str, path: str) -> str:
        parent = self.heads.get((url, branch), "")
        commit = sha1(f"{len(self.commits)}/{parent}".encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = {**self.commits.get(parent, {}), path: objects}
        self.heads[url, branch] = commit
        return commit

    def cut(self) -> None:
        """Let nobody reach any repository."""
        self.trouble = RepositoryError("the repository cannot be reached: connection refused")

    def mend(self) -> None:
        self.trouble = None

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        self.calls["resolve"] += 1
        self.asked.append(freshness)
        await asyncio.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble
        wanted = source.target_revision or "HEAD"
        if len(wanted) == 40:
            return Resolved(revision=wanted)
        branch = "main" if wanted == "HEAD" else wanted
        if (commit := self.heads.get((source.repo_url, branch))) is None:
            raise RepositoryError(f"unable to resolve '{wanted}' to a commit SHA")
        return Resolved(revision=commit)

    async def render(self, request: RenderRequest) -> Rendered:
        self.calls["render"] += 1
        self.before_render(request)
        await asyncio.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble
        tree = self.commits.get(request.revision)
        if tree is None:
            raise RepositoryError(f"unable to resolve '{request.revision}' to a commit SHA")
        if request.source.is_reference_only:
            return Rendered(objects=(), revision=request.revision, source_type=None)
        if request.source.path not in tree:
            raise RenderError(f"{request.source.path}: app path does not exist")
        objects = tree[request.source.path]
        if objects is None:
            raise RenderError(f"{request.source.path}/broken.yaml: mapping values are not allowed here")
        return Rendered(objects=copy.deepcopy(objects), revision=request.revision, source_type=SourceType.DIRECTORY)


def config_map(name: str, *, namespace: str = "", annotations: dict[str, str] | None = None, **data: str) -> Object:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"a": "1"}}


def deployment(
    name: str, *, replicas: int = 1, image: str = "web:1", annotations: dict[str, str] | None = None
) -> Object:
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }


def job(name: str, *, command: tuple[str, ...] = ("true",), annotations: dict[str, str] | None = None) -> Object:
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "job", "image": "job:1", "command": list(command)}],
                }
            }
        },
    }
