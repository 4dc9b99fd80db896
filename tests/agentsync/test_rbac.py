"""Rights for a project: exactly what it allows, and notes where RBAC cannot say it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync.project import Cluster, Project, parse
from fairlead.agentsync.rbac import Account, Rights, control_plane_rights, destination_rights, own_rights
from fairlead.agentsync.resources import Object, ResourceKind
from fairlead.core.discovery import Served

HERE = "https://kubernetes.default.svc"
VERBS = frozenset({"get", "list", "watch", "create", "update", "patch", "delete"})
ALL = {"group": "*", "kind": "*"}
ACCOUNT = Account(namespace="fairlead")


def kind(text: str, plural: str, *, namespaced: bool = True, verbs: frozenset[str] = VERBS) -> ResourceKind:
    group, _, name = text.partition("/")
    return ResourceKind(group=group, version="v1", kind=name, plural=plural, namespaced=namespaced, verbs=verbs)


KINDS = (
    kind("/ConfigMap", "configmaps"),
    kind("/Service", "services"),
    kind("/Namespace", "namespaces", namespaced=False),
    kind("apps/Deployment", "deployments"),
    kind("batch/Job", "jobs"),
    kind("rbac.authorization.k8s.io/Role", "roles"),
    kind("rbac.authorization.k8s.io/ClusterRole", "clusterroles", namespaced=False),
    kind("metrics.k8s.io/PodMetrics", "pods", verbs=frozenset({"get", "list"})),
    kind("authorization.k8s.io/LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=frozenset({"create"})),
)


def rights(*, namespaces: Iterable[str] = ("default", "shop"), only_served: bool = False, **spec: Any) -> Rights:
    spec.setdefault("destinations", [{"server": HERE, "namespace": "shop"}])
    return destination_rights(
        Project(name="shop", spec=parse(json.dumps(spec).encode())),
        ACCOUNT,
        served=Served(KINDS),
        namespaces=namespaces,
        only_served=only_served,
    )


def granted(found: Rights, api_kind: str = "Role") -> dict[str, list[Object]]:
    """Return the rules by namespace; those of a ClusterRole under the empty one."""
    return {one["metadata"].get("namespace", ""): one["rules"] for one in found.manifests if one["kind"] == api_kind}


def rule(
    group: str, *resources: str, verbs: Iterable[str] = ("get", "list", "watch", "create", "update", "patch", "delete")
) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


STAR = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


def test_listed_kinds_in_a_named_namespace_and_nothing_else() -> None:
    found = rights(namespaceResourceWhitelist=[{"group": "apps", "kind": "*"}, {"group": "", "kind": "ConfigMap"}])
    assert granted(found) == {"shop": [rule("", "configmaps"), rule("apps", "deployments")]}
    assert granted(found, "ClusterRole") == {}
    assert found.notes == ()


def test_the_binding_names_role_and_account() -> None:
    found = rights(namespaceResourceWhitelist=[{"group": "apps", "kind": "Deployment"}])
    role, binding = found.manifests
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert (
        binding["metadata"]["name"] == binding["roleRef"]["name"] == role["metadata"]["name"] == "fairlead-agent-shop"
    )
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "fairlead-agent", "namespace": "fairlead"}]


def test_denied_kinds_are_left_out_of_what_is_served() -> None:
    found = rights(namespaceResourceBlacklist=[{"group": "rbac.authorization.k8s.io", "kind": "*"}])
    assert granted(found) == {
        "shop": [rule("", "configmaps", "services"), rule("apps", "deployments"), rule("batch", "jobs")]
    }


def test_an_empty_whitelist_grants_nothing() -> None:
    assert rights(namespaceResourceWhitelist=[]).manifests == ()


def test_every_kind_in_one_namespace_is_the_star_of_argo_cd_and_says_so() -> None:
    found = rights()
    assert granted(found) == {"shop": [STAR]}
    assert found.notes == (
        "project shop allows every namespaced kind: the rule is the `*` that Argo CD has, with subresources such as"
        " pods/exec, with kinds served later, and with the right to grant rights",
    )


def test_every_kind_can_be_listed_instead() -> None:
    found = rights(only_served=True)
    assert granted(found)["shop"] == [
        rule("", "configmaps", "services"),
        rule("apps", "deployments"),
        rule("batch", "jobs"),
        rule("rbac.authorization.k8s.io", "roles"),
    ]
    assert [note.partition(":")[0] for note in found.notes] == [
        "project shop allows every namespaced kind",
        "rbac.authorization.k8s.io",
    ]


ANYWHERE = [{"server": "*", "namespace": "*"}]


def test_a_project_that_allows_everything_yields_an_administrator() -> None:
    found = rights(destinations=ANYWHERE, clusterResourceWhitelist=[ALL])
    assert granted(found, "ClusterRole") == {"": [STAR]}
    assert granted(found) == {}
    assert [one["kind"] for one in found.manifests] == ["ClusterRole", "ClusterRoleBinding"]
    assert any("allows every kind" in note for note in found.notes)


def test_a_star_never_covers_a_scope_that_the_project_does_not_allow() -> None:
    # In a ClusterRole it would cover cluster-scoped kinds too, of which this project allows none.
    everywhere = rights(destinations=ANYWHERE)
    assert STAR not in granted(everywhere, "ClusterRole")[""]
    assert all("namespaces" not in one["resources"] for one in granted(everywhere, "ClusterRole")[""])
    # And namespaced kinds everywhere, of which this project allows those of one namespace.
    one = rights(clusterResourceWhitelist=[ALL])
    assert granted(one, "ClusterRole") == {
        "": [rule("", "namespaces"), rule("rbac.authorization.k8s.io", "clusterroles")]
    }
    assert granted(one) == {"shop": [STAR]}


@pytest.mark.parametrize(
    ("destinations", "expected"),
    [
        pytest.param([{"server": HERE, "namespace": "new"}], {"new"}, id="named-ones-need-not-exist"),
        pytest.param([{"server": HERE, "namespace": "team-*"}], {"team-a", "team-b"}, id="pattern"),
        pytest.param(
            [{"server": HERE, "namespace": "*"}, {"server": HERE, "namespace": "!kube-*"}],
            {"shop", "team-a", "team-b"},
            id="denial",
        ),
        pytest.param([{"name": "in-cluster", "namespace": "shop"}], {"shop"}, id="by-name"),
        pytest.param([{"server": "https://other", "namespace": "*"}], set(), id="another-cluster"),
        pytest.param([], set(), id="none"),
    ],
)
def test_namespaces(destinations: list[dict[str, str]], expected: set[str]) -> None:
    existing = ("kube-system", "shop", "team-a", "team-b")
    found = rights(
        namespaces=existing, destinations=destinations, namespaceResourceWhitelist=[{"group": "apps", "kind": "*"}]
    )
    assert set(granted(found)) == expected
    assert bool(expected) is not any("there is nothing to grant" in note for note in found.notes)


def test_patterns_of_namespaces_are_said_to_age() -> None:
    found = rights(destinations=[{"server": HERE, "namespace": "shop*"}], namespaceResourceWhitelist=[ALL])
    assert found.notes[0] == (
        "destinations with patterns (shop*) were resolved against the 2 namespaces that exist now: run this again when"
        " there are others"
    )


def test_another_name_for_this_cluster() -> None:
    project = Project(name="shop", spec=parse(b'{"destinations": [{"name": "spoke-1", "namespace": "shop"}]}'))
    found = destination_rights(
        project, ACCOUNT, served=Served(KINDS), namespaces=(), cluster=Cluster(name="spoke-1", server="https://spoke")
    )
    assert set(granted(found)) == {"shop"}


NAMESPACE = {"group": "", "kind": "Namespace"}


def test_single_objects_of_a_cluster_scoped_kind() -> None:
    found = rights(
        namespaceResourceWhitelist=[], clusterResourceWhitelist=[NAMESPACE | {"name": "b"}, NAMESPACE | {"name": "a"}]
    )
    named = rule("", "namespaces", verbs=("get", "update", "patch", "delete")) | {"resourceNames": ["a", "b"]}
    assert granted(found, "ClusterRole") == {"": [named, rule("", "namespaces", verbs=("list", "watch", "create"))]}
    assert found.notes == (
        "namespaces: the project allows only a, b, but RBAC cannot limit list, watch and create to names; the agent"
        " itself does",
    )


@pytest.mark.parametrize(
    ("spec", "resources", "note"),
    [
        pytest.param(
            {"clusterResourceWhitelist": [NAMESPACE | {"name": "team-*"}]},
            ["namespaces"],
            "namespaces: RBAC knows no patterns of names (team-*); the agent itself does",
            id="pattern-of-names",
        ),
        pytest.param(
            {"clusterResourceWhitelist": [ALL], "clusterResourceBlacklist": [NAMESPACE | {"name": "kube-system"}]},
            ["clusterroles", "namespaces"],
            "namespaces: RBAC cannot deny single objects; the agent itself does",
            id="denied-name",
        ),
        pytest.param(
            {"clusterResourceWhitelist": [ALL], "clusterResourceBlacklist": [NAMESPACE]},
            ["clusterroles"],
            None,
            id="denied-kind",
        ),
    ],
)
def test_what_rbac_cannot_say_is_noted(spec: dict[str, Any], resources: list[str], note: str | None) -> None:
    found = rights(namespaceResourceWhitelist=[], **spec)
    assert sorted(plural for one in granted(found, "ClusterRole")[""] for plural in one["resources"]) == resources
    assert note is None or note in found.notes


def test_kinds_that_can_be_no_desired_state_are_not_granted() -> None:
    found = rights(namespaceResourceWhitelist=[{"group": "*", "kind": "*"}], only_served=True)
    plurals = {plural for one in granted(found)["shop"] for plural in one["resources"]}
    assert not plurals & {"pods", "localsubjectaccessreviews"}


def by_resource(found: Rights, namespace: str) -> dict[str, list[str]]:
    return {one["resources"][0]: one["verbs"] for one in granted(found)[namespace]}


def test_the_namespace_of_the_applications() -> None:
    found = control_plane_rights(ACCOUNT, namespace="argocd")
    assert by_resource(found, "argocd") == {
        "applications": ["get", "list", "watch", "update", "patch"],
        "appprojects": ["get", "list", "watch"],
        "secrets": ["get", "list", "watch"],
        "configmaps": ["get", "list", "watch"],
        "events": ["create", "patch"],
    }
    names = ["argocd-cm", "argocd-gpg-keys-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm"]
    assert [one.get("resourceNames") for one in granted(found)["argocd"]] == [None, None, None, names, None]
    assert found.manifests[1]["subjects"][0]["namespace"] == "fairlead"


def test_the_agents_own_namespace() -> None:
    assert by_resource(own_rights(ACCOUNT), "fairlead") == {"leases": ["get", "create", "update", "patch"]}
    kept = by_resource(own_rights(ACCOUNT, stores_state=True), "fairlead")
    assert kept["secrets"] == ["get", "list", "watch", "create", "update", "patch", "delete"]


def _may(found: Rights, namespace: str, group: str, plural: str) -> bool:
    for one in found.manifests:
        if one["kind"] not in ("Role", "ClusterRole") or one["metadata"].get("namespace", namespace) != namespace:
            continue
        for inner in one["rules"]:
            if {group, "*"} & set(inner["apiGroups"]) and {plural, "*"} & set(inner["resources"]):
                return True
    return False


_groups = st.sampled_from(["*", "", "apps", "batch"])
_kinds = st.builds(
    lambda group, name: {"group": group, "kind": name}, _groups, st.sampled_from(["*", "Job", "Service"])
)
_places = st.builds(
    lambda server, namespace: {"server": server, "namespace": namespace},
    st.sampled_from([HERE, "*", "https://other", f"!{HERE}"]),
    st.sampled_from(["*", "shop", "team-*", "!shop", "!kube-*"]),
)


@given(
    st.lists(_places, max_size=3),
    st.none() | st.lists(_kinds, max_size=2),
    st.lists(_kinds, max_size=2),
    st.lists(_kinds, max_size=2),
    st.booleans(),
)
def test_rights_are_exactly_what_the_project_permits(
    destinations: list[dict[str, str]],
    allowed: list[dict[str, str]] | None,
    denied: list[dict[str, str]],
    across: list[dict[str, str]],
    only_served: bool,
) -> None:
    existing = ("kube-system", "shop", "team-a")
    spec = {
        "destinations": destinations,
        "namespaceResourceWhitelist": allowed,
        "namespaceResourceBlacklist": denied,
        "clusterResourceWhitelist": across,
    }
    found = rights(namespaces=existing, only_served=only_served, **spec)
    project = Project(name="shop", spec=parse(json.dumps(spec).encode()))
    for one in KINDS[:7]:
        for namespace in existing if one.namespaced else ("",):
            permitted = project.permits_kind(one.group, one.kind, namespaced=one.namespaced)
            if one.namespaced:
                permitted = permitted and project.permits_destination(HERE, "in-cluster", namespace)
            else:
                permitted = permitted and any(project.permits_destination(HERE, "in-cluster", n) for n in existing)
            assert _may(found, namespace, one.group, one.plural) is permitted
