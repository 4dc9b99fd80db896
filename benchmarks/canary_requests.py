"""What canaries cost the API server and the controller. Prints one JSON line; exits 1 if a count is not golden.

`python -m benchmarks.canary_requests [--rollouts 20] [--simulated] [--settle 0s]`

20 Rollouts of 2 replicas are updated at once: four (setWeight, pause 2 s) pairs, weights in an HTTPRoute each through
the `argoproj-labs/gatewayAPI` block, a kubelet that takes 1.2 s, Events on. Counted from the update until every old
ReplicaSet is gone (30 s after its traffic): on a real API server from its audit log, and in the simulation. `wall_s` is
the time until the last Rollout is healthy, `cpu_s_per_canary` and `pss_mib` are those of the controller's process.

The settle delay is 0 by default: Argo Rollouts, whose figures this is laid beside, does not wait for the data plane at
all. The wait for the acceptance of each route is measured along.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from benchmarks._rig import (
    FLAGS,
    KUBELET,
    SETTINGS,
    AuditLog,
    CountingCluster,
    Counts,
    all_stable,
    counted,
    create_all,
    old_gone,
    patch_all,
    rig,
)
from tests.controlplane.scenarios import pod_template, rollout, traffic
from tests.controlplane.stage import Stage, play_simulated

GOLDEN = Path(__file__).with_name("canary_requests.golden.json")
_PAIRS = [step for weight in (20, 40, 60, 80) for step in ({"setWeight": weight}, {"pause": {"duration": "2s"}})]
_QUIET_SECONDS = 15.0  # after the last change that anybody waits for: what is held back comes in this time


def documents(count: int, *, delay: int = 30) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for number in range(count):
        name = f"web-{number}"
        found += [*traffic(name), rollout(*_PAIRS, routed=True, name=name, scaleDownDelaySeconds=delay)]
    return found


async def prepare(stage: Stage, count: int, *, delay: int = 30) -> None:
    await create_all(stage, documents(count, delay=delay))
    await stage.until("all are healthy", lambda: all_stable(stage, count, revision=1), seconds=300.0)
    await asyncio.sleep(_QUIET_SECONDS)


async def update(stage: Stage, count: int) -> float:
    """Update all at once; return the seconds until the last one is healthy. Ends when all old pods are gone."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await patch_all(
        stage, (f"web-{n}" for n in range(count)), {"spec": {"template": {"spec": pod_template(2)["spec"]}}}
    )
    await stage.until("all are promoted", lambda: all_stable(stage, count, revision=2), seconds=600.0)
    wall = loop.time() - began
    await stage.until("all old pods are gone", lambda: old_gone(stage, count), seconds=300.0)
    await asyncio.sleep(_QUIET_SECONDS)
    return wall


def simulated(count: int, *, delay: int = 30) -> tuple[Counts, float]:
    """Return what the simulation counts, and its wall time (virtual)."""
    counting: list[CountingCluster] = []

    def around(cluster: Any) -> CountingCluster:
        counting.append(CountingCluster(cluster))
        return counting[0]

    async def story(stage: Stage) -> float:
        await prepare(stage, count, delay=delay)
        counting[0].calls.clear()
        return await update(stage, count)

    wall = play_simulated(story, settings=SETTINGS, kubelet=KUBELET, around=around)
    return counted(counting[0].calls), wall


async def real(count: int, flags: tuple[str, ...] = FLAGS, *, delay: int = 30) -> tuple[Counts, dict[str, float]]:
    """Return what the audit log of a real API server counts, and what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        async with rig(Path(folder), *flags) as found:
            stage = await found.place.stage("bench", poll_seconds=0.25)
            await prepare(stage, count, delay=delay)
            found.audit.skip()
            cpu = found.process.cpu_seconds()
            wall = await update(stage, count)
            measured = {
                "cpu_s_per_canary": round((found.process.cpu_seconds() - cpu) / count, 3),
                "wall_s": round(wall, 1),
                "pss_mib": round(found.process.pss_mib(), 1),
            }
            return AuditLog.counts(found.audit.entries()), measured


def figures(counts: Counts, count: int) -> dict[str, float]:
    return {
        "requests_per_canary": round((counts.total - counts.events) / count, 2),
        "reads_per_canary": round(counts.reads / count, 2),
        "writes_without_events": round(counts.writes / count, 2),
        "events": round(counts.events / count, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--simulated", action="store_true", help="count in the simulation only")
    parser.add_argument("--settle", default="0s", help="settle delay of the controller")
    parser.add_argument("--write", action="store_true", help="make what the simulation counts golden")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    count = options.rollouts
    counts, wall = simulated(count)
    line: dict[str, Any] = {"rollouts": count, "simulated": figures(counts, count) | {"wall_s": round(wall, 1)}}
    expected = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    line["simulated_requests"] = dict(counts.by_kind)
    if not options.simulated:
        started = time.monotonic()
        seen, measured = asyncio.run(real(count, (f"--settle={options.settle}", *FLAGS[1:])))
        line = {**figures(seen, count), **measured, **line, "requests": dict(seen.by_kind)}
        line["took_s"] = round(time.monotonic() - started)
    line["is_golden"] = expected.get(str(count)) == dict(counts.by_kind)
    if options.write:
        text = json.dumps(expected | {str(count): dict(counts.by_kind)}, indent=2)
        GOLDEN.write_text(text + "\n")
    print(json.dumps(line))
    return int(str(count) in expected and not line["is_golden"])


if __name__ == "__main__":
    sys.exit(main())
