"""What happens to a Rollout whose spec cannot work, or names something that cannot: it says so, and nothing moves.

Source: argo-rollouts: rollout/controller.go: createInvalidRolloutCondition.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from fairlead.core.conditions import Condition, find, put
from fairlead.core.errors import SpecError
from fairlead.rollouts._validation import PlannedAnalysis, invalid_spec_message, validate, validate_references
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec, parse
from fairlead.rollouts.status import Phase, RolloutStatus

LOOK_AGAIN = timedelta(seconds=20)  # as argo-rollouts: what is missing may appear, and not all of it is watched


def understand(raw: bytes | msgspec.Raw, *, name: str) -> RolloutSpec | SpecError:
    """Return the spec, or the first thing that is wrong with it by itself."""
    return _understand(bytes(raw), name)


# Asked at every look at a Rollout, and answered anew only when its spec changes.
@lru_cache(maxsize=4096)
def _understand(raw: bytes, name: str) -> RolloutSpec | SpecError:
    try:
        spec = parse(raw)
    except SpecError as error:
        return error
    problems = validate(spec, name=name)
    return problems[0] if problems else spec


def reference_problem(spec: RolloutSpec, seen: Observation) -> SpecError | None:
    """Return the first thing that is wrong with what the spec names."""
    if seen.workload_problem is not None:
        return seen.workload_problem
    planned = [
        PlannedAnalysis(use, seen.plans[use.step])
        for use in spec.analyses
        if use.analysis.templates and use.step in seen.plans
    ]
    problems = validate_references(
        spec, name=seen.metadata.name, services=seen.services, analyses=planned, routers=seen.router_problems
    )
    return problems[0] if problems else None


def refuse(status: RolloutStatus, seen: Observation, problem: SpecError, now: datetime) -> RolloutStatus:
    """Return the status that says what is wrong; the rest stays as it was decided last."""
    message = invalid_spec_message(seen.metadata.name, problem)
    stored = find(status.conditions, "InvalidSpec")
    condition = Condition(type="InvalidSpec", status="True", reason="InvalidSpec", message=message)
    conditions = put(status.conditions, condition, now, refresh=stored is not None and stored.message != message)
    return replace(
        status,
        conditions=conditions,
        phase=Phase.DEGRADED,
        message=f"InvalidSpec: {message}",
        observed_generation=str(seen.metadata.generation),
    )
