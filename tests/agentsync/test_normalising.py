"""What never counts, and one spelling for the rest."""

from __future__ import annotations

import base64
import copy

import pytest

from fairlead.agentsync._normalising import IgnoreStatus, normalised
from fairlead.agentsync.diff import DiffOptions, difference
from fairlead.agentsync.kinds import TRACKING_ID
from fairlead.agentsync.resources import Object
from fairlead.agentsync.tracking import INSTANCE_LABEL, Tracking, TrackingMethod
from tests.agentsync.builders_diff import config_map, custom, deployment, edited, read, secret

CRD: Object = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}}


def role(kind: str = "Role", **fields: object) -> Object:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "web"}, **fields}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_what_the_server_keeps_never_counts() -> None:
    target = deployment()
    target["metadata"] |= {
        "creationTimestamp": None,
        "resourceVersion": "1",
        "uid": "other",
        "generation": 9,
        "selfLink": "/a",
    }
    live = read(deployment())
    live["metadata"]["managedFields"] = [{"manager": "a"}]
    before = copy.deepcopy((target, live))
    assert not difference(target, live).modified
    assert (target, live) == before


@pytest.mark.parametrize(
    ("found", "mode", "is_ignored"),
    [
        (deployment(), IgnoreStatus.ALL, True),
        (CRD, IgnoreStatus.ALL, True),
        (CRD, IgnoreStatus.CRD, True),
        (deployment(), IgnoreStatus.CRD, False),
        (CRD, IgnoreStatus.NONE, False),
    ],
)
def test_whose_status_is_ignored(found: Object, mode: IgnoreStatus, is_ignored: bool) -> None:
    target = {**found, "status": {"phase": "wanted"}}
    live = {**read(found), "status": {"phase": "found"}}
    assert difference(target, live, DiffOptions(ignore_status=mode)).modified is not is_ignored


def test_trap_31_string_data_beats_data_and_line_breaks_in_base64_are_no_difference() -> None:
    target = secret(data={"a": encoded("old"), "b": encoded("2")}, stringData={"a": "new"})
    live = read(secret(data={"a": encoded("new"), "b": encoded("2")}))
    assert not difference(target, live).modified
    long = encoded("x" * 90)
    broken = "\n".join((long[:76], long[76:], ""))
    assert not difference(secret(data={"a": broken}), read(secret(data={"a": long}))).modified
    assert difference(secret(data={"a": encoded("x" * 91)}), read(secret(data={"a": long}))).modified
    assert normalised(secret(stringData={"ü": "ü", "gone": None}))["data"] == {"ü": encoded("ü")}


def test_a_secret_s_string_data_of_the_last_apply_counts_as_its_data() -> None:
    applied = secret(stringData={"a": "1", "b": "2"})
    live = read(applied)
    live["data"] = {"a": encoded("1"), "b": encoded("2"), "c": encoded("3")}
    del live["stringData"]
    found = difference(secret(stringData={"a": "1"}), live)
    assert found.predicted is not None
    assert found.predicted["data"] == {"a": encoded("1"), "c": encoded("3")}


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
@pytest.mark.parametrize("one", [{}, {"rules": None}, {"rules": []}], ids=["absent", "null", "empty"])
@pytest.mark.parametrize("other", [{}, {"rules": None}, {"rules": []}], ids=["absent", "null", "empty"])
def test_no_rules_are_no_rules(kind: str, one: dict[str, object], other: dict[str, object]) -> None:
    assert not difference(role(kind, **one), read(role(kind, **other))).modified
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    assert difference(role(kind, **one), read(role(kind, rules=rules), last_applied=False)).modified


def test_rules_of_an_aggregated_role_are_its_controller_s_if_asked() -> None:
    selector = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    live = read(role("ClusterRole", aggregationRule=selector, rules=[{"verbs": ["get"]}]), last_applied=False)
    target = role("ClusterRole", aggregationRule=selector, rules=[])
    assert difference(target, live).modified
    assert not difference(target, live, DiffOptions(ignore_aggregated_roles=True)).modified
    assert not difference(role("ClusterRole", aggregationRule=selector), live).modified


def test_the_order_in_endpoints_is_no_difference() -> None:
    def endpoints(*subsets: object) -> Object:
        return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": list(subsets)}

    def subset(ports: list[int], *addresses: str) -> object:
        return {
            "addresses": [{"ip": one} for one in addresses],
            "ports": [{"port": one, "protocol": "TCP"} for one in ports],
        }

    target = endpoints(subset([80, 90], "10.0.0.2", "10.0.0.1"), subset([7], "10.0.0.3"))
    assert not difference(
        target, read(endpoints(subset([7], "10.0.0.3"), subset([90, 80], "10.0.0.1", "10.0.0.2")))
    ).modified
    assert difference(target, read(endpoints(subset([7], "10.0.0.3")))).modified


def test_the_last_applied_annotation_never_counts() -> None:
    live = read(config_map(a="1"))
    assert not difference(config_map(a="1"), live).modified
    target = edited(
        config_map(a="1"), "metadata.annotations", {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    )
    assert not difference(target, live).modified


def test_a_last_applied_annotation_that_is_no_object_is_none() -> None:
    for text in ("{", "[]", "1", "[" * 5000):
        live = read(config_map(a="1", b="2"))
        live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = text
        assert not difference(config_map(a="1"), live).modified


def test_tracking_metadata_that_the_method_does_not_use_does_not_count() -> None:
    by_label = Tracking(application="shop", method=TrackingMethod.LABEL)
    target = by_label.stamp(config_map(a="1"))
    live = read(Tracking(application="shop", method=TrackingMethod.ANNOTATION_AND_LABEL).stamp(config_map(a="1")))
    assert difference(target, live).modified  # the annotation left the target
    assert not difference(target, live, DiffOptions(tracking=by_label)).modified


def test_an_object_of_the_label_method_is_not_out_of_sync_when_the_method_becomes_annotation() -> None:
    live = read(Tracking(application="shop", method=TrackingMethod.LABEL).stamp(config_map(a="1")))
    by_annotation = Tracking(application="shop")
    target = by_annotation.stamp(config_map(a="1"))
    assert difference(target, live).modified
    assert not difference(target, live, DiffOptions(tracking=by_annotation)).modified
    # A label of the manifest's own counts.
    own = edited(target, "metadata.labels", {INSTANCE_LABEL: "release"})
    assert difference(own, live, DiffOptions(tracking=by_annotation)).modified
    # And so does another Application's annotation.
    foreign = edited(live, "metadata.annotations", {TRACKING_ID: "other:/ConfigMap:shop/settings"})
    assert difference(target, foreign, DiffOptions(tracking=by_annotation)).modified


def test_odd_objects_are_compared_as_they_are() -> None:
    for odd in (
        {},
        {"kind": "Secret", "apiVersion": "v1", "stringData": "odd", "data": 7, "metadata": []},
        {"apiVersion": 1},
    ):
        assert not difference(odd, copy.deepcopy(odd)).modified
    assert not difference(custom(a=None), custom()).modified
