"""The same canaries on a real control plane and on the simulated one end alike, field by field."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fairlead.controller.settings import Settings, Traffic
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.scenarios import SCENARIOS, Scenario, differences, end_state, reported
from tests.controlplane.stage import Stage, Theatre, play_simulated, theatre

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(300)]

SETTLE, DRAIN = timedelta(milliseconds=200), timedelta(milliseconds=300)
_FLAGS = ("--settle=200ms", "--drain=300ms", "--no-leader-elect")
# The simulation's API stores a zero that the real one leaves out.
_KNOWN = ("spec.minReadySeconds: 0 != '<absent>'",)

Told = tuple[dict[str, Any], list[tuple[str, str, str]]]


async def _told(scenario: Scenario, stage: Stage) -> Told:
    await scenario.run(stage)
    return await end_state(stage), await reported(stage)


def _simulated(scenario: Scenario) -> Told:
    settings = Settings(traffic=Traffic(settle=SETTLE, drain=DRAIN))
    return play_simulated(lambda stage: _told(scenario, stage), settings=settings)


async def _real(scenario: Scenario, place: Theatre, folder: Path) -> Told:
    stage = await place.stage(scenario.name)
    config = place.plane.kubeconfig_for("fairlead")
    log = folder / f"{scenario.name}.log"
    process = ControllerProcess(config, "--namespaced", f"--namespace={stage.namespace}", *_FLAGS, log=log)
    process.start()
    try:
        told = await _told(scenario, stage)
        assert await process.terminate() == 0
        return told
    except AssertionError as error:
        error.add_note(process.tail())
        raise
    finally:
        await process.kill()


async def test_the_same_end_on_both_clusters(control_plane: ControlPlane, tmp_path: Path) -> None:
    expected = await asyncio.to_thread(lambda: {name: _simulated(one) for name, one in SCENARIOS.items()})
    async with theatre(control_plane) as place:
        names = list(SCENARIOS)
        found = dict(
            zip(
                names,
                await asyncio.gather(*(_real(SCENARIOS[name], place, tmp_path) for name in names)),
                strict=True,
            )
        )
    unlike = {
        name: [line for line in differences(expected[name][0], found[name][0]) if not line.endswith(_KNOWN)]
        for name in names
    }
    assert unlike == {name: [] for name in names}
    for name in names:
        assert found[name][1] == expected[name][1], f"Events of {name}"
