"""One scenario, with the controller killed after one of its writes, or led through other trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.controlplane.history import recorded, violations
from tests.controlplane.process import ControllerProcess
from tests.controlplane.proxy import Call, Proxy, proxied
from tests.controlplane.scenarios import NAME, Scenario, differences, end_state
from tests.controlplane.stage import Theatre

FLAGS = ("--settle=200ms", "--drain=300ms", "--no-leader-elect")
WEIGHTS = frozenset({0, 50, 80, 100})


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of it.

    Attributes:
        decisions: the controller's writes since its first revision was healthy, Events and leases left out.
        killed_after: the write that it was killed after; None: it was not.
        created: how many objects of each kind came to be.
        broken: which invariants did not hold, and when.
    """

    scenario: str
    end: dict[str, Any]
    decisions: Sequence[Call]
    created: dict[str, int]
    broken: Sequence[str]
    killed_after: Call | None = None
    starts: int = 1

    def unlike(self, reference: Run) -> list[str]:
        """Return how this run ended otherwise than an undisturbed one."""
        counts = [
            f"{kind}: {self.created.get(kind, 0)} created instead of {count}"
            for kind, count in reference.created.items()
            if self.created.get(kind, 0) != count
        ]
        return [*differences(reference.end, self.end), *counts]


@dataclass(kw_only=True)
class Killer:
    """Kills and restarts a controller after the k-th decision from when it is armed."""

    process: ControllerProcess
    proxy: Proxy
    k: int | None
    is_armed: bool = False
    seen: list[Call] = field(default_factory=list)
    killed_after: Call | None = None
    _restart: asyncio.Task[None] | None = None

    async def on_commit(self, call: Call) -> None:
        if not self.is_armed or not call.is_decision:
            return
        self.seen.append(call)
        if len(self.seen) == self.k:
            self.killed_after = call
            # A task of its own: the call that brought us here ends with the process that made it.
            self._restart = asyncio.create_task(self._kill())
            await asyncio.shield(self._restart)

    async def _kill(self) -> None:
        await self.process.kill()
        self.process.start()


async def run_killed(scenario: Scenario, place: Theatre, folder: Path, k: int | None, *, whole: bool = False) -> Run:
    """Play a scenario and kill the controller after its k-th decision, before it hears of it; None: do not.

    Args:
        whole: count from the creation of the Rollout on, not from when its first revision is healthy.
    """
    return await _run(scenario, place, folder, k=k, whole=whole)


async def run_troubled(
    scenario: Scenario, place: Theatre, folder: Path, trouble: Callable[[Proxy], object] = lambda proxy: None
) -> Run:
    """Play a scenario behind a proxy that makes trouble, once the first revision is healthy."""
    return await _run(scenario, place, folder, k=None, trouble=trouble)


async def _run(
    scenario: Scenario,
    place: Theatre,
    folder: Path,
    *,
    k: int | None,
    whole: bool = False,
    trouble: Callable[[Proxy], object] = lambda proxy: None,
) -> Run:
    stage = await place.stage(scenario.name, poll_seconds=0.1)
    async with recorded(stage) as history, proxied(place.plane, "fairlead", folder, stage.namespace) as proxy:
        log = folder / f"{stage.namespace}.log"
        process = ControllerProcess(proxy.kubeconfig, "--namespaced", f"--namespace={stage.namespace}", *FLAGS, log=log)
        killer = Killer(process=process, proxy=proxy, k=k, is_armed=whole)
        proxy.on_commit = killer.on_commit
        process.start()
        try:
            await scenario.prepare(stage)
            killer.is_armed = True
            trouble(proxy)
            await scenario.play(stage)
            end = await end_state(stage)
        except AssertionError as error:
            error.add_note(f"{scenario.name}, killed after write {k}: {killer.killed_after}\n{process.tail()}")
            raise
        finally:
            await process.kill()
    return Run(
        scenario=scenario.name,
        end=end,
        decisions=killer.seen,
        created=dict(history.created()),
        broken=list(violations(history.sorted(), name=NAME, weights=WEIGHTS)),
        killed_after=killer.killed_after,
        starts=process.starts,
    )
