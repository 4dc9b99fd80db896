"""GitOps: Applications of `argoproj.io/v1alpha1` taken from Git, compared with what lives, and applied.

Everything that decides is pure and can be used alone; names are loaded when they are first asked for.

    from fairlead.agentsync import PlanOptions, Source, render
    from fairlead.agentsync.health import health
    from fairlead.agentsync.plan import plan
    from fairlead.agentsync.preview import preview

    objects = await render("deploy", Source(path="."))          # a directory of this machine, as the agent renders it
    for one in preview(application, objects, live):             # what an apply would change
        print(one.text)
    for step in plan(objects, live, PlanOptions()).steps:       # what a sync would do, in its order
        print(step.verb, step.key)
    print(health(live[0]))                                      # how a live object is

The parts that do something stand apart: `fairlead.agentsync.sources` fetches and renders,
`fairlead.agentsync.reconciler` looks after Applications.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.agentsync.diff import Change, Difference, DiffOptions, IgnoreRule, difference
    from fairlead.agentsync.health import Health, HealthCode, application_health
    from fairlead.agentsync.machine import ApplicationDecision, Subject, decide
    from fairlead.agentsync.observation import Observation
    from fairlead.agentsync.operation import Operation, decode_operation
    from fairlead.agentsync.plan import Plan, PlanOptions, Step, Verb, Wave
    from fairlead.agentsync.preview import Fate, Preview
    from fairlead.agentsync.project import Project, ProjectSpec
    from fairlead.agentsync.rbac import Account, Rights, control_plane_rights, destination_rights, own_rights
    from fairlead.agentsync.sources.local import render
    from fairlead.agentsync.spec import ApplicationSpec, Source, decode_spec
    from fairlead.agentsync.status import ApplicationStatus, decode_status
    from fairlead.agentsync.tracking import Tracking, TrackingMethod
    from fairlead.agentsync.windows import SyncWindow

__all__ = [
    "Account",
    "ApplicationDecision",
    "ApplicationSpec",
    "ApplicationStatus",
    "Change",
    "DiffOptions",
    "Difference",
    "Fate",
    "Health",
    "HealthCode",
    "IgnoreRule",
    "Observation",
    "Operation",
    "Plan",
    "PlanOptions",
    "Preview",
    "Project",
    "ProjectSpec",
    "Rights",
    "Source",
    "Step",
    "Subject",
    "SyncWindow",
    "Tracking",
    "TrackingMethod",
    "Verb",
    "Wave",
    "application_health",
    "control_plane_rights",
    "decide",
    "decode_operation",
    "decode_spec",
    "decode_status",
    "destination_rights",
    "difference",
    "own_rights",
    "render",
]

# `health`, `plan` and `preview` are left out: there are modules of these names.
_MODULES = {
    "diff": ("Change", "DiffOptions", "Difference", "IgnoreRule", "difference"),
    "health": ("Health", "HealthCode", "application_health"),
    "machine": ("ApplicationDecision", "Subject", "decide"),
    "observation": ("Observation",),
    "operation": ("Operation", "decode_operation"),
    "plan": ("Plan", "PlanOptions", "Step", "Verb", "Wave"),
    "preview": ("Fate", "Preview"),
    "project": ("Project", "ProjectSpec"),
    "rbac": ("Account", "Rights", "control_plane_rights", "destination_rights", "own_rights"),
    "sources.local": ("render",),
    "spec": ("ApplicationSpec", "Source", "decode_spec"),
    "status": ("ApplicationStatus", "decode_status"),
    "tracking": ("Tracking", "TrackingMethod"),
    "windows": ("SyncWindow",),
}
_LATER = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load what is asked for the first time."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found
