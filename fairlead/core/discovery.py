"""What a cluster serves: kinds as discovery tells them, the port that asks, and an answer as a value.

Two implementations of the port: `fairlead.kube` (two requests of aggregated discovery) and
`fairlead.testing.SimulatedCluster`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """A kind that a cluster serves, in one version, as discovery tells it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_watchable(self) -> bool:
        """Whether objects of it can be listed and watched: reviews, for one, are only created."""
        return {"list", "watch"} <= self.verbs


class ServedKinds(Protocol):
    """What a cluster serves, as it was last discovered: no request, no waiting."""

    def find(self, group: str, kind: str, version: str = "") -> ResourceKind | None:
        """Return the kind in that version, or in the one that the server prefers; None: it is not served."""
        ...

    def all(self) -> Iterable[ResourceKind]:
        """Return every kind in the version that the server prefers."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """One answer of discovery; implements `ServedKinds`.

    Args:
        kinds: in every version, those of one group with the preferred version first.
        stale: `group/version` of what the server could not ask just now (an aggregated API that is down): a kind of
            these that is missing may be there all the same.

    >>> jobs = ResourceKind(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True)
    >>> Served((jobs,)).find("batch", "Job").plural
    'jobs'
    """

    kinds: tuple[ResourceKind, ...] = ()
    stale: tuple[str, ...] = ()
    _found: Mapping[tuple[str, str, str], ResourceKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[tuple[str, str, str], ResourceKind] = {}
        for kind in self.kinds:
            found.setdefault((kind.group, kind.kind, ""), kind)
            found.setdefault((kind.group, kind.kind, kind.version), kind)
        object.__setattr__(self, "_found", found)

    def find(self, group: str, kind: str, version: str = "") -> ResourceKind | None:
        return self._found.get((group, kind, version))

    def all(self) -> Iterable[ResourceKind]:
        return tuple(kind for (_, _, version), kind in self._found.items() if not version)


class Discovery(Protocol):
    """Asks a Kubernetes API what it serves."""

    async def discover(self) -> Served:
        """Return what is served now.

        Raises:
            ClusterError: it could not be asked.
        """
        ...


def served(*documents: Mapping[str, Any]) -> Served:
    """Return what `APIGroupDiscoveryList` documents say; what cannot be read in them is left out."""
    kinds: list[ResourceKind] = []
    stale: list[str] = []
    for document in documents:
        for item in _mappings(document.get("items")):
            group = str(_mapping(item.get("metadata")).get("name") or "")
            for version in _mappings(item.get("versions")):
                name = str(version.get("version") or "")
                if version.get("freshness") == "Stale":
                    stale.append(f"{group}/{name}" if group else name)
                kinds.extend(_kinds(group, name, version))
    return Served(tuple(kinds), tuple(stale))


def _kinds(group: str, version: str, document: Mapping[str, Any]) -> Iterable[ResourceKind]:
    for resource in _mappings(document.get("resources")):
        kind = _mapping(resource.get("responseKind")).get("kind")
        plural = resource.get("resource")
        if isinstance(kind, str) and kind and isinstance(plural, str) and plural:
            verbs = resource.get("verbs")
            yield ResourceKind(
                group=group,
                version=version,
                kind=kind,
                plural=plural,
                namespaced=resource.get("scope") == "Namespaced",
                verbs=frozenset(str(verb) for verb in verbs) if isinstance(verbs, list) else frozenset(),
            )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
