"""What should happen next to an Application. Pure.

    spec + operation + status + observation + now ──decide()──▶ status, operation, finalizers, actions, wake_at

Each decision goes through the same parts: what is wanted is compared with what lives, a running operation takes its
next step, or else automatic sync says whether it asks for one. Sources are asked when that is due.

- Desired state is only ever what was rendered completely, of one commit for each source, for the sources that the spec
  (or the operation) names now. A render that fails, or a repository that does not answer, changes nothing that lives:
  it turns the status `Unknown`, after a period of grace if it is the repository.
- While a repository does not answer, drift is still mended: towards the commit that was synced last.
- What is deleted carries this Application's tracking and is absent from a render that succeeded. A render without any
  object prunes nothing unless the policy allows it or somebody approves.
- Status, `operation` and finalizers go into one merge patch (`application_patch`), so no write revives a request.

Source: `argo-cd: controller/appcontroller.go, state.go, sync.go`.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from fairlead.agentsync import _deleting, _operating, _sync
from fairlead.agentsync._auto import Auto, auto_sync, when_to_render
from fairlead.agentsync._case import Case
from fairlead.agentsync._comparing import (
    application_key,
)
from fairlead.agentsync._hooks import hook_types
from fairlead.agentsync._looking import Look, look, unknown
from fairlead.agentsync._subject import (
    ApplicationDecision,
    Reason,
    Settings,
    Subject,
    Tools,
    application_patch,
    prepare,
)
from fairlead.agentsync.actions import Action, Depth, Render
from fairlead.agentsync.health import HealthCode
from fairlead.agentsync.kinds import (
    FINALIZERS,
    MIGRATION_MANAGER,
    POST_DELETE,
    POST_DELETE_CLEANUP,
    PRE_DELETE,
    PRE_DELETE_CLEANUP,
    REFRESH,
    REFRESH_TIMESTAMP,
    SKIP_RECONCILE,
)
from fairlead.agentsync.observation import Observation, Rendering
from fairlead.agentsync.operation import Operation
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.agentsync.status import (
    AppCondition,
    ApplicationStatus,
    ConditionType,
    OperationState,
    Phase,
    SyncCode,
    SyncPhase,
    with_conditions,
)
from fairlead.core.decision import Blocker, Event, earliest
from fairlead.core.errors import SpecError

__all__ = [
    "ApplicationDecision",
    "Reason",
    "Settings",
    "Subject",
    "Tools",
    "application_patch",
    "decide",
    "prepare",
]


DEFAULTS = Settings()


def decide(
    subject: Subject,
    status: ApplicationStatus,
    seen: Observation,
    now: datetime,
    tools: Tools,
    *,
    settings: Settings = DEFAULTS,
) -> ApplicationDecision:
    """Return the next status of an Application and what must be done for it."""
    if subject.metadata.annotations.get(SKIP_RECONCILE) == "true":
        blocker = Blocker(reason=Reason.SKIPPED, what=f"annotation {SKIP_RECONCILE} is set")
        return _as_it_is(subject, status, blocker)
    deciding = _Deciding(Case(subject, status, seen, now, tools, settings))
    if subject.metadata.deletion_timestamp is not None:
        return deciding.delete(subject.metadata.deletion_timestamp)
    if subject.spec is None:
        return deciding.refuse(subject.error)
    return deciding.decide(subject.spec)


def _as_it_is(subject: Subject, status: ApplicationStatus, blocker: Blocker | None) -> ApplicationDecision:
    return ApplicationDecision(
        status=status,
        operation=subject.operation,
        finalizers=subject.metadata.finalizers,
        blocked_on=blocker,
    )


class _Deciding:
    """One decision in the making."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.subject = case.subject
        self.before = case.status
        self.status = case.status
        self.seen = case.seen
        self.now = case.now
        self.timing = case.settings.timing
        self.operation = case.subject.operation
        self.finalizers = case.subject.metadata.finalizers
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.wake_at: datetime | None = None
        self.blocker: Blocker | None = None

    # -- the whole -----------------------------------------------------------------------------------------------------

    def refuse(self, error: str) -> ApplicationDecision:
        """The spec cannot be understood: say so, and touch nothing."""
        conditions = (AppCondition(type=ConditionType.INVALID_SPEC, message=error),)
        self.status = unknown(self.status, conditions, self.now)
        self.blocker = Blocker(reason=Reason.INVALID, what=error)
        self._reject_operation(self.status.conditions)
        return self._decision(done=self._refresh_annotations() if self.subject.refresh else ())

    def decide(self, spec: ApplicationSpec) -> ApplicationDecision:
        errors = self.case.spec_errors(spec)
        if errors:
            self.status = unknown(self.status, errors, self.now)
            self.blocker = Blocker(reason=Reason.INVALID, what=errors[0].message)
            if self._state_in_progress() is None:
                self._reject_operation(errors)
                return self._decision(done=self._refresh_annotations() if self.subject.refresh else ())
            self._operate(spec, Look(status=self.status, errors=errors))
            return self._decision()
        found = look(self.case, spec)
        self.status, self.blocker = found.status, found.blocker
        self._wake(found.wake_at)
        done = self._ask_sources(spec)
        self._operate(spec, found)
        self._protect(found)
        return self._decision(done=done)

    def _decision(self, *, done: tuple[str, ...] = ()) -> ApplicationDecision:
        self._tell()
        return ApplicationDecision(
            status=self.status,
            operation=self.operation,
            finalizers=self.finalizers,
            annotations_done=done,
            actions=tuple(self.actions),
            events=tuple(self.events),
            wake_at=self.wake_at,
            blocked_on=self.blocker,
        )

    def _wake(self, at: datetime | None) -> None:
        self.wake_at = earliest(self.wake_at, at)

    # -- sources -------------------------------------------------------------------------------------------------------

    def _refresh_annotations(self) -> tuple[str, ...]:
        present = self.subject.metadata.annotations
        return tuple(name for name in (REFRESH, REFRESH_TIMESTAMP) if name in present)

    def _request(self) -> str:
        stamp = self.subject.metadata.annotations.get(REFRESH_TIMESTAMP, "")
        return f"{self.subject.refresh}@{stamp}" if self.subject.refresh else ""

    def _ask_sources(self, spec: ApplicationSpec) -> tuple[str, ...]:
        """Ask for a render if one is due; return the annotations that have been answered."""
        rendering, request = self.seen.rendering, self._request()
        is_answered = bool(request) and rendering.answered == request
        due = when_to_render(
            spec,
            rendering,
            "" if is_answered else self.subject.refresh,
            self.timing,
            self.now,
            jitter=self.seen.jitter,
        )
        self._wake(due.at)
        depth = due.depth
        if depth is None and self._is_behind_an_operation(rendering):
            depth = Depth.FRESH
        if depth is not None:
            self.actions.append(
                Render(
                    sources=spec.all_sources,
                    destination=spec.destination,
                    depth=depth,
                    request="" if is_answered else request,
                )
            )
        return self._refresh_annotations() if is_answered else ()

    def _is_behind_an_operation(self, rendering: Rendering) -> bool:
        """Whether a sync has ended with other revisions than what is compared with, which was rendered before that.

        Without another look the Application would be OutOfSync until the next poll, with what it has just got.
        """
        state, desired, failure = self.status.operation_state, rendering.desired, rendering.failure
        taken = self.seen.operation.desired
        if rendering.in_flight or self._state_in_progress() is not None:
            return False
        if state is None or state.operation.sync is None or state.operation.sync.dry_run:
            return False
        if desired is None or taken is None:
            return False
        looked_at = max(desired.rendered_at, failure.at) if failure is not None else desired.rendered_at
        return looked_at < taken.rendered_at and taken.revisions != desired.revisions

    # -- operations ----------------------------------------------------------------------------------------------------

    def _state_in_progress(self) -> OperationState | None:
        state = self.before.operation_state
        return state if state is not None and state.phase in (Phase.RUNNING, Phase.TERMINATING) else None

    def _reject_operation(self, errors: tuple[AppCondition, ...]) -> None:
        """A request that nobody can carry out is answered, and removed."""
        if not self.subject.has_operation and self._state_in_progress() is None:
            return
        asked = self.subject.operation if self.subject.operation is not None else Operation()
        state = self._state_in_progress() or _operating.begin(asked, self.now)
        wrong = tuple(one for one in errors if one.type == ConditionType.INVALID_SPEC)
        self._end_operation(
            msgspec.structs.replace(
                state,
                phase=Phase.ERROR,
                message=_operating.joined(wrong),
                finished_at=self.now.replace(microsecond=0),
            )
        )

    def _operate(self, spec: ApplicationSpec, found: Look) -> None:
        state = self._state_in_progress()
        if state is None and self.subject.operation_error:
            error = AppCondition(type=ConditionType.INVALID_SPEC, message=self.subject.operation_error)
            self._reject_operation((error,))
        elif state is None and self.subject.operation is not None:
            self._take_up(spec, self.subject.operation)
        elif state is not None:
            self._proceed(spec, state, found)
        else:
            self._sync_by_itself(spec, found)

    def _take_up(self, spec: ApplicationSpec, operation: Operation) -> None:
        """Write down that it has begun before anything is done: names of hooks depend on the time."""
        state = _operating.begin(operation, self.now)
        self.status = msgspec.structs.replace(self.status, operation_state=state)
        self._wake(self.now)
        brings_its_own = operation.sync is None or bool(operation.sync.manifests)
        # What an earlier operation rendered is not this one's, not even within the same second.
        if not brings_its_own and self.case.serving(spec, state, is_new=True) is None:
            self._render_operation(spec, state)
        self.blocker = Blocker(reason=Reason.SYNCING, what="a sync begins")

    def _render_operation(self, spec: ApplicationSpec, state: OperationState) -> None:
        if self.case.operation_errors(state):
            return
        self.actions.append(
            Render(
                sources=_operating.sources_of(state, spec),
                revisions=_operating.revisions_of(state, spec),
                destination=spec.destination,
                depth=Depth.FRESH,
                for_operation=True,
            )
        )

    def _proceed(self, spec: ApplicationSpec, state: OperationState, found: Look) -> None:
        if self.seen.is_acting or self.seen.live is None:
            self._wake(self.now + self.timing.operation_interval)
            self.blocker = Blocker(reason=Reason.SYNCING, what=state.message or "a sync runs", since=state.started_at)
            return
        step = _operating.proceed(state, spec, self._world(spec, state, found), self.timing, self.now)
        self._wake(step.wake_at)
        self.actions.extend(step.actions)
        if step.wants_render and not self.seen.operation.in_flight:
            self._render_operation(spec, step.state)
        if Phase(step.state.phase).is_completed:
            self._end_operation(step.state)
            return
        self.status = msgspec.structs.replace(self.status, operation_state=step.state)
        reason = Reason.RETRYING if step.state.finished_at is not None else Reason.SYNCING
        if step.state.message == _operating.BLOCKED:
            reason = Reason.BLOCKED
        what = step.state.message or "a sync runs"
        self.blocker = Blocker(reason=reason, what=what, since=step.state.started_at, at=step.wake_at)

    def _end_operation(self, state: OperationState) -> None:
        limit = self.subject.spec.history_limit if self.subject.spec is not None else 0
        self.status = msgspec.structs.replace(self.status, operation_state=state)
        if self.subject.spec is not None:
            self.status = _operating.with_history(self.status, state, limit)
        self.events.append(_operating.completed_event(state))
        self.operation = None
        self._wake(self.now)

    def _world(self, spec: ApplicationSpec, state: OperationState, found: Look) -> _operating.World:
        assert self.seen.live is not None, "an operation needs the destination"
        desired = self.case.serving(spec, state)
        failure = self.seen.operation.failure
        is_current = failure is not None and (state.started_at is None or failure.at >= state.started_at)
        message = failure.message if failure is not None and is_current else ""
        windows = self.case.windows(spec, state)
        errors = tuple(one for one in found.errors if one.type == ConditionType.INVALID_SPEC)
        errors = errors or self.case.operation_errors(state)
        try:
            desired = self.case.local_manifests(state) or desired
        except SpecError as error:
            desired, message = None, str(error)
        return _operating.World(
            desired=desired,
            failure=message,
            compare=lambda wanted: self.case.compare(spec, wanted),
            find=self.seen.live.find,
            stamp=self.case.tools.tracking.stamp,
            manner=_sync.Manner(
                migration_manager=self.subject.metadata.annotations.get(MIGRATION_MANAGER, ""),
                served=self.seen.served,
                refuses=self.case.refuses(spec),
                wave_delay=self.timing.wave_delay,
            ),
            is_blocked=not windows[0],
            blocked_until=windows[1],
            errors=errors,
            results=self.seen.results,
            acted_at=self.seen.acted_at,
            approved_at=self.subject.approved_at,
            allows_empty=spec.automated is not None and spec.automated.allow_empty,
        )

    def _sync_by_itself(self, spec: ApplicationSpec, found: Look) -> None:
        auto = self._auto(spec, found)
        condition = AppCondition(type=ConditionType.SYNC, message=auto.error)
        conditions = (condition,) if auto.error else ()
        if found.is_trusted:
            self.status = with_conditions(self.status, conditions, frozenset({ConditionType.SYNC}), self.now)
        self._wake(auto.wait_until)
        if auto.operation is not None:
            self.operation = auto.operation
            self._take_up(spec, auto.operation)
        if auto.event is not None:
            self.events.append(auto.event)
        if self.blocker is None and self.status.sync.status == SyncCode.OUT_OF_SYNC:
            what = auto.why_not or "a sync is asked for"
            self.blocker = Blocker(reason=Reason.OUT_OF_SYNC, what=what, at=auto.wait_until)
        if self.blocker is None and self.status.health.status not in ("", HealthCode.HEALTHY):
            what = self.status.health.message or f"health is {self.status.health.status}"
            self.blocker = Blocker(reason=Reason.UNHEALTHY, what=what)

    def _auto(self, spec: ApplicationSpec, found: Look) -> Auto:
        if not found.is_trusted or found.comparison is None or found.desired is None or self.seen.is_acting:
            return Auto(why_not="the desired state is not known for sure")
        auto = auto_sync(
            spec,
            self.before,
            found.comparison,
            found.desired,
            self.timing,
            self.now,
            namespace_changed=self.case.namespace_changed(spec),
        )
        if auto.operation is None:
            return auto
        allowed, until = self.case.windows(spec, _operating.begin(auto.operation, self.now))
        return auto if allowed else Auto(wait_until=until, why_not=_operating.BLOCKED)

    # -- finalizers and deletion ---------------------------------------------------------------------------------------

    def _protect(self, found: Look) -> None:
        """Hooks of the deletion need finalizers, or nobody would run them."""
        if found.comparison is None or not found.is_trusted:
            return
        types = {phase for hook in found.comparison.delete_hooks for phase in hook_types(hook.content)}
        wanted = {
            SyncPhase.PRE_DELETE: (PRE_DELETE, PRE_DELETE_CLEANUP),
            SyncPhase.POST_DELETE: (POST_DELETE, POST_DELETE_CLEANUP),
        }
        for phase, names in wanted.items():
            if phase in types:
                self.finalizers += tuple(name for name in names if name not in self.finalizers)

    def delete(self, deleted_at: datetime) -> ApplicationDecision:
        """The Application goes."""
        meta, seen, spec = self.subject.metadata, self.seen, self.subject.spec
        if spec is None:
            return self._cannot_delete()
        desired, failure = seen.rendering.desired, seen.rendering.failure
        refuses, refusal = self.case.refuses(spec), self.case.render_refusal(spec)
        condition = self.before.condition(ConditionType.DELETION)
        left = _deleting.delete(
            _deleting.Going(
                finalizers=meta.finalizers,
                deleted_at=deleted_at,
                myself=application_key(meta.namespace, meta.name),
                is_gone=seen.destination.is_gone,
                problem=self._delete_problem(),
                live=seen.live,
                hooks=self.case.delete_hooks(spec, desired),
                render_failure=refusal or (failure.message if failure is not None else ""),
                owns=self.case.tools.tracking.owns,
                permits=lambda key: not refuses(key, bool(key.namespace)),
                stamp=self.case.tools.tracking.stamp,
                options=SyncOptions.of(spec.sync_options),
                approved_at=self.subject.approved_at,
                failed_at=condition.last_transition_time if condition is not None else None,
                revision="".join(desired.revisions[:1]) if desired is not None else "",
                results=seen.results,
            ),
            self.now,
        )
        errors = (AppCondition(type=ConditionType.DELETION, message=left.error),) if left.error else ()
        if left.error or not left.waiting:
            kinds = frozenset({ConditionType.DELETION})
            self.status = with_conditions(self.status, errors, kinds, self.now)
        self.finalizers = left.finalizers
        if not seen.is_acting:
            self.actions.extend(left.actions)
        is_soon = failure is not None and self.now < failure.at + self.timing.failure_retry
        if left.wants_render and not refusal and not is_soon and not seen.rendering.in_flight:
            self.actions.append(Render(sources=spec.all_sources, destination=spec.destination, depth=Depth.CACHED))
        self._wake(left.wake_at)
        if left.waiting:
            self.blocker = Blocker(reason=Reason.DELETING, what=left.waiting, since=deleted_at, at=left.wake_at)
        return self._decision()

    def _delete_problem(self) -> str:
        """Return why nobody can say now what is to be deleted: that no project permits it must be known for sure."""
        project = self.seen.project
        if project is not None and project.error:
            return f"project {project.name} cannot be read: {project.error}"
        return f"Failed to load live state: {self.seen.live_error}" if self.seen.live_error else ""

    def _cannot_delete(self) -> ApplicationDecision:
        """Nobody can say what is this Application's: its finalizers keep it, until the spec or they are changed."""
        if any(name in FINALIZERS for name in self.finalizers):
            error = AppCondition(type=ConditionType.DELETION, message=self.subject.error)
            self.status = with_conditions(self.status, (error,), frozenset({ConditionType.DELETION}), self.now)
            self.blocker = Blocker(reason=Reason.INVALID, what=self.subject.error)
        return self._decision()

    # -- Events --------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        before, after = self.before, self.status
        if before.sync.status != after.sync.status:
            self.events.append(
                Event("ResourceUpdated", f"Updated sync status: {before.sync.status} -> {after.sync.status}")
            )
        if before.health.status != after.health.status:
            self.events.append(
                Event("ResourceUpdated", f"Updated health status: {before.health.status} -> {after.health.status}")
            )
