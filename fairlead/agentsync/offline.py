"""What is kept for the time when Git, or the cluster that holds the Applications, cannot be reached.

Three kinds of things, each by name and each replacing the last of its name: the last good desired state of an
Application (rendered objects, and what they were rendered from), the Applications and projects themselves as they were
seen last, and reports that could not be delivered. After a restart all of them are read again, and healing goes on.

Two stores: a SQLite file where there is a disk (`_offline_file`), and Secrets where there is none (`_offline_secrets`).
What is kept may contain Secrets in
plain text: the file is readable by its owner only, and no content enters a log or an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from fairlead.agentsync.observation import Desired
from fairlead.agentsync.resources import Object
from fairlead.agentsync.spec import Destination, Source
from fairlead.core.decoding import DECODE_ERRORS
from fairlead.core.errors import FairleadError

ENTRY_BYTES_MAX = 64 * 1024 * 1024  # of one entry before compression: more than any render may be


class Shelf(StrEnum):
    """What an entry is."""

    DESIRED = "desired"  # the last good desired state of an Application
    APPLICATION = "application"  # as it was seen last
    PROJECT = "project"
    REPORT = "report"  # a status that could not be written yet


class OfflineError(FairleadError):
    """Nothing could be kept, or read: the disk is full, the file is broken, the Secret is forbidden."""


class OfflineStore(Protocol):
    """Keeps entries durably. The newest of a name replaces the one before it, wholly or not at all."""

    async def read(self, shelf: Shelf) -> Mapping[str, bytes]:
        """Return all entries of a shelf, by name.

        Raises:
            OfflineError: they cannot be read.
        """
        ...

    async def keep(self, shelf: Shelf, name: str, content: bytes) -> None:
        """Keep an entry; when this returns it survives a crash.

        Raises:
            OfflineError: it is not kept; what was kept before under the name still is.
        """
        ...

    async def drop(self, shelf: Shelf, name: str) -> None:
        """Keep an entry no more; it is no error that there is none.

        Raises:
            OfflineError: it may still be there.
        """
        ...

    async def close(self) -> None:
        """Let go of files and threads."""
        ...


# --- entries ----------------------------------------------------------------------------------------------------------


class _Desired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The desired state of an Application on disk.

    Attributes:
        uid: of the Application: another one of the same name wants something else.
    """

    uid: str
    objects: tuple[Object, ...]
    revisions: tuple[str, ...]
    sources: tuple[Source, ...]
    requested: tuple[str, ...] = ()
    destination: Destination | None = None
    source_types: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rendered_at: datetime


_desired = msgspec.json.Decoder(_Desired)


def encode_desired(uid: str, desired: Desired) -> bytes:
    """Return a desired state as an entry."""
    return msgspec.json.encode(
        _Desired(
            uid=uid,
            objects=desired.objects,
            revisions=desired.revisions,
            sources=desired.sources,
            requested=desired.requested,
            destination=desired.destination,
            source_types=desired.source_types,
            warnings=desired.warnings,
            rendered_at=desired.rendered_at,
        )
    )


def decode_desired(content: bytes, uid: str) -> Desired | None:
    """Return the desired state of an entry; None: it is of another Application, or cannot be understood any more."""
    try:
        kept = _desired.decode(content)
    except DECODE_ERRORS:
        return None
    if kept.uid != uid:
        return None
    return Desired(
        objects=kept.objects,
        revisions=kept.revisions,
        sources=kept.sources,
        requested=kept.requested,
        destination=kept.destination,
        source_types=kept.source_types,
        warnings=kept.warnings,
        rendered_at=kept.rendered_at,
    )


def packed(shelf: Shelf, name: str, content: bytes) -> bytes:
    """Return what a store keeps of an entry.

    Raises:
        OfflineError: it is too large.
    """
    if len(content) > ENTRY_BYTES_MAX:
        raise OfflineError(f"{shelf} {name} is not kept: {len(content)} bytes, at most {ENTRY_BYTES_MAX} are allowed")
    return zlib.compress(content, 1)


def unpacked(compressed: bytes) -> bytes | None:
    """Return the content; None: it is broken."""
    try:
        opened = zlib.decompressobj()
        content = opened.decompress(compressed, ENTRY_BYTES_MAX)
    except zlib.error:
        return None
    return content if opened.eof else None


class NoStore:
    """Keeps nothing: after a restart without Git there is nothing to heal by."""

    async def read(self, shelf: Shelf) -> Mapping[str, bytes]:
        return {}

    async def keep(self, shelf: Shelf, name: str, content: bytes) -> None:
        """Keep nothing."""

    async def drop(self, shelf: Shelf, name: str) -> None:
        """There is nothing to drop."""

    async def close(self) -> None:
        """Nothing is held."""
