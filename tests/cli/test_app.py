"""`fairlead app` against the embedded API: what a person sees, what is written, and the exit codes.

The test itself plays the controller's part where a command waits for one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fairlead.cli._app_access import APPLICATIONS, PROJECTS
from fairlead.cli._app_view import LIST_COLUMNS
from fairlead.cli.main import main
from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.custom import fairlead_crds
from fairlead.testing.http import serve

KEY = ObjectKey("argocd", "web")
COMMIT = "6d1b7c2f" + "0" * 32
SERVER = "https://kubernetes.default.svc"


def definition(kind: str, plural: str) -> dict[str, Any]:
    """Return a definition as Argo CD has it: without a status subresource."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


APPS = {
    "Deployment": carried("apps", "v1", "Deployment", "deployments"),
    "ReplicaSet": carried("apps", "v1", "ReplicaSet", "replicasets"),
}
WITH_STATUS = {**APPS, "Pod": carried("", "v1", "Pod", "pods")}
DEFINITIONS = [definition("Application", "applications"), definition("AppProject", "appprojects")]
RESOURCES: list[dict[str, Any]] = [
    {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "web",
        "status": "OutOfSync",
        "health": {"status": "Progressing", "message": "1 of 2"},
    },
    {
        "version": "v1",
        "kind": "Service",
        "namespace": "shop",
        "name": "web",
        "status": "Synced",
        "health": {"status": "Healthy"},
    },
    {
        "version": "v1",
        "kind": "ConfigMap",
        "namespace": "shop",
        "name": "old",
        "status": "OutOfSync",
        "requiresPruning": True,
    },
]


def application(name: str = "web", *, policy: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": "argocd", "labels": {"team": name}},
        "spec": {
            "project": "shop",
            "source": {"repoURL": "https://git.example.com/shop/web", "path": "deploy", "targetRevision": "main"},
            "destination": {"server": SERVER, "namespace": "shop"},
            **({"syncPolicy": policy} if policy is not None else {}),
        },
        "status": {
            "sync": {"status": "OutOfSync", "revision": COMMIT},
            "health": {"status": "Progressing", "message": "Caused by apps/Deployment:shop/web"},
            "resources": RESOURCES,
            **status,
        },
    }


@dataclass(frozen=True)
class Stage:
    cluster: SimulatedCluster
    kubeconfig: Path
    changed: asyncio.Event  # set by every write

    async def run(self, *words: str) -> Result:
        """Run a command as a person would; in a thread, since each has a loop of its own."""
        options = ("-n", "argocd", "--kubeconfig", str(self.kubeconfig))
        return await asyncio.to_thread(CliRunner().invoke, main, ["app", *words, *options])

    async def read(self) -> dict[str, Any]:
        return (await self.cluster.get(APPLICATIONS, KEY)).content

    async def write(self, body: dict[str, Any]) -> None:
        await self.cluster.patch(APPLICATIONS, KEY, MergePatch(body))

    async def eventually(self, question: Callable[[], Awaitable[bool]]) -> None:
        """Ask again after every write until the answer is yes."""
        async with asyncio.timeout(20):
            while not await question():
                self.changed.clear()
                await self.changed.wait()

    async def asked(self) -> dict[str, Any]:
        """Return the operation that a command asks for, as soon as it does."""

        async def is_there() -> bool:
            return "operation" in await self.read()

        await self.eventually(is_there)
        found: dict[str, Any] = (await self.read())["operation"]
        return found

    async def carry_out(self, phase: str = "Succeeded", **result: Any) -> dict[str, Any]:
        """Do what a controller does with the operation that a command asks for; return it."""
        operation = await self.asked()
        state = {"operation": operation, "phase": "Running", "startedAt": "2026-01-01T10:00:00Z"}
        await self.write({"status": {"operationState": state}})
        ended = {
            "phase": phase,
            "message": "well",
            "finishedAt": "2026-01-01T10:00:12Z",
            "syncResult": {"revision": COMMIT, **result},
        }
        await self.write({"status": {"operationState": ended}, "operation": None})
        return operation


async def put(cluster: SimulatedCluster, found: dict[str, Any]) -> None:
    """Create an object, its status too."""
    cluster.apply([found])
    if (kind := WITH_STATUS.get(found["kind"])) is not None:
        key = ObjectKey(found["metadata"]["namespace"], found["metadata"]["name"])
        await cluster.patch(kind, key, MergePatch({"status": found["status"]}), subresource="status")


