"""One control plane per test run, in one worker; skipped with the reason where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.controlplane.build import Absent
from tests.controlplane.plane import ControlPlane, found_or_started


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """Yield a control plane that was started here: these tests tell users apart and read the audit log."""
    try:
        with found_or_started() as plane:
            if plane.folder is None:
                pytest.skip("needs a control plane of its own: unset FAIRLEAD_TEST_CLUSTER")
            yield plane
    except Absent as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
