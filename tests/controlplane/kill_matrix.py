"""Kill the controller after every single write of the canary scenarios, on a real control plane.

    python -m tests.controlplane.kill_matrix [--stride N] [--at-once N] [SCENARIO ...]

Each run has a namespace, a controller process and a proxy of its own. The process gets SIGKILL when the API server has
carried out its k-th write and before it hears of it, and is started again. Everything must end as without the kill,
nothing may be created twice, and no stored state may break an invariant. Prints one line per scenario.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.controller import logs
from tests.controlplane.killing import Run, run_killed
from tests.controlplane.plane import ControlPlane, found_or_started
from tests.controlplane.scenarios import SCENARIOS
from tests.controlplane.stage import theatre

KILLED = ("happy", "abort-verdict", "rollback")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scenario of the matrix.

    Attributes:
        writes: how many decisions the undisturbed run has, that is how many kills there may be.
        killed: at which of them it was killed.
        bad: what went wrong, by kill.
    """

    scenario: str
    writes: int
    killed: Sequence[int]
    bad: dict[str, list[str]]

    def __str__(self) -> str:
        outcome = f"{len(self.bad)} ended otherwise" if self.bad else "all ended alike, no invariant broken"
        return f"{self.scenario}: {self.writes} writes, killed after {len(self.killed)} of them: {outcome}"


async def matrix(
    plane: ControlPlane, folder: Path, scenarios: Sequence[str] = KILLED, *, stride: int = 1, at_once: int = 8
) -> list[Row]:
    """Return what came of killing after every `stride`-th write."""
    limit = asyncio.Semaphore(at_once)
    async with theatre(plane) as place:

        async def one(name: str, k: int | None) -> Run:
            async with limit:
                return await run_killed(SCENARIOS[name], place, folder, k, whole=name == KILLED[0])

        references = await asyncio.gather(*(one(name, None) for name in scenarios))
        # Starting within the stride at another place in each scenario covers more of what they have in common.
        plan = {
            run.scenario: range(1 + index % stride, len(run.decisions) + 1, stride)
            for index, run in enumerate(references)
        }
        killed = await asyncio.gather(*(one(name, k) for name, ks in plan.items() for k in ks))
    rows = []
    for reference in references:
        bad = {"undisturbed": list(reference.broken)} if reference.broken else {}
        runs = [run for run in killed if run.scenario == reference.scenario]
        for k, run in zip(plan[reference.scenario], runs, strict=True):
            problems = [*run.unlike(reference), *run.broken]
            if run.starts != 2:
                problems.append(f"started {run.starts} times")
            if problems:
                bad[f"write {k} ({run.killed_after})"] = problems
        rows.append(
            Row(
                scenario=reference.scenario,
                writes=len(reference.decisions),
                killed=plan[reference.scenario],
                bad=bad,
            )
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: " + ", ".join(KILLED))
    parser.add_argument("--stride", type=int, default=1, help="kill after every N-th write only")
    parser.add_argument("--at-once", type=int, default=8, help="how many runs side by side")
    options = parser.parse_args()
    logs.configure(level="error", json=False)
    began = time.monotonic()
    with found_or_started() as plane, tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(
            matrix(plane, Path(folder), options.scenarios or KILLED, stride=options.stride, at_once=options.at_once)
        )
    lines = []
    for row in rows:
        lines.append(str(row))
        lines += [f"  {kill}: {problem}" for kill, problems in row.bad.items() for problem in problems]
    lines.append(f"{sum(len(row.killed) for row in rows)} kills in {time.monotonic() - began:.0f} s")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(row.bad for row in rows))


if __name__ == "__main__":
    sys.exit(main())
