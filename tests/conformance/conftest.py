"""Every case runs once per implementation of the Cluster port."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.conformance.arena import IN_PROCESS, REAL, Arena, real
from tests.controlplane.build import Absent
from tests.controlplane.plane import ControlPlane, found_or_started


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "arena" in metafunc.fixturenames:
        names = [*IN_PROCESS, pytest.param(REAL, marks=(pytest.mark.real, pytest.mark.xdist_group("controlplane")))]
        metafunc.parametrize("arena_name", names)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    try:
        with found_or_started() as plane:
            yield plane
    except Absent as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest_asyncio.fixture
async def arena(arena_name: str, request: pytest.FixtureRequest) -> AsyncIterator[Arena]:
    making = real(request.getfixturevalue("control_plane")) if arena_name == REAL else IN_PROCESS[arena_name]()
    async with making as made:
        yield made
