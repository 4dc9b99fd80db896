"""What an Application stands in: its project, its neighbours, and what its sources may know of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fairlead.agentsync._live import LiveView, is_of_the_cluster
from fairlead.agentsync._project_spec import GpgPolicy
from fairlead.agentsync._rendering import For
from fairlead.agentsync.kinds import Application, AppProject
from fairlead.agentsync.machine import Subject
from fairlead.agentsync.observation import LiveObjects
from fairlead.agentsync.project import Project
from fairlead.agentsync.resources import ResourceKey, ServedKinds
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources.port import Verification, VerificationMode
from fairlead.agentsync.spec import ApplicationSpec, decode_spec
from fairlead.core.cluster import View
from fairlead.core.errors import SpecError


class Surroundings:
    """Answers questions about one Application after the other; no request, no waiting.

    Attributes:
        settings: of the installation; may be replaced at any time.
    """

    def __init__(
        self, settings: GitOpsSettings, projects: View[AppProject], view: LiveView, kinds: ServedKinds
    ) -> None:
        self.settings = settings
        self._projects = projects
        self._view = view
        self._kinds = kinds

    def is_elsewhere(self, found: Application) -> bool:
        """Return whether an Application is another agent's; one that cannot be understood is everybody's."""
        if not self.settings.is_agent:
            return False
        try:
            return self.settings.is_elsewhere(decode_spec(found.spec).destination)
        except SpecError:
            return False

    def project(self, subject: Subject) -> Project | None:
        """Return the project that an Application names; None: there is none."""
        return self.settings.project(subject, self._projects)

    def refuses(self, subject: Subject) -> Callable[[ResourceKey, bool], str]:
        """Return why the project does not permit an object; a project that is not there permits nothing."""
        project = self.project(subject)
        if project is None or subject.spec is None:
            return lambda key, namespaced: "there is no project"
        seen = self.settings.destination(subject.spec.destination)
        return lambda key, namespaced: project.resource_refusal(
            key, namespaced=namespaced, server=seen.server, name=seen.name
        )

    def others(self, subject: Subject, keys: Iterable[ResourceKey], live: LiveObjects) -> Mapping[ResourceKey, str]:
        """Return whose the objects of these keys are that another Application tracks."""
        tracking = self.settings.tracking(subject.metadata)
        found: dict[ResourceKey, str] = {}
        for key in keys:
            seen = live.find(key)
            owner = tracking.owner_of(seen) if seen is not None else ""
            if owner and owner != tracking.application:
                found[key] = owner
        return found

    def orphaned(self, subject: Subject) -> int | None:
        """Return how many objects of the destination namespace belong to nobody; None: nobody asked."""
        spec, project = subject.spec, self.project(subject)
        if spec is None or project is None or not project.warns_of_orphans or not spec.destination.namespace:
            return None
        strays = set(self._view.strays(spec.destination.namespace))
        return sum(1 for key in strays if not is_of_the_cluster(key) and not project.ignores_orphan(key))

    def whom(self, subject: Subject) -> For:
        """Return for whom something is rendered: which signatures count, and what charts are told."""
        spec = subject.spec or ApplicationSpec()
        metadata = subject.metadata
        has_charts = any(source.helm or source.chart for source in spec.all_sources)
        project = self.project(subject)
        policies = [project.signature_policy(source.repo_url) if project else None for source in spec.all_sources]
        return For(
            application=metadata.name,
            project=spec.project_name,
            namespace=spec.destination.namespace,
            kube_version=self.settings.kube_version,
            api_versions=self._api_versions() if has_charts else (),
            verifications=tuple(_verification(policy) for policy in policies),
        )

    def _api_versions(self) -> tuple[str, ...]:
        found: set[str] = set()
        for kind in self._kinds.all():
            found |= {kind.api_version, f"{kind.api_version}/{kind.kind}"}
        return tuple(sorted(found))


def _verification(policy: GpgPolicy | None) -> Verification:
    """Return which signature is asked for; a project with another mode than these is not understood as a whole."""
    if policy is None:
        return Verification()
    return Verification(mode=VerificationMode(policy.mode or "none"), keys=policy.keys)
