"""A merge of three sides: what goes, what stays, what wins; lists by key, by value, or as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._strategic import merge, same
from fairlead.agentsync._types import UNKNOWN, Shape, shape_of
from fairlead.agentsync.diff import DEFAULT
from tests.agentsync.builders_diff import container, custom, deployment, pod_spec, service

PODS = shape_of(deployment()).of("spec").of("template").of("spec")
CONTAINER = PODS.of("containers").item
SERVICE = shape_of(service()).of("spec")
ENV = CONTAINER.of("env")


def env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    ("original", "target", "live", "shape", "merged"),
    [
        pytest.param({}, {"a": 2}, {"a": 1, "b": 1}, UNKNOWN, {"a": 2, "b": 1}, id="live-only-stays"),
        pytest.param({"b": 1}, {"a": 2}, {"a": 1, "b": 1}, UNKNOWN, {"a": 2}, id="left-the-target"),
        pytest.param({"b": 1}, {}, {"a": 1}, UNKNOWN, {"a": 1}, id="left-the-target-and-is-gone"),
        pytest.param({"b": {"c": 1}}, {"b": {}}, {"b": {"c": 1, "d": 2}}, UNKNOWN, {"b": {"d": 2}}, id="deep"),
        pytest.param({}, {"a": None}, {"a": 1, "b": 1}, UNKNOWN, {"b": 1}, id="null-removes-in-custom-kinds"),
        pytest.param(
            {}, {"hostname": None}, {"hostname": "a"}, PODS, {"hostname": "a"}, id="null-is-nothing-in-built-in"
        ),
        pytest.param({"hostname": "a"}, {"hostname": None}, {"hostname": "a"}, PODS, {}, id="null-after-a-value"),
        pytest.param(
            {},
            {"tolerations": []},
            {"tolerations": [{"key": "a"}]},
            PODS,
            {"tolerations": [{"key": "a"}]},
            id="no-items",
        ),
        pytest.param(
            {"tolerations": [{"key": "b"}]},
            {"tolerations": []},
            {"tolerations": [{"key": "a"}]},
            PODS,
            {},
            id="no-items-after-some",
        ),
        pytest.param({}, {"a": []}, {"a": [1]}, UNKNOWN, {"a": []}, id="no-items-in-a-custom-kind"),
        pytest.param([1], [2], [1, 3], UNKNOWN, [2], id="list-of-a-custom-kind"),
        pytest.param(env(A="1"), env(B="2"), env(A="1", C="3"), ENV, env(B="2", C="3"), id="items-by-name"),
        pytest.param([], env(B="2", A="1"), env(A="1", B="2"), ENV, env(B="2", A="1"), id="order-is-the-target's"),
        pytest.param(
            [],
            env(A="1", C="3"),
            env(A="1", B="2", C="3"),
            ENV,
            env(A="1", B="2", C="3"),
            id="live-only-item-keeps-its-place",
        ),
        pytest.param([], env(A="1"), env(X="0", A="1"), ENV, env(X="0", A="1"), id="live-only-item-in-front"),
        pytest.param(
            [],
            [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
            [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
            CONTAINER.of("ports"),
            [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
            id="one-port-of-two-protocols",
        ),
        pytest.param(
            [],
            [{"port": 80, "name": "web"}],
            [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
            SERVICE.of("ports"),
            [{"port": 80, "protocol": "TCP", "nodePort": 30080, "name": "web"}],
            id="ports-of-services",
        ),
        pytest.param(
            [{"mountPath": "/a", "name": "v"}],
            [{"mountPath": "/b", "name": "v"}],
            [{"mountPath": "/a", "name": "v"}, {"mountPath": "/c", "name": "w"}],
            CONTAINER.of("volumeMounts"),
            [{"mountPath": "/b", "name": "v"}, {"mountPath": "/c", "name": "w"}],
            id="mounts-by-path",
        ),
        pytest.param(
            [],
            [{"ip": "1.1.1.1", "hostnames": ["b"]}],
            [{"ip": "1.1.1.1", "hostnames": ["a"]}, {"ip": "2.2.2.2"}],
            PODS.of("hostAliases"),
            [{"ip": "1.1.1.1", "hostnames": ["b"]}, {"ip": "2.2.2.2"}],
            id="host-aliases-by-ip",
        ),
        pytest.param(
            [],
            [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2}],
            [{"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1}],
            PODS.of("topologySpreadConstraints"),
            [
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2},
                {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
            ],
            id="spread-by-key-and-mode",
        ),
        pytest.param(
            [], [{"key": "a"}], [{"key": "b"}], PODS.of("tolerations"), [{"key": "a"}], id="tolerations-as-a-whole"
        ),
        pytest.param(
            [],
            [{"name": "v", "configMap": {"name": "c"}}],
            [{"name": "v", "emptyDir": {}}],
            PODS.of("volumes"),
            [{"name": "v", "configMap": {"name": "c"}}],
            id="volume-of-another-kind",
        ),
        pytest.param(
            [],
            [{"name": "v", "configMap": {"name": "c"}}],
            [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}],
            PODS.of("volumes"),
            [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}],
            id="volume-with-a-default",
        ),
        pytest.param(
            ["a", "b"],
            ["a"],
            ["b", "c", "a"],
            Shape(is_list=True, is_known=True, merges=True),
            ["c", "a"],
            id="finalizers-are-a-set",
        ),
        pytest.param(
            [{"uid": "1", "name": "a"}],
            [],
            [{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}],
            shape_of(custom()).of("metadata").of("ownerReferences"),
            [{"uid": "2", "name": "b"}],
            id="owners-by-uid-in-custom-kinds-too",
        ),
        pytest.param(
            [],
            [*env(A="1"), *env(A="2")],
            [*env(A="1"), *env(A="3")],
            ENV,
            [*env(A="1"), *env(A="2")],
            id="a-name-twice",
        ),
        pytest.param([], [{"value": "1"}, "odd"], env(A="1"), ENV, [{"value": "1"}, "odd"], id="items-without-a-name"),
        pytest.param({}, {"a": [1]}, {"a": {"b": 1}}, UNKNOWN, {"a": [1]}, id="another-type"),
    ],
)
def test_merge(original: Any, target: Any, live: Any, shape: Shape, merged: Any) -> None:
    result = merge(original, target, live, shape)
    assert result == merged
    assert merge(target, target, result, shape) is result  # once applied, nothing is left to do


@pytest.mark.parametrize(
    ("target", "live", "shape"),
    [
        pytest.param({"hostNetwork": False, "subdomain": ""}, {}, PODS, id="zeros-vanish"),
        pytest.param({"tolerations": []}, {}, PODS, id="empty-lists-vanish"),
        pytest.param({}, {"hostNetwork": False}, PODS, id="zeros-on-the-live-side"),
        pytest.param({"resources": {}}, {}, CONTAINER, id="empty-structs-vanish"),
        pytest.param(
            {"resources": {"limits": {"cpu": "1000m"}}},
            {"resources": {"limits": {"cpu": "1"}}},
            CONTAINER,
            id="quantity",
        ),
        pytest.param({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}, CONTAINER, id="empty-variable"),
    ],
)
def test_what_means_the_same_stays_as_it_is(target: Any, live: Any, shape: Shape) -> None:
    assert merge({}, target, live, shape) is live


@pytest.mark.parametrize(
    ("target", "live", "shape"),
    [
        pytest.param({"automountServiceAccountToken": False}, {}, PODS, id="a-pointer-to-false"),
        pytest.param(
            {"securityContext": {"allowPrivilegeEscalation": False}}, {"securityContext": {}}, CONTAINER, id="deep"
        ),
        pytest.param({"limits": {"cpu": 0}}, {"limits": {}}, CONTAINER.of("resources"), id="a-key-of-a-map"),
        pytest.param({"replicas": 0}, {}, shape_of(deployment()).of("spec"), id="no-replicas"),
    ],
)
def test_a_zero_that_has_a_meaning_is_applied(target: Any, live: Any, shape: Shape) -> None:
    assert merge({}, target, live, shape) == target


def test_no_argument_is_changed() -> None:
    original, target, live = {"a": {"b": 1}}, {"a": {"c": [1]}}, {"a": {"b": 1, "d": {}}}
    merge(original, target, live)
    assert (original, target, live) == ({"a": {"b": 1}}, {"a": {"c": [1]}}, {"a": {"b": 1, "d": {}}})


def test_of_labels_that_leave_the_target_others_keep_theirs() -> None:
    metadata = shape_of(custom()).of("metadata")
    live = {"labels": {"ours": "1", "theirs": "1"}, "finalizers": ["ours", "theirs"]}
    original = {"labels": {"ours": "1"}, "finalizers": ["ours"]}
    assert merge(original, {}, live, metadata) == {"labels": {"theirs": "1"}, "finalizers": ["theirs"]}
    assert merge(original, {}, original, metadata) == {}
    # A struct goes as a whole: what else is in it are defaults.
    probe = {"httpGet": {"path": "/"}}
    assert merge({"livenessProbe": probe}, {}, {"livenessProbe": {**probe, "timeoutSeconds": 1}}, CONTAINER) == {}


def test_a_union_drops_what_the_target_does_not_say_but_for_defaults() -> None:
    shape = shape_of(deployment()).of("spec").of("strategy")
    live = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert merge({}, {"type": "RollingUpdate"}, live, shape) is live
    assert merge({}, {"type": "Recreate"}, live, shape) == {"type": "Recreate"}
    edited = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    assert merge({}, {"type": "RollingUpdate"}, edited, shape) == {"type": "RollingUpdate"}


@pytest.mark.parametrize(
    ("kind", "path", "target", "live"),
    [
        pytest.param(
            ("apps/v1", "StatefulSet"),
            "spec.volumeClaimTemplates",
            [
                {
                    "metadata": {"name": "d"},
                    "spec": {"accessModes": ["RWO"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
            [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "d"},
                    "spec": {
                        "accessModes": ["RWO"],
                        "resources": {"requests": {"storage": "1024Mi"}},
                        "volumeMode": "Filesystem",
                    },
                    "status": {"phase": "Pending"},
                }
            ],
            id="claim-templates",
        ),
        pytest.param(
            ("networking.k8s.io/v1", "NetworkPolicy"),
            "spec.ingress",
            [{"ports": [{"port": 80}]}],
            [{"ports": [{"port": 80, "protocol": "TCP"}]}],
            id="network-policy",
        ),
        pytest.param(
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            "spec.rules",
            [{"backendRefs": [{"name": "web", "port": 80}]}],
            [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}],
                }
            ],
            id="route",
        ),
    ],
)
def test_defaults_inside_a_list_that_is_replaced_are_no_difference(
    kind: tuple[str, str], path: str, target: Any, live: Any
) -> None:
    shape = shape_of({"apiVersion": kind[0], "kind": kind[1]})
    for name in path.split("."):
        shape = shape.of(name)
    assert same(target, live, shape)
    assert not same(target, [{**live[0], "more": 1}], shape)
    assert not same(target, [*live, *live], shape)


def test_known_fields_of_custom_kinds_compare_by_meaning_and_merge_as_a_whole() -> None:
    found = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    shape = shape_of(found, DEFAULT.known_type_fields).of("spec").of("template").of("spec")
    target = pod_spec(container(resources={"limits": {"cpu": "1000m"}}), hostNetwork=False)
    live = pod_spec(container(resources={"limits": {"cpu": 1}}))
    assert merge({}, target, live, shape) is live
    assert len(merge({}, target, pod_spec(container(), container("more")), shape)["containers"]) == 1
