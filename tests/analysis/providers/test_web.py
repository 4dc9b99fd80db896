"""Web metrics: what a body becomes, and servers that answer badly, slowly, too much, or from somewhere else."""

from __future__ import annotations

import gzip
import ipaddress
import json
import shutil
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from fairlead.analysis.providers.settings import ProviderSettings, ProviderTools, WebGuard
from fairlead.analysis.providers.web import WebProvider
from fairlead.analysis.status import Measurement, Phase
from tests.analysis.providers import certificates, servers
from tests.analysis.providers.servers import NOW, FixedClock, metric, question, serving, speaking

SMALL = ProviderSettings(body_bytes_max=4096)
JSON = {"data": {"ok": True, "rate": 0.97, "n": None, "items": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}}


async def ask(
    address: str,
    *,
    settings: ProviderSettings = SMALL,
    success: str = "",
    failure: str = "",
    **block: Any,
) -> Measurement:
    """Return what a web metric measures at an address."""
    provider = WebProvider(ProviderTools(clock=FixedClock(), settings=settings))
    spec = {"web": {"url": address, **block}}
    return await provider.measure(question(metric(spec, success=success, failure=failure)))


def answering(body: bytes | str, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Any:
    async def handler(request: web.Request) -> web.Response:
        raw = body.encode() if isinstance(body, str) else body
        fields = {"Content-Type": content_type, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return web.Response(body=raw, status=status, headers=fields)

    return handler


@pytest.mark.parametrize(
    ("path", "success", "phase", "value", "message"),
    [
        pytest.param("", "result.data.ok", Phase.SUCCESSFUL, json.dumps(JSON, sort_keys=True), "", id="whole"),
        pytest.param("{.data.ok}", "result", Phase.SUCCESSFUL, "true", "", id="bool"),
        pytest.param("{$.data.rate}", "result >= 0.95", Phase.SUCCESSFUL, "0.97", "", id="number"),
        pytest.param("{$.data.rate}", "result >= 0.99", Phase.FAILED, "0.97", "", id="too-low"),
        pytest.param("{$.data.n}", "result == nil", Phase.SUCCESSFUL, "null", "", id="null"),
        pytest.param("{$.data.items[-1].v}", "result == 2", Phase.SUCCESSFUL, "2", "", id="index"),
        pytest.param(
            '{$.data.items[?(@.name=="a")]}', "result.v < 2", Phase.SUCCESSFUL, '{"name":"a","v":1}', "", id="filter"
        ),
        pytest.param("$.data.ok", "result == '$.data.ok'", Phase.SUCCESSFUL, '"$.data.ok"', "", id="no-braces"),
        pytest.param(
            "{.data.zz}", "true", Phase.ERROR, "", "Could not find JSONPath in body: zz is not found", id="missing-key"
        ),
        pytest.param(
            "{.data.items[5]}",
            "true",
            Phase.ERROR,
            "",
            "Could not find JSONPath in body: array index out of bounds: index 5, length 2",
            id="out-of-bounds",
        ),
        pytest.param(
            '{.data.items[?(@.name=="z")]}',
            "",
            Phase.ERROR,
            "",
            "result of web metric produced no value",
            id="no-match",
        ),
        pytest.param("{.data", "true", Phase.ERROR, "", "unclosed action", id="no-template"),
        pytest.param(
            "{.data.ok}",
            "result > 1",
            Phase.ERROR,
            "",
            'could not evaluate successCondition "result > 1": invalid operation: > (mismatched types bool and int)',
            id="condition-error",
        ),
    ],
)
async def test_json_bodies(path: str, success: str, phase: Phase, value: str, message: str) -> None:
    async with serving(answering(json.dumps(JSON))) as address:
        found = await ask(address, jsonPath=path, success=success)
    assert (found.phase, found.message) == (phase, message)
    assert found.value == value.replace(": ", ":").replace(", ", ",")
    assert (found.started_at, found.finished_at) == (NOW, NOW)


@pytest.mark.parametrize(
    ("body", "success", "phase", "value"),
    [
        pytest.param(b"OK\n", "result == 'OK\\n'", Phase.SUCCESSFUL, "OK\n", id="text-keeps-its-newline"),
        pytest.param(b"200", "result == 200", Phase.SUCCESSFUL, "200", id="number"),
        pytest.param(b"true", "result", Phase.SUCCESSFUL, "true", id="bool"),
        pytest.param(b"null", "result == nil", Phase.SUCCESSFUL, "null", id="null"),
        pytest.param(b"null", "", Phase.INCONCLUSIVE, "null", id="null-without-conditions"),
        pytest.param(b"", "result == ''", Phase.SUCCESSFUL, "", id="empty"),
        pytest.param(b"", "", Phase.INCONCLUSIVE, "", id="empty-without-conditions"),
        pytest.param(b"[]", "", Phase.INCONCLUSIVE, "[]", id="empty-list-without-conditions"),
        pytest.param(b"[]", "result[0] > 1", Phase.ERROR, "", id="empty-list"),
        pytest.param(b'{"v": "0.5"}', "result.v < 1", Phase.ERROR, "", id="text-for-a-number"),
        pytest.param(b'{"v": null}', "result.v < 1", Phase.ERROR, "", id="null-for-a-number"),
        pytest.param(b'{"v": NaN}', "result.v < 1", Phase.ERROR, "", id="nan-is-no-json"),
        pytest.param(b'{"v": 1' + b"0" * 400 + b"}", "result.v > 1", Phase.ERROR, "", id="ten-to-the-four-hundred"),
        pytest.param(b'{"v": 18446744073709551616}', "result.v > 1e19", Phase.SUCCESSFUL, None, id="beyond-64-bits"),
        pytest.param(b"\xff\xfe\x00", "result contains '0.97'", Phase.FAILED, "\ufffd\ufffd\x00", id="no-utf-8"),
        pytest.param(b"<html>Sign in</html>", "result.ok", Phase.ERROR, "", id="login-page"),
        pytest.param(b"[" * 3000, "result[0] == 1", Phase.ERROR, "", id="no-end"),
        pytest.param(b"[" * 1500 + b"]" * 1500, "true", Phase.ERROR, "", id="too-deep"),
    ],
)
async def test_bodies(body: bytes, success: str, phase: Phase, value: str | None) -> None:
    async with serving(answering(body, content_type="text/html")) as address:
        found = await ask(address, success=success)
    assert found.phase is phase, found.message
    assert bool(found.message) is (phase in (Phase.ERROR, Phase.INCONCLUSIVE))
    if value is not None:
        assert found.value == value


@pytest.mark.parametrize("status", [199 + 101, 304, 400, 401, 403, 404, 429, 500, 503, 599])
async def test_other_statuses_are_errors(status: int) -> None:
    async with serving(answering("true", status=status, Retry_After="999999999")) as address:
        found = await ask(address, success="true")
    assert (found.phase, found.message) == (Phase.ERROR, f"received non 2xx response code: {status}")


async def test_no_content_has_no_value() -> None:
    async with serving(answering(b"", status=204)) as address:
        assert (await ask(address, success="result.ok")).phase is Phase.ERROR
        assert (await ask(address)).phase is Phase.INCONCLUSIVE


async def test_the_request_is_what_the_metric_says() -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return web.json_response(1)

    headers = [{"key": "X-Tenant", "value": "a"}, {"key": "X-Tenant", "value": "b"}]
    async with serving(handler) as address:
        await ask(f"{address}/p?q=%20x", headers=headers)
        await ask(address, method="POST", body="plain")
        await ask(
            address, method="PUT", jsonBody={"b": [1, None], "a": "x"}, headers=[{"key": "content-type", "value": "t"}]
        )
    first, second, third = seen
    assert (first[0], first[1], first[2]["X-Tenant"]) == ("GET", "/p?q=%20x", "b")
    assert (second[0], second[3]) == ("POST", b"plain")
    assert (third[0], third[3]) == ("PUT", b'{"a":"x","b":[1,null]}')
    assert third[2]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        pytest.param(
            {"method": "POST", "body": "x", "jsonBody": {}},
            "use either Body or JSONBody; both cannot exists for WebMetric payload",
            id="two-bodies",
        ),
        pytest.param(
            {"body": "x"}, "Body/JSONBody can only be used with POST or PUT WebMetric Method types", id="body-of-a-get"
        ),
        pytest.param({"url": "file:///etc/passwd"}, "unsupported protocol scheme", id="file"),
        pytest.param({"url": ""}, "unsupported protocol scheme", id="no-url"),
        pytest.param({"url": "http://"}, "unsupported protocol scheme", id="no-host"),
        pytest.param({"url": "http://[::1"}, "the URL cannot be parsed", id="no-brackets"),
        pytest.param({"url": "http://2852039166/"}, "the host is none", id="metadata-address-as-a-number"),
        pytest.param({"url": "http://0251.0376.0251.0376/"}, "the host is none", id="metadata-address-in-octal"),
        pytest.param({"url": "http://127.0.0.1:99999/"}, "the URL cannot be parsed", id="port"),
        pytest.param({"method": "GE T"}, "the request cannot be sent", id="method"),
        pytest.param({"headers": [{"key": "a", "value": "b\r\nx: y"}]}, "the request cannot be sent", id="header"),
    ],
)
async def test_requests_that_cannot_be_sent(block: dict[str, Any], message: str) -> None:
    async with serving(answering("true")) as address:
        found = await ask(**{"address": address, **({"address": block.pop("url")} if "url" in block else {}), **block})
    assert found.phase is Phase.ERROR
    assert message in found.message


