"""Whether two pod templates mean the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.rollouts import _template
from fairlead.rollouts._poddefaults import pull_policy
from fairlead.rollouts._template import meaning, templates_equal


def template(**spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "web:1", **spec.pop("container", {})}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **spec}}


def live(**spec: Any) -> dict[str, Any]:
    """The same template as the API server stores it in a ReplicaSet of a Rollout."""
    stored = template(**spec)
    stored["metadata"]["labels"]["rollouts-pod-template-hash"] = "674d8cf959"
    stored["metadata"]["creationTimestamp"] = None
    defaults = {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
    }
    stored["spec"] = defaults | stored["spec"]
    stored["spec"]["containers"] = [
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        }
        | container
        for container in stored["spec"]["containers"]
    ]
    return stored


def equal(desired: Any, found: Any, **injected: Any) -> bool:
    return templates_equal(json.dumps(desired).encode(), json.dumps(found).encode(), **injected)


HASH_TERM = {
    "labelSelector": {"matchExpressions": [{"key": "rollouts-pod-template-hash", "operator": "In", "values": ["abc"]}]},
    "namespaces": ["shop"],
    "topologyKey": "kubernetes.io/hostname",
}
OTHER_TERM = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("desired", "found"),
    [
        pytest.param(template(), live(), id="defaults-and-hash-label"),
        pytest.param(
            template(serviceAccountName="a"),
            live(serviceAccountName="a", serviceAccount="a"),
            id="service-account-alias",
        ),
        pytest.param(
            template(container={"resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": 1}}}),
            live(container={"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}}),
            id="quantities-by-value",
        ),
        pytest.param(
            template(container={"resources": {"limits": {"cpu": "0.0001"}}}),
            live(container={"resources": {"limits": {"cpu": "1m"}}}),
            id="resources-are-rounded-up",
        ),
        pytest.param(
            template(container={"ports": [{"containerPort": 80}], "command": None, "args": [], "env": []}),
            live(container={"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
            id="ports-and-empty-lists",
        ),
        pytest.param(
            template(container={"readinessProbe": {"httpGet": {"port": 80}}, "livenessProbe": {"grpc": {"port": 1}}}),
            live(
                container={
                    "readinessProbe": {
                        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "timeoutSeconds": 1,
                        "periodSeconds": 10,
                        "successThreshold": 1,
                        "failureThreshold": 3,
                    },
                    "livenessProbe": {
                        "grpc": {"port": 1, "service": ""},
                        "timeoutSeconds": 1,
                        "periodSeconds": 10,
                        "successThreshold": 1,
                        "failureThreshold": 3,
                    },
                }
            ),
            id="probes",
        ),
        pytest.param(
            template(
                volumes=[
                    {"name": "a"},
                    {"name": "b", "configMap": {"name": "c"}},
                    {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                    {"name": "d", "hostPath": {"path": "/d"}},
                ]
            ),
            live(
                volumes=[
                    {"name": "a", "emptyDir": {}},
                    {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
                    {
                        "name": "c",
                        "projected": {
                            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                            "defaultMode": 420,
                        },
                    },
                    {"name": "d", "hostPath": {"path": "/d", "type": ""}},
                ]
            ),
            id="volumes",
        ),
        pytest.param(
            template(),
            live(affinity={"podAntiAffinity": {REQUIRED: [HASH_TERM]}}),
            id="injected-required-anti-affinity",
        ),
        pytest.param(
            template(affinity={"podAntiAffinity": {REQUIRED: [OTHER_TERM]}}),
            live(
                affinity={
                    "podAntiAffinity": {
                        REQUIRED: [OTHER_TERM],
                        PREFERRED: [{"weight": 5, "podAffinityTerm": HASH_TERM}],
                    }
                }
            ),
            id="injected-preferred-anti-affinity-beside-another",
        ),
    ],
)
def test_templates_that_make_the_same_pods_are_equal(desired: Any, found: Any) -> None:
    assert equal(desired, found)
    assert equal(found, found)


@pytest.mark.parametrize(
    ("desired", "found"),
    [
        pytest.param(template(container={"image": "web:2"}), live(), id="image"),
        pytest.param(template(container={"env": [{"name": "A", "value": "1"}]}), live(), id="env"),
        pytest.param(template(), live(container={"env": [{"name": "A", "value": "1"}]}), id="env-added-live"),
        pytest.param(template(restartPolicy="Never"), live(), id="restart-policy"),
        pytest.param(template(hostNetwork=True), live(), id="host-network"),
        pytest.param(template(terminationGracePeriodSeconds=0), live(), id="zero-grace-period"),
        pytest.param(
            template(container={"resources": {"limits": {"cpu": "1"}}}),
            live(container={"resources": {"limits": {"cpu": "1001m"}}}),
            id="quantity",
        ),
        pytest.param(
            template(), live(affinity={"podAntiAffinity": {REQUIRED: [OTHER_TERM]}}), id="anti-affinity-of-the-user"
        ),
        pytest.param(
            {"metadata": {"labels": {"app": "web", "tier": "x"}}, "spec": template()["spec"]}, live(), id="label"
        ),
        pytest.param(
            {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": template()["spec"]},
            live(),
            id="annotation",
        ),
    ],
)
def test_templates_that_make_other_pods_are_not_equal(desired: Any, found: Any) -> None:
    assert not equal(desired, found)


DEFAULTED = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "defaulted-templates.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("case", DEFAULTED, ids=[str(index) for index in range(len(DEFAULTED))])
def test_defaults_are_those_of_kubernetes(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # The file was written with Kubernetes' own code (tests/oracle/poddefaults); its side is read without our defaults.
    ours = meaning(json.dumps(case["template"]).encode())
    monkeypatch.setattr(_template, "apply_defaults", lambda struct, fields: None)
    assert ours == meaning(json.dumps(case["defaulted"]).encode())


def test_injected_metadata_does_not_count_on_the_live_template_only() -> None:
    found = live()
    found["metadata"]["labels"]["role"] = "canary"
    found["metadata"]["annotations"] = {"note": "x"}
    assert not equal(template(), found)
    assert equal(template(), found, injected_labels=["role"], injected_annotations=["note"])
    assert not equal(found, template(), injected_labels=["role"], injected_annotations=["note"])


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.29", "IfNotPresent"),
        ("registry:5000/team/nginx", "Always"),
        ("registry:5000/team/nginx:v1", "IfNotPresent"),
        (f"nginx@sha256:{'0' * 64}", "IfNotPresent"),
        (f"nginx:latest@sha256:{'0' * 64}", "Always"),
        ("Not An Image", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy
