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

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.agentsync import _deleting, _operating, _sync, _validation
from fairlead.agentsync._auto import Auto, Timing, auto_sync, is_of, same_sources, when_to_render
from fairlead.agentsync._comparing import (
    Comparison,
    Judging,
    application_key,
    as_unknown,
    compare,
    is_delete_hook,
    with_time,
)
from fairlead.agentsync._hooks import hook_types
from fairlead.agentsync._targets import Target, Targets, prepare_targets, scope_of
from fairlead.agentsync.actions import Action, Depth, Render
from fairlead.agentsync.health import Health, HealthCode
from fairlead.agentsync.kinds import (
    DELETION_APPROVED,
    FINALIZERS,
    MIGRATION_MANAGER,
    POST_DELETE,
    POST_DELETE_CLEANUP,
    PRE_DELETE,
    PRE_DELETE_CLEANUP,
    REFRESH,
    REFRESH_TIMESTAMP,
    SKIP_RECONCILE,
    Application,
)
from fairlead.agentsync.observation import Desired, Observation, RenderFailure
from fairlead.agentsync.operation import Operation, decode_operation
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.project import Project
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import ApplicationSpec, Source, decode_spec
from fairlead.agentsync.status import (
    AppCondition,
    ApplicationStatus,
    ComparedTo,
    ConditionType,
    OperationState,
    Phase,
    SyncCode,
    SyncPhase,
    SyncStatus,
    status_patch,
    to_json,
    with_conditions,
)
from fairlead.agentsync.tracking import Tracking
from fairlead.agentsync.windows import matching, permission
from fairlead.core.decision import Blocker, Decision, Event, earliest
from fairlead.core.errors import FairleadError, SpecError
from fairlead.core.objects import ObjectMeta, parse_rfc3339
from fairlead.core.patches import diff

_COMPARED = frozenset(
    {
        ConditionType.INVALID_SPEC,
        ConditionType.COMPARISON,
        ConditionType.SHARED_RESOURCE,
        ConditionType.REPEATED_RESOURCE,
        ConditionType.EXCLUDED_RESOURCE,
        ConditionType.ORPHANED_RESOURCE,
    }
)


