"""Which objects a rollout decides about."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._claims import claimed, is_rollout
from fairlead.agentsync.resources import Object, ResourceKey

ROUTES = "gateway.networking.k8s.io"


def rollout(spec: Any, **metadata: Any) -> Object:
    content = {"name": "web", "namespace": "shop", **metadata}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": content, "spec": spec}


def canary(**fields: Any) -> Object:
    return rollout({"strategy": {"canary": fields}})


def plugin(**block: Any) -> Object:
    return canary(trafficRouting={"plugins": {"argoproj-labs/gatewayAPI": block}})


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        pytest.param(rollout(None), set(), id="no-spec"),
        pytest.param(rollout({"strategy": {"canary": {}}}), set(), id="plain"),
        pytest.param(
            canary(canaryService="canary", stableService="stable"),
            {ResourceKey("", "Service", "shop", "canary"), ResourceKey("", "Service", "shop", "stable")},
            id="canary-services",
        ),
        pytest.param(
            canary(pingPong={"pingService": "ping", "pongService": "pong"}),
            {ResourceKey("", "Service", "shop", "ping"), ResourceKey("", "Service", "shop", "pong")},
            id="ping-pong",
        ),
        pytest.param(
            rollout({"strategy": {"blueGreen": {"activeService": "active", "previewService": "preview"}}}),
            {ResourceKey("", "Service", "shop", "active"), ResourceKey("", "Service", "shop", "preview")},
            id="blue-green",
        ),
        pytest.param(
            rollout({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}),
            {ResourceKey("apps", "Deployment", "shop", "web")},
            id="workload",
        ),
        pytest.param(
            rollout({"workloadRef": {"kind": "PodTemplate", "name": "web"}}), set(), id="workload-of-another-kind"
        ),
        pytest.param(plugin(httpRoute="web"), {ResourceKey(ROUTES, "HTTPRoute", "shop", "web")}, id="one-route"),
        pytest.param(
            plugin(namespace="edge", httpRoutes=[{"name": "a"}, {"name": "b"}], grpcRoutes=[{"name": "c"}]),
            {
                ResourceKey(ROUTES, "HTTPRoute", "edge", "a"),
                ResourceKey(ROUTES, "HTTPRoute", "edge", "b"),
                ResourceKey(ROUTES, "GRPCRoute", "edge", "c"),
            },
            id="many-routes",
        ),
        pytest.param(
            plugin(httpRoute=7, httpRoutes="web", other="x"),
            {ResourceKey(ROUTES, "HTTPRoute", "shop", "web")},
            id="odd-values",
        ),
        pytest.param(canary(canaryService=7, trafficRouting=[]), set(), id="wrong-types"),
    ],
)
def test_what_a_rollout_names_is_its_own(found: Object, keys: set[ResourceKey]) -> None:
    assert claimed([found]) == keys


def test_a_rollout_without_a_namespace_is_in_the_destinations() -> None:
    found = canary(canaryService="canary")
    del found["metadata"]["namespace"]
    assert claimed([found], namespace="there") == {ResourceKey("", "Service", "there", "canary")}


def test_only_rollouts_of_our_group_are_rollouts() -> None:
    assert is_rollout(rollout({}))
    assert not is_rollout({**rollout({}), "apiVersion": "example.com/v1"})
    assert not is_rollout({**rollout({}), "kind": "Deployment"})
