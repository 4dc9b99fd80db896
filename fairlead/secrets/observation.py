"""What has been seen of stores, target and provider since the last decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from fairlead.core.objects import ObjectKey
from fairlead.secrets.kinds import TargetSecret
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.values import SecretBytes


class Readiness(StrEnum):
    """Whether a store may be asked."""

    READY = "Ready"
    NOT_READY = "NotReady"
    UNKNOWN = "Unknown"  # it is new, and its first validation is under way
    MISSING = "Missing"


class StoreSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One store that an ExternalSecret refers to.

    Attributes:
        is_ours: whether its class is served by this controller; also True for one that is missing.
        denial: why its conditions do not let this namespace use it; empty: they do.
    """

    kind: StoreKind
    name: str
    readiness: Readiness = Readiness.READY
    is_ours: bool = True
    denial: str = ""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """Everything was read, completely.

    Attributes:
        values: by key of the Secret, rewritten, converted and decoded.
        missing: sources that the provider says do not exist, in the words of the event.
        started_at: when the reading began.
    """

    values: Mapping[str, SecretBytes]
    missing: tuple[str, ...] = ()
    started_at: datetime


class Change(StrEnum):
    """What a write has done."""

    CREATED = "Created"
    UPDATED = "Updated"
    NONE = "None"
    ABSENT = "Absent"  # there is none, and it is not ours to create


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret is as it should be."""

    change: Change
    fetched: Fetched


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret is gone, since nothing is left of it at the provider.

    Attributes:
        was_there: whether there was one.
    """

    was_there: bool
    fetched: Fetched


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret stays as it is.

    Attributes:
        message: of the condition; never the cause.
        detail: of the Event: the cause, without any value.
        retry_after: seconds that the provider asked for, or None.
        is_final: whether trying again is useless until something changes.
    """

    message: str
    detail: str
    retry_after: float | None = None
    is_final: bool = False


Outcome = Fetched | Written | Deleted | Failed


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the last Events said, so that no Event repeats what nothing has changed about."""

    error: str = ""
    missing: tuple[str, ...] = ()


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything outside of object and status that a decision depends on.

    Attributes:
        target: the Secret as the cache shows it; only managed ones are shown.
        orphans: other Secrets that this ExternalSecret made and controls: its target was renamed.
        stores: all that it refers to, in order.
        outcome: of the action that was asked for last, if no decision has seen it yet.
        in_flight: whether values are being read at this moment.
        refreshed_at: when the last successful sync of this process started.
        attempts: failures in a row.
        retry_at: when to try again after the last one; None: not before something changes.
        has_changed: whether object, stores or target are other than at the last failure.
        stores_changed: whether a store is another than at the last success.
        jitter: a number in 0..1 that was drawn for this decision.
    """

    target: TargetSecret | None = None
    orphans: tuple[ObjectKey, ...] = ()
    stores: tuple[StoreSeen, ...] = ()
    outcome: Outcome | None = None
    in_flight: bool = False
    refreshed_at: datetime | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    has_changed: bool = True
    stores_changed: bool = False
    told: Told = msgspec.field(default_factory=Told)
    jitter: float = 0.0
