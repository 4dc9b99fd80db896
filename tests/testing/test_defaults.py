"""What the server fills in, kind by kind; whole pod templates are compared with a real server in the contract."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.testing import defaults


def filled(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    whole = {"metadata": {"name": "one", "uid": "u"}, **obj}
    defaults.built_in(kind, whole)
    return whole


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("registry:5000/web", "Always"),
        ("registry:5000/web:2", "IfNotPresent"),
        ("web@sha256:" + "0" * 64, "IfNotPresent"),
        ("web:latest@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert defaults.image_pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        pytest.param({}, "BestEffort", id="none"),
        pytest.param({"requests": {"cpu": "1"}}, "Burstable", id="requests-only"),
        pytest.param({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed", id="limits-are-requests"),
        pytest.param({"limits": {"cpu": "1"}}, "Burstable", id="no-memory"),
        pytest.param(
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}, "Burstable", id="less-requested"
        ),
    ],
)
def test_a_pods_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    pod = filled("Pod", {"spec": {"containers": [{"name": "a", "image": "b", "resources": resources}]}})
    assert pod["status"]["qosClass"] == quality


def test_a_limit_is_a_request_in_pods_and_not_in_templates() -> None:
    container = {"name": "a", "image": "b", "resources": {"limits": {"cpu": "1"}}}
    pod = filled("Pod", {"spec": {"containers": [dict(container, resources={"limits": {"cpu": "1"}})]}})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    made = filled("ReplicaSet", {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert "requests" not in made["spec"]["template"]["spec"]["containers"][0]["resources"]


def test_a_pod_bears_a_lost_node_for_five_minutes() -> None:
    pod = filled("Pod", {"spec": {"containers": [], "tolerations": [{"key": "node.kubernetes.io/not-ready"}]}})
    keys = [(one["key"], one.get("tolerationSeconds")) for one in pod["spec"]["tolerations"]]
    assert keys == [("node.kubernetes.io/not-ready", None), ("node.kubernetes.io/unreachable", 300)]


def test_a_pods_addresses_follow_its_address() -> None:
    pod = filled("Pod", {"spec": {}, "status": {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}]}})
    assert pod["status"]["podIPs"] == [{"ip": "10.0.0.2"}]


@pytest.mark.parametrize(
    ("kind", "given", "path", "value"),
    [
        pytest.param("Deployment", {}, ("spec", "replicas"), 1, id="deployment-replicas"),
        pytest.param("Deployment", {}, ("spec", "strategy", "rollingUpdate", "maxSurge"), "25%", id="deployment-surge"),
        pytest.param("Deployment", {"spec": {"replicas": 0}}, ("spec", "replicas"), 0, id="zero-is-a-number"),
        pytest.param("ReplicaSet", {}, ("status", "replicas"), 0, id="replicaset-status"),
        pytest.param("Job", {}, ("spec", "completions"), 1, id="job-completions"),
        pytest.param("Job", {}, ("spec", "backoffLimit"), 6, id="job-backoff"),
        pytest.param("Job", {}, ("spec", "template", "metadata", "labels", "job-name"), "one", id="job-labels"),
        pytest.param(
            "Job",
            {},
            ("spec", "selector"),
            {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            id="job-selector",
        ),
        pytest.param(
            "Service",
            {"spec": {"ports": [{"port": 80}]}},
            ("spec", "ports"),
            [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            id="service-port",
        ),
        pytest.param("Service", {"spec": {"type": "ExternalName"}}, ("spec", "ipFamilies"), None, id="external-name"),
        pytest.param("Secret", {"stringData": {"a": "b"}}, ("data",), {"a": "Yg=="}, id="secret-text"),
        pytest.param("Secret", {}, ("type",), "Opaque", id="secret-type"),
        pytest.param("Namespace", {}, ("status", "phase"), "Active", id="namespace"),
        pytest.param(
            "EndpointSlice",
            {"ports": [{"port": 80}]},
            ("ports",),
            [{"port": 80, "name": "", "protocol": "TCP"}],
            id="slice-port",
        ),
        pytest.param("HorizontalPodAutoscaler", {}, ("spec", "minReplicas"), 1, id="autoscaler"),
        pytest.param("PodDisruptionBudget", {}, ("status", "disruptionsAllowed"), 0, id="budget"),
        pytest.param("StatefulSet", {}, ("spec", "podManagementPolicy"), "OrderedReady", id="statefulset"),
        pytest.param("DaemonSet", {}, ("spec", "updateStrategy", "type"), "RollingUpdate", id="daemonset"),
        pytest.param("Ingress", {}, ("status", "loadBalancer"), {}, id="ingress"),
    ],
)
def test_kinds(kind: str, given: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    found: Any = filled(kind, given)
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    assert found == value


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        pytest.param({"volumes": [{"name": "v"}]}, ("volumes", 0), {"name": "v", "emptyDir": {}}, id="empty-volume"),
        pytest.param(
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            ("volumes", 0, "secret", "defaultMode"),
            420,
            id="secret-mode",
        ),
        pytest.param({"serviceAccountName": "sa"}, ("serviceAccount",), "sa", id="account-alias"),
        pytest.param({"serviceAccount": "sa"}, ("serviceAccountName",), "sa", id="account-from-alias"),
        pytest.param(
            {"containers": [{"name": "a", "image": "b", "startupProbe": {"httpGet": {"port": 1}}}]},
            ("containers", 0, "startupProbe"),
            {
                "httpGet": {"port": 1, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            id="probe",
        ),
        pytest.param(
            {"containers": [{"name": "a", "image": "b", "lifecycle": {"preStop": {"httpGet": {"port": 1}}}}]},
            ("containers", 0, "lifecycle", "preStop", "httpGet", "path"),
            "/",
            id="hook",
        ),
        pytest.param(
            {"containers": [{"name": "a", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}]},
            ("containers", 0, "env", 0, "valueFrom", "fieldRef", "apiVersion"),
            "v1",
            id="field-reference",
        ),
        pytest.param(
            {"hostNetwork": True, "containers": [{"name": "a", "ports": [{"containerPort": 80}]}]},
            ("containers", 0, "ports", 0, "hostPort"),
            80,
            id="host-port",
        ),
    ],
)
def test_pod_specs(given: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    defaults.pod_spec(given)
    found: Any = given
    for part in path:
        found = found[part]
    assert found == value


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "Job", "Service", "EndpointSlice", "Secret"])
def test_filling_in_twice_changes_nothing(kind: str) -> None:
    once = filled(kind, {"spec": {"ports": [{"port": 1}], "containers": [{"name": "a", "image": "b"}]}})
    twice = filled(kind, filled(kind, {"spec": {"ports": [{"port": 1}], "containers": [{"name": "a", "image": "b"}]}}))
    assert once == twice


def test_wrong_types_are_left_to_validation() -> None:
    for kind in ("Pod", "Deployment", "Service", "EndpointSlice"):
        filled(kind, {"spec": {"containers": "none", "ports": 3, "volumes": [1], "template": []}, "ports": {}})
