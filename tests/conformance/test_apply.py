"""The contract of server-side apply: who owns what, who may change it, and what goes when it is no longer applied."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import ApplyPatch, Cluster, MergePatch
from fairlead.core.errors import Conflict, Invalid, NotFound
from fairlead.core.kinds import HTTP_ROUTES
from fairlead.core.objects import Manifest
from tests.conformance.arena import CONFIG_MAPS, RAW_SETS, WIDGETS, Arena
from tests.conformance.pods import replica_set


async def apply(
    arena: Arena, spec: dict[str, Any], *, by: Cluster | None = None, force: bool = False, name: str = "one"
) -> Manifest:
    body = {
        "apiVersion": WIDGETS.api_version,
        "kind": "Widget",
        "metadata": {"name": name, "namespace": arena.namespace},
        "spec": spec,
    }
    return await (by or arena.cluster).patch(WIDGETS, arena.key(name), ApplyPatch(body, force=force))


def owned(manifest: Manifest, manager: str, operation: str = "Apply") -> Any:
    """Return the fieldsV1 of a manager."""
    entries = manifest.content["metadata"]["managedFields"]
    found = [entry for entry in entries if (entry["manager"], entry["operation"]) == (manager, operation)]
    return found[0]["fieldsV1"] if found else None


async def test_apply_creates_and_owns_what_it_names(arena: Arena) -> None:
    made = await apply(arena, {"replicas": 3, "parts": [{"name": "a", "count": 2}]})
    assert made.content["spec"] == {"replicas": 3, "color": "red", "parts": [{"name": "a", "count": 2}]}
    assert owned(made, "fairlead") == {
        "f:spec": {
            "f:replicas": {},
            "f:parts": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:count": {}}},
        }
    }


async def test_applying_the_same_again_makes_no_revision(arena: Arena) -> None:
    made = await apply(arena, {"replicas": 3})
    again = await apply(arena, {"replicas": 3})
    assert again.metadata.resource_version == made.metadata.resource_version


async def test_another_managers_value_is_a_conflict_that_names_it(arena: Arena) -> None:
    await apply(arena, {"replicas": 3, "color": "green"})
    with pytest.raises(Conflict) as caught:
        await apply(arena, {"replicas": 4, "color": "red"}, by=arena.stranger)
    assert caught.value.status == 409
    causes = [(cause.reason, cause.message, cause.field) for cause in caught.value.causes]
    text = 'conflict with "fairlead"'
    assert sorted(causes) == [
        ("FieldManagerConflict", text, ".spec.color"),
        ("FieldManagerConflict", text, ".spec.replicas"),
    ]
    assert str(caught.value).startswith('Apply failed with 2 conflicts: conflicts with "fairlead"')
    now = await arena.cluster.get(WIDGETS, arena.key("one"))
    assert now.content["spec"]["replicas"] == 3


async def test_equal_values_are_owned_together(arena: Arena) -> None:
    await apply(arena, {"replicas": 3})
    shared = await apply(arena, {"replicas": 3}, by=arena.stranger)
    assert owned(shared, "fairlead") == owned(shared, "stranger") == {"f:spec": {"f:replicas": {}}}
    # One of them letting go does not remove it.
    left = await apply(arena, {"color": "green"})
    assert left.content["spec"]["replicas"] == 3
    # The last one does; the default of the schema then takes its place.
    gone = await apply(arena, {"color": "green"}, by=arena.stranger)
    assert gone.content["spec"]["replicas"] == 1


async def test_force_takes_a_field_over(arena: Arena) -> None:
    await apply(arena, {"replicas": 3, "color": "green"})
    taken = await apply(arena, {"replicas": 4}, by=arena.stranger, force=True)
    assert taken.content["spec"]["replicas"] == 4
    assert owned(taken, "stranger") == {"f:spec": {"f:replicas": {}}}
    assert owned(taken, "fairlead") == {"f:spec": {"f:color": {}}}


async def test_an_ordinary_write_takes_a_field_over_and_apply_then_conflicts(arena: Arena) -> None:
    await apply(arena, {"replicas": 3})
    patched = await arena.stranger.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 5}}))
    assert owned(patched, "stranger", "Update") == {"f:spec": {"f:replicas": {}}}
    assert owned(patched, "fairlead") is None
    with pytest.raises(Conflict, match=f'conflict with "stranger" using {WIDGETS.api_version}: .spec.replicas'):
        await apply(arena, {"replicas": 3})


async def test_what_is_no_longer_applied_goes_and_what_others_own_stays(arena: Arena) -> None:
    await apply(arena, {"settings": {"a": "1", "b": "2"}, "parts": [{"name": "a"}, {"name": "b", "label": "x"}]})
    await apply(arena, {"settings": {"c": "3"}, "parts": [{"name": "c"}]}, by=arena.stranger)
    left = await apply(arena, {"settings": {"a": "1"}, "parts": [{"name": "b"}]})
    assert left.content["spec"]["settings"] == {"a": "1", "c": "3"}
    assert left.content["spec"]["parts"] == [{"name": "b", "count": 1}, {"name": "c", "count": 1}]


async def test_an_item_that_another_manager_has_a_field_of_stays(arena: Arena) -> None:
    await apply(arena, {"parts": [{"name": "a", "count": 2}, {"name": "b"}]})
    await apply(arena, {"parts": [{"name": "a", "label": "kept"}]}, by=arena.stranger)
    left = await apply(arena, {"parts": [{"name": "b"}]})
    assert {"name": "a", "count": 1, "label": "kept"} in left.content["spec"]["parts"]


async def test_a_set_merges_and_a_plain_list_is_one_value(arena: Arena) -> None:
    await apply(arena, {"tags": ["x", "y"], "sequence": ["x", "y"]})
    with pytest.raises(Conflict) as caught:
        await apply(arena, {"tags": ["z"], "sequence": ["z"]}, by=arena.stranger)
    assert [cause.field for cause in caught.value.causes] == [".spec.sequence"]
    merged = await apply(arena, {"tags": ["z"]}, by=arena.stranger)
    assert sorted(merged.content["spec"]["tags"]) == ["x", "y", "z"]
    left = await apply(arena, {"tags": ["y"], "sequence": ["x", "y"]})
    assert sorted(left.content["spec"]["tags"]) == ["y", "z"]


async def test_status_is_applied_apart(arena: Arena) -> None:
    await apply(arena, {"replicas": 3})
    body = {
        "apiVersion": WIDGETS.api_version,
        "kind": "Widget",
        "metadata": {"name": "one", "namespace": arena.namespace},
        "status": {"phase": "Fine"},
    }
    told = await arena.cluster.patch(WIDGETS, arena.key("one"), ApplyPatch(body), subresource="status")
    assert told.content["status"] == {"phase": "Fine"}
    assert told.content["spec"]["replicas"] == 3
    entries = [entry for entry in told.content["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert [entry["fieldsV1"] for entry in entries] == [{"f:status": {"f:phase": {}}}]
    missing = {**body, "metadata": {"name": "none", "namespace": arena.namespace}}
    with pytest.raises(NotFound):
        await arena.cluster.patch(WIDGETS, arena.key("none"), ApplyPatch(missing), subresource="status")


async def test_containers_merge_by_name(arena: Arena) -> None:
    await arena.create(RAW_SETS, "web", spec={**replica_set("web", ports=[8080]), "replicas": 0})
    sidecar = {"containers": [{"name": "sidecar", "image": "proxy:1", "env": [{"name": "A", "value": "1"}]}]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": arena.namespace},
        "spec": {"template": {"spec": sidecar}},
    }
    merged = await arena.stranger.patch(RAW_SETS, arena.key("web"), ApplyPatch(body))
    names = [one["name"] for one in merged.content["spec"]["template"]["spec"]["containers"]]
    assert names == ["web", "sidecar"]
    body["spec"] = {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}
    with pytest.raises(Conflict) as caught:
        await arena.stranger.patch(RAW_SETS, arena.key("web"), ApplyPatch(body))
    assert [cause.field for cause in caught.value.causes] == ['.spec.template.spec.containers[name="web"].image']


async def test_managed_fields_must_not_be_applied(arena: Arena) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": arena.namespace, "managedFields": []},
    }
    with pytest.raises(Invalid, match=r"metadata\.managedFields must be nil"):
        await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), ApplyPatch(body))


async def test_a_routes_rules_are_one_value(arena: Arena) -> None:
    """Gateway API's lists of rules are atomic: whoever applies weights owns all rules."""
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    body = {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": arena.namespace},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": rules},
    }
    made = await arena.cluster.patch(HTTP_ROUTES, arena.key("web"), ApplyPatch(body))
    rule = made.content["spec"]["rules"][0]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert rule["backendRefs"] == [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}]
    assert made.content["spec"]["parentRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"}
    ]
    body["spec"] = {"rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 5}]}]}
    with pytest.raises(Conflict) as caught:
        await arena.stranger.patch(HTTP_ROUTES, arena.key("web"), ApplyPatch(body))
    assert [cause.field for cause in caught.value.causes] == [".spec.rules"]