@asynccontextmanager
async def staged(folder: Path, *objects: dict[str, Any]) -> AsyncIterator[Stage]:
    own = [one for one in fairlead_crds() if one["spec"]["names"]["kind"] not in ("Application", "AppProject")]
    cluster = SimulatedCluster(LoopClock(), seed=1, crds=[*own, *DEFINITIONS])
    changed = asyncio.Event()
    cluster.on_commit(lambda *_write: changed.set())
    for name in ("argocd", "shop"):
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    for one in objects:
        await put(cluster, one)
    async with serve(cluster) as api:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        yield Stage(cluster, kubeconfig, changed)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, application()) as found:
        yield found


# -- looking -----------------------------------------------------------------------------------------------------------


async def test_list(tmp_path: Path) -> None:
    automatic = {"automated": {"prune": True}}
    conditions = [{"type": "SyncError", "message": "x"}, {"type": "SyncError", "message": "y"}]
    async with staged(tmp_path, application(), application("api", policy=automatic, conditions=conditions)) as stage:
        lines = (await stage.run("list")).output.splitlines()
        chosen = await stage.run("list", "-l", "team=api", "-o", "name")
        data = json.loads((await stage.run("list", "-A", "-o", "json")).output)
        none = await stage.run("list", "-p", "other", "-o", "name")
    place = (SERVER, "shop", "shop", "OutOfSync", "Progressing")
    source = ("https://git.example.com/shop/web", "deploy", "main")
    assert [tuple(line.split()) for line in lines] == [
        LIST_COLUMNS,
        ("argocd/api", *place, "Auto-Prune", "SyncError(2)", *source),
        ("argocd/web", *place, "Manual", "<none>", *source),
    ]
    assert chosen.output == "argocd/api\n"
    assert [one["metadata"]["name"] for one in data] == ["api", "web"]
    assert (none.exit_code, none.output) == (0, "")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1-x", "namespace": "shop"},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


async def own(cluster: SimulatedCluster, kind: str, name: str, *dependents: dict[str, Any]) -> None:
    """Create objects that belong to one that is there: without an owner they would be collected."""
    owner = await cluster.get(APPS[kind], ObjectKey("shop", name))
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": owner.metadata.uid, "controller": True}
    for one in dependents:
        await put(cluster, {**one, "metadata": {**one["metadata"], "ownerReferences": [reference]}})


def replica_set(name: str, replicas: int) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": name}}, "spec": POD["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod},
        "status": {"replicas": replicas, "availableReplicas": replicas, "observedGeneration": 1},
    }


