"""The agent as a process is made of: settings, sources, stores and webhooks, on a simulated cluster over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fairlead.agentsync.offline import OfflineError
from fairlead.controller.gitops_main import GitOpsProcess, prepared
from fairlead.controller.gitops_process import GitOpsController
from fairlead.controller.gitops_settings import GitOps, OfflineKind, Polling, Webhooks
from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from fairlead.runtime.leases import LeaderElection, LeaseSettings
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.agentsync.forge import config_map
from tests.agentsync.sources.repository import Repository, has_git

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
APPLICATIONS = carried("argoproj.io", "v1alpha1", "Application", "applications")
WEB = ObjectKey("argocd", "web")
needs_git = pytest.mark.skipif(not has_git(), reason="git is not installed")


@dataclass
class Scene:
    cluster: SimulatedCluster
    process: GitOpsProcess
    clock: LoopClock

    def controller(self, *, election: LeaderElection | None = None) -> GitOpsController:
        return GitOpsController(self.process, self.clock, election=election)

    def apply(self, *objects: Any, namespace: str = "argocd") -> None:
        self.cluster.apply(objects, namespace=namespace)

    def application(self, url: str) -> None:
        self.apply(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {"name": "web"},
                "spec": {
                    "project": "default",
                    "source": {"repoURL": url, "path": "deploy"},
                    "destination": {"name": "in-cluster", "namespace": "shop"},
                    "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
                },
            }
        )

    def data(self, name: str = "one") -> Any:
        return (self.cluster.read(CONFIG_MAPS, ObjectKey("shop", name)) or {}).get("data")

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110  # another task does it, and tells nobody
                await asyncio.sleep(0.02)


@asynccontextmanager
async def staged(tmp_path: Path, **settings: Any) -> AsyncIterator[Scene]:
    clock = LoopClock()
    backend = SimulatedCluster(clock, field_manager="user")
    backend.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("argocd", "shop")]
    )
    kubeconfig = tmp_path / "kubeconfig"
    chosen = GitOps(folder=tmp_path / "folder", protocols=frozenset({"file"}), **settings)
    async with serve(backend) as served:
        kubeconfig.write_text(served.kubeconfig())
        async with (
            await connect(str(kubeconfig)) as local,
            prepared(chosen, local, clock, CollectorRegistry()) as process,
        ):
            yield Scene(backend, process, clock)


@asynccontextmanager
async def running(controller: GitOpsController) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(controller.run())
    try:
        yield task
    finally:
        controller.stop()
        async with asyncio.timeout(15):
            await task


def repository(tmp_path: Path, **files: Any) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit({f"deploy/{name}.json": json.dumps(content) for name, content in files.items()})
    return made


@needs_git
async def test_it_applies_until_it_is_stopped_and_then_lets_go(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.application(repository(tmp_path, one=config_map("one")).url)
        controller = scene.controller()
        async with running(controller) as task:
            await scene.until(lambda: scene.data() == {"a": "1"})
            await scene.until(lambda: not controller.not_ready())
            controller.look()
            assert scene.process.troubles() == []
        assert task.done() and task.exception() is None
        assert (tmp_path / "folder" / "offline.db").exists()


@needs_git
async def test_one_that_does_not_hold_the_lease_writes_nothing_and_is_ready_to(tmp_path: Path) -> None:
    async with staged(tmp_path, offline=OfflineKind.NONE) as scene:
        scene.application(repository(tmp_path, one=config_map("one")).url)

        def election(identity: str) -> LeaderElection:
            key = ObjectKey("argocd", "lock")
            lease = LeaseSettings(key=key, identity=identity, duration=1.0, renew_deadline=0.6, retry=0.1)
            return LeaderElection(scene.cluster, scene.clock, lease)

        holder = election("holder")
        holding = asyncio.create_task(holder.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await scene.until(lambda: holder.is_leader)
        waiting = scene.controller(election=election("waiting"))
        async with running(waiting):
            await asyncio.sleep(0.5)
            assert scene.data() is None and waiting.not_ready() == []
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            await scene.until(lambda: scene.data() == {"a": "1"})


@needs_git
async def test_settings_that_change_hold_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.application(repository(tmp_path, one=config_map("one"), two=config_map("two")).url)
        excluded = "- {apiGroups: [''], kinds: [ConfigMap]}"
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}}
        scene.apply({**settings, "data": {"resource.exclusions": excluded}})
        async with running(scene.controller()):
            conditions: Callable[[], Any] = lambda: (  # noqa: E731
                (scene.cluster.read(APPLICATIONS, WEB) or {}).get("status", {}).get("conditions", [])
            )
            await scene.until(lambda: any(one["type"] == "ExcludedResourceWarning" for one in conditions()))
            assert scene.data() is None
            scene.apply({**settings, "data": {"resource.exclusions": "[]"}})
            await asyncio.sleep(0.3)
            refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
            await scene.cluster.as_manager("kubectl").patch(APPLICATIONS, WEB, MergePatch(refresh))
            await scene.until(lambda: scene.data() == {"a": "1"})


@needs_git
async def test_a_push_refreshes_whom_it_concerns(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret"}}
    polling = Polling(interval=timedelta(0))
    async with staged(tmp_path, polling=polling, webhooks=Webhooks(is_secret_required=True)) as scene:
        scene.application("https://git.example/shop/web.git")
        async with running(scene.controller()):
            annotations: Callable[[], Any] = lambda: (  # noqa: E731
                (scene.cluster.read(APPLICATIONS, WEB) or {})["metadata"].get("annotations") or {}
            )
            # From the first status on, the controller has seen the Application.
            await scene.until(lambda: bool((scene.cluster.read(APPLICATIONS, WEB) or {}).get("status")))
            payload = {"ref": "refs/heads/main", "repository": {"html_url": "https://git.example/shop/web"}}
            body = json.dumps(payload).encode()
            headers = {"x-github-event": "push"}
            assert scene.process.understand(headers, body).status == 401  # nobody has said how GitHub proves itself
            scene.apply({**secret, "stringData": {"webhook.gitlab.secret": "token"}})
            payload = {"ref": "refs/heads/main", "project": {"web_url": "https://git.example/shop/web"}}
            body = json.dumps(payload).encode()
            headers = {"x-gitlab-event": "Push Hook", "x-gitlab-token": "token"}
            await scene.until(lambda: scene.process.understand(headers, body).push is not None)
            assert scene.process.understand({**headers, "x-gitlab-token": "guess"}, body).status == 400
            asked: list[str] = []
            scene.cluster.on_commit(
                lambda verb, resource, old, new: asked.append(
                    ((new or {}).get("metadata", {}).get("annotations") or {}).get("argocd.argoproj.io/refresh", "")
                )
            )
            await scene.process.follow(scene.process.understand(headers, body).push)
            assert "normal" in asked
            await scene.until(lambda: not annotations())  # it was answered, if only by a failure


@pytest.mark.parametrize("mode", [0o777, 0o770], ids=["everybody", "the-group"])
async def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(OfflineError, match="expected a folder of our own"):
        async with staged(tmp_path):
            raise AssertionError("it must not start")
