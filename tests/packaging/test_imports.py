"""What an import may pull in: a policy test must not wait for a cluster's client."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("kubernetes_asyncio", "boto3", "botocore", "hvac", "requests", "aiohttp", "prometheus_api_client")
PURE = [
    "fairlead.core.traffic",
    "fairlead.rollouts.machine",
    "fairlead.analysis.machine",
    "fairlead.mesh_routing.spec",
    "fairlead.mesh_routing.observation",
    "fairlead.secrets.machine",
    "fairlead.cli.main",
]


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["runtime", "controller.settings", "testing.clock"])
def test_only_kube_imports_the_kubernetes_client(package: str) -> None:
    code = f"import fairlead.{package}, sys; print('kubernetes_asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_help_lists_every_command_without_importing_one() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from fairlead.cli.main import main;"
        "print(CliRunner().invoke(main, ['--help']).output);"
        "print('LOADED', *(name for name in sys.modules if name.startswith('fairlead.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "controller", "get", "promote", "abort", "explain", "crds"):
        assert f"  {command} " in done.stdout
    assert done.stdout.rsplit("LOADED", 1)[1].split() == ["fairlead.cli.main"]
