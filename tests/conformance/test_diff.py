"""What the diff of an Application predicts, and what a real API server makes of the same objects."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

import fairlead
from fairlead.agentsync.diff import DiffOptions, Strategy, client_side_apply, difference
from fairlead.core.cluster import ApplyPatch, MergePatch
from fairlead.core.errors import SpecError
from fairlead.core.kinds import CRDS, carried
from fairlead.core.objects import Kind, Manifest
from fairlead.core.patches import diff
from fairlead.kube.client import KubeCluster
from tests.conformance.arena import Arena, real
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane")]

STRUCTURED = DiffOptions(strategy=Strategy.STRUCTURED, manager="fairlead", migrated_managers=())
Object = dict[str, Any]


def pods(**fields: Any) -> Object:
    web = {
        "name": "web",
        "image": "shop/web:1",
        "env": [
            {"name": "A", "value": "1"},
            {"name": "EMPTY", "value": ""},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}, {"containerPort": 53, "name": "dns-tcp"}],
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "livenessProbe": {"tcpSocket": {"port": "dns"}, "initialDelaySeconds": 0},
        "securityContext": {"allowPrivilegeEscalation": False, "privileged": False},
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/web", "readOnly": False}],
        "stdin": False,
    }
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "cache", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "scratch"},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "meta", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    spec = {
        "containers": [web, {"name": "proxy", "image": "shop/proxy:1", "args": []}],
        "initContainers": [{"name": "first", "image": "shop/first"}],
        "volumes": volumes,
        "hostNetwork": False,
        "serviceAccountName": "web",
        "automountServiceAccountToken": False,
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "topologySpreadConstraints": [spread],
        "securityContext": {},
        "nodeSelector": {},
    }
    return {"metadata": {"labels": {"app": "web"}, "creationTimestamp": None}, "spec": spec | fields}


LABELS = {"matchLabels": {"app": "web"}}
CLAIM = {
    "metadata": {"name": "d"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
PARTS: dict[tuple[str, str, str, str], Object] = {
    ("apps", "v1", "Deployment", "deployments"): {"spec": {"replicas": 0, "selector": LABELS, "template": pods()}},
    ("apps", "v1", "StatefulSet", "statefulsets"): {
        "spec": {
            "replicas": 0,
            "serviceName": "web",
            "selector": LABELS,
            "template": pods(),
            "volumeClaimTemplates": [CLAIM],
        }
    },
    ("apps", "v1", "DaemonSet", "daemonsets"): {
        "spec": {"selector": LABELS, "template": pods(nodeSelector={"no": "node"})}
    },
    ("batch", "v1", "CronJob", "cronjobs"): {
        "spec": {
            "schedule": "0 0 1 1 *",
            "suspend": False,
            "jobTemplate": {"spec": {"template": pods(restartPolicy="OnFailure")}},
        }
    },
    ("", "v1", "Service", "services"): {
        "spec": {
            "selector": {"app": "web"},
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "targetPort": "dns"},
            ],
        }
    },
    ("", "v1", "ConfigMap", "configmaps"): {"data": {"a": "1", "empty": ""}, "binaryData": {}},
    ("", "v1", "Secret", "secrets"): {"data": {"a": "YWJj"}, "stringData": {"b": "abc"}},
    ("", "v1", "ServiceAccount", "serviceaccounts"): {"imagePullSecrets": [{"name": "one"}, {"name": "two"}]},
    ("", "v1", "LimitRange", "limitranges"): {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}}]}},
    ("", "v1", "ResourceQuota", "resourcequotas"): {"spec": {"hard": {"pods": 10, "limits.cpu": "4000m"}}},
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"): {"spec": CLAIM["spec"]},
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"): {
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": LABELS}], "ports": [{"port": 80}]}]}
    },
    ("networking.k8s.io", "v1", "Ingress", "ingresses"): {
        "spec": {
            "rules": [
                {"host": "a.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
            ]
        }
    },
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"): {
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "metrics": [CPU],
        }
    },
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"): {
        "spec": {"minAvailable": "50%", "selector": LABELS}
    },
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"): {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"): {
        "roleRef": {"kind": "Role", "name": "web", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "web"}],
    },
}
KINDS = [pytest.param(names, id=names[2]) for names in PARTS]


def manifest(names: tuple[str, str, str, str], namespace: str, name: str) -> tuple[Kind[Manifest], Object]:
    group, version, kind, plural = names
    found = carried(group, version, kind, plural)
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "web"}, "annotations": {"note": "1"}}
    return found, {"apiVersion": found.api_version, "kind": kind, "metadata": metadata, **copy.deepcopy(PARTS[names])}


def changed(target: Object) -> Object:
    """Return the next commit's manifest: labels moved, and in pods another image, a variable less, a container less."""
    result = copy.deepcopy(target)
    result["metadata"] |= {"labels": {"app": "web", "tier": "front"}, "annotations": {}}
    template = result.get("spec", {}).get("template") or result.get("spec", {}).get("jobTemplate", {}).get(
        "spec", {}
    ).get("template")
    if template is not None:
        spec = template["spec"]
        spec["containers"] = [spec["containers"][0] | {"image": "shop/web:2", "env": [{"name": "B", "value": "2"}]}]
        spec["containers"][0].pop("livenessProbe")
        spec["volumes"] = [spec["volumes"][0] | {"configMap": {"name": "other"}}]
        spec.pop("tolerations")
    return result


