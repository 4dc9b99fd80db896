"""What the reference controller needs on a cluster: an account with the least rights, and a Deployment.

    fairlead manifests --image registry.example/fairlead:1 | kubectl apply --server-side -f -

The rights are those that the code makes use of, verb by verb; a test runs the controller under exactly these on a real
API server. They are one ClusterRole, or one Role where the controller works in a single namespace, and a Role for the
lease in its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Final

NAME: Final = "fairlead"
_PORTS: Final = {"health": 8080, "metrics": 8090}
_ARGO = "argoproj.io"
_ESO = "external-secrets.io"
_GATEWAY = "gateway.networking.k8s.io"


class Part(Flag):
    """What the controller can be asked to do."""

    ROLLOUTS = auto()
    SECRETS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What may be done with one resource.

    Attributes:
        why: what it is needed for.
        is_wide: the resource has no namespace: only a controller that works in all of them needs it.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    part: Part
    why: str
    is_wide: bool = False


def _right(group: str, resource: str, verbs: str, part: Part, why: str, *, is_wide: bool = False) -> Right:
    return Right(group=group, resource=resource, verbs=tuple(verbs.split()), part=part, why=why, is_wide=is_wide)


_BOTH = Part.ROLLOUTS | Part.SECRETS
_ROLLOUTS, _SECRETS = Part.ROLLOUTS, Part.SECRETS
_OWNING = "own what it creates, where the API server guards owner references"

RIGHTS: Final[tuple[Right, ...]] = (
    _right(_ARGO, "rollouts", "get list watch patch", _ROLLOUTS, "steps, annotations, replicas"),
    _right(_ARGO, "rollouts/status", "patch", _ROLLOUTS, "status"),
    _right(_ARGO, "rollouts/finalizers", "update", _ROLLOUTS, _OWNING),
    _right(_ARGO, "analysistemplates", "list watch", _ROLLOUTS, "metrics"),
    _right(_ARGO, "clusteranalysistemplates", "list watch", _ROLLOUTS, "metrics", is_wide=True),
    _right(_ARGO, "analysisruns", "get list watch create patch delete", _ROLLOUTS, "measure, and clean up"),
    _right(_ARGO, "analysisruns/finalizers", "update", _ROLLOUTS, _OWNING),
    _right("apps", "replicasets", "get list watch create patch delete", _ROLLOUTS, "revisions"),
    _right("apps", "deployments", "list watch patch", _ROLLOUTS, "workloadRef: the template, and its scaling down"),
    _right("", "podtemplates", "list watch", _ROLLOUTS, "workloadRef"),
    _right("", "services", "list watch patch", _ROLLOUTS, "selectors of stable, canary, active, preview"),
    _right("discovery.k8s.io", "endpointslices", "list watch", _ROLLOUTS, "whether pods are reached"),
    _right("", "pods", "list patch", _ROLLOUTS, "ephemeral metadata, restarts, pods of Jobs"),
    _right("", "pods/eviction", "create", _ROLLOUTS, "restarts that honour disruption budgets"),
    _right("batch", "jobs", "get list watch create delete", _ROLLOUTS, "metrics that are Jobs"),
    _right(_GATEWAY, "httproutes", "get list watch create patch delete", _ROLLOUTS, "weights; routes of our own"),
    _right(_GATEWAY, "grpcroutes", "get list watch patch", _ROLLOUTS, "weights, managed routes"),
    _right(_GATEWAY, "gateways", "list watch", _ROLLOUTS, "whether a route is accepted by a waypoint"),
    _right(_ESO, "externalsecrets", "list watch patch", _SECRETS, "finalizers"),
    _right(_ESO, "externalsecrets/status", "patch", _SECRETS, "status"),
    _right(_ESO, "externalsecrets/finalizers", "update", _SECRETS, _OWNING),
    _right(_ESO, "secretstores", "list watch", _SECRETS, "where values come from"),
    _right(_ESO, "secretstores/status", "patch", _SECRETS, "status"),
    _right(_ESO, "clustersecretstores", "list watch", _SECRETS, "where values come from", is_wide=True),
    _right(_ESO, "clustersecretstores/status", "patch", _SECRETS, "status", is_wide=True),
    _right("", "secrets", "get", _ROLLOUTS, "arguments and credentials of metrics"),
    _right("", "secrets", "get list watch create patch delete", _SECRETS, "the Secrets themselves; credentials"),
    _right("", "configmaps", "get", _SECRETS, "templates, certificates of stores"),
    _right("", "serviceaccounts", "get", _SECRETS, "identities of stores"),
    _right("", "serviceaccounts/token", "create", _SECRETS, "logins by a ServiceAccount's token"),
    _right("", "namespaces", "list watch", _BOTH, "labels that open stores, gateways and waypoints", is_wide=True),
    _right("", "events", "create patch", _BOTH, "Events"),
)
LEASE_RIGHTS: Final = _right("coordination.k8s.io", "leases", "get create patch", _BOTH, "leader election")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is to be installed.

    Attributes:
        image: of a container whose entry point is `fairlead`.
        namespace: where the controller runs; its lease lies there as well.
        only: the only namespace to work in; empty: all of them.
        parts: what it does.
        replicas: one leads, the others wait for its lease.
        arguments: further ones of `fairlead controller`.
    """

    image: str
    namespace: str = NAME
    only: str = ""
    parts: Part = _BOTH
    replicas: int = 1
    arguments: tuple[str, ...] = ()


