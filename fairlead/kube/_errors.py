"""Answers of an API server that are no success, as our errors. Translated here, once."""

from __future__ import annotations

import re
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

TEXT_CHARACTERS_MAX = 300  # of an answer that is no Status: enough to recognise a proxy's error page

_TAG = re.compile(r"<(style|script|head)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class _Cause(msgspec.Struct, frozen=True):
    reason: str | None = None
    message: str | None = None
    field: str | None = None


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    causes: list[_Cause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct, frozen=True):
    """A `metav1.Status`: what the API server says instead of an object."""

    kind: str | None = None
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: _Details | None = None


_status = msgspec.json.Decoder(Status)


def translate(status: int, body: bytes, *, retry_after: str = "", content_type: str = "") -> ClusterError:
    """Return the error that an HTTP answer stands for.

    Args:
        status: the HTTP status.
        body: a Status, or whatever stood between us and the API server had to say.
        retry_after: the header; a date in it is not understood.
        content_type: the header.
    """
    try:
        found = _status.decode(body)
    except (ValueError, RecursionError):
        found = Status()
    if found.kind == "Status":
        return from_status(found, http_status=status, retry_after=retry_after)
    text = _readable(body)
    message = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status == 404 and ("html" in content_type or body.lstrip()[:1] == b"<"):
        # An API server says that in a Status or in plain text. A proxy's page must not pass for "there is none".
        return Unavailable(message, status=status, retry_after=_seconds(retry_after))
    return _error(status, "", message, (), _seconds(retry_after))


def from_status(found: Status, *, http_status: int = 0, retry_after: str = "") -> ClusterError:
    """Return the error that a Status stands for, be it an answer's body or the object of a watch's ERROR event."""
    details = found.details or _Details()
    causes = tuple(
        Cause(reason=cause.reason or "", message=cause.message or "", field=cause.field or "")
        for cause in details.causes or ()
    )
    asked = _seconds(retry_after)
    if details.retry_after_seconds is not None and asked is None:
        asked = max(0.0, details.retry_after_seconds)
    status = http_status or found.code or 0
    return _error(
        status,
        found.reason or "",
        found.message or (f"HTTP {status}" if status else "an error without a message"),
        causes,
        asked,
    )


def _error(
    status: int, reason: str, message: str, causes: tuple[Cause, ...], retry_after: float | None
) -> ClusterError:
    facts: dict[str, Any] = {"status": status, "reason": reason, "causes": causes}
    match status, reason:
        case (409, "AlreadyExists"):
            return AlreadyExists(message, **facts)
        case (409, _) | (_, "Conflict"):
            return Conflict(message, **facts)
        case (404, _) | (_, "NotFound"):
            return NotFound(message, **facts)
        case (410, _) | (_, "Expired" | "Gone"):
            return Expired(message, **facts)
        case (401 | 403, _) | (_, "Forbidden" | "Unauthorized"):
            return Forbidden(message, **facts)
        case (429, _) | (_, "TooManyRequests"):
            return TooManyRequests(message, **facts, retry_after=retry_after)
        case (code, _) if 400 <= code < 500 and code != 408:
            return Invalid(message, **facts)
        case _:
            return Unavailable(message, **facts, retry_after=retry_after)


def _seconds(header: str) -> float | None:
    text = header.strip()
    return float(text[:9]) if text.isascii() and text.isdigit() else None


def _readable(body: bytes) -> str:
    text = _TAG.sub(" ", body[: 64 * 1024].decode("utf-8", "replace"))
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"
