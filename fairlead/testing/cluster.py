"""Kubernetes in memory, behind the Cluster port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fairlead.core.clock import Clock
from fairlead.core.cluster import (
    ANY,
    ApplyPatch,
    EventType,
    JsonPatch,
    MergePatch,
    Page,
    Patch,
    Preconditions,
    Propagation,
    Undecodable,
    WatchEvent,
)
from fairlead.core.decoding import DECODE_ERRORS, decode_object
from fairlead.core.discovery import Served, served
from fairlead.core.errors import Conflict, Invalid, NotFound
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing import custom, discovery, failures, gateway
from fairlead.testing.api import ApiServer
from fairlead.testing.requests import CommitHook, DeleteOptions, ListOptions, PatchType, Target, WriteOptions
from fairlead.testing.storage import Json, Stored
from fairlead.testing.watching import Item

BOOKMARK_SECONDS = 60.0  # how often a quiet watch hears where it stands, as the real server's


class SimulatedCluster:
    """A Kubernetes API in memory: the Cluster port at REST semantics, under whatever clock and loop it is given.

    The built-in controllers are apart (`fairlead.testing.workloads`), except for owner garbage collection,
    namespace emptying and the removal of dropped kinds, which happen by themselves `collect_after` seconds
    after the write that asks for them.

    Its lies, all of which a real API server does not tell:

    - *Admission*: nobody is refused for who they are; no webhooks, quotas, limit ranges or admission policies act
      (they are carried). New nodes get no taint, pods no token.
    - *What a real cluster is born with* is missing: the Service `kubernetes`, ServiceAccounts `default`, ConfigMaps
      `kube-root-ca.crt`.
    - *Built-in kinds have no full schema*: unknown fields are kept, wrong types are noticed only where a rule names
      the field, `fieldValidation=Strict` refuses unknown fields of custom kinds only. Ephemeral containers and
      resizing are carried. Messages show the object's own JSON where Go shows its internal structs.
    - *CEL*: of `x-kubernetes-validations` only `self == oldSelf` is understood; other rules pass. Of `format` only
      `date-time` is checked.
    - *Versions*: custom kinds convert by changing apiVersion alone; Events of `v1` and of `events.k8s.io/v1` are two
      separate stores.
    - *Ownership* (managedFields) is computed without the full schema of built-in kinds: a map inside them is always
      granular, `.` entries show only for items of keyed lists; scale writes count as updates, also when applied. A
      value of the wrong type is refused as invalid (422), where applying it is an internal error (500) on the real one.
    - *Services*: cluster addresses are handed out in order and never taken back; node ports are not handed out.
      EndpointSlices may hold loopback addresses, so that real pods of a demo can be reached.
    - *Scheduling*: `spec.nodeName` of a waiting pod may be set by an ordinary write, since the port has no binding.
    - *Disruption budgets* are counted at eviction time; their status is not kept.
    - *HTTP*: no protobuf is written, and of the kinds that arrive in it only common ones are read; CBOR never.
    - *Watches* deliver at once and in order, and a list or watch is never stale: `faults.py` adds the rest.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        history: int = 10_000,
        field_manager: str = "fairlead",
        crds: Iterable[Mapping[str, Any]] | None = None,
        collect_after: float = 0.02,
        api: ApiServer | None = None,
        mode: WriteOptions = WriteOptions(),  # noqa: B008 (frozen)
    ) -> None:
        """Start empty, but for the system's namespaces, Gateway API's kinds and the given ones.

        Args:
            seed: decides UIDs and generated names.
            history: how many changes are remembered for watches; older resourceVersions are `Expired`.
            field_manager: who writes, as managedFields tell.
            crds: CustomResourceDefinitions to install; None: those that ship with fairlead.
            collect_after: seconds until garbage is collected.
            api: share the state of another cluster (see `as_manager`).
            mode: whether writes are dry runs, and strict.
        """
        self.clock = clock
        self._manager = field_manager
        self._mode = replace(mode, manager=field_manager)
        self._collect_after = collect_after
        if api is None:
            api = ApiServer(clock, seed=seed, history=history)
            self.api = api
            api.collector.wake = self._schedule
            self.install_crds(gateway.definitions())
            self.install_crds(custom.fairlead_crds() if crds is None else crds)
        self.api = api

    def as_manager(self, field_manager: str, *, dry_run: bool = False, strict: bool = False) -> SimulatedCluster:
        """Return the same cluster as seen by another client.

        Args:
            dry_run: its writes are tried, and nothing is kept of them.
            strict: unknown fields of custom kinds are refused instead of dropped.
        """
        mode = WriteOptions(dry_run=dry_run, strict=strict)
        return SimulatedCluster(self.clock, field_manager=field_manager, api=self.api, crds=(), mode=mode)

    # -- beside the port: for tests and tools ---------------------------------------------------------------------

    def on_commit(self, hook: CommitHook) -> None:
        """Call `hook(verb, resource, old, new)` after every committed write.

        `verb` is `create`, `update` or `delete`; `resource` says which kind (`.kind`, `.plural`, `.group`); `old` and
        `new` are the object as JSON data, to be read only, or None. An exception of the hook reaches the writer.
        """
        self.api.on_commit(hook)

    def compact(self) -> None:
        """Forget the past: watches and continued lists from before now are `Expired`."""
        self.api.storage.compact()

    def install_crds(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Serve the kinds that the CustomResourceDefinitions among the documents define, at once."""
        target = self.api.target("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        for document in custom.only_definitions(documents):
            name = document["metadata"]["name"]
            options = WriteOptions(manager=self._manager, force=True)
            place = Target(resource=target.resource, version=target.version, name=name)
            self.api.patch(place, PatchType.APPLY, document, options)

    def apply(self, documents: Iterable[Mapping[str, Any]], *, namespace: str = "default") -> None:
        """Server-side apply any objects, by force, as `kubectl apply` would (for tests and demos)."""
        for document in documents:
            if document.get("kind") == "CustomResourceDefinition":
                self.install_crds([document])
                continue
            resource = self.api.registry.of_kind(document.get("apiVersion", ""), document.get("kind", ""))
            if resource is None:
                raise NotFound(f"no matches for kind {document.get('kind')!r}", status=404, reason="NotFound")
            metadata = document.get("metadata", {})
            place = Target(
                resource=resource,
                version=str(document["apiVersion"]).rpartition("/")[2],
                namespace=(metadata.get("namespace") or namespace) if resource.namespaced else "",
                name=metadata.get("name", ""),
            )
            self.api.patch(place, PatchType.APPLY, document, WriteOptions(manager=self._manager, force=True))

    def read(self, kind: Kind[Any], key: ObjectKey) -> Json | None:
        """Return the object as JSON data (to be read only), or None."""
        stored = self.api.storage.get(str(kind), key)
        return stored.data if stored else None

    def read_all(self, kind: Kind[Any], namespace: str = "") -> list[Json]:
        """Return all objects of a kind as JSON data (to be read only), sorted by key."""
        objects = self.api.storage.all(str(kind))
        return [objects[key].data for key in sorted(objects) if not namespace or key.namespace == namespace]

    # -- garbage --------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nobody runs yet: the first call will find what is waiting
        loop.call_later(self._collect_after, self.api.collector.collect)

    async def _turn(self) -> None:
        """Let the others run, as waiting for a network would."""
        if not self.api.collector.is_idle:
            self._schedule()
        await asyncio.sleep(0)

    # -- the port -------------------------------------------------------------------------------------------------

    def _target(self, kind: Kind[Any], key: ObjectKey, subresource: str = "") -> Target:
        return self.api.target(
            kind.group, kind.version, kind.plural, namespace=key.namespace, name=key.name, subresource=subresource
        )

    def _value(self, kind: Kind[T], stored: Stored) -> T:
        try:
            return kind.decode(stored.raw_as(kind.api_version))
        except DECODE_ERRORS as error:
            raise Invalid(f"{kind} {stored.key}: {error}") from error

    def _seen(self, kind: Kind[T], stored: Stored) -> T | Undecodable:
        return decode_object(kind, stored.raw_as(kind.api_version))

    async def get(self, kind: Kind[T], key: ObjectKey, *, revision: int | None = None) -> T:
        """Return the object; beyond the port, as it was at a past revision."""
        await self._turn()
        target = self._target(kind, key)
        if revision is None:
            return self._value(kind, self.api.get(target))
        past = self.api.storage.at(target.resource.collection, revision).get(target.key)
        if past is None:
            raise failures.not_found(kind.plural, kind.group, key.name)
        return self._value(kind, past)

    async def list(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
        revision: int | None = None,
    ) -> Page[T]:
        """Return one page; beyond the port, of how things were at a past revision."""
        await self._turn()
        options = ListOptions(
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
            resource_version="" if revision is None else str(revision),
            exact=revision is not None,
        )
        listing = self.api.list(self._target(kind, ObjectKey(namespace, "")), options)
        items: list[T] = []
        odd: list[Undecodable] = []
        for stored in listing.items:
            value = self._seen(kind, stored)
            if isinstance(value, Undecodable):
                odd.append(value)
            else:
                items.append(value)
        return Page(
            items=tuple(items),
            undecodable=tuple(odd),
            resource_version=listing.resource_version,
            continue_token=listing.continue_token,
        )

    async def watch(
        self,
        kind: Kind[T],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncIterator[WatchEvent[T]]:
        await self._turn()
        options = ListOptions(
            label_selector=label_selector, field_selector=field_selector, resource_version=resource_version
        )
        watcher = self.api.watch(self._target(kind, ObjectKey(namespace, "")), options)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_seconds
        bookmark_at = loop.time() + BOOKMARK_SECONDS
        try:
            while True:
                item = await watcher.next(min(ends_at, bookmark_at) - loop.time())
                if item is not None:
                    yield self._event(kind, item)
                elif watcher.closed:
                    return
                elif loop.time() >= min(ends_at, bookmark_at):
                    yield self._event(kind, Item(EventType.BOOKMARK, None, self.api.storage.revision))
                    bookmark_at = loop.time() + BOOKMARK_SECONDS
                    if loop.time() >= ends_at:
                        return
        finally:
            watcher.close()

    def _event(self, kind: Kind[T], item: Item) -> WatchEvent[T]:
        value = None if item.stored is None else self._seen(kind, item.stored)
        return WatchEvent(type=item.type, object=value, resource_version=str(item.revision))

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        await self._turn()
        namespace = namespace or (body.get("metadata") or {}).get("namespace", "")
        target = self._target(kind, ObjectKey(namespace, ""))
        return self._value(kind, self.api.create(target, body, self._mode))

    async def patch(self, kind: Kind[T], key: ObjectKey, patch: Patch, *, subresource: str = "") -> T:
        await self._turn()
        target = self._target(kind, key, subresource)
        options = replace(self._mode, force=isinstance(patch, ApplyPatch) and patch.force)
        try:
            match patch:
                case MergePatch(body):
                    stored = self.api.patch(target, PatchType.MERGE, body, options)
                case JsonPatch(operations):
                    stored = self.api.patch(target, PatchType.JSON, list(operations), options)
                case ApplyPatch(body):
                    stored = self.api.patch(target, PatchType.APPLY, body, options)
        except Invalid as error:
            if not any(cause.field == "metadata.uid" for cause in error.causes):
                raise
            # As the client for real clusters does: a server takes another UID for an attempt to change it.
            raise Conflict(str(error), status=error.status, reason=error.reason, causes=error.causes) from error
        return self._value(kind, stored)

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        await self._turn()
        options = DeleteOptions(
            preconditions=preconditions,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
            dry_run=self._mode.dry_run,
        )
        self.api.delete(self._target(kind, key), options)

    async def discover(self) -> Served:
        """Return what is served now."""
        await self._turn()
        return served(*(discovery.aggregated(self.api.registry, core=core) for core in (True, False)))

    async def evict(self, key: ObjectKey) -> None:
        await self._turn()
        target = self.api.target("", "v1", "pods", namespace=key.namespace, name=key.name, subresource="eviction")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": key.name, "namespace": key.namespace},
        }
        self.api.create(target, body, WriteOptions(manager=self._manager))
