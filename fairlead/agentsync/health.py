"""How objects and Applications are: the checks that Argo CD has, as pure functions.

An object that is going is `Progressing`. A kind that Argo CD judges by a script comes next, then the kinds that it
knows itself. A kind with no check has no health, which is not the same as being healthy: it does not count.

Scripts of one's own (`resource.customizations.health.*`, in Lua) are never run: what a cluster's settings say would
become code in this process. `refused_scripts` tells which ones there are, and what happens to their kinds instead.

Source: gitops.md 10; argo-cd: gitops-engine/pkg/health, resource_customizations, controller/health.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead.agentsync._health import _batch, _cluster, _delivery, _gateway, _pods, _secrets, _workloads
from fairlead.agentsync._health._reading import Reading, Unreadable
from fairlead.agentsync._health.verdict import Health, HealthCode
from fairlead.agentsync.kinds import HOOK_FINALIZER, IGNORE_HEALTHCHECK
from fairlead.agentsync.resources import Object, ResourceKey, annotations_of, group_version, kind_of, metadata_of

__all__ = ["Health", "HealthCode", "Managed", "application_health", "health", "refused_scripts", "worst"]

CAUSES_MAX: Final = 3

Check = Callable[[Reading], Health]
GroupKind = tuple[str, str]

_ESO: Final = "external-secrets.io"
_GATEWAY: Final = "gateway.networking.k8s.io"
_SCRIPTED: Final[Mapping[GroupKind, Check]] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _cluster.definition,
    ("batch", "CronJob"): _batch.cron_job,
    ("argoproj.io", "Rollout"): _delivery.rollout,
    ("argoproj.io", "AnalysisRun"): _delivery.analysis_run,
    ("argoproj.io", "Experiment"): _delivery.experiment,
    ("argoproj.io", "ApplicationSet"): _delivery.application_set,
    ("flagger.app", "Canary"): _delivery.canary,
    (_ESO, "ExternalSecret"): _secrets.by_ready,
    (_ESO, "SecretStore"): _secrets.by_ready,
    (_ESO, "ClusterSecretStore"): _secrets.by_ready,
    (_ESO, "PushSecret"): _secrets.by_ready,
    (_ESO, "ClusterExternalSecret"): _secrets.cluster_external_secret,
    (_GATEWAY, "HTTPRoute"): _gateway.http_route,
    (_GATEWAY, "GRPCRoute"): _gateway.grpc_route,
    (_GATEWAY, "Gateway"): _gateway.gateway,
    (_GATEWAY, "GatewayClass"): _gateway.gateway_class,
    (_GATEWAY, "BackendTLSPolicy"): _gateway.backend_tls_policy,
    ("cert-manager.io", "Certificate"): _secrets.certificate,
}


@dataclass(frozen=True, slots=True)
class _Builtin:
    """A check for the named API versions; none named: for all of them."""

    check: Callable[[Reading, bool], Health]
    versions: tuple[str, ...] = ("v1",)
    label: str = ""


def _plain(check: Check) -> Callable[[Reading, bool], Health]:
    return lambda found, _: check(found)


def _pod(found: Reading, is_hook: bool) -> Health:
    return _pods.pod(found, is_hook=is_hook)


_BUILTIN: Final[Mapping[GroupKind, _Builtin]] = {
    ("apps", "Deployment"): _Builtin(_plain(_workloads.deployment)),
    ("apps", "ReplicaSet"): _Builtin(_plain(_workloads.replica_set)),
    ("apps", "StatefulSet"): _Builtin(_plain(_workloads.stateful_set)),
    ("apps", "DaemonSet"): _Builtin(_plain(_workloads.daemon_set)),
    ("", "Service"): _Builtin(_plain(_cluster.service)),
    ("", "PersistentVolumeClaim"): _Builtin(_plain(_cluster.volume_claim)),
    ("", "Pod"): _Builtin(_pod),
    ("networking.k8s.io", "Ingress"): _Builtin(_plain(_cluster.ingress), ()),
    ("extensions", "Ingress"): _Builtin(_plain(_cluster.ingress), ()),
    ("batch", "Job"): _Builtin(_plain(_batch.job)),
    ("autoscaling", "HorizontalPodAutoscaler"): _Builtin(
        _plain(_cluster.autoscaler), ("v1", "v2", "v2beta1", "v2beta2"), "HPA"
    ),
    ("apiregistration.k8s.io", "APIService"): _Builtin(_plain(_cluster.api_service), ("v1", "v1beta1")),
    ("argoproj.io", "Workflow"): _Builtin(_plain(_batch.workflow), ()),
}


def health(obj: Object, *, is_hook: bool = False) -> Health | None:
    """Return how a live object is; None: nothing can be said of its kind.

    Args:
        obj: the object, as the cluster has it.
        is_hook: whether it is a hook of a sync: a Pod that ends is then never taken for one that serves.

    >>> health({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "ClusterIP"}})
    Health(code=<HealthCode.HEALTHY: 'Healthy'>, message='')
    """
    if metadata_of(obj).get("deletionTimestamp") and not _has_hook_finalizer(obj):
        return Health(HealthCode.PROGRESSING, "Pending deletion")
    group, version = group_version(obj)
    kind = kind_of(obj)
    try:
        scripted = _SCRIPTED.get((group, kind))
        if scripted is not None:
            return scripted(Reading(obj))
        builtin = _BUILTIN.get((group, kind))
        if builtin is None:
            return None
        if builtin.versions and version not in builtin.versions:
            found = f"{group}/{version}" if group else version
            raise Unreadable(f"unsupported {builtin.label or kind} GVK: {found}, Kind={kind}")
        return builtin.check(Reading(obj), is_hook)
    except Unreadable as error:
        return Health(HealthCode.UNKNOWN, str(error))


def _has_hook_finalizer(obj: Object) -> bool:
    found = metadata_of(obj).get("finalizers")
    return isinstance(found, list) and HOOK_FINALIZER in found


def worst(codes: Iterable[HealthCode]) -> HealthCode:
    """Return the worst of the codes; of none, `Healthy`.

    >>> worst([HealthCode.SUSPENDED, HealthCode.DEGRADED, HealthCode.MISSING]).value
    'Degraded'
    """
    return max(codes, key=lambda code: code.severity, default=HealthCode.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """One resource of an Application, as far as the Application's health depends on it.

    Args:
        key: which one; of a target without a live object, the target's.
        live: the live object; None: it is missing.
        health: its own health; None: its kind has no check, or there is no live object.
        is_counted: False for hooks, for what is skipped and for what is ignored.
    """

    key: ResourceKey
    live: Mapping[str, Any] | None
    health: Health | None = None
    is_counted: bool = True


def application_health(items: Iterable[Managed], *, application: ResourceKey | None = None) -> Health:
    """Return an Application's health: the worst of its live resources, with those that are so in the message.

    Args:
        items: its managed resources, in the order in which the message shall name them.
        application: the Application itself, which does not count when it manages itself.
    """
    counted = [item for item in items if item.is_counted]
    if counted and all(item.live is None for item in counted):
        return Health(HealthCode.MISSING)
    judged = [
        (item.key, item.health.code) for item in counted if item.health is not None and _matters(item, application)
    ]
    code = worst(code for _, code in judged)
    if code is HealthCode.HEALTHY:
        return Health(code)
    causes = [f"{key.group}/{key.kind}:{key.namespace}/{key.name}" for key, found in judged if found is code]
    more = f" and {len(causes) - CAUSES_MAX} more" if len(causes) > CAUSES_MAX else ""
    return Health(code, f"Caused by {', '.join(causes[:CAUSES_MAX])}{more}")


def _matters(item: Managed, application: ResourceKey | None) -> bool:
    if item.live is None or item.health is None or item.key == application:
        return False
    if annotations_of(item.live).get(IGNORE_HEALTHCHECK) == "true":
        return False
    is_child = (item.key.group, item.key.kind) == ("argoproj.io", "Application")
    return not (is_child and item.health.code in (HealthCode.MISSING, HealthCode.UNKNOWN))


_SCRIPT_PREFIX: Final = "resource.customizations.health."


def refused_scripts(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return one line for each health script in the data of `argocd-cm`: it is not run, and what holds instead.

    >>> refused_scripts({"resource.customizations.health.Pod": "return {}"})
    ('resource.customizations.health.Pod: Lua is not run here; the built-in check of Pod holds',)
    """
    return tuple(_refusal(key) for key in sorted(settings) if key.startswith(_SCRIPT_PREFIX))


def _refusal(setting: str) -> str:
    name = setting.removeprefix(_SCRIPT_PREFIX)
    # The core group is left out of the key: `Pod`, not `_Pod`.
    group, _, kind = name.rpartition("_")
    has_check = (group, kind) in _SCRIPTED or (group, kind) in _BUILTIN
    shown = f"{group}/{kind}" if group else kind
    instead = f"the built-in check of {shown} holds" if has_check else f"{shown} has no health and does not count"
    return f"{setting}: Lua is not run here; {instead}"
