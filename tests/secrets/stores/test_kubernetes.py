"""The kubernetes provider: the contract and the reading in a simulated cluster, the rest against a real API server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from fairlead.controller.remote_clusters import RemoteClusters
from fairlead.core.cluster import ApplyPatch, Cluster
from fairlead.core.errors import (
    ClusterError,
    Forbidden,
    NotFound,
    ProviderError,
    SpecError,
    TooManyRequests,
    Unavailable,
)
from fairlead.core.kinds import SECRETS
from fairlead.core.objects import Kind, ObjectKey, decode_manifest
from fairlead.kube.config import connect
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
from fairlead.secrets.stores.kubernetes import KubernetesProvider
from fairlead.secrets.stores.port import (
    ClusterConnector,
    ClusterEndpoint,
    Denied,
    FindQuery,
    MetadataPolicy,
    NoSecret,
    RemoteRef,
    StoreContext,
    StoreKind,
    StoreSpec,
    StoreUnavailable,
    Throttled,
    ValidationUnknown,
)
from tests.controlplane.plane import ControlPlane, free_ports
from tests.secrets.stores.contract import Arena, StoreContract, texts
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, opened, spec_of

ThingT = TypeVar("ThingT")
REMOTE = "remote"


@dataclass
class _ScriptedCluster:
    """Holds Secrets and fails as told. Only what the provider uses of the port."""

    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: Callable[[], ClusterError] | None = None
    errors_left: int = 10**6
    allowed: bool = True
    asked: int = 0
    is_closed: bool = False

    def _maybe_fail(self) -> None:
        self.asked += 1
        if self.error is not None and self.errors_left > 0:
            self.errors_left -= 1
            raise self.error()

    async def get(self, kind: Kind[Any], key: ObjectKey) -> Any:
        self._maybe_fail()
        if key.namespace != REMOTE or key.name not in self.secrets:
            raise NotFound(f'secrets "{key.name}" not found', status=404, reason="NotFound")
        return kind.decode(json.dumps(self.secrets[key.name]).encode())

    async def list(self, kind: Kind[Any], *, label_selector: str = "", continue_token: str = "", **_: Any) -> Any:
        from fairlead.core.cluster import Page
        from fairlead.core.selectors import matches, parse

        self._maybe_fail()
        names = sorted(self.secrets)
        start = int(continue_token or 0)
        chosen = [kind.decode(json.dumps(self.secrets[name]).encode()) for name in names[start : start + 2]]
        selector = parse(label_selector)
        return Page(
            items=tuple(item for item in chosen if matches(selector, item.metadata.labels)),
            resource_version="1",
            continue_token=str(start + 2) if start + 2 < len(names) else "",
        )

    async def create(self, kind: Kind[Any], body: Mapping[str, Any], *, namespace: str = "") -> Any:
        self._maybe_fail()
        if body["kind"] == "SelfSubjectRulesReview":
            return kind.decode(b'{"status": {"resourceRules": [{"verbs": ["list"], "resources": ["secrets"]}]}}')
        return kind.decode(json.dumps({"status": {"allowed": self.allowed}}).encode())

    async def close(self) -> None:
        self.is_closed = True


class _Connector:
    """Hands out one cluster, and remembers how it was asked for."""

    def __init__(self, cluster: _ScriptedCluster, error: Exception | None = None) -> None:
        self._cluster = cluster
        self._error = error
        self.endpoints: list[ClusterEndpoint] = []

    async def connect(self, endpoint: ClusterEndpoint) -> Any:
        self.endpoints.append(endpoint)
        if self._error is not None:
            raise self._error
        return self._cluster


def secret(name: str, data: Mapping[str, bytes], **metadata: Any) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": name, "namespace": REMOTE, **metadata}, "data": encoded}


def block(**fields: Any) -> dict[str, Any]:
    auth = {"token": {"bearerToken": {"name": "creds", "key": "token"}}}
    return {"remoteNamespace": REMOTE, "auth": auth, **fields}


def around(connector: ClusterConnector) -> Surroundings:
    return Surroundings(
        clusters=connector, credentials=StaticCredentials(secrets={(NAMESPACE, "creds"): {"token": b"t"}})
    )


# -- the contract -----------------------------------------------------------------------------------------------------


class _ScriptedArena(Arena):
    can_be_denied = False
    can_be_unreachable = False

    def __init__(self) -> None:
        self._cluster = _ScriptedCluster()
        self._context = around(_Connector(self._cluster)).context()

    @property
    def provider(self) -> KubernetesProvider:
        return KubernetesProvider()

    @property
    def context(self) -> StoreContext:
        return self._context

    def spec(self) -> StoreSpec:
        return spec_of("kubernetes", block())

    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        self._cluster.secrets[key] = secret(key, _data(document))


def _data(document: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: (value if isinstance(value, str) else json.dumps(value)).encode() for name, value in document.items()}


class TestKubernetesStore(StoreContract):
    @pytest.fixture
    def arena(self) -> Arena:
        return _ScriptedArena()


# -- reading ----------------------------------------------------------------------------------------------------------

FILLED = {
    "db": secret(
        "db",
        {"user": b"ada", "json": b'{"a": {"x":  "<y>"}, "n": 1.50}', "a.b": b"exact", "raw": b"\xff\x00"},
        labels={"app.kubernetes.io/name": "shop", "tier": "db"},
        annotations={"plan": '{"owner": {"team": "blue"}}'},
    ),
    "cache": secret("cache", {"user": b"bob"}, labels={"tier": "cache"}),
    "other": secret("other", {"user": b"<&>"}),
}


def filled() -> _ScriptedCluster:
    return _ScriptedCluster(secrets=dict(FILLED))


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        pytest.param(RemoteRef(key="other"), b'{"user":"<&>"}', id="whole-is-not-escaped"),
        pytest.param(RemoteRef(key="db", property="user"), b"ada", id="entry"),
        pytest.param(RemoteRef(key="db", property="a.b"), b"exact", id="exact-entry-first"),
        pytest.param(RemoteRef(key="db", property="json.a"), b'{"x":  "<y>"}', id="raw-slice-within-an-entry"),
        pytest.param(RemoteRef(key="db", property="json.a.x"), b"<y>", id="deeper"),
        pytest.param(RemoteRef(key="db", property="raw"), b"\xff\x00", id="bytes"),
        pytest.param(
            RemoteRef(key="db", metadata_policy=MetadataPolicy.FETCH),
            b'{"annotations":{"plan":"{\\"owner\\": {\\"team\\": \\"blue\\"}}"},'
            b'"labels":{"app.kubernetes.io/name":"shop","tier":"db"}}',
            id="metadata",
        ),
        pytest.param(
            RemoteRef(key="db", property="labels", metadata_policy=MetadataPolicy.FETCH),
            b'{"app.kubernetes.io/name":"shop","tier":"db"}',
            id="labels",
        ),
        pytest.param(
            RemoteRef(key="db", property="labels.app.kubernetes.io/name", metadata_policy=MetadataPolicy.FETCH),
            b"shop",
            id="label-with-dots",
        ),
        pytest.param(
            RemoteRef(key="db", property="annotations.plan.owner.team", metadata_policy=MetadataPolicy.FETCH),
            b"blue",
            id="json-in-an-annotation",
        ),
    ],
)
async def test_get(ref: RemoteRef, expected: bytes) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(filled()))) as store:
        assert (await store.get(ref)).reveal() == expected


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (RemoteRef(key="db", property="nobody"), 'property nobody does not exist in data of secret "db"'),
        (RemoteRef(key="db", property="user.deeper"), "property user.deeper does not exist"),
        (RemoteRef(key="db", property="labels.no", metadata_policy=MetadataPolicy.FETCH), "property labels.no"),
        (RemoteRef(key="db", property="spec.x", metadata_policy=MetadataPolicy.FETCH), "property spec.x"),
    ],
)
async def test_a_missing_property(ref: RemoteRef, says: str) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(filled()))) as store:
        with pytest.raises(ProviderError, match=says) as caught:
            await store.get(ref)
        assert not isinstance(caught.value, NoSecret)


async def test_extract_of_an_entry_that_is_json() -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(filled()))) as store:
        assert texts(await store.get_map(RemoteRef(key="db", property="json"))) == {"a": '{"x":  "<y>"}', "n": "1.50"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(FindQuery(name_regexp="a|o"), {"cache": '{"user":"bob"}', "other": '{"user":"<&>"}'}, id="name"),
        pytest.param(FindQuery(tags={"tier": "cache"}), {"cache": '{"user":"bob"}'}, id="label"),
        pytest.param(
            FindQuery(tags={"tier": "cache"}, name_regexp="other"), {"cache": '{"user":"bob"}'}, id="labels-win"
        ),
    ],
)
async def test_find_over_several_pages(query: FindQuery, expected: dict[str, str]) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(filled()))) as store:
        assert texts(await store.find(query)) == expected


@pytest.mark.parametrize(
    "query",
    [FindQuery(path="x", name_regexp="."), FindQuery(), FindQuery(tags={"a": "b,c=d"})],
    ids=["path", "nothing", "a-second-selector"],
)
async def test_what_cannot_be_found(query: FindQuery) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(filled()))) as store:
        with pytest.raises(ProviderError) as caught:
            await store.find(query)
        assert not isinstance(caught.value, NoSecret)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(lambda: Forbidden("x", status=403, reason="Forbidden"), Denied, id="403"),
        pytest.param(lambda: Unavailable("x", retry_after=3.0), StoreUnavailable, id="no-answer"),
        pytest.param(lambda: TooManyRequests("x", retry_after=3.0), Throttled, id="429"),
        pytest.param(lambda: NotFound("page not found", status=404), ProviderError, id="a-strangers-404"),
        pytest.param(
            lambda: NotFound("the server could not find the requested resource", status=404, reason="NotFound"),
            ProviderError,
            id="no-such-api",
        ),
        pytest.param(lambda: ClusterError("m4rker", status=302), ProviderError, id="302"),
    ],
)
async def test_errors_are_no_missing_secret(error: Callable[[], ClusterError], expected: type[ProviderError]) -> None:
    cluster = _ScriptedCluster(error=error)
    async with opened(spec_of("kubernetes", block()), around(_Connector(cluster))) as store:
        for ask in (store.get(RemoteRef(key="db")), store.find(FindQuery(name_regexp="."))):
            with pytest.raises(expected) as caught:
                await ask
            assert not isinstance(caught.value, NoSecret)
            assert "m4rker" not in str(caught.value)
            assert getattr(caught.value, "retry_after", 3.0) == 3.0


async def test_credentials_that_are_refused_are_read_again() -> None:
    cluster = _ScriptedCluster(
        secrets=dict(FILLED), error=lambda: Forbidden("x", status=401, reason="Unauthorized"), errors_left=2
    )
    connector = _Connector(cluster)
    surroundings = around(connector)
    async with opened(spec_of("kubernetes", block()), surroundings) as store:
        with pytest.raises(Denied):  # they have just been read: reading them again would change nothing
            await store.get(RemoteRef(key="db"))
        surroundings.clock.seconds += 11
        assert (await store.get(RemoteRef(key="db", property="user"))).reveal() == b"ada"
    assert len(connector.endpoints) == 2
    assert cluster.is_closed


async def test_tokens_of_service_accounts_are_renewed_at_two_thirds() -> None:
    connector = _Connector(filled())
    surroundings = Surroundings(
        clusters=connector, credentials=StaticCredentials(tokens={(NAMESPACE, "reader"): "sa-token"})
    )
    spec = spec_of("kubernetes", block(auth={"serviceAccount": {"name": "reader"}}))
    async with opened(spec, surroundings) as store:
        for seconds, connections in ((0, 1), (2399, 1), (2, 2), (2399, 2)):
            surroundings.clock.seconds += seconds
            await store.get(RemoteRef(key="db"))
            assert len(connector.endpoints) == connections


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        pytest.param(_ScriptedCluster(), None, id="allowed"),
        pytest.param(_ScriptedCluster(allowed=False), Denied, id="not-allowed"),
        pytest.param(_ScriptedCluster(error=lambda: Unavailable("x")), ValidationUnknown, id="no-answer"),
    ],
)
async def test_validation(cluster: _ScriptedCluster, expected: type[ProviderError] | None) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(cluster))) as store:
        if expected is None:
            await store.validate()
        else:
            with pytest.raises(expected):
                await store.validate()


@pytest.mark.parametrize(
    ("error", "expected"),
    [(SpecError("exec is not allowed"), ProviderError), (Unavailable("down"), StoreUnavailable)],
    ids=["bad-kubeconfig", "down"],
)
async def test_no_way_to_the_cluster(error: Exception, expected: type[ProviderError]) -> None:
    async with opened(spec_of("kubernetes", block()), around(_Connector(_ScriptedCluster(), error))) as store:
        with pytest.raises(expected, match="no way to the cluster") as caught:
            await store.get(RemoteRef(key="db"))
        assert not isinstance(caught.value, NoSecret)


# -- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"auth": None}, "spec.provider.kubernetes", id="no-auth"),
        pytest.param({"auth": {}}, "spec.provider.kubernetes.auth", id="empty-auth"),
        pytest.param(
            {"auth": {"serviceAccount": {"name": "a"}, "token": {"bearerToken": {"name": "b"}}}},
            "spec.provider.kubernetes.auth",
            id="two-ways",
        ),
        pytest.param({"remoteNamespace": ""}, "spec.provider.kubernetes.remoteNamespace", id="no-namespace"),
        pytest.param({"server": {"url": "http://plain"}}, "spec.provider.kubernetes.server.url", id="without-tls"),
        pytest.param(
            {"server": {"caProvider": {"type": "Secret", "name": "ca", "namespace": NAMESPACE}}},
            "spec.provider.kubernetes.server.caProvider.namespace",
            id="even-the-own-namespace-of-a-ca",
        ),
        pytest.param(
            {"auth": {"serviceAccount": {"name": "a", "namespace": "other"}}},
            "spec.provider.kubernetes.auth.serviceAccount",
            id="service-account-elsewhere",
        ),
    ],
)
def test_what_cannot_work_is_named_by_its_field(fields: dict[str, Any], path: str) -> None:
    problems = KubernetesProvider().validate_spec(spec_of("kubernetes", block(**fields)))
    assert [problem.path for problem in problems] == [path]


def test_a_cluster_store_without_a_namespace_is_referent() -> None:
    spec = spec_of("kubernetes", block(), kind=StoreKind.CLUSTER)
    assert KubernetesProvider().is_referent(spec)


# -- a real API server ------------------------------------------------------------------------------------------------

_NAMESPACES = Kind("", "v1", "Namespace", "namespaces", decode_manifest, namespaced=False)
_ACCOUNTS = Kind("", "v1", "ServiceAccount", "serviceaccounts", decode_manifest)
_ROLES = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", decode_manifest)
_BINDINGS = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", decode_manifest)


class _RealArena(Arena):
    def __init__(self, cluster: Cluster, plane: ControlPlane, namespace: str) -> None:
        assert plane.folder is not None
        self._cluster = cluster
        self._namespace = namespace
        ca = base64.b64encode((plane.folder / "certs" / "apiserver.crt").read_bytes()).decode()
        self._server = {"url": plane.server, "caBundle": ca}
        self._surroundings = Surroundings(clusters=RemoteClusters(), credentials=ClusterCredentials(cluster))

    @property
    def provider(self) -> KubernetesProvider:
        return KubernetesProvider()

    @property
    def context(self) -> StoreContext:
        return self._surroundings.context(self._namespace)

    def _spec(self, account: str, **server: Any) -> StoreSpec:
        fields = {
            "server": {**self._server, **server},
            "remoteNamespace": self._namespace,
            "auth": {"serviceAccount": {"name": account}},
        }
        return spec_of("kubernetes", fields, namespace=self._namespace)

    def spec(self) -> StoreSpec:
        return self._spec("reader")

    def denied_spec(self) -> StoreSpec:
        return self._spec("nobody")

    def unreachable_spec(self) -> StoreSpec:
        (port,) = free_ports(1)
        return self._spec("reader", url=f"https://127.0.0.1:{port}")

    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": key},
            "data": {name: base64.b64encode(value).decode() for name, value in _data(document).items()},
        }
        await self._cluster.patch(SECRETS, ObjectKey(self._namespace, key), ApplyPatch(body, force=True))

    async def prepare(self) -> None:
        await self._cluster.create(
            _NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        )
        for name in ("reader", "nobody"):
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            await self._cluster.create(_ACCOUNTS, body, namespace=self._namespace)
        group = "rbac.authorization.k8s.io"
        role = {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}],
        }
        await self._cluster.create(_ROLES, role, namespace=self._namespace)
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": self._namespace}],
        }
        await self._cluster.create(_BINDINGS, binding, namespace=self._namespace)


_numbers = iter(range(10**6))


@asynccontextmanager
async def _real(plane: ControlPlane) -> AsyncIterator[_RealArena]:
    async with await connect(str(plane.kubeconfig)) as cluster:
        arena = _RealArena(cluster, plane, f"stores-{next(_numbers)}")
        await arena.prepare()
        yield arena


@pytest.mark.real
class TestKubernetesStoreOnARealServer(StoreContract):
    @pytest_asyncio.fixture
    async def arena(self, control_plane: ControlPlane) -> AsyncIterator[Arena]:
        async with _real(control_plane) as arena:
            yield arena


@pytest.mark.real
async def test_validation_by_real_reviews(control_plane: ControlPlane) -> None:
    async with _real(control_plane) as arena:
        store = await arena.open()
        await store.validate()
        await store.close()
        store = await arena.open(arena.denied_spec())
        with pytest.raises(Denied, match="not allowed to get secrets"):
            await store.validate()
        await store.close()


@pytest.mark.real
async def test_a_kubeconfig_in_a_secret(control_plane: ControlPlane) -> None:
    async with _real(control_plane) as arena:
        await arena.write("db", {"user": "ada"})
        assert control_plane.folder is not None
        ca = (control_plane.folder / "certs" / "apiserver.crt").read_bytes()
        kubeconfig = (
            control_plane.kubeconfig.read_text()
            .replace("certificate-authority:", "certificate-authority-data:")
            .replace(str(control_plane.folder / "certs" / "apiserver.crt"), base64.b64encode(ca).decode())
        )
        await arena.write("kubeconfig", {"config": kubeconfig, "file": control_plane.kubeconfig.read_text()})
        for key, works in (("config", True), ("file", False)):
            fields = {"remoteNamespace": arena._namespace, "authRef": {"name": "kubeconfig", "key": key}}
            store = await arena.open(spec_of("kubernetes", fields, namespace=arena._namespace))
            if works:
                assert (await store.get(RemoteRef(key="db", property="user"))).reveal() == b"ada"
            else:  # it names a file of ours
                with pytest.raises(ProviderError, match="certificate-authority: is not allowed"):
                    await store.get(RemoteRef(key="db"))
            await store.close()
