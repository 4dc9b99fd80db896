"""How a rollout learns what an analysis stanza of its spec amounts to: the spec of the AnalysisRun to create.

The rollout's machine asks, `fairlead.analysis` answers from the templates, and neither imports the other.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class TemplateRef(msgspec.Struct, frozen=True):
    """A template that a stanza names; `cluster_scope` True: a ClusterAnalysisTemplate."""

    name: str
    cluster_scope: bool = False


class PlanArg(msgspec.Struct, frozen=True):
    """An argument as the rollout resolved it; a value of None: named without a value."""

    name: str
    value: str | None = None


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One analysis stanza of a Rollout, with its arguments resolved."""

    namespace: str
    templates: tuple[TemplateRef, ...]
    args: tuple[PlanArg, ...] = ()
    dry_run: tuple[str, ...] = ()
    measurement_retention: tuple[tuple[str, int], ...] = ()
    is_background: bool = False  # background metrics may run for ever, the others must end
    instance_id: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: the AnalysisRun's spec as JSON data (same request, same bytes), or why there can be none.

    Attributes:
        error: text for the InvalidSpec condition; empty when the spec is good.
        field: which field of the stanza is at fault: `templates` or `args`.
        value: what stands there, as the InvalidSpec condition quotes it: a template's name, or all of them.
    """

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    error: str = ""
    field: str = ""
    value: str = ""


class AnalysisPlanner(Protocol):
    """Answers from caches: no request, no waiting."""

    def plan(self, request: PlanRequest) -> Plan: ...