class Reason(StrEnum):
    """Why an Application is not Synced and Healthy, or does nothing."""

    SKIPPED = "SkipReconcile"
    INVALID = "InvalidSpec"
    LOADING = "LoadingLiveState"
    RENDERING = "Rendering"
    SOURCE_FAILED = "SourceFailed"
    SYNCING = "Syncing"
    RETRYING = "Retrying"
    BLOCKED = "BlockedByWindow"
    OUT_OF_SYNC = "OutOfSync"
    UNHEALTHY = "Unhealthy"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One Application, read.

    Attributes:
        spec: None: it cannot be understood, and `error` says why.
        operation: what is asked for; None: nothing, or it cannot be understood, as `operation_error` says.
    """

    metadata: ObjectMeta
    spec: ApplicationSpec | None
    error: str = ""
    operation: Operation | None = None
    has_operation: bool = False
    operation_error: str = ""

    @property
    def refresh(self) -> str:
        return self.metadata.annotations.get(REFRESH, "")

    @property
    def approved_at(self) -> datetime | None:
        return parse_rfc3339(self.metadata.annotations.get(DELETION_APPROVED, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this controller serves, and how.

    Attributes:
        control_namespace: where AppProjects live; Applications there may use any of them.
        is_excluded: whether a kind is left alone (`resource.exclusions`).
    """

    timing: Timing = field(default_factory=Timing)
    control_namespace: str = "argocd"
    is_excluded: Callable[[ResourceKey], bool] = lambda key: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """How this Application's objects are marked and compared.

    Attributes:
        differs: whether what lives is not what is wanted: (target, live). It may raise FairleadError.
    """

    tracking: Tracking
    differs: Callable[[Object, Object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationDecision(Decision[ApplicationStatus, Action]):
    """What to do next; the shell writes `application_patch` after the actions.

    Attributes:
        operation: what `operation` of the object should be from now on; None: absent.
        finalizers: what the object should have from now on.
        annotations_done: annotations that have served their purpose, with the value that they had.
    """

    operation: Operation | None = None
    finalizers: tuple[str, ...] = ()
    annotations_done: tuple[str, ...] = ()


def prepare(found: Application) -> Subject:
    """Return the object as decisions need it; what cannot be understood is an error in it."""
    operation, operation_error = None, ""
    if found.has_operation:
        try:
            operation = decode_operation(found.operation)
        except SpecError as error:
            operation_error = str(error)
    try:
        spec, wrong = decode_spec(found.spec), ""
    except SpecError as error:
        spec, wrong = None, str(error)
    return Subject(
        metadata=found.metadata,
        spec=spec,
        error=wrong,
        operation=operation,
        has_operation=found.has_operation,
        operation_error=operation_error,
    )


def application_patch(subject: Subject, before: ApplicationStatus, decision: ApplicationDecision) -> dict[str, Any]:
    """Return the one JSON merge patch that stores a decision; empty: nothing changed.

    It names only paths that changed, and never spec: a whole object must not be written back, since that would erase
    a newer status or revive an operation that is done. Finalizers are a list, so the patch carries the resourceVersion.
    """
    patch: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if status := status_patch(before, decision.status):
        patch["status"] = status
    if decision.operation is None and subject.has_operation:
        patch["operation"] = None
    elif decision.operation is not None and decision.operation != subject.operation:
        old = to_json(subject.operation) if subject.operation is not None else {}
        patch["operation"] = diff(old, to_json(decision.operation))
    if decision.annotations_done:
        metadata["annotations"] = dict.fromkeys(decision.annotations_done)
    if decision.finalizers != subject.metadata.finalizers:
        metadata["finalizers"] = list(decision.finalizers) or None
    if metadata or "operation" in patch:
        metadata["resourceVersion"] = subject.metadata.resource_version
        patch["metadata"] = metadata
    return patch


def decide(
    subject: Subject,
    status: ApplicationStatus,
    seen: Observation,
    now: datetime,
    tools: Tools,
    *,
    settings: Settings = Settings(),
) -> ApplicationDecision:
    """Return the next status of an Application and what must be done for it."""
    if subject.metadata.annotations.get(SKIP_RECONCILE) == "true":
        blocker = Blocker(reason=Reason.SKIPPED, what=f"annotation {SKIP_RECONCILE} is set")
        return _as_it_is(subject, status, blocker)
    deciding = _Deciding(subject, status, seen, now, tools, settings)
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


def _must_be_signed(project: Project, source: Source) -> bool:
    policy = project.signature_policy(source.repo_url)
    return policy is not None and policy.mode != "none"


@dataclass(slots=True)
class _Look:
    """What the comparison of this decision is, and why it may not be acted on."""

    comparison: Comparison | None = None
    desired: Desired | None = None
    errors: tuple[AppCondition, ...] = ()
    is_trusted: bool = False
    wake_at: datetime | None = None
    blocker: Blocker | None = None


class _Deciding:
    """One decision in the making."""

    def __init__(
        self,
        subject: Subject,
        status: ApplicationStatus,
        seen: Observation,
        now: datetime,
        tools: Tools,
        settings: Settings,
    ) -> None:
        self.subject = subject
        self.before = status
        self.status = status
        self.seen = seen
        self.now = now
        self.tools = tools
        self.settings = settings
        self.operation = subject.operation
        self.finalizers = subject.metadata.finalizers
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.wake_at: datetime | None = None
        self.blocker: Blocker | None = None
        self._compared: dict[int, tuple[Desired | None, Comparison]] = {}

    # -- the whole -----------------------------------------------------------------------------------------------------

    def refuse(self, error: str) -> ApplicationDecision:
        """The spec cannot be understood: say so, and touch nothing."""
        self._fail_with((AppCondition(type=ConditionType.INVALID_SPEC, message=error),))
        self.blocker = Blocker(reason=Reason.INVALID, what=error)
        self._reject_operation(self.status.conditions)
        return self._decision(done=self._refresh_annotations() if self.subject.refresh else ())

    def decide(self, spec: ApplicationSpec) -> ApplicationDecision:
        errors = self._spec_errors(spec)
        if errors:
            self._fail_with(errors)
            self.blocker = Blocker(reason=Reason.INVALID, what=errors[0].message)
            if self._state_in_progress() is None:
                self._reject_operation(errors)
                return self._decision(done=self._refresh_annotations() if self.subject.refresh else ())
            self._operate(spec, _Look(errors=errors))
            return self._decision()
        look = self._look(spec)
        done = self._ask_sources(spec)
        self._operate(spec, look)
        self._protect(look)
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

    def _fail_with(self, conditions: tuple[AppCondition, ...]) -> None:
        """Nobody can say how it is: nothing that was known about the objects is taken for true."""
        status = with_conditions(self.status, conditions, _COMPARED, self.now)
        sync = msgspec.structs.replace(status.sync, status=SyncCode.UNKNOWN)
        found = with_time(Health(HealthCode.UNKNOWN), status.health, self.now)
        self.status = msgspec.structs.replace(status, sync=sync, health=found, resources=as_unknown(status.resources))

    # -- what is wrong with the spec -----------------------------------------------------------------------------------

    def _spec_errors(self, spec: ApplicationSpec) -> tuple[AppCondition, ...]:
        messages = [*_validation.problems(spec), *self._project_problems(spec)]
        return tuple(AppCondition(type=ConditionType.INVALID_SPEC, message=message) for message in messages)

    def _project_problems(self, spec: ApplicationSpec) -> list[str]:
        project, seen = self.seen.project, self.seen.destination
        name, namespace = self.subject.metadata.name, self.subject.metadata.namespace
        if project is None:
            return [f"Application referencing project {spec.project_name} which does not exist"]
        found = []
        if not project.permits_application_in(namespace, control_namespace=self.settings.control_namespace):
            found.append(
                f"application '{name}' in namespace '{namespace}' is not allowed to use project {project.name}"
            )
        found += [message for source in spec.all_sources if (message := project.source_refusal(source.repo_url))]
        if seen.error:
            return [*found, seen.error]
        server, cluster = self._cluster(spec)
        if message := project.destination_refusal(server, cluster, spec.destination.namespace):
            found.append(message)
        return found

    def _cluster(self, spec: ApplicationSpec) -> tuple[str, str]:
        seen = self.seen.destination
        return seen.server or spec.destination.server, seen.name or spec.destination.name

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _look(self, spec: ApplicationSpec) -> _Look:
        """Compare what is wanted with what lives, and write down what comes of it."""
        seen = self.seen
        if seen.live is None:
            if seen.live_error:
                message = f"Failed to load live state: {seen.live_error}"
                error = AppCondition(type=ConditionType.COMPARISON, message=message)
                self._fail_with((error,))
                self.blocker = Blocker(reason=Reason.LOADING, what=message)
                return _Look(errors=(error,))
            self.blocker = Blocker(reason=Reason.LOADING, what="the objects of the destination are being listed")
            return _Look()
        desired = seen.rendering.desired
        if desired is not None and not is_of(desired, spec):
            desired = None
        failure = self._failure(desired)
        if desired is None and failure is None:
            self.blocker = Blocker(reason=Reason.RENDERING, what="the sources are being rendered")
            return _Look()
        comparison = self._compare(spec, desired)
        look = _Look(comparison=comparison, desired=desired)
        if failure is None:
            look.is_trusted = desired is not None and not comparison.errors
        else:
            self._doubt(look, failure)
        self._write_down(spec, look)
        return look

    def _failure(self, desired: Desired | None) -> RenderFailure | None:
        failure = self.seen.rendering.failure
        is_older = failure is not None and desired is not None and failure.at < desired.rendered_at
        return None if is_older else failure

    def _doubt(self, look: _Look, failure: RenderFailure) -> None:
        """The last render failed. A repository that does not answer has some time to come back."""
        until = failure.since + self.settings.timing.repository_grace
        # Towards a commit that is known drift may still be mended while nobody can say whether there is a newer one.
        look.is_trusted = failure.is_repository and look.desired is not None
        if look.is_trusted and self.now < until:
            self._wake(until)
            return
        message = f"Failed to load target state: {failure.message}"
        look.errors = (AppCondition(type=ConditionType.COMPARISON, message=message),)
        look.blocker = Blocker(reason=Reason.SOURCE_FAILED, what=message, since=failure.since)

    def _compare(self, spec: ApplicationSpec, desired: Desired | None) -> Comparison:
        found = self._compared.get(id(desired))
        if found is None:
            found = (desired, self._compare_anew(spec, desired))
            self._compared[id(desired)] = found
        return found[1]

    def _compare_anew(self, spec: ApplicationSpec, desired: Desired | None) -> Comparison:
        assert self.seen.live is not None, "only what lives can be compared"
        objects = desired.objects if desired is not None else ()
        judging = self._judging(spec, objects)
        targets: Targets | None = None
        error: AppCondition | None = None
        if desired is not None:
            try:
                targets = prepare_targets(
                    objects,
                    namespace=spec.destination.namespace,
                    scope=judging.scope,
                    stamp=self.tools.tracking.stamp,
                    is_excluded=self.settings.is_excluded,
                )
            except FairleadError as wrong:
                message = f"Failed to load target state: {wrong}"
                error = AppCondition(type=ConditionType.COMPARISON, message=message)
        comparison = compare(targets, self.seen.live, judging)
        return replace(comparison, conditions=(*comparison.conditions, error)) if error is not None else comparison

    def _judging(self, spec: ApplicationSpec, objects: tuple[Object, ...]) -> Judging:
        meta, seen = self.subject.metadata, self.seen
        return Judging(
            application=f"{meta.namespace}/{meta.name}",
            owns=self.tools.tracking.owns,
            differs=self.tools.differs,
            refuses=self._refuses(spec),
            scope=scope_of(seen.served, objects),
            myself=application_key(meta.namespace, meta.name),
            others=seen.others,
            orphaned=seen.orphaned if seen.project is not None and seen.project.warns_of_orphans else None,
            namespace_changed=self._namespace_changed(spec),
        )

    def _refuses(self, spec: ApplicationSpec) -> Callable[[ResourceKey, bool], str]:
        project = self.seen.project
        if project is None:
            return lambda key, namespaced: f"project {spec.project_name} does not exist"
        server, cluster = self._cluster(spec)
        return lambda key, namespaced: project.resource_refusal(key, namespaced=namespaced, server=server, name=cluster)

    def _namespace_changed(self, spec: ApplicationSpec) -> bool:
        wanted, state = spec.namespace_metadata, self.before.operation_state
        if wanted is None or state is None or state.sync_result is None:
            return False
        return state.sync_result.managed_namespace_metadata != wanted

    def _write_down(self, spec: ApplicationSpec, look: _Look) -> None:
        comparison, desired = look.comparison, look.desired
        assert comparison is not None, "there is nothing to write down"
        status = with_conditions(self.status, (*comparison.conditions, *look.errors), _COMPARED, self.now)
        is_known = not look.errors and desired is not None
        code = comparison.code if is_known else SyncCode.UNKNOWN
        sync = msgspec.structs.replace(status.sync, status=code)
        changes: dict[str, Any] = {}
        if is_known and desired is not None:
            sync = self._sync_status(spec, desired, code)
            types = desired.source_types
            changes["source_type"] = "" if spec.is_multi_source else "".join(types[:1])
            changes["source_types"] = types if spec.is_multi_source else ()
            at = desired.rendered_at.replace(microsecond=0)
            changes["reconciled_at"] = max(at, status.reconciled_at) if status.reconciled_at is not None else at
        found = comparison.health if comparison.health is not None else Health(HealthCode.UNKNOWN)
        self.status = msgspec.structs.replace(
            status,
            sync=sync,
            health=with_time(found, status.health, self.now),
            resources=comparison.resources if is_known else as_unknown(comparison.resources),
            summary=comparison.summary,
            controller_namespace=self.settings.control_namespace,
            **changes,
        )
        if look.blocker is not None:
            self.blocker = look.blocker

    @staticmethod
    def _sync_status(spec: ApplicationSpec, desired: Desired, code: SyncCode) -> SyncStatus:
        is_multi = spec.is_multi_source
        return SyncStatus(
            status=code,
            revision="" if is_multi else "".join(desired.revisions[:1]),
            revisions=desired.revisions if is_multi else (),
            compared_to=ComparedTo(
                source=None if is_multi else spec.source,
                sources=spec.sources,
                destination=spec.destination,
                ignore_differences=spec.ignore_differences,
            ),
        )

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
            self.settings.timing,
            self.now,
            jitter=self.seen.jitter,
        )
        self._wake(due.at)
        if due.depth is not None:
            self.actions.append(
                Render(
                    sources=spec.all_sources,
                    destination=spec.destination,
                    depth=due.depth,
                    request="" if is_answered else request,
                )
            )
        return self._refresh_annotations() if is_answered else ()

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

    def _operate(self, spec: ApplicationSpec, look: _Look) -> None:
        state = self._state_in_progress()
        if state is None and self.subject.operation_error:
            error = AppCondition(type=ConditionType.INVALID_SPEC, message=self.subject.operation_error)
            self._reject_operation((error,))
        elif state is None and self.subject.operation is not None:
            self._take_up(spec, self.subject.operation)
        elif state is not None:
            self._proceed(spec, state, look)
        else:
            self._sync_by_itself(spec, look)

    def _take_up(self, spec: ApplicationSpec, operation: Operation) -> None:
        """Write down that it has begun before anything is done: names of hooks depend on the time."""
        state = _operating.begin(operation, self.now)
        self.status = msgspec.structs.replace(self.status, operation_state=state)
        self._wake(self.now)
        brings_its_own = operation.sync is None or bool(operation.sync.manifests)
        # What an earlier operation rendered is not this one's, not even within the same second.
        if not brings_its_own and self._serving(spec, state, is_new=True) is None:
            self._render_operation(spec, state)
        self.blocker = Blocker(reason=Reason.SYNCING, what="a sync begins")

    def _operation_errors(self, state: OperationState) -> tuple[AppCondition, ...]:
        """Return why what an operation brings along must not be used: its own sources, or its own manifests."""
        sync, project = state.operation.sync, self.seen.project
        if sync is None or project is None:
            return ()
        messages: list[str] = []
        is_multi = bool(sync.sources)
        for index, source in enumerate(sync.all_sources):
            path = f"operation.sync.sources[{index}]" if is_multi else "operation.sync.source"
            messages += _validation.source_problems(source, path, is_multi=is_multi)
            messages += [refusal] if (refusal := project.source_refusal(source.repo_url)) else []
        sources = _operating.sources_of(state, self.subject.spec or ApplicationSpec())
        if sync.manifests and any(_must_be_signed(project, source) for source in sources):
            messages.append(_validation.LOCAL_REFUSED)
        return tuple(AppCondition(type=ConditionType.INVALID_SPEC, message=message) for message in messages)

    def _render_operation(self, spec: ApplicationSpec, state: OperationState) -> None:
        if self._operation_errors(state):
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

    def _proceed(self, spec: ApplicationSpec, state: OperationState, look: _Look) -> None:
        if self.seen.is_acting or self.seen.live is None:
            self._wake(self.now + self.settings.timing.operation_interval)
            self.blocker = Blocker(reason=Reason.SYNCING, what=state.message or "a sync runs", since=state.started_at)
            return
        step = _operating.proceed(state, spec, self._world(spec, state, look), self.settings.timing, self.now)
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

    def _world(self, spec: ApplicationSpec, state: OperationState, look: _Look) -> _operating.World:
        assert self.seen.live is not None, "an operation needs the destination"
        desired = self._serving(spec, state)
        failure = self.seen.operation.failure
        is_current = failure is not None and (state.started_at is None or failure.at >= state.started_at)
        message = failure.message if failure is not None and is_current else ""
        windows = self._windows(spec, state)
        errors = tuple(one for one in look.errors if one.type == ConditionType.INVALID_SPEC)
        errors = errors or self._operation_errors(state)
        try:
            desired = self._local(state) or desired
        except SpecError as error:
            desired, message = None, str(error)
        return _operating.World(
            desired=desired,
            failure=message,
            compare=lambda wanted: self._compare(spec, wanted),
            find=self.seen.live.find,
            stamp=self.tools.tracking.stamp,
            manner=_sync.Manner(
                migration_manager=self.subject.metadata.annotations.get(MIGRATION_MANAGER, ""),
                served=self.seen.served,
                refuses=self._refuses(spec),
                wave_delay=self.settings.timing.wave_delay,
            ),
            is_blocked=not windows[0],
            blocked_until=windows[1],
            errors=errors,
            results=self.seen.results,
            acted_at=self.seen.acted_at,
            approved_at=self.subject.approved_at,
            allows_empty=spec.automated is not None and spec.automated.allow_empty,
        )

    def _windows(self, spec: ApplicationSpec, state: OperationState) -> tuple[bool, datetime | None]:
        project = self.seen.project
        if project is None:
            return True, None
        server, cluster = self._cluster(spec)
        windows = matching(
            project.spec.sync_windows,
            application=self.subject.metadata.name,
            namespace=spec.destination.namespace,
            server=server,
            cluster=cluster,
        )
        is_manual = not state.operation.initiated_by.automated
        found = permission(windows, self.now, is_manual=is_manual, started_at=state.started_at)
        return found.is_allowed, found.changes_at

    def _serving(self, spec: ApplicationSpec, state: OperationState, *, is_new: bool = False) -> Desired | None:
        """Return the desired state of an operation: of its sources, at the revisions that it is pinned to or names.

        Args:
            is_new: the operation has not asked for anything yet.
        """
        sources, revisions = _operating.sources_of(state, spec), _operating.revisions_of(state, spec)
        for desired in (self.seen.operation.desired, self.seen.rendering.desired):
            if desired is None or not same_sources(desired.sources, sources):
                continue
            if desired.destination is not None and desired.destination != spec.destination:
                continue
            if revisions and desired.revisions == revisions:
                return desired
            is_fresh = state.started_at is not None and desired.rendered_at.replace(microsecond=0) >= state.started_at
            is_own = desired is self.seen.operation.desired and not is_new
            if is_own and is_fresh and desired.requested == revisions and not _operating.is_pinned(state):
                return desired
        return None

    def _local(self, state: OperationState) -> Desired | None:
        """Return the manifests that an operation brings along; None: it brings none."""
        sync, spec = state.operation.sync, self.subject.spec
        if sync is None or not sync.manifests or spec is None:
            return None
        objects = []
        for index, text in enumerate(sync.manifests):
            try:
                objects.append(msgspec.json.decode(text, type=dict[str, Any]))
            except msgspec.DecodeError:
                path = f"operation.sync.manifests[{index}]"
                raise SpecError("expected an object as JSON", path=path) from None
        return Desired(
            objects=tuple(objects),
            revisions=_operating.revisions_of(state, spec) or self.before.sync.all_revisions,
            sources=_operating.sources_of(state, spec),
            rendered_at=state.started_at or self.now,
        )

    def _sync_by_itself(self, spec: ApplicationSpec, look: _Look) -> None:
        auto = self._auto(spec, look)
        condition = AppCondition(type=ConditionType.SYNC, message=auto.error)
        conditions = (condition,) if auto.error else ()
        if look.is_trusted:
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

    def _auto(self, spec: ApplicationSpec, look: _Look) -> Auto:
        if not look.is_trusted or look.comparison is None or look.desired is None or self.seen.is_acting:
            return Auto(why_not="the desired state is not known for sure")
        auto = auto_sync(
            spec,
            self.before,
            look.comparison,
            look.desired,
            self.settings.timing,
            self.now,
            namespace_changed=self._namespace_changed(spec),
        )
        if auto.operation is None:
            return auto
        allowed, until = self._windows(spec, _operating.begin(auto.operation, self.now))
        return auto if allowed else Auto(wait_until=until, why_not=_operating.BLOCKED)

    # -- finalizers and deletion ---------------------------------------------------------------------------------------

    def _protect(self, look: _Look) -> None:
        """Hooks of the deletion need finalizers, or nobody would run them."""
        if look.comparison is None or not look.is_trusted:
            return
        types = {phase for hook in look.comparison.delete_hooks for phase in hook_types(hook.content)}
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
        desired = seen.rendering.desired
        refuses = self._refuses(spec)
        condition = self.before.condition(ConditionType.DELETION)
        left = _deleting.delete(
            _deleting.Going(
                finalizers=meta.finalizers,
                deleted_at=deleted_at,
                myself=application_key(meta.namespace, meta.name),
                is_gone=seen.destination.is_gone,
                problem=seen.live_error,
                live=seen.live,
                hooks=self._delete_hooks(spec, desired),
                render_failure=seen.rendering.failure.message if seen.rendering.failure is not None else "",
                owns=self.tools.tracking.owns,
                permits=lambda key: not refuses(key, bool(key.namespace)),
                stamp=self.tools.tracking.stamp,
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
        if left.wants_render and not seen.rendering.in_flight:
            self.actions.append(Render(sources=spec.all_sources, destination=spec.destination, depth=Depth.CACHED))
        self._wake(left.wake_at)
        if left.waiting:
            self.blocker = Blocker(reason=Reason.DELETING, what=left.waiting, since=deleted_at, at=left.wake_at)
        return self._decision()

    def _cannot_delete(self) -> ApplicationDecision:
        """Nobody can say what is this Application's: its finalizers keep it, until the spec or they are changed."""
        if any(name in FINALIZERS for name in self.finalizers):
            error = AppCondition(type=ConditionType.DELETION, message=self.subject.error)
            self.status = with_conditions(self.status, (error,), frozenset({ConditionType.DELETION}), self.now)
            self.blocker = Blocker(reason=Reason.INVALID, what=self.subject.error)
        return self._decision()

    def _delete_hooks(self, spec: ApplicationSpec, desired: Desired | None) -> tuple[Target, ...] | None:
        if desired is None or not is_of(desired, spec):
            return None
        try:
            targets = prepare_targets(
                desired.objects,
                namespace=spec.destination.namespace,
                scope=scope_of(self.seen.served, desired.objects),
                stamp=self.tools.tracking.stamp,
            )
        except FairleadError:
            return None
        return tuple(target for target in targets.targets if is_delete_hook(target.content))

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
