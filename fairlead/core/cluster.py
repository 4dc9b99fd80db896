"""The Cluster port: what fairlead needs of a Kubernetes API, and not more.

Two implementations: `fairlead.kube` (the real API over HTTP) and `fairlead.testing.SimulatedCluster` (in
memory). Objects cross it as values that a `Kind` decodes, one by one, so that an odd object never fails a list.

Errors: every method raises only branches of `ClusterError` (and `asyncio.CancelledError`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, Protocol

import msgspec

from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, T, T_co


class Undecodable(msgspec.Struct, frozen=True, kw_only=True):
    """An object that its kind could not decode; `error` names field path, found and expected."""

    metadata: ObjectMeta
    error: str


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list. `resource_version` is where a watch may start once the last page is read."""

    items: tuple[T, ...]
    undecodable: tuple[Undecodable, ...] = ()
    resource_version: str
    continue_token: str = ""


class EventType(StrEnum):
    """What a watch reports; errors (410 and others) are raised, never yielded."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class WatchEvent(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One change. `object` is None only for a bookmark, which carries just the resourceVersion."""

    type: EventType
    object: T | Undecodable | None
    resource_version: str


class MergePatch(msgspec.Struct, frozen=True):
    """RFC 7386. A `metadata.resourceVersion` in the body is a precondition (Conflict).

    A `metadata.uid` is one on the main object only: servers ignore it on subresources.
    """

    body: Mapping[str, Any]


class JsonPatch(msgspec.Struct, frozen=True):
    """RFC 6902; a failed `test` is `Invalid`."""

    operations: Sequence[Mapping[str, Any]]


class ApplyPatch(msgspec.Struct, frozen=True):
    """Server-side apply with the port's field manager: the body holds only fields that we own."""

    body: Mapping[str, Any]
    force: bool = False


Patch = MergePatch | JsonPatch | ApplyPatch


class Preconditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must still be true of an object for it to be deleted; violated: Conflict."""

    uid: str = ""
    resource_version: str = ""


class Propagation(StrEnum):
    """What happens to the dependents of a deleted object."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


ANY = Preconditions()


class Cluster(Protocol):
    """A Kubernetes API. Every call is bounded in time by the implementation."""

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        """Return the object as the server has it now.

        Raises:
            NotFound: there is none.
            Invalid: it cannot be decoded.
        """
        ...

    async def list(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[T]:
        """Return one page; an empty namespace means all of them.

        Raises:
            Expired: the continue token is too old.
        """
        ...

    def watch(
        self,
        kind: Kind[T],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncIterator[WatchEvent[T]]:
        """Yield changes after `resource_version`, with bookmarks; end normally after about the time-out.

        A watch that hears nothing for longer than the time-out and a margin raises `Unavailable` (half-open
        connections are noticed). Close it with `aclose()`, or by cancelling the task.

        Raises:
            Expired: the version has been compacted; list again.
        """
        ...

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        """Create the object and return it as stored.

        Raises:
            AlreadyExists: the name is taken.
            Invalid: the server refuses the body; `causes` name the fields.
        """
        ...

    async def patch(self, kind: Kind[T], key: ObjectKey, patch: Patch, *, subresource: str = "") -> T:
        """Apply a patch to the main object or to a subresource (`status`, `scale`); return the result.

        Raises:
            NotFound: there is none (an ApplyPatch on the main object creates it instead).
            Conflict: a precondition in the body failed, or another field manager owns a field.
        """
        ...

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Ask for deletion. It is no error that the object is gone already only if the caller says so.

        Raises:
            NotFound: there is none.
            Conflict: a precondition failed.
        """
        ...

    async def evict(self, key: ObjectKey) -> None:
        """Evict a pod through the policy API.

        Raises:
            TooManyRequests: a disruption budget does not allow it now.
        """
        ...


class View(Protocol[T_co]):
    """A read-only look at what has been seen of one kind: no request, never stale against our own writes."""

    def get(self, key: ObjectKey) -> T_co | None: ...

    def list(self, namespace: str = "") -> Sequence[T_co]:
        """Return all of a namespace, or of all namespaces, sorted by key."""
        ...

    def by_index(self, index: str, value: str) -> Sequence[T_co]:
        """Return the objects whose index function yields `value`, sorted by key. KeyError: no such index."""
        ...
