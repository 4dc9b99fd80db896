"""Definitions of custom kinds, Gateway API's among them."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import CRDS, GATEWAYS, HTTP_ROUTES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.testing import custom, gateway
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from tests.conformance.arena import DEFINITIONS


def definition(**spec: Any) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    whole = {
        "group": "x.example",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [version],
        **spec,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.x.example"},
        "spec": whole,
    }


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({}, "", id="good"),
        pytest.param({"group": ""}, "spec.group", id="group"),
        pytest.param({"scope": "Galaxy"}, "spec.scope", id="scope"),
        pytest.param({"names": {"kind": "Thing", "plural": "stuff"}}, "metadata.name", id="name"),
        pytest.param({"names": {"plural": "things"}}, "spec.names.kind", id="kind"),
        pytest.param({"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {}}}]}, "spec.versions", id="storage"),
        pytest.param(
            {
                "versions": [
                    {
                        "name": "v1",
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"properties": {"pattern": {"pattern": "(?=look-ahead)"}}}},
                    }
                ]
            },
            "spec.versions[0].schema.properties.pattern.pattern",
            id="pattern",
        ),
        pytest.param(
            {"versions": [{"name": "v1", "storage": True}]}, "spec.versions[0].schema.openAPIV3Schema", id="schema"
        ),
    ],
)
def test_bad_definitions_are_refused(spec: dict[str, Any], field: str) -> None:
    causes = [cause.field for cause in custom.check(definition(**spec))]
    assert causes == ([field] if field else [])


@pytest.mark.parametrize(
    ("names", "preferred"),
    [
        (["v1beta1", "v1"], "v1"),
        (["v1", "v2"], "v2"),
        (["v1alpha1", "v1beta2", "v1beta10"], "v1beta10"),
        (["foo", "v1alpha1"], "v1alpha1"),
    ],
)
def test_the_preferred_version(names: list[str], preferred: str) -> None:
    versions = [
        {"name": name, "served": True, "storage": name == names[0], "schema": {"openAPIV3Schema": {"type": "object"}}}
        for name in names
    ]
    made = custom.resource(definition(versions=versions))
    assert made.versions[0].name == preferred
    assert made.storage_version == names[0]


def test_versions_show_the_same_object() -> None:
    async def tell() -> None:
        cluster = SimulatedCluster(LoopClock(), crds=())
        beta: Kind[Manifest] = carried("gateway.networking.k8s.io", "v1beta1", "HTTPRoute", "httproutes")
        body = {"apiVersion": beta.api_version, "kind": "HTTPRoute", "metadata": {"name": "web"}, "spec": {}}
        made = await cluster.create(beta, body, namespace="default")
        assert made.content["apiVersion"] == "gateway.networking.k8s.io/v1beta1"
        found = await cluster.get(HTTP_ROUTES, ObjectKey("default", "web"))
        assert found.content["apiVersion"] == "gateway.networking.k8s.io/v1"
        assert found.metadata == made.metadata

    run_virtual(tell())


def test_a_definition_can_be_changed_and_counts_for_later_writes() -> None:
    async def tell() -> None:
        cluster = SimulatedCluster(LoopClock(), crds=DEFINITIONS)
        schema = {"type": "object", "properties": {"spec": {"type": "object", "required": ["must"]}}}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        cluster.install_crds([definition()])
        things: Kind[Manifest] = carried("x.example", "v1", "Thing", "things")
        body = {"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {}}
        await cluster.create(things, body, namespace="default")
        cluster.install_crds([definition(versions=[version])])
        with pytest.raises(Invalid, match=r"spec\.must: Required value"):
            await cluster.create(things, {**body, "metadata": {"name": "b"}}, namespace="default")
        installed = await cluster.get(CRDS, ObjectKey("", "things.x.example"))
        assert installed.metadata.generation == 2

    run_virtual(tell())


def test_gateway_kinds_say_which_bundle_they_stand_for() -> None:
    for document in gateway.definitions():
        annotations = document["metadata"]["annotations"]
        assert annotations["gateway.networking.k8s.io/bundle-version"] == gateway.BUNDLE_VERSION
        assert annotations["gateway.networking.k8s.io/channel"] == "standard"
        assert custom.check(document) == []


def test_a_gateway_waits_for_its_controller() -> None:
    async def tell() -> None:
        cluster = SimulatedCluster(LoopClock(), crds=())
        body = {
            "apiVersion": GATEWAYS.api_version,
            "kind": "Gateway",
            "metadata": {"name": "g"},
            "spec": {"gatewayClassName": "c", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        }
        made = await cluster.create(GATEWAYS, body, namespace="default")
        listener = made.content["spec"]["listeners"][0]
        assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
        assert [one["reason"] for one in made.content["status"]["conditions"]] == ["Pending", "Pending"]
        classes: Kind[Manifest] = carried(
            "gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", namespaced=False
        )
        class_body = {
            "apiVersion": GATEWAYS.api_version,
            "kind": "GatewayClass",
            "metadata": {"name": "c"},
            "spec": {"controllerName": "a.example/b"},
        }
        await cluster.create(classes, class_body)
        with pytest.raises(Invalid, match="Value is immutable"):
            await cluster.patch(classes, ObjectKey("", "c"), MergePatch({"spec": {"controllerName": "a.example/c"}}))

    run_virtual(tell())


def test_what_ships_can_be_installed() -> None:
    for document in custom.fairlead_crds():
        whole = {**document, "metadata": {**document["metadata"]}}
        assert custom.check(whole) == []
        custom.resource(whole)
