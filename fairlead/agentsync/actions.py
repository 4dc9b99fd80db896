"""What may be asked of the world for an Application. Each can be asked twice without harm.

They are performed in order. The first that yields a Result that failed ends the round: those after it are dropped, and
the next decision sees the Results.

Status, `operation`, annotations and finalizers of the Application itself are no actions: they are parts of the decision
and go into one patch (`machine.application_patch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import Destination, Source
from fairlead.agentsync.status import SyncPhase


class Depth(StrEnum):
    """How much of what is known of the sources may be used again."""

    CACHED = "Cached"  # the latest revision as the shared list of refs knows it
    FRESH = "Fresh"  # ask for revisions anew
    HARD = "Hard"  # render anew, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Resolve and render all sources; the answer is a Desired or a RenderFailure of a later observation.

    Attributes:
        sources: in order.
        revisions: commits or versions to take instead of what the sources' `targetRevision` means now, by position;
            empty: resolve.
        destination: that of the spec.
        depth: how much of what is known may be used.
        request: comes back as `Rendering.answered`.
        for_operation: whether the running operation needs it; the answer goes into `seen.operation`.
    """

    sources: tuple[Source, ...]
    revisions: tuple[str, ...] = ()
    destination: Destination | None = None
    depth: Depth = Depth.CACHED
    request: str = ""
    for_operation: bool = False


class Propagation(StrEnum):
    """What becomes of the dependents of a deleted object."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Make one object what it should be.

    Attributes:
        key: with its namespace as the cluster knows it; its name is never empty.
        target: the whole object: tracking is stamped, hooks have name and finalizer.
        phase: in which phase of the sync; PreDelete and PostDelete for hooks of a deletion.
        is_hook: whether it is one.
        server_side: server-side apply; never together with a dry run.
        replace: PUT or create instead of apply; CRDs and Namespaces are updated in place.
        force: delete and create anew when it is rejected.
        validate: strict field validation.
        migrate_from: field manager whose client-side fields are taken over first; empty: none.
        keep_ignored: whether ignored fields keep their live value.
        create_only: never change what is there (a destination namespace without metadata).
    """

    key: ResourceKey
    target: Object
    phase: SyncPhase = SyncPhase.SYNC
    is_hook: bool = False
    server_side: bool = False
    replace: bool = False
    force: bool = False
    validate: bool = True
    migrate_from: str = ""
    keep_ignored: bool = False
    create_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One live object that is to go.

    Attributes:
        uid: only this incarnation is deleted; empty: whichever is there.
        version: API version to name it by.
        phase: of the sync in which it is pruned.
    """

    key: ResourceKey
    version: str
    uid: str = ""
    phase: SyncPhase = SyncPhase.SYNC


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Ask the server whether all of these would be accepted; change nothing. All run, in parallel.

    Each yields a Result with `dry_run` set: the message is that of the real thing with ` (dry run)`.
    """

    applies: tuple[Apply, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyWave:
    """Apply objects: group after group, those of one group in parallel; a failure stops before the next group.

    Each object that was tried yields a Result.
    """

    groups: tuple[tuple[Apply, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Delete objects that left the source, all in parallel; each yields a Result."""

    removals: tuple[Removal, ...]
    propagation: Propagation = Propagation.FOREGROUND


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteHooks:
    """Remove our finalizer from these hooks and delete them; yields no Results but failures."""

    removals: tuple[Removal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHooks:
    """Remove our finalizer from these hooks; yields no Results but failures."""

    removals: tuple[Removal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResources:
    """Delete objects since the Application goes (cascade)."""

    removals: tuple[Removal, ...]
    propagation: Propagation = Propagation.FOREGROUND


Action = Render | DryRun | ApplyWave | Prune | DeleteHooks | ReleaseHooks | DeleteResources
