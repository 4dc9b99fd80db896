"""From a manifest to a live store, without a cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets.stores import RemoteRef, open_store, spec_of_manifest
from fairlead.secrets.stores.port import Capabilities, RetrySettings, Store, StoreContext, StoreKind, StoreSpec
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters, StaticCredentials
from tests.secrets.stores.surroundings import Surroundings, spec_of

FAKE = {"fake": {"data": [{"key": "k", "value": "v"}]}}


def manifest(provider: Any = FAKE, kind: str = "SecretStore", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": {"name": "store", "namespace": "team"},
        "spec": {"provider": provider, **spec},
    }


async def test_a_manifest_is_enough() -> None:
    async with open_store(manifest()) as store:
        assert (await store.get(RemoteRef(key="k"))).reveal() == b"v"


def test_what_a_manifest_says_is_handed_on() -> None:
    spec = spec_of_manifest(manifest(retrySettings={"maxRetries": 5, "retryInterval": "1m30s"}))
    assert (spec.provider, spec.kind, spec.name, spec.namespace) == ("fake", StoreKind.NAMESPACED, "store", "team")
    assert spec.retry == RetrySettings(max_retries=5, interval=timedelta(seconds=90))


def test_a_cluster_store_has_no_namespace() -> None:
    assert spec_of_manifest(manifest(kind="ClusterSecretStore")).namespace == ""


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        pytest.param(manifest(kind="Secret"), "kind", id="kind"),
        pytest.param(manifest({}), "spec.provider", id="no-provider"),
        pytest.param(manifest({**FAKE, "vault": {}}), "spec.provider", id="two-providers"),
        pytest.param(manifest({"nonsense": {}}), "spec.provider.nonsense", id="unknown-provider"),
        pytest.param(
            manifest({"fake": {"data": [{"key": ""}]}}), "spec.provider.fake.data[0].key", id="judged-by-the-provider"
        ),
        pytest.param(
            manifest(retrySettings={"retryInterval": "soon"}), "spec.retrySettings.retryInterval", id="no-duration"
        ),
    ],
)
async def test_what_cannot_work_is_named_by_its_field(bad: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        async with open_store(bad):
            pytest.fail("it has been opened")
    assert caught.value.path == path


async def test_a_namespaced_store_is_opened_for_its_own_namespace_only() -> None:
    contexts: list[StoreContext] = []

    class Watching:
        capabilities = Capabilities.READ_ONLY
        converts_found_keys = False

        def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
            return []

        def is_referent(self, spec: StoreSpec) -> bool:
            return False

        async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
            contexts.append(context)
            raise ProviderError("enough seen", provider="watching")

    providers = StoreProviders({"watching": Watching})
    for kind in (StoreKind.NAMESPACED, StoreKind.CLUSTER):
        with pytest.raises(ProviderError, match="enough"):
            async with open_store(
                spec_of("watching", {}, kind=kind), Surroundings().context("user"), providers=providers
            ):
                pytest.fail("it has been opened")
    assert [context.namespace for context in contexts] == ["team", "user"]


async def test_without_a_cluster_no_selector_finds_anything() -> None:
    block = {"vault": {"server": "https://127.0.0.1:1", "auth": {"tokenSecretRef": {"name": "t", "key": "k"}}}}
    with pytest.raises(ProviderError, match='Secret "team/t": not found'):
        async with open_store(manifest(block)):
            pytest.fail("it has been opened")


def test_what_is_at_hand_does_not_show() -> None:
    secrets = {("team", "creds"): {"token": b"m4rker"}}
    assert "m4rker" not in repr(StaticCredentials(secrets=secrets)) + repr(NoClusters())
    assert "m4rker" not in repr(spec_of("fake", {"data": [{"key": "k", "value": "m4rker"}]}))
