"""What a user of the simulated world applies: a Rollout `shop/web`, its Services, a waypoint, a route, a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from fairlead.core.kinds import HTTP_ROUTES
from fairlead.core.objects import ObjectKey

NAMESPACE = "shop"
NAME = "web"
WEB = ObjectKey(NAMESPACE, NAME)
STABLE = ObjectKey(NAMESPACE, "web-stable")
CANARY = ObjectKey(NAMESPACE, "web-canary")
TEMPLATE = "error-rate"
HASH_LABEL = "rollouts-pod-template-hash"
KNOBS = "testing.fairlead.dev/"
IN_PROGRESS = "rollouts.argoproj.io/gatewayapi-canary"

Doc = dict[str, Any]
Steps = Sequence[Mapping[str, Any]]


class Routing(StrEnum):
    """How traffic is split."""

    BASIC = "basic"  # by numbers of pods
    WAYPOINT = "waypoint"  # a route of our own
    GATEWAY = "gateway"  # a route of the user's, by upstream's block

    @property
    def is_routed(self) -> bool:
        return self is not Routing.BASIC


def pairs(*weights: int, seconds: int = 2) -> list[Doc]:
    """Return a `setWeight` and a timed pause for each weight."""
    return [step for weight in weights for step in ({"setWeight": weight}, {"pause": {"duration": f"{seconds}s"}})]


def analysis(**stanza: Any) -> Doc:
    """Return an analysis stanza on the template `error-rate`."""
    return {"templates": [{"templateName": TEMPLATE}], **stanza}


def pod_template(version: int | str, **knobs: str) -> Doc:
    """Return the pod template of a version; `knobs` steer its pods (`never_ready="true"`)."""
    metadata: Doc = {"labels": {"app": NAME}}
    if knobs:
        metadata["annotations"] = {KNOBS + name.replace("_", "-"): value for name, value in knobs.items()}
    container = {"name": NAME, "image": f"web:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": metadata, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}


def rollout(
    steps: Steps,
    *,
    routing: Routing = Routing.BASIC,
    version: int | str = 1,
    replicas: int = 2,
    canary: Mapping[str, Any] | None = None,
    knobs: Mapping[str, str] | None = None,
    **fields: Any,
) -> Doc:
    """Return the Rollout; `canary` are further fields of the strategy, `fields` of the spec."""
    strategy: Doc = {"steps": list(steps)} if steps else {}
    if routing.is_routed:
        block = {"fairlead/waypoint": {"service": NAME}}
        if routing is Routing.GATEWAY:
            block = {"argoproj-labs/gatewayAPI": {"httpRoute": NAME, "namespace": NAMESPACE}}
        strategy |= {
            "stableService": STABLE.name,
            "canaryService": CANARY.name,
            "trafficRouting": {"plugins": block},
        }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": NAME}},
            "template": pod_template(version, **(knobs or {})),
            "strategy": {"canary": strategy | dict(canary or {})},
            **fields,
        },
    }


def service(key: ObjectKey) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": {"selector": {"app": NAME}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def _backend(name: str, weight: int) -> Doc:
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight}


def route(stable: int = 100, canary: int = 0) -> Doc:
    """Return the user's route: our split, and things that are none of our business."""
    split = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x", "value": "y"}]}}],
        "backendRefs": [_backend(STABLE.name, stable), _backend(CANARY.name, canary)],
        "timeouts": {"request": "10s"},
    }
    foreign = {
        "matches": [{"path": {"type": "Exact", "value": "/metrics"}}],
        "backendRefs": [_backend(NAME, 7)],
    }
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": NAME, "port": 80}],
            "rules": [foreign, split],
        },
    }


def mesh() -> list[Doc]:
    """Return the namespace and its waypoint."""
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio.io/use-waypoint": "waypoint"}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [listener]},
        },
    ]


def analysis_template(**metric: Any) -> Doc:
    """Return the template `error-rate`: one metric, asked of the provider in memory."""
    content = {
        "name": TEMPLATE,
        "interval": "1s",
        "count": 3,
        "successCondition": "result < 0.1",
        "provider": {"plugin": {"memory": {}}},
        **metric,
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": TEMPLATE, "namespace": NAMESPACE},
        "spec": {"metrics": [{key: value for key, value in content.items() if value is not None}]},
    }


def surroundings(routing: Routing) -> list[Doc]:
    """Return everything but the Rollout."""
    if not routing.is_routed:
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, analysis_template()]
    routes = [route()] if routing is Routing.GATEWAY else []
    return [*mesh(), service(WEB), service(STABLE), service(CANARY), *routes, analysis_template()]
