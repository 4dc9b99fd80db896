"""Which ExternalSecrets a change of something else concerns."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.core.objects import ObjectKey, ObjectMeta
from fairlead.runtime.store import Store
from fairlead.secrets.kinds import CREATED_BY_LABEL, ExternalSecret, SecretStore, TargetSecret
from fairlead.secrets.triggers import EXTERNAL_SECRET_INDEXES, Triggers, maker_of, stores_of, target_of
from fairlead.testing.clock import ManualClock

VALUE = {"secretKey": "a", "remoteRef": {"key": "k"}}
CLUSTER = {"name": "store", "kind": "ClusterSecretStore"}


def external_secret(name: str, namespace: str = "shop", **spec: Any) -> ExternalSecret:
    whole = {"secretStoreRef": {"name": "store"}, "data": [VALUE], **spec}
    return ExternalSecret(
        metadata=ObjectMeta(name=name, namespace=namespace, uid=f"{namespace}-{name}", resource_version="1"),
        spec=msgspec.Raw(msgspec.json.encode(whole)),
    )


@pytest.fixture
def triggers() -> Triggers:
    store: Store[ExternalSecret] = Store("externalsecrets", ManualClock(), indexes=EXTERNAL_SECRET_INDEXES)
    both = [VALUE, {**VALUE, "sourceRef": {"storeRef": CLUSTER}}]
    store.replace(
        [
            external_secret("plain"),
            external_secret("both", data=both),
            external_secret("cluster", secretStoreRef=CLUSTER, target={"name": "plain"}),
            external_secret("plain", "blog"),
            external_secret("odd", data=7),
        ]
    )
    return Triggers(store)


def keys(found: tuple[ObjectKey, ...]) -> list[str]:
    return [str(key) for key in found]


def meta(name: str, namespace: str = "", **fields: Any) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, **fields)


def test_a_store_wakes_its_users(triggers: Triggers) -> None:
    assert keys(triggers.by_store(SecretStore(metadata=meta("store", "shop")))) == ["shop/both", "shop/plain"]
    assert keys(triggers.by_store(SecretStore(metadata=meta("store", "blog")))) == ["blog/plain"]
    assert keys(triggers.by_store(SecretStore(metadata=meta("store")))) == ["shop/both", "shop/cluster"]
    assert keys(triggers.by_store(SecretStore(metadata=meta("other", "shop")))) == []


def test_a_secret_wakes_those_who_make_it(triggers: Triggers) -> None:
    found = triggers.by_target(TargetSecret(metadata=meta("plain", "shop")))
    assert keys(found) == ["shop/cluster", "shop/plain"]


def test_a_namespace_wakes_all_of_it(triggers: Triggers) -> None:
    found = triggers.by_namespace(SecretStore(metadata=meta("blog")))
    assert keys(found) == ["blog/plain"]


def test_what_cannot_be_understood_is_in_no_index() -> None:
    odd = external_secret("odd", data=7)
    assert list(stores_of(odd)) == []
    assert list(target_of(odd)) == []


def test_who_made_a_secret() -> None:
    made = TargetSecret(metadata=meta("a", "shop", labels={CREATED_BY_LABEL: "hash"}))
    assert list(maker_of(made)) == ["shop/hash"]
    assert list(maker_of(TargetSecret(metadata=meta("a", "shop")))) == []
