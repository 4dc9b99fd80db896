"""What a check says: a code, and a message for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HealthCode(StrEnum):
    """How an object is; from best to worst."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def severity(self) -> int:
        """Return the place in that order; 0 is best."""
        return _ORDER.index(self)


_ORDER = tuple(HealthCode)


@dataclass(frozen=True, slots=True)
class Health:
    """How an object is, and why; the message may be empty."""

    code: HealthCode
    message: str = ""


def healthy(message: str = "") -> Health:
    return Health(HealthCode.HEALTHY, message)


def suspended(message: str = "") -> Health:
    return Health(HealthCode.SUSPENDED, message)


def progressing(message: str = "") -> Health:
    return Health(HealthCode.PROGRESSING, message)


def degraded(message: str = "") -> Health:
    return Health(HealthCode.DEGRADED, message)


def unknown(message: str = "") -> Health:
    return Health(HealthCode.UNKNOWN, message)
