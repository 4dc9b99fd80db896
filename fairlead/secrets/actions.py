"""What may be asked of the world for an ExternalSecret. Each can be asked twice without harm."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

import msgspec

from fairlead.core.objects import ObjectKey
from fairlead.secrets.observation import Fetched


class Urgency(IntEnum):
    """What a store is asked first."""

    FIRST = 0  # somebody waits: new, changed or drifted
    REFRESH = 1


class AddFinalizer(msgspec.Struct, frozen=True):
    """Be asked before the object goes."""


class RemoveFinalizer(msgspec.Struct, frozen=True):
    """Let the object go."""


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """Read all values; the answer is a Fetched or a Failed of a later observation.

    Attributes:
        not_before: a value that was read earlier is too old; one that somebody else reads later will do.
    """

    urgency: Urgency
    not_before: datetime


class WriteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Make the Secret what template and values say, or leave it if it is that."""

    fetched: Fetched


class DeleteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the Secret, if it is still controlled by this ExternalSecret.

    Attributes:
        fetched: which reading found nothing; None: the ExternalSecret itself is going.
    """

    fetched: Fetched | None = None


class DeleteOrphans(msgspec.Struct, frozen=True, kw_only=True):
    """Delete Secrets of earlier names, if they are still controlled by this ExternalSecret."""

    keys: tuple[ObjectKey, ...]


Action = AddFinalizer | RemoveFinalizer | Fetch | WriteTarget | DeleteTarget | DeleteOrphans
