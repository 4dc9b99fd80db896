"""From an HTTP request to what it asks, and from objects to the form that the client wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import yaml

from fairlead.core.cluster import Preconditions, Propagation
from fairlead.core.errors import ClusterError, Invalid
from fairlead.testing import failures, protobuf, tables
from fairlead.testing.requests import DeleteOptions, Listing, ListOptions, PatchType, Target, WriteOptions
from fairlead.testing.storage import Json, Stored

_encode = msgspec.json.encode
_TRUE = ("1", "true", "True", "t", "T", "TRUE")


class Form(StrEnum):
    """How a client wants to see objects."""

    WHOLE = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


def form_of(accept: str) -> Form:
    """Return the first form of an Accept header that we speak; protobuf is never one, JSON always."""
    for part in accept.split(","):
        fields = [field.strip() for field in part.split(";")]
        if fields[0] not in ("application/json", "application/yaml"):
            continue
        wanted = next((field[3:] for field in fields if field.startswith("as=")), "")
        if wanted in tuple(Form):
            return Form(wanted)
    return Form.WHOLE


def is_true(text: str) -> bool:
    return text in _TRUE


def write_options(query: Mapping[str, str], user_agent: str) -> WriteOptions:
    """Return how a write is meant; without a field manager the program's name stands for it."""
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        cause = failures.not_supported("dryRun", dry_run, ("All",))
        raise failures.invalid("WriteOptions", "meta.k8s.io", "", (cause,))
    manager = query.get("fieldManager") or user_agent.partition("/")[0].partition(" ")[0] or "unknown"
    return WriteOptions(
        manager=manager[:128],
        dry_run=bool(dry_run),
        force=is_true(query.get("force", "")),
        strict=query.get("fieldValidation") == "Strict",
    )


def list_options(query: Mapping[str, str], target: Target) -> ListOptions:
    """Return what a list or watch selects; a name in the path is one more term."""
    fields = query.get("fieldSelector", "")
    if target.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={target.name}")))
    initial = query.get("sendInitialEvents")
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=fields,
        limit=_number(query.get("limit", "0"), "limit"),
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        exact=query.get("resourceVersionMatch") == "Exact",
        initial_events=None if initial is None else is_true(initial),
    )


