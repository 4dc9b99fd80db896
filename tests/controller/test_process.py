"""The controller as the process that an operator runs: logs, probes, metrics, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fairlead.core.kinds import LEASES, ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.controller.stage import NAMESPACE, rollout

TOKEN = "planted-token-9f3c"
SERIES = (
    'rollout_info{name="web",namespace="default",phase="Progressing",strategy="canary"',
    'rollout_info_replicas_desired{name="web",namespace="default"} 1.0',
    "rollout_reconcile_count",
    "analysis_run_reconcile_bucket",
    'rollout_events_total{reason="RolloutUpdated",type="Normal"}',
    "controller_clientset_k8s_request_total",
    "argo_rollouts_controller_info",
)


@dataclass
class Running:
    """A controller process, and what it has said so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self.text += raw.decode()
            self.lines.append(json.loads(raw))
            self._changed.set()

    async def said(self, event: str) -> dict[str, Any]:
        """Return the first line of that event."""
        async with asyncio.timeout(60):
            while not (found := [one for one in self.lines if one["event"] == event]):
                self._changed.clear()
                await self._changed.wait()
        return found[0]


@asynccontextmanager
async def controller(kubeconfig: Path, *options: str) -> AsyncIterator[Running]:
    """Run `fairlead controller` on ports that are free."""
    words = ("-m", "fairlead.cli.main", "controller", "--kubeconfig", str(kubeconfig))
    ports = ("--host", "127.0.0.1", "--healthzPort", "0", "--metricsPort", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        *ports,
        *options,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "POD_NAMESPACE": ""},
    )
    running = Running(process)
    reading = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@asynccontextmanager
async def api(folder: Path) -> AsyncIterator[tuple[SimulatedCluster, Path]]:
    """The embedded API, and a kubeconfig with a token for it."""
    cluster = SimulatedCluster(LoopClock())
    async with serve(cluster) as served:
        content = json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "clusters": [{"name": "here", "cluster": {"server": served.url}}],
                "users": [{"name": "me", "user": {"token": TOKEN}}],
            }
        )
        path = folder / "kubeconfig"
        path.write_text(content, encoding="utf-8")
        yield cluster, path


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def eventually(cluster: SimulatedCluster, holds: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    cluster.on_commit(lambda *_write: changed.set())
    async with asyncio.timeout(60):
        while not holds():
            changed.clear()
            await changed.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_it_works_tells_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        api(tmp_path) as (cluster, kubeconfig),
        controller(kubeconfig, "--leader-election-namespace", "default") as running,
    ):
        cluster.apply([rollout("web")])
        started = await running.said("controller_started")
        assert started["namespace"] == "(all)"
        await running.said("leadership_acquired")
        await eventually(
            cluster, lambda: bool((cluster.read(ROLLOUTS, ObjectKey(NAMESPACE, "web")) or {}).get("status"))
        )
        assert await get(started["health_port"], "/healthz") == (200, "ok")
        assert await get(started["health_port"], "/readyz") == (200, "ok")
        status, text = await get(started["metrics_port"], "/metrics")
        assert status == 200
        assert [series for series in SERIES if series not in text] == [], text

        lease = ObjectKey("default", "argo-rollouts-controller-lock")
        assert (cluster.read(LEASES, lease) or {})["spec"]["holderIdentity"]
        running.process.send_signal(number)
        async with asyncio.timeout(30):
            assert await running.process.wait() == 0
        assert not (cluster.read(LEASES, lease) or {})["spec"].get("holderIdentity")  # the next one need not wait
    assert [one["event"] for one in running.lines[-3:]] == [
        "controller_stopping",
        "leadership_released",
        "controller_stopped",
    ]
    assert {"event", "level", "timestamp"} <= running.lines[0].keys()
    assert TOKEN not in running.text
    assert not [one for one in running.lines if one["level"] == "error"]


async def test_without_an_api_server_it_lives_is_not_ready_and_stops(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    async with api(tmp_path):
        content = kubeconfig.read_text(encoding="utf-8")
    kubeconfig.write_text(content, encoding="utf-8")  # nobody listens there any more
    async with controller(kubeconfig, "--no-leader-elect") as running:
        started = await running.said("controller_started")
        assert (await get(started["health_port"], "/healthz"))[0] == 200
        status, text = await get(started["health_port"], "/readyz")
        assert status == 500
        assert "rollouts.argoproj.io" in text or "the caches are being filled" in text
        running.process.terminate()
        async with asyncio.timeout(30):
            assert await running.process.wait() == 0
    assert TOKEN not in running.text


async def test_a_wrong_option_is_wrong_usage(tmp_path: Path) -> None:
    words = ("-m", "fairlead.cli.main", "controller", "--leader-election-retry-period", "20s")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stderr=asyncio.subprocess.PIPE, env={**os.environ, "HOME": str(tmp_path)}
    )
    _, text = await process.communicate()
    assert process.returncode == 2
    assert b"expected retry period < renew deadline < lease duration" in text
