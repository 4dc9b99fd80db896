"""What `/metrics` says of analysis, of deprecated phases, of the build, and of the queues."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.queue_metrics import QueueMetrics
from fairlead.core.kinds import AnalysisRun, AnalysisTemplate, Rollout
from fairlead.core.objects import ObjectMeta
from fairlead.runtime.store import Store
from fairlead.runtime.workqueue import WorkQueue
from fairlead.testing.clock import LoopClock, ManualClock, run_virtual

META = ObjectMeta(name="run", namespace="shop", uid="1", resource_version="1")
SPEC = {
    "metrics": [
        {"name": "ok", "provider": {"prometheus": {"query": "up"}}},
        {"name": "lat", "provider": {"web": {"url": "http://x"}}},
        {"name": "own", "provider": {"plugin": {"org/mine": {}}}},
    ]
}
STATUS = {
    "phase": "Running",
    "metricResults": [
        {"name": "ok", "phase": "Successful"},
        {"name": "lat", "phase": "Failed", "dryRun": True},
    ],
}


def raw(content: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(content))


def shown(
    *,
    rollouts: tuple[Rollout, ...] = (),
    runs: tuple[AnalysisRun, ...] = (),
    templates: tuple[AnalysisTemplate, ...] = (),
) -> list[str]:
    metrics = ControllerMetrics()
    kept: tuple[Store[Rollout], Store[AnalysisRun], Store[AnalysisTemplate]] = (
        Store("rollouts", ManualClock()),
        Store("runs", ManualClock()),
        Store("templates", ManualClock()),
    )
    kept[0].replace(rollouts, resource_version="1")
    kept[1].replace(runs, resource_version="1")
    kept[2].replace(templates, resource_version="1")
    metrics.look(*kept, None)
    return generate_latest(metrics.registry).decode().splitlines()


def test_a_run_tells_of_each_metric_who_measures_it_and_how_it_stands() -> None:
    lines = shown(runs=(AnalysisRun(metadata=META, spec=raw(SPEC), status=raw(STATUS)),))
    where = 'name="run",namespace="shop"'
    assert f'analysis_run_metric_type{{metric="ok",{where},type="Prometheus"}} 1.0' in lines
    assert f'analysis_run_metric_type{{metric="lat",{where},type="WebMetric"}} 1.0' in lines
    assert f'analysis_run_metric_type{{metric="own",{where},type="org/mine"}} 1.0' in lines
    held = [line for line in lines if line.startswith("analysis_run_metric_phase{") and line.endswith(" 1.0")]
    assert held == [
        f'analysis_run_metric_phase{{dry_run="false",metric="ok",{where},phase="Successful",type="Prometheus"}} 1.0',
        f'analysis_run_metric_phase{{dry_run="true",metric="lat",{where},phase="Failed",type="WebMetric"}} 1.0',
        f'analysis_run_metric_phase{{dry_run="false",metric="own",{where},phase="Pending",type="org/mine"}} 1.0',
    ]
    phases = [line for line in lines if line.startswith("analysis_run_phase{")]
    assert len(phases) == 6
    assert [line for line in phases if line.endswith(" 1.0")] == [f'analysis_run_phase{{{where},phase="Running"}} 1.0']


@pytest.mark.parametrize(
    ("spec", "status"),
    [({"metrics": 7}, {"phase": "Running"}), ({"metrics": [{"provider": []}]}, {"metricResults": "x"}), ([], 3)],
)
def test_what_a_run_says_that_makes_no_sense_is_left_out(spec: Any, status: Any) -> None:
    lines = shown(runs=(AnalysisRun(metadata=META, spec=raw(spec), status=raw(status)),))
    assert sum(line.startswith("analysis_run_info{") for line in lines) == 1
    assert not any(line.startswith("analysis_run_metric_type{") for line in lines)


def test_templates_tell_of_their_metrics() -> None:
    of_cluster = AnalysisTemplate(metadata=ObjectMeta(name="wide"), spec=raw({"metrics": []}))
    lines = shown(templates=(AnalysisTemplate(metadata=META, spec=raw(SPEC)), of_cluster))
    assert 'analysis_template_info{name="run",namespace="shop"} 1.0' in lines
    assert 'analysis_template_info{name="wide",namespace=""} 1.0' in lines
    found = [line for line in lines if line.startswith("analysis_template_metric_info{")]
    assert found[0] == 'analysis_template_metric_info{metric="ok",name="run",namespace="shop",type="Prometheus"} 1.0'
    assert len(found) == 3


def test_each_phase_of_a_rollout_is_a_series() -> None:
    conditions = [{"type": "Progressing", "status": "Unknown", "reason": "RolloutPaused"}]
    spec: dict[str, Any] = {"strategy": {"canary": {}}}
    status = {"conditions": conditions}
    rollout = Rollout(metadata=META, spec=raw(spec), status=raw(status))
    lines = [line for line in shown(rollouts=(rollout,)) if line.startswith("rollout_phase{")]
    assert len(lines) == 7
    assert [line for line in lines if line.endswith(" 1.0")] == [
        'rollout_phase{name="run",namespace="shop",phase="Paused",strategy="canary"} 1.0'
    ]


def test_the_build_is_told() -> None:
    (line,) = [line for line in shown() if line.startswith("build_info{")]
    assert 'goversion="python3.' in line


def test_queues_are_counted() -> None:
    async def tale() -> str:
        registry = CollectorRegistry()
        metrics, queue = QueueMetrics(registry), WorkQueue[str](LoopClock())
        metrics.watch("Rollouts", queue)
        for key in ("a", "b", "a"):
            queue.add(key)
        await asyncio.sleep(2)
        taken = await queue.take()
        await asyncio.sleep(3)
        text = generate_latest(registry).decode()
        queue.done(taken)
        queue.retry(taken)
        queue.close()
        return text + generate_latest(registry).decode()

    lines = run_virtual(tale()).splitlines()
    for line in (
        'workqueue_adds_total{name="Rollouts"} 2.0',
        'workqueue_depth{name="Rollouts"} 1.0',
        'workqueue_queue_duration_seconds_sum{name="Rollouts"} 2.0',
        'workqueue_unfinished_work_seconds{name="Rollouts"} 3.0',
        'workqueue_longest_running_processor_seconds{name="Rollouts"} 3.0',
        'workqueue_work_duration_seconds_sum{name="Rollouts"} 3.0',
        'workqueue_retries_total{name="Rollouts"} 1.0',
        'workqueue_unfinished_work_seconds{name="Rollouts"} 0.0',
    ):
        assert line in lines, line
