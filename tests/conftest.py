"""How tests are tiered: what needs a real part says so itself, what takes long is told by its place."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent

# Left out by `make test-fast`, so that it stays under a minute on two cores: whole stories in virtual time by the
# hundred, real loops, and properties with many examples. `make test` runs everything.
_SLOW = (
    "cli/test_commands.py",
    "cli/test_demo.py",
    "conformance",
    "controller",
    "core/test_regex.py",
    "mesh_routing/test_httproute.py",
    "packaging/test_crds.py",
    "packaging/test_examples.py",
    "packaging/test_imports.py",
    "rollouts/test_machine.py",
    "rollouts/test_scenarios.py",
    "secrets/stores",
    "secrets/test_failures.py",
    "secrets/test_gjson.py",
    "secrets/test_planner.py",
    "secrets/test_rewrites.py",
    "secrets/test_template_keystores.py",
    "secrets/test_templates.py",
    "simulation",
    "testing/test_kubelet_http.py",
    "testing/workloads/test_rough.py",
    "testing/workloads/test_world.py",
)
_FAST = ("simulation/test_happy.py",)  # one story each, so that even the quick look tells it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long."""
    for item in items:
        try:
            place = item.path.relative_to(_HERE).as_posix()
        except ValueError:
            continue
        if place.startswith(_SLOW) and not place.startswith(_FAST):
            item.add_marker(pytest.mark.slow)
