"""What built-in kinds refuse."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.testing import defaults, names, rules
from fairlead.testing.names import NameRule

GOOD: dict[str, Any] = {"name": "a", "image": "b"}


def judged(kind: str, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    for obj in filter(None, (new, old)):
        obj.setdefault("metadata", {"name": "one", "namespace": "default"})
        defaults.built_in(kind, obj)
    return [f"{cause.field}: {cause.message}" for cause in rules.built_in(kind, new, old)]


def workload(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [dict(GOOD)]}}
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        pytest.param({}, [], id="good"),
        pytest.param(
            {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"], id="replicas"
        ),
        pytest.param({"selector": None}, ["spec.selector: Required value"], id="no-selector"),
        pytest.param(
            {"selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"], id="empty"
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Like", "values": ["x"]}]}},
            ['"Like" is not a valid label selector operator'],
            id="operator",
        ),
    ],
)
def test_workloads(spec: dict[str, Any], found: list[str]) -> None:
    causes = judged("ReplicaSet", workload(**spec))
    assert len(causes) == len(found)
    assert all(wanted in cause for wanted, cause in zip(found, causes, strict=True))


def test_a_template_restarts_always() -> None:
    obj = workload()
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    text = 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    assert judged("Deployment", obj) == [text]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"containers": []}, "spec.containers", id="none"),
        pytest.param({"containers": [{"image": "b"}]}, "spec.containers[0].name", id="nameless"),
        pytest.param({"containers": [{"name": "A", "image": "b"}]}, "spec.containers[0].name", id="name"),
        pytest.param({"containers": [GOOD, GOOD]}, "spec.containers[1].name", id="twice"),
        pytest.param({"containers": [GOOD], "initContainers": [GOOD]}, "spec.containers[0].name", id="also-init"),
        pytest.param({"containers": [{"name": "a"}]}, "spec.containers[0].image", id="image"),
        pytest.param(
            {"containers": [{**GOOD, "ports": [{"containerPort": 0}]}]},
            "spec.containers[0].ports[0].containerPort",
            id="port",
        ),
        pytest.param(
            {"containers": [{**GOOD, "volumeMounts": [{"name": "v"}]}]},
            "spec.containers[0].volumeMounts[0].name",
            id="mount",
        ),
        pytest.param({"containers": [{**GOOD, "env": [{"value": "x"}]}]}, "spec.containers[0].env[0].name", id="env"),
        pytest.param({"containers": [GOOD], "restartPolicy": "Maybe"}, "spec.restartPolicy", id="restart"),
        pytest.param(
            {"containers": [GOOD], "terminationGracePeriodSeconds": -1},
            "spec.terminationGracePeriodSeconds",
            id="grace",
        ),
    ],
)
def test_pods(spec: dict[str, Any], field: str) -> None:
    copied = {key: [dict(item) for item in value] if isinstance(value, list) else value for key, value in spec.items()}
    assert [cause.partition(":")[0] for cause in judged("Pod", {"spec": copied})] == [field]


@pytest.mark.parametrize(
    ("change", "is_allowed"),
    [
        pytest.param({"containers": [{"name": "a", "image": "c"}]}, True, id="image"),
        pytest.param({"activeDeadlineSeconds": 5}, True, id="deadline"),
        pytest.param({"nodeName": "n"}, True, id="first-node"),
        pytest.param({"hostNetwork": True}, False, id="network"),
        pytest.param({"containers": [{**GOOD, "command": ["x"]}]}, False, id="command"),
    ],
)
def test_a_pod_is_settled(change: dict[str, Any], is_allowed: bool) -> None:
    old = {"spec": {"containers": [dict(GOOD)]}}
    new = {"spec": {"containers": [dict(GOOD)], **change}}
    assert (judged("Pod", new, old) == []) is is_allowed


def test_a_bound_pod_does_not_move() -> None:
    old = {"spec": {"containers": [dict(GOOD)], "nodeName": "n"}}
    new = {"spec": {"containers": [dict(GOOD)], "nodeName": "m"}}
    assert judged("Pod", new, old)[0].startswith("spec: Forbidden: pod updates may not change fields")


@pytest.mark.parametrize(
    ("kind", "new", "old", "field"),
    [
        pytest.param("Service", {"spec": {}}, None, "spec.ports", id="ports"),
        pytest.param("Service", {"spec": {"type": "X", "ports": [{"port": 1}]}}, None, "spec.type", id="type"),
        pytest.param("Service", {"spec": {"type": "ExternalName"}}, None, "spec.externalName", id="external-name"),
        pytest.param(
            "Service",
            {"spec": {"ports": [{"port": 1, "protocol": "X"}]}},
            None,
            "spec.ports[0].protocol",
            id="protocol",
        ),
        pytest.param(
            "Service", {"spec": {"ports": [{"port": 1, "name": "_"}]}}, None, "spec.ports[0].name", id="port-name"
        ),
        pytest.param(
            "Service",
            {"spec": {"ports": [{"port": 1}], "clusterIP": "b"}},
            {"spec": {"clusterIP": "a"}},
            "spec.clusterIPs[0]",
            id="address",
        ),
        pytest.param("Secret", {"type": "a"}, {"type": "b"}, "type", id="secret-type"),
        pytest.param("Secret", {"immutable": True, "data": {"a": "Yg=="}}, {"immutable": True}, "data", id="immutable"),
        pytest.param(
            "ConfigMap", {"data": {"a": "b"}}, {"immutable": True, "data": {"a": "b"}}, "immutable", id="unfreeze"
        ),
        pytest.param(
            "PodDisruptionBudget", {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, None, "spec", id="budget"
        ),
        pytest.param("EndpointSlice", {}, None, "addressType", id="address-type"),
        pytest.param("EndpointSlice", {"addressType": "X"}, None, "addressType", id="unknown-address-type"),
        pytest.param(
            "EndpointSlice", {"addressType": "IPv4", "endpoints": [{}]}, None, "endpoints[0].addresses", id="no-address"
        ),
        pytest.param("Lease", {"spec": {"leaseDurationSeconds": 0}}, None, "spec.leaseDurationSeconds", id="lease"),
        pytest.param("Event", {"involvedObject": {"namespace": "x"}}, None, "involvedObject.namespace", id="event"),
        pytest.param("RoleBinding", {"roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}}, "roleRef", id="role"),
        pytest.param(
            "Job",
            {"spec": {"template": {"spec": {"containers": [GOOD]}}}},
            None,
            "spec.template.spec.restartPolicy",
            id="job-restart",
        ),
        pytest.param(
            "Job",
            {"spec": {"backoffLimit": -1, "template": {"spec": {"restartPolicy": "Never", "containers": [GOOD]}}}},
            None,
            "spec.backoffLimit",
            id="job-backoff",
        ),
    ],
)
def test_kinds(kind: str, new: dict[str, Any], old: dict[str, Any] | None, field: str) -> None:
    assert [cause.partition(": ")[0] for cause in judged(kind, new, old)] == [field]


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        pytest.param("ConfigMap", {"data": {"a": 1}}, "cannot unmarshal number", id="number"),
        pytest.param("ConfigMap", {"data": {"a": {}}}, "cannot unmarshal object", id="object"),
        pytest.param("Secret", {"data": {"a": "not base64!"}}, "illegal base64 data", id="base64"),
        pytest.param("Secret", {"stringData": {"a": True}}, "cannot unmarshal bool", id="bool"),
        pytest.param("Secret", {"data": {"a": "Yg=="}}, "", id="good"),
        pytest.param("Pod", {"data": 1}, "", id="another-kind"),
    ],
)
def test_what_cannot_even_be_read(kind: str, body: dict[str, Any], problem: str) -> None:
    found = rules.undecodable(kind, body)
    assert problem in found
    assert bool(found) is bool(problem)
    assert "not base64!" not in found  # it may be the secret


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        pytest.param({"name": "a"}, [], id="good"),
        pytest.param({"name": "a." + "b" * 300}, ["metadata.name"], id="long"),
        pytest.param({"name": "a", "labels": {"x/y": "z", "a.example/b": ""}}, [], id="prefixed-label"),
        pytest.param({"name": "a", "labels": {"/y": "z"}}, ["metadata.labels"], id="empty-prefix"),
        pytest.param({"name": "a", "labels": {"y" * 64: "z"}}, ["metadata.labels"], id="long-key"),
        pytest.param({"name": "a", "annotations": {"a b": "z"}}, ["metadata.annotations"], id="annotation-key"),
        pytest.param(
            {"name": "a", "annotations": {"a": "z" * 300_000}}, ["metadata.annotations"], id="annotation-size"
        ),
        pytest.param({"name": "a", "finalizers": ["a b"]}, ["metadata.finalizers"], id="finalizer"),
        pytest.param(
            {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}]},
            ["metadata.ownerReferences[0].uid"],
            id="owner-without-uid",
        ),
        pytest.param(
            {
                "name": "a",
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": True}] * 2,
            },
            ["metadata.ownerReferences"],
            id="two-controllers",
        ),
    ],
)
def test_metadata(metadata: dict[str, Any], fields: list[str]) -> None:
    assert [cause.field for cause in names.check_metadata(metadata, NameRule.SUBDOMAIN)] == fields


@pytest.mark.parametrize(
    ("name", "rule", "is_good"),
    [
        ("a.b", NameRule.SUBDOMAIN, True),
        ("a.b", NameRule.LABEL, False),
        ("9a", NameRule.LABEL, True),
        ("system:node", NameRule.PATH, True),
        ("a/b", NameRule.PATH, False),
        ("..", NameRule.PATH, False),
    ],
)
def test_name_rules(name: str, rule: NameRule, is_good: bool) -> None:
    assert (names.check_metadata({"name": name}, rule) == []) is is_good


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param([], id="list"),
        pytest.param({"name": 1}, id="name"),
        pytest.param({"labels": {"a": 1}}, id="label"),
        pytest.param({"labels": []}, id="labels"),
        pytest.param({"finalizers": [1]}, id="finalizer"),
        pytest.param({"ownerReferences": {}}, id="owners"),
    ],
)
def test_metadata_of_the_wrong_type_cannot_be_read(metadata: Any) -> None:
    assert "json: cannot unmarshal" in names.check_types(metadata)
