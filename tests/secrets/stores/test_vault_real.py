"""Vault's provider against a real OpenBao server, with a real control plane for Kubernetes and JWT authentication."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fairlead.core.errors import ProviderError
from fairlead.core.objects import Kind, ObjectKey, decode_manifest
from fairlead.kube.config import connect
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
from fairlead.secrets.stores.port import (
    Denied,
    FindQuery,
    MetadataPolicy,
    NoSecret,
    RemoteRef,
    StoreContext,
    StoreSpec,
    StoreUnavailable,
)
from fairlead.secrets.stores.vault import VaultProvider
from tests.controlplane.plane import ControlPlane, free_ports
from tests.secrets.stores import openbao as baos
from tests.secrets.stores.contract import Arena, StoreContract, texts
from tests.secrets.stores.openbao import OpenBao
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, opened, spec_of

pytestmark = pytest.mark.real

READER = 'path "secret/*" { capabilities = ["read", "list"] }\npath "kv1/*" { capabilities = ["read", "list"] }'
ROTATING = {"token_ttl": "60s", "token_max_ttl": "1h", "token_policies": ["reader"]}


@pytest.fixture(scope="module")
def bao(openbao: OpenBao) -> OpenBao:
    """Return the server with one user per way to sign in."""
    openbao.call("PUT", "sys/policies/acl/reader", {"policy": READER})
    openbao.call("POST", "sys/auth/approle", {"type": "approle"})
    openbao.call("POST", "auth/approle/role/app", ROTATING)
    openbao.call("POST", "sys/auth/userpass", {"type": "userpass"})
    openbao.call("POST", "auth/userpass/users/ada", {"password": "pa ss/word", **ROTATING})
    return openbao


def app_role(bao: OpenBao, *, role: str = "app") -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return an `auth` block and the Secret that it names."""
    role_id = bao.call("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    block = {"appRole": {"roleId": f" {role_id}\n", "secretRef": {"name": "creds", "key": "secret-id"}}}
    return block, {"secret-id": secret_id.encode()}


def vault(bao: OpenBao, auth: Mapping[str, Any] | None = None, **fields: Any) -> StoreSpec:
    """Return a spec; without `auth`, with the root token in Secret `creds`."""
    block = {"server": bao.address, "path": "secret", "version": "v2", **fields}
    block["auth"] = auth or {"tokenSecretRef": {"name": "creds", "key": "token"}}
    return spec_of("vault", block)


def around(bao: OpenBao, secret: Mapping[str, bytes] | None = None) -> Surroundings:
    found = secret or {"token": bao.token.encode()}
    return Surroundings(credentials=StaticCredentials(secrets={(NAMESPACE, "creds"): found}))


# -- the contract -----------------------------------------------------------------------------------------------------


class _VaultArena(Arena):
    def __init__(self, bao: OpenBao, *, version: str) -> None:
        self._bao = bao
        self._version = version
        self._block, secret = app_role(bao)
        self._around = around(bao, secret)
        self._provider = VaultProvider()

    @property
    def provider(self) -> VaultProvider:
        return self._provider

    @property
    def context(self) -> StoreContext:
        return self._around.context()

    def _spec(self, **fields: Any) -> StoreSpec:
        path = "secret" if self._version == "v2" else "kv1"
        return vault(self._bao, self._block, **{"path": path, "version": self._version, **fields})

    def spec(self) -> StoreSpec:
        return self._spec()

    def denied_spec(self) -> StoreSpec:
        self._bao.call("POST", "auth/approle/role/nobody", {"token_policies": ["default"]})
        block, secret = app_role(self._bao, role="nobody")
        self._around = around(self._bao, secret)
        path = "secret" if self._version == "v2" else "kv1"
        return vault(self._bao, block, path=path, version=self._version)

    def unreachable_spec(self) -> StoreSpec:
        (port,) = free_ports(1)
        return self._spec(server=f"http://127.0.0.1:{port}")

    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        put = self._bao.put if self._version == "v2" else self._bao.put_v1
        await asyncio.to_thread(put, key, document)


class TestVaultStore(StoreContract):
    @pytest.fixture(params=["v2", "v1"])
    def arena(self, request: pytest.FixtureRequest, bao: OpenBao) -> Arena:
        return _VaultArena(bao, version=request.param)


# -- reading ----------------------------------------------------------------------------------------------------------

DOCUMENT = {"a": 1, "s": "x<y>", "e": {"x": "<y>"}, "f": [1, "2"], "g": True, "d": None, "a.b": "dotted", "h": 1.5}


@pytest.fixture(scope="module")
def filled(bao: OpenBao) -> OpenBao:
    for put, path in ((bao.put, "shop/db"), (bao.put_v1, "shop/db")):
        put(path, DOCUMENT)
    bao.put("shop/versions", {"v": "first"})
    bao.put("shop/versions", {"v": "second"})
    bao.put("shop/deleted", {"v": "gone"})
    bao.call("DELETE", "secret/data/shop/deleted")
    bao.put("shop/inner/one", {"v": "1"})
    bao.describe("shop/inner/one", {"team": "blue", "tier": "1"})
    bao.put("shop/inner/two", {"v": "2"})
    bao.describe("shop/inner/two", {"team": "blue", "tier": "2"})
    return bao


WHOLE = rb'{"a":1,"a.b":"dotted","d":null,"e":{"x":"\u003cy\u003e"},"f":[1,"2"],"g":true,"h":1.5,"s":"x\u003cy\u003e"}'


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("property_", "expected"),
    [
        pytest.param("", WHOLE, id="whole"),
        pytest.param("s", b"x<y>", id="text"),
        pytest.param("a", b"1", id="number"),
        pytest.param("d", b"", id="null"),
        pytest.param("g", b"true", id="bool"),
        pytest.param("e", rb'{"x":"\u003cy\u003e"}', id="object"),
        pytest.param("e.x", b"<y>", id="nested"),
        pytest.param("f.1", b"2", id="index"),
        pytest.param("a.b", b"dotted", id="exact-name-first"),
    ],
)
async def test_get(filled: OpenBao, version: str, property_: str, expected: bytes) -> None:
    spec = vault(filled, path="secret" if version == "v2" else "kv1", version=version)
    async with opened(spec, around(filled)) as store:
        assert (await store.get(RemoteRef(key="shop/db", property=property_))).reveal() == expected


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        pytest.param({}, "secret/shop/db", id="mount-repeated"),
        pytest.param({}, "secret/data/shop/db", id="mount-and-data-repeated"),
        pytest.param({"path": None}, "secret/shop/db", id="no-mount"),
        pytest.param({"path": None}, "secret/data/shop/db", id="no-mount-with-data"),
        pytest.param({"path": None, "version": "v1"}, "kv1/shop/db", id="no-mount-v1"),
    ],
)
async def test_all_ways_to_write_a_key(filled: OpenBao, fields: dict[str, Any], key: str) -> None:
    async with opened(vault(filled, **fields), around(filled)) as store:
        assert (await store.get(RemoteRef(key=key, property="s"))).reveal() == b"x<y>"


