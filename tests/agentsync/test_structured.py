"""What a server-side apply makes of an object, as far as ownership tells."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync.diff import DiffOptions, IgnoreRule, Strategy, difference, keep_ignored, migrate_managers
from fairlead.agentsync.kinds import FIELD_MANAGER
from tests.agentsync.builders_diff import (
    config_map,
    container,
    custom,
    deployment,
    edited,
    manager,
    pod_spec,
    read,
    service,
)

STRUCTURED = DiffOptions(strategy=Strategy.STRUCTURED)
OLD = "kubectl-client-side-apply"


def ours(**fields: Any) -> dict[str, Any]:
    return manager(FIELD_MANAGER, {f"f:{name}": inner for name, inner in fields.items()})


def predicted(target: Any, live: Any, options: DiffOptions = STRUCTURED) -> Any:
    return difference(target, live, options).predicted


def test_what_we_owned_and_the_target_lost_is_removed() -> None:
    live = read(config_map(a="1", b="2", c="3"), managers=[ours(data={"f:a": {}, "f:b": {}})])
    assert predicted(config_map(a="1"), live)["data"] == {"a": "1", "c": "3"}


def test_unless_somebody_else_owns_it_too() -> None:
    live = read(
        config_map(a="1", b="2"), managers=[ours(data={"f:a": {}, "f:b": {}}), manager("x", {"f:data": {"f:b": {}}})]
    )
    assert not difference(config_map(a="1"), live, STRUCTURED).modified


def test_the_target_wins_over_everybody() -> None:
    live = read(config_map(a="2"), managers=[manager("x", {"f:data": {"f:a": {}}})])
    assert predicted(config_map(a="1"), live)["data"] == {"a": "1"}


def test_items_of_a_keyed_list_are_owned_one_by_one() -> None:
    fields: dict[str, Any] = {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"old"}': {".": {}, "f:name": {}, "f:image": {}}}}}
    }
    live = read(
        deployment(pod_spec(container("injected"), container("old"), container())), managers=[ours(spec=fields)]
    )
    found = predicted(deployment(pod_spec(container("new"), container())), live)
    # In the order that is there already; what is new comes last.
    assert [one["name"] for one in found["spec"]["template"]["spec"]["containers"]] == ["injected", "web", "new"]


def test_the_order_of_a_keyed_list_is_no_difference() -> None:
    target = deployment(pod_spec(container("a"), container("b")))
    assert not difference(target, read(deployment(pod_spec(container("b"), container("a")))), STRUCTURED).modified


def test_an_atomic_map_is_replaced_as_a_whole() -> None:
    live = read(service(selector={"app": "web", "more": "1"}))
    assert predicted(service(), live)["spec"]["selector"] == {"app": "web"}


def test_how_lists_of_custom_kinds_merge_is_read_from_what_their_managers_own() -> None:
    parts = [{"name": "a", "size": 1}, {"name": "theirs"}]
    keyed = manager("x", {"f:spec": {"f:parts": {'k:{"name":"theirs"}': {".": {}, "f:name": {}}}}})
    live = read(custom(parts=parts, tags=["t"]), managers=[keyed, manager("y", {"f:spec": {"f:tags": {'v:"t"': {}}}})])
    found = predicted(custom(parts=[{"name": "a", "size": 2}], tags=["u"]), live)
    assert found["spec"] == {"parts": [{"name": "a", "size": 2}, {"name": "theirs"}], "tags": ["t", "u"]}
    # Nobody owns items: the list is one value.
    atomic = read(custom(parts=parts), managers=[manager("x", {"f:spec": {"f:parts": {}}})])
    assert predicted(custom(parts=[{"name": "a"}]), atomic)["spec"] == {"parts": [{"name": "a"}]}


def test_trap_16_replicas_in_git_beat_an_autoscaler_unless_absent_or_ignored_and_respected() -> None:
    scaled = manager("hpa", {"f:spec": {"f:replicas": {}}}, "Update", subresource="scale")
    live = edited(read(deployment(replicas=2), managers=[scaled]), "spec.replicas", 7)
    assert predicted(deployment(replicas=2), live)["spec"]["replicas"] == 2
    assert not difference(deployment(), live, STRUCTURED).modified
    rules = (IgnoreRule(group="apps", kind="Deployment", json_pointers=("/spec/replicas",)),)
    ignored = DiffOptions(strategy=Strategy.STRUCTURED, ignores=rules)
    assert not difference(deployment(replicas=2), live, ignored).modified
    # Ignored alone, the apply still sends it; respected, the live value is sent.
    assert keep_ignored(deployment(replicas=2), live, rules)["spec"]["replicas"] == 7


def test_trap_18_fields_of_the_client_side_manager_go_away_only_if_they_are_taken_over() -> None:
    live = read(config_map(a="1", b="2"), managers=[manager(OLD, {"f:data": {"f:a": {}, "f:b": {}}}, "Update")])
    assert predicted(config_map(a="1"), live)["data"] == {"a": "1"}
    kept = DiffOptions(strategy=Strategy.STRUCTURED, migrated_managers=())
    assert not difference(config_map(a="1"), live, kept).modified
    named = read(config_map(a="1", b="2"), managers=[manager("helm", {"f:data": {"f:b": {}}}, "Update")])
    assert not difference(config_map(a="1"), named, STRUCTURED).modified  # the manager has another name
    helm = DiffOptions(strategy=Strategy.STRUCTURED, migrated_managers=("helm",))
    assert predicted(config_map(a="1"), named, helm)["data"] == {"a": "1"}


def test_taking_over_moves_the_fields_and_leaves_the_others_alone() -> None:
    annotation: dict[str, Any] = {
        "f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}, "f:note": {}}
    }
    old = manager(OLD, {"f:data": {"f:b": {}}, "f:metadata": annotation}, "Update")
    other, scale = manager("x", {"f:data": {"f:c": {}}}), manager(OLD, {"f:spec": {}}, "Update", subresource="scale")
    live = read(config_map(a="1"), managers=[other, ours(data={"f:a": {}}), old, scale])
    moved = migrate_managers(live)
    assert moved is not None
    assert moved[1:] == [other, scale]
    assert moved[0]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:annotations": {"f:note": {}}}}
    assert (moved[0]["manager"], moved[0]["operation"]) == (FIELD_MANAGER, "Apply")
    assert migrate_managers(read(config_map(), managers=moved)) is None
    assert migrate_managers(read(config_map())) is None


@pytest.mark.parametrize(("include", "is_modified"), [(False, False), (True, True)])
def test_in_a_dry_run_what_webhooks_change_does_not_count_unless_asked(include: bool, is_modified: bool) -> None:
    options = DiffOptions(strategy=Strategy.SERVER_SIDE, include_mutation_webhooks=include)
    fields = ours(
        spec={"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}}}}
    )
    live = read(deployment())
    dry_run = read(deployment(pod_spec(container(tty=True), container("injected"))), managers=[fields])
    assert difference(deployment(), live, options, dry_run=dry_run).modified is is_modified


def test_a_dry_run_tells_what_the_server_makes_of_the_target() -> None:
    options = DiffOptions(strategy=Strategy.SERVER_SIDE)
    path = "spec.template.spec.containers.0.image"
    fields = ours(
        spec={"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}}}}
    )
    dry_run = edited(read(deployment(), managers=[fields]), path, "shop/web:2")
    found = difference(edited(deployment(), path, "shop/web:2"), read(deployment()), options, dry_run=dry_run)
    assert [str(change) for change in found.changes] == [
        "spec.template.spec.containers[name=web].image: wanted 'shop/web:2', found 'shop/web:1'"
    ]
    # Without a dry run: as computed here.
    assert difference(edited(deployment(), path, "shop/web:2"), read(deployment()), options).modified
