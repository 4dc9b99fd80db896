"""What a sync has to do: one task for each object and phase.

Source: `argo-cd: gitops-engine/pkg/sync/sync_context.go: getSyncTasks`, `controller/sync_namespace.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairlead.agentsync._hooks import as_hook, is_hook, phases_of
from fairlead.agentsync._targets import Target
from fairlead.agentsync._waves import Task, in_order, wave_of
from fairlead.agentsync.operation import SyncResource
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, group_version, key_of
from fairlead.agentsync.spec import NamespaceMetadata
from fairlead.agentsync.status import SyncPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What is wanted, and what lives, under one key; at least one of the two is there.

    Attributes:
        is_modified: whether they differ; True when one is missing.
        is_ours: whether what lives is tracked as this Application's.
    """

    key: ResourceKey
    target: Object | None = None
    live: Object | None = None
    is_modified: bool = True
    is_ours: bool = True

    @property
    def version(self) -> str:
        return group_version(self.found)[1]

    @property
    def found(self) -> Object:
        """What lives, else what is wanted."""
        found = self.live if self.live is not None else self.target
        assert found is not None, "a pair without an object"
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one sync goes.

    Attributes:
        options: of the operation.
        resources: only these; empty: all.
        runs_hooks: whether hooks take part.
        revision: names hooks that have only a `generateName`, with the start time.
        namespace: the destination's.
        namespace_metadata: what the destination namespace carries, if it is created.
        stamp: writes the tracking on hooks that get their name now.
    """

    options: SyncOptions = field(default_factory=SyncOptions)
    resources: tuple[SyncResource, ...] = ()
    runs_hooks: bool = True
    revision: str = ""
    started_at: datetime | None = None
    namespace: str = ""
    namespace_metadata: NamespaceMetadata | None = None
    stamp: Callable[[Object], Object] = lambda found: found

    def includes(self, key: ResourceKey) -> bool:
        return not self.resources or any(resource.matches(key) for resource in self.resources)


def build_tasks(
    pairs: Iterable[Pair],
    hooks: Iterable[Target],
    course: Course,
    find: Callable[[ResourceKey], Object | None],
) -> tuple[Task, ...]:
    """Return all tasks of a sync, in order.

    Args:
        pairs: everything but the hooks that are wanted.
        find: what lives under a key.
    """
    pairs = tuple(pairs)
    tasks = [task for pair in pairs for task in _resource_tasks(pair, course)]
    if course.runs_hooks:
        tasks.extend(task for hook in hooks for task in _hook_tasks(hook, course, find))
    if (namespace := _namespace_task(pairs, course, find)) is not None:
        tasks.append(namespace)
    return in_order(tasks, course.options)


def _resource_tasks(pair: Pair, course: Course) -> Iterable[Task]:
    found = pair.target if pair.target is not None else pair.live
    # A live hook that nobody wants is what an earlier sync left: only deletion policies touch it.
    if found is None or is_hook(found) or not course.includes(pair.key):
        return
    for phase in phases_of(found):
        yield Task(
            key=pair.key,
            version=group_version(found)[1],
            phase=phase,
            wave=wave_of(found),
            target=pair.target,
            live=pair.live,
            is_modified=pair.is_modified,
        )


def _hook_tasks(hook: Target, course: Course, find: Callable[[ResourceKey], Object | None]) -> Iterable[Task]:
    for phase in phases_of(hook.content):
        made = as_hook(hook.content, phase, revision=course.revision, started_at=course.started_at)
        made = made if hook.key.name else course.stamp(made)
        key = ResourceKey(hook.key.group, hook.key.kind, hook.key.namespace, key_of(made).name)
        yield Task(
            key=key,
            version=group_version(made)[1],
            phase=phase,
            wave=wave_of(made),
            target=made,
            live=find(key),
            is_hook=True,
        )


def _namespace_task(
    pairs: tuple[Pair, ...], course: Course, find: Callable[[ResourceKey], Object | None]
) -> Task | None:
    """Return what makes the destination namespace; None: nothing is to be done, or a manifest does it.

    It carries no tracking: so it is never pruned, nor deleted with its Application.
    """
    if not course.options.creates_namespace or not course.namespace:
        return None
    key = ResourceKey("", "Namespace", "", course.namespace)
    if any(pair.key == key and pair.target is not None for pair in pairs):
        return None
    live, metadata = find(key), course.namespace_metadata
    if live is not None and metadata is None:
        return None
    inner: dict[str, object] = {"name": course.namespace}
    if metadata is not None:
        given = {"labels": metadata.labels, "annotations": metadata.annotations}
        inner.update({name: dict(values) for name, values in given.items() if values})
    target: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": inner}
    is_modified = live is None or not _carries(live, metadata)
    return Task(
        key=key,
        version="v1",
        phase=SyncPhase.PRE_SYNC,
        target=target,
        live=live,
        is_namespace=True,
        is_modified=is_modified,
    )


def _carries(live: Object, metadata: NamespaceMetadata | None) -> bool:
    found = live.get("metadata")
    if metadata is None or not isinstance(found, Mapping):
        return metadata is None
    wanted = (("labels", metadata.labels), ("annotations", metadata.annotations))
    return all((found.get(name) or {}).items() >= values.items() for name, values in wanted)