async def test_extract_has_floats_on_the_way(bao: OpenBao) -> None:
    bao.put("numbers", {"n": 12345678, "x": {"y": 1.50}})
    bao._patiently(
        "POST", "secret/data/big", {"data": {"b": 12345678901234567890, "inner": {"b": 12345678901234567890}}}
    )
    async with opened(vault(bao), around(bao)) as store:
        assert texts(await store.get_map(RemoteRef(key="numbers"))) == {"n": "12345678", "x": '{"y":1.5}'}
        assert texts(await store.get_map(RemoteRef(key="big"))) == {
            "b": "12345678901234567000",
            "inner": '{"b":12345678901234567000}',
        }


@pytest.mark.parametrize(("version", "expected"), [("1", b"first"), ("2", b"second"), ("", b"second")])
async def test_versions(filled: OpenBao, version: str, expected: bytes) -> None:
    async with opened(vault(filled), around(filled)) as store:
        ref = RemoteRef(key="shop/versions", property="v", version=version)
        assert (await store.get(ref)).reveal() == expected


@pytest.mark.parametrize(
    "ref",
    [
        pytest.param(RemoteRef(key="shop/nothing"), id="never-written"),
        pytest.param(RemoteRef(key="shop/versions", version="9"), id="no-such-version"),
        pytest.param(RemoteRef(key="shop/deleted"), id="soft-deleted"),
    ],
)
async def test_no_secret(filled: OpenBao, ref: RemoteRef) -> None:
    async with opened(vault(filled), around(filled)) as store:
        with pytest.raises(NoSecret):
            await store.get(ref)