@pytest.mark.parametrize("talk", [servers.drip_body, servers.drip_head, servers.say_nothing], ids=lambda f: f.__name__)
async def test_a_slow_server_meets_the_time_limit(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.analysis.providers.web.SECONDS", 0.2)
    async with speaking(talk) as address:
        found = await ask(address, success="true", settings=ProviderSettings())
    assert (found.phase, found.message) == (Phase.ERROR, f'Get "{address}": no complete answer within 0.2 s')


@pytest.mark.parametrize("talk", [servers.hang_up, servers.speak_gibberish], ids=lambda f: f.__name__)
async def test_a_broken_server_is_an_error(talk: Any) -> None:
    async with speaking(talk) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR
    assert found.message.startswith(f'Get "{address}": ')


async def test_nobody_listens() -> None:
    found = await ask("http://127.0.0.1:1/x?token=secret", success="true")
    assert found.phase is Phase.ERROR
    assert found.message.startswith('Get "http://127.0.0.1:1/x": ')
    assert "secret" not in found.message


async def test_an_endless_answer_is_cut() -> None:
    async with speaking(servers.endless) as address:
        found = await ask(address, success="true")
    assert (found.phase, found.message) == (Phase.ERROR, "the answer is larger than 4096 bytes")


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        pytest.param(gzip.compress(b"0.5"), "gzip", "", id="gzip"),
        pytest.param(gzip.compress(b"0" * 10_000_000), "gzip", "the answer is larger than 4096 bytes", id="bomb"),
        pytest.param(b"no gzip", "gzip", "malformed answer: its body is no gzip data", id="no-gzip"),
        pytest.param(gzip.compress(b"0.5")[:-9], "gzip", "malformed answer: its body ends too early", id="half"),
        pytest.param(b"0.5", "br", "unsupported content encoding 'br'", id="unknown"),
    ],
)
async def test_packed_bodies(body: bytes, encoding: str, message: str) -> None:
    async with serving(answering(body, Content_Encoding=encoding)) as address:
        found = await ask(address, success="result == 0.5")
    assert found.message == message
    assert found.phase is (Phase.ERROR if message else Phase.SUCCESSFUL)