def _number(text: str, name: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise failures.bad_request(f"{name}: {text!r} is no number") from None


def delete_options(query: Mapping[str, str], body: Any) -> DeleteOptions:
    """Return how a deletion is meant, from the body or else from the query."""
    given = body if isinstance(body, Mapping) else {}
    grace = given.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    orphan = given.get("orphanDependents", query.get("orphanDependents"))
    word = given.get("propagationPolicy") or query.get("propagationPolicy")
    if word is None:
        word = Propagation.ORPHAN if orphan in (True, "true") else Propagation.BACKGROUND
    if word not in tuple(Propagation):
        cause = failures.not_supported("propagationPolicy", word, tuple(Propagation))
        raise failures.invalid("DeleteOptions", "meta.k8s.io", "", (cause,))
    conditions = given.get("preconditions") or {}
    return DeleteOptions(
        preconditions=Preconditions(
            uid=conditions.get("uid") or "", resource_version=conditions.get("resourceVersion") or ""
        ),
        propagation=Propagation(word),
        grace_period_seconds=None if grace is None else int(grace),
        dry_run=bool(given.get("dryRun") or (not given and query.get("dryRun"))),  # a body hides the query
    )


def patch_type(content_type: str) -> PatchType:
    """Return what kind of patch a request carries.

    Raises:
        Invalid: none that we know (415).
    """
    plain = content_type.partition(";")[0].strip()
    if plain == "application/apply-patch+json":
        return PatchType.APPLY
    if plain in tuple(PatchType):
        return PatchType(plain)
    accepted = ", ".join(PatchType)
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    raise Invalid(message, status=415, reason="UnsupportedMediaType")


def read_body(raw: bytes, content_type: str) -> Any:
    """Return the body as JSON data; an empty one as None.

    Raises:
        Invalid: it is neither JSON nor YAML, or in a format that we do not read (415).
    """
    if not raw.strip():
        return None
    plain = content_type.partition(";")[0].strip()
    if "protobuf" in plain:
        return protobuf.decode(raw)
    if "cbor" in plain:
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise Invalid(message, status=415, reason="UnsupportedMediaType")
    try:
        if "yaml" in plain:
            try:
                return msgspec.json.decode(raw)  # what kubectl sends as YAML is JSON
            except msgspec.MsgspecError:
                return yaml.load(raw, Loader=_JsonLoader)  # noqa: S506 - derived from the safe loader
        return msgspec.json.decode(raw)
    except (yaml.YAMLError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise failures.bad_request(f"error decoding the body: {error}") from error


class _JsonLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: timestamps stay strings."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the answers of one request look.

    Attributes:
        include: of tables, how much of the object comes with each row.
        now: for ages.
    """

    target: Target
    form: Form
    include: str
    now: datetime

    def one(self, stored: Stored) -> bytes:
        """Return the answer that shows one object."""
        match self.form:
            case Form.TABLE if self.target.subresource in ("", "status"):
                metadata = {"resourceVersion": stored.metadata.get("resourceVersion", "")}
                return _encode(self._table([stored], metadata))
            case Form.METADATA:
                return _encode(tables.partial(stored))
            case _:
                return self.raw(stored)

    def raw(self, stored: Stored) -> bytes:
        """Return the whole object in the version that was asked for."""
        if stored.data.get("kind") != self.target.resource.kind:
            return stored.raw  # a Scale: it has a version of its own
        return stored.raw_as(self.target.resource.api_version(self.target.version))

    def _table(self, objects: Iterable[Stored], metadata: Json, *, with_columns: bool = True) -> Json:
        resource, version = self.target.resource, self.target.version
        rows = (tables.row(resource, version, stored, self.now, include=self.include) for stored in objects)
        return tables.table(resource, version, rows, metadata, with_columns=with_columns)

    def many(self, listing: Listing) -> bytes:
        """Return the answer that shows a list."""
        metadata: Json = {"resourceVersion": listing.resource_version}
        if listing.continue_token:
            metadata["continue"] = listing.continue_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
        if self.form is Form.TABLE:
            return _encode(self._table(listing.items, metadata))
        if self.form is Form.METADATA_LIST:
            items = [tables.partial(stored) for stored in listing.items]
            head: Json = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            return _encode({**head, "metadata": metadata, "items": items})
        resource = self.target.resource
        start = _encode(
            {"kind": resource.list_kind, "apiVersion": resource.api_version(self.target.version), "metadata": metadata}
        )
        # Every object is encoded once per revision, however many lists and watches show it.
        return start[:-1] + b',"items":[' + b",".join(self.raw(stored) for stored in listing.items) + b"]}"

    def event(self, type_: str, stored: Stored, *, first: bool = True) -> bytes:
        """Return a line of a watch."""
        if self.form is Form.TABLE:
            metadata = {"resourceVersion": stored.metadata.get("resourceVersion", "")}
            body = _encode(self._table([stored], metadata, with_columns=first))
        elif self.form in (Form.METADATA, Form.METADATA_LIST):
            body = _encode(tables.partial(stored))
        else:
            body = self.raw(stored)
        return b'{"type":"' + type_.encode() + b'","object":' + body + b"}\n"

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """Return a line that tells where the watch stands."""
        metadata: Json = {"resourceVersion": str(revision)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self.target.resource
        if self.form is Form.TABLE:
            body = tables.table(resource, self.target.version, (), metadata, with_columns=False)
        else:
            kind, version = resource.kind, resource.api_version(self.target.version)
            body = {"kind": kind, "apiVersion": version, "metadata": metadata}
        return _encode({"type": "BOOKMARK", "object": body}) + b"\n"


def error_event(error: ClusterError) -> bytes:
    """Return the line by which a watch fails."""
    return _encode({"type": "ERROR", "object": failures.status_body(error)}) + b"\n"


def deleted(target: Target, stored: Stored) -> Json:
    """Return the Status that confirms that an object is gone."""
    resource = target.resource
    details: Json = {"name": stored.key.name, "kind": resource.plural, "uid": stored.metadata["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