@pytest.mark.parametrize(
    ("fields", "key", "says"),
    [
        pytest.param({"path": "kv1", "version": "v2"}, "shop/db", "kv version v1", id="v1-seen-as-v2"),
        pytest.param({"path": "secret", "version": "v1"}, "shop/db", "version of the engine", id="v2-seen-as-v1"),
        pytest.param({"path": "nowhere"}, "shop/db", "no handler for route", id="no-such-mount"),
        pytest.param({"namespace": "nobody"}, "shop/db", "namespace not found", id="no-such-namespace"),
        pytest.param({}, "../sys/mounts", "segments", id="out-of-the-mount"),
    ],
)
async def test_what_only_looks_like_a_missing_secret_is_an_error(
    filled: OpenBao, fields: dict[str, Any], key: str, says: str
) -> None:
    async with opened(vault(filled, **fields), around(filled)) as store:
        with pytest.raises(ProviderError, match=says) as caught:
            await store.get(RemoteRef(key=key))
        assert not isinstance(caught.value, NoSecret)


async def test_metadata(filled: OpenBao) -> None:
    async with opened(vault(filled), around(filled)) as store:
        # The key repeats its mount: trap 29, upstream misses the metadata then.
        ref = RemoteRef(key="secret/shop/inner/one", metadata_policy=MetadataPolicy.FETCH)
        found = texts(await store.get_map(ref))
        assert {name: found[name] for name in ("team", "tier", "current_version")} == {
            "team": "blue", "tier": "1", "current_version": "1",
        }  # fmt: skip
        assert set(found) == {"team", "tier", "created_time", "current_version", "delete_version_after"}
        with pytest.raises(ProviderError, match="nobody"):
            await store.get(RemoteRef(key="shop/db", property="nobody", metadata_policy=MetadataPolicy.FETCH))


async def test_metadata_needs_version_2(filled: OpenBao) -> None:
    async with opened(vault(filled, path="kv1", version="v1"), around(filled)) as store:
        with pytest.raises(ProviderError, match="kv version v1"):
            await store.get(RemoteRef(key="shop/db", metadata_policy=MetadataPolicy.FETCH))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(
            FindQuery(path="shop", name_regexp="in.er/"),
            {"shop/inner/one": '{"v":"1"}', "shop/inner/two": '{"v":"2"}'},
            id="folder-and-name",
        ),
        pytest.param(FindQuery(path="shop", tags={"tier": "2"}), {"shop/inner/two": '{"v":"2"}'}, id="tag"),
        pytest.param(FindQuery(tags={"team": "blue", "tier": "1"}), {"shop/inner/one": '{"v":"1"}'}, id="all-tags"),
        pytest.param(FindQuery(name_regexp="^shop/deleted$"), {}, id="soft-deleted-is-skipped"),
        pytest.param(
            FindQuery(path="shop", name_regexp="versions", tags={"team": "none"}),
            {"shop/versions": '{"v":"second"}'},
            id="name-wins-over-tags",
        ),
    ],
)
async def test_find(filled: OpenBao, query: FindQuery, expected: dict[str, str]) -> None:
    async with opened(vault(filled), around(filled)) as store:
        assert texts(await store.find(query)) == expected


async def test_find_in_version_1(filled: OpenBao) -> None:
    async with opened(vault(filled, path="kv1", version="v1"), around(filled)) as store:
        assert set(await store.find(FindQuery(path="shop", name_regexp="."))) == {"shop/db"}
        with pytest.raises(ProviderError, match="find by tag"):
            await store.find(FindQuery(name_regexp=".", tags={"a": "b"}))


async def test_find_in_a_folder_that_is_not_there_is_no_secret(filled: OpenBao) -> None:
    async with opened(vault(filled), around(filled)) as store:
        with pytest.raises(NoSecret):
            await store.find(FindQuery(path="nowhere", name_regexp="."))


async def test_a_folder_named_like_the_mount_is_found(bao: OpenBao) -> None:
    bao.put("secret/twin", {"v": "inner"})
    async with opened(vault(bao), around(bao)) as store:
        assert texts(await store.find(FindQuery(path="secret", name_regexp="twin"))) == {"secret/twin": '{"v":"inner"}'}


