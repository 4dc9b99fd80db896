"""Errors by whose fault they are, which says what to do about them.

What is expected is a value and never raised: not ready, inconclusive, paused, no data.
"""

from __future__ import annotations

from dataclasses import dataclass


class FairleadError(Exception):
    """The root of every error that fairlead raises on purpose."""


class SpecError(FairleadError):
    """The user wrote something that cannot work: retrying is useless until the spec changes.

    Args:
        message: what was found and what was expected.
        path: the field path, such as `spec.strategy.canary.steps[2].setWeight`; empty if none applies.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.detail = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One entry of a Kubernetes Status' `details.causes`."""

    reason: str = ""
    message: str = ""
    field: str = ""


class ClusterError(FairleadError):
    """The API server refused, or could not be reached.

    Args:
        message: the server's text, or what happened to the connection.
        status: the HTTP status; 0 when there was no answer.
        reason: the Kubernetes reason (`Conflict`, `NotFound`, ...); empty when there was no answer.
        causes: entries of `details.causes`, in the server's order.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes


class Conflict(ClusterError):
    """Somebody wrote first, or another field manager owns the field: read again, decide again, at once."""


class AlreadyExists(ClusterError):
    """An object of that name is there already."""


class NotFound(ClusterError):
    """There is no such object, or the kind itself is not served."""


class Forbidden(ClusterError):
    """The server knows us and says no (403), or does not know us (401), or an admission plug-in denied."""


class Invalid(ClusterError):
    """The server cannot accept this body (400, 415, 422, 413): the same request will fail again."""


class Expired(ClusterError):
    """The resourceVersion or continue token is too old (410): list again."""


class TooManyRequests(ClusterError):
    """The server asks for patience (429); an eviction that a disruption budget refuses comes here too.

    Args:
        retry_after: seconds that the server asked for, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 429,
        reason: str = "TooManyRequests",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, reason=reason, causes=causes)
        self.retry_after = retry_after


class Unavailable(ClusterError):
    """No answer, a broken connection, a time-out, or 5xx: back off. The write may have happened.

    Args:
        retry_after: seconds that the server asked for, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, reason=reason, causes=causes)
        self.retry_after = retry_after


class ProviderError(FairleadError):
    """A metric source, a secret store, a proxy or a Git host failed.

    Args:
        provider: which one, in words that a person recognises.
    """

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(message)
        self.provider = provider


class ProtocolError(FairleadError):
    """The other side of a conversation sent something that makes no sense in this state."""


class MissingExtra(FairleadError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'fairlead[{extra}]'")
        self.package = package
        self.extra = extra
