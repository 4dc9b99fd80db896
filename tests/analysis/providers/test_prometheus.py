"""Prometheus metrics: what answers become, requests as upstream sends them, and servers that answer badly."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from fairlead.analysis._arguments import resolve_metrics
from fairlead.analysis.providers.prometheus import PrometheusProvider
from fairlead.analysis.providers.settings import ProviderSettings, ProviderTools, WebGuard
from fairlead.analysis.status import Measurement, Phase
from tests.analysis.providers import servers
from tests.analysis.providers.servers import NOW, FixedClock, metric, question, serving, speaking

SMALL = ProviderSettings(body_bytes_max=4096, prometheus_threads=2)
AT = NOW.timestamp()


async def ask(
    address: str, *, settings: ProviderSettings = SMALL, success: str = "", failure: str = "", **block: Any
) -> Measurement:
    """Return what a Prometheus metric measures at an address."""
    provider = PrometheusProvider(ProviderTools(clock=FixedClock(), settings=settings))
    spec = {"prometheus": {"address": address, "query": "up", **block}}
    try:
        return await provider.measure(question(metric(spec, success=success, failure=failure)))
    finally:
        provider.close()


def envelope(result_type: str, result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": result_type, "result": result}, **more})


def vector(*values: Any, at: float = AT) -> str:
    return envelope("vector", [{"metric": {}, "value": [at, value]} for value in values])


def answering(body: str | bytes, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Any:
    async def handler(request: web.Request) -> web.Response:
        raw = body.encode() if isinstance(body, str) else body
        fields = {"Content-Type": content_type, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return web.Response(body=raw, status=status, headers=fields)

    return handler


@pytest.mark.parametrize(
    ("body", "success", "phase", "value"),
    [
        pytest.param(vector("0.97"), "result[0] >= 0.95", Phase.SUCCESSFUL, "[0.97]", id="vector"),
        pytest.param(vector("0.9"), "result[0] >= 0.95", Phase.FAILED, "[0.9]", id="too-low"),
        pytest.param(vector("0.97", "0.1"), "result[0] >= 0.95", Phase.SUCCESSFUL, "[0.97,0.1]", id="two-series"),
        pytest.param(vector("0.97", "0.1"), "all(result, # > 0.5)", Phase.FAILED, "[0.97,0.1]", id="all-series"),
        pytest.param(vector(), "result[0] >= 0.95", Phase.ERROR, "", id="empty"),
        pytest.param(vector(), "len(result) == 0 || result[0] < 1", Phase.SUCCESSFUL, "[]", id="empty-and-said-so"),
        pytest.param(vector(), "", Phase.INCONCLUSIVE, "[]", id="empty-without-conditions"),
        pytest.param(vector("NaN"), "result[0] >= 0.95", Phase.FAILED, "[NaN]", id="nan"),
        pytest.param(vector("NaN"), "", Phase.INCONCLUSIVE, "[NaN]", id="nan-without-conditions"),
        pytest.param(vector("+Inf"), "result[0] < 1", Phase.FAILED, "[+Inf]", id="infinity"),
        pytest.param(vector("-Inf"), "isInf(result[0])", Phase.SUCCESSFUL, "[-Inf]", id="minus-infinity"),
        pytest.param(vector("1e-9"), "result[0] > 0", Phase.SUCCESSFUL, "[0.000000001]", id="no-exponent"),
        pytest.param(vector("1e400"), "result[0] > 5", Phase.SUCCESSFUL, "[+Inf]", id="beyond-a-float"),
        pytest.param(vector("18446744073709551616"), "result[0] > 1e19", Phase.SUCCESSFUL, None, id="beyond-64-bits"),
        pytest.param(envelope("scalar", [AT, "0.97"]), "result > 0.9", Phase.SUCCESSFUL, "0.97", id="scalar"),
        pytest.param(envelope("scalar", [AT, "NaN"]), "isNaN(result)", Phase.SUCCESSFUL, "NaN", id="scalar-nan"),
        pytest.param(envelope("scalar", [AT, "1"]), "result[0] > 0", Phase.ERROR, "", id="scalar-is-no-list"),
        pytest.param(
            envelope("matrix", [{"metric": {}, "values": [[1, "1"], [2, "2"]]}, {"metric": {}, "values": [[1, "3"]]}]),
            "result == [1, 2, 3]",
            Phase.SUCCESSFUL,
            "[1,2,3]",
            id="matrix",
        ),
        pytest.param(
            envelope("vector", [{"metric": {}, "histogram": [AT, {}]}]), "", Phase.INCONCLUSIVE, "[]", id="histogram"
        ),
    ],
)
async def test_answers(body: str, success: str, phase: Phase, value: str | None) -> None:
    async with serving(answering(body)) as address:
        found = await ask(address, success=success)
    assert found.phase is phase, found.message
    if value is not None:
        assert found.value == value
    assert (found.started_at, found.finished_at) == (NOW, NOW)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(envelope("string", [AT, "x"]), 200, "Prometheus metric type not supported", id="string"),
        pytest.param(envelope("streams", []), 200, "Prometheus metric type not supported", id="other-type"),
        pytest.param(vector(""), 200, "bad_response: a sample's value is no number: ''", id="empty-text"),
        pytest.param(vector("x"), 200, "bad_response: a sample's value is no number: 'x'", id="text"),
        pytest.param(vector(1), 200, "bad_response: a sample's value is no number: '1'", id="number-for-text"),
        pytest.param(vector(None), 200, "bad_response: a sample's value is no number: 'None'", id="null"),
        pytest.param(vector("1", at=AT - 7200), 200, "stale data: a sample is 120m old", id="hours-old"),
        pytest.param(vector("1", at=AT + 90000), 200, "stale data: a sample is 25h in the future", id="in-the-future"),
        pytest.param(
            '{"status":"error","errorType":"bad_data","error":"1:3: parse error"}',
            400,
            "bad_data: 1:3: parse error",
            id="bad-query",
        ),
        pytest.param(
            '{"status":"error","errorType":"execution","error":"boom"}', 422, "execution: boom", id="execution"
        ),
        pytest.param(
            '{"status":"error","errorType":"timeout","error":"slow"}', 200, "timeout: slow", id="error-with-200"
        ),
        pytest.param(
            '{"status":"success"}', 200, "bad_response: inconsistent body for response code 200", id="no-data"
        ),
        pytest.param(
            "<html>Sign in</html>", 200, "bad_response: the answer is no JSON: '<html>Sign in</html>'", id="login-page"
        ),
        pytest.param("", 200, "bad_response: the answer is no JSON: ''", id="empty-body"),
        pytest.param("", 204, "bad_response: inconsistent body for response code 204", id="no-content"),
        pytest.param("", 302, "bad_response: bad response code 302: redirects are not followed", id="redirect"),
        pytest.param("", 401, "client_error: client error: 401", id="unauthorized"),
        pytest.param("", 404, "client_error: client error: 404", id="not-found"),
        pytest.param("", 429, "client_error: client error: 429", id="too-many"),
        pytest.param("oops", 500, "server_error: server error: 500", id="broken"),
        pytest.param(
            '{"status":"error","errorType":"unavailable","error":"no store"}',
            503,
            "server_error: server error: 503 (no store)",
            id="unavailable",
        ),
        pytest.param("[1]", 200, "bad_response: inconsistent body for response code 200", id="list"),
        pytest.param('{"status":"success","data":{"result":[]}}', 200, None, id="no-type"),
        pytest.param(envelope("vector", {"a": 1}), 200, None, id="vector-that-is-none"),
        pytest.param(envelope("vector", [{"value": [1]}]), 200, None, id="sample-without-value"),
        pytest.param(envelope("vector", [{"value": ["x", "1"]}]), 200, None, id="sample-without-time"),
        pytest.param(envelope("vector", [1]), 200, None, id="series-that-is-none"),
        pytest.param(envelope("vector", None), 200, None, id="null-result"),
        pytest.param(envelope("scalar", []), 200, None, id="scalar-that-is-none"),
    ],
)
async def test_bad_answers(body: str, status: int, message: str | None) -> None:
    async with serving(answering(body, status=status, Location="file:///etc/passwd", Retry_After="9" * 30)) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR
    if message is not None:
        assert found.message == message
    else:
        assert found.message == "bad_response: the answer is not what the API of Prometheus promises"
    assert found.value == ""
    assert found.finished_at == NOW


async def test_invalid_utf_8_is_an_error() -> None:
    async with serving(answering(b'{"status":"success","data":{"resultType":"vector\xff","result":[]}}')) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR


async def test_deep_json_is_an_error() -> None:
    async with serving(answering(envelope("vector", []).replace("[]", "[" * 1900 + "]" * 1900))) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR


async def test_old_samples_can_be_allowed() -> None:
    settings = ProviderSettings(stale_after=None)
    async with serving(answering(vector("1", at=5))) as address:
        found = await ask(address, success="result[0] == 1", settings=settings)
    assert found.phase is Phase.SUCCESSFUL


async def test_warnings_are_shown() -> None:
    body = envelope("vector", [{"metric": {}, "value": [AT, "1"]}], warnings=["partial", "slow"])
    async with serving(answering(body)) as address:
        found = await ask(address, success="result[0] == 1")
    assert found.metadata == {"warnings": '"partial", "slow"'}


def test_the_query_is_shown_with_the_metric() -> None:
    provider = PrometheusProvider(ProviderTools(clock=FixedClock()))
    shown = provider.metadata(metric({"prometheus": {"query": "sum(rate(x[1m]))"}}))
    provider.close()
    assert shown == {"ResolvedPrometheusQuery": "sum(rate(x[1m]))"}


def test_a_matcher_that_an_argument_smuggles_in_is_shown_as_it_is_asked() -> None:
    """Whoever sets arguments writes queries; nobody who looks at the run is left in the dark about it."""
    query = 'sum(rate(errors{app="{{args.app}}"}[1m]))'
    smuggled = 'x"} or vector(0) #'
    (resolved,) = resolve_metrics((metric({"prometheus": {"query": query}}),), {"app": smuggled})
    provider = PrometheusProvider(ProviderTools(clock=FixedClock()))
    shown = provider.metadata(resolved)
    provider.close()
    assert shown == {"ResolvedPrometheusQuery": 'sum(rate(errors{app="x"} or vector(0) #"}[1m]))'}


# --- requests


Seen = list[tuple[str, str, dict[str, str], dict[str, str]]]


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[str, Seen]]:
    """A server that records requests: method, path with query, headers, form."""
    seen: Seen = []

    async def handler(request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        seen.append((request.method, request.path_qs, dict(request.headers), form))
        return web.Response(text=vector("1"), content_type="application/json")

    async with serving(handler) as address:
        yield address, seen


async def test_queries_are_posted_as_a_form(recorder: tuple[str, Seen]) -> None:
    address, seen = recorder
    query = 'sum(x{path="/a&b"}) ' + "+ 1 " * 2_000
    await ask(f"{address}/prefix/", query=query, headers=[{"key": "X-Scope-OrgID", "value": "shop"}], timeout=7)
    ((method, path, headers, form),) = seen
    assert (method, path) == ("POST", "/prefix/api/v1/query")
    assert form == {"query": query, "time": f"{AT:.3f}", "timeout": "7s"}
    assert headers["X-Scope-OrgID"] == "shop"
    assert "Authorization" not in headers


async def test_range_queries(recorder: tuple[str, Seen]) -> None:
    address, seen = recorder
    span = {"start": 'now() - duration("1h")', "end": "now()", "step": "1m30s"}
    await ask(address, rangeQuery=span)
    ((_, path, _, form),) = seen
    assert path == "/api/v1/query_range"
    assert form == {
        "query": "up",
        "start": str(round(AT - 3600)),
        "end": str(round(AT)),
        "step": "90",
        "timeout": "30s",
    }


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_a_server_without_post_is_asked_by_get(status: int) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path))
        if request.method == "POST":
            return web.Response(status=status)
        assert request.query["query"] == "up"
        return web.Response(text=vector("1"))

    async with serving(handler) as address:
        found = await ask(address, success="result[0] == 1")
    assert found.phase is Phase.SUCCESSFUL
    assert seen == [("POST", "/api/v1/query"), ("GET", "/api/v1/query")]


async def test_a_503_is_asked_once() -> None:
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(status=503)

    async with serving(handler) as address:
        await ask(address)
    assert count == 1


async def test_the_address_of_the_settings(recorder: tuple[str, Seen]) -> None:
    address, seen = recorder
    await ask("", settings=ProviderSettings.from_environment({"ARGO_ROLLOUTS_PROMETHEUS_ADDRESS": address}))
    assert len(seen) == 1


BASIC = encode_basic_auth("me", "pass")


@pytest.mark.parametrize(
    ("user_info", "block", "authorization"),
    [
        pytest.param("", {"authentication": {"basicAuth": {"username": "me", "password": "pass"}}}, BASIC, id="basic"),
        pytest.param("me:pass@", {}, BASIC, id="user-info"),
        pytest.param(
            "x:y@",
            {
                "authentication": {"basicAuth": {"username": "me", "password": "pass"}},
                "headers": [{"key": "authorization", "value": "Bearer own"}],
            },
            "Bearer own",
            id="header-wins",
        ),
    ],
)
async def test_signing_in(
    recorder: tuple[str, Seen],
    user_info: str,
    block: dict[str, Any],
    authorization: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, seen = recorder
    await ask(address.replace("//", f"//{user_info}"), **block)
    assert seen[0][2]["Authorization"] == authorization


async def test_netrc_is_not_read(
    recorder: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / ".netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password stolen\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    address, seen = recorder
    await ask(address)
    assert "Authorization" not in seen[0][2]


async def test_oauth2() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/token":
            assert request.headers["Authorization"] == encode_basic_auth("me", "s3cret")
            return web.json_response({"access_token": "abc", "token_type": "Bearer"})
        assert request.headers["Authorization"] == "Bearer abc"
        return web.Response(text=vector("1"))

    async with serving(handler) as address:
        oauth2 = {"tokenUrl": f"{address}/token", "clientId": "me", "clientSecret": "s3cret"}
        found = await ask(address, success="result[0] == 1", authentication={"oauth2": oauth2})
    assert found.phase is Phase.SUCCESSFUL, found.message


async def test_aws_signatures_on_their_addresses_only(
    recorder: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    address, seen = recorder
    sigv4 = {"sigv4": {"region": "eu-central-1"}}
    await ask(f"{address}/aps-workspaces/ws-1", authentication=sigv4)
    await ask(address, authentication=sigv4)
    signed = seen[0][2]["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/aps/aws4_request" in signed
    assert "X-Amz-Date" in seen[0][2]
    assert "Authorization" not in seen[1][2]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"address": ""}, "prometheus address is not configured"),
        ({"address": "prometheus:9090"}, "prometheus address is not is url format"),
        ({"address": "ftp://host"}, "prometheus address is not is url format"),
        ({"address": "http://"}, "prometheus address is not is url format"),
        ({"address": "http://[::1"}, "prometheus address is not is url format"),
        ({"timeout": -1}, "prometheus timeout should not be negative"),
        (
            {"authentication": {"basicAuth": {"username": "x"}}},
            "missing mandatory parameter in metric for basic auth setup: password",
        ),
        (
            {"authentication": {"basicAuth": {"password": "x"}}},
            "missing mandatory parameter in metric for basic auth setup: username",
        ),
        (
            {"authentication": {"oauth2": {"tokenUrl": "http://127.0.0.1:1"}}},
            "missing mandatory parameter in metric for OAuth2 setup",
        ),
        (
            {"rangeQuery": {"start": "1", "end": "now()", "step": "1m"}},
            "failed to parse rangeQuery.start as time: expected time.Time, but got int",
        ),
        (
            {"rangeQuery": {"start": "now()", "end": "", "step": "1m"}},
            "failed to parse rangeQuery.end as time: unexpected token EOF",
        ),
        (
            {"rangeQuery": {"start": "now()", "end": "now()", "step": "1d"}},
            'failed to parse rangeQuery.step as duration: time: unknown unit "d" in duration "1d"',
        ),
        (
            {"rangeQuery": {"start": 'now() - duration("1d")', "end": "now()", "step": "1m"}},
            'failed to parse rangeQuery.start as time: time: unknown unit "d" in duration "1d"',
        ),
        ({"headers": [{"key": "a", "value": "s3cret\r\nb: c"}]}, "the header 'a' cannot be sent"),
        ({"timeout": 0}, 'Post "http://127.0.0.1:1/api/v1/query": context deadline exceeded'),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_metrics_that_cannot_be_asked(block: dict[str, Any], message: str) -> None:
    found = await ask(**{"address": "http://127.0.0.1:1", "success": "true", **block})
    assert (found.phase, found.message) == (Phase.ERROR, message)


# --- servers that mean harm


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("fairlead.analysis.providers.prometheus.SECONDS", 0.2)
    monkeypatch.setattr("fairlead.analysis.providers.prometheus._GRACE", 0.1)
    yield


@pytest.mark.parametrize("talk", [servers.drip_body, servers.drip_head, servers.say_nothing], ids=lambda f: f.__name__)
async def test_a_slow_server_meets_the_time_limit(talk: Any, short: None) -> None:
    async with speaking(talk) as address:
        found = await ask(address, success="true", settings=ProviderSettings())
    assert found.phase is Phase.ERROR
    assert found.message == f'Post "{address}/api/v1/query": context deadline exceeded'


async def test_stuck_servers_do_not_keep_threads_from_others(short: None) -> None:
    provider = PrometheusProvider(ProviderTools(clock=FixedClock(), settings=SMALL))
    async with speaking(servers.drip_head) as stuck, serving(answering(vector("1"))) as healthy:
        for _ in range(2):
            slow = [
                provider.measure(question(metric({"prometheus": {"address": stuck, "query": "up"}}, success="true")))
                for _ in range(SMALL.prometheus_threads)
            ]
            for found in await asyncio.gather(*slow):
                assert found.phase is Phase.ERROR
        good = metric({"prometheus": {"address": healthy, "query": "up", "timeout": 5}}, success="result[0] == 1")
        found = await provider.measure(question(good))
        assert found.phase is Phase.SUCCESSFUL, found.message
    provider.close()


@pytest.mark.parametrize("talk", [servers.hang_up, servers.speak_gibberish], ids=lambda f: f.__name__)
async def test_a_broken_server_is_an_error(talk: Any) -> None:
    async with speaking(talk) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR
    assert found.message.startswith(f'Post "{address}/api/v1/query": ')
    assert "object at 0x" not in found.message


async def test_nobody_listens() -> None:
    found = await ask("http://me:s3cret@127.0.0.1:1", success="true", query="secret_query")
    assert found.phase is Phase.ERROR
    assert found.message.startswith('Post "http://127.0.0.1:1/api/v1/query": ConnectionError: ')
    assert "refused" in found.message
    assert "s3cret" not in found.message


async def test_an_endless_answer_is_cut() -> None:
    async with speaking(servers.endless) as address:
        found = await ask(address, success="true")
    assert (found.phase, found.message) == (Phase.ERROR, "bad_response: the answer is larger than 4096 bytes")


async def test_a_gzip_bomb_is_cut() -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    async with serving(answering(bomb, Content_Encoding="gzip")) as address:
        found = await ask(address, success="true", settings=ProviderSettings(body_bytes_max=2**20))
    assert (found.phase, found.message) == (Phase.ERROR, "bad_response: the answer is larger than 1048576 bytes")


async def test_packed_answers_are_read() -> None:
    async with serving(answering(gzip.compress(vector("1").encode()), Content_Encoding="gzip")) as address:
        assert (await ask(address, success="result[0] == 1")).phase is Phase.SUCCESSFUL


async def test_many_series_are_affordable() -> None:
    body = vector(*["0.5"] * 20_000)
    async with serving(answering(body)) as address:
        found = await ask(address, success="all(result, # < 1)", settings=ProviderSettings())
    assert found.phase is Phase.SUCCESSFUL, found.message


async def test_forbidden_addresses_get_no_byte() -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    guard = WebGuard(forbidden=(ipaddress.ip_network("127.0.0.0/8"),))
    async with speaking(listen) as address:
        found = await ask(address, success="true", settings=ProviderSettings(guard=guard))
    assert found.phase is Phase.ERROR
    assert "127.0.0.1 is in 127.0.0.0/8, which the settings forbid" in found.message
    assert heard == []


async def test_cancelling_a_measurement_frees_its_thread(short: None) -> None:
    settings = ProviderSettings(prometheus_threads=1)
    provider = PrometheusProvider(ProviderTools(clock=FixedClock(), settings=settings))
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with speaking(listen) as stuck, serving(answering(vector("1"))) as healthy:
        block = {"prometheus": {"address": stuck, "query": "up", "timeout": 60}}
        task = asyncio.create_task(provider.measure(question(metric(block, success="true"))))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        good = metric({"prometheus": {"address": healthy, "query": "up", "timeout": 5}}, success="result[0] == 1")
        found = await provider.measure(question(good))
    provider.close()
    assert found.phase is Phase.SUCCESSFUL, found.message


def test_settings_from_the_environment() -> None:
    settings = ProviderSettings.from_environment({"ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE": "jobs"})
    assert (settings.job_namespace, settings.prometheus_address) == ("jobs", "")
    assert settings.stale_after == timedelta(hours=1)
