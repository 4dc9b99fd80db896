"""What an AppProject permits."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.kinds import APP_PROJECTS
from fairlead.agentsync.project import Cluster, GpgPolicy, Project, ServiceAccount, open_project, parse, problems
from fairlead.agentsync.resources import ResourceKey
from fairlead.core.errors import SpecError

HERE, NAME = "https://kubernetes.default.svc", "in-cluster"
REPO = "https://git.example.com/shop/web"


def project(*, clusters: tuple[Cluster, ...] = (), **spec: Any) -> Project:
    return Project(name="shop", spec=parse(json.dumps(spec).encode()), clusters=clusters)


@pytest.mark.parametrize(
    ("patterns", "url", "expected"),
    [
        pytest.param([], REPO, False, id="empty-list-permits-nothing"),
        pytest.param(["*"], "https://anywhere/a/b/c", True, id="lone-star-permits-all"),
        pytest.param([REPO], f" {REPO.upper()}.git ", True, id="normalised"),
        pytest.param([f"{REPO}.git"], REPO, True, id="pattern-is-normalised"),
        pytest.param(["https://git.example.com/*"], REPO, False, id="trap-24-star-does-not-cross-a-slash"),
        pytest.param(["https://git.example.com/**"], REPO, True, id="two-stars-cross-it"),
        pytest.param(["https://git.example.com/*/web"], REPO, True, id="star-inside"),
        pytest.param(["git@git.example.com:shop/*"], "ssh://git@git.example.com/shop/web.git", True, id="scp-form"),
        pytest.param(["*", f"!{REPO}"], REPO, False, id="denial-wins"),
        pytest.param([f"!{REPO}", "*"], REPO, False, id="denial-wins-in-front"),
        pytest.param([f"!{REPO}"], "https://else/x", True, id="only-denials-permit-the-rest"),
        pytest.param(["!https://git.example.com/**"], REPO, False, id="denial-by-glob"),
        pytest.param(["!*"], REPO, False, id="denies-all"),
        pytest.param(["[https://git"], REPO, False, id="no-pattern-permits-nothing"),
    ],
)
def test_sources(patterns: list[str], url: str, expected: bool) -> None:
    found = project(sourceRepos=patterns)
    assert found.permits_source(url) is expected
    message = f"application repo {url} is not permitted in project 'shop'"
    assert found.source_refusal(url) == ("" if expected else message)


def to(**fields: str) -> dict[str, str]:
    return fields


@pytest.mark.parametrize(
    ("entries", "namespace", "expected"),
    [
        pytest.param([], "web", False, id="empty"),
        pytest.param([to(server=HERE, namespace="web")], "web", True, id="by-server"),
        pytest.param([to(name=NAME, namespace="web")], "web", True, id="by-name"),
        pytest.param([to(server="https://other", namespace="*")], "web", False, id="other-server"),
        pytest.param([to(namespace="*")], "web", False, id="neither-server-nor-name"),
        pytest.param([to(server="*", namespace="team-*")], "team-a", True, id="glob"),
        pytest.param([to(server="https://*", namespace="*")], "web", True, id="server-glob-crosses-slashes"),
        pytest.param([to(server=HERE)], "web", False, id="no-namespace-is-no-wildcard"),
        pytest.param([to(server=HERE, namespace="*"), to(server=HERE, namespace="!web")], "web", False, id="denied"),
        pytest.param(
            [to(server=HERE, namespace="!web"), to(server=HERE, namespace="*")],
            "web",
            False,
            id="trap-24-a-denial-ends-the-search-wherever-it-is",
        ),
        pytest.param([to(server=HERE, namespace="!web")], "else", True, id="trap-24-a-lone-denial-permits-the-rest"),
        pytest.param(
            [to(server="*", namespace="*"), to(server=f"!{HERE}", namespace="*")], "web", False, id="denied-server"
        ),
        pytest.param(
            [to(server="*", namespace="*"), to(server=f"!{HERE}", namespace="web")],
            "else",
            True,
            id="denied-server-in-another-namespace",
        ),
        pytest.param([to(server="*", namespace="*"), to(name="!in-*", namespace="x")], "web", False, id="denied-name"),
        pytest.param([to(server="https://other", namespace="!web")], "web", False, id="denial-of-another-cluster"),
    ],
)
def test_destinations(entries: list[dict[str, str]], namespace: str, expected: bool) -> None:
    found = project(destinations=entries)
    assert found.permits_destination(HERE, NAME, namespace) is expected
    message = (
        f"application destination server '{HERE}' and namespace '{namespace}' do not match any of the allowed"
        " destinations in project 'shop'"
    )
    assert found.destination_refusal(HERE, NAME, namespace) == ("" if expected else message)


def test_only_clusters_of_the_project_when_it_says_so() -> None:
    anywhere = [to(server="*", namespace="*")]
    scoped: dict[str, Any] = {"destinations": anywhere, "permitOnlyProjectScopedClusters": True}
    ours = (Cluster(server="https://ours", name="ours"),)
    assert not project(**scoped).permits_destination(HERE, NAME, "web")
    assert not project(**scoped, clusters=ours).permits_destination(HERE, NAME, "web")
    assert project(**scoped, clusters=ours).permits_destination("https://ours", "", "web")
    assert project(**scoped, clusters=ours).permits_destination("", "ours", "web")


ALL = {"group": "*", "kind": "*"}
JOB = {"group": "batch", "kind": "Job"}


@pytest.mark.parametrize(
    ("spec", "kind", "expected"),
    [
        pytest.param({}, "batch/Job", True, id="trap-23-absent-whitelist-permits-all"),
        pytest.param({"namespaceResourceWhitelist": None}, "batch/Job", True, id="trap-23-null-is-absent"),
        pytest.param({"namespaceResourceWhitelist": []}, "batch/Job", False, id="trap-23-empty-permits-none"),
        pytest.param({"namespaceResourceWhitelist": [JOB]}, "batch/Job", True, id="listed"),
        pytest.param({"namespaceResourceWhitelist": [JOB]}, "batch/CronJob", False, id="not-listed"),
        pytest.param({"namespaceResourceWhitelist": [{"group": "", "kind": "*"}]}, "/Pod", True, id="core-group"),
        pytest.param({"namespaceResourceWhitelist": [{"group": "", "kind": "*"}]}, "batch/Job", False, id="core-only"),
        pytest.param({"namespaceResourceBlacklist": [JOB]}, "batch/Job", False, id="denied"),
        pytest.param(
            {"namespaceResourceWhitelist": [ALL], "namespaceResourceBlacklist": [JOB]},
            "batch/Job",
            False,
            id="denial-wins",
        ),
        pytest.param(
            {"namespaceResourceWhitelist": [{"group": "*.io", "kind": "Http*"}]}, "mesh.io/HttpRoute", True, id="globs"
        ),
    ],
)
def test_namespaced_kinds(spec: dict[str, Any], kind: str, expected: bool) -> None:
    group, _, name = kind.partition("/")
    assert project(**spec).permits_kind(group, name, namespaced=True) is expected


NAMESPACES = {"group": "", "kind": "Namespace"}


@pytest.mark.parametrize(
    ("spec", "name", "expected"),
    [
        pytest.param({}, "web", False, id="trap-23-absent-permits-none"),
        pytest.param({"clusterResourceWhitelist": []}, "web", False, id="trap-23-empty-permits-none"),
        pytest.param({"clusterResourceWhitelist": [ALL]}, "web", True, id="all"),
        pytest.param({"clusterResourceWhitelist": [NAMESPACES]}, "web", True, id="listed"),
        pytest.param({"clusterResourceWhitelist": [NAMESPACES | {"name": "team-*"}]}, "team-a", True, id="name"),
        pytest.param({"clusterResourceWhitelist": [NAMESPACES | {"name": "team-*"}]}, "web", False, id="other-name"),
        pytest.param(
            {"clusterResourceWhitelist": [ALL], "clusterResourceBlacklist": [NAMESPACES]},
            "web",
            False,
            id="denial-wins",
        ),
    ],
)
def test_cluster_scoped_kinds(spec: dict[str, Any], name: str, expected: bool) -> None:
    assert project(**spec).permits_kind("", "Namespace", namespaced=False, object_name=name) is expected


@pytest.mark.parametrize(
    ("key", "namespaced", "message"),
    [
        pytest.param(ResourceKey("batch", "Job", "web", "x"), True, "", id="permitted"),
        pytest.param(
            ResourceKey("apps", "Deployment", "web", "x"),
            True,
            "resource apps:Deployment is not permitted in project shop",
            id="kind",
        ),
        pytest.param(
            ResourceKey("", "Namespace", "", "x"),
            False,
            "resource :Namespace is not permitted in project shop",
            id="cluster-scoped",
        ),
        pytest.param(
            ResourceKey("batch", "Job", "kube-system", "x"),
            True,
            "namespace kube-system is not permitted in project 'shop'",
            id="namespace",
        ),
    ],
)
def test_objects(key: ResourceKey, namespaced: bool, message: str) -> None:
    found = project(destinations=[to(server=HERE, namespace="web")], namespaceResourceWhitelist=[JOB])
    assert found.resource_refusal(key, namespaced=namespaced, server=HERE, name=NAME) == message
    assert found.permits_live(key, server=HERE, name=NAME) is (not message)


@pytest.mark.parametrize(
    ("patterns", "namespace", "expected"),
    [
        pytest.param([], "argocd", True, id="control-namespace"),
        pytest.param([], "team", False, id="none"),
        pytest.param(["team-*"], "team-a", True, id="glob"),
        pytest.param(["/^team-[0-9]$/"], "team-1", True, id="regular-expression"),
        pytest.param(["/^team-[0-9]$/"], "team-x", False, id="regular-expression-does-not-match"),
    ],
)
def test_whose_applications(patterns: list[str], namespace: str, expected: bool) -> None:
    found = project(sourceNamespaces=patterns)
    assert found.permits_application_in(namespace, control_namespace="argocd") is expected


def test_as_whom_to_apply() -> None:
    accounts = [
        {"server": HERE, "namespace": "web", "defaultServiceAccount": "deployer"},
        {"server": HERE, "namespace": "*", "defaultServiceAccount": "tools:runner"},
        {"server": "https://bad", "namespace": "*", "defaultServiceAccount": ""},
    ]
    found = project(destinationServiceAccounts=accounts)
    assert found.service_account(HERE, "web", application_namespace="argocd") == ServiceAccount("web", "deployer")
    chosen = found.service_account(HERE, "else", application_namespace="argocd")
    assert chosen is not None
    assert chosen.user == "system:serviceaccount:tools:runner"
    assert found.service_account("https://other", "web", application_namespace="argocd") is None
    assert found.service_account("https://bad", "web", application_namespace="argocd") is None  # no name: nobody


def test_whose_signatures_are_asked_for() -> None:
    assert project().signature_policy(REPO) is None
    old = project(signatureKeys=[{"keyID": "ABCD"}])
    assert old.signature_policy(REPO) == GpgPolicy(mode="head", keys=("ABCD",))
    policies = [
        {"repos": [{"url": "https://git.example.com/**"}], "gpg": {"mode": "strict", "keys": ["1"]}},
        {"repos": [{"url": "*"}], "gpg": {"mode": "none"}},
    ]
    new = project(signatureKeys=[{"keyID": "ABCD"}], sourceIntegrity={"git": {"policies": policies}})
    assert new.signature_policy(f"{REPO}.git") == GpgPolicy(mode="strict", keys=("1",))
    assert new.signature_policy("https://else/x") == GpgPolicy(mode="none")


def test_orphans() -> None:
    assert not project().warns_of_orphans
    assert project(orphanedResources={}).warns_of_orphans
    assert not project(orphanedResources={"warn": False}).warns_of_orphans
    found = project(orphanedResources={"ignore": [{"group": "", "kind": "ConfigMap", "name": "kube-*"}]})
    assert found.ignores_orphan(ResourceKey("", "ConfigMap", "web", "kube-root-ca.crt"))
    assert not found.ignores_orphan(ResourceKey("", "ConfigMap", "web", "mine"))


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(SpecError, match=r"^spec\.sourceRepos: Invalid value: \"\*\": expected array, found str$"):
        parse(b'{"sourceRepos": "*"}')
    with pytest.raises(SpecError, match=r"^spec\.destinations\[0\]\.namespace: "):
        parse(b'{"destinations": [{"namespace": 7}]}')


def test_an_unknown_mode_of_signatures_is_no_mode_at_all() -> None:
    policy = {"repos": [{"url": "*"}], "gpg": {"mode": "Strict"}}
    with pytest.raises(
        SpecError, match=r"^spec\.sourceIntegrity\.git\.policies\[0\]\.gpg\.mode: Invalid value: \"Strict\""
    ):
        project(sourceIntegrity={"git": {"policies": [policy]}})


def test_what_we_do_not_know_is_kept() -> None:
    spec = b'{"sourceRepos":["*"],"roles":[{"name":"ci"}],"future":{"a":null},"namespaceResourceWhitelist":[]}'
    found = APP_PROJECTS.decode(b'{"metadata":{"name":"shop"},"spec":' + spec + b"}")
    assert bytes(found.spec) == spec
    assert parse(found.spec).source_repos == ("*",)


def test_an_empty_whitelist_is_written_and_an_absent_one_is_not() -> None:
    for text in (b'{"namespaceResourceWhitelist":[]}', b"{}"):
        assert msgspec.json.encode(parse(text)) == text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"description": "x" * 256},
            "spec.description: Invalid value: expected at most 255 characters, found 256",
            id="description",
        ),
        pytest.param(
            {"sourceRepos": ["*", "!*"]},
            "spec.sourceRepos[1]: source repository has an invalid format, '!*'",
            id="all-denied",
        ),
        pytest.param(
            {"sourceRepos": ["a", "a"]}, "spec.sourceRepos[1]: source repository 'a' already added", id="repo-twice"
        ),
        pytest.param(
            {"destinations": [to(server="*", namespace="!*")]},
            "spec.destinations[0].namespace: namespace has an invalid format, '!*'",
            id="namespace-denied",
        ),
        pytest.param(
            {"destinations": [to(server=HERE, namespace="a")] * 2},
            f"spec.destinations[1]: destination '{HERE}/a' already added",
            id="destination-twice",
        ),
        pytest.param(
            {"syncWindows": [{"kind": "maybe", "schedule": "* * * * *", "duration": "1h"}]},
            "spec.syncWindows[0]: kind 'maybe' mismatch: can only be allow or deny",
            id="window",
        ),
    ],
)
def test_problems(spec: dict[str, Any], message: str) -> None:
    assert problems(parse(json.dumps(spec).encode())) == (message,)


def test_an_open_project_permits_everything() -> None:
    found = open_project("default")
    key = ResourceKey("example.com", "Thing", "web", "x")
    assert found.permits_source("https://anywhere/x") and found.permits_destination("https://any", "", "where")
    assert found.resource_refusal(key, namespaced=True, server="https://any", name="") == ""
    assert found.permits_kind("", "Namespace", namespaced=False, object_name="x")
    assert problems(found.spec) == ()


def test_a_sound_spec_has_no_problems() -> None:
    spec = project(sourceRepos=["*"], destinations=[to(server="*", namespace="*")], clusterResourceWhitelist=[ALL]).spec
    assert problems(spec) == ()
