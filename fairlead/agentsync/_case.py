"""One Application at one moment, and what can be asked about it without deciding anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from fairlead.agentsync import _operating, _validation
from fairlead.agentsync._auto import is_of, same_sources
from fairlead.agentsync._comparing import Comparison, Judging, application_key, compare, is_delete_hook
from fairlead.agentsync._subject import Settings, Subject, Tools
from fairlead.agentsync._targets import Target, Targets, prepare_targets, scope_of
from fairlead.agentsync.observation import Desired, Observation
from fairlead.agentsync.project import Project
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import ApplicationSpec, Source
from fairlead.agentsync.status import AppCondition, ApplicationStatus, ConditionType, OperationState
from fairlead.agentsync.windows import matching, permission
from fairlead.core.errors import FairleadError, SpecError


class Case:
    """The arguments of a decision, with answers to questions about them; comparisons are made once."""

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
        self.status = status
        self.seen = seen
        self.now = now
        self.tools = tools
        self.settings = settings
        self._compared: dict[int, tuple[Desired | None, Comparison]] = {}

    def spec_errors(self, spec: ApplicationSpec) -> tuple[AppCondition, ...]:
        """Return what is wrong with the spec, and what the project does not permit of it."""
        messages = [*_validation.problems(spec), *self._project_problems(spec)]
        return tuple(AppCondition(type=ConditionType.INVALID_SPEC, message=message) for message in messages)

    def _project_problems(self, spec: ApplicationSpec) -> list[str]:
        project, seen = self.seen.project, self.seen.destination
        name, namespace = self.subject.metadata.name, self.subject.metadata.namespace
        if project is None:
            return [f"Application referencing project {spec.project_name} which does not exist"]
        if project.error:
            return [f"Application referencing project {project.name} which cannot be read: {project.error}"]
        found = []
        if not project.permits_application_in(namespace, control_namespace=self.settings.control_namespace):
            found.append(
                f"application '{name}' in namespace '{namespace}' is not allowed to use project {project.name}"
            )
        found += [message for source in spec.all_sources if (message := project.source_refusal(source.repo_url))]
        if seen.error:
            return [*found, seen.error]
        server, cluster = self.cluster(spec)
        if message := project.destination_refusal(server, cluster, spec.destination.namespace):
            found.append(message)
        return found

    def render_refusal(self, spec: ApplicationSpec) -> str:
        """Return why the sources must not be rendered; empty: they may."""
        project = self.seen.project
        refusals = [project.source_refusal(source.repo_url) for source in spec.all_sources] if project else []
        return "; ".join(message for message in (*_validation.problems(spec), *refusals) if message)

    def cluster(self, spec: ApplicationSpec) -> tuple[str, str]:
        """Return URL and name of the destination; either may be empty."""
        seen = self.seen.destination
        return seen.server or spec.destination.server, seen.name or spec.destination.name

    def compare(self, spec: ApplicationSpec, desired: Desired | None) -> Comparison:
        """Return what is wanted against what lives; None: nobody knows what is wanted."""
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
            refuses=self.refuses(spec),
            scope=scope_of(seen.served, objects),
            myself=application_key(meta.namespace, meta.name),
            others=seen.others,
            orphaned=seen.orphaned if seen.project is not None and seen.project.warns_of_orphans else None,
            namespace_changed=self.namespace_changed(spec),
        )

    def refuses(self, spec: ApplicationSpec) -> Callable[[ResourceKey, bool], str]:
        """Return what says why the project does not permit an object: (key, whether it is namespaced)."""
        project = self.seen.project
        if project is None:
            return lambda key, namespaced: f"project {spec.project_name} does not exist"
        server, cluster = self.cluster(spec)
        return lambda key, namespaced: project.resource_refusal(key, namespaced=namespaced, server=server, name=cluster)

    def namespace_changed(self, spec: ApplicationSpec) -> bool:
        """Return whether the metadata of the destination namespace is not what was written last."""
        wanted, state = spec.namespace_metadata, self.status.operation_state
        if wanted is None or state is None or state.sync_result is None:
            return False
        return state.sync_result.managed_namespace_metadata != wanted

    def operation_errors(self, state: OperationState) -> tuple[AppCondition, ...]:
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

    def windows(self, spec: ApplicationSpec, state: OperationState) -> tuple[bool, datetime | None]:
        """Return whether sync windows let an operation run now, and when that may change."""
        project = self.seen.project
        if project is None:
            return True, None
        server, cluster = self.cluster(spec)
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

    def serving(self, spec: ApplicationSpec, state: OperationState, *, is_new: bool = False) -> Desired | None:
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

    def local_manifests(self, state: OperationState) -> Desired | None:
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
            revisions=_operating.revisions_of(state, spec) or self.status.sync.all_revisions,
            sources=_operating.sources_of(state, spec),
            rendered_at=state.started_at or self.now,
        )

    def delete_hooks(self, spec: ApplicationSpec, desired: Desired | None) -> tuple[Target, ...] | None:
        """Return the hooks of the deletion, as rendered; None: they are not known. Without a project there are none."""
        if self.seen.project is None:
            return ()
        if self.render_refusal(spec):
            return None
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


def _must_be_signed(project: Project, source: Source) -> bool:
    policy = project.signature_policy(source.repo_url)
    return policy is not None and policy.mode not in ("", "none")
