"""What has to be sent so that a live object becomes what its manifest says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairlead.agentsync._writes import (
    applied,
    is_binding_to_another_role,
    label,
    masked,
    patch_of,
    replaced,
    server_side,
    without_finalizer,
)
from fairlead.agentsync.diff import LAST_APPLIED, DiffOptions
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.core.cluster import ApplyPatch, JsonPatch

OPTIONS = DiffOptions()


def config_map(data: dict[str, str] | None = None, **metadata: Any) -> Object:
    content = {"name": "web", "namespace": "shop", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": content, "data": data or {"a": "1"}}


def live_of(target: Object, **metadata: Any) -> Object:
    made = applied(target, None, OPTIONS)
    servers = {"uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z", **metadata}
    return {**made, "metadata": {**made["metadata"], **servers}}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (ResourceKey("apps", "Deployment", "shop", "web"), "deployment.apps/web"),
        (ResourceKey("", "ConfigMap", "shop", "web"), "configmap/web"),
        (ResourceKey("networking.k8s.io", "Ingress", "shop", "web"), "ingress.networking.k8s.io/web"),
    ],
)
def test_objects_are_called_as_kubectl_calls_them(key: ResourceKey, text: str) -> None:
    assert label(key) == text


def test_nothing_is_sent_for_what_is_applied_already() -> None:
    live = live_of(config_map())
    assert applied(config_map(), live, OPTIONS) is live
    assert patch_of(live, live) == {}


def test_an_annotation_in_other_words_is_no_change() -> None:
    live = live_of(config_map())
    said = json.loads(live["metadata"]["annotations"][LAST_APPLIED])
    live["metadata"]["annotations"][LAST_APPLIED] = json.dumps(said, indent=2)
    assert applied(config_map(), live, OPTIONS) is live


def test_an_annotation_that_says_something_else_is_renewed_even_if_nothing_else_differs() -> None:
    live = live_of(config_map({"a": "1", "b": "2"}))
    live["data"] = {"a": "1"}  # somebody took it away by hand, and now Git does
    patch = patch_of(live, applied(config_map({"a": "1"}), live, OPTIONS))
    assert list(patch) == ["metadata"] and list(patch["metadata"]) == ["annotations"]


def test_a_patch_names_only_what_differs_and_never_what_is_the_servers() -> None:
    live = live_of(config_map(), managedFields=[{"manager": "x"}])
    wanted = applied(config_map({"a": "2"}), live, OPTIONS)
    patch = patch_of(live, {**wanted, "status": {"x": "y"}, "metadata": {**wanted["metadata"], "uid": "other"}})
    assert patch["data"] == {"a": "2"} and "status" not in patch
    assert list(patch["metadata"]) == ["annotations"]


def test_replacing_keeps_only_what_is_the_servers() -> None:
    live = {**live_of(config_map({"a": "1", "b": "2"}, labels={"x": "y"})), "status": {"phase": "Ready"}}
    wanted = replaced(config_map({"a": "3"}), live)
    assert wanted["data"] == {"a": "3"} and wanted["status"] == {"phase": "Ready"}
    assert wanted["metadata"]["uid"] == "u" and "labels" not in wanted["metadata"]
    assert "annotations" not in wanted["metadata"]


# --- server-side apply ------------------------------------------------------------------------------------------------


def owned(manager: str, operation: str, *fields: str, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"f:data": {f"f:{field}": {} for field in fields}}
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": entry, **more}


def test_a_missing_object_is_applied_without_what_is_the_servers() -> None:
    target = {**config_map(uid="u", resourceVersion="7", managedFields=[]), "status": {}}
    [patch] = server_side(target, None, OPTIONS)
    assert patch == ApplyPatch(config_map(), force=True)


def test_what_we_own_already_is_not_applied_again() -> None:
    live = config_map(managedFields=[owned("argocd-controller", "Apply", "a")], resourceVersion="7")
    assert server_side(config_map(), live, OPTIONS) == ()
    [patch] = server_side(config_map({"a": "2"}), live, OPTIONS)
    assert isinstance(patch, ApplyPatch)


def test_equal_values_that_others_own_are_taken_over() -> None:
    live = config_map(managedFields=[owned("kubectl", "Apply", "a")], resourceVersion="7")
    [patch] = server_side(config_map(), live, OPTIONS)
    assert isinstance(patch, ApplyPatch)


def test_fields_of_a_client_side_manager_are_moved_first_and_only_against_the_version_that_was_read() -> None:
    entries = [owned("kubectl-client-side-apply", "Update", "a", "b")]
    live = config_map({"a": "1", "b": "2"}, managedFields=entries, resourceVersion="7")
    first, second = server_side(config_map(), live, OPTIONS, migrate_from="kubectl-client-side-apply")
    assert isinstance(first, JsonPatch) and isinstance(second, ApplyPatch)
    assert {operation["path"]: operation["value"] for operation in first.operations}["/metadata/resourceVersion"] == "7"
    [moved] = first.operations[0]["value"]
    assert (moved["manager"], moved["operation"]) == ("argocd-controller", "Apply")


# --- single cases -----------------------------------------------------------------------------------------------------


def binding(role: str, kind: str = "Role", **more: Any) -> Object:
    reference = {"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io", **more}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": reference}


@pytest.mark.parametrize(
    ("target", "live", "answer"),
    [
        (binding("reader"), binding("reader"), False),
        (binding("writer"), binding("reader"), True),
        (binding("reader", "ClusterRole"), binding("reader"), True),
        (binding("reader", apiGroup=""), binding("reader"), False),
        ({**binding("writer"), "kind": "Other"}, {**binding("reader"), "kind": "Other"}, False),
        ({"kind": "RoleBinding"}, binding("reader"), False),
    ],
)
def test_only_a_binding_to_another_role_has_to_be_made_anew(target: Object, live: Object, answer: bool) -> None:
    assert is_binding_to_another_role(target, live) is answer


@pytest.mark.parametrize(
    ("finalizers", "left"),
    [(["ours", "other"], ["other"]), (["ours"], None), (["other"], "nothing"), (None, "nothing")],
)
def test_our_finalizer_is_taken_off_alone(finalizers: list[str] | None, left: Any) -> None:
    found = config_map(finalizers=finalizers, resourceVersion="7")
    patch = without_finalizer(found, "ours")
    if left == "nothing":
        assert patch is None
    else:
        assert patch == {"metadata": {"finalizers": left, "resourceVersion": "7"}}


def test_only_values_of_secrets_are_masked() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "stringData": {"b": "plain-text"}}
    message = "hunter2, aHVudGVyMg==, plain-text and cGxhaW4tdGV4dA== are wrong"
    assert masked(message, secret) == "++++++++, ++++++++, ++++++++ and ++++++++ are wrong"
    assert masked(message, {**secret, "kind": "ConfigMap"}) == message
    assert masked("no", {"apiVersion": "v1", "kind": "Secret", "data": {"a": "bm8="}}) == "no"  # too short to tell