async def test_get(tmp_path: Path) -> None:
    state = {
        "phase": "Failed",
        "message": "one or more objects failed to apply",
        "startedAt": "2026-01-01T10:00:00Z",
        "finishedAt": "2026-01-01T10:00:12Z",
        "operation": {"sync": {"revision": COMMIT}},
        "syncResult": {
            "revision": COMMIT,
            "resources": [
                {
                    "version": "v1",
                    "kind": "Service",
                    "namespace": "shop",
                    "name": "web",
                    "status": "Synced",
                    "message": "service/web unchanged",
                },
                {
                    "group": "batch",
                    "version": "v1",
                    "kind": "Job",
                    "namespace": "shop",
                    "name": "migrate",
                    "hookType": "PreSync",
                    "hookPhase": "Failed",
                    "message": "limit",
                },
            ],
        },
    }
    conditions = [
        {"type": "SyncError", "message": "Failed last sync attempt", "lastTransitionTime": "2026-01-01T10:00:12Z"}
    ]
    app = application(policy={"automated": {"selfHeal": True}}, operationState=state, conditions=conditions)
    deployment = replica_set("web", 1) | {"kind": "Deployment"}
    async with staged(tmp_path, app, deployment) as stage:
        await own(stage.cluster, "Deployment", "web", replica_set("web-2", 1), replica_set("web-1", 0))
        await own(stage.cluster, "ReplicaSet", "web-2", POD)
        shown = await stage.run("get", "web")
        alone = await stage.run("get", "argocd/web", "--no-children")
        data = json.loads((await stage.run("get", "web", "-o", "json")).output)
    assert shown.exit_code == 0
    assert shown.output == (
        "Name:               argocd/web\n"
        "Project:            shop\n"
        f"Server:             {SERVER}\n"
        "Namespace:          shop\n"
        "Source:\n"
        "- Repo:             https://git.example.com/shop/web\n"
        "  Target:           main\n"
        "  Path:             deploy\n"
        "Sync Policy:        Automated (Self Heal)\n"
        "Sync Status:        OutOfSync from main (6d1b7c2)\n"
        "Health Status:      Progressing (Caused by apps/Deployment:shop/web)\n"
        "\n"
        "CONDITION  LAST TRANSITION       MESSAGE\n"
        "SyncError  2026-01-01T10:00:12Z  Failed last sync attempt\n"
        "\n"
        "Operation:          Sync\n"
        f"Sync Revision:      {COMMIT}\n"
        "Phase:              Failed\n"
        "Start:              2026-01-01 10:00:00+00:00\n"
        "Finished:           2026-01-01 10:00:12+00:00\n"
        "Duration:           12s\n"
        "Message:            one or more objects failed to apply\n"
        "\n"
        "NAME                         SYNC        HEALTH         MESSAGE\n"
        "⟳ argocd/web                 OutOfSync   ◌ Progressing\n"
        "├──ConfigMap shop/old        OutOfSync                  requires pruning\n"
        "├──Service shop/web          Synced      ✔ Healthy      service/web unchanged\n"
        "├──apps/Deployment shop/web  OutOfSync   ◌ Progressing  1 of 2\n"
        "│  └──ReplicaSet web-2                   ✔ Healthy\n"
        "│     └──Pod web-1-x                     ✔ Healthy\n"
        "└──batch/Job shop/migrate    Failed                     hook PreSync: limit\n"
    )
    assert "ReplicaSet" not in alone.output
    assert data["spec"]["source"]["path"] == "deploy"


async def test_get_says_what_the_windows_allow(tmp_path: Path) -> None:
    def project(**window: Any) -> dict[str, Any]:
        always = {"schedule": "* * * * *", "duration": "24h", "applications": ["*"], **window}
        metadata = {"name": "shop", "namespace": "argocd"}
        spec = {"syncWindows": [always]}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata, "spec": spec}

    async with staged(tmp_path, application(), project(kind="deny")) as stage:
        denied = await stage.run("get", "web")
        refused = await stage.run("sync", "web")
        await stage.cluster.patch(
            PROJECTS, ObjectKey("argocd", "shop"), MergePatch({"spec": project(kind="deny", manualSync=True)["spec"]})
        )
        manual = await stage.run("get", "web")
        await stage.cluster.patch(
            PROJECTS, ObjectKey("argocd", "shop"), MergePatch({"spec": project(kind="allow")["spec"]})
        )
        allowed = await stage.run("get", "web")
        assert "operation" not in await stage.read()
    assert "SyncWindow:         Sync Denied\n" in denied.output
    assert (refused.exit_code, refused.output) == (1, "Error: cannot sync: blocked by sync window\n")
    assert "SyncWindow:         Manual Allowed\n" in manual.output
    assert "SyncWindow:         Sync Allowed\n" in allowed.output


async def test_an_application_that_is_not_there(stage: Stage) -> None:
    for words in (("get", "none"), ("history", "none"), ("sync", "none"), ("wait", "none"), ("terminate", "none")):
        result = await stage.run(*words)
        assert result.exit_code == 1
        assert 'applications.argoproj.io "none" not found' in result.output


HISTORY = [
    {
        "id": 1,
        "revision": COMMIT,
        "deployedAt": "2026-01-01T10:00:00Z",
        "source": {"repoURL": "x", "targetRevision": "main"},
        "initiatedBy": {"username": "jo"},
    },
    {
        "id": 2,
        "revision": "v2",
        "deployedAt": "2026-01-02T10:00:00Z",
        "source": {"repoURL": "x", "targetRevision": "v2"},
        "initiatedBy": {"automated": True},
    },
]