@pytest.mark.parametrize("key", ["a b/c?d#e", "ü/ß", "per%2Fcent", "plus+and&more"])
async def test_keys_with_odd_characters(bao: OpenBao, key: str) -> None:
    bao._patiently("POST", f"secret/data/{quote(key)}", {"data": {"v": key}})
    async with opened(vault(bao), around(bao)) as store:
        assert (await store.get(RemoteRef(key=key, property="v"))).reveal().decode() == key


# -- signing in -------------------------------------------------------------------------------------------------------


async def test_one_login_serves_everybody_and_is_given_back(bao: OpenBao) -> None:
    bao.put("login", {"v": "1"})
    block, secret = app_role(bao)
    surroundings = around(bao, secret)
    before = bao.tokens_alive()
    async with opened(vault(bao, block), surroundings) as store:
        assert bao.tokens_alive() == before  # nobody has asked for anything yet
        await asyncio.gather(*(store.get(RemoteRef(key="login", property="v")) for _ in range(50)))
        await store.validate()
        assert bao.tokens_alive() == before + 1
    assert bao.tokens_alive() == before
    assert (surroundings.count("Login"), surroundings.count("RevokeSelf")) == (1, 1)


async def test_user_and_password(bao: OpenBao) -> None:
    bao.put("login", {"v": "1"})
    block = {"userPass": {"username": " ada ", "secretRef": {"name": "creds", "key": "password"}}}
    async with opened(vault(bao, block), around(bao, {"password": b"pa ss/word"})) as store:
        assert (await store.get(RemoteRef(key="login", property="v"))).reveal() == b"1"


async def test_a_wrong_password_is_an_error_without_it(bao: OpenBao) -> None:
    block = {"userPass": {"username": "ada", "secretRef": {"name": "creds", "key": "password"}}}
    async with opened(vault(bao, block), around(bao, {"password": b"m4rker-wrong"})) as store:
        with pytest.raises(ProviderError, match="signing in: invalid username or password") as caught:
            await store.get(RemoteRef(key="login"))
        assert "m4rker" not in str(caught.value)
        assert not isinstance(caught.value, NoSecret)


async def test_a_token_is_renewed_at_two_thirds_and_replaced_near_its_end(bao: OpenBao) -> None:
    bao.put("login", {"v": "1"})
    block, secret = app_role(bao)
    surroundings = around(bao, secret)
    ref = RemoteRef(key="login", property="v")
    async with opened(vault(bao, block), surroundings) as store:
        await store.get(ref)
        surroundings.clock.seconds += 39
        await store.get(ref)
        assert surroundings.count("RenewSelf") == 0
        surroundings.clock.seconds += 2
        await store.get(ref)
        await surroundings.until("RenewSelf", 1)
        surroundings.clock.seconds += 39  # past the first lifetime: the renewed one counts
        await store.get(ref)
        assert surroundings.count("Login") == 1
        surroundings.clock.seconds += 3600
        await store.get(ref)
        assert surroundings.count("Login") == 2
    assert surroundings.count("RevokeSelf") == 2  # the old one and the new one


async def test_a_revoked_token_is_replaced_without_anybody_noticing(bao: OpenBao) -> None:
    bao.put("login", {"v": "1"})
    block, secret = app_role(bao)
    surroundings = around(bao, secret)
    ref = RemoteRef(key="login", property="v")
    async with opened(vault(bao, block), surroundings) as store:
        await store.get(ref)
        bao.call("POST", "sys/leases/revoke-prefix/auth/approle/login", {})
        surroundings.clock.seconds += 11
        values = await asyncio.gather(*(store.get(ref) for _ in range(20)))
        assert {value.reveal() for value in values} == {b"1"}
        assert surroundings.count("Login") == 2


async def test_what_a_good_token_may_not_read_does_not_make_it_sign_in_again(bao: OpenBao) -> None:
    bao.call("POST", "auth/approle/role/nobody", {"token_policies": ["default"], "token_ttl": "60s"})
    block, secret = app_role(bao, role="nobody")
    surroundings = around(bao, secret)
    async with opened(vault(bao, block), surroundings) as store:
        for _ in range(3):
            surroundings.clock.seconds += 11
            answers = await store.get_many([RemoteRef(key=f"denied-{index}") for index in range(10)])
            assert all(isinstance(answer, Denied) for answer in answers)
        assert surroundings.count("Login") == 1
        assert surroundings.count("LookupSelf") <= 3