@pytest_asyncio.fixture
async def server(control_plane: ControlPlane) -> AsyncIterator[Arena]:
    async with real(control_plane) as made:
        yield made


@pytest.mark.parametrize("names", KINDS)
async def test_what_was_applied_on_the_client_s_side_is_in_sync(
    server: Arena, names: tuple[str, str, str, str]
) -> None:
    kind, target = manifest(names, server.namespace, "client")
    made = await server.cluster.create(kind, client_side_apply(target, None), namespace=server.namespace)
    assert difference(target, made.content).changes == ()
    following = changed(target)
    assert difference(following, made.content).modified
    # Others write meanwhile: the state of workloads, defaults, protection of claims.
    live = (await server.cluster.get(kind, server.key("client"))).content
    patch = diff(live, client_side_apply(following, live))
    patched = await server.cluster.patch(kind, server.key("client"), MergePatch(patch))
    assert difference(following, patched.content).changes == ()
    assert diff(patched.content, client_side_apply(following, patched.content)) == {}
    assert difference(following, patched.content, STRUCTURED).changes == ()


@pytest.mark.parametrize("names", KINDS)
async def test_a_server_side_apply_does_what_was_predicted(server: Arena, names: tuple[str, str, str, str]) -> None:
    kind, target = manifest(names, server.namespace, "server")
    made = await server.cluster.patch(kind, server.key("server"), ApplyPatch(target, force=True))
    assert difference(target, made.content, STRUCTURED).changes == ()
    following = changed(target)
    predicted = difference(following, made.content, STRUCTURED)
    assert predicted.modified
    applied = await server.cluster.patch(kind, server.key("server"), ApplyPatch(following, force=True))
    assert difference(following, applied.content, STRUCTURED).changes == ()
    assert predicted.predicted is not None
    left = difference(predicted.predicted, applied.content)
    # Only what the server fills in where something is new, what its controllers write meanwhile, and a counter.
    counter = "deprecated.daemonset.template.generation"
    assert not [change for change in left.changes if change.wanted is not None and counter not in change.path]


RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
WEBHOOK = {
    "name": "a.example.com",
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
    "clientConfig": {"service": {"name": "web", "namespace": "shop"}},
    "rules": [RULE],
}
PREFIX = {"path": {"value": "/shop"}}
HEADER = {"headers": [{"name": "x", "value": "1"}], "method": "GET"}
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}}}
ROUTE = {
    "matches": [PREFIX, HEADER],
    "filters": [MIRROR],
    "backendRefs": [{"name": "web", "port": 80}, {"name": "b", "port": 80, "weight": 0}],
}
MORE: dict[tuple[str, str, str, str], Object] = {
    ("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"): {
        "webhooks": [WEBHOOK]
    },
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"): {
        "webhooks": [WEBHOOK]
    },
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"): {
        "spec": {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
    },
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"): {
        "spec": {"policyName": "a", "validationActions": ["Deny"]}
    },
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"): {
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
        "rules": [],
    },
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"): {
        "roleRef": {"kind": "ClusterRole", "name": "web", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Group", "name": "a"}],
    },
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"): {"value": 0, "globalDefault": False},
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses"): {
        "provisioner": "a.example.com",
        "allowVolumeExpansion": False,
    },
    ("", "v1", "PersistentVolume", "persistentvolumes"): {
        "spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}
    },
    ("", "v1", "Namespace", "namespaces"): {},
    ("batch", "v1", "Job", "jobs"): {
        "spec": {
            "template": pods(restartPolicy="Never"),
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        }
    },
    ("", "v1", "Pod", "pods"): {"spec": pods(serviceAccountName="default", tolerations=[])["spec"]},
    ("", "v1", "Endpoints", "endpoints"): {
        "subsets": [
            {
                "addresses": [{"ip": "10.1.0.2"}, {"ip": "10.1.0.1"}],
                "ports": [{"port": 90, "name": "b"}, {"port": 80, "name": "a"}],
            }
        ]
    },
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"): {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"]}],
        "ports": [{"port": 80}],
    },
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"): {
        "spec": {"parentRefs": [{"name": "gate"}], "rules": [ROUTE, {"backendRefs": [{"name": "web", "port": 80}]}]}
    },
    ("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes"): {
        "spec": {
            "parentRefs": [{"name": "gate"}],
            "rules": [{"matches": [{"method": {"service": "a"}}], "backendRefs": [{"name": "web", "port": 80}]}],
        }
    },
}
UNNAMESPACED = (
    "Webhook",
    "AdmissionPolicy",
    "ClusterRole",
    "PriorityClass",
    "StorageClass",
    "PersistentVolume",
    "Namespace",
)


@pytest.mark.parametrize("names", [pytest.param(names, id=names[2]) for names in MORE])
async def test_what_was_just_created_is_in_sync(server: Arena, names: tuple[str, str, str, str]) -> None:
    group, version, kind, plural = names
    is_namespaced = kind == "PersistentVolumeClaim" or not any(part in kind for part in UNNAMESPACED)
    found = carried(group, version, kind, plural, namespaced=is_namespaced)
    namespace = {"namespace": server.namespace} if is_namespaced else {}
    target = {
        "apiVersion": found.api_version,
        "kind": kind,
        "metadata": {"name": "diff-web", **namespace},
        **MORE[names],
    }
    await in_sync_once_created(server, found, target, namespace.get("namespace", ""))


DEFINITIONS = sorted((Path(fairlead.__file__).parent / "crds").glob("*.yaml"))


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
async def test_a_definition_that_was_just_created_is_in_sync(server: Arena, path: Path) -> None:
    target = yaml.safe_load(path.read_bytes())  # noqa: ASYNC240 - a small file
    await in_sync_once_created(server, CRDS, renamed(target), "")


def renamed(target: Object) -> Object:
    """Return a definition of a kind that no other test installs."""
    names, group = target["spec"]["names"], "diff.fairlead.dev"
    spec = target["spec"] | {"group": group}
    return target | {"metadata": target["metadata"] | {"name": f"{names['plural']}.{group}"}, "spec": spec}


async def in_sync_once_created(server: Arena, kind: Kind[Any], target: Object, namespace: str) -> None:
    assert isinstance(server.cluster, KubeCluster)
    tried = server.cluster.as_manager("fairlead", dry_run=True)
    raw = carried(kind.group, kind.version, kind.kind, kind.plural, namespaced=bool(namespace))
    try:
        body = client_side_apply(target, None)
    except SpecError:  # too large for the annotation
        body = target
    made = (await tried.create(raw, body, namespace=namespace)).content
    assert difference(target, made).changes == ()
    assert difference(target, made, STRUCTURED).changes == ()
    assert diff(made, client_side_apply(target, made)) == {} or body is target
