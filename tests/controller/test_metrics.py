"""What `/metrics` says about the objects in the caches, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest

from fairlead.controller.metrics import ControllerMetrics, phase_of
from fairlead.core.conditions import Condition
from fairlead.core.kinds import AnalysisRun, KindCondition, Rollout, carried
from fairlead.core.objects import ObjectKey, ObjectMeta
from fairlead.runtime.store import Store
from fairlead.testing.clock import ManualClock

SECRETS = carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
META = ObjectMeta(name="web", namespace="shop", uid="1", resource_version="1")


def raw(content: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(content))


def shown(rollouts: Sequence[Rollout] = (), runs: Sequence[AnalysisRun] = ()) -> list[str]:
    """Return the lines about objects."""
    metrics = ControllerMetrics()
    stores: tuple[Store[Rollout], Store[AnalysisRun]] = (Store("rollouts", ManualClock()), Store("runs", ManualClock()))
    stores[0].replace(rollouts, resource_version="1")
    stores[1].replace(runs, resource_version="1")
    metrics.look(*stores)
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith(("rollout_info", "analysis_run_info"))]


@pytest.mark.parametrize(
    ("spec", "status", "strategy", "phase"),
    [
        pytest.param({"strategy": {"canary": {"steps": []}}}, {}, "canary", "Progressing", id="canary"),
        pytest.param({"strategy": {"canary": {}}}, {}, "canary", "Progressing", id="empty-canary"),
        pytest.param(
            {"strategy": {"blueGreen": {"activeService": "a"}}}, {}, "blueGreen", "Progressing", id="blue-green"
        ),
        pytest.param({"strategy": {"blueGreen": None, "canary": {}}}, {}, "canary", "Progressing", id="null"),
        pytest.param({}, {}, "none", "Progressing", id="none"),
        pytest.param({"strategy": "x"}, {}, "none", "InvalidSpec", id="unreadable"),
        pytest.param({"strategy": {"canary": {}}}, {"replicas": "x"}, "canary", "Progressing", id="strangers-status"),
    ],
)
def test_a_rollout_is_counted_whatever_it_holds(spec: Any, status: Any, strategy: str, phase: str) -> None:
    rollout = Rollout(metadata=META, spec=raw(spec), status=raw(status))
    [info] = [line for line in shown([rollout]) if line.startswith("rollout_info{")]
    labels = f'name="web",namespace="shop",phase="{phase}",strategy="{strategy}",traffic_router=""'
    assert info == f"rollout_info{{{labels}}} 1.0"


def test_replicas_are_those_of_spec_and_status() -> None:
    status = {"replicas": 5, "updatedReplicas": 2, "availableReplicas": 3}
    spec = {"replicas": 4, "strategy": {"canary": {"steps": [{"setWeight": 5}]}}}
    lines = shown([Rollout(metadata=META, spec=raw(spec), status=raw(status))])
    where = '{name="web",namespace="shop"}'
    assert set(lines[1:]) >= {
        f"rollout_info_replicas_desired{where} 4.0",
        f"rollout_info_replicas_updated{where} 2.0",
        f"rollout_info_replicas_available{where} 3.0",
        f"rollout_info_replicas_unavailable{where} 2.0",
    }


def test_one_replica_is_wanted_where_nothing_is_said() -> None:
    lines = shown([Rollout(metadata=META, spec=raw({"strategy": {"canary": {}}}))])
    assert 'rollout_info_replicas_desired{name="web",namespace="shop"} 1.0' in lines


def test_runs_by_phase_and_nothing_of_what_is_gone() -> None:
    run = AnalysisRun(metadata=META, status=raw({"phase": "Failed"}))
    assert shown(runs=[run, AnalysisRun(metadata=ObjectMeta(name="new", namespace="shop"))]) == [
        'analysis_run_info{name="new",namespace="shop",phase="Pending"} 1.0',
        'analysis_run_info{name="web",namespace="shop",phase="Failed"} 1.0',
    ]
    assert shown() == []


@pytest.mark.parametrize(
    ("type_", "reason", "phase"),
    [
        ("Progressing", "NewReplicaSetAvailable", "Completed"),
        ("Progressing", "RolloutPaused", "Paused"),
        ("Progressing", "ReplicaSetCreateError", "Error"),
        ("Progressing", "ProgressDeadlineExceeded", "Timeout"),
        ("Progressing", "RolloutAborted", "Abort"),
        ("Progressing", "ReplicaSetUpdated", "Progressing"),
        ("InvalidSpec", "InvalidSpec", "InvalidSpec"),
        ("Available", "AvailableReason", "Progressing"),
    ],
)
def test_the_phase_comes_from_the_conditions_as_upstream(type_: str, reason: str, phase: str) -> None:
    assert phase_of([KindCondition(type=type_, reason=reason)]) == phase


def test_what_happens_is_counted() -> None:
    metrics = ControllerMetrics()
    metrics.on_reconcile("rollout", 0.02, "")
    metrics.on_reconcile("rollout", 0.02, "Conflict")
    metrics.on_event("Normal", "RolloutUpdated")
    metrics.on_request("patch", "rollouts.argoproj.io", 200, 0.01)
    key = ObjectKey("shop", "db")
    metrics.secrets.on_sync(key, failed=True)
    metrics.secrets.on_provider_call("fake", "GetSecret", False)
    metrics.secrets.on_condition(SECRETS, key, Condition(type="Ready", status="False", reason="SecretSyncedError"))
    metrics.secrets.on_duration(SECRETS, key, 0.25)
    text = generate_latest(metrics.registry).decode()
    expected = (
        'rollout_reconcile_bucket{le="0.15"} 2.0',
        "rollout_reconcile_error 1.0",
        "analysis_run_reconcile_error 0.0",
        'rollout_events_total{reason="RolloutUpdated",type="Normal"} 1.0',
        'controller_clientset_k8s_request_total{kind="rollouts.argoproj.io",status_code="200",verb="patch"} 1.0',
        'externalsecret_sync_calls_error{name="db",namespace="shop"} 1.0',
        'externalsecret_sync_calls_total{name="db",namespace="shop"} 1.0',
        'externalsecret_reconcile_duration{name="db",namespace="shop"} 2.5e+08',
        'externalsecret_status_condition{condition="Ready",name="db",namespace="shop",status="True"} 0.0',
        'externalsecret_provider_api_calls_count{call="GetSecret",provider="fake",status="error"} 1.0',
        'externalsecret_status_condition{condition="Ready",name="db",namespace="shop",status="False"} 1.0',
    )
    assert [line for line in expected if line not in text] == []
    assert metrics.requests["patch", "rollouts.argoproj.io"] == 1
    metrics.secrets.on_gone(SECRETS, key)
    assert 'name="db"' not in generate_latest(metrics.registry).decode()