async def test_batch_tokens_are_replaced_and_not_renewed(bao: OpenBao) -> None:
    bao.put("login", {"v": "1"})
    bao.call(
        "POST", "auth/approle/role/batch", {"token_policies": ["reader"], "token_type": "batch", "token_ttl": "60s"}
    )
    block, secret = app_role(bao, role="batch")
    surroundings = around(bao, secret)
    async with opened(vault(bao, block), surroundings) as store:
        await store.get(RemoteRef(key="login"))
        surroundings.clock.seconds += 41
        await store.get(RemoteRef(key="login"))
        await surroundings.until("Login", 2)
        await store.get(RemoteRef(key="login"))
    assert surroundings.count("RenewSelf") == 0


async def test_login_in_another_namespace_than_the_secrets(bao: OpenBao) -> None:
    bao.call("POST", "sys/namespaces/team-a", {})
    bao.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace="team-a")
    bao.put("db", {"v": "of team a"}, namespace="team-a")
    policy = 'path "secret/*" { capabilities = ["read"] }\npath "team-a/secret/*" { capabilities = ["read"] }'
    bao.call("PUT", "sys/policies/acl/both", {"policy": policy})
    bao.call("POST", "auth/approle/role/both", {"token_policies": ["both"], "token_ttl": "60s"})
    block, secret = app_role(bao, role="both")
    spec = vault(bao, {**block, "namespace": ""}, namespace="team-a")
    before = bao.tokens_alive()
    async with opened(spec, around(bao, secret)) as store:
        assert (await store.get(RemoteRef(key="db", property="v"))).reveal() == b"of team a"
    assert bao.tokens_alive() == before


async def test_sealed_storage_is_no_missing_secret_and_is_survived() -> None:
    try:
        with baos.started() as bao:
            bao.put("db", {"v": "1"})
            surroundings = around(bao)
            async with opened(vault(bao), surroundings) as store:
                bao.seal()
                with pytest.raises(StoreUnavailable, match="sealed"):
                    await store.get(RemoteRef(key="db"))
                bao.unseal()
                assert (await store.get(RemoteRef(key="db", property="v"))).reveal() == b"1"
    except baos.Absent as error:
        baos.or_skip(error)


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured() -> Iterator[OpenBao]:
    try:
        with baos.started(tls=True) as server:
            server.put("db", {"v": "1"})
            yield server
    except baos.Absent as error:
        baos.or_skip(error)


@pytest.mark.parametrize("nesting", [1, 2], ids=["pem", "base64-of-pem"])
async def test_a_bundle_of_the_spec_is_trusted(secured: OpenBao, nesting: int) -> None:
    bundle = secured.ca
    for _ in range(nesting):
        bundle = base64.b64encode(bundle)
    async with opened(vault(secured, caBundle=bundle.decode()), around(secured)) as store:
        assert (await store.get(RemoteRef(key="db", property="v"))).reveal() == b"1"


async def test_a_bundle_of_a_config_map_is_trusted(secured: OpenBao) -> None:
    credentials = StaticCredentials(
        secrets={(NAMESPACE, "creds"): {"token": secured.token.encode()}},
        config_maps={(NAMESPACE, "ca"): {"ca.crt": secured.ca.decode()}},
    )
    spec = vault(secured, caProvider={"type": "ConfigMap", "name": "ca", "key": "ca.crt"})
    async with opened(spec, Surroundings(credentials=credentials)) as store:
        assert (await store.get(RemoteRef(key="db", property="v"))).reveal() == b"1"


async def test_a_certificate_of_strangers_is_refused(secured: OpenBao) -> None:
    async with opened(vault(secured), around(secured)) as store:
        with pytest.raises(StoreUnavailable, match="certificate could not be verified"):
            await store.get(RemoteRef(key="db"))


# -- Kubernetes -------------------------------------------------------------------------------------------------------

_SERVICE_ACCOUNTS = Kind("", "v1", "ServiceAccount", "serviceaccounts", decode_manifest)
_ROLE_BINDINGS = Kind(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", decode_manifest, namespaced=False
)


@asynccontextmanager
async def _cluster_credentials(plane: ControlPlane, name: str) -> AsyncIterator[ClusterCredentials]:
    async with await connect(str(plane.kubeconfig)) as cluster:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}
        await cluster.create(_SERVICE_ACCOUNTS, body, namespace="default")
        yield ClusterCredentials(cluster)


