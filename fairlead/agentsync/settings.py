"""How Applications are looked after: what an installation and its operator say, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from fairlead.agentsync._judgement import SystemOptions
from fairlead.agentsync._writing import DryRuns
from fairlead.agentsync.kinds import LOCAL_NAME, LOCAL_SERVER, AppProject
from fairlead.agentsync.machine import Settings, Subject
from fairlead.agentsync.observation import DestinationSeen
from fairlead.agentsync.project import Project, open_project
from fairlead.agentsync.project import parse as parse_project
from fairlead.agentsync.spec import DEFAULT_PROJECT, Destination
from fairlead.agentsync.tracking import Tracking
from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey, ObjectMeta

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOpsSettings:
    """How Applications are looked after.

    Attributes:
        machine: what the decisions go by.
        system: what holds for all Applications.
        server, name: what this destination is called by Applications, besides the usual names of the local cluster.
        is_agent: whether the control cluster is another one: Applications there that name another cluster are another
            agent's, and left alone.
        dry_runs: how the dry run before a sync is made.
        server_side_diff: whether objects are compared as the server would, unless an Application says otherwise.
        default_project: whether a project `default` that does not exist permits everything, as upstream installs it.
        kube_version: of the destination, for charts.
    """

    machine: Settings = field(default_factory=Settings)
    system: SystemOptions = field(default_factory=SystemOptions)
    server: str = ""
    name: str = ""
    is_agent: bool = False
    dry_runs: DryRuns = DryRuns.CLIENT
    server_side_diff: bool = False
    default_project: bool = True
    kube_version: str = ""

    def destination(self, wanted: Destination) -> DestinationSeen:
        """Return this cluster if it is the one that is meant; from here no other can be reached."""
        servers, names = {LOCAL_SERVER, self.server} - {""}, {LOCAL_NAME, self.name} - {""}
        server, name = self.server or LOCAL_SERVER, self.name or LOCAL_NAME
        if wanted.server and wanted.name:
            return DestinationSeen(
                error=f"application destination can't have both name and server defined: {wanted.name} {wanted.server}"
            )
        if wanted.server in servers or wanted.name in names:
            return DestinationSeen(server=wanted.server or server, name=wanted.name or name)
        if not wanted.server and not wanted.name:
            return DestinationSeen()  # the spec is at fault, and its own check says so
        what = f"server {wanted.server}" if wanted.server else f"name {wanted.name}"
        return DestinationSeen(error=f"there is no cluster with {what}: expected {server} or {name}")

    def is_elsewhere(self, wanted: Destination) -> bool:
        """Return whether an Application is another agent's: two must never report on one."""
        is_named = bool(wanted.server) != bool(wanted.name)
        return self.is_agent and is_named and bool(self.destination(wanted).error)

    def project(self, subject: Subject, projects: View[AppProject]) -> Project | None:
        """Return the project that an Application names; None: there is none."""
        name = subject.spec.project_name if subject.spec is not None else DEFAULT_PROJECT
        found = projects.get(ObjectKey(self.machine.control_namespace, name))
        if found is None:
            is_open = name == DEFAULT_PROJECT and self.default_project
            return open_project(name) if is_open else None
        try:
            return Project(name=name, spec=parse_project(found.spec))
        except SpecError as error:
            log.warning("project_invalid", project=name, error=str(error))
            return Project(name=name, spec=parse_project(b"{}"), error=str(error))  # it permits nothing

    def tracking(self, metadata: ObjectMeta) -> Tracking:
        """Return how an Application marks its objects."""
        return self.system.tracking(metadata.key, control_namespace=self.machine.control_namespace)
