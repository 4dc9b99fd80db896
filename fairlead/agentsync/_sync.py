"""One pass of a sync. Pure: from tasks, recorded results and what lives to the next actions and the next results.

A pass does at most one step and is repeated until the phase is completed:

    tasks valid? → namespace → dry run of all → running tasks judged by health → wait for hooks, and for resources if
    there are several waves → wait for deletions → free completed hooks → failed? SyncFail hooks, then the end →
    nothing left? the end → run the lowest phase and wave that is left

The last wave is never waited for unless a hook is in it, and only Degraded fails what is waited for. What has been done
is in the results of the operation, so a pass can begin anywhere: after a crash the last step is done again.

Source: `argo-cd: gitops-engine/pkg/sync/sync_context.go: Sync, runTasks, Terminate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from fairlead.agentsync._doing import (
    PHASES,
    Doing,
    hook_state,
    is_deleting,
    is_sync_failed,
    not_served,
    removal_of,
    sync_phase,
    waiting_for,
    waiting_for_confirmation,
    with_reason,
)
from fairlead.agentsync._hooks import DeletePolicy, delete_policies, has_finalizer
from fairlead.agentsync._waves import Task, defined_kind, is_definition
from fairlead.agentsync.actions import (
    Action,
    Apply,
    ApplyWave,
    DeleteHooks,
    DryRun,
    Prune,
    ReleaseHooks,
)
from fairlead.agentsync.health import HealthCode, health
from fairlead.agentsync.observation import Result
from fairlead.agentsync.options import KUBECTL_MANAGER, Consent, SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, ServedKinds, metadata_of
from fairlead.agentsync.status import Phase, ResourceResult, ResultCode, SyncPhase
from fairlead.core.decision import earliest

WAVE_DELAY = timedelta(seconds=2)  # so that other controllers can react; ARGOCD_SYNC_WAVE_DELAY
MISSING_GRACE = timedelta(seconds=10)  # caches of a kind that is new may be behind what was just written

TASKS_INVALID = "one or more synchronization tasks are not valid"
NAMESPACE_FAILED = "the namespace failed to apply"
DRY_RUN_FAILED = "one or more objects failed to apply (dry run)"
APPLY_FAILED = "one or more objects failed to apply"
TASKS_FAILED = "one or more synchronization tasks completed unsuccessfully"
SYNC_FAIL_FAILED = "one or more SyncFail hooks failed"
RUNNING = "one or more tasks are running"
NO_MORE_TASKS = "successfully synced (no more tasks)"
ALL_TASKS_RUN = "successfully synced (all tasks run)"
TERMINATED = "Operation terminated"
TERMINATION_ERRORS = "Operation termination had errors"
REQUIRES_PRUNING = "ignored (requires pruning)"
NO_PRUNE = "ignored (no prune)"
PRUNED = "pruned"
PRUNED_DRY_RUN = "pruned (dry run)"
_NO_NAME = "metadata.name: expected a name, found none (generateName is for hooks only)"

TaskKey = tuple[ResourceKey, SyncPhase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the tasks of one sync are carried out.

    Attributes:
        prune: whether the operation asks for pruning.
        approved: whether deletions have been approved since the operation began.
        confirms_all: whether every pruning has to be approved.
        migration_manager: whose client-side fields are taken over; empty: kubectl's.
        served: what the destination serves; None: it is not known, and not checked.
        refuses: why the project does not permit an object: (key, whether it is namespaced); empty: it does.
    """

    options: SyncOptions = field(default_factory=SyncOptions)
    prune: bool = False
    dry_run: bool = False
    force: bool = False
    approved: bool = False
    confirms_all: bool = False
    migration_manager: str = ""
    served: ServedKinds | None = None
    refuses: Callable[[ResourceKey, bool], str] = lambda key, namespaced: ""
    wave_delay: timedelta = WAVE_DELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass comes to.

    Attributes:
        results: all of the operation so far, in the order of the tasks.
        wake_at: when to pass again even if nothing changes.
    """

    phase: Phase
    message: str
    results: tuple[ResourceResult, ...]
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None


class _Syncing:
    """The state of one pass."""

    def __init__(
        self,
        tasks: tuple[Task, ...],
        recorded: Iterable[ResourceResult],
        fresh: Iterable[Result],
        manner: Manner,
        now: datetime,
        acted_at: datetime | None,
    ) -> None:
        self.manner = manner
        self.now = now
        self.acted_at = acted_at
        before = {(result.key, sync_phase(result)): result for result in recorded}
        self.all = [Doing(task, before.pop((task.key, task.phase), None)) for task in tasks]
        self.gone = before  # of what needs nothing any more: the namespace that was made, what was pruned
        self.fresh = tuple(fresh)
        self.wake_at: datetime | None = None
        self.has_run = any(not result.dry_run for result in self.fresh)  # a wave has come to its end just now
        self._merge()

    def _merge(self) -> None:
        by_key = {(doing.task.key, doing.task.phase): doing for doing in self.all}
        for result in self.fresh:
            doing = by_key.get((result.key, result.phase))
            if doing is None:
                self._record_gone(result)
                continue
            if result.dry_run and result.is_successful and not self.manner.dry_run:
                doing.record("", "")  # it was tried: that it need not be tried again is all that this says
                continue
            phase = PHASES[result.status]
            if result.dry_run and phase is Phase.RUNNING:
                phase = Phase.SUCCEEDED  # nothing was made that could run
            doing.record(phase, result.message, result.status)

    def _record_gone(self, result: Result) -> None:
        """Note what became of an object that is out of sight by now, as one that was pruned a moment ago."""
        if result.dry_run:
            return
        at = (result.key, result.phase)
        before = self.gone.get(at)
        self.gone[at] = ResourceResult(
            group=result.key.group,
            version=before.version if before is not None else "",
            kind=result.key.kind,
            namespace=result.key.namespace,
            name=result.key.name,
            status=result.status,
            message=result.message,
            hook_phase=PHASES[result.status],
            sync_phase=result.phase,
        )

    def answer(self, phase: Phase, message: str, *actions: Action) -> Pass:
        results = (*self.gone.values(), *(doing.result for doing in self.all if doing.result is not None))
        if phase.is_completed:  # what was tried and never done is no result
            results = tuple(result for result in results if result.hook_phase)
        return Pass(phase=phase, message=message, results=results, actions=actions, wake_at=self.wake_at)

    # -- the steps, in order -------------------------------------------------------------------------------------------

    def advance(self) -> Pass:
        if (answer := self._invalid() or self._first()) is not None:
            return answer
        steps = (self._stop, self._finish, self._judge, self._wait, self._free, self._fail, self._end, self._run)
        while True:  # a wave in which nothing is to be done leads to the next one; there are finitely many
            for step in steps:
                if (answer := step()) is not None:
                    return answer

    def _invalid(self) -> Pass | None:
        messages = [message for doing in self.all if (message := self._complaint(doing))]
        if not messages:
            return None
        return self.answer(Phase.FAILED, f"{TASKS_INVALID}: {', '.join(messages)}")

    def _complaint(self, doing: Doing) -> str:
        """Return why a task cannot be carried out, noted as its result; empty: it can."""
        task, key = doing.task, doing.task.key
        known = self.manner.served.find(key.group, key.kind) if self.manner.served is not None else None
        message = "" if key.name else _NO_NAME
        if known is not None:
            message = message or self.manner.refuses(key, known.namespaced)
        elif self.manner.served is not None:
            if not self._may_be_missing(task):
                message = message or not_served(key)
            message = message or self.manner.refuses(key, bool(key.namespace))
        if message:
            doing.record(Phase.FAILED, message, ResultCode.SYNC_FAILED)
        return message

    def _may_be_missing(self, task: Task) -> bool:
        if self.manner.options.skips_dry_run_on_missing(task.found):
            return True
        targets = (doing.task.target for doing in self.all)
        wanted = (task.key.group, task.key.kind)
        return any(
            target is not None and is_definition(target) and defined_kind(target) == wanted for target in targets
        )

    def _first(self) -> Pass | None:
        """Before anything else is touched: the namespace, then a dry run of everything."""
        if self.manner.dry_run:
            return self._only_dry_run()
        namespace = next((doing for doing in self.all if doing.task.is_namespace), None)
        if namespace is not None and namespace.has_failed:
            return self.answer(Phase.FAILED, with_reason(NAMESPACE_FAILED, [namespace]))
        if any(result.dry_run and not result.is_successful for result in self.fresh):
            return self.answer(Phase.FAILED, DRY_RUN_FAILED)
        if any(result.dry_run for result in self.fresh) or self._has_started():
            return None
        if namespace is not None and namespace.task.live is None and namespace.is_pending:
            return self.answer(Phase.RUNNING, RUNNING, ApplyWave(groups=((self._apply(namespace.task),),)))
        applies = () if self._unconfirmed(self.all) else tuple(self._dry_runs())
        return self.answer(Phase.RUNNING, RUNNING, DryRun(applies=applies)) if applies else None

    def _has_started(self) -> bool:
        """Whether everything has been tried, or more."""
        return any(doing.result is not None for doing in self.all if not doing.task.is_namespace)

    def _only_dry_run(self) -> Pass:
        """An operation that is a dry run does that and nothing else, wherever it is taken up again."""
        applies = tuple(self._dry_runs())
        if applies and not any(result.dry_run for result in self.fresh):
            return self.answer(Phase.RUNNING, RUNNING, DryRun(applies=applies))
        for doing in self.all:
            if doing.task.is_prune and not self._skip_prune(doing):
                doing.record(Phase.SUCCEEDED, PRUNED_DRY_RUN, ResultCode.PRUNED)
        if any(doing.has_failed for doing in self.all):
            return self.answer(Phase.FAILED, DRY_RUN_FAILED)
        return self.answer(Phase.SUCCEEDED, NO_MORE_TASKS)

    def _dry_runs(self) -> Iterable[Apply]:
        """A dry run is never server-side: what only that admits is first seen at the real apply."""
        for doing in self.all:
            task = doing.task
            is_real_namespace = task.is_namespace and not self.manner.dry_run
            if task.is_prune or is_real_namespace or self._is_left_out(doing) or not self._is_served(task):
                continue
            yield self._apply(task, dry_run=True)

    def _is_served(self, task: Task) -> bool:
        served = self.manner.served
        return served is None or served.find(task.key.group, task.key.kind) is not None

    def _stop(self) -> Pass | None:
        """What was applied a moment ago was rejected: that ends the sync, whatever else runs."""
        failed = {(result.key, result.phase) for result in self.fresh if not result.is_successful}
        if any((doing.task.key, doing.task.phase) in failed for doing in self._main()):
            return self._failed(APPLY_FAILED)
        return None

    def _finish(self) -> Pass | None:
        """All was applied and no hook is in the last wave: that is success, whatever becomes of that wave."""
        main = self._main()
        done = [doing for doing in main if not doing.is_pending]
        if not self.has_run or not done or any(doing.has_failed for doing in main) or self._pending():
            return None
        last = done[-1].at
        if any(doing.task.is_hook for doing in main if doing.at == last):
            return None
        if any(doing.is_running and doing.at != last for doing in self.all):
            return None
        return self.answer(Phase.SUCCEEDED, ALL_TASKS_RUN, *self._delete_hooks(DeletePolicy.SUCCEEDED))

    def _judge(self) -> Pass | None:
        """Running tasks are what their objects' health says."""
        for doing in self.all:
            if not doing.is_running:
                continue
            if doing.task.live is None:
                self._judge_missing(doing)
            elif doing.task.is_hook:
                phase, message = hook_state(doing.task.live)
                doing.record(phase, message)
            else:
                self._judge_resource(doing, doing.task.live)
        return None

    def _judge_missing(self, doing: Doing) -> None:
        if self.acted_at is not None and self.now < self.acted_at + MISSING_GRACE:
            self.wake_at = earliest(self.wake_at, self.acted_at + MISSING_GRACE)
            return
        key = doing.task.key
        message = f"Resource {key.group}/{key.kind}/{key.name} is missing, it might have been deleted"
        doing.record(Phase.FAILED, message, ResultCode.SYNC_FAILED)

    @staticmethod
    def _judge_resource(doing: Doing, live: Object) -> None:
        found = health(live)
        if found is None:
            doing.record(Phase.SUCCEEDED, doing.result.message if doing.result is not None else "")
        elif found.code is HealthCode.HEALTHY:
            doing.record(Phase.SUCCEEDED, found.message)
        elif found.code is HealthCode.DEGRADED:
            doing.record(Phase.FAILED, found.message)

    def _wait(self) -> Pass | None:
        is_multi_step = len({doing.at for doing in self.all}) > 1
        running = [doing for doing in self.all if doing.is_running and (is_multi_step or doing.task.is_hook)]
        if running:
            return self.answer(Phase.RUNNING, waiting_for(running))
        deleting = [
            doing
            for doing in self.all
            if doing.result is not None and doing.result.status == ResultCode.PRUNED and is_deleting(doing.task.live)
        ]
        return self.answer(Phase.RUNNING, waiting_for(deleting, deletion=True)) if deleting else None

    def _free(self) -> Pass | None:
        """Completed hooks lose our finalizer, so that nothing hangs in its deletion."""
        held = [
            removal_of(doing.task)
            for doing in self.all
            if doing.task.is_hook and doing.is_completed and doing.task.live and has_finalizer(doing.task.live)
        ]
        return self.answer(Phase.RUNNING, RUNNING, ReleaseHooks(removals=tuple(held))) if held else None

    def _fail(self) -> Pass | None:
        return self._failed(TASKS_FAILED) if any(doing.has_failed for doing in self._main()) else None

    def _failed(self, message: str) -> Pass:
        """Something went wrong: hooks for that run to completion, then it is over."""
        delete = self._delete_hooks(DeletePolicy.FAILED)
        rescue = [doing for doing in self.all if doing.task.phase is SyncPhase.SYNC_FAIL]
        message = with_reason(message, [doing for doing in self._main() if is_sync_failed(doing)])
        pending = [doing for doing in rescue if doing.is_pending]
        if pending:
            if old := self._stale_hooks(pending):
                return self._replace_hooks(old, delete)
            return self.answer(Phase.RUNNING, RUNNING, *delete, ApplyWave(groups=self._groups(pending)))
        if any(doing.is_running for doing in rescue):
            return self.answer(Phase.RUNNING, waiting_for([doing for doing in rescue if doing.is_running]), *delete)
        if lost := [doing for doing in rescue if doing.has_failed]:
            message = f"{message}\n{with_reason(SYNC_FAIL_FAILED, [doing for doing in lost if is_sync_failed(doing)])}"
        return self.answer(Phase.FAILED, message, *delete)

    def _end(self) -> Pass | None:
        if self._pending():
            return None
        return self.answer(Phase.SUCCEEDED, NO_MORE_TASKS, *self._delete_hooks(DeletePolicy.SUCCEEDED))

    def _run(self) -> Pass | None:
        """Run what is left of the lowest phase and wave; a wave in which nothing is to be done leads to the next."""
        for at, group in groupby(self._pending(), key=lambda doing: doing.at):
            wave = list(group)
            if (answer := self._run_wave(at, wave)) is not None:
                return answer
            if any(is_deleting(doing.task.live) for doing in wave):
                return None
        return None

    def _run_wave(self, at: tuple[SyncPhase, int], wave: list[Doing]) -> Pass | None:
        has_begun = any(not doing.is_pending for doing in self.all)
        if has_begun and self.acted_at is not None and not self._has_run_part_of(at):
            due = self.acted_at + self.manner.wave_delay
            if self.now < due:
                self.wake_at = earliest(self.wake_at, due)
                return self.answer(Phase.RUNNING, RUNNING)
        if unconfirmed := self._unconfirmed(wave):
            return self.answer(Phase.RUNNING, waiting_for_confirmation(unconfirmed))
        prune = self._prune([doing for doing in wave if doing.task.is_prune])
        if old := self._stale_hooks(wave):
            return self._replace_hooks(old, prune)
        groups = self._groups([doing for doing in wave if not doing.task.is_prune])
        actions = (*prune, *((ApplyWave(groups=groups),) if groups else ()))
        self.has_run = True
        return self.answer(Phase.RUNNING, RUNNING, *actions) if actions else None

    def _has_run_part_of(self, at: tuple[SyncPhase, int]) -> bool:
        return any(doing.at == at and not doing.is_pending for doing in self.all)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _main(self) -> list[Doing]:
        return [doing for doing in self.all if doing.task.phase is not SyncPhase.SYNC_FAIL]

    def _pending(self) -> list[Doing]:
        return [doing for doing in self._main() if doing.is_pending and not self._is_left_out(doing)]

    def _is_left_out(self, doing: Doing) -> bool:
        """Whether it is as it should be, and only what is not shall be applied; hooks run regardless."""
        task = doing.task
        is_equal = not task.is_modified and not task.is_hook and not task.is_prune and not task.is_namespace
        return doing.is_pending and is_equal and self.manner.options.applies_out_of_sync_only

    def _unconfirmed(self, doings: Iterable[Doing]) -> list[Doing]:
        if not self.manner.prune or self.manner.approved or self.manner.dry_run:
            return []
        return [doing for doing in doings if doing.task.is_prune and doing.is_pending and self._asks(doing.task.found)]

    def _asks(self, found: Object) -> bool:
        consent = self.manner.options.prunes(found)
        return consent is Consent.CONFIRM or (self.manner.confirms_all and consent is Consent.ALLOWED)

    def _skip_prune(self, doing: Doing) -> bool:
        """Note that an object is kept, if it is."""
        if not self.manner.prune:
            doing.record(Phase.SUCCEEDED, REQUIRES_PRUNING, ResultCode.PRUNE_SKIPPED)
        elif self.manner.options.prunes(doing.task.found) is Consent.NEVER:
            doing.record(Phase.SUCCEEDED, NO_PRUNE, ResultCode.PRUNE_SKIPPED)
        else:
            return False
        return True

    def _prune(self, doings: list[Doing]) -> tuple[Action, ...]:
        removals = []
        for doing in doings:
            if self._skip_prune(doing):
                continue
            if is_deleting(doing.task.live):
                doing.record(Phase.SUCCEEDED, PRUNED, ResultCode.PRUNED)
            else:
                removals.append(removal_of(doing.task))
        return (Prune(removals=tuple(removals), propagation=self.manner.options.propagation),) if removals else ()

    @staticmethod
    def _stale_hooks(doings: Iterable[Doing]) -> list[Doing]:
        """Return the hooks of which an earlier instance has to go first."""
        return [
            doing
            for doing in doings
            if doing.task.is_hook
            and doing.is_pending
            and doing.task.live is not None
            and DeletePolicy.BEFORE_CREATION in delete_policies(doing.task.found)
        ]

    def _replace_hooks(self, old: list[Doing], before: tuple[Action, ...]) -> Pass:
        going = [doing for doing in old if is_deleting(doing.task.live) and not has_finalizer(doing.task.live or {})]
        removals = tuple(removal_of(doing.task) for doing in old if doing not in going)
        actions = (*before, *((DeleteHooks(removals=removals),) if removals else ()))
        return self.answer(Phase.RUNNING, waiting_for(old, deletion=True), *actions)

    def _delete_hooks(self, policy: DeletePolicy) -> tuple[Action, ...]:
        removals = tuple(
            removal_of(doing.task)
            for doing in self.all
            if doing.task.is_hook
            and doing.task.live is not None
            and not doing.is_running
            and (has_finalizer(doing.task.live) or not is_deleting(doing.task.live))
            and policy in delete_policies(doing.task.found)
        )
        return (DeleteHooks(removals=removals),) if removals else ()

    def _groups(self, doings: list[Doing]) -> tuple[tuple[Apply, ...], ...]:
        tasks = [doing.task for doing in doings]
        return tuple(
            tuple(self._apply(task) for task in group) for _, group in groupby(tasks, key=lambda task: task.key.kind)
        )

    def _apply(self, task: Task, *, dry_run: bool = False) -> Apply:
        options, target = self.manner.options, task.target
        assert target is not None, "only what has a target is applied"
        has_metadata = task.is_namespace and bool(metadata_of(target).keys() - {"name"})
        server_side = not dry_run and (has_metadata or (not task.is_namespace and options.is_server_side(target)))
        return Apply(
            key=task.key,
            target=target,
            phase=task.phase,
            is_hook=task.is_hook,
            server_side=server_side,
            replace=options.replaces(target, task.live) and not task.is_namespace,
            force=options.forces(target, task.live, operation=self.manner.force) and not task.is_namespace,
            validate=options.validates(target),
            migrate_from=(self.manner.migration_manager or KUBECTL_MANAGER)
            if server_side and options.migrates and not task.is_namespace
            else "",
            keep_ignored=options.respects_ignores and task.live is not None,
            create_only=task.is_namespace and not has_metadata,
        )