def rules(installation: Installation) -> list[dict[str, Any]]:
    """Return the rules of the role, as Kubernetes writes them; what is asked of a resource in two parts is merged."""
    merged: dict[tuple[str, str], dict[str, None]] = {}
    for right in RIGHTS:
        if right.part & installation.parts and not (right.is_wide and installation.only):
            merged.setdefault((right.group, right.resource), {}).update(dict.fromkeys(right.verbs))
    return [_rule(group, resource, verbs) for (group, resource), verbs in merged.items()]


def manifests(installation: Installation) -> list[dict[str, Any]]:
    """Return the objects to apply, in order; not the custom resource definitions, nor the namespace of its work."""
    home, only = installation.namespace, installation.only
    lease = _rule(LEASE_RIGHTS.group, LEASE_RIGHTS.resource, LEASE_RIGHTS.verbs)
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(NAME, home)},
        *_granted(NAME, only, rules(installation), home),
        *_granted(f"{NAME}-leader-election", home, [lease], home),
        _metrics_service(installation),
        _deployment(installation),
    ]


# --- rights -----------------------------------------------------------------------------------------------------------


def _rule(group: str, resource: str, verbs: Iterable[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def _granted(name: str, namespace: str, granted: list[dict[str, Any]], home: str) -> list[dict[str, Any]]:
    """Return a role and its binding to the account: in a namespace, or in all of them where none is named."""
    group = "rbac.authorization.k8s.io"
    scope = "" if namespace else "Cluster"
    metadata = _metadata(name, namespace)
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": home}
    reference = {"apiGroup": group, "kind": f"{scope}Role", "name": name}
    return [
        {"apiVersion": f"{group}/v1", "kind": f"{scope}Role", "metadata": metadata, "rules": granted},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{scope}RoleBinding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": [subject],
        },
    ]


# --- the process ------------------------------------------------------------------------------------------------------


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "controller"}
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def _selector() -> Mapping[str, str]:
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "controller"}


def _metrics_service(installation: Installation) -> dict[str, Any]:
    ports = [{"name": "metrics", "port": _PORTS["metrics"], "targetPort": "metrics"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(f"{NAME}-metrics", installation.namespace),
        "spec": {"selector": dict(_selector()), "ports": ports},
    }


def _deployment(installation: Installation) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(NAME, installation.namespace),
        "spec": {
            "replicas": installation.replicas,
            "selector": {"matchLabels": dict(_selector())},
            "template": {
                "metadata": {"labels": dict(_selector())},
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    # Longer than the grace that running reconciliations have, so that the lease is given up as well.
                    "terminationGracePeriodSeconds": 30,
                    "containers": [_container(installation)],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def _container(installation: Installation) -> dict[str, Any]:
    own_namespace = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return {
        "name": "controller",
        "image": installation.image,
        "args": _arguments(installation),
        "env": [{"name": "POD_NAMESPACE", "valueFrom": own_namespace}],
        "ports": [{"name": name, "containerPort": port} for name, port in _PORTS.items()],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 5},
        # Measured: about 90 MiB at rest, 30 MiB more for each thousand objects.
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # certificates of stores pass through it
    }


def _arguments(installation: Installation) -> list[str]:
    found = ["controller"]
    if installation.only:
        found.append(f"--namespace={installation.only}")
    if Part.SECRETS not in installation.parts:
        found.append("--no-secrets")
    return [*found, *installation.arguments]
