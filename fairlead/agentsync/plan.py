"""What a sync would do, and in which order: for people, for policies, for a dry run without a cluster.

`plan` takes what is wanted and what lives as plain objects and answers in the order in which a sync goes through
them: phases (PreSync, Sync, PostSync, SyncFail), in each phase waves, in each wave prunes, then kinds in the order in
which they need each other. A Namespace or a CustomResourceDefinition comes before the first object that needs it,
prunes run in reverse. It is the same order that the controller uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from fairlead.agentsync._hooks import is_hook, is_skipped
from fairlead.agentsync._targets import Scope, builtin_scope, prepare_targets
from fairlead.agentsync._tasks import Course, Pair, build_tasks
from fairlead.agentsync._waves import Task
from fairlead.agentsync.operation import SyncResource
from fairlead.agentsync.options import Consent, SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, key_of
from fairlead.agentsync.spec import NamespaceMetadata
from fairlead.agentsync.status import SyncPhase


class Verb(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    APPLY = "apply"
    PRUNE = "prune"
    KEEP = "keep"  # it left the source, and must not be pruned
    CONFIRM = "confirm"  # it left the source; somebody has to approve the pruning
    HOOK = "hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One object in one phase.

    Attributes:
        target: what it should be; None: it left the source.
        live: what it is; None: it is not there.
    """

    key: ResourceKey
    verb: Verb
    target: Object | None
    live: Object | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """What is done together, before the next wave."""

    phase: SyncPhase
    number: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A sync, from its first wave to its last."""

    waves: tuple[Wave, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return tuple(step for wave in self.waves for step in wave.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How the sync goes.

    Attributes:
        sync_options: as `spec.syncPolicy.syncOptions` lists them.
        prune: whether objects that left the source are deleted.
        namespace: of the destination.
        namespace_metadata: `spec.syncPolicy.managedNamespaceMetadata`.
        resources: only these objects; then no hook runs. Empty: all.
        runs_hooks: whether hooks take part (not with the sync strategy `apply`).
        revision: the commit; with the start it names hooks that have only a `generateName`.
        started_at: when the sync began.
        scope: whether a kind is namespaced, by group and kind; None: not known, taken for namespaced.
        is_modified: whether what lives differs from what is wanted; for `ApplyOutOfSyncOnly=true`.
    """

    sync_options: tuple[str, ...] = ()
    prune: bool = True
    namespace: str = ""
    namespace_metadata: NamespaceMetadata | None = None
    resources: tuple[SyncResource, ...] = ()
    runs_hooks: bool = True
    revision: str = ""
    started_at: datetime | None = None
    scope: Scope = builtin_scope
    is_modified: Callable[[Object, Object], bool] = lambda target, live: True


def plan(desired: Iterable[Object], live: Iterable[Object], options: PlanOptions = PlanOptions()) -> Plan:
    """Return what a sync does.

    Args:
        desired: what is wanted, as rendered.
        live: what lives of the Application: whatever of it is not wanted is pruned.
        options: how the sync goes.

    Raises:
        SpecError: something that is wanted is no object.

    >>> service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    >>> web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    >>> old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"}}
    >>> [(step.verb.value, str(step.key)) for step in plan([web, service], [service, old]).steps]
    [('prune', '/ConfigMap//old'), ('apply', '/Service//web'), ('create', 'apps/Deployment//web')]
    """
    found = prepare_targets(desired, namespace=options.namespace, scope=options.scope).targets
    alive = {key_of(one): one for one in live}
    wanted = {target.key: target.content for target in found if not is_hook(target.content)}
    hooks = tuple(target for target in found if is_hook(target.content))
    hook_keys = {target.key for target in hooks}
    pairs = [_pair(key, target, alive.get(key), options) for key, target in wanted.items()]
    pairs += [Pair(key=key, live=one) for key, one in alive.items() if key not in wanted and key not in hook_keys]
    choice = SyncOptions.of(options.sync_options)
    course = Course(
        options=choice,
        resources=options.resources,
        runs_hooks=options.runs_hooks and not options.resources,
        revision=options.revision,
        started_at=options.started_at,
        namespace=options.namespace,
        namespace_metadata=options.namespace_metadata,
    )
    tasks = (task for task in build_tasks(pairs, hooks, course, alive.get) if not _is_left_out(task, choice))
    return Plan(
        tuple(
            Wave(phase=phase, number=number, steps=_steps(tuple(group), options, choice))
            for (phase, number), group in groupby(tasks, key=lambda task: (task.phase, task.wave))
        )
    )


def _pair(key: ResourceKey, target: Object, live: Object | None, options: PlanOptions) -> Pair:
    is_modified = live is None or is_skipped(target) or options.is_modified(target, live)
    return Pair(key=key, target=target, live=live, is_modified=is_modified)


def _is_left_out(task: Task, options: SyncOptions) -> bool:
    is_equal = not task.is_modified and not task.is_hook and not task.is_prune
    return options.applies_out_of_sync_only and is_equal


def _steps(tasks: tuple[Task, ...], options: PlanOptions, choice: SyncOptions) -> tuple[Step, ...]:
    made = [Step(key=task.key, verb=_verb(task, options, choice), target=task.target, live=task.live) for task in tasks]
    return tuple(sorted(made, key=lambda step: step.target is not None))


def _verb(task: Task, options: PlanOptions, choice: SyncOptions) -> Verb:
    if task.is_hook:
        return Verb.HOOK
    if not task.is_prune:
        return Verb.CREATE if task.live is None else Verb.APPLY
    consent = choice.prunes(task.found)
    if not options.prune or consent is Consent.NEVER:
        return Verb.KEEP
    return Verb.CONFIRM if consent is Consent.CONFIRM else Verb.PRUNE
