"""Fields that do not count, and fields that keep their live values."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._ignoring import IgnoreRule
from fairlead.agentsync.diff import DiffOptions, client_side_apply, difference, keep_ignored
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.core.errors import SpecError
from tests.agentsync.builders_diff import container, custom, deployment, edited, manager, pod_spec, read

DEPLOYMENTS = {"group": "apps", "kind": "Deployment"}
IMAGE = "spec.template.spec.containers.0.image"


def ignoring(*pointers: str, jq: tuple[str, ...] = (), managers: tuple[str, ...] = (), **names: str) -> IgnoreRule:
    chosen = DEPLOYMENTS | names
    return IgnoreRule(
        group=chosen["group"],
        kind=chosen["kind"],
        json_pointers=pointers,
        jq_path_expressions=jq,
        managed_fields_managers=managers,
    )


def is_modified(target: Object, live: Object, *rules: IgnoreRule) -> bool:
    return difference(target, live, DiffOptions(ignores=rules)).modified


@pytest.mark.parametrize(
    ("names", "is_meant"),
    [
        pytest.param({}, True, id="group-and-kind"),
        pytest.param({"group": "*", "kind": "*"}, True, id="everything"),
        pytest.param({"group": "app*", "kind": "Deploy?ent"}, True, id="globs"),
        pytest.param({"group": ""}, False, id="the-core-group"),
        pytest.param({"kind": "deployment"}, False, id="case"),
        pytest.param({"name": "web", "namespace": "shop"}, True, id="name"),
        pytest.param({"name": "w*"}, False, id="names-are-no-globs"),
        pytest.param({"namespace": "other"}, False, id="namespace"),
    ],
)
def test_of_which_objects_a_rule_speaks(names: dict[str, str], is_meant: bool) -> None:
    chosen = DEPLOYMENTS | names
    rule = IgnoreRule(
        group=chosen["group"], kind=chosen["kind"], name=chosen.get("name", ""), namespace=chosen.get("namespace", "")
    )
    assert rule.applies_to(ResourceKey("apps", "Deployment", "shop", "web")) is is_meant


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        pytest.param("spec.replicas", 7, ignoring("/spec/replicas"), id="pointer"),
        pytest.param(IMAGE, "other", ignoring("/spec/template/spec/containers/0/image"), id="into-a-list"),
        pytest.param("metadata.annotations.a/b~c", "x", ignoring("/metadata/annotations/a~1b~0c"), id="escaped"),
        pytest.param("spec.replicas", 7, ignoring(jq=(".spec.replicas",)), id="jq"),
        pytest.param(
            IMAGE,
            "x",
            ignoring(jq=('.spec.template.spec.containers[] | select(.name == "web") | .image',)),
            id="jq-select",
        ),
        pytest.param(
            "spec.paused", True, ignoring("/spec/nothing/here", "/spec/9", "/spec/paused"), id="one-of-several"
        ),
    ],
)
def test_an_ignored_field_is_no_difference_and_another_one_still_is(path: str, value: Any, rule: IgnoreRule) -> None:
    target = edited(
        edited(deployment(replicas=2, paused=False), "metadata.annotations", {"a/b~c": "1"}), "spec.minReadySeconds", 1
    )
    live = edited(read(target), path, value)
    assert is_modified(target, live)
    assert not is_modified(target, live, rule)
    assert is_modified(target, edited(live, "spec.minReadySeconds", 2), rule)
    assert is_modified(target, live, IgnoreRule(kind="Service", json_pointers=rule.json_pointers))


def test_an_ignored_field_appears_nowhere() -> None:
    live = edited(edited(read(deployment(replicas=2)), "spec.replicas", 7), IMAGE, "other")
    found = difference(deployment(replicas=2), live, DiffOptions(ignores=(ignoring("/spec/replicas"),)))
    assert [change.path for change in found.changes] == ["spec.template.spec.containers[name=web].image"]
    assert found.predicted is not None
    assert "replicas" not in found.predicted["spec"]


def test_what_a_manager_owns_is_ignored() -> None:
    fields: dict[str, Any] = {
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}}
    }
    live = edited(read(deployment(replicas=2), managers=[manager("keel", fields, "Update")]), IMAGE, "other")
    live = edited(live, "spec.replicas", 7)
    rule = ignoring(managers=("keel",))
    assert is_modified(deployment(replicas=2), live)
    assert not is_modified(deployment(replicas=2), live, rule)
    assert is_modified(deployment(replicas=2, paused=True), live, rule)
    assert is_modified(deployment(replicas=2), live, ignoring(managers=("other",)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(
            ignoring("/a", "spec/replicas"),
            'spec.ignoreDifferences[1].jsonPointers[1]: Invalid value: "spec/replicas": expected a JSON pointer, '
            'which starts with "/"',
            id="pointer",
        ),
        pytest.param(
            ignoring("/a~b"),
            'spec.ignoreDifferences[1].jsonPointers[0]: Invalid value: "/a~b": expected ~0 or ~1 after no other "~"',
            id="escape",
        ),
        pytest.param(
            ignoring(jq=(".a[",)),
            'spec.ignoreDifferences[1].jqPathExpressions[0]: Invalid value: ".a[": '
            "jq: unexpected end of the expression",
            id="jq",
        ),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(rule: IgnoreRule, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        rule.check("spec.ignoreDifferences[1]")
    assert str(caught.value) == message
    with pytest.raises(SpecError):
        is_modified(deployment(), read(deployment()), rule)


def test_the_whole_object_cannot_be_ignored() -> None:
    assert is_modified(deployment(replicas=1), read(deployment(replicas=2)), ignoring("", jq=(".",)))


def test_ignored_fields_are_still_applied_unless_they_are_respected() -> None:
    live = edited(read(deployment(replicas=2)), "spec.replicas", 7)
    options = DiffOptions(ignores=(ignoring("/spec/replicas"),))
    assert client_side_apply(deployment(replicas=2), live, options)["spec"]["replicas"] == 2
    kept = client_side_apply(deployment(replicas=2), live, options, respect_ignored=True)
    assert kept["spec"]["replicas"] == 7
    # The live value is not ours: when it leaves the manifest later, it is not taken away.
    again = client_side_apply(deployment(), edited(kept, "spec.replicas", 9), options, respect_ignored=True)
    assert again["spec"]["replicas"] == 9


def test_trap_17_the_first_creation_applies_ignored_fields() -> None:
    rules = (ignoring("/spec/replicas"),)
    assert keep_ignored(deployment(replicas=2), None, rules)["spec"]["replicas"] == 2
    created = client_side_apply(deployment(replicas=2), None, DiffOptions(ignores=rules), respect_ignored=True)
    assert created["spec"]["replicas"] == 2


def test_trap_17_items_are_kept_by_key_in_built_in_kinds_and_as_a_whole_list_elsewhere() -> None:
    rules = (ignoring(jq=(".spec.template.spec.containers[].image",)),)
    live = read(deployment(pod_spec(container("a", image="live"), container("web", image="live"))))
    target = deployment(pod_spec(container("web", tty=True), container("new")))
    kept = keep_ignored(target, live, rules)["spec"]["template"]["spec"]["containers"]
    assert kept == [{"name": "web", "image": "live", "tty": True}, {"name": "new"}]
    parts = (IgnoreRule(group="*", kind="Widget", jq_path_expressions=(".spec.parts[].size",)),)
    found = read(custom(parts=[{"name": "a", "size": 9}, {"name": "b", "size": 9}]))
    grown = custom(parts=[{"name": "a", "size": 1}, {"name": "b", "size": 1}, {"name": "c", "size": 1}])
    assert keep_ignored(grown, found, parts)["spec"] == found["spec"]
    changed = custom(parts=[{"name": "a", "size": 1, "x": 1}, {"name": "b", "size": 1}])
    assert keep_ignored(changed, found, parts)["spec"]["parts"] == [
        {"name": "a", "size": 9, "x": 1},
        {"name": "b", "size": 9},
    ]


def test_an_ignored_item_that_only_the_live_side_has_is_kept() -> None:
    rules = (ignoring(jq=('.spec.template.spec.containers[] | select(.name == "proxy")',)),)
    live = read(deployment(pod_spec(container(), container("proxy"))), last_applied=False)
    kept = keep_ignored(deployment(), live, rules)["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in kept] == ["web", "proxy"]


def test_the_status_is_never_copied_and_what_the_live_side_lacks_goes() -> None:
    live = {**read(deployment()), "status": {"replicas": 1}}
    kept = keep_ignored(deployment(replicas=2), live, (ignoring("/status", "/spec/replicas"),))
    assert "status" not in kept
    assert "replicas" not in kept["spec"]


def test_no_rule_of_the_object_leaves_the_target_as_it_is() -> None:
    target = deployment()
    assert keep_ignored(target, read(target), (ignoring("/spec", kind="Service"),)) is target
