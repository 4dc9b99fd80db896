"""The contract of reads and writes: what any Kubernetes API does, and the simulated one therefore too."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import JsonPatch, MergePatch, Preconditions
from fairlead.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from fairlead.core.kinds import NAMESPACES, PODS, REPLICA_SETS, SERVICES
from fairlead.core.objects import ObjectKey
from tests.conformance.arena import CONFIG_MAPS, GADGETS, RAW_PODS, RAW_SETS, WIDGETS, Arena
from tests.conformance.pods import replica_set, template


async def test_create_answers_what_the_server_fills_in(arena: Arena) -> None:
    made = await arena.create(WIDGETS, "one", spec={"replicas": 3})
    assert made.metadata.uid
    assert made.metadata.version > 0
    assert made.metadata.generation == 1
    assert made.metadata.creation_timestamp is not None
    assert made.metadata.namespace == arena.namespace
    assert await arena.cluster.get(WIDGETS, arena.key("one")) == made


async def test_a_name_is_taken_once(arena: Arena) -> None:
    await arena.create(CONFIG_MAPS, "one", data={"a": "1"})
    with pytest.raises(AlreadyExists, match='configmaps "one" already exists') as caught:
        await arena.create(CONFIG_MAPS, "one", data={"a": "2"})
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


async def test_what_is_not_there_is_not_found(arena: Arena) -> None:
    with pytest.raises(NotFound, match=r'widgets\.conformance\.fairlead\.dev "none" not found'):
        await arena.cluster.get(WIDGETS, arena.key("none"))
    with pytest.raises(NotFound, match='pods "none" not found'):
        await arena.cluster.delete(PODS, arena.key("none"))
    with pytest.raises(NotFound):
        await arena.cluster.patch(WIDGETS, arena.key("none"), MergePatch({"spec": {}}))


async def test_a_namespace_must_exist(arena: Arena) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await arena.cluster.create(CONFIG_MAPS, body, namespace="nowhere")


async def test_generated_names_differ(arena: Arena) -> None:
    body = {"metadata": {"generateName": "box-"}}
    first = await arena.cluster.create(CONFIG_MAPS, body, namespace=arena.namespace)
    second = await arena.cluster.create(CONFIG_MAPS, body, namespace=arena.namespace)
    assert first.metadata.name.startswith("box-")
    assert len(first.metadata.name) == len("box-") + 5
    assert first.metadata.name != second.metadata.name


async def test_every_write_moves_the_one_revision(arena: Arena) -> None:
    first = await arena.create(CONFIG_MAPS, "one")
    second = await arena.create(WIDGETS, "two", spec={})
    third = await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"data": {"a": "1"}}))
    assert first.metadata.version < second.metadata.version < third.metadata.version


async def test_a_patch_that_changes_nothing_makes_no_revision(arena: Arena) -> None:
    made = await arena.create(WIDGETS, "one", spec={"replicas": 2})
    same = await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 2}}))
    assert same.metadata.resource_version == made.metadata.resource_version


async def test_a_stale_resource_version_conflicts(arena: Arena) -> None:
    made = await arena.create(WIDGETS, "one", spec={"replicas": 1})
    await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 2}}))
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "spec": {"replicas": 3}}
    with pytest.raises(Conflict, match="the object has been modified") as caught:
        await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch(stale))
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    assert (await arena.cluster.get(WIDGETS, arena.key("one"))).content["spec"]["replicas"] == 2


async def test_a_foreign_uid_refuses_the_patch(arena: Arena) -> None:
    """A bare API server calls it invalid (`metadata.uid` is immutable); a port may translate that to Conflict."""
    made = await arena.create(CONFIG_MAPS, "one")
    body = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"a": "1"}}
    with pytest.raises((Conflict, Invalid)):
        await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch(body))
    assert await arena.cluster.get(CONFIG_MAPS, arena.key("one")) == made


async def test_generation_counts_changes_of_the_spec_only(arena: Arena) -> None:
    key = arena.key("one")
    await arena.create(WIDGETS, "one", spec={"replicas": 1})
    labelled = await arena.cluster.patch(WIDGETS, key, MergePatch({"metadata": {"labels": {"a": "b"}}}))
    assert labelled.metadata.generation == 1
    scaled = await arena.cluster.patch(WIDGETS, key, MergePatch({"spec": {"replicas": 2}}))
    assert scaled.metadata.generation == 2
    told = await arena.cluster.patch(WIDGETS, key, MergePatch({"status": {"phase": "Fine"}}), subresource="status")
    assert told.metadata.generation == 2


async def test_without_a_status_subresource_status_is_content_like_any_other(arena: Arena) -> None:
    await arena.create(GADGETS, "one", status={"phase": "New"})
    changed = await arena.cluster.patch(GADGETS, arena.key("one"), MergePatch({"status": {"phase": "Fine"}}))
    assert changed.content["status"] == {"phase": "Fine"}
    assert changed.metadata.generation == 2
    with pytest.raises(NotFound):
        await arena.cluster.patch(GADGETS, arena.key("one"), MergePatch({"status": {}}), subresource="status")


async def test_the_main_endpoint_ignores_status_and_the_status_endpoint_the_rest(arena: Arena) -> None:
    key = arena.key("one")
    made = await arena.create(WIDGETS, "one", spec={"replicas": 1}, status={"phase": "Invented"})
    assert "status" not in made.content
    both = {"spec": {"replicas": 5}, "status": {"phase": "Fine"}}
    told = await arena.cluster.patch(WIDGETS, key, MergePatch(both), subresource="status")
    assert (told.content["spec"]["replicas"], told.content["status"]) == (1, {"phase": "Fine"})
    other = {"spec": {"replicas": 6}, "status": {"phase": "Lost"}}
    scaled = await arena.cluster.patch(WIDGETS, key, MergePatch(other))
    assert (scaled.content["spec"]["replicas"], scaled.content["status"]) == (6, {"phase": "Fine"})


async def test_a_merge_patch_with_null_removes(arena: Arena) -> None:
    await arena.create(CONFIG_MAPS, "one", data={"a": "1", "b": "2"})
    patched = await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"data": {"a": None}}))
    assert patched.content["data"] == {"b": "2"}


async def test_a_json_patch_whose_test_fails_changes_nothing(arena: Arena) -> None:
    await arena.create(WIDGETS, "one", spec={"replicas": 1, "sequence": ["a"]})
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/spec/sequence/-", "value": "b"},
        {"op": "test", "path": "/spec/replicas", "value": 2},
    ]
    with pytest.raises(Invalid) as caught:
        await arena.cluster.patch(WIDGETS, arena.key("one"), JsonPatch(operations))
    assert caught.value.status == 422
    now = await arena.cluster.get(WIDGETS, arena.key("one"))
    assert now.content["spec"]["sequence"] == ["a"]


async def test_a_json_patch_edits_by_place(arena: Arena) -> None:
    await arena.create(WIDGETS, "one", spec={"sequence": ["a", "c"]})
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/spec/sequence/1", "value": "c"},
        {"op": "add", "path": "/spec/sequence/1", "value": "b"},
        {"op": "replace", "path": "/spec/color", "value": "green"},
    ]
    patched = await arena.cluster.patch(WIDGETS, arena.key("one"), JsonPatch(operations))
    assert (patched.content["spec"]["sequence"], patched.content["spec"]["color"]) == (["a", "b", "c"], "green")


async def test_deletion_keeps_its_preconditions(arena: Arena) -> None:
    made = await arena.create(CONFIG_MAPS, "one")
    with pytest.raises(Conflict):
        await arena.cluster.delete(
            CONFIG_MAPS, arena.key("one"), preconditions=Preconditions(uid="00000000-0000-0000-0000-000000000000")
        )
    await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"data": {"a": "1"}}))
    stale = Preconditions(uid=made.metadata.uid, resource_version=made.metadata.resource_version)
    with pytest.raises(Conflict):
        await arena.cluster.delete(CONFIG_MAPS, arena.key("one"), preconditions=stale)
    await arena.cluster.delete(CONFIG_MAPS, arena.key("one"), preconditions=Preconditions(uid=made.metadata.uid))
    assert await arena.is_gone(CONFIG_MAPS, "one")


async def test_a_finalizer_holds_an_object(arena: Arena) -> None:
    key = arena.key("one")
    made = await arena.create(WIDGETS, "one", metadata={"finalizers": ["fairlead.dev/hold"]}, spec={})
    await arena.cluster.delete(WIDGETS, key)
    held = await arena.cluster.get(WIDGETS, key)
    assert held.metadata.is_deleting
    assert held.metadata.generation == made.metadata.generation + 1
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        more = {"metadata": {"finalizers": ["fairlead.dev/hold", "fairlead.dev/more"]}}
        await arena.cluster.patch(WIDGETS, key, MergePatch(more))
    await arena.cluster.patch(WIDGETS, key, MergePatch({"metadata": {"finalizers": None}}))
    assert await arena.is_gone(WIDGETS, "one")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(
            {"name": "Bad_Name"}, 'metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain', id="name"
        ),
        pytest.param(
            {"name": "good", "labels": {"a": "not valid"}},
            'metadata.labels: Invalid value: "not valid": a valid label must be an empty string',
            id="label-value",
        ),
        pytest.param(
            {"name": "good", "labels": {"a/b/c": "x"}}, 'metadata.labels: Invalid value: "a/b/c"', id="label-key"
        ),
        pytest.param({"name": "good", "labels": {"a": "x" * 64}}, "must be no more than 63 bytes", id="label-length"),
        pytest.param({}, "metadata.name: Required value: name or generateName is required", id="no-name"),
    ],
)
async def test_names_and_labels_are_validated(arena: Arena, metadata: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        await arena.cluster.create(CONFIG_MAPS, {"metadata": metadata}, namespace=arena.namespace)
    assert message in str(caught.value)
    assert caught.value.status == 422
    assert caught.value.causes


async def test_pod_templates_are_defaulted(arena: Arena) -> None:
    made = await arena.create(RAW_SETS, "web", spec=replica_set("web", image="registry:5000/web", ports=[8080]))
    spec = made.content["spec"]["template"]["spec"]
    assert {key: spec[key] for key in spec if key != "containers"} == {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }
    assert spec["containers"] == [
        {
            "name": "web",
            "image": "registry:5000/web",
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {},
            "readinessProbe": {
                "httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always",
        }
    ]
    assert made.content["spec"]["replicas"] == 1


async def test_a_selector_is_immutable_and_selects_its_template(arena: Arena) -> None:
    await arena.create(RAW_SETS, "web", spec={**replica_set("web"), "replicas": 0})
    change = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
    with pytest.raises(Invalid, match="field is immutable"):
        await arena.cluster.patch(REPLICA_SETS, arena.key("web"), MergePatch(change))
    mismatch = {**replica_set("web"), "selector": {"matchLabels": {"app": "other"}}}
    with pytest.raises(Invalid, match="`selector` does not match template `labels`"):
        await arena.create(RAW_SETS, "other", spec=mismatch)


async def test_a_service_gets_an_address_and_keeps_it(arena: Arena) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    made = await arena.cluster.create(SERVICES, body, namespace=arena.namespace)
    assert made.spec.cluster_ip
    assert made.spec.ports[0].target_port == 80
    assert made.spec.ports[0].protocol == "TCP"
    with pytest.raises(Invalid, match=r"spec\.clusterIPs\[0\]: Invalid value: .*: may not change once set"):
        await arena.cluster.patch(SERVICES, arena.key("web"), MergePatch({"spec": {"clusterIP": "10.0.0.250"}}))


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        pytest.param([], "spec.ports: Required value", id="none"),
        pytest.param([{"port": 0}], "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535", id="zero"),
        pytest.param([{"port": 80}, {"port": 81}], "spec.ports[0].name: Required value", id="nameless"),
    ],
)
async def test_service_ports_are_validated(arena: Arena, ports: list[dict[str, int]], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        await arena.cluster.create(
            SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": ports}}, namespace=arena.namespace
        )
    assert message in str(caught.value)


async def test_a_pods_containers_are_settled(arena: Arena) -> None:
    await arena.create(RAW_PODS, "web", spec=template("web")["spec"])
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "web:2"}]
    patched = await arena.cluster.patch(RAW_PODS, arena.key("web"), JsonPatch(image))
    assert patched.content["spec"]["containers"][0]["image"] == "web:2"
    command = [{"op": "add", "path": "/spec/containers/0/command", "value": ["sh"]}]
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await arena.cluster.patch(RAW_PODS, arena.key("web"), JsonPatch(command))


async def test_cluster_scoped_kinds_have_no_namespace(arena: Arena) -> None:
    found = await arena.cluster.get(NAMESPACES, ObjectKey("", arena.namespace))
    assert found.metadata.labels["kubernetes.io/metadata.name"] == arena.namespace
    assert found.content["status"]["phase"] == "Active"
