"""What has to be seen of the destination for one Application."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._wanting import need
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind
from fairlead.agentsync.spec import ApplicationSpec, IgnoreDifferences, SyncPolicy
from fairlead.agentsync.status import ApplicationStatus, OperationState, ResourceResult, ResourceStatus, SyncResult
from fairlead.core.discovery import Served

WATCH = frozenset({"list", "watch", "create"})


def kind(name: str, group: str = "", *, namespaced: bool = True, verbs: frozenset[str] = WATCH) -> ResourceKind:
    plural = f"{name.lower()}s"
    return ResourceKind(group=group, version="v1", kind=name, plural=plural, namespaced=namespaced, verbs=verbs)


MAP, DEPLOYMENT, NAMESPACE, JOB = (
    kind("ConfigMap"),
    kind("Deployment", "apps"),
    kind("Namespace", namespaced=False),
    kind("Job", "batch"),
)
REVIEW = kind("TokenReview", "authentication.k8s.io", namespaced=False, verbs=frozenset({"create"}))
SERVED = Served((MAP, DEPLOYMENT, NAMESPACE, JOB, REVIEW))
EMPTY = ApplicationStatus()


def manifest(of: ResourceKind, name: str = "web", namespace: str = "", **annotations: str) -> Object:
    metadata: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    if annotations:
        metadata["annotations"] = {
            f"argocd.argoproj.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
    return {"apiVersion": of.api_version, "kind": of.kind, "metadata": metadata}


def test_kinds_and_keys_of_the_targets_are_seen_in_their_namespaces() -> None:
    objects = [manifest(MAP), manifest(DEPLOYMENT, namespace="other"), manifest(NAMESPACE, namespace="wrong")]
    found = need(ApplicationSpec(), EMPTY, objects, SERVED, "shop")
    assert found.wanted.kinds == {MAP, DEPLOYMENT, NAMESPACE}
    assert found.wanted.namespaces == {"shop", "other"}
    assert found.wanted.keys == {
        ResourceKey("", "ConfigMap", "shop", "web"),
        ResourceKey("apps", "Deployment", "other", "web"),
        ResourceKey("", "Namespace", "", "web"),
    }
    assert found.targets == {"/ConfigMap", "apps/Deployment", "/Namespace"}
    assert found.missing == frozenset() and not found.wanted.with_managers


def test_what_the_status_knows_is_seen_too_but_is_no_target() -> None:
    state = OperationState(
        sync_result=SyncResult(
            resources=(ResourceResult(group="batch", kind="Job", namespace="shop", name="hook-abc"),)
        )
    )
    status = ApplicationStatus(
        resources=(ResourceStatus(kind="ConfigMap", namespace="old", name="left"),), operation_state=state
    )
    found = need(ApplicationSpec(), status, [manifest(DEPLOYMENT)], SERVED, "shop")
    assert found.wanted.kinds == {MAP, DEPLOYMENT, JOB}
    assert found.wanted.namespaces == {"shop", "old"}
    assert ResourceKey("batch", "Job", "shop", "hook-abc") in found.wanted.keys
    assert found.targets == {"apps/Deployment"}


def test_kinds_that_are_not_served_are_missed_and_reviews_are_not_watched() -> None:
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    found = need(ApplicationSpec(), EMPTY, [widget, manifest(REVIEW)], SERVED, "shop")
    assert found.missing == {("example.com", "Widget")}
    assert found.wanted.kinds == frozenset()


def test_the_destination_namespace_is_seen_if_it_may_have_to_be_made() -> None:
    spec = ApplicationSpec(sync_policy=SyncPolicy(sync_options=("CreateNamespace=true",)))
    found = need(spec, EMPTY, [manifest(MAP)], SERVED, "shop")
    assert NAMESPACE in found.wanted.kinds and ResourceKey("", "Namespace", "", "shop") in found.wanted.keys


def test_what_the_project_does_not_permit_is_not_looked_at() -> None:
    def refuses(key: ResourceKey, namespaced: bool) -> str:
        return "no" if key.kind == "Job" else ""

    found = need(ApplicationSpec(), EMPTY, [manifest(MAP), manifest(JOB)], SERVED, "shop", refuses=refuses)
    assert found.wanted.kinds == {MAP}
    assert {key.kind for key in found.wanted.keys} == {"ConfigMap"} and found.targets == {"/ConfigMap"}


def test_lists_are_taken_apart() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [manifest(MAP), manifest(JOB)]}
    assert need(ApplicationSpec(), EMPTY, [listed], SERVED, "shop").wanted.kinds == {MAP, JOB}


@pytest.mark.parametrize(
    ("spec", "objects"),
    [
        (ApplicationSpec(sync_policy=SyncPolicy(sync_options=("ServerSideApply=true",))), [manifest(MAP)]),
        (
            ApplicationSpec(ignore_differences=(IgnoreDifferences(managed_fields_managers=("scaler",)),)),
            [manifest(MAP)],
        ),
        (ApplicationSpec(), [manifest(MAP, sync_options="Prune=false,ServerSideApply=true")]),
    ],
    ids=["application", "rule", "resource"],
)
def test_managers_are_read_only_when_it_matters(spec: ApplicationSpec, objects: list[Object]) -> None:
    assert need(spec, EMPTY, objects, SERVED, "shop").wanted.with_managers


def test_objects_are_seen_in_the_version_that_their_manifests_name() -> None:
    old = ResourceKind(group="batch", version="v1beta1", kind="Job", plural="jobs", namespaced=True, verbs=WATCH)
    served = Served((*SERVED.kinds, old))
    assert need(ApplicationSpec(), EMPTY, [manifest(old)], served, "shop").wanted.kinds == {old}
    status = ApplicationStatus(resources=(ResourceStatus(group="batch", kind="Job", namespace="shop", name="left"),))
    assert need(ApplicationSpec(), status, [manifest(old)], served, "shop").wanted.kinds == {old}
    assert need(ApplicationSpec(), status, [], served, "shop").wanted.kinds == {JOB}
    both = need(ApplicationSpec(), EMPTY, [manifest(JOB, "a"), manifest(old, "b")], served, "shop").wanted
    assert both.kinds == {JOB, old}
    assert both.versions == {ResourceKey("batch", "Job", "shop", "b"): "v1beta1"}
    gone = {**manifest(JOB), "apiVersion": "batch/v0"}
    assert need(ApplicationSpec(), EMPTY, [gone], served, "shop").wanted.kinds == {JOB}
