"""What an Application waits for, by what its status says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.explain import details, explain
from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.core.objects import rfc3339
from fairlead.testing.clock import EPOCH

NOW = EPOCH + timedelta(minutes=5)
SYNCED = {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}
RESOURCE: dict[str, Any] = {"kind": "ConfigMap", "namespace": "shop", "name": "one", "status": "OutOfSync"}
OUT: dict[str, Any] = {
    "sync": {"status": "OutOfSync"},
    "health": {"status": "Healthy"},
    "resources": [RESOURCE],
}
PRUNED = {**OUT, "resources": [{**RESOURCE, "requiresPruning": True}]}


def application(status: Any, **parts: Any) -> Application:
    policy = parts.pop("policy", None)
    spec = {
        "source": {"repoURL": "https://git.example/shop", "path": "."},
        **({"syncPolicy": policy} if policy else {}),
    }
    metadata = {"name": "web", "namespace": "argocd", **parts.pop("metadata", {})}
    return APPLICATIONS.decode(msgspec.json.encode({"metadata": metadata, "spec": spec, "status": status, **parts}))


def running(**state: Any) -> dict[str, Any]:
    return {**OUT, "operationState": {"phase": "Running", "startedAt": rfc3339(EPOCH), **state}}


def condition(kind: str, message: str) -> dict[str, Any]:
    return {**OUT, "conditions": [{"type": kind, "message": message, "lastTransitionTime": rfc3339(EPOCH)}]}


def test_one_that_is_well_waits_for_nothing() -> None:
    found = application(SYNCED)
    assert explain(found, NOW) is None and details(found) == ()


@pytest.mark.parametrize(
    ("found", "reason", "what"),
    [
        pytest.param(
            application(SYNCED, metadata={"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}),
            "SkipReconcile",
            "skip-reconcile is set",
            id="skipped",
        ),
        pytest.param(
            application(SYNCED, metadata={"deletionTimestamp": rfc3339(EPOCH), "finalizers": ["resources-finalizer"]}),
            "Deleting",
            "held by resources-finalizer",
            id="deleting",
        ),
        pytest.param(application({}), "Rendering", "has not been compared yet", id="new"),
        pytest.param(
            application(running(message="waiting for healthy state of apps/Deployment/web")),
            "Syncing",
            "waiting for healthy state",
            id="running",
        ),
        pytest.param(
            application(running(message="it failed. Retrying", finishedAt=rfc3339(EPOCH), retryCount=1)),
            "Retrying",
            "it failed",
            id="retrying",
        ),
        pytest.param(
            application(running(message="Sync operation blocked by sync window")),
            "BlockedByWindow",
            "sync window",
            id="blocked",
        ),
        pytest.param(application(OUT, operation={"sync": {}}), "Syncing", "is asked for", id="asked"),
        pytest.param(
            application(condition("ComparisonError", "Failed to load target state: no route to host")),
            "SourceFailed",
            "no route to host",
            id="source",
        ),
        pytest.param(
            application(condition("InvalidSpecError", "Application referencing project x which does not exist")),
            "InvalidSpec",
            "does not exist",
            id="project",
        ),
        pytest.param(
            application(condition("SyncError", "Failed last sync attempt to c0ffee"), policy={"automated": {}}),
            "OutOfSync",
            "Failed last sync attempt",
            id="attempted",
        ),
        pytest.param(application(OUT), "OutOfSync", "automatic sync is off", id="manual"),
        pytest.param(application(OUT, policy={"automated": {}}), "OutOfSync", "self-heal is off", id="drift"),
        pytest.param(
            application(PRUNED, policy={"automated": {"selfHeal": True}}), "OutOfSync", "does not prune", id="extra"
        ),
        pytest.param(
            application({**SYNCED, "health": {"status": "Degraded", "message": "Caused by Deployment"}}),
            "Unhealthy",
            "Caused by Deployment",
            id="unhealthy",
        ),
    ],
)
def test_each_state_has_its_reason(found: Application, reason: str, what: str) -> None:
    blocker = explain(found, NOW)
    assert blocker is not None and blocker.reason == reason
    assert what in blocker.what


def test_a_retry_tells_when() -> None:
    state = {"finishedAt": rfc3339(EPOCH + timedelta(minutes=5)), "retryCount": 1, "message": "it failed"}
    blocker = explain(application(running(**state)), NOW)
    assert blocker is not None and blocker.at == NOW + timedelta(seconds=10)


def test_details_name_what_is_not_well_and_no_more_than_a_screenful() -> None:
    resources = [
        {"kind": "ConfigMap", "namespace": "shop", "name": f"map-{number:02}", "status": "OutOfSync"}
        for number in range(30)
    ]
    resources.append({"kind": "Service", "namespace": "shop", "name": "web", "status": "Synced"})
    found = details(application({**OUT, "resources": resources}))
    assert found[0] == "ConfigMap shop/map-00: OutOfSync"
    assert len(found) == 21 and found[-1] == "and 10 more"
