"""Writes `tests/agentsync/data/three-way.jsonl.gz`: generated merges of three sides, and what Kubernetes makes of them.

It compiles much of Kubernetes, so tests do not run it: they read the file.

    .venv/bin/python -m tests.oracle.threeway.generate
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIXTURE = HERE.parents[1] / "agentsync" / "data" / "three-way.jsonl.gz"
CASES_PER_KIND = 25
RESPELLED = {"500m": "0.5", "1Gi": "1024Mi", "1": "1000m", "2Gi": "2048Mi", "100m": "0.1"}


def pods() -> dict[str, Any]:
    probe = {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "failureThreshold": 3}
    return {
        "serviceAccountName": "web",
        "hostNetwork": False,
        "automountServiceAccountToken": False,
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Equal", "value": "1"}],
        "topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}],
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a", "b"]}],
        "volumes": [
            {"name": "settings", "configMap": {"name": "settings", "defaultMode": 420}},
            {"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}},
            {
                "name": "all",
                "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]},
            },
        ],
        "initContainers": [{"name": "first", "image": "shop/first:1", "args": ["a", "b"]}],
        "containers": [
            {
                "name": "web",
                "image": "shop/web:1",
                "command": ["web"],
                "args": ["--port", "80"],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                    {"name": "C", "value": ""},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "ports": [
                    {"name": "http", "containerPort": 80, "protocol": "TCP"},
                    {"name": "admin", "containerPort": 90, "protocol": "TCP"},
                ],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "readinessProbe": probe,
                "volumeMounts": [
                    {"name": "settings", "mountPath": "/etc/web"},
                    {"name": "cache", "mountPath": "/cache"},
                ],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            },
            {"name": "proxy", "image": "shop/proxy:1", "imagePullPolicy": "Always"},
        ],
    }


def template() -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}, "annotations": {"checksum": "1"}}, "spec": pods()}


def bases() -> list[dict[str, Any]]:
    """Return one full object of each kind."""

    def full(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
        metadata = {
            "name": "web",
            "namespace": "shop",
            "labels": {"app": "web", "tier": "front"},
            "annotations": {"note": "1"},
            "finalizers": ["example.com/one", "example.com/two"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1"}],
        }
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}

    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}],
    }
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    rules = [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]}]
    path = {
        "path": "/",
        "pathType": "Prefix",
        "backend": {"service": {"name": "web", "port": {"number": 80}}},
    }
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    webhook = {
        "name": "a.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"name": "web", "namespace": "shop", "port": 443}, "caBundle": "YWJj"},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}
        ],
    }
    deployment = {
        "replicas": 2,
        "minReadySeconds": 5,
        "selector": selector,
        "strategy": strategy,
        "template": template(),
    }
    return [
        full("apps/v1", "Deployment", spec=deployment),
        full(
            "apps/v1",
            "StatefulSet",
            spec={"serviceName": "web", "selector": selector, "template": template(), "volumeClaimTemplates": [claim]},
        ),
        full(
            "batch/v1",
            "CronJob",
            spec={
                "schedule": "* * * * *",
                "suspend": False,
                "jobTemplate": {"spec": {"backoffLimit": 2, "template": template()}},
            },
        ),
        full(
            "v1",
            "Service",
            spec={
                "type": "ClusterIP",
                "clusterIP": "10.0.0.9",
                "clusterIPs": ["10.0.0.9"],
                "selector": {"app": "web"},
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "admin", "port": 90, "targetPort": 9090},
                ],
            },
        ),
        full("v1", "ConfigMap", data={"a": "1", "b": "2", "c": ""}, binaryData={"d": "YWJj"}),
        full("v1", "Secret", type="Opaque", data={"a": "YWJj", "b": "YWJk"}),
        full("v1", "ServiceAccount", secrets=[{"name": "one"}, {"name": "two"}], imagePullSecrets=[{"name": "three"}]),
        full(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            spec={
                "podSelector": {"matchLabels": {"app": "web"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}], "from": [{"podSelector": {}}]}],
            },
        ),
        full(
            "networking.k8s.io/v1",
            "Ingress",
            spec={
                "ingressClassName": "a",
                "rules": [{"host": "web.example.com", "http": {"paths": [path]}}],
                "tls": [{"hosts": ["a"], "secretName": "b"}],
            },
        ),
        full(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            spec={
                "minReplicas": 1,
                "maxReplicas": 5,
                "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "metrics": [metric],
            },
        ),
        full("policy/v1", "PodDisruptionBudget", spec={"minAvailable": "50%", "selector": selector}),
        full("rbac.authorization.k8s.io/v1", "Role", rules=rules),
        full(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
            subjects=[{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}],
        ),
        full(
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            webhooks=[webhook, {**webhook, "name": "b.example.com"}],
        ),
        full(
            "example.com/v1",
            "Widget",
            spec={"size": 1, "parts": [{"name": "a", "weight": 1}, {"name": "b"}], "flags": {"x": True, "y": None}},
        ),
    ]


# What must stay for an object to be one, and for items to have a name.
KEPT = {"apiVersion", "kind", "metadata", "name", "port", "containerPort", "mountPath", "ip", "topologyKey", "uid"} | {
    "whenUnsatisfiable",
    "protocol",
    "spec",
    "selector",
    "template",
    "containers",
    "serviceName",
    "maxReplicas",
    "roleRef",
    "clientConfig",
    "service",
    "namespace",
    "verbs",
    "sideEffects",
    "admissionReviewVersions",
    "apiGroup",
    "rules",
    "metrics",
    "projected",
    "sources",
    "configMap",
    "emptyDir",
    "key",
    "operator",
    "policyTypes",
    "podSelector",
    "scope",
    "subjects",
    "scaleTargetRef",
    "jobTemplate",
    "schedule",
    "matchLabels",
    "type",
    "pathType",
    "backend",
    "target",
}
WHOLE = {"selector", "sources", "metrics", "policyTypes", "verbs", "admissionReviewVersions"}


def without_empty(found: Any) -> Any:
    """Return the value without what holds nothing: types write that in ways of their own."""
    if isinstance(found, dict):
        inner = {key: without_empty(value) for key, value in found.items()}
        return {
            key: value for key, value in inner.items() if value not in ({}, []) or key in ("emptyDir", "podSelector")
        }
    if isinstance(found, list):
        return [value for one in found if (value := without_empty(one)) not in ({}, [])]
    return found


def mutated(draw: random.Random, found: Any, chance: float, *, is_list_item: bool = False) -> Any:
    """Return the value with parts left out, changed, added, reordered or spelled differently."""
    if isinstance(found, dict):
        result = {}
        for key, value in found.items():
            if key in KEPT or draw.random() > chance:
                named = is_list_item and key in KEPT
                result[key] = (
                    value if key in ("apiVersion", "kind", "namespace") or named else mutated(draw, value, chance)
                )
        return result
    if isinstance(found, list):
        items = [mutated(draw, one, chance, is_list_item=True) for one in found if draw.random() > chance] or found[:1]
        if draw.random() < chance:
            draw.shuffle(items)
        if items and draw.random() < chance and isinstance(items[0], dict) and "name" in items[0]:
            items.insert(
                draw.randrange(len(items) + 1),
                {**copy.deepcopy(items[0]), "name": f"added-{draw.randrange(3)}"} | unique(draw, items[0]),
            )
        return items
    if draw.random() > chance:
        return found
    if isinstance(found, bool):
        return not found
    if isinstance(found, int):
        return found + 1
    if isinstance(found, str) and found in RESPELLED:
        return RESPELLED[found] if draw.random() < 0.5 else "7"
    return found


def unique(draw: random.Random, item: dict[str, Any]) -> dict[str, Any]:
    """Return what else must be unique in an added item."""
    numbers: dict[str, Any] = {key: 1000 + draw.randrange(1000) for key in ("containerPort", "port") if key in item}
    numbers |= {"uid": f"{draw.randrange(1000)}"} if "uid" in item else {}
    return numbers | ({"mountPath": f"/added/{draw.randrange(1000)}"} if "mountPath" in item else {})


def cases(draw: random.Random) -> list[dict[str, Any]]:
    """Return questions: the last target, the target, the live object."""
    found = []
    for base in bases():
        for number in range(CASES_PER_KIND):
            chance = (0.02, 0.08, 0.2)[number % 3]
            original = mutated(draw, base, chance)
            target = mutated(draw, original if number % 2 else base, chance)
            live = mutated(draw, base if number % 5 else original, chance)
            found.append({"original": without_empty(original), "target": without_empty(target), "live": live})
    return found


def main() -> None:
    """Build the Go program, ask it, write the file."""
    asked = cases(random.Random(20_261_201))
    with tempfile.TemporaryDirectory() as folder:
        program = os.environ.get("THREE_WAY_PROGRAM") or str(Path(folder) / "threeway")
        if "THREE_WAY_PROGRAM" not in os.environ:
            subprocess.run(
                ["go", "build", "-o", program, "."], cwd=HERE, env=os.environ | {"GOFLAGS": "-mod=mod"}, check=True
            )
        text = "\n".join(json.dumps(one) for one in asked)
        done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    # What the patch library itself cannot read is no question: a target without containers.
    rows = [one | given for one, given in zip(asked, answers, strict=True) if "error" not in given]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    FIXTURE.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
