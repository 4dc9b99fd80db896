"""What a person starts: a control plane with everything on it, and the fake kubelet alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.cluster import Cluster
from fairlead.core.errors import NotFound
from fairlead.core.kinds import CRDS
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from tests.children import bound
from tests.controlplane.plane import ControlPlane
from tests.controlplane.stage import NODES, PODS, Stage, definitions

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]}}


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[Process]:
    """Run a program of this repository; it must end well when it is asked to."""
    process = await asyncio.create_subprocess_exec(
        *bound([sys.executable, *command]), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def is_ready(found: Mapping[str, Any]) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_private(path: str) -> bool:
    return Path(path).stat().st_mode & 0o077 == 0


async def becomes_ready(kubeconfig: str, namespace: str) -> None:
    """Create a pod, and see it become ready without anybody running it."""
    async with await connect(kubeconfig, field_manager="user") as cluster:
        stage = Stage(cluster=cluster, namespace=namespace)

        async def pod_is_ready() -> bool:
            return is_ready(await stage.read(PODS, "web"))

        await cluster.create(PODS, POD, namespace=namespace)
        await stage.until("the pod is ready", pod_is_ready)
        await cluster.delete(PODS, stage.key("web"), grace_period_seconds=0)


async def test_up_gives_a_person_a_cluster_with_everything_on_it(control_plane: ControlPlane) -> None:
    """The fixture only tells whether there can be one here."""
    async with running("-m", "tests.controlplane", "up") as process:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 120)).decode()
        prefix = "export KUBECONFIG="
        assert line.startswith(prefix)
        kubeconfig = line.removeprefix(prefix).strip()
        assert is_private(kubeconfig), "it holds a token"
        async with await connect(kubeconfig) as cluster:
            nodes = (await cluster.list(NODES)).items
            assert len(nodes) == 3
            assert all(is_ready(node.content) for node in nodes)
            for wanted in definitions():
                await cluster.get(CRDS, ObjectKey("", wanted["metadata"]["name"]))
        await becomes_ready(kubeconfig, "default")
    assert not Path(kubeconfig).parent.exists(), "nothing of it stays behind"


async def test_the_kubelet_runs_alone_against_any_cluster(control_plane: ControlPlane) -> None:
    node = f"node-alone-{os.getpid()}"
    kubeconfig = str(control_plane.kubeconfig_for("kubelet"))
    arguments = ("-m", "fairlead.controller.testing_cli", "kubelet", f"--kubeconfig={kubeconfig}", f"--node={node}")
    async with await connect(str(control_plane.kubeconfig)) as cluster:
        try:
            async with running(*arguments):
                stage = Stage(cluster=cluster, namespace="default")
                await stage.until("the node is open", lambda: node_is_open(cluster, node))
                await becomes_ready(kubeconfig, "default")
        finally:
            await cluster.delete(NODES, ObjectKey("", node))


async def node_is_open(cluster: Cluster, name: str) -> bool:
    """Return whether the scheduler may bind pods to a node."""
    try:
        found = (await cluster.get(NODES, ObjectKey("", name))).content
    except NotFound:
        return False
    return is_ready(found) and not (found.get("spec") or {}).get("taints")
