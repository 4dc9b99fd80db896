"""Each answer that is no success becomes the error that says what to do about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
from fairlead.kube._errors import Status, from_status, translate
from tests.kube.server import status


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        pytest.param(400, "BadRequest", Invalid, id="bad-request"),
        pytest.param(401, "Unauthorized", Forbidden, id="unauthorized"),
        pytest.param(403, "Forbidden", Forbidden, id="forbidden"),
        pytest.param(404, "NotFound", NotFound, id="not-found"),
        pytest.param(405, "MethodNotAllowed", Invalid, id="method"),
        pytest.param(406, "NotAcceptable", Invalid, id="not-acceptable"),
        pytest.param(408, "Timeout", Unavailable, id="request-time-out"),
        pytest.param(409, "AlreadyExists", AlreadyExists, id="already-exists"),
        pytest.param(409, "Conflict", Conflict, id="conflict"),
        pytest.param(410, "Gone", Expired, id="gone"),
        pytest.param(410, "Expired", Expired, id="expired"),
        pytest.param(413, "RequestEntityTooLarge", Invalid, id="too-large"),
        pytest.param(415, "UnsupportedMediaType", Invalid, id="media-type"),
        pytest.param(422, "Invalid", Invalid, id="invalid"),
        pytest.param(429, "TooManyRequests", TooManyRequests, id="too-many"),
        pytest.param(500, "InternalError", Unavailable, id="internal"),
        pytest.param(503, "ServiceUnavailable", Unavailable, id="unavailable"),
        pytest.param(504, "Timeout", Unavailable, id="time-out"),
    ],
)
def test_a_status_is_translated(code: int, reason: str, error: type[ClusterError]) -> None:
    found = translate(code, msgspec.json.encode(status(code, reason, "what happened")))
    assert type(found) is error
    assert (str(found), found.status, found.reason) == ("what happened", code, reason)
    assert type(translate(code, b"")) is (Conflict if error is AlreadyExists else error), "the code alone will do"


def test_causes_are_kept_in_order() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec.rules"},
        {"message": "second"},
    ]
    found = translate(409, msgspec.json.encode(status(409, "Conflict", causes=causes)))
    assert found.causes == (
        Cause(reason="FieldManagerConflict", message='conflict with "argocd"', field=".spec.rules"),
        Cause(message="second"),
    )


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        pytest.param("", {}, None, id="nothing-asked"),
        pytest.param("7", {}, 7, id="header"),
        pytest.param("", {"retryAfterSeconds": 3}, 3, id="details"),
        pytest.param("7", {"retryAfterSeconds": 3}, 7, id="both"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", {}, None, id="a-date-is-not-understood"),
        pytest.param("-5", {}, None, id="negative"),
        pytest.param("", {"retryAfterSeconds": -5}, 0, id="negative-details"),
        pytest.param("9" * 400, {}, 999999999, id="absurd"),
        pytest.param("nan", {}, None, id="no-number"),
        pytest.param("²", {}, None, id="no-ascii"),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after(code: int, header: str, details: dict[str, Any], seconds: float | None) -> None:
    found = translate(code, msgspec.json.encode(status(code, "", **details)), retry_after=header)
    assert isinstance(found, TooManyRequests | Unavailable)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "HTTP 502", id="empty"),
        pytest.param(b"no healthy upstream", "HTTP 502: no healthy upstream", id="text"),
        pytest.param(
            b"<html><head><title>502</title><style>p{}</style></head>\r\n<body><h1>502 Bad Gateway</h1></body></html>",
            "HTTP 502: 502 Bad Gateway",
            id="html",
        ),
        pytest.param(b"\xff\xfe\x00 odd", "HTTP 502: �� odd", id="no-utf-8"),
        pytest.param(b'{"error": "x"}', 'HTTP 502: {"error": "x"}', id="other-json"),
        pytest.param(
            b'{"kind": "Status", "message": 5}', 'HTTP 502: {"kind": "Status", "message": 5}', id="odd-status"
        ),
        pytest.param(b"[" * 100_000, "HTTP 502: " + "[" * 299 + "…", id="deep"),
    ],
)
def test_an_answer_that_is_no_status_is_quoted(body: bytes, message: str) -> None:
    found = translate(502, body)
    assert type(found) is Unavailable
    assert str(found) == message


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        pytest.param(b"404 page not found\n", "text/plain", NotFound, id="kind-is-not-served"),
        pytest.param(b"<html>Not Found</html>", "text/html", Unavailable, id="a-proxys-page"),
        pytest.param(b"  <!doctype html>", "", Unavailable, id="a-proxys-page-without-type"),
    ],
)
def test_a_proxys_404_does_not_pass_for_there_is_none(
    body: bytes, content_type: str, error: type[ClusterError]
) -> None:
    """It would empty a store."""
    assert type(translate(404, body, content_type=content_type)) is error


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        pytest.param(410, None, Expired, id="by-code"),
        pytest.param(None, "Expired", Expired, id="by-reason"),
        pytest.param(None, "Gone", Expired, id="gone"),
        pytest.param(429, None, TooManyRequests, id="too-many"),
        pytest.param(500, "InternalError", Unavailable, id="internal"),
        pytest.param(None, None, Unavailable, id="nothing-said"),
    ],
)
def test_the_status_of_an_error_event(code: int | None, reason: str | None, error: type[ClusterError]) -> None:
    assert type(from_status(Status(kind="Status", code=code, reason=reason))) is error
