"""Our stand-ins for Gateway API's definitions fill in and refuse what the real bundle does."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import GATEWAYS, GRPC_ROUTES, HTTP_ROUTES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.custom import load_documents
from tests.controlplane.build import Absent, gateway_crds

CLASSES = carried("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", namespaced=False)
GRANTS = carried("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants")

PARENTS: dict[str, Any] = {"parentRefs": [{"name": "g"}, {"name": "s", "kind": "Service", "group": "", "port": 80}]}
BACKENDS: dict[str, Any] = {"backendRefs": [{"name": "s", "port": 80}, {"name": "t", "port": 80, "weight": 0}]}
MATCHES: list[dict[str, Any]] = [
    {"headers": [{"name": "x", "value": "y"}]},
    {"path": {"value": "/x"}},
    {"method": "GET"},
    {"queryParams": [{"name": "a", "value": "b"}]},
]
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 80}}}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a.example"}}
LISTENERS = [
    {"name": "plain", "port": 80, "protocol": "HTTP"},
    {"name": "tls", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "x"}]}},
]
STATUS = {
    "parents": [
        {
            "parentRef": {"name": "g"},
            "controllerName": "a.example/b",
            "conditions": [
                {
                    "type": "Accepted",
                    "status": "True",
                    "reason": "Accepted",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "observedGeneration": 1,
                }
            ],
        }
    ]
}


def bundle() -> list[dict[str, Any]]:
    try:
        files = gateway_crds()
    except Absent as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    documents = [document for file in files for document in load_documents(file.read_text())]
    return [document for document in documents if document["kind"] == "CustomResourceDefinition"]


async def answer(cluster: SimulatedCluster, kind: Kind[Manifest], spec: Any, status: Any = None) -> Any:
    """Return what is stored without its metadata, or which fields are refused and how."""
    body: dict[str, Any] = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "one"}}
    if spec is not None:
        body["spec"] = spec
    try:
        made = await cluster.create(kind, body, namespace="default" if kind.namespaced else "")
        if status is not None:
            key = ObjectKey("default", "one")
            made = await cluster.patch(kind, key, MergePatch({"status": status}), subresource="status")
    except Invalid as error:
        return sorted((cause.field, cause.message) for cause in error.causes)
    return {key: value for key, value in made.content.items() if key != "metadata"}


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "spec", "status"),
    [
        pytest.param(HTTP_ROUTES, {}, None, id="empty"),
        pytest.param(HTTP_ROUTES, None, None, id="no-spec"),
        pytest.param(HTTP_ROUTES, {**PARENTS, "rules": [{"matches": MATCHES, **BACKENDS}]}, None, id="defaults"),
        pytest.param(HTTP_ROUTES, {"rules": [{"filters": [MIRROR]}, {"filters": [REDIRECT]}]}, None, id="filters"),
        pytest.param(HTTP_ROUTES, {"rules": []}, None, id="no-rules"),
        pytest.param(HTTP_ROUTES, {"rules": [{"matches": [], "backendRefs": []}]}, None, id="empty-lists"),
        pytest.param(HTTP_ROUTES, {"rules": [{"timeouts": {"request": "10s"}, "name": "a"}]}, None, id="timeouts"),
        pytest.param(HTTP_ROUTES, {"rules": [{"backendRefs": [{"name": "s", "weight": "x"}]}]}, None, id="weight-type"),
        pytest.param(
            HTTP_ROUTES,
            {"rules": [{"backendRefs": [{"name": "s", "weight": 1_000_001}, {"name": "", "port": 70000}]}]},
            None,
            id="bounds",
        ),
        pytest.param(HTTP_ROUTES, {"rules": [{"matches": [{"path": {"type": "Near"}}]}]}, None, id="path-type"),
        pytest.param(HTTP_ROUTES, {"rules": [{"filters": [{"type": "Coffee"}]}]}, None, id="filter-type"),
        pytest.param(HTTP_ROUTES, PARENTS, STATUS, id="status"),
        pytest.param(HTTP_ROUTES, PARENTS, {"parents": [{"parentRef": {}}]}, id="bad-status"),
        pytest.param(
            GRPC_ROUTES,
            {
                "rules": [
                    {"matches": [{"method": {"service": "x"}}, {"headers": [{"name": "a", "value": "b"}]}], **BACKENDS}
                ]
            },
            None,
            id="grpc",
        ),
        pytest.param(GATEWAYS, {"gatewayClassName": "c", "listeners": LISTENERS}, None, id="gateway"),
        pytest.param(GATEWAYS, {"gatewayClassName": "c", "listeners": []}, None, id="no-listeners"),
        pytest.param(CLASSES, {"controllerName": "a.example/b"}, None, id="class"),
        pytest.param(
            GRANTS,
            {"from": [{"group": "x", "kind": "y", "namespace": "z"}], "to": [{"group": "", "kind": "Service"}]},
            None,
            id="grant",
        ),
    ],
)
def test_as_the_bundle(kind: Kind[Manifest], spec: Any, status: Any) -> None:
    documents = bundle()

    async def tell() -> None:
        ours = SimulatedCluster(LoopClock(), crds=())
        theirs = SimulatedCluster(LoopClock(), crds=documents)
        assert await answer(ours, kind, spec, status) == await answer(theirs, kind, spec, status)

    run_virtual(tell())
