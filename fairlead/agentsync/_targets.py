"""Rendered objects to what is wanted: namespaces filled, repeated and excluded ones gone, tracking stamped.

Source: `argo-cd: controller/state.go: DeduplicateTargetObjects, CompareAppState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fairlead.agentsync._waves import defined_kind, is_definition
from fairlead.agentsync.resources import (
    Object,
    ResourceKey,
    ServedKinds,
    group_version,
    key_of,
    kind_of,
    metadata_of,
    name_of,
    namespace_of,
)
from fairlead.agentsync.status import AppCondition, ConditionType
from fairlead.core.errors import SpecError

Scope = Callable[[str, str], bool | None]  # group and kind to whether it is namespaced; None: nobody knows


@dataclass(frozen=True, slots=True)
class Target:
    """One wanted object by its key; the key's name is empty if the object has only a `generateName`."""

    key: ResourceKey
    content: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What is wanted, and what people should know about it."""

    targets: tuple[Target, ...]
    conditions: tuple[AppCondition, ...] = ()


_RBAC, _ADMISSION, _STORAGE = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "storage.k8s.io"
_FLOW, _ESO = "flowcontrol.apiserver.k8s.io", "external-secrets.io"
_CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        (_RBAC, "ClusterRole"),
        (_RBAC, "ClusterRoleBinding"),
        (_ADMISSION, "MutatingWebhookConfiguration"),
        (_ADMISSION, "ValidatingWebhookConfiguration"),
        (_ADMISSION, "ValidatingAdmissionPolicy"),
        (_ADMISSION, "ValidatingAdmissionPolicyBinding"),
        (_STORAGE, "StorageClass"),
        (_STORAGE, "CSIDriver"),
        (_STORAGE, "CSINode"),
        (_STORAGE, "VolumeAttachment"),
        (_FLOW, "FlowSchema"),
        (_FLOW, "PriorityLevelConfiguration"),
        (_ESO, "ClusterSecretStore"),
        (_ESO, "ClusterExternalSecret"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("argoproj.io", "ClusterAnalysisTemplate"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("scheduling.k8s.io", "PriorityClass"),
    }
)


def builtin_scope(group: str, kind: str) -> bool | None:
    """Return what is known without a cluster: which well-known kinds are cluster-scoped.

    >>> builtin_scope("", "Namespace"), builtin_scope("example.com", "Widget")
    (False, None)
    """
    return False if (group, kind) in _CLUSTER_SCOPED else None


def scope_of(served: ServedKinds | None, objects: Iterable[Object]) -> Scope:
    """Return what tells whether a kind is namespaced: the cluster, a definition among the objects, what is known."""
    defined = {defined_kind(found): _defined_scope(found) for found in objects if is_definition(found)}

    @cache  # asked for each object several times
    def scope(group: str, kind: str) -> bool | None:
        known = served.find(group, kind) if served is not None else None
        if known is not None:
            return known.namespaced
        return defined[group, kind] if (group, kind) in defined else builtin_scope(group, kind)

    return scope


def _defined_scope(definition: Object) -> bool:
    spec = definition.get("spec")
    return not (isinstance(spec, Mapping) and spec.get("scope") == "Cluster")


def flattened(objects: Iterable[Object]) -> tuple[Object, ...]:
    """Return the objects with lists of objects taken apart."""
    found: list[Object] = []
    for one in objects:
        items = one.get("items")
        if kind_of(one).endswith("List") and isinstance(items, list) and all(isinstance(item, dict) for item in items):
            found.extend(items)
        else:
            found.append(one)
    return tuple(found)


def prepare_targets(
    objects: Iterable[Object],
    *,
    namespace: str,
    scope: Scope = builtin_scope,
    stamp: Callable[[Object], Object] = lambda found: found,
    is_excluded: Callable[[ResourceKey], bool] = lambda key: False,
) -> Targets:
    """Return what a successful render means for one destination.

    Args:
        namespace: of the destination: for namespaced objects that name none.
        stamp: writes the tracking.
        is_excluded: whether the settings say that a kind is left alone.

    Raises:
        SpecError: something that was rendered is no object.
    """
    conditions: list[AppCondition] = []
    wanted: dict[ResourceKey, Object] = {}
    counts: dict[ResourceKey, int] = {}
    unnamed: list[Target] = []
    for found in flattened(objects):
        placed = _placed(found, namespace, scope)
        key = key_of(placed)
        if is_excluded(key):
            message = f"Resource {key.group}/{key.kind} {key.name} is excluded in the settings"
            conditions.append(AppCondition(type=ConditionType.EXCLUDED_RESOURCE, message=message))
        elif not key.name:
            unnamed.append(Target(key, placed))
        else:
            counts[key] = counts.get(key, 0) + 1
            wanted[key] = placed
    for key, count in counts.items():
        if count > 1:
            message = f"Resource {key} appeared {count} times among application resources."
            conditions.append(AppCondition(type=ConditionType.REPEATED_RESOURCE, message=message))
    named = (Target(key, stamp(placed)) for key, placed in wanted.items())
    return Targets(targets=(*named, *unnamed), conditions=tuple(conditions))


def _placed(found: Object, namespace: str, scope: Scope) -> Object:
    """Return the object in its namespace: none if its kind is cluster-scoped, the destination's if it names none."""
    kind = kind_of(found)
    if not kind or not group_version(found)[1]:
        missing = "kind" if not kind else "apiVersion"
        raise SpecError(f"Object '{missing}' is missing in {_described(found)}")
    if not name_of(found) and not metadata_of(found).get("generateName"):
        raise SpecError(f"metadata.name is missing in {_described(found)}")
    is_namespaced = scope(group_version(found)[0], kind) is not False
    given = namespace_of(found)
    if is_namespaced == bool(given) or (is_namespaced and not namespace):
        return found
    metadata: dict[str, Any] = {name: inner for name, inner in metadata_of(found).items() if name != "namespace"}
    if is_namespaced:
        metadata["namespace"] = namespace
    return {**found, "metadata": metadata}


def _described(found: Object) -> str:
    key = key_of(found)
    return f"{key.kind or 'an object'} {key.namespace + '/' if key.namespace else ''}{key.name or 'without a name'}"
