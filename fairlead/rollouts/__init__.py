"""What should happen next to a Rollout of `argoproj.io/v1alpha1`: a pure machine, and a thin reconciler over the ports.

The names below are the public ones. All of them are pure but `RolloutReconciler`, `Views` and `Recorder`, which take
Rollouts of a cluster further. They are loaded when they are asked for: a command line that writes one patch needs
none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.rollouts._invalid import understand
    from fairlead.rollouts._waiting import Waiting
    from fairlead.rollouts.actions import Action, events_of
    from fairlead.rollouts.machine import MODES, decide
    from fairlead.rollouts.observation import Observation
    from fairlead.rollouts.reconciler import Recorder, RolloutReconciler, Views, observe
    from fairlead.rollouts.spec import RolloutSpec
    from fairlead.rollouts.status import Phase, RolloutStatus
    from fairlead.rollouts.triggers import INDEXES, Triggers, Wake

__all__ = [
    "INDEXES",
    "MODES",
    "Action",
    "Observation",
    "Phase",
    "Recorder",
    "RolloutReconciler",
    "RolloutSpec",
    "RolloutStatus",
    "Triggers",
    "Views",
    "Waiting",
    "Wake",
    "decide",
    "events_of",
    "observe",
    "understand",
]

_HOMES = {
    "_invalid": ("understand",),
    "_waiting": ("Waiting",),
    "actions": ("Action", "events_of"),
    "machine": ("MODES", "decide"),
    "observation": ("Observation",),
    "reconciler": ("Recorder", "RolloutReconciler", "Views", "observe"),
    "spec": ("RolloutSpec",),
    "status": ("Phase", "RolloutStatus"),
    "triggers": ("INDEXES", "Triggers", "Wake"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
