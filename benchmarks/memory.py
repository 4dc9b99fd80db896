"""What finished Rollouts cost a controller that has nothing to do. Prints one JSON line.

`python -m benchmarks.memory [--rollouts 1000] [--idle 60]`

On a real control plane so many Rollouts are deployed and updated once; each then owns two ReplicaSets (one of them with
a pod), and has three Services and a route. Measured are, of the controller's process:

- `base_mib`: its proportional set size with no Rollout at all, `finished_mib` with all of them after the quiet time, in
  the process that did the work and (`restarted_mib`) in one that was started afterwards; `slope_mib`: what 1,000 of
  them add to a process that was started afterwards, `worked_slope_mib`: to the one that did the work;
- `idle_requests`: its requests in `--idle` seconds once all Events are told (`events_told_s`: how long that took after
  the last Rollout was done), watches and leases left out, and per object and hour;
- `start_s`: from its start on all of them until it is ready; `start_requests`: lists and watches until then,
  `start_writes`: everything that it wrote in the 15 s after.
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

from benchmarks._rig import FLAGS, AuditLog, Rig, all_stable, create_all, old_gone, patch_all, rig
from fairlead.testing.kubelet import KubeletSettings
from tests.controlplane.scenarios import pod_template, rollout, traffic
from tests.controlplane.stage import Stage

_KUBELET = KubeletSettings(start_seconds=(0.05, 0.1), ready_seconds_min=0.3, stop_seconds=(0.05, 0.1), workers=16)
_QUIET_SECONDS = 20.0
_EVENTS_SECONDS_MAX = 900.0
_BATCH = 100  # at a time, so that nothing waits for the built-in controllers longer than it must


async def finish(stage: Stage, count: int) -> None:
    """Deploy Rollouts and update each once."""
    for first in range(0, count, _BATCH):
        names = [f"web-{number}" for number in range(first, min(count, first + _BATCH))]
        documents: list[Mapping[str, Any]] = []
        for name in names:
            documents += [*traffic(name), rollout({"setWeight": 50}, routed=True, name=name, replicas=1)]
        await create_all(stage, documents)
        done = first + len(names)
        await stage.until("deployed", lambda done=done: _deployed(stage, done), seconds=600.0)  # type: ignore[misc]
        await patch_all(stage, names, {"spec": {"template": {"spec": pod_template(2)["spec"]}}})
        await stage.until("updated", lambda done=done: all_stable(stage, done, revision=2), seconds=600.0)  # type: ignore[misc]
    await stage.until("all old pods are gone", lambda: old_gone(stage, count), seconds=600.0)


async def _deployed(stage: Stage, count: int) -> bool:
    from tests.controlplane.stage import ROLLOUTS

    found = await stage.list(ROLLOUTS)
    return len(found) == count and all((one.get("status") or {}).get("phase") == "Healthy" for one in found)


async def _events_told(audit: AuditLog) -> float:
    """Wait until the controller has asked for nothing for a while; return how long it had something to say."""
    began = last = time.monotonic()
    audit.skip()
    while time.monotonic() < last + _QUIET_SECONDS:
        await asyncio.sleep(1.0)
        if AuditLog.counts(audit.entries()).total:
            last = time.monotonic()
        if last > began + _EVENTS_SECONDS_MAX:
            raise RuntimeError(f"requests do not end within {_EVENTS_SECONDS_MAX:.0f} s")
    return last - began


async def measure(found: Rig, count: int, idle: float) -> dict[str, Any]:
    process, audit = found.process, found.audit
    await asyncio.sleep(5)
    base = process.pss_mib()
    stage = await found.place.stage("memory", poll_seconds=3.0)
    await finish(stage, count)
    events_told = await _events_told(audit)
    cpu = process.cpu_seconds()
    await asyncio.sleep(idle)
    idle_counts = AuditLog.counts(audit.entries())
    idle_cpu = process.cpu_seconds() - cpu
    worked = process.pss_mib()
    process.stop()
    audit.skip()
    began = time.monotonic()
    process.start()
    await process.ready()
    start = time.monotonic() - began
    await asyncio.sleep(1.0)  # the audit log is written behind the answers
    opened = [entry for entry in audit.entries() if entry["verb"] in ("list", "watch", "get")]
    await asyncio.sleep(_QUIET_SECONDS)
    written = AuditLog.counts(audit.entries())
    restarted = process.pss_mib()
    return {
        "rollouts": count,
        "base_mib": round(base, 1),
        "finished_mib": round(worked, 1),
        "restarted_mib": round(restarted, 1),
        "worked_slope_mib": round((worked - base) * 1000 / count, 1),
        "slope_mib": round((restarted - base) * 1000 / count, 1),
        "events_told_s": round(events_told, 1),
        "idle_requests": idle_counts.total,
        "idle_requests_per_object_hour": round(idle_counts.total / count * 3600 / idle, 3),
        "idle_cpu_s_per_minute": round(idle_cpu * 60 / idle, 3),
        "start_s": round(start, 2),
        "start_requests": len(opened),
        "start_writes": written.writes,
        "start_written": dict(written.by_kind),
    }


async def run(count: int, idle: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with rig(Path(folder), *FLAGS, kubelet=_KUBELET) as found:
            return await measure(found, count, idle)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of looking on")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(run(options.rollouts, options.idle))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
