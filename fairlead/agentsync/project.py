"""What an AppProject permits: sources, destinations, kinds, and whose Applications may use it.

Every question is answered by a value: a boolean, or the message that users know from Argo CD (empty: permitted). A
pattern that cannot be understood permits nothing.

Source: gitops.md 11; argo-cd: pkg/apis/application/v1alpha1/types.go, app_project_types.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.agentsync._addresses import normalise
from fairlead.agentsync._globs import file_glob, glob, name_matches
from fairlead.agentsync._project_spec import (
    ClusterKind,
    GpgPolicy,
    NamespacedKind,
    ProjectDestination,
    ProjectSpec,
    parse,
)
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.windows import problem

__all__ = [
    "Cluster",
    "ClusterKind",
    "GpgPolicy",
    "NamespacedKind",
    "Project",
    "ProjectDestination",
    "ProjectSpec",
    "ServiceAccount",
    "open_project",
    "parse",
    "problems",
]

DESCRIPTION_MAX: Final = 255
_DENY: Final = "!"


# -- what it permits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A destination cluster by both of its names; either may be empty."""

    server: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who applies, where impersonation is on."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """An AppProject, to be asked what it permits.

    Args:
        name: its name.
        spec: what it says.
        clusters: the clusters whose Secret names this project; they count only when the spec asks for it.
        error: why its spec cannot be understood; then it should permit nothing, and nothing of it is deleted either.
    """

    name: str
    spec: ProjectSpec
    clusters: tuple[Cluster, ...] = ()
    error: str = ""

    # sources

    def permits_source(self, url: str) -> bool:
        """Return whether manifests may come from a repository; a matching `!` pattern wins."""
        wanted = _comparable(url)
        is_permitted = False
        for pattern in self.spec.source_repos:
            is_denial, text = _split(pattern)
            matched = text == "*" or glob(_comparable(text), wanted, separators="/")
            if is_denial and matched:
                return False
            # A denial that does not match permits: a list of nothing but denials allows the rest.
            is_permitted = is_permitted or matched or is_denial
        return is_permitted

    def source_refusal(self, url: str) -> str:
        """Return the message for a source that is not permitted; empty: it is."""
        return "" if self.permits_source(url) else f"application repo {url} is not permitted in project '{self.name}'"

    # destinations

    def permits_destination(self, server: str, name: str, namespace: str) -> bool:
        """Return whether an Application may deploy into a namespace of a cluster.

        Args:
            server: the URL of the API server.
            name: the cluster's name; empty if it has none.
            namespace: where to.
        """
        if not _matches_destination(self.spec.destinations, server, name, namespace):
            return False
        if not self.spec.permit_only_project_scoped_clusters:
            return True
        return any((server and one.server == server) or (name and one.name == name) for one in self.clusters)

    def destination_refusal(self, server: str, name: str, namespace: str) -> str:
        """Return the message for a destination that is not permitted; empty: it is."""
        if self.permits_destination(server, name, namespace):
            return ""
        return (
            f"application destination server '{server or name}' and namespace '{namespace}' do not match any of the"
            f" allowed destinations in project '{self.name}'"
        )

    # kinds and objects

    def permits_kind(self, group: str, kind: str, *, namespaced: bool, object_name: str = "") -> bool:
        """Return whether objects of a kind may be managed.

        Args:
            group: the API group; empty is the core group.
            kind: the kind.
            namespaced: its scope.
            object_name: of a cluster-scoped object: its name, which rules may narrow.
        """
        spec = self.spec
        if namespaced:
            listed = spec.namespace_resource_whitelist
            if _lists(spec.namespace_resource_blacklist, group, kind):
                return False
            return listed is None or _lists(listed, group, kind)
        if any(_lists_object(one, group, kind, object_name) for one in spec.cluster_resource_blacklist):
            return False
        return any(_lists_object(one, group, kind, object_name) for one in spec.cluster_resource_whitelist)

    def resource_refusal(self, key: ResourceKey, *, namespaced: bool, server: str, name: str) -> str:
        """Return the message for an object that may not be managed; empty: it may.

        Args:
            key: which object.
            namespaced: the scope of its kind.
            server, name: the destination cluster.
        """
        if not self.permits_kind(key.group, key.kind, namespaced=namespaced, object_name=key.name):
            return f"resource {key.group}:{key.kind} is not permitted in project {self.name}"
        if namespaced and not self.permits_destination(server, name, key.namespace):
            return f"namespace {key.namespace} is not permitted in project '{self.name}'"
        return ""

    def permits_live(self, key: ResourceKey, *, server: str, name: str) -> bool:
        """Return whether a live object may be seen, and so be pruned or deleted."""
        return not self.resource_refusal(key, namespaced=bool(key.namespace), server=server, name=name)

    # who

    def permits_application_in(self, namespace: str, *, control_namespace: str) -> bool:
        """Return whether Applications of a namespace may use this project; the control namespace's always may."""
        return namespace == control_namespace or any(
            name_matches(pattern, namespace) for pattern in self.spec.source_namespaces
        )

    def service_account(self, server: str, namespace: str, *, application_namespace: str) -> ServiceAccount | None:
        """Return as whom to apply; None: nobody is named, and whoever impersonates must refuse.

        Args:
            server: the URL of the API server.
            namespace: the destination namespace; the account lives there unless it names its own.
            application_namespace: where the Application is, for destinations without a namespace.
        """
        for one in self.spec.destination_service_accounts:
            if glob(one.server, server) and glob(one.namespace, namespace):
                place, colon, name = one.default_service_account.rpartition(":")
                found = ServiceAccount(place if colon else namespace or application_namespace, name)
                return found if found.namespace and found.name else None
        return None

    def signature_policy(self, url: str) -> GpgPolicy | None:
        """Return which signature a commit of a repository needs; None: none."""
        integrity = self.spec.source_integrity
        if integrity is not None and integrity.git is not None:
            for policy in integrity.git.policies:
                if policy.gpg is not None and any(_is_repository(one.url, url) for one in policy.repos):
                    return policy.gpg
            return None
        keys = tuple(one.key_id for one in self.spec.signature_keys)
        return GpgPolicy(mode="head", keys=keys) if keys else None

    @property
    def warns_of_orphans(self) -> bool:
        """Whether objects that belong to no Application lead to a condition."""
        found = self.spec.orphaned_resources
        return found is not None and found.warn is not False

    def ignores_orphan(self, key: ResourceKey) -> bool:
        """Return whether an object of no Application is not to be reported."""
        found = self.spec.orphaned_resources
        return found is not None and any(
            glob(one.group, key.group) and glob(one.kind, key.kind) and (not one.name or glob(one.name, key.name))
            for one in found.ignore
        )


