"""What AWS may answer instead of a secret: none of it may be taken for "no such secret", none may hang."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import Any
from urllib.parse import parse_qs

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.aws import AwsProvider
from fairlead.secrets.stores.port import (
    Denied,
    FindQuery,
    NoSecret,
    RemoteRef,
    RetrySettings,
    Store,
    StoreKind,
    StoreSpec,
    StoreUnavailable,
    Throttled,
)
from fairlead.secrets.values import SecretBytes
from tests.secrets.stores.badserver import BadServer, Handler, Respond, answering, hang_up, json_answer, silent
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, spec_of

MARKER = "m4rker-in-an-answer"
KEYS = {
    "accessKeyIDSecretRef": {"name": "creds", "key": "id"},
    "secretAccessKeySecretRef": {"name": "creds", "key": "key"},
}
REF = RemoteRef(key="db")
ENDPOINTS = ("AWS_SECRETSMANAGER_ENDPOINT", "AWS_SSM_ENDPOINT", "AWS_STS_ENDPOINT")


def refusal(code: str, message: str = MARKER, status: int = 400, **headers: str) -> Respond:
    return json_answer(status, json.dumps({"__type": code, "message": message}), **headers)


def value(name: str, text: str = "fine", **fields: Any) -> dict[str, Any]:
    arn = f"arn:aws:secretsmanager:eu-central-1:1:secret:{name}-AbCdEf"
    return {"Name": name, "ARN": arn, "SecretString": text, **fields}


def answer(content: object) -> Respond:
    return json_answer(200, json.dumps(content))


GOOD = answer(value("db"))


def aws(service: str = "SecretsManager", *, attempts: int | None = 1, **fields: Any) -> StoreSpec:
    retry = None if attempts is None else RetrySettings(max_retries=attempts)
    block = {"service": service, "region": "eu-central-1", "auth": {"secretRef": KEYS}, **fields}
    return spec_of("aws", block, retry=retry)


def around(server: BadServer, **credentials: Any) -> Surroundings:
    given = credentials or {"secrets": {(NAMESPACE, "creds"): {"id": b"AKIA", "key": b"m4rker-key"}}}
    return Surroundings(credentials=StaticCredentials(**given), environment=dict.fromkeys(ENDPOINTS, server.address))


async def open_(spec: StoreSpec, surroundings: Surroundings, *, seconds: float = 10.0) -> Store:
    return await AwsProvider(call_seconds=seconds).open(spec, surroundings.context())


# Rows 49 and 51 of the list of bad inputs.
ANSWERS = [
    pytest.param(refusal("AccessDeniedException"), Denied, "AccessDeniedException", id="denied"),
    pytest.param(refusal("com.amazonaws#AccessDeniedException"), Denied, "AccessDenied", id="denied-with-a-namespace"),
    pytest.param(
        refusal("InvalidSignatureException", "Signature expired"), Denied, "InvalidSignature", id="clock-skew"
    ),
    pytest.param(refusal("ExpiredTokenException"), Denied, "ExpiredToken", id="expired-session"),
    pytest.param(refusal("UnrecognizedClientException"), Denied, "Unrecognized", id="unknown-key"),
    pytest.param(refusal("ThrottlingException"), Throttled, "Throttling", id="throttled"),
    pytest.param(refusal("TooManyRequestsException", status=429), Throttled, "TooMany", id="429"),
    pytest.param(refusal("DecryptionFailure"), ProviderError, "DecryptionFailure", id="no-decryption"),
    pytest.param(refusal("InternalServiceError", status=500), StoreUnavailable, "InternalService", id="500"),
    pytest.param(json_answer(503, f"<html>{MARKER}</html>"), StoreUnavailable, None, id="503-html"),
    pytest.param(json_answer(404, f"<html>{MARKER}</html>"), ProviderError, None, id="404-of-a-proxy"),
    pytest.param(json_answer(404, "{}"), ProviderError, None, id="404-without-a-code"),
    pytest.param(
        refusal("InvalidRequestException", "you can't do this"), ProviderError, "InvalidRequest", id="invalid"
    ),
    pytest.param(refusal(f"<{MARKER} {MARKER}>"), ProviderError, "unexpected", id="a-code-that-is-none"),
    pytest.param(json_answer(200, f"<html>{MARKER}</html>"), StoreUnavailable, None, id="200-html"),
    pytest.param(answer({}), StoreUnavailable, "another secret", id="200-empty"),
    pytest.param(answer(value("db2", MARKER)), StoreUnavailable, "another secret", id="another-secret"),
    pytest.param(answer(value("db", SecretString=None)), ProviderError, "neither", id="no-value"),
    pytest.param(hang_up, StoreUnavailable, None, id="half-an-answer"),
]


@pytest.mark.parametrize(("respond", "error", "says"), ANSWERS)
async def test_a_bad_answer_is_no_missing_secret(
    respond: Respond, error: type[ProviderError], says: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), answering(respond) as server:
        store = await open_(aws(), around(server))
        try:
            for ask in (store.get(REF), store.get_map(REF)):
                with pytest.raises(error, match=says) as caught:
                    await ask
                assert not isinstance(caught.value, NoSecret)
                assert "m4rker" not in "".join(traceback.format_exception(caught.value))
            for found in await store.read([REF, RemoteRef(key="db3")]):
                assert isinstance(found, ProviderError)
                assert not isinstance(found, NoSecret)
        finally:
            await store.close()
    assert "m4rker" not in caplog.text


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(refusal("ResourceNotFoundException"), id="absent"),
        pytest.param(refusal("ResourceNotFoundException", status=404), id="absent-as-moto-says-it"),
        pytest.param(refusal("InvalidRequestException", "it was marked for deletion."), id="marked-for-deletion"),
        pytest.param(refusal("InvalidParameterException", "was marked for deletion"), id="marked-as-upstream-expects"),
    ],
)
async def test_no_secret(respond: Respond) -> None:
    with answering(respond) as server:
        store = await open_(aws(), around(server))
        try:
            with pytest.raises(NoSecret):
                await store.get(REF)
        finally:
            await store.close()


async def test_a_parameter_of_another_name_is_not_taken() -> None:
    with answering(answer({"Parameter": {"Name": "/other", "Value": MARKER}})) as server:
        store = await open_(aws("ParameterStore"), around(server))
        try:
            with pytest.raises(StoreUnavailable, match="another parameter"):
                await store.get(RemoteRef(key="/db"))
        finally:
            await store.close()


async def test_a_server_that_says_nothing_is_left() -> None:
    with answering(silent) as server:
        store = await open_(aws(), around(server), seconds=0.3)
        try:
            async with asyncio.timeout(30):
                with pytest.raises(StoreUnavailable, match="no answer within"):
                    await store.get(REF)
        finally:
            await store.close()


# -- batches ----------------------------------------------------------------------------------------------------------


def by_target(**answers: Respond) -> Respond:
    """Return what answers by operation."""

    def respond(handler: Handler) -> None:
        operation = handler.headers["X-Amz-Target"].rpartition(".")[2]
        handler.server.seen.requests[-1] = ("POST", operation, b"")
        answers[operation](handler)

    return respond


async def read(server: BadServer, *keys: str) -> list[str]:
    """Return the values of keys, or the class of what came instead."""
    store = await open_(aws(), around(server))
    try:
        answers = await store.get_many([RemoteRef(key=key) for key in keys])
        return [
            found.reveal().decode() if isinstance(found, SecretBytes) else type(found).__name__ for found in answers
        ]
    finally:
        await store.close()


async def test_errors_within_a_batch_are_of_their_secret_alone() -> None:
    batch = answer(
        {
            "SecretValues": [value("a", "A")],
            "Errors": [
                {"SecretId": "b", "ErrorCode": "ResourceNotFoundException", "Message": MARKER},
                {"SecretId": "c", "ErrorCode": "AccessDeniedException", "Message": MARKER},
                {"SecretId": "d", "ErrorCode": "InvalidRequestException", "Message": "marked for deletion"},
                {"SecretId": "e", "ErrorCode": "DecryptionFailure", "Message": MARKER},
                {"SecretId": "stranger", "ErrorCode": "ResourceNotFoundException"},
            ],
        }
    )
    with answering(by_target(BatchGetSecretValue=batch)) as server:
        assert await read(server, "a", "b", "c", "d", "e") == ["A", "NoSecret", "Denied", "NoSecret", "ProviderError"]
        assert server.paths == ["BatchGetSecretValue"]


async def test_what_a_batch_leaves_out_is_asked_for_alone() -> None:
    batch = answer({"SecretValues": [value("a", "A"), value("uninvited", MARKER)]})
    with answering(by_target(BatchGetSecretValue=batch, GetSecretValue=answer(value("b", "B")))) as server:
        assert await read(server, "a", "b") == ["A", "B"]
        assert server.paths == ["BatchGetSecretValue", "GetSecretValue"]


async def test_who_may_not_read_batches_reads_one_by_one_from_then_on() -> None:
    denied = refusal("AccessDeniedException")
    with answering(by_target(BatchGetSecretValue=denied, GetSecretValue=GOOD)) as server:
        store = await open_(aws(), around(server))
        try:
            for _ in range(3):
                answers = await store.read([RemoteRef(key="db"), RemoteRef(key="other")])
                assert not isinstance(answers[0], ProviderError)
                assert isinstance(answers[1], StoreUnavailable)  # the server answers with `db` to everybody
        finally:
            await store.close()
        assert server.paths.count("BatchGetSecretValue") == 1


async def test_a_throttled_batch_is_not_asked_again_one_by_one() -> None:
    with answering(by_target(BatchGetSecretValue=refusal("ThrottlingException"))) as server:
        assert await read(server, "a", "b") == ["Throttled", "Throttled"]
        assert server.paths == ["BatchGetSecretValue"]


async def test_pages_without_an_end_are_left() -> None:
    page = answer({"SecretList": [value("a")], "NextToken": "again"})
    with answering(by_target(ListSecrets=page)) as server:
        store = await open_(aws(), around(server))
        try:
            with pytest.raises(ProviderError, match="no end") as caught:
                await store.find(FindQuery(name_regexp="."))
            assert not isinstance(caught.value, NoSecret)
        finally:
            await store.close()
        assert len(server.paths) == 2


async def test_parameters_that_may_not_be_listed_by_path_are_described() -> None:
    script = by_target(
        GetParametersByPath=refusal("AccessDeniedException"),
        DescribeParameters=answer({"Parameters": [{"Name": "/a"}, {"Name": "/b"}]}),
        GetParameter=answer({"Parameter": {"Name": "/a", "Value": "A"}}),
    )
    with answering(script) as server:
        store = await open_(aws("ParameterStore"), around(server))
        try:
            found = await store.find(FindQuery(name_regexp="a"))
            assert {name: value.reveal() for name, value in found.items()} == {"/a": b"A"}
        finally:
            await store.close()


# -- repeating --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempts", "requests"), [(None, 3), (1, 1), (5, 5)], ids=["default", "one", "five"])
async def test_faults_on_the_way_are_repeated(attempts: int | None, requests: int) -> None:
    with answering(refusal("InternalServiceError", status=500)) as server:
        store = await open_(aws(attempts=attempts), around(server))
        try:
            with pytest.raises(StoreUnavailable):
                await store.get(REF)
        finally:
            await store.close()
    assert len(server.requests) == requests


async def test_a_throttled_call_is_not_repeated_and_says_how_long() -> None:
    with answering(refusal("ThrottlingException", Retry_After="7")) as server:
        store = await open_(aws(attempts=None), around(server))
        try:
            with pytest.raises(Throttled) as caught:
                await store.get(REF)
        finally:
            await store.close()
    assert (caught.value.retry_after, len(server.requests)) == (7.0, 1)


async def test_keys_that_were_replaced_in_their_secret_are_read_again() -> None:
    secret = {"id": b"AKIAOLD", "key": b"k"}
    refused = refusal("UnrecognizedClientException")
    with answering(refused, refused, GOOD) as server:
        surroundings = around(server, secrets={(NAMESPACE, "creds"): secret})
        store = await open_(aws(), surroundings)
        try:
            with pytest.raises(Denied):
                await store.get(REF)
            secret["id"] = b"AKIANEW"
            surroundings.clock.seconds += 11
            assert (await store.get(REF)).reveal() == b"fine"
        finally:
            await store.close()
    used = [headers["Authorization"].partition("Credential=")[2].partition("/")[0] for headers in server.headers]
    assert used == ["AKIAOLD", "AKIAOLD", "AKIANEW"]


# -- roles ------------------------------------------------------------------------------------------------------------

ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>k</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2031-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
REFUSED = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{MARKER}</Message></Error></ErrorResponse>"


@pytest.mark.parametrize(
    ("policy", "custom", "expected"),
    [
        ("None", {}, {"team": "blue"}),
        (
            "Simple",
            {"x": "ignored"},
            {"esoNamespace": "user", "esoStoreName": "store", "esoStoreKind": "ClusterSecretStore"},
        ),
        (
            "Custom",
            {"x": "y"},
            {"x": "y", "esoNamespace": "user", "esoStoreName": "store", "esoStoreKind": "ClusterSecretStore"},
        ),
    ],
)
async def test_session_tags(policy: str, custom: dict[str, str], expected: dict[str, str]) -> None:
    with answering(lambda handler: handler.answer(200, ASSUMED.encode(), Content_Type="text/xml"), GOOD) as server:
        auth = {"secretRef": {name: {**ref, "namespace": NAMESPACE} for name, ref in KEYS.items()}}
        block = {
            "service": "SecretsManager",
            "region": "eu-central-1",
            "auth": auth,
            "role": "arn:aws:iam::123456789012:role/r",
            "externalID": "outside",
            "sessionTags": [{"key": "team", "value": "blue"}],
            "sessionTagsPolicy": policy,
            "customSessionTags": custom,
        }
        spec = spec_of("aws", block, kind=StoreKind.CLUSTER)
        store = await AwsProvider().open(spec, around(server).context("user"))
        assert (await store.get(REF)).reveal() == b"fine"
        await store.close()
    asked = {name: values[0] for name, values in parse_qs(server.requests[0][2].decode()).items()}
    assert (asked["Action"], asked["ExternalId"]) == ("AssumeRole", "outside")
    tags = {asked[f"Tags.member.{i}.Key"]: asked[f"Tags.member.{i}.Value"] for i in range(1, len(expected) + 1)}
    assert tags == expected
    assert server.headers[1]["X-Amz-Security-Token"] == "t"


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        pytest.param(
            lambda handler: handler.answer(403, REFUSED.encode()),
            Denied,
            id="may-not-assume",
        ),
        pytest.param(
            lambda handler: handler.answer(200, b"<AssumeRoleResponse/>"), StoreUnavailable, id="no-credentials"
        ),
        pytest.param(lambda handler: handler.answer(200, b"<<<"), StoreUnavailable, id="no-xml"),
    ],
)
async def test_a_role_that_cannot_be_assumed(respond: Respond, error: type[ProviderError]) -> None:
    with answering(respond) as server:
        store = await open_(aws(role="arn:aws:iam::123456789012:role/r"), around(server))
        try:
            with pytest.raises(error) as caught:
                await store.get(REF)
            assert not isinstance(caught.value, NoSecret)
            assert MARKER not in str(caught.value)
        finally:
            await store.close()


# -- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"service": "S3"}, "spec.provider.aws.service", id="service"),
        pytest.param({"service": "CertificateManager"}, "spec.provider.aws.service", id="not-built"),
        pytest.param({"region": ""}, "spec.provider.aws.region", id="no-region"),
        pytest.param(
            {"customSessionTags": {"esoNamespace": "x"}},
            "spec.provider.aws.customSessionTags.esoNamespace",
            id="a-tag-of-ours",
        ),
        pytest.param({"auth": {"secretRef": {}}}, "spec.provider.aws.auth.secretRef", id="half-a-pair"),
        pytest.param(
            {"auth": {"jwt": {"serviceAccountRef": {"name": "a", "namespace": "other"}}}},
            "spec.provider.aws.auth.jwt.serviceAccountRef",
            id="service-account-elsewhere",
        ),
    ],
)
def test_what_cannot_work_is_named_by_its_field(fields: dict[str, Any], path: str) -> None:
    assert path in [problem.path for problem in AwsProvider().validate_spec(aws(**fields))]


def test_a_cluster_store_without_a_namespace_is_referent() -> None:
    block = {"service": "SecretsManager", "region": "r", "auth": {"secretRef": KEYS}}
    assert AwsProvider().is_referent(spec_of("aws", block, kind=StoreKind.CLUSTER))
    assert not AwsProvider().is_referent(spec_of("aws", {**block, "auth": {}}, kind=StoreKind.CLUSTER))
