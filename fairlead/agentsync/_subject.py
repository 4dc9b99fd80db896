"""One Application as decisions need it, the answer that a decision is, and the patch that stores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.actions import Action
from fairlead.agentsync.kinds import DELETION_APPROVED, REFRESH, Application
from fairlead.agentsync.operation import Operation, decode_operation
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import ApplicationSpec, decode_spec
from fairlead.agentsync.status import ApplicationStatus, odd_fields, status_patch, to_json, without_nulls
from fairlead.agentsync.tracking import Tracking
from fairlead.core.decision import Decision
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectMeta, parse_rfc3339
from fairlead.core.patches import diff


class Reason(StrEnum):
    """Why an Application is not Synced and Healthy, or does nothing."""

    SKIPPED = "SkipReconcile"
    INVALID = "InvalidSpec"
    LOADING = "LoadingLiveState"
    RENDERING = "Rendering"
    SOURCE_FAILED = "SourceFailed"
    SYNCING = "Syncing"
    RETRYING = "Retrying"
    BLOCKED = "BlockedByWindow"
    OUT_OF_SYNC = "OutOfSync"
    UNHEALTHY = "Unhealthy"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One Application, read.

    Attributes:
        spec: None: it cannot be understood, and `error` says why.
        operation: what is asked for; None: nothing, or it cannot be understood, as `operation_error` says.
        odd_status: fields of the stored status that cannot be understood.
    """

    metadata: ObjectMeta
    spec: ApplicationSpec | None
    error: str = ""
    operation: Operation | None = None
    has_operation: bool = False
    operation_error: str = ""
    odd_status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refresh(self) -> str:
        return self.metadata.annotations.get(REFRESH, "")

    @property
    def approved_at(self) -> datetime | None:
        return parse_rfc3339(self.metadata.annotations.get(DELETION_APPROVED, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this controller serves, and how.

    Attributes:
        control_namespace: where AppProjects live; Applications there may use any of them.
        is_excluded: whether a kind is left alone (`resource.exclusions`).
    """

    timing: Timing = field(default_factory=Timing)
    control_namespace: str = "argocd"
    is_excluded: Callable[[ResourceKey], bool] = lambda key: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """How this Application's objects are marked and compared.

    Attributes:
        differs: whether what lives is not what is wanted: (target, live). It may raise FairleadError.
    """

    tracking: Tracking
    differs: Callable[[Object, Object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationDecision(Decision[ApplicationStatus, Action]):
    """What to do next; the shell writes `application_patch` after the actions.

    Attributes:
        operation: what `operation` of the object should be from now on; None: absent.
        finalizers: what the object should have from now on.
        annotations_done: annotations that have served their purpose, with the value that they had.
    """

    operation: Operation | None = None
    finalizers: tuple[str, ...] = ()
    annotations_done: tuple[str, ...] = ()


def prepare(found: Application) -> Subject:
    """Return the object as decisions need it; what cannot be understood is an error in it."""
    operation, operation_error = None, ""
    if found.has_operation:
        try:
            operation = decode_operation(found.operation)
        except SpecError as error:
            operation_error = str(error)
    try:
        spec, wrong = decode_spec(found.spec), ""
    except SpecError as error:
        spec, wrong = None, str(error)
    return Subject(
        metadata=found.metadata,
        spec=spec,
        error=wrong,
        operation=operation,
        has_operation=found.has_operation,
        operation_error=operation_error,
        odd_status=odd_fields(found.status),
    )


def application_patch(subject: Subject, before: ApplicationStatus, decision: ApplicationDecision) -> dict[str, Any]:
    """Return the one JSON merge patch that stores a decision; empty: nothing changed.

    It names only paths that changed, and never spec: a whole object must not be written back, since that would erase
    a newer status or revive an operation that is done. Finalizers are a list, so the patch carries the resourceVersion.
    """
    patch: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if status := status_patch(before, decision.status, odd=subject.odd_status):
        patch["status"] = status
    if decision.operation is None and subject.has_operation:
        patch["operation"] = None
    elif decision.operation is not None and decision.operation != subject.operation:
        old = to_json(subject.operation) if subject.operation is not None else {}
        patch["operation"] = diff(without_nulls(old), without_nulls(to_json(decision.operation)))
    if decision.annotations_done:
        metadata["annotations"] = dict.fromkeys(decision.annotations_done)
    if decision.finalizers != subject.metadata.finalizers:
        metadata["finalizers"] = list(decision.finalizers) or None
    if metadata or "operation" in patch:
        metadata["resourceVersion"] = subject.metadata.resource_version
        patch["metadata"] = metadata
    return patch