async def test_user_info_of_the_url_signs_in() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(request.headers.get("Authorization"))

    async with serving(handler) as address:
        found = await ask(address.replace("//", "//me:pass@"), success="true")
        own = await ask(
            address.replace("//", "//me:pass@"), success="true", headers=[{"key": "authorization", "value": "Bearer x"}]
        )
    assert found.value == json.dumps(encode_basic_auth("me", "pass"))
    assert own.value == '"Bearer x"'


# --- redirects


async def test_redirects_stay_on_the_host() -> None:
    hops: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        hops.append((request.method, request.path))
        if request.path == "/end":
            return web.json_response(0.5)
        raise web.HTTPFound("/end")

    async with serving(handler) as address:
        found = await ask(f"{address}/start", success="result == 0.5", method="POST", body="x")
    assert found.phase is Phase.SUCCESSFUL
    assert hops == [("POST", "/start"), ("GET", "/end")]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file:///etc/passwd", "redirected to a URL of scheme 'file': refused"),
        ("gopher://127.0.0.1/x", "redirected to a URL of scheme 'gopher': refused"),
        ("http://example.org/", "redirected to another host (example.org): refused"),
        ("http://169.254.169.254/latest/", "redirected to another host (169.254.169.254): refused"),
        ("/loop", "stopped after 10 redirects"),
    ],
)
async def test_redirects_that_are_not_followed(target: str, message: str) -> None:
    async with serving(answering("", status=307, Location=target)) as address:
        found = await ask(address, success="true")
    assert found.phase is Phase.ERROR
    assert found.message.endswith(message)


