"""AWS's provider against a moto server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.aws import AwsProvider
from fairlead.secrets.stores.port import (
    FindQuery,
    MetadataPolicy,
    NoSecret,
    RemoteRef,
    StoreContext,
    StoreSpec,
)
from tests.controlplane.plane import free_ports
from tests.secrets.stores.badserver import answering, json_answer
from tests.secrets.stores.contract import Arena, StoreContract, texts
from tests.secrets.stores.motoserver import REGION, Moto
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, opened, spec_of

pytestmark = pytest.mark.real

KEYS = {
    "accessKeyIDSecretRef": {"name": "creds", "key": "id"},
    "secretAccessKeySecretRef": {"name": "creds", "key": "key"},
}
SERVICES = {"sm": "SecretsManager", "ssm": "ParameterStore"}


def aws(service: str = "SecretsManager", **fields: Any) -> StoreSpec:
    return spec_of("aws", {"service": service, "region": REGION, "auth": {"secretRef": KEYS}, **fields})


def around(moto: Moto) -> Surroundings:
    credentials = StaticCredentials(secrets={(NAMESPACE, "creds"): {"id": b"AKIA", "key": b"m4rker-key"}})
    return Surroundings(credentials=credentials, environment=moto.environment)


# -- the contract -----------------------------------------------------------------------------------------------------


class _AwsArena(Arena):
    def __init__(self, moto: Moto, service: str) -> None:
        self._moto = moto
        self._service = service
        self._surroundings = around(moto)
        self._denying = ""

    @property
    def provider(self) -> AwsProvider:
        return AwsProvider()

    @property
    def context(self) -> StoreContext:
        return self._surroundings.context()

    def _elsewhere(self, address: str) -> None:
        names = ("AWS_SECRETSMANAGER_ENDPOINT", "AWS_SSM_ENDPOINT", "AWS_STS_ENDPOINT")
        self._surroundings.environment = dict.fromkeys(names, address)

    def spec(self) -> StoreSpec:
        return aws(self._service)

    def deny(self, address: str) -> None:
        self._denying = address

    def denied_spec(self) -> StoreSpec:
        self._elsewhere(self._denying)
        return self.spec()

    def unreachable_spec(self) -> StoreSpec:
        (port,) = free_ports(1)
        self._elsewhere(f"http://127.0.0.1:{port}")
        return self.spec()

    def key(self, name: str) -> str:
        return name if self._service == "SecretsManager" else f"/{name}"

    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        await asyncio.to_thread(put, self._moto, self._service, key, json.dumps(document))


def put(moto: Moto, service: str, key: str, value: str, tags: Mapping[str, str] | None = None) -> None:
    listed = [{"Key": name, "Value": tag} for name, tag in (tags or {}).items()]
    if service == "ParameterStore":
        ssm = moto.client("ssm")
        ssm.put_parameter(Name=key, Value=value, Type="SecureString", Overwrite=True)
        if listed:
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=key, Tags=listed)
        return
    manager = moto.client("secretsmanager")
    try:
        manager.create_secret(Name=key, SecretString=value, Tags=listed)
    except manager.exceptions.ResourceExistsException:
        manager.put_secret_value(SecretId=key, SecretString=value)


class TestAwsStore(StoreContract):
    @pytest.fixture(params=list(SERVICES))
    def arena(self, request: pytest.FixtureRequest, moto: Moto) -> Arena:
        arena = _AwsArena(moto, SERVICES[request.param])
        answer = json_answer(400, '{"__type": "AccessDeniedException", "Message": "m4rker is not authorized"}')
        server = answering(answer)
        arena.deny(server.__enter__().address)
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        return arena


# -- reading ----------------------------------------------------------------------------------------------------------

DOCUMENT = '{"user": "ada",  "e": {"x": "<y>"}, "n": 12345678901234567890, "h": 1.50, "a.b": "dotted", "z": null}'


@pytest.fixture(scope="module")
def filled(moto: Moto) -> Moto:
    manager = moto.client("secretsmanager")
    for service, key in (("SecretsManager", "shop/db"), ("ParameterStore", "/shop/db")):
        put(moto, service, key, DOCUMENT, {"team": "blue", "tier": "1"})
    # AWS pairs neither keys nor values of tags: a=2,b=1 matches a filter for a=1,b=2.
    put(moto, "SecretsManager", "tags/right", "r", {"a": "1", "b": "2"})
    put(moto, "SecretsManager", "tags/crossed", "c", {"a": "2", "b": "1"})
    put(moto, "ParameterStore", "/tags/right", "r", {"a": "1", "b": "2"})
    put(moto, "ParameterStore", "/tags/crossed", "c", {"a": "2", "b": "1"})
    manager.create_secret(Name="binary", SecretBinary=b"\xff\x00\x01")
    put(moto, "SecretsManager", "versions", "first")
    put(moto, "SecretsManager", "versions", "second")
    put(moto, "ParameterStore", "/versions", "first")
    put(moto, "ParameterStore", "/versions", "second")
    moto.client("ssm").label_parameter_version(Name="/versions", ParameterVersion=1, Labels=["good"])
    put(moto, "SecretsManager", "deleted", "gone")
    manager.delete_secret(SecretId="deleted", RecoveryWindowInDays=7)
    put(moto, "SecretsManager", "large", "x" * 65536)
    for index in range(25):
        put(moto, "SecretsManager", f"many/{index:02}", f"v{index}")
        put(moto, "ParameterStore", f"/many/{index:02}", f"v{index}")
    return moto


@pytest.mark.parametrize("service", ["SecretsManager", "ParameterStore"])
@pytest.mark.parametrize(
    ("property_", "expected"),
    [
        pytest.param("", DOCUMENT, id="text-untouched"),
        pytest.param("user", "ada", id="property"),
        pytest.param("e", '{"x": "<y>"}', id="raw-slice"),
        pytest.param("e.x", "<y>", id="nested"),
        pytest.param("n", "12345678901234567890", id="digits"),
        pytest.param("a.b", "dotted", id="name-with-a-dot-first"),
        pytest.param("z", "", id="null"),
    ],
)
async def test_get(filled: Moto, service: str, property_: str, expected: str) -> None:
    key = "shop/db" if service == "SecretsManager" else "/shop/db"
    async with opened(aws(service), around(filled)) as store:
        assert (await store.get(RemoteRef(key=key, property=property_))).reveal().decode() == expected


@pytest.mark.parametrize("service", ["SecretsManager", "ParameterStore"])
async def test_extract(filled: Moto, service: str) -> None:
    key = "shop/db" if service == "SecretsManager" else "/shop/db"
    async with opened(aws(service), around(filled)) as store:
        assert texts(await store.get_map(RemoteRef(key=key))) == {
            "user": "ada", "e": '{"x": "<y>"}', "n": "12345678901234567890", "h": "1.50", "a.b": "dotted", "z": "",
        }  # fmt: skip


@pytest.mark.parametrize("service", ["SecretsManager", "ParameterStore"])
async def test_metadata_is_the_tags(filled: Moto, service: str) -> None:
    key = "shop/db" if service == "SecretsManager" else "/shop/db"
    async with opened(aws(service), around(filled)) as store:
        ref = RemoteRef(key=key, metadata_policy=MetadataPolicy.FETCH)
        assert (await store.get(ref)).reveal() == b'{"team":"blue","tier":"1"}'
        tier = RemoteRef(key=key, property="tier", metadata_policy=MetadataPolicy.FETCH)
        assert (await store.get(tier)).reveal() == b"1"


async def test_binary_and_large_values(filled: Moto) -> None:
    async with opened(aws(), around(filled)) as store:
        assert (await store.get(RemoteRef(key="binary"))).reveal() == b"\xff\x00\x01"
        assert (await store.get(RemoteRef(key="large"))).reveal() == b"x" * 65536
        answers = await store.get_many([RemoteRef(key="binary"), RemoteRef(key="large")])
        assert [len(answer.reveal()) for answer in answers if not isinstance(answer, ProviderError)] == [3, 65536]


async def test_versions_of_secrets(filled: Moto) -> None:
    listed = filled.client("secretsmanager").list_secret_version_ids(SecretId="versions", IncludeDeprecated=True)
    stages = {stage: version["VersionId"] for version in listed["Versions"] for stage in version["VersionStages"]}
    async with opened(aws(), around(filled)) as store:
        for version, expected in (
            ("", b"second"),
            ("AWSCURRENT", b"second"),
            ("AWSPREVIOUS", b"first"),
            (f"uuid/{stages['AWSPREVIOUS']}", b"first"),
        ):
            assert (await store.get(RemoteRef(key="versions", version=version))).reveal() == expected
        with pytest.raises(NoSecret):
            await store.get(RemoteRef(key="versions", version="NOSUCHSTAGE"))


async def test_versions_of_parameters(filled: Moto) -> None:
    async with opened(aws("ParameterStore"), around(filled)) as store:
        for version, expected in (("", b"second"), ("1", b"first"), ("2", b"second"), ("good", b"first")):
            assert (await store.get(RemoteRef(key="/versions", version=version))).reveal() == expected
        with pytest.raises(ProviderError):
            await store.get(RemoteRef(key="/versions", version="9"))


async def test_what_is_marked_for_deletion_is_no_secret(filled: Moto) -> None:
    async with opened(aws(), around(filled)) as store:
        with pytest.raises(NoSecret):
            await store.get(RemoteRef(key="deleted"))
        answers = await store.get_many([RemoteRef(key="deleted"), RemoteRef(key="versions")])
        assert isinstance(answers[0], NoSecret)
        assert not isinstance(answers[1], ProviderError)


async def test_an_arn_is_a_key(filled: Moto) -> None:
    arn = filled.client("secretsmanager").describe_secret(SecretId="shop/db")["ARN"]
    async with opened(aws(), around(filled)) as store:
        for key in (arn, arn[:-7]):
            assert (await store.get(RemoteRef(key=key, property="user"))).reveal() == b"ada"
        answers = await store.get_many([RemoteRef(key=arn, property="user"), RemoteRef(key="versions")])
        assert not isinstance(answers[0], ProviderError)
        assert answers[0].reveal() == b"ada"


@pytest.mark.parametrize(
    ("service", "prefix", "calls"),
    [("SecretsManager", "many/", {"BatchGetSecretValue": 2}), ("ParameterStore", "/many/", {"GetParameters": 3})],
)
async def test_many_keys_are_few_calls(filled: Moto, service: str, prefix: str, calls: dict[str, int]) -> None:
    surroundings = around(filled)
    async with opened(aws(service, prefix=prefix), surroundings) as store:
        refs = [RemoteRef(key=f"{index:02}") for index in range(25)] * 2
        answers = await store.get_many(refs)
        values = [answer.reveal().decode() for answer in answers if not isinstance(answer, ProviderError)]
        assert values == [f"v{index}" for index in range(25)] * 2
    assert {call: count for (call, _), count in surroundings.calls.items()} == calls


@pytest.mark.parametrize(
    ("service", "query", "expected"),
    [
        ("SecretsManager", FindQuery(name_regexp="^tags/"), {"tags/right": "r", "tags/crossed": "c"}),
        ("SecretsManager", FindQuery(path="tags/", name_regexp="right"), {"tags/right": "r"}),
        ("SecretsManager", FindQuery(tags={"a": "1", "b": "2"}), {"tags/right": "r"}),
        ("SecretsManager", FindQuery(path="shop", tags={"a": "1"}), {}),
        ("SecretsManager", FindQuery(name_regexp="deleted"), {}),
        ("ParameterStore", FindQuery(name_regexp="^/tags/"), {"/tags/right": "r", "/tags/crossed": "c"}),
        ("ParameterStore", FindQuery(path="/tags", name_regexp="right"), {"/tags/right": "r"}),
        ("ParameterStore", FindQuery(tags={"a": "1", "b": "2"}), {"/tags/right": "r"}),
    ],
)
async def test_find(filled: Moto, service: str, query: FindQuery, expected: dict[str, str]) -> None:
    async with opened(aws(service), around(filled)) as store:
        assert texts(await store.find(query)) == expected


@pytest.mark.parametrize(("service", "prefix"), [("SecretsManager", "many/"), ("ParameterStore", "/many/")])
async def test_a_prefix_is_added_once(filled: Moto, service: str, prefix: str) -> None:
    async with opened(aws(service, prefix=prefix), around(filled)) as store:
        assert texts(await store.find(FindQuery(name_regexp="0[01]$"))) == {f"{prefix}00": "v0", f"{prefix}01": "v1"}
        assert (await store.get(RemoteRef(key="07"))).reveal() == b"v7"


async def test_find_over_more_than_one_page(filled: Moto) -> None:
    async with opened(aws("ParameterStore"), around(filled)) as store:
        assert len(await store.find(FindQuery(path="/many", name_regexp="."))) == 25


# -- signing in -------------------------------------------------------------------------------------------------------


async def test_a_chain_of_roles(filled: Moto) -> None:
    roles = [filled.role(name) for name in ("first", "second", "last")]
    surroundings = around(filled)
    spec = aws(
        role=roles[2],
        additionalRoles=roles[:2],
        externalID="shop",
        sessionTagsPolicy="Custom",
        customSessionTags={"team": "blue"},
        transitiveTagKeys=["team"],
    )
    async with opened(spec, surroundings) as store:
        await asyncio.gather(*(store.get(RemoteRef(key="versions")) for _ in range(10)))
        assert surroundings.count("AssumeRole") == 3
        surroundings.clock.seconds += 2399
        await store.get(RemoteRef(key="versions"))
        assert surroundings.count("AssumeRole") == 3
        surroundings.clock.seconds += 2
        await asyncio.gather(*(store.get(RemoteRef(key="versions")) for _ in range(10)))
        assert surroundings.count("AssumeRole") == 6


async def test_a_service_account_assumes_its_role(filled: Moto) -> None:
    role = filled.role("irsa")
    credentials = StaticCredentials(
        service_accounts={(NAMESPACE, "app"): {"eks.amazonaws.com/role-arn": role}, (NAMESPACE, "bare"): {}},
        tokens={(NAMESPACE, "app"): "header.payload.signature", (NAMESPACE, "bare"): "t"},
    )
    surroundings = Surroundings(credentials=credentials, environment=filled.environment)
    async with opened(aws(auth={"jwt": {"serviceAccountRef": {"name": "app"}}}), surroundings) as store:
        await store.validate()
        assert (await store.get(RemoteRef(key="versions"))).reveal() == b"second"
    assert surroundings.count("AssumeRoleWithWebIdentity") == 1
    async with opened(aws(auth={"jwt": {"serviceAccountRef": {"name": "bare"}}}), surroundings) as store:
        with pytest.raises(ProviderError, match="has no annotation"):
            await store.get(RemoteRef(key="versions"))
