"""Rendered manifests by what they were rendered from, and renders that keep failing. Bounded by bytes; no clock of its
own: time is an argument."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from fairlead.agentsync.sources.port import Rendered, RenderRequest, SourceError, SourceType

LIFETIME_SECONDS: Final = 24 * 3600.0
FAILURES_IN_A_ROW: Final = 3
FAILURE_SECONDS: Final = 3600.0
FAILURES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    objects: bytes  # JSON: a tenth of what the values would take, and every reader gets its own
    revision: str
    source_type: SourceType | None
    warnings: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    times: int
    message: str
    kind: type[SourceError]
    at: float


def cache_key(request: RenderRequest) -> str:
    """Return what two requests that yield the same objects have in common.

    All that changes objects counts, and so does the project: what one may read, another may not.
    """
    parts: list[object] = [
        request.application,
        request.namespace,
        request.project,
        request.revision.lower(),
        msgspec.to_builtins(request.source),
        [
            [each.source.ref, each.source.repo_url, each.revision, repr(each.verification)]
            for each in request.references
        ],
        request.kube_version,
        list(request.api_versions),
        repr(request.verification),
    ]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


class RenderedCache:
    """Keeps what was rendered.

    Args:
        bytes_max: of all manifests together; those that were not asked for longest go first.
    """

    def __init__(self, bytes_max: int = 64 * 1024 * 1024) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[str, _Failed] = {}

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def get(self, key: str, now: float) -> Rendered | None:
        """Return what was rendered, with objects that are the caller's own; None if it is not kept.

        Raises:
            SourceError: rendering it failed three times in a row less than an hour ago.
        """
        failed = self._failed.get(key)
        if failed is not None and failed.times >= FAILURES_IN_A_ROW:
            if now - failed.at < FAILURE_SECONDS:
                raise failed.kind(f"Manifest generation error (cached): {failed.message}")
            del self._failed[key]
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        if now - kept.at >= LIFETIME_SECONDS:
            self._bytes -= len(kept.objects)
            return None
        self._kept[key] = kept
        return Rendered(
            objects=tuple(msgspec.json.decode(kept.objects)),
            revision=kept.revision,
            source_type=kept.source_type,
            warnings=kept.warnings,
        )

    def put(self, key: str, rendered: Rendered, now: float) -> None:
        """Keep what was rendered; the next failure is the first in a row again."""
        self._failed.pop(key, None)
        self._drop(key)
        objects = msgspec.json.encode(rendered.objects)
        if len(objects) > self._bytes_max:
            return
        self._kept[key] = _Kept(
            objects=objects,
            revision=rendered.revision,
            source_type=rendered.source_type,
            warnings=rendered.warnings,
            at=now,
        )
        self._bytes += len(objects)
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._kept)))

    def rekey(self, old: str, new: str, revision: str) -> None:
        """Let what was rendered at one revision count for another, in place of the former."""
        kept = self._kept.pop(old, None)
        if kept is not None:
            self._drop(new)
            self._failed.pop(new, None)
            self._kept[new] = replace(kept, revision=revision)

    def put_failure(self, key: str, error: SourceError, now: float) -> None:
        """Count a failure that the same revision will have again."""
        before = self._failed.pop(key, None)
        times = (before.times if before is not None else 0) + 1
        self._failed[key] = _Failed(times=times, message=str(error), kind=type(error), at=now)
        while len(self._failed) > FAILURES_MAX:
            del self._failed[next(iter(self._failed))]

    def forget(self, key: str) -> None:
        """Render anew at the next request."""
        self._failed.pop(key, None)
        self._drop(key)

    def clear(self) -> None:
        """Forget everything: who may sign, or what may be read, is no longer what it was."""
        self._kept.clear()
        self._failed.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.objects)
