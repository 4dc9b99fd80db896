"""What the rest of agentsync asks of sources, and what a source is made of: values and protocols, nothing that runs.

A *source* of an Application becomes objects in two steps. `resolve` turns what the user wrote (`main`, `v1.*`, nothing)
into one commit or chart version; `render` turns that one revision into objects. The two are apart because the first is
asked at every poll and is nearly always answered "as before", and because a set of objects must come from exactly one
commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fairlead.agentsync.resources import Object
from fairlead.core.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.agentsync.sources._access import Access
    from fairlead.agentsync.spec import Source


def printable(text: str) -> str:
    """Return a text that can be stored and shown: names of files may be no text at all."""
    return text.encode("utf-8", "replace").decode("utf-8")


class SourceError(FairleadError):
    """Desired state cannot be had; the message is one line for a person, without any credential.

    Whoever catches it keeps what it had: a source that fails changes nothing live.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class RepositoryError(SourceError):
    """The repository could not be reached, refused us, or has no such revision: the same question may succeed later."""


class RenderError(SourceError):
    """The content of this revision cannot become objects: the same revision fails again."""


class SignatureError(SourceError):
    """The revision is not signed as the project demands; nothing of its content was used."""


class ProgramMissing(SourceError):
    """A program that this source needs (git, helm, kustomize, gpg) is not on the PATH."""


class SourceType(StrEnum):
    """Which tool renders a source, as `status.sourceType` says it."""

    DIRECTORY = "Directory"
    HELM = "Helm"
    KUSTOMIZE = "Kustomize"


class Freshness(StrEnum):
    """How far caches may answer."""

    CACHED = "cached"  # an answer of this polling window will do
    REFRESH = "refresh"  # ask the repository anew; manifests of the same commit may be reused
    HARD = "hard"  # ask anew, and render anew


class VerificationMode(StrEnum):
    """What must be signed."""

    NONE = "none"
    HEAD = "head"  # the commit, or the annotated tag that names it
    STRICT = "strict"  # also every ancestor, back to a signed seal commit on each branch


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whose signature a revision must carry.

    Args:
        mode: what is checked.
        keys: ids of keys that may sign, as the project lists them; upper or lower case, long or full.
    """

    mode: VerificationMode = VerificationMode.NONE
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a `targetRevision` means at this moment.

    Args:
        revision: the commit (40 hex digits), or the version of a chart; empty for a source without revisions.
    """

    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Another source of the same Application, which value files reach as `$name/...`.

    Args:
        source: it, with `ref` set.
        revision: the commit that it resolved to.
        verification: which signature that needs; policies differ by repository.
    """

    source: Source
    revision: str
    verification: Verification = field(default_factory=Verification)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """One source at one revision, and all that changes its objects.

    Args:
        application: the Application's name, without its namespace.
        namespace: `spec.destination.namespace`; may be empty.
        project: the AppProject; credentials may be limited to it.
        source: what to render.
        revision: what `resolve` answered.
        references: the sources with a `ref`.
        kube_version: of the destination cluster (`1.36.1`), for charts; empty: the tool's own default.
        api_versions: `group/version` and `group/version/Kind` that the destination serves, for charts.
        verification: which signature the revision needs.
        freshness: HARD renders anew.
    """

    application: str
    namespace: str = ""
    project: str = "default"
    source: Source
    revision: str
    references: tuple[Reference, ...] = ()
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()
    verification: Verification = field(default_factory=Verification)
    freshness: Freshness = Freshness.CACHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The objects of one source, in the order in which its files name them; repeated ones are all there.

    Args:
        objects: manifests, the caller's own: the next answer holds others.
        revision: the commit or chart version that all of them come from.
        source_type: which tool rendered them; None for a source that only serves value files.
        warnings: what a person should know (an ignored file, a broken link), one line each.
    """

    objects: tuple[Object, ...]
    revision: str
    source_type: SourceType | None
    warnings: tuple[str, ...] = ()


class ManifestSources(Protocol):
    """The port. `fairlead.agentsync.sources.Sources` implements it; tests may bring their own."""

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return the commit or chart version that a source means now.

        Raises:
            SourceError: it cannot be told.
        """
        ...

    async def render(self, request: RenderRequest) -> Rendered:
        """Return the objects of one source at one revision.

        Raises:
            SourceError: there are none to be had; RepositoryError, RenderError, SignatureError say why.
        """
        ...


class EntryKind(StrEnum):
    """What a path of a tree is."""

    FILE = "file"
    LINK = "link"
    MODULE = "module"  # a Git submodule: its content is elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A leaf of a tree.

    Args:
        path: from the root, parts joined by `/`, never with `.` or `..`.
        kind: what it is.
        size: in bytes.
        key: by which the tree reads its content: a blob id, or the path again.
        executable: whether it may be run; kept for plug-ins, nothing here runs it.
    """

    path: str
    kind: EntryKind
    size: int
    key: str
    executable: bool = False


class Tree(Protocol):
    """The files of one revision: a commit in a store, a directory on disk, an unpacked chart."""

    @property
    def has_content_keys(self) -> bool:
        """Whether equal keys mean equal contents, now and later."""
        ...

    async def entries(self, under: str) -> Mapping[str, Entry]:
        """Return the leaves at or below a path (empty: all), by path, sorted; empty when there is nothing.

        Raises:
            SourceError: there are too many, or a path is not safe.
        """
        ...

    async def leaf(self, path: str) -> Entry | None:
        """Return the file, link or submodule of exactly this path; None if there is a directory, or nothing."""
        ...

    async def read(self, entries: Sequence[Entry]) -> list[bytes]:
        """Return contents in the order asked for; of a link, its target.

        Raises:
            SourceError: together they are too large, or one cannot be read.
        """
        ...


class Fetcher(Protocol):
    """Knows one kind of repository. Plug-ins offer one for a URL scheme, in the group `fairlead.manifest_sources`."""

    async def resolve(self, source: Source, *, project: str, freshness: Freshness) -> Resolved:
        """Return the revision that the source means now."""
        ...

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        """Return the files of a revision, after its signature was checked.

        Raises:
            SignatureError: it is not signed as demanded.
            RepositoryError: it cannot be fetched.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherContext:
    """What a plug-in's fetcher is made with.

    Args:
        folder: its own, private, for what it keeps; there may be something in it from an earlier run.
        access: what opens a URL for a project, from the repository Secrets of this moment.
    """

    folder: Path
    access: Callable[[str, str], Access]


FetcherFactory: TypeAlias = Callable[[FetcherContext], Fetcher]
