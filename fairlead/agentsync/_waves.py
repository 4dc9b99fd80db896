"""The order of a sync: phases, waves, kinds, what must come first, and prunes the other way round.

Source: `argo-cd: gitops-engine/pkg/sync/sync_tasks.go`, `sync_context.go: getSyncTasks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairlead.agentsync._hooks import SYNC_PHASES
from fairlead.agentsync.kinds import HELM_HOOK_WEIGHT, SYNC_WAVE
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, annotations_of, group_version, kind_of
from fairlead.agentsync.status import SyncPhase

_KINDS = (
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
)
_KIND_ORDER = {kind: index for index, kind in enumerate(_KINDS)}
_PHASE_ORDER = {phase: index for index, phase in enumerate(SYNC_PHASES)}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One object in one phase: applied if it has a target, else pruned.

    Attributes:
        version: API version of the object.
        target: what it should be.
        live: what it is; None: it is not there.
        is_hook: whether it is a hook.
        is_modified: whether live is not what it should be.
        is_namespace: whether it is the destination namespace that no manifest names: it is not tracked.
        skips_dry_run: since its kind is not served yet.
    """

    key: ResourceKey
    version: str
    phase: SyncPhase
    wave: int = 0
    target: Object | None = None
    live: Object | None = None
    is_hook: bool = False
    is_modified: bool = True
    is_namespace: bool = False
    skips_dry_run: bool = False

    @property
    def is_prune(self) -> bool:
        return self.target is None

    @property
    def found(self) -> Object:
        """The target, else what lives."""
        found = self.target if self.target is not None else self.live
        assert found is not None, "a task without an object"
        return found


def wave_of(found: Object) -> int:
    """Return the wave of an object: its own, else Helm's weight, else 0.

    >>> wave_of({"metadata": {"annotations": {"argocd.argoproj.io/sync-wave": "-5"}}})
    -5
    """
    annotations = annotations_of(found)
    for name in (SYNC_WAVE, HELM_HOOK_WEIGHT):
        if _INTEGER.fullmatch(text := annotations.get(name, "")):
            return int(text)
    return 0


def is_definition(found: Object) -> bool:
    """Return whether an object is a CustomResourceDefinition."""
    return kind_of(found) == "CustomResourceDefinition" and group_version(found)[0] == "apiextensions.k8s.io"


def defined_kind(found: Object) -> tuple[str, str]:
    """Return group and kind that a CustomResourceDefinition defines; empty texts where it says none."""
    spec = _mapping(found.get("spec"))
    group, kind = spec.get("group"), _mapping(spec.get("names")).get("kind")
    return (group if isinstance(group, str) else "", kind if isinstance(kind, str) else "")


def _mapping(inner: Any) -> Mapping[str, Any]:
    return inner if isinstance(inner, Mapping) else {}


def in_order(tasks: Iterable[Task], options: SyncOptions) -> tuple[Task, ...]:
    """Return the tasks in the order of the sync, each with the phase and the wave in which it runs."""
    placed = _with_prunes_last(_with_prunes_mirrored(list(tasks)), options)
    placed.sort(key=_position)
    _hoist(placed, _namespace_made, _namespace_used)
    _hoist(placed, _kind_made, _kind_used)
    return tuple(placed)


def _position(task: Task) -> tuple[int, int, int, str, str, str, str]:
    key = task.key
    order = _KIND_ORDER.get(key.kind, len(_KINDS))
    return (_PHASE_ORDER[task.phase], task.wave, order, key.kind, key.name, key.namespace, key.group)


def _with_prunes_mirrored(tasks: list[Task]) -> list[Task]:
    """Prunes run in reverse. Only waves that contain prunes take part: numbers are swapped, not negated."""
    waves = sorted({task.wave for task in tasks if task.is_prune})
    mirrored = dict(zip(waves, reversed(waves), strict=True))
    return [replace(task, wave=mirrored[task.wave]) if task.is_prune else task for task in tasks]


def _with_prunes_last(tasks: list[Task], options: SyncOptions) -> list[Task]:
    """`PruneLast`: one wave after the last of what is applied in the phase Sync, at least 1."""
    applied = (task.wave for task in tasks if task.phase is SyncPhase.SYNC and not task.is_prune)
    last = max(0, *applied, 0) + 1
    return [replace(task, wave=last) if task.is_prune and options.prunes_last(task.found) else task for task in tasks]


def _hoist(tasks: list[Task], made: Callable[[Task, Object], str], used: Callable[[Task, Object], str]) -> None:
    """Put what others need before the first task that needs it, in that task's phase and wave."""
    first: dict[str, int] = {}
    for index, task in enumerate(tasks):
        if task.target is None:
            continue
        if name := made(task, task.target):
            if (at := first.get(name)) is not None:
                tasks.insert(at, replace(tasks.pop(index), phase=tasks[at].phase, wave=tasks[at].wave))
                first = {key: where + 1 if where >= at else where for key, where in first.items()}
        elif name := used(task, task.target):
            first.setdefault(name, index)


def _namespace_made(task: Task, target: Object) -> str:
    return task.key.name if (task.key.group, task.key.kind) == ("", "Namespace") else ""


def _namespace_used(task: Task, target: Object) -> str:
    return task.key.namespace


def _kind_made(task: Task, target: Object) -> str:
    return "/".join(defined_kind(target)) if is_definition(target) else ""


def _kind_used(task: Task, target: Object) -> str:
    return f"{task.key.group}/{task.key.kind}"
