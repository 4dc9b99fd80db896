"""The Cluster port on HTTP: what is sent, and what is made of odd answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from fairlead.core.cluster import (
    ApplyPatch,
    Cluster,
    JsonPatch,
    MergePatch,
    Patch,
    Preconditions,
    Propagation,
    Undecodable,
    WatchEvent,
)
from fairlead.core.errors import (
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from fairlead.core.kinds import HTTP_ROUTES, NAMESPACES, PODS, REPLICA_SETS, ROLLOUTS, ReplicaSet
from fairlead.core.objects import ObjectKey
from fairlead.kube import KubeCluster
from tests.kube.server import Answer, breaks, cluster_on, dawdles, line, replica_set, says, status, streams

KEY = ObjectKey("shop", "a")
LIST = {"kind": "ReplicaSetList", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "9"}, "items": []}

Call = Callable[[KubeCluster], Awaitable[Any]]


def test_it_is_a_cluster() -> None:
    def accepts(cluster: Cluster) -> None: ...

    def given(cluster: KubeCluster) -> None:
        accepts(cluster)  # read by the type checker

    assert callable(given)


# --- what is sent ----------------------------------------------------------------------------------------------------


def get(cluster: KubeCluster) -> Awaitable[Any]:
    return cluster.get(REPLICA_SETS, KEY)


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "content_type", "body"),
    [
        pytest.param(get, "GET", "/apis/apps/v1/namespaces/shop/replicasets/a", {}, None, None, id="get"),
        pytest.param(
            lambda c: c.get(NAMESPACES, ObjectKey("", "shop")),
            "GET",
            "/api/v1/namespaces/shop",
            {},
            None,
            None,
            id="get-cluster-scoped",
        ),
        pytest.param(
            lambda c: c.get(REPLICA_SETS, ObjectKey("sh/op", "a b%?#ü")),
            "GET",
            "/apis/apps/v1/namespaces/sh%2Fop/replicasets/a%20b%25%3F%23%C3%BC",
            {},
            None,
            None,
            id="names-are-quoted",
        ),
        pytest.param(
            lambda c: c.create(REPLICA_SETS, {"metadata": {"name": "a"}}, namespace="shop"),
            "POST",
            "/apis/apps/v1/namespaces/shop/replicasets",
            {"fieldManager": "fairlead"},
            "application/json",
            {"metadata": {"name": "a"}},
            id="create",
        ),
        pytest.param(
            lambda c: c.create(REPLICA_SETS, {"metadata": {"name": "a", "namespace": "shop"}}),
            "POST",
            "/apis/apps/v1/namespaces/shop/replicasets",
            {"fieldManager": "fairlead"},
            "application/json",
            {"metadata": {"name": "a", "namespace": "shop"}},
            id="create-in-the-bodys-namespace",
        ),
        pytest.param(
            lambda c: c.patch(REPLICA_SETS, KEY, MergePatch({"spec": {"replicas": 2}})),
            "PATCH",
            "/apis/apps/v1/namespaces/shop/replicasets/a",
            {"fieldManager": "fairlead"},
            "application/merge-patch+json",
            {"spec": {"replicas": 2}},
            id="merge-patch",
        ),
        pytest.param(
            lambda c: c.patch(REPLICA_SETS, KEY, JsonPatch([{"op": "remove", "path": "/x"}]), subresource="status"),
            "PATCH",
            "/apis/apps/v1/namespaces/shop/replicasets/a/status",
            {"fieldManager": "fairlead"},
            "application/json-patch+json",
            [{"op": "remove", "path": "/x"}],
            id="json-patch-of-status",
        ),
        pytest.param(
            lambda c: c.patch(REPLICA_SETS, KEY, ApplyPatch({"spec": {}})),
            "PATCH",
            "/apis/apps/v1/namespaces/shop/replicasets/a",
            {"fieldManager": "fairlead", "force": "false"},
            "application/apply-patch+yaml",
            {"spec": {}},
            id="apply",
        ),
        pytest.param(
            lambda c: c.patch(REPLICA_SETS, KEY, ApplyPatch({"spec": {}}, force=True)),
            "PATCH",
            "/apis/apps/v1/namespaces/shop/replicasets/a",
            {"fieldManager": "fairlead", "force": "true"},
            "application/apply-patch+yaml",
            {"spec": {}},
            id="apply-by-force",
        ),
        pytest.param(
            lambda c: c.delete(REPLICA_SETS, KEY),
            "DELETE",
            "/apis/apps/v1/namespaces/shop/replicasets/a",
            {},
            "application/json",
            {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"},
            id="delete",
        ),
        pytest.param(
            lambda c: c.delete(
                REPLICA_SETS,
                KEY,
                preconditions=Preconditions(uid="u", resource_version="7"),
                propagation=Propagation.FOREGROUND,
                grace_period_seconds=0,
            ),
            "DELETE",
            "/apis/apps/v1/namespaces/shop/replicasets/a",
            {},
            "application/json",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Foreground",
                "gracePeriodSeconds": 0,
                "preconditions": {"uid": "u", "resourceVersion": "7"},
            },
            id="delete-with-preconditions",
        ),
        pytest.param(
            lambda c: c.evict(KEY),
            "POST",
            "/api/v1/namespaces/shop/pods/a/eviction",
            {},
            "application/json",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "shop"}},
            id="evict",
        ),
        pytest.param(
            lambda c: c.raw("GET", "/openapi/v3", query=[("hash", "x=/ y")]),
            "GET",
            "/openapi/v3",
            {"hash": "x=/ y"},
            None,
            None,
            id="raw",
        ),
    ],
)
async def test_what_is_sent(
    call: Call, method: str, path: str, query: dict[str, str], content_type: str | None, body: Any
) -> None:
    async with cluster_on(says(replica_set()), token="secret") as (cluster, server):
        await call(cluster)
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.query) == (method, path, query)
    assert seen.headers.get("Content-Type") == content_type
    assert (seen.json() if seen.body else None) == body
    assert (seen.headers["Authorization"], seen.headers["User-Agent"]) == ("Bearer secret", "fairlead/test")
    assert seen.headers["Accept"] == "application/json"


async def test_what_a_list_asks_for() -> None:
    async with cluster_on(says(LIST)) as (cluster, server):
        await cluster.list(REPLICA_SETS)
        await cluster.list(
            REPLICA_SETS,
            namespace="shop",
            label_selector="app in (a,b),!x",
            field_selector="metadata.name=a",
            limit=2,
            continue_token="tok/en==",
        )
        await cluster.list(NAMESPACES, namespace="ignored")
    assert [(seen.path, seen.query) for seen in server.requests] == [
        ("/apis/apps/v1/replicasets", {"limit": "500"}),
        (
            "/apis/apps/v1/namespaces/shop/replicasets",
            {
                "limit": "2",
                "labelSelector": "app in (a,b),!x",
                "fieldSelector": "metadata.name=a",
                "continue": "tok/en==",
            },
        ),
        ("/api/v1/namespaces", {"limit": "500"}),
    ]


async def test_what_a_watch_asks_for() -> None:
    async with cluster_on(streams()) as (cluster, server):
        async for _ in cluster.watch(
            REPLICA_SETS, resource_version="41", namespace="shop", label_selector="app=a", timeout_seconds=312.7
        ):
            pass
    (seen,) = server.requests
    assert seen.path == "/apis/apps/v1/namespaces/shop/replicasets"
    assert seen.query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "41",
        "timeoutSeconds": "313",
        "labelSelector": "app=a",
    }


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.delete(REPLICA_SETS, ObjectKey("shop", "")), id="no-name-is-the-collection"),
        pytest.param(lambda c: c.delete(REPLICA_SETS, ObjectKey("", "a")), id="no-namespace"),
        pytest.param(lambda c: c.get(REPLICA_SETS, ObjectKey("..", "a")), id="namespace-climbs"),
        pytest.param(lambda c: c.get(REPLICA_SETS, ObjectKey("shop", "..")), id="name-climbs"),
        pytest.param(lambda c: c.evict(ObjectKey("shop", "")), id="evict-nobody"),
        pytest.param(lambda c: c.create(REPLICA_SETS, {"metadata": {"name": "a"}}), id="create-nowhere"),
        pytest.param(
            lambda c: c.create(REPLICA_SETS, {"metadata": {"name": "a\ud800"}}, namespace="shop"), id="surrogate"
        ),
    ],
)
async def test_what_cannot_be_meant_is_not_sent(call: Call) -> None:
    async with cluster_on(says(replica_set())) as (cluster, server):
        with pytest.raises(Invalid):
            await call(cluster)
    assert server.requests == []


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_objects_come_back_as_values() -> None:
    async with cluster_on(says(replica_set())) as (cluster, _):
        found = await cluster.get(REPLICA_SETS, KEY)
        assert isinstance(found, ReplicaSet)
        assert (found.metadata.key, found.spec.replicas) == (KEY, 3)
        assert (await cluster.create(REPLICA_SETS, {}, namespace="shop")) == found
        assert (await cluster.patch(REPLICA_SETS, KEY, MergePatch({}))) == found
        carried = await cluster.get(HTTP_ROUTES, KEY)
        assert carried.content == replica_set()


async def test_a_list_is_read_page_by_page() -> None:
    first = LIST | {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [replica_set("a")]}
    last = LIST | {"items": [replica_set("b")]}
    async with cluster_on(says(first), says(last)) as (cluster, _):
        one = await cluster.list(REPLICA_SETS)
        two = await cluster.list(REPLICA_SETS, continue_token=one.continue_token)
    assert ([item.metadata.name for item in one.items], one.resource_version, one.continue_token) == (
        ["a"],
        "9",
        "more",
    )
    assert ([item.metadata.name for item in two.items], two.continue_token) == (["b"], "")


async def test_one_odd_object_among_three_degrades_itself_alone() -> None:
    odd = replica_set("odd", "6", spec={"replicas": "many"})
    nameless = {"spec": {"replicas": 1}}
    worse = replica_set("worse") | {"metadata": {"name": "worse", "namespace": "shop", "labels": {"a": 5}}}
    items = [replica_set("a"), odd, nameless, worse, replica_set("b"), 5]
    async with cluster_on(says(LIST | {"items": items})) as (cluster, _):
        page = await cluster.list(REPLICA_SETS)
    assert [item.metadata.name for item in page.items] == ["a", "b"]
    assert [(str(problem.metadata.key), problem.error) for problem in page.undecodable] == [
        ("shop/odd", "spec.replicas: expected int, got str"),
        ("", "metadata.name: expected a name, found none"),
        ("shop/worse", "metadata.labels[...]: expected str, got int"),
        ("", "expected object, got int"),
    ]
    assert page.undecodable[0].metadata.version == 6


DEEP = (
    b'{"metadata":{"name":"deep","namespace":"shop","resourceVersion":"6"},"spec":' + b"[" * 5000 + b"]" * 5000 + b"}"
)


async def test_an_object_nested_too_deeply_degrades_itself_alone() -> None:
    """An API server takes ten thousand levels; a decoder that recurses gives up before, and with it the whole list."""
    good = msgspec.json.encode(replica_set("a"))
    listed = b'{"metadata":{"resourceVersion":"9","continue":"t"},"items":[' + good + b"," + DEEP + b"]}"
    told = b'{"type":"MODIFIED","object":' + DEEP + b"}\n" + line("ADDED", replica_set("b", "8"))
    async with cluster_on(says(listed), streams(told)) as (cluster, _):
        page = await cluster.list(ROLLOUTS)
        events = [event async for event in cluster.watch(ROLLOUTS, resource_version="1")]
    assert [item.metadata.name for item in page.items] == ["a"]
    assert (page.resource_version, page.continue_token) == ("9", "t")
    (problem,) = page.undecodable
    assert (str(problem.metadata.key), problem.metadata.version) == ("shop/deep", 6)
    assert problem.error == "nested too deeply to be read"
    assert [event.resource_version for event in events] == ["6", "8"]
    assert isinstance(events[0].object, Undecodable)


async def test_a_page_is_not_kept_in_memory_by_its_objects() -> None:
    """What an object keeps as raw JSON refers to the bytes that it was decoded from."""
    items = [{"metadata": {"name": f"n{number}", "namespace": "shop"}, "spec": {"x": "y"}} for number in range(50)]
    async with cluster_on(says(LIST | {"items": items})) as (cluster, _):
        page = await cluster.list(ROLLOUTS)
    one = msgspec.json.encode(items[0])
    assert len(memoryview(page.items[0].spec).obj) <= len(one)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        pytest.param(says(b"not json"), Unavailable, "is no list", id="garbage"),
        pytest.param(says(b""), Unavailable, "is no list", id="empty"),
        pytest.param(says(LIST | {"items": 5}), Unavailable, "is no list", id="items-are-none"),
        pytest.param(says(b'{"items": ['), Unavailable, "is no list", id="truncated-json"),
        pytest.param(
            says(b"<html>Log in</html>", content_type="text/html"), Unavailable, "is no list", id="log-in-page"
        ),
        pytest.param(says(status(410, "Expired", "too old"), 410), Expired, "too old", id="expired"),
        pytest.param(says(status(403, "Forbidden", "no"), 403), Forbidden, "no", id="forbidden"),
        pytest.param(says(b"404 page not found", 404, content_type="text/plain"), NotFound, "page", id="not-served"),
        pytest.param(
            says(b"<html><h1>502 Bad Gateway</h1></html>", 502, content_type="text/html"),
            Unavailable,
            "HTTP 502: 502 Bad Gateway",
            id="bad-gateway",
        ),
        pytest.param(says(b"", 302, Location="/log-in"), Unavailable, "redirected to /log-in", id="redirect"),
        pytest.param(breaks, Unavailable, "cannot be reached", id="hangs-up"),
    ],
)
async def test_lists_that_are_none(answer: Answer, error: type[ClusterError], message: str) -> None:
    async with cluster_on(answer) as (cluster, _):
        with pytest.raises(error, match=message):
            await cluster.list(REPLICA_SETS)


async def test_credentials_do_not_travel() -> None:
    async with cluster_on(says(b"", 307, Location="/elsewhere"), says(LIST), token="secret") as (cluster, server):
        with pytest.raises(Unavailable, match="HTTP 307: redirected to /elsewhere, which no API server does"):
            await cluster.list(REPLICA_SETS)
    assert len(server.requests) == 1


async def test_an_empty_list_may_be_null() -> None:
    async with cluster_on(says(LIST | {"items": None})) as (cluster, _):
        assert (await cluster.list(REPLICA_SETS)).items == ()


async def test_retry_after_reaches_the_caller() -> None:
    async with cluster_on(says(status(429, "TooManyRequests"), 429, Retry_After="11")) as (cluster, _):
        with pytest.raises(TooManyRequests) as caught:
            await cluster.evict(KEY)
    assert caught.value.retry_after == 11


@pytest.mark.parametrize("patch", [MergePatch({}), JsonPatch([]), ApplyPatch({})])
async def test_a_conflict_names_the_other_manager(patch: Patch) -> None:
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec.rules"}]
    async with cluster_on(says(status(409, "Conflict", causes=causes), 409)) as (cluster, _):
        with pytest.raises(Conflict) as caught:
            await cluster.patch(HTTP_ROUTES, KEY, patch)
    assert [cause.message for cause in caught.value.causes] == ['conflict with "argocd"']


async def test_an_object_that_cannot_be_decoded_is_invalid() -> None:
    async with cluster_on(says(replica_set(spec={"replicas": "many"}))) as (cluster, _):
        with pytest.raises(
            Invalid, match=r"replicasets.apps shop/a cannot be read: spec.replicas: expected int, got str"
        ):
            await cluster.get(REPLICA_SETS, KEY)
        with pytest.raises(Invalid, match="has been patched, but the answer cannot be read"):
            await cluster.patch(REPLICA_SETS, KEY, MergePatch({}))


async def test_a_server_that_dawdles_is_not_waited_for() -> None:
    async with cluster_on(dawdles, call_seconds=0.05) as (cluster, _):
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            await cluster.get(REPLICA_SETS, KEY)


async def test_an_answer_that_drips_is_not_waited_for() -> None:
    async with cluster_on(streams(b'{"items": [', then="silence"), call_seconds=0.05) as (cluster, _):
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            await cluster.list(REPLICA_SETS)


async def test_nobody_there() -> None:
    async with cluster_on(says(LIST)) as (cluster, server):
        server.url = ""
        cluster._transport._api.configuration.host = "http://127.0.0.1:1"
        with pytest.raises(Unavailable, match="cannot be reached"):
            await cluster.list(REPLICA_SETS)


async def test_the_servers_warnings_are_logged_once() -> None:
    warned = says(replica_set(), Warning='299 - "unknown field \\"spec.fancy\\""')
    async with cluster_on(warned) as (cluster, _):
        with capture_logs() as logs:
            for _ in range(3):
                await cluster.create(REPLICA_SETS, {}, namespace="shop")
    assert [(line["event"], line["message"]) for line in logs] == [("api_server_warned", 'unknown field "spec.fancy"')]


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("renews", "requests"), [pytest.param(True, 2, id="renewed"), pytest.param(False, 1, id="nothing-to-renew")]
)
async def test_a_refused_token_is_renewed_once(renews: bool, requests: int) -> None:
    refused = says(status(401, "Unauthorized"), 401)
    async with cluster_on(refused, token="old", on_unauthorized=lambda: renews) as (cluster, server):
        with pytest.raises(Forbidden):
            await cluster.get(REPLICA_SETS, KEY)
    assert len(server.requests) == requests


async def test_after_a_renewal_the_answer_counts() -> None:
    async with cluster_on(
        says(status(401, "Unauthorized"), 401), says(replica_set()), token="old", on_unauthorized=lambda: True
    ) as (cluster, _):
        assert (await cluster.get(REPLICA_SETS, KEY)).metadata.name == "a"


async def test_a_token_that_cannot_be_sent_is_named() -> None:
    async with cluster_on(says(replica_set()), token="broken\n") as (cluster, _):
        with pytest.raises(Forbidden, match="the credentials cannot be sent"):
            await cluster.get(REPLICA_SETS, KEY)


async def test_a_netrc_that_gets_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with cluster_on(says(replica_set()), token="good") as (cluster, server):
        with pytest.raises(Forbidden, match="netrc"):
            await cluster.get(REPLICA_SETS, KEY)
    assert server.requests == []


# --- watches ---------------------------------------------------------------------------------------------------------


async def events_of(answer: Answer, **options: Any) -> list[WatchEvent[ReplicaSet]]:
    async with cluster_on(answer, watch_margin_seconds=0.05) as (cluster, _):
        return [event async for event in cluster.watch(REPLICA_SETS, resource_version="1", **options)]


def told(events: list[WatchEvent[ReplicaSet]]) -> list[tuple[str, str, str]]:
    return [
        (str(event.type), "" if event.object is None else event.object.metadata.name, event.resource_version)
        for event in events
    ]


BOOKMARK = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "77"}, "spec": None}


async def test_events_come_back_as_values() -> None:
    body = b"".join(
        [
            line("ADDED", replica_set("a", "5")),
            line("MODIFIED", replica_set("a", "6")),
            line("BOOKMARK", BOOKMARK),
            line("DELETED", replica_set("a", "7")),
        ]
    )
    events = await events_of(streams(body[:30], body[30:31], body[31:]))
    assert told(events) == [("ADDED", "a", "5"), ("MODIFIED", "a", "6"), ("BOOKMARK", "", "77"), ("DELETED", "a", "7")]
    assert events[2].object is None
    assert isinstance(events[0].object, ReplicaSet)


async def test_objects_of_three_megabytes_pass() -> None:
    large = replica_set("large", "5")
    large["metadata"]["annotations"] = {"text": "x" * 3_000_000}
    body = line("ADDED", large)
    events = await events_of(streams(*(body[at : at + 700_001] for at in range(0, len(body), 700_001))))
    assert told(events) == [("ADDED", "large", "5")]
    async with cluster_on(says(LIST | {"items": [large]})) as (cluster, _):
        assert len((await cluster.list(REPLICA_SETS)).items) == 1


async def test_an_odd_object_is_an_event_all_the_same() -> None:
    odd = replica_set("odd", "6", spec={"replicas": "many"})
    body = line("MODIFIED", odd) + line("ADDED", {"spec": {}}) + line("ADDED", replica_set("b", "8"))
    events = await events_of(streams(body))
    assert told(events) == [("MODIFIED", "odd", "6"), ("ADDED", "", ""), ("ADDED", "b", "8")]
    assert isinstance(events[0].object, Undecodable)
    assert events[0].object.error == "spec.replicas: expected int, got str"
    assert isinstance(events[1].object, Undecodable)
    assert events[1].object.error == "metadata.name: expected a name, found none"


@pytest.mark.parametrize("version", ["", "opaque"])
async def test_versions_that_are_no_numbers_pass(version: str) -> None:
    assert told(await events_of(streams(line("ADDED", replica_set("a", version))))) == [("ADDED", "a", version)]


GOOD = line("ADDED", replica_set("a", "5"))


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        pytest.param(says(status(410, "Expired", "too old"), 410), Expired, "too old", id="410-as-status"),
        pytest.param(
            streams(GOOD + line("ERROR", status(410, "Expired", "too old"))), Expired, "too old", id="410-as-event"
        ),
        pytest.param(streams(line("ERROR", {"code": 410})), Expired, "without a message|410", id="410-without-reason"),
        pytest.param(
            streams(line("ERROR", status(500, "InternalError", "etcd"))), Unavailable, "etcd", id="error-event"
        ),
        pytest.param(streams(line("ERROR", None)), Unavailable, "without a status", id="error-event-without-status"),
        pytest.param(streams(b'{"type": "ERROR"}\n'), Unavailable, "without a status", id="error-event-without-object"),
        pytest.param(streams(line("ERROR", "text")), Unavailable, "without a status", id="error-event-with-text"),
        pytest.param(streams(GOOD + b"garbage\n"), Unavailable, "no JSON event", id="garbage-line"),
        pytest.param(streams(b"[]\n"), Unavailable, "no JSON event", id="no-object"),
        pytest.param(streams(b"\xff\xfe\n"), Unavailable, "no JSON event", id="no-utf-8"),
        pytest.param(streams(b'{"object": {}}\n'), Unavailable, "event of type ''", id="no-type"),
        pytest.param(streams(line("SYNC", replica_set())), Unavailable, "event of type 'SYNC'", id="unknown-type"),
        pytest.param(streams(b'{"type": "ADDED"}\n'), Unavailable, "without an object", id="no-object-in-event"),
        pytest.param(streams(line("ADDED", None)), Unavailable, "without an object", id="null-object"),
        pytest.param(streams(GOOD + GOOD[:40]), Unavailable, "no JSON event", id="cut-in-a-line"),
        pytest.param(streams(GOOD, then="break"), Unavailable, "broke off|cannot be reached", id="connection-breaks"),
        pytest.param(breaks, Unavailable, "cannot be reached", id="hangs-up-at-once"),
        pytest.param(says(b"<html>502</html>", 502, content_type="text/html"), Unavailable, "502", id="bad-gateway"),
        pytest.param(
            says(b"<html>hi</html>", content_type="text/html"), Unavailable, "no JSON event", id="html-as-200"
        ),
        pytest.param(says(status(429, ""), 429, Retry_After="3"), TooManyRequests, "said no", id="too-many-requests"),
    ],
)
async def test_watches_that_go_wrong(answer: Answer, error: type[ClusterError], message: str) -> None:
    with pytest.raises(error, match=message):
        await events_of(answer)


async def test_a_last_line_without_its_end_counts_if_it_is_whole() -> None:
    assert told(await events_of(streams(GOOD.rstrip()))) == [("ADDED", "a", "5")]


@pytest.mark.parametrize(
    "answer",
    [pytest.param(streams(GOOD, then="silence"), id="after-an-event"), pytest.param(dawdles, id="from-the-start")],
)
async def test_a_half_open_connection_is_noticed(answer: Answer) -> None:
    with pytest.raises(Unavailable, match=r"no answer within 0\.15 s"):
        await events_of(answer, timeout_seconds=0.1)


def connections_in_use(cluster: KubeCluster) -> int:
    connector = cluster._transport._api.rest_client.pool_manager.connector
    assert connector is not None
    return len(connector._acquired)


async def test_a_watch_that_is_closed_drops_its_connection() -> None:
    async with cluster_on(streams(GOOD, then="silence")) as (cluster, _):
        watching = cluster.watch(REPLICA_SETS, resource_version="1")
        assert (await anext(watching)).resource_version == "5"
        before = connections_in_use(cluster)
        await watching.aclose()  # type: ignore[attr-defined]
        assert (before, connections_in_use(cluster)) == (1, 0)


async def test_a_cancelled_watch_drops_its_connection() -> None:
    async with cluster_on(streams(GOOD, then="silence")) as (cluster, _):
        heard = asyncio.Event()

        async def listen() -> None:
            async for _ in cluster.watch(REPLICA_SETS, resource_version="1"):
                heard.set()

        task = asyncio.create_task(listen())
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connections_in_use(cluster) == 0


# --- counting --------------------------------------------------------------------------------------------------------


class Counts:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def on_request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((verb, resource, status))


async def test_requests_are_counted_by_verb_and_resource() -> None:
    counts = Counts()
    async with cluster_on(
        says(LIST),
        streams(GOOD),
        says(replica_set(), 201),
        says(replica_set()),
        says(status(404, "NotFound"), 404),
        breaks,
        hook=counts,
    ) as (cluster, _):
        await cluster.list(REPLICA_SETS)
        async for _ in cluster.watch(REPLICA_SETS, resource_version="1"):
            pass
        await cluster.create(REPLICA_SETS, {}, namespace="shop")
        await cluster.patch(REPLICA_SETS, KEY, MergePatch({}), subresource="status")
        with pytest.raises(NotFound):
            await cluster.delete(PODS, KEY)
        with pytest.raises(Unavailable):
            await cluster.evict(KEY)
    assert counts.seen == [
        ("list", "replicasets.apps", 200),
        ("watch", "replicasets.apps", 200),
        ("create", "replicasets.apps", 201),
        ("patch", "replicasets.apps/status", 200),
        ("delete", "pods", 404),
        ("evict", "pods/eviction", 0),
    ]
