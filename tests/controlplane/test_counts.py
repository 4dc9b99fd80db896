"""What a canary costs the API server: golden in the simulation, and the same on a real one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

import pytest

from benchmarks import canary_requests
from tests.controlplane.build import Absent


def test_the_counts_of_five_canaries_are_golden() -> None:
    """A change of a count is a change of the product: `python -m benchmarks.canary_requests --rollouts 5 --write`."""
    counts, _ = canary_requests.simulated(5)
    golden = json.loads(canary_requests.GOLDEN.read_text())
    assert dict(counts.by_kind) == golden["5"]
    assert counts.reads == 0
    assert counts.writes / 5 <= 24


@pytest.mark.real
@pytest.mark.xdist_group("controlplane")
@pytest.mark.timeout(300)
def test_a_real_api_server_counts_the_same() -> None:
    expected, _ = canary_requests.simulated(3, delay=2)
    try:
        found, _ = asyncio.run(canary_requests.real(3, delay=2))
    except Absent as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    # Events depend on how much happens within a second; everything else is a decision.
    assert _without_events(found.by_kind) == _without_events(expected.by_kind)


def _without_events(counts: Mapping[str, int]) -> dict[str, int]:
    return {what: count for what, count in counts.items() if not what.endswith(" events")}
