"""Changes of routing, strategy and turn, and a restart: real and simulated control planes end alike, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controlplane.changes import SCENARIOS
from tests.controlplane.comparing import compare
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(300)]


async def test_the_same_end_on_both_clusters(control_plane: ControlPlane, tmp_path: Path) -> None:
    await compare(control_plane, tmp_path, SCENARIOS)
