"""What has been decided so far about an Application, as it is stored on the object.

`status` of an Application is **no** subresource: one write can change spec, operation and status. So nobody ever writes
a whole object back: `status_patch` yields a JSON merge patch of the paths that changed, and fields that we do not know
stay. Anybody may write a status: reading is lenient, what makes no sense counts as absent. Instants have second
precision. A field with a `default_factory` is written even if it is empty: upstream's own definition of the kind
requires it.

Source: `argo-cd: pkg/apis/application/v1alpha1/types.go: ApplicationStatus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from fairlead.agentsync.operation import InitiatedBy, Operation
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.spec import Destination, IgnoreDifferences, NamespaceMetadata, Source
from fairlead.core.decoding import DECODE_ERRORS, Wire
from fairlead.core.patches import diff

_S = TypeVar("_S", bound=Wire)


class SyncCode(StrEnum):
    """Whether what lives is what is wanted."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Phase(StrEnum):
    """How far an operation, or a hook, has come."""

    RUNNING = "Running"
    TERMINATING = "Terminating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # a task failed
    ERROR = "Error"  # it could not be carried out

    @property
    def is_completed(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.ERROR)

    @property
    def is_successful(self) -> bool:
        return self is Phase.SUCCEEDED


class SyncPhase(StrEnum):
    """When in a sync, or in a deletion, something is applied."""

    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"
    PRE_DELETE = "PreDelete"
    POST_DELETE = "PostDelete"
    SKIP = "Skip"


class ResultCode(StrEnum):
    """What became of one object in a sync."""

    SYNCED = "Synced"
    SYNC_FAILED = "SyncFailed"
    PRUNED = "Pruned"
    PRUNE_SKIPPED = "PruneSkipped"


class ConditionType(StrEnum):
    """What an Application complains about."""

    INVALID_SPEC = "InvalidSpecError"
    COMPARISON = "ComparisonError"
    SYNC = "SyncError"
    DELETION = "DeletionError"
    UNKNOWN = "UnknownError"
    SHARED_RESOURCE = "SharedResourceWarning"
    REPEATED_RESOURCE = "RepeatedResourceWarning"
    EXCLUDED_RESOURCE = "ExcludedResourceWarning"
    ORPHANED_RESOURCE = "OrphanedResourceWarning"

    @property
    def is_error(self) -> bool:
        return self.value.endswith("Error")


class AppCondition(Wire, frozen=True, kw_only=True):
    """One complaint; the time is that of its present message."""

    type: str = msgspec.field(default_factory=str)
    message: str = msgspec.field(default_factory=str)
    last_transition_time: datetime | None = None


class HealthStatus(Wire, frozen=True, kw_only=True):
    """How something is, and since when."""

    status: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class ComparedTo(Wire, frozen=True, kw_only=True):
    """What the comparison was made with."""

    source: Source | None = None
    sources: tuple[Source, ...] = ()
    destination: Destination = msgspec.field(default_factory=Destination)
    ignore_differences: tuple[IgnoreDifferences, ...] = ()


class SyncStatus(Wire, frozen=True, kw_only=True):
    """Whether what lives is what is wanted, and of which revisions."""

    status: str = msgspec.field(default_factory=str)
    compared_to: ComparedTo | None = None
    revision: str = ""
    revisions: tuple[str, ...] = ()

    @property
    def all_revisions(self) -> tuple[str, ...]:
        return self.revisions or ((self.revision,) if self.revision else ())


class ResourceStatus(Wire, frozen=True, kw_only=True):
    """One object of the Application, wanted or found."""

    group: str = ""
    version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    status: str = ""
    health: HealthStatus | None = None
    hook: bool = False
    requires_pruning: bool = False
    requires_deletion_confirmation: bool = False
    sync_wave: int = 0

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.group, self.kind, self.namespace, self.name)


class ResourceResult(Wire, frozen=True, kw_only=True):
    """What became of one object in one phase of a sync.

    Attributes:
        hook_phase: state of a hook, or of an object that is waited for; empty: nothing has been done yet.
    """

    group: str = msgspec.field(default_factory=str)
    version: str = msgspec.field(default_factory=str)
    kind: str = msgspec.field(default_factory=str)
    namespace: str = msgspec.field(default_factory=str)
    name: str = msgspec.field(default_factory=str)
    status: str = ""
    message: str = ""
    hook_type: str = ""
    hook_phase: str = ""
    sync_phase: str = ""
    images: tuple[str, ...] = ()

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.group, self.kind, self.namespace, self.name)


class SyncResult(Wire, frozen=True, kw_only=True):
    """Of what commit, and what became of each object."""

    resources: tuple[ResourceResult, ...] = ()
    revision: str = msgspec.field(default_factory=str)
    revisions: tuple[str, ...] = ()
    source: Source | None = None
    sources: tuple[Source, ...] = ()
    managed_namespace_metadata: NamespaceMetadata | None = None

    @property
    def all_revisions(self) -> tuple[str, ...]:
        return self.revisions or ((self.revision,) if self.revision else ())

    @property
    def all_sources(self) -> tuple[Source, ...]:
        return self.sources or ((self.source,) if self.source is not None else ())


class OperationState(Wire, frozen=True, kw_only=True):
    """The operation that runs, or the last one."""

    operation: Operation = msgspec.field(default_factory=Operation)
    phase: str = msgspec.field(default_factory=str)
    message: str = ""
    sync_result: SyncResult | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_count: int = 0