async def test_history(tmp_path: Path) -> None:
    async with staged(tmp_path, application(history=HISTORY)) as stage:
        shown = (await stage.run("history", "web")).output.splitlines()
        numbers = (await stage.run("history", "web", "-o", "id")).output
        data = json.loads((await stage.run("history", "web", "-o", "json")).output)
    assert shown == [
        "ID  DATE                       REVISION        BY",
        "1   2026-01-01 10:00:00+00:00  main (6d1b7c2)  jo",
        "2   2026-01-02 10:00:00+00:00  v2              automated",
    ]
    assert numbers == "1\n2\n"
    assert data == HISTORY


# -- asking ------------------------------------------------------------------------------------------------------------


async def test_sync_waits_shows_progress_and_says_how_it_ended(stage: Stage) -> None:
    running = asyncio.create_task(stage.run("sync", "web", "--prune", "--timeout", "20"))
    results = [
        {
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
            "namespace": "shop",
            "name": "web",
            "status": "Synced",
            "message": "deployment.apps/web configured",
        }
    ]
    operation = await stage.carry_out(resources=results)
    result = await running
    assert operation["sync"]["prune"] is True
    assert operation["initiatedBy"] == {"username": "anyone"}  # as the embedded API calls everybody
    assert result.exit_code == 0, result.output
    assert result.output.startswith("TIMESTAMP ")
    assert "deployment.apps/web configured" in result.output
    assert "Phase:              Succeeded\n" in result.output


async def test_sync_that_fails_is_exit_code_1(stage: Stage) -> None:
    running = asyncio.create_task(stage.run("sync", "web"))
    await stage.carry_out("Failed")
    result = await running
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        1,
        "Error: Operation has completed with phase: Failed",
    )