async def test_kubernetes_authentication(bao: OpenBao, control_plane: ControlPlane) -> None:
    bao.put("login", {"v": "1"})
    async with await connect(str(control_plane.kubeconfig)) as cluster:
        body = {
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reviewer", "namespace": "default"},
        }  # fmt: skip
        await cluster.create(_SERVICE_ACCOUNTS, body, namespace="default")
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "reviewer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": "default"}],
        }
        await cluster.create(_ROLE_BINDINGS, binding)
        reviewer = await ClusterCredentials(cluster).token(
            ObjectKey("default", "reviewer"), audiences=(), lifetime=timedelta(hours=1)
        )
    assert control_plane.folder is not None
    bao.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    bao.call(
        "POST",
        "auth/kubernetes/config",
        {
            "kubernetes_host": control_plane.server,
            "kubernetes_ca_cert": (control_plane.folder / "certs" / "apiserver.crt").read_text(),
            "token_reviewer_jwt": reviewer.reveal().decode(),
        },
    )
    bao.call(
        "POST",
        "auth/kubernetes/role/shop",
        {
            "bound_service_account_names": ["shop"],
            "bound_service_account_namespaces": ["default"],
            "audience": "bao",
            **ROTATING,
        },
    )
    async with _cluster_credentials(control_plane, "shop") as credentials:
        surroundings = Surroundings(credentials=credentials)
        ref = {"name": "shop", "audiences": ["bao"]}
        good = {"kubernetes": {"role": "shop", "serviceAccountRef": ref}}
        spec = spec_of("vault", {"server": bao.address, "path": "secret", "auth": good}, namespace="default")
        async with opened(spec, surroundings) as store:
            await store.validate()
            assert (await store.get(RemoteRef(key="login", property="v"))).reveal() == b"1"
        # Another audience is refused by the server, with its reason and without the token.
        bad = {"kubernetes": {"role": "shop", "serviceAccountRef": {"name": "shop", "audiences": ["somebody"]}}}
        spec = spec_of("vault", {"server": bao.address, "path": "secret", "auth": bad}, namespace="default")
        async with opened(spec, surroundings) as store:
            with pytest.raises(ProviderError, match="signing in") as caught:
                await store.get(RemoteRef(key="login"))
            assert not isinstance(caught.value, NoSecret)
            assert "eyJ" not in str(caught.value)


async def test_jwt_authentication_by_a_token_request(bao: OpenBao, control_plane: ControlPlane) -> None:
    bao.put("login", {"v": "1"})
    assert control_plane.folder is not None
    public = control_plane.folder / "service-account.pub"
    await asyncio.to_thread(_public_key, control_plane.folder / "service-account.key", public)
    bao.call("POST", "sys/auth/jwt", {"type": "jwt"})
    bao.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public.read_text()]})
    bao.call(
        "POST",
        "auth/jwt/role/shop",
        {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vault"],
            "bound_subject": "system:serviceaccount:default:jwt-shop",
            **ROTATING,
        },
    )
    async with _cluster_credentials(control_plane, "jwt-shop") as credentials:
        auth = {"jwt": {"role": "shop", "kubernetesServiceAccountToken": {"serviceAccountRef": {"name": "jwt-shop"}}}}
        spec = spec_of("vault", {"server": bao.address, "path": "secret", "auth": auth}, namespace="default")
        async with opened(spec, Surroundings(credentials=credentials)) as store:
            assert (await store.get(RemoteRef(key="login", property="v"))).reveal() == b"1"


def _public_key(private: Path, public: Path) -> None:
    subprocess.run(
        ["openssl", "rsa", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True
    )


async def test_a_service_account_that_is_not_there_is_named(bao: OpenBao, control_plane: ControlPlane) -> None:
    async with await connect(str(control_plane.kubeconfig)) as cluster:
        auth = {"kubernetes": {"role": "shop", "serviceAccountRef": {"name": "nobody"}}}
        spec = spec_of("vault", {"server": bao.address, "path": "secret", "auth": auth}, namespace="default")
        async with opened(spec, Surroundings(credentials=ClusterCredentials(cluster))) as store:
            with pytest.raises(ProviderError, match='ServiceAccount "default/nobody": not found'):
                await store.get(RemoteRef(key="login"))


def test_json_of_the_audit_log_tells_what_reached_the_server(bao: OpenBao) -> None:
    bao.requests()
    bao.call("GET", "secret/data/ready")
    assert bao.requests() == ["read secret/data/ready"]