class HistoryEntry(Wire, frozen=True, kw_only=True):
    """A full sync that succeeded."""

    id: int = msgspec.field(default_factory=int)
    revision: str = ""
    revisions: tuple[str, ...] = ()
    source: Source | None = None
    sources: tuple[Source, ...] = ()
    deploy_started_at: datetime | None = None
    deployed_at: datetime | None = None
    initiated_by: InitiatedBy = InitiatedBy()


class Summary(Wire, frozen=True, kw_only=True):
    """What people want to know at a glance."""

    images: tuple[str, ...] = ()
    external_urls: tuple[str, ...] = msgspec.field(name="externalURLs", default=())
    is_app_of_apps: bool = False


class ApplicationStatus(Wire, frozen=True, kw_only=True):
    """The status of an Application. Fields that are not modelled stay on the object as they are."""

    sync: SyncStatus = SyncStatus()
    health: HealthStatus = HealthStatus()
    resources: tuple[ResourceStatus, ...] = ()
    operation_state: OperationState | None = None
    history: tuple[HistoryEntry, ...] = ()
    conditions: tuple[AppCondition, ...] = ()
    reconciled_at: datetime | None = None
    source_type: str = ""
    source_types: tuple[str, ...] = ()
    summary: Summary = Summary()
    controller_namespace: str = ""

    def condition(self, kind: ConditionType) -> AppCondition | None:
        """Return the first condition of a type."""
        return next((found for found in self.conditions if found.type == kind), None)


def with_conditions(
    status: ApplicationStatus, found: tuple[AppCondition, ...], evaluated: frozenset[ConditionType], now: datetime
) -> ApplicationStatus:
    """Return the status with the conditions of the evaluated types replaced.

    One whose message stays the same keeps its time.

    Args:
        found: those that hold now; their times do not count.
        evaluated: types of which all that hold are in `found`.
    """
    before = {(old.type, old.message): old.last_transition_time for old in status.conditions}
    at = now.replace(microsecond=0)
    kept = tuple(old for old in status.conditions if old.type not in evaluated)
    fresh = tuple(
        msgspec.structs.replace(new, last_transition_time=before.get((new.type, new.message)) or at)
        for new in dict.fromkeys(found)
    )
    merged = tuple(sorted((*kept, *fresh), key=lambda condition: (condition.type, condition.message)))
    return msgspec.structs.replace(status, conditions=merged)


def to_json(value: Wire) -> dict[str, Any]:
    """Return a part of a status as JSON data."""
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return built


def status_patch(
    before: ApplicationStatus, after: ApplicationStatus, *, odd: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON merge patch of `status` that turns one status into the other; empty: nothing changed.

    A `null` in the values of a chart cannot be stored by such a patch: it is left out.

    Args:
        odd: what is stored and could not be understood, by field.
    """
    if before == after and not odd:
        return {}
    stored = {**without_nulls(to_json(before)), **(odd or {})}
    patch: dict[str, Any] = diff(stored, without_nulls(to_json(after)))
    return patch


def without_nulls(found: Any) -> Any:
    """Return JSON data without entries of objects that are `null`: what a merge patch can store."""
    if isinstance(found, dict):
        return {name: without_nulls(inner) for name, inner in found.items() if inner is not None}
    return found


_FIELDS = {field.encode_name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(ApplicationStatus)}
_NAMES = {field.encode_name: field.name for field in msgspec.structs.fields(ApplicationStatus)}
_LISTS = ("resources", "history", "conditions")
_items: Mapping[str, msgspec.json.Decoder[Any]] = {
    "resources": msgspec.json.Decoder(ResourceStatus),
    "history": msgspec.json.Decoder(HistoryEntry),
    "conditions": msgspec.json.Decoder(AppCondition),
}


def decode_status(raw: bytes | msgspec.Raw) -> ApplicationStatus:
    """Return what can be understood of a stored status. Never raises.

    >>> decode_status(b'{"sync": {"status": "Synced"}, "history": 7, "health": null}').sync.status
    'Synced'
    """
    found: dict[str, Any] = {}
    for name, value in _raw_fields(raw).items():
        if name in _FIELDS and (understood := _understood(name, value)) is not None:
            found[_NAMES[name]] = understood
    return ApplicationStatus(**found)


def odd_fields(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """Return the fields of a stored status that cannot be understood, as JSON data; {} as a rule.

    A patch has to take them away: what is merged into them could not be understood either, and would be decided anew
    for ever.
    """
    fields = _raw_fields(raw)
    return {
        name: msgspec.json.decode(value)
        for name, value in fields.items()
        if name in _FIELDS and bytes(value) != b"null" and _understood(name, value) is None
    }


def _raw_fields(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except DECODE_ERRORS:
        return {}


def _understood(name: str, raw: msgspec.Raw) -> Any:
    """Return a field's value; of a list with odd entries the others; None: nothing makes sense."""
    try:
        return _FIELDS[name].decode(raw)
    except DECODE_ERRORS:
        pass
    try:
        plain = _without_nulls(msgspec.json.decode(raw))
        if name not in _items:
            return _FIELDS[name].decode(msgspec.json.encode(plain))
    except DECODE_ERRORS:
        return None
    kept = []
    for entry in plain if isinstance(plain, list) else ():
        try:
            kept.append(_items[name].decode(msgspec.json.encode(entry)))
        except DECODE_ERRORS:
            continue
    return tuple(kept)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if key == "valuesObject" else _without_nulls(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
