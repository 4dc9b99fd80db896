"""What has been seen of sources, destination and project since the last decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fairlead.agentsync.project import Project
from fairlead.agentsync.resources import Object, ResourceKey, ServedKinds
from fairlead.agentsync.spec import Destination, Source
from fairlead.agentsync.status import ResultCode, SyncPhase


class LiveObjects(Protocol):
    """The destination cluster as the caches show it now: no request, no waiting.

    Own writes are visible at once: what an action made or deleted is seen by the decision that sees its Result.
    """

    def find(self, key: ResourceKey) -> Object | None:
        """Return the object of that key, whoever manages it; None: there is none, or its kind is not watched."""
        ...

    def tracked(self) -> Iterable[Object]:
        """Return the objects that carry this Application's tracking, also those with owners."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Everything was rendered, completely.

    Attributes:
        objects: of all sources, in order; nothing is normalised or stamped yet.
        revisions: the commit or version of each source, by position.
        sources: what was rendered.
        source_types: Helm, Kustomize, Directory or Plugin, by position.
        warnings: of rendering, for people.
        requested: the revisions that the Render named; empty: none.
        destination: that the Render named; None: any.
        rendered_at: when it was asked for.
    """

    objects: tuple[Object, ...]
    revisions: tuple[str, ...]
    sources: tuple[Source, ...]
    requested: tuple[str, ...] = ()
    destination: Destination | None = None
    source_types: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rendered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderFailure:
    """Sources could not be resolved or rendered; what was known before still holds.

    Attributes:
        message: one line, without any credential.
        is_repository: whether the repository did not answer, so that patience is due; False: what it answered is wrong.
        sources: what could not be rendered; empty: it is not known.
        since: the first failure in a row.
        at: the last one.
    """

    message: str
    is_repository: bool = False
    sources: tuple[Source, ...] = ()
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What is known of one render.

    Attributes:
        desired: the last success.
        failure: what went wrong since then; None: nothing.
        in_flight: whether it is being rendered at this moment.
        answered: `Render.request` of a render that has ended, well or not, if no decision has seen it yet.
    """

    desired: Desired | None = None
    failure: RenderFailure | None = None
    in_flight: bool = False
    answered: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one object of an action.

    Attributes:
        phase: of the sync, as the action said.
        status: Synced, SyncFailed, Pruned or PruneSkipped.
        message: as kubectl says it, or the error.
        dry_run: whether nothing was changed.
    """

    key: ResourceKey
    phase: SyncPhase
    status: ResultCode
    message: str
    dry_run: bool = False

    @property
    def is_successful(self) -> bool:
        return self.status is not ResultCode.SYNC_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSeen:
    """The cluster that the spec names.

    Attributes:
        server: URL of its API server; empty: not known.
        name: its name; empty: not known.
        error: why it cannot be used; empty: it can.
        is_gone: whether no such cluster is registered any more.
    """

    server: str = ""
    name: str = ""
    error: str = ""
    is_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything outside of object and status that a decision depends on.

    Attributes:
        rendering: of the spec's sources.
        operation: of what the running operation asks for: the answer to the last Render with `for_operation`, and
            empty from that on until it comes.
        live: the destination; None: it has not been listed completely yet.
        live_error: why it cannot be; empty: it can.
        served: the kinds that it serves.
        destination: the cluster that the spec names.
        project: the AppProject that the spec names; None: there is none.
        results: of the actions of the last decision, if no decision that was stored has seen them yet.
        is_acting: whether actions are being performed at this moment.
        acted_at: when the last ApplyWave or Prune of this process ended; None: there has been none.
        others: of objects that another Application tracks: that Application's name, by key.
        orphaned: how many objects of the destination namespace belong to nobody; None: nobody asked.
        jitter: a number in 0..1, the same for one Application until the next comparison.
    """

    rendering: Rendering = Rendering()
    operation: Rendering = Rendering()
    live: LiveObjects | None = None
    live_error: str = ""
    served: ServedKinds | None = None
    destination: DestinationSeen = field(default_factory=DestinationSeen)
    project: Project | None = None
    results: tuple[Result, ...] = ()
    is_acting: bool = False
    acted_at: datetime | None = None
    others: Mapping[ResourceKey, str] = field(default_factory=dict)
    orphaned: int | None = None
    jitter: float = 0.0
