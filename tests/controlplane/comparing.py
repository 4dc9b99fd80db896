"""Playing the same stories on the simulated control plane and on a real one, and laying the ends side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from fairlead.controller.settings import Settings, Traffic
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.scenarios import Scenario, differences, end_state, reported
from tests.controlplane.stage import Stage, Theatre, play_simulated, theatre

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


async def _real(scenario: Scenario, place: Theatre, config: Path, folder: Path) -> Told:
    stage = await place.stage(scenario.name)
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


async def compare(control_plane: ControlPlane, folder: Path, scenarios: Mapping[str, Scenario]) -> None:
    """Play all of them on both; fail where what is left differs, or what was reported."""
    expected = await asyncio.to_thread(lambda: {name: _simulated(one) for name, one in scenarios.items()})
    async with theatre(control_plane) as place:
        names = list(scenarios)
        config = place.plane.kubeconfig_for("fairlead")  # once: a file that is written again may be read half
        found = dict(
            zip(
                names,
                await asyncio.gather(*(_real(scenarios[name], place, config, folder) for name in names)),
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