async def test_a_redirect_to_another_host_can_be_allowed_and_still_meets_the_guard() -> None:
    guard = WebGuard(other_hosts=True)
    async with serving(answering("", status=302, Location="http://[::ffff:169.254.169.254]/")) as address:
        found = await ask(address, success="true", settings=ProviderSettings(guard=guard))
    assert found.phase is Phase.ERROR
    assert "refused: 169.254.169.254 is in 169.254.0.0/16" in found.message


# --- what may be reached


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.170.2/v2/credentials",
        "http://user:secret@169.254.169.254/",
        "http://good.example@169.254.169.254/",
        "http://[fe80::1%25eth0]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://0xa9fea9fe/",
    ],
)
async def test_metadata_addresses_are_refused(url: str) -> None:
    found = await ask(url, success="true", timeoutSeconds=1)
    assert found.phase is Phase.ERROR
    assert "which the settings forbid" in found.message
    assert "secret" not in found.message


async def test_a_name_counts_by_the_address_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering("0.5")) as address:
        named = address.replace("127.0.0.1", "localhost")
        assert (await ask(named, success="result == 0.5")).phase is Phase.SUCCESSFUL
        guard = WebGuard(forbidden=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))
        found = await ask(named, success="true", settings=ProviderSettings(guard=guard))
    assert found.phase is Phase.ERROR
    assert "localhost is refused: " in found.message


async def test_a_forbidden_network_can_be_allowed_in_part() -> None:
    loopback = ipaddress.ip_network("127.0.0.0/8")
    guard = WebGuard(forbidden=(loopback,), allowed=(ipaddress.ip_network("127.0.0.1/32"),))
    async with serving(answering("0.5")) as address:
        found = await ask(address, success="result == 0.5", settings=ProviderSettings(guard=guard))
    assert found.phase is Phase.SUCCESSFUL
    assert guard.refusal("127.0.0.2") == "127.0.0.2 is in 127.0.0.0/8, which the settings forbid"


# --- signing in


