"""The HTTP face: what clients other than ours rely on, in the shapes that a real API server answers."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import Served, kubeconfig, serve
from tests.conformance.arena import DEFINITIONS

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/conformance.fairlead.dev/v1/namespaces/default/widgets"
WIDGET = {
    "apiVersion": "conformance.fairlead.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "one"},
    "spec": {"replicas": 2},
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Client:
    """A bare client: status and JSON of every answer."""

    def __init__(self, session: aiohttp.ClientSession, served: Served, cluster: SimulatedCluster) -> None:
        self.session = session
        self.served = served
        self.cluster = cluster

    async def ask(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", accept: str = ""
    ) -> tuple[int, Any]:
        headers = {"Accept": accept} if accept else {}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.request(method, self.served.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    cluster = SimulatedCluster(LoopClock(), crds=DEFINITIONS)
    async with serve(cluster) as served, aiohttp.ClientSession() as session:
        yield Client(session, served, cluster)


async def test_health_and_version(client: Client) -> None:
    for path in ("/healthz", "/readyz", "/livez"):
        async with client.session.get(client.served.url + path) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
    _, version = await client.ask("GET", "/version")
    assert version["gitVersion"].startswith("v1.36")


async def test_it_listens_on_loopback_only(client: Client) -> None:
    assert client.served.host == "127.0.0.1"


async def test_discovery_in_both_forms(client: Client) -> None:
    _, groups = await client.ask("GET", "/apis")
    names = [group["name"] for group in groups["groups"]]
    assert {"apps", "conformance.fairlead.dev", "gateway.networking.k8s.io"} <= set(names)
    _, listed = await client.ask("GET", "/apis/conformance.fairlead.dev/v1")
    kinds = {entry["name"]: entry["kind"] for entry in listed["resources"]}
    assert kinds == {
        "gadgets": "Gadget",
        "widgets": "Widget",
        "widgets/status": "Widget",
        "widgets/scale": "Scale",
    }
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    _, aggregated = await client.ask("GET", "/apis", accept=accept)
    found = next(item for item in aggregated["items"] if item["metadata"]["name"] == "conformance.fairlead.dev")
    widgets = next(one for one in found["versions"][0]["resources"] if one["resource"] == "widgets")
    assert widgets["responseKind"] == {"group": "conformance.fairlead.dev", "version": "v1", "kind": "Widget"}
    assert {below["subresource"] for below in widgets["subresources"]} == {"status", "scale"}
    assert (await client.ask("GET", "/apis/apps"))[1]["preferredVersion"]["version"] == "v1"
    assert (await client.ask("GET", "/apis/none.example"))[0] == 404


async def test_openapi_names_the_kinds_and_the_validated_writes(client: Client) -> None:
    _, index = await client.ask("GET", "/openapi/v3")
    url = index["paths"]["apis/conformance.fairlead.dev/v1"]["serverRelativeURL"]
    _, document = await client.ask("GET", url)
    path = document["paths"]["/apis/conformance.fairlead.dev/v1/namespaces/{namespace}/widgets/{name}"]
    assert path["patch"]["x-kubernetes-group-version-kind"]["kind"] == "Widget"
    assert "fieldValidation" in [one["name"] for one in path["patch"]["parameters"]]
    schema = document["components"]["schemas"]["dev.fairlead.conformance.v1.Widget"]
    assert schema["properties"]["spec"]["properties"]["replicas"]["maximum"] == 10
    client.cluster.install_crds([_other_definition()])
    _, after = await client.ask("GET", "/openapi/v3")
    assert "apis/other.example/v1" in after["paths"]
    assert (await client.ask("GET", "/openapi/v2"))[1]["swagger"] == "2.0"
    assert (await client.ask("GET", "/openapi/v3/apis/none.example/v1"))[0] == 404


def _other_definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.other.example"},
        "spec": {
            "group": "other.example",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [version],
        },
    }


async def test_a_failure_is_a_status(client: Client) -> None:
    status, body = await client.ask("GET", f"{WIDGETS}/none")
    assert status == 404
    assert body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'widgets.conformance.fairlead.dev "none" not found',
        "reason": "NotFound",
        "details": {"name": "none", "group": "conformance.fairlead.dev", "kind": "widgets"},
        "code": 404,
    }


async def test_an_invalid_body_names_its_fields(client: Client) -> None:
    status, body = await client.ask("POST", WIDGETS, {**WIDGET, "spec": {"replicas": 11}})
    assert (status, body["reason"]) == (422, "Invalid")
    assert body["details"] == {
        "name": "one",
        "group": "conformance.fairlead.dev",
        "kind": "Widget",
        "causes": [
            {
                "reason": "FieldValueInvalid",
                "message": "Invalid value: 11: spec.replicas in body should be less than or equal to 10",
                "field": "spec.replicas",
            }
        ],
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        pytest.param("GET", "/apis/none.example/v1/namespaces/default/things", None, "", 404, id="unknown-group"),
        pytest.param("GET", "/api/v1/namespaces/default/things", None, "", 404, id="unknown-kind"),
        pytest.param("POST", f"{CONFIG_MAPS}/one", {}, "application/json", 405, id="post-to-an-object"),
        pytest.param("PUT", CONFIG_MAPS, {}, "application/json", 405, id="put-to-a-collection"),
        pytest.param("POST", CONFIG_MAPS, b"{", "application/json", 400, id="no-json"),
        pytest.param("POST", CONFIG_MAPS, [1], "application/json", 400, id="no-object"),
        pytest.param("PATCH", f"{CONFIG_MAPS}/one", {}, "application/json", 415, id="no-patch-type"),
        pytest.param(
            "POST", CONFIG_MAPS, b"k8s\x00nonsense", "application/vnd.kubernetes.protobuf", 415, id="protobuf"
        ),
        pytest.param("GET", f"{CONFIG_MAPS}?limit=x", None, "", 400, id="limit"),
        pytest.param("GET", f"{CONFIG_MAPS}?resourceVersion=x", None, "", 400, id="version"),
        pytest.param("GET", f"{CONFIG_MAPS}?resourceVersion=999999", None, "", 504, id="version-in-the-future"),
        pytest.param("DELETE", f"{CONFIG_MAPS}/one?propagationPolicy=x", None, "", 422, id="propagation"),
        pytest.param("PATCH", f"{WIDGETS}/one", WIDGET, "application/apply-patch+yaml", 422, id="apply-by-nobody"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: Client, method: str, path: str, body: Any, content_type: str, status: int
) -> None:
    answer, found = await client.ask(method, path, body, content_type=content_type)
    assert (answer, found["kind"], found["status"], found["code"]) == (status, "Status", "Failure", status)


async def test_a_body_can_be_too_large(client: Client) -> None:
    big = {"metadata": {"name": "one"}, "data": {"a": "x" * 1_600_000}}
    assert (await client.ask("POST", CONFIG_MAPS, big))[0] == 413
    huge = b'"' + b"x" * (3 * 1024 * 1024 + 10) + b'"'
    assert (await client.ask("POST", CONFIG_MAPS, huge))[0] == 413


async def test_put_replaces_and_minds_the_version(client: Client) -> None:
    _, made = await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "one"}, "data": {"a": "1", "b": "2"}})
    status, put = await client.ask("PUT", f"{CONFIG_MAPS}/one", {"metadata": {"name": "one"}, "data": {"a": "3"}})
    assert (status, put["data"]) == (200, {"a": "3"})
    assert put["metadata"]["uid"] == made["metadata"]["uid"]
    status, body = await client.ask("PUT", f"{CONFIG_MAPS}/one", made)
    assert (status, body["reason"]) == (409, "Conflict")
    status, body = await client.ask("PUT", f"{CONFIG_MAPS}/none", {"metadata": {"name": "none"}})
    assert status == 404
    await client.ask("POST", WIDGETS, WIDGET)
    status, body = await client.ask("PUT", f"{WIDGETS}/one", WIDGET)
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in body["message"]


async def test_dry_runs_change_nothing(client: Client) -> None:
    status, made = await client.ask("POST", f"{WIDGETS}?dryRun=All", WIDGET)
    assert (status, made["spec"]["color"]) == (201, "red")
    assert (await client.ask("GET", f"{WIDGETS}/one"))[0] == 404
    await client.ask("POST", WIDGETS, WIDGET)
    merge = "application/merge-patch+json"
    _, patched = await client.ask("PATCH", f"{WIDGETS}/one?dryRun=All", {"spec": {"replicas": 5}}, content_type=merge)
    assert patched["spec"]["replicas"] == 5
    await client.ask("DELETE", f"{WIDGETS}/one?dryRun=All")
    assert (await client.ask("GET", f"{WIDGETS}/one"))[1]["spec"]["replicas"] == 2


async def test_strict_field_validation(client: Client) -> None:
    typo = {**WIDGET, "spec": {"replcas": 1}}
    status, body = await client.ask("POST", f"{WIDGETS}?fieldValidation=Strict", typo)
    assert status == 400
    assert 'strict decoding error: unknown field "spec.replcas"' in body["message"]
    assert (await client.ask("POST", WIDGETS, typo))[0] == 201


async def test_yaml_bodies(client: Client) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {day: '2026-01-01'}\n"
    status, made = await client.ask("POST", CONFIG_MAPS, text, content_type="application/yaml")
    assert (status, made["data"]) == (201, {"day": "2026-01-01"})
    applied = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  annotations: {at: 2026-01-01}\n"
    path = f"{CONFIG_MAPS}/one?fieldManager=m"
    status, body = await client.ask("PATCH", path, applied, content_type="application/apply-patch+yaml")
    assert (status, body["metadata"]["annotations"]) == (200, {"at": "2026-01-01"})


async def test_tables_and_metadata_only(client: Client) -> None:
    await client.ask("POST", WIDGETS, WIDGET)
    _, table = await client.ask("GET", WIDGETS, accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"][0] == "one"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, whole = await client.ask("GET", f"{WIDGETS}?includeObject=Object", accept=TABLE)
    assert whole["rows"][0]["object"]["spec"]["replicas"] == 2
    _, partial = await client.ask(
        "GET", WIDGETS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    )
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "spec" not in partial["items"][0]
    _, one = await client.ask(
        "GET", f"{WIDGETS}/one", accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    )
    assert (one["kind"], one["metadata"]["name"]) == ("PartialObjectMetadata", "one")


async def test_protobuf_is_answered_by_json(client: Client) -> None:
    accept = "application/vnd.kubernetes.protobuf,application/json"
    status, body = await client.ask("GET", CONFIG_MAPS, accept=accept)
    assert (status, body["kind"]) == (200, "ConfigMapList")


async def test_delete_collection_takes_a_selector(client: Client) -> None:
    for name, labels in (("a", {"go": "yes"}), ("b", {"go": "yes"}), ("c", {})):
        await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    status, gone = await client.ask("DELETE", f"{CONFIG_MAPS}?labelSelector=go%3Dyes")
    assert (status, [item["metadata"]["name"] for item in gone["items"]]) == (200, ["a", "b"])
    _, left = await client.ask("GET", CONFIG_MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]


async def test_delete_answers_a_status_or_what_still_stands(client: Client) -> None:
    await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "one"}})
    _, gone = await client.ask("DELETE", f"{CONFIG_MAPS}/one")
    assert (gone["kind"], gone["status"], gone["details"]["name"]) == ("Status", "Success", "one")
    await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "two", "finalizers": ["x.example/hold"]}})
    _, held = await client.ask("DELETE", f"{CONFIG_MAPS}/two")
    assert held["kind"] == "ConfigMap"
    assert held["metadata"]["deletionTimestamp"]


async def _lines(client: Client, path: str, count: int, *, accept: str = "") -> list[Any]:
    headers = {"Accept": accept} if accept else {}
    found: list[Any] = []
    async with client.session.get(client.served.url + path, headers=headers) as answer:
        async for line in answer.content:
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


async def test_a_watch_without_a_version_begins_with_what_is_there(client: Client) -> None:
    await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "one"}})
    (line,) = await _lines(client, f"{CONFIG_MAPS}?watch=1", 1)
    assert (line["type"], line["object"]["metadata"]["name"]) == ("ADDED", "one")


async def test_initial_events_end_with_a_marked_bookmark(client: Client) -> None:
    await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "one"}})
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    first, second = await _lines(client, f"{CONFIG_MAPS}?{query}", 2)
    assert first["type"] == "ADDED"
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_of_an_expired_version_says_so_in_the_stream(client: Client) -> None:
    client.cluster.compact()
    (line,) = await _lines(client, f"{CONFIG_MAPS}?watch=1&resourceVersion=1", 1)
    assert (line["type"], line["object"]["code"], line["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_of_tables_names_the_columns_once(client: Client) -> None:
    for name in ("a", "b"):
        await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": name}})
    first, second = await _lines(client, f"{CONFIG_MAPS}?watch=1", 2, accept=TABLE)
    assert first["object"]["kind"] == second["object"]["kind"] == "Table"
    assert len(first["object"]["columnDefinitions"]) == 3
    assert second["object"]["columnDefinitions"] == []


async def test_a_watch_ends_with_its_client_and_with_the_server() -> None:
    cluster = SimulatedCluster(LoopClock(), crds=())
    async with aiohttp.ClientSession() as session:
        async with serve(cluster) as served:
            answer = await session.get(f"{served.url}{CONFIG_MAPS}?watch=1&resourceVersion=1")
            reading = asyncio.create_task(answer.content.read())
            await asyncio.sleep(0)
        # The server is gone: the stream ends, without anybody waiting for the watch's own time-out.
        with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
            if await reading == b"":
                raise aiohttp.ClientPayloadError
        answer.close()
    assert not any(cluster.api.storage._listeners.values())


async def test_reviews_are_always_granted(client: Client) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, review = await client.ask("POST", path, {"spec": {"resourceAttributes": {"verb": "get"}}})
    assert (status, review["status"]) == (201, {"allowed": True})
    assert review["spec"]["resourceAttributes"] == {"verb": "get"}
    _, token = await client.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}})
    assert token["status"]["authenticated"] is True


async def test_scale_and_eviction(client: Client) -> None:
    await client.ask("POST", WIDGETS, WIDGET)
    _, scale = await client.ask("GET", f"{WIDGETS}/one/scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    _, scaled = await client.ask("PUT", f"{WIDGETS}/one/scale", {**scale, "spec": {"replicas": 7}})
    assert scaled["spec"] == {"replicas": 7}
    status, _ = await client.ask("PUT", f"{WIDGETS}/one/scale", scale)
    assert status == 409
    pods = "/api/v1/namespaces/default/pods"
    await client.ask("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}})
    node = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert (await client.ask("POST", f"{pods}/p/binding", node))[0] == 201
    assert (await client.ask("GET", f"{pods}/p"))[1]["spec"]["nodeName"] == "n"
    assert (await client.ask("POST", f"{pods}/p/binding", node))[0] == 409
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await client.ask("POST", f"{pods}/p/eviction", body))[0] == 201
    assert (await client.ask("GET", f"{pods}/p"))[1]["metadata"]["deletionGracePeriodSeconds"] == 30


async def test_namespaces_have_status_and_finalize(client: Client) -> None:
    merge = "application/merge-patch+json"
    path = "/api/v1/namespaces/default"
    status, body = await client.ask("PATCH", f"{path}/status", {"status": {"note": "x"}}, content_type=merge)
    assert (status, body["kind"], body["status"]["note"]) == (200, "Namespace", "x")
    status, body = await client.ask("PUT", f"{path}/finalize", body)
    assert (status, body["kind"]) == (200, "Namespace")


def test_the_kubeconfig_is_one() -> None:
    content = yaml.safe_load(kubeconfig(1234))
    assert content["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:1234"
    assert content["current-context"] == content["contexts"][0]["name"]


async def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fairlead.testing.http", "--kubeconfig", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line.decode() == f"export KUBECONFIG={path}\n"
        server = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession() as session, session.get(f"{server}/readyz") as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        await process.wait()
