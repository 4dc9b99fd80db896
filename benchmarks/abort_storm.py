"""How soon all traffic is off the canaries when many are aborted at once. Prints one JSON line per size.

`python -m benchmarks.abort_storm [--sizes 1,50,200]`

So many Rollouts wait at weight 50 in a pause without end, on a real control plane; then all get the abort command at
once. `p50_s`, `p90_s` and `last_s`: from when the first command was sent until each route holds weight 0, as a watch
sees it. The commands themselves take their time (`commands_s`: until the last one was answered), so `own_p50_s` and
`own_last_s` tell, by the API server's audit log, how long after its own command each route was written. `serial_calls`
is how many requests of the controller about one Rollout there were up to the write of weight 0, the median over all
Rollouts; 1 is the least possible.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from benchmarks._rig import FLAGS, KUBELET, USER, Rig, all_stable, canary_weight, create_all, patch_all, rig
from fairlead.core.kinds import HTTP_ROUTES
from fairlead.core.objects import Manifest
from tests.controlplane.scenarios import pod_template, rollout, traffic
from tests.controlplane.stage import ROLLOUTS, Stage

_Steps = tuple[Mapping[str, Any], ...]
_STEPS: _Steps = ({"setWeight": 50}, {"pause": {}})
_QUIET_SECONDS = 5.0


async def _until_weight_50(stage: Stage, count: int) -> None:
    async def there() -> bool:
        found = await stage.list(ROLLOUTS)
        return len([one for one in found if (one.get("status") or {}).get("phase") == "Paused"]) == count

    await stage.until("all wait at weight 50", there, seconds=600.0)
    routes = await stage.list(HTTP_ROUTES)
    assert {canary_weight(route) for route in routes} == {50}


async def _aborted(stage: Stage, names: Sequence[str]) -> tuple[dict[str, float], float]:
    """Abort all; return when each route was seen at weight 0, and when the last command was answered."""
    loop = asyncio.get_running_loop()
    page = await stage.cluster.list(HTTP_ROUTES, namespace=stage.namespace, limit=0)
    zero_at: dict[str, float] = {}

    async def look() -> None:
        events = stage.cluster.watch(HTTP_ROUTES, resource_version=page.resource_version, namespace=stage.namespace)
        async for event in events:
            if isinstance(event.object, Manifest) and canary_weight(event.object.content) == 0:
                zero_at.setdefault(event.object.metadata.name, loop.time())
                if len(zero_at) == len(names):
                    return

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.2)  # the watch is open
    began = loop.time()
    await patch_all(stage, names, {"status": {"abort": True}}, subresource="status")
    commanded = loop.time() - began
    await asyncio.wait_for(looking, 300)
    return {name: at - began for name, at in zero_at.items()}, commanded


def serial_calls(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> float:
    """Return the median, over Rollouts, of the requests about one of them up to the first write of its route."""
    counts = []
    for name in names:
        mine = [
            entry["objectRef"]
            for entry in sorted(entries, key=lambda entry: str(entry["stageTimestamp"]))
            if entry["verb"] != "watch"
            and entry["objectRef"]["resource"] != "events"
            and (entry["objectRef"].get("name") in (name, f"{name}-stable", f"{name}-canary"))
        ]
        routes = [index for index, ref in enumerate(mine) if ref["resource"] == "httproutes"]
        counts.append(routes[0] + 1)
    return statistics.median(counts)


def own_seconds(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[float]:
    """Return, sorted, how long after the answer to its own command each route was written for the first time."""
    command: dict[str, datetime] = {}
    written: dict[str, datetime] = {}
    for entry in sorted(entries, key=lambda entry: str(entry["stageTimestamp"])):
        ref, at = entry["objectRef"], datetime.fromisoformat(entry["stageTimestamp"])
        if entry["user"]["username"] != USER and ref["resource"] == "rollouts" and ref.get("subresource") == "status":
            command.setdefault(ref["name"], at)
        elif entry["user"]["username"] == USER and ref["resource"] == "httproutes" and entry["verb"] == "patch":
            written.setdefault(ref["name"], at)
    return sorted((written[name] - command[name]).total_seconds() for name in names)


async def storm(found: Rig, size: int) -> dict[str, Any]:
    stage = await found.place.stage(f"storm-{size}", poll_seconds=0.5)
    names = [f"web-{number}" for number in range(size)]
    documents: list[Mapping[str, Any]] = []
    for name in names:
        documents += [*traffic(name), rollout(*_STEPS, routed=True, name=name, replicas=2)]
    await create_all(stage, documents)
    await stage.until("all are healthy", lambda: all_stable(stage, size, revision=1), seconds=600.0)
    await asyncio.sleep(_QUIET_SECONDS)
    await patch_all(stage, names, {"spec": {"template": {"spec": pod_template(2)["spec"]}}})
    await _until_weight_50(stage, size)
    await asyncio.sleep(_QUIET_SECONDS)
    found.audit.skip()
    cpu = found.process.cpu_seconds()
    zero_at, commanded = await _aborted(stage, names)
    cpu = found.process.cpu_seconds() - cpu
    await asyncio.sleep(1.0)  # the audit log is written behind the answers
    seconds = sorted(zero_at.values())
    entries = found.audit.entries(USER, "admin")
    own = own_seconds(entries, names)
    ours = [entry for entry in entries if entry["user"]["username"] == USER]
    return {
        "rollouts": size,
        "p50_s": round(statistics.median(seconds), 3),
        "p90_s": round(seconds[min(size - 1, int(size * 0.9))], 3),
        "last_s": round(seconds[-1], 3),
        "own_p50_s": round(statistics.median(own), 3),
        "own_last_s": round(own[-1], 3),
        "commands_s": round(commanded, 3),
        "serial_calls": serial_calls(ours, names),
        "cpu_s": round(cpu, 2),
    }


async def run(sizes: Sequence[int], *flags: str) -> None:
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            async with rig(Path(folder), *FLAGS, *flags, kubelet=KUBELET) as found:
                print(json.dumps(await storm(found, size)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1,50,200")
    parser.add_argument("--threads", type=int, default=10, help="--rollout-threads of the controller")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(run([int(size) for size in options.sizes.split(",")], f"--rollout-threads={options.threads}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
