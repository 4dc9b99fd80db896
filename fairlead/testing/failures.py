"""The errors that the API server answers, in Kubernetes' own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fairlead.core.errors import (
    AlreadyExists,
    Cause,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from fairlead.testing.managed import OwnershipConflict, describe


def qualified(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def not_found(plural: str, group: str, name: str) -> NotFound:
    return NotFound(f'{qualified(plural, group)} "{name}" not found', status=404, reason="NotFound")


def not_served() -> NotFound:
    return NotFound("the server could not find the requested resource", status=404, reason="NotFound")


def already_exists(plural: str, group: str, name: str) -> AlreadyExists:
    return AlreadyExists(f'{qualified(plural, group)} "{name}" already exists', status=409, reason="AlreadyExists")


def conflict(plural: str, group: str, name: str, why: str = "") -> Conflict:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Conflict(message, status=409, reason="Conflict")


def bad_request(message: str) -> Invalid:
    return Invalid(message, status=400, reason="BadRequest")


def forbidden(plural: str, group: str, name: str, why: str, causes: tuple[Cause, ...] = ()) -> Forbidden:
    message = f'{qualified(plural, group)} "{name}" is forbidden: {why}'
    return Forbidden(message, status=403, reason="Forbidden", causes=causes)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """Return the 422 that lists what is wrong with which field."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {listed}'
    return Invalid(message, status=422, reason="Invalid", causes=tuple(causes))


def shown(value: Any) -> str:
    """Return a value as field errors print it."""
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if value is None:
        return "null"
    return msgspec.json.encode(value).decode()


def bad_value(field: str, value: Any, detail: str) -> Cause:
    return Cause(reason="FieldValueInvalid", message=f"Invalid value: {shown(value)}: {detail}", field=field)


def bad_type(field: str, value: Any, detail: str) -> Cause:
    return Cause(reason="FieldValueTypeInvalid", message=f"Invalid value: {shown(value)}: {detail}", field=field)


def required(field: str, detail: str = "") -> Cause:
    message = f"Required value: {detail}" if detail else "Required value"
    return Cause(reason="FieldValueRequired", message=message, field=field)


def not_supported(field: str, value: Any, allowed: Sequence[Any]) -> Cause:
    listed = ", ".join(shown(one) for one in allowed)
    message = f"Unsupported value: {shown(value)}: supported values: {listed}"
    return Cause(reason="FieldValueNotSupported", message=message, field=field)


def duplicate(field: str, value: Any) -> Cause:
    return Cause(reason="FieldValueDuplicate", message=f"Duplicate value: {shown(value)}", field=field)


def too_many(field: str, found: int, most: int) -> Cause:
    return Cause(reason="FieldValueTooMany", message=f"Too many: {found}: must have at most {most} items", field=field)


def too_long(field: str, most: int) -> Cause:
    return Cause(reason="FieldValueTooLong", message=f"Too long: may not be more than {most} bytes", field=field)


def field_forbidden(field: str, why: str) -> Cause:
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {why}", field=field)


def missing_reference(field: str, value: Any) -> Cause:
    return Cause(reason="FieldValueNotFound", message=f"Not found: {shown(value)}", field=field)


def apply_conflict(conflicts: Sequence[OwnershipConflict]) -> Conflict:
    """Return the 409 that names which manager owns which applied field."""
    causes: list[Cause] = []
    lines: list[str] = []
    for conflict in conflicts:
        manager = conflict.manager
        via = f" with subresource {shown(manager.subresource)}" if manager.subresource else ""
        # The version tells apart the writes of one name; who applies has one entry per version anyway.
        using = f" using {manager.api_version}" if manager.operation == "Update" else ""
        name = f"{shown(manager.name)}{via}{using}"
        paths = [describe(path) for path in conflict.paths]
        causes.extend(
            Cause(reason="FieldManagerConflict", message=f"conflict with {name}", field=path) for path in paths
        )
        if len(paths) == 1 and len(conflicts) == 1:
            lines.append(f"conflict with {name}: {paths[0]}")
        else:
            lines.append("\n- ".join([f"conflicts with {name}:", *paths]))
    count = len(causes)
    message = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(lines)
    return Conflict(message, status=409, reason="Conflict", causes=tuple(causes))


# Most derived classes first: the HTTP status decides which one a bare Status becomes.
_REASONS: dict[type[ClusterError], tuple[int, str]] = {
    AlreadyExists: (409, "AlreadyExists"),
    Conflict: (409, "Conflict"),
    NotFound: (404, "NotFound"),
    Forbidden: (403, "Forbidden"),
    Invalid: (400, "BadRequest"),
    Expired: (410, "Expired"),
    TooManyRequests: (429, "TooManyRequests"),
    Unavailable: (503, "ServiceUnavailable"),
}


# Reasons whose details say which object was meant.
_NAMING = ("AlreadyExists", "Conflict", "Forbidden", "Invalid", "NotFound")


def status_body(error: ClusterError, *, name: str = "", group: str = "", kind: str = "") -> dict[str, Any]:
    """Return the Status object of an error, as the server sends it.

    Args:
        kind: the plural for most reasons, the kind for `Invalid`.
    """
    code, reason = _REASONS.get(type(error), (500, "InternalError"))
    details: dict[str, Any] = {}
    shown_reason = error.reason or ("" if error.status else reason)  # some 500s come without a reason
    is_ownership = any(cause.reason == "FieldManagerConflict" for cause in error.causes)
    if shown_reason in _NAMING and not is_ownership:
        for key, value in (("name", name), ("group", group), ("kind", kind)):
            if value:
                details[key] = value
    if error.causes:
        details["causes"] = [
            {key: value for key, value in (("reason", c.reason), ("message", c.message), ("field", c.field)) if value}
            for c in error.causes
        ]
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        details["retryAfterSeconds"] = max(1, round(retry_after))
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
    }
    if shown_reason:
        body["reason"] = shown_reason
    if details:
        body["details"] = details
    body["code"] = error.status or code
    return body
