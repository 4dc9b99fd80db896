"""What a canary costs the API server: counted, and compared with what it has cost so far.

The goal is 24 writes for two replicas and four pairs of a weight and a pause of 2 s; the least is 19. To accept new
numbers: `FAIRLEAD_ACCEPT=1 pytest tests/simulation/test_requests.py`, and say in the commit why they changed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fairlead.testing.kubelet import KubeletSettings
from tests.simulation.ends import healthy, shown
from tests.simulation.harness import World, play, str_of
from tests.simulation.manifests import Routing, pairs, rollout

GOLDEN = Path(__file__).parent / "golden" / "requests.json"
GOAL = 24
KUBELET = KubeletSettings(
    nodes=("node-1",),
    lease_seconds=None,
    node_status_seconds=1e9,
    start_seconds=(0.2, 0.2),
    ready_seconds_min=1.0,
    ready_jitter_seconds=(0.0, 0.0),
)


def counted(routing: Routing) -> dict[str, Any]:
    async def tale(world: World) -> dict[str, Any]:
        await world.deploy(rollout(pairs(20, 40, 60, 80), routing=routing))
        deployed = len(world.all_writes)
        reads = world.reads
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=8)
        made = world.all_writes[deployed:]
        events = [one for one in made if one.kind == "events"]
        writes = [one for one in made if one.kind != "events"]
        return {
            "writes": len(writes),
            "events": len(events),
            "reads": world.reads - reads,
            "by": dict(sorted(Counter(str_of(one) for one in writes).items())),
        }

    return play(tale, routing=routing, kubelet=KUBELET)


@pytest.mark.parametrize("routing", list(Routing))
def test_a_canary_costs_what_it_has_cost(routing: Routing) -> None:
    found = counted(routing)
    golden: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("FAIRLEAD_ACCEPT"):
        GOLDEN.write_text(json.dumps({**golden, str(routing): found}, indent=2, sort_keys=True) + "\n")
        return
    assert found == golden[str(routing)]
    assert found["writes"] <= GOAL
    assert found["reads"] == 0
