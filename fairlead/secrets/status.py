"""What has been decided so far about ExternalSecrets and stores, as it is stored on the objects.

Anybody may write a status: reading is lenient, what makes no sense counts as absent. Instants have second precision.

Source: `external-secrets: apis/externalsecrets/v1`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from fairlead.core.conditions import Condition, find
from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.objects import compact, parse_rfc3339, rfc3339

READY = "Ready"
_C = TypeVar("_C")


class Reason(StrEnum):
    """Reasons of the condition Ready of an ExternalSecret."""

    SYNCED = "SecretSynced"
    SYNC_ERROR = "SecretSyncedError"
    DELETED = "SecretDeleted"
    MISSING = "SecretMissing"


class StoreReason(StrEnum):
    """Reasons of the condition Ready of a store."""

    VALID = "Valid"
    INVALID_PROVIDER_CONFIG = "InvalidProviderConfig"
    VALIDATION_UNKNOWN = "ValidationUnknown"


class ExternalSecretStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of an ExternalSecret.

    Attributes:
        refresh_time: when the last successful sync started.
        synced_resource_version: of spec and metadata as they were then.
        binding: name of the Secret; empty: there has been none.
    """

    refresh_time: datetime | None = None
    synced_resource_version: str = ""
    conditions: tuple[Condition, ...] = ()
    binding: str = ""

    @property
    def ready(self) -> Condition | None:
        return find(self.conditions, READY)


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a store."""

    capabilities: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def ready(self) -> Condition | None:
        return find(self.conditions, READY)


def with_ready(
    conditions: tuple[Condition, ...], *, is_ready: bool, reason: str, message: str, now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions with Ready set; its transition time moves only with its status."""
    old = find(conditions, READY)
    status = "True" if is_ready else "False"
    moved = old is None or old.status != status or old.last_transition_time is None
    new = Condition(
        type=READY,
        status=status,
        reason=str(reason),
        message=message,
        last_transition_time=now.replace(microsecond=0) if old is None or moved else old.last_transition_time,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == READY else condition for condition in conditions)


def status_to_json(status: ExternalSecretStatus) -> dict[str, Any]:
    """Return the status as JSON data."""
    return compact(
        {
            "refreshTime": rfc3339(status.refresh_time) if status.refresh_time is not None else None,
            "syncedResourceVersion": status.synced_resource_version,
            "conditions": _conditions(status.conditions),
            "binding": {"name": status.binding} if status.binding else None,
        }
    )


def store_status_to_json(status: StoreStatus) -> dict[str, Any]:
    """Return the status of a store as JSON data."""
    return compact({"capabilities": status.capabilities, "conditions": _conditions(status.conditions)})


def _conditions(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [
        {
            "type": condition.type,
            "status": condition.status,
            **compact({"reason": condition.reason, "message": condition.message}),
            **(
                {"lastTransitionTime": rfc3339(condition.last_transition_time)}
                if condition.last_transition_time is not None
                else {}
            ),
        }
        for condition in conditions
    ]


def decode_status(raw: bytes | msgspec.Raw) -> ExternalSecretStatus:
    """Return what can be understood of a stored status. Never raises."""
    plain = _plain(raw)
    binding = plain.get("binding")
    return ExternalSecretStatus(
        refresh_time=_instant(plain.get("refreshTime")),
        synced_resource_version=_text(plain.get("syncedResourceVersion")),
        conditions=_read_conditions(plain.get("conditions")),
        binding=_text(binding.get("name")) if isinstance(binding, dict) else "",
    )


def decode_store_status(raw: bytes | msgspec.Raw) -> StoreStatus:
    """Return what can be understood of a stored status of a store. Never raises."""
    plain = _plain(raw)
    return StoreStatus(
        capabilities=_text(plain.get("capabilities")), conditions=_read_conditions(plain.get("conditions"))
    )


def _plain(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    try:
        plain = msgspec.json.decode(raw)
    except DECODE_ERRORS:
        return {}
    return plain if isinstance(plain, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _instant(value: Any) -> datetime | None:
    instant = parse_rfc3339(value) if isinstance(value, str) else None
    return instant.replace(microsecond=0) if instant is not None else None


def _read_conditions(value: Any) -> tuple[Condition, ...]:
    found: dict[str, Condition] = {}
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict) and _text(entry.get("type")):
            condition = Condition(
                type=entry["type"],
                status=_text(entry.get("status")),
                reason=_text(entry.get("reason")),
                message=_text(entry.get("message")),
                last_transition_time=_instant(entry.get("lastTransitionTime")),
            )
            found.setdefault(condition.type, condition)
    return tuple(found.values())
