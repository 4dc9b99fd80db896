"""How stores look from a namespace, without a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.core.errors import SpecError
from fairlead.core.kinds import NAMESPACES
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta
from fairlead.runtime.store import Store as Cache
from fairlead.secrets._opening import OpeningFailed, Stores
from fairlead.secrets._questions import StoreName
from fairlead.secrets._sight import Sight, Views
from fairlead.secrets.kinds import ExternalSecret, SecretStore, TargetSecret
from fairlead.secrets.observation import Readiness
from fairlead.secrets.settings import SECRET_DEFAULTS, SecretSettings
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.stores.port import StoreContext
from fairlead.secrets.stores.registry import StoreProviders
from fairlead.secrets.stores.static import NoClusters, StaticCredentials
from fairlead.testing.clock import EPOCH, ManualClock

OWN, SHARED = StoreName(StoreKind.NAMESPACED, "store"), StoreName(StoreKind.CLUSTER, "store")
FAKE = {"fake": {"data": [{"key": "a", "value": "b"}]}}


def store(
    namespace: str = "shop", *, ready: str = "True", version: str = "1", generation: int = 1, **spec: Any
) -> SecretStore:
    status = {"conditions": [{"type": "Ready", "status": ready}]} if ready else {}
    return SecretStore(
        metadata=ObjectMeta(
            name="store",
            namespace=namespace,
            uid=f"uid-{namespace}",
            generation=generation,
            resource_version=version,
            creation_timestamp=EPOCH,
        ),
        spec=msgspec.Raw(msgspec.json.encode({"provider": FAKE, **spec})),
        status=msgspec.Raw(msgspec.json.encode(status)),
    )


class Place:
    def __init__(self, settings: SecretSettings = SECRET_DEFAULTS, *, cluster: bool = True) -> None:
        self.clock = ManualClock()
        self.stores: Cache[SecretStore] = Cache("secretstores", self.clock)
        self.cluster_stores: Cache[SecretStore] = Cache("clustersecretstores", self.clock)
        self.namespaces: Cache[Manifest] = Cache(str(NAMESPACES), self.clock)
        labels = ObjectMeta(name="shop", labels={"team": "a"}, resource_version="1", uid="ns")
        self.namespaces.put(Manifest(metadata=labels, raw=b"{}"))
        views = Views(
            external_secrets=Cache[ExternalSecret]("externalsecrets", self.clock),
            targets=Cache[TargetSecret]("secrets", self.clock),
            stores=self.stores,
            cluster_stores=self.cluster_stores if cluster else None,
            namespaces=self.namespaces,
        )
        context = StoreContext(clock=self.clock, credentials=StaticCredentials(), clusters=NoClusters())
        self.known = Stores(StoreProviders().provider, context)
        self.sight = Sight(views, self.known, self.clock, settings)

    def readiness(self, name: StoreName = OWN, namespace: str = "shop") -> Readiness:
        return self.sight.stores([name], namespace)[0].seen.readiness


def test_a_store_of_the_namespace_and_one_of_the_cluster_are_two() -> None:
    place = Place()
    assert place.readiness() is Readiness.MISSING
    place.stores.put(store())
    assert place.readiness() is Readiness.READY
    assert place.readiness(namespace="blog") is Readiness.MISSING
    assert place.readiness(SHARED) is Readiness.MISSING
    place.cluster_stores.put(store(""))
    assert place.readiness(SHARED, "blog") is Readiness.READY


@pytest.mark.parametrize(
    "settings", [SECRET_DEFAULTS, SecretSettings(cluster_stores=False)], ids=["no-view", "switched-off"]
)
def test_cluster_stores_that_are_not_served_are_missing(settings: SecretSettings) -> None:
    place = Place(settings, cluster=settings is not SECRET_DEFAULTS)
    place.cluster_stores.put(store(""))
    assert place.readiness(SHARED) is Readiness.MISSING


def test_readiness_follows_the_condition() -> None:
    place = Place()
    place.stores.put(store(ready="False"))
    assert place.readiness() is Readiness.NOT_READY
    place.stores.put(store(ready="True", version="2"))
    assert place.readiness() is Readiness.READY
    place.stores.put(store(ready="", version="3"))
    assert place.readiness() is Readiness.UNKNOWN
    place.clock.advance(timedelta(minutes=1))
    assert place.readiness() is Readiness.NOT_READY, "nobody validates it"


def test_without_the_flood_gate_every_store_may_be_asked() -> None:
    place = Place(SecretSettings(flood_gate=False))
    place.stores.put(store(ready="False"))
    assert place.readiness() is Readiness.READY


@pytest.mark.parametrize(("controller", "is_ours"), [("", True), ("default", True), ("other", False)])
def test_classes(controller: str, is_ours: bool) -> None:
    place = Place()
    place.stores.put(store(controller=controller))
    assert place.sight.stores([OWN], "shop")[0].seen.is_ours is is_ours


def test_conditions_are_those_of_a_cluster_store_only() -> None:
    place = Place()
    nobody = [{"namespaces": ["elsewhere"]}]
    place.stores.put(store(conditions=nobody))
    place.cluster_stores.put(store("", conditions=nobody))
    own, shared = place.sight.stores([OWN, SHARED], "shop")
    assert own.seen.denial == ""
    assert 'not allowed from namespace "shop"' in shared.seen.denial
    by_label = [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]
    place.cluster_stores.put(store("", version="2", generation=2, conditions=by_label))
    assert place.sight.stores([SHARED], "shop")[0].seen.denial == ""
    assert 'not allowed from namespace "blog"' in place.sight.stores([SHARED], "blog")[0].seen.denial


def test_the_mark_tells_stores_apart() -> None:
    place = Place()
    place.stores.put(store())
    (reach,) = place.sight.stores([OWN], "shop")
    assert reach.mark == ("store", "uid-shop", 1)


# -- handles ---------------------------------------------------------------------------------------------------------


async def test_a_handle_opens_the_store() -> None:
    place = Place()
    known = place.known.known(StoreKind.NAMESPACED, store())
    assert (known.error, known.is_referent, known.converts_found_keys) == ("", False, True)
    handle = place.known.handle(known, "shop")
    assert (handle.uid, handle.revision, handle.namespace) == ("uid-shop", "1", "")
    await (await handle.open()).close()
    assert place.known.known(StoreKind.NAMESPACED, store(version="2")) is known, "read once per generation"


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        pytest.param({"provider": {}}, "exactly one provider", id="none"),
        pytest.param({"provider": {"fake": {}, "vault": {}}}, "exactly one provider", id="two"),
        pytest.param({"provider": {"nobody": {}}}, r"spec\.provider\.nobody", id="unknown"),
        pytest.param({"provider": {"fake": {"data": [{"key": ""}]}}}, "must not be empty", id="block"),
        pytest.param({"provider": 7}, r"spec\.provider", id="type"),
        pytest.param({"refreshInterval": "soon"}, r"spec\.refreshInterval", id="interval"),
        pytest.param({"retrySettings": {"retryInterval": "soon"}}, "retryInterval", id="retries"),
    ],
)
def test_a_store_that_cannot_work_has_no_handle(spec: dict[str, Any], detail: str) -> None:
    place = Place()
    known = place.known.known(StoreKind.NAMESPACED, store(**spec))
    with pytest.raises(SpecError, match=detail):
        place.known.handle(known, "shop")


async def test_what_goes_wrong_at_opening_is_told_apart() -> None:
    place = Place()
    block = {"vault": {"server": "http://127.0.0.1:1", "auth": {"tokenSecretRef": {"name": "gone", "key": "token"}}}}
    known = place.known.known(StoreKind.NAMESPACED, store(provider=block))
    handle = place.known.handle(known, "shop")
    with pytest.raises(OpeningFailed):
        await handle.open()
    assert ObjectKey("shop", "gone").name not in known.error
