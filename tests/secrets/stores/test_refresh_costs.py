"""The counts of the benchmark of refreshes, on a small scale: they do not depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.controlplane import build, plane
from tests.secrets.stores import motoserver
from tests.secrets.stores import openbao as baos

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture
def parts(provider: str) -> None:
    """Skip without the real parts; fail in CI."""
    try:
        plane.assets()
        if provider == "vault":
            baos.program()
        else:
            motoserver.check()
    except (build.Absent, baos.Absent, motoserver.Absent) as error:
        baos.or_skip(error)


@pytest.mark.parametrize("provider", ["vault", "aws"])
@pytest.mark.usefixtures("parts")
def test_unchanged_secrets_cost_one_reading_per_key_and_nothing_else(provider: str) -> None:
    command = [sys.executable, "-m", "benchmarks.secret_refresh", "--provider", provider]
    done = subprocess.run(
        [*command, "--secrets", "50", "--keys", "20", "--interval", "8", "--cycles", "1"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["deviations"] == [], found
    assert found["kubernetes_requests"] == 0
    assert found["provider_calls_per_cycle"] <= (20 if provider == "vault" else 1)
