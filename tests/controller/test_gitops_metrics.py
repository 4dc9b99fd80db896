"""Metrics of Applications, by the names and labels that dashboards ask for."""

from __future__ import annotations

from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.controller.gitops_metrics import GitOpsMetrics, Watching
from fairlead.core.objects import ObjectKey


class Applications:
    """The Applications of a test; a view."""

    def __init__(self, *found: Application) -> None:
        self._found = found

    def get(self, key: ObjectKey) -> Application | None:
        return next((found for found in self._found if found.metadata.key == key), None)

    def list(self, namespace: str = "") -> tuple[Application, ...]:
        return self._found

    def by_index(self, index: str, value: str) -> tuple[Application, ...]:
        raise KeyError(index)


def application(name: str, **parts: Any) -> Application:
    metadata = {"name": name, "namespace": "argocd", **parts.pop("metadata", {})}
    return APPLICATIONS.decode(msgspec.json.encode({"metadata": metadata, **parts}))


def printed(metrics: GitOpsMetrics, registry: CollectorRegistry, *found: Application) -> list[str]:
    metrics.look(Applications(*found), lambda: Watching(kinds=3, objects=40))
    return generate_latest(registry).decode().splitlines()


def test_each_application_is_shown_as_it_is_now_and_no_longer_than_it_lives() -> None:
    registry = CollectorRegistry()
    metrics = GitOpsMetrics(registry, namespace="argocd")
    web = application(
        "web",
        spec={
            "project": "shop",
            "source": {"repoURL": "https://Git.example/Shop.git", "path": "."},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": {"automated": {}},
        },
        status={"sync": {"status": "Synced"}, "health": {"status": "Healthy"}},
    )
    lines = printed(metrics, registry, web)
    assert (
        'argocd_app_info{autosync_enabled="true",dest_namespace="shop",dest_server="https://kubernetes.default.svc",'
        'health_status="Healthy",name="web",namespace="argocd",operation="",project="shop",'
        'repo="https://git.example/shop",sync_status="Synced"} 1.0'
    ) in lines
    assert 'argocd_cluster_api_resources{server="https://kubernetes.default.svc"} 3.0' in lines
    assert 'argocd_cluster_api_objects{server="https://kubernetes.default.svc"} 40.0' in lines
    assert not any("argocd_app_info{" in line for line in printed(metrics, registry))


def test_one_that_cannot_be_understood_is_counted_all_the_same() -> None:
    registry = CollectorRegistry()
    odd = application("odd", spec={"project": 7}, status="nonsense", operation={"sync": {}})
    going = application("going", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    lines = [line for line in printed(GitOpsMetrics(registry), registry, odd, going) if "argocd_app_info{" in line]
    assert len(lines) == 2
    assert 'name="odd"' in lines[0] and 'sync_status="Unknown"' in lines[0] and 'operation="sync"' in lines[0]
    assert 'operation="delete"' in lines[1]


def test_what_happens_is_counted() -> None:
    registry = CollectorRegistry()
    metrics = GitOpsMetrics(registry, namespace="argocd")
    metrics.on_reconcile("application", 0.3, "")
    metrics.on_reconcile("application", 0.1, "Unavailable")
    metrics.on_sync(ObjectKey("argocd", "web"), project="shop", phase="Succeeded", dry_run=False)
    metrics.on_render(0.2, failed=True)
    metrics.on_results(succeeded=4, failed=0)
    metrics.on_postponed()
    lines = printed(metrics, registry)
    for line in (
        'argocd_app_reconcile_count{namespace="argocd"} 2.0',
        'argocd_app_reconcile_bucket{le="0.25",namespace="argocd"} 1.0',
        'argocd_app_reconcile_error_total{error="Unavailable"} 1.0',
        'argocd_app_sync_total{dry_run="false",name="web",namespace="argocd",phase="Succeeded",project="shop"} 1.0',
        'argocd_git_request_duration_seconds_count{outcome="failed"} 1.0',
        'fairlead_gitops_objects_total{outcome="succeeded"} 4.0',
        "fairlead_gitops_reports_postponed_total 1.0",
    ):
        assert line in lines
    assert not any('fairlead_gitops_objects_total{outcome="failed"}' in line for line in lines)
