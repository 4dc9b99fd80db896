"""How tests are tiered: what needs a real part says so itself, what takes long is told by its place."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import structlog

from tests import properties

_HERE = Path(__file__).parent

# Left out by `make test-fast`, so that it stays under a minute on two cores: whole stories in virtual time by the
# hundred, real loops, and all that only looks at real parts. `make test` runs everything.
_SLOW = (
    "agentsync/test_diff_properties.py",
    "agentsync/test_machine_invariants.py",
    "agentsync/test_machine_odd_input.py",
    "agentsync/test_reconciler.py::test_death_at_any_write",
    "agentsync/test_reconciler_faults.py",
    "analysis/test_expressions.py::test_hostile_expressions_end_in_an_error_of_our_own[regex",
    "analysis/test_reconciler.py::test_a_death_at_any_write",
    "cli/test_commands.py",
    "cli/test_demo.py",
    "cli/test_watch.py",
    "conformance",
    "controller",
    "controlplane",
    "core/test_regex.py",
    "mesh_routing/test_httproute.py",
    "packaging/test_crds.py",
    "packaging/test_examples.py",
    "packaging/test_imports.py",
    "rollouts/test_bluegreen_stories.py::test_a_death_after_every_write",
    "rollouts/test_dynamic.py::test_killing_the_controller",
    "rollouts/test_ephemeral.py::test_killing_the_controller",
    "rollouts/test_interleavings.py",
    "rollouts/test_machine.py",
    "rollouts/test_scenarios.py",
    "secrets/stores",
    "secrets/test_failures.py",
    "secrets/test_first_sync.py",
    "secrets/test_gjson.py",
    "secrets/test_planner.py",
    "secrets/test_rewrites.py",
    "secrets/test_template_keystores.py",
    "secrets/test_templates.py",
    "simulation",
    "testing/test_kubelet_http.py",
    "testing/workloads/test_rough.py",
    "testing/workloads/test_world.py",
    "wire",
)
# Taken along all the same, so that even the quick look tells one story of each kind.
_FAST = (
    "agentsync/test_diff_properties.py::test_an_object_that_went_through_json_is_the_same",
    "agentsync/test_machine_invariants.py::test_a_source_that_fails_changes_nothing_that_lives",
    "agentsync/test_reconciler_faults.py::test_trouble_leads_to_nothing_wrong_and_then_to_the_end[1-one-cluster]",
    "controller/test_manifests.py::test_no_right",
    "controller/test_manifests.py::test_a_controller_of",
    "controller/test_metrics.py",
    "secrets/test_planner.py::test_one_call_per_distinct_key",
    "simulation/test_happy.py::test_a_good_version_replaces_the_old_one[basic-2]",
    "simulation/test_happy.py::test_a_good_version_replaces_the_old_one[gateway-2]",
    "simulation/test_happy.py::test_a_good_version_replaces_the_old_one[waypoint-2]",
    "simulation/test_happy.py::test_any_steps_lead_to_the_end[waypoint-analysis]",
    "simulation/test_happy.py::test_background_analysis_accompanies_the_update[gateway]",
)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how often properties are tried, and how logs are written: colours and columns take a sixth of the time."""
    properties.load(quick=_is_quick(config))
    gc.set_threshold(50_000, 20, 20)  # simulated worlds are full of cycles, and gone with their tests
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read in a quick look what it leaves out: that takes longer than many a test."""
    if not _is_quick(config) or collection_path.suffix != ".py":
        return None
    place = _place(collection_path)
    wanted = any(fast.partition("::")[0] == place for fast in _FAST)
    is_test = collection_path.name.startswith("test_")
    return True if is_test and place.startswith(_SLOW) and not wanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long."""
    for item in items:
        place = _place(item.path)
        name = f"{place}::{item.nodeid.rpartition('::')[2]}"
        if name.startswith(_SLOW) and not name.startswith(_FAST):
            item.add_marker(pytest.mark.slow)


def _is_quick(config: pytest.Config) -> bool:
    return "not slow" in str(config.getoption("markexpr", ""))


def _place(path: Path) -> str:
    """Return where a file lies below `tests`; nothing for one that does not."""
    try:
        return path.relative_to(_HERE).as_posix()
    except ValueError:
        return ""
