"""`fairlead app` and `fairlead agent rbac` against a real API server, a real Git repository and the agent at work.

The process of the commands has the rights of an administrator, the agent those that `fairlead agent rbac` prints.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from fairlead.core.kinds import NAMESPACES, carried
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from tests.agentsync.forge import config_map, job
from tests.agentsync.sources.repository import Repository, has_git
from tests.controlplane.gitops import CONFIG_MAPS, PROJECTS, Agent, Site, manifests
from tests.controlplane.plane import ControlPlane

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("controlplane"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(not has_git(), reason="git is not installed"),
]

_count = itertools.count(1)
_GROUP = "rbac.authorization.k8s.io"
_RIGHTS = {
    kind: carried(_GROUP, "v1", kind, f"{kind.lower()}s", namespaced="Cluster" not in kind)
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
}


@dataclass(frozen=True)
class Scene:
    """A site, a repository, the agent, and the kubeconfig of the person at the terminal."""

    site: Site
    repository: Repository
    agent: Agent
    kubeconfig: Path
    folder: Path

    async def run(self, *words: str) -> tuple[int, str]:
        """Run a command in a process of its own; return exit code and output."""
        options = ("-n", self.site.control_namespace, "--kubeconfig", str(self.kubeconfig))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fairlead.cli.main", *words, *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def app(self, *words: str) -> str:
        code, output = await self.run("app", *words)
        assert code == 0, output
        return output

    async def value(self, name: str) -> str:
        return str((await self.site.read(CONFIG_MAPS, name)).get("data", {}).get("a", ""))


@pytest_asyncio.fixture
async def scene(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Scene]:
    number = f"{os.getpid()}-{next(_count)}"
    async with await connect(str(control_plane.kubeconfig), field_manager="admin") as admin:
        site = Site(admin, control_namespace=f"app-{number}", namespace=f"app-{number}-shop")
        await site.furnish()
        assert control_plane.folder is not None
        authority = (control_plane.folder / "certs" / "apiserver.crt").read_bytes()
        account = await site.account_kubeconfig(
            "fairlead-agent", site.control_namespace, control_plane.server, authority, tmp_path
        )
        agent = Agent(kubeconfig=account, folder=tmp_path / "agent", control_namespace=site.control_namespace)
        yield Scene(site, Repository(tmp_path / "repository"), agent, control_plane.kubeconfig, tmp_path)
        for namespace in (site.control_namespace, site.namespace):
            await admin.delete(NAMESPACES, ObjectKey("", namespace))


async def grant(scene: Scene) -> None:
    """Allow the project what the story needs, and hand out exactly what the command prints for it."""
    site = scene.site
    spec = {
        "sourceRepos": ["*"],
        "destinations": [{"server": "https://kubernetes.default.svc", "namespace": site.namespace}],
        "namespaceResourceWhitelist": [{"group": "", "kind": "ConfigMap"}, {"group": "batch", "kind": "Job"}],
    }
    body = {"apiVersion": PROJECTS.api_version, "kind": "AppProject", "metadata": {"name": "shop"}, "spec": spec}
    await site.admin.create(PROJECTS, body, namespace=site.control_namespace)
    # As the agent of these tests is set up, so that several of them share a cluster.
    settings = {"metadata": {"name": "argocd-cm"}, "data": {"installationID": site.control_namespace}}
    await site.admin.create(CONFIG_MAPS, settings, namespace=site.control_namespace)
    code, printed = await scene.run("agent", "rbac", "-p", "shop", "--agent-namespace", site.control_namespace)
    assert code == 0, printed
    for one in yaml.safe_load_all(printed):
        kind = _RIGHTS[one["kind"]]
        await site.admin.create(kind, one, namespace=one["metadata"].get("namespace", ""))


async def test_a_release_and_the_way_back_with_the_rights_that_are_printed(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    await grant(scene)
    first = repository.commit({"deploy/all.yaml": manifests(config_map("web", a="1"), config_map("old"))})
    await site.application(repository.url, project="shop", syncPolicy=None)
    async with scene.agent.running():
        assert "OutOfSync, Missing" in await scene.app("refresh", "web", "--timeout", "90")
        told = await scene.app("sync", "web", "--timeout", "90")
        assert "configmap/web created" in told
        assert await scene.value("web") == "1"
        assert "Synced to HEAD" in await scene.app("get", "web", "--refresh")
        who = (await site.status())["operationState"]["operation"]["initiatedBy"]["username"]
        assert who not in ("", "unknown")

        repository.commit({"deploy/all.yaml": manifests(config_map("web", a="2"))})
        local = ("diff", "web", "--local", str(repository.folder / "deploy"), "-o", "name")
        code, shown = await scene.run("app", *local)
        place = site.namespace
        assert (code, shown) == (1, f"extra /ConfigMap/{place}/old\nchanged /ConfigMap/{place}/web\n")
        told = await scene.app("sync", "web", "--prune", "--timeout", "90")
        assert "pruned" in told
        assert await scene.app(*local) == ""
        assert (await scene.value("web"), await scene.value("old")) == ("2", "")

        assert len((await scene.app("history", "web", "-o", "id")).split()) == 2
        assert first in await scene.app("rollback", "web", "0", "--timeout", "90")
        assert (await scene.value("web"), await scene.value("old")) == ("1", "1")
    # It asks once whether it may look everywhere, and then looks where it may.
    assert scene.agent.requests.refused == [("list", "configmaps")]


async def test_a_hook_is_terminated_and_a_kind_that_is_not_allowed_is_not_applied(scene: Scene) -> None:
    site, repository = scene.site, scene.repository
    await grant(scene)
    hook = job("migrate", annotations={"argocd.argoproj.io/hook": "PreSync"})
    repository.commit({"deploy/all.yaml": manifests(hook, config_map("web", a="1"))})
    await site.application(repository.url, project="shop", syncPolicy=None)
    async with scene.agent.running():
        waiting = asyncio.create_task(scene.run("app", "sync", "web", "--timeout", "90"))

        async def is_running() -> bool:
            state = (await site.status())["operationState"]
            return bool(state["phase"] == "Running" and "migrate" in state.get("message", ""))

        await site.until("the hook runs", is_running)
        assert (await scene.run("app", "sync", "web"))[1] == "Error: another operation is already in progress\n"
        await scene.app("terminate", "web")
        code, output = await waiting
        assert (code, output.splitlines()[-1]) == (1, "Error: Operation has completed with phase: Failed")
        assert await scene.value("web") == ""

        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {}}
        repository.commit({"deploy/all.yaml": manifests(secret, config_map("web", a="1"))})
        code, output = await scene.run("app", "sync", "web", "--timeout", "90")
        assert code == 1
        assert "resource :Secret is not permitted in project shop" in output
        assert await scene.value("web") == ""
