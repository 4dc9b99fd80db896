"""`fairlead agent rbac`: from files without a cluster, and from the embedded API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from fairlead.cli.main import main
from tests.cli.test_app import staged

SERVER = "https://kubernetes.default.svc"


def project(name: str = "shop", **spec: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "destinations": [{"server": SERVER, "namespace": "shop"}],
        "namespaceResourceWhitelist": [
            {"group": "apps", "kind": "Deployment"},
            {"group": "argoproj.io", "kind": "Rollout"},
        ],
    }
    metadata = {"name": name, "namespace": "argocd"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata, "spec": base | spec}


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["agent", "rbac", *words], input=stdin)


def rules(text: str) -> dict[tuple[str, str, str], Any]:
    found = [one for one in yaml.safe_load_all(text) if one]
    return {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one.get("rules") for one in found
    }


ALL_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]


def test_from_a_file_without_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(project()))
    result = run("-f", str(file), "--offline", "--spoke")
    assert result.exit_code == 0
    assert not result.output.startswith("#")
    assert rules(result.output) == {
        ("Role", "shop", "fairlead-agent-shop"): [
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ALL_VERBS},
            {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ALL_VERBS},
        ],
        ("RoleBinding", "shop", "fairlead-agent-shop"): None,
        ("Role", "fairlead", "fairlead-agent-own"): [
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "create", "update", "patch"],
            }
        ],
        ("RoleBinding", "fairlead", "fairlead-agent-own"): None,
    }


def test_a_central_cluster_grants_nothing_but_its_applications(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(project()))
    result = run("-f", str(file), "--offline", "--hub", "-n", "agent-one")
    assert set(rules(result.output)) == {
        ("Role", "agent-one", "fairlead-agent"),
        ("RoleBinding", "agent-one", "fairlead-agent"),
    }
    assert run("-f", str(file), "--offline", "--hub", "--spoke").exit_code == 2


def test_notes_are_comments_and_the_rest_is_still_yaml() -> None:
    anything = project(
        destinations=[{"server": "*", "namespace": "*"}], clusterResourceWhitelist=[{"group": "*", "kind": "*"}]
    )
    anything["spec"].pop("namespaceResourceWhitelist")
    result = run("-f", "-", "--offline", stdin=yaml.safe_dump(anything))
    assert result.exit_code == 0
    assert result.output.startswith("# project shop allows every kind: ")
    found = rules(result.output)
    assert found["ClusterRole", "", "fairlead-agent-shop"] == [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    assert ("Role", "fairlead", "fairlead-agent") in found


def test_patterns_need_the_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(project(destinations=[{"server": SERVER, "namespace": "team-*"}])))
    existing = ("--existing-namespace", "team-a", "--existing-namespace", "other")
    result = run("-f", str(file), "--offline", "--spoke", *existing)
    assert {namespace for _, namespace, _ in rules(result.output)} == {"team-a", "fairlead"}


def test_bad_input_is_named(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(project(sourceRepos="*")))
    result = run("-f", str(file), "--offline")
    assert result.exit_code == 1
    assert 'spec.sourceRepos: Invalid value: "*": expected array, found str' in result.output
    file.write_text(yaml.safe_dump(project()))
    assert "there is no AppProject other in the files" in run("-f", str(file), "-p", "other", "--offline").output
    assert run().exit_code == run("-p", "shop", "--offline").exit_code == 2


async def test_from_the_cluster(tmp_path: Path) -> None:
    import asyncio

    wide = project("wide", destinations=[{"server": SERVER, "namespace": "arg*"}])
    async with staged(tmp_path, project(), wide) as stage:
        words = ("agent", "rbac", "-p", "shop", "-p", "wide", "-n", "argocd", "--kubeconfig", str(stage.kubeconfig))
        result = await asyncio.to_thread(CliRunner().invoke, main, list(words))
        missing = await asyncio.to_thread(CliRunner().invoke, main, [*words, "-p", "none"])
    assert result.exit_code == 0, result.output
    assert set(rules(result.output)) == {
        (kind, namespace, name)
        for kind in ("Role", "RoleBinding")
        for namespace, name in (
            ("argocd", "fairlead-agent"),
            ("fairlead", "fairlead-agent-own"),
            ("shop", "fairlead-agent-shop"),
            ("argocd", "fairlead-agent-wide"),
        )
    }
    assert (missing.exit_code, missing.output) == (1, 'Error: appprojects.argoproj.io "none" not found\n')
