"""The definitions of `external-secrets.io`: names, columns and rules as upstream has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.controller.crds import definitions
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey
from fairlead.secrets.kinds import CLUSTER_SECRET_STORES, EXTERNAL_SECRETS, SECRET_STORES
from fairlead.testing.clock import ManualClock
from fairlead.testing.cluster import SimulatedCluster

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
OLD = carried("external-secrets.io", "v1beta1", "ExternalSecret", "externalsecrets")
VALUE = {"secretKey": "password", "remoteRef": {"key": "/db", "property": "password"}}
STORE_COLUMNS = ["AGE", "Status", "Capabilities", "Ready"]


@pytest.mark.parametrize(
    ("name", "kind", "plural", "short", "scope", "columns"),
    [
        pytest.param(
            "external-secret-crd.yaml",
            "ExternalSecret",
            "externalsecrets",
            "es",
            "Namespaced",
            ["StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"],
            id="external-secret",
        ),
        pytest.param(
            "secret-store-crd.yaml", "SecretStore", "secretstores", "ss", "Namespaced", STORE_COLUMNS, id="store"
        ),
        pytest.param(
            "cluster-secret-store-crd.yaml",
            "ClusterSecretStore",
            "clustersecretstores",
            "css",
            "Cluster",
            STORE_COLUMNS,
            id="cluster-store",
        ),
    ],
)
def test_names_and_columns(name: str, kind: str, plural: str, short: str, scope: str, columns: list[str]) -> None:
    definition = definitions()[name]
    assert definition["metadata"]["name"] == f"{plural}.external-secrets.io"
    assert definition["metadata"]["labels"] == {"external-secrets.io/component": "controller"}
    spec = definition["spec"]
    names = spec["names"]
    assert (names["kind"], names["plural"], names["shortNames"], spec["scope"]) == (kind, plural, [short], scope)
    assert names["categories"] == ["external-secrets"]
    served = [(version["name"], version["served"], version["storage"]) for version in spec["versions"]]
    assert served == [("v1", True, True), ("v1beta1", True, False)]
    for version in spec["versions"]:
        assert [column["name"] for column in version["additionalPrinterColumns"]] == columns
        assert version["subresources"] == {"status": {}}


def test_selectable_fields() -> None:
    for version in definitions()["external-secret-crd.yaml"]["spec"]["versions"]:
        assert [field["jsonPath"] for field in version["selectableFields"]] == [
            ".spec.secretStoreRef.name",
            ".spec.secretStoreRef.kind",
            ".spec.target.name",
            ".spec.refreshInterval",
        ]


def test_exactly_one_provider_is_asked_for() -> None:
    (version, _) = definitions()["secret-store-crd.yaml"]["spec"]["versions"]
    provider = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["provider"]
    assert (provider["minProperties"], provider["maxProperties"]) == (1, 1)


def external_secret(api_version: str = "external-secrets.io/v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": "ExternalSecret", "metadata": {"name": "db"}, "spec": spec}


async def test_both_versions_are_one_type() -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    spec: dict[str, Any] = {
        "secretStoreRef": {"name": "s", "kind": "ClusterSecretStore"},
        "data": [VALUE],
        "refreshInterval": "1h",
    }
    await cluster.create(OLD, external_secret("external-secrets.io/v1beta1", **spec), namespace="default")
    found = await cluster.get(carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"), KEY)
    assert found.content["spec"] == spec
    page = await cluster.list(EXTERNAL_SECRETS, namespace="default", field_selector="spec.secretStoreRef.name=s")
    assert [item.metadata.name for item in page.items] == ["db"]


KEY = ObjectKey("default", "db")


async def test_an_object_stays_as_its_user_wrote_it() -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    windows = {"kind": "deny", "windows": [{"schedule": "@daily", "duration": "1h"}]}
    spec: dict[str, Any] = {"data": [VALUE], "syncWindows": windows}
    await cluster.create(EXTERNAL_SECRETS, external_secret(**spec, future={"field": 1}), namespace="default")
    stored = cluster.read(EXTERNAL_SECRETS, KEY)
    assert stored is not None
    assert stored["spec"] == {**spec, "future": {"field": 1}}


async def test_status_is_a_subresource() -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    await cluster.create(EXTERNAL_SECRETS, external_secret(data=[VALUE]), namespace="default")
    await cluster.patch(EXTERNAL_SECRETS, KEY, MergePatch({"status": {"refreshTime": "x"}}))
    assert "status" not in (cluster.read(EXTERNAL_SECRETS, KEY) or {})
    await cluster.patch(EXTERNAL_SECRETS, KEY, MergePatch({"status": {"refreshTime": "x"}}), subresource="status")
    assert (cluster.read(EXTERNAL_SECRETS, KEY) or {})["status"] == {"refreshTime": "x"}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"data": [{"secretKey": "a/b", "remoteRef": {"key": "k"}}]}, id="key-that-no-secret-can-have"),
        pytest.param({"data": [{"secretKey": "a"}]}, id="no-remote-ref"),
        pytest.param({"data": [VALUE], "target": {"creationPolicy": "Own"}}, id="creation-policy"),
        pytest.param({"data": [VALUE], "target": {"deletionPolicy": "Keep"}}, id="deletion-policy"),
        pytest.param({"data": [VALUE], "refreshPolicy": "Often"}, id="refresh-policy"),
        pytest.param({"data": [VALUE], "secretStoreRef": {"name": "S"}}, id="name-of-a-store"),
        pytest.param({"data": [VALUE], "secretStoreRef": {"name": "s", "kind": "Vault"}}, id="kind-of-a-store"),
        pytest.param({"data": [VALUE], "syncWindows": {"kind": "allow", "windows": []}}, id="no-window"),
        pytest.param({"dataFrom": [{"extract": {}}]}, id="no-key"),
        pytest.param(
            {"data": [{**VALUE, "remoteRef": {"key": "k", "decodingStrategy": "Rot13"}}]}, id="decoding-strategy"
        ),
    ],
)
async def test_the_api_refuses(spec: dict[str, Any]) -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    with pytest.raises(Invalid):
        await cluster.create(EXTERNAL_SECRETS, external_secret(**spec), namespace="default")


@pytest.mark.parametrize("kind", [SECRET_STORES, CLUSTER_SECRET_STORES], ids=str)
async def test_stores(kind: Any) -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    namespace = "default" if kind.namespaced else ""
    body = {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind.kind,
        "metadata": {"name": "store"},
        "spec": {"provider": {"fake": {"data": [{"key": "a", "value": "b"}]}}, "refreshInterval": 60},
    }
    await cluster.create(kind, body, namespace=namespace)
    stored = cluster.read(kind, ObjectKey(namespace, "store"))
    assert stored is not None
    assert stored["spec"] == body["spec"]
    broken = {**body, "metadata": {"name": "other"}, "spec": {"refreshInterval": "1m"}}
    with pytest.raises(Invalid, match="provider"):
        await cluster.create(kind, broken, namespace=namespace)
