"""What can be asked of the API server, as values, and the part of it that its own controllers use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fairlead.core.cluster import ANY, Preconditions, Propagation
from fairlead.core.objects import ObjectKey
from fairlead.testing.managed import Manager
from fairlead.testing.resources import Registry, Resource
from fairlead.testing.storage import Json, Storage, Stored

CommitHook = Callable[[str, Resource, "Json | None", "Json | None"], None]


class PatchType(StrEnum):
    """The content types of a patch."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about."""

    resource: Resource
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a write is meant. `strict`: unknown fields of custom kinds are refused instead of dropped."""

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How a deletion is meant."""

    preconditions: Preconditions = ANY
    propagation: Propagation = Propagation.BACKGROUND
    grace_period_seconds: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which objects a list or watch is about; `exact` wants the state at `resource_version` itself."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    exact: bool = False
    initial_events: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of a list; `remaining` is how many come after it, None when selectors make that unknown."""

    items: tuple[Stored, ...]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class Server(Protocol):
    """What garbage collection and subresources need of the API server."""

    storage: Storage
    registry: Registry

    @property
    def now(self) -> str: ...

    def target(
        self, group: str, version: str, plural: str, *, namespace: str = "", name: str = "", subresource: str = ""
    ) -> Target: ...

    def stored(self, target: Target) -> Stored: ...

    def delete(self, target: Target, options: DeleteOptions = ...) -> Stored: ...

    def replace(
        self, target: Target, old: Stored, data: Json, managers: tuple[Manager, ...], options: WriteOptions
    ) -> Stored:
        """Store `data` in place of `old` by an ordinary write."""
        ...

    def rewrite(self, resource: Resource, old: Stored, data: Mapping[str, Any]) -> Stored:
        """Store what the system itself has changed, without admission; remove it if nothing holds it any longer."""
        ...
