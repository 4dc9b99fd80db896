"""Which fields of Applications and AppProjects are honoured, refused, or accepted without effect: one table.

A field is refused when going on without it would deploy something else than its user believes. It is ignored when
nothing that is deployed depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairlead.agentsync import _validation


class Support(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    REFUSED = "refused"
    IGNORED = "accepted, no effect"


@dataclass(frozen=True, slots=True)
class Entry:
    """A field, or with `.**` all fields below one.

    Attributes:
        path: `Kind:` and the field; `[]` is any item of a list, `{}` any entry of a mapping.
        note: why it is refused or ignored, or what to know.
    """

    path: str
    support: Support
    note: str = ""

    def covers(self, leaf: str) -> bool:
        """Return whether a leaf of the schema belongs to this entry."""
        if not self.path.endswith(".**"):
            return leaf == self.path
        root = self.path.removesuffix(".**")
        return leaf == root or leaf.startswith((f"{root}.", f"{root}[", f"{root}{{"))


_APPLICATION, _PROJECT = "Application:spec", "AppProject:spec"
_SOURCES = (
    f"{_APPLICATION}.source",
    f"{_APPLICATION}.sources[]",
    "Application:operation.sync.source",
    "Application:operation.sync.sources[]",
)
_FOR_PEOPLE = "for people: nothing that is deployed depends on it"


def _honoured(root: str, *names: str, note: str = "") -> list[Entry]:
    return [Entry(f"{root}.{name}", Support.HONOURED, note) for name in names]


def _source(root: str) -> list[Entry]:
    return [
        *_honoured(root, "repoURL", "path", "chart", "targetRevision", "tagPrefix"),
        Entry(f"{root}.ref", Support.HONOURED, "of several sources"),
        Entry(f"{root}.name", Support.IGNORED, _FOR_PEOPLE),
        *_honoured(root, *(f"directory.{name}" for name in ("recurse", "include", "exclude"))),
        *_honoured(root, "directory.disableExtensionFilter"),
        Entry(f"{root}.directory.jsonnet.**", Support.REFUSED, _validation.JSONNET_REFUSED),
        Entry(f"{root}.kustomize.**", Support.HONOURED, "`version` only if it is the installed one"),
        Entry(f"{root}.helm.**", Support.HONOURED, "`version` is v3"),
        Entry(f"{root}.plugin.**", Support.REFUSED, _validation.PLUGIN_REFUSED),
    ]


TABLE: tuple[Entry, ...] = (
    *_honoured(_APPLICATION, "project"),
    *(entry for root in _SOURCES for entry in _source(root)),
    Entry(f"{_APPLICATION}.sourceHydrator", Support.REFUSED, _validation.HYDRATOR_REFUSED.partition(": ")[2]),
    *_honoured(_APPLICATION, "destination.**"),
    *_honoured(_APPLICATION, "syncPolicy.automated.**", "syncPolicy.syncOptions[]", "syncPolicy.retry.**"),
    *_honoured(_APPLICATION, "syncPolicy.managedNamespaceMetadata.**", note="with CreateNamespace=true"),
    *_honoured(_APPLICATION, "ignoreDifferences[].**", "revisionHistoryLimit"),
    Entry(f"{_APPLICATION}.info[].**", Support.IGNORED, _FOR_PEOPLE),
    *_honoured(
        "Application:operation.sync",
        "revision",
        "revisions[]",
        "prune",
        "dryRun",
        "syncStrategy.**",
        "resources[].**",
        "syncOptions[]",
        "autoHealAttemptsCount",
    ),
    Entry("Application:operation.sync.manifests[]", Support.HONOURED, "not where commits must be signed"),
    *_honoured("Application:operation", "initiatedBy.**", "retry.**"),
    Entry("Application:operation.info[].**", Support.IGNORED, _FOR_PEOPLE),
    Entry(f"{_PROJECT}.description", Support.IGNORED, _FOR_PEOPLE),
    *_honoured(_PROJECT, "sourceRepos[]", "destinations[].**"),
    *_honoured(_PROJECT, "clusterResourceWhitelist[].**", "clusterResourceBlacklist[].**"),
    *_honoured(_PROJECT, "namespaceResourceWhitelist[].**", note="absent permits all, empty permits nothing"),
    *_honoured(_PROJECT, "namespaceResourceBlacklist[].**", "sourceNamespaces[]"),
    Entry(
        f"{_PROJECT}.permitOnlyProjectScopedClusters",
        Support.HONOURED,
        "no cluster belongs to a project here, so with it every destination is refused",
    ),
    Entry(
        f"{_PROJECT}.destinationServiceAccounts[].**",
        Support.IGNORED,
        "objects are applied with the rights of the agent, which `fairlead agent rbac` cuts to the project",
    ),
    *_honoured(_PROJECT, "signatureKeys[].**", "sourceIntegrity.**", "syncWindows[].**"),
    Entry(
        f"{_PROJECT}.orphanedResources.**",
        Support.HONOURED,
        "among the kinds that Applications use: others are not watched",
    ),
)
