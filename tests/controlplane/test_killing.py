"""The real controller process, killed, stopped and led through trouble, before a real API server.

Every write of every scenario: `python -m tests.controlplane.kill_matrix`. Here every sixth, and all of them in CI.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.kinds import LEASES
from tests.controlplane.history import recorded, violations
from tests.controlplane.kill_matrix import matrix
from tests.controlplane.killing import WEIGHTS, run_killed, run_troubled
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.proxy import Call, Proxy, Trouble, proxied
from tests.controlplane.scenarios import NAME, SCENARIOS, differences, end_state
from tests.controlplane.stage import Stage, Theatre, theatre

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(600)]

HAPPY = SCENARIOS["happy"]
_ELECTION = (
    "--settle=200ms",
    "--drain=300ms",
    "--leader-election-lease-duration=3s",
    "--leader-election-renew-deadline=2s",
    "--leader-election-retry-period=500ms",
)


async def test_killed_after_a_write_everything_ends_alike(control_plane: ControlPlane, tmp_path: Path) -> None:
    stride = 1 if os.environ.get("CI") == "true" else 6
    rows = await matrix(control_plane, tmp_path, stride=stride, at_once=6)
    assert {row.scenario: row.bad for row in rows} == {row.scenario: {} for row in rows}
    assert all(row.writes > 10 and row.killed for row in rows)


def _now_and_then(*troubles: Trouble, seed: int, share: float) -> Callable[[Call], Trouble | None]:
    """Return trouble for a share of all calls, drawn from a seed. Watches get none but to break."""
    rng = random.Random(seed)

    def trouble(call: Call) -> Trouble | None:
        return rng.choice(troubles) if call.verb != "watch" and rng.random() < share else None

    return trouble


def _silent(call: Call) -> Trouble | None:
    """Return trouble for every watch: nothing comes on it, until its connection breaks and it is opened anew."""
    return Trouble.HALF_OPEN if call.verb == "watch" else None


_TROUBLES = {
    "server-errors": _now_and_then(Trouble.ERROR_500, Trouble.ERROR_503, seed=1, share=0.3),
    "throttled": _now_and_then(Trouble.THROTTLED, seed=2, share=0.3),
    "silent-watches": _silent,
    "resets": _now_and_then(Trouble.RESET, Trouble.RESET_AFTER, seed=3, share=0.3),
}


async def test_trouble_on_the_way_changes_nothing_in_the_end(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with theatre(control_plane) as place:

        def making(name: str) -> Callable[[Proxy], object]:
            return lambda proxy: setattr(proxy, "trouble", _TROUBLES[name])

        reference, *runs = await asyncio.gather(
            run_killed(HAPPY, place, tmp_path, None),
            *(run_troubled(HAPPY, place, tmp_path, making(name)) for name in _TROUBLES),
        )
    for name, run in zip(_TROUBLES, runs, strict=True):
        assert [*run.unlike(reference), *run.broken] == [], name


async def test_the_api_server_is_restarted(control_plane: ControlPlane, tmp_path: Path) -> None:
    """It is away for two seconds while an update is under way; whoever waits for it goes on afterwards."""
    restarts: list[asyncio.Task[None]] = []

    def restart(proxy: Proxy) -> None:
        work = asyncio.to_thread(control_plane.restart_api_server, away_seconds=2.0)
        restarts.append(asyncio.create_task(_after(3, proxy, work)))

    async with theatre(control_plane) as place:
        reference = await run_killed(HAPPY, place, tmp_path, None)
        run = await run_troubled(HAPPY, place, tmp_path, restart)
        await asyncio.gather(*restarts)
    assert [*run.unlike(reference), *run.broken] == []


async def _after(count: int, proxy: Proxy, work: Coroutine[Any, Any, None]) -> None:
    before = len(proxy.decisions)
    await _until(lambda: len(proxy.decisions) >= before + count)
    await work


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within a minute")


class _Standstill:
    """Stops a process in the middle of a write, which reaches the server when another process has taken over."""

    def __init__(self, first: ControllerProcess, second: Proxy) -> None:
        self._first = first
        self._second = second
        self.held: Call | None = None

    async def before(self, call: Call) -> None:
        if self.held is not None or call.resource != "httproutes" or not call.is_decision:
            return
        self.held = call
        self._first.signal(signal.SIGSTOP)
        await _until(lambda: any(done.resource == "httproutes" for done in self._second.decisions))


async def _holder(stage: Stage) -> str:
    lease = await stage.read(LEASES, "argo-rollouts-controller-lock")
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


async def test_stopped_for_longer_than_the_lease_it_writes_nothing_more(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with theatre(control_plane) as place:
        reference = await run_killed(HAPPY, place, tmp_path, None)
        await _stopped(place, tmp_path, reference.end)


async def _stopped(place: Theatre, folder: Path, expected: dict[str, object]) -> None:
    stage = await place.stage("stopped")
    flags = ("--namespaced", f"--namespace={stage.namespace}", f"--leader-election-namespace={stage.namespace}")
    async with (
        recorded(stage) as history,
        proxied(place.plane, "fairlead", folder, "first") as one,
        proxied(place.plane, "fairlead", folder, "second") as two,
    ):
        first = ControllerProcess(one.kubeconfig, *flags, *_ELECTION, log=folder / "first.log")
        second = ControllerProcess(two.kubeconfig, *flags, *_ELECTION, log=folder / "second.log")
        first.start()
        try:
            await HAPPY.prepare(stage)
            leader = await _holder(stage)
            second.start()
            standstill = _Standstill(first, two)
            one.before = standstill.before
            playing = asyncio.ensure_future(HAPPY.play(stage))
            await stage.until("the second leads", lambda: _is_other(stage, leader))
            done_before = len(one.decisions)
            await stage.until("the second has moved the weight", lambda: _has_written(two))
            await _until(lambda: standstill.held in [call for call, _ in one.refused])
            late = [code for call, code in one.refused if call == standstill.held]
            first.signal(signal.SIGCONT)
            await playing
            assert differences(expected, await end_state(stage)) == []
            assert len(one.decisions) == done_before, "what it was about to write when it was stopped was refused"
            assert late in ([409], [422])  # the version that it was decided on is no more; 422: of a JSON patch
            assert await first.terminate() == 0  # it has noticed by itself, and waits for the lease
            assert await second.terminate() == 0
        except AssertionError as error:
            error.add_note(f"first:\n{first.tail()}\nsecond:\n{second.tail()}")
            raise
        finally:
            for process in (first, second):
                await process.kill()
    assert list(violations(history.sorted(), name=NAME, weights=WEIGHTS)) == []


async def _is_other(stage: Stage, leader: str) -> bool:
    return await _holder(stage) not in ("", leader)


async def _has_written(proxy: Proxy) -> bool:
    return any(call.resource == "httproutes" for call in proxy.decisions)
