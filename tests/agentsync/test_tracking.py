"""Whose an object is: what is written on it, and how it is read."""

from __future__ import annotations

import pytest

from fairlead.agentsync.kinds import INSTALLATION_ID, TRACKING_ID
from fairlead.agentsync.resources import Object, annotations_of, labels_of
from fairlead.agentsync.tracking import (
    INSTANCE_LABEL,
    Tracking,
    TrackingMethod,
    application_name,
    label_value,
    owner_of,
    parse_tracking_id,
)
from tests.agentsync.builders_diff import deployment, read, service

SHOP = Tracking(application="shop")
CLUSTER_ROLE: Object = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:reader/all"},
}
NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
}


def annotated(found: Object, **annotations: str) -> Object:
    return {**found, "metadata": {**found["metadata"], "annotations": annotations}}


@pytest.mark.parametrize(
    ("method", "annotation", "label"),
    [
        pytest.param(TrackingMethod.ANNOTATION, "shop:apps/Deployment:shop/web", None, id="annotation"),
        pytest.param(TrackingMethod.LABEL, None, "shop", id="label"),
        pytest.param(TrackingMethod.ANNOTATION_AND_LABEL, "shop:apps/Deployment:shop/web", "shop", id="both"),
    ],
)
def test_each_method_writes_and_reads_its_marks(
    method: TrackingMethod, annotation: str | None, label: str | None
) -> None:
    tracking = Tracking(application="shop", method=method)
    stamped = tracking.stamp(deployment())
    assert annotations_of(stamped).get(TRACKING_ID) == annotation
    assert labels_of(stamped).get(INSTANCE_LABEL) == label
    assert tracking.owns(read(stamped))
    assert not Tracking(application="other", method=method).owns(read(stamped))


def test_nothing_else_is_touched_and_the_argument_is_not_changed() -> None:
    before = deployment()
    stamped = Tracking(application="shop", method=TrackingMethod.ANNOTATION_AND_LABEL).stamp(before)
    assert before == deployment()
    assert stamped["spec"] == before["spec"]  # pod templates are never stamped
    assert {**stamped["metadata"], "labels": 0, "annotations": 0} == {
        **before["metadata"],
        "labels": 0,
        "annotations": 0,
    }


def test_the_core_group_is_empty() -> None:
    assert annotations_of(SHOP.stamp(service()))[TRACKING_ID] == "shop:/Service:shop/web"


def test_an_application_outside_the_control_namespace_carries_its_namespace() -> None:
    assert application_name("team", "shop", control_namespace="argocd") == "team_shop"
    assert application_name("argocd", "shop", control_namespace="argocd") == "shop"
    tracking = Tracking(application="team_shop")
    assert tracking.owner_of(tracking.stamp(service())) == "team_shop"


def test_an_annotation_that_was_copied_to_another_object_proves_nothing() -> None:
    copied = annotated(service(), **{TRACKING_ID: "shop:apps/Deployment:shop/web"})
    assert not SHOP.owns(copied)
    assert owner_of(copied) == ""
    elsewhere = annotated(service(), **{TRACKING_ID: "shop:/Service:other/web"})
    assert not SHOP.owns(elsewhere)


@pytest.mark.parametrize("namespace", ["", "shop"])
def test_a_cluster_scoped_object_may_name_the_destination_namespace_or_none(namespace: str) -> None:
    marked = annotated(
        CLUSTER_ROLE, **{TRACKING_ID: f"shop:rbac.authorization.k8s.io/ClusterRole:{namespace}/system:reader/all"}
    )
    assert SHOP.owns(marked)


def test_a_definition_is_not_stamped_unless_it_wrongly_names_a_namespace() -> None:
    assert SHOP.stamp(CRD) is CRD
    wrong = {**CRD, "metadata": {**CRD["metadata"], "namespace": "shop"}}
    assert TRACKING_ID in annotations_of(SHOP.stamp(wrong))


def test_another_installation_is_somebody_else() -> None:
    here = Tracking(application="shop", installation_id="here")
    there = Tracking(application="shop", installation_id="there")
    stamped = here.stamp(service())
    assert annotations_of(stamped)[INSTALLATION_ID] == "here"
    assert here.owns(stamped)
    assert not there.owns(stamped)
    assert not here.owns(SHOP.stamp(service()))


@pytest.mark.parametrize(
    "text", ["", "shop", "shop:apps/Deployment", "shop:Deployment:shop/web", ":/Service:a/b", "a:/:b/c"]
)
def test_what_is_no_tracking_id_belongs_to_nobody(text: str) -> None:
    assert parse_tracking_id(text) is None
    assert owner_of(annotated(service(), **{TRACKING_ID: text})) == ""


def test_metadata_of_a_wrong_type_belongs_to_nobody() -> None:
    odd: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": [1], "labels": 2}}
    assert owner_of(odd) == ""
    assert TRACKING_ID in annotations_of(SHOP.stamp(odd))


def test_trap_14_a_namespace_that_was_made_on_the_way_is_untracked() -> None:
    assert not SHOP.owns(read(NAMESPACE))
    assert SHOP.owns(read(SHOP.stamp(NAMESPACE)))  # a tracking annotation changes that


def test_trap_25_a_live_object_with_an_owner_is_not_ours_even_if_it_is_marked() -> None:
    live = read(SHOP.stamp(service()))
    assert SHOP.owns(live)
    live["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Widget", "name": "one", "uid": "u"}]
    assert not SHOP.owns(live)
    assert SHOP.owner_of(live) == "shop"  # whose it says it is remains readable


def test_trap_27_by_label_a_chart_that_sets_the_label_itself_breaks_tracking() -> None:
    by_label = Tracking(application="shop", method=TrackingMethod.LABEL)
    live = read(by_label.stamp(service()))
    live["metadata"]["labels"][INSTANCE_LABEL] = "release-name"
    assert not by_label.owns(live)
    both = Tracking(application="shop", method=TrackingMethod.ANNOTATION_AND_LABEL)
    live = read(both.stamp(service()))
    live["metadata"]["labels"][INSTANCE_LABEL] = "release-name"
    assert both.owns(live)  # the annotation is what is read


def test_trap_27_the_label_is_cut_at_63_characters_with_an_alphanumeric_end() -> None:
    name = "a" * 61 + "-.b"
    assert label_value(name) == "a" * 61
    assert label_value("b" * 63) == "b" * 63
    both = Tracking(application=name, method=TrackingMethod.ANNOTATION_AND_LABEL)
    stamped = both.stamp(service())
    assert labels_of(stamped)[INSTANCE_LABEL] == "a" * 61
    assert both.owns(stamped)
    # By label alone nothing is cut: two long names must not become one owner. The API server refuses such a label.
    alone = Tracking(application=name, method=TrackingMethod.LABEL)
    assert labels_of(alone.stamp(service()))[INSTANCE_LABEL] == name
