"""One Application of a real Git repository on a real control plane."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from fairlead.core.kinds import CRDS, carried
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from tests.agentsync.forge import config_map, deployment, job
from tests.agentsync.sources.repository import Repository, has_git
from tests.agentsync.sources.servers import http_server
from tests.controlplane.gitops import (
    APPLICATIONS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    SERVICES,
    Agent,
    Site,
    kubelet,
    manifests,
    program,
    pushed,
    tail,
)
from tests.controlplane.plane import ControlPlane, free_ports

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("controlplane"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(not has_git(), reason="git is not installed"),
]

_count = itertools.count(1)
SECRETS = carried("", "v1", "Secret", "secrets")
SCALERS = carried("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
HOOK = "argocd.argoproj.io/hook"
WAVE = "argocd.argoproj.io/sync-wave"


@dataclass(frozen=True)
class Scene:
    """A site, a repository, and the agent that applies it."""

    site: Site
    repository: Repository
    agent: Agent


@pytest_asyncio.fixture
async def scene(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Scene]:
    number = f"{os.getpid()}-{next(_count)}"
    async with await connect(str(control_plane.kubeconfig), field_manager="admin") as admin:
        site = Site(admin, control_namespace=f"gitops-{number}", namespace=f"gitops-{number}-shop")
        await site.furnish()
        agent = Agent(
            kubeconfig=control_plane.kubeconfig_for("fairlead"),
            folder=tmp_path / "agent",
            control_namespace=site.control_namespace,
        )
        yield Scene(site, Repository(tmp_path / "repository"), agent)


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def test_commits_are_applied_healed_and_pruned(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    first = repository.commit({"deploy/all.yaml": manifests(config_map("one"), deployment("web", replicas=0))})
    async with scene.agent.running():
        await site.application(repository.url)
        await site.synced(first)
        assert await site.names(CONFIG_MAPS) == ["one"] and await site.names(DEPLOYMENTS) == ["web"]

        await site.change(CONFIG_MAPS, "one", {"data": {"a": "by hand", "b": "added"}})

        async def is_healed() -> bool:
            return bool((await site.read(CONFIG_MAPS, "one"))["data"]["a"] == "1")

        await site.until("drift is healed", is_healed)
        await site.admin.delete(DEPLOYMENTS, ObjectKey(site.namespace, "web"))

        async def is_back() -> bool:
            return await site.names(DEPLOYMENTS) == ["web"]

        await site.until("the Deployment is made anew", is_back)

        second = await pushed(
            site, repository, {"deploy/all.yaml": manifests(config_map("one", a="2"), service("web"))}
        )
        await site.synced(second)
        assert await site.names(DEPLOYMENTS) == [] and await site.names(SERVICES) == ["web"]
        history = [entry["revision"] for entry in (await site.status())["history"]]
        assert history == [first, second]


async def test_what_is_equal_is_not_applied_and_a_sync_costs_what_changed(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    objects = [config_map(f"map-{number:02}") for number in range(20)]
    objects += [service("web"), deployment("web", replicas=0)]
    first = repository.commit({"deploy/all.yaml": manifests(*objects)})
    async with scene.agent.running():
        await site.application(repository.url)
        await site.synced(first)
        assert len(scene.agent.requests.writes) == 22
        scene.agent.requests.made.clear()
        objects[3], objects[20] = config_map("map-03", a="2"), {**service("web"), "metadata": {"name": "api"}}
        second = await pushed(site, repository, {"deploy/all.yaml": manifests(*objects)})
        await site.synced(second)
        assert sorted(scene.agent.requests.writes) == [
            ("create", "services"),
            ("delete", "services"),
            ("patch", "configmaps"),
        ]
        scene.agent.requests.made.clear()
        await site.refresh()
        await asyncio.sleep(5)
        assert scene.agent.requests.writes == []


async def test_definitions_hooks_and_waves_in_one_commit(scene: Scene, control_plane: ControlPlane) -> None:
    site, repository = scene.site, scene.repository
    group = f"{site.control_namespace}.fairlead.dev"
    widgets = carried(group, "v1", "Widget", "widgets")
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    commit = repository.commit(
        {
            "deploy/widget.yaml": manifests(widget),
            "deploy/definition.yaml": manifests(definition),
            "deploy/app.yaml": manifests(
                job("before", command=("sleep", "3"), annotations={HOOK: "PreSync"}),
                config_map("base"),
                deployment("web", annotations={WAVE: "1"}),
                job(
                    "after",
                    command=("sleep", "3"),
                    annotations={HOOK: "PostSync", "argocd.argoproj.io/hook-delete-policy": "HookSucceeded"},
                ),
            ),
        }
    )
    async with kubelet(control_plane.kubeconfig_for("kubelet"), site.namespace), scene.agent.running():
        await site.application(repository.url)

        async def has(name: str) -> bool:
            return name in await site.names(JOBS)

        await site.until("the PreSync hook runs", lambda: has("before"))
        assert await site.names(CONFIG_MAPS) == []
        await site.until("the PostSync hook runs", lambda: has("after"))
        assert await site.names(CONFIG_MAPS) == ["base"] and await site.names(DEPLOYMENTS) == ["web"]
        await site.synced(commit)

        async def is_tidy() -> bool:
            return await site.names(JOBS) == ["before"]

        await site.until("the PostSync hook is removed", is_tidy)
        assert await site.names(widgets) == ["w"]
        found = await site.read(JOBS, "before")
        assert not found["metadata"].get("finalizers")
    await site.admin.delete(CRDS, ObjectKey("", f"widgets.{group}"))


async def test_bad_and_empty_commits_delete_nothing(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    good = repository.commit({"deploy/all.yaml": manifests(config_map("one"), config_map("two"))})
    async with scene.agent.running():
        await site.application(repository.url)
        await site.synced(good)
        broken = manifests(config_map("one")) + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two\n"
        await pushed(site, repository, {"deploy/all.yaml": broken})

        async def is_told() -> bool:
            return any(one["type"] == "ComparisonError" for one in (await site.status()).get("conditions", ()))

        await site.until("the broken commit is told", is_told)
        assert await site.names(CONFIG_MAPS) == ["one", "two"]
        await pushed(site, repository, {"deploy/all.yaml": "# nothing is left\n"})

        async def is_out_of_sync() -> bool:
            return bool((await site.status())["sync"]["status"] == "OutOfSync")

        await site.until("the empty commit is seen", is_out_of_sync)
        await asyncio.sleep(3)
        assert await site.names(CONFIG_MAPS) == ["one", "two"]
        fixed = await pushed(site, repository, {"deploy/all.yaml": manifests(config_map("two"))})
        await site.synced(fixed)
        assert await site.names(CONFIG_MAPS) == ["two"]


async def test_an_invalid_object_is_told_and_the_next_commit_mends_it(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    bad = {**service("web"), "spec": {"ports": [{"port": 123456}]}}
    repository.commit({"deploy/all.yaml": manifests(bad, config_map("one"))})
    async with scene.agent.running():
        policy = {"automated": {"prune": True, "selfHeal": True}, "retry": {"limit": 0}}
        await site.application(repository.url, syncPolicy=policy)

        async def has_failed() -> bool:
            return bool((await site.status())["operationState"]["phase"] == "Failed")

        await site.until("the sync fails", has_failed)
        message = (await site.status())["operationState"]["message"]
        assert "spec.ports[0].port" in message and "must be between 1 and 65535" in message
        fixed = await pushed(site, repository, {"deploy/all.yaml": manifests(service("web"), config_map("one"))})
        await site.synced(fixed)


@pytest.mark.parametrize("compare", ["", "ServerSideDiff=true"], ids=["computed", "asked"])
async def test_server_side_apply_takes_over_what_kubectl_made(scene: Scene, compare: str) -> None:
    site, repository = scene.site, scene.repository
    kubectl = site.admin.as_manager("kubectl-client-side-apply")
    await kubectl.create(CONFIG_MAPS, config_map("one", a="1", old="gone"), namespace=site.namespace)
    commit = repository.commit({"deploy/all.yaml": manifests(config_map("one", a="1"))})
    policy = {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["ServerSideApply=true"]}
    async with scene.agent.running():
        metadata = {"annotations": {"argocd.argoproj.io/compare-options": compare}}
        await site.application(repository.url, syncPolicy=policy, metadata=metadata)
        await site.synced(commit)
        await asyncio.sleep(2)
        found = await site.read(CONFIG_MAPS, "one")
        assert found["data"] == {"a": "1"}
        assert [entry["manager"] for entry in found["metadata"]["managedFields"]] == ["argocd-controller"]
        scene.agent.requests.made.clear()
        await site.refresh()
        await asyncio.sleep(3)
        assert scene.agent.requests.writes == []


async def test_a_restart_while_git_is_away_keeps_healing(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    commit = repository.commit({"deploy/all.yaml": manifests(config_map("one"), config_map("two"))})
    async with scene.agent.running():
        await site.application(repository.url)
        await site.synced(commit)
    repository.folder.rename(repository.folder.with_name("moved"))
    await site.admin.delete(CONFIG_MAPS, ObjectKey(site.namespace, "one"))
    async with scene.agent.running():

        async def is_back() -> bool:
            return await site.names(CONFIG_MAPS) == ["one", "two"]

        await site.until("the ConfigMap is made anew", is_back)


async def test_a_manifest_in_an_older_version_is_compared_in_its_own_terms(scene: Scene) -> None:
    site, repository = scene.site, scene.repository

    def scaler(version: str, spec: dict[str, Any]) -> dict[str, Any]:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        whole = {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": target, **spec}
        return {
            "apiVersion": f"autoscaling/{version}",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": version},
            "spec": whole,
        }

    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    old = scaler("v1", {"targetCPUUtilizationPercentage": 60})
    commit = repository.commit(
        {"deploy/all.yaml": manifests(old, scaler("v2", {"metrics": [{"type": "Resource", "resource": cpu}]}))}
    )
    async with scene.agent.running():
        await site.application(repository.url)
        await site.synced(commit)
        scene.agent.requests.made.clear()
        await site.refresh()
        await asyncio.sleep(4)
        assert scene.agent.requests.writes == []
        assert (await site.status())["sync"]["status"] == "Synced"
        commit = await pushed(
            site,
            repository,
            {"deploy/all.yaml": manifests(scaler("v1", {"targetCPUUtilizationPercentage": 70}))},
        )
        await site.synced(commit)
        found = await site.admin.list(SCALERS, namespace=site.namespace)
        assert [one.content["spec"]["targetCPUUtilizationPercentage"] for one in found.items] == [70]


async def test_deletion_cascades(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    commit = repository.commit({"deploy/all.yaml": manifests(config_map("one"), deployment("web", replicas=0))})
    async with scene.agent.running():
        finalizers = {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}
        await site.application(repository.url, metadata=finalizers)
        await site.synced(commit)
        await site.admin.delete(APPLICATIONS, ObjectKey(site.control_namespace, "web"))

        async def is_gone() -> bool:
            return await site.read(APPLICATIONS, "web", site.control_namespace) == {}

        await site.until("the Application is gone", is_gone)
        assert await site.names(CONFIG_MAPS) == [] and await site.names(DEPLOYMENTS) == []


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [("agent", "run"), ("controller", "--gitops", "--no-secrets")], ids=["agent", "controller"]
)
async def test_a_webhook_of_a_known_sender_brings_the_commit_at_once(
    scene: Scene, control_plane: ControlPlane, tmp_path: Path, command: tuple[str, ...]
) -> None:
    site, repository = scene.site, scene.repository
    secret = {"webhook.github.secret": "between-us"}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret"}, "stringData": secret}
    await site.admin.create(SECRETS, body, namespace=site.control_namespace)
    first = repository.commit({"deploy/all.yaml": manifests(config_map("one"))})
    webhooks, metrics = free_ports(2)
    # Other tests have Applications of that name in this cluster, and none of their objects is ours.
    settings = {"installationID": site.control_namespace}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": settings}
    await site.admin.create(CONFIG_MAPS, body, namespace=site.control_namespace)
    flags = (
        f"--kubeconfig={control_plane.kubeconfig_for('fairlead')}",
        f"--gitops-namespace={site.control_namespace}",
        f"--leader-election-namespace={site.control_namespace}",
        f"--gitops-folder={tmp_path / 'folder'}",
        "--git-protocol=http",
        "--git-poll=1h",
        f"--webhook-port={webhooks}",
        "--webhook-secret-required",
        "--host=127.0.0.1",
        "--healthzPort=0",
        f"--metricsPort={metrics}",
    )
    async with (
        http_server(repository.folder.parent) as host,
        program(*command, *flags, log=tmp_path / "log"),
        aiohttp.ClientSession() as session,
    ):
        address = host.url(repository.folder.name)
        await site.application(address)
        await site.synced(first)
        second = repository.commit({"deploy/all.yaml": manifests(config_map("one", a="2"))})
        payload = json.dumps({"ref": "refs/heads/main", "repository": {"html_url": address}}).encode()
        # What a stranger sends is refused, and moves nothing.
        url = f"http://127.0.0.1:{webhooks}/api/webhook"
        for headers, status in (({}, 400), (signed(payload, "guessed"), 400)):
            async with session.post(url, data=payload, headers=headers) as answer:
                assert answer.status == status
        async with session.get(url) as answer:
            assert answer.status == 405
        await asyncio.sleep(1)
        assert (await site.read(CONFIG_MAPS, "one"))["data"] == {"a": "1"}
        async with session.post(url, data=payload, headers=signed(payload, "between-us")) as answer:
            assert answer.status == 200
        await site.synced(second)
        async with session.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
            text = await answer.text()
        assert f'argocd_app_info{{autosync_enabled="true",dest_namespace="{site.namespace}"' in text
        assert 'sync_status="Synced"' in text
        assert 'argocd_app_sync_total{dry_run="false",name="web"' in text
    assert "between-us" not in tail(tmp_path / "log")


def signed(payload: bytes, secret: str) -> dict[str, str]:
    """Return the headers of a push event of GitHub."""
    digest = hmac.new(secret.encode(), payload, "sha256").hexdigest()
    return {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest}"}
