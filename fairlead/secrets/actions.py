"""What may be asked of the world for an ExternalSecret. Each can be asked twice without harm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from fairlead.core.objects import ObjectKey
from fairlead.secrets.observation import Fetched


class Urgency(IntEnum):
    """What a store is asked first."""

    FIRST = 0  # somebody waits: new, changed or drifted
    REFRESH = 1


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Be asked before the object goes."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the object go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Read all values; the answer is a Fetched or a Failed of a later observation.

    Attributes:
        not_before: a value that was read earlier is too old; one that somebody else reads later will do.
    """

    urgency: Urgency
    not_before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTarget:
    """Make the Secret what template and values say, or leave it if it is that."""

    fetched: Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTarget:
    """Delete the Secret, if it is still controlled by this ExternalSecret.

    Attributes:
        fetched: which reading found nothing; None: the ExternalSecret itself is going.
    """

    fetched: Fetched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOrphans:
    """Delete Secrets of earlier names, if they are still controlled by this ExternalSecret."""

    keys: tuple[ObjectKey, ...]


Action = AddFinalizer | RemoveFinalizer | Fetch | WriteTarget | DeleteTarget | DeleteOrphans
