"""How a store's spec names its own credentials, and where they are looked for."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import pytest

from fairlead.core.errors import ClusterError, Forbidden, ProviderError, SpecError, TooManyRequests, Unavailable
from fairlead.core.objects import ObjectKey
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores._selectors import (
    CAProvider,
    Resolver,
    SecretKeySelector,
    ServiceAccountSelector,
    check,
    check_ca,
    is_referent,
)
from fairlead.secrets.stores.port import StoreKind, StoreUnavailable
from fairlead.secrets.values import SecretBytes
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, spec_of

CREDENTIALS = StaticCredentials(
    secrets={
        (NAMESPACE, "creds"): {"token": b"own\n", "raw": b"\xffm4rker"},
        ("user", "creds"): {"token": b"of the user"},
        ("other", "creds"): {"token": b"of another"},
    },
    config_maps={(NAMESPACE, "ca"): {"text": "m4rker is no certificate"}},
    tokens={(NAMESPACE, "app"): "sa"},
)


def resolver(kind: StoreKind = StoreKind.NAMESPACED, user: str = "user") -> Resolver:
    return Resolver(spec_of("vault", {}, kind=kind), Surroundings(credentials=CREDENTIALS).context(user))


@pytest.mark.parametrize(
    ("kind", "namespace", "expected"),
    [
        pytest.param(StoreKind.NAMESPACED, None, b"own\n", id="own-namespace-and-nothing-trimmed"),
        pytest.param(StoreKind.NAMESPACED, "other", b"own\n", id="a-store-never-looks-elsewhere"),
        pytest.param(StoreKind.CLUSTER, "other", b"of another", id="cluster-store-with-a-namespace"),
        pytest.param(StoreKind.CLUSTER, None, b"of the user", id="referent"),
    ],
)
async def test_where_a_secret_is_looked_for(kind: StoreKind, namespace: str | None, expected: bytes) -> None:
    selector = SecretKeySelector(name="creds", namespace=namespace, key="token")
    assert (await resolver(kind).secret(selector)).reveal() == expected


async def test_a_default_key() -> None:
    assert (await resolver().text(SecretKeySelector(name="creds"), default_key="token")) == "own\n"


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        pytest.param(SecretKeySelector(name="nobody", key="k"), 'Secret "team/nobody": not found', id="no-secret"),
        pytest.param(SecretKeySelector(name="creds", key="k"), 'cannot find secret data for key: "k"', id="no-key"),
        pytest.param(SecretKeySelector(name="creds", key="raw"), "no UTF-8", id="no-text"),
    ],
)
async def test_what_cannot_be_read_is_named_and_not_quoted(selector: SecretKeySelector, says: str) -> None:
    with pytest.raises(ProviderError, match=says) as caught:
        await resolver().text(selector)
    assert "m4rker" not in "".join(traceback.format_exception(caught.value))


async def test_a_referent_selector_without_a_user_is_an_error() -> None:
    with pytest.raises(ProviderError, match="nobody uses the store yet"):
        await resolver(StoreKind.CLUSTER, "").secret(SecretKeySelector(name="creds", key="token"))


class _Failing(StaticCredentials):
    def __init__(self, error: ClusterError) -> None:
        super().__init__()
        self._error = error

    async def secret(self, key: ObjectKey) -> NoReturn:
        raise self._error

    async def token(self, key: ObjectKey, *, audiences: Sequence[str], lifetime: timedelta) -> NoReturn:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Forbidden("m4rker", status=403, reason="Forbidden"), ProviderError),
        (Unavailable("no answer", retry_after=3.0), StoreUnavailable),
        (TooManyRequests("slow down", retry_after=3.0), StoreUnavailable),
    ],
    ids=["forbidden", "no-answer", "throttled"],
)
async def test_an_api_server_that_refuses(error: ClusterError, expected: type[ProviderError]) -> None:
    found = Resolver(spec_of("vault", {}), Surroundings(credentials=_Failing(error)).context())
    for ask in (
        found.secret(SecretKeySelector(name="creds", key="token")),
        found.token(ServiceAccountSelector(name="app"), lifetime=timedelta(seconds=600)),
    ):
        with pytest.raises(expected) as caught:
            await ask
        assert "m4rker" not in str(caught.value)
        assert getattr(caught.value, "retry_after", 3.0) == 3.0


async def test_audiences_of_the_selector_come_first_and_once() -> None:
    asked: list[tuple[str, ...]] = []

    class Noting(StaticCredentials):
        async def token(self, key: ObjectKey, *, audiences: Sequence[str], lifetime: timedelta) -> SecretBytes:
            asked.append(tuple(audiences))
            return SecretBytes(b"t")

    found = Resolver(spec_of("vault", {}), Surroundings(credentials=Noting()).context())
    selector = ServiceAccountSelector(name="app", audiences=("a", "b"))
    await found.token(selector, lifetime=timedelta(seconds=600), audiences=("b", "c"))
    assert asked == [("a", "b", "c")]


@pytest.mark.parametrize(
    ("bundle", "provider", "error"),
    [
        pytest.param("m4rker!", None, SpecError, id="no-base64"),
        pytest.param(base64.b64encode(b"m4rker").decode(), None, SpecError, id="no-pem"),
        pytest.param(base64.b64encode(b"-----BEGIN m4rker").decode(), None, SpecError, id="broken-pem"),
        pytest.param("", CAProvider(type="ConfigMap", name="ca", key="text"), SpecError, id="no-pem-in-a-config-map"),
        pytest.param("", CAProvider(type="ConfigMap", name="ca", key="no"), ProviderError, id="no-such-key"),
        pytest.param("", CAProvider(type="Secret", name="ca", key="no"), ProviderError, id="no-such-secret"),
    ],
)
async def test_a_bundle_that_holds_no_certificate(
    bundle: str, provider: CAProvider | None, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await resolver().ca(bundle, provider)
    assert "m4rker" not in str(caught.value)


async def test_without_a_bundle_the_system_is_trusted() -> None:
    assert await resolver().ca("", None) == b""


@pytest.mark.parametrize(
    ("kind", "namespace", "problems"),
    [
        (StoreKind.NAMESPACED, None, 0),
        (StoreKind.NAMESPACED, NAMESPACE, 0),
        (StoreKind.NAMESPACED, "other", 1),
        (StoreKind.CLUSTER, "other", 0),
        (StoreKind.CLUSTER, None, 0),
    ],
)
def test_namespaces_of_selectors(kind: StoreKind, namespace: str | None, problems: int) -> None:
    selector = SecretKeySelector(name="creds", namespace=namespace)
    assert len(check(spec_of("vault", {}, kind=kind), [("auth", selector), ("tls", None)])) == problems


@pytest.mark.parametrize(
    ("kind", "namespace", "own_allowed", "problems"),
    [
        (StoreKind.NAMESPACED, None, True, 0),
        (StoreKind.NAMESPACED, NAMESPACE, True, 0),
        (StoreKind.NAMESPACED, NAMESPACE, False, 1),
        (StoreKind.NAMESPACED, "other", True, 1),
        (StoreKind.CLUSTER, None, True, 1),
        (StoreKind.CLUSTER, "other", True, 0),
    ],
)
def test_namespaces_of_bundles(kind: StoreKind, namespace: str | None, own_allowed: bool, problems: int) -> None:
    provider = CAProvider(type="Secret", name="ca", namespace=namespace)
    spec = spec_of("vault", {}, kind=kind)
    found = check_ca(spec, provider, path="caProvider", own_namespace_allowed=own_allowed)
    assert len(found) == problems


def test_only_cluster_stores_are_referent() -> None:
    free, bound = SecretKeySelector(name="a"), SecretKeySelector(name="a", namespace="n")
    assert is_referent(spec_of("vault", {}, kind=StoreKind.CLUSTER), [None, bound, free])
    assert not is_referent(spec_of("vault", {}, kind=StoreKind.CLUSTER), [None, bound])
    assert not is_referent(spec_of("vault", {}), [free])
