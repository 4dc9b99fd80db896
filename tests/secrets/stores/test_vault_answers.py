"""What a Vault server may answer instead of a secret: none of it may be taken for "no such secret", none may hang."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from typing import Any

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.port import (
    Denied,
    FindQuery,
    MetadataPolicy,
    NoSecret,
    RemoteRef,
    RetrySettings,
    Store,
    StoreKind,
    StoreSpec,
    StoreUnavailable,
    Throttled,
)
from fairlead.secrets.stores.vault import VaultProvider
from tests.secrets.stores.badserver import (
    BadServer,
    Respond,
    answering,
    drip,
    drip_headers,
    endless,
    gzip_bomb,
    hang_up,
    json_answer,
    silent,
)
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, spec_of

MARKER = "m4rker-in-an-answer"
TOKEN = "m4rker-of-the-token"
GOOD = json_answer(200, '{"data": {"data": {"v": "fine"}, "metadata": {"version": 1}}}')
MOUNT_V2 = json_answer(200, '{"data": {"type": "kv", "options": {"version": "2"}}}')
ABSENT = json_answer(404, '{"errors": []}')
REF = RemoteRef(key="db", property="v")


def vault(server: BadServer, *, retries: int | None = 0, **fields: Any) -> StoreSpec:
    block = {
        "server": server.address,
        "path": "secret",
        "auth": {"tokenSecretRef": {"name": "creds", "key": "token"}},
        **fields,
    }
    return spec_of("vault", block, retry=None if retries is None else RetrySettings(max_retries=retries))


def around(**secret: str) -> Surroundings:
    data = {key.replace("_", "-"): value.encode() for key, value in (secret or {"token": TOKEN}).items()}
    return Surroundings(credentials=StaticCredentials(secrets={(NAMESPACE, "creds"): data}))


async def open_(spec: StoreSpec, surroundings: Surroundings | None = None, *, seconds: float = 5.0) -> Store:
    return await VaultProvider(call_seconds=seconds).open(spec, (surroundings or around()).context())


# Rows 48 and 50 of the list of bad inputs.
ANSWERS = [
    pytest.param(json_answer(400, f'{{"errors": ["{MARKER}"]}}'), ProviderError, "(400)", id="400"),
    pytest.param(json_answer(401, '{"errors": ["permission denied"]}'), Denied, "permission denied", id="401"),
    pytest.param(json_answer(403, f'{{"errors": ["{MARKER}"]}}'), Denied, "permission denied (403)", id="403"),
    pytest.param(json_answer(404, '{"errors": ["no handler for route"]}'), ProviderError, "no handler", id="404-mount"),
    pytest.param(json_answer(404, f"<html>{MARKER}</html>"), StoreUnavailable, "(404)", id="404-of-a-proxy"),
    pytest.param(json_answer(404, f'{{"message": "{MARKER}"}}'), StoreUnavailable, "(404)", id="404-of-another-api"),
    pytest.param(json_answer(404, ""), StoreUnavailable, "(404)", id="404-empty"),
    pytest.param(
        json_answer(404, '{"data": null, "warnings": ["Invalid path"]}'), ProviderError, "version", id="404-warnings"
    ),
    pytest.param(json_answer(412, '{"errors": []}'), StoreUnavailable, "caught up", id="412"),
    pytest.param(json_answer(429, '{"errors": ["rate limit quota exceeded"]}'), Throttled, "quota", id="429"),
    pytest.param(json_answer(472, ""), StoreUnavailable, "standby", id="472"),
    pytest.param(json_answer(473, ""), StoreUnavailable, "standby", id="473"),
    pytest.param(json_answer(500, f'{{"errors": ["{MARKER}"]}}'), StoreUnavailable, "(500)", id="500"),
    pytest.param(json_answer(502, f"<html>{MARKER}"), StoreUnavailable, "gateway", id="502"),
    pytest.param(json_answer(503, '{"errors": ["Vault is sealed"]}'), StoreUnavailable, "sealed", id="503-sealed"),
    pytest.param(json_answer(204, ""), ProviderError, "(204)", id="204"),
    pytest.param(json_answer(200, ""), StoreUnavailable, "no data", id="200-empty"),
    pytest.param(json_answer(200, f"<html>{MARKER}</html>"), StoreUnavailable, "not one of Vault", id="200-html"),
    pytest.param(json_answer(200, f'["{MARKER}"]'), StoreUnavailable, "not one of Vault", id="200-list"),
    pytest.param(json_answer(200, f'{{"data": "{MARKER}"}}'), StoreUnavailable, "no data", id="200-text-for-data"),
    pytest.param(json_answer(200, '{"data": null, "warnings": ["x"]}'), StoreUnavailable, "no data", id="200-warnings"),
    pytest.param(
        json_answer(200, f'{{"data": null, "wrap_info": {{"token": "{MARKER}"}}}}'),
        ProviderError,
        "wrapped",
        id="wrapped",
    ),
    pytest.param(json_answer(200, f'{{"data": {{"v": "{MARKER}"}}}}'), ProviderError, "data field", id="v1-body"),
    pytest.param(json_answer(200, f'{{"data": {{"data": "{MARKER}"}}}}'), ProviderError, "no mapping", id="inner-text"),
    pytest.param(json_answer(200, '{"data": ' + "[" * 100_000), StoreUnavailable, "not one of Vault", id="deep"),
    pytest.param(json_answer(307, "", Location="/v1/elsewhere"), StoreUnavailable, "redirects", id="redirect-loop"),
    pytest.param(
        json_answer(302, "", Location="file:///etc/passwd"), ProviderError, "address", id="redirect-to-a-file"
    ),
    pytest.param(hang_up, StoreUnavailable, "cut off", id="half-an-answer"),
    pytest.param(endless, StoreUnavailable, "longer than", id="too-long"),
    pytest.param(gzip_bomb, StoreUnavailable, "longer than", id="gzip-bomb"),
    pytest.param(json_answer(200, MARKER, Content_Encoding="gzip"), StoreUnavailable, "cut off", id="broken-gzip"),
]


@pytest.mark.parametrize(("respond", "error", "says"), ANSWERS)
async def test_a_bad_answer_is_no_missing_secret(
    respond: Respond, error: type[ProviderError], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), answering(respond) as server:
        store = await open_(vault(server))
        try:
            for ask in (store.get(REF), store.get_map(REF), store.find(FindQuery(path="x", name_regexp="."))):
                with pytest.raises(error) as caught:
                    await ask
                assert not isinstance(caught.value, NoSecret)
                shown = "".join(traceback.format_exception(caught.value))
                assert MARKER not in shown
                assert TOKEN not in shown
            with pytest.raises(error) as caught:
                await store.get(REF)
            assert says in str(caught.value)
        finally:
            await store.close()
    assert "m4rker" not in caplog.text


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(silent, id="silence"),
        pytest.param(drip, id="drip"),
        pytest.param(drip_headers, id="drip-of-headers"),
    ],
)
async def test_a_server_that_takes_its_time_is_left_and_its_threads_come_free(respond: Respond) -> None:
    # Twenty calls on eight threads: were a thread still held by a call that was given up, the last would never end.
    with answering(respond) as server:
        store = await open_(vault(server), seconds=0.2)
        try:
            async with asyncio.timeout(30):
                answers = await store.read([RemoteRef(key=f"k{index}") for index in range(20)])
            assert [type(answer) for answer in answers] == [StoreUnavailable] * 20
            with server.lock:
                server.script[:] = [GOOD]
            async with asyncio.timeout(30):
                assert (await store.get(REF)).reveal() == b"fine"
        finally:
            await store.close()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param('""', b"", id="empty"),
        pytest.param('"\\u0000a"', b"\x00a", id="nul"),
        pytest.param('{"x": [1]}', b'{"x":[1]}', id="json-where-text-is-expected"),
        pytest.param('"' + "x" * (1024 * 1024 + 1) + '"', b"x" * (1024 * 1024 + 1), id="longer-than-a-secret"),
        pytest.param('"\\ud800"', "\ufffd".encode(), id="half-a-pair"),
        pytest.param("1e400", b"1e400", id="no-float"),
    ],
)
async def test_odd_values_come_through_whole(value: str, expected: bytes) -> None:
    with answering(json_answer(200, f'{{"data": {{"data": {{"v": {value}}}}}}}')) as server:
        store = await open_(vault(server))
        try:
            assert (await store.get(REF)).reveal() == expected
        finally:
            await store.close()


async def test_only_vaults_own_empty_404_is_no_secret_and_the_mount_is_asked_once() -> None:
    with answering(ABSENT, MOUNT_V2, ABSENT) as server:
        store = await open_(vault(server))
        try:
            for _ in range(3):
                with pytest.raises(NoSecret):
                    await store.get(REF)
        finally:
            await store.close()
    assert [path.split("/")[2] for path in server.paths] == ["secret", "sys", "secret", "secret"]


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param(json_answer(403, '{"errors": ["permission denied"]}'), id="may-not-ask"),
        pytest.param(json_answer(404, '{"errors": []}'), id="unknown-to-the-server"),
        pytest.param(json_answer(200, '{"data": {"type": "custom", "options": null}}'), id="another-engine"),
    ],
)
async def test_a_mount_that_does_not_tell_its_version_is_believed(mount: Respond) -> None:
    with answering(ABSENT, mount) as server:
        store = await open_(vault(server))
        try:
            with pytest.raises(NoSecret):
                await store.get(REF)
        finally:
            await store.close()


async def test_a_version_that_was_deleted_is_no_secret() -> None:
    gone = json_answer(404, '{"data": {"data": null, "metadata": {"deletion_time": "2026-01-01T00:00:00Z"}}}')
    with answering(gone) as server:
        store = await open_(vault(server))
        try:
            with pytest.raises(NoSecret):
                await store.get(REF)
        finally:
            await store.close()


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7.0), ("999999999", 3600.0), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1" * 40, None)],
)
async def test_retry_after_is_passed_on_within_reason(header: str, expected: float | None) -> None:
    with answering(json_answer(429, "{}", Retry_After=header)) as server:
        store = await open_(vault(server, retries=None))
        try:
            with pytest.raises(Throttled) as caught:
                await store.get(REF)
        finally:
            await store.close()
    assert caught.value.retry_after == expected
    assert len(server.requests) == 1  # who is asked for patience does not ask again by himself


@pytest.mark.parametrize(
    ("script", "retries", "requests"),
    [
        pytest.param([json_answer(500, "{}"), GOOD], None, 2, id="500-once"),
        pytest.param([json_answer(412, "{}"), json_answer(412, "{}"), GOOD], None, 3, id="412-twice"),
        pytest.param([hang_up, GOOD], None, 2, id="cut-off-once"),
        pytest.param([json_answer(500, "{}"), json_answer(500, "{}"), GOOD], 2, 3, id="as-the-spec-says"),
    ],
)
async def test_reads_are_repeated_after_faults_on_the_way(
    script: list[Respond], retries: int | None, requests: int
) -> None:
    surroundings = around()
    with answering(*script) as server:
        store = await open_(vault(server, retries=retries), surroundings)
        try:
            assert (await store.get(REF)).reveal() == b"fine"
        finally:
            await store.close()
    assert len(server.requests) == requests
    waited = surroundings.clock.seconds - 1000.0
    assert requests - 1 <= waited <= (requests - 1) * 1.5


@pytest.mark.parametrize(
    ("settings", "requests"),
    [(None, 3), (RetrySettings(), 1), (RetrySettings(max_retries=-3), 1), (RetrySettings(max_retries=4), 5)],
    ids=["absent", "present-and-empty", "negative", "four"],
)
async def test_retry_settings_that_are_present_and_empty_mean_none(
    settings: RetrySettings | None, requests: int
) -> None:
    with answering(json_answer(500, "{}")) as server:
        spec = vault(server)
        spec = spec_of("vault", {"server": server.address, "path": "secret"}, retry=settings)
        store = await open_(spec)
        try:
            with pytest.raises(StoreUnavailable):
                await store.get(REF)
        finally:
            await store.close()
    assert len(server.requests) == requests


async def test_a_sealed_server_is_not_asked_again_at_once() -> None:
    with answering(json_answer(503, '{"errors": ["Vault is sealed"]}')) as server:
        store = await open_(vault(server, retries=None))
        try:
            with pytest.raises(StoreUnavailable, match="sealed"):
                await store.get(REF)
        finally:
            await store.close()
    assert len(server.requests) == 1


# -- what is sent -----------------------------------------------------------------------------------------------------


async def test_nothing_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    # A confused deputy otherwise: the operator's own token, proxy and netrc would work for any tenant's store.
    (tmp_path / ".vault-token").write_text("m4rker-of-the-operator")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password m4rker-of-netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_TOKEN", "m4rker-of-the-environment")
    monkeypatch.setenv("VAULT_NAMESPACE", "m4rker-namespace")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(GOOD) as server:
        store = await open_(spec_of("vault", {"server": server.address, "path": "secret"}))
        try:
            assert (await store.get(REF)).reveal() == b"fine"
        finally:
            await store.close()
    (headers,) = server.headers
    assert "X-Vault-Token" not in headers
    assert "m4rker" not in str(headers)
    assert os.environ["VAULT_TOKEN"]


async def test_headers_namespace_and_token_are_sent_as_the_spec_says() -> None:
    with answering(GOOD) as server:
        store = await open_(vault(server, namespace="team-a", headers={"X-Edge": "yes"}))
        try:
            await store.get(RemoteRef(key="db", version="3"))
        finally:
            await store.close()
    (headers,) = server.headers
    assert (headers["X-Vault-Token"], headers["X-Vault-Namespace"], headers["X-Edge"]) == (TOKEN, "team-a", "yes")
    assert headers["X-Vault-Request"] == "true"
    assert server.paths == ["/v1/secret/data/db?version=3"]


async def test_read_your_writes_replays_the_index() -> None:
    indexed = json_answer(200, '{"data": {"data": {"v": "fine"}}}', X_Vault_Index="index-1")
    with answering(indexed) as server:
        store = await open_(vault(server, readYourWrites=True, forwardInconsistent=True))
        try:
            await store.get(REF)
            await store.get(REF)
        finally:
            await store.close()
    assert [headers.get("X-Vault-Index") for headers in server.headers] == [None, "index-1"]
    assert server.headers[1]["X-Vault-Inconsistent"] == "forward-active-node"


async def test_a_token_that_no_header_can_carry_is_an_error_without_it() -> None:
    with answering(GOOD) as server:
        store = await open_(vault(server), around(token=f"{TOKEN}\n"))
        try:
            with pytest.raises(ProviderError, match="newline") as caught:
                await store.get(REF)
        finally:
            await store.close()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert server.requests == []


async def test_equal_keys_of_one_reading_are_one_request() -> None:
    with answering(GOOD) as server:
        store = await open_(vault(server))
        try:
            refs = [RemoteRef(key="db", property="v"), RemoteRef(key="db"), RemoteRef(key="db", version="1")]
            await store.get_many(refs)
        finally:
            await store.close()
    assert sorted(server.paths) == ["/v1/secret/data/db", "/v1/secret/data/db?version=1"]


# -- signing in -------------------------------------------------------------------------------------------------------

LOGIN = '{"auth": {"client_token": "m4rker-of-a-login", "lease_duration": %s, "renewable": %s}}'
APP_ROLE = {"appRole": {"roleId": "r", "secretRef": {"name": "creds", "key": "secret-id"}}}


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        pytest.param(json_answer(400, '{"errors": ["invalid role or secret ID"]}'), ProviderError, id="wrong-secret"),
        pytest.param(json_answer(403, "{}"), Denied, id="denied"),
        pytest.param(json_answer(500, "{}"), StoreUnavailable, id="500"),
        pytest.param(json_answer(200, '{"auth": null, "data": {}}'), StoreUnavailable, id="no-auth"),
        pytest.param(json_answer(200, '{"auth": {"client_token": ""}}'), StoreUnavailable, id="empty-token"),
        pytest.param(json_answer(200, "<html>"), StoreUnavailable, id="html"),
        pytest.param(hang_up, StoreUnavailable, id="cut-off"),
    ],
)
async def test_a_login_that_fails_is_no_missing_secret(respond: Respond, error: type[ProviderError]) -> None:
    with answering(respond) as server:
        store = await open_(vault(server, auth=APP_ROLE), around(secret_id="m4rker-of-a-secret-id"))
        try:
            with pytest.raises(error) as caught:
                await store.get(REF)
            assert not isinstance(caught.value, NoSecret)
            assert "m4rker" not in "".join(traceback.format_exception(caught.value))
        finally:
            await store.close()


async def test_a_login_without_an_end_is_kept() -> None:
    with answering(json_answer(200, LOGIN % ("0", "false")), GOOD) as server:
        surroundings = around(secret_id="s")
        store = await open_(vault(server, auth=APP_ROLE), surroundings)
        await store.get(REF)
        surroundings.clock.seconds += 10**7
        await store.get(REF)
        assert surroundings.count("Login") == 1
        await store.close()


async def test_a_cancelled_login_is_finished_and_given_back() -> None:
    with answering(json_answer(200, LOGIN % ("60", "true")), GOOD) as server:
        surroundings = around(secret_id="s")
        store = await open_(vault(server, auth=APP_ROLE), surroundings)
        task = asyncio.create_task(store.get(REF))
        await asyncio.sleep(0)  # as far as asking for a login
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.close()
    assert (surroundings.count("Login"), surroundings.count("RevokeSelf")) == (1, 1)


async def test_a_renewal_that_fails_leaves_the_token_in_use() -> None:
    with answering(json_answer(200, LOGIN % ("60", "true")), GOOD, json_answer(500, "{}"), GOOD) as server:
        surroundings = around(secret_id="s")
        store = await open_(vault(server, auth=APP_ROLE), surroundings)
        await store.get(REF)
        surroundings.clock.seconds += 41
        async with asyncio.timeout(20):
            # The renewal gets the 500 or, if it is late, the read does: then the next read is fine.
            while not surroundings.count("RenewSelf"):
                await store.get_many([REF])
                await asyncio.sleep(0)
        assert (await store.get(REF)).reveal() == b"fine"
        await store.close()


async def test_a_token_that_was_replaced_in_its_secret_is_read_again() -> None:
    secret = {"token": b"old"}
    surroundings = Surroundings(credentials=StaticCredentials(secrets={(NAMESPACE, "creds"): secret}))
    denied = json_answer(403, "{}")
    with answering(denied, denied, GOOD) as server:
        store = await open_(vault(server), surroundings)
        with pytest.raises(Denied):
            await store.get(REF)
        secret["token"] = b"new"
        surroundings.clock.seconds += 11
        assert (await store.get(REF)).reveal() == b"fine"
        await store.close()
    assert [headers["X-Vault-Token"] for headers in server.headers] == ["old", "old", "new"]


# -- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "path"),
    [
        pytest.param({}, "spec.provider.vault.server", id="no-server"),
        pytest.param({"server": "vault:8200"}, "spec.provider.vault.server", id="no-url"),
        pytest.param({"server": "file:///etc/passwd"}, "spec.provider.vault.server", id="file"),
        pytest.param({"server": "https://v", "version": "v3"}, "spec.provider.vault.version", id="version"),
        pytest.param({"server": "https://v", "caBundle": "!"}, "spec.provider.vault.caBundle", id="no-base64"),
        pytest.param({"server": "https://v", "caBundle": "aGVsbG8="}, "spec.provider.vault.caBundle", id="no-pem"),
        pytest.param(
            {"server": "https://v", "auth": {"tokenSecretRef": {"name": "t", "namespace": "other"}}},
            "spec.provider.vault.auth.tokenSecretRef",
            id="other-namespace",
        ),
        pytest.param(
            {"server": "https://v", "caProvider": {"type": "Secret", "name": "c", "namespace": "other"}},
            "spec.provider.vault.caProvider.namespace",
            id="ca-of-another-namespace",
        ),
        pytest.param(
            {"server": "https://v", "auth": {"appRole": {"secretRef": {"name": "s"}}}},
            "spec.provider.vault.auth.appRole",
            id="no-role",
        ),
        pytest.param({"server": "https://v", "auth": {"jwt": {}}}, "spec.provider.vault.auth.jwt", id="jwt-of-nobody"),
        pytest.param(
            {"server": "https://v", "tls": {"certSecretRef": {"name": "c"}}},
            "spec.provider.vault.tls",
            id="half-a-pair",
        ),
        pytest.param(
            {"server": "https://v", "version": "v1", "checkAndSet": {"required": True}},
            "spec.provider.vault.checkAndSet.required",
            id="cas-with-v1",
        ),
        pytest.param({"server": "https://v", "auth": {"iam": {}}}, "spec.provider.vault.auth.iam", id="not-built"),
    ],
)
def test_what_cannot_work_is_named_by_its_field(block: dict[str, Any], path: str) -> None:
    problems = VaultProvider().validate_spec(spec_of("vault", block))
    assert path in [problem.path for problem in problems]


def test_a_cluster_stores_ca_must_name_its_namespace() -> None:
    block = {"server": "https://v", "caProvider": {"type": "Secret", "name": "c"}}
    (problem,) = VaultProvider().validate_spec(spec_of("vault", block, kind=StoreKind.CLUSTER))
    assert "missing namespace on caProvider secret" in str(problem)


@pytest.mark.parametrize(
    ("kind", "selector", "expected"),
    [
        (StoreKind.CLUSTER, {"name": "t"}, True),
        (StoreKind.CLUSTER, {"name": "t", "namespace": "n"}, False),
        (StoreKind.NAMESPACED, {"name": "t"}, False),
    ],
)
def test_only_cluster_stores_without_a_namespace_are_referent(
    kind: StoreKind, selector: dict[str, str], expected: bool
) -> None:
    spec = spec_of("vault", {"server": "https://v", "auth": {"tokenSecretRef": selector}}, kind=kind)
    assert VaultProvider().is_referent(spec) is expected


async def test_a_referent_store_takes_the_credentials_of_its_user() -> None:
    credentials = StaticCredentials(
        secrets={("blue", "t"): {"token": b"token-of-blue"}, ("red", "t"): {"token": b"token-of-red"}}
    )
    with answering(GOOD) as server:
        block = {
            "server": server.address,
            "path": "secret",
            "auth": {"tokenSecretRef": {"name": "t", "key": "token"}},
        }
        spec = spec_of("vault", block, kind=StoreKind.CLUSTER)
        for namespace in ("blue", "red"):
            store = await VaultProvider().open(spec, Surroundings(credentials=credentials).context(namespace))
            await store.get(REF)
            await store.close()
        with pytest.raises(ProviderError, match="nobody uses the store yet"):
            await VaultProvider().open(spec, Surroundings(credentials=credentials).context(""))
    assert [headers["X-Vault-Token"] for headers in server.headers] == ["token-of-blue", "token-of-red"]


async def test_a_namespaced_store_ignores_the_namespace_of_its_user() -> None:
    # Invariant 39: whatever a selector says, a SecretStore looks in its own namespace only.
    credentials = StaticCredentials(
        secrets={(NAMESPACE, "t"): {"token": b"own"}, ("other", "t"): {"token": b"m4rker-of-another"}}
    )
    with answering(GOOD) as server:
        auth = {"tokenSecretRef": {"name": "t", "key": "token", "namespace": "other"}}
        spec = spec_of("vault", {"server": server.address, "path": "secret", "auth": auth})
        store = await VaultProvider().open(spec, Surroundings(credentials=credentials).context("other"))
        await store.get(REF)
        await store.close()
    assert server.headers[0]["X-Vault-Token"] == "own"


async def test_metadata_without_custom_entries() -> None:
    body = (
        '{"data": {"created_time": "t", "current_version": 3, "delete_version_after": "0s", "custom_metadata": null}}'
    )
    with answering(json_answer(200, body)) as server:
        store = await open_(vault(server))
        ref = RemoteRef(key="db", metadata_policy=MetadataPolicy.FETCH)
        assert (
            await store.get(ref)
        ).reveal() == b'{"created_time":"t","current_version":"3","delete_version_after":"0s"}'
        await store.close()
