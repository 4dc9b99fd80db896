"""Rendered objects to what is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._targets import Targets, flattened, prepare_targets, scope_of
from fairlead.agentsync.resources import Object
from fairlead.agentsync.tracking import Tracking
from fairlead.core.errors import SpecError
from tests.agentsync.world import Served, definition, manifest

STAMP = Tracking(application="shop").stamp


def prepared(*objects: Object, **options: Any) -> Targets:
    return prepare_targets(objects, namespace="shop", scope=scope_of(Served({}), objects), **options)


def keys(targets: Targets) -> list[str]:
    return [str(target.key) for target in targets.targets]


def test_namespaces_are_filled_in_kept_and_dropped_by_scope() -> None:
    found = prepared(
        manifest("ConfigMap", "here"),
        manifest("ConfigMap", "there", "other"),
        manifest("Namespace", "wrong", "other"),
        manifest("Widget", "unknown"),
    )
    assert keys(found) == [
        "/ConfigMap/shop/here",
        "/ConfigMap/other/there",
        "/Namespace//wrong",
        "example.com/Widget/shop/unknown",
    ]
    assert "namespace" not in found.targets[2].content["metadata"]


def test_a_definition_in_the_same_render_tells_the_scope() -> None:
    found = prepared(definition("Widget", scope="Cluster"), manifest("Widget", "one", "other"))
    assert keys(found)[1] == "example.com/Widget//one"


def test_of_repeated_objects_the_last_one_wins() -> None:
    first, last = manifest("ConfigMap", "one"), manifest("ConfigMap", "one", "shop", a="b")
    found = prepared(first, last, manifest("ConfigMap", "one"), last)
    assert [target.content for target in found.targets] == [last]
    assert [(one.type, one.message) for one in found.conditions] == [
        (
            "RepeatedResourceWarning",
            "Resource /ConfigMap/shop/one appeared 4 times among application resources.",
        )
    ]


def test_excluded_kinds_are_left_out_with_a_warning() -> None:
    found = prepared(
        manifest("ConfigMap", "one"), manifest("Deployment", "web"), is_excluded=lambda key: key.kind == "Deployment"
    )
    assert keys(found) == ["/ConfigMap/shop/one"]
    assert [(one.type, one.message) for one in found.conditions] == [
        ("ExcludedResourceWarning", "Resource apps/Deployment web is excluded in the settings")
    ]


def test_what_is_wanted_is_stamped_and_what_was_rendered_is_not_touched() -> None:
    given = manifest("ConfigMap", "one")
    found = prepared(given, stamp=STAMP)
    annotations = found.targets[0].content["metadata"]["annotations"]
    assert annotations == {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/one"}
    assert given == manifest("ConfigMap", "one")


def test_lists_are_taken_apart() -> None:
    items = [manifest("ConfigMap", "one"), manifest("ConfigMap", "two")]
    assert flattened([{"apiVersion": "v1", "kind": "List", "items": items}]) == tuple(items)
    odd = manifest("WishList", "one")
    assert flattened([odd]) == (odd,)


def test_an_object_with_a_prefix_of_a_name_has_no_key_yet() -> None:
    found = manifest("Job", "")
    found["metadata"] = {"generateName": "migrate-"}
    (target, *_) = prepared(found, found).targets
    assert target.key.name == ""
    assert len(prepared(found, found).targets) == 2


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"apiVersion": "v1", "metadata": {"name": "one"}}, "Object 'kind' is missing in an object one"),
        ({"kind": "ConfigMap", "metadata": {"name": "one"}}, "Object 'apiVersion' is missing in ConfigMap one"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata.name is missing in ConfigMap without a name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "metadata.name is missing in"),
    ],
    ids=["kind", "version", "name", "odd-metadata"],
)
def test_what_is_no_object_is_named(found: Object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        prepared(found)
