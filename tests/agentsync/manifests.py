"""Manifests that use every field of an Application."""

from __future__ import annotations

from typing import Any

HELM: dict[str, Any] = {
    "repoURL": "https://charts.example.com",
    "chart": "redis",
    "targetRevision": "18.*",
    "name": "cache",
    "helm": {
        "releaseName": "cache",
        "namespace": "caches",
        "version": "v3",
        "valueFiles": ["$values/redis.yaml", "/common.yaml"],
        "ignoreMissingValueFiles": True,
        "values": "auth: {enabled: false}",
        "valuesObject": {"replica": {"replicaCount": 0}, "master": {"resources": None}, "tags": ["a", None]},
        "parameters": [{"name": "image.tag", "value": "7", "forceString": True}],
        "fileParameters": [{"name": "config", "path": "files/redis.conf"}],
        "passCredentials": True,
        "skipCrds": True,
        "skipSchemaValidation": True,
        "skipTests": True,
        "kubeVersion": "1.36.1",
        "apiVersions": ["monitoring.coreos.com/v1"],
    },
}
KUSTOMIZE: dict[str, Any] = {
    "repoURL": "https://git.example.com/shop.git",
    "path": "overlays/prod",
    "targetRevision": "v1.x",
    "tagPrefix": "shop/",
    "kustomize": {
        "version": "v5.0.0",
        "namePrefix": "prod-",
        "nameSuffix": "-eu",
        "namespace": "shop",
        "images": ["web=registry.example.com/web:2"],
        "replicas": [{"name": "web", "count": 3}, {"name": "worker", "count": "2"}],
        "patches": [
            {
                "path": "patch.yaml",
                "patch": "- op: remove",
                "target": {
                    "group": "apps",
                    "version": "v1",
                    "kind": "Deployment",
                    "name": "web",
                    "namespace": "shop",
                    "annotationSelector": "a=b",
                    "labelSelector": "app=web",
                },
                "options": {"allowNameChange": True},
            }
        ],
        "components": ["../../components/debug"],
        "ignoreMissingComponents": True,
        "commonLabels": {"team": "shop"},
        "commonAnnotations": {"revision": "$ARGOCD_APP_REVISION"},
        "commonAnnotationsEnvsubst": True,
        "forceCommonLabels": True,
        "forceCommonAnnotations": True,
        "labelWithoutSelector": True,
        "labelIncludeTemplates": True,
        "kubeVersion": "1.36.1",
        "apiVersions": ["example.com/v1"],
    },
}
DIRECTORY: dict[str, Any] = {
    "repoURL": "git@git.example.com:shop/plain.git",
    "path": "manifests",
    "ref": "values",
    "directory": {
        "recurse": True,
        "include": "*.yaml",
        "exclude": "{test,dev}/*",
        "disableExtensionFilter": True,
        "jsonnet": {
            "extVars": [{"name": "env", "value": "prod", "code": True}],
            "tlas": [{"name": "size", "value": "3", "code": True}],
            "libs": ["vendor"],
        },
    },
}
PLUGIN: dict[str, Any] = {
    "repoURL": "https://git.example.com/other.git",
    "path": "app",
    "plugin": {
        "name": "cdk8s",
        "env": [{"name": "A", "value": "b"}],
        "parameters": [
            {"name": "one", "string": "text"},
            {"name": "many", "array": ["a", "b"]},
            {"name": "named", "map": {"k": "v"}},
        ],
    },
}
EVERY_FIELD: dict[str, Any] = {
    "project": "shop",
    "source": KUSTOMIZE,
    "sources": [HELM, KUSTOMIZE, DIRECTORY, PLUGIN],
    "sourceHydrator": {
        "drySource": {"repoURL": "https://git.example.com/dry.git", "path": ".", "targetRevision": "main"},
        "syncSource": {"targetBranch": "env/prod", "path": "."},
        "hydrateTo": {"targetBranch": "env/prod-next"},
    },
    "destination": {"server": "https://kubernetes.default.svc", "name": "prod", "namespace": "shop"},
    "syncPolicy": {
        "automated": {"enabled": True, "prune": True, "selfHeal": True, "allowEmpty": True},
        "syncOptions": ["CreateNamespace=true", "PruneLast=true"],
        "retry": {
            "limit": -1,
            "backoff": {"duration": "5s", "factor": 3, "maxDuration": "3m0s"},
            "refresh": True,
        },
        "managedNamespaceMetadata": {"labels": {"team": "shop"}, "annotations": {"a": "b"}},
    },
    "ignoreDifferences": [
        {
            "group": "apps",
            "kind": "*",
            "name": "web",
            "namespace": "shop",
            "jsonPointers": ["/spec/replicas"],
            "jqPathExpressions": [".spec.template"],
            "managedFieldsManagers": ["kube-controller-manager"],
        }
    ],
    "info": [{"name": "url", "value": "https://example.com"}],
    "revisionHistoryLimit": 3,
}
OPERATION: dict[str, Any] = {
    "sync": {
        "revision": "main",
        "revisions": ["v1", "v2"],
        "source": KUSTOMIZE,
        "sources": [HELM, DIRECTORY],
        "prune": True,
        "dryRun": True,
        "syncStrategy": {"apply": {"force": True}, "hook": {"force": True}},
        "resources": [{"group": "apps", "kind": "Deployment", "name": "web", "namespace": "shop"}],
        "manifests": ['{"kind": "ConfigMap"}'],
        "syncOptions": ["Validate=false"],
        "autoHealAttemptsCount": 2,
    },
    "initiatedBy": {"username": "admin", "automated": True},
    "info": [{"name": "why", "value": "because"}],
    "retry": {"limit": 2, "backoff": {"duration": "1", "factor": 2, "maxDuration": "1m"}, "refresh": True},
}
AT = "2026-03-02T09:00:00Z"
STATUS: dict[str, Any] = {
    "sync": {
        "status": "OutOfSync",
        "revision": "a" * 40,
        "revisions": ["a" * 40, "1.2.3"],
        "comparedTo": {
            "source": KUSTOMIZE,
            "sources": [HELM, DIRECTORY],
            "destination": EVERY_FIELD["destination"],
            "ignoreDifferences": EVERY_FIELD["ignoreDifferences"],
        },
    },
    "health": {"status": "Degraded", "message": "Caused by apps/Deployment:shop/web", "lastTransitionTime": AT},
    "resources": [
        {
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
            "namespace": "shop",
            "name": "web",
            "status": "OutOfSync",
            "health": {"status": "Degraded", "message": "no pods", "lastTransitionTime": AT},
            "hook": True,
            "requiresPruning": True,
            "requiresDeletionConfirmation": True,
            "syncWave": -2,
        }
    ],
    "operationState": {
        "operation": OPERATION,
        "phase": "Failed",
        "message": "one or more objects failed to apply",
        "syncResult": {
            "resources": [
                {
                    "group": "batch",
                    "version": "v1",
                    "kind": "Job",
                    "namespace": "shop",
                    "name": "migrate",
                    "status": "SyncFailed",
                    "message": "job.batch/migrate is invalid",
                    "hookType": "PreSync",
                    "hookPhase": "Failed",
                    "syncPhase": "PreSync",
                    "images": ["migrate:1"],
                }
            ],
            "revision": "a" * 40,
            "revisions": ["a" * 40],
            "source": KUSTOMIZE,
            "sources": [HELM],
            "managedNamespaceMetadata": {"labels": {"team": "shop"}},
        },
        "startedAt": AT,
        "finishedAt": AT,
        "retryCount": 1,
    },
    "history": [
        {
            "id": 7,
            "revision": "a" * 40,
            "revisions": ["a" * 40],
            "source": KUSTOMIZE,
            "sources": [HELM],
            "deployStartedAt": AT,
            "deployedAt": AT,
            "initiatedBy": {"username": "admin"},
        }
    ],
    "conditions": [{"type": "SyncError", "message": "it failed", "lastTransitionTime": AT}],
    "reconciledAt": AT,
    "sourceType": "Kustomize",
    "sourceTypes": ["Helm", "Kustomize"],
    "summary": {"images": ["web:1"], "externalURLs": ["https://shop.example.com"], "isAppOfApps": True},
    "controllerNamespace": "argocd",
}
