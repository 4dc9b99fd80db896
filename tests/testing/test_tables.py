"""Rows of `kubectl get`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.testing import custom, gateway, tables
from fairlead.testing.resources import Registry, Resource
from fairlead.testing.storage import Stored

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
META = {"name": "one", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
REGISTRY = Registry()


def row(resource: Resource, version: str = "v1", *, wide: bool = False, **content: Any) -> dict[str, Any]:
    """Return an object's cells by column."""
    stored = Stored({"metadata": {**META, **content.pop("metadata", {})}, **content}, (), 1)
    cells = tables.row(resource, version, stored, NOW)["cells"]
    served = resource.version(version)
    assert served is not None
    return {c.name: cell for c, cell in zip(served.columns, cells, strict=True) if wide or not c.priority}


def of(group: str, plural: str) -> Resource:
    found = REGISTRY.find(group, plural)
    assert found is not None
    return found


def test_a_running_pod() -> None:
    found = row(
        of("", "pods"),
        wide=True,
        spec={
            "containers": [{"name": "a"}, {"name": "b"}],
            "nodeName": "n",
            "readinessGates": [{"conditionType": "g"}],
        },
        status={
            "phase": "Running",
            "podIP": "10.0.0.1",
            "containerStatuses": [{"ready": True, "restartCount": 2}, {"ready": False, "restartCount": 1}],
            "conditions": [{"type": "g", "status": "True"}],
        },
    )
    assert found == {
        "Name": "one",
        "Ready": "1/2",
        "Status": "Running",
        "Restarts": "3",
        "Age": "5m",
        "IP": "10.0.0.1",
        "Node": "n",
        "Nominated Node": "<none>",
        "Readiness Gates": "1/1",
    }


@pytest.mark.parametrize(
    ("metadata", "status", "word"),
    [
        pytest.param({}, {"phase": "Pending"}, "Pending", id="phase"),
        pytest.param({}, {"phase": "Failed", "reason": "Evicted"}, "Evicted", id="reason"),
        pytest.param(
            {},
            {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
            id="waiting",
        ),
        pytest.param(
            {}, {"containerStatuses": [{"state": {"terminated": {"reason": "Error"}}}]}, "Error", id="terminated"
        ),
        pytest.param({}, {"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ExitCode:3", id="code"),
        pytest.param({"deletionTimestamp": "x"}, {"phase": "Running"}, "Terminating", id="deleting"),
    ],
)
def test_the_word_for_a_pods_state(metadata: dict[str, Any], status: dict[str, Any], word: str) -> None:
    assert row(of("", "pods"), metadata=metadata, spec={}, status=status)["Status"] == word


@pytest.mark.parametrize(
    ("group", "plural", "content", "expected"),
    [
        pytest.param(
            "apps",
            "deployments",
            {"spec": {"replicas": 3}, "status": {"readyReplicas": 2, "updatedReplicas": 1}},
            {"Ready": "2/3", "Up-to-date": 1, "Available": 0},
            id="deployment",
        ),
        pytest.param(
            "apps",
            "replicasets",
            {"spec": {"replicas": 3}, "status": {"replicas": 2}},
            {"Desired": 3, "Current": 2, "Ready": 0},
            id="replicaset",
        ),
        pytest.param(
            "",
            "services",
            {
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                }
            },
            {"Port(s)": "80/TCP,53/UDP", "External-IP": "<none>"},
            id="service",
        ),
        pytest.param("", "configmaps", {"data": {"a": "b"}, "binaryData": {"c": ""}}, {"Data": 2}, id="configmap"),
        pytest.param(
            "batch",
            "jobs",
            {"spec": {"completions": 2}, "status": {"succeeded": 1, "startTime": "2026-01-01T00:03:00Z"}},
            {"Status": "Running", "Completions": "1/2", "Duration": "2m"},
            id="job",
        ),
        pytest.param(
            "batch",
            "jobs",
            {"spec": {}, "status": {"conditions": [{"type": "Failed", "status": "True"}]}},
            {"Status": "Failed"},
            id="failed-job",
        ),
        pytest.param(
            "",
            "nodes",
            {"spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"Status": "Ready,SchedulingDisabled"},
            id="node",
        ),
        pytest.param(
            "discovery.k8s.io",
            "endpointslices",
            {
                "addressType": "IPv4",
                "ports": [{"port": 80}],
                "endpoints": [{"addresses": [f"10.0.0.{i}"]} for i in range(5)],
            },
            {"Ports": "80", "Endpoints": "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."},
            id="slice",
        ),
        pytest.param(
            "",
            "events",
            {
                "lastTimestamp": "2026-01-01T00:04:00Z",
                "involvedObject": {"kind": "Pod", "name": "p"},
                "reason": "R",
                "type": "Normal",
                "message": "M",
            },
            {"Last Seen": "60s", "Object": "pod/p", "Reason": "R", "Message": "M"},
            id="event",
        ),
        pytest.param(
            "policy",
            "poddisruptionbudgets",
            {"spec": {"minAvailable": "50%"}, "status": {}},
            {"Min Available": "50%", "Max Unavailable": "N/A"},
            id="budget",
        ),
    ],
)
def test_built_in_kinds(group: str, plural: str, content: dict[str, Any], expected: dict[str, Any]) -> None:
    found = row(of(group, plural), **content)
    assert {name: found[name] for name in expected} == expected
    assert plural == "events" or found["Name"] == "one"


def test_custom_columns_follow_their_paths() -> None:
    definitions = {definition["spec"]["names"]["kind"]: definition for definition in gateway.definitions()}
    made = custom.resource(definitions["Gateway"])
    found = row(
        made,
        spec={"gatewayClassName": "istio"},
        status={
            "addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.2"}],
            "conditions": [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "False"}],
        },
    )
    assert found == {
        "Name": "one",
        "Class": "istio",
        "Address": "10.0.0.1,10.0.0.2",
        "Programmed": "False",
        "Age": "5m",
    }
    empty = row(made, spec={})
    assert (empty["Class"], empty["Programmed"]) == (None, None)


def test_the_age_of_nothing_is_unknown() -> None:
    assert tables.age(None, NOW) == "<unknown>"
    assert tables.age("2026-01-01T00:00:00Z", NOW) == "5m"
