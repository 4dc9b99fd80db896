"""The controller as a process of its own, without any cluster: how it starts, and that nothing outlives a test run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.children import bound
from tests.controlplane.process import ControllerProcess

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


async def test_it_starts_and_says_what_it_misses(tmp_path: Path) -> None:
    controller = ControllerProcess(tmp_path / "absent.kubeconfig", log=tmp_path / "controller.log")
    controller.start()
    for _ in range(600):
        if not controller.is_running:
            break
        await asyncio.sleep(0.05)
    assert "absent.kubeconfig" in controller.tail(), "no ModuleNotFoundError: No module named 'tests'"


def test_it_starts_under_plain_pytest_as_well() -> None:
    """`python -m pytest` puts the folder of the repository on the path, `pytest` does not."""
    this = f"{Path(__file__)}::{test_it_starts_and_says_what_it_misses.__name__}"
    command = [str(Path(sys.executable).with_name("pytest")), "-q", "-p", "no:cacheprovider", "-p", "no:xdist", this]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


_PARENT = """
import subprocess, sys, tempfile, time
from tests.children import bound, sigterm_as_interrupt
with sigterm_as_interrupt(), tempfile.TemporaryDirectory(dir=sys.argv[1]):
    child = subprocess.Popen(bound([sys.executable, "-c", "import time; time.sleep(600)"]))
    print(child.pid, flush=True)
    try:
        time.sleep(600)
    finally:
        if sys.argv[2] == "orderly":
            child.terminate()
            child.wait()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "sigkill"])
def test_what_was_started_ends_with_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    if bound(["x"]) == ["x"]:
        pytest.skip("needs setpriv, of util-linux")
    command = [sys.executable, "-c", _PARENT, str(tmp_path), "orderly" if how is signal.SIGTERM else "not"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        while not (child / "cmdline").read_bytes().startswith(os.fsencode(sys.executable)):
            time.sleep(0.01)  # until then it is not bound
        parent.send_signal(how)
        parent.wait(30)
    deadline = time.monotonic() + 30
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(child)
    if how is signal.SIGTERM:
        assert list(tmp_path.iterdir()) == [], "contexts were left in good order"


def _lives(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
