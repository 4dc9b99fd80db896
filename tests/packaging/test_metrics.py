"""The page of metrics lists what a controller with objects in its caches shows, with types and labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fairlead.controller.metrics import ControllerMetrics
from fairlead.core.kinds import AnalysisRun, AnalysisTemplate, Rollout
from fairlead.core.objects import ObjectMeta
from fairlead.runtime.store import Store
from fairlead.runtime.workqueue import WorkQueue
from fairlead.testing.clock import ManualClock

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|[^|]*\|$", TEXT, re.MULTILINE)
ABSENT = re.findall(r"`((?:experiment|notification|rollout)_\w+)`", TEXT[TEXT.index("Not shown") :])
OF_OTHERS = ("externalsecret_", "secretstore_", "clustersecretstore_", "controller_runtime_", "argocd_")


def _raw(content: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(content))


def _shown() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels by name, of a controller that has seen one of everything."""
    metrics, clock = ControllerMetrics(), ManualClock()
    meta = ObjectMeta(name="a", namespace="b", uid="1", resource_version="1")
    measured = {"metrics": [{"name": "m", "provider": {"web": {}}}]}
    rollouts: Store[Rollout] = Store("rollouts", clock)
    runs: Store[AnalysisRun] = Store("runs", clock)
    templates: Store[AnalysisTemplate] = Store("templates", clock)
    rollouts.replace([Rollout(metadata=meta, spec=_raw({"strategy": {"canary": {}}}))], resource_version="1")
    runs.replace([AnalysisRun(metadata=meta, spec=_raw(measured))], resource_version="1")
    templates.replace([AnalysisTemplate(metadata=meta, spec=_raw(measured))], resource_version="1")
    metrics.look(rollouts, runs, templates)
    metrics.on_event("Normal", "RolloutUpdated")
    metrics.on_request("get", "pods", 200, 0.1)
    metrics.queues.watch("Rollouts", WorkQueue(clock))
    for told in (metrics.queues.on_add, metrics.queues.on_retry):
        told("Rollouts")
    metrics.queues.on_take("Rollouts", 1.0)
    metrics.queues.on_done("Rollouts", 1.0)
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        if family.name.endswith("_created") or family.name.startswith(OF_OTHERS):
            continue
        labels = frozenset(label for sample in family.samples for label in sample.labels if label != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = ("untyped" if family.type == "unknown" else family.type, labels)
    return found


def test_the_page_lists_what_is_shown_and_nothing_else() -> None:
    listed = {name: (type_, frozenset(re.findall(r"`(\w+)`", labels))) for name, type_, labels in ROWS}
    assert listed == _shown()


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_said_to_be_absent_is(name: str) -> None:
    assert name not in _shown()


def test_each_metric_has_one_row() -> None:
    names = [name for name, _, _ in ROWS]
    assert len(names) == len(set(names)) == 27
    assert len(ABSENT) == 10