async def test_oauth2_fetches_a_token_for_each_measurement() -> None:
    tokens = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal tokens
        if request.path == "/token":
            form = await request.post()
            assert (form["grant_type"], form["scope"]) == ("client_credentials", "read write")
            if "client_secret" not in form:  # this server wants the credentials in the form
                return web.Response(status=401)
            tokens += 1
            return web.json_response({"access_token": f"t{tokens}", "token_type": "bearer"})
        return web.json_response(request.headers["Authorization"])

    async with serving(handler) as address:
        oauth2 = {"tokenUrl": f"{address}/token", "clientId": "me", "clientSecret": "s", "scopes": ["read", "write"]}
        for number in (1, 2):
            found = await ask(address, success="true", authentication={"oauth2": oauth2})
            assert found.value == f'"Bearer t{number}"'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (web.Response(status=403, text="client secret s3cret is wrong"), "oauth2: cannot fetch token: 403"),
        (web.Response(text="<html>"), "oauth2: cannot parse token answer: not JSON"),
        (web.Response(text="{}"), "oauth2: server response missing access_token"),
        (web.Response(text='{"access_token": "a\\nb"}'), "oauth2: the token cannot stand in a header"),
    ],
    ids=["forbidden", "html", "empty", "newline"],
)
async def test_tokens_that_cannot_be_had(answer: web.Response, message: str) -> None:
    status, body = answer.status, answer.text

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with serving(handler) as address:
        oauth2 = {"tokenUrl": f"{address}/token", "clientId": "me", "clientSecret": "s3cret"}
        found = await ask(address, success="true", authentication={"oauth2": oauth2})
    assert (found.phase, found.message) == (Phase.ERROR, message)


async def test_oauth2_without_a_client_is_an_error() -> None:
    found = await ask("http://127.0.0.1:1", authentication={"oauth2": {"tokenUrl": "http://127.0.0.1:1"}})
    assert found.message == "missing mandatory parameter in metric for OAuth2 setup"


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of another host, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=other.example"]
    subprocess.run(
        [*command, "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )
    return folder


async def test_certificates_are_verified_unless_insecure(certificate: Path) -> None:
    from aiohttp.test_utils import TestServer

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    app = web.Application()
    app.router.add_get("/", answering("0.5"))
    server = TestServer(app)
    await server.start_server(ssl=context)
    try:
        address = str(server.make_url("/"))
        found = await ask(address, success="true")
        assert found.phase is Phase.ERROR
        assert "certificate" in found.message.lower()
        assert (await ask(address, success="result == 0.5", insecure=True)).phase is Phase.SUCCESSFUL
    finally:
        await server.close()


CERTIFICATES = {
    "good": ("127.0.0.1", timedelta(days=1), True, ""),
    "expired": ("127.0.0.1", timedelta(hours=-1), True, "certificate has expired"),
    "of-another-host": ("127.0.0.2", timedelta(days=1), True, "certificate is not valid for '127.0.0.1'"),
    "self-signed": ("127.0.0.1", timedelta(days=1), False, "self-signed certificate"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
async def test_a_certificate_is_refused_for_its_own_fault(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One authority is trusted; each certificate but the good one has exactly one fault."""
    from aiohttp import connector
    from aiohttp.test_utils import TestServer

    host, valid_for, is_signed, fault = CERTIFICATES[name]
    authority = certificates.authority()
    issued = certificates.issue(authority if is_signed else None, host, valid_for=valid_for)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "server.pem").write_bytes(issued.pem)
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    app = web.Application()
    app.router.add_get("/", answering("0.5"))
    server = TestServer(app)
    await server.start_server(ssl=context)
    try:
        found = await ask(str(server.make_url("/")), success="true")
    finally:
        await server.close()
    assert found.phase is (Phase.ERROR if fault else Phase.SUCCESSFUL), found.message
    assert fault in found.message


async def test_there_is_nothing_to_resume_or_terminate() -> None:
    provider = WebProvider(ProviderTools(clock=FixedClock()))
    asked = question(metric({"web": {"url": "http://127.0.0.1:1"}}))
    running = Measurement(phase=Phase.RUNNING, started_at=NOW)
    assert (await provider.resume(asked, running)).phase is Phase.ERROR
    assert (await provider.terminate(asked, running)).phase is Phase.ERROR
    await provider.garbage_collect(asked, (running,))
    assert provider.metadata(asked.metric) == {}