async def test_sync_that_leaves_something_to_prune_is_exit_code_1(stage: Stage) -> None:
    running = asyncio.create_task(stage.run("sync", "web", "-o", "json"))
    left = {"version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "old", "status": "PruneSkipped"}
    await stage.carry_out(resources=[left])
    result = await running
    assert (result.exit_code, result.stderr) == (1, "Error: 1 resources require pruning\n")
    assert json.loads(result.stdout)["status"]["operationState"]["phase"] == "Succeeded"


async def test_sync_of_single_resources(stage: Stage) -> None:
    result = await stage.run("sync", "web", "--async", "--dry-run", "--force", "--resource", "*:*:shop/web")
    assert (result.exit_code, result.output) == (0, "application 'web' sync requested\n")
    asked = (await stage.asked())["sync"]
    assert asked["resources"] == [
        {"group": "apps", "kind": "Deployment", "name": "web", "namespace": "shop"},
        {"group": "", "kind": "Service", "name": "web", "namespace": "shop"},
    ]
    assert (asked["dryRun"], asked["syncStrategy"]) == (True, {"hook": {"force": True}})


async def test_sync_is_refused_while_an_operation_is_present(stage: Stage) -> None:
    await stage.write({"operation": {"sync": {"revision": "v1"}}})
    for words in (("sync", "web"), ("rollback", "web", "1")):
        result = await stage.run(*words)
        assert (result.exit_code, result.output) == (1, "Error: another operation is already in progress\n")
    assert (await stage.read())["operation"] == {"sync": {"revision": "v1"}}


async def test_sync_gives_up_after_its_timeout(stage: Stage) -> None:
    result = await stage.run("sync", "web", "--timeout", "300ms")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == 'Error: timed out (0.3s) waiting for app "web" match desired state'
    assert (await stage.run("sync", "web", "--timeout", "soon")).exit_code == 2


async def test_a_request_keeps_the_status_that_was_written_meanwhile(stage: Stage) -> None:
    """Trap 1: status is no subresource; a stale copy written back would erase it."""
    await stage.run("sync", "web", "--async")
    found = await stage.read()
    assert found["status"]["resources"] == RESOURCES
    assert found["status"]["sync"] == {"status": "OutOfSync", "revision": COMMIT}


async def test_rollback(tmp_path: Path) -> None:
    async with staged(tmp_path, application(history=HISTORY)) as stage:
        running = asyncio.create_task(stage.run("rollback", "web", "--prune"))
        operation = await stage.carry_out()
        result = await running
        assert result.exit_code == 0, result.output
        assert operation["sync"] == {
            "revision": COMMIT,
            "source": HISTORY[0]["source"],
            "prune": True,
            "syncStrategy": {"apply": {}},
        }
        await stage.write({"spec": {"syncPolicy": {"automated": {}}}})
        refused = await stage.run("rollback", "web", "1")
    assert refused.output == "Error: rollback cannot be initiated when auto-sync is enabled\n"


async def test_terminate(stage: Stage) -> None:
    nothing = await stage.run("terminate", "web")
    assert nothing.output == "Error: Unable to terminate operation. No operation is in progress\n"
    await stage.write({"operation": {"sync": {}}, "status": {"operationState": {"phase": "Running", "message": "m"}}})
    result = await stage.run("terminate", "web")
    assert (result.exit_code, result.output) == (0, "application 'web' operation terminating\n")
    assert (await stage.read())["status"]["operationState"] == {"phase": "Terminating", "message": "m"}


@pytest.mark.parametrize(("options", "word"), [((), "normal"), (("--hard",), "hard")])
async def test_refresh_waits_for_the_comparison(stage: Stage, options: tuple[str, ...], word: str) -> None:
    annotation = "argocd.argoproj.io/refresh"

    async def is_asked() -> bool:
        annotations = (await stage.read())["metadata"].get("annotations", {})
        return bool(annotations.get(annotation) == word)

    running = asyncio.create_task(stage.run("refresh", "web", *options, "--timeout", "20s"))
    await stage.eventually(is_asked)
    compared = {"status": {"sync": {"status": "Synced"}}, "metadata": {"annotations": {annotation: None}}}
    await stage.write(compared)
    result = await running
    assert (result.exit_code, result.output) == (0, "application 'web' refreshed: Synced, Progressing\n")


async def test_wait_for_health(stage: Stage) -> None:
    running = asyncio.create_task(stage.run("wait", "web", "--health", "--timeout", "20"))
    await stage.write({"status": {"health": {"status": "Healthy"}}})
    result = await running
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "argocd/web: OutOfSync, Healthy"


async def test_wait_wants_everything_by_default(stage: Stage) -> None:
    await stage.write({"status": {"health": {"status": "Healthy"}}, "operation": {"sync": {}}})
    assert (await stage.run("wait", "web", "--timeout", "200ms")).exit_code == 1
    await stage.write({"status": {"sync": {"status": "Synced"}}})
    assert (await stage.run("wait", "web", "--timeout", "200ms")).exit_code == 1
    assert (await stage.run("wait", "web", "--sync", "--timeout", "5s")).exit_code == 0
    await stage.write({"operation": None})
    assert (await stage.run("wait", "web", "--timeout", "5s")).exit_code == 0


async def test_wait_ends_when_a_resource_becomes_worse(stage: Stage) -> None:
    running = asyncio.create_task(stage.run("wait", "web", "--health", "--timeout", "20"))
    worse = [{**RESOURCES[0], "health": {"status": "Degraded"}}, *RESOURCES[1:]]

    async def break_it() -> None:
        # Not before the command has seen how it was.
        while not running.done():
            await stage.write({"status": {"resources": RESOURCES}})
            await asyncio.sleep(0.2)
            await stage.write({"status": {"resources": worse}})
            await asyncio.sleep(0.2)

    await break_it()
    result = await running
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        "Error: application 'web' health state has transitioned from Progressing to Degraded"
    )


async def test_names_are_completed(stage: Stage) -> None:
    import click

    from fairlead.cli._app_access import complete_names

    def names(begun: str, **given: str) -> list[str]:
        context = click.Context(click.Command("get"))
        context.params = {"kubeconfig": str(stage.kubeconfig), "namespace": "argocd", **given}
        return complete_names(context, click.Argument(["name"]), begun)

    assert await asyncio.to_thread(names, "w") == ["web"]
    assert await asyncio.to_thread(names, "x") == []
    assert await asyncio.to_thread(lambda: names("w", kubeconfig="/nowhere")) == []


@pytest.mark.parametrize(
    "command", ["list", "get", "diff", "history", "sync", "rollback", "terminate", "refresh", "wait"]
)
def test_help_has_examples(command: str) -> None:
    result = CliRunner().invoke(main, ["app", command, "--help"])
    assert result.exit_code == 0
    assert f"  fairlead app {command} " in result.output or f"  fairlead app {command}\n" in result.output
