"""Every message by which a Rollout is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairlead.core.kinds import Service, ServiceSpec
from fairlead.core.objects import ObjectMeta
from fairlead.core.plans import Plan
from fairlead.rollouts._validation import (
    MANAGED_BY,
    PlannedAnalysis,
    invalid_spec_message,
    is_downward_path,
    router_problem,
    spec_problems,
    validate,
    validate_references,
)
from fairlead.rollouts.spec import RolloutSpec, parse

POD: dict[str, Any] = {"containers": [{"name": "web", "image": "web:1"}]}
GOOD: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD},
    "strategy": {"canary": {}},
}
PLUGINS: dict[str, Any] = {"plugins": {"org/router": {}}}


def errors(fields: dict[str, Any], *, name: str = "web") -> list[str]:
    spec = parse(json.dumps(GOOD | fields).encode())
    return [str(error) for error in spec_problems(spec, name=name)]


def canary_errors(**fields: Any) -> list[str]:
    return errors({"strategy": {"canary": fields}})


def step_errors(step: dict[str, Any], routing: dict[str, Any] | None = None) -> list[str]:
    return canary_errors(steps=[step], trafficRouting=routing)


def pod_errors(**fields: Any) -> list[str]:
    return errors({"template": {"metadata": {"labels": {"app": "web"}}, "spec": POD | fields}})


def container_errors(**fields: Any) -> list[str]:
    return pod_errors(containers=[{"name": "web", "image": "web:1", **fields}])


def test_a_good_spec_has_no_errors() -> None:
    assert errors({}) == []
    assert canary_errors(steps=[{"setWeight": 20}, {"pause": {}}], stableService="a", canaryService="b") == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param(
            {"replicas": -1},
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            id="replicas",
        ),
        pytest.param(
            {"selector": None},
            "spec.selector: Required value: Rollout has missing field '.spec.selector'",
            id="selector-missing",
        ),
        pytest.param(
            {"selector": {}},
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            id="selector-empty",
        ),
        pytest.param(
            {"selector": {"matchLabels": {"app": "shop"}}},
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
            id="selector-does-not-match",
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}},
            'spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator',
            id="selector-operator",
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or"
            " 'NotIn'",
            id="selector-without-values",
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]}},
            "spec.selector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or"
            " 'DoesNotExist'",
            id="selector-with-values",
        ),
        pytest.param(
            {"selector": {"matchLabels": {"app": "a\nb"}}},
            'spec.selector.matchLabels: Invalid value: "a\\nb": a valid label must be an empty string or consist of'
            " alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            id="selector-value-with-newline",
        ),
        pytest.param(
            {"selector": {"matchLabels": {"app": "a" * 64}}},
            f'spec.selector.matchLabels: Invalid value: "{"a" * 64}": must be no more than 63 bytes',
            id="selector-value-too-long",
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "/x", "operator": "Exists"}]}},
            'spec.selector.matchExpressions[0].key: Invalid value: "/x": prefix part must be non-empty',
            id="selector-key",
        ),
        pytest.param(
            {"minReadySeconds": -1},
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            id="min-ready",
        ),
        pytest.param(
            {"revisionHistoryLimit": -1},
            "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
            id="history-limit",
        ),
        pytest.param(
            {"progressDeadlineSeconds": -1},
            "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            id="deadline-negative",
        ),
        pytest.param(
            {"progressDeadlineSeconds": 10, "minReadySeconds": 10},
            "spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds",
            id="deadline-not-above-min-ready",
        ),
        pytest.param(
            {"minReadySeconds": 600},
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            id="default-deadline-not-above-min-ready",
        ),
        pytest.param(
            {"strategy": {}},
            "spec.strategy.strategy: Required value: Rollout has missing field '.spec.strategy.canary or"
            " .spec.strategy.blueGreen'",
            id="no-strategy",
        ),
        pytest.param(
            {"strategy": {"canary": {}, "blueGreen": {"activeService": "a"}}},
            'spec.strategy.strategy: Invalid value: "blueGreen: true canary: true": Multiple Strategies can not be'
            " listed",
            id="two-strategies",
        ),
        pytest.param(
            {"workloadRef": {"kind": "Deployment", "name": "web"}},
            "spec.template: Internal error: template must be empty for workload reference rollout",
            id="workload-and-template",
        ),
    ],
)
def test_top_level(fields: dict[str, Any], error: str) -> None:
    assert errors(fields)[0] == error


def test_a_workload_reference_needs_neither_selector_nor_template() -> None:
    assert errors({"workloadRef": {"kind": "Deployment", "name": "web"}, "selector": None, "template": None}) == []


def test_a_selector_that_cannot_be_used_is_reported_twice_as_argo_does() -> None:
    found = errors({"selector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}})
    assert found[1].startswith("spec.selector: Invalid value: ") and found[1].endswith(": invalid label selector")


def test_a_name_whose_replica_sets_cannot_be_named_is_refused() -> None:
    assert errors({}, name="a" * 242) == []
    (error,) = errors({}, name="a" * 253)
    assert error.startswith('metadata.name: Invalid value: "aaa')
    assert error.endswith("may not be more than 242 characters, as its ReplicaSets are named name-hash")


SAME_SERVICES = "but two different services are required."


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param(
            {"activeService": "a", "previewService": "a"},
            'spec.strategy.activeService: Invalid value: "a": This rollout uses the same service for the active and'
            f" preview services, {SAME_SERVICES}",
            id="same-service",
        ),
        pytest.param(
            {"activeService": ""},
            'spec.strategy.activeService: Invalid value: "": This rollout uses the same service for the active and'
            f" preview services, {SAME_SERVICES}",
            id="two-empty-ones-are-equal",
        ),
        pytest.param(
            {"activeService": "a", "scaleDownDelayRevisionLimit": 11},
            "spec.strategy.scaleDownDelayRevisionLimit: Invalid value: 11: This rollout's revision history limit can"
            " not be smaller than the rollout's scale down limit",
            id="scale-down-limit",
        ),
        pytest.param(
            {"activeService": "a", "antiAffinity": {}},
            "spec.strategy.antiAffinity: Invalid value: {}: AntiAffinity must have exactly one strategy listed",
            id="anti-affinity-none",
        ),
        pytest.param(
            {"activeService": "a", "previewReplicaCount": -1},
            "spec.strategy.previewReplicaCount: Invalid value: -1: must be greater than or equal to 0",
            id="preview-of-less-than-nothing",
        ),
    ],
)
def test_blue_green(fields: dict[str, Any], error: str) -> None:
    assert errors({"strategy": {"blueGreen": fields}}) == [error]


def test_a_good_blue_green_spec_is_valid() -> None:
    assert errors({"strategy": {"blueGreen": {"activeService": "a", "scaleDownDelayRevisionLimit": 10}}}) == []


PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NEEDS_SERVICES = "Canary service and Stable service must to be set to use Traffic Routing"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"maxSurge": 0, "maxUnavailable": "0%"},
            ["spec.strategy.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable both can not be zero"],
            id="surge-and-unavailable-zero",
        ),
        pytest.param(
            {"maxSurge": "none", "maxUnavailable": 0},
            ['spec.strategy.maxSurge: Invalid value: "none": MaxSurge and MaxUnavailable both can not be zero'],
            id="unreadable-surge-is-zero",
        ),
        pytest.param(
            {"maxSurge": -1},
            ["spec.strategy.maxSurge: Invalid value: -1: must be greater than or equal to 0"],
            id="surge-negative",
        ),
        pytest.param(
            {"maxUnavailable": "-5%"},
            ['spec.strategy.maxUnavailable: Invalid value: "-5%": must be greater than or equal to 0'],
            id="unavailable-negative",
        ),
        pytest.param(
            {"canaryService": "a", "stableService": "a"},
            [
                'spec.strategy.stableService: Invalid value: "a": This rollout uses the same service for the stable and'
                f" canary services, {SAME_SERVICES}"
            ],
            id="same-service",
        ),
        pytest.param(
            {"trafficRouting": {"smi": {}}},
            [
                f'spec.strategy.stableService: Invalid value: "": {NEEDS_SERVICES}',
                f'spec.strategy.canaryService: Invalid value: "": {NEEDS_SERVICES}',
            ],
            id="services-missing",
        ),
        pytest.param(
            {"scaleDownDelaySeconds": 0},
            [
                "spec.strategy.scaleDownDelaySeconds: Invalid value: 0: Canary scaleDownDelaySeconds can only be used"
                " with traffic routing"
            ],
            id="scale-down-delay-without-router",
        ),
        pytest.param(
            {"dynamicStableScale": True},
            [
                "spec.strategy.dynamicStableScale: Invalid value: true: Canary dynamicStableScale can only be used with"
                " traffic routing"
            ],
            id="dynamic-stable-scale-without-router",
        ),
        pytest.param(
            {"dynamicStableScale": True, "scaleDownDelaySeconds": 1, "trafficRouting": PLUGINS},
            [
                "spec.strategy.dynamicStableScale: Invalid value: true: Canary dynamicStableScale cannot be used with"
                " scaleDownDelaySeconds"
            ],
            id="dynamic-stable-scale-with-delay",
        ),
        pytest.param(
            {"trafficRouting": {"istio": {}, "maxTrafficWeight": 50}, "stableService": "s", "canaryService": "c"},
            [
                "spec.strategy.trafficRouting.maxTrafficWeight: Invalid value: 50: Canary maxTrafficWeight in traffic"
                " routing only supported in Nginx and Plugins"
            ],
            id="max-traffic-weight",
        ),
        pytest.param(
            {"trafficRouting": PLUGINS | {"maxTrafficWeight": 0}},
            ["spec.strategy.trafficRouting.maxTrafficWeight: Invalid value: 0: must be greater than 0"],
            id="max-traffic-weight-zero",
        ),
        pytest.param(
            {
                "pingPong": {"pingService": "", "pongService": ""},
                "trafficRouting": {"traefik": {"weightedTraefikServiceName": "t"}},
                "stableService": "s",
                "canaryService": "c",
            },
            [
                "spec.strategy.trafficRouting.alb: Invalid value: null: Ping-pong feature works with the ALB, Istio,"
                " and plugin-based traffic routers only",
                'spec.strategy.pingPong.pingService: Invalid value: "": Ping service and Pong service must to be set to'
                " use Ping-Pong feature",
                'spec.strategy.pingPong.pongService: Invalid value: "": Ping service and Pong service must to be set to'
                " use Ping-Pong feature",
                'spec.strategy.pingPong.pingService: Invalid value: "": This rollout uses the same service for the ping'
                f" and pong services, {SAME_SERVICES}",
            ],
            id="ping-pong",
        ),
        pytest.param(
            {
                "pingPong": {"pingService": "a", "pongService": "b"},
                "trafficRouting": {"alb": {"servicePort": 80, "ingress": "i"}},
            },
            [
                'spec.strategy.trafficRouting.alb.rootService: Invalid value: "": Root service field is required for'
                " the configuration with ALB and ping-pong feature enabled"
            ],
            id="ping-pong-needs-a-root-service",
        ),
        pytest.param(
            {"antiAffinity": {PREFERRED: {"weight": 5}, REQUIRED: {}}},
            [
                "spec.strategy.antiAffinity: Invalid value:"
                f' {{"{PREFERRED}":{{"weight":5}},"{REQUIRED}":{{}}}}: AntiAffinity must have exactly one strategy'
                " listed"
            ],
            id="anti-affinity-both",
        ),
        pytest.param(
            {"antiAffinity": {PREFERRED: {"weight": 101}}},
            ["spec.strategy.antiAffinity.weight: Invalid value: 101: AntiAffinity weight must be between 1-100"],
            id="anti-affinity-weight",
        ),
    ],
)
def test_canary(fields: dict[str, Any], expected: list[str]) -> None:
    assert canary_errors(**fields) == expected


@pytest.mark.parametrize(
    ("routing", "is_needed"),
    [
        pytest.param({"alb": {"servicePort": 80}}, True, id="alb"),
        pytest.param({"istio": {}}, True, id="istio-without-destination-rule"),
        pytest.param(
            {"istio": {"destinationRule": {"name": "d", "canarySubsetName": "c", "stableSubsetName": "s"}}},
            False,
            id="istio-with-destination-rule",
        ),
        pytest.param({"smi": {}}, True, id="smi"),
        pytest.param({"apisix": {}}, True, id="apisix"),
        pytest.param({"ambassador": {"mappings": ["m"]}}, True, id="ambassador"),
        pytest.param({"nginx": {}}, True, id="nginx"),
        pytest.param({"appMesh": {}}, True, id="app-mesh"),
        pytest.param({"traefik": {"weightedTraefikServiceName": "t"}}, True, id="traefik"),
        pytest.param(PLUGINS, False, id="plugins"),
        pytest.param({}, False, id="none"),
    ],
)
def test_which_routers_need_both_services(routing: dict[str, Any], is_needed: bool) -> None:
    assert (canary_errors(trafficRouting=routing) != []) is is_needed
    assert canary_errors(trafficRouting=routing, stableService="s", canaryService="c") == []


def test_a_pair_of_services_stands_in_for_both() -> None:
    pair = {"pingService": "a", "pongService": "b"}
    assert canary_errors(trafficRouting={"alb": {"servicePort": 80, "rootService": "r"}}, pingPong=pair) == []
    assert canary_errors(trafficRouting={"istio": {}}, pingPong=pair) == []


STEP = "spec.strategy.steps[0]"
ONE_OF = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
ISTIO = {"istio": {"destinationRule": {"name": "d", "canarySubsetName": "c", "stableSubsetName": "s"}}}
MANAGED = {"managedRoutes": [{"name": "r"}]}
TEMPLATE = {"name": "a", "specRef": "canary", "weight": 5}
BY_DOWNWARD_API = "Analyses arguments must refer to valid object metadata supported by downwardAPI"


def argument(field_path: str) -> dict[str, Any]:
    return {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": field_path}}}


@pytest.mark.parametrize(
    ("step", "routing", "expected"),
    [
        pytest.param({}, None, [f"{STEP}: Invalid value: {{}}: {ONE_OF}"], id="empty"),
        pytest.param({"setWeight": None}, None, [f"{STEP}: Invalid value: {{}}: {ONE_OF}"], id="null"),
        pytest.param(
            {"setWeight": 5, "pause": {}},
            None,
            [f'{STEP}: Invalid value: {{"setWeight":5,"pause":{{}}}}: {ONE_OF}'],
            id="two-at-once",
        ),
        pytest.param({"setWeight": 5, "setCanaryScale": {"weight": 5}}, PLUGINS, [], id="weight-and-scale-are-allowed"),
        pytest.param({"plugin": {"name": "x"}}, None, [], id="plugin"),
        pytest.param(
            {"setWeight": -1},
            None,
            [f"{STEP}.setWeight: Invalid value: -1: SetWeight needs to be between 0 and 100"],
            id="weight-below",
        ),
        pytest.param(
            {"setWeight": 101},
            None,
            [f"{STEP}.setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100"],
            id="weight-above",
        ),
        pytest.param(
            {"setWeight": 1_000_000_000},
            None,
            [f"{STEP}.setWeight: Invalid value: 1000000000: SetWeight needs to be between 0 and 100"],
            id="weight-far-above",
        ),
        pytest.param({"setWeight": 150}, PLUGINS | {"maxTrafficWeight": 200}, [], id="weight-within-another-total"),
        pytest.param(
            {"setWeight": 201},
            PLUGINS | {"maxTrafficWeight": 200},
            [f"{STEP}.setWeight: Invalid value: 201: SetWeight needs to be between 0 and 200"],
            id="weight-above-another-total",
        ),
        pytest.param({"pause": {"duration": "10"}}, None, [], id="pause-in-seconds"),
        pytest.param({"pause": {"duration": 0}}, None, [], id="pause-of-zero"),
        *(
            pytest.param(
                {"pause": {"duration": text}},
                None,
                [f'{STEP}.pause.duration: Invalid value: "{text}": Duration needs to be greater than 0'],
                id=f"pause-{text}",
            )
            for text in ("-5s", "1y", "5m5", "9223372036854775808ns")
        ),
        pytest.param(
            {"setCanaryScale": {"replicas": 1}},
            None,
            ["spec.strategy.trafficRouting: Required value: SetCanaryScale requires TrafficRouting to be set"],
            id="scale-without-router",
        ),
        pytest.param(
            {"setCanaryScale": {"replicas": -1}},
            PLUGINS,
            [f"{STEP}.setCanaryScale.replicas: Invalid value: -1: must be greater than or equal to 0"],
            id="scale-negative",
        ),
        pytest.param(
            {"setHeaderRoute": {"name": "r"}},
            None,
            [
                f'{STEP}.setHeaderRoute: Invalid value: {{"name":"r"}}: SetHeaderRoute requires TrafficRouting,'
                " supports Istio and ALB and Apisix"
            ],
            id="header-route-without-router",
        ),
        pytest.param(
            {"setHeaderRoute": {"name": "r"}},
            {"nginx": {}} | MANAGED,
            [
                f'{STEP}.setHeaderRoute: Invalid value: {{"name":"r"}}: SetHeaderRoute requires TrafficRouting,'
                " supports Istio and ALB and Apisix"
            ],
            id="header-route-with-another-router",
        ),
        pytest.param(
            {
                "setHeaderRoute": {
                    "name": "r",
                    "match": [
                        {"headerName": "a", "headerValue": {"exact": "x", "prefix": "y"}},
                        {"headerName": "a", "headerValue": {}},
                        {"headerName": "a", "headerValue": {"regex": "x"}},
                    ],
                }
            },
            ISTIO | MANAGED,
            [
                f'{STEP}.setHeaderRoute.match[0]: Invalid value: {{"exact":"x","prefix":"y"}}: StringMatch match value'
                " must have exactly one of the following: exact, regex, prefix",
                f"{STEP}.setHeaderRoute.match[1]: Invalid value: {{}}: StringMatch value missed, match value must have"
                " one of the following: exact, regex, prefix",
            ],
            id="header-values",
        ),
        pytest.param(
            {"setHeaderRoute": {"name": "r", "match": [{"headerName": "a", "headerValue": {"prefix": "x"}}]}},
            {"alb": {"servicePort": 80}} | MANAGED,
            [
                f'{STEP}.setHeaderRoute.match[0]: Invalid value: {{"prefix":"x"}}: SetHeaderRoute match value invalid.'
                " ALB supports 'exact' value only"
            ],
            id="header-value-for-alb",
        ),
        pytest.param(
            {"setMirrorRoute": {"name": "r"}},
            {"alb": {"servicePort": 80}} | MANAGED,
            [
                f'{STEP}.setMirrorRoute: Invalid value: {{"name":"r"}}: SetMirrorRoute requires TrafficRouting,'
                " supports Istio and Plugins"
            ],
            id="mirror-route-with-another-router",
        ),
        pytest.param(
            {"setMirrorRoute": {"name": "r", "match": [{"method": {}, "path": {"exact": "a", "regex": "b"}}]}},
            PLUGINS | MANAGED,
            [
                f"{STEP}.setMirrorRoute.match[0]: Invalid value: {{}}: StringMatch value missed, match value must have"
                " one of the following: exact, regex, prefix",
                f'{STEP}.setMirrorRoute.match[0]: Invalid value: {{"exact":"a","regex":"b"}}: StringMatch match value'
                " must have exactly one of the following: exact, regex, prefix",
            ],
            id="mirror-values",
        ),
        pytest.param(
            {"setHeaderRoute": {"name": "r"}},
            ISTIO,
            [
                "spec.strategy.trafficRouting.managedRoutes: Required value: Rollout has missing field"
                " 'spec.strategy.canary.trafficRouting.managedRoutes'"
            ],
            id="managed-routes-missing",
        ),
        pytest.param(
            {"setHeaderRoute": {"name": "x"}},
            ISTIO | MANAGED,
            [
                f'{STEP}.setHeaderRoute: Invalid value: "x": Steps define a route that does not exist in'
                " spec.strategy.canary.trafficRouting.managedRoutes"
            ],
            id="header-route-not-managed",
        ),
        pytest.param(
            {"setMirrorRoute": {"name": "x"}},
            ISTIO | MANAGED,
            [
                f'{STEP}.setMirrorRoute: Invalid value: "x": Steps define a route that does not exist in'
                " spec.strategy.canary.trafficRouting.managedRoutes"
            ],
            id="mirror-route-not-managed",
        ),
        pytest.param(
            {"experiment": {"templates": [TEMPLATE]}},
            None,
            [
                f"{STEP}.experiment.templates[0].weight: Invalid value: 5: Experiment template weight cannot be set"
                " unless TrafficRouting is enabled"
            ],
            id="experiment-weight-without-router",
        ),
        pytest.param(
            {"experiment": {"templates": [TEMPLATE]}},
            {"apisix": {}},
            [
                f"{STEP}.experiment.templates[0].weight: Invalid value: 5: Experiment template weight is only available"
                " for TrafficRouting with SMI, ALB, Istio and Plugins at this time"
            ],
            id="experiment-weight-with-another-router",
        ),
        pytest.param({"experiment": {"templates": [TEMPLATE]}}, PLUGINS, [], id="experiment-weight"),
        pytest.param(
            {"analysis": {"templates": [{"templateName": "t"}], "args": [argument("metadata.generation")]}},
            None,
            [
                f'{STEP}.analyses: Invalid value: [{{"name":"a","valueFrom":{{"fieldRef":{{"fieldPath":'
                f'"metadata.generation"}}}}}}]: {BY_DOWNWARD_API}'
            ],
            id="argument-beyond-the-downward-api",
        ),
        pytest.param(
            {
                "analysis": {
                    "templates": [{"templateName": "t"}],
                    "args": [argument("metadata.labels['region']"), argument("status.stableRS")],
                }
            },
            None,
            [],
            id="good-arguments",
        ),
        pytest.param(
            {
                "experiment": {
                    "templates": [],
                    "analyses": [{"name": "a", "templateName": "t", "args": [argument("metadata.x")]}],
                }
            },
            None,
            [
                f'{STEP}.analyses: Invalid value: [{{"name":"a","valueFrom":{{"fieldRef":{{"fieldPath":"metadata.x"}}}}'
                f"}}]: {BY_DOWNWARD_API}"
            ],
            id="argument-of-an-experiment",
        ),
        pytest.param(
            {"analysis": {}},
            None,
            [f"{STEP}.analysis.templates: Required value: an analysis step needs a template, or it never completes"],
            id="analysis-without-template",
        ),
    ],
)
def test_steps(step: dict[str, Any], routing: dict[str, Any] | None, expected: list[str]) -> None:
    services = {"stableService": "s", "canaryService": "c"} if routing else {}
    assert canary_errors(steps=[step], trafficRouting=routing, **services) == expected


def test_weights_may_fall_and_repeat_and_steps_may_be_many() -> None:
    assert canary_errors(steps=[{"setWeight": weight} for weight in (50, 20, 20, 0)]) == []
    assert canary_errors(steps=[{"setWeight": 1}] * 10_000) == []


def test_errors_keep_the_order_of_the_steps() -> None:
    found = canary_errors(steps=[{"setWeight": 1}, {"setWeight": 120}, {}])
    assert [error.split(":")[0] for error in found] == ["spec.strategy.steps[1].setWeight", "spec.strategy.steps[2]"]


@pytest.mark.parametrize(
    ("path", "is_valid"),
    [
        ("metadata.name", True),
        ("metadata.namespace", True),
        ("metadata.uid", True),
        ("metadata.labels", True),
        ("metadata.labels['example.com/region']", True),
        ("metadata.annotations['Some_Key']", True),
        ("metadata.labels['']", False),
        ("metadata.labels['a b']", False),
        ("metadata.labels[region]", False),
        ("metadata.labels['-x']", False),
        ("metadata.generation", False),
        ("metadata", False),
        ("metadata.name.x", False),
    ],
)
def test_paths_of_the_downward_api(path: str, is_valid: bool) -> None:
    assert is_downward_path(path) is is_valid


POD_PATH = "spec.template.spec"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"containers": []}, [f"{POD_PATH}.containers: Required value"], id="no-containers"),
        pytest.param(
            {"containers": [{"image": "a"}]}, [f"{POD_PATH}.containers[0].name: Required value"], id="no-name"
        ),
        pytest.param(
            {"containers": [{"name": "a"}]}, [f"{POD_PATH}.containers[0].image: Required value"], id="no-image"
        ),
        pytest.param(
            {"containers": [{"name": "a", "image": " a"}]},
            [f'{POD_PATH}.containers[0].image: Invalid value: " a": must not have leading or trailing whitespace'],
            id="image-with-space",
        ),
        pytest.param(
            {"containers": [{"name": "a", "image": "a"}], "initContainers": [{"name": "a", "image": "a"}]},
            [f'{POD_PATH}.containers[0].name: Duplicate value: "a"'],
            id="name-twice",
        ),
        pytest.param(
            {"containers": [{"name": "A_b", "image": "a"}]},
            [
                f'{POD_PATH}.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower'
                " case alphanumeric characters or '-', and must start and end with an alphanumeric character"
            ],
            id="name",
        ),
        pytest.param(
            {"volumes": [{"name": "v"}, {"name": "v"}]},
            [f'{POD_PATH}.volumes[1].name: Duplicate value: "v"'],
            id="volume-twice",
        ),
        pytest.param(
            {"restartPolicy": "Never"},
            [f'{POD_PATH}.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
            id="restart-policy",
        ),
        pytest.param(
            {"activeDeadlineSeconds": 5},
            [f"{POD_PATH}.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"],
            id="active-deadline",
        ),
        pytest.param(
            {"terminationGracePeriodSeconds": -1},
            [f"{POD_PATH}.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
            id="grace-period",
        ),
    ],
)
def test_pods(fields: dict[str, Any], expected: list[str]) -> None:
    assert pod_errors(**fields) == expected


CONTAINER = f"{POD_PATH}.containers[0]"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"ports": [{}]}, [f"{CONTAINER}.ports[0].containerPort: Required value"], id="no-port"),
        pytest.param(
            {"ports": [{"containerPort": 70_000, "hostPort": -1}]},
            [
                f"{CONTAINER}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                f"{CONTAINER}.ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive",
            ],
            id="port-range",
        ),
        pytest.param(
            {"ports": [{"containerPort": 80, "protocol": "tcp"}]},
            [f'{CONTAINER}.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'],
            id="protocol",
        ),
        pytest.param(
            {"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]},
            [f'{CONTAINER}.ports[1].name: Duplicate value: "a"'],
            id="port-name-twice",
        ),
        pytest.param(
            {"ports": [{"containerPort": 80, "name": "a" * 16}]},
            [f'{CONTAINER}.ports[0].name: Invalid value: "{"a" * 16}": must be no more than 15 characters'],
            id="port-name-too-long",
        ),
        pytest.param({"env": [{"value": "x"}]}, [f"{CONTAINER}.env[0].name: Required value"], id="env-without-name"),
        pytest.param(
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            [f'{CONTAINER}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
            id="env-with-two-values",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {}]},
            [
                f'{CONTAINER}.volumeMounts[0].name: Not found: "v"',
                f"{CONTAINER}.volumeMounts[1].name: Required value",
                f"{CONTAINER}.volumeMounts[1].mountPath: Required value",
            ],
            id="mounts",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "500m", "memory": "-1"}}},
            [
                f"{CONTAINER}.resources.limits[memory]: Invalid value: -1: must be greater than or equal to 0",
                f"{CONTAINER}.resources.requests: Invalid value: 2: must be less than or equal to cpu limit of 0.5",
            ],
            id="resources",
        ),
        pytest.param({"securityContext": {"privileged": True}}, [], id="privileged-is-for-the-api-server-to-judge"),
        pytest.param({"resources": {"limits": {"memory": "invalid"}}}, [], id="undecodable-values-are-gone"),
    ],
)
def test_containers(fields: dict[str, Any], expected: list[str]) -> None:
    assert container_errors(**fields) == expected


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ({"app": "web", "a b": "x"}, 'Invalid value: "a b": name part must consist of alphanumeric characters'),
        ({"app": "web", "x": "y" * 64}, f'Invalid value: "{"y" * 64}": must be no more than 63 bytes'),
        ({"app": "web", "x": "a\x00b"}, 'Invalid value: "a\\u0000b": a valid label must be'),
        ({"app": "web", "x": "日本"}, 'Invalid value: "日本": a valid label must be'),
        ({"app": "web", "EXAMPLE.com/x": "1"}, 'Invalid value: "EXAMPLE.com/x": prefix part a lowercase RFC 1123'),
        ({"app": "web", "": "1"}, 'Invalid value: "": name part must be non-empty'),
        ({"app": "web", "k" * 64: "1"}, f'Invalid value: "{"k" * 64}": name part must be no more than 63 bytes'),
    ],
)
def test_labels_of_pods(labels: dict[str, str], error: str) -> None:
    (found,) = errors({"template": {"metadata": {"labels": labels}, "spec": POD}})
    assert found.startswith(f"spec.template.metadata.labels: {error}")


def test_annotations_of_pods() -> None:
    metadata = {"labels": {"app": "web"}, "annotations": {"Upper/Case": "fine", "a b": "x"}}
    (found,) = errors({"template": {"metadata": metadata, "spec": POD}})
    assert found.startswith('spec.template.metadata.annotations: Invalid value: "a b": name part must consist')


def test_long_values_are_cut_in_messages() -> None:
    (error,) = canary_errors(steps=[{"setWeight": 1, "analysis": {"args": [{"name": "n" * 5000}]}}], maxSurge=1)[:1]
    assert len(error) < 800 and "…: Step must have" in error


# --- references -----------------------------------------------------------------------------------------------------


def spec_with(**canary: Any) -> RolloutSpec:
    return parse(json.dumps(GOOD | {"strategy": {"canary": canary}}).encode())


def service(name: str, *, selector: dict[str, str] | None = None, managed_by: str = "") -> Service:
    annotations = {MANAGED_BY: managed_by} if managed_by else {}
    return Service(metadata=ObjectMeta(name=name, annotations=annotations), spec=ServiceSpec(selector=selector or {}))


ROUTED = spec_with(stableService="s", canaryService="c")
AT = "spec.strategy.canary"


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        pytest.param([service("s"), service("c")], [], id="good"),
        pytest.param(
            [
                service("s", selector={"app": "web", "rollouts-pod-template-hash": "abc"}, managed_by="web"),
                service("c"),
            ],
            [],
            id="already-managed",
        ),
        pytest.param(
            [service("c")],
            [f'{AT}.stableService: Invalid value: "s": services "s" not found'],
            id="missing",
        ),
        pytest.param(
            [service("s", selector={"tier": "x"}), service("c", selector={"app": "shop"})],
            [
                f'{AT}.stableService: Invalid value: "s": Service "s" has unmatch label "tier" in rollout',
                f'{AT}.canaryService: Invalid value: "c": Service "c" has unmatch label "app" in rollout',
            ],
            id="selector",
        ),
        pytest.param(
            [service("s", managed_by="shop"), service("c")],
            [f'{AT}.stableService: Invalid value: "s": Service "s" is managed by another Rollout'],
            id="of-another-rollout",
        ),
    ],
)
def test_services(services: list[Service], expected: list[str]) -> None:
    found = validate_references(ROUTED, name="web", services={one.metadata.name: one for one in services})
    assert [str(error) for error in found] == expected


def test_the_first_problem_is_a_service_then_an_analysis_then_a_router() -> None:
    spec = spec_with(stableService="s", steps=[{"analysis": {"templates": [{"templateName": "t"}]}}])
    plan = Plan(error="AnalysisTemplate 't' not found", field="templates", value="t")
    found = validate_references(
        spec,
        name="web",
        services={},
        analyses=[PlannedAnalysis(use, plan) for use in spec.analyses],
        routers=[router_problem("org/router", ("httpRoute", "not found")), router_problem("org/router", ("", "empty"))],
    )
    assert [str(error) for error in found] == [
        f'{AT}.stableService: Invalid value: "s": services "s" not found',
        f"{AT}.steps[0].analysis.templates: Invalid value: \"t\": AnalysisTemplate 't' not found",
        f"{AT}.trafficRouting.plugins[org/router].httpRoute: not found",
        f"{AT}.trafficRouting.plugins[org/router]: empty",
    ]


def test_a_good_plan_is_no_problem() -> None:
    spec = spec_with(analysis={"templates": [{"templateName": "t"}]})
    planned = [PlannedAnalysis(use, Plan(spec={"metrics": []})) for use in spec.analyses]
    assert validate_references(spec, name="web", services={}, analyses=planned) == []


def test_what_is_not_supported_yet_is_refused_after_what_is_wrong() -> None:
    spec = spec_with(steps=[{"plugin": {"name": "a/b"}}, {"setWeight": 120}])
    assert [str(error) for error in validate(spec)] == [
        "spec.strategy.steps[1].setWeight: Invalid value: 120: SetWeight needs to be between 0 and 100",
        "spec.strategy.canary.steps[0].plugin: Forbidden: plugin steps are not supported yet",
    ]


def test_the_message_of_the_condition() -> None:
    (error,) = validate(spec_with(steps=[{"setWeight": 120}]))
    assert invalid_spec_message("web", error) == (
        'The Rollout "web" is invalid: spec.strategy.steps[0].setWeight: Invalid value: 120: SetWeight needs to be'
        " between 0 and 100"
    )