def _split(pattern: str) -> tuple[bool, str]:
    return pattern.startswith(_DENY), pattern.removeprefix(_DENY)


def _comparable(url: str) -> str:
    return normalise(url).removeprefix("ssh://")


def _is_repository(pattern: str, url: str) -> bool:
    return pattern == "*" or glob(_comparable(pattern), _comparable(url), separators="/")


def _matches(pattern: str, text: str) -> bool:
    is_denial, inner = _split(pattern)
    matched = inner == "*" or glob(inner, text)
    return not matched if is_denial else matched


def _matches_destination(entries: Sequence[ProjectDestination], server: str, name: str, namespace: str) -> bool:
    is_permitted = False
    for entry in entries:
        by_name = bool(entry.name) and _matches(entry.name, name)
        by_server = bool(entry.server) and _matches(entry.server, server)
        by_namespace = _matches(entry.namespace, namespace)
        if (by_server or by_name) and by_namespace:
            is_permitted = True
        elif (
            (not by_name and entry.name.startswith(_DENY))
            or (not by_server and entry.server.startswith(_DENY) and by_namespace)
            or (not by_namespace and entry.namespace.startswith(_DENY) and by_server)
        ):
            return False  # Whatever else is listed, before it or after it.
    return is_permitted


def _lists(rules: Iterable[NamespacedKind | ClusterKind], group: str, kind: str) -> bool:
    return any(file_glob(one.kind, kind) and file_glob(one.group, group) for one in rules)


def _lists_object(rule: ClusterKind, group: str, kind: str, name: str) -> bool:
    return _lists((rule,), group, kind) and (not rule.name or glob(rule.name, name))


def open_project(name: str) -> Project:
    """Return a project that permits everything, as the one named `default` does in a fresh installation."""
    everything = ProjectSpec(
        source_repos=("*",),
        destinations=(ProjectDestination(server="*", namespace="*"),),
        cluster_resource_whitelist=(ClusterKind(group="*", kind="*"),),
    )
    return Project(name=name, spec=everything)


# -- what is wrong with it ---------------------------------------------------------------------------------------------


def problems(spec: ProjectSpec) -> tuple[str, ...]:
    """Return what is wrong with a spec, one message each with the field's path; none: nothing."""
    found: list[str] = []
    if len(spec.description) > DESCRIPTION_MAX:
        found.append(
            f"spec.description: Invalid value: expected at most {DESCRIPTION_MAX} characters, found"
            f" {len(spec.description)}"
        )
    for index, url in enumerate(spec.source_repos):
        if url == "!*":
            found.append(f"spec.sourceRepos[{index}]: source repository has an invalid format, '!*'")
        elif url in spec.source_repos[:index]:
            found.append(f"spec.sourceRepos[{index}]: source repository '{url}' already added")
    for index, destination in enumerate(spec.destinations):
        path = f"spec.destinations[{index}]"
        for field in ("server", "name", "namespace"):
            if getattr(destination, field) == "!*":
                found.append(f"{path}.{field}: {field} has an invalid format, '!*'")
        if destination in spec.destinations[:index]:
            found.append(f"{path}: destination '{destination.server}/{destination.namespace}' already added")
    for index, window in enumerate(spec.sync_windows):
        if wrong := problem(window):
            found.append(f"spec.syncWindows[{index}]: {wrong}")
    return tuple(found)
