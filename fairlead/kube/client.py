"""The Cluster port on a real API server.

Raw bytes in, decoded once into the values that a `Kind` makes of them, item by item: one odd object never fails a
list or a watch. Writes are patches of what we own, under the field manager `fairlead`.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import msgspec
from kubernetes_asyncio.client import ApiClient

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
from fairlead.core.errors import Conflict, Invalid, Unavailable
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.core.scanning import elements, members
from fairlead.kube._errors import Status, from_status
from fairlead.kube._lines import LineSplitter
from fairlead.kube._transport import CALL_SECONDS, Query, RequestHook, Transport

FIELD_MANAGER = "fairlead"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
WATCH_MARGIN_SECONDS = 15.0  # an API server ends a watch at its time-out; after that much more nobody is there


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None  # null is how an empty list is sometimes written


class _Line(msgspec.Struct, frozen=True):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"")


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _Version = _Version()


_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_versioned = msgspec.json.Decoder(_Versioned)
_status = msgspec.json.Decoder(Status)
_list_meta = msgspec.json.Decoder(_ListMeta)
_text = msgspec.json.Decoder(str)
_document = msgspec.json.Decoder(dict[str, Any])


class KubeCluster:
    """A Cluster on kubernetes-asyncio's session. Close it, or use it as an async context manager.

    Args:
        api: configured; see `fairlead.kube.config.connect`.
        field_manager: owns the fields that we write.
        hook: is told of each request.
        on_unauthorized: see `Transport`.
        call_seconds: an ordinary call that takes longer fails.
        watch_margin_seconds: a watch that is silent for so much longer than it was to last fails.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        field_manager: str = FIELD_MANAGER,
        hook: RequestHook | None = None,
        on_unauthorized: Callable[[], bool] | None = None,
        call_seconds: float = CALL_SECONDS,
        watch_margin_seconds: float = WATCH_MARGIN_SECONDS,
    ) -> None:
        self._transport = Transport(api, hook=hook, on_unauthorized=on_unauthorized, call_seconds=call_seconds)
        self._field_manager = field_manager
        self._mode: tuple[tuple[str, str], ...] = ()  # further parameters of every write
        self._watch_margin_seconds = watch_margin_seconds

    async def __aenter__(self) -> KubeCluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    @property
    def host(self) -> str:
        """Where the API server is, as a URL."""
        return self._transport.host

    def as_manager(self, field_manager: str, *, dry_run: bool = False, strict: bool = False) -> KubeCluster:
        """Return the same connections for writes of another field manager; only the original is closed.

        Args:
            dry_run: the server admits and validates what is written, and keeps nothing of it.
            strict: fields that the server does not know are refused (Invalid) instead of dropped.
        """
        other = copy.copy(self)
        other._field_manager = field_manager
        other._mode = (("dryRun", "All"),) * dry_run + (("fieldValidation", "Strict"),) * strict
        return other

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        data = await self._transport.call("GET", _object_path(kind, key), verb="get", resource=str(kind))
        return _decoded(kind, data, f"{kind} {key} cannot be read")

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
        query = [("limit", str(limit))] if limit else []
        query += _selectors(label_selector, field_selector)
        if continue_token:
            query.append(("continue", continue_token))
        data = await self._transport.call(
            "GET", _collection_path(kind, namespace), verb="list", resource=str(kind), query=query
        )
        try:
            meta, raws = _opened_list(data)
        except DECODE_ERRORS as error:
            raise Unavailable(f"the answer to a list of {kind} is no list: {error}") from error
        items: list[T] = []
        undecodable: list[Undecodable] = []
        for raw in raws:
            # A copy of its own for each: what an object keeps as raw JSON must not keep the whole page in memory.
            found = decode_object(kind, bytes(raw))
            if isinstance(found, Undecodable):
                undecodable.append(found)
            else:
                items.append(found)
        return Page(
            items=tuple(items),
            undecodable=tuple(undecodable),
            resource_version=meta.resource_version,
            continue_token=meta.continue_,
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
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(max(1, round(timeout_seconds)))),
            *_selectors(label_selector, field_selector),
        ]
        splitter = LineSplitter()
        async with self._transport.stream(
            _collection_path(kind, namespace),
            resource=str(kind),
            query=query,
            read_seconds=timeout_seconds + self._watch_margin_seconds,
        ) as chunks:
            async for chunk in chunks:
                for line in splitter.feed(chunk):
                    yield _event(kind, line)
        if rest := splitter.rest():
            yield _event(kind, rest)  # whole but for its end; or cut, and then it is no JSON

    # --- writing -------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        if kind.namespaced and not namespace:
            namespace = str((body.get("metadata") or {}).get("namespace") or "")
        if kind.namespaced and not namespace:
            raise Invalid(f"{kind} cannot be created without a namespace", status=400, reason="BadRequest")
        data = await self._transport.call(
            "POST",
            _collection_path(kind, namespace),
            verb="create",
            resource=str(kind),
            query=[("fieldManager", self._field_manager), *self._mode],
            body=_encoded(body),
        )
        return _decoded(kind, data, f"{kind} has been created, but the answer cannot be read")

    async def patch(self, kind: Kind[T], key: ObjectKey, patch: Patch, *, subresource: str = "") -> T:
        query = [("fieldManager", self._field_manager), *self._mode]
        body: object
        match patch:
            case MergePatch(body=body):
                content_type = "application/merge-patch+json"
            case JsonPatch(operations=body):
                content_type = "application/json-patch+json"
            case ApplyPatch(body=body, force=force):
                content_type = "application/apply-patch+yaml"  # JSON is valid YAML
                query.append(("force", "true" if force else "false"))
        try:
            data = await self._transport.call(
                "PATCH",
                _object_path(kind, key, subresource),
                verb="patch",
                resource=f"{kind}/{subresource}" if subresource else str(kind),
                query=query,
                body=_encoded(body),
                content_type=content_type,
            )
        except Invalid as error:
            if not any(cause.field == "metadata.uid" for cause in error.causes):
                raise
            # The server takes another UID for an attempt to change it; we meant it as a precondition.
            raise Conflict(str(error), status=error.status, reason=error.reason, causes=error.causes) from error
        return _decoded(kind, data, f"{kind} {key} has been patched, but the answer cannot be read")

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": str(propagation)}
        if grace_period_seconds is not None:
            body["gracePeriodSeconds"] = grace_period_seconds
        demanded = {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
        if demanded := {name: value for name, value in demanded.items() if value}:
            body["preconditions"] = demanded
        if any(name == "dryRun" for name, _ in self._mode):  # beside a body, the server does not look at the query
            body["dryRun"] = ["All"]
        await self._transport.call(
            "DELETE", _object_path(kind, key), verb="delete", resource=str(kind), body=_encoded(body)
        )

    async def evict(self, key: ObjectKey) -> None:
        metadata = {"name": key.name, "namespace": key.namespace}
        await self._transport.call(
            "POST",
            f"/api/v1/namespaces/{_segment(key.namespace)}/pods/{_segment(key.name)}/eviction",
            verb="evict",
            resource="pods/eviction",
            body=_encoded({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}),
        )

    # --- anything else -------------------------------------------------------------------------------------------

    async def discover(self) -> Served:
        """Return what is served, by two requests of aggregated discovery (Kubernetes 1.30 and later)."""
        documents = []
        for path in ("/api", "/apis"):
            data = await self._transport.call("GET", path, verb="discover", resource=path, accept=_AGGREGATED)
            try:
                documents.append(_document.decode(data))
            except DECODE_ERRORS as error:
                raise Unavailable(f"the answer of {path} is no JSON object: {error}") from error
            if documents[-1].get("kind") != "APIGroupDiscoveryList":
                raise Unavailable(f"{path} answers with {documents[-1].get('kind')!r}, expected APIGroupDiscoveryList")
        return served(*documents)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Return the body of any request's answer: discovery, versions, logs of a pod.

        Args:
            path: begins with a slash; its segments are quoted already.
        """
        return await self._transport.call(
            method,
            path,
            verb=method.lower(),
            resource=path,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
        )


def _segment(text: str) -> str:
    """Return a name as a path segment.

    An empty name would address the collection (and delete all of it), dots would climb: such names reach no server.
    """
    if text in ("", ".", ".."):
        raise Invalid(f"{text!r} is no name of an object or a namespace", status=400, reason="BadRequest")
    return quote(text, safe="", errors="replace")


def _collection_path(kind: Kind[Any], namespace: str) -> str:
    if not namespace or not kind.namespaced:
        return f"{kind.path}/{kind.plural}"
    return f"{kind.path}/namespaces/{_segment(namespace)}/{kind.plural}"


def _object_path(kind: Kind[Any], key: ObjectKey, subresource: str = "") -> str:
    if kind.namespaced and not key.namespace:
        raise Invalid(f"{kind} {key.name} cannot be addressed without a namespace", status=400, reason="BadRequest")
    path = f"{_collection_path(kind, key.namespace)}/{_segment(key.name)}"
    return f"{path}/{_segment(subresource)}" if subresource else path


def _selectors(label_selector: str, field_selector: str) -> list[tuple[str, str]]:
    both = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return [(name, value) for name, value in both if value]


def _encoded(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:  # half a surrogate pair, which JSON text of others may hold
        raise Invalid(f"the body is no text that can be sent: {error}", status=400, reason="BadRequest") from error


def _decoded(kind: Kind[T], data: bytes, problem: str) -> T:
    found = decode_object(kind, data)
    if isinstance(found, Undecodable):
        raise Invalid(f"{problem}: {found.error}")
    return found


def _opened_list(data: bytes) -> tuple[_ListMeta, Sequence[bytes | msgspec.Raw]]:
    try:
        listed = _list.decode(data)
    except RecursionError:  # one of the items is nested too deeply: that is no reason to lose the others
        fields = members(data)
        items = fields.get("items", b"null")
        return _list_meta.decode(fields.get("metadata", b"{}")), [] if items == b"null" else elements(items)
    return listed.metadata, listed.items or ()


def _opened_line(line: bytes) -> tuple[str, bytes]:
    try:
        read = _line.decode(line)
    except RecursionError:
        fields = members(line)
        return _text.decode(fields.get("type", b'""')), fields.get("object", b"")
    return read.type, bytes(read.object)


def _event(kind: Kind[T], line: bytes) -> WatchEvent[T]:
    """Return the event of one line.

    Raises:
        ClusterError: it reports an error, or is none of a watch: whatever sent it, we have lost our place.
    """
    try:
        type_, raw = _opened_line(line)
    except DECODE_ERRORS as error:
        raise Unavailable(f"the watch of {kind} sent what is no JSON event: {error}") from error
    match type_:
        case "ERROR":
            try:
                status = _status.decode(raw)
            except DECODE_ERRORS as error:
                raise Unavailable(f"the watch of {kind} sent an ERROR event without a status: {error}") from error
            raise from_status(status)
        case "BOOKMARK":
            try:
                version = _versioned.decode(raw).metadata.resource_version
            except DECODE_ERRORS:
                version = ""  # a bookmark that cannot be read marks nothing
            return WatchEvent(type=EventType.BOOKMARK, object=None, resource_version=version)
        case "ADDED" | "MODIFIED" | "DELETED":
            if not raw or raw == b"null":
                raise Unavailable(f"the watch of {kind} sent {type_} without an object")
            found = decode_object(kind, raw)
            return WatchEvent(type=EventType(type_), object=found, resource_version=found.metadata.resource_version)
        case other:
            raise Unavailable(f"the watch of {kind} sent an event of type {other!r}")
