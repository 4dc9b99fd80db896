"""What is written in an AppProject; `project` says what it permits.

Source: argo-cd: pkg/apis/application/v1alpha1/types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from fairlead.agentsync.windows import SyncWindow
from fairlead.core.decoding import Decoder, Wire, doc


class ProjectDestination(Wire, frozen=True, kw_only=True):
    """A cluster, by URL or by name, and a namespace; globs, and `!` denies."""

    server: Annotated[str, doc("Glob of the API server's URL.")] = ""
    name: Annotated[str, doc("Glob of the cluster's name.")] = ""
    namespace: Annotated[str, doc("Glob of the namespace.")] = ""


class ClusterKind(Wire, frozen=True, kw_only=True):
    """A cluster-scoped kind, or single objects of it."""

    group: Annotated[str, doc("Glob of the API group; empty is the core group.")] = ""
    kind: Annotated[str, doc("Glob of the kind.")] = ""
    name: Annotated[str, doc("Glob of the object's name; all if empty.")] = ""


class NamespacedKind(Wire, frozen=True, kw_only=True):
    """A namespaced kind."""

    group: Annotated[str, doc("Glob of the API group; empty is the core group.")] = ""
    kind: Annotated[str, doc("Glob of the kind.")] = ""


class ServiceAccountChoice(Wire, frozen=True, kw_only=True):
    """As whom objects of a destination are applied."""

    server: Annotated[str, doc("Glob of the API server's URL.")] = ""
    namespace: Annotated[str, doc("Glob of the namespace.")] = ""
    default_service_account: Annotated[str, doc("name, or namespace:name.")] = ""


class SignatureKey(Wire, frozen=True, kw_only=True):
    """A key that may sign commits."""

    key_id: Annotated[str, doc("Id of the GnuPG key.")] = msgspec.field(name="keyID", default="")


class GpgPolicy(Wire, frozen=True, kw_only=True):
    """What must be signed, and by whom."""

    mode: Annotated[Literal["", "none", "head", "strict"], doc("Empty is none.")] = ""
    keys: Annotated[tuple[str, ...], doc("Ids of keys that may sign.")] = ()


class RepositoryPattern(Wire, frozen=True, kw_only=True):
    url: Annotated[str, doc("Glob of a repository's URL.")] = ""


class GitPolicy(Wire, frozen=True, kw_only=True):
    """The rules for some repositories."""

    repos: Annotated[tuple[RepositoryPattern, ...], doc("Which repositories.")] = ()
    gpg: Annotated[GpgPolicy | None, doc("What must be signed.")] = None


class GitIntegrity(Wire, frozen=True, kw_only=True):
    policies: Annotated[tuple[GitPolicy, ...], doc("The first that names the repository holds.")] = ()


class SourceIntegrity(Wire, frozen=True, kw_only=True):
    git: Annotated[GitIntegrity | None, doc("Rules for Git repositories.")] = None


class OrphanedKey(Wire, frozen=True, kw_only=True):
    group: str = ""
    kind: str = ""
    name: str = ""


class OrphanedResources(Wire, frozen=True, kw_only=True):
    """Whether objects that belong to no Application are reported."""

    warn: Annotated[bool | None, doc("Whether there is a condition; true if absent.")] = None
    ignore: Annotated[tuple[OrphanedKey, ...], doc("What is not reported.")] = ()


class ProjectSpec(Wire, frozen=True, kw_only=True):
    """The spec of an AppProject. None and an empty list differ where upstream makes a difference."""

    description: Annotated[str, doc("For people; at most 255 characters.")] = ""
    source_repos: Annotated[tuple[str, ...], doc("Globs of repository URLs; ! denies.")] = ()
    destinations: Annotated[tuple[ProjectDestination, ...], doc("Where Applications may deploy to.")] = ()
    cluster_resource_whitelist: Annotated[tuple[ClusterKind, ...], doc("Cluster-scoped kinds that are permitted.")] = ()
    cluster_resource_blacklist: Annotated[tuple[ClusterKind, ...], doc("Cluster-scoped kinds that are not.")] = ()
    namespace_resource_whitelist: Annotated[
        tuple[NamespacedKind, ...] | None, doc("Namespaced kinds that are permitted: all if absent, none if empty.")
    ] = None
    namespace_resource_blacklist: Annotated[tuple[NamespacedKind, ...], doc("Namespaced kinds that are not.")] = ()
    source_namespaces: Annotated[tuple[str, ...], doc("Namespaces whose Applications may use this project.")] = ()
    permit_only_project_scoped_clusters: Annotated[
        bool, doc("Whether destinations must be clusters of this project.")
    ] = False
    destination_service_accounts: Annotated[
        tuple[ServiceAccountChoice, ...], doc("As whom objects are applied, where impersonation is on.")
    ] = ()
    signature_keys: Annotated[tuple[SignatureKey, ...], doc("Keys that must have signed; use sourceIntegrity.")] = ()
    source_integrity: Annotated[SourceIntegrity | None, doc("Which signatures are asked for.")] = None
    orphaned_resources: Annotated[OrphanedResources | None, doc("Report of objects of no Application.")] = None
    sync_windows: Annotated[tuple[SyncWindow, ...], doc("When Applications may be synced.")] = ()


_decoder = Decoder(ProjectSpec, root="spec")


def parse(raw: bytes | msgspec.Raw) -> ProjectSpec:
    """Return the spec of an AppProject.

    Raises:
        SpecError: a field is of the wrong type.

    >>> parse(b'{"namespaceResourceWhitelist": []}').namespace_resource_whitelist
    ()
    """
    return _decoder.decode(raw)
