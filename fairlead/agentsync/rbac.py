"""The rights that an agent needs for a project: no more than the AppProject allows, in no other namespace.

What comes out are manifests, and notes for the person who applies them: where Kubernetes' RBAC cannot say what the
project says (globs, denials, names at creation), and where a project is so wide that its rights are those of an
administrator.

*Assumptions*: a Role knows no globs. Destinations with a pattern are resolved against the namespaces that exist;
whoever adds one runs this again. Kinds are those that the cluster serves now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead.agentsync._globs import file_glob, glob, is_pattern
from fairlead.agentsync.kinds import GROUP, LOCAL_NAME, LOCAL_SERVER
from fairlead.agentsync.project import Cluster, Project
from fairlead.agentsync.resources import Object, ResourceKind, ServedKinds

__all__ = ["Account", "Rights", "control_plane_rights", "destination_rights", "own_rights"]

_API: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch", "delete")
_MANAGE: Final = (*_READ, *_WRITE)
_NAMED: Final = ("get", "update", "patch", "delete")
_UNNAMED: Final = ("list", "watch", "create")
_ALL: Final = ("*",)
_SETTINGS: Final = ("argocd-cm", "argocd-gpg-keys-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm")
_LABELS: Final = {"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "agent"}

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The service account of the agent."""

    namespace: str
    name: str = "fairlead-agent"

    def subject(self) -> Object:
        return {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What to apply, and what to know about it.

    Args:
        manifests: Roles, ClusterRoles and their bindings; each binding follows what it binds.
        notes: one line each.
    """

    manifests: tuple[Object, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Rights) -> Rights:
        return Rights(manifests=self.manifests + other.manifests, notes=self.notes + other.notes)


def control_plane_rights(account: Account, *, namespace: str = "") -> Rights:
    """Return what the agent needs where its Applications are: in this cluster, or in a central one.

    Args:
        account: who runs.
        namespace: where Applications, AppProjects, Secrets of repositories and settings are; the account's if empty.
    """
    rules = [
        _rule((GROUP,), ("applications",), (*_READ, "update", "patch")),
        _rule((GROUP,), ("appprojects",), _READ),
        _rule(("",), ("secrets",), _READ),
        _rule(("",), ("configmaps",), _READ, names=_SETTINGS),
        _rule(("", "events.k8s.io"), ("events",), ("create", "patch")),
    ]
    return Rights(manifests=_role("fairlead-agent", namespace or account.namespace, rules, account))


def own_rights(account: Account, *, stores_state: bool = False) -> Rights:
    """Return what the agent needs in its own namespace of the cluster that it runs in: its lease.

    Args:
        account: who runs.
        stores_state: whether it keeps its state for offline times in Secrets there, for want of a disk.
    """
    rules = [_rule(("coordination.k8s.io",), ("leases",), ("get", "create", "update", "patch"))]
    if stores_state:
        rules.append(_rule(("",), ("secrets",), _MANAGE))
    return Rights(manifests=_role("fairlead-agent-own", account.namespace, rules, account))


def destination_rights(
    project: Project,
    account: Account,
    *,
    served: ServedKinds,
    namespaces: Iterable[str],
    cluster: Cluster | None = None,
    only_served: bool = False,
) -> Rights:
    """Return what the agent needs to apply what a project allows in one cluster.

    Args:
        project: what is allowed.
        account: who runs.
        served: the kinds of that cluster.
        namespaces: those that exist there, for destinations with a pattern or a denial.
        cluster: what the project calls that cluster; this very one if None.
        only_served: for a project that allows every kind: list those that are served now, with seven verbs each,
            instead of the `*` that Argo CD itself is given.
    """
    return _Plan(
        project=project,
        account=account,
        kinds=tuple(sorted(filter(_is_manageable, served.all()), key=lambda kind: (kind.group, kind.plural))),
        existing=tuple(sorted(set(namespaces))),
        cluster=cluster or Cluster(server=LOCAL_SERVER, name=LOCAL_NAME),
        only_served=only_served,
    ).rights()


def _is_manageable(kind: ResourceKind) -> bool:
    # Reviews can only be created, metrics only be read: neither can be desired state.
    return not kind.verbs or {"get", "create"} <= kind.verbs


@dataclass(kw_only=True)
class _Plan:
    """One calculation; `notes` grow while it runs."""

    project: Project
    account: Account
    kinds: tuple[ResourceKind, ...]
    existing: tuple[str, ...]
    cluster: Cluster
    only_served: bool
    notes: list[str] = field(default_factory=list)

    @property
    def _name(self) -> str:
        return f"fairlead-agent-{self.project.name}"

    def rights(self) -> Rights:
        is_everywhere = self._is_everywhere()
        places = () if is_everywhere else self._namespaces()
        if not (is_everywhere or places):
            self.notes.append(
                f"project {self.project.name} allows no namespace of this cluster: there is nothing to grant"
            )
            return Rights(notes=tuple(self.notes))
        inside, across = self._rules(is_everywhere)
        if is_everywhere:
            self.notes.append(f"project {self.project.name} allows every namespace: the rights are a ClusterRole's")
            manifests = _cluster_role(self._name, inside + across, self.account)
        else:
            manifests = _cluster_role(self._name, across, self.account)
            for place in places:
                manifests += _role(self._name, place, inside, self.account)
        self._note_roles((*inside, *across))
        return Rights(manifests=manifests, notes=tuple(self.notes))

    def _rules(self, is_everywhere: bool) -> tuple[list[Rule], list[Rule]]:
        """Return the rules for namespaced and for cluster-scoped kinds.

        A `*` in a ClusterRole covers kinds of both scopes: it is right only for a project that allows all of both. For
        the kinds of one scope they are listed.
        """
        all_namespaced, all_cluster = self._allows_all_namespaced(), self._allows_all_cluster()
        star = [_rule(_ALL, _ALL, _ALL)]
        if not self.only_served and all_namespaced and (all_cluster or not is_everywhere):
            self._note_star("kind" if is_everywhere else "namespaced kind")
            return star, [] if is_everywhere else self._cluster_rules(all_cluster)
        if all_namespaced:
            self._note_listed("namespaced")
        return self._namespaced_rules(), self._cluster_rules(all_cluster)

    # where

    def _permits(self, namespace: str) -> bool:
        return self.project.permits_destination(self.cluster.server, self.cluster.name, namespace)

    def _is_everywhere(self) -> bool:
        entries = self.project.spec.destinations
        if any(text.startswith("!") for one in entries for text in (one.server, one.name, one.namespace)):
            return False
        return any(
            one.namespace in ("*", "**") and _is_cluster(one.server, one.name, self.cluster) for one in entries
        ) and self._permits("default")

    def _namespaces(self) -> tuple[str, ...]:
        entries = self.project.spec.destinations
        named = {one.namespace for one in entries if one.namespace and not _is_open(one.namespace)}
        # A denied cluster (`!https://…`) is for all others a permission, so it is not passed over here.
        patterns = sorted({one.namespace for one in entries if _is_open(one.namespace)})
        found = tuple(sorted(name for name in named | set(self.existing) if self._permits(name)))
        if patterns:
            self.notes.append(
                f"destinations with patterns ({', '.join(patterns)}) were resolved against the {len(self.existing)}"
                " namespaces that exist now: run this again when there are others"
            )
        return found

    # what

    def _allows_all_namespaced(self) -> bool:
        spec = self.project.spec
        listed = spec.namespace_resource_whitelist
        is_wide = listed is None or any(one.group == one.kind == "*" for one in listed)
        return is_wide and not spec.namespace_resource_blacklist

    def _allows_all_cluster(self) -> bool:
        spec = self.project.spec
        is_wide = any(one.group == one.kind == "*" and one.name in ("", "*") for one in spec.cluster_resource_whitelist)
        return is_wide and not spec.cluster_resource_blacklist

    def _namespaced_rules(self) -> list[Rule]:
        return _grouped(
            kind
            for kind in self.kinds
            if kind.namespaced and self.project.permits_kind(kind.group, kind.kind, namespaced=True)
        )

    def _cluster_rules(self, allows_all: bool) -> list[Rule]:
        if allows_all:
            self._note_listed("cluster-scoped")
        whole: list[ResourceKind] = []
        narrowed: list[Rule] = []
        for kind in self.kinds:
            names = None if kind.namespaced else self._names(kind)
            if names is None:
                continue
            if not names:
                whole.append(kind)
                continue
            narrowed.append(_rule((kind.group,), (kind.plural,), _NAMED, names=names))
            narrowed.append(_rule((kind.group,), (kind.plural,), _UNNAMED))
            self.notes.append(
                f"{kind.plural}: the project allows only {', '.join(names)}, but RBAC cannot limit list, watch and"
                " create to names; the agent itself does"
            )
        return _grouped(whole) + narrowed

    def _names(self, kind: ResourceKind) -> tuple[str, ...] | None:
        """Return the names to which a cluster-scoped kind is limited; empty: all; None: it is not allowed."""
        spec = self.project.spec
        allowed = [one for one in spec.cluster_resource_whitelist if _is_kind(one.group, one.kind, kind)]
        denied = [one for one in spec.cluster_resource_blacklist if _is_kind(one.group, one.kind, kind)]
        if not allowed or any(one.name in ("", "*") for one in denied):
            return None
        if denied:
            self.notes.append(f"{kind.plural}: RBAC cannot deny single objects; the agent itself does")
        names = sorted({one.name for one in allowed})
        if any(name in ("", "*") for name in names):
            return ()
        if any(is_pattern(name) for name in names):
            self.notes.append(
                f"{kind.plural}: RBAC knows no patterns of names ({', '.join(names)}); the agent itself does"
            )
            return ()
        return tuple(name for name in names if not any(glob(one.name, name) for one in denied)) or None

    # what to know

    def _note_star(self, kinds: str) -> None:
        self.notes.append(
            f"project {self.project.name} allows every {kinds}: the rule is the `*` that Argo CD has, with subresources"
            " such as pods/exec, with kinds served later, and with the right to grant rights"
        )

    def _note_listed(self, scope: str) -> None:
        self.notes.append(
            f"project {self.project.name} allows every {scope} kind: those that are served now are listed, run this"
            " again when there are others"
        )

    def _note_roles(self, rules: Sequence[Rule]) -> None:
        if any(_API in rule["apiGroups"] for rule in rules):
            self.notes.append(
                f"{_API}: the API server lets the agent apply only Roles whose rights it has itself, unless you grant"
                " it `escalate` and `bind`"
            )


def _is_cluster(server: str, name: str, cluster: Cluster) -> bool:
    by_server = bool(server) and (server == "*" or glob(server, cluster.server))
    return by_server or (bool(name) and (name == "*" or glob(name, cluster.name)))


def _is_open(namespace: str) -> bool:
    return namespace.startswith("!") or is_pattern(namespace)


def _is_kind(group: str, kind: str, found: ResourceKind) -> bool:
    return file_glob(kind, found.kind) and file_glob(group, found.group)


# -- manifests ---------------------------------------------------------------------------------------------------------


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str], *, names: Sequence[str] = ()) -> Rule:
    found: Rule = {"apiGroups": list(groups), "resources": list(resources)}
    return found | ({"resourceNames": list(names)} if names else {}) | {"verbs": list(verbs)}


def _grouped(kinds: Iterable[ResourceKind]) -> list[Rule]:
    by_group: dict[str, set[str]] = {}
    for kind in kinds:
        by_group.setdefault(kind.group, set()).add(kind.plural)
    return [_rule((group,), sorted(plurals), _MANAGE) for group, plurals in sorted(by_group.items())]


def _object(kind: str, metadata: Mapping[str, Any], **content: Any) -> Object:
    return {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": {**metadata, "labels": dict(_LABELS)}, **content}


def _role(name: str, namespace: str, rules: Sequence[Rule], account: Account) -> tuple[Object, ...]:
    if not rules:
        return ()
    metadata = {"name": name, "namespace": namespace}
    return (
        _object("Role", metadata, rules=list(rules)),
        _object("RoleBinding", metadata, roleRef=_reference("Role", name), subjects=[account.subject()]),
    )


def _cluster_role(name: str, rules: Sequence[Rule], account: Account) -> tuple[Object, ...]:
    if not rules:
        return ()
    return (
        _object("ClusterRole", {"name": name}, rules=list(rules)),
        _object(
            "ClusterRoleBinding",
            {"name": name},
            roleRef=_reference("ClusterRole", name),
            subjects=[account.subject()],
        ),
    )


def _reference(kind: str, name: str) -> Object:
    return {"apiGroup": _API, "kind": kind, "name": name}
