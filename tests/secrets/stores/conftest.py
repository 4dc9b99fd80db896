"""Real servers, started once per session and only when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane import build
from tests.controlplane.plane import ControlPlane, found_or_started
from tests.secrets.stores import motoserver
from tests.secrets.stores import openbao as baos
from tests.secrets.stores.motoserver import Moto
from tests.secrets.stores.openbao import OpenBao


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    try:
        with baos.started() as server:
            yield server
    except baos.Absent as error:
        baos.or_skip(error)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    try:
        with found_or_started() as plane:
            yield plane
    except build.Absent as error:
        baos.or_skip(error)


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    try:
        with motoserver.started() as server:
            yield server
    except motoserver.Absent as error:
        baos.or_skip(error)