def advance(
    tasks: tuple[Task, ...],
    recorded: Iterable[ResourceResult],
    fresh: Iterable[Result],
    manner: Manner,
    now: datetime,
    *,
    acted_at: datetime | None = None,
) -> Pass:
    """Return the next step of a sync.

    Args:
        tasks: all of them, in order, with what lives now.
        recorded: results of the operation so far.
        fresh: results of the last actions.
        manner: how it is carried out.
        acted_at: when the last wave was run, if this process ran one.
    """
    return _Syncing(tasks, recorded, fresh, manner, now, acted_at).advance()


def terminate(
    tasks: tuple[Task, ...], recorded: Iterable[ResourceResult], fresh: Iterable[Result], manner: Manner, now: datetime
) -> Pass:
    """Return the next step of ending a sync early: running hooks are deleted, everything else stays as it is."""
    fresh = tuple(fresh)
    syncing = _Syncing(tasks, recorded, fresh, manner, now, None)
    if any(not result.is_successful for result in fresh):
        return syncing.answer(Phase.ERROR, TERMINATION_ERRORS)
    removals = []
    for doing in syncing.all:
        live = doing.task.live
        if not doing.task.is_hook or live is None:
            continue
        phase, message = hook_state(live)
        is_held = has_finalizer(live)
        if phase is not Phase.RUNNING:
            doing.record(phase, message)
        elif doing.is_pending:
            continue  # an instance of an earlier sync
        else:
            doing.record(Phase.FAILED, "Terminated")
        if is_held or (phase is Phase.RUNNING and not is_deleting(live)):
            removals.append((phase, removal_of(doing.task)))
    deleted = tuple(removal for phase, removal in removals if phase is Phase.RUNNING)
    freed = tuple(removal for phase, removal in removals if phase is not Phase.RUNNING)
    actions: tuple[Action, ...] = (
        *((DeleteHooks(removals=deleted),) if deleted else ()),
        *((ReleaseHooks(removals=freed),) if freed else ()),
    )
    if actions:
        return syncing.answer(Phase.TERMINATING, RUNNING, *actions)
    return syncing.answer(Phase.FAILED, TERMINATED)
