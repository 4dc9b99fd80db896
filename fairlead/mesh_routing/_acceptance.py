"""Has the route's controller accepted this generation? Read from `status.parents`.

Accepted is not applied: istiod writes acceptance 12 ms after the write, the wire follows after 0.1 to 10 s or never.

Source: the Gateway API's RouteParentStatus; istio: pilot/pkg/config/kube/gateway/conditions.go. Unlike Flagger:
parentRefs are compared after defaulting, and no entry is no acceptance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairlead.mesh_routing.observation import ParentRef, ParentStatus, Route, RouteCondition

ALL_WAYPOINTS_RESOLVED = "All waypoints resolved"


class Verdict(StrEnum):
    """What the controllers say of one generation."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    UNRESOLVED = "unresolved"  # seen, and a reference cannot be resolved: waiting alone does not help


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The verdict, and why it is not a better one."""

    verdict: Verdict
    message: str = ""


CONFIRMED = Acceptance(verdict=Verdict.CONFIRMED)


def confirmed(route: Route, generation: int, *, controller: str = "") -> Acceptance:
    """Return whether every parent's controller has accepted the generation.

    Args:
        route: the route with its status.
        generation: `metadata.generation` of the reply to our write.
        controller: the controllerName that must answer for Service parents; empty: whichever answers.
    """
    if not route.parents:
        return Acceptance(verdict=Verdict.PENDING, message=f"{route.ref} has no parentRefs")
    worst = CONFIRMED
    for parent in route.parents:
        wanted = controller if parent.is_service else ""
        entries = [
            entry for entry in route.statuses if entry.parent == parent and (not wanted or entry.controller == wanted)
        ]
        if not entries:
            by = wanted or "any controller"
            return Acceptance(verdict=Verdict.PENDING, message=f"no status by {by} for parent {parent}")
        for entry in entries:
            answer = _entry(entry, parent, generation)
            if answer.verdict is Verdict.UNRESOLVED:
                return answer
            if answer.verdict is Verdict.PENDING:
                worst = answer
    return worst


def _entry(entry: ParentStatus, parent: ParentRef, generation: int) -> Acceptance:
    resolved = entry.condition("ResolvedRefs")
    if resolved is not None and resolved.status == "False" and resolved.observed_generation >= generation:
        return Acceptance(verdict=Verdict.UNRESOLVED, message=_says(entry, parent, resolved))
    for type_ in ("Accepted", "ResolvedRefs"):
        condition = entry.condition(type_)
        if condition is None:
            return _pending(f"{entry.controller} has not written {type_} for parent {parent}")
        if condition.observed_generation < generation:
            return _pending(
                f"{entry.controller} has seen generation {condition.observed_generation} of {generation} for {parent}"
            )
        if condition.status != "True":
            return _pending(_says(entry, parent, condition))
    waypoints = entry.condition("ResolvedWaypoints")
    if waypoints is not None and waypoints.message != ALL_WAYPOINTS_RESOLVED:
        # Its status is always True: only the message speaks.
        return _pending(_says(entry, parent, waypoints))
    partial = entry.condition("PartiallyInvalid")
    if partial is not None and partial.status == "True":
        return _pending(_says(entry, parent, partial))
    return CONFIRMED


def _pending(message: str) -> Acceptance:
    return Acceptance(verdict=Verdict.PENDING, message=message)


def _says(entry: ParentStatus, parent: ParentRef, condition: RouteCondition) -> str:
    text = f": {condition.message}" if condition.message else ""
    return f"{entry.controller} says {condition.type}={condition.status} ({condition.reason}){text} for parent {parent}"
